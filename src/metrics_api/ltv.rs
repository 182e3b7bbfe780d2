//! Lifetime value of cohorts: one pass over the facts of a shard, or over its curves.
//!
//! Money comes from payments and refunds, payers from signatures, customers and installs from the
//! customers' own rows; all through `until`. Who is placed in a cohort only after `until` is not
//! seen yet, with all their money.
//!
//! Always true
//! * Facts and curves give the same partial; a question over several shards gives what one shard
//!   with all the facts would (`metrics_api/naive.rs`).
//! * The row of a segment is the row of the question that filters by the segment's value.

use std::collections::BTreeMap;

use crate::domain::cohort::Anchor;
use crate::domain::time::Day;
use crate::engine::curves::{Cohort, CohortCurves, CohortKey, Heads, SegmentIx};
use crate::engine::dictionary::{AppIx, Dictionary, TextId};
use crate::engine::facts::{FactKey, FactKind, FactRow, Facts, Group, Sums};
use crate::metrics_api::ages::{AgeSlots, asked};
use crate::metrics_api::buckets::Buckets;
use crate::metrics_api::filters::{MarksSeen, Selector};
use crate::metrics_api::flows::Flows;
use crate::metrics_api::grid::Grid;
use crate::metrics_api::kept::Summed;
use crate::metrics_api::question::{
    AgeBasis, LtvQuestion, Measure, Members, RefundDating, RefundedPayers,
};

pub use crate::metrics_api::ltv_answer::{
    LtvAnswer, LtvCohort, LtvGroup, LtvPoint, Note, Sizes, Value, answer, check_length,
};

/// A number of payments or refunds, and their money in micro-units of the reporting currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub count: i64,
    pub micros: i128,
}

impl Tally {
    /// One measure of the sums.
    pub fn of(sums: &Sums, measure: Measure) -> Self {
        Self { count: sums.count, micros: measure.of(sums) }
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.micros += other.micros;
    }
}

/// Money in and money given back; both positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    pub payments: Tally,
    pub refunds: Tally,
}

impl Flow {
    /// One measure of the flows.
    pub fn of(flows: &Flows, measure: Measure) -> Self {
        Self {
            payments: Tally::of(&flows.payments, measure),
            refunds: Tally::of(&flows.refunds, measure),
        }
    }

    /// Payments less refunds, micro-units.
    pub fn revenue_micros(&self) -> i128 {
        self.payments.micros - self.refunds.micros
    }
}

impl std::ops::AddAssign for Flow {
    fn add_assign(&mut self, other: Self) {
        self.payments += other.payments;
        self.refunds += other.refunds;
    }
}

/// Sums of one cohort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LtvRow {
    pub heads: Heads,
    /// By asked age, each what came after the asked age before; last what came after them all.
    /// Ages that nothing has reached may be missing at the end.
    pub flows: Vec<Flows>,
}

impl LtvRow {
    /// Whether nothing is in it.
    pub(crate) fn is_zero(&self) -> bool {
        self.heads == Heads::default() && self.flows.iter().all(|flows| *flows == Flows::default())
    }

    /// How many of the asked ages there are up to the last at which anything came.
    pub(crate) fn reached(&self) -> usize {
        let last = self.flows.iter().rposition(|flows| *flows != Flows::default());
        last.map_or(0, |slot| slot + 1)
    }

    /// What came at an asked age.
    pub(crate) fn at(&self, slot: usize) -> Flows {
        self.flows.get(slot).copied().unwrap_or_default()
    }

    #[inline]
    fn at_mut(&mut self, slot: usize) -> &mut Flows {
        if self.flows.len() <= slot {
            self.flows.resize(slot + 1, Flows::default());
        }
        &mut self.flows[slot]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.heads += other.heads;
        if self.flows.len() < other.flows.len() {
            self.flows.resize(other.flows.len(), Flows::default());
        }
        for (flow, more) in self.flows.iter_mut().zip(&other.flows) {
            *flow += *more;
        }
    }
}

/// What one shard, or several merged, know of a question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LtvPartial {
    /// By ordinal of the cohort's bucket.
    pub cohorts: BTreeMap<i32, LtvRow>,
    /// By segment value (empty: unknown); only in segmented questions.
    pub segments: BTreeMap<String, BTreeMap<i32, LtvRow>>,
    /// Unlinked refunds before the customer's first payment: in no cohort.
    pub unplaced_refunds: Sums,
}

impl Summed for LtvPartial {
    fn merge(mut self, other: Self) -> Self {
        add_rows(&mut self.cohorts, other.cohorts);
        for (value, rows) in other.segments {
            add_rows(self.segments.entry(value).or_default(), rows);
        }
        self.unplaced_refunds += other.unplaced_refunds;
        self
    }

