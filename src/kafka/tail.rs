//! Follows a topic as one of its readers would: committed records only, from now on.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::kafka::client::{Logged, create, is_transient};
use crate::kafka::settings::{KafkaSettings, SetupError};

/// How long the brokers may take to tell where a topic ends.
const PATIENCE: Duration = Duration::from_secs(20);

/// A reader of a topic that belongs to no group.
pub struct Tail {
    consumer: BaseConsumer<Logged>,
    servers: String,
}

/// A record that was followed; empty where it has no key or value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

impl Tail {
    /// Reads `topic` from its present end.
    pub fn new(settings: &KafkaSettings, topic: &str) -> Result<Self, SetupError> {
        let consumer: BaseConsumer<Logged> = create(&settings.follower()?, Logged)?;
        let tail = Self { consumer, servers: settings.bootstrap_servers.clone() };
        let failed = |error| tail.failed("finding the end of a topic", &error);
        let metadata = tail.consumer.fetch_metadata(Some(topic), PATIENCE).map_err(failed)?;
        let mut list = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            let id = partition.id();
            let (_, end) = tail.consumer.fetch_watermarks(topic, id, PATIENCE).map_err(failed)?;
            list.add_partition_offset(topic, id, Offset::Offset(end)).map_err(failed)?;
        }
        tail.consumer.assign(&list).map_err(failed)?;
        Ok(tail)
    }

    /// The next record, if one comes in time.
    pub fn poll(&self, wait: Duration) -> Result<Option<Followed>, SetupError> {
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Ok(message)) => {
                let bytes = |part: Option<&[u8]>| part.unwrap_or_default().to_vec();
                let (key, value) = (bytes(message.key()), bytes(message.payload()));
                Ok(Some(Followed { key, value }))
            }
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(None),
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(code) if is_transient(code) => Ok(None),
                _ => Err(self.failed("reading a topic", &error)),
            },
        }
    }

    fn failed(&self, action: &str, error: &KafkaError) -> SetupError {
        SetupError::Broker {
            servers: self.servers.clone(),
            action: action.to_owned(),
            reason: error.to_string(),
        }
    }
}
