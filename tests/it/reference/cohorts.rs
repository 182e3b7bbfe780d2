//! Lifetime value tables straight from the ledgers, without facts in between.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::calendar::{Width, day, elapsed_days};
use super::dims;
use super::ledger::Ledger;

/// What places a customer in a cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The first install, or the first event where there is none.
    Install,
    FirstPurchase,
}

/// What an age counts, always from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Calendar days of the zone since the customer's anchor.
    Days,
    /// Whole 24-hour days since the customer's anchor.
    ElapsedDays,
    /// Calendar buckets of the cohort's width since the cohort.
    Periods,
}

/// Where a linked refund is booked; an unlinked one is always booked at its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refunds {
    AtRefund,
    AtPurchase,
}

/// One table.
#[derive(Debug, Clone, Copy)]
pub struct CohortQuestion<'a> {
    pub app: &'a str,
    pub anchor: Anchor,
    pub width: Width,
    pub zone: Tz,
    pub age: Age,
    pub refunds: Refunds,
}

/// Money and counts up to some age. Payments are before refunds; refunds are positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    pub payments: i64,
    pub gross: i128,
    pub proceeds: i128,
    pub net: i128,
    pub refunds: i64,
    pub refunded_gross: i128,
    pub refunded_proceeds: i128,
    pub refunded_net: i128,
}

/// The customers of one cohort and what they brought in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cohort {
    pub customers: i64,
    /// Those with a payment at any time, given back or not.
    pub payers: i64,
    /// Cumulative through each age at which something happened. Ages before the anchor, which
    /// only an install that comes late can have, are negative.
    pub curve: BTreeMap<i64, Totals>,
}

impl Cohort {
    fn add(&mut self, age: i64, totals: &Totals) {
        let row = self.curve.entry(age).or_default();
        *row = row.plus(totals);
    }

    fn accumulate(&mut self) {
        let mut total = Totals::default();
        for at_age in self.curve.values_mut() {
            total = total.plus(at_age);
            *at_age = total;
        }
    }

    /// Everything up to and including this age.
    pub fn through(&self, age: i64) -> Totals {
        self.curve.range(..=age).next_back().map_or(Totals::default(), |(_, totals)| *totals)
    }
}

/// The table over these customers.
pub fn of<'a>(
    ledgers: impl Iterator<Item = Ledger<'a>>,
    question: &CohortQuestion<'_>,
) -> BTreeMap<NaiveDate, Cohort> {
    let mut cohorts: BTreeMap<NaiveDate, Cohort> = BTreeMap::new();
    for ledger in ledgers {
        let Some((anchor, start)) = question.place(&ledger) else { continue };
        let cohort = cohorts.entry(start).or_default();
        cohort.customers += 1;
        cohort.payers += i64::from(ledger.first_payment().is_some());
        for (_, age, totals) in booked(&ledger, question, anchor) {
            cohort.add(age, &totals);
        }
    }
    cohorts.values_mut().for_each(Cohort::accumulate);
    cohorts
}

/// The value of a dimension; `None` where it is unknown.
pub type SegmentValue = Option<String>;

/// The table split by the values of a dimension: money by what it was paid for, payers once in
/// each value they paid for. By first purchase they are the customers; by install a customer has
/// the value that the placing event has.
pub fn segments_of<'a>(
    ledgers: impl Iterator<Item = Ledger<'a>>,
    question: &CohortQuestion<'_>,
    dimension: &str,
) -> BTreeMap<(NaiveDate, SegmentValue), Cohort> {
    let place = dims::NAMES.iter().position(|name| *name == dimension).expect("a dimension");
    let mut cohorts: BTreeMap<(NaiveDate, SegmentValue), Cohort> = BTreeMap::new();
    for ledger in ledgers {
        let Some((anchor, start)) = question.place(&ledger) else { continue };
        let value = |at: usize| ledger.dims[at].fixed.get(&place).cloned();
        if question.anchor == Anchor::Install
            && let Some(placing) = ledger.placing()
        {
            cohorts.entry((start, value(placing))).or_default().customers += 1;
        }
        for value in ledger.payments().map(value).collect::<BTreeSet<_>>() {
            let cohort = cohorts.entry((start, value)).or_default();
            cohort.payers += 1;
            cohort.customers += i64::from(question.anchor == Anchor::FirstPurchase);
        }
        for (at, age, totals) in booked(&ledger, question, anchor) {
            cohorts.entry((start, value(at))).or_default().add(age, &totals);
        }
    }
    cohorts.values_mut().for_each(Cohort::accumulate);
    cohorts
}

/// A customer's payments and refunds, each with the age it belongs to.
fn booked(
    ledger: &Ledger<'_>,
    question: &CohortQuestion<'_>,
    anchor: i64,
) -> Vec<(usize, i64, Totals)> {
    let mut booked = Vec::new();
    for at in ledger.payments() {
        let [gross, proceeds, net] = ledger.app.converted(ledger.events[at]);
        let age = question.age_of(anchor, ledger.events[at].occurred_at);
        let one = Totals { payments: 1, gross, proceeds, net, ..Totals::default() };
        booked.push((at, age, one));
    }
    for at in ledger.of_kind("refund").filter(|at| !ledger.is_unplaced(*at)) {
        let [refunded_gross, refunded_proceeds, refunded_net] =
            ledger.app.converted(ledger.events[at]);
        let booked_at = match (question.refunds, ledger.payment_of(at)) {
            (Refunds::AtPurchase, Some(payment)) => payment,
            _ => at,
        };
        let age = question.age_of(anchor, ledger.events[booked_at].occurred_at);
        let one = Totals {
            refunds: 1,
            refunded_gross,
            refunded_proceeds,
            refunded_net,
            ..Totals::default()
        };
        booked.push((at, age, one));
    }
    booked
}

impl CohortQuestion<'_> {
    /// The instant that places a customer, and the first day of the cohort.
    fn place(&self, ledger: &Ledger<'_>) -> Option<(i64, NaiveDate)> {
        let anchor = match self.anchor {
            Anchor::Install => ledger.placing().map(|at| ledger.events[at].occurred_at),
            Anchor::FirstPurchase => ledger.first_payment(),
        }?;
        Some((anchor, self.width.start(day(anchor, self.zone))))
    }

    fn age_of(&self, anchor: i64, at: i64) -> i64 {
        let (from, to) = (day(anchor, self.zone), day(at, self.zone));
        match self.age {
            Age::Days => (to - from).num_days(),
            Age::ElapsedDays => elapsed_days(anchor, at),
            Age::Periods => self.width.between(from, to),
        }
    }
}

impl Totals {
    /// Gross less what was given back of it.
    pub fn gross_after_refunds(&self) -> i128 {
        self.gross - self.refunded_gross
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            payments: self.payments + other.payments,
            gross: self.gross + other.gross,
            proceeds: self.proceeds + other.proceeds,
            net: self.net + other.net,
            refunds: self.refunds + other.refunds,
            refunded_gross: self.refunded_gross + other.refunded_gross,
            refunded_proceeds: self.refunded_proceeds + other.refunded_proceeds,
            refunded_net: self.refunded_net + other.refunded_net,
        }
    }
}
