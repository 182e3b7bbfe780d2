//! What of a table of facts has changed since the last commit, page by page.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::engine::facts::Fact;
use crate::engine::facts::page::{Flag, Group, PAGE_ROWS, Page};
use crate::engine::facts::passing::FactRow;
use crate::engine::facts::table::FactTable;

/// A page is stored whole again when so many rows of it have been stored one by one since.
const PAGE_UPDATES_MAX: usize = PAGE_ROWS / 2;

/// Rows of a page that have changed, to be stored together. They stay what they are, whatever
/// becomes of the table.
#[derive(Debug, Clone)]
pub struct FactPage {
    pub page: u32,
    /// 0: all rows of the page; else the place among the updates that followed it, from 1.
    pub update: u32,
    /// So many updates are replaced by a whole page.
    pub replaces: u32,
    content: Arc<Page>,
    /// How many of its rows have changed.
    changed: usize,
    /// Facts that do not fit into the page.
    wide: HashMap<u16, Fact>,
}

impl FactPage {
    /// What its facts have in common.
    pub fn group(&self) -> Group {
        self.content.group
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        if self.is_whole() { self.content.len() } else { self.changed }
    }

    fn is_whole(&self) -> bool {
        self.update == 0
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Places within the page, rising, with the facts that lie there now, `None` where none does.
    pub fn rows(&self) -> impl Iterator<Item = (u16, Option<Fact>)> {
        let all = 0..u16::try_from(self.content.len()).unwrap_or(u16::MAX);
        let is_asked =
            |place: &u16| self.is_whole() || self.content.key((*place).into()).has(Flag::Dirty);
        all.filter(is_asked).map(|place| (place, self.fact(place)))
    }

    fn fact(&self, place: u16) -> Option<Fact> {
        let key = self.content.key(place.into());
        if key.has(Flag::Zero) {
            return None;
        }
        if key.has_any([Flag::WideKey, Flag::WideSums]) {
            return self.wide.get(&place).copied();
        }
        let key = key.unpack(self.content.group);
        Some(Fact { key, sums: self.content.sums(place.into()) })
    }
}

/// What is stored of a page.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PageState {
    /// Rows that have changed since the last commit.
    pub(super) changed: usize,
    pub(super) is_stored: bool,
    /// How many updates followed the whole page, and of how many rows.
    pub(super) updates: u32,
    pub(super) updated_rows: usize,
}

impl FactTable {
    /// What has changed since the last call and must be stored; it counts as stored now.
    ///
    /// Which rows of a page have changed is noted in the page itself, and told by who stores it: no row
    /// is looked at here.
    pub fn take_changed_pages(&mut self) -> Vec<FactPage> {
        let mut changed = std::mem::take(&mut self.changed_pages);
        changed.sort_unstable();
        let pages = changed.drain(..).map(|page| self.changed_page(page)).collect();
        self.changed_pages = changed;
        pages
    }

    fn changed_page(&mut self, number: u32) -> FactPage {
        let at = number as usize;
        let (content, state) = (self.pages[at].share(), &mut self.states[at]);
        let (changed, replaces) = (std::mem::take(&mut state.changed), state.updates);
        let is_whole = !state.is_stored || state.updated_rows + changed > PAGE_UPDATES_MAX;
        if is_whole {
            *state = PageState { is_stored: true, ..PageState::default() };
        } else {
            state.updates += 1;
            state.updated_rows += changed;
        }
        FactPage {
            page: number,
            update: if is_whole { 0 } else { replaces + 1 },
            replaces: if is_whole { replaces } else { 0 },
            changed,
            wide: self.wide_facts(number, &content),
            content,
        }
    }

    /// Facts of a page that do not fit into it.
    fn wide_facts(&self, number: u32, page: &Page) -> HashMap<u16, Fact> {
        if self.wide_keys.is_empty() && self.wide_sums.is_empty() {
            return HashMap::new();
        }
        let is_wide =
            |row: &FactRow<'_>| page.key(row.place).has_any([Flag::WideKey, Flag::WideSums]);
        let fact = |row: FactRow<'_>| {
            let place = u16::try_from(row.place).unwrap_or(u16::MAX);
            (place, Fact { key: row.key, sums: row.sums() })
        };
        self.rows(number).filter(is_wide).map(fact).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::time::Day;
    use crate::engine::dictionary::AppIx;
    use crate::engine::facts::{FactKey, FactKind, RestoredFacts, Sums};

    fn key(dims: u32) -> FactKey {
        FactKey::new(AppIx(0), 0, FactKind::Payment, Day(1), dims)
    }

    /// Of several groups; some are too far away for a page.
    fn any_key(dims: u32) -> FactKey {
        let kind = if dims.is_multiple_of(3) { FactKind::Customer } else { FactKind::Payment };
        let day = Day(if dims.is_multiple_of(11) { 700_000 } else { 19_000 });
        FactKey { kind, day, ..key(dims) }
    }

