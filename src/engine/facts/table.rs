//! All facts of a shard, in memory, and what of them has changed since the last commit.
//!
//! Always true
//! * No row of [`FactTable::iter`] is zero in all its sums, and no two have one key.
//! * The pages handed out so far, each with its updates, hold what the table held at the last
//!   [`FactTable::take_changed_pages`].

use std::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;
use hashbrown::HashMap;

use crate::engine::dictionary::AppIx;
use crate::engine::facts::{Fact, FactKey, Sums};
use crate::engine::row_index::RowIndex;

/// Rows of a page, the unit in which facts are stored.
pub const PAGE_ROWS: usize = 512;
/// A page is stored whole again when so many rows of it have been stored one by one since.
const PAGE_UPDATES_MAX: usize = PAGE_ROWS / 2;

/// Rows of a page that have changed, to be stored together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactPage {
    pub page: u32,
    /// 0: all rows of the page; else the place among the updates that followed it, from 1.
    pub update: u32,
    /// So many updates are replaced by a whole page.
    pub replaces: u32,
    /// Places within the page, rising, with the facts that lie there now, `None` where none does.
    pub rows: Vec<(u16, Option<Fact>)>,
}

/// A fact in 64 bytes: one line of the processor's cache.
#[derive(Debug, Clone, Copy)]
struct Row {
    key: FactKey,
    count: i32,
    /// Changed since the last commit.
    is_dirty: bool,
    /// The sums do not fit in here and are in [`FactTable::wide`].
    is_wide: bool,
    gross: i64,
    proceeds: i64,
    net: i64,
}

impl Row {
    fn new(key: FactKey) -> Self {
        let (is_dirty, is_wide) = (false, false);
        Self { key, count: 0, is_dirty, is_wide, gross: 0, proceeds: 0, net: 0 }
    }

    fn is_zero(&self) -> bool {
        !self.is_wide && (self.count, self.gross, self.proceeds, self.net) == (0, 0, 0, 0)
    }

    /// Takes the sums if they fit.
    fn set(&mut self, sums: &Sums) -> Option<()> {
        let count = i32::try_from(sums.count).ok()?;
        let money = |micros: i128| i64::try_from(micros).ok();
        (self.gross, self.proceeds, self.net) =
            (money(sums.gross)?, money(sums.proceeds)?, money(sums.net)?);
        self.count = count;
        Some(())
    }

    fn sums(&self) -> Sums {
        Sums {
            count: i64::from(self.count),
            gross: i128::from(self.gross),
            proceeds: i128::from(self.proceeds),
            net: i128::from(self.net),
        }
    }
}

/// What is stored of a page.
#[derive(Debug, Clone, Copy, Default)]
struct PageState {
    is_stored: bool,
    /// How many updates followed the whole page, and of how many rows.
    updates: u32,
    updated_rows: usize,
}

/// All facts of a shard, in memory.
///
/// Rows lie side by side so that a question is one pass; a hash index finds a row by key. A row
/// that is zero at a commit is free for another key from then on.
#[derive(Default)]
pub struct FactTable {
    rows: Vec<Row>,
    wide: HashMap<u32, Sums>,
    index: RowIndex,
    hasher: DefaultHashBuilder,
    free: Vec<u32>,
    dirty: Vec<u32>,
    pages: Vec<PageState>,
}

impl FactTable {
    /// Adds `sums` to the row of `key`.
    pub fn add(&mut self, key: FactKey, sums: Sums) {
        let hash = self.hash(&key);
        let known = self.index.find(hash, |row| self.rows[row as usize].key == key);
        let row = known.unwrap_or_else(|| {
            let row = self.take_row(key);
            self.index.insert(hash, row);
            row
        });
        self.add_to(row, sums);
        let place = &mut self.rows[row as usize];
        if !place.is_dirty {
            place.is_dirty = true;
            self.dirty.push(row);
        }
    }

