//! Settings of the Kafka side, and the client configurations made of them.
//!
//! The operator's `properties` reach the client library as they are, for every client. Properties
//! on which exactness rests are ours: naming one is an error, not a silent loss.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;

use crate::config::{Consumption, RESERVED_PROPERTIES};
use crate::kafka::client::{Logged, create};
use crate::kafka::topics::Topics;

/// Why the Kafka side can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The property is ours.
    #[error("kafka.properties: \"{property}\" can't be set: {instead}")]
    Reserved { property: String, instead: &'static str },
    /// The client library refuses the property. The value is not repeated: it may be a secret.
    #[error("kafka.properties: \"{property}\": {reason}")]
    Property { property: String, reason: String },
    /// A setting makes no sense.
    #[error("kafka.{key} must be {expected}, got \"{got}\"")]
    Setting { key: &'static str, expected: &'static str, got: String },
    /// The client library refuses the properties as a whole.
    #[error("the kafka client can't be made: {0}")]
    Client(String),
    /// The brokers did not answer, or refused.
    #[error("kafka at {servers}: {action} failed: {reason}")]
    Broker { servers: String, action: String, reason: String },
    /// A topic is missing and may not be created.
    #[error("topic \"{topic}\" does not exist, and kafka.create_topics is off")]
    MissingTopic { topic: String },
    /// A topic is not as it must be.
    #[error("topic \"{topic}\" must have {expected}, it has {found}")]
    WrongTopic { topic: String, expected: &'static str, found: String },
}

/// Where Kafka is and how it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port`, several separated by commas.
    pub bootstrap_servers: String,
    /// Consumer group; its committed offsets are `o_pub`.
    pub group_id: String,
    /// Start of the transactional id: of all instances that share it, only the newest publishes.
    pub transactional_id_prefix: String,
    /// Billing events; one shard per partition.
    pub events_topic: String,
    /// Snapshots; compacted.
    pub snapshots_topic: String,
    /// Refused records.
    pub dead_letters_topic: String,
    /// Handed to the client library as they are.
    pub properties: BTreeMap<String, String>,
    /// Bound of the records fetched ahead, over all partitions, in KiB.
    pub prefetch_kbytes: u32,
    /// How records are taken from the client library.
    pub consumption: Consumption,
    /// Whether missing topics are created.
    pub create_topics: bool,
    /// Partitions of an events topic that we create.
    pub events_partitions: i32,
    /// Partitions of a snapshots topic that we create.
    pub snapshots_partitions: i32,
    /// Partitions of a dead-letter topic that we create.
    pub dead_letters_partitions: i32,
    /// Replicas of a topic that we create; -1 is the broker's default.
    pub replication_factor: i32,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap_servers: "localhost:9092".to_owned(),
            group_id: "ltvstream".to_owned(),
            transactional_id_prefix: "ltvstream".to_owned(),
            events_topic: "billing.events".to_owned(),
            snapshots_topic: "ltv.snapshots".to_owned(),
            dead_letters_topic: "billing.events.dlq".to_owned(),
            properties: BTreeMap::new(),
            prefetch_kbytes: 64 * 1024,
            consumption: Consumption::Batch,
            create_topics: true,
            events_partitions: 6,
            snapshots_partitions: 1,
            dead_letters_partitions: 1,
            replication_factor: -1,
        }
    }
}

/// Names of the properties only: a value may be a password.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("group_id", &self.group_id)
            .field("transactional_id_prefix", &self.transactional_id_prefix)
            .field("events_topic", &self.events_topic)
            .field("snapshots_topic", &self.snapshots_topic)
            .field("dead_letters_topic", &self.dead_letters_topic)
            .field("properties", &self.properties.keys())
            .field("prefetch_kbytes", &self.prefetch_kbytes)
            .field("consumption", &self.consumption)
            .field("create_topics", &self.create_topics)
            .field("events_partitions", &self.events_partitions)
            .field("snapshots_partitions", &self.snapshots_partitions)
            .field("dead_letters_partitions", &self.dead_letters_partitions)
            .field("replication_factor", &self.replication_factor)
            .finish()
    }
}

