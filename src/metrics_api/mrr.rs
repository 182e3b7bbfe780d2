//! Monthly recurring revenue: what the facts of a shard say about running subscriptions.
//!
//! A customer is active while a subscription that is paid for, and that the filters keep, runs at
//! the end of the day; trials make nobody active. Movements are the changes of a customer's MRR
//! from one day's end to the next, so they are net per customer and day.
//!
//! One pass adds customers up by path, and every path passes its customers on to the path before
//! it: then each change of each path is looked at once, however many customers have it.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::domain::cohort::Field;
use crate::domain::dimensions::Dimension;
use crate::domain::money::div_half_away;
use crate::domain::time::Day;
use crate::engine::dictionary::Dictionary;
use crate::engine::facts::{FactKind, FactRow, FactTable, Group};
use crate::engine::timelines::{PathId, StateId, Terms, TermsId, Timelines};
use crate::metrics_api::filters::Selector;
use crate::metrics_api::mrr_days::Days;
pub use crate::metrics_api::mrr_days::{Interval, Stretch};
use crate::metrics_api::question::{Filter, InvalidQuestion, Narrowing};

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

impl std::ops::SubAssign for Flow {
    fn sub_assign(&mut self, other: Self) {
        add(self, &other, -1);
    }
}

/// What one shard, or several merged, know of a question: what happened up to each of the days
/// at whose ends figures are taken, since the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MrrPartial {
    /// Empty if nothing happened.
    pub flows: Vec<Flow>,
}

impl MrrPartial {
    /// Both together: of shards, which share no customer.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        if self.flows.is_empty() {
            return other;
        }
        for (into, flow) in self.flows.iter_mut().zip(other.flows) {
            *into += flow;
        }
        self
    }
}

/// What the facts of a shard say.
pub fn partial(facts: &FactTable, dictionary: &Dictionary, question: &MrrQuestion) -> MrrPartial {
    let Some(app) = dictionary.find_app(&question.app) else { return MrrPartial::default() };
    let selector = selector(dictionary, question);
    let timelines = &dictionary.timelines;
    let days = question.days();
    let mut pass = Pass {
        timelines,
        standings: Standings::new(timelines, &selector, question),
        flows: vec![Flow::default(); days.marks().len()],
        days,
        customers: vec![0; timelines.path_count()],
    };
    let of = |kind| facts.of(Group { app, zone: question.zone, kind });
    of(FactKind::Payment)
        .filter(|fact| fact.key.other_day == Day::MIN && selector.segment(fact.key.dims).is_some())
        .for_each(|fact| pass.first_payment(&fact));
    of(FactKind::Timeline).for_each(|fact| pass.timeline(&fact));
    if question.without_refunded {
        of(FactKind::UnrefundedTimeline).for_each(|fact| pass.timeline(&fact));
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

/// What a state is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Standing {
    mrr: i128,
    is_active: bool,
}

/// What each state is worth, by its number, in 8 bytes: a pass looks at many of them.
struct Standings {
    /// Of active states, [`INACTIVE`] of others, [`WIDE`] where it does not fit.
    mrr: Vec<i64>,
    wide: HashMap<StateId, i128>,
}

/// The state in which nothing runs.
const NOTHING_RUNS: StateId = 0;
const INACTIVE: i64 = i64::MIN;
const WIDE: i64 = i64::MIN + 1;

impl Standings {
    fn new(timelines: &Timelines, selector: &Selector<'_>, question: &MrrQuestion) -> Self {
        let monthly: Vec<Option<i128>> = (0..timelines.terms_count())
            .map(|id| {
                let terms = timelines.terms(TermsId::try_from(id).unwrap_or(0));
                monthly(terms, question.minor_micros())
            })
            .collect();
        let mut wide = HashMap::new();
        let states = (0..timelines.state_count()).map(|id| {
            let id = StateId::try_from(id).unwrap_or(0);
            let mut standing = Standing::default();
            for element in timelines.state(id) {
                let worth = monthly.get(element.terms as usize).copied().flatten();
                if let (Some(worth), true) = (worth, selector.segment(element.tuple).is_some()) {
                    standing.mrr += worth;
                    standing.is_active = true;
                }
            }
            if !standing.is_active {
                return INACTIVE;
            }
            let narrow = i64::try_from(standing.mrr).ok().filter(|mrr| *mrr > WIDE);
            narrow.unwrap_or_else(|| {
                wide.insert(id, standing.mrr);
                WIDE
            })
        });
        let mrr = states.collect();
        Self { mrr, wide }
    }

    /// Whether two states are surely worth the same.
    #[inline]
    fn are_same(&self, one: StateId, other: StateId) -> bool {
        let of = |state: StateId| self.mrr.get(state as usize).copied().unwrap_or(INACTIVE);
        of(one) == of(other) && of(one) != WIDE
    }

    #[inline]
    fn of(&self, state: StateId) -> Standing {
        match self.mrr.get(state as usize).copied() {
            None | Some(INACTIVE) => Standing::default(),
            Some(WIDE) => {
                let mrr = self.wide.get(&state).copied().unwrap_or_default();
                Standing { mrr, is_active: true }
            }
            Some(mrr) => Standing { mrr: mrr.into(), is_active: true },
        }
    }
}

/// What a month of a subscription brings in without tax, rounded to the smallest unit, halves
/// away from zero; `None` for a trial.
fn monthly(terms: Terms, minor_micros: i128) -> Option<i128> {
    let Terms::Paid { amounts, period } = terms else { return None };
    let (numerator, denominator) = period.per_month();
    let untaxed =
        i128::from(amounts.gross) - i128::from(amounts.proceeds) + i128::from(amounts.net);
    let micros = untaxed * i128::from(numerator);
    Some(div_half_away(micros, i128::from(denominator) * minor_micros))
}

struct Pass<'a> {
    timelines: &'a Timelines,
    standings: Standings,
    days: Days,
    flows: Vec<Flow>,
    /// By path: customers whose timelines go on from it, or end with it.
    customers: Vec<i64>,
}

