//! New events on their way to the store: a commit takes them, and writes them while the shard takes in
//! the next. Until it is over, memory is where they are read.
//!
//! Always true
//! * A customer's ledger is its stored chunks but the one that is being written, then the events
//!   being written, then those that wait ([`Shard::stored`]).

use std::sync::Arc;

use crate::engine::customer::Customer;
use crate::engine::customers::CustomerAt;
use crate::engine::ledger::LedgerEvent;
use crate::engine::packed::{PendingAt, PendingLog};
use crate::engine::shard::{CustomerKey, Shard};

/// New events of customers, and where in the store they belong.
#[derive(Debug, Default)]
pub struct NewEvents {
    /// Packed, of all the customers in `chunks`.
    pub log: PendingLog,
    /// Customers with new events.
    pub chunks: Vec<NewChunk>,
}

/// The new events of a customer, to be stored as one more chunk of its history.
#[derive(Debug)]
pub struct NewChunk {
    pub customer: CustomerKey,
    /// Number of the chunk.
    pub chunk: u32,
    /// Where the events lie in [`NewEvents::log`].
    pub events: PendingAt,
    pub(super) at: CustomerAt,
}

impl NewEvents {
    /// Takes in a customer's chunk, and returns its place.
    pub(super) fn add(&mut self, chunk: NewChunk) -> u32 {
        self.chunks.push(chunk);
        // So many customers do not fit into memory.
        u32::try_from(self.chunks.len() - 1).unwrap_or(u32::MAX)
    }

    /// Where the events of a customer lie, if it has any. The place that a customer had in an earlier
    /// commit is another one's by now.
    fn of(&self, at: CustomerAt, customer: &Customer) -> Option<PendingAt> {
        let chunk = self.chunks.get(customer.storing? as usize)?;
        (chunk.at == at).then_some(chunk.events)
    }
}

/// Events of customers that are in memory and not known to be in the store.
#[derive(Default)]
pub(super) struct Unstored {
    /// Accepted since the last commit.
    pub(super) pending: PendingLog,
    /// Those that a commit is writing.
    pub(super) storing: Option<Arc<NewEvents>>,
}

impl Unstored {
    /// Events of a customer, in order of arrival.
    pub(super) fn events(&self, at: CustomerAt, customer: &Customer) -> Vec<LedgerEvent<'_>> {
        let storing = self.storing.as_ref();
        let storing = storing.and_then(|events| Some((events, events.of(at, customer)?)));
        let mut events = storing.map_or_else(Vec::new, |(events, at)| events.log.events(at));
        events.extend(self.pending.events(customer.pending));
        events
    }

    /// How many chunks of a customer the store has for certain, one after the other.
    pub(super) fn stored_chunks(&self, at: CustomerAt, customer: &Customer) -> u32 {
        let storing = self.storing.as_ref();
        let is_storing = storing.is_some_and(|events| events.of(at, customer).is_some());
        customer.chunks - u32::from(is_storing)
    }
}

impl Shard {
    /// Takes note that the store has what was handed out last by [`Shard::take_changes`].
    pub fn stored(&mut self) {
        self.unstored.storing = None;
    }
}
