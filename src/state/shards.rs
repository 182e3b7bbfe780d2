//! The shards of this process, as its threads share them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::state::LiveShard;
use crate::stream::{NextOffset, Partition};

/// A shard that one thread feeds and others read.
pub type SharedShard = Arc<RwLock<LiveShard>>;

/// The shards by partition. Cheap to read, changed only when partitions come and go.
#[derive(Default)]
pub struct Shards {
    by_partition: RwLock<BTreeMap<Partition, SharedShard>>,
}

impl Shards {
    /// The shard of a partition.
    pub fn get(&self, partition: Partition) -> Option<SharedShard> {
        self.by_partition.read().get(&partition).cloned()
    }

    /// All shards, by partition.
    pub fn all(&self) -> Vec<SharedShard> {
        self.by_partition.read().values().cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_partition.read().len()
    }

    /// Puts a shard in place.
    pub fn insert(&self, shard: LiveShard) -> SharedShard {
        let partition = shard.partition;
        let shared = Arc::new(RwLock::new(shard));
        self.by_partition.write().insert(partition, Arc::clone(&shared));
        shared
    }

    /// Puts several shards in place at the same moment.
    pub fn insert_all(&self, shards: Vec<LiveShard>) {
        let mut by_partition = self.by_partition.write();
        for shard in shards {
            by_partition.insert(shard.partition, Arc::new(RwLock::new(shard)));
        }
    }

    /// Takes a shard out.
    pub fn remove(&self, partition: Partition) -> Option<SharedShard> {
        self.by_partition.write().remove(&partition)
    }

    /// Input that the shards hold: the next offset of each partition.
    pub fn as_of(&self) -> BTreeMap<Partition, NextOffset> {
        let shards = self.by_partition.read();
        shards.iter().map(|(partition, shard)| (*partition, shard.read().next_offset())).collect()
    }
}

/// The result of `work` for each, in order, worked out on as many threads as there are processors.
pub fn at_a_time<S: Sync, T: Send>(all: &[S], work: impl Fn(&S) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let work_on = |part: &[S]| part.iter().map(&work).collect::<Vec<T>>();
    let mut parts = all.chunks(all.len().div_ceil(threads).max(1));
    // This thread takes the first part itself.
    let first = parts.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(|| work_on(part))).collect();
        let mut done = work_on(first);
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worked_out_at_a_time_comes_in_order() {
        for count in [0, 1, 2, 3, 7, 64] {
            let all: Vec<usize> = (0..count).collect();
            assert_eq!(
                at_a_time(&all, |number| number * 2),
                all.iter().map(|n| n * 2).collect::<Vec<_>>()
            );
        }
    }
}
