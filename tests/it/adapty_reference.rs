//! Adapty's figures over HTTP against the slow reference, on businesses that are made up and on
//! sets of events that are made to collide.
//!
//! Each business is read twice: as it comes, and shuffled, with repeats, cut by commits and
//! restarts. Both must say what the reference says. `ADAPTY_CASES` and `ADAPTY_SEED` choose how
//! many cases and where they begin.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use chrono::{Days, NaiveDate};
use ltvstream::codec::json_event;
use ltvstream::config::{ApiKey, Plan, Scope, hash_of};
use ltvstream::domain::rules::Rules;
use ltvstream::domain::time::Timestamp;
use ltvstream::engine::curves::{CurvesConfig, ZonesKept};
use ltvstream::generator::{Generator, GeneratorSettings};
use ltvstream::http::{Clock, HttpParts, HttpState, Limits, Readiness, router};
use ltvstream::state::{Arrival, LiveShard, Shards};
use ltvstream::store::Durability;
use ltvstream::store::memory::MemoryStore;
use ltvstream::stream::{Ingest, IngestError, Receipts, Record};
use ltvstream::telemetry::Metrics;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::seq::IndexedRandom as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::http_support::{Service, settings};
use crate::law;
use crate::reference::random::{self, Options, RECORD_TIMESTAMP_US};
use crate::reference::{AdaptyQuestion, CohortRow, Figures, LtvRow, Reference, Width};

/// Five of each eight seeds are made-up businesses, so that there are two hundred of these.
const CASES: usize = 320;

/// Nothing is handed in over HTTP here.
struct Closed;

impl Ingest for Closed {
    fn submit(&self, _: Vec<Vec<u8>>) -> Result<Receipts, IngestError> {
        unreachable!("nothing is handed in")
    }
}

fn curves() -> CurvesConfig {
    CurvesConfig { zones: ZonesKept::First, segments: BTreeMap::new() }
}

/// A shard that has read this log; with chance, cut by commits and restarts, one in the middle.
fn shard(
    rules: &Arc<Rules>,
    partition: i32,
    log: &[&String],
    chance: &mut Option<&mut ChaCha8Rng>,
) -> LiveShard {
    let store = Arc::new(MemoryStore::default());
    let open = || LiveShard::open(store.clone(), partition, (Arc::clone(rules), curves())).unwrap();
    let mut live = open();
    for (offset, text) in log.iter().enumerate() {
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
        if let Some(rng) = chance
            && (offset == log.len() / 2 || rng.random_ratio(1, 12))
        {
            live.commit(Durability::Process).unwrap();
            if offset == log.len() / 2 || rng.random_ratio(1, 3) {
                live = open();
            }
        }
    }
    live.commit(Durability::Process).unwrap();
    live
}

/// A service of two shards that have read this log.
fn service(
    rules: &Arc<Rules>,
    log: &[String],
    now: i64,
    mut chance: Option<&mut ChaCha8Rng>,
) -> Service {
    let shards = Arc::new(Shards::default());
    for partition in 0..2 {
        let is_here = |text: &&String| {
            let event: Value = serde_json::from_str(text).unwrap();
            let customer = event["customer_id"].as_str().unwrap();
            customer.bytes().map(i32::from).sum::<i32>() % 2 == partition
        };
        let log: Vec<&String> = log.iter().filter(is_here).collect();
        shards.insert(shard(rules, partition, &log, &mut chance));
    }
    let metrics = Arc::new(Metrics::new().unwrap());
    let key = |app: &str| ApiKey {
        name: app.to_owned(),
        sha256: hash_of(app),
        apps: [app.to_owned()].into(),
        scopes: [Scope::Read].into(),
        plan: Plan::Pro,
        rate_limit_per_second: NonZeroU32::new(1_000_000),
    };
    let router = router(HttpState::new(HttpParts {
        shards,
        rules: Arc::clone(rules),
        apps: rules.apps.keys().map(|app| settings(app, app)).collect(),
        api_keys: rules.apps.keys().map(|app| key(app)).collect(),
        limits: Limits::default(),
        clock: Clock::Frozen(Timestamp(now)),
        ingest: Arc::new(Closed),
        partitions: 1,
        metrics: Arc::clone(&metrics),
        readiness: Readiness::ready(),
        lag: Arc::new(BTreeMap::new),
    }));
    Service { router, metrics }
}

