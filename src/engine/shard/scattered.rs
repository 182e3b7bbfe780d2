//! Histories that lie in many chunks of the store, one for each commit that had something new of the
//! customer: gathered into one chunk, so that they are read by one key.

use crate::engine::customers::HasHistory;
use crate::engine::dictionary::AppIx;
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
    pub(super) fn note_chunk(&mut self, (app, id): (AppIx, &str), chunks: u32) {
        if chunks.is_power_of_two() {
            self.note_admitted((app, id), chunks);
        }
    }

    /// Notes a customer that has come from the store.
    pub(super) fn note_admitted(&mut self, (app, id): (AppIx, &str), chunks: u32) {
        if chunks >= CHUNKS_MANY && self.scattered.len() < NOTED_MAX {
            self.scattered.push((customer_key(app, id), chunks));
        }
    }

    /// Customers whose histories lie in many chunks, those noted first, until they have so many chunks
    /// together.
    pub fn take_scattered(&mut self, chunks_max: usize) -> Vec<CustomerKey> {
        let (mut taken, mut keys, mut left) = (0, Vec::new(), Vec::new());
        for (key, noted) in std::mem::take(&mut self.scattered) {
            let found =
                split_customer_key(&key).and_then(|(app, id)| self.customers.find(app, id).ok());
            // It may have left memory since.
            let Some(at) = found else { continue };
            let chunks = self.customers.chunks(at);
            if chunks.count < CHUNKS_MANY {
                continue;
            }
            // The last chunk that it was noted for may be yet to be stored.
            let stored = chunks.count - u32::from(self.unstored.pending.has(chunks));
            if taken >= chunks_max || stored < noted {
                left.push((key, noted));
                continue;
            }
            taken += usize::try_from(chunks.count).unwrap_or(usize::MAX);
            keys.push(key);
        }
        self.scattered = left;
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
        let mut chunks = self.customers.chunks(at);
        let count = usize::try_from(history.chunks).unwrap_or(usize::MAX);
        let is_worth_it = history.events.len() <= count.saturating_mul(EVENTS_PER_CHUNK_MAX);
        let pending = &mut self.unstored.pending;
        let is_written = chunks.count == history.chunks + u32::from(pending.has(chunks));
        if !is_written || count < 2 || !is_worth_it {
            return;
        }
        pending.replace(key, &history.events, &mut chunks);
        self.customers.set_chunks(at, chunks);
        self.changes.erased.push((key.clone(), history.chunks));
    }
}
