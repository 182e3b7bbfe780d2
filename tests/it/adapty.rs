//! Adapty's API: figures, words, limits, and what its known clients read.

use std::num::NonZeroU32;

use axum::body::Body;
use axum::http::Request;
use ltvstream::config::{ApiKey, Plan, Scope, hash_of};
use ltvstream::domain::time::Timestamp;
use ltvstream::http::Clock;
use serde_json::{Value, json};

use crate::http_openapi::check;
use crate::http_support::{Answer, Service, Setup, adapty, events};

pub const LTV: &str = "/api/v1/client-api/metrics/ltv/";
pub const COHORT: &str = "/api/v1/client-api/metrics/cohort/";

fn key(secret: &str, apps: &[&str]) -> ApiKey {
    ApiKey {
        name: secret.to_owned(),
        sha256: hash_of(secret),
        apps: apps.iter().map(|app| (*app).to_owned()).collect(),
        scopes: [Scope::Read].into(),
        plan: Plan::Pro,
        rate_limit_per_second: NonZeroU32::new(1_000_000),
    }
}

fn setup() -> Setup {
    let own = ApiKey { rate_limit_per_second: None, ..key("slow", &["acme"]) };
    let second = ApiKey { rate_limit_per_second: None, ..key("slow2", &["acme"]) };
    let writer = ApiKey { scopes: [Scope::Ingest].into(), ..key("writer", &["acme"]) };
    let api_keys = vec![
        key("secret_live_1", &["acme"]),
        key("two apps", &["acme", "other"]),
        key("other", &["other"]),
        own,
        second,
        writer,
    ];
    Setup { api_keys, ..Setup::default() }
}

/// A service with the key `secret_live_1`; ingest needs none of it.
pub async fn service(events: &str) -> Service {
    fed(setup(), events).await
}

async fn fed(mut setup: Setup, events: &str) -> Service {
    let ingest = ApiKey { scopes: [Scope::Ingest].into(), ..key("in", &["acme", "other"]) };
    setup.api_keys.push(ingest);
    let service = Service::new(setup);
    if events.is_empty() {
        return service;
    }
    let request = Request::post("/v1/events")
        .header("content-type", "application/x-ndjson")
        .header("x-api-key", "in");
    let answer = service.send(request.body(Body::from(events.to_owned())).unwrap()).await;
    assert_eq!(answer.json()["refused"], 0, "{}", answer.text);
    service
}