    fn take_row(&mut self, key: FactKey) -> u32 {
        if let Some(row) = self.free.pop() {
            let is_dirty = self.rows[row as usize].is_dirty;
            self.rows[row as usize] = Row { is_dirty, ..Row::new(key) };
            return row;
        }
        self.rows.push(Row::new(key));
        u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX)
    }

    fn add_to(&mut self, row: u32, more: Sums) {
        let place = &mut self.rows[row as usize];
        let mut sums = match place.is_wide {
            true => self.wide.get(&row).copied().unwrap_or_default(),
            false => place.sums(),
        };
        sums += more;
        self.set(row, &sums);
    }

    fn set(&mut self, row: u32, sums: &Sums) {
        let place = &mut self.rows[row as usize];
        if place.set(sums).is_some() {
            if std::mem::take(&mut place.is_wide) {
                self.wide.remove(&row);
            }
        } else {
            place.is_wide = true;
            self.wide.insert(row, *sums);
        }
    }

    fn hash(&self, key: &FactKey) -> u64 {
        self.hasher.hash_one(key.words())
    }

    fn fact(&self, row: usize) -> Option<Fact> {
        let place = self.rows.get(row).filter(|place| !place.is_zero())?;
        let sums = match place.is_wide {
            true => self.wide.get(&u32::try_from(row).ok()?).copied()?,
            false => place.sums(),
        };
        Some(Fact { key: place.key, sums })
    }

    /// The facts, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Fact> {
        (0..self.rows.len()).filter_map(|row| self.fact(row))
    }

    /// The facts of an app and a zone whose keys are wanted, in no particular order. Of the others
    /// no more than the key is looked at.
    pub fn select(
        &self,
        (app, zone): (AppIx, u8),
        is_wanted: impl Fn(&FactKey) -> bool,
    ) -> impl Iterator<Item = Fact> {
        let keys = self.rows.iter().map(|row| &row.key).enumerate();
        let wanted =
            keys.filter(move |(_, key)| key.zone == zone && key.app == app && is_wanted(key));
        wanted.filter_map(|(row, _)| self.fact(row))
    }

    /// What has changed since the last call and must be stored; it counts as stored now.
    pub fn take_changed_pages(&mut self) -> Vec<FactPage> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        for row in &dirty {
            self.rows[*row as usize].is_dirty = false;
            self.free_if_zero(*row);
        }
        self.pages.resize(self.rows.len().div_ceil(PAGE_ROWS), PageState::default());
        let same_page = |a: &u32, b: &u32| *a as usize / PAGE_ROWS == *b as usize / PAGE_ROWS;
        let pages = dirty.chunk_by(same_page).map(|rows| self.changed_page(rows)).collect();
        dirty.clear();
        self.dirty = dirty;
        pages
    }

    fn free_if_zero(&mut self, row: u32) {
        let place = self.rows[row as usize];
        if !place.is_zero() {
            return;
        }
        if self.index.remove(self.hash(&place.key), row) {
            self.free.push(row);
        }
    }

    /// `changed` are rows of one page, rising.
    fn changed_page(&mut self, changed: &[u32]) -> FactPage {
        let number = changed[0] as usize / PAGE_ROWS;
        let first = number * PAGE_ROWS;
        let state = &mut self.pages[number];
        let replaces = state.updates;
        let is_whole = !state.is_stored || state.updated_rows + changed.len() > PAGE_UPDATES_MAX;
        let rows: Vec<usize> = if is_whole {
            *state = PageState { is_stored: true, ..PageState::default() };
            (first..self.rows.len().min(first + PAGE_ROWS)).collect()
        } else {
            state.updates += 1;
            state.updated_rows += changed.len();
            changed.iter().map(|row| *row as usize).collect()
        };
        let place = |row: usize| u16::try_from(row - first).unwrap_or(u16::MAX);
        FactPage {
            page: u32::try_from(number).unwrap_or(u32::MAX),
            update: if is_whole { 0 } else { replaces + 1 },
            replaces: if is_whole { replaces } else { 0 },
            rows: rows.into_iter().map(|row| (place(row), self.fact(row))).collect(),
        }
    }

    /// Takes in the next page as it is stored: the facts in their places, and how many updates
    /// with how many rows followed the whole page.
    pub fn restore_page(&mut self, facts: &[Option<Fact>], (updates, updated_rows): (u32, usize)) {
        self.rows.resize(self.pages.len() * PAGE_ROWS, Row::new(FactKey::VACANT));
        for fact in facts {
            let row = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
            let Some(Fact { key, sums }) = *fact else {
                self.rows.push(Row::new(FactKey::VACANT));
                self.free.push(row);
                continue;
            };
            self.rows.push(Row::new(key));
            self.set(row, &sums);
            self.index.insert(self.hash(&key), row);
        }
        self.pages.push(PageState { is_stored: true, updates, updated_rows });
    }

    /// Number of rows held, those at zero included.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes of memory held, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
            + self.index.memory_bytes()
            + self.wide.allocation_size()
            + (self.dirty.capacity() + self.free.capacity()) * size_of::<u32>()
            + self.pages.capacity() * size_of::<PageState>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::time::Day;
    use crate::engine::facts::FactKind;

    fn key(dims: u32) -> FactKey {
        FactKey::new(AppIx(0), 0, FactKind::Payment, Day(1), dims)
    }

    fn counts(table: &FactTable) -> Vec<(u32, i64)> {
        let mut counts: Vec<_> =
            table.iter().map(|fact| (fact.key.dims, fact.sums.count)).collect();
        counts.sort_unstable();
        counts
    }

    type Rows = Vec<(u16, Option<Fact>)>;

    /// Pages as a store holds them, and the table that is read back from them.
    #[derive(Default)]
    struct Stored(BTreeMap<(u32, u32), Rows>);

    impl Stored {
        fn take(&mut self, table: &mut FactTable) {
            for page in table.take_changed_pages() {
                for update in 1..=page.replaces {
                    assert!(self.0.remove(&(page.page, update)).is_some());
                }
                let before = self.0.insert((page.page, page.update), page.rows);
                assert!(before.is_none() || page.update == 0);
            }
        }

        fn read(&self) -> FactTable {
            let mut table = FactTable::default();
            for (page, _) in self.0.keys().filter(|(_, update)| *update == 0) {
                let (mut facts, mut updates, mut rows) = (Vec::new(), 0, 0);
                for ((_, update), changed) in self.0.range((*page, 0)..=(*page, u32::MAX)) {
                    if *update > 0 {
                        (updates, rows) = (*update, rows + changed.len());
                    }
                    for (place, fact) in changed {
                        let place = usize::from(*place);
                        facts.resize(facts.len().max(place + 1), None);
                        facts[place] = *fact;
                    }
                }
                table.restore_page(&facts, (updates, rows));
            }
            table
        }
    }

    #[test]
    fn rows_add_up_vanish_at_zero_and_come_back() {
        let mut table = FactTable::default();
        table.add(key(7), Sums::count(2));
        table.add(key(7), Sums::count(-2));
        assert_eq!(table.iter().count(), 0);
        assert_eq!(table.take_changed_pages()[0].rows, [(0, None)]);
        table.add(key(7), Sums::count(5));
        assert_eq!(counts(&table), [(7, 5)]);
        assert_eq!((table.len(), table.take_changed_pages().len()), (1, 1));
        assert_eq!(table.take_changed_pages(), []);
    }

    #[test]
    fn sums_beyond_64_bits_are_exact_and_come_back() {
        let (mut table, mut stored) = (FactTable::default(), Stored::default());
        let large = Sums { count: 1 << 40, gross: i128::from(i64::MAX), proceeds: 1, net: -1 };
        table.add(key(1), large);
        table.add(key(1), large);
        let mut twice = large;
        twice += large;
        assert_eq!(table.iter().next().map(|fact| fact.sums), Some(twice));
        stored.take(&mut table);
        assert_eq!(stored.read().iter().next().map(|fact| fact.sums), Some(twice));
        table.add(key(1), large.negated());
        table.add(key(1), large.negated());
        assert_eq!((table.iter().count(), table.wide.len()), (0, 0));
    }

    #[test]
    fn what_is_stored_is_what_is_held_however_often_rows_change() {
        let (mut table, mut stored) = (FactTable::default(), Stored::default());
        for round in 0..40u32 {
            for step in 0..60u32 {
                // Some keys come and go, others only grow, over several pages.
                let dims = round * 17 % 1000 + step * 31;
                table.add(key(dims), Sums::count(1));
                table.add(key(dims / 2), Sums::count(if round % 3 == 0 { -1 } else { 1 }));
            }
            stored.take(&mut table);
            let mut read = stored.read();
            assert_eq!(counts(&read), counts(&table), "round {round}");
            assert_eq!(read.take_changed_pages(), []);
            if round % 7 == 0 {
                table = read;
            }
        }
        assert!(table.pages.len() > 1 && stored.0.keys().any(|(_, update)| *update > 0));
    }
}
