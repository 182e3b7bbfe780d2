//! Monthly recurring revenue: what the facts of a shard say about running subscriptions.
//!
//! A customer is active while a subscription that is paid for, and that the filters keep, runs at
//! the end of the day; trials make nobody active. Movements are the changes of a customer's MRR
//! from one day's end to the next, so they are net per customer and day.
//!
//! One pass adds customers up by path, and every path passes its customers on to the path before
//! it: then each change of each path is looked at once, however many customers have it.

use std::collections::BTreeSet;

use crate::domain::cohort::Field;
use crate::domain::dimensions::Dimension;
use crate::domain::time::Day;
use crate::engine::dictionary::Dictionary;
use crate::engine::facts::{FactKey, FactKind, FactRow, Facts, Group};
use crate::engine::timelines::{PathId, Timelines};
use crate::metrics_api::filters::Selector;
use crate::metrics_api::kept::Summed;
use crate::metrics_api::mrr_days::Days;
pub use crate::metrics_api::mrr_days::{Interval, Stretch};
use crate::metrics_api::question::{Filter, InvalidQuestion, Narrowing};
use crate::metrics_api::standings::Standings;

/// So many times fewer facts than paths are few: each looks at its own changes then.
const FEW: usize = 16;

/// The longest range of a question.
pub const RANGE_DAYS_MAX: i32 = 40_000;

/// Which churn rate divides the revenue of a customer in lifetime value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChurnWindow {
    /// The mean of the up to six whole months before the entry's month that began with customers.
    TrailingSix,
    /// That of the entry's month, up to the entry's date.
    SameMonth,
}

/// A question about recurring revenue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MrrQuestion {
    pub app: String,
    /// Index into the app's reporting zones; all days are of this zone.
    pub zone: u8,
    pub interval: Interval,
    pub from: Day,
    /// Later days than `today` are cut off.
    pub to: Day,
    /// The day of now.
    pub today: Day,
    /// Keeps subscriptions by plan name or product id; `None` keeps all.
    pub plans: Option<BTreeSet<String>>,
    /// Keeps subscriptions by ISO 3166-1 alpha-2 code; `None` keeps all.
    pub countries: Option<BTreeSet<String>>,
    /// Whether the period of a payment that was refunded in full is left out.
    pub without_refunded: bool,
    /// Decimals of the reporting currency: amounts are rounded to its smallest unit.
    pub minor_digits: u32,
    pub churn_window: ChurnWindow,
}

impl MrrQuestion {
    /// Refuses what has no answer.
    pub fn check(&self) -> Result<(), InvalidQuestion> {
        if self.from > self.to {
            return Err(InvalidQuestion::EmptyRange(self.from, self.to));
        }
        let days = i64::from(self.to.min(self.today).0) - i64::from(self.from.0);
        if days >= i64::from(RANGE_DAYS_MAX) {
            return Err(InvalidQuestion::RangeTooLong(RANGE_DAYS_MAX));
        }
        Ok(())
    }

    /// The days that it needs.
    pub(super) fn days(&self) -> Days {
        Days::new(self.interval, (self.from, self.to), self.today)
    }

    /// Micro-units in the smallest unit of the currency.
    pub(super) fn minor_micros(&self) -> i128 {
        10i128.pow(6 - self.minor_digits.min(6))
    }
}

/// Changes of MRR by reason, in smallest units of the currency; losses are negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Movements {
    /// Of customers who had never been active.
    pub new_business: i128,
    pub expansion: i128,
    pub contraction: i128,
    pub churn: i128,
    /// Of customers who had been active before, but not the day before.
    pub reactivation: i128,
}

impl Movements {
    /// The change of MRR.
    pub fn total(&self) -> i128 {
        self.new_business + self.expansion + self.contraction + self.churn + self.reactivation
    }
}

/// What happened on some days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    pub movements: Movements,
    /// Change of the number of active customers.
    pub customers: i64,
    /// Customers lost who were active when the interval asked for, and when the month, began;
    /// less those of them who came back within it.
    pub churned: i64,
    pub churned_of_month: i64,
    /// First payments of customers, and their amounts in micro-units.
    pub first_payments: i64,
    pub first_paid: i128,
}

/// Adds (`sign` 1) or takes away (`sign` −1) field by field.
fn add(into: &mut Flow, other: &Flow, sign: i64) {
    let wide = i128::from(sign);
    let (to, from) = (&mut into.movements, &other.movements);
    to.new_business += wide * from.new_business;
    to.expansion += wide * from.expansion;
    to.contraction += wide * from.contraction;
    to.churn += wide * from.churn;
    to.reactivation += wide * from.reactivation;
    into.customers += sign * other.customers;
    into.churned += sign * other.churned;
    into.churned_of_month += sign * other.churned_of_month;
    into.first_payments += sign * other.first_payments;
    into.first_paid += wide * other.first_paid;
}

