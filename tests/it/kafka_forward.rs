//! Promise: whoever sends an event learns whether and where it was written, and every customer
//! stays in the partition that any other Kafka client would choose.

use std::time::Duration;

use ltvstream::kafka::{ForwardError, Forwarder, KafkaSettings};
use ltvstream::stream::NextOffset;

use serde_json::{Value, json};

use crate::kafka_support::{LIMIT, Ledger, Member, ready, run_until};
use crate::support::kafka::{brokers, create_narrow_topic, ends, topics_of, write_settings};
use crate::support::process::{Served, run_in};
use crate::support::unique;

#[test]
fn each_event_reports_where_it_was_written() {
    let (settings, topics) = ready("forward", 1);
    let forwarder = Forwarder::new(&settings).unwrap();
    let deliveries: Vec<_> = (0..100)
        .map(|n| forwarder.send(b"app/ann", format!("{n}").as_bytes(), LIMIT).unwrap())
        .collect();
    forwarder.flush(LIMIT).unwrap();
    for (n, delivery) in (1..).zip(deliveries) {
        let delivered = delivery.wait().unwrap();
        assert_eq!((delivered.partition, delivered.next), (0, NextOffset(n)));
    }

    let mut ledger = Ledger::default();
    let mut member = Member::join(&settings, &topics);
    run_until(&mut [&mut member], &mut ledger, |_, ledger| ledger.count() == 100);
    let expected: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(ledger.values[&0], expected);
}

#[test]
fn keys_go_where_the_java_client_sends_them() {
    let (settings, _) = ready("murmur", 8);
    let forwarder = Forwarder::new(&settings).unwrap();
    // From the unit tests of Kafka's own murmur2: "21" hashes to -973932308, "foobar" to
    // -790332482. The partition is the hash without its sign bit, modulo 8.
    for (key, partition) in [("21", 4), ("foobar", 6)] {
        let delivery = forwarder.send(key.as_bytes(), b"v", LIMIT).unwrap();
        assert_eq!(delivery.wait().unwrap().partition, partition, "{key}");
    }
}

#[test]
fn an_event_larger_than_the_topic_allows_is_refused_alone() {
    let (settings, _) = ready("toolarge", 1);
    let forwarder = Forwarder::new(&settings).unwrap();
    let mut large = Vec::new();
    // Compressible data would slip under the limit.
    for n in 0..400_000_u32 {
        large.extend_from_slice(&n.wrapping_mul(2_654_435_761).to_le_bytes());
    }
    let refused = forwarder.send(b"k", &large, LIMIT).unwrap();
    assert_eq!(refused.wait(), Err(ForwardError::TooLarge));
    assert!(forwarder.send(b"k", b"small", LIMIT).unwrap().wait().is_ok());
}

#[test]
fn generated_events_that_kafka_does_not_take_are_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let more = "event_format = \"json\"\n[[apps]]\nid = \"default\"\n";
    let generate = |events: &str| {
        let config = write_settings(dir.path(), &brokers(), &topics_of(events), more);
        let few = ["--customers", "5", "--days", "30", "--config", &config];
        run_in(dir.path(), &[&["generate", "--kafka"][..], &few].concat())
    };
    let events = unique("narrow");
    create_narrow_topic(&events);
    let (code, out, err) = generate(&events);
    assert_eq!((code, out.as_str()), (Some(3), ""), "{err}");
    assert!(err.contains("the event is larger than the topic allows"), "{err}");
    assert_eq!(ends(&events, 1), [0]);
    let (code, out, err) = generate(&unique("wide"));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
}

#[test]
fn a_full_queue_pushes_back() {
    let (mut settings, _) = ready("full", 1);
    settings.properties.insert("queue.buffering.max.messages".to_owned(), "10".to_owned());
    // Nothing leaves the queue for a while.
    settings.properties.insert("linger.ms".to_owned(), "2000".to_owned());
    let forwarder = Forwarder::new(&settings).unwrap();
    let mut deliveries = Vec::new();
    let error = loop {
        match forwarder.try_send(b"k", b"v") {
            Ok(delivery) => deliveries.push(delivery),
            Err(error) => break error,
        }
    };
    assert_eq!((error, deliveries.len()), (ForwardError::QueueFull, 10));
    let error = forwarder.send(b"k", b"v", Duration::ZERO).err();
    assert_eq!(error, Some(ForwardError::QueueFull));
    // With patience there is room again, and nothing was lost.
    deliveries.push(forwarder.send(b"k", b"v", LIMIT).unwrap());
    forwarder.flush(LIMIT).unwrap();
    assert!(deliveries.into_iter().all(|delivery| delivery.wait().is_ok()));
}

#[test]
fn what_any_state_would_refuse_is_told_to_the_sender_and_not_written() {
    let (settings, _) = ready("judged", 1);
    let dir = tempfile::tempdir().unwrap();
    let KafkaSettings { events_topic, snapshots_topic, dead_letters_topic, .. } = settings.clone();
    let topics = [events_topic, snapshots_topic, dead_letters_topic];
    let more = "event_format = \"json\"\n[[apps]]\nid = \"acme\"\n";
    let config = write_settings(dir.path(), &settings.bootstrap_servers, &topics, more);
    let served = Served::start(&["--config", &config], &dir.path().join("log"));
    let event = |id: &str, app: &str, at: &str, currency: &str| {
        json!({"event_id": id, "app_id": app, "customer_id": "c", "kind": "purchase",
               "occurred_at": at, "gross_micros": 10, "currency": currency})
    };
    let day = "2024-01-05T00:00:00Z";
    let events = [
        event("e1", "acme", day, "USD"),
        event("e2", "emca", day, "USD"),
        event("e3", "acme", day, "EUR"),
        event("e4", "acme", "2999-01-01T00:00:00Z", "USD"),
        event("e5", "acme", day, "usd"),
    ];
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    let mut answer = ureq::post(format!("{}/v1/events", served.url))
        .header("Content-Type", "application/x-ndjson")
        .send(format!("{}\nno event", lines.join("\n")))
        .unwrap();
    assert_eq!(answer.status(), 202);
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(1), &json!(5)), "{answer}");
    let told = answer["errors"].as_array().unwrap().iter();
    let told: Vec<_> = told.map(|error| (&error["line"], &error["code"])).collect();
    let expected = [
        (2, "unknown_app"),
        (3, "missing_rate"),
        (4, "invalid_occurred_at"),
        (5, "invalid_currency"),
        (6, "malformed_json"),
    ]
    .map(|(line, code)| (json!(line), json!(code)));
    assert_eq!(told, expected.iter().map(|(line, code)| (line, code)).collect::<Vec<_>>());
    assert_eq!(answer["as_of"], json!({"0": 1}));
    assert_eq!(ends(&settings.events_topic, 1), [1]);
    // What was accepted is there for whoever waits for it.
    let asked = served.wait_for("/v1/apps/acme/ltv?min_as_of=0:1", |_| true);
    assert_eq!(asked["total"]["customers"], 1, "{asked}");
}
