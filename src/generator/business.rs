//! The customers of the business, and whose turn it is.

use crate::domain::time::{DAY_MICROS, Day};

use super::agenda::{Action, Agenda, Scheduled};
use super::calendar::{HOURS, InstallCurve};
use super::customer::Customer;
use super::delivery::Delivery;
use super::draws::Draws;
use super::events::Scribe;
use super::settings::{GeneratorSettings, Share};
use super::turn::Turn;

/// Everything that is going on. Memory grows with the customers who have something planned.
#[derive(Debug)]
pub(super) struct Business {
    pub(super) draws: Draws,
    pub(super) agenda: Agenda,
    pub(super) scribe: Scribe,
    pub(super) forgets: Share,
    customers: Vec<Customer>,
    /// Places in `customers` that nobody has.
    free: Vec<usize>,
    installed: u32,
    curve: InstallCurve,
    /// The next day whose installs are not planned yet.
    next_day: Day,
    /// Nothing happens from here on.
    end: Option<i64>,
}

impl Business {
    pub(super) fn new(settings: &GeneratorSettings, draws: Draws) -> Self {
        let days = i32::try_from(settings.days).unwrap_or(i32::MAX);
        let end = start_of(Day(settings.first_day.0.saturating_add(days)));
        Self {
            draws,
            agenda: Agenda::default(),
            scribe: Scribe::new(settings.app_id.clone(), settings.seed),
            forgets: settings.forgets,
            customers: Vec::new(),
            free: Vec::new(),
            installed: 0,
            curve: InstallCurve::new(settings.customers, settings.first_day, settings.days),
            next_day: settings.first_day,
            end: (!settings.open_ended).then_some(end),
        }
    }

    /// When the next thing happens; `None` when nothing will any more.
    pub(super) fn next_at(&mut self) -> Option<i64> {
        loop {
            let day_start = start_of(self.next_day);
            if let Some(at) = self.agenda.next_at()
                && at < day_start
            {
                return Some(at);
            }
            if self.end.is_some_and(|end| day_start >= end) {
                self.agenda.clear();
                return None;
            }
            self.plan_installs(day_start);
            self.next_day.0 += 1;
        }
    }

    /// Lets the next thing happen.
    pub(super) fn step(&mut self, out: &mut Delivery) {
        let Some(Scheduled { at, slot, epoch, action, .. }) = self.agenda.pop() else {
            return;
        };
        let mut customer = std::mem::take(&mut self.customers[slot]);
        customer.planned -= 1;
        let stale = action.is_of_subscription() && epoch != customer.epoch;
        if !stale && !customer.forgotten {
            Turn { business: self, customer: &mut customer, slot, at, out }.act(action);
        }
        if customer.planned == 0 {
            self.free.push(slot);
        } else {
            self.customers[slot] = customer;
        }
    }

    fn plan_installs(&mut self, day_start: i64) {
        for _ in 0..self.curve.next_day() {
            let hour = i64::from(self.draws.weighted(HOURS.iter().copied()));
            let millis = self.draws.between(0, 3_600_000);
            let slot = self.new_customer();
            let at = day_start + hour * 3_600_000_000 + millis * 1_000;
            self.agenda.plan(at, slot, 0, Action::Install);
        }
    }

    fn new_customer(&mut self) -> usize {
        self.installed += 1;
        let customer = Customer { number: self.installed, planned: 1, ..Customer::default() };
        match self.free.pop() {
            Some(slot) => {
                self.customers[slot] = customer;
                slot
            }
            None => {
                self.customers.push(customer);
                self.customers.len() - 1
            }
        }
    }
}

fn start_of(day: Day) -> i64 {
    i64::from(day.0) * DAY_MICROS
}
