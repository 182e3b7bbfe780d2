//! Ordinals of buckets by table: the calendar is too slow to ask once per fact.

use crate::domain::time::{Day, Width};

/// The table ends here at the latest; later days are worked out one by one.
const TABLE_END: Day = Day(47_000);
/// A little before the earliest instant an event may have, in any zone.
const TABLE_START: Day = Day(-2);

/// The buckets of a width.
pub struct Buckets {
    width: Width,
    /// By day from [`TABLE_START`]; empty for days, which are their own ordinals.
    table: Vec<i32>,
    /// First days of the table's buckets, from that of [`TABLE_START`].
    starts: Vec<Day>,
}

impl Buckets {
    /// A table for days up to `until`.
    pub fn new(width: Width, until: Day) -> Self {
        let (mut table, mut starts) = (Vec::new(), Vec::new());
        let end = until.min(TABLE_END);
        if width != Width::Day && end >= TABLE_START {
            let mut ordinal = width.ordinal(TABLE_START);
            let mut next = width.first_day(ordinal + 1);
            starts.push(width.first_day(ordinal));
            for day in TABLE_START.0..=end.0 {
                if day == next.0 {
                    starts.push(next);
                    ordinal += 1;
                    next = width.first_day(ordinal + 1);
                }
                table.push(ordinal);
            }
        }
        Self { width, table, starts }
    }

    /// As [`Width::ordinal`].
    pub fn ordinal(&self, day: Day) -> i32 {
        self.known_ordinal(day).unwrap_or_else(|| self.width.ordinal(day))
    }

    /// As [`Width::start`].
    pub fn start(&self, day: Day) -> Day {
        let known = self
            .known_ordinal(day)
            .zip(self.table.first())
            .and_then(|(ordinal, first)| self.starts.get(usize::try_from(ordinal - first).ok()?));
        known.copied().unwrap_or_else(|| self.width.start(day))
    }

    fn known_ordinal(&self, day: Day) -> Option<i32> {
        let place = usize::try_from(i64::from(day.0) - i64::from(TABLE_START.0));
        place.ok().and_then(|place| self.table.get(place)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_agrees_with_the_calendar() {
        for width in Width::ALL {
            let buckets = Buckets::new(width, Day(20_000));
            for day in (-800..20_800).map(Day) {
                assert_eq!(buckets.ordinal(day), width.ordinal(day), "{width:?} {day}");
                assert_eq!(buckets.start(day), width.start(day), "{width:?} {day}");
            }
        }
    }
}
