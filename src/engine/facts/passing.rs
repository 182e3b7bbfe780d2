//! Passing over facts: all of a group, or those in some pages.

use std::iter::Enumerate;
use std::ops::Range;
use std::slice::Iter;

use crate::domain::time::Day;
use crate::engine::facts::page::{Flag, Group, PAGE_ROWS, PackedKey, Page};
use crate::engine::facts::table::{FactTable, PageNumber, row};
use crate::engine::facts::{FactKey, Sums};

/// Facts to be passed over: those of a table, or those in some of its pages.
#[derive(Clone)]
pub struct Facts<'a> {
    table: &'a FactTable,
    pages: Range<PageNumber>,
}

impl<'a> From<&'a FactTable> for Facts<'a> {
    fn from(table: &'a FactTable) -> Self {
        Self { table, pages: 0..PageNumber::MAX }
    }
}

impl<'a> Facts<'a> {
    /// The facts of these pages.
    pub fn of_pages(table: &'a FactTable, pages: Range<PageNumber>) -> Self {
        Self { table, pages }
    }

    /// The facts of a group, in no particular order.
    #[inline]
    pub fn of(&self, group: Group) -> GroupRows<'a> {
        let known = self.table.group_numbers.get(&group);
        let pages = known.map_or(&[][..], |number| &self.table.groups[*number].pages);
        let before = |end: PageNumber| pages.partition_point(|page| *page < end);
        let pages = &pages[before(self.pages.start)..before(self.pages.end)];
        GroupRows { table: self.table, pages: pages.iter(), page: None }
    }

    /// The facts of a group through a day, in no particular order.
    #[inline]
    pub fn through(&self, group: Group, until: Day) -> impl Iterator<Item = FactRow<'a>> + use<'a> {
        self.of(group).filter(move |fact| fact.key.day <= until)
    }

    /// Number of rows there may be.
    pub fn len_max(&self) -> usize {
        let pages = self.pages.end.min(self.table.next_page()).saturating_sub(self.pages.start);
        self.table.len().min(pages as usize * PAGE_ROWS)
    }
}

/// The facts of a group, page by page.
pub struct GroupRows<'a> {
    table: &'a FactTable,
    pages: Iter<'a, u32>,
    page: Option<PageRows<'a>>,
}

impl<'a> Iterator for GroupRows<'a> {
    type Item = FactRow<'a>;

    fn next(&mut self) -> Option<FactRow<'a>> {
        loop {
            if let Some(fact) = self.page.as_mut().and_then(PageRows::next) {
                return Some(fact);
            }
            self.page = Some(self.table.rows(*self.pages.next()?));
        }
    }

    /// Calls `take` in one place, so that it becomes part of the loop: what it does not need of a
    /// key is not unpacked.
    #[inline(always)]
    fn fold<B, F: FnMut(B, FactRow<'a>) -> B>(self, first: B, mut take: F) -> B {
        let mut result = first;
        for page in self.page.into_iter().chain(self.pages.map(|page| self.table.rows(*page))) {
            for fact in page {
                result = take(result, fact);
            }
        }
        result
    }
}

/// The facts of a page.
pub(super) struct PageRows<'a> {
    table: &'a FactTable,
    page: &'a Page,
    number: u32,
    keys: Enumerate<Iter<'a, PackedKey>>,
}

impl<'a> Iterator for PageRows<'a> {
    type Item = FactRow<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<FactRow<'a>> {
        let Self { table, page, number, .. } = *self;
        for (place, packed) in self.keys.by_ref() {
            if packed.has(Flag::Zero) {
                continue;
            }
            let key = match packed.has(Flag::WideKey) {
                true => table.wide_key(row(number, place)).copied(),
                false => Some(packed.unpack(page.group)),
            };
            if let Some(key) = key {
                return Some(FactRow { key, table, page, number, place });
            }
        }
        None
    }
}

/// A fact of a table: its key, and its sums when asked for.
#[derive(Clone, Copy)]
pub struct FactRow<'a> {
    pub key: FactKey,
    table: &'a FactTable,
    page: &'a Page,
    number: u32,
    pub(super) place: usize,
}

impl FactRow<'_> {
    /// The sums.
    #[inline(always)]
    pub fn sums(&self) -> Sums {
        if self.page.key(self.place).has(Flag::WideSums) {
            let wide = self.table.wide_sums.get(&row(self.number, self.place));
            return wide.copied().unwrap_or_default();
        }
        self.page.sums(self.place)
    }
}

impl FactTable {
    /// The facts of a page.
    #[inline]
    pub(super) fn rows(&self, number: u32) -> PageRows<'_> {
        let page = &*self.pages[number as usize];
        PageRows { table: self, page, number, keys: page.keys().iter().enumerate() }
    }
}
