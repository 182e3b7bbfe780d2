//! Zenovay's API: figures, words, limits, and the vendor's own request.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;
use chrono::NaiveDate;
use ltvstream::config::{ApiKey, Plan, Scope, hash_of};
use ltvstream::http::{Clock, Limits, Readiness};
use serde_json::{Value, json};

use crate::businesses::{Business, collisions, subscriptions};
use crate::clients::{node, run};
use crate::http_support::{ACME, Answer, OTHER, Service, Setup, events, zenovay};
use crate::reference::{Buyers, Width};

fn path(rest: &str) -> String {
    format!("/api/external/v1/revenue/{ACME}/ltv{rest}")
}

fn key(name: &str, plan: Plan, scope: Scope) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        sha256: hash_of(name),
        apps: ["acme".to_owned()].into(),
        scopes: [scope].into(),
        plan,
        rate_limit_per_second: None,
    }
}

fn with_keys() -> Setup {
    let api_keys = vec![
        key("pro", Plan::Pro, Scope::Read),
        key("second", Plan::Pro, Scope::Read),
        key("free", Plan::Free, Scope::Read),
        key("writer", Plan::Pro, Scope::Ingest),
        ApiKey {
            rate_limit_per_second: std::num::NonZeroU32::new(2),
            ..key("own", Plan::Pro, Scope::Read)
        },
    ];
    Setup { api_keys, ..Setup::default() }
}

async fn get(service: &Service, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers
        .iter()
        .fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    service.send(request.body(Body::empty()).unwrap()).await
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

/// The error's code and message, its form checked.
fn failure(answer: &Answer, status: u16) -> (String, String) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert!(answer.header("content-type").starts_with("application/json"));
    assert!(is_uuid(answer.header("x-request-id")), "{:?}", answer.headers);
    let body = answer.json();
    let error = &body["error"];
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    assert_eq!(body["success"], false);
    assert_eq!(error.as_object().unwrap().len(), 3, "{body}");
    assert_eq!(error["timestamp"], "2026-03-16T15:00:00.000Z");
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    (text("code"), text("message"))
}

fn cohort(date: &str, customers: i64, values: &[f64]) -> Value {
    let periods = values
        .iter()
        .enumerate()
        .map(|(period, value)| json!({"period": period, "cumulative_revenue_per_customer": value}));
    json!({"cohort_date": date, "customers": customers, "periods": periods.collect::<Vec<_>>()})
}

fn body(cohorts: Value, at_30_days: f64, at_90_days: f64) -> Value {
    json!({
        "success": true,
        "data": {
            "cohorts": cohorts,
            "summary": {"average_ltv_30d": at_30_days, "average_ltv_90d": at_90_days},
        },
        "timestamp": "2026-03-16T15:00:00.000Z",
    })
}

