//! The loop: read, hand over, publish.
//!
//! One thread reads the log for all shards of the process and hands records to their workers, which
//! decode, apply and commit them (`workers.rs`). Questions read shards under a lock of their own, and
//! publications go out beside the loop.
//! Two orders matter: nothing is committed before it is applied, and a publication names only offsets
//! that are applied. Publications may run ahead of commits, since both are functions of the log alone.
//!
//! Not here: what an event means (`engine`), how it is stored (`state`), what Kafka does (`kafka`).

pub mod decode;
pub mod embedded;
mod error;
pub mod feed;
pub mod forward;
pub mod helper;
mod outbox;
mod progress;
pub mod publish;
pub mod workers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::domain::time::Timestamp;
use crate::pipeline::feed::{CommitPace, FeedParts, observe, warn_of_unconfigured_apps};
use crate::pipeline::outbox::{Outbox, PublishedOffsets, Returned, Sent};
use crate::pipeline::publish::Publisher;
use crate::pipeline::workers::Workers;
use crate::state::{LiveShard, OpeningShard, Shards, StateError, at_a_time};
use crate::stream::{NextOffset, Partition, Polled, Sink, SinkError, Source};

pub use self::error::PipelineError;
pub use self::progress::{Progress, SharedProgress};

/// How often the loop turns when there is nothing to read.
const POLL_TIMEOUT: Duration = Duration::from_millis(20);
/// Records handed over by one poll; bounds how late a decision of the group is noticed.
const POLL_RECORDS_MAX: usize = 10_000;
/// While reading a backlog, commits are so much rarer: the more events one holds, the fewer rows it writes for each.
pub(crate) const BACKLOG_STRETCH: u32 = 10;
/// And publications: nobody waits for the snapshots in between.
const BACKLOG_PUBLISH_STRETCH: u32 = 40;
/// How often a new assignment asks what is published before it gives up.
const PUBLISHED_TRIES: u32 = 3;
/// How often gauges are brought up to date.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);
/// How long whoever waits for our partitions, or for our end, is kept waiting by publications.
const DRAIN: Duration = Duration::from_secs(60);
/// Dead letters that wait for brokers hold at most this part of the memory budget; then hardly anything is read.
const LETTERS_SHARE: usize = 16;
/// How often is looked how many wait.
const LOOK_AT_LETTERS_EVERY: Duration = Duration::from_millis(100);
/// Pause before a publication is tried again.
const PUBLISH_PAUSE: Duration = Duration::from_secs(1);

/// When the loop commits and publishes.
#[derive(Debug, Clone)]
pub struct LoopSettings {
    pub commit: CommitPace,
    pub publish_interval: Duration,
    /// Go on where retention has removed records that were never read.
    pub accept_retention_gap: bool,
    /// Compare stored anchors with the log when a partition is assigned.
    pub check_anchors: bool,
}

/// Reads what is stored of the shards of these partitions, facts aside.
pub type OpenShards =
    Box<dyn Fn(&[Partition]) -> Vec<Result<OpeningShard, StateError>> + Send + Sync>;

/// Where to go on reading a log.
struct LogStart {
    from: NextOffset,
    /// Records before it were never read and are gone.
    is_gap: bool,
}

/// Reads the clock for the timestamp of what is submitted.
pub type ReadClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The loop over a log.
pub struct Pipeline<S> {
    /// Ended before the source, whose records they hold.
    workers: Workers,
    source: S,
    outbox: Outbox,
    publisher: Publisher,
    open_shards: OpenShards,
    progress: SharedProgress,
    settings: LoopSettings,
    published_at: Instant,
    /// `None`: due at once.
    observed_at: Option<Instant>,
    is_behind: bool,
    /// So many dead letters wait that hardly a record is read until some are out.
    is_held_up: bool,
    letters_looked_at: Instant,
    /// A publication failed, and what of it is out could not be read back yet.
    is_published_unknown: bool,
    /// Lost, and not given to anybody since as far as we know: they answer as of what they hold.
    lost: BTreeSet<Partition>,
}

impl<S: Source> Pipeline<S> {
    /// A loop that has read nothing yet; fails if the system has no thread for what goes out.
    pub fn new(
        (source, sink): (S, impl Sink + 'static),
        (parts, publisher): (FeedParts, Publisher),
        (open_shards, progress): (OpenShards, SharedProgress),
        settings: LoopSettings,
    ) -> Result<Self, PipelineError> {
        Ok(Self {
            workers: Workers::new(parts, settings.commit),
            source,
            outbox: Outbox::new(sink)?,
            publisher,
            open_shards,
            progress,
            settings,
            published_at: Instant::now(),
            observed_at: None,
            is_behind: false,
            is_held_up: false,
            letters_looked_at: Instant::now(),
            is_published_unknown: false,
            lost: BTreeSet::new(),
        })
    }

    /// Turns until `stop` is set, then commits and publishes what is left.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), PipelineError> {
        while !stop.load(Ordering::Relaxed) {
            self.turn()?;
        }
        self.workers.commit()?;
        self.publish_all()?;
        info!("drained: everything read is committed");
        Ok(())
    }

