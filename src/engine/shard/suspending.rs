//! Which events have no effect yet.

use crate::engine::shard::{CustomerKey, Shard, SuspendedEvents, customer_key};
use crate::engine::suspended::SuspendedByCustomer;

impl Shard {
    /// Customers with suspended events.
    pub fn suspended(&self) -> &SuspendedByCustomer {
        &self.suspended
    }

    /// Whether any event was suspended, or is no more, since the last commit.
    pub fn has_changed_suspensions(&self) -> bool {
        !self.changes.suspended.is_empty()
    }

    /// Whether an event is suspended now.
    pub fn is_suspended(&self, app_id: &str, customer_id: &str, event_id: &str) -> bool {
        let app = self.dictionary.find_app(app_id);
        let key = app.map(|app| customer_key(app, customer_id));
        let of_customer = key.as_ref().map_or(&[][..], |key| self.suspended.of(key));
        of_customer.iter().any(|(suspended, _)| **suspended == *event_id)
    }

    pub(super) fn set_suspended(&mut self, key: CustomerKey, waiting: SuspendedEvents) {
        self.changes.suspended.insert(key.clone(), waiting.clone());
        self.suspended.set(key, waiting);
    }
}
