//! Codat's commerce metrics: figures, periods, words, limits and official clients.

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{Days, Months, NaiveDate};
use ltvstream::config::{ApiKey, AppSettings, Plan, Scope, hash_of};
use ltvstream::domain::time::Timestamp;
use ltvstream::http::Clock;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::businesses::{Business, app, collisions, subscriptions};
use crate::clients;
use crate::http_support::{ACME, Answer, OTHER, Service, Setup, events, settings};
use crate::law::rules_of;
use crate::reference::{CommerceFigures, Reference};

/// A connection of the company [`ACME`].
const SHOP: &str = "c0ffee00-1111-4222-8333-444444444444";
const ENDING_MARCH: &str =
    "reportDate=2024-03-31&periodUnit=Month&periodLength=1&numberOfPeriods=1";
const METRICS: [&str; 5] = ["lifetimeValue", "customerRetention", "orders", "refunds", "revenue"];

fn path(metric: &str, query: &str) -> String {
    format!("/data/companies/{ACME}/connections/{SHOP}/assess/commerceMetrics/{metric}?{query}")
}

/// A shop that reports in GBP.
fn shop() -> Setup {
    let apps = [app("acme", "GBP", &["UTC"]), app("other", "USD", &["UTC"])];
    let acme = AppSettings {
        compat_ids: vec![ACME.to_owned(), SHOP.to_owned()],
        ..settings("acme", ACME)
    };
    Setup { rules: rules_of(&apps), apps: vec![acme, settings("other", OTHER)], ..Setup::default() }
}

/// Lines as [`events`] takes them, all in GBP.
fn in_gbp(lines: &str) -> String {
    events(lines).replace("\"USD\"", "\"GBP\"")
}

async fn fed(lines: &str) -> Service {
    Service::fed(shop(), &in_gbp(lines)).await
}

/// The values of a report by period and line, as printed.
fn values(text: &str) -> Vec<Vec<String>> {
    let report: Value = serde_json::from_str(text).unwrap();
    let periods = report["reportData"].as_array().unwrap().len();
    let lines = report["dimensions"][1]["items"].as_array().unwrap().len();
    let mut printed = text
        .split("\"value\":")
        .skip(1 + lines)
        .map(|rest| rest.split(['}', ',']).next().unwrap().to_owned());
    let rows = (0..periods).map(|_| printed.by_ref().take(lines).collect()).collect();
    assert_eq!(printed.next(), None);
    rows
}

