//! Slices with numbers in order of arrival, found by what they hold.

use std::hash::{BuildHasher as _, Hash};

use hashbrown::DefaultHashBuilder;
use smallvec::SmallVec;

use crate::engine::row_index::{LOOK_AHEAD, RowIndex};

/// Slices of a group.
const GROUP_SLICES: usize = 1 << 12;

/// Different slices, many one after the other in memory: most are short, and questions read them all.
/// The empty slice has number 0.
pub struct Slices<T> {
    /// All are full but the last.
    groups: Vec<Group<T>>,
    ids: RowIndex,
    hasher: DefaultHashBuilder,
}

/// Slices with numbers in a row. They move only while their group grows, so that one memory for all does
/// not have to be copied.
struct Group<T> {
    items: Vec<T>,
    /// Where each slice ends.
    ends: Vec<u32>,
}

impl<T: Copy> Group<T> {
    fn get(&self, place: usize) -> Option<&[T]> {
        let end = *self.ends.get(place)?;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.items.get(start as usize..end as usize)
    }
}

impl<T: Copy + Eq + Hash> Default for Slices<T> {
    fn default() -> Self {
        let (groups, ids) = (Vec::new(), RowIndex::default());
        let mut slices = Self { groups, ids, hasher: DefaultHashBuilder::default() };
        slices.push(&[]);
        slices
    }
}

impl<T: Copy + Eq + Hash> Slices<T> {
    /// The slice of a number; the empty one of a number that none has.
    #[inline]
    pub fn get(&self, id: u32) -> &[T] {
        let id = id as usize;
        let group = self.groups.get(id / GROUP_SLICES);
        group.and_then(|group| group.get(id % GROUP_SLICES)).unwrap_or_default()
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
        let id = self.restore(slice);
        self.ids.insert(self.hasher.hash_one(slice), id);
        id
    }

    /// Adds the next slice of those that are read back; none is found before [`Slices::index_all`].
    pub fn restore(&mut self, slice: &[T]) -> u32 {
        let id = number(self.count());
        if id as usize == self.groups.len() * GROUP_SLICES {
            self.add_group();
        }
        let last = self.groups.len() - 1;
        let group = &mut self.groups[last];
        group.items.extend_from_slice(slice);
        group.ends.push(number(group.items.len()));
        id
    }

    #[cold]
    fn add_group(&mut self) {
        // What one group took is likely to do for the next.
        let (items, ends) = match self.groups.last_mut() {
            Some(full) => {
                full.items.shrink_to_fit();
                (full.items.len(), GROUP_SLICES)
            }
            None => (0, 0),
        };
        self.groups
            .push(Group { items: Vec::with_capacity(items), ends: Vec::with_capacity(ends) });
    }

    /// Lets all slices be found that were read back.
    pub fn index_all(&mut self) {
        self.ids = RowIndex::of_all(self.iter().map(|slice| self.hasher.hash_one(slice)));
    }

    /// How many slices there are.
    pub fn count(&self) -> usize {
        match self.groups.split_last() {
            Some((last, full)) => full.len() * GROUP_SLICES + last.ends.len(),
            None => 0,
        }
    }

    /// All slices, by number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[T]> + Clone {
        (0..number(self.count())).map(|id| self.get(id))
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        let of_group = |group: &Group<T>| {
            group.items.capacity() * size_of::<T>() + group.ends.capacity() * size_of::<u32>()
        };
        self.groups.iter().map(of_group).sum::<usize>() + self.ids.memory_bytes()
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
