//! Rows that appear as facts need them: by segment and by ordinal of a cohort or bucket.

use hashbrown::HashMap;

use crate::engine::dictionary::TextId;

/// Marks an ordinal without a row.
const NO_ROW: u32 = u32::MAX;

/// Rows by segment and ordinal. Without segments a row is found by its place alone.
pub struct Grid<R> {
    rows: Vec<R>,
    places: Places,
}

enum Places {
    /// By ordinal from `first`.
    Dense {
        first: i32,
        rows: Vec<u32>,
    },
    Hashed(HashMap<(TextId, i32), u32>),
}

impl<R> Grid<R> {
    /// No rows yet; `segmented` tells whether segments other than 0 will come.
    pub fn new(segmented: bool) -> Self {
        let places = if segmented {
            Places::Hashed(HashMap::new())
        } else {
            Places::Dense { first: 0, rows: Vec::new() }
        };
        Self { rows: Vec::new(), places }
    }

    /// The row, made by `make` at its first use.
    pub fn row(&mut self, segment: TextId, ordinal: i32, make: impl FnOnce() -> R) -> &mut R {
        let place = match &mut self.places {
            Places::Hashed(places) => places.entry((segment, ordinal)).or_insert(NO_ROW),
            Places::Dense { first, rows } => dense(first, rows, ordinal),
        };
        if *place == NO_ROW {
            *place = u32::try_from(self.rows.len()).unwrap_or(NO_ROW);
            self.rows.push(make());
        }
        let place = *place as usize;
        &mut self.rows[place]
    }

    /// Segment, ordinal and row, in no particular order.
    pub fn into_rows(self) -> impl Iterator<Item = (TextId, i32, R)> {
        let mut keys: Vec<(TextId, i32)> = vec![(0, 0); self.rows.len()];
        match self.places {
            Places::Hashed(places) => {
                for (key, place) in places {
                    keys[place as usize] = key;
                }
            }
            Places::Dense { first, rows } => {
                for (ordinal, place) in (first..).zip(rows) {
                    if place != NO_ROW {
                        keys[place as usize] = (0, ordinal);
                    }
                }
            }
        }
        keys.into_iter().zip(self.rows).map(|((segment, ordinal), row)| (segment, ordinal, row))
    }
}

/// The place of `ordinal`, the table stretched to hold it.
fn dense<'a>(first: &mut i32, rows: &'a mut Vec<u32>, ordinal: i32) -> &'a mut u32 {
    if rows.is_empty() {
        *first = ordinal;
    }
    if ordinal < *first {
        // Doubling keeps falling ordinals from moving the table each time.
        let missing = first.saturating_sub(ordinal);
        let grown = missing.max(i32::try_from(rows.len()).unwrap_or(0));
        let new_first = first.saturating_sub(grown);
        let fill = usize::try_from(first.saturating_sub(new_first)).unwrap_or(0);
        rows.splice(0..0, std::iter::repeat_n(NO_ROW, fill));
        *first = new_first;
    }
    let place = usize::try_from(ordinal.saturating_sub(*first)).unwrap_or(0);
    if rows.len() <= place {
        rows.resize(place + 1, NO_ROW);
    }
    &mut rows[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_again_whatever_the_order_of_ordinals() {
        for segmented in [false, true] {
            let mut grid: Grid<i32> = Grid::new(segmented);
            for ordinal in [5, 9, 4, -7, 5, 9, 30, -8] {
                *grid.row(0, ordinal, || 0) += ordinal;
            }
            let mut rows: Vec<(TextId, i32, i32)> = grid.into_rows().collect();
            rows.sort_unstable();
            let expected = [(-8, -8), (-7, -7), (4, 4), (5, 10), (9, 18), (30, 30)];
            assert_eq!(rows, expected.map(|(ordinal, sum)| (0, ordinal, sum)));
        }
    }
}
