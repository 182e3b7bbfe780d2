//! The published snapshot of a cohort: which cohorts a change touches, and what is said of them.
//!
//! A snapshot is a function of the log alone. It knows no clock: how far its curves reach and what
//! is complete follows from `until`, which the caller takes from the newest event.
//!
//! Always true
//! * A snapshot says what the LTV question about its cohort says (`metrics_api/naive.rs`).
//! * A snapshot that would read differently after a change of facts is among [`touched`], or among those that are
//!   [`refilled`] in any shard; one that would because days have passed, as ages begin and are completed, among [`aged`].

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::cohort::{Anchor, Field};
use crate::domain::time::{Day, Width};
use crate::engine::curves::{ChangedCohort, CohortCurves, CohortKey, Heads};
use crate::engine::dictionary::Dictionary;
use crate::metrics_api::ages::{Aging, Seen};
use crate::metrics_api::question::AgeBasis;
use crate::metrics_api::snapshot_sums::ZONE;

pub use crate::metrics_api::flows::Flows;
pub use crate::metrics_api::snapshot_sums::{SnapshotPartial, partials};

/// Value of a segment's field; empty if unknown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    pub field: Field,
    pub value: String,
}

/// Which cohort a snapshot is of. Days are of the app's first reporting zone. In order, those that
/// differ in time only lie together, the earlier first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotKey {
    pub app: String,
    pub anchor: Anchor,
    pub segment: Option<Segment>,
    pub cohort_start: Day,
    pub width: Width,
}

/// Snapshots that changed cohorts of a shard touch.
#[derive(Debug, Default)]
pub struct Touched {
    pub keys: BTreeSet<SnapshotKey>,
    /// Those of whole cohorts whose customers changed, where that touches segments too: [`refilled`].
    pub refilling: BTreeSet<SnapshotKey>,
}

/// The snapshots of these widths that changed cohorts touch.
pub fn touched(
    curves: &CohortCurves,
    dictionary: &Dictionary,
    changed: &[ChangedCohort],
    widths: &[Width],
) -> Touched {
    let mut touched = Vec::new();
    for width in widths {
        for ChangedCohort { key, customers_changed } in changed {
            let whole = CohortKey { day: width.start(key.day), ..*key };
            touched.push((*width, whole, *customers_changed && key.segment.is_none()));
        }
    }
    // Most cohorts that changed are of the same few weeks and months, and words cost.
    touched.sort_unstable();
    touched.dedup_by(|next, last| {
        let is_same = (next.0, next.1) == (last.0, last.1);
        last.2 |= is_same && next.2;
        is_same
    });
    let mut found = Touched::default();
    for (width, cohort, customers_changed) in touched {
        let key = spell_out(curves, dictionary, &cohort, width);
        let speaks_of_all = |field: &Field| speaks_of_all(key.anchor, field);
        if customers_changed && curves.fields(&key.app).iter().any(speaks_of_all) {
            found.refilling.insert(key.clone());
        }
        found.keys.insert(key);
    }
    found
}

/// Whether segments by a field do not know their customers, and speak of those of the whole cohort.
pub(super) fn speaks_of_all(anchor: Anchor, field: &Field) -> bool {
    anchor == Anchor::Install && !field.narrows_installs()
}

/// The snapshots of these cohorts that read differently on the day `to` than on `from` though nothing
/// happened to them: an age has begun since, or is complete.
pub fn aged<'k>(
    (curves, dictionary): (&CohortCurves, &Dictionary),
    cohorts: impl Iterator<Item = &'k CohortKey> + Clone,
    (widths, ages): (&[Width], &SnapshotAges),
    (from, to): (Day, Day),
) -> BTreeSet<SnapshotKey> {
    let mut aged = BTreeSet::new();
    for width in widths {
        let mut has_aged = BTreeMap::new();
        for key in cohorts.clone() {
            let ordinal = width.ordinal(key.day);
            let differs = || ages.differ((*width, ordinal), (from, to));
            if *has_aged.entry(ordinal).or_insert_with(differs) {
                aged.insert((*width, CohortKey { day: width.first_day(ordinal), ..*key }));
            }
        }
    }
    let named = aged.into_iter().map(|(width, key)| spell_out(curves, dictionary, &key, width));
    named.collect()
}