    fn memory_bytes(&self) -> usize {
        let rows = self.cohorts.values().chain(self.segments.values().flat_map(BTreeMap::values));
        rows.map(|row| size_of::<LtvRow>() + row.flows.capacity() * size_of::<Flows>()).sum()
    }
}

fn add_rows(rows: &mut BTreeMap<i32, LtvRow>, more: BTreeMap<i32, LtvRow>) {
    for (ordinal, row) in more {
        rows.entry(ordinal).or_default().add(&row);
    }
}

/// What the facts of a shard say.
pub fn partial<'f>(
    facts: impl Into<Facts<'f>>,
    dictionary: &Dictionary,
    question: &LtvQuestion,
) -> LtvPartial {
    let Some(app) = dictionary.find_app(&question.app) else { return LtvPartial::default() };
    let mut pass = FactPass::new(dictionary, question);
    pass.run(&facts.into(), app, &mut ());
    pass.finish()
}

/// What the curves of a shard say; `None` if only the facts can tell: with filters, on the bases
/// of elapsed days and payments, without refunded payers, in a zone or by a field that the curves
/// do not keep.
pub fn partial_of_curves(
    curves: &CohortCurves,
    dictionary: &Dictionary,
    question: &LtvQuestion,
) -> Option<LtvPartial> {
    let by_calendar = matches!(question.age, AgeBasis::Days | AgeBasis::Periods);
    let narrowed = !question.filters.is_empty()
        || !question.any_of.is_empty()
        || question.refunded_payers == RefundedPayers::Leave;
    if narrowed || !by_calendar || !curves.keeps(question.zone) {
        return None;
    }
    let field = match &question.segment_by {
        None => None,
        Some(field) => Some(curves.field_number(&question.app, field)?),
    };
    let Some(app) = dictionary.find_app(&question.app) else {
        return Some(LtvPartial::default());
    };
    let mut sums = LtvSums::new(question);
    for (key, cohort) in curves.iter() {
        let wanted = key.app == app && key.zone == question.zone && key.anchor == question.anchor;
        let segment = key.segment.filter(|segment| Some(segment.field) == field);
        if wanted && (key.segment.is_none() || segment.is_some()) {
            sums.take_cohort(key, segment, cohort);
        }
    }
    for (day, refunds) in curves.unplaced_refunds(app, question.zone) {
        if day <= question.until {
            sums.unplaced_refunds += refunds;
        }
    }
    Some(sums.spell_out(dictionary))
}

/// Sums that facts and curves are added into.
struct LtvSums<'a> {
    question: &'a LtvQuestion,
    slots: AgeSlots,
    buckets: Buckets,
    /// The first and the last anchor day of the cohorts wanted.
    placed: (Day, Day),
    rows: Grid<LtvRow>,
    /// Heads of segmented questions, whatever the segment: a customer may be in several.
    heads: Grid<Heads>,
    unplaced_refunds: Sums,
}

impl<'a> LtvSums<'a> {
    fn new(question: &'a LtvQuestion) -> Self {
        let (width, until) = (question.width, question.until);
        let (from, to) = match question.members {
            Members::BetweenDates => (question.from, question.to),
            Members::WholeCohorts => {
                (question.from.map(|day| width.start(day)), question.to.map(|day| width.end(day)))
            }
        };
        // The very first day stands for none.
        let first = from.unwrap_or(Day::MIN).max(Day(Day::MIN.0 + 1));
        Self {
            question,
            slots: AgeSlots::new(&asked(question)),
            buckets: Buckets::new(width, until),
            placed: (first, to.map_or(until, |to| to.min(until))),
            rows: Grid::default(),
            heads: Grid::default(),
            unplaced_refunds: Sums::default(),
        }
    }

    fn segmented(&self) -> bool {
        self.question.segment_by.is_some()
    }

    /// The cohort of an anchor day, if it is wanted.
    #[inline]
    fn cohort(&self, anchor_day: Day) -> Option<i32> {
        let is_wanted = self.placed.0 <= anchor_day && anchor_day <= self.placed.1;
        is_wanted.then(|| self.buckets.ordinal(anchor_day))
    }

    #[inline(always)]
    fn row(&mut self, segment: TextId, cohort: i32) -> &mut LtvRow {
        self.rows.row(segment, cohort, LtvRow::default)
    }

    /// Calendar age in days or periods.
    #[inline]
    fn calendar_age(&self, cohort: i32, anchor_day: Day, day: Day) -> i64 {
        match self.question.age {
            AgeBasis::Periods => i64::from(self.buckets.ordinal(day)) - i64::from(cohort),
            _ => i64::from(day.0) - i64::from(anchor_day.0),
        }
    }

