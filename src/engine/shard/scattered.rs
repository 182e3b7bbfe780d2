//! Histories that lie in many chunks of the store, one for each commit that had something new of the
//! customer: gathered into one chunk, so that they are read by one key.

use crate::engine::customers::CustomerAt;
use crate::engine::ledger::LedgerEvent;
use crate::engine::packed::PendingAt;
use crate::engine::shard::{CustomerKey, History, Shard, customer_key, split_customer_key};

/// A history is looked at when it has so many chunks, and again whenever they have doubled.
const CHUNKS_MANY: u32 = 16;
/// It is left alone while its chunks hold more events than this on average: to write all of them
/// again for each few new ones would cost more than reading them apart.
const EVENTS_PER_CHUNK_MAX: usize = 64;

impl Shard {
    /// Notes a customer that has one more chunk, if it is time to look at it.
    pub(super) fn note_chunk(&mut self, at: CustomerAt, chunks: u32) {
        if chunks >= CHUNKS_MANY && chunks.is_power_of_two() {
            self.scattered.push(at);
        }
    }

    /// Notes a customer that has come from the store.
    pub(super) fn note_admitted(&mut self, at: CustomerAt, chunks: u32) {
        if chunks >= CHUNKS_MANY {
            self.scattered.push(at);
        }
    }

    /// Customers whose histories lie in many chunks, at most so many.
    pub fn take_scattered(&mut self, most: usize) -> Vec<CustomerKey> {
        let left = self.scattered.len().saturating_sub(most);
        let mut keys = Vec::new();
        for at in self.scattered.drain(left..) {
            // It may have left memory since, and another one may have its place.
            if let Some((app, id, customer)) = self.customers.named_mut(at)
                && customer.chunks >= CHUNKS_MANY
            {
                keys.push(customer_key(app, id));
            }
        }
        keys
    }

    /// Lets the next changes hold the whole history of a customer in place of its chunks. Nothing
    /// happens to one that has other chunks by now, or whose chunks are worth keeping.
    pub fn gather(&mut self, key: &CustomerKey, history: &History<'_>) {
        let Some((app, id)) = split_customer_key(key) else { return };
        let Ok(at) = self.customers.find(app, id) else { return };
        let Some((_, _, customer)) = self.customers.named_mut(at) else { return };
        let chunks = usize::try_from(history.chunks).unwrap_or(usize::MAX);
        let is_worth_it = history.events.len() <= chunks.saturating_mul(EVENTS_PER_CHUNK_MAX);
        if customer.chunks != history.chunks || chunks < 2 || !is_worth_it {
            return;
        }
        if customer.pending.is_none() {
            self.dirty_customers.push(at);
        }
        let waiting = self.pending.events(customer.pending).into_iter();
        let waiting: Vec<_> = waiting.map(LedgerEvent::into_owned).collect();
        let events = history.events.iter().chain(&waiting);
        customer.pending =
            events.fold(PendingAt::default(), |before, event| self.pending.push(event, before));
        customer.chunks = 0;
        self.changes.erased.push((key.clone(), history.chunks));
    }
}
