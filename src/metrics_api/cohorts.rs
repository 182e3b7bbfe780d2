//! Install cohorts with their money, payers and subscriptions, along payments or along days.
//!
//! Money and heads are those of [`ltv`](crate::metrics_api::ltv); beside them this module counts
//! distinct payers, subscriptions and starters by cell. A range bounds both who is in the cohorts
//! and what is seen of them: nothing after its last day counts.
//!
//! | figure | along payments, cell n | along days, cell k |
//! |---|---|---|
//! | money | of payments n, less what is given back of them | through day k, refunds at their own time |
//! | payers | customers with a payment n | customers with a payment through day k and no refund through day k |
//! | subscriptions | chains with a payment n | chains with a payment, and without a refunded one, through day k |
//! | paying (for revenue per paying customer) | money of payments 1 to n; customers with a payment up to n and without a refund | as money and payers |
//! | starters | all customers who began a trial or a subscription | those who began through day k |
//!
//! Always true
//! * Customers and chains are counted once, whatever the filters: by their marks.

use std::collections::BTreeMap;

use crate::domain::cohort::Anchor;
use crate::domain::dimensions::Dimension;
use crate::domain::period::{Period, PeriodUnit};
use crate::domain::time::{DAY_MICROS, Day, Timestamp, Width};
use crate::engine::dictionary::{AppIx, Dictionary, TextId};
use crate::engine::facts::{FactKey, FactKind, FactRow, Facts, Group};
use crate::engine::pieces::Pieces;
use crate::metrics_api::ages::{AgeSlots, asked};
use crate::metrics_api::filters::MarksSeen;
use crate::metrics_api::grid::Grid;
use crate::metrics_api::kept::Summed;
use crate::metrics_api::ltv::{Beside, FactPass, LtvPartial};
use crate::metrics_api::question::{
    AgeBasis, Filter, InvalidQuestion, LtvQuestion, Measure, Members, Per, RefundDating,
    RefundedPayers,
};

pub use crate::metrics_api::cohorts_answer::{
    CohortCell, CohortFigures, CohortTable, CohortTableRow, table,
};

/// The most cells of a range: a hundred years of daily cohorts with the usual days of vendors.
const CELLS_MAX: i64 = 500_000;

/// Along what cells are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cells {
    /// Payment indices, from 1.
    Payments,
    /// Whole 24-hour days since the install; these.
    Days(Vec<u32>),
}

/// A question about install cohorts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CohortQuestion {
    pub app: String,
    /// Index into the app's reporting zones; all days are of this zone.
    pub zone: u8,
    /// Length of a cohort.
    pub width: Width,
    /// First and last day of installs, payments and refunds.
    pub from: Day,
    pub to: Day,
    pub cells: Cells,
    /// All must match.
    pub filters: Vec<Filter>,
    /// At least one of these groups must match whole, if there are any.
    pub any_of: Vec<Vec<Filter>>,
    /// The day of now.
    pub today: Day,
}

impl CohortQuestion {
    /// The question about money and heads behind this one.
    pub fn money(&self) -> LtvQuestion {
        let (age, ages) = match &self.cells {
            Cells::Payments => (AgeBasis::Payments, None),
            Cells::Days(days) => (AgeBasis::ElapsedDays, Some(days.clone())),
        };
        LtvQuestion {
            app: self.app.clone(),
            zone: self.zone,
            anchor: Anchor::Install,
            width: self.width,
            age,
            ages,
            measure: Measure::Gross,
            from: Some(self.from),
            to: Some(self.to),
            members: Members::BetweenDates,
            filters: self.filters.clone(),
            any_of: self.any_of.clone(),
            segment_by: None,
            per: Per::Customer,
            refunded_payers: RefundedPayers::Stay,
            until: self.to.min(self.today),
            today: self.today,
            refunds: RefundDating::AtRefund,
        }
    }

    /// Refuses what has no answer, or one that fits nowhere.
    ///
    /// # Errors
    /// As of the question about money, and if there may be too many cells.
    pub fn check(&self) -> Result<(), InvalidQuestion> {
        let last = self.width.ordinal(self.to.min(self.today));
        let cohorts = i64::from(last) - i64::from(self.width.ordinal(self.from)) + 1;
        if let Cells::Days(days) = &self.cells
            && cohorts.saturating_mul(i64::try_from(days.len()).unwrap_or(i64::MAX)) > CELLS_MAX
        {
            return Err(InvalidQuestion::TooManyCells(CELLS_MAX));
        }
        self.money().check()
    }
}

/// How counts of a cohort change at a cell, and how many payments of it still run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellCounts {
    /// Along payments, anew for each: at the first the customers who paid it; at a later one what
    /// makes of its payments the customers who paid it.
    pub payers: i64,
    /// Customers without a refund: along payments by the lowest index they paid, along days by the
    /// day they first paid.
    pub unrefunded: i64,
    /// Along days: chains without a refunded payment. Along payments their number is that of the
    /// payments.
    pub subscriptions: i64,
    /// Customers who began a trial or a subscription.
    pub starters: i64,
    /// Along payments: those of the index that still cover somebody today.
    pub running: i64,
}

