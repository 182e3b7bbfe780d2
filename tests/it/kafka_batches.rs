//! Promise: records taken many at a time are those taken one by one, from the first after every
//! start on, however often partitions start, move and come back while records flow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ltvstream::config::Consumption;
use ltvstream::kafka::{KafkaSettings, KafkaSource, Topics};
use ltvstream::stream::{Fingerprint, NextOffset, Partition, RecordBatch, Source, SourceError};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::kafka_support::{
    LIMIT, Ledger, Member, assigned, both_ways, lag, numbered, producer, ready, ready_for,
    run_until, send_with_odd_header, write, write_transactions,
};

const PARTITIONS: i32 = 4;

/// A topic, and settings with which starts and decisions of the group take little time.
fn quick(way: Consumption, name: &str) -> (KafkaSettings, Topics) {
    let (mut settings, topics) = ready_for(way, name, PARTITIONS);
    for (property, value) in [("fetch.wait.max.ms", "10"), ("heartbeat.interval.ms", "100")] {
        settings.properties.insert(property.to_owned(), value.to_owned());
    }
    (settings, topics)
}

/// Writes to all partitions until dropped; each record's value is its offset.
struct Writer {
    stop: Arc<AtomicBool>,
    /// All partitions hold the offsets below.
    written: Arc<AtomicI64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn begin(topic: &str) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let (topic, stopped, count) = (topic.to_owned(), Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            let producer = producer(&[]);
            while !stopped.load(Ordering::Relaxed) {
                write_everywhere(&producer, &topic, count.load(Ordering::Relaxed));
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, written, thread: Some(thread) }
    }

    fn written(&self) -> i64 {
        self.written.load(Ordering::Relaxed)
    }
}