/// After this the broker aborts an open transaction on its own, unless the operator says else.
const TRANSACTION_TIMEOUT_MS: &str = "60000";
/// How long a forwarded event may wait for its acknowledgement.
const DELIVERY_TIMEOUT_MS: &str = "30000";
/// Least prefetch of a partition in KiB: below it, fetching is more overhead than data.
const PARTITION_KBYTES_MIN: u32 = 64;

impl KafkaSettings {
    /// All that is wrong and can be known without a broker. Names each setting or property at fault.
    pub fn problems(&self) -> Vec<SetupError> {
        let mut problems = self.wrong_properties();
        problems.extend(self.wrong_names());
        for (key, partitions) in [
            ("events_partitions", self.events_partitions),
            ("snapshots_partitions", self.snapshots_partitions),
            ("dead_letters_partitions", self.dead_letters_partitions),
        ] {
            if partitions < 1 {
                let got = partitions.to_string();
                problems.push(SetupError::Setting { key, expected: "at least 1", got });
            }
        }
        if self.replication_factor < 1 && self.replication_factor != -1 {
            problems.push(SetupError::Setting {
                key: "replication_factor",
                expected: "at least 1, or -1 for the broker's default",
                got: self.replication_factor.to_string(),
            });
        }
        problems
    }

    fn wrong_properties(&self) -> Vec<SetupError> {
        let wrong = |(property, value): (&String, &String)| {
            let property = property.clone();
            if let Some((_, instead)) =
                RESERVED_PROPERTIES.iter().find(|(name, _)| *name == property)
            {
                return Some(SetupError::Reserved { property, instead });
            }
            // One by one, so that the error can only be about this one.
            let mut config = ClientConfig::new();
            config.set(&property, value);
            let reason = match config.create_native_config().err()? {
                KafkaError::ClientConfig(_, reason, _, _) => reason,
                other => other.to_string(),
            };
            Some(SetupError::Property { property, reason })
        };
        self.properties.iter().filter_map(wrong).collect()
    }

    fn wrong_names(&self) -> Vec<SetupError> {
        let mut problems = Vec::new();
        let topics = [
            ("events_topic", &self.events_topic),
            ("snapshots_topic", &self.snapshots_topic),
            ("dead_letters_topic", &self.dead_letters_topic),
        ];
        for (position, (key, topic)) in topics.iter().enumerate() {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            let named = (1..=249).contains(&topic.len()) && topic.chars().all(allowed);
            let got = (*topic).clone();
            if !named {
                let expected = "a topic name: 1 to 249 of A-Z a-z 0-9 . _ -";
                problems.push(SetupError::Setting { key, expected, got });
            } else if topics[..position].iter().any(|(_, earlier)| earlier == topic) {
                let expected = "a topic of its own";
                problems.push(SetupError::Setting { key, expected, got });
            }
        }
        for (key, text) in [
            ("group_id", &self.group_id),
            ("transactional_id_prefix", &self.transactional_id_prefix),
            ("bootstrap_servers", &self.bootstrap_servers),
        ] {
            if text.is_empty() {
                let got = String::new();
                problems.push(SetupError::Setting { key, expected: "given", got });
            }
        }
        problems
    }

    /// For the consumer of the events topic.
    pub(in crate::kafka) fn consumer(&self, topics: &Topics) -> Result<ClientConfig, SetupError> {
        let mut config = self.client()?;
        // The library applies the bound to each partition's queue; ours is for all of them.
        let partitions = u32::try_from(topics.events_partitions).unwrap_or(1).max(1);
        let kbytes = (self.prefetch_kbytes / partitions).max(PARTITION_KBYTES_MIN);
        config.set("queued.max.messages.kbytes", kbytes.to_string());
        // A full queue is looked at again only after this time; the default of 1 s would leave
        // a small queue empty most of the time.
        self.prefer(&mut config, &["fetch.queue.backoff.ms"], "5");
        self.reads(&mut config);
        config.set("partition.assignment.strategy", "cooperative-sticky");
        Ok(config)
    }

