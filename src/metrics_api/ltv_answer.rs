//! From merged sums to an answer: curves, heads, completeness, totals.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::domain::cohort::Anchor;
use crate::domain::time::Day;
use crate::engine::curves::Heads;
use crate::metrics_api::ages::{Aging, Seen, asked};
use crate::metrics_api::flows::Flows;
use crate::metrics_api::ltv::{Flow, LtvPartial, LtvRow, Tally};
use crate::metrics_api::question::{AgeBasis, InvalidQuestion, LtvQuestion, ROWS_MAX};
use crate::metrics_api::ratio::Ratio;

/// How many of what; what a cohort's revenue can be divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub customers: i64,
    pub payers: i64,
    /// Customers placed by an `install` event; `None` with the first-purchase anchor, whose
    /// cohorts do not know them.
    pub installs: Option<i64>,
}

/// Money of a number of heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Value {
    pub flow: Flow,
    /// What the question divides by.
    pub heads: i64,
}

impl Value {
    /// Revenue per head, exact until printed.
    pub fn per_head(&self) -> Ratio {
        Ratio { micros: self.flow.revenue_micros(), count: self.heads }
    }
}

/// A point of a curve: everything up to and through one age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LtvPoint {
    pub value: Value,
    /// Of a cohort: whether everybody has lived through the age. Of a total: whether all listed
    /// cohorts are in it. `None` on the basis of payments.
    pub complete: Option<bool>,
    /// How many cohorts are in it; 1 for a cohort.
    pub cohorts: usize,
}

/// A cohort, or the total of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LtvCohort {
    /// First and last day of the (first and last) cohort.
    pub start: Day,
    pub end: Day,
    pub sizes: Sizes,
    /// Everything through `until`, whatever the age.
    pub to_date: Value,
    /// By [`LtvAnswer::ages`]; `None` where the age has not begun, or for a total where no cohort
    /// has completed it.
    pub points: Vec<Option<LtvPoint>>,
}

/// Cohorts and their total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LtvGroup {
    /// `None` without cohorts. Each age sums the cohorts that completed it (on the basis of
    /// payments: all), so that its value is their mean weighted by heads; a curve of totals may
    /// therefore fall where a cohort drops out.
    pub total: Option<LtvCohort>,
    /// By rising start; cohorts without customers and money are left out.
    pub cohorts: Vec<LtvCohort>,
}

impl LtvGroup {
    /// The cohorts that have begun the age at this place of [`LtvAnswer::ages`], the running ones
    /// as they are; nothing if the age was not asked for.
    pub fn begun(&self, place: usize) -> Value {
        let mut sum = Value::default();
        for point in self.cohorts.iter().filter_map(|cohort| cohort.points.get(place)?.as_ref()) {
            add_value(&mut sum, &point.value);
        }
        sum
    }
}

/// Something a reader of the answer must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// A filter or the segmentation says nothing of installs.
    InstallsNotNarrowed,
    /// Payers of several segments are in each of them.
    SegmentsOverlap,
    /// Distinct payers cannot be told by filters or segments.
    PayersUnknown,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InstallsNotNarrowed => {
                "product_id, plan_name, duration, offer_category, offer_type, offer_id, paywall_id, \
                 placement_id and audience_id narrow money and payers, not customers and installs"
            }
            Self::SegmentsOverlap => {
                "a customer with payments in several segments counts in each, so customers and \
                 payers of segments may add up to more than those of the total"
            }
            Self::PayersUnknown => {
                "distinct payers of a range are known without filters and segments only"
            }
        })
    }
}

/// The answer to an [`LtvQuestion`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LtvAnswer {
    /// The ages of all points, rising. Without asked ages those of the usual list that some cohort
    /// has begun (on the basis of payments: that some payment has reached).
    pub ages: Vec<u32>,
    /// All segments together; who is in several counts once.
    pub overall: LtvGroup,
    /// By segment value, the empty text for unknown; empty if the question has no segments.
    pub segments: Vec<(String, LtvGroup)>,
    /// Unlinked refunds before the customer's first payment, through `until`; in no cohort.
    pub unplaced_refunds: Tally,
    /// The last day that is over and counts.
    pub seen_through: Day,
    pub notes: Vec<Note>,
}

/// Refuses a question whose answer fits nowhere: one of a point for each age of each cohort of each
/// segment.
///
/// # Errors
/// [`InvalidQuestion::TooManyRows`].
pub fn check_length(question: &LtvQuestion, partial: &LtvPartial) -> Result<(), InvalidQuestion> {
    let is_blind = question.segment_by.as_ref().is_some_and(|field| !field.narrows_installs());
    let rows: usize = match is_blind && question.anchor == Anchor::Install {
        true => partial.segments.len() * partial.cohorts.len(),
        false => partial.segments.values().map(BTreeMap::len).sum(),
    };
    let ages = Maker::new(question, partial).ages.len().max(1);
    match rows.saturating_mul(ages) > ROWS_MAX {
        true => Err(InvalidQuestion::TooManyRows(ROWS_MAX)),
        false => Ok(()),
    }
}

/// The answer from the merged partials of all shards.
pub fn answer(question: &LtvQuestion, mut partial: LtvPartial) -> LtvAnswer {
    for rows in partial.segments.values_mut() {
        rows.retain(|_, row| !row.is_zero());
    }
    partial.segments.retain(|_, rows| !rows.is_empty());
    lend_customers(question, &mut partial);
    let maker = Maker::new(question, &partial);
    let segments = partial.segments.iter();
    LtvAnswer {
        overall: maker.group(&partial.cohorts),
        segments: segments.map(|(value, rows)| (value.clone(), maker.group(rows))).collect(),
        unplaced_refunds: Tally::of(&partial.unplaced_refunds, question.measure),
        seen_through: maker.aging.seen.through,
        notes: notes(question),
        ages: maker.ages,
    }
}

