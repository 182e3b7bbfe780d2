//! How far each partition was delivered, and what stands in the way of delivering more.

use std::collections::BTreeMap;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;

use crate::kafka::assignment::GroupConsumer;
use crate::kafka::client::{is_offset_error, is_passing};
use crate::stream::{NextOffset, Partition};

/// How far a partition was delivered.
#[derive(Debug, Clone, Copy)]
pub(in crate::kafka) struct Position {
    /// One past the last record delivered, the end behind it, or where to start; `None`: the log's beginning.
    pub next: Option<i64>,
    /// Everything there was has been delivered. Needed because the newest offsets may belong to
    /// no record (transaction markers), so that `next` may not reach the log's end.
    pub at_end: bool,
    /// Records may be handed out.
    pub open: bool,
    /// A record or the end of the partition came since the start.
    pub begun: bool,
}

impl Position {
    pub fn starting(next: Option<NextOffset>) -> Self {
        Self { next: next.map(|next| next.0), at_end: false, open: true, begun: false }
    }
}

/// The partitions that deliver, and errors that are not answered yet.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Positions {
    pub delivering: BTreeMap<Partition, Position>,
    /// Some partition stopped because its offset is not in the log, and is still to be found.
    pub suspicious: bool,
    /// Sticky: after it nothing is delivered.
    pub failure: Option<String>,
}

impl Positions {
    /// Advances the position; false if the record there must not be handed out.
    pub fn admit(&mut self, (partition, offset): (Partition, i64)) -> bool {
        let Some(position) = self.delivering.get_mut(&partition) else { return false };
        if !position.open || position.next.is_some_and(|next| offset < next) {
            return false;
        }
        position.next = Some(offset + 1);
        position.at_end = false;
        position.begun = true;
        true
    }

    /// Advances the position to the partition's end; false if it is there, or nothing may be handed out.
    pub fn admit_end(&mut self, (partition, end): (Partition, i64)) -> bool {
        let Some(position) = self.delivering.get_mut(&partition) else { return false };
        if !position.open || position.next.is_some_and(|next| end <= next) {
            return false;
        }
        position.next = Some(end);
        true
    }

    /// Takes note of what came in place of a record.
    pub fn note(&mut self, consumer: &GroupConsumer, error: &KafkaError) {
        if let KafkaError::PartitionEOF(partition) = error {
            if let Some(position) = self.delivering.get_mut(partition) {
                position.at_end = true;
                position.begun = true;
            }
        } else if is_offset_error(error) {
            self.suspicious = true;
        } else if !is_passing(error) {
            self.failure = Some(describe(consumer, error));
        }
    }

    /// Records after an error wait until the error was answered.
    pub fn may_deliver(&self) -> bool {
        !self.suspicious && self.failure.is_none()
    }
}

fn describe(consumer: &GroupConsumer, error: &KafkaError) -> String {
    match consumer.client().fatal_error() {
        Some((_, reason)) => reason,
        None => error.to_string(),
    }
}