async fn ask(service: &Service, metric: &str, query: &str) -> Vec<Vec<String>> {
    let answer = service.get(&path(metric, query)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    values(&answer.text)
}

const WORKED: &str = "A purchase 2024-03-01 20.00
                      A purchase 2024-03-11 30.00
                      B purchase 2024-03-05 50.00
                      C purchase 2024-03-20 10.00
                      C purchase 2024-03-20 10.00
                      C purchase 2024-03-31 60.00";

#[tokio::test]
async fn the_worked_example_is_answered_whole() {
    let service = fed(WORKED).await;
    let named = format!("{ENDING_MARCH}&includeDisplayNames=true");
    let answer = service.get(&path("lifetimeValue", &named)).await;
    assert_eq!(
        answer.json(),
        json!({
            "reportInfo": {"name": "lifetime_value", "displayName": "Lifetime Value"},
            "dimensions": [
                {"index": 0, "displayName": "Period", "type": "datespan", "items": [{
                    "index": 0, "displayName": "Period 0",
                    "start": "2024-03-01", "end": "2024-03-31",
                }]},
                {"index": 1, "displayName": "Lifetime value metrics", "type": "string", "items": [
                    {"index": 0, "value": "Lifetime value"},
                ]},
            ],
            "measures": [
                {"index": 0, "displayName": "Value", "units": "GBP", "type": "currency"},
            ],
            "reportData": [{
                "dimension": 0, "dimensionDisplayName": "Period",
                "item": 0, "itemDisplayName": "Period 0",
                "components": [{
                    "dimension": 1, "dimensionDisplayName": "Lifetime value metrics",
                    "item": 0, "itemDisplayName": "Lifetime value",
                    "measures": [
                        {"index": 0, "measureDisplayName": "Value", "value": 420.0},
                    ],
                }],
            }],
        })
    );
    assert!(answer.text.contains("\"value\":420.00"), "{}", answer.text);
    assert_eq!(answer.header("x-ltvstream-as-of"), "0:0,1:6");
    assert_eq!(ask(&service, "orders", ENDING_MARCH).await, [["6", "180.00", "30.00"]]);
    assert_eq!(
        ask(&service, "customerRetention", ENDING_MARCH).await,
        [["0", "3", "3", "0.00", "0.00"]]
    );
    assert_eq!(ask(&service, "revenue", ENDING_MARCH).await, [["180.00", "0.00"]]);
    assert_eq!(ask(&service, "refunds", ENDING_MARCH).await, [["0", "0.00", "0.00"]]);
    let alone = fed("B purchase 2024-03-05 50.00").await;
    assert_eq!(ask(&alone, "lifetimeValue", ENDING_MARCH).await, [["0.00"]]);
    let empty = fed("").await;
    assert_eq!(ask(&empty, "lifetimeValue", ENDING_MARCH).await, [["0.00"]]);
    assert_eq!(ask(&empty, "orders", ENDING_MARCH).await, [["0", "0.00", "0.00"]]);
}

/// The year 2022 of the vendor's samples: 94 orders, 39 of them with a refund, by 13 old and 47
/// new customers, with 4107 days between first and last orders.
fn year_2022() -> String {
    let mut lines = String::new();
    for customer in 0..13 {
        lines += &format!("c{customer} purchase 2021-06-01 1.00\n");
    }
    let mut orders = Vec::new();
    for customer in 0..60 {
        orders.push((customer, "2022-01-10".to_owned()));
        if customer < 34 {
            let days = if customer == 0 { 147 } else { 120 };
            let last = "2022-01-10".parse::<NaiveDate>().unwrap() + Days::new(days);
            orders.push((customer, last.to_string()));
        }
    }
    for (number, (customer, day)) in orders.iter().enumerate() {
        let amount = if number == 0 { "52.00" } else { "42.00" };
        lines += &format!("c{customer} purchase {day} {amount} tx=o{number}\n");
    }
    for (number, (customer, _)) in orders.iter().enumerate().take(39) {
        // Some are given back in two parts, and in the year after.
        let (first, second) = if number == 38 { ("34.82", None) } else { ("10.00", Some("6.00")) };
        lines += &format!("c{customer} refund 2023-01-03 {first} tx=o{number}\n");
        if let Some(second) = second {
            lines += &format!("c{customer} refund 2023-01-04 {second} tx=o{number}\n");
        }
    }
    lines
}

#[tokio::test]
async fn the_vendors_samples_of_2022_come_out_of_one_set_of_orders() {
    let service = fed(&year_2022()).await;
    let year = "reportDate=2022-12-31&periodUnit=Year&periodLength=1&numberOfPeriods=1";
    assert_eq!(ask(&service, "lifetimeValue", year).await, [["3782.07"]]);
    assert_eq!(ask(&service, "orders", year).await, [["94", "3315.18", "35.27"]]);
    assert_eq!(ask(&service, "refunds", year).await, [["39", "642.82", "0.41"]]);
    // All 13 of the year before came back.
    assert_eq!(
        ask(&service, "customerRetention", year).await,
        [["13", "47", "60", "100.00", "21.67"]]
    );
    let answer = service.ask(&path("refunds", year)).await;
    assert_eq!(
        answer["dimensions"][0]["items"],
        json!([{"index": 0, "displayName": "Period 0", "start": "2022-01-01", "end": "2022-12-31"}])
    );
    assert_eq!(
        answer["measures"],
        json!([
            {"index": 0, "displayName": "Count", "type": "int"},
            {"index": 1, "displayName": "Value", "units": "GBP", "type": "currency"},
            {"index": 2, "displayName": "Percentage", "units": "%", "type": "percentage"},
        ])
    );
    let shown = |key: &str| answer["reportData"][0]["components"][0].get(key).is_some();
    assert!(shown("item") && !shown("itemDisplayName") && !shown("dimensionDisplayName"));
}

#[tokio::test]
async fn growth_and_retention_look_at_the_period_before_even_if_it_is_not_shown() {
    let service = fed("A purchase 2021-08-20 41.81
                       B purchase 2021-09-02 100.00
                       A purchase 2021-09-20 41.81
                       A purchase 2021-10-05 200.00
                       C purchase 2021-10-06 175.64")
    .await;
    let both = "reportDate=2021-10-31&periodUnit=Month&periodLength=1&numberOfPeriods=2";
    let last = both.replace("Periods=2", "Periods=1");
    assert_eq!(ask(&service, "revenue", both).await, [["375.64", "164.89"], ["141.81", "239.18"]]);
    assert_eq!(
        ask(&service, "customerRetention", both).await,
        [["1", "1", "2", "50.00", "50.00"], ["1", "1", "2", "100.00", "50.00"]]
    );
    for metric in METRICS {
        assert_eq!(ask(&service, metric, &last).await[0], ask(&service, metric, both).await[0]);
    }
}

#[tokio::test]
async fn a_linked_refund_belongs_to_its_order_and_another_to_its_day() {
    let service = fed("A purchase 2024-02-10 30.00 tx=a
                       A purchase 2024-02-20 70.00 tx=b
                       A refund   2024-03-02 10.00 tx=a
                       A refund   2024-03-03  5.00 tx=a
                       A refund   2024-03-04  1.00
                       B refund   2024-03-05  2.00")
    .await;
    let both = ENDING_MARCH.replace("Periods=1", "Periods=2");
    assert_eq!(
        ask(&service, "orders", &both).await,
        [["0", "-3.00", "0.00"], ["2", "85.00", "42.50"]]
    );
    assert_eq!(
        ask(&service, "refunds", &both).await,
        [["2", "3.00", "0.00"], ["1", "15.00", "0.50"]]
    );
    // 85 for one customer, ten days apart.
    assert_eq!(ask(&service, "lifetimeValue", &both).await, [["0.00"], ["850.00"]]);
    assert_eq!(ask(&service, "revenue", &both).await, [["0.00", "-100.00"], ["100.00", "0.00"]]);
}

#[tokio::test]
async fn what_lies_after_now_is_not_seen() {
    let now = Timestamp::parse_rfc3339("2024-03-15T12:00:00Z").unwrap();
    let setup = Setup { clock: Clock::Frozen(now), ..shop() };
    let lines = "A purchase 2024-03-01 20.00 tx=a
                 A purchase 2024-03-15T23:00 20.00
                 A purchase 2024-03-16 50.00 tx=b
                 A refund   2024-03-10 10.00 tx=b
                 A refund   2024-03-20 20.00 tx=a";
    let service = Service::fed(setup, &in_gbp(lines)).await;
    assert_eq!(ask(&service, "orders", ENDING_MARCH).await, [["2", "40.00", "20.00"]]);
    assert_eq!(ask(&service, "refunds", ENDING_MARCH).await, [["0", "0.00", "0.00"]]);
}

#[tokio::test]
async fn both_names_of_the_path_and_all_forms_of_the_date_are_taken() {
    let service = fed(WORKED).await;
    let expected = service.ask(&path("orders", ENDING_MARCH)).await;
    let lending = path("orders", ENDING_MARCH).replace("/assess/", "/lending/");
    assert_eq!(service.ask(&lending).await, expected);
    let own_ids = path("orders", ENDING_MARCH).replace(ACME, "acme").replace(SHOP, "acme");
    assert_eq!(service.ask(&own_ids).await, expected);
    for date in ["31-03-2024", "2024-03-31T23:59:59Z", "2024-03-31T01:00:00%2B05:00"] {
        let query = ENDING_MARCH.replace("2024-03-31", date);
        assert_eq!(service.ask(&path("orders", &query)).await, expected, "{date}");
    }
    let more = format!("{ENDING_MARCH}&includeDisplayNames=false&page=2");
    let answer = service.get(&path("orders", &more)).await;
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.header("x-ltvstream-ignored"), "page");
}

/// The error of an answer, its form checked.
fn error(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text);
    let body = answer.json();
    let names: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    let all = ["canBeRetried", "correlationId", "detailedErrorCode", "error", "service"];
    assert_eq!(names, [&all[..], &["statusCode", "validation"]].concat());
    assert_eq!((&body["statusCode"], &body["detailedErrorCode"]), (&json!(status), &json!(0)));
    let id = body["correlationId"].as_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    body
}

#[tokio::test]
async fn unknown_companies_connections_and_metrics_are_told_apart() {
    let service = fed(WORKED).await;
    let right = path("orders", ENDING_MARCH);
    let nobody = "11111111-2222-4333-8444-555555555555";
    for (path, service_name, text) in [
        (
            right.replace(ACME, nobody),
            "ClientsApi",
            format!("No company was found with ID {nobody}"),
        ),
        (right.replace(SHOP, nobody), "PublicApi", format!("Data connection {nobody} not found")),
        (right.replace(SHOP, OTHER), "PublicApi", format!("Data connection {OTHER} not found")),
        (right.replace("/orders", "/profit"), "PublicApi", "Not Found".to_owned()),
        (right.replace("/assess/", "/bank/"), "PublicApi", "Not Found".to_owned()),
        ("/data/companies".to_owned(), "PublicApi", "Not Found".to_owned()),
        (right.replace("commerceMetrics", "balanceSheet"), "PublicApi", "Not Found".to_owned()),
    ] {
        let body = error(&service.get(&path).await, 404);
        assert_eq!((&body["service"], &body["error"]), (&json!(service_name), &json!(text)));
        assert_eq!((&body["validation"], &body["canBeRetried"]), (&Value::Null, &json!("False")));
    }
}

#[tokio::test]
async fn each_wrong_parameter_is_named() {
    let service = fed(WORKED).await;
    let wrong = async |query: &str| {
        let body = error(&service.get(&path("orders", query)).await, 400);
        assert_eq!(body["error"], "Error processing request - not valid.");
        assert_eq!(body["validation"]["warnings"], json!([]));
        let errors = body["validation"]["errors"].as_array().unwrap().clone();
        let names = errors.iter().map(|error| {
            assert!(error["message"].is_string() && error["validatorName"].is_string());
            error["itemId"].as_str().unwrap().to_owned()
        });
        names.collect::<Vec<_>>()
    };
    let all = ["reportDate", "periodUnit", "periodLength", "numberOfPeriods"];
    assert_eq!(wrong("").await, all);
    assert_eq!(wrong("reportDate=x&periodUnit=month&periodLength=0&numberOfPeriods=-1").await, all);
    for (from, to, name) in [
        ("2024-03-31", "2024-02-30", "reportDate"),
        ("2024-03-31", "", "reportDate"),
        ("Month", "Quarter", "periodUnit"),
        ("Length=1", "Length=1.5", "periodLength"),
        ("Length=1", "Length=%2B1", "periodLength"),
        ("Length=1", "Length=1201", "periodLength"),
        ("Length=1", "Length=4294967296", "periodLength"),
        ("Periods=1", "Periods=1001", "numberOfPeriods"),
        ("Periods=1", "Periods=1&includeDisplayNames=1", "includeDisplayNames"),
    ] {
        assert_eq!(wrong(&ENDING_MARCH.replacen(from, to, 1)).await, [name], "{to}");
    }
}

fn key(name: &str, scopes: &[Scope], per_second: u32) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        sha256: hash_of(name),
        apps: ["acme".to_owned()].into(),
        scopes: scopes.iter().copied().collect(),
        plan: Plan::Pro,
        rate_limit_per_second: std::num::NonZeroU32::new(per_second),
    }
}