/// Gives segments that do not know their customers the customers of the whole cohorts.
fn lend_customers(question: &LtvQuestion, partial: &mut LtvPartial) {
    let blind = question.segment_by.as_ref().is_some_and(|field| !field.narrows_installs());
    if !blind || question.anchor != Anchor::Install {
        return;
    }
    for rows in partial.segments.values_mut() {
        for (ordinal, whole) in &partial.cohorts {
            let row = rows.entry(*ordinal).or_default();
            row.heads.customers = whole.heads.customers;
            row.heads.installs = whole.heads.installs;
        }
    }
}

fn notes(question: &LtvQuestion) -> Vec<Note> {
    let mut notes = BTreeSet::new();
    let filters = question.filters.iter().chain(question.any_of.iter().flatten());
    let fields = filters.map(|filter| &filter.field);
    let blind = fields.chain(&question.segment_by).any(|field| !field.narrows_installs());
    if blind && question.anchor == Anchor::Install {
        notes.insert(Note::InstallsNotNarrowed);
    }
    if question.segment_by.is_some() {
        notes.insert(Note::SegmentsOverlap);
    }
    notes.into_iter().collect()
}

struct Maker<'a> {
    question: &'a LtvQuestion,
    aging: Aging,
    ages: Vec<u32>,
}

impl<'a> Maker<'a> {
    fn new(question: &'a LtvQuestion, partial: &LtvPartial) -> Self {
        let seen = Seen::new(question.until, question.today);
        let aging = Aging { basis: question.age, width: question.width, seen };
        let mut ages = asked(question);
        if question.ages.is_none() {
            let reached = |slot: usize, age: u32| match question.age {
                // Kept up to the last index with a payment: those below it are reached as well.
                AgeBasis::Payments => partial
                    .cohorts
                    .values()
                    .any(|row| row.flows.iter().skip(slot).any(|flow| flow.payments.count != 0)),
                _ => partial
                    .cohorts
                    .iter()
                    .any(|(ordinal, row)| !row.is_zero() && aging.begun(*ordinal, age)),
            };
            let count =
                ages.iter().enumerate().take_while(|(slot, age)| reached(*slot, **age)).count();
            ages.truncate(count);
        }
        Self { question, aging, ages }
    }

    fn group(&self, rows: &BTreeMap<i32, LtvRow>) -> LtvGroup {
        let rows = rows.iter().filter(|(_, row)| !row.is_zero());
        let cohorts: Vec<LtvCohort> =
            rows.map(|(ordinal, row)| self.cohort(*ordinal, row)).collect();
        LtvGroup { total: self.total(&cohorts), cohorts }
    }

    fn cohort(&self, ordinal: i32, row: &LtvRow) -> LtvCohort {
        let width = self.question.width;
        let heads = row.heads.of(self.question.per);
        let measure = self.question.measure;
        let mut flows = Flows::default();
        let mut points = Vec::with_capacity(self.ages.len());
        for (slot, age) in self.ages.iter().enumerate() {
            flows += row.at(slot);
            let flow = Flow::of(&flows, measure);
            points.push(self.aging.begun(ordinal, *age).then(|| LtvPoint {
                value: Value { flow, heads },
                complete: self.aging.complete(ordinal, *age),
                cohorts: 1,
            }));
        }
        for rest in row.flows.iter().skip(self.ages.len()) {
            flows += *rest;
        }
        LtvCohort {
            start: width.first_day(ordinal),
            end: width.end(width.first_day(ordinal)),
            sizes: self.sizes(row.heads),
            to_date: Value { flow: Flow::of(&flows, measure), heads },
            points,
        }
    }

    fn sizes(&self, heads: Heads) -> Sizes {
        let by_install = self.question.anchor == Anchor::Install;
        Sizes {
            customers: heads.customers,
            payers: heads.payers,
            installs: by_install.then_some(heads.installs),
        }
    }

    fn total(&self, cohorts: &[LtvCohort]) -> Option<LtvCohort> {
        let (first, last) = (cohorts.first()?, cohorts.last()?);
        let mut total = LtvCohort {
            start: first.start,
            end: last.end,
            sizes: self.sizes(Heads::default()),
            to_date: Value::default(),
            points: vec![None; self.ages.len()],
        };
        for cohort in cohorts {
            total.sizes.customers += cohort.sizes.customers;
            total.sizes.payers += cohort.sizes.payers;
            if let (Some(sum), Some(installs)) = (&mut total.sizes.installs, cohort.sizes.installs)
            {
                *sum += installs;
            }
            add_value(&mut total.to_date, &cohort.to_date);
            for (sum, point) in total.points.iter_mut().zip(&cohort.points) {
                if let Some(point) = point
                    && point.complete != Some(false)
                {
                    add_point(sum, point);
                }
            }
        }
        for point in total.points.iter_mut().flatten() {
            point.complete = point.complete.map(|_| point.cohorts == cohorts.len());
        }
        Some(total)
    }
}

fn add_value(sum: &mut Value, value: &Value) {
    sum.flow += value.flow;
    sum.heads += value.heads;
}

fn add_point(sum: &mut Option<LtvPoint>, point: &LtvPoint) {
    match sum {
        None => *sum = Some(*point),
        Some(sum) => {
            add_value(&mut sum.value, &point.value);
            sum.cohorts += 1;
        }
    }
}
