//! The rows that were added to the facts of late, for those who want to follow.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::facts::{FactKey, Sums};

/// So many rows are remembered at most, about 7 MB of them.
pub const ROWS_MAX: usize = 1 << 16;

/// Rows in the order in which they were added, numbered from the first that ever was. Nothing is
/// remembered while nobody asks.
#[derive(Default)]
pub struct RecentRows {
    rows: Vec<(FactKey, Sums)>,
    /// Number of the first row that is remembered.
    first: u64,
    is_noting: bool,
    /// Somebody wants to follow since rows were forgotten last.
    is_wanted: AtomicBool,
}

impl RecentRows {
    /// Takes note of added rows. Each counts, whether its like was added before or not.
    pub fn note(&mut self, rows: &[(FactKey, Sums)]) {
        self.is_noting |= *self.is_wanted.get_mut();
        if !self.is_noting {
            // A number that nobody has been told.
            self.first += 1;
            return;
        }
        self.rows.extend_from_slice(rows);
        if self.rows.len() > ROWS_MAX {
            self.forget();
        }
    }

    /// Forgets the older half, or all if nobody has asked since the last time.
    fn forget(&mut self) {
        self.is_noting = std::mem::take(self.is_wanted.get_mut());
        let forgotten = if self.is_noting { self.rows.len().div_ceil(2) } else { self.rows.len() };
        self.rows.drain(..forgotten);
        self.first += forgotten as u64;
        if !self.is_noting {
            self.first += 1;
            self.rows = Vec::new();
        }
    }

    /// Asks for rows to be remembered from now on.
    pub fn want(&self) {
        self.is_wanted.store(true, Ordering::Relaxed);
    }

    /// The rows from this number on; `None` if some are forgotten.
    pub fn since(&self, number: u64) -> Option<&[(FactKey, Sums)]> {
        let skipped = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.rows.get(skipped..)
    }

    /// The number of the next row.
    pub fn end(&self) -> u64 {
        self.first + self.rows.len() as u64
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<(FactKey, Sums)>()
    }
}