impl CellCounts {
    const NONE: Self = Self { payers: 0, unrefunded: 0, subscriptions: 0, starters: 0, running: 0 };
}

impl std::ops::AddAssign for CellCounts {
    fn add_assign(&mut self, other: Self) {
        self.payers += other.payers;
        self.unrefunded += other.unrefunded;
        self.subscriptions += other.subscriptions;
        self.starters += other.starters;
        self.running += other.running;
    }
}

/// Counts of one cohort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CohortCounts {
    /// Chains with a payment, less those that their first payments tell.
    pub more_chains: i64,
    /// What lies beyond the last asked cell is at the end.
    cells: Vec<CellCounts>,
}

impl CohortCounts {
    /// The change at a cell.
    pub fn at(&self, slot: usize) -> CellCounts {
        self.cells.get(slot).copied().unwrap_or(CellCounts::NONE)
    }

    /// All changes together.
    pub fn total(&self) -> CellCounts {
        let mut total = CellCounts::NONE;
        self.cells.iter().for_each(|cell| total += *cell);
        total
    }

    /// Whether nobody is counted.
    pub(crate) fn is_zero(&self) -> bool {
        let counts = |cell: &CellCounts| CellCounts { running: 0, ..*cell };
        self.more_chains == 0 && self.cells.iter().all(|cell| counts(cell) == CellCounts::NONE)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.more_chains += other.more_chains;
        for (slot, cell) in other.cells.iter().enumerate() {
            *self.cell(slot) += *cell;
        }
    }

    #[inline]
    fn cell(&mut self, slot: usize) -> &mut CellCounts {
        if self.cells.len() <= slot {
            self.cells.resize(slot + 1, CellCounts::NONE);
        }
        &mut self.cells[slot]
    }
}

/// What one shard, or several merged, know of a question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CohortPartial {
    pub money: LtvPartial,
    /// By ordinal of the cohort's bucket.
    pub counts: BTreeMap<i32, CohortCounts>,
}

impl Summed for CohortPartial {
    fn merge(mut self, other: Self) -> Self {
        self.money = self.money.merge(other.money);
        for (ordinal, counts) in other.counts {
            self.counts.entry(ordinal).or_default().add(&counts);
        }
        self
    }

    fn memory_bytes(&self) -> usize {
        let cells = |counts: &CohortCounts| counts.cells.capacity() * size_of::<CellCounts>();
        let counts = self.counts.values().map(|counts| size_of::<CohortCounts>() + cells(counts));
        self.money.memory_bytes() + counts.sum::<usize>()
    }
}

/// What the facts of a shard say: one pass.
pub fn partial<'f>(
    facts: impl Into<Facts<'f>>,
    dictionary: &Dictionary,
    question: &CohortQuestion,
) -> CohortPartial {
    let Some(app) = dictionary.find_app(&question.app) else { return CohortPartial::default() };
    let money_question = question.money();
    let mut money = FactPass::new(dictionary, &money_question);
    let mut counts = CountPass::new(dictionary, &money);
    let facts = facts.into();
    money.run(&facts, app, &mut counts);
    counts.run(&facts, app, &money);
    let counts = counts.cohorts.into_rows().map(|(_, ordinal, counts)| (ordinal, counts));
    CohortPartial { money: money.finish(), counts: counts.collect() }
}

/// Counts as facts come: beside the money, what payments and payers say, then the rest.
struct CountPass<'a> {
    by_days: bool,
    slots: AgeSlots,
    /// By signature.
    seen: Vec<MarksSeen>,
    running: Running<'a>,
    cohorts: Grid<CohortCounts>,
}

impl Beside for CountPass<'_> {
    #[inline]
    fn payment(&mut self, fact: &FactRow<'_>, cohort: i32, slot: usize) {
        let key = &fact.key;
        if !self.by_days {
            if self.running.covers_today(key) {
                self.cell(cohort, slot).running += fact.sums().count;
            }
        } else if key.index == 1 {
            // Along days a chain is counted once, by its first payment.
            self.cell(cohort, slot).subscriptions += fact.sums().count;
        }
    }

    #[inline]
    fn payers(&mut self, fact: &FactRow<'_>, cohort: i32) {
        let (seen, count) = (self.seen_of(fact), fact.sums().count);
        if seen.lowest_paid == 0 {
            return;
        }
        let by_days = self.by_days;
        let slot = if by_days { self.day_slot(fact) } else { self.index_slot(seen.lowest_paid) };
        let cell = self.cell(cohort, slot);
        if !seen.is_refunded {
            cell.unrefunded += count;
        }
        if !by_days && seen.lowest_paid == 1 {
            cell.payers += count;
        }
    }
}

