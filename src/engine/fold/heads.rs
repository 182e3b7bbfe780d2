//! Whom a payment or a refund counts: distinct customers and chains, by their marks.
//!
//! Rows are written where a set of marks changes; the usual renewal, with the tuple of the payment
//! before, changes none.

use crate::domain::time::{Day, Timestamp};
use crate::engine::dictionary::{Mark, SignatureId, TupleId};
use crate::engine::facts::{FactKey, FactKind, Sums};
use crate::engine::fold::{Fold, Scribe};
use crate::engine::numbers::Numbers;

/// What the payments of a chain had for tuples, by index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PaidTuples {
    first: TupleId,
    /// From which index on, if not the first.
    later: Vec<(u16, TupleId)>,
}

impl PaidTuples {
    /// Notes the tuple of the next payment; whether it differs from the one before.
    fn push(&mut self, index: u16, tuple: TupleId) -> bool {
        if index == 1 {
            self.first = tuple;
            return true;
        }
        let is_new = self.at(index) != tuple;
        if is_new {
            self.later.push((index, tuple));
        }
        is_new
    }

    /// The tuple of a payment that was.
    fn at(&self, index: u16) -> TupleId {
        let run = self.later.iter().rev().find(|(from, _)| *from <= index);
        run.map_or(self.first, |(_, tuple)| *tuple)
    }

    /// Bytes of memory held outside the struct itself.
    pub fn memory_bytes(&self) -> usize {
        self.later.capacity() * size_of::<(u16, TupleId)>()
    }

    /// Passes all numbers that they are made of.
    #[inline]
    pub(super) fn pass(&mut self, numbers: &mut impl Numbers, guess: TupleId) {
        numbers.number(&mut self.first, guess);
        numbers.length(&mut self.later);
        for (from, tuple) in &mut self.later {
            numbers.small(from);
            numbers.number(tuple, guess);
        }
    }
}

/// A payment or a refund as it changes marks.
#[derive(Debug, Clone, Copy)]
pub struct HeadStep {
    pub at: Timestamp,
    /// Place of the chain; none for a refund that names no payment.
    pub chain: Option<usize>,
    pub mark: Mark,
}

impl Fold {
    /// Writes whom a payment makes one of several: starters, and those who paid its index on
    /// another chain before. What it does to marks is returned, if it may do anything.
    pub(super) fn count_payment(
        &mut self,
        at: Timestamp,
        (chain, index, tuple): (usize, u16, TupleId),
        is_subscription: bool,
        scribe: &mut Scribe<'_>,
    ) -> Option<HeadStep> {
        if index == 1 && is_subscription {
            self.begin(at, tuple, scribe);
        }
        if index > 1 && self.chains.len() > 1 {
            self.count_again(at, (chain, index, tuple), scribe);
        }
        let is_new = self.chains[chain].paid.push(index, tuple);
        is_new.then(|| HeadStep { at, chain: Some(chain), mark: Mark::paid(tuple, index) })
    }

    /// A trial or a subscription begins.
    pub(super) fn begin(&mut self, at: Timestamp, tuple: TupleId, scribe: &mut Scribe<'_>) {
        let old = self.starters;
        let new = scribe.dictionary.union(old, Mark::of(tuple));
        if new != old {
            self.starters = new;
            self.head_rows((FactKind::Starter, 0), at, [(old, -1), (new, 1)], scribe);
        }
    }

    /// Takes back that a customer is counted by each of several payments of one index.
    fn count_again(
        &self,
        at: Timestamp,
        (chain, index, tuple): (usize, u16, TupleId),
        scribe: &mut Scribe<'_>,
    ) {
        let others = self.chains.iter().enumerate();
        let others = others.filter(|(place, other)| *place != chain && other.payments >= index);
        let mut others = others.map(|(_, other)| Mark::of(other.paid.at(index)));
        let old = match (others.next(), others.next()) {
            (None, _) => return,
            (Some(other), None) => scribe.dictionary.union(0, other),
            // One by one, each set on the way would be remembered for ever, of thousands of chains.
            (Some(first), Some(second)) => {
                let marks = [first, second].into_iter().chain(others).collect();
                scribe.dictionary.signature_of(marks)
            }
        };
        let one = scribe.dictionary.union(0, Mark::of(tuple));
        let new = scribe.dictionary.union(old, Mark::of(tuple));
        let rows = [(old, -1), (one, -1), (new, 1)];
        self.head_rows((FactKind::PeriodPayer, index), at, rows, scribe);
    }

    /// Adds a mark to those of the customer and of the chain. Refunds that came before the first
    /// payment are kept in `earlier` until it comes.
    pub(super) fn mark(
        &mut self,
        step: HeadStep,
        earlier: &mut Vec<HeadStep>,
        scribe: &mut Scribe<'_>,
    ) {
        let old = self.signature;
        let waiting = earlier.iter().copied();
        let (_, new) = marked(old, step.mark, waiting.map(|earlier| earlier.mark), scribe);
        if new != old {
            self.signature = new;
            self.head_rows((FactKind::Payer, 0), step.at, [(old, -1), (new, 1)], scribe);
        }
        let mut is_early = new == 0;
        if let Some(chain) = step.chain {
            let old = self.chains[chain].signature;
            let waiting = earlier.iter().filter(|earlier| earlier.chain == step.chain);
            let (base, new) = marked(old, step.mark, waiting.map(|earlier| earlier.mark), scribe);
            if new != base {
                let kind = (FactKind::Subscription, 0);
                self.head_rows(kind, step.at, [(base, -1), (new, 1)], scribe);
            }
            self.chains[chain].signature = new;
            is_early |= new == 0;
        }
        if is_early {
            earlier.push(step);
        }
    }

    /// Rows of changed counts; those of the empty signature are left out.
    fn head_rows<const N: usize>(
        &self,
        (kind, index): (FactKind, u16),
        at: Timestamp,
        rows: [(SignatureId, i64); N],
        scribe: &mut Scribe<'_>,
    ) {
        for zone in 0..scribe.rules.reporting_zones.len() {
            let place = self.placed(scribe, zone, at);
            let is_payer = kind == FactKind::Payer;
            let by_age = kind != FactKind::PeriodPayer;
            let key = FactKey {
                kind,
                index,
                first_day: if is_payer { place.first_day } else { Day::MIN },
                slip_install: if by_age { place.slip_install } else { 0 },
                slip_first: 0,
                ..place
            };
            for (dims, count) in rows {
                if dims != 0 {
                    scribe.delta.push((FactKey { dims, ..key }, Sums::count(count)));
                }
            }
        }
    }
}

/// The signature with one more mark, and before it what a first payment alone would have made it.
///
/// Nothing is marked before the first payment, which then takes all refunds before it with it.
fn marked(
    old: SignatureId,
    mark: Mark,
    waiting: impl Iterator<Item = Mark>,
    scribe: &mut Scribe<'_>,
) -> (SignatureId, SignatureId) {
    if old != 0 {
        return (old, scribe.dictionary.union(old, mark));
    }
    if mark.lowest_paid == 0 {
        return (0, 0);
    }
    let base = scribe.dictionary.union(0, mark);
    let new = waiting.fold(base, |new, mark| scribe.dictionary.union(new, mark));
    (base, new)
}
