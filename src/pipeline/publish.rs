//! Publications: the current snapshot of every changed cohort, and up to where nothing is left out.
//!
//! Always true
//! * A snapshot names the offsets that its sums contain: no shard changes while it is summed up.
//! * A publication holds whatever changed below the offsets that it names.
//! * Nothing is published while a shard is behind what the log says is published: those versions
//!   would be older.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLockReadGuard;
use tracing::{debug, error};

use crate::codec::envelope::Framing;
use crate::codec::snapshot::{self as wire, MoneySums, SnapshotRecord, SnapshotVersion};
use crate::codec::snapshot_key::Segment as WireSegment;
use crate::config::Config;
use crate::domain::money::Currency;
use crate::domain::time::{Day, Timestamp, Width, Zone};
use crate::engine::curves::{ChangedCohort, CurvesConfig, ZonesKept};
use crate::engine::facts::Sums;
use crate::engine::shard::Shard;
use crate::metrics_api::snapshot::{
    self, Snapshot, SnapshotAge, SnapshotAges, SnapshotKey, SnapshotPartial,
};
use crate::state::{LiveShard, SharedShard, StateError};
use crate::stream::{DeadLetter, NextOffset, Partition, Publication};
use crate::telemetry::Metrics;

/// Snapshots that are summed up before shards may go on, divided by the number of shards: some three
/// milliseconds.
const KEYS_AT_A_TIME: usize = 64;
/// Fewer would be summed up as a part of longer cohorts more often than for themselves.
const KEYS_AT_A_TIME_MIN: usize = 16;
/// Changed cohorts that are called by their names before a shard may go on.
const CHANGES_AT_A_TIME: usize = 1024;

/// What of an app is published.
#[derive(Debug, Clone)]
struct AppPlan {
    widths: Vec<Width>,
    currency: Currency,
    /// Days of snapshots are of the first reporting zone.
    zone: Zone,
}

/// What is published, as the settings say.
#[derive(Debug, Clone)]
pub struct SnapshotPlan {
    apps: BTreeMap<String, AppPlan>,
    ages: SnapshotAges,
    curves: CurvesConfig,
}

impl SnapshotPlan {
    /// The plan of a configuration.
    pub fn new(config: &Config) -> Self {
        let mut apps = BTreeMap::new();
        let mut segments = BTreeMap::new();
        for app in &config.apps {
            if let Some(rules) = config.rules.apps.get(&app.id) {
                let plan = AppPlan {
                    widths: app.snapshot_widths.clone(),
                    currency: rules.reporting_currency,
                    zone: rules.reporting_zones[0],
                };
                apps.insert(app.id.clone(), plan);
                segments.insert(app.id.clone(), app.snapshot_segments.clone());
            }
        }
        let ages = SnapshotAges {
            days: config.snapshots.ages_days.clone(),
            periods: config.snapshots.ages_periods.clone(),
        };
        Self { apps, ages, curves: CurvesConfig { zones: ZonesKept::All, segments } }
    }

    /// The curves that shards must keep for it.
    pub fn curves(&self) -> CurvesConfig {
        self.curves.clone()
    }
}

/// What a shard held when a publication was begun.
#[derive(Debug, Clone, Copy)]
struct Held {
    partition: Partition,
    next_offset: NextOffset,
    log_epoch: u64,
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
    dead_letters: Vec<DeadLetter>,
}

