//! ChartMogul's API: figures, forms of requests, words, the vendor's clients, and any business
//! against a reference that shares no code.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDate;
use ltvstream::codec::json_event;
use ltvstream::config::{ApiKey, AppSettings, LtvChurnWindow, MrrRefunds, Plan, Scope, hash_of};
use ltvstream::domain::rules::Rules;
use ltvstream::domain::time::Timestamp;
use ltvstream::engine::curves::{CurvesConfig, ZonesKept};
use ltvstream::generator::{Generator, GeneratorSettings, Share};
use ltvstream::http::Clock;
use ltvstream::state::{Arrival, LiveShard};
use ltvstream::store::Durability;
use ltvstream::store::memory::MemoryStore;
use ltvstream::stream::Record;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::clients::{node, python, run};
use crate::http_support::{ACME, Answer, OTHER, Service, Setup, events, settings};
use crate::law::rules_of;
use crate::reference::random::{self, Options, RECORD_TIMESTAMP_US};
use crate::reference::{self, MrrQuestion, Reference};

const METRICS: [&str; 9] = [
    "ltv",
    "mrr",
    "arr",
    "arpa",
    "asp",
    "customer-count",
    "customer-churn-rate",
    "mrr-churn-rate",
    "all",
];

/// Ten customers, of whom some leave, and others who join, come back or pay more.
fn worked() -> String {
    let mut lines = String::new();
    let sub = "period=P1M expires_at=2025-06-01T00:00:00Z plan_name=Silver+Monthly \
               product_id=pl_silver country=US";
    for number in 1..=10 {
        lines += &format!("c{number} purchase 2023-12-15 10.00 chain=c{number} {sub}\n");
    }
    for line in [
        "c1 expiration 2024-01-10 - chain=c1",
        "n1 purchase 2024-01-20 20.00 chain=n1 SUB",
        "n2 purchase 2024-01-20 20.00 chain=n2 SUB",
        "c2 expiration 2024-02-05 - chain=c2",
        "c2 renewal 2024-02-12 10.00 chain=c2 tx=c2-2 SUB",
        "n3 purchase 2024-02-08 5.00 chain=n3 SUB",
        "n3 expiration 2024-02-20 - chain=n3",
        "c3 expiration 2024-02-25 - chain=c3",
        "c4 renewal 2024-03-10 15.00 chain=c4 tx=c4-2 SUB",
        "c5 expiration 2024-04-03 - chain=c5",
        "n1 expiration 2024-04-20 - chain=n1",
    ] {
        lines += &line.replace("SUB", sub);
        lines.push('\n');
    }
    events(&lines).replace("Silver+Monthly", "Silver Monthly")
}

fn clock(now: &str) -> Clock {
    Clock::Frozen(Timestamp::parse_rfc3339(now).unwrap())
}

fn setup(change: impl FnOnce(&mut AppSettings)) -> Setup {
    let mut acme = settings("acme", ACME);
    change(&mut acme);
    Setup { apps: vec![acme], clock: clock("2024-05-15T12:00:00Z"), ..Setup::default() }
}

async fn worked_service() -> Service {
    Service::fed(setup(|_| ()), &worked()).await
}

fn key(name: &str, apps: &[&str]) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        sha256: hash_of(name),
        apps: apps.iter().map(|app| (*app).to_owned()).collect(),
        scopes: [Scope::Read].into(),
        plan: Plan::Pro,
        rate_limit_per_second: None,
    }
}

fn with_keys() -> Setup {
    let api_keys = vec![
        key("good", &["acme"]),
        key("broad", &["acme", "other"]),
        ApiKey { scopes: [Scope::Ingest].into(), ..key("writer", &["acme"]) },
        ApiKey { rate_limit_per_second: NonZeroU32::new(2), ..key("slow", &["acme"]) },
    ];
    let apps = vec![settings("acme", ACME), settings("other", OTHER)];
    Setup { api_keys, apps, ..setup(|_| ()) }
}

const RANGE: &str = "start-date=2024-01-01&end-date=2024-04-30";

fn path(metric: &str, more: &str) -> String {
    format!("/v1/metrics/{metric}?{RANGE}{more}")
}

/// Values of a member over all entries.
fn column(answer: &Value, name: &str) -> Vec<f64> {
    let entries = answer["entries"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| entry[name].as_f64().unwrap_or_else(|| panic!("no {name} in {entry}")))
        .collect()
}

