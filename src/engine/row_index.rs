//! Where rows lie, found by the hash of what they hold.
//!
//! The index keeps half of each hash beside the number of the row: enough to tell most rows apart,
//! and to grow without reading any of them. What a row holds, and how it is hashed, is its owner's.
//!
//! Entries lie in arrays, each in the first free place from where its hash points (linear
//! probing). An index of millions of rows is in no cache, and every question is for another part of
//! it: here a question reads one line of memory, or two, and a row that was looked for in vain is
//! added to the line just read. Places are in the order of hashes, so that growing is one pass over
//! both arrays. A table with its control bytes apart reads two lines to find a row and writes a third
//! to add one, and grows by a jump for each.
//!
//! A large index is cut into parts by the first bits of the hashes. Each grows on its own and at
//! another time, so that nobody waits for a hundred megabytes to be moved.

use smallvec::SmallVec;

/// So many rows are looked ahead for without an allocation.
pub const LOOK_AHEAD: usize = 64;
/// Places of the smallest part that holds anything.
const PLACES_MIN: usize = 16;
/// At most so many of a hundred places are taken: a search in vain then looks at six on average.
const TAKEN_OF_HUNDRED_MAX: usize = 70;
/// Parts grow when so many of a hundred places are taken at the least, each a little later than the one
/// before.
const TAKEN_OF_HUNDRED_MIN: usize = 60;
/// An index of more rows than this is cut into parts.
const WHOLE_MAX: usize = 1 << 16;
/// So many of them.
const PARTS: usize = 1 << 8;
/// Into so many parts the rows of an index are sorted while it is made, each small enough for a cache.
const NEIGHBOURHOODS: usize = 1 << 12;

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    row: u32,
}

impl Entry {
    /// Nobody's: rows are fewer.
    const FREE: Self = Self { hash: 0, row: u32::MAX };

    fn new(hash: u64, row: u32) -> Self {
        Self { hash: u32::try_from(hash >> 32).unwrap_or(0), row }
    }

    /// Where it belongs if everything is cut into so many pieces by hash: a piece, and how far into it
    /// in units of 2^-32.
    fn piece(self, pieces: usize) -> (usize, u32) {
        let place = u64::from(self.hash) * pieces as u64;
        ((place >> 32) as usize, place as u32)
    }

    fn is_free(self) -> bool {
        self.row == Self::FREE.row
    }
}

/// Numbers of rows, all below [`u32::MAX`], by hash.
#[derive(Default)]
pub struct RowIndex {
    /// None, one or [`PARTS`].
    parts: Vec<Part>,
    len: usize,
}

/// Entries of neighbouring hashes.
#[derive(Default)]
struct Part {
    /// Not all are taken.
    places: Vec<Entry>,
    len: usize,
}

impl RowIndex {
    /// An index of all rows from 0 on, by their hashes; see [`RowIndex::of`].
    pub fn of_all(hashes: impl Iterator<Item = u64> + Clone) -> Self {
        Self::of(hashes.zip(0..))
    }

    /// An index of many rows at once, each given once, with their hashes. Those of neighbouring places are
    /// brought together first and then added, which takes a fraction of adding all as they come: the
    /// places in use fit into the processor's cache.
    pub fn of(rows: impl Iterator<Item = (u64, u32)> + Clone) -> Self {
        let entries = gathered(rows.map(|(hash, row)| Entry::new(hash, row)));
        let parts = if entries.len() > WHOLE_MAX { PARTS } else { 1 };
        Self::of_parts(&entries, parts)
    }

    /// An index of so many parts, of entries that lie part by part.
    fn of_parts(entries: &[Entry], parts: usize) -> Self {
        let mut index = Self { parts: Vec::with_capacity(parts), len: entries.len() };
        let mut rest = entries;
        for number in 0..parts {
            let count = rest.partition_point(|entry| entry.piece(parts).0 == number);
            let (own, others) = rest.split_at(count);
            index.parts.push(Part::of(own, parts));
            rest = others;
        }
        index
    }

    /// Of each of these hashes the row that lies there: the one wanted, and seldom another of the same half
    /// of a hash. They are read side by side: no read waits for another, or for a decision that does, so
    /// that the processor fetches several from memory at a time.
    pub fn look_ahead(&self, hashes: &[u64]) -> SmallVec<[Option<u32>; LOOK_AHEAD]> {
        let homes = hashes.iter().map(|hash| {
            let (part, within) = Entry::new(*hash, 0).piece(self.parts.len());
            let part = self.parts.get(part)?;
            part.places.get(part.home(within))
        });
        std::hint::black_box(homes.fold(0, |read, home| read ^ home.map_or(0, |entry| entry.row)));
        hashes.iter().map(|hash| self.find(*hash, |_| true)).collect()
    }

