//! Reads the events topic, beginning each partition where its state ends.
//!
//! Always true
//! * A partition delivers nothing before [`Source::start`] and nothing after it was revoked.
//! * Offsets of a partition only grow; a record comes at most once per start.
//! * No record is skipped in silence: an offset outside the log and a failed checksum are errors.
//!
//! Headers are read only of records that are refused (`batch/headers.rs`).
//!
//! Not here: what the offsets are (`pipeline/mod.rs`), and committing them to the group, which is
//! the sink's, in its transactions.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use crate::kafka::assignment::{Assignment, GroupConsumer, GroupHandle, settle};
use crate::kafka::client::{create, is_passing};
use crate::kafka::fingerprints::read_fingerprints;
use crate::kafka::intake::{Demand, Intake};
use crate::kafka::positions::{Position, Positions};
use crate::kafka::settings::{KafkaSettings, SetupError};
use crate::kafka::topics::Topics;
use crate::stream::{Fingerprint, NextOffset, Partition, Polled, Source, SourceError, TakeOver};

/// How long a question to the brokers is repeated before it fails.
pub(in crate::kafka) const PATIENCE: Duration = Duration::from_secs(30);
/// How long one try of a question may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long a question may take that can be asked again a second later. Longer than brokers let a fetch wait
/// for records (`fetch.wait.max.ms`), behind which it may have to wait.
const MOMENT: Duration = Duration::from_secs(1);
/// Pause between tries.
const PAUSE: Duration = Duration::from_millis(100);

/// The events topic as a [`Source`].
pub struct KafkaSource {
    consumer: Arc<GroupConsumer>,
    topic: String,
    settings: KafkaSettings,
    intake: Intake,
    positions: Positions,
    /// Partitions of a revocation that are not released yet; the group waits for all of them.
    revoking: BTreeSet<Partition>,
    /// Released already, but the group waits for others of the same revocation.
    released: BTreeSet<Partition>,
    /// The partition whose end was asked for last without an answer.
    silent: Cell<Partition>,
}

impl KafkaSource {
    /// Joins the consumer group. Blocks no longer than a client takes to be made; the partitions
    /// come as [`Polled::Assigned`].
    pub fn new(settings: &KafkaSettings, topics: &Topics) -> Result<Self, SetupError> {
        let config = settings.consumer(topics)?;
        let consumer: GroupConsumer = create(&config, Assignment::default())?;
        consumer.subscribe(&[&settings.events_topic]).map_err(|error| SetupError::Broker {
            servers: settings.bootstrap_servers.clone(),
            action: format!("subscription to topic \"{}\"", settings.events_topic),
            reason: error.to_string(),
        })?;
        let consumer = Arc::new(consumer);
        Ok(Self {
            intake: Intake::new(settings, &consumer)?,
            positions: Positions::default(),
            consumer,
            topic: settings.events_topic.clone(),
            settings: settings.clone(),
            revoking: BTreeSet::new(),
            released: BTreeSet::new(),
            silent: Cell::new(Partition::MIN),
        })
    }

    /// For the sink, which commits offsets in our group's name.
    pub fn group(&self) -> GroupHandle {
        GroupHandle(Arc::downgrade(&self.consumer))
    }

    fn next_event(&mut self) -> Option<Polled> {
        let event = self.consumer.context().next_event()?;
        if let Polled::Revoked(partitions) | Polled::Lost(partitions) = &event {
            for partition in partitions {
                self.revoking.insert(*partition);
                if let Some(position) = self.positions.delivering.get_mut(partition) {
                    position.open = false;
                }
            }
        }
        Some(event)
    }

    /// Why nothing is delivered since the library told that the log does not hold an offset: it does not say
    /// of which partition.
    fn suspected(&mut self) -> SourceError {
        for (partition, position) in &mut self.positions.delivering {
            let (Some(wanted), true) = (position.next, position.open) else { continue };
            let (low, high) = match watermarks(&*self.consumer, &self.topic, *partition) {
                Ok(bounds) => bounds,
                Err(error) => return error,
            };
            if !(low..=high).contains(&wanted) {
                // Not found again when another one stops, until it is started anew. Each that
                // stops is told by the library, so this answers one suspicion.
                position.open = false;
                self.positions.suspicious = false;
                return SourceError::OutOfRange { partition: *partition, wanted, low, high };
            }
        }
        // A log that was cut off and has grown since holds all offsets, but other records. Who begins anew
        // compares what it read with what is there.
        SourceError::Fatal(
            "an offset was reported missing that the log holds: it may have been truncated and have grown since"
                .to_owned(),
        )
    }

    fn list(&self, partitions: impl IntoIterator<Item = Partition>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        list
    }
}

