//! Promise: every record of the log comes exactly once from the offset the state asks for,
//! whatever happens to the group, and nothing in a record can stop us.

use std::time::{Duration, Instant};

use ltvstream::config::Consumption;
use ltvstream::kafka::{KafkaSettings, KafkaSource, Topics};
use ltvstream::stream::{
    Fingerprint, NextOffset, Polled, Record, RecordBatch, Source, SourceError,
};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::kafka_support::{
    LIMIT, Ledger, Member, assigned, both_ways, broker, lag, numbered, producer, ready_for,
    run_until, send_with_odd_header, write, write_transactions,
};

both_ways! {
    after_a_restart_delivery_goes_on_at_the_stored_offset
    all_partitions_are_delivered_in_their_own_order
    partitions_move_between_members_without_loss_or_repeat
    a_source_leaves_the_group_even_when_nobody_answered_its_assignment
    an_offset_above_the_log_is_reported_with_the_bounds_of_the_log
    an_offset_below_the_log_is_reported_with_the_bounds_of_the_log
    null_keys_and_values_and_header_keys_that_are_not_utf8_are_delivered
    aborted_records_are_never_delivered_and_leave_no_lag
    the_lag_is_what_was_not_delivered_yet
    fingerprints_read_again_equal_those_of_delivery
    while_the_brokers_are_away_the_source_waits_and_then_goes_on
}

/// Polls until the first error.
fn first_error(source: &mut KafkaSource) -> SourceError {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Err(error) = source.poll(Duration::from_millis(100), 10, &mut |_| {}) {
            return error;
        }
    }
    panic!("no error");
}

fn after_a_restart_delivery_goes_on_at_the_stored_offset(way: Consumption) {
    let (settings, topics) = ready_for(way, "restart", 1);
    write(&settings.events_topic, 0, &numbered("a", 5));
    let mut ledger = Ledger::default();
    let mut member = Member::join(&settings, &topics);
    run_until(&mut [&mut member], &mut ledger, |_, ledger| ledger.count() == 5);
    drop(member);

    // The state was behind: two records were read, but not committed.
    ledger.next.insert(0, NextOffset(3));
    ledger.offsets.retain(|(_, offset)| *offset < 3);
    write(&settings.events_topic, 0, &numbered("b", 1));
    let mut member = Member::join(&settings, &topics);
    run_until(&mut [&mut member], &mut ledger, |_, ledger| ledger.count() == 6);
    let values = ledger.values.remove(&0).unwrap();
    assert_eq!(values, ["a0", "a1", "a2", "a3", "a4", "a3", "a4", "b0"]);
}

fn all_partitions_are_delivered_in_their_own_order(way: Consumption) {
    let (settings, topics) = ready_for(way, "partitions", 4);
    assert_eq!(topics.events_partitions, 4);
    for partition in 0..4 {
        write(&settings.events_topic, partition, &numbered(&format!("{partition}-"), 250));
    }
    let mut ledger = Ledger::default();
    let mut member = Member::join(&settings, &topics);
    run_until(&mut [&mut member], &mut ledger, |_, ledger| ledger.count() == 1000);
    for partition in 0..4 {
        assert_eq!(ledger.values[&partition], numbered(&format!("{partition}-"), 250));
    }
}