    fn take_cohort(&mut self, key: &CohortKey, segment: Option<SegmentIx>, cohort: &Cohort) {
        let Some(ordinal) = self.cohort(key.day) else { return };
        let until = self.question.until;
        let mut heads = Heads::default();
        for (day, sums) in cohort.heads.iter() {
            if day <= until {
                heads += sums;
            }
        }
        let value = match segment {
            None if self.segmented() => {
                *self.heads.row(0, ordinal, Heads::default) += heads;
                return;
            }
            None => 0,
            Some(segment) => segment.value,
        };
        // Added up apart, so that the row is looked up once and not for every cell.
        let mut row = LtvRow { heads, ..LtvRow::default() };
        for (day, sums) in cohort.payments.iter().take_while(|(day, _)| *day <= until) {
            let slot = self.slots.slot(self.calendar_age(ordinal, key.day, day));
            row.at_mut(slot).payments += sums;
        }
        for ((day, of), sums) in cohort.refunds.iter().take_while(|((day, _), _)| *day <= until) {
            let counted = match self.question.refunds {
                RefundDating::AtRefund => day,
                RefundDating::AtPurchase => of,
            };
            let slot = self.slots.slot(self.calendar_age(ordinal, key.day, counted));
            row.at_mut(slot).refunds += sums;
        }
        self.row(value, ordinal).add(&row);
    }

    fn spell_out(self, dictionary: &Dictionary) -> LtvPartial {
        let segmented = self.segmented();
        let mut partial =
            LtvPartial { unplaced_refunds: self.unplaced_refunds, ..LtvPartial::default() };
        for (_, ordinal, heads) in self.heads.into_rows() {
            let row = LtvRow { heads, ..LtvRow::default() };
            partial.cohorts.insert(ordinal, row);
        }
        for (segment, ordinal, row) in self.rows.into_rows() {
            if !segmented {
                partial.cohorts.insert(ordinal, row);
                continue;
            }
            let money = LtvRow { heads: Heads::default(), flows: row.flows.clone() };
            partial.cohorts.entry(ordinal).or_default().add(&money);
            let value = dictionary.text(segment).to_owned();
            partial.segments.entry(value).or_default().insert(ordinal, row);
        }
        partial
    }
}

