//! The reference held against answers worked out by hand.

mod acceptance;
mod cohorts;
mod dimensions;
mod examples;
mod heads;
mod rules;
mod spans;

use chrono::DateTime;
use serde_json::{Map, Value, json};

use super::{AppSettings, Facts, Reference, Verdict};

/// Later than every event of these tests.
const RECORD_US: i64 = 4_000_000_000_000_000;

/// An app of US dollars with euro rates.
fn app(zones: &[&str], count_zero_payments: bool) -> AppSettings {
    let rates = [["2024-01-01", "EUR", "1.5"], ["2024-02-01", "EUR", "0.5"]];
    AppSettings {
        id: "app".to_owned(),
        reporting_currency: "USD".to_owned(),
        zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
        count_zero_payments,
        rates: rates.map(|line| line.map(str::to_owned).into()).to_vec(),
    }
}

/// The JSON text of a line `event_id customer kind time name=value…`.
///
/// Times lack their seconds: `2024-01-31T10:00Z`. `paid=10.00USD` stands for gross and currency,
/// and `chain` and `transaction` for the long names.
fn event(line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut event = Map::new();
    event.insert("app_id".to_owned(), json!("app"));
    for name in ["event_id", "customer_id", "kind", "occurred_at"] {
        let word = words.next().unwrap_or_else(|| panic!("no {name} in {line}"));
        event.insert(name.to_owned(), json!(word));
    }
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or_else(|| panic!("{word} in {line}"));
        match name.split_once('.') {
            Some(("attributes", name)) => {
                let attributes = event.entry("attributes").or_insert_with(|| json!({}));
                attributes[name] = json!(value);
            }
            _ if name == "paid" => {
                let (amount, currency) = value.split_at(value.len() - 3);
                event.insert("gross_micros".to_owned(), json!(micros(amount)));
                event.insert("currency".to_owned(), json!(currency));
            }
            _ if name.ends_with("_micros") => {
                event.insert(name.to_owned(), json!(value.parse::<i64>().unwrap()));
            }
            _ if name == "chain" => {
                event.insert("original_transaction_id".to_owned(), json!(value));
            }
            _ if name == "transaction" => {
                event.insert("transaction_id".to_owned(), json!(value));
            }
            _ => {
                event.insert(name.to_owned(), json!(value));
            }
        }
    }
    for name in ["occurred_at", "expires_at"] {
        if let Some(at) = event.get(name).and_then(Value::as_str) {
            let us = instant(at);
            event.insert(name.to_owned(), json!(us));
        }
    }
    Value::Object(event).to_string()
}

/// Epoch microseconds of a time with or without seconds.
fn instant(text: &str) -> i64 {
    let full = if text.len() == 17 { text.replace('Z', ":00Z") } else { text.to_owned() };
    DateTime::parse_from_rfc3339(&full).unwrap().timestamp_micros()
}

fn micros(amount: &str) -> i64 {
    let (whole, cents) = amount.split_once('.').unwrap_or((amount, "00"));
    let whole: i64 = whole.parse().unwrap();
    whole * 1_000_000 + cents.parse::<i64>().unwrap() * 10_000
}

/// A reference that has accepted these events, one a line.
fn accepted(app: AppSettings, lines: &str) -> Reference {
    let mut reference = Reference::new(&[app]);
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let verdict = reference.offer(&event(line), RECORD_US);
        assert_eq!(verdict, Verdict::Accepted, "{line}");
    }
    reference
}

/// The facts of one kind in the first zone: `rest of the key: count gross proceeds net`, money in
/// micro-units and left out where there is none.
fn rows(facts: &Facts, zone: u8, kind: &str) -> Vec<String> {
    let prefix = format!("app|{zone}|{kind}|");
    let of_kind = facts.iter().filter_map(|(key, sums)| Some((key.strip_prefix(&prefix)?, sums)));
    let lines = of_kind.map(|(rest, (count, gross, proceeds, net))| {
        if (*gross, *proceeds, *net) == (0, 0, 0) {
            format!("{rest}: {count:+}")
        } else {
            format!("{rest}: {count:+} {gross} {proceeds} {net}")
        }
    });
    lines.collect()
}

/// Asserts the facts of one kind of an app in UTC that ignores zero payments.
fn check(lines: &str, kind: &str, expected: &[&str]) {
    check_app(app(&["UTC"], false), lines, kind, expected);
}

fn check_app(app: AppSettings, lines: &str, kind: &str, expected: &[&str]) {
    assert_eq!(rows(&accepted(app, lines).facts(), 0, kind), expected, "{kind} of\n{lines}");
}

/// Asserts which events are suspended, as `event: reason`.
fn check_suspended(lines: &str, expected: &[&str]) {
    let suspended = accepted(app(&["UTC"], false), lines).suspended();
    let got: Vec<String> =
        suspended.iter().map(|((_, _, event), reason)| format!("{event}: {reason}")).collect();
    assert_eq!(got, expected, "suspended of\n{lines}");
}
