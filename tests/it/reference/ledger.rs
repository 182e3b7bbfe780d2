//! A customer's events in order, and the standing of each: a function of the whole set.

use std::collections::{BTreeMap, BTreeSet};

use super::App;
use super::dims::Tuple;
use super::event::Event;

/// What an event is, given all the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Counts.
    Effective,
    /// Removed by a `void`, as if it had never been.
    Voided,
    /// A `void` that has its target.
    Void,
    /// A test, kept apart.
    Sandbox,
    /// Without effect until the set allows it.
    Suspended(&'static str),
}

/// Events are named by their place in ledger order.
pub struct Ledger<'a> {
    pub app: &'a App,
    /// By (occurred_at, event_id).
    pub events: Vec<&'a Event>,
    pub standings: Vec<Standing>,
    /// Resolved dimensions; empty for events that are not effective.
    pub dims: Vec<Tuple>,
}

impl<'a> Ledger<'a> {
    /// Sorts the events and works out standing and dimensions of each.
    pub fn new(app: &'a App, events: &'a BTreeMap<String, Event>) -> Self {
        let mut events: Vec<&Event> = events.values().collect();
        events.sort_by(|a, b| {
            (a.occurred_at, a.event_id.as_bytes()).cmp(&(b.occurred_at, b.event_id.as_bytes()))
        });
        let standings = vec![Standing::Effective; events.len()];
        let dims = vec![Tuple::default(); events.len()];
        let mut ledger = Self { app, events, standings, dims };
        ledger.judge_voids();
        ledger.judge_duplicates();
        ledger.judge_refunds();
        ledger.judge_statuses();
        ledger.resolve_dims();
        ledger
    }

