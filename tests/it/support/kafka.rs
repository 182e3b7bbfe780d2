//! Topics of a real broker, written and read without the service's own code.

use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Headers as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::unique;

/// Address of the broker under test.
pub fn brokers() -> String {
    std::env::var("LTVSTREAM_TEST_KAFKA").expect(
        "this test needs an Apache Kafka: `./ltv test` starts one, or set LTVSTREAM_TEST_KAFKA",
    )
}

/// Writes the settings of a service whose state is in `data` below `dir`, over these topics: events,
/// snapshots and dead letters. The group has the name of the first. `more` begins within `[kafka]`.
/// Returns the path of the file.
pub fn write_settings(dir: &Path, brokers: &str, topics: &[String; 3], more: &str) -> String {
    let (data, [events, snapshots, dead_letters]) = (dir.join("data"), topics);
    let text = format!(
        r#"
[service]
listen = "127.0.0.1:0"
data_dir = "{data}"
[kafka]
bootstrap_servers = "{brokers}"
group_id = "{events}"
events_topic = "{events}"
snapshots_topic = "{snapshots}"
dead_letters_topic = "{dead_letters}"
{more}"#,
        data = data.display(),
    );
    let path = dir.join(format!("{}.toml", unique("config")));
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

/// The events topic, and topics for snapshots and dead letters named after it.
pub fn topics_of(events: &str) -> [String; 3] {
    [events.to_owned(), format!("{events}-snapshots"), format!("{events}-dlq")]
}

fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers());
    config
}

/// Has the administration of topics do something with each of some, which succeeds.
fn administer<F>(order: impl FnOnce(AdminClient<DefaultClientContext>) -> F)
where
    F: Future<Output = KafkaResult<Vec<TopicResult>>>,
{
    let admin: AdminClient<DefaultClientContext> = config().create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(order(admin)).unwrap().into_iter().for_each(|topic| {
        topic.unwrap();
    });
}

/// Creates a topic; `policy` is its cleanup policy.
pub fn create_topic(name: &str, partitions: i32, policy: &str) {
    let topic =
        NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("cleanup.policy", policy);
    administer(async |admin| admin.create_topics([&topic], &AdminOptions::new()).await);
}

/// Creates a topic that takes no records of more than a few bytes.
pub fn create_narrow_topic(name: &str) {
    let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1)).set("max.message.bytes", "50");
    administer(async |admin| admin.create_topics([&topic], &AdminOptions::new()).await);
}

/// Gives a topic more partitions, so many in all.
pub fn grow_topic(name: &str, partitions: usize) {
    let grown = NewPartitions::new(name, partitions);
    administer(async |admin| admin.create_partitions([&grown], &AdminOptions::new()).await);
}

/// Removes the records of a topic's first partition before `offset`, as retention does.
pub fn delete_records(topic: &str, offset: i64) {
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    let admin: AdminClient<DefaultClientContext> = config().create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let deleted = runtime.block_on(admin.delete_records(&before, &AdminOptions::new())).unwrap();
    deleted.elements().iter().for_each(|element| element.error().unwrap());
}

/// Deletes topics with everything in them.
pub fn delete_topics(names: &[&str]) {
    administer(async |admin| admin.delete_topics(names, &AdminOptions::new()).await);
}

/// A record as a test writes and reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRecord {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, String)>,
}

/// Writes records to a topic.
pub struct Writer {
    producer: BaseProducer,
    topic: String,
}

impl Writer {
    pub fn new(topic: &str) -> Self {
        let producer = config().set("linger.ms", "2").create().unwrap();
        Self { producer, topic: topic.to_owned() }
    }

    /// Queues a record with this timestamp in milliseconds.
    pub fn send(
        &self,
        partition: i32,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        loop {
            let mut record: BaseRecord<'_, [u8], [u8]> =
                BaseRecord::to(&self.topic).partition(partition).timestamp(timestamp_ms);
            record.key = key;
            record.payload = value;
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(_), _)) => {
                    self.producer.poll(Duration::from_millis(20));
                }
                Err((error, _)) => panic!("{error}"),
            }
        }
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until all of it is in the log.
    pub fn flush(&self) {
        self.producer.flush(Duration::from_secs(60)).unwrap();
    }
}

/// End of each partition of a topic.
pub fn ends(topic: &str, partitions: i32) -> Vec<i64> {
    let consumer: BaseConsumer = config().create().unwrap();
    (0..partitions)
        .map(|partition| {
            consumer.fetch_watermarks(topic, partition, Duration::from_secs(20)).unwrap().1
        })
        .collect()
}

/// Every record of a topic that a read_committed reader sees.
pub fn read_all(topic: &str, partitions: i32) -> Vec<TestRecord> {
    let consumer: BaseConsumer = config()
        .set("group.id", super::unique("reader"))
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let (mut records, mut open) = (Vec::new(), partitions);
    while open > 0 {
        match consumer.poll(Duration::from_secs(30)).expect("the topic can be read") {
            Ok(message) => {
                let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                let text = |bytes: Option<&[u8]>| {
                    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
                };
                records.push(TestRecord {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: headers.map(|h| (h.key.to_owned(), text(h.value))).collect(),
                });
            }
            Err(KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => panic!("{error}"),
        }
    }
    records
}