impl Publisher {
    /// A publisher that knows of nothing that is out, for a topic of so many partitions.
    pub fn new(
        plan: SnapshotPlan,
        framing: Framing,
        partitions: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (published, owed, dead_letters) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        Self { plan, framing, metrics, partitions, published, newest: None, owed, dead_letters }
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
    pub fn adopt(&mut self, shard: &mut LiveShard) -> Result<(), StateError> {
        let published = self.published(shard.partition);
        // The curves were filled from the store just now, so everything counts as changed.
        let changed = shard.shard.curves.take_changed();
        let owed = self.touched(shard, &changed);
        self.owed.extend(owed);
        if published < shard.next_offset() {
            let letters = shard.reader().dead_letters(published.0, usize::MAX)?;
            self.dead_letters.extend(letters);
        }
        Ok(())
    }

    /// `o_pub` of a partition, as far as it is known.
    pub fn published(&self, partition: Partition) -> NextOffset {
        self.published.get(&partition).copied().unwrap_or_default()
    }

    /// A partition that went elsewhere is not ours to publish.
    pub fn forget(&mut self, partition: Partition) {
        self.published.remove(&partition);
        self.dead_letters.retain(|letter| letter.partition != partition);
    }

    /// The snapshots that these changes of a shard's cohorts touch.
    fn touched(&self, live: &LiveShard, changed: &[ChangedCohort]) -> BTreeSet<SnapshotKey> {
        let Shard { curves, dictionary, .. } = &live.shard;
        let mut keys = BTreeSet::new();
        for (app, plan) in &self.plan.apps {
            let Some(app) = dictionary.find_app(app) else { continue };
            let of_app: Vec<_> =
                changed.iter().filter(|changed| changed.key.app == app).copied().collect();
            keys.extend(snapshot::touched(curves, dictionary, &of_app, &plan.widths));
        }
        keys
    }

    /// What is to be published now; `None` if nothing is, if a shard is still behind what is out, or
    /// while partitions are elsewhere: sums over a part would replace sums over all.
    ///
    /// Everything that changed below the offsets of the publication is in it. Shards go on while it is
    /// gathered, so that most snapshots hold more; each is of the version that it names.
    pub fn gather(&mut self, shards: &[SharedShard]) -> Option<Publication> {
        let next_offsets = self.note_changes(shards);
        if shards.len() < self.partitions || self.is_behind(&next_offsets) {
            return None;
        }
        let of = |partition: &Partition| self.published(*partition);
        let is_ahead = next_offsets.iter().any(|held| held.next_offset > of(&held.partition));
        if !is_ahead && self.owed.is_empty() {
            return None;
        }
        let owed: Vec<_> = std::mem::take(&mut self.owed).into_iter().collect();
        let (mut snapshots, mut longest_hold) = (Vec::with_capacity(owed.len()), Duration::ZERO);
        let at_a_time = (KEYS_AT_A_TIME / shards.len()).max(KEYS_AT_A_TIME_MIN);
        for keys in owed.chunks(at_a_time) {
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
        let dead_letters = std::mem::take(&mut self.dead_letters);
        let next_offsets = next_offsets.iter().map(|held| (held.partition, held.next_offset));
        Some(Publication { snapshots, dead_letters, next_offsets: next_offsets.collect() })
    }

    /// Takes note of what changed since the last time, all shards at one moment; returns which.
    fn note_changes(&mut self, shards: &[SharedShard]) -> Vec<Held> {
        let mut guards: Vec<_> = shards.iter().map(|shard| shard.write()).collect();
        let (mut changes, mut held) = (Vec::new(), Vec::new());
        for live in &mut guards {
            changes.push(live.shard.curves.take_changed());
            self.dead_letters.extend(live.take_refused());
            let (next_offset, log_epoch) = (live.next_offset(), live.position.log_epoch);
            held.push(Held { partition: live.partition, next_offset, log_epoch });
        }
        drop(guards);
        self.drop_published_letters();
        for (shard, changes) in shards.iter().zip(changes) {
            // What a cohort is called does not change.
            for changes in changes.chunks(CHANGES_AT_A_TIME) {
                let touched = self.touched(&shard.read(), changes);
                self.owed.extend(touched);
            }
        }
        held
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

    /// The publication is out.
    pub fn done(&mut self, publication: &Publication, duration: Duration) {
        for (partition, next_offset) in &publication.next_offsets {
            self.published.insert(*partition, *next_offset);
        }
        let count = u64::try_from(publication.snapshots.len()).unwrap_or(u64::MAX);
        self.metrics.snapshots_published.inc_by(count);
        self.metrics.publish_duration.observe(duration.as_secs_f64());
    }

    /// Whether the publication is out is not known: its cohorts and dead letters are owed again.
    pub fn failed(&mut self, publication: Publication, shards: &[SharedShard]) {
        self.metrics.publish_failures.inc();
        self.dead_letters.splice(0..0, publication.dead_letters);
        for shard in shards {
            let mut shard = shard.write();
            shard.shard.curves.mark_all_changed();
        }
    }

    /// Dead letters that turned out to be published are not owed.
    pub fn drop_published_letters(&mut self) {
        let published = &self.published;
        self.dead_letters.retain(|letter| {
            published.get(&letter.partition).is_none_or(|next| letter.offset >= next.0)
        });
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

fn money(sums: Sums) -> MoneySums {
    MoneySums { gross: sums.gross, proceeds: sums.proceeds, net: sums.net }
}

fn wire_age(age: &SnapshotAge) -> wire::SnapshotAge {
    wire::SnapshotAge {
        age: i32::try_from(age.age).unwrap_or(i32::MAX),
        paid: money(age.flows.payments),
        refunded: money(age.flows.refunds),
        payments: age.flows.payments.count,
        complete: age.complete,
    }
}

fn record(
    snapshot: Snapshot,
    plan: &AppPlan,
    version: &SnapshotVersion,
    newest_event_at: Option<Timestamp>,
) -> SnapshotRecord {
    let key = snapshot.key;
    SnapshotRecord {
        app_id: key.app,
        anchor: key.anchor,
        width: key.width,
        zone: plan.zone.name().to_owned(),
        cohort_start: key.cohort_start,
        segment: key.segment.map(|segment| WireSegment {
            dimension: segment.field.to_string(),
            value: Some(segment.value).filter(|value| !value.is_empty()),
        }),
        currency: plan.currency,
        customers: snapshot.heads.customers,
        payers: snapshot.heads.payers,
        refunds: snapshot.to_date.refunds.count,
        ages_days: snapshot.ages_days.iter().map(wire_age).collect(),
        ages_periods: snapshot.ages_periods.iter().map(wire_age).collect(),
        version: version.clone(),
        newest_event_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json_event;
    use crate::codec::snapshot::{LTV_SNAPSHOT_V1_FINGERPRINT, decode_message};
    use crate::domain::rules::Rules;
    use crate::state::{Arrival, Shards};
    use crate::store::memory::MemoryStore;
    use crate::stream::Record;

    fn plan() -> SnapshotPlan {
        let plan = AppPlan {
            widths: vec![Width::Day],
            currency: "USD".parse().unwrap(),
            zone: "UTC".parse().unwrap(),
        };
        SnapshotPlan {
            apps: BTreeMap::from([("acme".to_owned(), plan)]),
            ages: SnapshotAges { days: vec![0], periods: vec![0] },
            curves: CurvesConfig { zones: ZonesKept::First, segments: BTreeMap::new() },
        }
    }

    /// Takes in an install of a customer of its own at the next offset.
    fn install(shard: &SharedShard) {
        let mut shard = shard.write();
        let offset = shard.next_offset().0;
        let json = format!(
            r#"{{"event_id":"e","app_id":"acme","customer_id":"c{offset}","kind":"install",
                "occurred_at":"2024-01-01T00:00:00Z"}}"#
        );
        let (partition, timestamp) = (shard.partition, Timestamp(1_800_000_000_000_000));
        let value = Some(json.as_bytes());
        let record = Record { partition, offset, timestamp, key: None, value, headers: None };
        let decoded = json_event::decode(json.as_bytes()).map_err(|_| unreachable!());
        shard.apply(&[Arrival { record, decoded }]).unwrap();
    }

    /// A publisher and the shards of its topic.
    fn publisher(partitions: Partition) -> (Publisher, Vec<SharedShard>) {
        let metrics = Arc::new(Metrics::new().unwrap());
        let framing = Framing::SingleObject(LTV_SNAPSHOT_V1_FINGERPRINT);
        let count = usize::try_from(partitions).unwrap();
        let publisher = Publisher::new(plan(), framing, count, metrics);
        let rules = Arc::new(Rules::of_one_app("acme"));
        let shards = (0..partitions).map(|partition| {
            let settings = (Arc::clone(&rules), plan().curves());
            let store = Arc::new(MemoryStore::default());
            Shards::default().insert(LiveShard::open(store, partition, settings).unwrap())
        });
        (publisher, shards.collect())
    }

    #[test]
    fn nothing_is_published_while_versions_would_be_older_than_those_that_are_out() {
        let (mut publisher, shards) = publisher(1);
        publisher.set_published(vec![(0, Some(NextOffset(1)))]);
        // Snapshots hold more than the offsets that were published with them.
        let next_offsets = BTreeMap::from([(0, 3)]);
        publisher.set_newest(SnapshotVersion { log_epoch: 0, next_offsets });
        for _ in 0..2 {
            install(&shards[0]);
            assert!(publisher.gather(&shards).is_none());
        }
        install(&shards[0]);
        let publication = publisher.gather(&shards).unwrap();
        assert_eq!(publication.next_offsets, [(0, NextOffset(3))]);
        let snapshot = decode_message(&publication.snapshots[0].1).unwrap();
        assert_eq!((snapshot.customers, &snapshot.version.next_offsets[&0]), (3, &3));
        // Of another epoch they are neither older nor newer.
        publisher.published.clear();
        let next_offsets = BTreeMap::from([(0, 9)]);
        publisher.set_newest(SnapshotVersion { log_epoch: 1, next_offsets });
        install(&shards[0]);
        assert!(publisher.gather(&shards).is_some());
    }

    #[test]
    fn a_shard_of_a_smaller_epoch_is_behind_what_is_out_of_the_greatest() {
        let (mut publisher, shards) = publisher(2);
        // One was assigned when a greater epoch was out; versions have that of both together.
        shards[1].write().raise_epoch(1);
        let next_offsets = BTreeMap::from([(0, 2), (1, 0)]);
        publisher.set_newest(SnapshotVersion { log_epoch: 1, next_offsets });
        install(&shards[0]);
        assert!(publisher.gather(&shards).is_none());
        install(&shards[0]);
        let publication = publisher.gather(&shards).unwrap();
        let version = decode_message(&publication.snapshots[0].1).unwrap().version;
        assert_eq!((version.log_epoch, version.next_offsets[&0]), (1, 2));
    }

    #[test]
    fn what_changes_while_a_publication_is_gathered_is_in_the_next_one() {
        let (mut publisher, shards) = publisher(1);
        install(&shards[0]);
        assert_eq!(publisher.note_changes(&shards).len(), 1);
        install(&shards[0]);
        let publication = publisher.gather(&shards).unwrap();
        let count = |publication: &Publication| {
            let snapshots = publication.snapshots.iter();
            snapshots.map(|(_, value)| decode_message(value).unwrap().customers).collect::<Vec<_>>()
        };
        assert_eq!(count(&publication), [2]);
        publisher.done(&publication, Duration::ZERO);
        assert!(publisher.gather(&shards).is_none());
        install(&shards[0]);
        assert_eq!(count(&publisher.gather(&shards).unwrap()), [3]);
    }
}
