//! Numbers in as few bytes as they need, for rows of which memory holds millions.
//!
//! What a row is made of is said once, as numbers that pass one after the other, and serves both
//! directions: a [`NumberWriter`] notes each, a [`NumberReader`] puts the one that was noted in its place.
//! Each passes with a guess, and only what differs from it is noted: a good guess takes half a byte.
//!
//! Not for the store: bytes are read by the process that wrote them, and by the same code.

use crate::domain::time::{Day, Timestamp};
use crate::engine::moment::Moment;

/// Takes numbers in order, and gives each back.
pub trait Numbers {
    /// Notes the number and returns it, or returns the one that was noted.
    fn pass(&mut self, number: u64) -> u64;

    /// A number that is often the same as another one.
    #[inline]
    fn number(&mut self, number: &mut u32, guess: u32) {
        *number = self.pass(u64::from(*number ^ guess)) as u32 ^ guess;
    }

    /// A small number.
    #[inline]
    fn small(&mut self, number: &mut u16) {
        *number = self.pass(u64::from(*number)) as u16;
    }

    /// A number of eight bytes, such as a hash.
    #[inline]
    fn wide(&mut self, number: &mut u64) {
        *number = self.pass(*number);
    }

    /// Up to 64 answers to yes or no.
    #[inline]
    fn flags<const N: usize>(&mut self, flags: [&mut bool; N]) {
        let bits = flags.iter().rev().fold(0, |bits, flag| bits << 1 | u64::from(**flag));
        let mut bits = self.pass(bits);
        for flag in flags {
            *flag = bits & 1 == 1;
            bits >>= 1;
        }
    }

    /// An instant that is often near another one.
    #[inline]
    fn moment(&mut self, moment: &mut Moment, guess: Moment) {
        let guess = guess.get().map_or(0, |at| at.0);
        let away = moment.get().map_or(0, |at| folded(at.0.wrapping_sub(guess)).wrapping_add(1));
        *moment = match self.pass(away) {
            0 => Moment::default(),
            away => Timestamp(guess.wrapping_add(unfolded(away - 1))).into(),
        };
    }

    /// A day that is often near another one.
    #[inline]
    fn day(&mut self, Day(day): &mut Day, Day(guess): Day) {
        let away = self.pass(folded(i64::from(*day) - i64::from(guess)));
        *day = i64::from(guess).wrapping_add(unfolded(away)) as i32;
    }

    /// How many of something there are; as many must pass next.
    #[inline]
    fn length<T: Clone + Default>(&mut self, items: &mut Vec<T>) {
        let length = self.pass(items.len() as u64) as usize;
        items.resize(length, T::default());
    }
}

/// Numbers near zero of either sign as small ones (zigzag).
fn folded(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unfolded(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Bytes of a number.
const WORD_BYTES: usize = 8;

/// Notes numbers at the end of some bytes: two at a time, before them a byte with the length of each.
pub struct NumberWriter<'b> {
    bytes: &'b mut Vec<u8>,
    /// Where the lengths of the last two are, if there is room for that of another.
    lengths: Option<usize>,
}

impl<'b> NumberWriter<'b> {
    /// Notes numbers after these bytes.
    pub fn new(bytes: &'b mut Vec<u8>) -> Self {
        Self { bytes, lengths: None }
    }
}

impl Numbers for NumberWriter<'_> {
    #[inline]
    fn pass(&mut self, number: u64) -> u64 {
        let length = WORD_BYTES - number.leading_zeros() as usize / 8;
        match self.lengths.take() {
            Some(at) => self.bytes[at] |= (length as u8) << 4,
            None => {
                self.lengths = Some(self.bytes.len());
                self.bytes.push(length as u8);
            }
        }
        // All eight bytes at once, of which those that count stay.
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self.bytes.truncate(self.bytes.len() - WORD_BYTES + length);
        number
    }
}

/// Reads what a [`NumberWriter`] noted; zeros where there is nothing more.
pub struct NumberReader<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Of the next number, if its length was read with that of the one before.
    length: Option<u8>,
}

