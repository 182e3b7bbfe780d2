//! Records into a shard: decode, apply, count, commit. A commit is written beside the records that
//! come next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::domain::time::Timestamp;
use crate::engine::shard::Evicted;
use crate::engine::standing::Suspension;
use crate::pipeline::decode::Decoder;
use crate::pipeline::helper::Helper;
use crate::pipeline::{BACKLOG_STRETCH, PipelineError};
use crate::state::{
    Arrival, LiveShard, Outcome, PreparedCommit, Shards, SharedShard, StateError, Written,
};
use crate::store::Durability;
use crate::stream::{NextOffset, Partition, Record};
use crate::telemetry::Metrics;

/// Records decoded, and then applied, at a time: enough to look up many things in memory together,
/// few enough that their events stay in the processor's cache and questions wait little.
const RECORDS_AT_A_TIME: usize = 32;
/// Events, and refused records, that wait for their commit hold at most this part of the memory budget. While they are
/// written they are in memory twice, and the next are waiting.
const PENDING_SHARE: usize = 32;
/// Chunks of histories that one commit gathers: a few hundred customers' of the usual kind.
const CHUNKS_GATHERED_MAX: usize = 4096;

/// How long events may wait for their commit, and what it waits for.
#[derive(Debug, Clone, Copy)]
pub struct CommitPace {
    /// Longest time between two commits, unless a backlog is read.
    pub interval: Duration,
    /// Most events of one commit.
    pub events_max: usize,
    /// What a commit outlives.
    pub durability: Durability,
}

/// What the feeds of a process have in common.
#[derive(Clone)]
pub struct FeedParts {
    pub shards: Arc<Shards>,
    /// Each feed has one of its own.
    pub decoder: Decoder,
    pub metrics: Arc<Metrics>,
    /// For customers, facts and kept answers of all shards together, which share it evenly.
    pub memory_budget_bytes: usize,
}

/// Writes the commits of a shard.
type Writer = Helper<(PreparedCommit, Durability), Result<Written, StateError>>;

/// Feeds one shard. Nothing of it is shared with the feeds of others.
pub struct Feed {
    parts: FeedParts,
    partition: Partition,
    shard: SharedShard,
    /// Records taken since the last commit.
    uncommitted: usize,
    committed_at: Instant,
    writer: Writer,
    /// When the commit that the writer has in hand was begun.
    writing_since: Option<Instant>,
    /// Little of the budget was left to customers at the last commit.
    is_tight: bool,
}

impl Feed {
    /// A feed of this shard, one of those in `parts`.
    ///
    /// # Errors
    /// [`PipelineError::Thread`] if the system has no thread for its commits.
    pub fn new(parts: FeedParts, shard: SharedShard) -> Result<Self, PipelineError> {
        let budget = i64::try_from(parts.memory_budget_bytes).unwrap_or(i64::MAX);
        parts.metrics.memory_budget.set(budget);
        let (partition, next_offset) = {
            let shard = shard.read();
            (shard.partition, shard.next_offset())
        };
        parts.metrics.set_next_offset(partition, next_offset.0);
        let write = |(commit, durability): (PreparedCommit, Durability)| commit.write(durability);
        Ok(Self {
            parts,
            partition,
            shard,
            uncommitted: 0,
            committed_at: Instant::now(),
            writer: Helper::new(format!("commits-{partition}"), write)?,
            writing_since: None,
            is_tight: false,
        })
    }

    /// The shard that is fed.
    pub fn shard(&self) -> &SharedShard {
        &self.shard
    }

