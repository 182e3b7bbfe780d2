//! The published snapshot of a cohort: which cohorts a change touches, and what is said of them.
//!
//! A snapshot is a function of the log alone. It knows no clock: how far its curves reach and what
//! is complete follows from `until`, which the caller takes from the newest event.
//!
//! Always true
//! * A snapshot says what the LTV question about its cohort says (`metrics_api/naive.rs`).
//! * A snapshot that would read differently after a change of facts is among [`touched`], except
//!   for what only time changes: ages begun and completed.

use std::collections::BTreeSet;

use crate::domain::cohort::{Anchor, Field};
use crate::domain::time::{Day, Width};
use crate::engine::curves::{ChangedCohort, CohortCurves, CohortKey, Heads, SegmentIx};
use crate::engine::dictionary::Dictionary;
use crate::metrics_api::ages::{AgeSlots, Aging, Seen};
use crate::metrics_api::buckets::Buckets;
use crate::metrics_api::question::AgeBasis;

pub use crate::metrics_api::flows::Flows;

/// Value of a segment's field; empty if unknown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    pub field: Field,
    pub value: String,
}

/// Which cohort a snapshot is of. Days are of the app's first reporting zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotKey {
    pub app: String,
    pub anchor: Anchor,
    pub width: Width,
    pub cohort_start: Day,
    pub segment: Option<Segment>,
}

/// The zone of snapshots.
const ZONE: u8 = 0;

/// The snapshots of these widths that changed cohorts touch.
pub fn touched(
    curves: &CohortCurves,
    dictionary: &Dictionary,
    changed: &[ChangedCohort],
    widths: &[Width],
) -> BTreeSet<SnapshotKey> {
    let mut keys = BTreeSet::new();
    let mut refilled: BTreeSet<(CohortKey, Width)> = BTreeSet::new();
    for ChangedCohort { key, customers_changed } in changed {
        for width in widths {
            keys.insert(spell_out(curves, dictionary, key, *width));
            if *customers_changed && key.segment.is_none() {
                // Segments that do not know their customers speak of those of the whole cohort.
                refilled.insert((CohortKey { day: width.start(key.day), ..*key }, *width));
            }
        }
    }
    for (whole, width) in refilled {
        let app = dictionary.app_id(whole.app);
        for day in whole.day.0..=width.end(whole.day).0 {
            let key = CohortKey { day: Day(day), ..whole };
            let segments = curves.cohort(&key).map_or(&[][..], |cohort| &cohort.segments);
            for segment in segments {
                let field = curves.field(app, *segment);
                if field.is_some_and(|field| !field.narrows_installs()) {
                    let key = CohortKey { segment: Some(*segment), ..key };
                    keys.insert(spell_out(curves, dictionary, &key, width));
                }
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

/// What one shard, or several merged, know of a cohort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotPartial {
    pub heads: Heads,
    /// By published age, each what came after the age before; last what came after them all.
    days: Vec<Flows>,
    periods: Vec<Flows>,
}

impl SnapshotPartial {
    /// Both together: of shards, which share no customer.
    #[must_use]
    pub fn merge(mut self, other: &Self) -> Self {
        self.heads += other.heads;
        for (into, more) in [(&mut self.days, &other.days), (&mut self.periods, &other.periods)] {
            if into.len() < more.len() {
                into.resize(more.len(), Flows::default());
            }
            into.iter_mut().zip(more).for_each(|(sum, more)| *sum += *more);
        }
        self
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

/// What the curves of a shard say of a cohort at these ages, through `until`.
pub fn partial(
    curves: &CohortCurves,
    dictionary: &Dictionary,
    key: &SnapshotKey,
    (ages, until): (&SnapshotAges, Day),
) -> SnapshotPartial {
    let Some(app) = dictionary.find_app(&key.app) else { return SnapshotPartial::default() };
    let segment = match &key.segment {
        None => None,
        Some(segment) => match segment_ix(curves, dictionary, &key.app, segment) {
            Some(found) => Some(found),
            // No customer of this shard has the value, but the cohort's customers may be asked.
            None => Some(SegmentIx { field: u16::MAX, value: 0 }),
        },
    };
    let lends = key.anchor == Anchor::Install
        && key.segment.as_ref().is_some_and(|segment| !segment.field.narrows_installs());
    let mut sums = SnapshotSums::new(key, ages, until);
    let end = key.width.end(key.cohort_start).min(until);
    for day in key.cohort_start.0..=end.0 {
        let whole = CohortKey { app, zone: ZONE, anchor: key.anchor, segment: None, day: Day(day) };
        sums.add(curves, &CohortKey { segment, ..whole });
        if lends {
            sums.add_customers(curves, &whole);
        }
    }
    sums.partial
}

fn segment_ix(
    curves: &CohortCurves,
    dictionary: &Dictionary,
    app: &str,
    segment: &Segment,
) -> Option<SegmentIx> {
    let field = curves.field_number(app, &segment.field)?;
    Some(SegmentIx { field, value: dictionary.find_text(&segment.value)? })
}

struct SnapshotSums {
    until: Day,
    day_slots: AgeSlots,
    period_slots: AgeSlots,
    buckets: Buckets,
    cohort: i32,
    partial: SnapshotPartial,
}

impl SnapshotSums {
    fn new(key: &SnapshotKey, ages: &SnapshotAges, until: Day) -> Self {
        let SnapshotAges { days, periods } = ages;
        Self {
            until,
            day_slots: AgeSlots::new(days),
            period_slots: AgeSlots::new(periods),
            // A snapshot has few cells: a table would cost more than it saves.
            buckets: Buckets::new(key.width, Day::MIN),
            cohort: key.width.ordinal(key.cohort_start),
            partial: SnapshotPartial {
                heads: Heads::default(),
                days: vec![Flows::default(); days.len() + 1],
                periods: vec![Flows::default(); periods.len() + 1],
            },
        }
    }

    fn add(&mut self, curves: &CohortCurves, key: &CohortKey) {
        let Some(cohort) = curves.cohort(key) else { return };
        for (day, heads) in cohort.heads.iter() {
            if day <= self.until {
                self.partial.heads += heads;
            }
        }
        for (day, payments) in cohort.payments.iter() {
            self.add_flows(key.day, day, Flows { payments, ..Flows::default() });
        }
        for ((day, _), refunds) in cohort.refunds.iter() {
            self.add_flows(key.day, day, Flows { refunds, ..Flows::default() });
        }
    }

    fn add_flows(&mut self, anchor_day: Day, day: Day, flows: Flows) {
        if day > self.until {
            return;
        }
        let age = i64::from(day.0) - i64::from(anchor_day.0);
        self.partial.days[self.day_slots.slot(age)] += flows;
        let age = i64::from(self.buckets.ordinal(day)) - i64::from(self.cohort);
        self.partial.periods[self.period_slots.slot(age)] += flows;
    }

    fn add_customers(&mut self, curves: &CohortCurves, key: &CohortKey) {
        let Some(cohort) = curves.cohort(key) else { return };
        for (day, heads) in cohort.heads.iter() {
            if day <= self.until {
                self.partial.heads += Heads { payers: 0, ..heads };
            }
        }
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
    pub cohort_end: Day,
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
        cohort_end: key.width.end(key.cohort_start),
        heads: partial.heads,
        to_date,
        ages_days: curve(AgeBasis::Days, &ages.days, &partial.days),
        ages_periods: curve(AgeBasis::Periods, &ages.periods, &partial.periods),
        key,
    }
}