impl Pass<'_> {
    fn timeline(&mut self, fact: &FactRow<'_>) {
        let (path, count) = (fact.key.dims, fact.sums().count);
        if let Some(customers) = self.customers.get_mut(path as usize) {
            *customers += count;
        }
        self.change(fact.key.day, (path, NOTHING_RUNS), count);
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

    /// Counts each change of each path, with all customers who have it.
    fn look_at_changes(&mut self) {
        // A path has a higher number than the one before it.
        for path in (1..self.customers.len()).rev() {
            let count = self.customers[path];
            if count != 0 {
                let path = PathId::try_from(path).unwrap_or(PathId::MAX);
                let change = self.timelines.last_change(path);
                self.customers[change.before as usize] += count;
                self.change(change.day, (change.before, change.state), count);
            }
        }
    }

    fn standing(&self, state: StateId) -> Standing {
        self.standings.of(state)
    }

    /// Counts that so many customers, who had this path, are in this state from `day` on.
    fn change(&mut self, day: Day, (before, state): (PathId, StateId), count: i64) {
        let state_before = self.timelines.last_change(before).state;
        if self.standings.are_same(state_before, state) {
            return;
        }
        let (was, now) = (self.standing(state_before), self.standing(state));
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
            if self.standing(change.state).is_active {
                return Some((since?, path));
            }
            since = Some(change.day);
            path = change.before;
        }
        None
    }

    /// 1 if a customer with this path was active at the end of the day before `start`, else 0.
    fn was_active_before(&self, mut path: PathId, start: Day) -> i64 {
        let mut change = self.timelines.last_change(path);
        while change.day >= start && path != 0 {
            path = change.before;
            change = self.timelines.last_change(path);
        }
        i64::from(self.standing(change.state).is_active)
    }
}