fn dates(answer: &Value) -> Vec<&str> {
    let entries = answer["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["date"].as_str().unwrap()).collect()
}

const MONTH_ENDS: [&str; 4] = ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"];

#[tokio::test]
async fn the_worked_data_set_has_its_lifetime_values_in_both_modes() {
    for (window, name, values, changes, summary) in [
        (
            LtvChurnWindow::SameMonth,
            "same_month",
            [11_810, 13_201, 0, 5_935],
            [0.0, 11.78, -100.0, 0.0],
            json!({"current": 5935, "previous": 0, "percentage-change": 0.0}),
        ),
        (
            LtvChurnWindow::TrailingSix,
            "trailing_6",
            [0, 12_000, 13_095, 18_652],
            [0.0, 0.0, 9.13, 42.44],
            json!({"current": 18652, "previous": 13095, "percentage-change": 42.44}),
        ),
    ] {
        let service = Service::fed(setup(|app| app.ltv_churn_window = window), &worked()).await;
        let answer = service.get(&path("ltv", "")).await;
        assert_eq!(answer.header("x-ltvstream-ltv-churn-window"), name);
        let entries: Vec<Value> = MONTH_ENDS
            .iter()
            .zip(values.iter().zip(changes))
            .map(|(date, (ltv, change))| {
                json!({"date": date, "ltv": ltv, "percentage-change": change})
            })
            .collect();
        assert_eq!(answer.json(), json!({"entries": entries, "summary": summary}), "{name}");
        // Cents are whole numbers, and changes have a decimal point even when whole.
        let first = format!(r#""ltv":{},"percentage-change":0.0"#, values[0]);
        assert!(answer.text.contains(&first), "{}", answer.text);
    }
}

#[tokio::test]
async fn the_worked_data_set_has_its_other_figures() {
    let service = worked_service().await;
    let ask = async |metric: &str| service.ask(&path(metric, "&interval=month")).await;
    let mrr = ask("mrr").await;
    assert_eq!(dates(&mrr), MONTH_ENDS);
    for (name, expected) in [
        ("mrr", [13_000.0, 12_000.0, 12_500.0, 9_500.0]),
        ("mrr-new-business", [4_000.0, 500.0, 0.0, 0.0]),
        ("mrr-expansion", [0.0, 0.0, 500.0, 0.0]),
        ("mrr-contraction", [0.0; 4]),
        ("mrr-churn", [-1_000.0, -2_500.0, 0.0, -3_000.0]),
        ("mrr-reactivation", [0.0, 1_000.0, 0.0, 0.0]),
        ("percentage-change", [0.0, -7.69, 4.17, -24.0]),
    ] {
        assert_eq!(column(&mrr, name), expected, "{name}");
    }
    // At the end of the range, and 30 days before.
    let summary = json!({"current": 9500, "previous": 12500, "percentage-change": -24.0});
    assert_eq!(mrr["summary"], summary);
    for (metric, name, expected, current, previous) in [
        ("arr", "arr", [156_000.0, 144_000.0, 150_000.0, 114_000.0], 114_000.0, 150_000.0),
        ("arpa", "arpa", [1181.0, 1200.0, 1250.0, 1187.0], 1187.0, 1250.0),
        ("asp", "asp", [2000.0, 500.0, 0.0, 0.0], 0.0, 0.0),
        ("customer-count", "customers", [11.0, 10.0, 10.0, 8.0], 8.0, 10.0),
        ("customer-churn-rate", "customer-churn-rate", [10.0, 9.09, 0.0, 20.0], 20.0, 0.0),
        ("mrr-churn-rate", "mrr-churn-rate", [10.0, 11.54, -4.17, 24.0], 24.0, -4.17),
    ] {
        let answer = ask(metric).await;
        assert_eq!(column(&answer, name), expected, "{metric}");
        assert_eq!(answer["summary"]["current"].as_f64(), Some(current), "{metric}");
        assert_eq!(answer["summary"]["previous"].as_f64(), Some(previous), "{metric}");
        let all = ask("all").await;
        assert_eq!(column(&all, name), expected, "{metric} in all");
        let changes = format!("{name}-percentage-change");
        assert_eq!(column(&all, &changes), column(&answer, "percentage-change"), "{metric}");
        assert_eq!(all["summary"][format!("current-{name}")].as_f64(), Some(current));
        assert_eq!(all["summary"][format!("previous-{name}")].as_f64(), Some(previous));
        assert_eq!(all["summary"][changes], answer["summary"]["percentage-change"], "{metric}");
    }
}

/// The days of January 2015 that were recorded. A customer who leaves and comes back on one day
/// is not seen to, so the last day has no reactivation here.
#[tokio::test]
async fn movements_of_a_day_are_told_apart() {
    let sub = "period=P1M expires_at=2020-01-01T00:00:00Z";
    let lines = format!(
        "e purchase 2014-03-01 217.41 chain=e {sub}
         e expiration 2014-06-01 - chain=e
         a purchase 2015-01-09 100.00 chain=a {sub}
         b purchase 2015-01-09 108.71 chain=b {sub}
         c purchase 2015-01-09 132.41 chain=c {sub}
         d purchase 2015-01-12 302.54 chain=d {sub}
         d expiration 2015-01-14 - chain=d
         e renewal 2015-01-14 217.41 chain=e tx=e2 {sub}
         a renewal 2015-01-20 200.00 chain=a tx=a2 {sub}
         b expiration 2015-01-22 - chain=b
         c renewal 2015-01-23 121.54 chain=c tx=c2 {sub}
         b renewal 2015-01-26T08:00 108.71 chain=b tx=b2 {sub}
         a expiration 2015-01-26 - chain=a
         b expiration 2015-01-26 - chain=b
         c expiration 2015-01-26 - chain=c
         e expiration 2015-01-26 - chain=e"
    );
    let service = Service::fed(setup(|_| ()), &events(&lines)).await;
    let range = "start-date=2015-01-01&end-date=2015-01-31";
    let mrr = service.ask(&format!("/v1/metrics/mrr?{range}")).await;
    let all = service.ask(&format!("/v1/metrics/all?{range}&interval=day")).await;
    assert_eq!(mrr["entries"].as_array().unwrap().len(), 31);
    let names = ["new-business", "expansion", "contraction", "churn", "reactivation"];
    for (day, mrr_then, movements) in [
        (8, 0, [0; 5]),
        (9, 34_112, [34_112, 0, 0, 0, 0]),
        (12, 64_366, [30_254, 0, 0, 0, 0]),
        (14, 55_853, [0, 0, 0, -30_254, 21_741]),
        (20, 65_853, [0, 10_000, 0, 0, 0]),
        (22, 54_982, [0, 0, 0, -10_871, 0]),
        (23, 53_895, [0, 0, -1_087, 0, 0]),
        (26, 0, [0, 0, 0, -53_895, 0]),
    ] {
        let entry = &mrr["entries"][day - 1];
        assert_eq!(entry["date"], format!("2015-01-{day:02}"));
        assert_eq!(entry["mrr"], mrr_then, "day {day}");
        let shown = names.map(|name| entry[format!("mrr-{name}")].as_i64().unwrap());
        assert_eq!(shown, movements, "day {day}");
    }
    // 11370.67 is cut.
    let ninth = &all["entries"][8];
    assert_eq!((&ninth["customers"], &ninth["arpa"]), (&json!(3), &json!(11_370)));
}

#[tokio::test]
async fn trials_one_time_purchases_and_tax_are_no_recurring_revenue() {
    let lines = "t trial_started 2024-01-02 - chain=t period=P1W
                 t purchase 2024-01-09 12.00 chain=t tx=t1 period=P1M
                 o purchase 2024-01-09 99.00
                 y purchase 2024-01-09 120.00 chain=y period=P1Y proceeds_micros=100000000 net_micros=80000000
                 w purchase 2024-01-10 3.00 chain=w period=P1W";
    let service = Service::fed(setup(|_| ()), &events(lines)).await;
    let ask = async |metric: &str| {
        let range = "start-date=2024-01-01&end-date=2024-01-20&interval=day";
        service.ask(&format!("/v1/metrics/{metric}?{range}")).await
    };
    let (mrr, customers) = (ask("mrr").await, ask("customer-count").await);
    // A month of 100.00 a year is 8.33, of 3.00 a week 13.00.
    for (day, expected, count) in
        [(8, 0, 0), (9, 1200 + 833, 2), (10, 1200 + 833 + 1300, 3), (17, 1200 + 833, 2)]
    {
        assert_eq!(mrr["entries"][day - 1]["mrr"], expected, "day {day}");
        assert_eq!(customers["entries"][day - 1]["customers"], count, "day {day}");
    }
    // First payments without tax: 12, 99, 100 and 3.
    let asp = service.ask("/v1/metrics/asp?start-date=2024-01-01&end-date=2024-01-31").await;
    assert_eq!(column(&asp, "asp"), [5350.0]);
}

#[tokio::test]
async fn a_refunded_payment_stays_unless_the_app_says_otherwise() {
    let lines = "a purchase 2024-01-10 10.00 chain=a period=P1M
                 b purchase 2024-01-10 20.00 chain=b period=P1M tx=b1
                 b refund 2024-01-12 20.00 tx=b1
                 c purchase 2024-01-10 40.00 chain=c period=P1M tx=c1
                 c refund 2024-01-12 39.99 tx=c1";
    for (refunds, expected) in
        [(None, 7000.0), (Some(MrrRefunds::Keep), 7000.0), (Some(MrrRefunds::Remove), 5000.0)]
    {
        let setup = setup(|app| app.mrr_refunds = refunds);
        let service = Service::fed(setup, &events(lines)).await;
        let range = "start-date=2024-01-31&end-date=2024-01-31";
        let answer = service.ask(&format!("/v1/metrics/mrr?{range}")).await;
        assert_eq!(column(&answer, "mrr"), [expected], "{refunds:?}");
    }
}

#[tokio::test]
async fn edge_cases_are_answered_with_noughts_and_not_with_nulls() {
    let service = worked_service().await;
    let ask = async |rest: &str| service.ask(&format!("/v1/metrics/{rest}")).await;
    // Nothing there yet: one entry for each interval.
    let early = ask("ltv?start-date=2020-01-15&end-date=2020-03-31").await;
    assert_eq!(dates(&early), ["2020-01-31", "2020-02-29", "2020-03-31"]);
    assert_eq!(column(&early, "ltv"), [0.0; 3]);
    let nought = json!({"current": 0, "previous": 0, "percentage-change": 0.0});
    assert_eq!(early["summary"], nought);
    // A range that ends within an interval, and in the future.
    let part = ask("ltv?start-date=2024-03-01&end-date=2024-04-10").await;
    assert_eq!(dates(&part), ["2024-03-31", "2024-04-10"]);
    // ARPA 11500 / 9, and the months before April.
    assert_eq!(column(&part, "ltv"), [13_095.0, 20_067.0]);
    assert_eq!(part["summary"]["current"], 13_095);
    let future = ask("customer-count?start-date=2024-05-14&end-date=2030-01-01").await;
    assert_eq!(dates(&future), ["2024-05-14", "2024-05-15"]);
    assert_eq!(ask("mrr?start-date=2025-01-01&end-date=2025-02-01").await["entries"], json!([]));
    // Unknown plans and countries.
    for more in ["&plans=Nothing", "&geo=XX", "&plans=pl_", "&geo=DE,FR"] {
        let answer = ask(&format!("mrr?{RANGE}&interval=month{more}")).await;
        assert_eq!(column(&answer, "mrr"), [0.0; 4], "{more}");
    }
    // Weeks end on Saturdays.
    let weeks = ask("mrr?start-date=2024-01-03&end-date=2024-01-17&interval=week").await;
    assert_eq!(dates(&weeks), ["2024-01-06", "2024-01-13", "2024-01-17"]);
    for (interval, count) in [("quarter", 2), ("year", 1)] {
        let answer = ask(&format!("asp?{RANGE}&interval={interval}")).await;
        assert_eq!(dates(&answer).len(), count, "{interval}");
    }
    // Without an interval: days for stocks, months for the others.
    for metric in METRICS {
        let days = ["mrr", "arr", "arpa", "customer-count"].contains(&metric);
        let answer = ask(&format!("{metric}?{RANGE}")).await;
        assert_eq!(dates(&answer).len(), if days { 121 } else { 4 }, "{metric}");
    }
}

#[tokio::test]
async fn plans_go_by_name_and_id_and_a_customer_counts_where_its_subscription_matches() {
    let lines = "a purchase 2024-01-10 10.00 chain=a period=P1M plan_name=Silver product_id=pl_1 country=DE
                 a purchase 2024-01-11 30.00 chain=b period=P1M plan_name=Gold product_id=2 country=GB
                 b purchase 2024-01-11 50.00 chain=b period=P1M plan_name=Gold product_id=2 country=US";
    let service = Service::fed(setup(|_| ()), &events(lines)).await;
    for (more, mrr, customers) in [
        ("", 9000, 2),
        ("&plans=Silver", 1000, 1),
        ("&plans=silver", 0, 0),
        ("&plans=Gold", 8000, 2),
        ("&plans=pl_1", 1000, 1),
        ("&plans=1", 1000, 1),
        ("&plans=pl_2", 8000, 2),
        ("&plans=2,Silver", 9000, 2),
        ("&plans=Silver%2CGold", 9000, 2),
        ("&geo=US", 5000, 1),
        ("&geo=UK", 3000, 1),
        ("&geo=gb,de", 4000, 1),
        ("&geo=GB&plans=Silver", 0, 0),
        ("&geo=&plans=", 9000, 2),
    ] {
        let range = "start-date=2024-01-31&end-date=2024-01-31&interval=day";
        let all = service.ask(&format!("/v1/metrics/all?{range}{more}")).await;
        let entry = &all["entries"][0];
        let shown = (entry["mrr"].as_i64(), entry["customers"].as_i64());
        assert_eq!(shown, (Some(mrr), Some(customers)), "{more}");
    }
}

/// An app that reports in this currency.
fn reporting_in(currency: &str) -> reference::AppSettings {
    reference::AppSettings {
        id: "acme".to_owned(),
        reporting_currency: currency.to_owned(),
        zones: vec!["UTC".to_owned()],
        ..Default::default()
    }
}

#[tokio::test]
async fn amounts_are_in_the_smallest_unit_of_the_currency() {
    for (currency, mrr) in [("JPY", 333), ("USD", 33_333), ("KWD", 333_333)] {
        let rules = rules_of(&[reporting_in(currency)]);
        let lines = events("a purchase 2024-01-10 1000.00 chain=a period=P3M");
        let lines = [lines.replace("USD", currency)];
        let stores = stores_of(&rules, &lines, None);
        let service = Service::new(Setup { rules, stores, ..setup(|_| ()) });
        let range = "start-date=2024-01-31&end-date=2024-01-31";
        let all = service.ask(&format!("/v1/metrics/all?{range}")).await;
        let entry = &all["entries"][0];
        assert_eq!((&entry["mrr"], &entry["arr"]), (&json!(mrr), &json!(mrr * 12)), "{currency}");
        assert_eq!(entry["asp"], mrr * 3 + 1, "{currency}");
    }
}

async fn get_with(service: &Service, path: &str, kind: Option<&str>, body: &str) -> Answer {
    let mut request = Request::get(path);
    if let Some(kind) = kind {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    service.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn parameters_come_in_the_query_or_in_a_form_on_the_get() {
    let service = worked_service().await;
    let expected = service.ask(&path("ltv", "&plans=Silver%20Monthly")).await;
    assert_eq!(column(&expected, "ltv"), [0.0, 12_000.0, 13_095.0, 18_652.0]);
    let form = Some("application/x-www-form-urlencoded");
    let inside = format!("{RANGE}&plans=Silver%20Monthly");
    let bare = "/v1/metrics/ltv";
    for (path, kind, body) in [
        (path("ltv", "&plans=Silver+Monthly"), None, ""),
        (path("ltv", "&plans=Silver%20Monthly"), Some("application/json"), "{}"),
        (path("ltv", "&plans=Silver%20Monthly"), Some("application/json"), ""),
        (path("ltv", "&plans=Silver%20Monthly"), Some("text/plain"), "start-date=x"),
        (bare.to_owned(), form, &*inside),
        (bare.to_owned(), Some("Application/X-WWW-Form-Urlencoded; charset=UTF-8"), &*inside),
        // Both: the query wins.
        (path("ltv", "&plans=Silver+Monthly"), form, "plans=Gold&end-date=x"),
        (format!("{bare}?plans=Silver+Monthly"), form, RANGE),
    ] {
        let answer = get_with(&service, &path, kind, body).await;
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text);
        assert_eq!(answer.json(), expected, "{path} {kind:?} {body}");
    }
    let answer = get_with(&service, &path("ltv", "&page=2"), form, "end-date=x").await;
    assert_eq!(answer.header("x-ltvstream-ignored"), "end-date, page");
    assert_eq!(get_with(&service, bare, None, &inside).await.status, 400);
    let lists = service.get(&path("ltv", "&geo=,%20&plans=Gold,")).await;
    assert_eq!((lists.status.as_u16(), lists.header("x-ltvstream-ignored")), (200, "geo"));
    let ping = get_with(&service, "/v1/ping?x=1", form, "y=2").await;
    assert_eq!((ping.status.as_u16(), ping.header("x-ltvstream-ignored")), (200, "x, y"));
    assert!(service.get("/v1/ping").await.headers.get("x-ltvstream-ignored").is_none());
}

/// Status, `code`, `message` and `param` of an error.
fn failure(answer: &Answer) -> (u16, String, Value) {
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
    assert_eq!(body["code"], answer.status.as_u16(), "{body}");
    (answer.status.as_u16(), body["message"].as_str().unwrap().to_owned(), body["param"].clone())
}

#[tokio::test]
async fn each_wrong_parameter_is_named() {
    let service = worked_service().await;
    for (rest, param) in [
        ("ltv", "start-date"),
        ("ltv?start-date=2024-01-01", "end-date"),
        ("ltv?end-date=2024-01-01", "start-date"),
        ("ltv?start-date=2024-1-1&end-date=2024-01-31", "start-date"),
        ("ltv?start-date=2024-01-01&end-date=2024-01-31T00:00:00Z", "end-date"),
        ("ltv?start-date=2024-02-01&end-date=2024-01-31", "start-date"),
        ("ltv?start-date=1024-02-01&end-date=2024-01-31", "start-date"),
        ("mrr?start-date=2024-01-01&end-date=2024-01-31&interval=hour", "interval"),
        ("asp?start-date=2024-01-01&end-date=2024-01-31&interval=week", "interval"),
        ("mrr?start-date=2024-01-01&end-date=2024-01-31&filters=a~ANY~b", "filters"),
    ] {
        let answer = service.get(&format!("/v1/metrics/{rest}")).await;
        let (status, message, named) = failure(&answer);
        assert_eq!((status, named), (400, json!(param)), "{rest}: {message}");
        assert!(message.starts_with(param), "{message}");
    }
    for nothing in ["", "/", "/nothing", "/ltv/", "/customers/ada/activities"] {
        let missing = failure(&service.get(&format!("/v1/metrics{nothing}")).await);
        assert_eq!(missing, (404, "Not Found".to_owned(), Value::Null), "{nothing}");
    }
    let posted = Request::post(path("ltv", "")).body(Body::empty()).unwrap();
    assert_eq!(failure(&service.send(posted).await).0, 405);
    let empty = Service::new(Setup { partitions: 0, ..setup(|_| ()) });
    let answer = empty.get(&path("ltv", "")).await;
    assert_eq!((failure(&answer).0, answer.header("retry-after")), (503, "1"));
}

async fn get_as(service: &Service, path: &str, credentials: &str) -> Answer {
    let basic = format!("Basic {}", STANDARD.encode(credentials));
    let request = Request::get(path).header(header::AUTHORIZATION, basic);
    service.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_key_is_the_user_and_the_password_empty_or_the_key_again() {
    let service = Service::new(setup(|_| ()));
    let open = service.get("/v1/ping").await;
    assert_eq!((open.status.as_u16(), open.json()), (200, json!({"data": "pong!"})));
    let service = Service::new(with_keys());
    for (credentials, expected) in [
        ("good:", 200),
        ("good:good", 200),
        ("good", 200),
        ("good:other", 401),
        ("nobody:", 401),
        (":good", 401),
        ("broad:", 403),
        ("writer:", 403),
    ] {
        for path in ["/v1/ping".to_owned(), path("ltv", "")] {
            let answer = get_as(&service, &path, credentials).await;
            assert_eq!(answer.status, expected, "{credentials} {path}: {}", answer.text);
            if expected != 200 {
                failure(&answer);
            }
        }
    }
    let nobody = failure(&service.get(&path("ltv", "")).await);
    assert_eq!(nobody, (401, "No valid API key provided".to_owned(), Value::Null));
    let broad = failure(&get_as(&service, &path("ltv", ""), "broad:").await).1;
    assert!(broad.contains("exactly one app"), "{broad}");
}

/// What a browser asks and is told of a page of another origin.
async fn of_page(service: &Service, method: &str, origin: &str, more: &[(&str, &str)]) -> Answer {
    let request = Request::builder().method(method).uri(path("mrr", "&page=2"));
    let request = more.iter().fold(request.header("origin", origin), |request, (name, value)| {
        request.header(*name, *value)
    });
    service.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn pages_of_any_origin_may_read_answers_and_errors_with_a_key() {
    let service = Service::new(with_keys());
    let page = "https://dashboard.example";
    // A preflight request carries no key, and asks for the header that will.
    let preflight = [
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let answer = of_page(&service, "OPTIONS", page, &preflight).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for (name, value) in [
        ("access-control-allow-origin", page),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET,HEAD"),
        ("access-control-allow-headers", "authorization,content-type"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let basic = |key: &str| format!("Basic {}", STANDARD.encode(key));
    for (key, status) in [("good:", 200), ("nobody:", 401), ("broad:", 403)] {
        let answer = of_page(&service, "GET", page, &[("authorization", &basic(key))]).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.header("access-control-allow-origin"), page, "{key}");
        assert_eq!(answer.header("access-control-allow-credentials"), "true", "{key}");
        let readable: Vec<&str> =
            answer.header("access-control-expose-headers").split(',').collect();
        assert!(readable.contains(&"x-ltvstream-ltv-churn-window"), "{readable:?}");
        if status == 200 {
            let ours =
                answer.headers.keys().filter(|name| name.as_str().starts_with("x-ltvstream"));
            let ours: Vec<&str> = ours.map(header::HeaderName::as_str).collect();
            assert!(ours.contains(&"x-ltvstream-ignored"), "{ours:?}");
            assert!(ours.iter().all(|name| readable.contains(name)), "{ours:?} {readable:?}");
        }
    }
    // Other APIs say nothing of the kind.
    let native = Request::get("/v1/apps").header("origin", page).body(Body::empty()).unwrap();
    assert_eq!(service.send(native).await.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn without_keys_only_pages_of_this_machine_may_read() {
    let service = worked_service().await;
    for (origin, told) in [
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("https://elsewhere.example", ""),
    ] {
        let answer = of_page(&service, "GET", origin, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.header("access-control-allow-origin"), told, "{origin}");
        assert_eq!(answer.header("access-control-allow-credentials"), "true", "{origin}");
    }
}

#[tokio::test]
async fn an_account_has_forty_requests_a_second_unless_its_key_has_its_own_limit() {
    let service = Service::new(with_keys());
    for (credentials, at_least) in [("good:", 40), ("slow:", 2)] {
        let mut answered = 0;
        let refused = loop {
            let answer = get_as(&service, "/v1/ping", credentials).await;
            if answer.status != 200 {
                break answer;
            }
            answered += 1;
            assert!(answered < 100_000, "{credentials} is not limited");
        };
        assert!(answered >= at_least, "{credentials} {answered}");
        let (status, message, _) = failure(&refused);
        let expected = "Your request rate has exceeded our rate limit.";
        assert_eq!((status, message.as_str()), (429, expected));
        assert!(!refused.header("retry-after").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_clients_and_its_curl_lines_read_the_worked_figures() {
    let rules = rules_of(&[reporting_in("USD")]);
    let events: Vec<String> = worked().lines().map(str::to_owned).collect();
    let stores = stores_of(&rules, &events, None);
    let service = Service::new(Setup { rules, stores, ..with_keys() });
    let address = service.listen().await;
    assert_eq!(python("chartmogul.py", &[&address, "good"]).await.trim(), "ok");
    assert_eq!(node("chartmogul.js", &[&address, "good"]).await.trim(), "ok");
    // The vendor's own examples, address, key and dates aside.
    let curl = async |path: &str, more: &str| -> Value {
        let line = format!("curl -sS -X GET '{address}/v1/{path}' -u good: {more}");
        serde_json::from_str(&run("sh", &["-c", &line]).await).unwrap()
    };
    let range = "-d start-date=2024-01-01 -d end-date=2024-04-30";
    let narrowed = format!("{range} -d geo='US,UK,DE' -d plans=Silver%20Monthly");
    let ltv = curl("metrics/ltv", &narrowed).await;
    assert_eq!(column(&ltv, "ltv"), [0.0, 12_000.0, 13_095.0, 18_652.0]);
    for (metric, name, expected) in [
        ("all", "mrr", [13_000.0, 12_000.0, 12_500.0, 9_500.0]),
        ("all", "customers", [11.0, 10.0, 10.0, 8.0]),
        ("mrr", "mrr-churn", [-1_000.0, -2_500.0, 0.0, -3_000.0]),
        ("arr", "arr", [156_000.0, 144_000.0, 150_000.0, 114_000.0]),
        ("arpa", "arpa", [1_181.0, 1_200.0, 1_250.0, 1_187.0]),
        ("asp", "asp", [2_000.0, 500.0, 0.0, 0.0]),
        ("customer-count", "customers", [11.0, 10.0, 10.0, 8.0]),
        ("customer-churn-rate", "customer-churn-rate", [10.0, 9.09, 0.0, 20.0]),
        ("mrr-churn-rate", "mrr-churn-rate", [10.0, 11.54, -4.17, 24.0]),
    ] {
        let answer =
            curl(&format!("metrics/{metric}"), &format!("{narrowed} -d interval=month")).await;
        assert_eq!(column(&answer, name), expected, "{metric}");
    }
    assert_eq!(curl("ping", "").await, json!({"data": "pong!"}));
}

/// What two partitions store that have read the events; with chance, in another order, some
/// twice, with commits and restarts, one in the middle.
fn stores_of(
    rules: &Arc<Rules>,
    events: &[String],
    mut chance: Option<&mut ChaCha8Rng>,
) -> Vec<Arc<MemoryStore>> {
    let mut log = events.to_vec();
    if let Some(rng) = &mut chance {
        log.extend(events.choose_multiple(rng, events.len().div_ceil(8)).cloned());
        log.shuffle(rng);
    }
    let mut stores = Vec::new();
    for partition in 0..2 {
        let store = Arc::new(MemoryStore::default());
        let open = || {
            let curves = CurvesConfig { zones: ZonesKept::First, segments: Default::default() };
            LiveShard::open(store.clone(), partition, (Arc::clone(rules), curves)).unwrap()
        };
        let mut of_partition = log.clone();
        of_partition.retain(|text| {
            let event = json_event::decode(text.as_bytes()).unwrap();
            event.customer_id.bytes().map(i32::from).sum::<i32>() % 2 == partition
        });
        let mut live = open();
        for (offset, text) in of_partition.iter().enumerate() {
            let is_halfway = offset == of_partition.len() / 2;
            let event = json_event::decode(text.as_bytes()).unwrap();
            let record = Record {
                partition,
                offset: i64::try_from(offset).unwrap(),
                timestamp: Timestamp(RECORD_TIMESTAMP_US),
                key: None,
                value: Some(text.as_bytes()),
                headers: None,
            };
            live.apply(&[Arrival { record, decoded: Ok(event) }]).unwrap();
            if let Some(rng) = &mut chance
                && (is_halfway || rng.random_ratio(1, 25))
            {
                live.commit(Durability::Process).unwrap();
                if is_halfway || rng.random_ratio(1, 3) {
                    live = open();
                }
            }
        }
        live.commit(Durability::Process).unwrap();
        stores.push(store);
    }
    stores
}

/// A question over a business that lives from 2023 to 2025.
fn any_question(app: &str, rng: &mut ChaCha8Rng) -> MrrQuestion {
    let any_day = |rng: &mut ChaCha8Rng| {
        let first = NaiveDate::from_ymd_opt(2023, 6, 1).unwrap();
        first + chrono::Days::new(rng.random_range(0..900))
    };
    let (one, other) = (any_day(rng), any_day(rng));
    let some = |rng: &mut ChaCha8Rng, names: &[&str]| {
        let count = if rng.random_ratio(2, 3) { 0 } else { rng.random_range(1..=2) };
        names.choose_multiple(rng, count).map(|name| (*name).to_owned()).collect()
    };
    MrrQuestion {
        app: app.to_owned(),
        from: one.min(other),
        to: one.max(other),
        today: any_day(rng).max(NaiveDate::from_ymd_opt(2024, 3, 1).unwrap()),
        interval: ["day", "week", "month", "month", "quarter", "year"].choose(rng).unwrap(),
        plans: some(rng, &["Pro Monthly", "pro.weekly", "pro.yearly", "gold", "silver"]),
        countries: some(rng, &["US", "DE", "GB", "FR"]),
        remove_refunded: rng.random_bool(0.5),
        same_month: rng.random_bool(0.5),
    }
}

async fn check_business(
    apps: &[reference::AppSettings],
    events: &[String],
    (seed, rng): (u64, &mut ChaCha8Rng),
) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let rules = rules_of(apps);
    let mut slow = Reference::new(apps);
    for event in events {
        slow.offer(event, RECORD_TIMESTAMP_US);
    }
    let logs = [stores_of(&rules, events, None), stores_of(&rules, events, Some(rng))];
    for app in apps {
        let question = any_question(&app.id, rng);
        let zone: chrono_tz::Tz = app.zones[0].parse().unwrap();
        let noon = question.today.and_hms_opt(12, 0, 0).unwrap().and_local_timezone(zone);
        let now = Timestamp(noon.single().unwrap().timestamp_micros());
        let mut acme = settings(&app.id, ACME);
        acme.mrr_refunds = question.remove_refunded.then_some(MrrRefunds::Remove);
        if question.same_month {
            acme.ltv_churn_window = LtvChurnWindow::SameMonth;
        }
        // In order, and shuffled, repeated and restarted.
        let services = logs.each_ref().map(|stores| {
            Service::new(Setup {
                rules: Arc::clone(&rules),
                stores: stores.clone(),
                apps: vec![acme.clone()],
                clock: Clock::Frozen(now),
                ..Setup::default()
            })
        });
        let is_short = ["day", "week"].contains(&question.interval);
        let metrics: Vec<&str> =
            METRICS.into_iter().filter(|metric| !is_short || *metric != "asp").collect();
        for (metric, expected) in metrics.iter().zip(slow.chartmogul(&question, &metrics)) {
            let path = format!(
                "/v1/metrics/{metric}?start-date={}&end-date={}&interval={}&plans={}&geo={}",
                question.from,
                question.to,
                question.interval,
                question.plans.join(",").replace(' ', "+"),
                question.countries.join(",")
            );
            for service in &services {
                let answer = service.get(&path).await;
                let body = if answer.status == 200 { answer.json() } else { Value::Null };
                assert!(
                    body == expected,
                    "MRR_SEED={seed} {path}\n{question:?}\n{}\n{expected}\n{}",
                    answer.text,
                    events.join("\n")
                );
            }
            for entry in expected["entries"].as_array().unwrap() {
                let members = entry.as_object().unwrap().iter();
                let moved = members.filter(|(_, value)| value.as_f64().is_some_and(|v| v != 0.0));
                seen.extend(moved.map(|(name, _)| name.clone()));
            }
        }
    }
    seen
}

/// A reference that only ever says nought would prove nothing.
fn check_seen(seen: &BTreeSet<String>) {
    if std::env::var_os("MRR_SEED").is_some() {
        return;
    }
    for name in ["ltv", "asp", "arpa", "customers", "mrr-churn-rate", "customer-churn-rate"] {
        assert!(seen.contains(name), "no {name} in {seen:?}");
    }
    for name in ["new-business", "expansion", "contraction", "churn", "reactivation"] {
        assert!(seen.contains(&format!("mrr-{name}")), "no {name} in {seen:?}");
    }
}

/// The same hundred seeds, which among them have every movement, and a hundred others each time.
/// `MRR_SEED` and `MRR_CASES` choose where seeds begin and how many there are instead.
fn seeds() -> Vec<u64> {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = read("MRR_CASES").unwrap_or(100);
    match read("MRR_SEED") {
        Some(first) => (first..first + cases).collect(),
        None => {
            let first = u64::from(rand::random::<u32>());
            SAME_SEEDS.chain(first..first + cases).collect()
        }
    }
}

const SAME_SEEDS: std::ops::Range<u64> = 100..200;

#[tokio::test]
async fn any_made_up_business_has_the_figures_of_the_reference() {
    let mut seen = BTreeSet::new();
    for seed in seeds() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let generated = GeneratorSettings {
            app_id: "acme".to_owned(),
            customers: rng.random_range(1..40),
            days: 700,
            seed,
            late: Share::from_ppm(200_000),
            ..GeneratorSettings::default()
        };
        let events: Vec<String> =
            Generator::new(&generated).unwrap().map(|event| json_event::to_json(&event)).collect();
        let zones = vec!["America/New_York".to_owned(), "UTC".to_owned()];
        let app = reference::AppSettings { zones, ..reporting_in("USD") };
        seen.extend(check_business(&[app], &events, (seed, &mut rng)).await);
    }
    check_seen(&seen);
}

#[tokio::test]
async fn any_set_of_events_has_the_figures_of_the_reference() {
    let mut seen = BTreeSet::new();
    for seed in seeds() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let events = random::events_of(seed, rng.random_range(10..80), Options::default());
        seen.extend(check_business(&random::apps(), &events, (seed, &mut rng)).await);
    }
    check_seen(&seen);
}