fn partitions_move_between_members_without_loss_or_repeat(way: Consumption) {
    let (settings, topics) = ready_for(way, "rebalance", 4);
    let mut written = 0;
    let mut write_more = |ledger: &Ledger| {
        // More records whenever the last are nearly read, so that every move meets some.
        if ledger.count() + 40 >= written {
            for partition in 0..4 {
                write(&settings.events_topic, partition, &numbered("", 25));
            }
            written += 100;
        }
        written
    };
    let mut ledger = Ledger::default();
    let mut first = Member::join(&settings, &topics);
    run_until(&mut [&mut first], &mut ledger, |members, ledger| {
        write_more(ledger);
        members[0].owned.len() == 4 && ledger.count() >= 50
    });

    let mut second = Member::join(&settings, &topics);
    run_until(&mut [&mut first, &mut second], &mut ledger, |members, ledger| {
        write_more(ledger);
        members.iter().all(|member| member.owned.len() == 2)
    });
    assert!(
        first.events.iter().any(|event| matches!(event, Polled::Revoked(gone) if gone.len() == 2))
    );
    assert_eq!(second.events.len(), 1, "{:?}", second.events);
    let enough = ledger.count() + 150;
    run_until(&mut [&mut first, &mut second], &mut ledger, |_, ledger| {
        write_more(ledger);
        ledger.count() >= enough
    });

    drop(second);
    run_until(&mut [&mut first], &mut ledger, |members, ledger| {
        write_more(ledger);
        members[0].owned.len() == 4
    });
    let all = write_more(&Ledger::default()).max(written);
    run_until(&mut [&mut first], &mut ledger, |_, ledger| ledger.count() >= all);
    for (partition, next) in &ledger.next {
        let delivered = ledger.offsets.iter().filter(|(of, _)| of == partition).count();
        assert_eq!(NextOffset(i64::try_from(delivered).unwrap()), *next);
    }
}

fn a_source_leaves_the_group_even_when_nobody_answered_its_assignment(way: Consumption) {
    let (settings, topics) = ready_for(way, "leave", 2);
    let (source, partitions) = assigned(&settings, &topics);
    assert_eq!(partitions, [0, 1]);
    drop(source);
    let (_, partitions) = assigned(&settings, &topics);
    assert_eq!(partitions, [0, 1]);
}

fn an_offset_above_the_log_is_reported_with_the_bounds_of_the_log(way: Consumption) {
    let (settings, topics) = ready_for(way, "above", 2);
    write(&settings.events_topic, 0, &numbered("", 3));
    write(&settings.events_topic, 1, &numbered("", 3));
    let (mut source, _) = assigned(&settings, &topics);
    source.start(&[(0, Some(NextOffset(3))), (1, Some(NextOffset(1000)))]).unwrap();
    let error = first_error(&mut source);
    let SourceError::OutOfRange { partition: 1, wanted: 1000, low: 0, high: 3 } = error else {
        panic!("{error}");
    };

    // Told where to go on, it does; the other partition was not disturbed.
    source.start(&[(1, Some(NextOffset(2)))]).unwrap();
    write(&settings.events_topic, 0, &numbered("", 1));
    let mut seen = Vec::new();
    let deadline = Instant::now() + LIMIT;
    while seen.len() < 2 && Instant::now() < deadline {
        let mut take_over = |batch: Box<dyn RecordBatch>| {
            seen.extend(batch.records().iter().map(|record| (record.partition, record.offset)));
        };
        source.poll(Duration::from_millis(100), 10, &mut take_over).unwrap();
    }
    seen.sort_unstable();
    assert_eq!(seen, [(0, 3), (1, 2)]);
}

fn an_offset_below_the_log_is_reported_with_the_bounds_of_the_log(way: Consumption) {
    let (settings, topics) = ready_for(way, "below", 1);
    write(&settings.events_topic, 0, &numbered("", 5));
    delete_before(&settings.events_topic, 2);
    let (mut source, _) = assigned(&settings, &topics);
    assert_eq!(source.bounds(0).unwrap(), (2, 5));
    source.start(&[(0, Some(NextOffset(0)))]).unwrap();
    let error = first_error(&mut source);
    let SourceError::OutOfRange { partition: 0, wanted: 0, low: 2, high: 5 } = error else {
        panic!("{error}");
    };
}

fn delete_before(topic: &str, offset: i64) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker()).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).unwrap();
}

