//! Values with numbers.

use std::hash::{BuildHasher as _, Hash};

use hashbrown::DefaultHashBuilder;

use crate::engine::pieces::Pieces;
use crate::engine::row_index::RowIndex;

/// Values with numbers in order of arrival, found by hash.
pub(super) struct Interner<T> {
    /// By number.
    pub values: Pieces<T>,
    ids: RowIndex,
    hasher: DefaultHashBuilder,
}

impl<T: Hash + Eq> Interner<T> {
    /// With the value of number 0.
    pub fn new(zero: T) -> Self {
        let (values, ids) = (Pieces::default(), RowIndex::default());
        let mut interner = Self { values, ids, hasher: DefaultHashBuilder::default() };
        interner.push(zero);
        interner
    }

    /// The number of a value that is there.
    pub fn find(&self, value: &T) -> Option<u32> {
        self.ids.find(self.hasher.hash_one(value), |id| self.values.get(id as usize) == Some(value))
    }

    /// Adds a value that is not there, and returns its number.
    pub fn push(&mut self, value: T) -> u32 {
        let hash = self.hasher.hash_one(&value);
        let id = self.restore(value);
        self.ids.insert(hash, id);
        id
    }

    /// Adds the next value of those that are read back; none is found before all are indexed.
    pub fn restore(&mut self, value: T) -> u32 {
        // Memory ends long before four thousand million values.
        let id = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(value);
        id
    }

    /// Lets all values be found that were read back.
    pub fn index_all(&mut self) {
        self.ids = RowIndex::of_all(self.values.iter().map(|value| self.hasher.hash_one(value)));
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.values.memory_bytes() + self.ids.memory_bytes()
    }
}
