//! What must add up in ChartMogul's answers about every business: movements to the difference of
//! recurring revenue, segments to the total.
//!
//! What is not asserted, because it does not add up:
//! * ARPA, ASP, churn rates and lifetime value: they are quotients;
//! * customers over plans, of which one customer may have several: those of plans are no fewer than
//!   those of the total;
//! * single movements over plans: a customer who changes plans is churn here and new business
//!   there, and nothing or a smaller change in the total. Their sum adds up, being the difference
//!   of recurring revenue.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDate;

use crate::businesses::collisions;
use crate::reference::{AppSettings, MrrQuestion};
use crate::vendor_identities::{Held, each};

const MOVEMENTS: [&str; 5] =
    ["mrr-new-business", "mrr-expansion", "mrr-contraction", "mrr-churn", "mrr-reactivation"];

/// The figures of an entry that may add up: amounts in cents, and customers.
type Entry = BTreeMap<&'static str, i128>;

/// From before the first event to now.
struct Range {
    from: NaiveDate,
    to: NaiveDate,
    interval: &'static str,
}

impl Range {
    fn new(held: &Held, app: &AppSettings) -> Self {
        let lengths = ["month", "week", "quarter", "year", "day"];
        // A day of each of nine hundred would be too many.
        let count = if held.settled { 5 } else { 4 };
        let interval = lengths[usize::try_from(held.seed / 4 % count).unwrap()];
        let from = if held.settled { "2023-12-01" } else { "2023-01-01" };
        let from = from.parse().unwrap();
        Self { from, to: held.business.day_before_now(app, 0), interval }
    }
}

async fn chartmogul(held: &Held, app: &AppSettings, range: &Range, more: &str) -> Vec<Entry> {
    let basic = || format!("Basic {}", STANDARD.encode(&app.id));
    let Range { from, to, interval } = range;
    let mut entries: Vec<Entry> = Vec::new();
    let of_mrr = [&["mrr"][..], &MOVEMENTS].concat();
    for (metric, names) in
        [("mrr", &of_mrr[..]), ("arr", &["arr"]), ("customer-count", &["customers"])]
    {
        let asked = format!("start-date={from}&end-date={to}&interval={interval}{more}");
        let answer = held.get(&format!("/v1/metrics/{metric}?{asked}"), basic()).await;
        let listed = answer["entries"].as_array().unwrap();
        entries.resize(listed.len(), Entry::new());
        for (entry, shown) in entries.iter_mut().zip(listed) {
            for &name in names {
                entry.insert(name, shown[name].as_i64().unwrap().into());
            }
        }
    }
    entries
}

/// Nothing came before the first entry, so the MRR of each is that of the one before and what
/// moved since.
fn check_movements(entries: &[Entry], label: &str) {
    let mut before = 0;
    for (place, entry) in entries.iter().enumerate() {
        let moved: i128 = MOVEMENTS.into_iter().map(|name| entry[name]).sum();
        assert_eq!(before + moved, entry["mrr"], "{label} entry {place}: {entries:#?}");
        assert_eq!(entry["mrr"] * 12, entry["arr"], "{label} entry {place}");
        before = entry["mrr"];
    }
}

/// What recurs of subscriptions whose country nobody knows, which no path can be asked for.
fn of_unknown_country(held: &Held, app: &AppSettings, range: &Range) -> Vec<i128> {
    let question = MrrQuestion {
        app: app.id.clone(),
        from: range.from,
        to: range.to,
        today: range.to,
        interval: range.interval,
        plans: Vec::new(),
        countries: vec![String::new()],
        remove_refunded: false,
        same_month: false,
    };
    let body = held.business.reference().chartmogul(&question, &["mrr"]).remove(0);
    let entries = body["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["mrr"].as_i64().unwrap().into()).collect()
}

/// Segments against the total, entry by entry. `exact`: the figures of which every one is in one
/// segment only.
fn check_sums(total: &[Entry], segments: &[Vec<Entry>], exact: &[&str], label: &str) {
    for (place, whole) in total.iter().enumerate() {
        let sum = |name: &str| segments.iter().map(|entries| entries[place][name]).sum::<i128>();
        for &name in exact {
            assert_eq!(sum(name), whole[name], "{label} {name} entry {place}");
        }
        assert!(sum("customers") >= whole["customers"], "{label} entry {place}");
    }
}

/// Segments of events that collide, some of which no path can be asked for; `unknown` is what
/// recurs of these, where it is known.
fn check_parts(total: &[Entry], segments: &[Vec<Entry>], unknown: Option<Vec<i128>>, label: &str) {
    for (place, whole) in total.iter().enumerate() {
        let known: i128 = segments.iter().map(|entries| entries[place]["mrr"]).sum();
        match &unknown {
            Some(unknown) => {
                let parts: Vec<_> = segments.iter().map(|entries| entries[place]["mrr"]).collect();
                let parted = known + unknown[place];
                assert_eq!(parted, whole["mrr"], "{label} entry {place}: {parts:?} {unknown:?}");
            }
            None => assert!(known <= whole["mrr"], "{label} entry {place}"),
        }
    }
}

async fn check_chartmogul(held: &Held, app: &AppSettings) -> usize {
    let range = Range::new(held, app);
    let label = format!("{} {} {}", held.label(), app.id, range.interval);
    let total = chartmogul(held, app, &range, "").await;
    check_movements(&total, &label);
    for (field, parameter) in [("country", "geo"), ("product_id", "plans")] {
        let mut segments = Vec::new();
        for value in held.values(field) {
            let entries = chartmogul(held, app, &range, &format!("&{parameter}={value}")).await;
            check_movements(&entries, &format!("{label} {value}"));
            segments.push(entries);
        }
        let label = format!("{label} {field}");
        match (held.settled, field) {
            // Every customer has one country for life, so that nothing moves between segments.
            (true, "country") => {
                let all = [&["mrr", "arr", "customers"][..], &MOVEMENTS].concat();
                check_sums(&total, &segments, &all, &label);
            }
            // A subscription is of one product, but a customer may change to another.
            (true, _) => check_sums(&total, &segments, &["mrr", "arr"], &label),
            (false, "country") => {
                let unknown = of_unknown_country(held, app, &range);
                check_parts(&total, &segments, Some(unknown), &label);
            }
            (false, _) => check_parts(&total, &segments, None, &label),
        }
    }
    total.iter().filter(|entry| entry["mrr"] != 0).count() * total[0].len()
}

#[tokio::test]
async fn chartmoguls_movements_and_segments_add_up() {
    each(collisions, check_chartmogul).await;
}