/// What is counted beside money and heads, of the facts that a pass takes.
pub(crate) trait Beside {
    /// A payment of a cohort, in the place of its age.
    fn payment(&mut self, fact: &FactRow<'_>, cohort: i32, slot: usize);
    /// Payers of a cohort.
    fn payers(&mut self, fact: &FactRow<'_>, cohort: i32);
}

impl Beside for () {
    fn payment(&mut self, _: &FactRow<'_>, _: i32, _: usize) {}
    fn payers(&mut self, _: &FactRow<'_>, _: i32) {}
}

/// One pass over facts of the question's app and zone through `until`.
pub(crate) struct FactPass<'a> {
    sums: LtvSums<'a>,
    dictionary: &'a Dictionary,
    selector: Selector<'a>,
    installs: Selector<'a>,
    /// Whether a segment says which customers it has.
    segments_hold_customers: bool,
}

impl<'a> FactPass<'a> {
    pub(crate) fn new(dictionary: &'a Dictionary, question: &'a LtvQuestion) -> Self {
        let (narrowing, by) = (question.narrowing(), question.segment_by.as_ref());
        Self {
            sums: LtvSums::new(question),
            dictionary,
            selector: Selector::new(dictionary, narrowing, by),
            installs: Selector::for_installs(dictionary, narrowing, by),
            segments_hold_customers: by.is_none_or(|field| field.narrows_installs()),
        }
    }

    pub(crate) fn question(&self) -> &'a LtvQuestion {
        self.sums.question
    }

    /// The cohort of an anchor day, if it is wanted.
    pub(crate) fn cohort(&self, anchor_day: Day) -> Option<i32> {
        self.sums.cohort(anchor_day)
    }

    /// What the filters see of each signature, by its number. For questions without segments.
    pub(crate) fn seen_signatures(&self) -> Vec<MarksSeen> {
        self.selector.seen(self.dictionary)
    }

    /// What has been taken.
    pub(crate) fn finish(self) -> LtvPartial {
        self.sums.spell_out(self.dictionary)
    }

    /// Takes in all facts of an app that say anything here.
    pub(crate) fn run(&mut self, facts: &Facts<'_>, app: AppIx, beside: &mut impl Beside) {
        let LtvQuestion { zone, until, anchor, refunded_payers, .. } = *self.sums.question;
        let of = |kind| facts.through(Group { app, zone, kind }, until);
        of(FactKind::Payment).for_each(|fact| {
            if let Some((segment, cohort)) = self.place(&fact.key) {
                let slot = self.slot(cohort, &fact.key, false);
                self.sums.row(segment, cohort).at_mut(slot).payments += fact.sums();
                beside.payment(&fact, cohort, slot);
            }
        });
        let at_purchase = self.sums.question.refunds == RefundDating::AtPurchase;
        of(FactKind::Refund).for_each(|fact| {
            if let Some((segment, cohort)) = self.place(&fact.key) {
                let of_payment = at_purchase && fact.key.other_day != Day::MIN;
                let slot = self.slot(cohort, &fact.key, of_payment);
                self.sums.row(segment, cohort).at_mut(slot).refunds += fact.sums();
            }
        });
        of(FactKind::UnplacedRefund).for_each(|fact| {
            if self.selector.segment(fact.key.dims).is_some() {
                self.sums.unplaced_refunds += fact.sums();
            }
        });
        let (mut segments, mut left) = (Vec::new(), Vec::new());
        of(FactKind::Payer).for_each(|fact| {
            let Some(cohort) = self.sums.cohort(self.anchor_day(&fact.key)) else { return };
            let marks = self.dictionary.signature(fact.key.dims);
            self.selector.segments_of(marks, &mut segments);
            if refunded_payers == RefundedPayers::Leave {
                self.selector.refunded_segments(marks, &mut left);
            }
            if !segments.is_empty() {
                self.take_payers(&fact, cohort, (&segments, &left));
                beside.payers(&fact, cohort);
            }
        });
        if anchor == Anchor::Install {
            of(FactKind::Customer).for_each(|fact| self.take_customers(&fact));
        }
    }

    /// Segment and cohort of a payment or refund, if it counts.
    #[inline]
    fn place(&self, key: &FactKey) -> Option<(TextId, i32)> {
        let segment = self.selector.segment(key.dims)?;
        Some((segment, self.sums.cohort(self.anchor_day(key))?))
    }

    #[inline]
    fn anchor_day(&self, key: &FactKey) -> Day {
        match self.sums.question.anchor {
            Anchor::FirstPurchase => key.first_day,
            Anchor::Install => key.install_day,
        }
    }

    /// The place of the age of the fact, or of the payment it refunds.
    #[inline]
    fn slot(&self, cohort: i32, key: &FactKey, of_payment: bool) -> usize {
        let day = if of_payment { key.other_day } else { key.day };
        let calendar = || self.sums.calendar_age(cohort, self.anchor_day(key), day);
        let age = match self.sums.question.age {
            AgeBasis::Days | AgeBasis::Periods => calendar(),
            AgeBasis::Payments => i64::from(key.index.max(1)),
            AgeBasis::ElapsedDays => {
                let slip = match (self.sums.question.anchor, of_payment) {
                    (Anchor::FirstPurchase, false) => key.slip_first,
                    (Anchor::FirstPurchase, true) => key.other_slip_first,
                    (Anchor::Install, false) => key.slip_install,
                    (Anchor::Install, true) => key.other_slip_install,
                };
                calendar() - i64::from(slip)
            }
        };
        self.sums.slots.slot(age)
    }

    /// Takes in who paid in these segments, of which they are payers no more in those they left.
    fn take_payers(
        &mut self,
        fact: &FactRow<'_>,
        cohort: i32,
        (segments, left): (&[TextId], &[TextId]),
    ) {
        let count = fact.sums().count;
        // Who is anchored by a payment is a customer of that cohort by having paid.
        let by_payment = self.sums.question.anchor == Anchor::FirstPurchase;
        let customers = if by_payment { count } else { 0 };
        let heads = |stays: bool| {
            let payers = if stays { count } else { 0 };
            Heads { customers, payers, installs: 0 }
        };
        for segment in segments {
            self.sums.row(*segment, cohort).heads += heads(!left.contains(segment));
        }
        if self.sums.segmented() {
            *self.sums.heads.row(0, cohort, Heads::default) += heads(left.is_empty());
        }
    }

    fn take_customers(&mut self, fact: &FactRow<'_>) {
        let Some(segment) = self.installs.segment(fact.key.dims) else { return };
        let Some(cohort) = self.sums.cohort(fact.key.install_day) else { return };
        let customers = fact.sums().count;
        let installs = if fact.key.index == 1 { customers } else { 0 };
        let heads = Heads { customers, payers: 0, installs };
        if self.segments_hold_customers {
            self.sums.row(segment, cohort).heads += heads;
        }
        if self.sums.segmented() {
            *self.sums.heads.row(0, cohort, Heads::default) += heads;
        }
    }
}