async fn ask(service: &Service, path: &str, asked: &AdaptyQuestion, body: &Value) -> Value {
    let request = Request::post(format!("/api/v1/client-api/metrics/{path}/"))
        .header("authorization", format!("Api-Key {}", asked.app))
        .header("adapty-tz", asked.zone.name());
    let answer = service.send(request.body(Body::from(body.to_string())).unwrap()).await;
    assert_eq!(answer.status, 200, "{body}: {}", answer.text);
    answer.json()
}

/// A business of one app with few customers, its events in order of arrival.
fn business(seed: u64) -> Vec<String> {
    let settings = GeneratorSettings {
        app_id: "plain".to_owned(),
        customers: 25,
        days: 300,
        seed,
        ..GeneratorSettings::default()
    };
    Generator::new(&settings).unwrap().map(|event| json_event::to_json(&event)).collect()
}

fn shuffled(events: &[String], rng: &mut ChaCha8Rng) -> Vec<String> {
    let mut log = events.to_vec();
    let repeated = events.choose_multiple(rng, events.len().div_ceil(5)).cloned();
    log.extend(repeated.collect::<Vec<_>>());
    log.shuffle(rng);
    log
}

fn width(rng: &mut ChaCha8Rng) -> (Width, &'static str) {
    *[
        (Width::Day, "day"),
        (Width::Week, "week"),
        (Width::Month, "month"),
        (Width::Quarter, "quarter"),
        (Width::Year, "year"),
    ]
    .choose(rng)
    .unwrap()
}

/// Values of a field that occur in the events, and one that does not.
fn values(events: &[String], field: &str) -> Vec<String> {
    let of = |text: &String| serde_json::from_str::<Value>(text).unwrap()[field].clone();
    let mut values: Vec<String> =
        events.iter().filter_map(|text| of(text).as_str().map(str::to_owned)).collect();
    values.sort();
    values.dedup();
    values.push("nowhere".to_owned());
    values
}

/// A question, and the request that asks it.
fn question(
    rules: &Rules,
    events: &[String],
    today_utc: i64,
    rng: &mut ChaCha8Rng,
) -> (AdaptyQuestion, Value) {
    let apps: Vec<&String> = rules.apps.keys().collect();
    let app = if rng.random_bool(0.5) { "plain" } else { apps.choose(rng).unwrap().as_str() };
    let zone = rules.apps[app].reporting_zones.choose(rng).unwrap().name();
    let (width, unit) = width(rng);
    let first: NaiveDate = "2023-01-01".parse().unwrap();
    let from = first + Days::new(rng.random_range(0..900));
    let to = from + Days::new(*[0, 1, 30, 200, 1_100].choose(rng).unwrap());
    let zone: chrono_tz::Tz = zone.parse().unwrap();
    let now = chrono::DateTime::from_timestamp_micros(today_utc).unwrap();
    let days = rng.random_bool(0.5).then(|| {
        let mut days: Vec<i64> =
            (0..rng.random_range(1..6)).map(|_| rng.random_range(0..70)).collect();
        days.sort_unstable();
        days.dedup();
        days
    });
    let mut filters = json!({"date": [from.to_string(), to.to_string()]});
    let countries = rng.random_bool(0.4).then(|| {
        let mut countries: Vec<String> = values(events, "country")
            .into_iter()
            .map(|code| code.to_uppercase())
            .map(|code| if code == "UK" { "GB".to_owned() } else { code })
            .filter(|_| rng.random_bool(0.5))
            .collect();
        countries.push(String::new());
        filters["country"] = json!(countries);
        countries
    });
    let products = rng.random_bool(0.4).then(|| {
        let known = values(events, "product_id");
        let mut products = Vec::new();
        let mut named = Vec::new();
        for _ in 0..rng.random_range(1..4) {
            let product = known.choose(rng).unwrap().clone();
            let store = *["", "app_store", "play_store", "stripe"].choose(rng).unwrap();
            let prefix = if store.is_empty() { String::new() } else { format!("{store}:") };
            named.push(format!("{prefix}{product}"));
            products.push(((!store.is_empty()).then(|| store.to_owned()), product));
        }
        filters["store_product_id"] = json!(named);
        products
    });
    let today = now.with_timezone(&zone).date_naive();
    let mut body = json!({"filters": filters, "period_unit": unit});
    if let Some(days) = &days {
        body["period_type"] = json!("days");
        body["renewal_days"] = json!(days);
    }
    let app = app.to_owned();
    (AdaptyQuestion { app, zone, width, from, to, today, days, countries, products }, body)
}

