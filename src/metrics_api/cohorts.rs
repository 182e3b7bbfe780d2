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
use crate::domain::period::{Period, PeriodUnit};
use crate::domain::time::{DAY_MICROS, Day, Timestamp, Width};
use crate::engine::dictionary::{AppIx, Dictionary, TupleId};
use crate::engine::facts::{FactKind, FactRow, FactTable, Group};
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

/// Changes of counts from cell to cell; what lies beyond the last asked cell is at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steps(Vec<i64>);

impl Steps {
    fn add(&mut self, slot: usize, count: i64) {
        if self.0.len() <= slot {
            self.0.resize(slot + 1, 0);
        }
        self.0[slot] += count;
    }

    /// The change at a cell.
    pub fn at(&self, slot: usize) -> i64 {
        self.0.get(slot).copied().unwrap_or(0)
    }

    /// All changes together.
    pub fn total(&self) -> i64 {
        self.0.iter().sum()
    }
}

impl std::ops::AddAssign<&Self> for Steps {
    fn add_assign(&mut self, other: &Self) {
        for (slot, count) in other.0.iter().enumerate() {
            self.add(slot, *count);
        }
    }
}

/// Counts of one cohort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CohortCounts {
    /// Along payments: customers with a payment of the index, anew for each.
    pub payers: Steps,
    /// Customers without a refund: along payments by the lowest index they paid, along days by the
    /// day they first paid.
    pub unrefunded: Steps,
    /// Along payments: payments of the index. Along days: chains without a refunded payment.
    pub subscriptions: Steps,
    /// All chains with a payment.
    pub chains: i64,
    /// Customers who began a trial or a subscription.
    pub starters: Steps,
    /// By cell: the last day on which a payment of the index still covers somebody.
    pub covered_to: Vec<Day>,
}

impl CohortCounts {
    /// Whether nobody is counted.
    pub(crate) fn is_zero(&self) -> bool {
        let Self { payers, unrefunded, subscriptions, chains, starters, .. } = self;
        let steps = [payers, unrefunded, subscriptions, starters];
        *chains == 0 && steps.iter().all(|steps| steps.0.iter().all(|count| *count == 0))
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.payers += &other.payers;
        self.unrefunded += &other.unrefunded;
        self.subscriptions += &other.subscriptions;
        self.chains += other.chains;
        self.starters += &other.starters;
        for (slot, day) in other.covered_to.iter().enumerate() {
            self.cover(slot, *day);
        }
    }

    fn cover(&mut self, slot: usize, day: Day) {
        if self.covered_to.len() <= slot {
            self.covered_to.resize(slot + 1, Day::MIN);
        }
        self.covered_to[slot] = self.covered_to[slot].max(day);
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
    CohortPartial { money: money.finish(dictionary), counts: counts.collect() }
}

/// Counts as facts come.
struct CountPass {
    by_days: bool,
    slots: AgeSlots,
    selector: Selector,
    /// By signature.
    marks: Vec<MarksSeen>,
    /// By tuple: how long a payment of it lasts.
    periods: Vec<Option<Period>>,
    cohorts: Grid<CohortCounts>,
}

impl CountPass {
    fn new(dictionary: &Dictionary, question: &LtvQuestion) -> Self {
        let selector = Selector::new(dictionary, question.narrowing(), None);
        Self {
            by_days: question.age == AgeBasis::ElapsedDays,
            slots: AgeSlots::new(&asked(question)),
            marks: selector.marks(dictionary),
            selector,
            periods: periods(dictionary),
            cohorts: Grid::default(),
        }
    }