fn write_everywhere(producer: &BaseProducer, topic: &str, value: i64) {
    let value = value.to_string();
    for partition in 0..PARTITIONS {
        let record = BaseRecord::to(topic).partition(partition).key("k").payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// A source, and what must come next of each partition that was started.
struct Reader {
    source: KafkaSource,
    next: BTreeMap<Partition, i64>,
}

impl Reader {
    fn join(settings: &KafkaSettings, topics: &Topics) -> Self {
        let (source, partitions) = assigned(settings, topics);
        assert_eq!(partitions, (0..PARTITIONS).collect::<Vec<_>>());
        Self { source, next: BTreeMap::new() }
    }

    fn start(&mut self, from: &[(Partition, i64)]) {
        self.next.extend(from.iter().copied());
        let from: Vec<_> = from.iter().map(|(p, next)| (*p, Some(NextOffset(*next)))).collect();
        self.source.start(&from).unwrap();
    }

    /// Polls until the partitions have come up to their goals; nothing may be missing on the way.
    fn follow(&mut self, goals: &[(Partition, i64)]) {
        let deadline = Instant::now() + LIMIT;
        while goals.iter().any(|(partition, goal)| self.next[partition] < *goal) {
            assert!(Instant::now() < deadline, "stuck at {:?} before {goals:?}", self.next);
            let next = &mut self.next;
            let mut take_over = |batch: Box<dyn RecordBatch>| {
                for record in batch.records() {
                    let expected = next.get_mut(&record.partition).unwrap();
                    assert_eq!(record.offset, *expected, "partition {}", record.partition);
                    assert_eq!(record.value, Some(expected.to_string().as_bytes()));
                    *expected += 1;
                }
            };
            self.source.poll(Duration::from_millis(20), 100, &mut take_over).unwrap();
        }
    }
}

fn every_one_of_many_starts_gets_all_records_from_its_offset_on(way: Consumption) {
    let (settings, topics) = quick(way, "starts");
    let writer = Writer::begin(&settings.events_topic);
    let mut reader = Reader::join(&settings, &topics);
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for round in 0..100 {
        // All of them at first; later some start again while the others go on.
        let mut from = Vec::new();
        for partition in 0..PARTITIONS {
            if round == 0 || random.random_bool(0.5) {
                let written = writer.written();
                from.push((partition, written - random.random_range(0..200).min(written)));
            }
        }
        reader.start(&from);
        // At times the next start comes before anything of this one.
        let further = if random.random_bool(0.3) { 0 } else { random.random_range(1..50) };
        let goals: Vec<_> = from.iter().map(|(p, offset)| (*p, offset + further)).collect();
        reader.follow(&goals);
    }
}

fn every_new_member_gets_all_records_from_its_offset_on(way: Consumption) {
    let (settings, topics) = quick(way, "members");
    let writer = Writer::begin(&settings.events_topic);
    for _ in 0..20 {
        let mut reader = Reader::join(&settings, &topics);
        let written = writer.written();
        let from: Vec<_> = (0..PARTITIONS).map(|p| (p, written * i64::from(p) / 4)).collect();
        reader.start(&from);
        let goals: Vec<_> = from.iter().map(|(p, offset)| (*p, offset + 10)).collect();
        reader.follow(&goals);
    }
}

/// The library would go on one record too far, if it were not told.
fn partitions_read_to_their_end_go_on_with_the_next_record_after_a_decision(way: Consumption) {
    let (settings, topics) = quick(way, "end");
    let producer = producer(&[]);
    let mut ledger = Ledger::default();
    let mut first = Member::join(&settings, &topics);
    run_until(&mut [&mut first], &mut ledger, |members, _| members[0].owned.len() == 4);
    for round in 0..4 {
        write_everywhere(&producer, &settings.events_topic, round * 2);
        run_until(&mut [&mut first], &mut ledger, |members, _| {
            let lag = members[0].source.lag().unwrap();
            lag.len() == 4 && lag.iter().all(|(_, lag)| *lag == 0)
        });
        let mut second = Member::join(&settings, &topics);
        run_until(&mut [&mut first, &mut second], &mut ledger, |members, _| {
            members.iter().all(|member| member.owned.len() == 2)
        });
        write_everywhere(&producer, &settings.events_topic, round * 2 + 1);
        let all = ledger.count() + 4;
        run_until(&mut [&mut first, &mut second], &mut ledger, |_, ledger| ledger.count() == all);
        drop(second);
        run_until(&mut [&mut first], &mut ledger, |members, _| members[0].owned.len() == 4);
    }
    for partition in 0..PARTITIONS {
        assert_eq!(ledger.values[&partition], numbered("", 8));
    }
}

fn partitions_that_go_and_come_back_lose_and_repeat_nothing(way: Consumption) {
    let (settings, topics) = quick(way, "back");
    let writer = Writer::begin(&settings.events_topic);
    let mut ledger = Ledger::default();
    let mut first = Member::join(&settings, &topics);
    for _ in 0..10 {
        run_until(&mut [&mut first], &mut ledger, |members, _| members[0].owned.len() == 4);
        let mut second = Member::join(&settings, &topics);
        let mut enough = usize::MAX;
        run_until(&mut [&mut first, &mut second], &mut ledger, |members, ledger| {
            if enough == usize::MAX && members.iter().all(|member| member.owned.len() == 2) {
                enough = ledger.count() + 100;
            }
            ledger.count() >= enough
        });
    }
    let all = writer.written();
    drop(writer);
    run_until(&mut [&mut first], &mut ledger, |_, ledger| {
        (0..PARTITIONS).all(|p| ledger.next.get(&p).is_some_and(|next| next.0 >= all))
    });
    for (partition, values) in &ledger.values {
        let numbers: Vec<i64> = values.iter().map(|value| value.parse().unwrap()).collect();
        let next = i64::try_from(numbers.len()).unwrap();
        let gap = numbers.iter().zip(0..).find(|(found, expected)| *found != expected);
        assert_eq!(gap, None, "partition {partition}: found, expected; {next} in all");
    }
}

fn records_wait_while_the_offset_of_another_partition_is_answered(way: Consumption) {
    let (settings, topics) = quick(way, "answered");
    let producer = producer(&[]);
    (0..500).for_each(|value| write_everywhere(&producer, &settings.events_topic, value));
    let mut reader = Reader::join(&settings, &topics);
    reader.start(&[(0, 0), (1, 5_000), (2, 0), (3, 7_000)]);
    let mut answered = Vec::new();
    let deadline = Instant::now() + LIMIT;
    while answered.len() < 2 || reader.next.values().any(|next| *next < 500) {
        assert!(Instant::now() < deadline, "stuck at {:?}, {answered:?}", reader.next);
        let next = &mut reader.next;
        let mut take_over = |batch: Box<dyn RecordBatch>| {
            for record in batch.records() {
                let expected = next.get_mut(&record.partition).unwrap();
                assert_eq!(record.offset, *expected, "partition {}", record.partition);
                *expected += 1;
            }
        };
        match reader.source.poll(Duration::from_millis(20), 7, &mut take_over) {
            Ok(_) => {}
            Err(SourceError::OutOfRange { partition, low: 0, high: 500, .. }) => {
                answered.push(partition);
                reader.start(&[(partition, 100)]);
            }
            Err(error) => panic!("{error}"),
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, [1, 3]);
}

both_ways! {
    every_one_of_many_starts_gets_all_records_from_its_offset_on
    every_new_member_gets_all_records_from_its_offset_on
    partitions_read_to_their_end_go_on_with_the_next_record_after_a_decision
    partitions_that_go_and_come_back_lose_and_repeat_nothing
    records_wait_while_the_offset_of_another_partition_is_answered
}

/// Every record of the topic as a new group gets it, partition by partition.
fn all_records(
    (settings, topics): (&KafkaSettings, &Topics),
    way: Consumption,
) -> BTreeMap<Partition, Vec<Fingerprint>> {
    let group_id = format!("{}-{way:?}", settings.group_id);
    let settings = KafkaSettings { group_id, consumption: way, ..settings.clone() };
    let (mut source, partitions) = assigned(&settings, topics);
    source
        .start(&partitions.iter().map(|partition| (*partition, None)).collect::<Vec<_>>())
        .unwrap();
    let mut records: BTreeMap<Partition, Vec<Fingerprint>> = BTreeMap::new();
    let deadline = Instant::now() + LIMIT;
    while lag(&source, partitions.len()).iter().any(|(_, lag)| *lag > 0) {
        assert!(Instant::now() < deadline, "stuck");
        let mut take_over = |batch: Box<dyn RecordBatch>| {
            for record in batch.records() {
                records.entry(record.partition).or_default().push(record.fingerprint());
            }
        };
        source.poll(Duration::from_millis(100), 700, &mut take_over).unwrap();
    }
    records
}

#[test]
fn records_taken_in_batches_are_those_taken_one_by_one() {
    let (settings, topics) = ready("same", 3);
    for partition in 0..3 {
        write(&settings.events_topic, partition, &numbered("before", 1500));
    }
    write_transactions(&settings);
    let producer = producer(&[]);
    send_with_odd_header(&producer, &settings.events_topic);
    let nothing = BaseRecord::<[u8], [u8]>::to(&settings.events_topic).partition(1);
    producer.send(nothing).map_err(|(error, _)| error).unwrap();
    producer.flush(LIMIT).unwrap();
    let singly = all_records((&settings, &topics), Consumption::Single);
    // Of five records in transactions two were taken back.
    assert_eq!(singly.values().map(Vec::len).collect::<Vec<_>>(), [1504, 1501, 1500]);
    assert_eq!(all_records((&settings, &topics), Consumption::Batch), singly);
}
