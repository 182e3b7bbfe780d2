//! Histories that lie in many chunks, gathered into one at a commit.

use crate::engine::shard::CustomerKey;
use crate::state::{ChunkRows, LiveShard, StateError, history};

/// Histories read to be gathered.
pub struct Scattered(Vec<(CustomerKey, ChunkRows)>);

impl LiveShard {
    /// Reads the histories of these customers. Takes as long as the store does, so questions may be
    /// answered meanwhile; nothing may be applied until [`LiveShard::gather`].
    pub fn scattered(&self, customers: Vec<CustomerKey>) -> Result<Scattered, StateError> {
        let customers: Vec<_> = customers.into_iter().map(Some).collect();
        let histories = self.histories(&customers)?;
        let read = customers.into_iter().zip(histories);
        Ok(Scattered(read.filter_map(|(key, rows)| Some((key?, rows?))).collect()))
    }

    /// Lets the next commit write each of these histories as one chunk in place of those it has.
    /// What a customer's ledger is does not change.
    pub fn gather(&mut self, Scattered(histories): &Scattered) -> Result<(), StateError> {
        for (key, rows) in histories {
            self.shard.gather(key, &history(rows)?);
            self.is_dirty = true;
        }
        Ok(())
    }
}