/// Micro-units of a decimal text.
fn micros(text: &str) -> i128 {
    let (whole, part) = text.split_once('.').unwrap();
    format!("{whole}{part:0<6}").parse().unwrap()
}

fn double(micros: i128) -> f64 {
    micros as f64 / 1e6
}

fn per(micros: i128, heads: i64) -> f64 {
    if heads == 0 { 0.0 } else { micros as f64 / (heads as f64 * 1e6) }
}

fn percent(part: i128, whole: i128) -> Value {
    json!(if whole == 0 { 0.0 } else { (100 * part) as f64 / whole as f64 })
}

/// As a client reads it: what is compared has been text.
fn read(value: &Value) -> Value {
    serde_json::from_str(&value.to_string()).unwrap()
}

/// The fields of money and averages, each with this in front.
fn amounts(prefix: &str, figures: &Figures, installs: i64) -> Vec<(String, Value)> {
    let mut fields = Vec::new();
    let names = [
        ["revenue", "arpu", "arppu", "arpas"],
        ["proceeds", "appu", "apppu", "appas"],
        ["net_revenue", "anrpu", "anrppu", "anrpas"],
    ];
    for (measure, [money, pu, ppu, pas]) in names.into_iter().enumerate() {
        let (all, paying) = (figures.money[measure], figures.paying_money[measure]);
        for (name, value) in [
            (money, double(all)),
            (pu, per(all, installs)),
            (ppu, per(paying, figures.paying)),
            (pas, per(all, figures.starters)),
        ] {
            fields.push((format!("{prefix}{name}_usd"), json!(value)));
        }
    }
    fields
}

fn cohort(row: &CohortRow, kind: &str) -> Value {
    let title = if kind == "total" { "Total".to_owned() } else { row.start.to_string() };
    let mut cohort = json!({
        "segment_start_date": row.start.to_string(), "type": kind, "title": title,
        "total_installs": row.installs, "total_subscriptions": row.whole.subscriptions,
        "total_paid_subscribers": row.whole.payers, "predict": null, "values": [],
    });
    for (name, value) in amounts("total_", &row.whole, row.installs) {
        cohort[name] = value;
    }
    let first = row.cells.first().map(|cell| cell.1.clone()).unwrap_or_default();
    for (period, figures, active) in &row.cells {
        let relative = |part: i64, whole: i64| percent(part.into(), whole.into());
        let money = |measure: usize| percent(figures.money[measure], first.money[measure]);
        let mut cell = json!({
            "period": period, "installs": row.installs, "subscriptions": figures.subscriptions,
            "subscribers": figures.payers, "currently_active_period": active,
            "revenue_relative": money(0), "proceeds_relative": money(1),
            "net_revenue_relative": money(2),
            "subscriptions_relative": relative(figures.subscriptions, first.subscriptions),
            "subscribers_relative": relative(figures.payers, first.payers),
        });
        for (name, value) in amounts("", figures, row.installs) {
            cell[name] = value;
        }
        cohort["values"].as_array_mut().unwrap().push(cell);
    }
    cohort
}

fn ltv_row(row: &LtvRow, measure: usize, by_field: bool) -> Value {
    let values = row.points.iter().map(|(period, money)| {
        json!({"period": period, "value": per(money[measure], row.payers),
               "cohort_size": row.payers})
    });
    let (title, kind) = match row.name.as_str() {
        "Total" => ("Total", "total"),
        "" => ("Unknown", ""),
        name if by_field => (name, name),
        name => (name, "single"),
    };
    json!({"title": title, "type": kind, "value": per(row.to_date[measure], row.payers),
           "values": values.collect::<Vec<_>>(), "cohort_size": row.payers})
}

