//! What must add up in Adapty's answers about every business: cohorts to the total and to the
//! revenue of the native path, segments to the total, lifetime values to the same money.
//!
//! What is not asserted, because it does not add up:
//! * averages (ARPU, ARPPU, ARPAS, lifetime value itself): they are quotients;
//! * payers and subscriptions over values of a field of which one of them may have several: those
//!   of segments are no fewer than those of the total.
//!
//! Refunds add up wherever payments do, also where they were converted at another day's rate and
//! give back more than was paid: each is converted once, and has one value of each field. A segment
//! in which money was given back and nobody paid has a lifetime value of 0, as there is nobody to
//! divide by; its money is seen in cohorts, and is in the total.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::businesses::{Business, collisions};
use crate::identities::micros_of;
use crate::reference::AppSettings;
use crate::vendor_identities::{Held, each};

/// Asked when all events are over: who is placed in a cohort by a later install is in none yet.
fn past_collisions(seed: u64) -> Business {
    Business { now: "2026-03-01T03:00:00Z", ..collisions(seed) }
}

/// From the first day on which anything may happen to the last.
const EVER: [&str; 2] = ["2020-01-01", "2027-12-31"];
const MONEY: [&str; 3] = ["revenue", "proceeds", "net_revenue"];

async fn adapty(held: &Held, app: &AppSettings, method: &str, body: &Value) -> Value {
    let request = Request::post(format!("/api/v1/client-api/metrics/{method}/"))
        .header("authorization", format!("Api-Key {}", app.id))
        .body(Body::from(body.to_string()))
        .unwrap();
    held.sent(request, &body.to_string()).await
}

/// Adds up amounts that were printed as doubles.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Sum {
    /// In micro-units.
    exact: i128,
    /// Of the sizes, in units.
    size: f64,
}

impl Sum {
    fn add(&mut self, units: f64) {
        self.exact += (units * 1e6).round() as i128;
        self.size += units.abs();
    }

    /// Whether this is the sum. Micro-units below 2^51 come back exactly from a double of units.
    /// Some sets of events have payments as large as there may be: of these a double has lost the
    /// last digits.
    fn is(&self, total: f64) -> bool {
        let difference = (self.exact - (total * 1e6).round() as i128).abs();
        let scale = self.size.max(total.abs()) * 1e6;
        let lost = if scale < 2f64.powi(51) { 0.0 } else { scale * 2f64.powi(-50) };
        difference as f64 <= lost
    }
}

/// Sums of rows, by the name of the figure; those of a cell with its period.
#[derive(Default)]
struct Sums {
    money: BTreeMap<String, Sum>,
    counts: BTreeMap<String, i64>,
}

const COUNTS: [&str; 2] = ["subscriptions", "subscribers"];

impl Sums {
    fn of<'a>(rows: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut sums = Self::default();
        for row in rows {
            let whole = |name: &str| row[format!("total_{name}")].as_i64().unwrap();
            sums.count("installs".to_owned(), whole("installs"));
            sums.count("subscriptions".to_owned(), whole("subscriptions"));
            sums.count("subscribers".to_owned(), whole("paid_subscribers"));
            for name in MONEY {
                sums.add(name.to_owned(), &row[format!("total_{name}_usd")]);
            }
            for cell in row["values"].as_array().unwrap() {
                let named = |name: &str| format!("{name} {}", cell["period"]);
                for name in COUNTS {
                    sums.count(named(name), cell[name].as_i64().unwrap());
                }
                for name in MONEY {
                    sums.add(named(name), &cell[format!("{name}_usd")]);
                }
            }
        }
        sums
    }

    fn count(&mut self, name: String, count: i64) {
        *self.counts.entry(name).or_default() += count;
    }

    fn add(&mut self, name: String, units: &Value) {
        self.money.entry(name).or_default().add(units.as_f64().unwrap());
    }

    /// Holds these sums against those of the total row. `exact`: every customer is in one part.
    fn check(&self, total: &Self, exact: bool, label: &str) {
        for (name, sum) in &total.money {
            let parts = self.money.get(name).copied().unwrap_or_default();
            // The total is one printed double.
            let units = sum.exact as f64 / 1e6;
            assert!(parts.is(units), "{label} {name}: {parts:?} {sum:?}");
        }
        for (name, parts) in &self.money {
            let there = total.money.contains_key(name) || parts.is(0.0);
            assert!(there, "{label} {name}: {parts:?}");
        }
        for (name, count) in &total.counts {
            let parts = self.counts.get(name).copied().unwrap_or(0);
            if exact || name == "installs" {
                assert_eq!(parts, *count, "{label} {name}");
            } else {
                assert!(parts >= *count, "{label} {name}: {parts} {count}");
            }
        }
    }
}

