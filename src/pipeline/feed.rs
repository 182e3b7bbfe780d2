//! Records into shards: decode, apply, count, commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::time::Timestamp;
use crate::engine::standing::Suspension;
use crate::pipeline::decode::Decoder;
use crate::pipeline::{BACKLOG_STRETCH, PipelineError, SharedProgress};
use crate::state::{Arrival, Outcome, Shards, SharedShard};
use crate::store::Durability;
use crate::stream::{DeadLetter, Partition, Record};
use crate::telemetry::Metrics;

/// Records decoded, and then applied, at a time: enough to look up many things in memory together,
/// few enough that their events stay in the processor's cache and questions wait little.
const RECORDS_AT_A_TIME: usize = 32;
/// Events that wait for their commit hold at most this part of the memory budget. While they are
/// written there are two more copies of them.
const PENDING_SHARE: usize = 16;

/// How long events may wait for their commit.
#[derive(Debug, Clone, Copy)]
pub struct CommitPace {
    /// Longest time between two commits, unless a backlog is read.
    pub interval: Duration,
    /// Most events of one commit.
    pub events_max: usize,
}

/// Feeds the shards of a process.
pub struct Feed {
    shards: Arc<Shards>,
    decoder: Decoder,
    metrics: Arc<Metrics>,
    progress: SharedProgress,
    memory_budget_bytes: usize,
    /// The shard of the last record: records come in runs of one partition.
    current: Option<(Partition, SharedShard)>,
    dead_letters: Vec<DeadLetter>,
    /// Records taken since the last commit.
    uncommitted: usize,
    committed_at: Instant,
}

impl Feed {
    /// A feed of these shards.
    pub fn new(
        shards: Arc<Shards>,
        decoder: Decoder,
        (metrics, progress): (Arc<Metrics>, SharedProgress),
        memory_budget_bytes: usize,
    ) -> Self {
        metrics.memory_budget.set(i64::try_from(memory_budget_bytes).unwrap_or(i64::MAX));
        Self {
            shards,
            decoder,
            metrics,
            progress,
            memory_budget_bytes,
            current: None,
            dead_letters: Vec::new(),
            uncommitted: 0,
            committed_at: Instant::now(),
        }
    }

    /// The shards that are fed.
    pub fn shards(&self) -> &Arc<Shards> {
        &self.shards
    }

    /// Lets go of a partition's shard and of what it left to publish.
    pub fn forget(&mut self, partition: Partition) {
        // Nothing may keep the store open: whoever comes next opens it again.
        self.current = None;
        self.dead_letters.retain(|letter| letter.partition != partition);
        self.shards.remove(partition);
    }

