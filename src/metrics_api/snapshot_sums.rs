//! What cohorts add up to at the published ages, for many snapshots at once.
//!
//! Curves are kept by cohorts of one day. Each of them is part of a snapshot of every width, so it is
//! looked at once for all of them: it is summed up from its first day on, and what came between two
//! ages is the difference of two of these totals. Tens of thousands of cells and a publication for
//! each quarter of a second make this worth it.
//!
//! Always true
//! * The sums of a snapshot are those of the cells of its cohorts (`metrics_api/naive.rs`).

use crate::domain::time::{Day, Width};
use crate::engine::curves::{Cohort, CohortCurves, CohortKey, Heads, SegmentIx};
use crate::engine::dictionary::Dictionary;
use crate::engine::facts::Sums;
use crate::metrics_api::ages::later;
use crate::metrics_api::flows::Flows;
use crate::metrics_api::snapshot::{SnapshotAges, SnapshotKey, speaks_of_all};

/// The zone of snapshots.
pub(super) const ZONE: u8 = 0;

/// What one shard, or several merged, know of a cohort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotPartial {
    pub heads: Heads,
    /// By published age, each what came after the age before; last what came after them all.
    pub(super) days: Vec<Flows>,
    pub(super) periods: Vec<Flows>,
}

impl SnapshotPartial {
    /// Both together: of shards, which share no customer.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.heads += other.heads;
        for (into, more) in [(&mut self.days, other.days), (&mut self.periods, other.periods)] {
            if into.is_empty() {
                *into = more;
            } else {
                into.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            }
        }
        self
    }
}

/// What the curves of a shard say of each of these cohorts at these ages, through `until`.
pub fn partials(
    curves: &CohortCurves,
    dictionary: &Dictionary,
    keys: &[SnapshotKey],
    (ages, until): (&SnapshotAges, Day),
) -> Vec<SnapshotPartial> {
    let mut sums = SnapshotSums::new(curves, ages, until);
    let is_same_but_for_time = |a: &SnapshotKey, b: &SnapshotKey| {
        (&a.app, a.anchor, &a.segment) == (&b.app, b.anchor, &b.segment)
    };
    let mut partials = Vec::with_capacity(keys.len());
    for keys in keys.chunk_by(is_same_but_for_time) {
        let mut cohorts: Vec<_> = keys.iter().map(|key| PublishedCohort::new(key, ages)).collect();
        if let Some(asked) = AskedCurves::find(curves, dictionary, &keys[0]) {
            sums.add(&asked, &mut cohorts);
        }
        partials.extend(cohorts.into_iter().map(|cohort| cohort.partial));
    }
    partials
}

/// Which curves cohorts are made of that differ in time only.
struct AskedCurves {
    /// Of any day.
    key: CohortKey,
    /// Where the segment's own curves know no customers but those who paid: whose they all are.
    lender: Option<CohortKey>,
}

impl AskedCurves {
    /// `None` if the shard does not know the app.
    fn find(curves: &CohortCurves, dictionary: &Dictionary, key: &SnapshotKey) -> Option<Self> {
        let app = dictionary.find_app(&key.app)?;
        let any = CohortKey { app, zone: ZONE, anchor: key.anchor, segment: None, day: Day::MIN };
        let Some(segment) = &key.segment else { return Some(Self { key: any, lender: None }) };
        let lends = speaks_of_all(key.anchor, &segment.field);
        let known = curves.field_number(&key.app, &segment.field).and_then(|field| {
            Some(SegmentIx { field, value: dictionary.find_text(&segment.value)? })
        });
        // No customer of this shard may have the value; it is the segment of nobody then.
        let segment = known.unwrap_or(SegmentIx { field: u16::MAX, value: 0 });
        let key = CohortKey { segment: Some(segment), ..any };
        Some(Self { key, lender: lends.then_some(any) })
    }
}

/// A published cohort, and what it adds up to so far.
struct PublishedCohort {
    start: Day,
    width: Width,
    /// On which day each period begins that comes after a published one.
    period_ends: Vec<Day>,
    partial: SnapshotPartial,
}

impl PublishedCohort {
    fn new(key: &SnapshotKey, ages: &SnapshotAges) -> Self {
        let ordinal = key.width.ordinal(key.cohort_start);
        let end = |age: &u32| key.width.first_day(later(ordinal, age.saturating_add(1)));
        let (days, periods) = (ages.days.len(), ages.periods.len());
        let partial = SnapshotPartial {
            heads: Heads::default(),
            days: vec![Flows::default(); days + 1],
            periods: vec![Flows::default(); periods + 1],
        };
        let period_ends = ages.periods.iter().map(end).collect();
        Self { start: key.cohort_start, width: key.width, period_ends, partial }
    }

    fn days(&self, until: Day) -> impl Iterator<Item = Day> + use<> {
        (self.start.0..=self.width.end(self.start).min(until).0).map(Day)
    }
}

/// Sums up cohorts of one day for all published ones they are part of.
struct SnapshotSums<'a> {
    curves: &'a CohortCurves,
    ages: &'a SnapshotAges,
    until: Day,
    payments: RunningTotals,
    refunds: RunningTotals,
}