pub async fn post(service: &Service, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let request = headers
        .iter()
        .fold(Request::post(path), |request, (name, value)| request.header(*name, *value));
    service.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

pub const KEY: (&str, &str) = ("authorization", "Api-Key secret_live_1");

async fn ask(service: &Service, path: &str, body: &Value) -> Value {
    let answer = post(service, path, &[KEY], &body.to_string()).await;
    assert_eq!(answer.status, 200, "{body}: {}", answer.text);
    answer.json()
}

fn range(from: &str, to: &str) -> Value {
    json!({"date": [from, to]})
}

/// Whether each field of `expected` is in `got`, in arrays item by item.
pub fn assert_holds(got: &Value, expected: &Value, path: &str) {
    match (got, expected) {
        (Value::Object(got), Value::Object(expected)) => {
            for (name, value) in expected {
                assert_holds(&got[name], value, &format!("{path}.{name}"));
            }
        }
        (Value::Array(got), Value::Array(expected)) => {
            assert_eq!(got.len(), expected.len(), "{path}: {got:#?}");
            for (place, value) in expected.iter().enumerate() {
                assert_holds(&got[place], value, &format!("{path}[{place}]"));
            }
        }
        _ => assert_eq!(got, expected, "{path}"),
    }
}

#[tokio::test]
async fn cohorts_by_renewals_have_the_figures_of_the_example() {
    let service = service(&adapty()).await;
    let body = ask(&service, COHORT, &json!({"filters": range("2025-01-01", "2025-02-28")})).await;
    let expected = json!({"data": [
        {"segment_start_date": "2025-01-01", "type": "total", "title": "Total",
         "total_installs": 4, "total_subscriptions": 3, "total_paid_subscribers": 3,
         "total_revenue_usd": 90.0, "total_proceeds_usd": 63.0, "total_net_revenue_usd": 63.0,
         "total_arpu_usd": 22.5, "total_appu_usd": 15.75, "total_arppu_usd": 45.0,
         "total_arpas_usd": 30.0, "predict": null,
         "values": [
            {"period": 1, "installs": 4, "revenue_usd": 80.0, "proceeds_usd": 56.0,
             "net_revenue_usd": 56.0, "subscriptions": 3, "subscribers": 3, "arpu_usd": 20.0,
             "arppu_usd": 40.0, "revenue_relative": 100.0, "subscribers_relative": 100.0,
             "currently_active_period": false},
            {"period": 2, "installs": 4, "revenue_usd": 10.0, "subscriptions": 2,
             "subscribers": 2, "arpu_usd": 2.5, "arppu_usd": 45.0, "revenue_relative": 12.5,
             "proceeds_relative": 12.5, "subscriptions_relative": 66.66666666666667,
             "currently_active_period": false},
         ]},
        {"segment_start_date": "2025-01-01", "type": "single", "title": "2025-01-01",
         "total_installs": 3, "total_paid_subscribers": 2, "total_revenue_usd": 30.0,
         "total_arpu_usd": 10.0, "total_arppu_usd": 30.0,
         "values": [
            {"period": 1, "revenue_usd": 20.0, "subscribers": 2},
            {"period": 2, "revenue_usd": 10.0, "subscribers": 2, "arppu_usd": 30.0},
         ]},
        {"segment_start_date": "2025-02-01", "type": "single", "total_installs": 1,
         "total_revenue_usd": 60.0, "values": [{"period": 1, "revenue_usd": 60.0}]},
    ]});
    assert_holds(&body, &expected, "");
}

#[tokio::test]
async fn cohorts_by_days_have_the_figures_of_the_example() {
    let service = service(&adapty()).await;
    let mut request = json!({"filters": range("2025-01-01", "2025-03-31"), "period_type": "days",
                             "renewal_days": [0, 7, 31]});
    let body = ask(&service, COHORT, &request).await;
    let cell = |period: u32, revenue: f64, payers: u32| {
        json!({"period": period, "revenue_usd": revenue, "subscribers": payers,
               "subscriptions": payers, "installs": 3})
    };
    let cells = json!([cell(0, 0.0, 0), cell(7, 20.0, 2), cell(31, 20.0, 2)]);
    assert_holds(&body["data"][1]["values"], &cells, "january");
    // With the usual days: renewals on days 38 and 32, a refund on day 48.
    request.as_object_mut().unwrap().remove("renewal_days");
    let body = ask(&service, COHORT, &request).await;
    let january = &body["data"][1];
    let of_day = |day: u32| {
        let cells = january["values"].as_array().unwrap();
        cells.iter().find(|cell| cell["period"] == day).unwrap().clone()
    };
    assert_holds(&of_day(61), &cell(61, 30.0, 1), "day 61");
    assert_eq!(january["total_paid_subscribers"], 1);
    assert_eq!(january["total_subscriptions"], 1);
    assert_eq!(january["total_arppu_usd"], 30.0);
    assert_eq!(body["data"][0]["total_paid_subscribers"], 2);
    // Nobody of this range is 92 days old at its end.
    assert!(january["values"].as_array().unwrap().iter().all(|cell| cell["period"] != 92));
}

#[tokio::test]
async fn lifetime_values_have_the_figures_of_the_example() {
    let service = service(&adapty()).await;
    let request = json!({"filters": range("2025-01-01", "2025-02-28"), "period_type": "days"});
    let body = ask(&service, LTV, &request).await;
    let row = |title: &str, kind: &str, value: f64, size: u32| json!({"title": title, "type": kind, "value": value, "cohort_size": size});
    for (metric, [total, january, february]) in [
        ("revenue", [30.0, 15.0, 60.0]),
        ("proceeds", [21.0, 10.5, 42.0]),
        ("net_revenue", [21.0, 10.5, 42.0]),
    ] {
        let rows = json!([
            row("Total", "total", total, 3),
            row("2025-01-01", "single", january, 2),
            row("2025-02-01", "single", february, 1),
        ]);
        let expected = json!({"data": rows, "value": total, "unit": "USD", "title": "LTV"});
        assert_holds(&body[metric], &expected, metric);
    }
    let values = body["revenue"]["data"][0]["values"].as_array().unwrap();
    for (day, value) in [(0, 20.0), (31, 80.0 / 3.0), (61, 30.0)] {
        let point = values.iter().find(|point| point["period"] == day).unwrap();
        assert_eq!(*point, json!({"period": day, "value": value, "cohort_size": 3}));
    }
    let request = json!({"filters": range("2025-01-01", "2025-02-28"), "segmentation": "country"});
    let body = ask(&service, LTV, &request).await;
    let rows = json!([
        row("Total", "total", 30.0, 3),
        row("United States", "US", 35.0, 2),
        row("United Kingdom", "GB", 20.0, 1),
    ]);
    assert_holds(&body["revenue"]["data"], &rows, "countries");
    let renewals = json!([{"period": 1, "value": 10.0, "cohort_size": 1},
                          {"period": 2, "value": 20.0, "cohort_size": 1}]);
    assert_eq!(body["revenue"]["data"][2]["values"], renewals);
}

#[tokio::test]
async fn filters_narrow_by_every_form_of_a_product_and_by_either_spelling() {
    let lines = "
        a install 2025-01-03 - country=US store=app_store attribution_status=non_organic
        a purchase 2025-01-04 10.00 chain=a period=P1M product_id=monthly
        b install 2025-01-03 - store=play_store
        b purchase 2025-01-04 20.00 chain=b period=P1M product_id=monthly plan_name=base
        c install 2025-01-03 - country=GB store=app_store attribution_status=organic
        c purchase 2025-01-04 40.00 chain=c period=P1Y product_id=annual";
    let service = service(&events(lines)).await;
    for (filters, revenue, installs) in [
        (json!({"store_product_id": ["monthly"]}), 30.0, 3),
        (json!({"store_product_id": [["monthly"]]}), 30.0, 3),
        (json!({"store_product_id": ["app_store:monthly"]}), 10.0, 3),
        (json!({"store_product_id": [["app_store", "monthly"]]}), 10.0, 3),
        (json!({"store_product_id": ["play_store:monthly:base"]}), 20.0, 3),
        (json!({"store_product_id": ["play_store:monthly:other"]}), 0.0, 3),
        (json!({"store_product_id": ["app_store:monthly", "app_store:annual"]}), 50.0, 3),
        (json!({"country": ["us", "gb"]}), 50.0, 2),
        (json!({"country": [""]}), 20.0, 1),
        (json!({"attribution_status": ["non-organic"]}), 10.0, 1),
        (json!({"store": ["app_store"], "duration": ["Annual"]}), 40.0, 2),
        (json!({"country": []}), 70.0, 3),
    ] {
        let mut filters = filters;
        filters["date"] = json!(["2025-01-01", "2025-01-31"]);
        let body = ask(&service, COHORT, &json!({"filters": filters})).await;
        let total = &body["data"][0];
        let got = (total["total_revenue_usd"].as_f64(), total["total_installs"].as_i64());
        assert_eq!(got, (Some(revenue), Some(installs)), "{filters}");
    }
}

#[tokio::test]
async fn a_customer_of_several_subscriptions_counts_once() {
    let lines = "
        a install 2025-01-03 - country=US
        a trial_started 2025-01-03 - chain=s period=P1W
        a purchase 2025-01-10 10.00 chain=s period=P1M product_id=m
        a purchase 2025-01-11 10.00 chain=t period=P1M product_id=n tx=t1
        a renewal 2025-02-10 10.00 chain=s tx=s2 period=P1M product_id=m
        a renewal 2025-02-11 10.00 chain=t tx=t2 period=P1M product_id=n
        a purchase 2025-02-12 5.00 product_id=o
        a refund 2025-02-13 10.00 tx=t1";
    let service = service(&events(lines)).await;
    let dates = range("2025-01-01", "2025-02-28");
    let body = ask(&service, COHORT, &json!({"filters": dates})).await;
    let expected = json!({"total_subscriptions": 3, "total_paid_subscribers": 1,
        "total_arppu_usd": 0.0, "total_arpas_usd": 35.0, "total_revenue_usd": 35.0,
        "values": [{"subscriptions": 3, "subscribers": 1, "revenue_usd": 15.0},
                   {"subscriptions": 2, "subscribers": 1, "revenue_usd": 20.0}]});
    assert_holds(&body["data"][1], &expected, "all");
    let mut filters = dates.clone();
    filters["store_product_id"] = json!(["m"]);
    let body = ask(&service, COHORT, &json!({"filters": filters})).await;
    let expected = json!({"total_subscriptions": 1, "total_paid_subscribers": 1,
        "total_arppu_usd": 20.0,
        "values": [{"subscriptions": 1, "subscribers": 1}, {"subscriptions": 1, "subscribers": 1}]});
    assert_holds(&body["data"][1], &expected, "m");
    let request = json!({"filters": dates, "period_type": "days", "renewal_days": [0, 10, 40, 41]});
    let body = ask(&service, COHORT, &request).await;
    // Refunded on day 41: the customer and the refunded subscription leave.
    let expected = json!({"total_subscriptions": 2, "total_paid_subscribers": 0, "values": [
        {"period": 0, "subscribers": 0, "subscriptions": 0, "arpas_usd": 0.0},
        {"period": 10, "subscribers": 1, "subscriptions": 2, "revenue_usd": 20.0},
        {"period": 40, "subscribers": 1, "subscriptions": 3, "revenue_usd": 45.0},
        {"period": 41, "subscribers": 0, "subscriptions": 2, "revenue_usd": 35.0}]});
    assert_holds(&body["data"][1], &expected, "days");
}

#[tokio::test]
async fn a_cell_is_active_while_somebody_may_still_reach_its_end() {
    let frozen = |text: &str| Clock::Frozen(Timestamp::parse_rfc3339(text).unwrap());
    let active = async |now: &str, request: Value| {
        let service = fed(Setup { clock: frozen(now), ..setup() }, &adapty()).await;
        let body = ask(&service, COHORT, &request).await;
        let cells = body["data"][1]["values"].as_array().unwrap().clone();
        cells.iter().map(|cell| cell["currently_active_period"] == true).collect::<Vec<_>>()
    };
    let renewals = json!({"filters": range("2025-01-01", "2025-02-28")});
    // The newest payment of January's cohort, u2's second, runs through March 20.
    assert_eq!(active("2025-03-20T12:00:00Z", renewals.clone()).await, [false, true]);
    assert_eq!(active("2025-03-21T12:00:00Z", renewals).await, [false, false]);
    let days = json!({"filters": range("2025-01-01", "2025-02-28"), "period_type": "days",
                      "renewal_days": [0, 7]});
    // Who came on January 31 has day 7 behind them on February 8, at the latest in its last instant.
    assert_eq!(active("2025-02-08T12:00:00Z", days.clone()).await, [false, true]);
    assert_eq!(active("2025-02-09T12:00:00Z", days).await, [false, false]);
}

#[tokio::test]
async fn a_zone_moves_what_lies_near_midnight() {
    let lines = "a install 2025-01-31T23:30 -
                 a purchase 2025-02-01T10:00 10.00";
    let service = service(&events(lines)).await;
    let request = json!({"filters": range("2025-01-01", "2025-02-28")}).to_string();
    let start = async |zone: &str| {
        let headers = [KEY, ("adapty-tz", zone)];
        let answer = post(&service, COHORT, &headers, &request).await;
        answer.json()["data"][1]["segment_start_date"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(start("UTC").await, "2025-01-01");
    assert_eq!(start("Europe/Berlin").await, "2025-02-01");
    let answer = post(&service, COHORT, &[KEY, ("adapty-tz", "Asia/Tokyo")], &request).await;
    assert_eq!(answer.status, 400);
    let error = json!({"errors": [{"source": "Adapty-Tz",
        "errors": ["the zone \"Asia/Tokyo\" is not kept; those kept are UTC, Europe/Berlin"]}],
        "error_code": "value_error", "status_code": 400});
    assert_eq!(answer.json(), error);
}

#[tokio::test]
async fn refusals_have_the_vendors_body() {
    let service = service(&adapty()).await;
    let good = json!({"filters": range("2025-01-01", "2025-02-28")}).to_string();
    let api_key = |secret: &str| format!("Api-Key {secret}");
    let refused = |answer: &Answer, status: u16, source: &str, code: &str| {
        let body = answer.json();
        assert_eq!(answer.status, status, "{body}");
        assert_eq!(body["errors"][0]["source"], source, "{body}");
        assert!(body["errors"][0]["errors"][0].is_string(), "{body}");
        assert_eq!(body["error_code"], code, "{body}");
        assert_eq!(body["status_code"], status, "{body}");
        assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
    };
    let none = "non_field_errors";
    for path in [LTV, COHORT, LTV.trim_end_matches('/'), COHORT.trim_end_matches('/')] {
        assert_eq!(post(&service, path, &[KEY], &good).await.status, 200, "{path}");
        let answer = post(&service, path, &[], &good).await;
        refused(&answer, 401, none, "not_authenticated");
        let answer =
            post(&service, path, &[("authorization", "Bearer secret_live_1")], &good).await;
        refused(&answer, 401, none, "not_authenticated");
        for (secret, status, code) in [
            ("nobody", 401, "authentication_failed"),
            ("two apps", 403, "permission_denied"),
            ("writer", 403, "permission_denied"),
        ] {
            let answer = post(&service, path, &[("authorization", &api_key(secret))], &good).await;
            refused(&answer, status, none, code);
        }
        for (body, source, code) in [
            ("{}", "filters", "value_error.missing"),
            (r#"{"filters": {}}"#, "date", "value_error.missing"),
            (r#"{"filters": {"date": ["2025-01-02", "2025-01-01"]}}"#, "date", "value_error"),
            ("{", none, "value_error"),
        ] {
            refused(&post(&service, path, &[KEY], body).await, 400, source, code);
        }
        let wrong = json!({"filters": range("2025-01-01", "2025-01-02"), "period_unit": "decade"});
        let answer = post(&service, path, &[KEY], &wrong.to_string()).await;
        refused(&answer, 400, "period_unit", "enum");
        assert!(answer.text.contains("permitted: 'day', 'week'"), "{}", answer.text);
        for (filter, value) in
            [("duration", "monthly"), ("offer_category", "none"), ("offer_type", "free-trial")]
        {
            let mut filters = range("2025-01-01", "2025-01-02");
            filters[filter] = json!([value]);
            let wrong = json!({"filters": filters}).to_string();
            refused(&post(&service, path, &[KEY], &wrong).await, 400, filter, "enum");
        }
        let get = service.send(Request::get(path).body(Body::empty()).unwrap()).await;
        refused(&get, 405, none, "method_not_allowed");
        assert_eq!(get.header("allow"), "POST");
    }
    let answer = post(&service, "/api/v1/client-api/metrics/nothing/", &[KEY], &good).await;
    refused(&answer, 404, none, "not_found");
}

#[tokio::test]
async fn the_third_request_of_a_second_is_too_many_for_all_keys_of_an_app() {
    let service = service(&adapty()).await;
    let good = json!({"filters": range("2025-01-01", "2025-02-28")}).to_string();
    let ask = async |secret: &str| {
        let secret = format!("Api-Key {secret}");
        post(&service, LTV, &[("authorization", &secret)], &good).await
    };
    assert_eq!(ask("slow").await.status, 200);
    assert_eq!(ask("slow2").await.status, 200);
    let mut third = ask("slow").await;
    // On a machine so slow that half a second has gone by, there was room for one more.
    for _ in 0..100 {
        if third.status == 429 {
            break;
        }
        third = ask("slow").await;
    }
    assert_eq!(third.status, 429);
    assert_eq!(third.header("retry-after"), "1");
    assert_eq!(third.json()["error_code"], "throttled");
    // A limit of the key's own replaces the vendor's.
    for _ in 0..5 {
        assert_eq!(ask("secret_live_1").await.status, 200);
    }
}

#[tokio::test]
async fn answers_say_as_of_what_they_are_and_what_had_no_effect() {
    let service = service(&adapty()).await;
    let request = json!({"filters": {"date": ["2025-01-01", "2025-02-28"], "state": ["live"],
        "compare_date": ["2024-01-01", "2024-02-28"]}, "prediction_months": 12, "colour": 1});
    let answer = post(&service, &format!("{COHORT}?x=1"), &[KEY], &request.to_string()).await;
    let ignored = "colour, filters.compare_date, filters.state, prediction_months, x";
    assert_eq!(answer.header("x-ltvstream-ignored"), ignored);
    assert_eq!(answer.header("x-ltvstream-as-of"), "0:13,1:0");
    assert!(answer.header("content-type").starts_with("application/json"));
}

#[tokio::test]
async fn what_is_named_as_without_effect_has_none_and_what_is_not_named_has_one() {
    let service = service(&adapty()).await;
    let days = json!({"period_type": "days", "renewal_days": [0, 31]});
    let rows = json!({"format": "csv"});
    let counts = json!({"format": "csv", "value_field": "subscribers"});
    let (by_year, by_country) =
        (json!({"segmentation": "year"}), json!({"segmentation": "country"}));
    for (path, base, name, value, is_idle) in [
        (COHORT, &json!({}), "renewal_days", json!([0, 31]), true),
        (COHORT, &json!({"period_type": "days"}), "renewal_days", json!([0, 31]), false),
        (COHORT, &json!({}), "value_type", json!("relative"), true),
        (COHORT, &days, "value_field", json!("subscribers"), true),
        (COHORT, &json!({"format": "json"}), "accounting_type", json!("proceeds"), true),
        (COHORT, &rows, "value_type", json!("relative"), false),
        (COHORT, &rows, "value_field", json!("subscribers"), false),
        (COHORT, &rows, "accounting_type", json!("proceeds"), false),
        (COHORT, &rows, "renewal_days", json!([0, 31]), true),
        (COHORT, &counts, "accounting_type", json!("proceeds"), true),
        (COHORT, &counts, "value_type", json!("relative"), false),
        (COHORT, &json!({}), "period_unit", json!("year"), false),
        (COHORT, &json!({}), "segmentation", json!("country"), true),
        (LTV, &json!({}), "period_unit", json!("day"), false),
        (LTV, &by_year, "period_unit", json!("day"), true),
        (LTV, &by_country, "period_unit", json!("day"), true),
        (LTV, &by_year, "segmentation_by", json!("country"), true),
        (LTV, &json!({}), "segmentation_by", json!("country"), false),
        (LTV, &by_country, "period_type", json!("days"), false),
    ] {
        let mut request = base.clone();
        request["filters"] = range("2025-01-01", "2025-02-28");
        let without = post(&service, path, &[KEY], &request.to_string()).await;
        request[name] = value;
        let with = post(&service, path, &[KEY], &request.to_string()).await;
        let statuses = (with.status.as_u16(), without.status.as_u16());
        assert_eq!(statuses, (200, 200), "{request}: {}", with.text);
        let named = with.header("x-ltvstream-ignored").split(", ").any(|field| field == name);
        assert_eq!(named, is_idle, "{path} {request}");
        assert_eq!(with.text == without.text, is_idle, "{path} {request}");
    }
}

/// Rows of CSV without quotes.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split(',').collect()).collect()
}

#[tokio::test]
async fn csv_has_the_numbers_of_json() {
    let service = service(&adapty()).await;
    let mut request = json!({"filters": range("2025-01-01", "2025-03-31"), "format": "csv"});
    let csv = async |path: &str, request: &Value| {
        let answer = post(&service, path, &[KEY], &request.to_string()).await;
        assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
        answer.text
    };
    let text = csv(COHORT, &request).await;
    let expected = "cohort,type,installs,subscriptions,paid_subscribers,total,1,2\n\
                    Total,total,4,3,3,90.0,80.0,10.0\n\
                    2025-01-01,single,3,2,2,30.0,20.0,10.0\n\
                    2025-02-01,single,1,1,1,60.0,60.0,\n";
    assert_eq!(text, expected);
    request["value_field"] = json!("subscribers");
    request["value_type"] = json!("relative");
    let text = csv(COHORT, &request).await;
    assert_eq!(rows(&text)[1][5..], ["3", "100.0", "66.66666666666667"]);
    request["value_type"] = json!("absolute");
    for (field, names) in [
        ("revenue", ["revenue", "proceeds", "net_revenue"]),
        ("arpu", ["arpu", "appu", "anrpu"]),
        ("arppu", ["arppu", "apppu", "anrppu"]),
        ("arpas", ["arpas", "appas", "anrpas"]),
    ] {
        for (accounting, name) in ["revenue", "proceeds", "net_revenue"].into_iter().zip(names) {
            request["value_field"] = json!(field);
            request["accounting_type"] = json!(accounting);
            request["format"] = json!("json");
            let body = ask(&service, COHORT, &request).await;
            request["format"] = json!("csv");
            let text = csv(COHORT, &request).await;
            let rows = rows(&text);
            for (row, json) in rows[1..].iter().zip(body["data"].as_array().unwrap()) {
                assert_eq!(row[5], json[format!("total_{name}_usd")].to_string(), "{field}");
                for (cell, value) in row[6..].iter().zip(json["values"].as_array().unwrap()) {
                    assert_eq!(*cell, value[format!("{name}_usd")].to_string(), "{field}");
                }
            }
        }
    }
    let request = json!({"filters": range("2025-01-01", "2025-02-28"), "segmentation": "product"});
    let text = csv(&format!("{LTV}?format=csv"), &request).await;
    let expected = "accounting_type,segment,cohort_size,ltv,1,2\n\
                    revenue,Total,3,30.0,26.666666666666668,30.0\n\
                    revenue,annual,1,60.0,60.0,\n\
                    revenue,monthly,2,15.0,10.0,15.0\n";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(text.lines().count(), 10);
}

/// The bodies of the vendor's reference pages, as its curl lines send them.
#[tokio::test]
async fn the_requests_of_the_vendors_pages_are_answered() {
    let lines = "
        a install 2024-04-03 - country=US store=app_store attribution_source=appsflyer \
            attribution_status=organic attribution_channel=social_media
        a purchase 2024-04-04 10.00 chain=a period=P1M product_id=monthly \
            offer_category=introductory
        a renewal 2024-05-04 10.00 chain=a tx=a2 period=P1M product_id=monthly
        b install 2024-04-05 - country=DE store=app_store
        b purchase 2024-04-06 20.00 chain=b period=P1M product_id=monthly
        c install 2024-05-05 - country=US store=app_store
        c purchase 2024-05-06 40.00 chain=c period=P1Y product_id=annual";
    let service = service(&events(lines)).await;
    let ltv = r#"{
        "filters": {
            "date": ["2024-01-01", "2024-12-31"],
            "compare_date": ["2023-01-01", "2023-12-31"],
            "offer_category": ["introductory"],
            "store": ["app_store"],
            "country": ["us"],
            "attribution_source": ["appsflyer"],
            "attribution_status": ["organic"],
            "attribution_channel": ["social_media"]
        },
        "period_unit": "quarter",
        "period_type": "renewals",
        "segmentation": "store_product_id",
        "format": "csv"
    }"#;
    let answer = post(&service, LTV, &[KEY], ltv).await;
    let expected = "accounting_type,segment,cohort_size,ltv,1,2\n\
                    revenue,Total,1,20.0,10.0,20.0\n\
                    revenue,monthly,1,20.0,10.0,20.0\n";
    assert!(answer.text.starts_with(expected), "{}", answer.text);
    assert_eq!(answer.header("x-ltvstream-ignored"), "filters.compare_date, period_unit");
    let cohort = r#"{
        "filters": {
            "date": ["2024-04-01", "2024-09-30"],
            "store": ["app_store"],
            "country": ["us"]
        },
        "period_unit": "month",
        "period_type": "renewals",
        "value_type": "absolute",
        "value_field": "subscriptions"
    }"#;
    let answer = post(&service, COHORT, &[KEY], cohort).await;
    let row = |title: &str, installs: i64, revenue: f64| json!({"title": title, "total_installs": installs, "total_revenue_usd": revenue});
    let rows = [row("Total", 2, 60.0), row("2024-04-01", 1, 20.0), row("2024-05-01", 1, 40.0)];
    assert_holds(&answer.json()["data"], &json!(rows), "cohort");
}

#[tokio::test]
async fn readers_of_known_clients_find_what_they_look_for() {
    let service = service(&adapty()).await;
    let dates = range("2025-01-01", "2025-02-28");
    // One looks cells of single rows up by day.
    let request = json!({"filters": dates, "period_unit": "month", "period_type": "days",
                         "renewal_days": [0, 7, 14, 30, 60], "format": "json"});
    let body = ask(&service, COHORT, &request).await;
    let singles: Vec<&Value> =
        body["data"].as_array().unwrap().iter().filter(|row| row["type"] == "single").collect();
    let cell = |row: &Value, day: u64| {
        let cells = row["values"].as_array().unwrap();
        let cell = cells.iter().find(|cell| cell["period"].as_u64() == Some(day));
        cell.and_then(|cell| cell["revenue_usd"].as_f64())
    };
    assert_eq!(singles[0]["segment_start_date"].as_str().unwrap().len(), 10);
    let days = [0, 7, 14, 30, 60].map(|day| cell(singles[0], day));
    assert_eq!(days, [Some(0.0), Some(20.0), Some(20.0), Some(20.0), None]);
    // One exports renewals: titles are dates, periods count from 1, sums are its own.
    let request = json!({"filters": {"date": ["2025-01-01", "2025-02-28"], "country": ["us"]},
                         "period_type": "renewals"});
    let body = ask(&service, COHORT, &request).await;
    let mut sum = 0.0;
    for row in body["data"].as_array().unwrap().iter().filter(|row| row["type"] == "single") {
        row["title"].as_str().unwrap().parse::<chrono::NaiveDate>().unwrap();
        for (place, cell) in row["values"].as_array().unwrap().iter().enumerate() {
            assert_eq!(cell["period"], place + 1);
            assert!(cell["currently_active_period"].is_boolean());
            sum += cell["revenue_usd"].as_f64().unwrap();
        }
    }
    assert_eq!(sum, 70.0);
    // Loaders go day by day and store arrays as they are.
    let mut payers = 0;
    for day in ["2025-01-03", "2025-01-20", "2025-01-25", "2025-02-05", "2025-02-06"] {
        let request = json!({"filters": range(day, day), "period_unit": "day", "format": "json"});
        let load = async |path: &str, coding: &str| {
            let headers = [KEY, ("accept-encoding", coding), ("adapty-tz", "UTC")];
            post(&service, path, &headers, &request.to_string()).await
        };
        for path in [LTV, COHORT] {
            let (plain, packed) = (load(path, "identity").await, load(path, "gzip").await);
            assert_eq!((plain.status.as_u16(), plain.header("content-encoding")), (200, ""));
            assert_eq!((packed.status.as_u16(), packed.header("content-encoding")), (200, "gzip"));
            assert_eq!(packed.json(), plain.json());
        }
        let answer = load(LTV, "gzip").await;
        let body = answer.json();
        for metric in ["revenue", "proceeds", "net_revenue"] {
            assert!(body[metric]["data"][0]["values"].is_array(), "{}", answer.text);
        }
        payers += body["revenue"]["data"][0]["cohort_size"].as_i64().unwrap();
    }
    assert_eq!(payers, 3);
}

#[tokio::test]
async fn answers_are_as_the_document_describes_them() {
    for events in [adapty(), String::new()] {
        let service = service(&events).await;
        let document = service.ask("/openapi.json").await;
        let dates = range("2025-01-01", "2025-02-28");
        for period_type in ["renewals", "days"] {
            let request = json!({"filters": dates, "period_type": period_type});
            check(&document, "AdaptyCohorts", &ask(&service, COHORT, &request).await);
            for segmentation in ["default", "week", "country"] {
                let mut request = request.clone();
                request["segmentation"] = json!(segmentation);
                check(&document, "AdaptyLtv", &ask(&service, LTV, &request).await);
            }
        }
        check(&document, "AdaptyError", &post(&service, LTV, &[KEY], "{}").await.json());
    }
}

#[tokio::test]
async fn a_table_that_would_fit_nowhere_is_refused() {
    let service = service("").await;
    let days: Vec<u32> = (0..1_000).collect();
    let request = json!({"filters": range("2010-01-01", "2025-02-28"), "period_unit": "day",
                         "period_type": "days", "renewal_days": days});
    let answer = post(&service, COHORT, &[KEY], &request.to_string()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("cohorts times days"), "{}", answer.text);
}

#[tokio::test]
async fn nothing_is_answered_with_noughts() {
    let service = service("").await;
    let request = json!({"filters": range("2025-01-01", "2025-02-28")});
    let body = ask(&service, LTV, &request).await;
    let total = json!([{"title": "Total", "type": "total", "value": 0.0, "values": [],
                        "cohort_size": 0}]);
    assert_eq!(body["revenue"]["data"], total);
    let body = ask(&service, COHORT, &request).await;
    assert_eq!(body["data"].as_array().unwrap().len(), 1);
    assert_eq!(body["data"][0]["total_arpu_usd"], 0.0);
    assert_eq!(body["data"][0]["values"], json!([]));
}