#[tokio::test]
async fn the_worked_example_is_answered_number_for_number() {
    let service = Service::with(&zenovay()).await;
    let answer = service.get(&path("")).await;
    let january = cohort("2026-01-01", 2, &[20.0, 22.5, 27.5]);
    let february = cohort("2026-02-01", 1, &[7.0, 14.0]);
    let expected = body(json!([january, february]), 15.67, 27.5);
    assert_eq!(answer.json(), expected);
    // Two decimals, also where they are noughts.
    assert!(answer.text.contains(r#""cumulative_revenue_per_customer":20.00"#), "{}", answer.text);
    assert!(answer.text.contains(r#""average_ltv_90d":27.50"#), "{}", answer.text);
    assert!(is_uuid(answer.header("x-request-id")));
    assert_eq!(answer.header("x-ltvstream-as-of"), "0:0,1:7");
    assert_eq!(answer.header("x-ltvstream-newest-event"), "2026-03-05T09:00:00Z");
    assert_eq!(answer.header("x-ltvstream-data-age-seconds"), "972000");
    assert_eq!(answer.header("x-ltvstream-ignored"), "");
    assert_eq!(service.ask(&path("?granularity=monthly&range=90d")).await, expected);
    assert_eq!(service.ask("/api/external/v1/revenue/acme/ltv").await, expected);
    let in_capitals = path("").replace(ACME, &ACME.to_uppercase());
    assert_eq!(service.ask(&in_capitals).await, expected);
}

/// Each customer of a cohort pays these amounts, in the month of the cohort and the next ones.
fn sample(cohorts: &[(usize, usize, &[&str])]) -> String {
    let mut lines = String::new();
    for (month, customers, amounts) in cohorts {
        for customer in 0..*customers {
            for (period, amount) in amounts.iter().enumerate() {
                let month_of = month + period;
                lines += &format!("m{month}c{customer} purchase 2026-{month_of:02}-10 {amount}\n");
            }
        }
    }
    events(&lines)
}

#[tokio::test]
async fn the_vendors_sample_has_the_cohorts_of_its_page_and_means_weighted_by_customers() {
    let service = Service::with(&sample(&[
        (1, 245, &["48.50", "23.80", "16.85"]),
        (2, 312, &["52.10", "26.80"]),
        (3, 289, &["55.20"]),
    ]))
    .await;
    let expected = body(
        json!([
            cohort("2026-01-01", 245, &[48.5, 72.3, 89.15]),
            cohort("2026-02-01", 312, &[52.1, 78.9]),
            cohort("2026-03-01", 289, &[55.2]),
        ]),
        52.12,
        89.15,
    );
    assert_eq!(service.ask(&path("?range=90d&granularity=monthly")).await, expected);
}

#[tokio::test]
async fn a_range_lists_whole_every_cohort_that_it_meets() {
    let service = Service::with(&zenovay()).await;
    let december = events("D purchase 2025-12-03 4.00\nD purchase 2026-03-02 2.00");
    service.post("application/x-ndjson", december).await;
    let listed = async |query: &str| {
        let answer = service.ask(&path(query)).await;
        let cohorts = answer["data"]["cohorts"].as_array().unwrap().clone();
        let shown = cohorts.into_iter().map(|cohort| {
            let value = |period: &Value| period["cumulative_revenue_per_customer"].as_f64();
            let values = cohort["periods"].as_array().unwrap().iter().filter_map(value);
            (cohort["cohort_date"].as_str().unwrap().to_owned(), values.collect::<Vec<_>>())
        });
        let summary = &answer["data"]["summary"];
        let means = [&summary["average_ltv_30d"], &summary["average_ltv_90d"]].map(Value::as_f64);
        (shown.collect::<Vec<_>>(), means.map(Option::unwrap))
    };
    let row = |date: &str, values: &[f64]| (date.to_owned(), values.to_vec());
    let (cohorts, means) = listed("?range=90d").await;
    assert_eq!(cohorts[0], row("2025-12-01", &[4.0, 4.0, 4.0, 6.0]));
    assert_eq!(cohorts.len(), 3);
    assert_eq!(means, [12.75, 19.67]);
    let (cohorts, means) = listed("?range=30d").await;
    assert_eq!(cohorts, [row("2026-02-01", &[7.0, 14.0])]);
    assert_eq!(means, [7.0, 0.0]);
    for range in ["7d", "24h"] {
        assert_eq!(listed(&format!("?range={range}")).await, (Vec::new(), [0.0, 0.0]));
    }
    // Weeks from Monday: 2025-12-15 is the first that meets the range, and nobody began in it.
    let (cohorts, means) = listed("?granularity=weekly").await;
    let dates: Vec<&str> = cohorts.iter().map(|(date, _)| date.as_str()).collect();
    assert_eq!(dates, ["2026-01-05", "2026-01-19", "2026-02-23"]);
    assert_eq!(cohorts[0].1.len(), 11);
    assert_eq!(cohorts[2].1, [14.0, 14.0, 14.0, 14.0]);
    // A: 10 after three weeks; B: 25; C: 14. Nobody is eleven weeks old.
    assert_eq!(means, [16.33, 0.0]);
}

#[tokio::test]
async fn without_revenue_there_are_no_cohorts_and_means_of_nought() {
    let service = Service::new(Setup::default());
    assert_eq!(service.ask(&path("")).await, body(json!([]), 0.0, 0.0));
}

#[tokio::test]
async fn each_refusal_has_the_vendors_status_code_and_form() {
    let service = Service::new(with_keys());
    let pro = [("x-api-key", "pro")];
    for (path, headers, status, code) in [
        (path(""), &[][..], 401, "UNAUTHORIZED"),
        (path(""), &[("x-api-key", "nobody")], 401, "UNAUTHORIZED"),
        (
            path(""),
            &[("x-api-key", "nobody"), ("authorization", "Bearer pro")],
            401,
            "UNAUTHORIZED",
        ),
        (path(""), &[("authorization", "Basic pro")], 401, "UNAUTHORIZED"),
        (path(""), &[("x-api-key", "free")], 403, "PLAN_REQUIRED"),
        (path(""), &[("x-api-key", "writer")], 403, "FORBIDDEN"),
        (path("").replace(ACME, OTHER), &pro, 403, "FORBIDDEN"),
        (path("").replace(ACME, "11111111-2222-4333-8444-555555555555"), &pro, 404, "NOT_FOUND"),
        (path("").replace(ACME, "my-site"), &pro, 400, "VALIDATION_ERROR"),
        (path("?range=1y"), &pro, 400, "VALIDATION_ERROR"),
        (path("?range="), &pro, 400, "VALIDATION_ERROR"),
        (path("?granularity=daily"), &pro, 400, "VALIDATION_ERROR"),
    ] {
        let answer = get(&service, &path, headers).await;
        assert_eq!(failure(&answer, status).0, code, "{path} {headers:?}");
    }
    for (path, status, code) in [
        (path("").replace(ACME, ""), 400, "MISSING_SITE_ID"),
        (path("/"), 404, "NOT_FOUND"),
        ("/api/external/v1/usage".to_owned(), 404, "NOT_FOUND"),
    ] {
        let answer = get(&service, &path, &pro).await;
        assert_eq!(failure(&answer, status).0, code, "{path}");
    }
    let (_, message) = failure(&get(&service, &path(""), &[("x-api-key", "free")]).await, 403);
    assert_eq!(message, "This endpoint requires a Pro plan or higher");
    let both = path("?range=1y&granularity=daily");
    let (_, message) = failure(&get(&service, &both, &pro).await, 400);
    assert_eq!(
        message,
        "range must be one of 24h, 7d, 30d, 90d, got \"1y\"; granularity must be one of weekly, \
         monthly, got \"daily\""
    );
}

#[tokio::test]
async fn both_headers_carry_a_key_and_its_own_wins() {
    let service = Service::new(with_keys());
    for headers in [
        &[("x-api-key", "pro")][..],
        &[("authorization", "Bearer pro")],
        &[("x-api-key", "pro"), ("authorization", "Bearer nobody")],
    ] {
        assert_eq!(get(&service, &path(""), headers).await.status, 200, "{headers:?}");
    }
}

#[tokio::test]
async fn what_is_not_used_is_named_and_does_no_harm() {
    let service = Service::with(&zenovay()).await;
    let answer = service.get(&path("?range=90d&segment=country&range=7d")).await;
    assert_eq!(answer.header("x-ltvstream-ignored"), "range, segment");
    assert_eq!(answer.json(), service.ask(&path("")).await);
}

#[tokio::test]
async fn thirty_requests_a_minute_are_answered_and_counted() {
    let service = Service::new(with_keys());
    let ask = async |key| get(&service, &path(""), &[("x-api-key", key)]).await;
    let first = ask("pro").await;
    for (name, value) in [
        ("x-ratelimit-limit", "30"),
        ("x-ratelimit-remaining", "29"),
        ("x-usage-monthly", "1"),
        ("x-usage-total", "1"),
        ("x-usage-limit", "10000"),
        ("x-usage-reset", "2026-04-01T00:00:00.000Z"),
    ] {
        assert_eq!(first.header(name), value, "{name}");
    }
    let now = 1_773_673_200;
    let reset: i64 = first.header("x-ratelimit-reset").parse().unwrap();
    assert!((now..=now + 60).contains(&reset), "{reset}");
    // A wrong key is not counted, a wrong question is; the limit is told to everybody.
    for unknown in [path(""), "/api/external/v1/nothing".to_owned()] {
        let answer = get(&service, &unknown, &[("x-api-key", "nobody")]).await;
        assert_eq!(answer.header("x-ratelimit-limit"), "30", "{unknown}");
    }
    assert_eq!(get(&service, &path("?range=x"), &[("x-api-key", "pro")]).await.status, 400);
    // One comes back every two seconds, so that a slow machine needs a few more than thirty.
    let mut answers = Vec::new();
    while answers.last().is_none_or(|last: &Answer| last.status == 200) {
        answers.push(ask("pro").await);
        assert!(answers.len() < 1_000);
    }
    assert!(answers.len() >= 29, "{}", answers.len());
    let refused = answers.pop().unwrap();
    let (code, message) = failure(&refused, 429);
    let wait = refused.header("retry-after");
    assert_eq!(code, "RATE_LIMIT_EXCEEDED");
    assert_eq!(
        message,
        format!("Rate limit exceeded (30 requests/minute). Try again in {wait} seconds")
    );
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    assert_eq!(ask("second").await.status, 200);
}

#[tokio::test]
async fn a_limit_of_the_key_replaces_those_of_the_vendor() {
    let service = Service::new(with_keys());
    let ask = async || get(&service, &path(""), &[("x-api-key", "own")]).await;
    let first = ask().await;
    assert_eq!((first.header("x-ratelimit-limit"), first.header("x-usage-limit")), ("2", ""));
    let mut refused = ask().await;
    for _ in 0..1_000 {
        if refused.status == 429 {
            break;
        }
        refused = ask().await;
    }
    let (_, message) = failure(&refused, 429);
    assert_eq!(message, "Rate limit exceeded (2 requests/second). Try again in 1 seconds");
}

#[tokio::test]
async fn what_no_handler_answers_is_worded_as_the_vendor_does_too() {
    let limits = Limits { requests_in_flight_max: 0, ..Limits::default() };
    let service = Service::new(Setup { limits, ..Setup::default() });
    assert_eq!(failure(&service.get(&path("")).await, 429).0, "RATE_LIMIT_EXCEEDED");
    let service = Service::new(Setup { partitions: 0, ..Setup::default() });
    let answer = service.get(&path("")).await;
    assert_eq!(failure(&answer, 503).0, "SERVICE_UNAVAILABLE");
    assert_eq!(answer.header("retry-after"), "1");
    let service = Service::new(Setup { readiness: Readiness::ready(), ..Setup::default() });
    let posted = service.send(Request::post(path("")).body(Body::empty()).unwrap()).await;
    assert_eq!(failure(&posted, 405).0, "GENERIC_ERROR");
    assert_eq!(posted.header("allow"), "GET,HEAD");
}

// ---- against the slow reference

/// Micro-units over a count in units with two decimals, halves away from zero.
fn two_decimals(micros: i128, count: i128) -> f64 {
    let unit = count * 10_000;
    let cents = (micros.abs() + unit / 2) / unit * micros.signum();
    format!("{}e-2", cents).parse().unwrap()
}

/// The data of an answer, and how many cohorts are in it.
fn expected(
    cohorts: &BTreeMap<NaiveDate, Buyers>,
    (width, days): (Width, i64),
    (today, from): (NaiveDate, NaiveDate),
) -> (Value, usize) {
    let listed = || cohorts.range(width.start(from)..);
    let age = |start: NaiveDate| width.between(start, today);
    let mean = |period: i64| {
        let old: Vec<&Buyers> =
            listed().filter(|(start, _)| age(**start) >= period).map(|(_, it)| it).collect();
        match old.iter().map(|cohort| cohort.customers).sum() {
            0 => 0.0,
            all => two_decimals(old.iter().map(|cohort| cohort.through(period)).sum(), all),
        }
    };
    let shown = listed().map(|(start, cohort)| {
        let value = |period| two_decimals(cohort.through(period), cohort.customers);
        let values: Vec<f64> = (0..=age(*start)).map(value).collect();
        self::cohort(&start.to_string(), i64::try_from(cohort.customers).unwrap(), &values)
    });
    let [at_30_days, at_90_days] = if days == 7 { [3, 11] } else { [0, 2] }.map(mean);
    let data = json!({
        "cohorts": shown.collect::<Vec<_>>(),
        "summary": {"average_ltv_30d": at_30_days, "average_ltv_90d": at_90_days},
    });
    (data, listed().count())
}

/// Asks everything that can be asked; how many cohorts there were.
async fn compare(business: &Business, seed: u64) -> usize {
    let reference = business.reference();
    let mut seen = 0;
    for service in business.services(seed).await {
        for app in &business.apps {
            for (granularity, of) in [("monthly", (Width::Month, 30)), ("weekly", (Width::Week, 7))]
            {
                let cohorts = reference.first_purchases(&app.id, of.0, business.now);
                for (range, days) in [("24h", 1), ("7d", 7), ("30d", 30), ("90d", 90)] {
                    let path = format!(
                        "/api/external/v1/revenue/{}/ltv?range={range}&granularity={granularity}",
                        app.id
                    );
                    let days =
                        (business.day_before_now(app, 0), business.day_before_now(app, days));
                    let (data, count) = expected(&cohorts, of, days);
                    assert_eq!(service.ask(&path).await["data"], data, "seed {seed}: {path}");
                    seen += count;
                }
            }
        }
    }
    seen
}

#[tokio::test]
async fn any_business_has_the_cohorts_of_the_slow_reference() {
    let mut seen = 0;
    for seed in 0..200 {
        seen += compare(&collisions(seed), seed).await;
        seen += compare(&subscriptions(seed), seed).await;
    }
    assert!(seen > 3_000, "too little was compared: {seen}");
}

/// A service that holds the worked example, whatever keys it asks for.
async fn holding_the_example(setup: Setup) -> Service {
    let stores: Vec<_> = (0..2).map(|_| Default::default()).collect();
    let writer = Setup { stores: stores.clone(), ..Setup::default() };
    Service::fed(writer, &zenovay()).await;
    Service::new(Setup { stores, ..setup })
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_compile_against_the_vendors_interface() {
    let mut setup = with_keys();
    setup.api_keys[0].apps.insert("other".to_owned());
    let address = holding_the_example(setup).await.listen().await;
    assert_eq!(node("zenovay.js", &[&address, ACME, OTHER]).await.trim(), "ok");
}

/// The request of the vendor's page, its host and key aside, with its three ways to show a key.
#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_curl_lines_are_answered() {
    let clock = Clock::Frozen(ltvstream::domain::time::Timestamp(1_773_673_200_000_000));
    let service = Service::fed(Setup { clock, ..Setup::default() }, &zenovay()).await;
    let january = cohort("2026-01-01", 2, &[20.0, 22.5, 27.5]);
    let february = cohort("2026-02-01", 1, &[7.0, 14.0]);
    let expected = body(json!([january, february]), 15.67, 27.5);
    let guarded = holding_the_example(with_keys()).await;
    let (open, guarded) = (service.listen().await, guarded.listen().await);
    let line = |host: &str, more: &str| {
        format!("curl -sS -X GET '{host}{}'{more}", path("?range=90d&granularity=monthly"))
    };
    let text = run("sh", &["-c", &line(&open, " \\\n  -H 'X-API-Key: YOUR_API_KEY'")]).await;
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    for (header, success) in
        [(" -H 'X-API-Key: pro'", true), (" -H 'Authorization: Bearer pro'", true), ("", false)]
    {
        let text = run("sh", &["-c", &line(&guarded, header)]).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        if success {
            assert_eq!(answer, expected, "{header}");
        } else {
            assert_eq!(answer["success"], false, "{text}");
            assert_eq!(answer["error"]["code"], "UNAUTHORIZED", "{text}");
        }
    }
}
