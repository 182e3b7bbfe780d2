//! Sums by day.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::ops::{AddAssign, Range};

use crate::domain::time::Day;
use crate::engine::curves::Heads;
use crate::engine::facts::Sums;

/// What sums are kept by: a day, or a day with more to it, which come in the order of their days.
pub trait Dated: Ord + Copy {
    fn day(&self) -> Day;
}

impl Dated for Day {
    fn day(&self) -> Day {
        *self
    }
}

impl Dated for (Day, Day) {
    fn day(&self) -> Day {
        self.0
    }
}

/// What a series adds up, with a form that takes less room where it fits.
pub trait Summand: AddAssign + Copy + Default + PartialEq + Debug {
    type Small: Copy + Debug + PartialEq;

    /// The small form, if it fits.
    fn small(self) -> Option<Self::Small>;

    fn of_small(small: Self::Small) -> Self;
}

impl Summand for Heads {
    type Small = Self;

    fn small(self) -> Option<Self> {
        Some(self)
    }

    fn of_small(small: Self) -> Self {
        small
    }
}

/// Sums of a day within 64 bits: nine million million units of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmallSums {
    count: i64,
    gross: i64,
    proceeds: i64,
    net: i64,
}

impl Summand for Sums {
    type Small = SmallSums;

    #[inline]
    fn small(self) -> Option<SmallSums> {
        let micros = |micros: i128| i64::try_from(micros).ok();
        let (gross, proceeds, net) =
            (micros(self.gross)?, micros(self.proceeds)?, micros(self.net)?);
        Some(SmallSums { count: self.count, gross, proceeds, net })
    }

    #[inline]
    fn of_small(small: SmallSums) -> Self {
        let SmallSums { count, gross, proceeds, net } = small;
        Self { count, gross: gross.into(), proceeds: proceeds.into(), net: net.into() }
    }
}

/// All sums of a series: in their small form until one of them does not fit.
#[derive(Debug, Clone, PartialEq)]
enum Column<V: Summand> {
    Small(Vec<V::Small>),
    Whole(Vec<V>),
}

impl<V: Summand> Column<V> {
    fn get(&self, place: usize) -> V {
        match self {
            Self::Small(sums) => V::of_small(sums[place]),
            Self::Whole(sums) => sums[place],
        }
    }

    fn iter(&self, places: Range<usize>) -> impl Iterator<Item = V> + '_ {
        let (small, whole) = match self {
            Self::Small(sums) => (&sums[places], &[][..]),
            Self::Whole(sums) => (&[][..], &sums[places]),
        };
        small.iter().map(|small| V::of_small(*small)).chain(whole.iter().copied())
    }

    /// Changes the sums in the form in which a new one fits.
    fn change(
        &mut self,
        sum: V,
        small: impl FnOnce(&mut Vec<V::Small>, V::Small),
        whole: impl FnOnce(&mut Vec<V>, V),
    ) {
        match (self, sum.small()) {
            (Self::Small(sums), Some(sum)) => small(sums, sum),
            (Self::Whole(sums), _) => whole(sums, sum),
            (column @ Self::Small(_), None) => {
                let count = column.len();
                let mut sums: Vec<V> = column.iter(0..count).collect();
                whole(&mut sums, sum);
                *column = Self::Whole(sums);
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Small(sums) => sums.len(),
            Self::Whole(sums) => sums.len(),
        }
    }

    fn add(&mut self, place: usize, more: V) {
        let mut sum = self.get(place);
        sum += more;
        self.change(sum, |sums, sum| sums[place] = sum, |sums, sum| sums[place] = sum);
    }

    fn insert(&mut self, place: usize, sum: V) {
        self.change(sum, |sums, sum| sums.insert(place, sum), |sums, sum| sums.insert(place, sum));
    }
}

/// Sums by key, in order of the key. Adding at or after the end costs no search.
#[derive(Debug, Clone, PartialEq)]
pub struct Series<K, V: Summand> {
    keys: Vec<K>,
    sums: Column<V>,
}

impl<K, V: Summand> Default for Series<K, V> {
    fn default() -> Self {
        Self { keys: Vec::new(), sums: Column::Small(Vec::new()) }
    }
}

impl<K: Dated, V: Summand> Series<K, V> {
    pub(super) fn add(&mut self, key: K, sums: V) {
        let place = match self.keys.last().map(|last| last.cmp(&key)) {
            None | Some(Ordering::Less) => Err(self.keys.len()),
            Some(Ordering::Equal) => Ok(self.keys.len() - 1),
            Some(Ordering::Greater) => self.keys.binary_search(&key),
        };
        match place {
            Ok(place) => self.sums.add(place, sums),
            Err(place) => {
                self.keys.insert(place, key);
                self.sums.insert(place, sums);
            }
        }
    }

    /// Keys and sums, by rising key; sums may be zero.
    pub fn iter(&self) -> impl Iterator<Item = (K, V)> + '_ {
        self.at(0..self.keys.len())
    }

    /// Those from a day on and before another.
    pub(super) fn between(&self, (from, until): (Day, Day)) -> impl Iterator<Item = (K, V)> + '_ {
        let place = |day: Day| self.keys.partition_point(|key| key.day() < day);
        let from = place(from);
        self.at(from..place(until).max(from))
    }

    fn at(&self, places: Range<usize>) -> impl Iterator<Item = (K, V)> + '_ {
        self.keys[places.clone()].iter().copied().zip(self.sums.iter(places))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let sums = match &self.sums {
            Column::Small(sums) => sums.capacity() * size_of::<V::Small>(),
            Column::Whole(sums) => sums.capacity() * size_of::<V>(),
        };
        self.keys.capacity() * size_of::<K>() + sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_beyond_64_bits_are_exact_beside_small_ones() {
        let sums = |gross| Sums { count: 1, gross, proceeds: 1, net: -1 };
        let large = i128::from(i64::MAX);
        let mut series = Series::default();
        for (day, gross) in [(5, 7), (3, large), (9, 2), (3, large), (4, -large), (9, -3)] {
            series.add(Day(day), sums(gross));
        }
        let gross: Vec<(i32, i128)> =
            series.iter().map(|(day, sums)| (day.0, sums.gross)).collect();
        assert_eq!(gross, [(3, 2 * large), (4, -large), (5, 7), (9, -1)]);
        assert!(matches!(series.sums, Column::Whole(_)));
        let between: Vec<i32> = series.between((Day(4), Day(9))).map(|(day, _)| day.0).collect();
        assert_eq!(between, [4, 5]);
    }
}
