//! Publishes snapshots, dead letters and `o_pub`, each publication or part of one in a transaction.
//!
//! A transaction whose outcome is unknown is never guessed at: the producer is thrown away, and
//! the next one, before it does anything else, makes the brokers finish or abort what the old one
//! left. Only then is `o_pub` read back. After a failure topics are looked at as at the start: one that was
//! deleted is made again as it must be.
//!
//! A producer that was fenced is not replaced: that would fence the newer instance in turn. Brokers say the same
//! of a transaction that took longer than `transaction.timeout.ms`, so it is given up before; a process that is
//! stopped for longer in the middle of one ends, as it can't tell.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::domain::field_error::cut;
use crate::kafka::assignment::GroupHandle;
use crate::kafka::client::{Logged, create};
use crate::kafka::newest::newest_values;
use crate::kafka::settings::{KafkaSettings, SetupError};
use crate::kafka::source::patiently;
use crate::kafka::topics::{Topics, ensure_written_topics};
use crate::stream::{DeadLetter, Header, NextOffset, Partition, Publication, Sink, SinkError};

/// How long each step of a transaction may take before its outcome counts as unknown.
const STEP: Duration = Duration::from_secs(30);
/// The least that a step gets.
const STEP_MIN: Duration = Duration::from_secs(1);
/// Wait for room in the producer's queue, between tries.
const ROOM: Duration = Duration::from_millis(50);

type Publisher = BaseProducer<Logged>;
type BytesRecord<'a> = BaseRecord<'a, Vec<u8>, Vec<u8>>;

/// The snapshot and dead-letter topics as a [`Sink`].
pub struct KafkaSink {
    settings: KafkaSettings,
    config: ClientConfig,
    /// After this time brokers end a transaction.
    transaction_timeout: Duration,
    /// Snapshots of this process are out, which the topic holds unless it was made anew.
    has_published: bool,
    group: GroupHandle,
    events_topic: String,
    snapshots_topic: String,
    dead_letters_topic: String,
    dead_letter_bytes_max: usize,
    /// `None` after a failure, until the next call.
    producer: Option<Publisher>,
    /// Reads the group's committed offsets; not a member of the group.
    reader: BaseConsumer<Logged>,
    /// Sticky.
    fenced: Option<String>,
}

impl KafkaSink {
    /// Makes the producer and takes over from older instances: what they left open is aborted,
    /// and they can publish no more. `group` comes from [`crate::kafka::KafkaSource::group`].
    pub fn new(
        settings: &KafkaSettings,
        topics: &Topics,
        group: GroupHandle,
    ) -> Result<Self, SetupError> {
        let config = settings.publisher(topics)?;
        let producer: Publisher = create(&config, Logged)?;
        patiently(|| producer.init_transactions(STEP)).map_err(|error| SetupError::Broker {
            servers: settings.bootstrap_servers.clone(),
            action: "taking over publication".to_owned(),
            reason: error.to_string(),
        })?;
        let transaction_timeout =
            config.get("transaction.timeout.ms").and_then(|ms| ms.parse().ok());
        Ok(Self {
            settings: settings.clone(),
            config,
            transaction_timeout: transaction_timeout.map_or(STEP, Duration::from_millis),
            has_published: false,
            group,
            events_topic: settings.events_topic.clone(),
            snapshots_topic: settings.snapshots_topic.clone(),
            dead_letters_topic: settings.dead_letters_topic.clone(),
            dead_letter_bytes_max: topics.dead_letter_bytes_max,
            producer: Some(producer),
            reader: create(&settings.reader()?, Logged)?,
            fenced: None,
        })
    }

    /// The producer, out of its place: it returns there only after a success.
    fn take_producer(&mut self) -> Result<Publisher, SinkError> {
        if let Some(reason) = &self.fenced {
            return Err(SinkError::Fenced(reason.clone()));
        }
        if let Some(producer) = self.producer.take() {
            return Ok(producer);
        }
        self.dead_letter_bytes_max =
            ensure_written_topics(&self.settings, self.dead_letter_bytes_max).map_err(retry)?;
        let producer: Publisher = create(&self.config, Logged).map_err(retry)?;
        if let Err(error) = producer.init_transactions(STEP) {
            return Err(self.failed(&producer, &error));
        }
        if self.has_published && self.is_emptied()? {
            self.has_published = false;
            self.producer = Some(producer);
            return Err(SinkError::Emptied);
        }
        Ok(producer)
    }

