//! What of the curves is not in the store yet, as stretches of neighbouring cells.
//!
//! Most commits change the newest days of many cohorts. So cells are stored by stretches of sixteen
//! days, counted from the cohort's own day: whatever comes in between, the others stay what they are.

use crate::domain::time::Day;
use crate::engine::curves::series::{Dated, Series, Summand};
use crate::engine::curves::{Cohort, CohortCurves, CohortKey, EmptiedCohort, Heads};
use crate::engine::dictionary::{AppIx, Dictionary};
use crate::engine::facts::Sums;

/// Days of a stretch, as a power of two.
const STRETCH_DAYS_LOG: u32 = 4;
/// The last stretch that is known for itself to have changed; those after it are stored together.
const STRETCH_ALONE_MAX: i32 = 62;

/// What the cells of a stretch are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CellKind {
    Heads,
    Payments,
    Refunds,
}

impl CellKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Heads, Self::Payments, Self::Refunds];
}

/// Cells by rising day; those that are zero are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cells {
    Heads(Vec<(Day, Heads)>),
    Payments(Vec<(Day, Sums)>),
    Refunds(Vec<((Day, Day), Sums)>),
}

impl Cells {
    /// What they are.
    pub fn kind(&self) -> CellKind {
        match self {
            Self::Heads(_) => CellKind::Heads,
            Self::Payments(_) => CellKind::Payments,
            Self::Refunds(_) => CellKind::Refunds,
        }
    }
}

/// The cells of a cohort that lie in one stretch of days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The number of the cohort.
    pub cohort: u32,
    /// How many stretches it lies after the one that begins with the cohort's day.
    pub number: i32,
    pub cells: Cells,
}

/// A cohort that came since the last commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCohort {
    pub number: u32,
    pub key: CohortKey,
    /// What the number of the segment's value stands for; empty without a segment.
    pub value: String,
}

/// Refunds of an app in a zone that are in no cohort, by day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnplacedRefunds {
    pub app: AppIx,
    pub zone: u8,
    pub cells: Vec<(Day, Sums)>,
}

/// What has changed since the last commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CurveChanges {
    /// By number.
    pub cohorts: Vec<NewCohort>,
    pub stretches: Vec<Stretch>,
    /// Those that changed, whole.
    pub unplaced: Vec<UnplacedRefunds>,
    /// All cohorts that are empty now, if they are others than before.
    pub emptied: Option<Vec<EmptiedCohort>>,
}

/// The stretches of a cohort that changed: a bit for each, and one for all that lie before or after
/// those that have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ChangedStretches([u64; CellKind::ALL.len()]);

impl ChangedStretches {
    pub(super) fn is_empty(self) -> bool {
        self.0 == [0; CellKind::ALL.len()]
    }

    #[inline]
    pub(super) fn note(&mut self, kind: CellKind, cohort_day: Day, day: Day) {
        self.0[kind as usize] |= 1 << bit(stretch(cohort_day, day));
    }
}

fn stretch(cohort_day: Day, day: Day) -> i32 {
    day.0.saturating_sub(cohort_day.0) >> STRETCH_DAYS_LOG
}

fn bit(stretch: i32) -> u32 {
    (stretch.clamp(-1, STRETCH_ALONE_MAX) + 1).unsigned_abs()
}

/// The first day of a stretch.
fn begins(cohort_day: Day, stretch: i32) -> Day {
    Day(cohort_day.0.saturating_add(stretch.saturating_mul(1 << STRETCH_DAYS_LOG)))
}

/// The cells of the stretches with these bits, stretch by stretch.
fn cells_of<K: Dated, V: Summand>(
    series: &Series<K, V>,
    cohort_day: Day,
    bits: u64,
    mut take: impl FnMut(i32, Vec<(K, V)>),
) {
    let is_filled = |(_, sums): &(K, V)| *sums != V::default();
    for stretch_bit in (0..u64::BITS).filter(|bit| bits & (1 << bit) != 0) {
        let number = i32::try_from(stretch_bit).unwrap_or(i32::MAX) - 1;
        if (0..STRETCH_ALONE_MAX).contains(&number) {
            let days = (begins(cohort_day, number), begins(cohort_day, number + 1));
            take(number, series.between(days).filter(is_filled).collect());
            continue;
        }
        let days = match number {
            ..0 => (Day::MIN, cohort_day),
            _ => (begins(cohort_day, number), Day(i32::MAX)),
        };
        let cells: Vec<(K, V)> = series.between(days).collect();
        let number = |(key, _): &(K, V)| stretch(cohort_day, key.day());
        for cells in cells.chunk_by(|one, next| number(one) == number(next)) {
            take(number(&cells[0]), cells.iter().filter(|cell| is_filled(cell)).copied().collect());
        }
    }
}

impl CohortCurves {
    /// What has changed since the last call and must be stored; it counts as stored now.
    pub fn take_unstored(&mut self, dictionary: &Dictionary) -> CurveChanges {
        let mut changes = CurveChanges::default();
        let stored = std::mem::replace(&mut self.stored_cohorts, self.keys.len());
        for (number, key) in (0u32..).zip(&self.keys).skip(stored) {
            let value = key.segment.map_or("", |segment| dictionary.text(segment.value));
            let (key, value) = (*key, value.to_owned());
            changes.cohorts.push(NewCohort { number, key, value });
        }
        let mut is_emptied_changed = false;
        for number in self.unstored.drain(..) {
            let key = &self.keys[number as usize];
            let cohort = &mut self.cohorts[number as usize];
            let changed = std::mem::take(&mut cohort.unstored);
            take_stretches((number, key.day), cohort, changed, &mut changes.stretches);
            if key.zone == 0 {
                is_emptied_changed |= if cohort.is_empty() {
                    self.emptied.insert(number)
                } else {
                    self.emptied.remove(&number)
                };
            }
        }
        changes.emptied = is_emptied_changed.then(|| self.all_emptied(dictionary));
        for (app, zone) in std::mem::take(&mut self.unstored_unplaced) {
            let cells = self.unplaced_refunds(app, zone).collect();
            changes.unplaced.push(UnplacedRefunds { app, zone, cells });
        }
        changes
    }
}

fn take_stretches(
    (number, day): (u32, Day),
    cohort: &Cohort,
    ChangedStretches(changed): ChangedStretches,
    into: &mut Vec<Stretch>,
) {
    for (kind, bits) in CellKind::ALL.into_iter().zip(changed) {
        let mut take =
            |stretch, cells| into.push(Stretch { cohort: number, number: stretch, cells });
        match kind {
            CellKind::Heads => cells_of(&cohort.heads, day, bits, |stretch, cells| {
                take(stretch, Cells::Heads(cells));
            }),
            CellKind::Payments => cells_of(&cohort.payments, day, bits, |stretch, cells| {
                take(stretch, Cells::Payments(cells));
            }),
            CellKind::Refunds => cells_of(&cohort.refunds, day, bits, |stretch, cells| {
                take(stretch, Cells::Refunds(cells));
            }),
        }
    }
}
