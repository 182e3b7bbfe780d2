//! All facts of a shard, in memory, and what of them has changed since the last commit.
//!
//! Always true
//! * No row of [`FactTable::iter`] is zero in all its sums, and no two have one key.
//! * The rows of a page are of one [`Group`].
//! * The pages handed out so far, each with its updates, hold what the table held at the last
//!   [`FactTable::take_changed_pages`].

use std::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::engine::facts::changed::PageState;
use crate::engine::facts::page::{Flag, Group, HeldPage, PAGE_ROWS, PackedKey, Page};
use crate::engine::facts::{Fact, FactKey, FactKind, Facts, Sums};
use crate::engine::row_index::{LOOK_AHEAD, RowIndex};

/// Number of a page of a table, in the order in which they were added.
pub type PageNumber = u32;

/// The pages of a group.
pub(super) struct GroupPages {
    group: Group,
    /// Rising; all but the last are full.
    pub(super) pages: Vec<u32>,
    /// Rows without a key, and those marked as spare, which were at zero and may be something again.
    pub(super) free: Vec<u32>,
}

/// All facts of a shard, in memory.
///
/// A row's number is that of its page times [`PAGE_ROWS`] plus its place there; a hash index finds
/// a row by key. A row that is zero is taken by the next new key of its group.
#[derive(Default)]
pub struct FactTable {
    pub(super) pages: Vec<HeldPage>,
    pub(super) states: Vec<PageState>,
    pub(super) groups: Vec<GroupPages>,
    pub(super) group_numbers: HashMap<Group, usize>,
    /// Keys and sums that do not fit into a page, by row.
    pub(super) wide_keys: HashMap<u32, FactKey>,
    pub(super) wide_sums: HashMap<u32, Sums>,
    pub(super) index: RowIndex,
    hasher: DefaultHashBuilder,
    /// Pages with rows that have changed since the last commit.
    pub(super) changed_pages: Vec<u32>,
    /// Rows at zero that have a key.
    zero_rows: usize,
}

/// The page of a row, and its place there.
pub(super) fn place(row: u32) -> (usize, usize) {
    (row as usize / PAGE_ROWS, row as usize % PAGE_ROWS)
}

pub(super) fn row(page: u32, place: usize) -> u32 {
    page.saturating_mul(PAGE_ROWS as u32) + u32::try_from(place).unwrap_or(u32::MAX)
}

impl FactTable {
    /// Adds `sums` to the row of `key`.
    pub fn add(&mut self, key: FactKey, sums: Sums) {
        let packed = PackedKey::pack(&key);
        let hash = self.hash(&key, packed);
        let row = self.find_or_take_row(&key, (packed, hash));
        self.add_to(row, sums);
    }

    /// Adds many rows; equal keys may be among them.
    ///
    /// Rows are read before any is changed: reads do not wait for each other, so that the processor
    /// fetches several from memory at a time.
    pub fn add_all(&mut self, rows: &[(FactKey, Sums)]) {
        self.add_each(rows, |_| ());
    }

    /// As [`FactTable::add_all`]; of each row the page that it is in is told, in order.
    pub fn add_each(&mut self, rows: &[(FactKey, Sums)], mut tell: impl FnMut(PageNumber)) {
        for rows in rows.chunks(LOOK_AHEAD) {
            let key = |(key, _): &(FactKey, Sums)| {
                let packed = PackedKey::pack(key);
                (packed, self.hash(key, packed))
            };
            let keys: SmallVec<[_; LOOK_AHEAD]> = rows.iter().map(key).collect();
            let likely = self.look_ahead(keys.iter().map(|(_, hash)| *hash).collect());
            for (((key, sums), packed), likely) in rows.iter().zip(keys).zip(likely) {
                let likely = likely.filter(|row| self.is_at(*row, key, packed.0));
                let row = likely.unwrap_or_else(|| self.find_or_take_row(key, packed));
                self.add_to(row, *sums);
                tell(row / PAGE_ROWS as u32);
            }
        }
    }

    /// Reads the rows that lie at these hashes, and returns which they are.
    fn look_ahead(
        &self,
        hashes: SmallVec<[u64; LOOK_AHEAD]>,
    ) -> SmallVec<[Option<u32>; LOOK_AHEAD]> {
        let rows = self.index.look_ahead(&hashes);
        let look_at = |row: &u32| {
            let (page, place) = place(*row);
            self.pages[page].look_at(place)
        };
        let read = rows.iter().flatten().map(look_at);
        std::hint::black_box(read.fold(0, |read, row| read ^ row));
        rows
    }

