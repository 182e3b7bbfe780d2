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
use crate::engine::facts::{FactKey, FactKind, FactRow, FactTable, Group};
use crate::metrics_api::ages::{AgeSlots, asked};
use crate::metrics_api::filters::{MarksSeen, Selector};
use crate::metrics_api::grid::Grid;
use crate::metrics_api::ltv::{FactPass, LtvPartial};
use crate::metrics_api::question::{
    AgeBasis, Filter, InvalidQuestion, LtvQuestion, Measure, Members, Per, RefundDating,
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

/// How counts of a cohort change at a cell, and by when its last payment has run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellCounts {
    /// Along payments: customers with a payment of the index, anew for each.
    pub payers: i64,
    /// Customers without a refund: along payments by the lowest index they paid, along days by the
    /// day they first paid.
    pub unrefunded: i64,
    /// Along payments: payments of the index. Along days: chains without a refunded payment.
    pub subscriptions: i64,
    /// Customers who began a trial or a subscription.
    pub starters: i64,
    /// The last day on which a payment of the index still covers somebody.
    pub covered_to: Day,
}

impl CellCounts {
    const NONE: Self =
        Self { payers: 0, unrefunded: 0, subscriptions: 0, starters: 0, covered_to: Day::MIN };
}

impl std::ops::AddAssign for CellCounts {
    fn add_assign(&mut self, other: Self) {
        self.payers += other.payers;
        self.unrefunded += other.unrefunded;
        self.subscriptions += other.subscriptions;
        self.starters += other.starters;
        self.covered_to = self.covered_to.max(other.covered_to);
    }
}

/// Counts of one cohort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CohortCounts {
    /// All chains with a payment.
    pub chains: i64,
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
        let is_none = |cell: &CellCounts| CellCounts { covered_to: Day::MIN, ..*cell };
        self.chains == 0 && self.cells.iter().all(|cell| is_none(cell) == CellCounts::NONE)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.chains += other.chains;
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

impl CohortPartial {
    /// Both together: of shards, which share no customer.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.money = self.money.merge(other.money);
        for (ordinal, counts) in other.counts {
            self.counts.entry(ordinal).or_default().add(&counts);
        }
        self
    }
}

/// What the facts of a shard say: one pass.
pub fn partial(
    facts: &FactTable,
    dictionary: &Dictionary,
    question: &CohortQuestion,
) -> CohortPartial {
    let Some(app) = dictionary.find_app(&question.app) else { return CohortPartial::default() };
    let money_question = question.money();
    let mut money = FactPass::new(dictionary, &money_question);
    let mut counts = CountPass::new(dictionary, &money_question);
    money.run(facts, app);
    counts.run(facts, app, &money);
    let counts = counts.cohorts.into_rows().map(|(_, ordinal, counts)| (ordinal, counts));
    CohortPartial { money: money.finish(), counts: counts.collect() }
}

/// Counts as facts come.
struct CountPass<'a> {
    by_days: bool,
    slots: AgeSlots,
    dictionary: &'a Dictionary,
    selector: Selector<'a>,
    covered: Covered<'a>,
    cohorts: Grid<CohortCounts>,
}

impl<'a> CountPass<'a> {
    fn new(dictionary: &'a Dictionary, question: &LtvQuestion) -> Self {
        Self {
            by_days: question.age == AgeBasis::ElapsedDays,
            slots: AgeSlots::new(&asked(question)),
            dictionary,
            selector: Selector::new(dictionary, question.narrowing(), None),
            covered: Covered::new(dictionary),
            cohorts: Grid::default(),
        }
    }

    /// Takes in all facts of an app that say anything here; `money` knows the cohorts.
    fn run(&mut self, facts: &FactTable, app: AppIx, money: &FactPass<'_>) {
        let LtvQuestion { zone, until, .. } = *money.question();
        let of = |kind| facts.through(Group { app, zone, kind }, until);
        let by_days = self.by_days;
        let cohort = |fact: &FactRow<'_>| money.cohort(fact.key.install_day);
        of(FactKind::Payment).for_each(|fact| {
            // Along days a chain is counted once, by its first payment.
            let counts = fact.key.index == 1 || !by_days;
            if counts
                && self.selector.segment(fact.key.dims).is_some()
                && let Some(cohort) = cohort(&fact)
            {
                self.take_payment(&fact, cohort);
            }
        });
        let mut of_signature = |kind, take: fn(&mut Self, &FactRow<'_>, MarksSeen, i32)| {
            of(kind).for_each(|fact| {
                let marks = self.selector.seen(self.dictionary.signature(fact.key.dims));
                if let Some(cohort) = cohort(&fact).filter(|_| marks.has_any) {
                    take(self, &fact, marks, cohort);
                }
            });
        };
        of_signature(FactKind::Payer, Self::take_payer);
        if !by_days {
            of_signature(FactKind::PeriodPayer, Self::take_period_payer);
        }
        of_signature(FactKind::Subscription, Self::take_subscription);
        of_signature(FactKind::Starter, Self::take_starter);
    }