    /// Whether the client library takes all properties together, with the files that they name and with what is
    /// ours: a consumer and a producer are made and let go of. Nobody waits for a broker.
    ///
    /// # Errors
    /// [`SetupError::Property`] and [`SetupError::Client`] with what the library says.
    pub fn check(&self) -> Result<(), SetupError> {
        create::<_, BaseConsumer<_>>(&self.follower()?, Logged)?;
        create::<_, BaseProducer<_>>(&self.forwarder()?, Logged)?;
        Ok(())
    }

    /// For a consumer of a whole topic that belongs to nobody's group.
    pub(in crate::kafka) fn follower(&self) -> Result<ClientConfig, SetupError> {
        let mut config = self.client()?;
        self.reads(&mut config);
        self.prefer(&mut config, &["fetch.wait.max.ms"], "10");
        Ok(config)
    }

    /// For consumers that look at single records, offsets or metadata, outside the group's life.
    pub(in crate::kafka) fn reader(&self) -> Result<ClientConfig, SetupError> {
        let mut config = self.client()?;
        self.reads(&mut config);
        config.set("queued.max.messages.kbytes", PARTITION_KBYTES_MIN.to_string());
        self.prefer(&mut config, &["queued.min.messages"], "1");
        // Few records are wanted, and soon: neither the broker nor a full queue shall keep them back.
        self.prefer(&mut config, &["fetch.wait.max.ms"], "10");
        self.prefer(&mut config, &["fetch.queue.backoff.ms"], "5");
        let fetch = ["fetch.message.max.bytes", "max.partition.fetch.bytes"];
        self.prefer(&mut config, &fetch, "65536");
        Ok(config)
    }

    /// For the transactional producer.
    pub(in crate::kafka) fn publisher(&self, topics: &Topics) -> Result<ClientConfig, SetupError> {
        let mut config = self.client()?;
        self.writes(&mut config);
        config.set("transactional.id", format!("{}-publisher", self.transactional_id_prefix));
        self.prefer(&mut config, &["transaction.timeout.ms"], TRANSACTION_TIMEOUT_MS);
        // A batch larger than the topic allows would be refused whole.
        let batch_bytes = topics.batch_bytes_max.clamp(1, 1_000_000);
        self.prefer(&mut config, &["batch.size"], &batch_bytes.to_string());
        Ok(config)
    }

    /// For the producer of events.
    pub(in crate::kafka) fn forwarder(&self) -> Result<ClientConfig, SetupError> {
        let mut config = self.client()?;
        self.writes(&mut config);
        let timeout = ["message.timeout.ms", "delivery.timeout.ms"];
        self.prefer(&mut config, &timeout, DELIVERY_TIMEOUT_MS);
        Ok(config)
    }