    fn find_or_take_row(&mut self, key: &FactKey, (packed, hash): (Option<PackedKey>, u64)) -> u32 {
        let known = self.index.find(hash, |row| self.is_at(row, key, packed));
        known.unwrap_or_else(|| {
            let row = self.take_row(key, packed);
            self.index.insert(hash, row);
            self.zero_rows += 1;
            row
        })
    }

    pub(super) fn hash(&self, key: &FactKey, packed: Option<PackedKey>) -> u64 {
        match packed {
            Some(packed) => self.hash_packed(Group::of(key), packed),
            None => self.hasher.hash_one(key),
        }
    }

    fn hash_packed(&self, group: Group, packed: PackedKey) -> u64 {
        let [days, rest] = packed.words();
        self.hasher.hash_one((group.word(), days, rest))
    }

    /// The hash and the number of each fact of a page.
    pub(super) fn hashes(&self, number: u32) -> impl Iterator<Item = (u64, u32)> + Clone {
        let page = &*self.pages[number as usize];
        let keys = page.keys().iter().enumerate().filter(|(_, packed)| !packed.has(Flag::Zero));
        keys.filter_map(move |(place, packed)| {
            let row = row(number, place);
            let hash = match packed.has(Flag::WideKey) {
                true => self.hash(self.wide_key(row)?, None),
                false => self.hash_packed(page.group, *packed),
            };
            Some((hash, row))
        })
    }

    fn is_at(&self, row: u32, key: &FactKey, packed: Option<PackedKey>) -> bool {
        let (page, place) = place(row);
        let Some(page) = self.pages.get(page) else { return false };
        let found = page.key(place);
        match packed {
            Some(packed) => {
                found.words() == packed.words()
                    && page.group == Group::of(key)
                    && !found.has(Flag::WideKey)
            }
            None => found.has(Flag::WideKey) && self.wide_keys.get(&row) == Some(key),
        }
    }

    /// A row at zero for the key.
    fn take_row(&mut self, key: &FactKey, packed: Option<PackedKey>) -> u32 {
        let number = self.group_number(Group::of(key));
        let row = match self.take_free(number) {
            Some(row) => {
                let (page, place) = place(row);
                let page = self.pages[page].own();
                let is_dirty = page.key(place).has(Flag::Dirty);
                page.reuse(place, packed.unwrap_or(PackedKey::WIDE));
                page.set_flag(place, Flag::Dirty, is_dirty);
                row
            }
            None => {
                let page = self.open_page(number);
                let rows = self.pages[page as usize].own();
                rows.push(packed.unwrap_or(PackedKey::WIDE));
                row(page, rows.len() - 1)
            }
        };
        if packed.is_none() {
            self.wide_keys.insert(row, *key);
        }
        row
    }

    /// A row of the group that is free.
    fn take_free(&mut self, number: usize) -> Option<u32> {
        while let Some(row) = self.groups[number].free.pop() {
            if self.free_if_zero(row) {
                return Some(row);
            }
        }
        None
    }

    /// Lets go of the key of a row at zero; `false`, and the row is spare no more, if it is not at zero.
    fn free_if_zero(&mut self, row: u32) -> bool {
        let (page, place) = place(row);
        let (key, group) = (self.pages[page].key(place), self.pages[page].group);
        if !key.has(Flag::Zero) {
            self.pages[page].own().set_flag(place, Flag::Spare, false);
            return false;
        }
        let (key, packed) = match key.has(Flag::WideKey) {
            true => (self.wide_key(row).copied(), None),
            false => (Some(key.unpack(group)), Some(key)),
        };
        if let Some(key) = key
            && self.index.remove(self.hash(&key, packed), row)
        {
            self.wide_keys.remove(&row);
            self.zero_rows -= 1;
        }
        true
    }

    pub(super) fn group_number(&mut self, group: Group) -> usize {
        *self.group_numbers.entry(group).or_insert_with(|| {
            self.groups.push(GroupPages { group, pages: Vec::new(), free: Vec::new() });
            self.groups.len() - 1
        })
    }

    /// A page of the group that has room.
    fn open_page(&mut self, number: usize) -> u32 {
        let group = &self.groups[number];
        match group.pages.last() {
            Some(page) if self.pages[*page as usize].len() < PAGE_ROWS => *page,
            _ => self.add_page(Page::new(group.group), PageState::default()),
        }
    }

    /// Adds free rows to the last page of a group until it is full.
    pub(super) fn fill_last_page(&mut self, group: Group) {
        let number = self.group_number(group);
        let Some(last) = self.groups[number].pages.last().copied() else { return };
        let page = self.pages[last as usize].own();
        for place in page.len()..PAGE_ROWS {
            page.push(PackedKey::VACANT);
            self.groups[number].free.push(row(last, place));
        }
    }

