//! The rows that were added to the facts of late, for those who want to follow.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::facts::{FactKey, Sums};

/// So many rows are remembered at most, some 6 MB of them, where facts are few.
pub const ROWS_MAX: usize = 1 << 16;
/// Else one for so many facts: to follow more than that costs as much as to begin anew.
const FACTS_PER_ROW: usize = 32;
/// Rows that lie side by side.
const BLOCK_ROWS: usize = 1 << 12;

/// A row as it was added.
pub type RecentRow = (FactKey, Sums);

/// Rows in the order in which they were added, numbered from the first that ever was. Nothing is
/// remembered while nobody asks.
#[derive(Default)]
pub struct RecentRows {
    /// All full but the last.
    blocks: VecDeque<Vec<RecentRow>>,
    /// Number of the first row that is remembered.
    first: u64,
    is_noting: bool,
    /// Somebody wants to follow since rows were forgotten last.
    is_wanted: AtomicBool,
}

impl RecentRows {
    /// Takes note of rows added to so many facts. Each counts, whether its like was added before or not.
    pub fn note(&mut self, rows: &[RecentRow], facts: usize) {
        self.is_noting |= *self.is_wanted.get_mut();
        if !self.is_noting {
            // A number that nobody has been told.
            self.first += 1;
            return;
        }
        let mut left = rows;
        while !left.is_empty() {
            if self.blocks.back().is_none_or(|block| block.len() == BLOCK_ROWS) {
                self.blocks.push_back(Vec::with_capacity(BLOCK_ROWS));
            }
            let Some(block) = self.blocks.back_mut() else { return };
            let (taken, rest) = left.split_at(left.len().min(BLOCK_ROWS - block.len()));
            block.extend_from_slice(taken);
            left = rest;
        }
        if self.len() > ROWS_MAX.max(facts / FACTS_PER_ROW) {
            self.forget();
        }
    }

    fn len(&self) -> usize {
        let full = self.blocks.len().saturating_sub(1) * BLOCK_ROWS;
        full + self.blocks.back().map_or(0, Vec::len)
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

    /// The rows from this number on, in pieces; `None` if some are forgotten.
    pub fn since(&self, number: u64) -> Option<impl Iterator<Item = &[RecentRow]>> {
        let skipped = usize::try_from(number.checked_sub(self.first)?).ok()?;
        if skipped > self.len() {
            return None;
        }
        let blocks = self.blocks.iter().skip(skipped / BLOCK_ROWS).enumerate();
        Some(blocks.map(move |(at, block)| match at {
            0 => &block[skipped % BLOCK_ROWS..],
            _ => &block[..],
        }))
    }

    /// The number of the next row.
    pub fn end(&self) -> u64 {
        self.first + self.len() as u64
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.blocks.len() * BLOCK_ROWS * size_of::<RecentRow>()
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
        recent.note(&rows(0..9), 0);
        assert_eq!(recent.since(recent.end()).unwrap().count(), 0);
        recent.want();
        let begun = recent.end();
        let mut marks = vec![(begun, 0)];
        let facts = 3 * ROWS_MAX * FACTS_PER_ROW;
        let mut added = 0;
        while added < 3 * 65_536 - 4_000 {
            let count = 1 + added % 3_001;
            recent.note(&rows(added..added + count), facts);
            added += count;
            marks.push((recent.end(), added));
        }
        for (number, at) in marks {
            let since = recent.since(number).unwrap();
            let days: Vec<i32> = since.flatten().map(|(key, _)| key.day.0).collect();
            assert_eq!(days, (at..added).collect::<Vec<_>>());
        }
        assert!(recent.since(recent.end() + 1).is_none());
        // As soon as there are more than its share of the facts.
        recent.note(&rows(0..4_096), 0);
        assert!(recent.since(begun).is_none());
        let end = recent.end();
        assert!(recent.since(end).is_some() && recent.memory_bytes() > 0);
        while recent.memory_bytes() > 0 {
            recent.note(&rows(0..4_096), 0);
        }
        assert!(recent.since(end).is_none(), "nobody has asked");
    }
}