async fn with_authorization(service: &Service, path: &str, value: &str) -> Answer {
    let request = Request::get(path).header("authorization", value);
    // The official client for Python sends this on a GET.
    let request = request.header("content-type", "application/octet-stream");
    service.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_bare_key_is_the_credential() {
    let api_keys = vec![key("key", &[Scope::Read], 0), key("writer", &[Scope::Ingest], 0)];
    let service = Service::new(Setup { api_keys, ..shop() });
    let right = path("orders", ENDING_MARCH);
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    assert_eq!(basic("key"), "Basic a2V5");
    for value in [basic("key"), basic("key:"), basic("key:key"), "basic a2V5".to_owned()] {
        assert_eq!(with_authorization(&service, &right, &value).await.status, 200, "{value}");
    }
    for value in [basic("nobody"), "Bearer key".to_owned(), "Basic key".to_owned()] {
        let body = error(&with_authorization(&service, &right, &value).await, 401);
        assert_eq!(
            (&body["error"], &body["service"]),
            (&json!("Unauthorized"), &json!("PublicApi"))
        );
    }
    error(&service.get(&right).await, 401);
    error(&with_authorization(&service, &right, &basic("writer")).await, 403);
    let others = right.replace(ACME, OTHER).replace(SHOP, OTHER);
    error(&with_authorization(&service, &others, &basic("key")).await, 403);
}

#[tokio::test]
async fn limits_are_those_of_the_day_or_of_the_key() {
    let api_keys = vec![key("key", &[Scope::Read], 0), key("slow", &[Scope::Read], 1)];
    let service = Service::new(Setup { api_keys, ..shop() });
    let ask = async |key: &str| {
        let value = format!("Basic {}", STANDARD.encode(key));
        with_authorization(&service, &path("orders", ENDING_MARCH), &value).await
    };
    let limits = |answer: &Answer| {
        ["limit", "remaining", "reset"]
            .map(|name| answer.header(&format!("x-rate-limit-{name}")).to_owned())
    };
    // One company.
    assert_eq!(limits(&ask("key").await), ["2000", "1999", "2026-03-17T00:00:00Z"]);
    assert_eq!(limits(&ask("key").await)[1], "1998");
    let mut answer = ask("slow").await;
    assert_eq!(limits(&answer)[..2], ["1", "0"]);
    for _ in 0..1_000 {
        if answer.status == 429 {
            break;
        }
        answer = ask("slow").await;
    }
    let body = error(&answer, 429);
    assert_eq!(
        body["error"],
        "You have made too many requests in a given amount of time; please retry later."
    );
    assert_eq!((answer.header("retry-after"), &body["canBeRetried"]), ("1", &json!("True")));
    let nowhere = Service::new(Setup { partitions: 0, ..shop() });
    error(&nowhere.get(&path("orders", ENDING_MARCH)).await, 503);
    let posted = Request::post(path("orders", ENDING_MARCH)).body(Body::empty()).unwrap();
    error(&nowhere.send(posted).await, 405);
}

#[tokio::test]
async fn refusals_tell_limits_too_and_who_is_not_let_in_counts_for_nobody() {
    let api_keys = vec![key("key", &[Scope::Read], 0), key("writer", &[Scope::Ingest], 0)];
    let service = Service::new(Setup { api_keys, ..shop() });
    let ask = async |method: &str, key: &str, status: u16| {
        let value = format!("Basic {}", STANDARD.encode(key));
        let request = Request::builder().method(method).uri(path("orders", ENDING_MARCH));
        let request = request.header("authorization", value).body(Body::empty()).unwrap();
        let answer = service.send(request).await;
        error(&answer, status);
        let limits = ["limit", "remaining", "reset"]
            .map(|name| answer.header(&format!("x-rate-limit-{name}")).to_owned());
        (limits, answer)
    };
    let tomorrow = "2026-03-17T00:00:00Z";
    for (key, status) in [("nobody", 401), ("writer", 403), ("nobody", 401)] {
        assert_eq!(ask("GET", key, status).await.0, ["1000", "1000", tomorrow]);
    }
    // A wrong method is a request like any other.
    let (limits, posted) = ask("POST", "key", 405).await;
    assert_eq!(limits, ["2000", "1999", tomorrow]);
    assert_eq!(posted.header("allow"), "GET,HEAD");
    assert_eq!(ask("PUT", "key", 405).await.0[1], "1998");
}

// ---- against the slow reference

/// Two decimals, halves away from zero; 0.00 over nothing.
fn two_decimals(numerator: i128, denominator: i128) -> String {
    if denominator == 0 {
        return "0.00".to_owned();
    }
    let (size, sign) = (numerator.abs() * 100, if numerator < 0 { "-" } else { "" });
    let half_up = (size + denominator / 2) / denominator;
    // An odd denominator has no halves.
    assert!(denominator % 2 == 0 || size % denominator * 2 != denominator);
    match half_up {
        0 => "0.00".to_owned(),
        cents => format!("{sign}{}.{:02}", cents / 100, cents % 100),
    }
}

const MICROS: i128 = 1_000_000;

fn expected(metric: &str, period: &CommerceFigures, before: &CommerceFigures) -> Vec<String> {
    let customers = period.existing + period.new;
    let money = |micros| two_decimals(micros, MICROS);
    let percent = |part: i128, whole| two_decimals(part * 100, whole);
    match metric {
        "lifetimeValue" => {
            vec![two_decimals(period.value * period.days, customers * customers * MICROS)]
        }
        "customerRetention" => vec![
            period.existing.to_string(),
            period.new.to_string(),
            customers.to_string(),
            percent(period.existing, before.existing + before.new),
            percent(period.existing, customers),
        ],
        "orders" => vec![
            period.orders.to_string(),
            money(period.value),
            two_decimals(period.value, period.orders * MICROS),
        ],
        "refunds" => vec![
            period.refunds.to_string(),
            money(period.refunded),
            two_decimals(period.refunds, period.orders),
        ],
        _ => vec![money(period.gross), percent(period.gross - before.gross, before.gross)],
    }
}

/// Some periods, asked of a service and of the reference.
struct Question {
    query: String,
    /// Latest first, and the one before them all.
    periods: Vec<(NaiveDate, NaiveDate)>,
}

impl Question {
    fn random(rng: &mut ChaCha8Rng, (from, days): (NaiveDate, u64)) -> Self {
        let date = from + Days::new(rng.random_range(0..days));
        let after = date + Days::new(1);
        let (unit, most) =
            [("Day", 200), ("Week", 30), ("Month", 8), ("Year", 2)][rng.random_range(0..4)];
        let (length, count) = (rng.random_range(1..=most), rng.random_range(1..=4));
        let start = |number: u32| match unit {
            "Day" => after - Days::new(u64::from(number * length)),
            "Week" => after - Days::new(u64::from(number * length * 7)),
            "Month" => after - Months::new(number * length),
            _ => after - Months::new(number * length * 12),
        };
        let periods = (0..=count).map(|number| (start(number + 1), start(number) - Days::new(1)));
        Self {
            query: format!(
                "reportDate={date}&periodUnit={unit}&periodLength={length}&numberOfPeriods={count}"
            ),
            periods: periods.collect(),
        }
    }

    /// The figures of the first period, so that the caller can tell that there are any.
    async fn check(
        &self,
        service: &Service,
        reference: &Reference,
        app: &str,
        now: &str,
    ) -> CommerceFigures {
        let mut first = CommerceFigures::default();
        for metric in METRICS {
            let path = format!(
                "/data/companies/{app}/connections/{app}/lending/commerceMetrics/{metric}?{}",
                self.query
            );
            let answer = service.get(&path).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let figures: Vec<CommerceFigures> =
                self.periods.iter().map(|period| reference.commerce(app, *period, now)).collect();
            let expected: Vec<Vec<String>> =
                figures.windows(2).map(|pair| expected(metric, &pair[0], &pair[1])).collect();
            assert_eq!(values(&answer.text), expected, "{path}");
            first = figures[0];
        }
        first
    }
}

/// How many answers had something to tell, so that no run compares nothing with nothing.
#[derive(Default)]
struct Seen {
    returning: u32,
    new: u32,
    spans: u32,
    refunds: u32,
}

impl Seen {
    fn add(&mut self, period: &CommerceFigures) {
        self.returning += u32::from(period.existing > 0);
        self.new += u32::from(period.new > 0);
        self.spans += u32::from(period.days > 0);
        self.refunds += u32::from(period.refunds > 0);
    }

    fn assert_all(&self) {
        let least = self.returning.min(self.new).min(self.spans).min(self.refunds);
        assert!(least >= 50, "too little was compared: {least}");
    }
}

/// Asks random questions of a business.
async fn compare(business: &Business, seed: u64, seen: &mut Seen) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let reference = business.reference();
    let questions: Vec<Question> =
        (0..3).map(|_| Question::random(&mut rng, business.days)).collect();
    for service in business.services(seed).await {
        for question in &questions {
            for app in &business.apps {
                let period = question.check(&service, &reference, &app.id, business.now).await;
                seen.add(&period);
            }
        }
    }
}

