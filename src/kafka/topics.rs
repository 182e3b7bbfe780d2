//! Creates the topics that are missing, and checks those that are there.
//!
//! A snapshots topic that is not compacted would grow without end; one that also deletes would
//! forget the cohorts that no longer change; a compacted events topic would lose events.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigEntry, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tracing::info;

use crate::kafka::client::{Logged, Remembering, create};
use crate::kafka::settings::{KafkaSettings, SetupError};
use crate::kafka::source::patiently;

/// How long one question to the brokers may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long a new topic may take to be known everywhere.
const VISIBLE: Duration = Duration::from_secs(30);
/// Pause between looks at a topic that is not there yet.
const PAUSE: Duration = Duration::from_millis(50);
/// How much larger a dead letter may be than its event, for the headers.
const DEAD_LETTER_HEADROOM_BYTES: usize = 64 * 1024;

/// What source and sink must know about the topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topics {
    /// Partitions of the events topic.
    pub events_partitions: i32,
    /// Largest record the dead-letter topic takes, in bytes.
    pub dead_letter_bytes_max: usize,
    /// Largest batch that both written topics take, in bytes.
    pub batch_bytes_max: usize,
}

/// How a topic must be, or be made.
struct Wanted<'a> {
    name: &'a str,
    partitions: i32,
    /// Value of `cleanup.policy`.
    cleanup: &'static str,
    expected: &'static str,
    /// Value of `max.message.bytes` if we create it; otherwise the broker's default.
    message_bytes_max: Option<usize>,
}

/// How a topic is.
struct Found {
    partitions: i32,
    message_bytes_max: usize,
}

/// Creates what is missing, if the settings allow it, and checks what is there. Blocks; may be
/// called from async code's blocking threads.
///
/// Topics we create keep events and dead letters without limit of time; set `retention.ms` of the
/// topic to change that.
pub fn ensure_topics(settings: &KafkaSettings) -> Result<Topics, SetupError> {
    let cluster = Cluster::new(settings)?;
    let events = cluster.ensure(&Wanted {
        name: &settings.events_topic,
        partitions: settings.events_partitions,
        cleanup: "delete",
        expected: "cleanup.policy=delete, or events would vanish",
        message_bytes_max: None,
    })?;
    let dead_letter_bytes_max = events.message_bytes_max + DEAD_LETTER_HEADROOM_BYTES;
    let [snapshots, dead_letters] = cluster.ensure_written(dead_letter_bytes_max)?;
    Ok(Topics {
        events_partitions: events.partitions,
        dead_letter_bytes_max: dead_letters.message_bytes_max,
        batch_bytes_max: snapshots.message_bytes_max.min(dead_letters.message_bytes_max),
    })
}

/// Creates and checks the topics that we write while we run, as [`ensure_topics`] did; returns the largest record
/// that the dead-letter topic takes. The events topic is not ours to make again: it would be another log.
pub(in crate::kafka) fn ensure_written_topics(
    settings: &KafkaSettings,
    dead_letter_bytes_max: usize,
) -> Result<usize, SetupError> {
    let [_, dead_letters] = Cluster::new(settings)?.ensure_written(dead_letter_bytes_max)?;
    Ok(dead_letters.message_bytes_max)
}

struct Cluster<'a> {
    settings: &'a KafkaSettings,
    admin: AdminClient<Logged>,
    /// Asked for metadata: a consumer does not create a topic by asking for it.
    reader: BaseConsumer<Remembering>,
}

impl<'a> Cluster<'a> {
    fn new(settings: &'a KafkaSettings) -> Result<Self, SetupError> {
        let admin = create(&settings.client()?, Logged)?;
        let reader = create(&settings.reader()?, Remembering::default())?;
        Ok(Self { settings, admin, reader })
    }

    /// The topics of snapshots and of dead letters, one made now taking records of so many bytes.
    fn ensure_written(&self, dead_letter_bytes_max: usize) -> Result<[Found; 2], SetupError> {
        let settings = self.settings;
        let snapshots = self.ensure(&Wanted {
            name: &settings.snapshots_topic,
            partitions: settings.snapshots_partitions,
            cleanup: "compact",
            expected: "cleanup.policy=compact",
            message_bytes_max: None,
        })?;
        let dead_letters = self.ensure(&Wanted {
            name: &settings.dead_letters_topic,
            partitions: settings.dead_letters_partitions,
            cleanup: "delete",
            expected: "cleanup.policy=delete, or records without a key would be refused",
            message_bytes_max: Some(dead_letter_bytes_max),
        })?;
        Ok([snapshots, dead_letters])
    }

    fn ensure(&self, wanted: &Wanted<'_>) -> Result<Found, SetupError> {
        let partitions = match self.partitions(wanted.name)? {
            Some(partitions) => partitions,
            None if self.settings.create_topics => self.create(wanted)?,
            None => return Err(SetupError::MissingTopic { topic: wanted.name.to_owned() }),
        };
        let config = self.describe(wanted.name)?;
        let value = |key: &str| {
            let entry = config.iter().find(|(name, _)| name == key);
            entry.map_or("", |(_, value)| value.as_str())
        };
        let cleanup = value("cleanup.policy");
        if cleanup != wanted.cleanup {
            return Err(SetupError::WrongTopic {
                topic: wanted.name.to_owned(),
                expected: wanted.expected,
                found: format!("cleanup.policy={cleanup}"),
            });
        }
        // Kafka's own default, if a broker does not tell.
        let message_bytes_max = value("max.message.bytes").parse().unwrap_or(1_048_588);
        Ok(Found { partitions, message_bytes_max })
    }