    /// Takes in all facts of an app that say anything here; `money` knows the cohorts.
    fn run(&mut self, facts: &FactTable, app: AppIx, money: &FactPass<'_>) {
        let LtvQuestion { zone, until, .. } = *money.question();
        let of = |kind| {
            let facts = facts.of(Group { app, zone, kind });
            let facts = facts.filter(move |fact| fact.key.day <= until);
            facts.filter_map(|fact| Some((fact, money.cohort(fact.key.install_day)?)))
        };
        of(FactKind::Payment).for_each(|(fact, cohort)| self.take_payment(&fact, cohort));
        of(FactKind::Payer).for_each(|(fact, cohort)| self.take_payer(&fact, cohort));
        of(FactKind::PeriodPayer).for_each(|(fact, cohort)| self.take_period_payer(&fact, cohort));
        of(FactKind::Subscription).for_each(|(fact, cohort)| self.take_subscription(&fact, cohort));
        of(FactKind::Starter).for_each(|(fact, cohort)| self.take_starter(&fact, cohort));
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

    fn marks(&self, fact: &FactRow<'_>) -> MarksSeen {
        self.marks.get(fact.key.dims as usize).copied().unwrap_or_default()
    }

    fn take_payment(&mut self, fact: &FactRow<'_>, cohort: i32) {
        let key = &fact.key;
        if self.selector.segment(key.dims).is_none() {
            return;
        }
        let count = fact.sums().count;
        let slot = if self.by_days { self.day_slot(fact) } else { self.index_slot(key.index) };
        let period = self.periods.get(key.dims as usize).copied().flatten();
        let by_days = self.by_days;
        let counts = self.counts(cohort);
        if key.index == 1 {
            // Each chain begins as what its first payment says.
            counts.chains += count;
        }
        if by_days {
            if key.index == 1 {
                counts.subscriptions.add(slot, count);
            }
            return;
        }
        counts.subscriptions.add(slot, count);
        if key.index > 1 {
            counts.payers.add(slot, count);
        }
        if let Some(period) = period {
            counts.cover(slot, last_covered(key.day, period));
        }
    }

    fn take_payer(&mut self, fact: &FactRow<'_>, cohort: i32) {
        let (marks, count) = (self.marks(fact), fact.sums().count);
        if marks.lowest_paid == 0 {
            return;
        }
        let slot =
            if self.by_days { self.day_slot(fact) } else { self.index_slot(marks.lowest_paid) };
        let by_days = self.by_days;
        let counts = self.counts(cohort);
        if !marks.is_refunded {
            counts.unrefunded.add(slot, count);
        }
        if !by_days && marks.lowest_paid == 1 {
            counts.payers.add(slot, count);
        }
    }

    fn take_period_payer(&mut self, fact: &FactRow<'_>, cohort: i32) {
        if !self.by_days && self.marks(fact).has_any {
            let slot = self.index_slot(fact.key.index);
            self.counts(cohort).payers.add(slot, fact.sums().count);
        }
    }

    fn take_subscription(&mut self, fact: &FactRow<'_>, cohort: i32) {
        let (marks, count) = (self.marks(fact), fact.sums().count);
        if marks.lowest_paid == 0 {
            return;
        }
        let slot = self.by_days.then(|| self.day_slot(fact));
        let counts = self.counts(cohort);
        counts.chains += count;
        if let Some(slot) = slot.filter(|_| !marks.is_refunded) {
            counts.subscriptions.add(slot, count);
        }
    }

    fn take_starter(&mut self, fact: &FactRow<'_>, cohort: i32) {
        if self.marks(fact).has_any {
            let slot = if self.by_days { self.day_slot(fact) } else { 0 };
            self.counts(cohort).starters.add(slot, fact.sums().count);
        }
    }
}

/// The last day on which what was paid on `day` still runs, by the calendar.
fn last_covered(day: Day, period: Period) -> Day {
    let start = Timestamp(i64::from(day.0).saturating_mul(DAY_MICROS));
    Day(period.end(start).utc_day().0.saturating_sub(1))
}

/// By tuple: the period that its duration names.
fn periods(dictionary: &Dictionary) -> Vec<Option<Period>> {
    use crate::domain::dimensions::Dimension;
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
    let of_tuple = |id: usize| {
        let tuple = dictionary.tuple(TupleId::try_from(id).unwrap_or(0));
        let duration = tuple.values[Dimension::Duration.index()];
        let found = named.iter().find(|(text, _)| *text == Some(duration));
        found.map(|(_, period)| *period)
    };
    (0..dictionary.tuple_count()).map(of_tuple).collect()
}