impl Source for KafkaSource {
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        take_over: &mut TakeOver<'_>,
    ) -> Result<Polled, SourceError> {
        if let Some(event) = self.next_event() {
            return Ok(event);
        }
        if let Some(failure) = &self.positions.failure {
            return Err(SourceError::Fatal(failure.clone()));
        }
        if self.positions.suspicious {
            return Err(self.suspected());
        }
        let demand = Demand { timeout, records_max };
        let reader = (&self.consumer, &mut self.positions);
        let count = self.intake.deliver(reader, demand, take_over);
        // What came with the records is told by the next call, before any further record.
        if count > 0 {
            return Ok(Polled::Records(count));
        }
        if let Some(event) = self.next_event() {
            return Ok(event);
        }
        match &self.positions.failure {
            Some(failure) => Err(SourceError::Fatal(failure.clone())),
            None => Ok(Polled::Records(0)),
        }
    }

    /// Call it once per [`Polled::Assigned`], even with fewer partitions or none: the group
    /// waits. A partition that already delivers is moved; one that is no longer ours is left out.
    fn start(&mut self, from: &[(Partition, Option<NextOffset>)]) -> Result<(), SourceError> {
        let moved: Vec<Partition> = from
            .iter()
            .map(|(partition, _)| *partition)
            .filter(|partition| self.positions.delivering.remove(partition).is_some())
            .collect();
        if !moved.is_empty() {
            self.consumer.incremental_unassign(&self.list(moved)).map_err(fatal)?;
        }
        let mut list = TopicPartitionList::new();
        for (partition, next) in from {
            if !self.consumer.context().owns(*partition) {
                info!(partition, "not started: the partition is no longer ours");
                continue;
            }
            let offset = next.map_or(Offset::Beginning, |next| Offset::Offset(next.0));
            list.add_partition_offset(&self.topic, *partition, offset).map_err(fatal)?;
            self.intake.prepare(*partition);
            self.positions.delivering.insert(*partition, Position::starting(*next));
        }
        self.consumer.context().answered();
        self.consumer.incremental_assign(&list).map_err(fatal)
    }

    /// Of a revocation, the group goes on when the last partition is released, so that none gets
    /// a new owner too early.
    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError> {
        for partition in partitions {
            self.revoking.remove(partition);
            if self.positions.delivering.remove(partition).is_some() {
                self.released.insert(*partition);
            }
        }
        if !self.revoking.is_empty() {
            return Ok(());
        }
        let released = std::mem::take(&mut self.released);
        self.consumer.context().answered();
        self.consumer.incremental_unassign(&self.list(released)).map_err(fatal)
    }

    fn bounds(&self, partition: Partition) -> Result<(i64, i64), SourceError> {
        watermarks(&*self.consumer, &self.topic, partition)
    }

    /// Reads the records at these offsets once more, without any effect on the group or on
    /// delivery; `None` where there is no such record any more. In the order asked.
    fn fingerprints(
        &self,
        partition: Partition,
        offsets: &[i64],
    ) -> Result<Vec<Option<Fingerprint>>, SourceError> {
        let bounds = self.bounds(partition)?;
        read_fingerprints(&self.settings, partition, offsets, bounds)
    }

    /// How many offsets each delivering partition is behind the log's end, at most; 0 exactly
    /// when everything was delivered. Asks the brokers about partitions that are behind, for a moment:
    /// one without a leader must not keep the others from being read.
    fn lag(&self) -> Result<Vec<(Partition, i64)>, SourceError> {
        let (mut lag, silent) = (Vec::new(), self.silent.get());
        let mut behind = Vec::new();
        for (partition, position) in &self.positions.delivering {
            match position.at_end {
                true => lag.push((*partition, 0)),
                false => behind.push((*partition, position)),
            }
        }
        // The one that was silent last, and those before it, come last.
        behind.sort_by_key(|(partition, _)| *partition <= silent);
        for (partition, position) in behind {
            match self.consumer.fetch_watermarks(&self.topic, partition, MOMENT) {
                Ok((low, high)) => {
                    let next = position.next.unwrap_or(low);
                    lag.push((partition, high.saturating_sub(next).max(0)));
                }
                Err(error) if is_passing(&error) => {
                    warn!(partition, %error, "can't ask for the end of the partition");
                    self.silent.set(partition);
                    break;
                }
                Err(error) => return Err(fatal(error)),
            }
        }
        Ok(lag)
    }
}

impl Drop for KafkaSource {
    /// Leaves the group at once, so that others need not wait for a timeout.
    fn drop(&mut self) {
        let delivered = self.positions.delivering.keys().chain(&self.released).copied();
        settle(&self.consumer, &self.list(delivered));
    }
}

fn fatal(error: KafkaError) -> SourceError {
    SourceError::Fatal(error.to_string())
}

/// First offset held and one past the newest; repeats the question while the brokers are away.
pub(in crate::kafka) fn watermarks<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: Partition,
) -> Result<(i64, i64), SourceError> {
    patiently(|| consumer.fetch_watermarks(topic, partition, ATTEMPT)).map_err(fatal)
}

/// Asks until the answer is no passing error, or patience is at its end.
pub(in crate::kafka) fn patiently<T>(mut ask: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Err(error) if is_passing(&error) && Instant::now() < deadline => {
                warn!(%error, "kafka does not answer: asking again");
                std::thread::sleep(PAUSE);
            }
            answer => return answer,
        }
    }
}