    /// The row that has this hash and `is_it`.
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let wanted = Entry::new(hash, 0);
        let (part, within) = wanted.piece(self.parts.len());
        let part = self.parts.get(part)?;
        let is_it = |entry: Entry| entry.hash == wanted.hash && is_it(entry.row);
        part.place_of(within, is_it).map(|place| part.places[place].row)
    }

    /// Adds a row that is not there.
    pub fn insert(&mut self, hash: u64, row: u32) {
        if self.parts.is_empty() {
            self.parts.push(Part::default());
        } else if self.parts.len() == 1 && self.len == WHOLE_MAX {
            self.cut();
        }
        let (entry, parts) = (Entry::new(hash, row), self.parts.len());
        let number = entry.piece(parts).0;
        let taken_max = TAKEN_OF_HUNDRED_MAX
            - (TAKEN_OF_HUNDRED_MAX - TAKEN_OF_HUNDRED_MIN) * (parts - 1 - number) / parts;
        self.parts[number].insert(entry, (parts, taken_max));
        self.len += 1;
    }

    /// Cuts the only part into many.
    fn cut(&mut self) {
        let places = self.parts.iter().flat_map(|part| &part.places);
        let entries = gathered(places.copied().filter(|entry| !entry.is_free()));
        *self = Self::of_parts(&entries, PARTS);
    }

    /// Removes a row; `false` if it was not there.
    pub fn remove(&mut self, hash: u64, row: u32) -> bool {
        let (number, within) = Entry::new(hash, row).piece(self.parts.len());
        let parts = self.parts.len();
        let is_removed =
            self.parts.get_mut(number).is_some_and(|part| part.remove(within, row, parts));
        self.len -= usize::from(is_removed);
        is_removed
    }

    /// Lets a row of this hash that has moved be found where it is now.
    pub fn replace(&mut self, hash: u64, row: u32, moved: u32) {
        let (number, within) = Entry::new(hash, row).piece(self.parts.len());
        if let Some(part) = self.parts.get_mut(number)
            && let Some(place) = part.place_of(within, |entry| entry.row == row)
        {
            part.places[place].row = moved;
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        let places: usize = self.parts.iter().map(|part| part.places.capacity()).sum();
        places * size_of::<Entry>() + self.parts.capacity() * size_of::<Part>()
    }
}

/// The same entries, neighbourhood by neighbourhood.
fn gathered(entries: impl Iterator<Item = Entry> + Clone) -> Vec<Entry> {
    let neighbourhood = |entry: Entry| entry.piece(NEIGHBOURHOODS).0;
    let mut ends = vec![0; NEIGHBOURHOODS];
    entries.clone().for_each(|entry| ends[neighbourhood(entry)] += 1);
    let mut len = 0;
    for end in &mut ends {
        len += std::mem::replace(end, len);
    }
    let mut gathered = vec![Entry::FREE; len];
    for entry in entries {
        let end = &mut ends[neighbourhood(entry)];
        gathered[*end] = entry;
        *end += 1;
    }
    gathered
}

impl Part {
    /// The part of these entries, one of so many.
    fn of(entries: &[Entry], parts: usize) -> Self {
        // With room for some more.
        let count = (entries.len() * 100).div_ceil(TAKEN_OF_HUNDRED_MIN).max(PLACES_MIN);
        let mut part = Self { places: vec![Entry::FREE; count], len: entries.len() };
        entries.iter().for_each(|entry| part.take_place(*entry, parts));
        part
    }

    fn insert(&mut self, entry: Entry, (parts, taken_max): (usize, usize)) {
        if (self.len + 1) * 100 > self.places.len() * taken_max {
            self.grow(parts);
        }
        self.take_place(entry, parts);
        self.len += 1;
    }

    fn remove(&mut self, within: u32, row: u32, parts: usize) -> bool {
        let Some(mut gap) = self.place_of(within, |entry| entry.row == row) else {
            return false;
        };
        // Whoever was turned away from the gap moves into it, or a search would end there.
        let mut place = self.after(gap);
        while !self.places[place].is_free() {
            let entry = self.places[place];
            let home = self.home(entry.piece(parts).1);
            if self.steps(home, place) >= self.steps(gap, place) {
                self.places[gap] = entry;
                gap = place;
            }
            place = self.after(place);
        }
        self.places[gap] = Entry::FREE;
        self.len -= 1;
        true
    }