    /// What every client has: the brokers and the operator's properties.
    pub(in crate::kafka) fn client(&self) -> Result<ClientConfig, SetupError> {
        if let Some(problem) = self.problems().into_iter().next() {
            return Err(problem);
        }
        let mut config = ClientConfig::new();
        self.prefer(&mut config, &["client.id"], "ltvstream");
        for (property, value) in &self.properties {
            config.set(property, value);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        // The library would take it from the `log` crate, which is not used here.
        config.set_log_level(if self.properties.contains_key("debug") {
            RDKafkaLogLevel::Debug
        } else {
            RDKafkaLogLevel::Info
        });
        Ok(config)
    }

    fn reads(&self, config: &mut ClientConfig) {
        config
            .set("group.id", &self.group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false");
    }

    fn writes(&self, config: &mut ClientConfig) {
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // A topic that is gone is ours to make again, as it must be (`topics.rs`).
            .set("allow.auto.create.topics", "false")
            .set("partitioner", "murmur2_random");
        self.prefer(config, &["compression.type", "compression.codec"], "lz4");
        // The topics decide what is too large, not this client.
        self.prefer(config, &["message.max.bytes"], "100000000");
    }

    /// The largest message that the client sends, where the operator says so.
    pub(in crate::kafka) fn message_bytes_max(&self) -> usize {
        let given = self.properties.get("message.max.bytes");
        given.and_then(|bytes| bytes.parse().ok()).unwrap_or(usize::MAX)
    }

    /// Sets the first of the names a property goes by, unless the operator used one of them.
    fn prefer(&self, config: &mut ClientConfig, names: &[&str], value: &str) {
        if !names.iter().any(|name| self.properties.contains_key(*name)) {
            config.set(names[0], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(property: &str, value: &str) -> KafkaSettings {
        let properties = BTreeMap::from([(property.to_owned(), value.to_owned())]);
        KafkaSettings { properties, ..KafkaSettings::default() }
    }

    fn topics() -> Topics {
        Topics { events_partitions: 8, dead_letter_bytes_max: 1, batch_bytes_max: 1_000_000 }
    }

    #[test]
    fn a_property_that_exactness_rests_on_is_refused_by_name() {
        for (property, value) in [
            ("enable.auto.commit", "true"),
            ("auto.offset.reset", "latest"),
            ("check.crcs", "false"),
            ("isolation.level", "read_uncommitted"),
            ("acks", "1"),
            ("request.required.acks", "1"),
            ("transactional.id", "mine"),
            ("partitioner", "random"),
        ] {
            let error = with(property, value).problems()[0].to_string();
            assert!(error.contains(&format!("\"{property}\" can't be set")), "{error}");
        }
    }

    #[test]
    fn an_unknown_property_and_a_wrong_value_are_reported_by_name_without_the_value() {
        let error = with("sasl.pasword", "hunter2").problems()[0].to_string();
        assert!(error.contains("\"sasl.pasword\"") && !error.contains("hunter2"), "{error}");
        let mut settings = with("linger.ms", "soon");
        settings.properties.insert("fetch.wait.max.ms".to_owned(), "-".to_owned());
        settings.properties.insert("sasl.username".to_owned(), "me".to_owned());
        let errors: Vec<String> = settings.problems().iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("\"fetch.wait.max.ms\""), "{errors:?}");
        assert!(errors[1].contains("\"linger.ms\""), "{errors:?}");
    }

    #[test]
    fn properties_reach_every_client_and_win_over_our_preferences() {
        let settings = with("max.partition.fetch.bytes", "12345");
        for config in [
            settings.consumer(&topics()).unwrap(),
            settings.reader().unwrap(),
            settings.publisher(&topics()).unwrap(),
            settings.forwarder().unwrap(),
            settings.client().unwrap(),
        ] {
            let native = config.create_native_config().unwrap();
            assert_eq!(native.get("fetch.message.max.bytes").unwrap(), "12345");
        }
    }

    #[test]
    fn the_prefetch_budget_is_shared_by_the_partitions() {
        let settings = KafkaSettings { prefetch_kbytes: 8192, ..KafkaSettings::default() };
        let config = settings.consumer(&topics()).unwrap();
        assert_eq!(config.get("queued.max.messages.kbytes"), Some("1024"));
    }

    #[test]
    fn topics_must_differ_and_secrets_stay_out_of_debug_output() {
        let settings = KafkaSettings {
            snapshots_topic: "billing.events".to_owned(),
            ..with("sasl.password", "hunter2")
        };
        let error = settings.problems()[0].to_string();
        assert!(error.contains("kafka.snapshots_topic"), "{error}");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
