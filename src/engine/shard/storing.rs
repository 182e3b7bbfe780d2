//! New events on their way to the store: a commit takes them, and writes them while the shard takes in
//! the next. Until it is over, memory is where they are read.
//!
//! A customer's row knows its place among the new events of a commit, and of which commit that is; there
//! its place in the commit before is noted. So a commit takes all of them as they are and touches no row,
//! however many customers they are of.
//!
//! Always true
//! * A customer's ledger is its stored chunks but the one that is being written, then the events
//!   being written, then those that wait ([`Shard::stored`]).

use std::sync::Arc;

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
    /// Number of the commit that takes them.
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
    /// The customer's place in the last commit before that took events of it.
    before: ChunkPlace,
}

/// A customer's place in [`NewEvents::chunks`] of a commit; of none at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChunkPlace {
    pub commit: u32,
    pub place: u32,
}

/// What a customer's row knows of its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chunks {
    /// How many there are, with one that a commit is writing and one that waits for the next.
    pub count: u32,
    /// The customer's place in the last commit that took events of it, or will.
    pub place: ChunkPlace,
}

impl Chunks {
    /// So many that are all stored.
    pub fn stored(count: u32) -> Self {
        Self { count, place: ChunkPlace::default() }
    }
}

/// A customer's events that wait for the next commit.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    pub log: &'a PendingLog,
    pub newest: PendingAt,
}

impl<'a> Waiting<'a> {
    /// The events, in order of arrival.
    pub fn events(self) -> Vec<LedgerEvent<'a>> {
        self.log.events(self.newest)
    }
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

    fn at(&self, place: ChunkPlace) -> Option<&NewChunk> {
        (place.commit == self.commit).then(|| self.chunks.get(place.place as usize)).flatten()
    }

    fn at_mut(&mut self, place: ChunkPlace) -> Option<&mut NewChunk> {
        (place.commit == self.commit).then(|| self.chunks.get_mut(place.place as usize)).flatten()
    }

    /// Whether there are events of the customer.
    pub(super) fn has(&self, chunks: Chunks) -> bool {
        chunks.place.commit == self.commit
    }

    /// Reads what is needed to take in another event of the customer, to have it at hand.
    pub(super) fn look_at(&self, chunks: Chunks) -> u32 {
        self.at(chunks.place).map_or(0, |chunk| chunk.chunk)
    }

    /// The events of a customer.
    fn waiting(&self, chunks: Chunks) -> Option<Waiting<'_>> {
        let NewChunk { events, .. } = self.at(chunks.place)?;
        Some(Waiting { log: &self.log, newest: *events })
    }

    /// Takes in an event of a customer; whether it is the customer's first.
    pub(super) fn push(
        &mut self,
        event: &LedgerEvent<'_>,
        (app, id): (AppIx, &str),
        chunks: &mut Chunks,
    ) -> bool {
        let before = self.at(chunks.place).map(|chunk| chunk.events);
        let newest = self.log.push(event, before.unwrap_or_default());
        if let Some(chunk) = self.at_mut(chunks.place) {
            chunk.events = newest;
            return false;
        }
        let key = self.log.note(|into| put_customer_key(app, id, into));
        self.add(key, newest, chunks);
        true
    }

    fn add(&mut self, customer: NoteAt, events: PendingAt, chunks: &mut Chunks) {
        // So many customers do not fit into memory.
        let place = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let (chunk, before) = (chunks.count, chunks.place);
        self.chunks.push(NewChunk { customer, chunk, events, before });
        chunks.place = ChunkPlace { commit: self.commit, place };
        chunks.count += 1;
    }

    /// Takes in the whole history of a customer, which replaces its chunks and the events that wait.
    pub(super) fn replace(
        &mut self,
        key: &CustomerKey,
        history: &[LedgerEvent<'_>],
        chunks: &mut Chunks,
    ) {
        let waiting = self.waiting(*chunks).map_or_else(Vec::new, Waiting::events);
        let waiting: Vec<_> = waiting.into_iter().map(LedgerEvent::into_owned).collect();
        let events = history.iter().chain(&waiting);
        let newest =
            events.fold(PendingAt::default(), |before, event| self.log.push(event, before));
        chunks.count = 0;
        match self.at_mut(chunks.place) {
            Some(chunk) => {
                (chunk.chunk, chunk.events) = (0, newest);
                chunks.count = 1;
            }
            None => {
                let key = self.log.note(|into| into.extend_from_slice(key));
                self.add(key, newest, chunks);
            }
        }
    }

    /// Lets go of the events of a customer.
    pub(super) fn drop_events(&mut self, chunks: Chunks) {
        if let Some(chunk) = self.at_mut(chunks.place) {
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
    /// The events of a customer that a commit is writing.
    fn being_stored(&self, chunks: Chunks) -> Option<Waiting<'_>> {
        let place = self.pending.at(chunks.place).map_or(chunks.place, |chunk| chunk.before);
        self.storing.as_ref()?.waiting(Chunks { place, ..chunks })
    }

    /// Events of a customer, in order of arrival.
    pub(super) fn events(&self, chunks: Chunks) -> Vec<LedgerEvent<'_>> {
        let mut events = self.being_stored(chunks).map_or_else(Vec::new, Waiting::events);
        events.extend(self.waiting(chunks).into_iter().flat_map(Waiting::events));
        events
    }

    /// The events of a customer that wait for the next commit, if some do.
    pub(super) fn waiting(&self, chunks: Chunks) -> Option<Waiting<'_>> {
        self.pending.waiting(chunks)
    }

    /// How many chunks of a customer the store has for certain, one after the other.
    pub(super) fn stored_chunks(&self, chunks: Chunks) -> u32 {
        let is_storing = self.being_stored(chunks).is_some();
        chunks.count - u32::from(is_storing) - u32::from(self.pending.has(chunks))
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