    /// The cell of a fact's whole days since the install.
    fn day_slot(&self, fact: &FactRow<'_>) -> usize {
        let key = &fact.key;
        let calendar = i64::from(key.day.0) - i64::from(key.install_day.0);
        self.slots.slot(calendar - i64::from(key.slip_install))
    }

    fn counts(&mut self, cohort: i32) -> &mut CohortCounts {
        self.cohorts.row(0, cohort, CohortCounts::default)
    }

    fn index_slot(&self, index: u16) -> usize {
        self.slots.slot(i64::from(index.max(1)))
    }

    #[inline(never)]
    fn take_payment(&mut self, fact: &FactRow<'_>, cohort: i32) {
        let (key, count) = (&fact.key, fact.sums().count);
        let slot = if self.by_days { self.day_slot(fact) } else { self.index_slot(key.index) };
        let by_days = self.by_days;
        let covered_to = if by_days { None } else { self.covered.to(key) };
        let counts = self.counts(cohort);
        if key.index == 1 {
            // Each chain begins as what its first payment says.
            counts.chains += count;
        }
        let cell = counts.cell(slot);
        cell.subscriptions += count;
        if !by_days && key.index > 1 {
            cell.payers += count;
        }
        cell.covered_to = cell.covered_to.max(covered_to.unwrap_or(Day::MIN));
    }

    fn take_payer(&mut self, fact: &FactRow<'_>, marks: MarksSeen, cohort: i32) {
        let count = fact.sums().count;
        if marks.lowest_paid == 0 {
            return;
        }
        let slot =
            if self.by_days { self.day_slot(fact) } else { self.index_slot(marks.lowest_paid) };
        let by_days = self.by_days;
        let cell = self.counts(cohort).cell(slot);
        if !marks.is_refunded {
            cell.unrefunded += count;
        }
        if !by_days && marks.lowest_paid == 1 {
            cell.payers += count;
        }
    }

    fn take_period_payer(&mut self, fact: &FactRow<'_>, _: MarksSeen, cohort: i32) {
        let slot = self.index_slot(fact.key.index);
        self.counts(cohort).cell(slot).payers += fact.sums().count;
    }

    fn take_subscription(&mut self, fact: &FactRow<'_>, marks: MarksSeen, cohort: i32) {
        let count = fact.sums().count;
        if marks.lowest_paid == 0 {
            return;
        }
        let slot = self.by_days.then(|| self.day_slot(fact));
        let counts = self.counts(cohort);
        counts.chains += count;
        if let Some(slot) = slot.filter(|_| !marks.is_refunded) {
            counts.cell(slot).subscriptions += count;
        }
    }

    fn take_starter(&mut self, fact: &FactRow<'_>, _: MarksSeen, cohort: i32) {
        let slot = if self.by_days { self.day_slot(fact) } else { 0 };
        self.counts(cohort).cell(slot).starters += fact.sums().count;
    }
}

/// Days whose ends of periods are remembered: to the middle of the next century.
const TABLE_DAYS: usize = 66_000;

/// How long payments last, as far as their tuples name a period. The calendar is asked once for
/// each day.
struct Covered<'a> {
    /// By tuple.
    durations: &'a [TextId],
    named: [(Option<TextId>, Period); 6],
    /// By period and day from [`Day`] 0: the last day covered, as far as it was asked for.
    known: [Vec<Option<Day>>; 6],
}

impl<'a> Covered<'a> {
    fn new(dictionary: &'a Dictionary) -> Self {
        let named = [
            (1, PeriodUnit::Week),
            (1, PeriodUnit::Month),
            (2, PeriodUnit::Month),
            (3, PeriodUnit::Month),
            (6, PeriodUnit::Month),
            (1, PeriodUnit::Year),
        ]
        .map(|(count, unit)| Period { count, unit })
        .map(|period| (dictionary.find_text(period.duration_name()), period));
        let durations = dictionary.values(Dimension::Duration);
        Self { durations, named, known: Default::default() }
    }

    /// The last day on which what a payment paid for still runs, by the calendar.
    fn to(&mut self, payment: &FactKey) -> Option<Day> {
        let duration = Some(*self.durations.get(payment.dims as usize)?);
        let place = self.named.iter().position(|(text, _)| *text == duration)?;
        let day = payment.day;
        let last = || {
            let start = Timestamp(i64::from(day.0).saturating_mul(DAY_MICROS));
            Day(self.named[place].1.end(start).utc_day().0.saturating_sub(1))
        };
        let Some(at) = usize::try_from(day.0).ok().filter(|at| *at < TABLE_DAYS) else {
            return Some(last());
        };
        let known = &mut self.known[place];
        if known.len() <= at {
            known.resize(at + 1, None);
        }
        Some(*known[at].get_or_insert_with(last))
    }
}
