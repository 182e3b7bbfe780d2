//! The rows that were added to the facts of late, for those who want to follow.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::facts::{FactKey, PageNumber, Sums};

/// So many rows are remembered at most, some 6 MB of them, where facts are few.
pub const ROWS_MAX: usize = 1 << 16;
/// Else one for so many facts: to follow more than that costs as much as to begin anew.
const FACTS_PER_ROW: usize = 32;
/// Rows that lie side by side.
const BLOCK_ROWS: usize = 1 << 12;

/// A row as it was added.
pub type RecentRow = (FactKey, Sums);

/// Rows that lie side by side, and the page of each.
#[derive(Default)]
struct Block {
    rows: Vec<RecentRow>,
    pages: Vec<PageNumber>,
}

/// Rows in the order in which they were added, numbered from the first that ever was. Nothing is
/// remembered while nobody asks.
#[derive(Default)]
pub struct RecentRows {
    /// All full but the last.
    blocks: VecDeque<Block>,
    /// Number of the first row that is remembered.
    first: u64,
    is_noting: bool,
    /// Somebody wants to follow since rows were forgotten last.
    is_wanted: AtomicBool,
}

impl RecentRows {
    /// Takes note of rows added to so many facts, and of the pages they are in. Each counts, whether its
    /// like was added before or not.
    pub fn note(&mut self, rows: &[RecentRow], pages: &[PageNumber], facts: usize) {
        self.is_noting |= *self.is_wanted.get_mut();
        if !self.is_noting {
            // A number that nobody has been told.
            self.first += 1;
            return;
        }
        let mut left = rows.iter().zip(pages);
        while left.len() > 0 {
            if self.blocks.back().is_none_or(|block| block.rows.len() == BLOCK_ROWS) {
                let (rows, pages) =
                    (Vec::with_capacity(BLOCK_ROWS), Vec::with_capacity(BLOCK_ROWS));
                self.blocks.push_back(Block { rows, pages });
            }
            let Some(Block { rows, pages }) = self.blocks.back_mut() else { return };
            for (row, page) in left.by_ref().take(BLOCK_ROWS - rows.len()) {
                rows.push(*row);
                pages.push(*page);
            }
        }
        if self.len() > ROWS_MAX.max(facts / FACTS_PER_ROW) {
            self.forget();
        }
    }

    fn len(&self) -> usize {
        let full = self.blocks.len().saturating_sub(1) * BLOCK_ROWS;
        full + self.blocks.back().map_or(0, |block| block.rows.len())
    }

    /// Forgets the older half, or all if nobody has asked since the last time.
    fn forget(&mut self) {
        self.is_noting = std::mem::take(self.is_wanted.get_mut());
        if self.is_noting {
            let forgotten = self.blocks.len() / 2;
            self.blocks.drain(..forgotten);
            self.first += (forgotten * BLOCK_ROWS) as u64;
        } else {
            self.first += self.len() as u64 + 1;
            self.blocks = VecDeque::new();
        }
    }

    /// Asks for rows to be remembered from now on.
    pub fn want(&self) {
        self.is_wanted.store(true, Ordering::Relaxed);
    }

    /// The rows from this number on, in pieces, with the page of each; `None` if some are forgotten.
    pub fn since(
        &self,
        number: u64,
    ) -> Option<impl Iterator<Item = (&[RecentRow], &[PageNumber])>> {
        let skipped = usize::try_from(number.checked_sub(self.first)?).ok()?;
        if skipped > self.len() {
            return None;
        }
        let blocks = self.blocks.iter().skip(skipped / BLOCK_ROWS).enumerate();
        Some(blocks.map(move |(at, Block { rows, pages })| {
            let from = if at == 0 { skipped % BLOCK_ROWS } else { 0 };
            (&rows[from..], &pages[from..])
        }))
    }

    /// The number of the next row.
    pub fn end(&self) -> u64 {
        self.first + self.len() as u64
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.blocks.len() * BLOCK_ROWS * (size_of::<RecentRow>() + size_of::<PageNumber>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Day;
    use crate::engine::dictionary::AppIx;
    use crate::engine::facts::FactKind;

    fn rows(days: std::ops::Range<i32>) -> Vec<RecentRow> {
        let key = |day| FactKey::new(AppIx(0), 0, FactKind::Timeline, Day(day), 1);
        days.map(|day| (key(day), Sums::count(1))).collect()
    }

    #[test]
    fn rows_are_those_added_since_a_number_until_they_are_forgotten() {
        let mut recent = RecentRows::default();
        let note = |recent: &mut RecentRows, days: std::ops::Range<i32>, facts| {
            // The page of each is its day.
            let pages: Vec<PageNumber> = days.clone().map(i32::unsigned_abs).collect();
            recent.note(&rows(days), &pages, facts);
        };
        note(&mut recent, 0..9, 0);
        assert_eq!(recent.since(recent.end()).unwrap().count(), 0);
        recent.want();
        let begun = recent.end();
        let mut marks = vec![(begun, 0)];
        let facts = 3 * ROWS_MAX * FACTS_PER_ROW;
        let mut added = 0;
        while added < 3 * 65_536 - 4_000 {
            let count = 1 + added % 3_001;
            note(&mut recent, added..added + count, facts);
            added += count;
            marks.push((recent.end(), added));
        }
        for (number, at) in marks {
            let since = recent.since(number).unwrap();
            let (mut days, mut pages) = (Vec::new(), Vec::new());
            for (rows, of) in since {
                days.extend(rows.iter().map(|(key, _)| key.day.0));
                pages.extend(of.iter().map(|page| page.cast_signed()));
            }
            assert_eq!(days, (at..added).collect::<Vec<_>>());
            assert_eq!(pages, days);
        }
        assert!(recent.since(recent.end() + 1).is_none());
        // As soon as there are more than its share of the facts.
        note(&mut recent, 0..4_096, 0);
        assert!(recent.since(begun).is_none());
        let end = recent.end();
        assert!(recent.since(end).is_some() && recent.memory_bytes() > 0);
        while recent.memory_bytes() > 0 {
            note(&mut recent, 0..4_096, 0);
        }
        assert!(recent.since(end).is_none(), "nobody has asked");
    }
}
