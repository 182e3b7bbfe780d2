//! The revenue that a service must tell, known without it.
//!
//! Remembers the payments, refunds and voids of every customer and works a customer's revenue out
//! anew whenever one comes. Knows of the law only what generated events need: one reporting
//! currency, no rates but those on the events, nobody forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Context as _;

use crate::domain::event::{BillingEvent, Environment, EventKind};
use crate::domain::money::{Currency, Rate};
use crate::domain::rules::ZeroPayments;
use crate::domain::time::Timestamp;
use crate::stream::{NextOffset, Partition};

/// Revenue of customers from their first payment on: payments less refunds, gross, in
/// micro-units of the reporting currency.
#[derive(Debug)]
pub struct KnownRevenue {
    zero_payments: ZeroPayments,
    customers: HashMap<Box<str>, Customer>,
}

#[derive(Debug, Default)]
struct Customer {
    events: Vec<MoneyEvent>,
    revenue: i64,
}

#[derive(Debug)]
struct MoneyEvent {
    at: Timestamp,
    id: Box<str>,
    is_refund: bool,
    /// The payment's own, or the one given back.
    transaction: Option<Box<str>>,
    /// In the currency of the event.
    gross: i64,
    /// In the reporting currency.
    reported: i64,
    /// Of a void: the event that it removes.
    voids: Option<Box<str>>,
}

impl KnownRevenue {
    /// Nothing has happened yet.
    pub fn new(zero_payments: ZeroPayments) -> Self {
        Self { zero_payments, customers: HashMap::new() }
    }

    /// Takes in an event and tells by how much revenue changes.
    pub fn take(&mut self, event: &BillingEvent<'_>, reporting: Currency) -> anyhow::Result<i64> {
        let is_money = event.charge.is_some() && event.environment == Environment::Production;
        if !is_money && event.kind != EventKind::Void {
            return Ok(0);
        }
        let customer = self.customers.entry(event.customer_id.as_ref().into()).or_default();
        if customer.events.iter().any(|known| *known.id == *event.event_id) {
            return Ok(0);
        }
        customer.events.push(MoneyEvent::new(event, reporting)?);
        let before = customer.revenue;
        customer.revenue = revenue(&mut customer.events, self.zero_payments);
        Ok(customer.revenue - before)
    }
}

impl MoneyEvent {
    fn new(event: &BillingEvent<'_>, reporting: Currency) -> anyhow::Result<Self> {
        let (mut gross, mut reported) = (0, 0);
        if let Some(charge) = &event.charge {
            let own = (charge.currency == reporting).then_some(Rate::ONE);
            let rate = own.or(charge.reporting_rate).context("the event has no rate")?;
            gross = charge.amounts.gross;
            reported = rate.convert(gross).context("the amount is out of range")?;
        }
        let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(Box::from);
        Ok(Self {
            at: event.occurred_at,
            id: event.event_id.as_ref().into(),
            is_refund: event.kind == EventKind::Refund,
            transaction: text(&event.transaction_id),
            gross,
            reported,
            voids: text(&event.refers_to),
        })
    }
}

fn revenue(events: &mut [MoneyEvent], zero_payments: ZeroPayments) -> i64 {
    events.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    let voided: BTreeSet<&str> = events.iter().filter_map(|event| event.voids.as_deref()).collect();
    let counts = |event: &&MoneyEvent| event.voids.is_none() && !voided.contains(&*event.id);
    // By transaction: the payment's gross that is not given back.
    let mut payments: BTreeMap<&str, i64> = BTreeMap::new();
    let (mut sum, mut first) = (0, None);
    for payment in events.iter().filter(counts).filter(|event| !event.is_refund) {
        let Some(transaction) = payment.transaction.as_deref() else { continue };
        let is_payment = payment.gross > 0 || zero_payments == ZeroPayments::Count;
        if is_payment && !payments.contains_key(transaction) {
            payments.insert(transaction, payment.gross);
            first = first.or(Some(payment.at));
            sum += payment.reported;
        }
    }
    for refund in events.iter().filter(counts).filter(|event| event.is_refund) {
        let is_placed = match refund.transaction.as_deref() {
            None => first.is_some_and(|first| refund.at >= first),
            Some(transaction) => payments.get_mut(transaction).is_some_and(|left| {
                let fits = refund.gross <= *left;
                *left -= if fits { refund.gross } else { 0 };
                fits
            }),
        };
        sum -= if is_placed { refund.reported } else { 0 };
    }
    sum
}

