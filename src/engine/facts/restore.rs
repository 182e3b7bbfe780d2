//! A table of facts read back from its stored pages.

use crate::engine::dictionary::AppIx;
use crate::engine::facts::changed::PageState;
use crate::engine::facts::page::{Group, PAGE_ROWS, PackedKey, Page};
use crate::engine::facts::table::{FactTable, row};
use crate::engine::facts::{Fact, FactKind};
use crate::engine::row_index::RowIndex;

/// A table that is put together page by page. Its rows are indexed when all are there.
#[derive(Default)]
pub struct RestoredFacts(FactTable);

impl RestoredFacts {
    /// Takes in the next page as it is stored: the facts of a group in their places, and how many
    /// updates with how many rows followed the whole page.
    pub fn page(
        &mut self,
        group: Group,
        facts: &[Option<Fact>],
        (updates, updated_rows): (u32, usize),
    ) {
        let Self(table) = self;
        let mut page = Page::new(group);
        let number = table.next_page();
        for (at, fact) in facts.iter().enumerate() {
            let row = row(number, at);
            let packed = fact.as_ref().and_then(|fact| PackedKey::pack(&fact.key));
            let Some(Fact { key, sums }) = fact else {
                page.push(PackedKey::VACANT);
                let number = table.group_number(group);
                table.groups[number].free.push(row);
                continue;
            };
            page.push(packed.unwrap_or(PackedKey::WIDE));
            if !page.set_sums(at, sums) {
                table.wide_sums.insert(row, *sums);
            }
            if packed.is_none() {
                table.wide_keys.insert(row, *key);
            }
        }
        let state = PageState { is_stored: true, updates, updated_rows, ..PageState::default() };
        table.add_page(page, state);
    }

    /// Takes in a page of facts of an app and a zone that are counted no more, which so many updates followed: its
    /// rows are free for customers, and it is stored anew with the first of them.
    pub fn uncounted_page(&mut self, (app, zone): (AppIx, u8), updates: u32) {
        let group = Group { app, zone, kind: FactKind::Customer };
        self.0.fill_last_page(group);
        self.page(group, &[None; PAGE_ROWS], (updates, 0));
        if let Some(state) = self.0.states.last_mut() {
            state.is_stored = false;
        }
    }

    /// The facts taken in so far, none of which can be found or changed.
    pub fn facts(&self) -> &FactTable {
        let Self(table) = self;
        table
    }

    /// What finds each of the facts.
    pub fn index(&self) -> RowIndex {
        let Self(table) = self;
        RowIndex::of((0..table.next_page()).flat_map(|page| table.hashes(page)))
    }

    /// The table, when all pages have been taken in.
    pub fn indexed(self) -> FactTable {
        let index = self.index();
        self.finish(index)
    }

    /// The table, when all pages have been taken in, with the index of all its facts.
    pub fn finish(self, index: RowIndex) -> FactTable {
        let Self(mut table) = self;
        table.index = index;
        table
    }
}
