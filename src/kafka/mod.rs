//! Kafka: the log we read, the topics we write, and their settings. The only place that names the
//! client library.
//!
//! * [`KafkaSource`] reads the events topic from offsets that the state dictates, never from the
//!   group's own.
//! * [`KafkaSink`] publishes snapshots, dead letters and offsets in transactions.
//! * [`Forwarder`] writes events, for ingest and import.
//! * [`Tail`] follows a topic, to measure how soon its readers see something.
//! * [`ensure_topics`] creates or checks the topics at start.
//!
//! Held by `tests/it/kafka_*.rs` against a real broker.

mod assignment;
mod batch;
mod client;
mod fingerprints;
mod forward;
mod intake;
mod newest;
mod positions;
mod settings;
mod sink;
mod source;
mod tail;
mod topics;

pub use self::assignment::GroupHandle;
pub use self::forward::{Delivered, Delivery, ForwardError, Forwarder};
pub use self::settings::{KafkaSettings, SetupError};
pub use self::sink::KafkaSink;
pub use self::source::KafkaSource;
pub use self::tail::{Followed, Tail};
pub use self::topics::{Topics, ensure_topics};
