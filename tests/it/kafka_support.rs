//! What the Kafka tests share: a broker, topics of their own, and a group member that behaves as
//! the pipeline does.

use std::collections::{BTreeMap, BTreeSet};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ltvstream::kafka::{KafkaSettings, KafkaSource, Topics, ensure_topics};
use ltvstream::stream::{NextOffset, Partition, Polled, Record, Source};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// After this a test has failed; long, so that only a hanging one meets it.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The broker of the test run.
pub fn broker() -> String {
    std::env::var("LTVSTREAM_TEST_KAFKA").unwrap_or_else(|_| {
        panic!(
            "LTVSTREAM_TEST_KAFKA is not set: this test needs a real Apache Kafka. \
             Run `./ltv test`, which starts one"
        )
    })
}

/// Settings with a group and topics that no other test has; the topics are not made yet.
pub fn settings(name: &str, partitions: i32) -> KafkaSettings {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let id = format!("{name}-{}-{count}-{nanos}", process::id());
    KafkaSettings {
        bootstrap_servers: broker(),
        group_id: format!("group-{id}"),
        events_topic: format!("events-{id}"),
        snapshots_topic: format!("snapshots-{id}"),
        dead_letters_topic: format!("dlq-{id}"),
        new_topic_partitions: partitions,
        ..KafkaSettings::default()
    }
}

/// The same with the topics made.
pub fn ready(name: &str, partitions: i32) -> (KafkaSettings, Topics) {
    let settings = settings(name, partitions);
    let topics = ensure_topics(&settings).unwrap();
    (settings, topics)
}

/// A plain producer that is not ours.
pub fn producer(extra: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker()).set("linger.ms", "0");
    for (property, value) in extra {
        config.set(*property, *value);
    }
    config.create().unwrap()
}

/// Writes values to a partition, in order.
pub fn write(topic: &str, partition: Partition, values: &[String]) {
    let producer = producer(&[]);
    for value in values {
        let record = BaseRecord::to(topic).partition(partition).key("k").payload(value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
}

/// Texts `{prefix}0`, `{prefix}1`, ….
pub fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

/// All committed records of a topic of one partition, up to its end.
pub fn committed_records(topic: &str) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker())
        .set("group.id", "unused")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let deadline = Instant::now() + LIMIT;
    let mut records = Vec::new();
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => records.push(message.detach()),
            Some(Err(KafkaError::PartitionEOF(_))) => return records,
            Some(Err(error)) => panic!("reading {topic}: {error}"),
            None => {}
        }
    }
    panic!("no end of {topic}");
}

/// What a state would keep: the next offset of each partition, and what came, in order.
#[derive(Default)]
pub struct Ledger {
    pub next: BTreeMap<Partition, NextOffset>,
    pub values: BTreeMap<Partition, Vec<String>>,
    pub offsets: BTreeSet<(Partition, i64)>,
}

impl Ledger {
    fn record(&mut self, record: Record<'_>) {
        let new = self.offsets.insert((record.partition, record.offset));
        assert!(new, "partition {} offset {} came twice", record.partition, record.offset);
        self.next.insert(record.partition, NextOffset(record.offset + 1));
        let value = record
            .value
            .map_or("null".to_owned(), |value| String::from_utf8(value.to_vec()).unwrap());
        self.values.entry(record.partition).or_default().push(value);
    }

    pub fn count(&self) -> usize {
        self.offsets.len()
    }
}

/// A member of the group that starts where the ledger says and releases what it must.
pub struct Member {
    pub source: KafkaSource,
    pub owned: BTreeSet<Partition>,
    pub events: Vec<Polled>,
}

impl Member {
    pub fn join(settings: &KafkaSettings, topics: &Topics) -> Self {
        let source = KafkaSource::new(settings, topics).unwrap();
        Self { source, owned: BTreeSet::new(), events: Vec::new() }
    }

    /// One turn of the loop.
    pub fn step(&mut self, ledger: &mut Ledger) {
        let wait = Duration::from_millis(20);
        let polled = self.source.poll(wait, 100, &mut |record| ledger.record(record)).unwrap();
        match &polled {
            Polled::Records(_) => return,
            Polled::Assigned(partitions) => {
                let from: Vec<_> =
                    partitions.iter().map(|p| (*p, ledger.next.get(p).copied())).collect();
                self.source.start(&from).unwrap();
                self.owned.extend(partitions);
            }
            Polled::Revoked(partitions) | Polled::Lost(partitions) => {
                self.source.release(partitions).unwrap();
                self.owned.retain(|owned| !partitions.contains(owned));
            }
        }
        self.events.push(polled);
    }
}

/// Lets the members take turns until the condition holds.
pub fn run_until(
    members: &mut [&mut Member],
    ledger: &mut Ledger,
    mut done: impl FnMut(&[&mut Member], &Ledger) -> bool,
) {
    let deadline = Instant::now() + LIMIT;
    while !done(members, ledger) {
        let owned = || -> Vec<_> {
            members.iter().map(|member| (&member.owned, member.source.lag())).collect()
        };
        assert!(
            Instant::now() < deadline,
            "stuck after {} records; {:?}; next {:?}",
            ledger.count(),
            owned(),
            ledger.next
        );
        for member in members.iter_mut() {
            member.step(ledger);
        }
    }
}