    /// Whether the snapshots topic holds nothing.
    fn is_emptied(&self) -> Result<bool, SinkError> {
        let mut is_empty = true;
        newest_values(&self.reader, &self.snapshots_topic, &mut |_| is_empty = false)
            .map_err(retry)?;
        Ok(is_empty)
    }

    fn failed(&mut self, producer: &Publisher, error: &KafkaError) -> SinkError {
        let fatal = producer.client().fatal_error();
        let codes = [error.rdkafka_error_code(), fatal.as_ref().map(|(code, _)| *code)];
        let reason = fatal.map_or_else(|| error.to_string(), |(_, reason)| reason);
        if codes.into_iter().flatten().any(is_fence) {
            self.fenced = Some(reason.clone());
            return SinkError::Fenced(reason);
        }
        SinkError::Retry(reason)
    }

    fn transact(&self, producer: &Publisher, publication: &Publication) -> KafkaResult<()> {
        // Brokers count from the first record on, and look now and then.
        let deadline = Instant::now() + self.transaction_timeout * 2 / 3;
        let step = || deadline.saturating_duration_since(Instant::now()).clamp(STEP_MIN, STEP);
        producer.begin_transaction()?;
        for (key, value) in &publication.snapshots {
            let record = BaseRecord::to(&self.snapshots_topic).key(key).payload(value);
            enqueue(producer, record, deadline)?;
        }
        for letter in &publication.dead_letters {
            enqueue(producer, self.dead_letter_record(letter), deadline)?;
        }
        if !publication.next_offsets.is_empty() {
            let mut offsets = TopicPartitionList::new();
            for (partition, next) in &publication.next_offsets {
                let offset = Offset::Offset(next.0);
                offsets.add_partition_offset(&self.events_topic, *partition, offset)?;
            }
            let membership = self.group.membership().ok_or(KafkaError::Canceled)?;
            producer.send_offsets_to_transaction(&offsets, &membership, step())?;
        }
        // The library's own flush would have the whole time of the commit once more.
        producer.flush(step())?;
        producer.commit_transaction(step())
    }

    /// The record as it was, with what is known about it in further headers. Where all of it would
    /// exceed what the topic takes or the client sends, key, value or own headers are left out, and a header says so;
    /// otherwise this one record would keep everything from being published for ever.
    fn dead_letter_record<'a>(&'a self, letter: &'a DeadLetter) -> BytesRecord<'a> {
        let message = cut(&letter.message, MESSAGE_BYTES_MAX);
        let mut headers = OwnedHeaders::new()
            .insert(header("ltvstream-reason", &letter.reason))
            .insert(header("ltvstream-message", message))
            .insert(header("ltvstream-partition", &letter.partition.to_string()))
            .insert(header("ltvstream-offset", &letter.offset.to_string()))
            .insert(header("ltvstream-timestamp", &letter.timestamp.to_rfc3339()));
        let mut record = BaseRecord::to(&self.dead_letters_topic);
        let bytes_max = self.dead_letter_bytes_max.min(self.settings.message_bytes_max());
        let mut room = bytes_max.saturating_sub(ENVELOPE_BYTES_MAX);
        if let Some(key) = &letter.key {
            if key.len() <= room {
                room -= key.len();
                record = record.key(key);
            } else {
                let bytes = key.len().to_string();
                headers = headers.insert(header("ltvstream-key-omitted-bytes", &bytes));
            }
        }
        if let Some(value) = &letter.value {
            if value.len() <= room {
                room -= value.len();
                record = record.payload(value);
            } else {
                let bytes = value.len().to_string();
                headers = headers.insert(header("ltvstream-value-omitted-bytes", &bytes));
            }
        }
        // What has a name of ours is of an earlier refusal: it would hide the reason of this one.
        let own: Vec<&Header> =
            letter.headers.iter().filter(|header| !header.name.starts_with(OUR_NAMES)).collect();
        let bytes: usize = own.iter().map(|header| bytes_of(header)).sum();
        if bytes <= room {
            for header in own {
                let value = header.value.as_deref();
                headers = headers.insert(KafkaHeader { key: &header.name, value });
            }
        } else {
            headers = headers.insert(header("ltvstream-headers-omitted-bytes", &bytes.to_string()));
        }
        record.headers(headers)
    }
}

