//! Publications: the current snapshot of every cohort that changed or aged, and up to where nothing is left out.
//!
//! Always true
//! * A snapshot names the offsets that its sums contain: no shard changes while it is summed up.
//! * A publication holds whatever changed below the offsets that it names, with the parts that went out before
//!   it: one with many snapshots goes out in several transactions, of which the last names the offsets.
//! * Each dead letter goes out once: with many of them, each transaction names the offsets up to its last one.
//!   Where that is further than snapshots are, those are made good after a start, when all are published.
//! * No snapshot is published while a shard is behind what the log says is published: those versions
//!   would be older.

mod letters;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLockReadGuard;
use tracing::{debug, error, warn};

use crate::codec::envelope::Framing;
use crate::codec::snapshot::{self as wire, SnapshotVersion};
use crate::domain::time::{Day, Timestamp};
use crate::engine::curves::ChangedCohort;
use crate::engine::shard::Shard;
use crate::metrics_api::snapshot::{self, SnapshotKey, SnapshotPartial};
use crate::pipeline::PipelineError;
use crate::pipeline::publish::letters::{Letters, after};
use crate::pipeline::publish::plan::{AppPlan, record};
use crate::state::{LiveShard, SharedShard};
use crate::stream::{DeadLetter, NextOffset, Partition, Publication};
use crate::telemetry::Metrics;

pub use self::plan::SnapshotPlan;

/// Snapshots that are summed up before shards may go on, divided by the number of shards: some three
/// milliseconds.
const KEYS_AT_A_TIME: usize = 64;
/// Fewer would be summed up as a part of longer cohorts more often than for themselves.
const KEYS_AT_A_TIME_MIN: usize = 16;
/// Snapshots of one transaction: the brokers end one that takes too long.
const KEYS_OF_A_PART: usize = 10_000;
/// Bytes of dead letters of one transaction.
const LETTER_BYTES_OF_A_PART: usize = 8 << 20;
/// Changed cohorts that are called by their names before a shard may go on.
const CHANGES_AT_A_TIME: usize = 1024;
/// Cohorts that are asked whether they have aged before a shard may go on; most have not.
const COHORTS_AT_A_TIME: usize = 4096;

/// How long others may have a part of the partitions, as they do for a while when instances come and go.
const IN_PART_MAX: Duration = Duration::from_secs(60);

/// What a shard held when a publication was begun.
#[derive(Debug, Clone, Copy)]
struct Held {
    partition: Partition,
    next_offset: NextOffset,
    log_epoch: u64,
}

/// What is left of a publication that was begun.
struct Begun {
    keys: BTreeSet<SnapshotKey>,
    /// What every shard held when it was begun; none where it is of dead letters only, which name their own.
    next_offsets: Option<Vec<(Partition, NextOffset)>>,
}

/// Gathers publications and remembers what is out.
pub struct Publisher {
    plan: SnapshotPlan,
    framing: Framing,
    metrics: Arc<Metrics>,
    /// Partitions of the events topic, all of which a snapshot covers.
    partitions: usize,
    /// `o_pub` by partition, as far as it is known.
    published: BTreeMap<Partition, NextOffset>,
    /// The greatest version that was out when partitions were assigned last.
    newest: Option<SnapshotVersion>,
    /// Cohorts that must go out though nothing changed since.
    owed: BTreeSet<SnapshotKey>,
    /// Whole cohorts whose customers changed, of which segments are to be owed that any shard knows.
    refilling: BTreeSet<SnapshotKey>,
    /// The newest event when it was looked last which cohorts have aged.
    aged_until: Option<Timestamp>,
    /// Of the part that was gathered last, until it is out.
    gathered: Vec<SnapshotKey>,
    begun: Option<Begun>,
    keys_of_a_part: usize,
    letter_bytes_of_a_part: usize,
    letters: Letters,
    /// Since when some partitions are here and others are not, and whether that was told.
    in_part: Option<(Instant, bool)>,
}