#[tokio::test]
async fn colliding_events_give_the_figures_of_the_slow_reference() {
    let mut seen = Seen::default();
    for seed in 0..200 {
        println!("seed {seed}");
        compare(&collisions(seed), seed, &mut seen).await;
    }
    seen.assert_all();
}

#[tokio::test]
async fn a_generated_business_has_the_figures_of_the_slow_reference() {
    let mut seen = Seen::default();
    for seed in 0..200 {
        println!("seed {seed}");
        compare(&subscriptions(seed), seed, &mut seen).await;
    }
    seen.assert_all();
}

// ---- official clients

/// The worked example behind the key `key`, on a port.
async fn shop_with_a_key() -> String {
    let api_keys = vec![key("key", &[Scope::Read, Scope::Ingest], 0)];
    let service = Service::new(Setup { api_keys, ..shop() });
    let lines = format!(
        "{WORKED}
         A purchase 2024-02-01 90.00 tx=f
         A refund   2024-03-31 15.00 tx=f"
    );
    let request = Request::post("/v1/events").header("content-type", "application/x-ndjson");
    let request = request.header("x-api-key", "key").body(Body::from(in_gbp(&lines))).unwrap();
    assert_eq!(service.send(request).await.status, 202);
    service.listen().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_of_assess_for_python_reads_the_figures() {
    let url = shop_with_a_key().await;
    let told = clients::python("codat_assess_metrics.py", &[&url, ACME, SHOP]).await;
    assert_eq!(told.trim(), "all figures as expected");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_of_lending_for_python_reads_the_figures() {
    let url = shop_with_a_key().await;
    let told = clients::python("codat_lending_metrics.py", &[&url, ACME, SHOP]).await;
    assert_eq!(told.trim(), "all figures as expected");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_of_lending_for_node_reads_the_figures() {
    let url = shop_with_a_key().await;
    let told = clients::node("codat_lending_metrics.js", &[&url, ACME, SHOP]).await;
    assert_eq!(told.trim(), "all figures as expected");
}