impl<'a> CountPass<'a> {
    fn new(dictionary: &'a Dictionary, money: &FactPass<'_>) -> Self {
        let question = money.question();
        Self {
            by_days: question.age == AgeBasis::ElapsedDays,
            slots: AgeSlots::new(&asked(question)),
            seen: money.seen_signatures(),
            running: Running::new(dictionary, question.today),
            cohorts: Grid::default(),
        }
    }

    /// Takes in all facts of an app that no other pass needs; `money` knows the cohorts.
    fn run(&mut self, facts: &Facts<'_>, app: AppIx, money: &FactPass<'_>) {
        let LtvQuestion { zone, until, .. } = *money.question();
        let of = |kind| facts.through(Group { app, zone, kind }, until);
        let cohort = |fact: &FactRow<'_>| money.cohort(fact.key.install_day);
        let by_days = self.by_days;
        of(FactKind::Subscription).for_each(|fact| {
            let (seen, count) = (self.seen_of(&fact), fact.sums().count);
            if let Some(cohort) = cohort(&fact).filter(|_| seen.lowest_paid > 0) {
                self.counts(cohort).more_chains += count;
                if by_days && !seen.is_refunded {
                    let slot = self.day_slot(&fact);
                    self.cell(cohort, slot).subscriptions += count;
                }
            }
        });
        of(FactKind::Starter).for_each(|fact| {
            if let Some(cohort) = cohort(&fact).filter(|_| self.seen_of(&fact).has_any) {
                let slot = if by_days { self.day_slot(&fact) } else { 0 };
                self.cell(cohort, slot).starters += fact.sums().count;
            }
        });
        if by_days {
            return;
        }
        of(FactKind::PeriodPayer).for_each(|fact| {
            if let Some(cohort) = cohort(&fact).filter(|_| self.seen_of(&fact).has_any) {
                let slot = self.index_slot(fact.key.index);
                self.cell(cohort, slot).payers += fact.sums().count;
            }
        });
    }

    #[inline]
    fn seen_of(&self, fact: &FactRow<'_>) -> MarksSeen {
        self.seen.get(fact.key.dims as usize).copied().unwrap_or_default()
    }

    /// The cell of a fact's whole days since the install.
    #[inline]
    fn day_slot(&self, fact: &FactRow<'_>) -> usize {
        let key = &fact.key;
        let calendar = i64::from(key.day.0) - i64::from(key.install_day.0);
        self.slots.slot(calendar - i64::from(key.slip_install))
    }

    fn index_slot(&self, index: u16) -> usize {
        self.slots.slot(i64::from(index.max(1)))
    }

    #[inline]
    fn counts(&mut self, cohort: i32) -> &mut CohortCounts {
        self.cohorts.row(0, cohort, CohortCounts::default)
    }

    #[inline]
    fn cell(&mut self, cohort: i32, slot: usize) -> &mut CellCounts {
        self.counts(cohort).cell(slot)
    }
}

/// Which payments still cover today, as far as their tuples name a period.
struct Running<'a> {
    /// By tuple.
    durations: &'a Pieces<TextId>,
    /// By period: the first day whose payments do. On later days all do: by the calendar what
    /// begins later does not end earlier.
    since: [(Option<TextId>, Day); 6],
    earliest: Day,
}

impl<'a> Running<'a> {
    fn new(dictionary: &'a Dictionary, today: Day) -> Self {
        let since = [
            (1, PeriodUnit::Week),
            (1, PeriodUnit::Month),
            (2, PeriodUnit::Month),
            (3, PeriodUnit::Month),
            (6, PeriodUnit::Month),
            (1, PeriodUnit::Year),
        ]
        .map(|(count, unit)| Period { count, unit })
        .map(|period| {
            let covers_today = |day: &Day| {
                let start = Timestamp(i64::from(day.0).saturating_mul(DAY_MICROS));
                today < period.end(start).utc_day()
            };
            let days = (0..).map(|back| Day(today.0.saturating_sub(back)));
            let first = days.take_while(covers_today).last().unwrap_or(today);
            (dictionary.find_text(period.duration_name()), first)
        });
        let earliest = since.iter().map(|(_, first)| *first).min().unwrap_or(today);
        Self { durations: dictionary.values(Dimension::Duration), since, earliest }
    }

    #[inline]
    fn covers_today(&self, payment: &FactKey) -> bool {
        self.earliest <= payment.day && self.is_since(payment)
    }

    fn is_since(&self, payment: &FactKey) -> bool {
        let duration = self.durations.get(payment.dims as usize).copied();
        let mut since =
            self.since.iter().filter(|(named, _)| duration.is_some() && *named == duration);
        since.any(|(_, first)| *first <= payment.day)
    }
}
