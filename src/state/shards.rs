//! The shards of this process, as its threads share them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::state::{LiveShard, OpeningShard};
use crate::stream::{NextOffset, Partition};

/// A shard that one thread feeds and others read.
pub type SharedShard = Arc<RwLock<LiveShard>>;

/// A shard as questions meet it.
#[derive(Clone)]
pub enum HeldShard {
    Live(SharedShard),
    /// Its facts are being read.
    Opening(Arc<OpeningShard>),
}

/// The shards by partition. Cheap to read, changed only when partitions come and go.
///
/// Nobody waits for a shard while the map of them is locked, and nobody who has locked a shard asks for the
/// map: a partition that comes meanwhile would let both wait for ever.
#[derive(Default)]
pub struct Shards {
    by_partition: RwLock<BTreeMap<Partition, HeldShard>>,
}

fn live(held: &HeldShard) -> Option<&SharedShard> {
    match held {
        HeldShard::Live(shard) => Some(shard),
        HeldShard::Opening(_) => None,
    }
}

impl Shards {
    /// The shard of a partition, if its facts are read.
    pub fn get(&self, partition: Partition) -> Option<SharedShard> {
        self.by_partition.read().get(&partition).and_then(live).cloned()
    }

    /// All shards whose facts are read, by partition.
    pub fn all(&self) -> Vec<SharedShard> {
        self.by_partition.read().values().filter_map(live).cloned().collect()
    }

    /// All shards, by partition.
    pub fn held(&self) -> Vec<HeldShard> {
        self.by_partition.read().values().cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_partition.read().len()
    }

    /// Puts a shard in place, instead of what is there of its partition.
    pub fn insert(&self, shard: LiveShard) -> SharedShard {
        let partition = shard.partition;
        let shared = Arc::new(RwLock::new(shard));
        self.by_partition.write().insert(partition, HeldShard::Live(Arc::clone(&shared)));
        shared
    }

    /// Puts several shards in place at the same moment, instead of what is there of their partitions.
    pub fn insert_all(&self, shards: Vec<LiveShard>) {
        let mut by_partition = self.by_partition.write();
        for shard in shards {
            let partition = shard.partition;
            by_partition.insert(partition, HeldShard::Live(Arc::new(RwLock::new(shard))));
        }
    }

    /// Puts several shards in place at the same moment until their facts are read.
    pub fn insert_opening(&self, shards: &[Arc<OpeningShard>]) {
        let mut by_partition = self.by_partition.write();
        for shard in shards {
            by_partition.insert(shard.partition, HeldShard::Opening(Arc::clone(shard)));
        }
    }

    /// Takes a shard out.
    pub fn remove(&self, partition: Partition) {
        self.by_partition.write().remove(&partition);
    }

    /// Input that the shards hold: the next offset of each partition.
    pub fn as_of(&self) -> BTreeMap<Partition, NextOffset> {
        let shards: Vec<(Partition, HeldShard)> = {
            let by_partition = self.by_partition.read();
            by_partition.iter().map(|(partition, held)| (*partition, held.clone())).collect()
        };
        let next_offset = |held: HeldShard| match held {
            HeldShard::Live(shard) => shard.read().next_offset(),
            HeldShard::Opening(shard) => shard.next_offset(),
        };
        shards.into_iter().map(|(partition, held)| (partition, next_offset(held))).collect()
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
