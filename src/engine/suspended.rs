//! Accepted events that have no effect yet, by customer, for whoever asks which.

use std::collections::BTreeMap;

use crate::engine::shard::{CustomerKey, SuspendedEvents};
use crate::engine::standing::Suspension;

/// What a customer takes in the map beside its key and list, and a text beside its bytes: places in nodes of
/// the tree, of which two in three are used, and what the allocator keeps.
const CUSTOMER_BYTES: usize = 96;
const TEXT_BYTES: usize = 16;

/// The suspended events of a shard's customers.
#[derive(Debug, Clone, Default)]
pub struct SuspendedByCustomer {
    lists: BTreeMap<CustomerKey, SuspendedEvents>,
    /// By reason, in the order of [`Suspension::ALL`].
    counts: [i64; Suspension::ALL.len()],
    memory_bytes: usize,
}

impl SuspendedByCustomer {
    /// All lists, none of them empty, in key order.
    pub fn lists(&self) -> &BTreeMap<CustomerKey, SuspendedEvents> {
        &self.lists
    }

    /// How many events are suspended for each reason.
    pub fn counts(&self) -> impl Iterator<Item = (Suspension, i64)> {
        Suspension::ALL.into_iter().zip(self.counts)
    }

    /// Bytes of memory held, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The suspended events of a customer.
    pub fn of(&self, customer: &CustomerKey) -> &[(Box<str>, Suspension)] {
        self.lists.get(customer).map_or(&[], Vec::as_slice)
    }

    /// From now on the suspended events of the customer are these.
    pub fn set(&mut self, customer: CustomerKey, events: SuspendedEvents) {
        let (key_bytes, is_any) = (customer.len(), !events.is_empty());
        self.count(&events, key_bytes, 1);
        let before = match is_any {
            true => self.lists.insert(customer, events),
            false => self.lists.remove(&customer),
        };
        self.count(&before.unwrap_or_default(), key_bytes, -1);
    }

    /// Counts a list in, or out with `sign` −1.
    fn count(&mut self, events: &SuspendedEvents, key_bytes: usize, sign: isize) {
        let mut bytes = 0;
        for (event_id, reason) in events {
            bytes += size_of::<(Box<str>, Suspension)>() + event_id.len() + TEXT_BYTES;
            let place = Suspension::ALL.iter().position(|known| known == reason);
            if let Some(count) = place.and_then(|place| self.counts.get_mut(place)) {
                *count += sign as i64;
            }
        }
        if !events.is_empty() {
            bytes += key_bytes + CUSTOMER_BYTES;
        }
        self.memory_bytes = self.memory_bytes.saturating_add_signed(sign * bytes as isize);
    }
}

impl FromIterator<(CustomerKey, SuspendedEvents)> for SuspendedByCustomer {
    fn from_iter<I: IntoIterator<Item = (CustomerKey, SuspendedEvents)>>(lists: I) -> Self {
        let mut all = Self::default();
        lists.into_iter().for_each(|(customer, events)| all.set(customer, events));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_memory_are_those_of_the_lists_that_are_there() {
        let events = |reasons: &[Suspension]| {
            reasons.iter().map(|reason| ("an id".into(), *reason)).collect::<SuspendedEvents>()
        };
        let (missing, unknown) = (Suspension::PaymentMissing, Suspension::ChainUnknown);
        let mut all = SuspendedByCustomer::default();
        all.set(Box::from(*b"a"), events(&[missing, missing, unknown]));
        all.set(Box::from(*b"b"), events(&[missing]));
        let count = |all: &SuspendedByCustomer, reason| {
            all.counts().find(|(known, _)| *known == reason).map(|(_, count)| count)
        };
        assert_eq!((count(&all, missing), count(&all, unknown)), (Some(3), Some(1)));
        assert_eq!(all.of(&Box::from(*b"b")), events(&[missing]));
        let both = all.memory_bytes();
        assert!(both > 4 * 24 + 20, "{both}");
        all.set(Box::from(*b"a"), events(&[unknown]));
        assert!(all.memory_bytes() < both);
        let restored: SuspendedByCustomer = all.lists().clone().into_iter().collect();
        assert_eq!((restored.counts, restored.memory_bytes), (all.counts, all.memory_bytes));
        all.set(Box::from(*b"a"), Vec::new());
        all.set(Box::from(*b"b"), Vec::new());
        all.set(Box::from(*b"c"), Vec::new());
        assert!(all.lists().is_empty() && all.counts().all(|(_, count)| count == 0));
        assert_eq!(all.memory_bytes(), 0);
    }
}
