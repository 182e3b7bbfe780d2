//! The memory of the process follows its budget, however many customers there are.
//!
//! Takes gigabytes of disk and memory, so it runs when it is asked for: `./ltv test -- --ignored memory`.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::kafka::{Writer, brokers, create_topic, topics_of, write_settings};
use crate::support::process::Served;
use crate::support::unique;

const CUSTOMERS: u64 = 5_000_000;
/// One customer of so many pays, [`PAYMENTS`] times.
const PAYERS_ONE_OF: u64 = 25;
const PAYMENTS: u64 = 4;
/// One of so many comes back after all others have come.
const BACK_ONE_OF: u64 = 20;
const BUDGET_BYTES: u64 = 1 << 30;
/// 2024-01-01.
const BEGIN_US: u64 = 1_704_067_200_000_000;
const DAY_US: u64 = 86_400_000_000;
/// 2026-06-01: after all events.
const RECORD_TIMESTAMP_MS: i64 = 1_780_272_000_000;
const PATIENCE: Duration = Duration::from_secs(1800);

/// What happens to a customer at first: an install, and to some a subscription.
fn events_of(customer: u64, mut send: impl FnMut(&str)) {
    let at = BEGIN_US + customer * 730 / CUSTOMERS * DAY_US + customer % DAY_US;
    let country = ["DE", "US", "FR", "BR", "JP"][(customer % 5) as usize];
    let store = ["app_store", "play_store"][(customer / 5 % 2) as usize];
    let head = |event: &str, kind: &str, at: u64| {
        format!(
            r#"{{"event_id":"{customer}-{event}","app_id":"default","customer_id":"user-{customer:010}","kind":"{kind}","occurred_at":{at},"country":"{country}","store":"{store}""#
        )
    };
    send(&format!("{}}}", head("install", "install", at)));
    if !customer.is_multiple_of(PAYERS_ONE_OF) {
        return;
    }
    for payment in 1..=PAYMENTS {
        let kind = if payment == 1 { "purchase" } else { "renewal" };
        let at = at + payment * 7 * DAY_US;
        send(&format!(
            r#"{},"gross_micros":4990000,"currency":"USD","product_id":"weekly","period":"P1W","transaction_id":"{customer}-{payment}","original_transaction_id":"{customer}"}}"#,
            head(&payment.to_string(), kind, at)
        ));
    }
}

#[test]
#[ignore = "takes gigabytes: ./ltv test -- --ignored memory"]
fn five_million_customers_take_at_most_a_fifth_more_than_a_budget_of_one_gibibyte() {
    let topics = topics_of(&unique("memory"));
    create_topic(&topics[0], 1, "delete");
    let dir = tempfile::tempdir().unwrap();
    let more = format!(
        r#"
event_format = "json"
[engine]
memory_budget_bytes = {BUDGET_BYTES}
[[apps]]
id = "default"
reporting_currency = "USD"
"#
    );
    let config = write_settings(dir.path(), &brokers(), &topics, &more);
    let served = Served::start(&["--config", &config], &dir.path().join("log"));
    let (writer, mut sent) = (Writer::new(&topics[0]), 0);
    let mut send = |json: &str| {
        writer.send(0, RECORD_TIMESTAMP_MS, Some(b"k"), Some(json.as_bytes()));
        sent += 1;
    };
    for customer in 0..CUSTOMERS {
        events_of(customer, &mut send);
    }
    for customer in (0..CUSTOMERS).step_by(BACK_ONE_OF as usize) {
        let at = BEGIN_US + 800 * DAY_US;
        send(&format!(
            r#"{{"event_id":"{customer}-back","app_id":"default","customer_id":"user-{customer:010}","kind":"paywall_view","occurred_at":{at}}}"#
        ));
    }
    writer.flush();
    let answer = when_read(&served, sent);
    let total = &answer["total"];
    assert_eq!(total["customers"], CUSTOMERS);
    let payers = CUSTOMERS / PAYERS_ONE_OF;
    assert_eq!(total["payers"], payers);
    assert_eq!(total["to_date"]["revenue"], format!("{}.00", payers * PAYMENTS * 499 / 100));
    let most = served.most_resident_bytes();
    println!("at most {} MiB resident", most >> 20);
    assert!(most <= BUDGET_BYTES / 10 * 12, "{most} bytes resident of {BUDGET_BYTES}");
}

/// The lifetime value of all installs as of so many events.
fn when_read(served: &Served, events: u64) -> Value {
    let begun_at = Instant::now();
    loop {
        let path = "/v1/apps/default/ltv?anchor=install&width=year&age=days&ages=0,730";
        let answer = served.get(path).unwrap_or_default();
        let next = &answer["as_of"]["0"];
        if next.as_u64() == Some(events) {
            return answer;
        }
        assert!(begun_at.elapsed() < PATIENCE, "it is at {answer} of {events}");
        std::thread::sleep(Duration::from_millis(500));
    }
}