impl Publisher {
    /// A publisher that knows of nothing that is out, for a topic of so many partitions.
    pub fn new(
        plan: SnapshotPlan,
        framing: Framing,
        partitions: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            plan,
            framing,
            metrics,
            partitions,
            published: BTreeMap::new(),
            newest: None,
            owed: BTreeSet::new(),
            refilling: BTreeSet::new(),
            aged_until: None,
            gathered: Vec::new(),
            begun: None,
            keys_of_a_part: KEYS_OF_A_PART,
            letter_bytes_of_a_part: LETTER_BYTES_OF_A_PART,
            letters: Letters::default(),
            in_part: None,
        }
    }

    /// Learns of the greatest version that is out.
    pub fn set_newest(&mut self, newest: SnapshotVersion) {
        self.newest = Some(newest);
    }

    /// Learns up to where partitions are published.
    pub fn set_published(&mut self, published: Vec<(Partition, Option<NextOffset>)>) {
        for (partition, next_offset) in published {
            self.published.insert(partition, next_offset.unwrap_or_default());
        }
    }

    /// Takes over a shard from its store. Every cohort is owed: what was published last may be of
    /// less input, of other settings or of another epoch, and at worst a version is repeated.
    pub fn adopt(&mut self, shard: &mut LiveShard) {
        let stored = (self.published(shard.partition), shard.next_offset());
        // The curves were filled from the store just now, so everything counts as changed.
        let changed = shard.shard.curves.take_changed();
        self.owe_touched(shard, &changed);
        if stored.0 < stored.1 {
            self.letters.add_stored(shard.reader(), stored);
        }
    }

    /// Reads what is to go out with the next part and is in a store only.
    pub fn read_letters(&mut self) -> Result<(), PipelineError> {
        self.letters.read(self.letter_bytes_of_a_part)
    }

    /// `o_pub` of a partition, as far as it is known.
    pub fn published(&self, partition: Partition) -> NextOffset {
        self.published.get(&partition).copied().unwrap_or_default()
    }

    /// A partition that went elsewhere is not ours to publish.
    pub fn forget(&mut self, partition: Partition) {
        self.published.remove(&partition);
        self.letters.retain(|of, _| of != partition);
        self.in_part = None;
        self.give_up();
    }

    /// Bytes of memory held by dead letters that can go out, all shards being here.
    pub fn letter_bytes(&self, shards: &[SharedShard]) -> usize {
        if shards.len() < self.partitions {
            return 0;
        }
        let of_shards = shards.iter().map(|shard| shard.read().refused_bytes());
        self.letters.bytes() + of_shards.sum::<usize>()
    }

    /// Whether parts of a publication are out and others are not.
    pub fn is_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Owes again what is left of a publication that was begun.
    fn give_up(&mut self) {
        if let Some(Begun { keys, .. }) = self.begun.take() {
            self.owed.extend(keys);
        }
    }

    /// Owes the snapshots that these changes of a shard's cohorts touch.
    fn owe_touched(&mut self, live: &LiveShard, changed: &[ChangedCohort]) {
        let Shard { curves, dictionary, .. } = &live.shard;
        for (app, plan) in &self.plan.apps {
            let Some(app) = dictionary.find_app(app) else { continue };
            let of_app: Vec<_> =
                changed.iter().filter(|changed| changed.key.app == app).copied().collect();
            let touched = snapshot::touched(curves, dictionary, &of_app, &plan.widths);
            self.owed.extend(touched.keys);
            self.refilling.extend(touched.refilling);
        }
    }

    /// Owes the segments that speak of all customers of a cohort, which changed in one of the shards.
    fn owe_refilled(&mut self, shards: &[SharedShard]) {
        let refilling: Vec<_> = std::mem::take(&mut self.refilling).into_iter().collect();
        for shard in shards {
            for wholes in refilling.chunks(CHANGES_AT_A_TIME) {
                let Shard { curves, dictionary, .. } = &shard.read().shard;
                let keys = wholes.iter().map(|whole| snapshot::refilled(curves, dictionary, whole));
                self.owed.extend(keys.flatten());
            }
        }
    }

    /// The next part of what is to be published now; `None` if nothing is, or while partitions are elsewhere: sums
    /// over a part would replace sums over all. While a shard is still behind what is out, only dead letters are.
    /// Before it [`Publisher::read_letters`] is to be called.
    ///
    /// Everything that changed below the offsets of the publication is in it. Shards go on while it is
    /// gathered, so that most snapshots hold more; each is of the version that it names.
    pub fn gather(&mut self, shards: &[SharedShard]) -> Option<Publication> {
        let mut begun = match self.begun.take() {
            Some(begun) => begun,
            None => self.begin(shards)?,
        };
        if let Some(mut letters) = self.letters.take_full_part(self.letter_bytes_of_a_part) {
            erase_forgotten(&mut letters, shards);
            let next_offsets = after(&letters);
            self.begun = Some(begun);
            return Some(Publication {
                snapshots: Vec::new(),
                dead_letters: letters,
                next_offsets,
            });
        }
        let rest = begun.keys.iter().nth(self.keys_of_a_part).cloned();
        let rest = rest.map(|first| begun.keys.split_off(&first));
        let keys: Vec<_> = begun.keys.into_iter().collect();
        let (mut snapshots, mut longest_hold) = (Vec::with_capacity(keys.len()), Duration::ZERO);
        let at_a_time = (KEYS_AT_A_TIME / shards.len().max(1)).max(KEYS_AT_A_TIME_MIN);
        for keys in keys.chunks(at_a_time) {
            let guards: Vec<_> = shards.iter().map(|shard| shard.read()).collect();
            let newest_event_at =
                guards.iter().filter_map(|live| live.shard.newest_event_at()).max();
            let begun_at = Instant::now();
            let sums = self.sums(&guards, keys, newest_event_at);
            let version = version_of(&guards);
            drop(guards);
            longest_hold = longest_hold.max(begun_at.elapsed());
            snapshots.extend(self.snapshots(keys, &sums, (&version, newest_event_at)));
        }
        debug!(snapshots = snapshots.len(), ?longest_hold, "publication gathered");
        self.gathered = keys;
        if let Some(keys) = rest {
            self.begun = Some(Begun { keys, next_offsets: begun.next_offsets });
            return Some(Publication {
                snapshots,
                dead_letters: Vec::new(),
                next_offsets: Vec::new(),
            });
        }
        let mut dead_letters = self.letters.take();
        erase_forgotten(&mut dead_letters, shards);
        let next_offsets = match begun.next_offsets {
            Some(next_offsets) => next_offsets,
            None if dead_letters.is_empty() => return None,
            None => after(&dead_letters),
        };
        Some(Publication { snapshots, dead_letters, next_offsets })
    }

    /// Begins a publication of everything that is owed now.
    fn begin(&mut self, shards: &[SharedShard]) -> Option<Begun> {
        let held = self.note_changes(shards);
        self.note_aging(shards);
        if shards.len() < self.partitions {
            self.note_part(shards.len());
            return None;
        }
        self.in_part = None;
        if self.is_behind(&held) {
            let letters_only = Begun { keys: BTreeSet::new(), next_offsets: None };
            return (!self.letters.is_empty()).then_some(letters_only);
        }
        let of = |partition: &Partition| self.published(*partition);
        let is_ahead = held.iter().any(|held| held.next_offset > of(&held.partition));
        if !is_ahead && self.owed.is_empty() {
            return None;
        }
        let next_offsets = held.iter().map(|held| (held.partition, held.next_offset)).collect();
        let keys = std::mem::take(&mut self.owed);
        Some(Begun { keys, next_offsets: Some(next_offsets) })
    }

    /// Says, once it has lasted, that others have a part of the partitions.
    fn note_part(&mut self, here: usize) {
        if here == 0 {
            self.in_part = None;
            return;
        }
        let (since, is_told) = self.in_part.get_or_insert_with(|| (Instant::now(), false));
        if !*is_told && since.elapsed() >= IN_PART_MAX {
            *is_told = true;
            let of = self.partitions;
            warn!(
                here,
                of,
                "nothing is published while other instances of the group have partitions: run one instance"
            );
        }
    }

    /// Takes note of what changed since the last time, all shards at one moment; returns which.
    fn note_changes(&mut self, shards: &[SharedShard]) -> Vec<Held> {
        let mut guards: Vec<_> = shards.iter().map(|shard| shard.write()).collect();
        let (mut changes, mut held, mut letters) = (Vec::new(), Vec::new(), Vec::new());
        for live in &mut guards {
            changes.push(live.shard.curves.take_changed());
            letters.extend(live.take_refused());
            let (next_offset, log_epoch) = (live.next_offset(), live.position.log_epoch);
            held.push(Held { partition: live.partition, next_offset, log_epoch });
        }
        drop(guards);
        self.letters.add(letters);
        self.drop_published_letters();
        for (shard, changes) in shards.iter().zip(changes) {
            // What a cohort is called does not change.
            for changes in changes.chunks(CHANGES_AT_A_TIME) {
                self.owe_touched(&shard.read(), changes);
            }
        }
        self.owe_refilled(shards);
        held
    }

    /// Owes the cohorts to which nothing happened but that an age of theirs has begun or is complete.
    fn note_aging(&mut self, shards: &[SharedShard]) {
        let newest = shards.iter().filter_map(|shard| shard.read().shard.newest_event_at()).max();
        let Some(before) = std::mem::replace(&mut self.aged_until, newest) else { return };
        let days = |plan| (Self::until(plan, Some(before)), Self::until(plan, newest));
        let plans = self.plan.apps.iter().map(|(app, plan)| (app, plan, days(plan)));
        let plans: Vec<_> = plans.filter(|(_, _, (before, now))| before != now).collect();
        for shard in shards {
            for from in (0..).step_by(COHORTS_AT_A_TIME) {
                let Shard { curves, dictionary, .. } = &shard.read().shard;
                if from >= curves.len() || plans.is_empty() {
                    break;
                }
                let cohorts = curves.iter().map(|(key, _)| key).skip(from).take(COHORTS_AT_A_TIME);
                for (app, plan, days) in &plans {
                    let Some(app) = dictionary.find_app(app) else { continue };
                    let of_app = cohorts.clone().filter(|key| key.app == app && key.zone == 0);
                    let at = (&plan.widths[..], &self.plan.ages);
                    self.owed.extend(snapshot::aged((curves, dictionary), of_app, at, *days));
                }
            }
        }
    }

    /// Whether versions of these shards would be older than what is out: some of that may hold more
    /// than the offsets that were published with it.
    fn is_behind(&self, held: &[Held]) -> bool {
        let log_epoch = greatest_epoch(held.iter().map(|held| held.log_epoch));
        let newest = self.newest.as_ref().filter(|newest| newest.log_epoch == log_epoch);
        held.iter().any(|Held { partition, next_offset, .. }| {
            let newest = newest.and_then(|newest| newest.next_offsets.get(partition));
            *next_offset < self.published(*partition)
                || newest.is_some_and(|out| next_offset.0 < *out)
        })
    }

    /// The last day that counts in the snapshots of an app.
    fn until(plan: &AppPlan, newest_event_at: Option<Timestamp>) -> Day {
        plan.zone.day(newest_event_at.unwrap_or_default())
    }

    /// What the shards say together of each of `keys`, in order.
    fn sums(
        &self,
        shards: &[RwLockReadGuard<'_, LiveShard>],
        keys: &[SnapshotKey],
        newest_event_at: Option<Timestamp>,
    ) -> Vec<SnapshotPartial> {
        let mut sums = Vec::with_capacity(keys.len());
        for keys in keys.chunk_by(|a, b| a.app == b.app) {
            let mut of_app = vec![SnapshotPartial::default(); keys.len()];
            if let Some(plan) = self.plan.apps.get(&keys[0].app) {
                let at = (&self.plan.ages, Self::until(plan, newest_event_at));
                for live in shards {
                    let Shard { curves, dictionary, .. } = &live.shard;
                    let parts = snapshot::partials(curves, dictionary, keys, at);
                    let merged = of_app.into_iter().zip(parts);
                    of_app = merged.map(|(sum, part)| sum.merge(part)).collect();
                }
            }
            sums.extend(of_app);
        }
        sums
    }

    /// The snapshots of `keys`, encoded, each with its key.
    fn snapshots(
        &self,
        keys: &[SnapshotKey],
        sums: &[SnapshotPartial],
        (version, newest_event_at): (&SnapshotVersion, Option<Timestamp>),
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut encoded = Vec::with_capacity(keys.len());
        for (key, sums) in keys.iter().zip(sums) {
            let Some(plan) = self.plan.apps.get(&key.app) else { continue };
            let at = (&self.plan.ages, Self::until(plan, newest_event_at));
            let snapshot = snapshot::snapshot(key.clone(), at, sums);
            let record = record(snapshot, plan, version, newest_event_at);
            let name = record.key().to_string();
            match wire::encode(&record, self.framing) {
                Ok(value) => encoded.push((name.into_bytes(), value)),
                // 9.2 * 10^12 units in one cohort: said aloud, since nothing smaller is true.
                Err(error) => error!(%error, key = name, "snapshot can't be published"),
            }
        }
        encoded
    }

    /// The part that was gathered last is out.
    pub fn done(&mut self, publication: &Publication, duration: Duration) {
        self.gathered.clear();
        for (partition, next_offset) in &publication.next_offsets {
            self.published.insert(*partition, *next_offset);
        }
        let count = u64::try_from(publication.snapshots.len()).unwrap_or(u64::MAX);
        self.metrics.snapshots_published.inc_by(count);
        self.metrics.publish_duration.observe(duration.as_secs_f64());
    }

    /// Whether the part that was gathered last is out is not known: its cohorts and dead letters are owed
    /// again, and all that was to come after it.
    pub fn failed(&mut self, publication: Publication) {
        self.metrics.publish_failures.inc();
        // Those of a partition that went elsewhere meanwhile are read from its store by whoever has it.
        let mut letters = publication.dead_letters;
        letters.retain(|letter| self.published.contains_key(&letter.partition));
        self.letters.add(letters);
        self.owed.extend(std::mem::take(&mut self.gathered));
        self.give_up();
    }

    /// What was published is gone: every cohort is owed.
    pub fn owe_all(&self, shards: &[SharedShard]) {
        for shard in shards {
            shard.write().shard.curves.mark_all_changed();
        }
    }

    /// Dead letters that turned out to be published are not owed.
    pub fn drop_published_letters(&mut self) {
        let published = &self.published;
        self.letters.retain(|partition, offset| {
            published.get(&partition).is_none_or(|next| offset >= next.0)
        });
    }
}

/// Of customers that were forgotten meanwhile, nothing goes out that waited.
fn erase_forgotten(letters: &mut [DeadLetter], shards: &[SharedShard]) {
    for shard in shards {
        let live = shard.read();
        let of_shard = letters.iter_mut().filter(|letter| letter.partition == live.partition);
        for letter in of_shard {
            if letter.customer.is_some_and(|customer| live.shard.has_forgotten(customer)) {
                letter.erase();
            }
        }
    }
}

/// The epoch of versions of shards with these.
fn greatest_epoch(epochs: impl Iterator<Item = u64>) -> i64 {
    i64::try_from(epochs.max().unwrap_or(0)).unwrap_or(i64::MAX)
}

/// What these shards hold now.
fn version_of(shards: &[RwLockReadGuard<'_, LiveShard>]) -> SnapshotVersion {
    let log_epoch = greatest_epoch(shards.iter().map(|live| live.position.log_epoch));
    let next_offsets = shards.iter().map(|live| (live.partition, live.next_offset().0));
    SnapshotVersion { log_epoch, next_offsets: next_offsets.collect() }
}

#[cfg(test)]
mod tests;
