//! How far behind the log the state is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::stream::Partition;

/// How far each partition has been read, as the loop last saw it.
#[derive(Debug, Default)]
pub struct Progress {
    lag: RwLock<BTreeMap<Partition, i64>>,
    is_any_lost: AtomicBool,
}

impl Progress {
    /// Records behind the log's end, by partition. Of those that are lost, nobody knows.
    pub fn lag(&self) -> BTreeMap<Partition, i64> {
        self.lag.read().clone()
    }

    /// Whether there are partitions that answer as of what was read before they were lost.
    pub fn is_any_lost(&self) -> bool {
        self.is_any_lost.load(Ordering::Relaxed)
    }

    /// A partition is so many records behind; where the log does not say, it is as far as it was last.
    pub(super) fn note(&self, partition: Partition, records: i64) {
        self.lag.write().insert(partition, records);
    }

    /// These partitions are not read here any more.
    pub(super) fn forget(&self, partitions: &[Partition], is_any_lost: bool) {
        self.lag.write().retain(|partition, _| !partitions.contains(partition));
        self.is_any_lost.store(is_any_lost, Ordering::Relaxed);
    }
}

/// What the loop tells others about itself.
pub type SharedProgress = Arc<Progress>;
