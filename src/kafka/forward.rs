//! Writes events to the events topic, for HTTP ingest and for import.
//!
//! The producer is idempotent, so its own retries write nothing twice. A failed delivery may
//! still have been written; sending it again is harmless, since an event's identity makes the
//! second copy a repeat.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tracing::warn;

use crate::kafka::client::{create, log_error, log_line};
use crate::kafka::settings::{KafkaSettings, SetupError};
use crate::stream::{NextOffset, Partition};

/// Wait for room in the queue, between tries.
const ROOM: Duration = Duration::from_millis(20);

/// Where an event was written, durably on all in-sync replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    pub partition: Partition,
    /// One past the event: a state that has reached it contains the event.
    pub next: NextOffset,
}

/// Why an event was not surely written. Sending it again is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// As many events wait for the brokers as may wait; try again later.
    #[error("the queue to kafka is full")]
    QueueFull,
    /// The brokers will never take it.
    #[error("the event is larger than the topic allows")]
    TooLarge,
    /// It is not known how events are written.
    #[error("events can't be written: {0}")]
    NoEncoding(String),
    /// The brokers did not take it in time, or the client was closed.
    #[error("kafka did not take the event: {0}")]
    Failed(String),
}

type Outcome = Result<Delivered, ForwardError>;

/// The outcome of one event, when it is known.
#[must_use = "without looking at it nobody knows whether the event was written"]
pub struct Delivery(Receiver<Outcome>);

impl Delivery {
    /// Blocks until the outcome is known.
    pub fn wait(self) -> Outcome {
        self.0.recv().unwrap_or_else(|_| Err(closed()))
    }
}

fn closed() -> ForwardError {
    ForwardError::Failed("the client was closed".to_owned())
}

type EventProducer = ThreadedProducer<Reporter>;

/// Writes events; shared by all who do.
pub struct Forwarder {
    config: ClientConfig,
    topic: String,
    /// Replaced when it is broken for good.
    producer: RwLock<Arc<EventProducer>>,
}

impl Forwarder {
    /// Makes the producer; the brokers are asked nothing yet.
    pub fn new(settings: &KafkaSettings) -> Result<Self, SetupError> {
        let config = settings.forwarder()?;
        let producer = RwLock::new(Arc::new(create(&config, Reporter)?));
        Ok(Self { config, topic: settings.events_topic.clone(), producer })
    }

    /// Queues an event, or says at once why not. Never blocks for long.
    pub fn try_send(&self, key: &[u8], value: &[u8]) -> Result<Delivery, ForwardError> {
        let producer = Arc::clone(&self.producer.read());
        let (outcome, delivery) = sync_channel(1);
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(outcome));
        match producer.send(record.key(key).payload(value)) {
            Ok(()) => Ok(Delivery(delivery)),
            Err((error, _)) => {
                self.replace_if_broken(&producer);
                Err(forward_error(&error))
            }
        }
    }

    /// Queues an event; blocks while the queue is full, for at most `patience`.
    pub fn send(
        &self,
        key: &[u8],
        value: &[u8],
        patience: Duration,
    ) -> Result<Delivery, ForwardError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.try_send(key, value) {
                Err(ForwardError::QueueFull) if Instant::now() < deadline => {
                    let producer = Arc::clone(&self.producer.read());
                    producer.poll(ROOM);
                }
                result => return result,
            }
        }
    }

    /// Blocks until the outcome of everything queued is known; an error if it is not by then.
    pub fn flush(&self, patience: Duration) -> Result<(), ForwardError> {
        let producer = Arc::clone(&self.producer.read());
        producer.flush(patience).map_err(|error| forward_error(&error))
    }

    /// An idempotent producer that lost track of its sequence refuses everything from then on.
    fn replace_if_broken(&self, used: &Arc<EventProducer>) {
        let Some((_, reason)) = used.client().fatal_error() else { return };
        let mut current = self.producer.write();
        if !Arc::ptr_eq(&current, used) {
            return;
        }
        warn!(%reason, "the producer of events is replaced");
        match create(&self.config, Reporter) {
            Ok(producer) => *current = Arc::new(producer),
            Err(error) => warn!(%error, "no new producer of events"),
        }
    }
}

/// Tells each delivery its outcome.
struct Reporter;

impl ClientContext for Reporter {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ProducerContext for Reporter {
    type DeliveryOpaque = Box<SyncSender<Outcome>>;

    fn delivery(&self, result: &DeliveryResult<'_>, sender: Self::DeliveryOpaque) {
        let outcome = match result {
            Ok(message) => Ok(Delivered {
                partition: message.partition(),
                next: NextOffset(message.offset() + 1),
            }),
            Err((error, _)) => Err(forward_error(error)),
        };
        // Nobody waits for it any more: then nobody is told.
        let _ = sender.send(outcome);
    }
}

fn forward_error(error: &KafkaError) -> ForwardError {
    match error.rdkafka_error_code() {
        Some(Code::QueueFull) => ForwardError::QueueFull,
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge) => {
            ForwardError::TooLarge
        }
        _ => ForwardError::Failed(error.to_string()),
    }
}
