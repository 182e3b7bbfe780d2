//! The shards of this process, as its threads share them.

use std::collections::BTreeMap;
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