impl std::ops::AddAssign for Flow {
    fn add_assign(&mut self, other: Self) {
        add(self, &other, 1);
    }
}

impl std::ops::Sub for Flow {
    type Output = Self;

    fn sub(mut self, other: Self) -> Self {
        add(&mut self, &other, -1);
        self
    }
}

/// What one shard, or several merged, know of a question: what happened up to each of the days
/// at whose ends figures are taken, since the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MrrPartial {
    /// Empty if nothing happened.
    pub flows: Vec<Flow>,
}

impl Summed for MrrPartial {
    fn merge(mut self, other: Self) -> Self {
        if self.flows.is_empty() {
            return other;
        }
        for (into, flow) in self.flows.iter_mut().zip(other.flows) {
            *into += flow;
        }
        self
    }

    fn memory_bytes(&self) -> usize {
        self.flows.capacity() * size_of::<Flow>()
    }
}

/// What the facts of a shard say.
pub fn partial<'f>(
    facts: impl Into<Facts<'f>>,
    dictionary: &Dictionary,
    question: &MrrQuestion,
) -> MrrPartial {
    let Some(app) = dictionary.find_app(&question.app) else { return MrrPartial::default() };
    let (mut pass, facts) = (Pass::new(dictionary, question), facts.into());
    let of = |kind| facts.of(Group { app, zone: question.zone, kind });
    of(FactKind::Payment).for_each(|fact| {
        if pass.is_first_payment(&fact.key) {
            pass.first_payment(&fact);
        }
    });
    let path_count = dictionary.timelines.path_count();
    let are_few = facts.len_max() < path_count / FEW;
    if !are_few {
        pass.standings.tabulate();
        pass.customers = vec![0; path_count];
    }
    let mut take = |kind| match are_few {
        true => of(kind).for_each(|fact| pass.timeline_alone(&fact)),
        false => of(kind).for_each(|fact| pass.timeline(&fact)),
    };
    take(FactKind::Timeline);
    if question.without_refunded {
        take(FactKind::UnrefundedTimeline);
    }
    pass.look_at_changes();
    MrrPartial { flows: pass.flows }
}

/// Which tuples the question keeps.
fn selector<'a>(dictionary: &'a Dictionary, question: &MrrQuestion) -> Selector<'a> {
    let any_of = |field: Dimension, values: &BTreeSet<String>| Filter {
        field: Field::Dimension(field),
        values: values.clone(),
    };
    let countries = question.countries.iter();
    let filters: Vec<Filter> =
        countries.map(|countries| any_of(Dimension::Country, countries)).collect();
    let plans = question.plans.iter().flat_map(|plans| {
        let fields = [Dimension::PlanName, Dimension::ProductId];
        fields.map(|field| vec![any_of(field, plans)])
    });
    let plans: Vec<Vec<Filter>> = plans.collect();
    Selector::new(dictionary, Narrowing { filters: &filters, any_of: &plans }, None)
}

/// The path that stands for a state in which nothing runs.
const NOTHING_EVER_RAN: PathId = 0;

struct Pass<'a> {
    timelines: &'a Timelines,
    standings: Standings<'a>,
    days: Days,
    flows: Vec<Flow>,
    /// By path: customers whose timelines go on from it, or end with it; empty if facts are few.
    customers: Vec<i64>,
}

impl<'a> Pass<'a> {
    fn new(dictionary: &'a Dictionary, question: &MrrQuestion) -> Self {
        let (timelines, days) = (&dictionary.timelines, question.days());
        let flows = vec![Flow::default(); days.marks().len()];
        let standings =
            Standings::new(timelines, selector(dictionary, question), question.minor_micros());
        Self { timelines, standings, days, flows, customers: Vec::new() }
    }

    fn is_first_payment(&self, key: &FactKey) -> bool {
        key.other_day == Day::MIN && self.standings.keeps(key.dims)
    }

    /// Apart from the loop, which passes over most payments.
    #[inline(never)]
    fn first_payment(&mut self, fact: &FactRow<'_>) {
        let sums = fact.sums();
        if let Some(flow) = self.days.place(fact.key.day).and_then(|at| self.flows.get_mut(at)) {
            flow.first_payments += sums.count;
            flow.first_paid += sums.gross - sums.proceeds + sums.net;
        }
    }

