//! What the Kafka tests share: a broker, topics of their own, and a group member that behaves as
//! the pipeline does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ltvstream::config::Consumption;
use ltvstream::kafka::{KafkaSettings, KafkaSource, Topics, ensure_topics};
use ltvstream::stream::{NextOffset, Partition, Polled, Record, Source};
use rdkafka::bindings::{
    RD_KAFKA_MSG_F_COPY, rd_kafka_producev, rd_kafka_resp_err_t, rd_kafka_vtype_t as vtype,
};
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
        transactional_id_prefix: format!("publisher-{id}"),
        events_topic: format!("events-{id}"),
        snapshots_topic: format!("snapshots-{id}"),
        dead_letters_topic: format!("dlq-{id}"),
        events_partitions: partitions,
        ..KafkaSettings::default()
    }
}

/// The same with the topics made.
pub fn ready(name: &str, partitions: i32) -> (KafkaSettings, Topics) {
    let settings = settings(name, partitions);
    let topics = ensure_topics(&settings).unwrap();
    (settings, topics)
}

/// Each function as two tests, one for each way of taking records.
macro_rules! both_ways {
    ($($name:ident)*) => {
        mod in_batches {
            $(#[test] fn $name() { super::$name(ltvstream::config::Consumption::Batch); })*
        }
        mod one_by_one {
            $(#[test] fn $name() { super::$name(ltvstream::config::Consumption::Single); })*
        }
    };
}
pub(crate) use both_ways;

/// The same for a source that takes records this way.
pub fn ready_for(way: Consumption, name: &str, partitions: i32) -> (KafkaSettings, Topics) {
    let settings = KafkaSettings { consumption: way, ..settings(name, partitions) };
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

/// The client library's safe interface takes header keys as texts only.
pub fn send_with_odd_header(producer: &BaseProducer, topic: &str) {
    let topic = CString::new(topic).unwrap();
    let value = b"v";
    // SAFETY: the arguments are pairs of type and values as the library documents them, ended by
    // END; all pointers outlive the call, and the value is copied.
    let code = unsafe {
        rd_kafka_producev(
            producer.client().native_ptr(),
            vtype::RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            vtype::RD_KAFKA_VTYPE_PARTITION,
            0i32,
            vtype::RD_KAFKA_VTYPE_MSGFLAGS,
            RD_KAFKA_MSG_F_COPY,
            vtype::RD_KAFKA_VTYPE_VALUE,
            value.as_ptr(),
            value.len(),
            vtype::RD_KAFKA_VTYPE_HEADER,
            c"\xff\xfe\x80".as_ptr(),
            value.as_ptr(),
            value.len(),
            vtype::RD_KAFKA_VTYPE_END,
        )
    };
    assert_eq!(code, rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
}

/// Two committed records, two aborted, one committed: offsets 0, 1, (marker), 3, 4, (marker), 6,
/// (marker).
pub fn write_transactions(settings: &KafkaSettings) {
    let id = format!("writer-{}", settings.group_id);
    let producer = producer(&[("transactional.id", &id)]);
    producer.init_transactions(LIMIT).unwrap();
    for (values, commit) in [(vec!["a", "b"], true), (vec!["x", "y"], false), (vec!["c"], true)] {
        producer.begin_transaction().unwrap();
        for value in values {
            let record = BaseRecord::to(&settings.events_topic).partition(0).key("k");
            producer.send(record.payload(value)).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(LIMIT).unwrap();
        if commit {
            producer.commit_transaction(LIMIT).unwrap();
        } else {
            producer.abort_transaction(LIMIT).unwrap();
        }
    }
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

/// Joins and waits for the partitions, without starting them.
pub fn assigned(settings: &KafkaSettings, topics: &Topics) -> (KafkaSource, Vec<Partition>) {
    let mut source = KafkaSource::new(settings, topics).unwrap();
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        let wait = Duration::from_millis(100);
        match source.poll(wait, 10, &mut |_| panic!("a record before start")).unwrap() {
            Polled::Assigned(partitions) => return (source, partitions),
            Polled::Records(0) => {}
            other => panic!("{other:?} before the first assignment"),
        }
    }
    panic!("no assignment");
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
        let polled = self
            .source
            .poll(wait, 100, &mut |batch| {
                batch.records().into_iter().for_each(|record| ledger.record(record));
            })
            .unwrap();
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

/// The lag of a source that delivers so many partitions, as soon as it is told of all.
pub fn lag(source: &KafkaSource, partitions: usize) -> Vec<(Partition, i64)> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let lag = source.lag().unwrap();
        if lag.len() == partitions {
            return lag;
        }
        assert!(Instant::now() < deadline, "not all are told: {lag:?}");
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
