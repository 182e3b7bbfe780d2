//! Questions while events flow: every answer is that of exactly the input it names.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::embedded::served;

const EVENTS: usize = 30_000;
const BATCH: usize = 250;

/// One-time purchases of many customers on many days, refunds of some of them.
fn events() -> Vec<(Value, i64)> {
    let mut events = Vec::with_capacity(EVENTS);
    for number in 0..EVENTS {
        let customer = (number * 7919) % 2_000;
        let day = 1 + number % 28;
        let month = 1 + (number / 28) % 12;
        let micros = i64::try_from(1_000_000 + number * 10).unwrap();
        if number % 10 == 9 {
            // Gives back the purchase before it.
            let micros = micros - 10;
            let customer = ((number - 1) * 7919) % 2_000;
            events.push((
                json!({
                    "event_id": format!("r{number}"), "app_id": "default", "kind": "refund",
                    "customer_id": format!("c{customer}"), "currency": "USD",
                    "gross_micros": micros, "transaction_id": format!("e{}", number - 1),
                    "occurred_at": "2025-06-30T00:00:00Z",
                }),
                -micros,
            ));
            continue;
        }
        events.push((
            json!({
                "event_id": format!("e{number}"), "app_id": "default", "kind": "purchase",
                "customer_id": format!("c{customer}"), "currency": "USD", "gross_micros": micros,
                "occurred_at": format!("2024-{month:02}-{day:02}T12:00:00Z"),
            }),
            micros,
        ));
    }
    events
}

fn post(url: &str, events: &[(Value, i64)]) {
    let lines: Vec<String> = events.iter().map(|(event, _)| event.to_string()).collect();
    let mut answer = ureq::post(format!("{url}/v1/events"))
        .header("Content-Type", "application/x-ndjson")
        .send(lines.join("\n"))
        .unwrap();
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(answer["accepted"].as_u64(), u64::try_from(events.len()).ok(), "{answer}");
}

#[test]
fn sums_over_cohorts_are_the_revenue_accepted_up_to_the_stated_input() {
    let dir = tempfile::tempdir().unwrap();
    let served = served(dir.path());
    let events = events();
    let mut revenue_micros = vec![0];
    for (_, micros) in &events {
        revenue_micros.push(revenue_micros[revenue_micros.len() - 1] + micros);
    }
    let is_done = AtomicBool::new(false);
    let mut answers = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for batch in events.chunks(BATCH) {
                post(&served.url, batch);
            }
            is_done.store(true, Ordering::Relaxed);
        });
        let paths = [
            "/v1/apps/default/ltv?width=month",
            "/v1/apps/default/ltv?width=day&age=elapsed_days",
            "/v1/apps/default/ltv?width=month&anchor=install&filter.duration=Uncategorized",
        ];
        let mut seen = Vec::new();
        while !is_done.load(Ordering::Relaxed) {
            for path in paths {
                let answer = served.get(path).unwrap();
                let offset = answer["as_of"]["0"].as_u64().unwrap();
                let expected = revenue_micros[usize::try_from(offset).unwrap()];
                let cohorts = answer["cohorts"].as_array().unwrap().iter();
                let sum: i64 = cohorts
                    .map(|cohort| cohort["to_date"]["revenue_micros"].as_i64().unwrap())
                    .sum();
                assert_eq!(sum, expected, "{path} as of {offset}");
                seen.push(offset);
                answers += 1;
            }
        }
        seen.dedup();
        assert!(seen.len() > 3, "the questions must see the state move, saw {seen:?}");
    });
    assert!(answers > 10);
}