impl<'a> SnapshotSums<'a> {
    fn new(curves: &'a CohortCurves, ages: &'a SnapshotAges, until: Day) -> Self {
        let (payments, refunds) = (RunningTotals::default(), RunningTotals::default());
        Self { curves, ages, until, payments, refunds }
    }

    fn add(&mut self, asked: &AskedCurves, cohorts: &mut [PublishedCohort]) {
        let parts = |(at, cohort): (usize, &PublishedCohort)| {
            cohort.days(self.until).map(move |day| (day, at))
        };
        let mut parts: Vec<(Day, usize)> = cohorts.iter().enumerate().flat_map(parts).collect();
        // A run of days for each width.
        parts.sort();
        for parts in parts.chunk_by(|a, b| a.0 == b.0) {
            let (day, curves) = (parts[0].0, self.curves);
            let of_day = |key: CohortKey| curves.cohort(&CohortKey { day, ..key });
            let mut heads = Heads::default();
            if let Some(lender) = asked.lender.and_then(of_day) {
                heads += Heads { payers: 0, ..heads_of(lender, self.until) };
            }
            if let Some(cohort) = of_day(asked.key) {
                heads += heads_of(cohort, self.until);
                self.add_flows(cohort, day, parts, cohorts);
            }
            parts.iter().for_each(|(_, at)| cohorts[*at].partial.heads += heads);
        }
    }

    /// Adds what a cohort of one day paid to those it is part of.
    fn add_flows(
        &mut self,
        cohort: &Cohort,
        day: Day,
        parts: &[(Day, usize)],
        cohorts: &mut [PublishedCohort],
    ) {
        let refunds = cohort.refunds.iter().map(|((day, _), sums)| (day, sums));
        self.payments.take(cohort.payments.iter(), self.until);
        self.refunds.take(refunds, self.until);
        let day_ends = self.ages.days.iter().map(|age| {
            let end = i64::from(day.0) + i64::from(*age) + 1;
            Day(i32::try_from(end).unwrap_or(i32::MAX))
        });
        for (_, at) in parts {
            let PublishedCohort { period_ends, partial, .. } = &mut cohorts[*at];
            self.share_out(day_ends.clone(), &mut partial.days);
            self.share_out(period_ends.iter().copied(), &mut partial.periods);
        }
    }

    /// Adds to each of `flows` what came after the one before and before its end; the last has none.
    fn share_out(&self, ends: impl Iterator<Item = Day> + Clone, flows: &mut [Flows]) {
        let (payments, refunds) = (self.payments.between(ends.clone()), self.refunds.between(ends));
        flows.iter_mut().zip(payments).for_each(|(flows, sums)| flows.payments += sums);
        flows.iter_mut().zip(refunds).for_each(|(flows, sums)| flows.refunds += sums);
    }
}

fn heads_of(cohort: &Cohort, until: Day) -> Heads {
    let mut sum = Heads::default();
    let counting = cohort.heads.iter().filter(|(day, _)| *day <= until);
    counting.for_each(|(_, heads)| sum += heads);
    sum
}

/// Sums by day, added up from the first day on.
#[derive(Default)]
struct RunningTotals {
    /// Rising.
    days: Vec<Day>,
    /// Through the day at the same place.
    totals: Vec<Sums>,
}

impl RunningTotals {
    /// Takes in cells by rising day, those through `until`, in place of what was there.
    fn take(&mut self, cells: impl Iterator<Item = (Day, Sums)>, until: Day) {
        self.days.clear();
        self.totals.clear();
        let mut total = Sums::default();
        for (day, sums) in cells.take_while(|(day, _)| *day <= until) {
            total += sums;
            self.days.push(day);
            self.totals.push(total);
        }
    }

    /// What came before the first of `ends`, which rise, between each two of them, and after the last.
    /// Ends early, when nothing is left.
    fn between(&self, ends: impl Iterator<Item = Day>) -> impl Iterator<Item = Sums> {
        let (mut place, mut before) = (0, Sums::default());
        ends.map(Some).chain([None]).map_while(move |end| {
            let left = self.days.get(place..).filter(|left| !left.is_empty())?;
            place += end.map_or(left.len(), |end| left.partition_point(|day| *day < end));
            let total = place.checked_sub(1).map_or(Sums::default(), |last| self.totals[last]);
            let since = total - before;
            before = total;
            Some(since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_between_days_is_what_the_cells_between_them_hold() {
        let mut totals = RunningTotals::default();
        let between = |totals: &RunningTotals, ends: &[i32]| -> Vec<i64> {
            totals.between(ends.iter().map(|day| Day(*day))).map(|sums| sums.count).collect()
        };
        assert!(between(&totals, &[3, 5]).is_empty());
        let cells = [(2, 1), (3, 10), (3, 100), (7, 1000), (9, 10_000)];
        totals.take(cells.map(|(day, count)| (Day(day), Sums::count(count))).into_iter(), Day(8));
        assert_eq!(between(&totals, &[]), [1111]);
        assert_eq!(between(&totals, &[1, 2, 3, 4, 7]), [0, 0, 1, 110, 0, 1000]);
        assert_eq!(between(&totals, &[8, 9, 10]), [1111]);
    }
}