    /// Takes in records of the partition, in order of their offsets, and returns what became of
    /// each.
    pub fn take(&mut self, records: &[Record<'_>]) -> Result<Vec<Outcome>, PipelineError> {
        let mut outcomes = Vec::with_capacity(records.len());
        for records in records.chunks(RECORDS_AT_A_TIME) {
            outcomes.extend(self.take_some(records)?);
        }
        Ok(outcomes)
    }

    /// Goes on there: what lies before it and was not taken is no record.
    pub fn pass(&self, next: Option<NextOffset>) {
        if let Some(next) = next {
            self.shard.write().pass(next);
        }
    }

    fn take_some(&mut self, records: &[Record<'_>]) -> Result<Vec<Outcome>, PipelineError> {
        let mut arrivals: Vec<_> = records.iter().map(|record| Arrival::vacant(*record)).collect();
        for Arrival { record, decoded } in &mut arrivals {
            let asked = self.parts.decoder.decode_into(record.value, decoded);
            asked.map_err(|error| PipelineError::Registry(error.to_string()))?;
        }
        let applied = self.shard.write().apply(&arrivals);
        let outcomes = applied.map_err(|source| self.failed(source))?;
        self.count(&outcomes);
        Ok(outcomes)
    }

    fn failed(&self, source: StateError) -> PipelineError {
        PipelineError::State { partition: self.partition, source }
    }

    fn count(&mut self, outcomes: &[Outcome]) {
        let metrics = &self.parts.metrics;
        // Some at a time: each addition is seen by all threads, which is not for nothing.
        let (mut accepted, mut repeated) = (0, 0);
        for outcome in outcomes {
            match outcome {
                Outcome::Known => {}
                Outcome::Accepted { .. } => accepted += 1,
                Outcome::Repeated => repeated += 1,
                Outcome::Refused(refused) => {
                    metrics.events_refused.with_label_values(&[&refused.code]).inc();
                }
            }
        }
        metrics.records.inc_by(u64::try_from(outcomes.len()).unwrap_or(u64::MAX));
        metrics.events_accepted.inc_by(accepted);
        metrics.events_repeated.inc_by(repeated);
        self.uncommitted += outcomes.len();
    }

    /// Whether it is time to commit: for the memory that events wait in, or, unless a commit is being
    /// written, for the clock or for the number of events.
    pub fn is_commit_due(&self, pace: &CommitPace, is_behind: bool) -> bool {
        let stretch = if is_behind { BACKLOG_STRETCH } else { 1 };
        let is_time = self.uncommitted >= pace.events_max
            || self.committed_at.elapsed() >= pace.interval * stretch;
        // Asked before the shard is locked (`Shards`).
        let pending_bytes_max = self.memory_budget_bytes() / PENDING_SHARE;
        let shard = self.shard.read();
        let pending_bytes = shard.shard.pending_bytes() + shard.quarantine_bytes();
        (is_time && self.writing_since.is_none()) || pending_bytes >= pending_bytes_max
    }

    /// The shard's part of the budget.
    fn memory_budget_bytes(&self) -> usize {
        self.parts.memory_budget_bytes / self.parts.shards.count().max(1)
    }

    fn tell(&mut self, Evicted { customers, is_tight }: Evicted) {
        let partition = self.partition;
        if customers > 0 {
            debug!(partition, customers, "customers left memory");
        }
        if is_tight && !self.is_tight {
            warn!(
                partition,
                "facts leave customers no more than a quarter of what engine.memory_budget_bytes has \
                 for both: memory grows beyond it, and events of customers that are not in memory \
                 are slow"
            );
        }
        self.is_tight = is_tight;
    }

    /// Takes what a commit is to write, some histories that lie in many chunks with it.
    fn prepare(&self) -> Result<PreparedCommit, StateError> {
        let customers = self.shard.write().shard.take_scattered(CHUNKS_GATHERED_MAX);
        // Only this thread applies events, so nobody need wait while histories are read.
        let reader = self.shard.read().reader();
        let scattered = reader.scattered(customers)?;
        let mut shard = self.shard.write();
        let begun_at = Instant::now();
        shard.gather(&scattered)?;
        let prepared = shard.prepare_commit();
        let (partition, held) = (self.partition, begun_at.elapsed());
        debug!(partition, ?held, "changes taken for a commit");
        Ok(prepared)
    }

    /// Begins a commit of the shard, if it has changed, after the one before; records that come next
    /// are taken while it is written.
    pub fn begin_commit(&mut self, durability: Durability) -> Result<(), PipelineError> {
        self.end_commit()?;
        if self.shard.read().is_dirty() {
            let begun_at = Instant::now();
            let prepared = self.prepare().map_err(|source| self.failed(source))?;
            self.writer.order((prepared, durability));
            self.writing_since = Some(begun_at);
        }
        let committed = std::mem::take(&mut self.uncommitted);
        self.parts.metrics.commit_events.inc_by(u64::try_from(committed).unwrap_or(u64::MAX));
        self.committed_at = Instant::now();
        Ok(())
    }

    /// Ends the commit that was begun, if it is written by now. Fails if it could not be.
    pub fn poll_commit(&mut self) -> Result<(), PipelineError> {
        if self.writing_since.is_some()
            && let Some(written) = self.writer.poll()
        {
            self.written(written)?;
        }
        Ok(())
    }

    /// Waits for the commit that was begun, if one was, and ends it.
    pub fn end_commit(&mut self) -> Result<(), PipelineError> {
        if self.writing_since.is_some() {
            let written = self.writer.wait();
            self.written(written)?;
        }
        Ok(())
    }

    /// Commits the shard, if it has changed.
    pub fn commit(&mut self, durability: Durability) -> Result<(), PipelineError> {
        self.begin_commit(durability)?;
        self.end_commit()
    }

    fn written(&mut self, written: Result<Written, StateError>) -> Result<(), PipelineError> {
        let begun_at = self.writing_since.take();
        let written = written.map_err(|source| self.failed(source))?;
        let metrics = &self.parts.metrics;
        if let Some(begun_at) = begun_at {
            metrics.commit_duration.observe(begun_at.elapsed().as_secs_f64());
        }
        metrics.set_next_offset(self.partition, written.next_offset.0);
        // Asks all shards how many they are: not with one of them in hand (`Shards`).
        let budget_bytes = self.memory_budget_bytes();
        let mut shard = self.shard.write();
        shard.committed();
        let kept_bytes = shard.kept_bytes();
        let evicted = shard.shard.evict(budget_bytes, kept_bytes);
        drop(shard);
        self.tell(evicted);
        Ok(())
    }
}

/// Says of which apps a state has events that nobody can ask for.
pub fn warn_of_unconfigured_apps(shard: &LiveShard) {
    for app in shard.unconfigured_apps() {
        let partition = shard.partition;
        warn!(partition, app, "the state holds events of an app that is not configured");
    }
}

/// Brings the gauges of the state up to date.
pub fn observe(shards: &Shards, metrics: &Metrics) {
    let mut totals = Totals::default();
    for shard in shards.all() {
        let shard = shard.read();
        totals.customers += shard.shard.customer_count();
        totals.facts += shard.shard.facts.len();
        totals.memory_bytes += shard.shard.memory_bytes() + shard.kept_bytes();
        totals.newest_event_at = totals.newest_event_at.max(shard.shard.newest_event_at());
        for (reason, count) in shard.shard.suspended().counts() {
            *totals.suspended.entry(reason).or_default() += count;
        }
    }
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

#[derive(Default)]
struct Totals {
    customers: u64,
    facts: usize,
    memory_bytes: usize,
    newest_event_at: Option<Timestamp>,
    suspended: BTreeMap<Suspension, i64>,
}
