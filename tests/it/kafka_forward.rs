//! Promise: whoever sends an event learns whether and where it was written, and every customer
//! stays in the partition that any other Kafka client would choose.

use std::time::Duration;

use ltvstream::kafka::{ForwardError, Forwarder};
use ltvstream::stream::NextOffset;

use crate::kafka_support::{LIMIT, Ledger, Member, ready, run_until};

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
fn a_delivery_can_be_awaited() {
    let (settings, _) = ready("await", 1);
    let forwarder = Forwarder::new(&settings).unwrap();
    let delivery = forwarder.try_send(b"k", b"v").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(delivery).unwrap().next, NextOffset(1));
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
