//! A customer's ledger: accepted events in (event time, event id) order.

use std::borrow::Cow;

use crate::domain::event::EventKind;
use crate::domain::money::{Amounts, Currency, Rate};
use crate::domain::period::Period;
use crate::domain::time::Timestamp;
use crate::engine::dictionary::{TextId, TupleId};

/// The money of a ledger event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerCharge {
    /// In the currency it was paid in.
    pub paid: Amounts,
    pub currency: Currency,
    /// The rate the event brought with it.
    pub own_rate: Option<Rate>,
    /// In the app's reporting currency, converted at acceptance and never again.
    pub reporting: Amounts,
}

/// An accepted event as the ledger keeps it: interned where texts repeat, whole otherwise, so
/// that two events are equal exactly when their contents are. Texts are borrowed from the record
/// or from packed bytes where the event need not outlive them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEvent<'a> {
    pub at: Timestamp,
    pub event_id: Cow<'a, str>,
    pub kind: EventKind,
    pub is_sandbox: bool,
    pub charge: Option<LedgerCharge>,
    pub transaction_id: Option<Cow<'a, str>>,
    /// The chain the event names or founds.
    pub chain: Option<Cow<'a, str>>,
    pub period: Option<Period>,
    pub expires_at: Option<Timestamp>,
    pub refers_to: Option<Cow<'a, str>>,
    pub device_id: Option<Cow<'a, str>>,
    pub cancellation_reason: TextId,
    /// The dimensions the event names itself.
    pub own_tuple: TupleId,
}

impl LedgerEvent<'_> {
    /// The same event, holding its texts itself.
    pub fn into_owned(self) -> LedgerEvent<'static> {
        let owned = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        LedgerEvent {
            event_id: Cow::Owned(self.event_id.into_owned()),
            transaction_id: owned(self.transaction_id),
            chain: owned(self.chain),
            refers_to: owned(self.refers_to),
            device_id: owned(self.device_id),
            ..self
        }
    }

    /// The order of the ledger.
    pub fn position(&self) -> (Timestamp, &str) {
        (self.at, &self.event_id)
    }

    /// End of the paid or trial period that the event opens, if it opens one.
    pub fn span_end(&self) -> Option<Timestamp> {
        self.period.map(|period| self.expires_at.unwrap_or_else(|| period.end(self.at)))
    }
}

#[cfg(test)]
impl LedgerEvent<'static> {
    /// An event that says nothing but this.
    pub fn bare(kind: EventKind, event_id: impl Into<Cow<'static, str>>, at: Timestamp) -> Self {
        Self {
            at,
            event_id: event_id.into(),
            kind,
            is_sandbox: false,
            charge: None,
            transaction_id: None,
            chain: None,
            period: None,
            expires_at: None,
            refers_to: None,
            device_id: None,
            cancellation_reason: 0,
            own_tuple: 0,
        }
    }
}

/// One customer's accepted events, sorted; event ids are unique.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger<'a> {
    events: Vec<LedgerEvent<'a>>,
}

impl<'a> Ledger<'a> {
    /// A ledger of events in any order.
    pub fn new(mut events: Vec<LedgerEvent<'a>>) -> Self {
        events.sort_by(|a, b| a.position().cmp(&b.position()));
        Self { events }
    }

    /// The events in order.
    pub fn events(&self) -> &[LedgerEvent<'a>] {
        &self.events
    }

    /// Puts an event in its place.
    pub fn insert(&mut self, event: LedgerEvent<'a>) {
        let place = self.events.partition_point(|other| other.position() < event.position());
        self.events.insert(place, event);
    }
}