    fn timeline(&mut self, fact: &FactRow<'_>) {
        let (path, count) = (fact.key.dims, fact.sums().count);
        if let Some(customers) = self.customers.get_mut(path as usize) {
            *customers += count;
        }
        self.lapse(fact.key.day, path, count);
    }

    /// Counts a timeline with all changes of its path, without a look at other timelines.
    fn timeline_alone(&mut self, fact: &FactRow<'_>) {
        let (mut path, count) = (fact.key.dims, fact.sums().count);
        self.lapse(fact.key.day, path, count);
        while path != 0 {
            let change = self.timelines.last_change(path);
            self.change(change.day, (change.before, path), count);
            path = change.before;
        }
    }

    /// Counts that nothing runs any more from `day` on after this path.
    fn lapse(&mut self, day: Day, path: PathId, count: i64) {
        if self.standings.is_active(path) {
            self.change(day, (path, NOTHING_EVER_RAN), count);
        }
    }

    /// Counts each change of each path, with all customers who have it.
    fn look_at_changes(&mut self) {
        let timelines = self.timelines;
        let paths = 1..PathId::try_from(timelines.path_count()).unwrap_or(PathId::MAX);
        // A path has a higher number than the one before it.
        for (path, change) in paths.rev().zip(timelines.last_changes().iter().rev()) {
            let Some(count) = self.customers.get(path as usize).copied() else { return };
            if count != 0 {
                self.customers[change.before as usize] += count;
                self.change(change.day, (change.before, path), count);
            }
        }
    }

    /// Counts that so many customers, who had one path, are where another one ends from `day` on.
    fn change(&mut self, day: Day, (before, path): (PathId, PathId), count: i64) {
        let (was, now) = (self.standings.of(before), self.standings.of(path));
        if was == now {
            return;
        }
        let Some(place) = self.days.place(day) else { return };
        let [churned, churned_of_month] = match (was.is_active, now.is_active) {
            (true, true) | (false, false) => [0; 2],
            (true, false) => self.lost(day, before).map(|lost| lost * count),
            (false, true) => self.back(day, before).map(|back| -back * count),
        };
        let is_new = now.is_active && !was.is_active && self.gap(before).is_none();
        let Some(flow) = self.flows.get_mut(place) else { return };
        let worth = i128::from(count) * (now.mrr - was.mrr);
        let movements = &mut flow.movements;
        let (movement, customers) = match (was.is_active, now.is_active) {
            (true, true) if now.mrr >= was.mrr => (&mut movements.expansion, 0),
            (true, true) => (&mut movements.contraction, 0),
            (true, false) => (&mut movements.churn, -count),
            (false, _) if is_new => (&mut movements.new_business, count),
            (false, _) => (&mut movements.reactivation, count),
        };
        *movement += worth;
        flow.customers += customers;
        flow.churned += churned;
        flow.churned_of_month += churned_of_month;
    }

    /// 1 for a customer who has this path and leaves on a day, and was active when the interval,
    /// and when the month, of that day began; else 0.
    fn lost(&self, day: Day, path: PathId) -> [i64; 2] {
        let starts = self.days.starts(day);
        starts.map_or([0; 2], |starts| starts.map(|start| self.was_active_before(path, start)))
    }

    /// 1 for a customer who has this path, comes back on a day, and was counted as lost in the
    /// interval, and in the month, of that day; else 0.
    fn back(&self, day: Day, path: PathId) -> [i64; 2] {
        match (self.gap(path), self.days.starts(day)) {
            (Some((since, last_active)), Some(starts)) => starts.map(|start| {
                let was_lost = since >= start;
                i64::from(was_lost) * self.was_active_before(last_active, start)
            }),
            _ => [0; 2],
        }
    }

    /// Since when a path that ends inactive has been so, and the path up to its last active
    /// state; `None` if there is none.
    fn gap(&self, mut path: PathId) -> Option<(Day, PathId)> {
        let mut since = None;
        while path != 0 {
            let change = self.timelines.last_change(path);
            if self.standings.is_active(path) {
                return Some((since?, path));
            }
            since = Some(change.day);
            path = change.before;
        }
        None
    }

    /// 1 if a customer with this path was active at the end of the day before `start`, else 0.
    fn was_active_before(&self, mut path: PathId, start: Day) -> i64 {
        while path != 0 && self.timelines.last_change(path).day >= start {
            path = self.timelines.last_change(path).before;
        }
        i64::from(self.standings.is_active(path))
    }
}