/// The snapshots of segments that a shard knows of and that speak of all customers of this whole cohort, which changed
/// there or in another shard.
pub fn refilled(
    curves: &CohortCurves,
    dictionary: &Dictionary,
    whole: &SnapshotKey,
) -> BTreeSet<SnapshotKey> {
    let SnapshotKey { anchor, cohort_start, width, .. } = *whole;
    let mut keys = BTreeSet::new();
    let Some(app) = dictionary.find_app(&whole.app) else { return keys };
    for day in cohort_start.0..=width.end(cohort_start).0 {
        let key = CohortKey { app, zone: ZONE, anchor, segment: None, day: Day(day) };
        let segments = curves.cohort(&key).map_or(&[][..], |cohort| &cohort.segments);
        for segment in segments {
            let field = curves.field(&whole.app, *segment);
            if field.is_some_and(|field| speaks_of_all(anchor, field)) {
                let key = CohortKey { segment: Some(*segment), ..key };
                keys.insert(spell_out(curves, dictionary, &key, width));
            }
        }
    }
    keys
}

fn spell_out(
    curves: &CohortCurves,
    dictionary: &Dictionary,
    key: &CohortKey,
    width: Width,
) -> SnapshotKey {
    let app = dictionary.app_id(key.app);
    let segment = key.segment.and_then(|segment| {
        let field = curves.field(app, segment)?.clone();
        Some(Segment { field, value: dictionary.text(segment.value).to_owned() })
    });
    SnapshotKey {
        app: app.to_owned(),
        anchor: key.anchor,
        width,
        cohort_start: width.start(key.day),
        segment,
    }
}

/// The ages that are published, each list rising.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotAges {
    /// In calendar days.
    pub days: Vec<u32>,
    /// In calendar periods of the cohort's width.
    pub periods: Vec<u32>,
}

impl SnapshotAges {
    /// Whether an age of the bucket begins or is completed between what is seen on one day and on another.
    fn differ(&self, (width, ordinal): (Width, i32), (from, to): (Day, Day)) -> bool {
        let differs = |basis: AgeBasis, age: u32| {
            let on = |day| {
                let aging = Aging { basis, width, seen: Seen::new(day, day) };
                (aging.begun(ordinal, age), aging.complete(ordinal, age))
            };
            on(from) != on(to)
        };
        self.days.iter().any(|age| differs(AgeBasis::Days, *age))
            || self.periods.iter().any(|age| differs(AgeBasis::Periods, *age))
    }
}

/// Everything up to and through one age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotAge {
    pub age: u32,
    pub flows: Flows,
    /// Whether every customer of the cohort has lived through the age.
    pub complete: bool,
}

/// What is published of a cohort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub key: SnapshotKey,
    pub heads: Heads,
    /// Everything, whatever the age.
    pub to_date: Flows,
    /// The ages that have begun, by calendar days and by periods of the cohort's width.
    pub ages_days: Vec<SnapshotAge>,
    pub ages_periods: Vec<SnapshotAge>,
}

/// The snapshot from the merged partials of all shards, made for the same ages. `until` is the day
/// of the newest event; it counts but is not over.
pub fn snapshot(
    key: SnapshotKey,
    (ages, until): (&SnapshotAges, Day),
    partial: &SnapshotPartial,
) -> Snapshot {
    let seen = Seen::new(until, until);
    let cohort = key.width.ordinal(key.cohort_start);
    let curve = |basis: AgeBasis, ages: &[u32], flows: &[Flows]| -> Vec<SnapshotAge> {
        let aging = Aging { basis, width: key.width, seen };
        let mut sum = Flows::default();
        let mut points = Vec::new();
        for (&age, flows) in ages.iter().zip(flows) {
            if !aging.begun(cohort, age) {
                break;
            }
            sum += *flows;
            let complete = aging.complete(cohort, age) == Some(true);
            points.push(SnapshotAge { age, flows: sum, complete });
        }
        points
    };
    let mut to_date = Flows::default();
    partial.days.iter().for_each(|flows| to_date += *flows);
    Snapshot {
        heads: partial.heads,
        to_date,
        ages_days: curve(AgeBasis::Days, &ages.days, &partial.days),
        ages_periods: curve(AgeBasis::Periods, &ages.periods, &partial.periods),
        key,
    }
}