async fn check_cohorts(
    services: &[Service; 2],
    reference: &Reference,
    seed: u64,
    asked: (&AdaptyQuestion, &Value),
) -> Value {
    let (question, body) = asked;
    let (total, rows) = reference.adapty_cohorts(question);
    let rows = std::iter::once(cohort(&total, "total"))
        .chain(rows.iter().map(|row| cohort(row, "single")));
    let expected = read(&json!({"data": rows.collect::<Vec<_>>()}));
    let mut answer = Value::Null;
    for service in services {
        answer = ask(service, "cohort", question, body).await;
        assert!(
            answer == expected,
            "ADAPTY_SEED={seed} {body}\n{question:?}\n{answer:#}\n{expected:#}"
        );
    }
    answer
}

async fn check_ltv(
    services: &[Service; 2],
    reference: &Reference,
    seed: u64,
    asked: (&AdaptyQuestion, &Value),
    rng: &mut ChaCha8Rng,
) {
    let (mut question, mut body) = (asked.0.clone(), asked.1.clone());
    if question.days.is_some() {
        question.days = Some(vec![0, 3, 7, 14, 28, 31, 61, 92, 183, 336, 550, 731]);
    }
    let field = *[None, Some("product_id"), Some("store"), Some("duration")].choose(rng).unwrap();
    if let Some(field) = field {
        body["segmentation"] =
            json!(if field == "product_id" { "store_product_id" } else { field });
    }
    let (total, rows) = reference.adapty_ltv(&question, field);
    for service in services {
        let answer = ask(service, "ltv", &question, &body).await;
        for (measure, metric) in ["revenue", "proceeds", "net_revenue"].into_iter().enumerate() {
            let mut rows: Vec<&LtvRow> = rows.iter().collect();
            if field.is_some() {
                let value = |row: &&LtvRow| {
                    let nanos = row.to_date[measure] * 1_000_000_000;
                    (row.payers > 0).then(|| nanos / i128::from(row.payers))
                };
                rows.sort_by_key(|row| std::cmp::Reverse(value(row)));
            }
            let all = std::iter::once(&total).chain(rows);
            let expected: Vec<Value> =
                all.map(|row| read(&ltv_row(row, measure, field.is_some()))).collect();
            let got = &answer[metric]["data"];
            assert!(
                *got == json!(expected),
                "ADAPTY_SEED={seed} {metric} {body}\n{question:?}\n{got:#}\n{:#}",
                json!(expected)
            );
            assert_eq!(answer[metric]["value"], expected[0]["value"]);
        }
        if field.is_some() {
            let sum =
                |row: &Value| row["value"].as_f64().unwrap() * row["cohort_size"].as_f64().unwrap();
            let rows = answer["revenue"]["data"].as_array().unwrap();
            let parts: f64 = rows[1..].iter().map(sum).sum();
            let size: f64 = rows[1..].iter().map(|row| sum(row).abs()).sum();
            // Money of segments without payers, given back to nobody, is in no product.
            if rows[1..].iter().all(|row| row["cohort_size"] != 0) {
                assert!(
                    (sum(&rows[0]) - parts).abs() <= 1e-12 * size.max(1e6),
                    "ADAPTY_SEED={seed} {rows:#?}"
                );
            }
        }
    }
}

/// Cohorts of all installs hold the revenue of the whole range.
async fn check_revenue(service: &Service, seed: u64, app: &str, cohorts: &Value) {
    let path = format!("/v1/apps/{app}/revenue?width=year&from=2020-01-01&to=2027-12-31");
    let request = Request::get(path).header("x-api-key", app).body(Body::empty()).unwrap();
    let answer = service.send(request).await;
    let total = &answer.json()["total"];
    // Exact: some amounts are as large as there may be, and cancel out.
    let amount = |name: &str| total[name].as_str().map_or(0, micros);
    let revenue = double(amount("revenue") + amount("unplaced_refunded"));
    let of_cohorts = cohorts["data"][0]["total_revenue_usd"].as_f64().unwrap();
    let error = (of_cohorts - revenue).abs();
    assert!(error <= 1e-12 * revenue.abs().max(1e6), "ADAPTY_SEED={seed}: {of_cohorts} {total:#}");
}