    /// One turn: hands over what is there, and sends a publication on its way when it is time.
    pub fn turn(&mut self) -> Result<(), PipelineError> {
        let (workers, is_behind) = (&mut self.workers, self.is_behind);
        let mut failure = None;
        let mut take_over = |batch| {
            if failure.is_none() {
                failure = workers.hand_over(batch, is_behind).err();
            }
        };
        // Not none: who takes no record does not meet the group's decisions.
        let records_max = if self.is_held_up { 1 } else { POLL_RECORDS_MAX };
        let polled = self.source.poll(POLL_TIMEOUT, records_max, &mut take_over)?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.workers.check()?;
        match polled {
            Polled::Records(_) if self.is_held_up => std::thread::sleep(LOOK_AT_LETTERS_EVERY),
            Polled::Records(count) => self.is_behind = count == POLL_RECORDS_MAX,
            Polled::Assigned(partitions) => self.assigned(&partitions)?,
            Polled::Revoked(partitions) => self.revoked(&partitions)?,
            Polled::Lost(partitions) => self.lost(&partitions)?,
        }
        if let Some(returned) = self.outbox.poll() {
            self.returned(returned)?;
        }
        self.look_at_letters();
        let stretch = if self.is_behind && !self.is_held_up { BACKLOG_PUBLISH_STRETCH } else { 1 };
        let is_time = self.published_at.elapsed() >= self.settings.publish_interval * stretch;
        if !self.outbox.is_busy() && (is_time || self.publisher.is_begun()) {
            self.publish()?;
        }
        self.observe();
        Ok(())
    }

    /// Finds out whether too many dead letters wait: every record of a backlog may be one.
    fn look_at_letters(&mut self) {
        if self.letters_looked_at.elapsed() < LOOK_AT_LETTERS_EVERY {
            return;
        }
        let bytes = self.publisher.letter_bytes(&self.shards().all());
        let is_held_up = bytes > self.workers.parts().memory_budget_bytes / LETTERS_SHARE;
        if is_held_up && !self.is_held_up {
            warn!(
                bytes,
                "dead letters wait for brokers: hardly anything is read until some are out"
            );
        }
        self.is_held_up = is_held_up;
        self.letters_looked_at = Instant::now();
    }

    fn shards(&self) -> &Arc<Shards> {
        &self.workers.parts().shards
    }

    /// The partitions whose shards are here.
    fn held(&self) -> Vec<Partition> {
        self.shards().all().iter().map(|shard| shard.read().partition).collect()
    }

    /// Publishes what is to be published, and waits until it is out, has failed or takes too long.
    fn publish_all(&mut self) -> Result<(), PipelineError> {
        let begun_at = Instant::now();
        self.await_published()?;
        if self.is_published_unknown {
            self.publish()?;
            self.await_published()?;
        }
        // What has changed since a publication was begun is for the next one.
        let mut publications = 1 + usize::from(self.publisher.is_begun());
        while !self.is_published_unknown && publications > 0 && begun_at.elapsed() < DRAIN {
            self.publish()?;
            self.await_published()?;
            publications -= usize::from(!self.publisher.is_begun());
        }
        Ok(())
    }

    /// Waits for what is on its way to the log.
    fn await_published(&mut self) -> Result<(), PipelineError> {
        self.outbox.wait().map_or(Ok(()), |returned| self.returned(returned))
    }

    /// Sends the next part of what is to be published on its way, or the question up to where all is; nothing
    /// may be on its way.
    fn publish(&mut self) -> Result<(), PipelineError> {
        self.published_at = Instant::now();
        if self.is_published_unknown {
            self.outbox.ask_published(&self.held());
        } else if self.lost.is_empty() {
            self.publisher.read_letters()?;
            let publication = self.publisher.gather(&self.shards().all());
            publication.into_iter().for_each(|publication| self.outbox.send(publication));
        }
        Ok(())
    }

    /// Takes note of what came back from the log.
    fn returned(&mut self, returned: Returned) -> Result<(), PipelineError> {
        match returned {
            Returned::Published(published) => self.note_published(published),
            Returned::Sent(Sent { publication, outcome: Ok(()), duration }) => {
                self.publisher.done(&publication, duration);
                Ok(())
            }
            Returned::Sent(Sent { publication, outcome: Err(failure), .. }) => {
                warn!(%failure, "publication failed, asking what is published");
                self.publisher.failed(publication);
                self.sink_failed(failure)
            }
        }
    }

