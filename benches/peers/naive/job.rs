//! The job on one customer: its events, and what a new one changes in the cohorts.

use std::borrow::Cow;

use ltvstream::domain::event::{BillingEvent, Environment, EventKind};
use ltvstream::domain::money::{Amounts, Currency, Rate};
use serde::{Deserialize, Serialize};

/// Gross, proceeds and net of payments, the same of refunds, and the number of payments.
pub type Sums = [i64; 7];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Role {
    Payment,
    Refund,
    Void,
    Other,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    role: Role,
    /// UTC day, since 1970-01-01.
    day: i32,
    /// In micro-units of US dollars: gross, proceeds, net.
    amounts: [i64; 3],
    /// Of a void: the event to take out.
    #[serde(borrow)]
    refers_to: Option<Cow<'a, str>>,
}

impl<'a> Entry<'a> {
    fn new(event: &'a BillingEvent<'_>) -> Option<Self> {
        let amounts = match &event.charge {
            None => Amounts::default(),
            Some(charge) if charge.currency == Currency::USD => charge.amounts,
            Some(charge) => charge.amounts.convert(charge.reporting_rate.unwrap_or(Rate::ONE))?,
        };
        let role = match event.kind {
            EventKind::Void => Role::Void,
            _ if event.environment == Environment::Sandbox => Role::Other,
            EventKind::Purchase | EventKind::Renewal if amounts.gross > 0 => Role::Payment,
            EventKind::Refund => Role::Refund,
            _ => Role::Other,
        };
        Some(Self {
            id: Cow::Borrowed(&*event.event_id),
            role,
            day: event.occurred_at.utc_day().0,
            amounts: [amounts.gross, amounts.proceeds, amounts.net],
            refers_to: event.refers_to.as_deref().map(Cow::Borrowed),
        })
    }

    fn sums(&self) -> Sums {
        let [gross, proceeds, net] = self.amounts;
        match self.role {
            Role::Payment => [gross, proceeds, net, 0, 0, 0, 1],
            Role::Refund => [0, 0, 0, gross, proceeds, net, 0],
            Role::Void | Role::Other => Sums::default(),
        }
    }
}

/// A change of the cohorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A customer comes to a cohort (1) or leaves it (-1).
    Customer { cohort: i32, by: i64 },
    /// Sums are added to an age of a cohort.
    Sums { cohort: i32, age: i32, sums: Sums },
}

/// A customer as it is stored.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Customer<'a> {
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
}

impl<'a> Customer<'a> {
    /// Takes in an event and tells what it changes; `None` if it was known or is out of range.
    pub fn take(&mut self, event: &'a BillingEvent<'_>) -> Option<Vec<Change>> {
        if self.entries.iter().any(|known| *known.id == *event.event_id) {
            return None;
        }
        let entry = Entry::new(event)?;
        let mut changes = Vec::new();
        if entry.role != Role::Other {
            self.count(-1, &mut changes);
        }
        let is_other = entry.role == Role::Other;
        self.entries.push(entry);
        if !is_other {
            self.count(1, &mut changes);
        }
        Some(changes)
    }

    /// All that counts, added to the customer's cohort or taken from it.
    fn count(&self, times: i64, changes: &mut Vec<Change>) {
        let voided = |entry: &Entry<'_>| {
            let mut voids = self.entries.iter().filter(|other| other.role == Role::Void);
            voids.any(|void| void.refers_to.as_deref() == Some(&*entry.id))
        };
        let counted = || self.entries.iter().filter(|entry| !voided(entry));
        let payments = counted().filter(|entry| entry.role == Role::Payment);
        let Some(cohort) = payments.map(|payment| payment.day).min() else { return };
        changes.push(Change::Customer { cohort, by: times });
        changes.extend(counted().filter(|entry| entry.role != Role::Other).map(|entry| {
            let sums = entry.sums().map(|sum| sum * times);
            Change::Sums { cohort, age: entry.day - cohort, sums }
        }));
    }
}
