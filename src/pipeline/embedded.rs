//! The embedded log: events by HTTP or file, without Kafka behind them.
//!
//! There is no log to replay, so a submission is answered only after the commit that holds it has
//! reached the disk. Submissions that arrive together share a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::codec::json_event;
use crate::domain::time::Timestamp;
use crate::engine::shard::Shard;
use crate::pipeline::feed::{Feed, FeedParts, observe};
use crate::pipeline::{PipelineError, ReadClock};
use crate::state::{Outcome, SharedShard};
use crate::store::Durability;
use crate::stream::{Ingest, IngestError, NextOffset, Partition, Receipt, Receipts, Record};

/// The one partition of the embedded log.
pub const PARTITION: Partition = 0;
/// Submissions that may wait; beyond it the service is overloaded.
const WAITING_MAX: usize = 256;
/// Events that share one commit, at most.
const GROUP_EVENTS_MAX: usize = 100_000;
/// How often the loop looks whether it shall stop.
const IDLE: Duration = Duration::from_millis(100);

/// How often gauges are brought up to date.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);

type Answer = Result<Receipts, IngestError>;

struct Submission {
    events: Vec<Vec<u8>>,
    answer: SyncSender<Answer>,
}

/// Hands events to the embedded log. Cheap to clone; the log ends when the last one is gone.
#[derive(Clone)]
pub struct EmbeddedLog {
    submissions: SyncSender<Submission>,
}

impl EmbeddedLog {
    /// Starts the thread that takes submissions in, until `stop` is set.
    pub fn start(
        parts: FeedParts,
        shard: SharedShard,
        (clock, stop): (ReadClock, Arc<AtomicBool>),
    ) -> std::io::Result<(Self, JoinHandle<Result<(), PipelineError>>)> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("embedded-log".to_owned())
            .spawn(move || run(&parts, shard, &receiver, (&clock, &stop)))?;
        Ok((Self { submissions: sender }, thread))
    }
}

impl Ingest for EmbeddedLog {
    fn submit(&self, events: Vec<Vec<u8>>) -> Answer {
        let (answer, answered) = sync_channel(1);
        self.submissions.try_send(Submission { events, answer }).map_err(|error| match error {
            TrySendError::Full(_) => IngestError::Overloaded,
            TrySendError::Disconnected(_) => stopped(),
        })?;
        answered.recv().map_err(|_| stopped())?
    }
}

fn stopped() -> IngestError {
    IngestError::Unavailable("the embedded log has stopped".to_owned())
}

fn run(
    parts: &FeedParts,
    shard: SharedShard,
    submissions: &Receiver<Submission>,
    (clock, stop): (&ReadClock, &AtomicBool),
) -> Result<(), PipelineError> {
    let mut feed = Feed::new(parts.clone(), shard)?;
    let mut observed_at = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match submissions.recv_timeout(IDLE) {
            Ok(first) => take_group(&mut feed, submissions, clock, first)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if observed_at.elapsed() >= OBSERVE_EVERY {
            observed_at = Instant::now();
            observe(&parts.shards, &parts.metrics);
        }
    }
    feed.commit(Durability::Machine)
}

/// Applies a submission and those that wait behind it, commits once, and answers all.
fn take_group(
    feed: &mut Feed,
    submissions: &Receiver<Submission>,
    clock: &ReadClock,
    first: Submission,
) -> Result<(), PipelineError> {
    let mut group = vec![first];
    let mut events = group[0].events.len();
    while events < GROUP_EVENTS_MAX
        && let Ok(next) = submissions.try_recv()
    {
        events += next.events.len();
        group.push(next);
    }
    let mut answers = Vec::with_capacity(group.len());
    for submission in group {
        let receipts = take_events(feed, clock(), &submission.events)?;
        answers.push((submission.answer, receipts));
    }
    feed.commit(Durability::Machine)?;
    // The quarantine table holds what was refused; there is no topic to send it to.
    feed.shard().write().take_refused();
    let as_of: Vec<(Partition, NextOffset)> = vec![(PARTITION, feed.shard().read().next_offset())];
    for (answer, receipts) in answers {
        // Whoever asked may have gone; the events are in all the same.
        let _ = answer.send(Ok(Receipts { receipts, as_of: as_of.clone() }));
    }
    Ok(())
}

/// An event may have been suspended by one that came before it, and have its effect by one that came after it, or
/// the other way round: what is told of it is how it is when all are in.
fn suspend_as_of_now(shard: &Shard, events: &[Vec<u8>], outcomes: &mut [Outcome]) {
    if !shard.has_changed_suspensions() {
        return;
    }
    for (bytes, outcome) in events.iter().zip(outcomes) {
        if let (Outcome::Accepted { is_suspended }, Ok(event)) =
            (outcome, json_event::decode(bytes))
        {
            *is_suspended = shard.is_suspended(&event.app_id, &event.customer_id, &event.event_id);
        }
    }
}

fn take_events(
    feed: &mut Feed,
    timestamp: Timestamp,
    events: &[Vec<u8>],
) -> Result<Vec<Receipt>, PipelineError> {
    let next = feed.shard().read().next_offset();
    let records = events.iter().zip(next.0..).map(|(event, offset)| Record {
        partition: PARTITION,
        offset,
        timestamp,
        key: None,
        value: Some(event),
        headers: None,
    });
    let mut outcomes = feed.take(&records.collect::<Vec<_>>())?;
    suspend_as_of_now(&feed.shard().read().shard, events, &mut outcomes);
    let receipts = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Accepted { is_suspended } => Receipt::Accepted { is_suspended },
        Outcome::Repeated | Outcome::Known => Receipt::Repeated,
        Outcome::Refused(refused) => {
            Receipt::Refused { code: refused.code, field: refused.field, message: refused.message }
        }
    });
    Ok(receipts.collect())
}