    /// Learns up to where partitions are published, if the log says so.
    fn note_published(
        &mut self,
        published: Result<PublishedOffsets, SinkError>,
    ) -> Result<(), PipelineError> {
        match published {
            Ok(published) => {
                self.publisher.set_published(published);
                self.publisher.drop_published_letters();
                self.is_published_unknown = false;
                Ok(())
            }
            Err(failure) => {
                error!(%failure, "can't read what is published");
                self.sink_failed(failure)
            }
        }
    }

    /// What is published is to be asked once more, in a while; fails if it is no longer ours to publish.
    fn sink_failed(&mut self, failure: SinkError) -> Result<(), PipelineError> {
        match failure {
            SinkError::Fenced(_) => return Err(PipelineError::Fenced(failure)),
            SinkError::Emptied => self.publisher.owe_all(&self.shards().all()),
            SinkError::Retry(_) => {}
        }
        self.is_published_unknown = true;
        self.published_at = Instant::now() + PUBLISH_PAUSE;
        Ok(())
    }

    fn assigned(&mut self, partitions: &[Partition]) -> Result<(), PipelineError> {
        self.await_published()?;
        if partitions.is_empty() {
            self.drop_lost();
            return Ok(self.source.start(&[])?);
        }
        let mut asked = self.held();
        asked.retain(|partition| !self.lost.contains(partition));
        asked.extend(partitions);
        self.is_published_unknown = true;
        for _ in 0..PUBLISHED_TRIES {
            self.outbox.ask_published(&asked);
            self.await_published()?;
            if !self.is_published_unknown {
                break;
            }
        }
        if self.is_published_unknown {
            return Err(PipelineError::PublishedUnknown);
        }
        self.drop_lost();
        // How far behind the new ones are decides whether we are ready.
        self.observed_at = None;
        let (mut opening, mut log_starts) = (Vec::new(), Vec::new());
        let opened = (self.open_shards)(partitions);
        for (partition, shard) in partitions.iter().copied().zip(opened) {
            let shard = shard.map_err(|source| PipelineError::State { partition, source })?;
            log_starts.push(self.check_log(&shard)?);
            opening.push(Arc::new(shard));
        }
        // Curves answer while facts are read, which takes the longer the more there are.
        self.shards().insert_opening(&opening);
        info!(?partitions, "reading facts; questions that curves answer are answered");
        let (mut starts, mut shards) = (Vec::new(), Vec::new());
        let loaded = at_a_time(&opening, |shard| shard.load());
        for ((partition, start), shard) in partitions.iter().copied().zip(log_starts).zip(loaded) {
            let mut shard = shard.map_err(|source| PipelineError::State { partition, source })?;
            match start.is_gap {
                true => shard.skip_missing(start.from.0),
                false => shard.pass(start.from),
            }
            self.publisher.adopt(&mut shard);
            info!(
                partition,
                next_offset = shard.position.next_offset,
                customers = shard.position.customer_count,
                facts = shard.shard.facts.len(),
                "shard opened"
            );
            warn_of_unconfigured_apps(&shard);
            shards.push(shard);
            starts.push((partition, Some(start.from)));
        }
        self.outdo_published(&mut shards)?;
        // All at once: a question must not meet a part of them.
        self.shards().insert_all(shards);
        for partition in partitions {
            self.workers.start(*partition)?;
        }
        Ok(self.source.start(&starts)?)
    }

    /// Readers keep the figures of the greatest epoch. So those of a state that begins anew, or of
    /// an older copy of a state that was rebuilt since, get a greater one than what is published.
    fn outdo_published(&mut self, shards: &mut [LiveShard]) -> Result<(), PipelineError> {
        let newest = match self.outbox.newest_version() {
            Ok(None) => return Ok(()),
            Ok(Some(version)) => version,
            Err(fenced @ SinkError::Fenced(_)) => return Err(PipelineError::Fenced(fenced)),
            Err(failure) => {
                error!(%failure, "can't read the version of what is published");
                return Err(PipelineError::PublishedUnknown);
            }
        };
        let published = u64::try_from(newest.log_epoch).unwrap_or_default();
        self.publisher.set_newest(newest);
        let held = self.shards().all();
        let held = held.iter().map(|shard| shard.read().position.log_epoch);
        let epoch = shards.iter().map(|shard| shard.position.log_epoch).chain(held).max();
        let epoch = epoch.unwrap_or_default();
        if epoch < published || shards.iter().any(LiveShard::is_new) {
            let epoch = epoch.max(published + 1);
            info!(epoch, "figures of a state that is not the published one get a greater epoch");
            shards.iter_mut().for_each(|shard| shard.raise_epoch(epoch));
        }
        Ok(())
    }

