//! How far behind the log the state is.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::stream::Partition;

/// Whether every partition has been read to its end, as the loop last saw it.
#[derive(Debug, Default)]
pub struct Progress {
    lag: RwLock<BTreeMap<Partition, i64>>,
}

impl Progress {
    /// Records behind the log's end, by partition.
    pub fn lag(&self) -> BTreeMap<Partition, i64> {
        self.lag.read().clone()
    }

    pub(super) fn set(&self, lag: BTreeMap<Partition, i64>) {
        *self.lag.write() = lag;
    }
}

/// What the loop tells others about itself.
pub type SharedProgress = Arc<Progress>;