/// The rows of an answer about cohorts.
async fn cohorts(held: &Held, app: &AppSettings, field: Option<(&str, &str)>) -> Vec<Value> {
    let mut body = json!({"filters": {"date": EVER}, "period_unit": "quarter"});
    if let Some((field, value)) = field {
        body["filters"][field] = json!([value]);
    }
    adapty(held, app, "cohort", &body).await["data"].as_array().unwrap().clone()
}

fn money(row: &Value, metric: &str) -> f64 {
    row[format!("total_{metric}_usd")].as_f64().unwrap()
}

fn size(row: &Value) -> i64 {
    row["cohort_size"].as_i64().unwrap()
}

/// A value of LTV against the money of the same customers, which the cohorts know: one division
/// of exact sums.
fn check_value(row: &Value, money: f64, label: &str) {
    let value = row["value"].as_f64().unwrap();
    if size(row) == 0 {
        // Money given back in a segment in which nobody paid is money, but there is nobody to
        // divide it by.
        assert_eq!(value, 0.0, "{label} {row}");
        return;
    }
    let expected = (money * 1e6).round() / (size(row) as f64 * 1e6);
    // The reader of JSON may be a last bit off.
    let slack = expected.abs() * 1e-15;
    assert!((value - expected).abs() <= slack, "{label} {money} {row}");
}

/// Cohorts, of which every payer is in one.
fn check_ltv_cohorts(rows: &[Value], whole: &[Value], metric: &str, label: &str) {
    assert_eq!(size(&rows[0]), whole[0]["total_paid_subscribers"], "{label}");
    assert_eq!(rows[1..].iter().map(size).sum::<i64>(), size(&rows[0]), "{label}");
    for row in rows {
        let same = whole.iter().find(|known| known["title"] == row["title"]);
        check_value(row, money(same.unwrap_or_else(|| panic!("{label} {row}")), metric), label);
    }
}

/// Segments; `segments` are the total rows of cohorts by value. Those with payers or money are
/// listed.
fn check_ltv_segments(
    rows: &[Value],
    segments: &BTreeMap<String, Value>,
    metric: &str,
    label: &str,
) {
    let mut listed = BTreeSet::new();
    for row in &rows[1..] {
        let value = row["type"].as_str().unwrap();
        let known = segments.get(value).unwrap_or_else(|| panic!("{label} {row}"));
        check_value(row, money(known, metric), label);
        listed.insert(value);
    }
    for (value, row) in segments.iter().filter(|(value, _)| !listed.contains(value.as_str())) {
        assert_eq!(money(row, metric), 0.0, "{label} {value}");
        assert_eq!(row["total_paid_subscribers"], 0, "{label} {value}");
    }
}

/// LTV by cohort and by segment.
async fn check_ltv(
    held: &Held,
    app: &AppSettings,
    (whole, segments): (&[Value], &BTreeMap<String, Value>),
    field: &str,
) {
    let body = json!({"filters": {"date": EVER}, "period_unit": "quarter"});
    let mut by_field = body.clone();
    by_field["segmentation"] = json!(field);
    let by_cohort = adapty(held, app, "ltv", &body).await;
    let by_field = adapty(held, app, "ltv", &by_field).await;
    for metric in MONEY {
        let label = format!("{} {} ltv {field} {metric}", held.label(), app.id);
        let rows = |answer: &Value| answer[metric]["data"].as_array().unwrap().clone();
        let (of_cohorts, of_field) = (rows(&by_cohort), rows(&by_field));
        assert_eq!(of_field[0], of_cohorts[0], "{label}");
        check_ltv_cohorts(&of_cohorts, whole, metric, &label);
        check_ltv_segments(&of_field, segments, metric, &label);
        let payers: i64 = of_field[1..].iter().map(size).sum();
        if held.settled && field == "country" {
            assert_eq!(payers, size(&of_field[0]), "{label}");
        } else {
            assert!(payers >= size(&of_field[0]), "{label}");
        }
    }
}