    /// Partitions of a topic; `None` if there is no such topic.
    fn partitions(&self, topic: &str) -> Result<Option<i32>, SetupError> {
        patiently(|| {
            let metadata = self.reader.fetch_metadata(Some(topic), ATTEMPT);
            let metadata = metadata.map_err(|error| self.for_good(error))?;
            let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
                return Ok(None);
            };
            match found.error().map(Code::from) {
                None => Ok(i32::try_from(found.partitions().len()).ok().filter(|some| *some > 0)),
                Some(Code::UnknownTopicOrPartition) => Ok(None),
                Some(code) => Err(KafkaError::MetadataFetch(code)),
            }
        })
        .map_err(|error| self.broker_error(format!("metadata of topic \"{topic}\""), &error))
    }

    /// The error, or one that asking again does not pass: who is not let in now will not be later.
    fn for_good(&self, error: KafkaError) -> KafkaError {
        while let Some(polled) = self.reader.poll(Duration::ZERO) {
            let code = polled.err().and_then(|error| error.rdkafka_error_code());
            if matches!(code, Some(Code::Authentication | Code::SSL)) {
                return KafkaError::Canceled;
            }
        }
        error
    }

    fn create(&self, wanted: &Wanted<'_>) -> Result<i32, SetupError> {
        let action = || format!("creation of topic \"{}\"", wanted.name);
        let bytes_max = wanted.message_bytes_max.map(|bytes| bytes.to_string());
        let replication = TopicReplication::Fixed(self.settings.replication_factor);
        let mut topic = NewTopic::new(wanted.name, wanted.partitions, replication)
            .set("cleanup.policy", wanted.cleanup);
        if wanted.cleanup == "delete" {
            topic = topic.set("retention.ms", "-1");
        }
        if let Some(bytes_max) = &bytes_max {
            topic = topic.set("max.message.bytes", bytes_max);
        }
        patiently(|| {
            let results = wait(self.admin.create_topics([&topic], &options())).map_err(coded)?;
            match results.into_iter().next() {
                Some(Ok(_)) => {
                    info!(topic = wanted.name, partitions = wanted.partitions, "topic created");
                    Ok(())
                }
                // Another instance, or an earlier try, was faster.
                Some(Err((_, Code::TopicAlreadyExists))) => Ok(()),
                Some(Err((_, code))) => Err(KafkaError::Global(code)),
                None => Err(KafkaError::Global(Code::Unknown)),
            }
        })
        .map_err(|error| self.broker_error(action(), &error))?;
        self.await_visible(wanted.name)
    }

    fn await_visible(&self, topic: &str) -> Result<i32, SetupError> {
        let deadline = Instant::now() + VISIBLE;
        loop {
            if let Some(partitions) = self.partitions(topic)? {
                return Ok(partitions);
            }
            if Instant::now() >= deadline {
                let action = format!("creation of topic \"{topic}\"");
                return Err(self.broker_error(action, &KafkaError::AdminOp(Code::UnknownTopic)));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Names and values of a topic's configuration.
    fn describe(&self, topic: &str) -> Result<Vec<(String, String)>, SetupError> {
        let resource = ResourceSpecifier::Topic(topic);
        let described = patiently(|| {
            let results = wait(self.admin.describe_configs([&resource], &options()));
            let first = results.map_err(coded)?.into_iter().next();
            first.unwrap_or(Err(Code::Unknown)).map_err(KafkaError::Global)
        })
        .map_err(|error| self.broker_error(format!("description of topic \"{topic}\""), &error))?;
        let pair = |entry: ConfigEntry| (entry.name, entry.value.unwrap_or_default());
        Ok(described.entries.into_iter().map(pair).collect())
    }

    fn broker_error(&self, action: String, error: &KafkaError) -> SetupError {
        let servers = self.settings.bootstrap_servers.clone();
        let failure = self.reader.client().context().failure();
        let reason = match (error, failure) {
            (KafkaError::Canceled, Some(failure)) => failure,
            (error, Some(failure)) => format!("{error} ({failure})"),
            (error, None) => error.to_string(),
        };
        SetupError::Broker { servers, action, reason }
    }
}

/// The library gives no code for this kind of error, by which a passing one is recognised.
fn coded(error: KafkaError) -> KafkaError {
    match error {
        KafkaError::AdminOp(code) => KafkaError::Global(code),
        other => other,
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ATTEMPT)).operation_timeout(Some(ATTEMPT))
}

/// Blocks until an answer of the admin client is there. Its own thread completes it, so no
/// runtime is needed, and none that may be around is entered.
fn wait<F: Future>(answer: F) -> F::Output {
    let mut answer = pin!(answer);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