/// Names of the headers that we add begin with this.
const OUR_NAMES: &str = "ltvstream-";
/// What a header takes beside name and value, at most: two lengths.
const HEADER_FRAME_BYTES: usize = 10;

fn bytes_of(header: &Header) -> usize {
    header.name.len() + header.value.as_ref().map_or(0, Vec::len) + HEADER_FRAME_BYTES
}

/// Longest text of a refusal in a header.
const MESSAGE_BYTES_MAX: usize = 2048;
/// More than our headers and the batch around a dead letter take.
const ENVELOPE_BYTES_MAX: usize = 4096;

impl Sink for KafkaSink {
    fn publish(&mut self, publication: &Publication) -> Result<(), SinkError> {
        let empty = publication.snapshots.is_empty()
            && publication.dead_letters.is_empty()
            && publication.next_offsets.is_empty();
        if empty {
            return Ok(());
        }
        let producer = self.take_producer()?;
        match self.transact(&producer, publication) {
            Ok(()) => {
                self.producer = Some(producer);
                self.has_published |= !publication.snapshots.is_empty();
                Ok(())
            }
            Err(error) => Err(self.failed(&producer, &error)),
        }
    }

    fn published(
        &mut self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, Option<NextOffset>)>, SinkError> {
        // Settles a transaction that an earlier producer left open.
        let producer = self.take_producer()?;
        self.producer = Some(producer);
        committed(&self.reader, &self.events_topic, partitions).map_err(retry)
    }

    fn newest_snapshots(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<(), SinkError> {
        let producer = self.take_producer()?;
        self.producer = Some(producer);
        newest_values(&self.reader, &self.snapshots_topic, visit).map_err(retry)
    }
}

/// The group's offsets. The reader is `read_committed`, so the brokers answer only once no
/// transaction over them is open.
fn committed(
    reader: &BaseConsumer<Logged>,
    topic: &str,
    partitions: &[Partition],
) -> KafkaResult<Vec<(Partition, Option<NextOffset>)>> {
    let answer = patiently(|| {
        let mut asked = TopicPartitionList::new();
        for partition in partitions {
            asked.add_partition(topic, *partition);
        }
        let answer = reader.committed_offsets(asked, STEP)?;
        for element in answer.elements() {
            element.error()?;
        }
        Ok(answer)
    })?;
    let offset_of = |partition: &Partition| {
        let next = match answer.find_partition(topic, *partition)?.offset() {
            Offset::Offset(offset) => Some(NextOffset(offset)),
            _ => None,
        };
        Some((*partition, next))
    };
    Ok(partitions.iter().filter_map(offset_of).collect())
}

/// Puts a record into the producer's queue, waiting for room until `deadline`.
fn enqueue(producer: &Publisher, record: BytesRecord<'_>, deadline: Instant) -> KafkaResult<()> {
    let mut record = record;
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(Code::QueueFull), back))
                if Instant::now() < deadline =>
            {
                producer.poll(ROOM);
                record = back;
            }
            Err((error, _)) => return Err(error),
        }
    }
}

/// The failure of something that is tried again.
fn retry(error: impl std::fmt::Display) -> SinkError {
    SinkError::Retry(error.to_string())
}

/// Whether the error says that a newer producer has our transactional id.
fn is_fence(code: Code) -> bool {
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
}

fn header<'a>(key: &'a str, value: &'a str) -> KafkaHeader<'a, &'a str> {
    KafkaHeader { key, value: Some(value) }
}