    fn counts(table: &FactTable) -> Vec<(FactKey, i64)> {
        let mut counts: Vec<_> = table.iter().map(|fact| (fact.key, fact.sums.count)).collect();
        counts.sort_unstable();
        counts
    }

    type Rows = Vec<(u16, Option<Fact>)>;

    /// Pages as a store holds them, and the table that is read back from them.
    #[derive(Default)]
    struct Stored(BTreeMap<(u32, u32), (Group, Rows)>);

    impl Stored {
        fn take(&mut self, table: &mut FactTable) {
            for page in table.take_changed_pages() {
                for update in 1..=page.replaces {
                    assert!(self.0.remove(&(page.page, update)).is_some());
                }
                let rows = (page.group(), page.rows().collect());
                let before = self.0.insert((page.page, page.update), rows);
                assert!(before.is_none() || page.update == 0);
            }
        }

        fn read(&self) -> FactTable {
            let mut table = RestoredFacts::default();
            for ((page, _), (group, _)) in self.0.iter().filter(|((_, update), _)| *update == 0) {
                let (mut facts, mut updates, mut rows) = (Vec::new(), 0, 0);
                for ((_, update), (_, changed)) in self.0.range((*page, 0)..=(*page, u32::MAX)) {
                    if *update > 0 {
                        (updates, rows) = (*update, rows + changed.len());
                    }
                    for (place, fact) in changed {
                        let place = usize::from(*place);
                        facts.resize(facts.len().max(place + 1), None);
                        facts[place] = *fact;
                    }
                }
                table.page(*group, &facts, (updates, rows));
            }
            table.indexed()
        }
    }

    #[test]
    fn rows_add_up_vanish_at_zero_and_come_back() {
        let mut table = FactTable::default();
        table.add(key(7), Sums::count(2));
        table.add(key(7), Sums::count(-2));
        assert_eq!(table.iter().count(), 0);
        let changed = table.take_changed_pages();
        assert_eq!(changed[0].rows().collect::<Vec<_>>(), [(0, None)]);
        table.add(key(7), Sums::count(5));
        assert_eq!(counts(&table), [(key(7), 5)]);
        assert_eq!((table.len(), table.take_changed_pages().len()), (1, 1));
        assert!(table.take_changed_pages().is_empty());
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
        assert_eq!((table.iter().count(), table.wide_sums.len()), (0, 0));
    }

    #[test]
    fn what_is_stored_is_what_is_held_however_often_rows_change() {
        let (mut table, mut stored) = (FactTable::default(), Stored::default());
        for round in 0..40u32 {
            for step in 0..60u32 {
                // Some keys come and go, others only grow, over several pages.
                let dims = round * 17 % 1000 + step * 31;
                table.add(any_key(dims), Sums::count(1));
                table.add(any_key(dims / 2), Sums::count(if round % 3 == 0 { -1 } else { 1 }));
            }
            stored.take(&mut table);
            let mut read = stored.read();
            assert_eq!(counts(&read), counts(&table), "round {round}");
            assert!(read.take_changed_pages().is_empty());
            if round % 7 == 0 {
                table = read;
            }
        }
        assert!(table.wide_keys.len() > 1);
        assert!(table.pages.len() > 2 && stored.0.keys().any(|(_, update)| *update > 0));
    }

    #[test]
    fn pages_on_their_way_to_the_store_stay_what_they_are_while_rows_change() {
        let mut table = FactTable::default();
        for dims in 0..700 {
            table.add(key(dims), Sums::count(1));
        }
        drop(table.take_changed_pages());
        table.add(key(3), Sums::count(1));
        table.add(key(690), Sums::count(-1));
        let rows = |pages: &[FactPage]| {
            let of = |page: &FactPage| (page.page, page.len(), page.rows().collect::<Rows>());
            pages.iter().map(of).collect::<Vec<_>>()
        };
        let pages = table.take_changed_pages();
        let taken = rows(&pages);
        let sums = |count| Some(Fact { key: key(3), sums: Sums::count(count) });
        assert_eq!(taken, [(0, 1, vec![(3, sums(2))]), (1, 1, vec![(690 - 512, None)])]);
        table.add(key(3), Sums::count(1));
        table.add(key(5), Sums::count(1));
        table.add(key(7_000), Sums::count(1));
        assert_eq!(rows(&pages), taken);
        let [first, second] = &rows(&table.take_changed_pages())[..] else { panic!("two pages") };
        assert_eq!((first.1, first.2[0], first.2.len()), (2, (3, sums(3)), 2));
        // The row that was zero at the commit is another fact's now.
        assert_eq!((second.1, second.2[0].0), (1, 690 - 512));
    }
}