    /// Takes in records, those of a partition in order of their offsets, and returns what became
    /// of each. Records of a partition that is not here any more are left alone.
    pub fn take(&mut self, records: &[Record<'_>]) -> Result<Vec<Outcome>, PipelineError> {
        let mut outcomes = Vec::with_capacity(records.len());
        for run in records.chunk_by(|one, next| one.partition == next.partition) {
            for records in run.chunks(RECORDS_AT_A_TIME) {
                outcomes.extend(self.take_run(records)?);
            }
        }
        Ok(outcomes)
    }

    fn take_run(&mut self, records: &[Record<'_>]) -> Result<Vec<Outcome>, PipelineError> {
        let partition = records.first().map_or(0, |record| record.partition);
        if self.current.as_ref().is_none_or(|(current, _)| *current != partition) {
            self.current = self.shards.get(partition).map(|shard| (partition, shard));
        }
        let Some((_, shard)) = &self.current else {
            return Ok(vec![Outcome::Known; records.len()]);
        };
        let mut arrivals = Vec::with_capacity(records.len());
        for record in records {
            let decoded = self.decoder.decode(record.value);
            let decoded = decoded.map_err(|error| PipelineError::Registry(error.to_string()))?;
            arrivals.push(Arrival { record: *record, decoded });
        }
        let applied = shard.write().apply(&arrivals);
        let outcomes = applied.map_err(|source| PipelineError::State { partition, source })?;
        for (record, outcome) in records.iter().zip(&outcomes) {
            self.count(record, outcome);
        }
        Ok(outcomes)
    }

    fn count(&mut self, record: &Record<'_>, outcome: &Outcome) {
        let metrics = &self.metrics;
        metrics.records.inc();
        self.uncommitted += 1;
        match outcome {
            Outcome::Known => {}
            Outcome::Accepted { .. } => metrics.events_accepted.inc(),
            Outcome::Repeated => metrics.events_repeated.inc(),
            Outcome::Refused(refused) => {
                metrics.events_refused.with_label_values(&[&refused.code]).inc();
                self.dead_letters.push(DeadLetter::of(record, &refused.code, &refused.message));
            }
        }
    }

    /// Refused records since the last call, in order of arrival.
    pub fn take_dead_letters(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.dead_letters)
    }

    /// Whether it is time to commit: for the clock, for the number of events, or for the memory they
    /// wait in.
    pub fn is_commit_due(&self, pace: &CommitPace, is_behind: bool) -> bool {
        let stretch = if is_behind { BACKLOG_STRETCH } else { 1 };
        self.uncommitted >= pace.events_max
            || self.committed_at.elapsed() >= pace.interval * stretch
            || self.pending_bytes() >= self.memory_budget_bytes / PENDING_SHARE
    }

    fn pending_bytes(&self) -> usize {
        self.shards.all().iter().map(|shard| shard.read().shard.pending_bytes()).sum()
    }

    /// Commits every shard that has changed.
    pub fn commit(&mut self, durability: Durability) -> Result<(), PipelineError> {
        self.current = None;
        let shards = self.shards.all();
        for shard in &shards {
            self.commit_shard(shard, durability, self.memory_budget_bytes / shards.len().max(1))?;
        }
        let committed = std::mem::take(&mut self.uncommitted);
        self.metrics.commit_events.inc_by(u64::try_from(committed).unwrap_or(u64::MAX));
        self.committed_at = Instant::now();
        Ok(())
    }

    fn commit_shard(
        &self,
        shard: &SharedShard,
        durability: Durability,
        memory_budget_bytes: usize,
    ) -> Result<(), PipelineError> {
        let begun_at = Instant::now();
        let (partition, prepared) = {
            let mut shard = shard.write();
            if !shard.is_dirty() {
                return Ok(());
            }
            (shard.partition, shard.prepare_commit())
        };
        let state = |source| PipelineError::State { partition, source };
        let written = prepared.write(durability).map_err(state)?;
        self.metrics.commit_duration.observe(begun_at.elapsed().as_secs_f64());
        self.metrics
            .next_offset
            .with_label_values(&[&partition.to_string()])
            .set(written.next_offset.0);
        let mut shard = shard.write();
        let evicted = shard.shard.evict(memory_budget_bytes);
        if evicted > 0 {
            tracing::debug!(partition, evicted, "customers left memory");
        }
        Ok(())
    }

    /// Takes note of how far each partition is behind.
    pub fn note_lag(&self, lag: BTreeMap<Partition, i64>) {
        for (partition, records) in &lag {
            self.metrics.lag_records.with_label_values(&[&partition.to_string()]).set(*records);
        }
        self.progress.set(lag);
    }

    /// Brings the gauges of the state up to date.
    pub fn observe(&self) {
        let mut totals = Totals::default();
        for shard in self.shards.all() {
            let shard = shard.read();
            totals.customers += shard.shard.customer_count();
            totals.facts += shard.shard.facts.len();
            totals.memory_bytes += shard.shard.memory_bytes();
            totals.newest_event_at = totals.newest_event_at.max(shard.shard.newest_event_at());
            for (_, reason) in shard.shard.suspended().values().flatten() {
                *totals.suspended.entry(*reason).or_default() += 1;
            }
        }
        let metrics = &self.metrics;
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        metrics.customers.set(gauge(totals.customers));
        metrics.facts.set(i64::try_from(totals.facts).unwrap_or(i64::MAX));
        metrics.memory_used.set(i64::try_from(totals.memory_bytes).unwrap_or(i64::MAX));
        for reason in Suspension::ALL {
            let count = totals.suspended.get(&reason).copied().unwrap_or_default();
            metrics.suspended_events.with_label_values(&[reason.name()]).set(count);
        }
        if let Some(at) = totals.newest_event_at {
            metrics.newest_event_timestamp.set(at.0 as f64 / 1e6);
        }
    }
}

#[derive(Default)]
struct Totals {
    customers: u64,
    facts: usize,
    memory_bytes: usize,
    newest_event_at: Option<Timestamp>,
    suspended: BTreeMap<Suspension, i64>,
}