    /// Where an entry lies that `is_it`, of those that belong so far into the part.
    fn place_of(&self, within: u32, is_it: impl Fn(Entry) -> bool) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let mut place = self.home(within);
        loop {
            let entry = self.places[place];
            if entry.is_free() {
                return None;
            }
            if is_it(entry) {
                return Some(place);
            }
            place = self.after(place);
        }
    }

    fn take_place(&mut self, entry: Entry, parts: usize) {
        let mut place = self.home(entry.piece(parts).1);
        while !self.places[place].is_free() {
            place = self.after(place);
        }
        self.places[place] = entry;
    }

    fn grow(&mut self, parts: usize) {
        // By half, as growing is cheap: twice as many would leave more of them free.
        let count = (self.places.len() * 3 / 2).max(PLACES_MIN);
        let before = std::mem::replace(&mut self.places, vec![Entry::FREE; count]);
        for entry in before.into_iter().filter(|entry| !entry.is_free()) {
            self.take_place(entry, parts);
        }
    }

    /// Where a search begins: as far into the places as the hash is into the part's.
    fn home(&self, within: u32) -> usize {
        ((u64::from(within) * self.places.len() as u64) >> 32) as usize
    }

    fn after(&self, place: usize) -> usize {
        if place + 1 == self.places.len() { 0 } else { place + 1 }
    }

    /// Steps from one place on to another, past the end as the search goes.
    fn steps(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.places.len() - from }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{Rng, RngCore, SeedableRng};
    use rand_chacha::ChaCha8Rng;

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

    #[test]
    fn an_index_made_at_once_has_all_rows_and_takes_more() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for count in [0u32, 1, 5, 40, 3000] {
            // Half of them are turned around the end.
            let mut hash =
                |row: u32| if row.is_multiple_of(2) { random.next_u64() } else { u64::MAX };
            let rows: Vec<(u64, u32)> = (0..count).map(|row| (hash(row), row)).collect();
            let mut index = RowIndex::of(rows.iter().copied());
            index.insert(7, count);
            for (hash, row) in rows.iter().copied().chain([(7, count)]) {
                assert_eq!(index.find(hash, |found| found == row), Some(row), "of {count}");
            }
            assert_eq!(index.len(), rows.len() + 1);
        }
    }

    #[test]
    fn an_index_of_many_rows_is_cut_and_its_parts_grow_one_by_one() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let rows: Vec<(u64, u32)> =
            (0..3 * WHOLE_MAX as u32).map(|row| (random.next_u64(), row)).collect();
        let (mut grown, made) = (RowIndex::default(), RowIndex::of(rows.iter().copied()));
        let mut sizes = Vec::new();
        for (hash, row) in &rows {
            grown.insert(*hash, *row);
            sizes.push(grown.parts.iter().map(|part| part.places.len()).sum::<usize>());
        }
        assert_eq!((grown.parts.len(), made.parts.len()), (PARTS, PARTS));
        // Of what is there, only a small part is moved at a time.
        let moved =
            sizes.windows(2).skip(2 * WHOLE_MAX).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(moved > 0 && moved < grown.len() / 100, "{moved} places of {} rows", grown.len());
        for index in [&grown, &made] {
            for (hash, row) in &rows {
                assert_eq!(index.find(*hash, |found| found == *row), Some(*row));
            }
        }
        for (hash, row) in rows.iter().filter(|(_, row)| row % 3 > 0) {
            assert!(grown.remove(*hash, *row) && !grown.remove(*hash, *row));
        }
        for (hash, row) in &rows {
            let left = (row % 3 == 0).then_some(*row);
            assert_eq!(grown.find(*hash, |found| found == *row), left);
        }
        assert_eq!(grown.len(), WHOLE_MAX);
    }

    /// Hashes near each other, and at the ends of all places, so that rows push each other around.
    #[test]
    fn any_rows_that_come_and_go_are_found_while_they_are_there() {
        let seed = rand::random();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for round in 0..200 {
            let mut index = RowIndex::default();
            let mut hashes = BTreeMap::new();
            let spread = random.random_range(1..40u32);
            for row in 0..random.random_range(1..400u32) {
                let ends = [0, u64::MAX << 30, u64::MAX / 3][random.random_range(0..3)];
                let hash = ends.wrapping_add(random.next_u64() >> spread);
                index.insert(hash, row);
                hashes.insert(row, hash);
                if random.random_ratio(1, 3) {
                    let gone = random.random_range(0..=row);
                    let was_there = hashes.remove(&gone);
                    let hash = was_there.unwrap_or_default();
                    assert_eq!(index.remove(hash, gone), was_there.is_some(), "seed {seed}");
                }
                assert_eq!(index.len(), hashes.len());
            }
            for (row, hash) in hashes {
                let found = index.find(hash, |found| found == row);
                assert_eq!(found, Some(row), "seed {seed} round {round}");
                assert!(index.remove(hash, row));
            }
            assert!(
                index.is_empty()
                    && index
                        .parts
                        .iter()
                        .all(|part| part.places.iter().all(|entry| entry.is_free()))
            );
        }
    }
}
