//! `ltvstream import`: nothing of a file disappears, and the exit code says whether all of it counts.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::process::{Served, run_in};

/// A service of the app `default` in US dollars, without rates.
fn served(folder: &Path) -> Served {
    let data = folder.join("data").to_string_lossy().into_owned();
    let arguments = ["--embedded", "--listen", "127.0.0.1:0", "--data-dir", &data];
    Served::start(&arguments, &folder.join("log"))
}

/// A payment of one unit, number `n`, in this currency.
fn payment(n: usize, currency: &str) -> String {
    format!(
        r#"{{"event_id":"e{n}","app_id":"default","customer_id":"c{n}","kind":"purchase","occurred_at":"2024-01-01T00:00:00Z","gross_micros":1000000,"currency":"{currency}"}}"#
    )
}

/// The lines of the file of refused rows.
fn rejects(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_refusal_of_a_service_is_counted_and_written_however_many_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let service = served(dir.path());
    // There is no rate for the euro; the file itself has no fault.
    let currency = |n: usize| if n % 250 == 0 { "USD" } else { "EUR" };
    let lines: Vec<String> = (0..2_500).map(|n| payment(n, currency(n))).collect();
    fs::write(dir.path().join("events.ndjson"), lines.join("\n")).unwrap();
    let (code, out, err) = run_in(dir.path(), &["import", "events.ndjson", "--to", &service.url]);
    let expected = "refused rows of events.ndjson: events.ndjson.rejects.ndjson\n\
        accepted 10 (0 suspended), repeated 0, refused 2490, left out by the map 0\n  \
        refused as missing_rate: 2490\n";
    assert_eq!((code, out.as_str(), err.as_str()), (Some(1), expected, ""));
    let rejects = rejects(&dir.path().join("events.ndjson.rejects.ndjson"));
    let found: Vec<u64> = rejects.iter().map(|row| row["line"].as_u64().unwrap()).collect();
    let refused = (0..2_500).filter(|n| n % 250 != 0).map(|n| n + 1);
    assert_eq!(found, refused.collect::<Vec<u64>>());
}
