//! Slices with numbers in order of arrival, found by what they hold.

use std::hash::{BuildHasher as _, Hash};

use hashbrown::DefaultHashBuilder;
use smallvec::SmallVec;

use crate::engine::row_index::{LOOK_AHEAD, RowIndex};

/// Different slices, one after the other in memory: most are short, and questions read them all.
/// The empty slice has number 0.
pub struct Slices<T> {
    items: Vec<T>,
    /// Where each slice ends, by its number.
    ends: Vec<u32>,
    ids: RowIndex,
    hasher: DefaultHashBuilder,
}

impl<T: Copy + Eq + Hash> Default for Slices<T> {
    fn default() -> Self {
        let (items, ends, ids) = (Vec::new(), Vec::new(), RowIndex::default());
        let mut slices = Self { items, ends, ids, hasher: DefaultHashBuilder::default() };
        slices.push(&[]);
        slices
    }
}

impl<T: Copy + Eq + Hash> Slices<T> {
    /// The slice of a number; the empty one of a number that none has.
    pub fn get(&self, id: u32) -> &[T] {
        let end = |id: usize| self.ends.get(id).copied().unwrap_or_default() as usize;
        let id = id as usize;
        let start = id.checked_sub(1).map_or(0, end);
        self.items.get(start..end(id)).unwrap_or_default()
    }

    /// The number of a slice that is there.
    pub fn find(&self, slice: &[T]) -> Option<u32> {
        self.find_hashed(self.hasher.hash_one(slice), slice)
    }

    fn find_hashed(&self, hash: u64, slice: &[T]) -> Option<u32> {
        self.ids.find(hash, |id| self.get(id) == slice)
    }

    /// The numbers of several slices; what they are compared with is read side by side.
    pub fn find_all<'s>(
        &self,
        slices: impl Iterator<Item = &'s [T]> + Clone,
    ) -> SmallVec<[Option<u32>; LOOK_AHEAD]>
    where
        T: 's,
    {
        let hashes: SmallVec<[u64; LOOK_AHEAD]> =
            slices.clone().map(|slice| self.hasher.hash_one(slice)).collect();
        for id in self.ids.look_ahead(&hashes).into_iter().flatten() {
            std::hint::black_box(self.get(id).first().copied());
        }
        hashes.iter().zip(slices).map(|(hash, slice)| self.find_hashed(*hash, slice)).collect()
    }

    /// Adds a slice that is not there, and returns its number.
    pub fn push(&mut self, slice: &[T]) -> u32 {
        self.ids.insert(self.hasher.hash_one(slice), number(self.ends.len()));
        self.restore(slice)
    }

    /// Adds the next slice of those that are read back; none is found before [`Slices::index_all`].
    pub fn restore(&mut self, slice: &[T]) -> u32 {
        let id = number(self.ends.len());
        self.items.extend_from_slice(slice);
        self.ends.push(number(self.items.len()));
        id
    }

    /// Lets all slices be found that were read back.
    pub fn index_all(&mut self) {
        self.ids = RowIndex::of_all(self.iter().map(|slice| self.hasher.hash_one(slice)));
    }

    /// How many slices there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// All slices, by number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[T]> + Clone {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let from = std::mem::replace(&mut start, *end as usize);
            self.items.get(from..start).unwrap_or_default()
        })
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.items.capacity() * size_of::<T>()
            + self.ends.capacity() * size_of::<u32>()
            + self.ids.memory_bytes()
    }
}

/// Memory ends long before four thousand million slices, or items.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_found_by_what_they_hold_and_read_by_their_numbers() {
        let mut slices = Slices::default();
        let all: [&[u8]; 4] = [&[], &[7], &[7, 8], &[8, 7]];
        for (id, slice) in (1..).zip(&all[1..]) {
            assert_eq!((slices.find(slice), slices.push(slice)), (None, id));
        }
        for (id, slice) in (0..).zip(all) {
            assert_eq!((slices.find(slice), slices.get(id)), (Some(id), slice));
        }
        let several = [all[3], &[8], all[1], all[0]];
        assert_eq!(slices.find_all(several.into_iter())[..], [Some(3), None, Some(1), Some(0)]);
        assert_eq!(slices.iter().collect::<Vec<_>>(), all);
        assert_eq!((slices.count(), slices.find(&[8]), slices.get(9)), (4, None, &[][..]));
        slices.restore(&[8]);
        slices.index_all();
        assert_eq!(
            [slices.find(&[8]), slices.find(all[0]), slices.find(all[3])],
            [4, 0, 3].map(Some)
        );
    }
}