fn null_keys_and_values_and_header_keys_that_are_not_utf8_are_delivered(way: Consumption) {
    let (settings, topics) = ready_for(way, "odd", 1);
    let producer = producer(&[]);
    let nothing = BaseRecord::<[u8], [u8]>::to(&settings.events_topic).partition(0);
    producer.send(nothing).map_err(|(error, _)| error).unwrap();
    send_with_odd_header(&producer, &settings.events_topic);
    producer.flush(LIMIT).unwrap();

    let mut ledger = Ledger::default();
    let mut member = Member::join(&settings, &topics);
    run_until(&mut [&mut member], &mut ledger, |_, ledger| ledger.count() == 2);
    assert_eq!(ledger.values[&0], ["null", "v"]);
}

fn aborted_records_are_never_delivered_and_leave_no_lag(way: Consumption) {
    let (settings, topics) = ready_for(way, "aborted", 1);
    write_transactions(&settings);
    let mut ledger = Ledger::default();
    let mut member = Member::join(&settings, &topics);
    run_until(&mut [&mut member], &mut ledger, |members, _| {
        members[0].source.lag().unwrap() == [(0, 0)]
    });
    assert_eq!(ledger.values[&0], ["a", "b", "c"]);
    assert_eq!(ledger.next[&0], NextOffset(7));
    assert_eq!(member.source.bounds(0).unwrap(), (0, 8));
}

fn the_lag_is_what_was_not_delivered_yet(way: Consumption) {
    let (settings, topics) = ready_for(way, "lag", 1);
    write(&settings.events_topic, 0, &numbered("", 10));
    let (mut source, _) = assigned(&settings, &topics);
    source.start(&[(0, Some(NextOffset(4)))]).unwrap();
    assert_eq!(lag(&source, 1), [(0, 6)]);
}

fn fingerprints_read_again_equal_those_of_delivery(way: Consumption) {
    let (settings, topics) = ready_for(way, "anchors", 1);
    write_transactions(&settings);
    let (mut source, _) = assigned(&settings, &topics);
    source.start(&[(0, None)]).unwrap();
    let mut delivered: Vec<Fingerprint> = Vec::new();
    let deadline = Instant::now() + LIMIT;
    while delivered.len() < 3 && Instant::now() < deadline {
        let take_over = &mut |batch: Box<dyn RecordBatch>| {
            delivered.extend(batch.records().iter().map(Record::fingerprint));
        };
        source.poll(Duration::from_millis(100), 10, take_over).unwrap();
    }
    assert_ne!(delivered[0].hash, delivered[1].hash);
    // In any order; an aborted record, a marker and offsets outside the log are not there.
    let again = source.fingerprints(0, &[6, 3, 0, 2, 7, 8, -1, 1]).unwrap();
    let [a, b, c] = delivered[..] else { panic!("{delivered:?}") };
    assert_eq!(again, [Some(c), None, Some(a), None, None, None, None, Some(b)]);
}

/// Not a real broker, because a real one is shared by the tests and can't be switched off.
fn while_the_brokers_are_away_the_source_waits_and_then_goes_on(way: Consumption) {
    let cluster = MockCluster::new(1).unwrap();
    let mut settings = KafkaSettings {
        bootstrap_servers: cluster.bootstrap_servers(),
        consumption: way,
        ..KafkaSettings::default()
    };
    // Soon back once the broker is.
    settings.properties.insert("reconnect.backoff.max.ms".to_owned(), "100".to_owned());
    cluster.create_topic(&settings.events_topic, 1, 1).unwrap();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    let write = |value: &str| {
        let record = BaseRecord::to(&settings.events_topic).partition(0).key("k").payload(value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(LIMIT).unwrap();
    };
    write("before");
    let topics =
        Topics { events_partitions: 1, dead_letter_bytes_max: 1000, batch_bytes_max: 1000 };
    let mut ledger = Ledger::default();
    let mut member = Member::join(&settings, &topics);
    run_until(&mut [&mut member], &mut ledger, |_, ledger| ledger.count() == 1);

    cluster.broker_down(1).unwrap();
    for _ in 0..100 {
        member.step(&mut ledger);
    }
    cluster.broker_up(1).unwrap();
    write("after");
    run_until(&mut [&mut member], &mut ledger, |_, ledger| ledger.count() == 2);
    assert_eq!(ledger.values[&0], ["before", "after"]);
}
