//! Where rows lie, found by the hash of what they hold.
//!
//! The index keeps half of each hash beside the number of the row: enough to tell most rows apart,
//! and to grow without reading any of them. What a row holds, and how it is hashed, is its owner's.

use hashbrown::HashTable;

/// So many rows are looked ahead for without an allocation.
pub const LOOK_AHEAD: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    row: u32,
}

impl Entry {
    /// All that is known of the hash, spread over 64 bits as the table wants them.
    fn spread(&self) -> u64 {
        u64::from(self.hash) << 32 | u64::from(self.hash)
    }
}

fn entry(hash: u64, row: u32) -> Entry {
    Entry { hash: u32::try_from(hash >> 32).unwrap_or(0), row }
}

/// Numbers of rows by hash.
#[derive(Default)]
pub struct RowIndex {
    entries: HashTable<Entry>,
}

impl RowIndex {
    /// The row that has this hash and `is_it`.
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let wanted = entry(hash, 0);
        let is_it = |entry: &Entry| entry.hash == wanted.hash && is_it(entry.row);
        self.entries.find(wanted.spread(), is_it).map(|entry| entry.row)
    }

    /// Adds a row that is not there.
    pub fn insert(&mut self, hash: u64, row: u32) {
        let entry = entry(hash, row);
        self.entries.insert_unique(entry.spread(), entry, Entry::spread);
    }

    /// Removes a row; `false` if it was not there.
    pub fn remove(&mut self, hash: u64, row: u32) -> bool {
        let wanted = entry(hash, row);
        match self.entries.find_entry(wanted.spread(), |entry| entry.row == row) {
            Ok(found) => {
                found.remove();
                true
            }
            Err(_) => false,
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.entries.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_hash_are_told_apart_and_leave_one_by_one() {
        let mut index = RowIndex::default();
        for row in 0..100 {
            index.insert(7 << 40, row);
        }
        assert_eq!(index.find(7 << 40, |row| row == 42), Some(42));
        assert_eq!(index.find(8 << 40, |_| true), None);
        assert!(index.remove(7 << 40, 42) && !index.remove(7 << 40, 42));
        assert_eq!((index.find(7 << 40, |row| row == 42), index.len()), (None, 99));
    }
}