fn seeds() -> impl Iterator<Item = u64> {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = read("ADAPTY_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    first..first + read("ADAPTY_CASES").unwrap_or(CASES as u64)
}

/// What the cells of an answer show, by name: a reference that only ever says nought would prove
/// nothing.
fn note_seen(answer: &Value, seen: &mut BTreeSet<&'static str>) {
    for row in answer["data"].as_array().unwrap() {
        let cells = row["values"].as_array().unwrap();
        let number = |cell: &Value, name: &str| cell[name].as_f64().unwrap();
        for (place, cell) in cells.iter().enumerate() {
            let figure = |name: &str| number(cell, name);
            for (name, is_seen) in [
                ("later payers", place > 0 && figure("subscribers") > 0.0),
                ("several chains", figure("subscriptions") > figure("subscribers")),
                (
                    "starters",
                    figure("arpas_usd") != 0.0 && figure("arpas_usd") != figure("arpu_usd"),
                ),
                ("active", cell["currently_active_period"] == true),
                ("finished", cell["currently_active_period"] == false),
                (
                    "payers who leave",
                    place > 0 && figure("subscribers") < number(&cells[place - 1], "subscribers"),
                ),
            ] {
                if is_seen {
                    seen.insert(name);
                }
            }
        }
    }
}

#[tokio::test]
async fn every_answer_is_that_of_the_slow_reference() {
    let rules = law::rules_of(&random::apps());
    let mut seen = BTreeSet::new();
    for seed in seeds() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let is_business = seed % 8 < 5;
        let events = if is_business {
            business(seed)
        } else {
            random::events_of(seed, rng.random_range(0..=36), Options::default())
        };
        let mut reference = Reference::new(&random::apps());
        for event in &events {
            reference.offer(event, RECORD_TIMESTAMP_US);
        }
        let nows = ["2024-02-15T12:00:00Z", "2024-07-01T03:00:00Z", "2026-03-01T12:00:00Z"];
        let now = Timestamp::parse_rfc3339(nows.choose(&mut rng).unwrap()).unwrap().0;
        let log = shuffled(&events, &mut rng);
        let services =
            [service(&rules, &events, now, None), service(&rules, &log, now, Some(&mut rng))];
        for _ in 0..if is_business { 3 } else { 6 } {
            let (question, body) = question(&rules, &events, now, &mut rng);
            let answer = check_cohorts(&services, &reference, seed, (&question, &body)).await;
            note_seen(&answer, &mut seen);
            check_ltv(&services, &reference, seed, (&question, &body), &mut rng).await;
        }
        let later = Timestamp::parse_rfc3339("2026-03-01T12:00:00Z").unwrap().0;
        let late = service(&rules, &events, later, None);
        let services = [late, service(&rules, &log, later, Some(&mut rng))];
        let (mut whole, mut body) = question(&rules, &[], later, &mut rng);
        whole.from = "2020-01-01".parse().unwrap();
        whole.to = "2027-12-31".parse().unwrap();
        (whole.countries, whole.products) = (None, None);
        body["filters"] = json!({"date": ["2020-01-01", "2027-12-31"]});
        let cohorts = check_cohorts(&services, &reference, seed, (&whole, &body)).await;
        check_revenue(&services[0], seed, &whole.app, &cohorts).await;
        let (total, rows) = reference.adapty_cohorts(&whole);
        let listed = cohorts["data"].as_array().unwrap().iter();
        for (row, known) in listed.zip(std::iter::once(&total).chain(&rows)) {
            let money = |name: &str| row[format!("total_{name}_usd")].as_f64().unwrap();
            let falls =
                money("revenue") >= money("proceeds") && money("proceeds") >= money("net_revenue");
            assert!(falls || known.has_refunds, "ADAPTY_SEED={seed} {row:#}");
        }
    }
    if seeds().count() >= CASES {
        assert_eq!(seen.len(), 6, "{seen:?}");
    }
}
