//! Histories that lie in many chunks, gathered into one at a commit.

use crate::engine::shard::CustomerKey;
use crate::state::{ChunkRows, LiveShard, ShardReader, StateError, histories, history};

/// So many bytes of histories are gathered at once; the rest waits for another time.
const GATHERED_BYTES_MAX: usize = 2 << 20;

/// Histories read to be gathered.
pub struct Scattered(Vec<(CustomerKey, ChunkRows)>);

impl ShardReader {
    /// Reads the histories of these customers. Nothing may be applied to the shard from before they
    /// are named until [`LiveShard::gather`].
    pub fn scattered(&self, customers: Vec<CustomerKey>) -> Result<Scattered, StateError> {
        let customers: Vec<_> = customers.into_iter().map(Some).collect();
        let histories = histories(&*self.store, &customers)?;
        let mut bytes = 0;
        let read = customers.into_iter().zip(histories);
        let read = read.filter_map(|(key, rows)| Some((key?, rows?))).take_while(|(_, rows)| {
            let is_room_left = bytes < GATHERED_BYTES_MAX;
            bytes += rows.iter().map(|(_, value)| value.len()).sum::<usize>();
            is_room_left
        });
        Ok(Scattered(read.collect()))
    }
}

impl LiveShard {
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