    /// Places of the effective events.
    pub fn effective(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.events.len()).filter(|at| self.standings[*at] == Standing::Effective)
    }

    /// Suspended events with the reason.
    pub fn suspended(&self) -> impl Iterator<Item = (&Event, &'static str)> + '_ {
        self.events.iter().zip(&self.standings).filter_map(|(event, standing)| match standing {
            Standing::Suspended(reason) => Some((*event, *reason)),
            _ => None,
        })
    }

    /// Whether the event is a payment that counts.
    pub fn is_payment(&self, at: usize) -> bool {
        let event = self.events[at];
        self.standings[at] == Standing::Effective
            && event.is_purchase()
            && (event.gross() > 0 || self.app.settings.count_zero_payments)
    }

    /// Places of the payments.
    pub fn payments(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.events.len()).filter(|at| self.is_payment(*at))
    }

    /// Effective events of one kind.
    pub fn of_kind<'b>(&'b self, kind: &'b str) -> impl Iterator<Item = usize> + 'b {
        self.effective().filter(move |at| self.events[*at].kind == kind)
    }

    /// The payment a linked refund gives back.
    pub fn payment_of(&self, refund: usize) -> Option<usize> {
        let transaction = self.events[refund].transaction_id.as_ref()?;
        self.payments().find(|at| self.events[*at].transaction_id.as_ref() == Some(transaction))
    }

    /// Instant of the first payment.
    pub fn first_payment(&self) -> Option<i64> {
        self.payments().next().map(|at| self.events[at].occurred_at)
    }

    /// Place of the event that places the customer: the first install, else the first event that
    /// is not a refund.
    pub fn placing(&self) -> Option<usize> {
        let first = self.effective().find(|at| self.events[*at].kind != "refund");
        self.of_kind("install").next().or(first)
    }

    /// The chain an effective event belongs to.
    pub fn chain(&self, at: usize) -> Option<String> {
        let event = self.events[at];
        if event.is_status() && event.chain.is_none() {
            return self.chains().into_iter().next();
        }
        let belongs = event.is_status() || event.is_purchase() || event.kind == "trial_started";
        event.chain.clone().filter(|_| belongs)
    }

    /// The chains that exist: those of trials, purchases and renewals.
    pub fn chains(&self) -> BTreeSet<String> {
        let founders = self.effective().filter(|at| {
            self.events[*at].is_purchase() || self.events[*at].kind == "trial_started"
        });
        founders.filter_map(|at| self.events[at].chain.clone()).collect()
    }

    /// How many payments of this chain stand before this place.
    pub fn payments_before(&self, at: usize, chain: Option<&str>) -> usize {
        self.payments().filter(|p| *p < at && self.events[*p].chain.as_deref() == chain).count()
    }

    /// Payment index of a payment: its ordinal in its chain.
    pub fn payment_index(&self, at: usize) -> usize {
        self.payments_before(at, self.events[at].chain.as_deref()) + 1
    }

    /// Whether an unlinked refund lies before the customer's first payment, or there is none.
    pub fn is_unplaced(&self, refund: usize) -> bool {
        let at = self.events[refund].occurred_at;
        self.events[refund].transaction_id.is_none()
            && self.first_payment().is_none_or(|first| at < first)
    }

    fn judge_voids(&mut self) {
        for void in 0..self.events.len() {
            if self.events[void].kind != "void" {
                continue;
            }
            let refers_to = self.events[void].refers_to.as_ref();
            let target = (0..self.events.len()).find(|at| {
                let event = self.events[*at];
                let is_near = event.sandbox == self.events[void].sandbox;
                Some(&event.event_id) == refers_to && is_near && event.kind != "void"
            });
            self.standings[void] = match target {
                Some(_) => Standing::Void,
                None if self.events[void].sandbox => Standing::Sandbox,
                None => Standing::Suspended("void_target_missing"),
            };
            if let Some(target) = target {
                self.standings[target] = Standing::Voided;
            }
        }
        for at in 0..self.events.len() {
            if self.standings[at] == Standing::Effective && self.events[at].sandbox {
                self.standings[at] = Standing::Sandbox;
            }
        }
    }

    fn judge_duplicates(&mut self) {
        for at in 0..self.events.len() {
            let transaction = &self.events[at].transaction_id;
            let seen = |p: usize| p < at && self.events[p].transaction_id == *transaction;
            if self.is_payment(at) && self.payments().any(seen) {
                self.standings[at] = Standing::Suspended("duplicate_transaction");
            }
        }
    }

    fn judge_refunds(&mut self) {
        let mut given_back: BTreeMap<usize, i128> = BTreeMap::new();
        for at in self.of_kind("refund").collect::<Vec<_>>() {
            let refund = self.events[at];
            if refund.transaction_id.is_none() {
                continue;
            }
            let Some(payment) = self.payment_of(at) else {
                self.standings[at] = Standing::Suspended("payment_missing");
                continue;
            };
            if refund.currency() != self.events[payment].currency() {
                self.standings[at] = Standing::Suspended("refund_currency_mismatch");
                continue;
            }
            let total = given_back.entry(payment).or_default();
            if *total + i128::from(refund.gross()) > i128::from(self.events[payment].gross()) {
                self.standings[at] = Standing::Suspended("refund_exceeds_payment");
            } else {
                *total += i128::from(refund.gross());
            }
        }
    }

    fn judge_statuses(&mut self) {
        let chains = self.chains();
        for at in 0..self.events.len() {
            let event = self.events[at];
            let known = match &event.chain {
                Some(chain) => chains.contains(chain),
                None => chains.len() == 1,
            };
            if self.standings[at] == Standing::Effective && event.is_status() && !known {
                self.standings[at] = Standing::Suspended("chain_unknown");
            }
        }
    }

    fn resolve_dims(&mut self) {
        let mut customer = Tuple::default();
        let mut chains: BTreeMap<String, Tuple> = BTreeMap::new();
        for at in self.effective().collect::<Vec<_>>() {
            let event = self.events[at];
            let own = &event.own;
            self.dims[at] = if event.kind == "install" || event.kind == "attribution" {
                let resolved = own.or(&customer);
                customer = own.or(&customer);
                resolved
            } else if let Some(chain) = self.chain(at) {
                let tuple = chains.entry(chain).or_default();
                *tuple = own.or(tuple).or(&customer);
                tuple.clone()
            } else {
                // Views and refunds look at a chain they name, and change nothing.
                let named = event.chain.as_ref().and_then(|chain| chains.get(chain));
                own.or(named.unwrap_or(&Tuple::default())).or(&customer)
            };
        }
        for at in self.of_kind("refund").collect::<Vec<_>>() {
            if let Some(payment) = self.payment_of(at) {
                self.dims[at] = self.dims[payment].clone();
            }
        }
    }
}
