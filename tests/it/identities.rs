//! What must add up in every business, whatever its figures: segments to the total, cohorts to
//! revenue, and no measure of money above one that holds more.
//!
//! `IDENTITIES_SEED` and `IDENTITIES_CASES` choose where seeds begin and how many there are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::businesses::{Business, collisions, subscriptions};
use crate::http_support::Service;

/// Figures that add up over segments.
const ADDITIVE: [&str; 5] =
    ["payments", "refunds", "paid_micros", "refunded_micros", "revenue_micros"];
/// From the largest to the smallest.
const MEASURES: [&str; 3] = ["gross", "proceeds", "net"];
const FIELDS: [&str; 3] = ["country", "store", "product_id"];

/// Seeds as the environment chooses them.
pub fn seeds() -> std::ops::Range<u64> {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = read("IDENTITIES_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    first..first + read("IDENTITIES_CASES").unwrap_or(200)
}

/// A whole number, which is a text where no 64 bits hold it.
fn whole(row: &Value, name: &str) -> i128 {
    row[name].to_string().trim_matches('"').parse().unwrap_or_else(|_| panic!("{name} of {row}"))
}

fn items<'a>(body: &'a Value, name: &str) -> &'a [Value] {
    body[name].as_array().unwrap()
}

/// Sums by row.
type Sums = BTreeMap<String, BTreeMap<&'static str, i128>>;

fn add(sums: &mut Sums, name: String, row: &Value) {
    let sums = sums.entry(name).or_default();
    for figure in ADDITIVE {
        *sums.entry(figure).or_default() += whole(row, figure);
    }
}

/// The rows of revenue: each bucket, and the whole range.
fn add_revenue(sums: &mut Sums, group: &Value) {
    if !group["total"].is_null() {
        add(sums, "total".to_owned(), &group["total"]);
    }
    for bucket in items(group, "buckets") {
        add(sums, bucket["start"].to_string(), bucket);
    }
}

/// The rows of lifetime value: each cohort to date and at each age, and all of them to date.
fn add_ltv(sums: &mut Sums, group: &Value) {
    if !group["total"].is_null() {
        add(sums, "total".to_owned(), &group["total"]["to_date"]);
    }
    for cohort in items(group, "cohorts") {
        add(sums, cohort["start"].to_string(), &cohort["to_date"]);
        for point in items(cohort, "curve") {
            add(sums, format!("{} at {}", cohort["start"], point["age"]), point);
        }
    }
}

/// Rows in which nothing happened are not in every segment.
fn without_empty(mut sums: Sums) -> Sums {
    sums.retain(|_, figures| figures.values().any(|figure| *figure != 0));
    sums
}

/// Segments sum to the total; the total's rows by measure.
async fn check_segments(
    service: &Service,
    path: &str,
    add: fn(&mut Sums, &Value),
    label: &str,
) -> Sums {
    let mut total = Sums::new();
    let mut parts = BTreeMap::new();
    for field in FIELDS {
        let body = service.ask(&format!("{path}&segment_by={field}")).await;
        total = Sums::new();
        add(&mut total, &body);
        let of_field: &mut Sums = parts.entry(field).or_default();
        for segment in items(&body, "segments") {
            add(of_field, segment);
        }
    }
    total = without_empty(total);
    for (field, sums) in parts {
        assert_eq!(without_empty(sums), total, "{label} {path} {field}");
    }
    total
}

/// What is paid, and what is given back, is never less by a measure that holds more; nor is what
/// is left, where nothing was given back.
fn check_measures(by_measure: &[Sums], label: &str) {
    for pair in by_measure.windows(2) {
        let names: BTreeSet<&String> = pair[0].keys().chain(pair[1].keys()).collect();
        for name in names {
            let figure = |sums: &Sums, figure: &str| {
                sums.get(name).and_then(|figures| figures.get(figure)).copied().unwrap_or(0)
            };
            let falls = |of: &str| figure(&pair[0], of) >= figure(&pair[1], of);
            let is_whole = figure(&pair[0], "refunds") == 0;
            assert!(falls("paid_micros") && falls("refunded_micros"), "{label} {name} {pair:#?}");
            assert!(!is_whole || falls("revenue_micros"), "{label} {name} {pair:#?}");
            for count in ["payments", "refunds"] {
                assert_eq!(figure(&pair[0], count), figure(&pair[1], count), "{label} {name}");
            }
        }
    }
}