    /// The number of the page that is added next, greater than that of any other.
    pub fn next_page(&self) -> PageNumber {
        u32::try_from(self.pages.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn add_page(&mut self, page: Page, state: PageState) -> u32 {
        let number = self.group_number(page.group);
        let page_number = self.next_page();
        self.pages.push(HeldPage::Own(page));
        self.states.push(state);
        self.groups[number].pages.push(page_number);
        page_number
    }

    fn add_to(&mut self, row: u32, more: Sums) {
        let (number, place) = place(row);
        let page = self.pages[number].own();
        let key = page.key(place);
        if !page.add(place, &more) {
            let mut sums = match key.has(Flag::WideSums) {
                true => self.wide_sums.get(&row).copied().unwrap_or_default(),
                false => page.sums(place),
            };
            sums += more;
            if !page.set_sums(place, &sums) {
                self.wide_sums.insert(row, sums);
            } else if key.has(Flag::WideSums) {
                self.wide_sums.remove(&row);
            }
        }
        let is_zero = page.key(place).has(Flag::Zero);
        if is_zero && !key.has(Flag::Spare) {
            page.set_flag(place, Flag::Spare, true);
            let group = page.group;
            let group = self.group_number(group);
            self.groups[group].free.push(row);
        }
        match (key.has(Flag::Zero), is_zero) {
            (true, false) => self.zero_rows -= 1,
            (false, true) => self.zero_rows += 1,
            _ => {}
        }
        if !key.has(Flag::Dirty) {
            self.pages[number].own().set_flag(place, Flag::Dirty, true);
            let changed = &mut self.states[number].changed;
            if *changed == 0 {
                self.changed_pages.push(row / PAGE_ROWS as u32);
            }
            *changed += 1;
        }
    }

    /// The facts, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Fact> {
        self.of_kinds(&FactKind::ALL)
    }

    /// The facts of these kinds, in no particular order.
    pub fn of_kinds(&self, kinds: &[FactKind]) -> impl Iterator<Item = Fact> {
        let wanted = self.groups.iter().filter(|pages| kinds.contains(&pages.group.kind));
        let rows = wanted.flat_map(move |pages| Facts::from(self).of(pages.group));
        rows.map(|row| Fact { key: row.key, sums: row.sums() })
    }

    /// The key of a row that is marked to have it kept elsewhere.
    #[cold]
    pub(super) fn wide_key(&self, row: u32) -> Option<&FactKey> {
        self.wide_keys.get(&row)
    }

    /// Number of facts.
    pub fn len(&self) -> usize {
        self.index.len() - self.zero_rows
    }

    /// Whether there is no fact.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory held, roughly.
    pub fn memory_bytes(&self) -> usize {
        let rows: usize = self.groups.iter().map(|group| self.row_bytes(group)).sum();
        let groups: usize = self.groups.iter().map(GroupPages::memory_bytes).sum();
        rows + groups
            + self.pages.capacity() * size_of::<HeldPage>()
            + self.index.memory_bytes()
            + self.wide_keys.allocation_size()
            + self.wide_sums.allocation_size()
            + self.changed_pages.capacity() * size_of::<u32>()
            + self.states.capacity() * size_of::<PageState>()
    }
}

impl FactTable {
    /// Bytes of memory held by the rows of a group. Looks at its last page only, as this is asked often.
    fn row_bytes(&self, GroupPages { group, pages, .. }: &GroupPages) -> usize {
        let Some((last, full)) = pages.split_last() else { return 0 };
        self.pages[*last as usize].row_bytes() + full.len() * Page::row_bytes_of_full(*group)
    }
}

impl GroupPages {
    fn memory_bytes(&self) -> usize {
        (self.pages.capacity() + self.free.capacity()) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Day;
    use crate::engine::dictionary::AppIx;

    #[test]
    fn a_pass_that_is_broken_off_goes_on_where_it_was() {
        let group = Group { app: AppIx(0), zone: 0, kind: FactKind::Payment };
        let mut table = FactTable::default();
        for dims in 0..1_300 {
            // Some lie too far away for a page.
            let day = Day(if dims % 50 == 0 { 700_000 } else { 19_000 });
            let key = FactKey::new(group.app, group.zone, group.kind, day, dims);
            table.add(key, Sums::count(1));
        }
        let mut facts = Facts::from(&table).of(group);
        let mut seen: Vec<u32> = facts.by_ref().take(700).map(|fact| fact.key.dims).collect();
        facts.for_each(|fact| seen.push(fact.key.dims));
        seen.sort_unstable();
        assert_eq!(seen, (0..1_300).collect::<Vec<u32>>());
        let held: usize = table.pages.iter().map(|page| page.row_bytes()).sum();
        let told: usize = table.groups.iter().map(|group| table.row_bytes(group)).sum();
        assert_eq!((held, table.pages.len()), (told, 3));
    }
}
