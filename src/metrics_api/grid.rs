//! Rows that appear as facts need them: by segment and by ordinal of a cohort or bucket.

use crate::engine::dictionary::TextId;

/// Marks a segment or an ordinal without a row.
const NOTHING: u32 = u32::MAX;

/// Rows by segment and ordinal, found by their place alone.
pub struct Grid<R> {
    rows: Vec<R>,
    /// By segment: which of `lines` is its own.
    line_of: Vec<u32>,
    lines: Vec<Line>,
}

/// The rows of a segment.
struct Line {
    segment: TextId,
    /// By ordinal from `first`.
    first: i32,
    rows: Vec<u32>,
}

impl<R> Default for Grid<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), line_of: Vec::new(), lines: Vec::new() }
    }
}

impl<R> Grid<R> {
    /// The row, made by `make` at its first use.
    #[inline]
    pub fn row(&mut self, segment: TextId, ordinal: i32, make: impl FnOnce() -> R) -> &mut R {
        let line = match self.line_of.get(segment as usize) {
            Some(line) if *line != NOTHING => *line as usize,
            _ => self.add_line(segment, ordinal),
        };
        let place = self.lines[line].place(ordinal);
        if *place == NOTHING {
            *place = u32::try_from(self.rows.len()).unwrap_or(NOTHING);
            self.rows.push(make());
        }
        let place = *place as usize;
        &mut self.rows[place]
    }

    #[cold]
    fn add_line(&mut self, segment: TextId, first: i32) -> usize {
        let place = segment as usize;
        if self.line_of.len() <= place {
            self.line_of.resize(place + 1, NOTHING);
        }
        self.line_of[place] = u32::try_from(self.lines.len()).unwrap_or(NOTHING);
        self.lines.push(Line { segment, first, rows: Vec::new() });
        self.lines.len() - 1
    }

    /// Segment, ordinal and row, in no particular order.
    pub fn into_rows(self) -> impl Iterator<Item = (TextId, i32, R)> {
        let mut keys: Vec<(TextId, i32)> = vec![(0, 0); self.rows.len()];
        for Line { segment, first, rows } in self.lines {
            for (ordinal, place) in (first..).zip(rows) {
                if place != NOTHING {
                    keys[place as usize] = (segment, ordinal);
                }
            }
        }
        keys.into_iter().zip(self.rows).map(|((segment, ordinal), row)| (segment, ordinal, row))
    }
}

impl Line {
    /// The place of `ordinal`, the line stretched to hold it.
    #[inline]
    fn place(&mut self, ordinal: i32) -> &mut u32 {
        let place = usize::try_from(i64::from(ordinal) - i64::from(self.first));
        match place {
            Ok(place) if place < self.rows.len() => &mut self.rows[place],
            _ => self.stretched(ordinal),
        }
    }

    #[cold]
    fn stretched(&mut self, ordinal: i32) -> &mut u32 {
        if ordinal < self.first {
            // Doubling keeps falling ordinals from moving the line each time.
            let missing = self.first.saturating_sub(ordinal);
            let grown = missing.max(i32::try_from(self.rows.len()).unwrap_or(0));
            let first = self.first.saturating_sub(grown);
            let fill = usize::try_from(self.first.saturating_sub(first)).unwrap_or(0);
            self.rows.splice(0..0, std::iter::repeat_n(NOTHING, fill));
            self.first = first;
        }
        let place = usize::try_from(ordinal.saturating_sub(self.first)).unwrap_or(0);
        if self.rows.len() <= place {
            self.rows.resize(place + 1, NOTHING);
        }
        &mut self.rows[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_again_whatever_the_order_of_ordinals_and_segments() {
        let mut grid: Grid<i32> = Grid::default();
        for ordinal in [5, 9, 4, -7, 5, 9, 30, -8] {
            for segment in [7, 0] {
                *grid.row(segment, ordinal, || 0) += ordinal;
            }
        }
        let mut rows: Vec<(TextId, i32, i32)> = grid.into_rows().collect();
        rows.sort_unstable();
        let expected = [(-8, -8), (-7, -7), (4, 4), (5, 10), (9, 18), (30, 30)];
        let of = |segment| expected.map(|(ordinal, sum)| (segment, ordinal, sum));
        assert_eq!(rows, [of(0), of(7)].concat());
    }
}