    /// Where to go on reading; fails if the log is not the one that the state knows.
    fn check_log(&self, shard: &OpeningShard) -> Result<LogStart, PipelineError> {
        let partition = shard.partition;
        let (low, high) = self.source.bounds(partition)?;
        let wanted = shard.position.next_offset;
        // A state that begins anew where we have read before must have everything since the
        // beginning; only then what retention removed is no gap.
        let was_read = self.publisher.published(partition).0 > 0;
        if shard.position.records == 0 && wanted == 0 && (low == 0 || !was_read) {
            return Ok(LogStart { from: NextOffset(low), is_gap: false });
        }
        if wanted > high {
            return Err(PipelineError::OtherLog { partition, offset: wanted });
        }
        if wanted < low {
            let missing = low - wanted;
            if !self.settings.accept_retention_gap {
                return Err(PipelineError::Gap { partition, wanted, low, missing });
            }
            warn!(partition, missing, "going on without records that retention removed");
            return Ok(LogStart { from: NextOffset(low), is_gap: true });
        }
        if self.settings.check_anchors {
            self.check_anchors(shard, low)?;
        }
        Ok(LogStart { from: NextOffset(wanted), is_gap: false })
    }

    fn check_anchors(&self, shard: &OpeningShard, low: i64) -> Result<(), PipelineError> {
        let partition = shard.partition;
        let held = shard.position.anchors.iter().filter(|anchor| anchor.offset >= low);
        let anchors: Vec<_> = held.copied().collect();
        let offsets: Vec<i64> = anchors.iter().map(|anchor| anchor.offset).collect();
        let found = self.source.fingerprints(partition, &offsets)?;
        for (anchor, found) in anchors.iter().zip(found) {
            let is_same = found.is_some_and(|found| {
                found.hash == anchor.hash && found.timestamp.0 == anchor.timestamp
            });
            if !is_same {
                return Err(PipelineError::OtherLog { partition, offset: anchor.offset });
            }
        }
        Ok(())
    }

    /// Reads on no further, but keeps the answers, each of which says what it is as of: while brokers are away
    /// nobody else has them.
    fn lost(&mut self, partitions: &[Partition]) -> Result<(), PipelineError> {
        warn!(?partitions, "partitions lost: answers stay as of what was read");
        for partition in partitions {
            self.workers.stop(*partition)?;
            self.publisher.forget(*partition);
        }
        self.lost.extend(partitions);
        self.forget_partitions(partitions);
        self.source.release(partitions)?;
        Ok(())
    }

    /// What was lost is opened anew if it is ours again: somebody else may have read on and published.
    fn drop_lost(&mut self) {
        let lost: Vec<Partition> = std::mem::take(&mut self.lost).into_iter().collect();
        for partition in &lost {
            // What is published of it was asked meanwhile, and is not to be forgotten with it.
            self.shards().remove(*partition);
        }
        self.forget_partitions(&lost);
    }

    /// Nobody here reads these partitions any more.
    fn forget_partitions(&self, partitions: &[Partition]) {
        let metrics = &self.workers.parts().metrics;
        partitions.iter().for_each(|partition| metrics.forget_partition(*partition));
        self.progress.forget(partitions, !self.lost.is_empty());
    }

    fn revoked(&mut self, partitions: &[Partition]) -> Result<(), PipelineError> {
        info!(?partitions, "partitions revoked");
        self.workers.commit()?;
        self.publish_all()?;
        self.drop_shards(partitions)?;
        self.source.release(partitions)?;
        Ok(())
    }

    fn drop_shards(&mut self, partitions: &[Partition]) -> Result<(), PipelineError> {
        for partition in partitions {
            // Nothing may keep the store open: whoever comes next opens it again.
            self.workers.stop(*partition)?;
            self.shards().remove(*partition);
            self.publisher.forget(*partition);
        }
        self.forget_partitions(partitions);
        Ok(())
    }

    /// Brings the gauges up to date, once a second.
    fn observe(&mut self) {
        if self.observed_at.is_some_and(|at| at.elapsed() < OBSERVE_EVERY) {
            return;
        }
        match self.source.lag() {
            Ok(lag) => self.note_lag(lag),
            Err(error) => warn!(%error, "can't ask for the log's end"),
        }
        let FeedParts { shards, metrics, .. } = self.workers.parts();
        observe(shards, metrics);
        // Not before: brokers that are silent must not take all of the loop's time.
        self.observed_at = Some(Instant::now());
    }

    /// Takes note of how far each partition is behind.
    fn note_lag(&self, unread: Vec<(Partition, i64)>) {
        let metrics = &self.workers.parts().metrics;
        for (partition, unread) in unread {
            let records = unread + self.workers.waiting(partition);
            metrics.lag_records.with_label_values(&[&partition.to_string()]).set(records);
            self.progress.note(partition, records);
        }
    }
}
