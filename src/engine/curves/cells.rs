//! Curves cell by cell, to be compared with others.

use crate::domain::time::Day;
use crate::engine::curves::{CellKind, CohortCurves, CohortKey, Heads};
use crate::engine::dictionary::AppIx;
use crate::engine::facts::Sums;

/// Which cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellKey {
    pub app: AppIx,
    pub zone: u8,
    /// `None` for refunds that are in no cohort.
    pub cohort: Option<CohortKey>,
    pub kind: CellKind,
    pub day: Day,
    /// Of refunds, the day of what they refund.
    pub of: Option<Day>,
}

/// What is in a cell: heads, or sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cell {
    pub heads: Heads,
    pub sums: Sums,
}

impl CohortCurves {
    /// Every cell that is not zero, in no particular order.
    pub fn cells(&self) -> impl Iterator<Item = (CellKey, Cell)> {
        let of_cohorts = self.iter().flat_map(|(cohort, content)| {
            let CohortKey { app, zone, .. } = *cohort;
            let key =
                move |kind, day, of| CellKey { app, zone, cohort: Some(*cohort), kind, day, of };
            let heads = content.heads.iter();
            let heads = heads
                .map(move |(day, sums)| (key(CellKind::Heads, day, None), Cell::of_heads(sums)));
            let payments = content.payments.iter();
            let payments = payments
                .map(move |(day, sums)| (key(CellKind::Payments, day, None), Cell::of_sums(sums)));
            let refunds = content.refunds.iter();
            let refunds = refunds.map(move |((day, of), sums)| {
                (key(CellKind::Refunds, day, Some(of)), Cell::of_sums(sums))
            });
            heads.chain(payments).chain(refunds)
        });
        let unplaced = self.unplaced.iter().flat_map(|((app, zone), refunds)| {
            let key = move |day| CellKey {
                app: *app,
                zone: *zone,
                cohort: None,
                kind: CellKind::Refunds,
                day,
                of: None,
            };
            refunds.iter().map(move |(day, sums)| (key(day), Cell::of_sums(sums)))
        });
        of_cohorts.chain(unplaced).filter(|(_, cell)| *cell != Cell::default())
    }
}

impl Cell {
    fn of_heads(heads: Heads) -> Self {
        Self { heads, ..Self::default() }
    }

    fn of_sums(sums: Sums) -> Self {
        Self { sums, ..Self::default() }
    }
}
