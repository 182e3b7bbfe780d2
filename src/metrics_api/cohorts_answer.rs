//! From merged sums to a table of install cohorts: cells, their totals, and a row over all.

use std::collections::BTreeSet;

use crate::domain::time::Day;
use crate::metrics_api::ages::asked;
use crate::metrics_api::cohorts::{Cells, CohortCounts, CohortPartial, CohortQuestion};
use crate::metrics_api::flows::Flows;
use crate::metrics_api::ltv::LtvRow;

/// Money and counts of a cell, or of a whole row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CohortFigures {
    pub money: Flows,
    /// Distinct customers who paid.
    pub payers: i64,
    /// Distinct chains with a payment.
    pub subscriptions: i64,
    /// Money and customers of revenue per paying customer.
    pub paying_money: Flows,
    pub paying: i64,
    /// Distinct customers who began a trial or a subscription.
    pub starters: i64,
}

/// A cell of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CohortCell {
    /// Payment index from 1, or whole days since the install.
    pub period: u32,
    pub figures: CohortFigures,
    /// Whether somebody has not had the time yet to reach the end of the cell: along days, who is
    /// not that old yet; along payments, whose payment up to this one still runs by its duration.
    pub is_active: bool,
}

/// A cohort, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CohortTableRow {
    /// First day of the (first) cohort's bucket.
    pub start: Day,
    /// Customers placed in the cohort.
    pub customers: i64,
    /// Over the whole range.
    pub figures: CohortFigures,
    /// As far as somebody may have come.
    pub cells: Vec<CohortCell>,
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CohortTable {
    pub total: CohortTableRow,
    /// By rising start; cohorts in which nothing is counted are left out.
    pub rows: Vec<CohortTableRow>,
}

/// The table from the merged partials of all shards.
pub fn table(question: &CohortQuestion, partial: &CohortPartial) -> CohortTable {
    let maker = Maker::new(question);
    let (mut all, mut all_counts) = (LtvRow::default(), CohortCounts::default());
    let mut rows = Vec::new();
    let (no_money, no_counts) = (LtvRow::default(), CohortCounts::default());
    let ordinals: BTreeSet<i32> =
        partial.money.cohorts.keys().chain(partial.counts.keys()).copied().collect();
    for ordinal in ordinals {
        let row = partial.money.cohorts.get(&ordinal).unwrap_or(&no_money);
        let counts = partial.counts.get(&ordinal).unwrap_or(&no_counts);
        all.add(row);
        all_counts.add(counts);
        if !row.is_zero() || !counts.is_zero() {
            let start = question.width.first_day(ordinal);
            let last = question.width.end(start).min(question.to);
            rows.push(maker.row((start, start, last), row, counts));
        }
    }
    let start = question.width.start(question.from);
    let first = rows.first().map_or(start, |row| row.start);
    let total = maker.row((start, first, question.to), &all, &all_counts);
    CohortTable { total, rows }
}

struct Maker<'a> {
    question: &'a CohortQuestion,
    /// Asked days, or payment indices.
    cells: Vec<u32>,
    until: Day,
}

impl<'a> Maker<'a> {
    fn new(question: &'a CohortQuestion) -> Self {
        let money = question.money();
        Self { question, cells: asked(&money), until: money.until }
    }

    /// The row of a bucket, or of several, that begin on `start`, of those who came from `first` through
    /// `last`.
    fn row(
        &self,
        (start, first, last): (Day, Day, Day),
        money: &LtvRow,
        counts: &CohortCounts,
    ) -> CohortTableRow {
        let total = counts.total();
        let cells = match self.question.cells {
            Cells::Payments => self.payment_cells(last, money, (counts, total.starters)),
            Cells::Days(_) => self.day_cells((first, last), money, counts),
        };
        let mut whole = Flows::default();
        money.flows.iter().for_each(|flows| whole += *flows);
        let (payers, subscriptions) = match self.question.cells {
            Cells::Payments => {
                (money.heads.payers, money.at(0).payments.count + counts.more_chains)
            }
            Cells::Days(_) => (total.unrefunded, total.subscriptions),
        };
        let figures = CohortFigures {
            money: whole,
            payers,
            subscriptions,
            paying_money: whole,
            paying: total.unrefunded,
            starters: total.starters,
        };
        CohortTableRow { start, customers: money.heads.customers, figures, cells }
    }

    fn payment_cells(
        &self,
        last: Day,
        money: &LtvRow,
        (counts, starters): (&CohortCounts, i64),
    ) -> Vec<CohortCell> {
        let is_gathering = last >= self.question.today;
        let (mut through, mut paying, mut is_running) = (Flows::default(), 0, false);
        let mut cells = Vec::new();
        for (slot, period) in self.cells.iter().enumerate().take(money.reached()) {
            let (money, cell) = (money.at(slot), counts.at(slot));
            through += money;
            paying += cell.unrefunded;
            is_running |= cell.running != 0;
            let payments = money.payments.count;
            let figures = CohortFigures {
                money,
                payers: if *period == 1 { cell.payers } else { payments + cell.payers },
                subscriptions: payments,
                paying_money: through,
                paying,
                starters,
            };
            let is_active = is_gathering || is_running;
            cells.push(CohortCell { period: *period, figures, is_active });
        }
        cells
    }

    fn day_cells(
        &self,
        (first, last): (Day, Day),
        money: &LtvRow,
        counts: &CohortCounts,
    ) -> Vec<CohortCell> {
        let first = first.max(self.question.from);
        let seen_through = i64::from(self.question.today.0) - 1;
        let mut sum = CohortFigures::default();
        let mut cells = Vec::new();
        for (slot, period) in self.cells.iter().enumerate() {
            sum.money += money.at(slot);
            sum.paying_money = sum.money;
            let cell = counts.at(slot);
            sum.payers += cell.unrefunded;
            sum.paying = sum.payers;
            sum.subscriptions += cell.subscriptions;
            sum.starters += cell.starters;
            let age = i64::from(*period);
            if i64::from(first.0) + age > i64::from(self.until.0) {
                break;
            }
            // Who came in the last instant of a day needs 24 hours of the next for each day.
            let is_active = i64::from(last.0) + age + 1 > seen_through;
            cells.push(CohortCell { period: *period, figures: sum, is_active });
        }
        cells
    }
}