/// All cohorts together have the revenue of all days, but for what is in no cohort.
async fn check_revenue(held: &Held, app: &AppSettings, total: &Value) {
    for (name, measure) in MONEY.into_iter().zip(["gross", "proceeds", "net"]) {
        let path = format!("/v1/apps/{}/revenue?measure={measure}", app.id);
        let revenue = held.get(&path, format!("Bearer {}", app.id)).await;
        let mut sum = Sum::default();
        if !revenue["total"].is_null() {
            let of = |name: &str| micros_of(&revenue["total"][name]);
            sum.exact = of("revenue") + of("unplaced_refunded");
            sum.size = (of("paid") + of("refunded")) as f64 / 1e6;
        }
        let units = money(total, name);
        assert!(sum.is(units), "{} {path}: {sum:?} {units}", held.label());
    }
}

async fn check_adapty(held: &Held, app: &AppSettings) -> usize {
    let whole = cohorts(held, app, None).await;
    let total = Sums::of(&whole[..1]);
    let label = format!("{} {}", held.label(), app.id);
    // A customer is in one cohort.
    Sums::of(&whole[1..]).check(&total, true, &format!("{label} cohorts"));
    check_revenue(held, app, &whole[0]).await;
    for field in ["country", "store"] {
        let mut segments = BTreeMap::new();
        let mut values = held.values(field);
        values.insert(String::new());
        for value in values {
            let rows = cohorts(held, app, Some((field, &value))).await;
            segments.insert(value, rows[0].clone());
        }
        let is_settled = held.settled && field == "country";
        let sums = Sums::of(segments.values());
        sums.check(&total, is_settled, &format!("{label} {field}"));
        check_ltv(held, app, (&whole, &segments), field).await;
    }
    total.money.len() * whole.len()
}

#[tokio::test]
async fn adaptys_cohorts_and_segments_add_up_to_the_revenue_of_all_days() {
    each(past_collisions, check_adapty).await;
}

/// Along days a cohort's row ends where nobody of it can be older yet, and in the total it stays as
/// it is from there on.
async fn check_days(held: &Held, app: &AppSettings) -> usize {
    let days = [0, 7, 31, 92, 336];
    let body = json!({"filters": {"date": EVER}, "period_unit": "month",
                      "period_type": "days", "renewal_days": days});
    let answer = adapty(held, app, "cohort", &body).await;
    let rows = answer["data"].as_array().unwrap();
    let (total, rows) = rows.split_first().unwrap();
    for (place, cell) in total["values"].as_array().unwrap().iter().enumerate() {
        let label = format!("{} {} {cell}", held.label(), app.id);
        // The figure of a cell, or that of the whole row if the row ends before it.
        let shown = |row: &Value, in_cell: &str, in_row: &str| {
            let cell = row["values"].as_array().unwrap().get(place);
            cell.map_or_else(|| row[in_row].clone(), |cell| cell[in_cell].clone())
        };
        for name in MONEY {
            let (in_cell, in_row) = (format!("{name}_usd"), format!("total_{name}_usd"));
            let mut sum = Sum::default();
            rows.iter().for_each(|row| sum.add(shown(row, &in_cell, &in_row).as_f64().unwrap()));
            assert!(sum.is(cell[&in_cell].as_f64().unwrap()), "{label} {sum:?}");
        }
        for (in_cell, in_row) in
            [("subscriptions", "total_subscriptions"), ("subscribers", "total_paid_subscribers")]
        {
            let counts = rows.iter().map(|row| shown(row, in_cell, in_row).as_i64().unwrap());
            assert_eq!(counts.sum::<i64>(), cell[in_cell], "{label} {in_cell}");
        }
    }
    rows.len() * days.len()
}

#[tokio::test]
async fn adaptys_cohorts_along_days_add_up_with_the_young_ones_as_they_are() {
    each(past_collisions, check_days).await;
}

#[test]
fn a_sum_is_told_from_one_a_micro_unit_away() {
    let mut sum = Sum::default();
    [0.1, 0.2, -0.000001].into_iter().for_each(|units| sum.add(units));
    assert!(sum.is(0.299999) && !sum.is(0.3) && !sum.is(0.299998));
}
