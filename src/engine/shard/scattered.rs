//! Histories that lie in many chunks of the store, one for each commit that had something new of the
//! customer: gathered into one chunk, so that they are read by one key.

use crate::engine::customers::{CustomerAt, HasHistory};
use crate::engine::ledger::LedgerEvent;
use crate::engine::packed::PendingAt;
use crate::engine::shard::{CustomerKey, History, Shard, customer_key, split_customer_key};

/// A history is looked at when it has so many chunks, again whenever they have doubled, and when its
/// customer comes from the store.
const CHUNKS_MANY: u32 = 16;
/// It is left alone while its chunks hold more events than this on average: to write all of them
/// again for each few new ones would cost more than reading them apart.
const EVENTS_PER_CHUNK_MAX: usize = 64;
/// So many customers are noted at most; the others are noted another time.
const NOTED_MAX: usize = 4096;

impl Shard {
    /// Notes a customer that has one more chunk, if it is time to look at it.
    pub(super) fn note_chunk(&mut self, at: CustomerAt, chunks: u32) {
        if chunks.is_power_of_two() {
            self.note_admitted(at, chunks);
        }
    }

    /// Notes a customer that has come from the store.
    pub(super) fn note_admitted(&mut self, at: CustomerAt, chunks: u32) {
        if chunks >= CHUNKS_MANY && self.scattered.len() < NOTED_MAX {
            self.scattered.push(at);
        }
    }

    /// Customers whose histories lie in many chunks, those noted first, until they have so many chunks
    /// together.
    pub fn take_scattered(&mut self, chunks_max: usize) -> Vec<CustomerKey> {
        let (mut taken, mut chunks, mut keys) = (0, 0, Vec::new());
        for at in &self.scattered {
            if chunks >= chunks_max {
                break;
            }
            taken += 1;
            // It may have left memory since, and another one may have its place.
            if let Some((app, id, customer)) = self.customers.named_mut(*at)
                && customer.chunks >= CHUNKS_MANY
            {
                chunks += usize::try_from(customer.chunks).unwrap_or(usize::MAX);
                keys.push(customer_key(app, id));
            }
        }
        self.scattered.drain(..taken);
        keys
    }

    /// Lets the next changes hold the whole history of a customer in place of its chunks. Nothing
    /// happens to one that has other chunks by now or is being written, or whose chunks are worth
    /// keeping.
    pub fn gather(&mut self, key: &CustomerKey, history: &History<'_>) {
        let Some((app, id)) = split_customer_key(key) else { return };
        let Ok(at) = self.customers.find(app, id) else { return };
        if self.has_history(app, id) != HasHistory::Chunks(history.chunks) {
            return;
        }
        let Some((_, _, customer)) = self.customers.named_mut(at) else { return };
        let chunks = usize::try_from(history.chunks).unwrap_or(usize::MAX);
        let is_worth_it = history.events.len() <= chunks.saturating_mul(EVENTS_PER_CHUNK_MAX);
        if customer.chunks != history.chunks || chunks < 2 || !is_worth_it {
            return;
        }
        if customer.pending.is_none() {
            self.dirty_customers.push(at);
        }
        let pending = &mut self.unstored.pending;
        let waiting = pending.events(customer.pending).into_iter();
        let waiting: Vec<_> = waiting.map(LedgerEvent::into_owned).collect();
        let events = history.events.iter().chain(&waiting);
        customer.pending =
            events.fold(PendingAt::default(), |before, event| pending.push(event, before));
        customer.chunks = 0;
        self.changes.erased.push((key.clone(), history.chunks));
    }
}