/// What every record of a topic changes, and so the revenue of any part of it.
#[derive(Debug, Default)]
pub struct RevenueByOffset {
    changes: BTreeMap<Partition, Vec<i64>>,
}

impl RevenueByOffset {
    /// The record before `next` changes revenue by so much.
    pub fn insert(&mut self, partition: Partition, next: NextOffset, change: i64) {
        let changes = self.changes.entry(partition).or_default();
        let at = usize::try_from(next.0 - 1).unwrap_or(0);
        if changes.len() <= at {
            changes.resize(at + 1, 0);
        }
        changes[at] = change;
    }

    /// Revenue of the records below these offsets.
    pub fn as_of(&self, next: &BTreeMap<Partition, i64>) -> i64 {
        let below = |(partition, next): (&Partition, &i64)| -> i64 {
            let changes = self.changes.get(partition).map_or(&[][..], Vec::as_slice);
            changes.iter().take(usize::try_from(*next).unwrap_or(0)).sum()
        };
        next.iter().map(below).sum()
    }

    /// The next offset of each partition that has records.
    pub fn ends(&self) -> BTreeMap<Partition, i64> {
        let end = |changes: &Vec<i64>| i64::try_from(changes.len()).unwrap_or(i64::MAX);
        self.changes.iter().map(|(partition, changes)| (*partition, end(changes))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, at: i64, gross: i64, transaction: Option<&str>) -> MoneyEvent {
        MoneyEvent {
            at: Timestamp(at),
            id: id.into(),
            is_refund: gross < 0,
            transaction: transaction.map(Box::from),
            gross: gross.abs(),
            reported: gross.abs() * 2,
            voids: None,
        }
    }

    #[test]
    fn revenue_is_what_the_ledger_of_a_customer_says() {
        let void = |id: &str, target: &str| MoneyEvent {
            voids: Some(target.into()),
            ..event(id, 99, 0, None)
        };
        let ignore = |mut events: Vec<MoneyEvent>| revenue(&mut events, ZeroPayments::Ignore);
        let wrong = || event("a", 1, 20, Some("t"));
        let right = || event("b", 1, 10, Some("t"));
        assert_eq!(ignore(vec![right(), wrong()]), 40, "the first of a transaction counts");
        assert_eq!(ignore(vec![right(), wrong(), void("v", "a")]), 20, "or the one not voided");
        let part = |id: &str| event(id, 5, -6, Some("t"));
        assert_eq!(ignore(vec![part("r1"), right(), part("r2")]), 8, "no more than was paid");
        assert_eq!(ignore(vec![part("r1")]), 0, "nothing to give back yet");
        assert_eq!(ignore(vec![event("u", 0, -3, None), right()]), 20, "before the first payment");
        assert_eq!(ignore(vec![event("u", 1, -3, None), right()]), 14);
    }

    #[test]
    fn revenue_of_a_part_of_the_log_is_the_sum_of_its_changes() {
        let mut known = RevenueByOffset::default();
        for (partition, next, change) in [(0, 1, 5), (1, 2, 7), (0, 3, -2), (1, 1, 1)] {
            known.insert(partition, NextOffset(next), change);
        }
        assert_eq!(known.ends(), BTreeMap::from([(0, 3), (1, 2)]));
        assert_eq!(known.as_of(&BTreeMap::from([(0, 2), (1, 2)])), 13);
        assert_eq!(known.as_of(&known.ends()), 11);
    }
}
