//! New events on their way to the store: a commit takes them, and writes them while the shard takes in
//! the next. Until it is over, memory is where they are read.
//!
//! A customer's row knows its place among the new events of a commit, and of which commit that is. So a
//! commit takes all of them as they are and touches no row, however many customers they are of.
//!
//! Always true
//! * A customer's ledger is its stored chunks but the one that is being written, then the events
//!   being written, then those that wait ([`Shard::stored`]).

use std::sync::Arc;

use crate::engine::customer::Customer;
use crate::engine::dictionary::AppIx;
use crate::engine::ledger::LedgerEvent;
use crate::engine::packed::{NoteAt, PendingAt, PendingLog};
use crate::engine::shard::{CustomerKey, Shard, put_customer_key};

/// New events of customers, and where in the store they belong.
#[derive(Debug)]
pub struct NewEvents {
    /// Packed, of all the customers in `chunks`, with their keys.
    pub log: PendingLog,
    /// Customers with new events, each once.
    pub chunks: Vec<NewChunk>,
    /// Of the commit that takes them; those of two commits in a row differ in being odd.
    commit: u32,
}

/// The new events of a customer, to be stored as one more chunk of its history.
#[derive(Debug)]
pub struct NewChunk {
    /// Where the customer's key lies in [`NewEvents::log`].
    pub customer: NoteAt,
    /// Number of the chunk.
    pub chunk: u32,
    /// Where the events lie in [`NewEvents::log`]; nowhere if the customer was forgotten since.
    pub events: PendingAt,
}

/// A customer's place in [`NewEvents::chunks`] of a commit; of none at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChunkPlace {
    commit: u32,
    place: u32,
}

impl Default for NewEvents {
    fn default() -> Self {
        Self { log: PendingLog::default(), chunks: Vec::new(), commit: 1 }
    }
}

impl NewEvents {
    /// Those that come after these, none yet.
    fn following(&self) -> Self {
        Self {
            log: PendingLog::default(),
            // About as many will come; where fewer do the rest is never touched.
            chunks: Vec::with_capacity(self.chunks.len()),
            commit: self.commit.checked_add(1).unwrap_or(2),
        }
    }

    fn parity(&self) -> usize {
        self.commit as usize % 2
    }

    fn place_of(&self, customer: &Customer) -> Option<usize> {
        let ChunkPlace { commit, place } = customer.places[self.parity()];
        (commit == self.commit).then_some(place as usize)
    }

    /// Whether there are events of the customer.
    pub(super) fn has(&self, customer: &Customer) -> bool {
        self.place_of(customer).is_some()
    }

    /// The events of a customer, in order of arrival.
    fn of(&self, customer: &Customer) -> Vec<LedgerEvent<'_>> {
        let chunk = self.place_of(customer).and_then(|place| self.chunks.get(place));
        chunk.map_or_else(Vec::new, |chunk| self.log.events(chunk.events))
    }

    /// Takes in an event of a customer; whether it is the customer's first.
    pub(super) fn push(
        &mut self,
        event: &LedgerEvent<'_>,
        (app, id, customer): (AppIx, &str, &mut Customer),
    ) -> bool {
        match self.place_of(customer) {
            Some(place) => {
                customer.pending = self.log.push(event, customer.pending);
                if let Some(chunk) = self.chunks.get_mut(place) {
                    chunk.events = customer.pending;
                }
                false
            }
            None => {
                customer.pending = self.log.push(event, PendingAt::default());
                let key = self.log.note(|into| put_customer_key(app, id, into));
                self.add(key, customer);
                true
            }
        }
    }

    fn add(&mut self, key: NoteAt, customer: &mut Customer) {
        let (chunk, events) = (customer.chunks, customer.pending);
        // So many customers do not fit into memory.
        let place = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        self.chunks.push(NewChunk { customer: key, chunk, events });
        customer.places[self.parity()] = ChunkPlace { commit: self.commit, place };
        customer.chunks += 1;
    }

    /// Takes in the whole history of a customer, which replaces its chunks and the events that wait.
    pub(super) fn replace(
        &mut self,
        key: &CustomerKey,
        history: &[LedgerEvent<'_>],
        customer: &mut Customer,
    ) {
        let waiting = self.of(customer).into_iter().map(LedgerEvent::into_owned);
        let waiting: Vec<_> = waiting.collect();
        let events = history.iter().chain(&waiting);
        customer.pending =
            events.fold(PendingAt::default(), |before, event| self.log.push(event, before));
        customer.chunks = 0;
        match self.place_of(customer) {
            Some(place) => {
                if let Some(chunk) = self.chunks.get_mut(place) {
                    (chunk.chunk, chunk.events) = (0, customer.pending);
                }
                customer.chunks = 1;
            }
            None => {
                let key = self.log.note(|into| into.extend_from_slice(key));
                self.add(key, customer);
            }
        }
    }

    /// Lets go of the events of a customer.
    pub(super) fn drop_events(&mut self, customer: &Customer) {
        if let Some(place) = self.place_of(customer)
            && let Some(chunk) = self.chunks.get_mut(place)
        {
            chunk.events = PendingAt::default();
        }
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.log.memory_bytes() + self.chunks.capacity() * size_of::<NewChunk>()
    }
}

/// Events of customers that are in memory and not known to be in the store.
#[derive(Default)]
pub(super) struct Unstored {
    /// Accepted since the last commit.
    pub(super) pending: NewEvents,
    /// Those that a commit is writing.
    pub(super) storing: Option<Arc<NewEvents>>,
}

impl Unstored {
    /// Events of a customer, in order of arrival.
    pub(super) fn events(&self, customer: &Customer) -> Vec<LedgerEvent<'_>> {
        let storing = self.storing.as_ref();
        let mut events = storing.map_or_else(Vec::new, |events| events.of(customer));
        events.extend(self.pending.of(customer));
        events
    }

    /// The log of the events that wait for the next commit, if some of them are the customer's.
    pub(super) fn waiting(&self, customer: &Customer) -> Option<&PendingLog> {
        self.pending.has(customer).then_some(&self.pending.log)
    }

    /// How many chunks of a customer the store has for certain, one after the other.
    pub(super) fn stored_chunks(&self, customer: &Customer) -> u32 {
        let is_storing = self.storing.as_ref().is_some_and(|events| events.has(customer));
        let is_pending = self.pending.has(customer);
        customer.chunks - u32::from(is_storing) - u32::from(is_pending)
    }

    /// Takes what waits, to be written.
    pub(super) fn take(&mut self) -> Arc<NewEvents> {
        let next = self.pending.following();
        let taken = Arc::new(std::mem::replace(&mut self.pending, next));
        self.storing = Some(Arc::clone(&taken));
        taken
    }
}

impl Shard {
    /// Takes note that the store has what was handed out last by [`Shard::take_changes`].
    pub fn stored(&mut self) {
        self.unstored.storing = None;
    }
}