/// What the cohorts have brought in to date is the revenue of all days, but for what was given back
/// before the customer's first payment, which is in no cohort.
async fn check_cohort_totals(
    service: &Service,
    (app, measure, refunds): (&str, &str, &str),
    label: &str,
) {
    // A customer whose first payment is still to come is in no cohort yet, though a refund of it
    // may be in the revenue of today; so all of time is asked for.
    let asked = format!("measure={measure}&refunds={refunds}&until=2027-12-31");
    let revenue = service.ask(&format!("/v1/apps/{app}/revenue?{asked}")).await;
    let of_days = match &revenue["total"] {
        Value::Null => 0,
        total => whole(total, "revenue_micros") + micros_of(&total["unplaced_refunded"]),
    };
    for anchor in ["first_purchase", "install"] {
        let ltv = service.ask(&format!("/v1/apps/{app}/ltv?{asked}&anchor={anchor}")).await;
        let of_cohorts = match &ltv["total"] {
            Value::Null => 0,
            total => whole(&total["to_date"], "revenue_micros"),
        };
        assert_eq!(of_cohorts, of_days, "{label} {app} {measure} {anchor}");
    }
}

/// Micro-units of an amount in units, a decimal text.
pub fn micros_of(amount: &Value) -> i128 {
    let text = amount.as_str().unwrap();
    let (units, part) = text.split_once('.').unwrap_or((text, ""));
    let size: i128 = format!("{}{part:0<6}", units.trim_start_matches('-')).parse().unwrap();
    if text.starts_with('-') { -size } else { size }
}

/// The native answers of a business: how many rows there were.
async fn check_native(business: &Business, seed: u64) -> usize {
    let [_, service, _] = business.services(seed).await;
    let label = format!("IDENTITIES_SEED={seed}");
    let refunds = ["at_refund", "at_purchase"][usize::try_from(seed % 2).unwrap()];
    let mut rows = 0;
    for app in &business.apps {
        let (mut revenue, mut ltv) = (Vec::new(), Vec::new());
        for measure in MEASURES {
            let asked = format!("measure={measure}&refunds={refunds}");
            let path = format!("/v1/apps/{}/revenue?{asked}", app.id);
            revenue.push(check_segments(&service, &path, add_revenue, &label).await);
            let path = format!("/v1/apps/{}/ltv?{asked}", app.id);
            ltv.push(check_segments(&service, &path, add_ltv, &label).await);
        }
        let path = format!("/v1/apps/{}/ltv?anchor=install&age=days", app.id);
        check_segments(&service, &path, add_ltv, &label).await;
        check_measures(&revenue, &label);
        check_measures(&ltv, &label);
        for (measure, (revenue, ltv)) in MEASURES.iter().zip(revenue.iter().zip(&ltv)) {
            check_cohort_totals(&service, (&app.id, measure, refunds), &label).await;
            let paid = |sums: &Sums| {
                let total = sums.get("total").cloned().unwrap_or_default();
                ["payments", "paid_micros"].map(|name| total.get(name).copied().unwrap_or(0))
            };
            assert_eq!(paid(revenue), paid(ltv), "{label}: cohorts and revenue");
            rows += ltv.len();
        }
    }
    rows
}

#[tokio::test]
async fn native_segments_sum_to_the_total_and_measures_fall() {
    let mut rows = 0;
    for seed in seeds() {
        if seed % 4 == 0 {
            rows += check_native(&collisions(seed), seed).await;
        }
        rows += check_native(&subscriptions(seed), seed).await;
    }
    assert!(seeds().count() < 200 || rows > 10_000, "too little was compared: {rows}");
}
