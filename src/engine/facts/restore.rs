//! A table of facts read back from its stored pages.

use crate::engine::facts::changed::PageState;
use crate::engine::facts::page::{Group, PackedKey, Page};
use crate::engine::facts::table::{FactTable, row};
use crate::engine::facts::{Fact, FactKey};
use crate::engine::row_index::RowIndex;

/// A table that is put together page by page. Its rows are indexed when all are there.
#[derive(Default)]
pub struct RestoredFacts {
    table: FactTable,
    /// Hash and number of each row.
    rows: Vec<(u64, u32)>,
}

impl RestoredFacts {
    /// Takes in the next page as it is stored: the facts of a group in their places, and how many
    /// updates with how many rows followed the whole page.
    pub fn page(
        &mut self,
        group: Group,
        facts: &[Option<Fact>],
        (updates, updated_rows): (u32, usize),
    ) {
        let mut page = Page::new(group);
        let number = self.table.next_page();
        for (at, fact) in facts.iter().enumerate() {
            let row = row(number, at);
            let packed = fact.as_ref().and_then(|fact| PackedKey::pack(&fact.key));
            let Some(Fact { key, sums }) = fact else {
                page.push(PackedKey::VACANT);
                let number = self.table.group_number(group);
                self.table.groups[number].free.push(row);
                continue;
            };
            page.push(packed.unwrap_or(PackedKey::WIDE));
            if !page.set_sums(at, sums) {
                self.table.wide_sums.insert(row, *sums);
            }
            self.note(key, packed, row);
        }
        self.table.add_page(page, PageState { is_stored: true, updates, updated_rows });
    }

    fn note(&mut self, key: &FactKey, packed: Option<PackedKey>, row: u32) {
        if packed.is_none() {
            self.table.wide_keys.insert(row, *key);
        }
        self.rows.push((self.table.hash(key, packed), row));
    }

    /// The table, when all pages have been taken in.
    pub fn finish(mut self) -> FactTable {
        self.table.index = RowIndex::of(&self.rows);
        self.table
    }
}
