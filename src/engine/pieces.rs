//! A list that grows without end and never moves what is in it.
//!
//! One piece of memory would be copied each time it has to grow, into pages that the system has to clear
//! first, while events wait; and up to half of it would be empty.

/// Items of a piece.
const PIECE_ITEMS: usize = 1 << 14;

/// Items with numbers in order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pieces<T> {
    /// All are full but the last, of which there is none while there is no item.
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T> Pieces<T> {
    /// Adds an item; its number is how many there were.
    #[inline]
    pub fn push(&mut self, item: T) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE_ITEMS => last.push(item),
            _ => self.push_to_next(item),
        }
    }

    #[cold]
    fn push_to_next(&mut self, item: T) {
        // Most lists are short: only those that are not take memory for a whole piece.
        let items = if self.pieces.is_empty() { 0 } else { PIECE_ITEMS };
        let mut piece = Vec::with_capacity(items);
        piece.push(item);
        self.pieces.push(piece);
    }

    /// The item of a number, if there is one.
    #[inline]
    pub fn get(&self, number: usize) -> Option<&T> {
        self.pieces.get(number / PIECE_ITEMS)?.get(number % PIECE_ITEMS)
    }

    /// How many items there are.
    #[inline]
    pub fn len(&self) -> usize {
        match self.pieces.split_last() {
            Some((last, full)) => full.len() * PIECE_ITEMS + last.len(),
            None => 0,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// All items, as slices of many; of all but the last the length is a multiple of 64.
    pub fn slices(&self) -> impl DoubleEndedIterator<Item = &[T]> + Clone {
        const { assert!(PIECE_ITEMS.is_multiple_of(64)) };
        self.pieces.iter().map(Vec::as_slice)
    }

    /// All items, by number.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.pieces.iter().flatten()
    }

    /// Bytes of memory held, without what items hold elsewhere.
    pub fn memory_bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.capacity() * size_of::<T>()).sum()
    }
}

impl<T> FromIterator<T> for Pieces<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut all = Self::default();
        items.into_iter().for_each(|item| all.push(item));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_have_their_numbers_and_stay_where_they_are() {
        let mut list = Pieces::default();
        assert_eq!((list.len(), list.is_empty(), list.get(0)), (0, true, None));
        let count = 3 * PIECE_ITEMS + 5;
        let mut places: Vec<*const usize> = Vec::new();
        for item in 0..count {
            list.push(item);
            assert_eq!((list.len(), list.get(item)), (item + 1, Some(&item)));
            if item >= PIECE_ITEMS {
                places.push(list.get(item).unwrap());
            }
        }
        let again = (PIECE_ITEMS..count).map(|item| list.get(item).unwrap() as *const usize);
        assert!(again.eq(places));
        assert!(
            list.iter().copied().eq(0..count) && list.iter().rev().copied().eq((0..count).rev())
        );
        assert_eq!(list.slices().map(<[usize]>::len).sum::<usize>(), count);
        assert_eq!((list.get(count), list.get(usize::MAX)), (None, None));
        assert_eq!((0..count).collect::<Pieces<usize>>(), list);
        assert_eq!(list.memory_bytes(), 4 * PIECE_ITEMS * size_of::<usize>());
    }
}
