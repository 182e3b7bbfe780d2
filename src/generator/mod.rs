//! Makes up a subscription business: settings in, billing events out, the same for the same seed.
//!
//! [`Generator`] is an iterator over the events in the order in which they arrive. Customers
//! install, see paywalls, try, buy, renew, switch renewal off, fail to pay, leave, come back and
//! get refunds, in fifteen countries, ten currencies and four stores; some events come late, some
//! twice. It streams: nothing is kept but the customers who have something ahead of them and the
//! events still on their way.
//!
//! Always true (tested below)
//! * Equal settings give equal events; lateness and duplicates change only order and repetition.
//! * Every event passes [`crate::domain::event::RawEvent::check`].
//! * Refunds that name a payment are together at most that payment.
//! * `occurred_at` lies within the asked days.
//!
//! Amounts are integers throughout. The reporting rates on the events are US dollars, so the
//! app's reporting currency must be USD. Not here: any I/O; writing events is the caller's.

mod agenda;
mod business;
mod calendar;
mod catalog;
mod customer;
mod delivery;
mod draws;
mod events;
mod settings;
#[cfg(test)]
mod tests;
mod turn;

use crate::domain::event::BillingEvent;
use crate::domain::time::Timestamp;

use business::Business;
use delivery::Delivery;
use draws::Draws;

pub use settings::{GeneratorSettings, InvalidShare, SettingsError, Share};

/// A made-up business, event by event in order of arrival.
#[derive(Debug)]
pub struct Generator {
    business: Business,
    delivery: Delivery,
}

/// An event and the time at which it arrives: when it happened or, for a late or repeated one,
/// up to weeks after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub at: Timestamp,
    pub event: BillingEvent<'static>,
}

impl Generator {
    /// A business of these settings, or which of them is out of range.
    pub fn new(settings: &GeneratorSettings) -> Result<Self, SettingsError> {
        settings.check()?;
        let business = Business::new(settings, Draws::new(settings.seed, 0));
        let draws = Draws::new(settings.seed, 1);
        Ok(Self { business, delivery: Delivery::new(draws, settings.late, settings.duplicates) })
    }

    /// The next event with its time of arrival; times never go back.
    ///
    /// `None` after everything sent within the asked days has arrived, never when open-ended.
    pub fn next_arrival(&mut self) -> Option<Arrival> {
        loop {
            let next_at = self.business.next_at();
            if let Some((at, event)) = self.delivery.receive(next_at) {
                return Some(Arrival { at: Timestamp(at), event });
            }
            next_at?;
            self.business.step(&mut self.delivery);
        }
    }
}

impl Iterator for Generator {
    type Item = BillingEvent<'static>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_arrival().map(|arrival| arrival.event)
    }
}
