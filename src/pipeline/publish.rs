//! Publications: the current snapshot of every changed cohort, with the offsets they hold.
//!
//! Always true
//! * A publication names the offsets that its values contain: no shard changes while they are summed up.
//! * Nothing is published while a shard is behind what the log says is published: those versions
//!   would be older.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{RwLockReadGuard, RwLockWriteGuard};
use tracing::error;

use crate::codec::envelope::Framing;
use crate::codec::snapshot::{self as wire, MoneySums, SnapshotRecord, SnapshotVersion};
use crate::codec::snapshot_key::Segment as WireSegment;
use crate::config::Config;
use crate::domain::money::Currency;
use crate::domain::time::{Day, Timestamp, Width, Zone};
use crate::engine::curves::{CurvesConfig, ZonesKept};
use crate::engine::facts::Sums;
use crate::engine::shard::Shard;
use crate::metrics_api::snapshot::{
    self, Snapshot, SnapshotAge, SnapshotAges, SnapshotKey, SnapshotPartial,
};
use crate::state::{LiveShard, SharedShard, StateError};
use crate::stream::{DeadLetter, NextOffset, Partition, Publication};
use crate::telemetry::Metrics;

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

/// Gathers publications and remembers what is out.
pub struct Publisher {
    plan: SnapshotPlan,
    framing: Framing,
    metrics: Arc<Metrics>,
    /// Partitions of the events topic, all of which a snapshot covers.
    partitions: usize,
    /// `o_pub` by partition, as far as it is known.
    published: BTreeMap<Partition, NextOffset>,
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
        Self { plan, framing, metrics, partitions, published, owed, dead_letters }
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
        let owed = self.touched(shard);
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

    fn touched(&self, shard: &mut LiveShard) -> BTreeSet<SnapshotKey> {
        let changed = shard.shard.curves.take_changed();
        let mut keys = BTreeSet::new();
        for (app, plan) in &self.plan.apps {
            let Some(app) = shard.shard.dictionary.find_app(app) else { continue };
            let of_app: Vec<_> =
                changed.iter().filter(|changed| changed.key.app == app).copied().collect();
            let (curves, dictionary) = (&shard.shard.curves, &shard.shard.dictionary);
            keys.extend(snapshot::touched(curves, dictionary, &of_app, &plan.widths));
        }
        keys
    }

    /// What is to be published now; `None` if nothing is, if a shard is still behind `o_pub`, or
    /// while partitions are elsewhere: sums over a part would replace sums over all.
    pub fn gather(&mut self, shards: &[SharedShard]) -> Option<Publication> {
        let mut guards: Vec<_> = shards.iter().map(|shard| shard.write()).collect();
        let mut next_offsets = Vec::new();
        for shard in &mut guards {
            let touched = self.touched(shard);
            self.owed.extend(touched);
            self.dead_letters.extend(shard.take_refused());
            next_offsets.push((shard.partition, shard.next_offset()));
        }
        self.drop_published_letters();
        let of = |partition: &Partition| self.published(*partition);
        let is_behind = next_offsets.iter().any(|(partition, next)| *next < of(partition));
        let is_ahead = next_offsets.iter().any(|(partition, next)| *next > of(partition));
        if shards.len() < self.partitions {
            return None;
        }
        if is_behind || (!is_ahead && self.owed.is_empty()) {
            return None;
        }
        let owed: Vec<_> = std::mem::take(&mut self.owed).into_iter().collect();
        // Questions are answered meanwhile, and the shards are let go before the sums are written out.
        let guards: Vec<_> = guards.into_iter().map(RwLockWriteGuard::downgrade).collect();
        let newest_event_at = guards.iter().filter_map(|live| live.shard.newest_event_at()).max();
        let log_epoch = guards.iter().map(|live| live.position.log_epoch).max().unwrap_or(0);
        let sums = self.sums(&guards, &owed, newest_event_at);
        drop(guards);
        let version = SnapshotVersion {
            log_epoch: i64::try_from(log_epoch).unwrap_or(i64::MAX),
            next_offsets: next_offsets.iter().map(|(p, next)| (*p, next.0)).collect(),
        };
        let snapshots = self.snapshots(owed, &sums, (&version, newest_event_at));
        let dead_letters = std::mem::take(&mut self.dead_letters);
        Some(Publication { snapshots, dead_letters, next_offsets })
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
        keys: Vec<SnapshotKey>,
        sums: &[SnapshotPartial],
        (version, newest_event_at): (&SnapshotVersion, Option<Timestamp>),
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut encoded = Vec::with_capacity(keys.len());
        for (key, sums) in keys.into_iter().zip(sums) {
            let Some(plan) = self.plan.apps.get(&key.app) else { continue };
            let at = (&self.plan.ages, Self::until(plan, newest_event_at));
            let snapshot = snapshot::snapshot(key, at, sums);
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