impl<'b> NumberReader<'b> {
    /// Reads from the first of these bytes on.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0, length: None }
    }

    /// The bytes after the last number.
    pub fn rest(self) -> &'b [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

impl Numbers for NumberReader<'_> {
    #[inline]
    fn pass(&mut self, _: u64) -> u64 {
        let length = match self.length.take() {
            Some(length) => length,
            None => {
                let lengths = self.bytes.get(self.at).copied().unwrap_or_default();
                self.at += 1;
                self.length = Some(lengths >> 4);
                lengths & 0xf
            }
        };
        let length = usize::from(length);
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += length;
        let word = match rest.first_chunk() {
            Some(word) => u64::from_le_bytes(*word),
            None => last_word(rest),
        };
        // No number is longer than a word.
        let unused = 8 * WORD_BYTES.saturating_sub(length) as u32;
        word & u64::MAX.checked_shr(unused).unwrap_or(0)
    }
}

/// Fewer than eight bytes and zeros.
#[cold]
fn last_word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Default)]
    struct Everything {
        number: u32,
        small: u16,
        wide: u64,
        flags: [bool; 3],
        moments: [Moment; 2],
        day: Day,
        many: Vec<u64>,
    }

    impl Everything {
        fn pass(&mut self, numbers: &mut impl Numbers) {
            numbers.number(&mut self.number, 0x1234_5678);
            numbers.small(&mut self.small);
            numbers.wide(&mut self.wide);
            let [a, b, c] = &mut self.flags;
            numbers.flags([a, b, c]);
            let [first, second] = &mut self.moments;
            numbers.moment(first, Moment::default());
            numbers.moment(second, *first);
            numbers.day(&mut self.day, Day(20_000));
            numbers.length(&mut self.many);
            self.many.iter_mut().for_each(|wide| numbers.wide(wide));
        }
    }

    fn bytes_of(everything: &Everything) -> Vec<u8> {
        let mut bytes = vec![7];
        everything.clone().pass(&mut NumberWriter::new(&mut bytes));
        bytes
    }

    #[test]
    fn numbers_come_back_as_they_went_whatever_was_there_before() {
        let moment = |at| Moment::from(Timestamp(at));
        let few = Everything {
            number: 0x1234_5678,
            flags: [true, false, true],
            day: Day(20_000),
            ..Everything::default()
        };
        // Lengths of eight numbers, of which one is not as guessed.
        assert_eq!(bytes_of(&few).len(), 1 + 4 + 1);
        let most = Everything {
            number: u32::MAX,
            small: u16::MAX,
            wide: u64::MAX,
            flags: [false, true, true],
            moments: [moment(253_402_300_799_999_999), moment(0)],
            day: Day::MIN,
            many: (0..64).map(|bits| u64::MAX >> bits).collect(),
        };
        let mixed = Everything {
            wide: 1 << 40,
            moments: [moment(1_700_000_000_000_000), moment(1_700_000_000_000_000)],
            day: Day::MAX,
            many: vec![0, 255, 256],
            ..most.clone()
        };
        let mut read = Everything::default();
        for written in [&most, &few, &mixed, &Everything::default(), &most] {
            let mut bytes = bytes_of(written);
            bytes.extend([1, 2, 3]);
            let mut reader = NumberReader::new(&bytes[1..]);
            read.pass(&mut reader);
            assert_eq!((&read, reader.rest()), (written, &[1, 2, 3][..]));
            // Also where nothing follows.
            read.pass(&mut NumberReader::new(&bytes[1..bytes.len() - 3]));
            assert_eq!(&read, written);
        }
    }

    #[test]
    fn where_nothing_was_written_everything_is_as_guessed() {
        let mut read = Everything { small: 3, many: vec![1], ..Everything::default() };
        read.pass(&mut NumberReader::new(&[]));
        let guessed = Everything { number: 0x1234_5678, day: Day(20_000), ..Everything::default() };
        assert_eq!(read, guessed);
    }
}
