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
    #[inline(always)]
    fn number(&mut self, number: &mut u32, guess: u32) {
        *number = self.pass(u64::from(*number ^ guess)) as u32 ^ guess;
    }

    /// A small number.
    #[inline(always)]
    fn small(&mut self, number: &mut u16) {
        *number = self.pass(u64::from(*number)) as u16;
    }

    /// A number of eight bytes, such as a hash.
    #[inline(always)]
    fn wide(&mut self, number: &mut u64) {
        *number = self.pass(*number);
    }

    /// Up to 64 answers to yes or no.
    #[inline(always)]
    fn flags<const N: usize>(&mut self, flags: [&mut bool; N]) {
        let bits = flags.iter().rev().fold(0, |bits, flag| bits << 1 | u64::from(**flag));
        let mut bits = self.pass(bits);
        for flag in flags {
            *flag = bits & 1 == 1;
            bits >>= 1;
        }
    }

    /// An instant that is often near another one.
    #[inline(always)]
    fn moment(&mut self, moment: &mut Moment, guess: Moment) {
        let guess = guess.get().map_or(0, |at| at.0);
        let away = moment.get().map_or(0, |at| folded(at.0.wrapping_sub(guess)).wrapping_add(1));
        *moment = match self.pass(away) {
            0 => Moment::default(),
            away => Timestamp(guess.wrapping_add(unfolded(away - 1))).into(),
        };
    }

    /// A day that is often near another one.
    #[inline(always)]
    fn day(&mut self, Day(day): &mut Day, Day(guess): Day) {
        let away = self.pass(folded(i64::from(*day) - i64::from(guess)));
        *day = i64::from(guess).wrapping_add(unfolded(away)) as i32;
    }

    /// How many of something there are; as many must pass next.
    #[inline(always)]
    fn length<T: Clone + Default>(&mut self, items: &mut Vec<T>) {
        let length = self.pass(items.len() as u64) as usize;
        if items.len() != length {
            items.resize(length, T::default());
        }
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
/// Numbers come in groups of so many, before each their lengths, four bits each.
const GROUP: u32 = 8;
/// Bytes of the lengths of a group.
const LENGTHS_BYTES: usize = 4;
/// What of eight bytes is a number of a length.
const MASKS: [u64; 16] = {
    let mut masks = [u64::MAX; 16];
    let mut length = 0;
    while length < WORD_BYTES {
        masks[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    masks
};

/// Bytes of numbers that are passed together, at most.
pub const NUMBERS_BYTES_MAX: usize = 1 << 10;

/// Room for numbers that are passed together. Its size is fixed, so that no step asks whether it is within.
pub struct NumberBytes([u8; NUMBERS_BYTES_MAX + WORD_BYTES]);

impl Default for NumberBytes {
    fn default() -> Self {
        Self::AS_GUESSED
    }
}

impl NumberBytes {
    /// Of numbers that are all as guessed.
    pub const AS_GUESSED: Self = Self([0; NUMBERS_BYTES_MAX + WORD_BYTES]);

    /// Takes the first of these bytes in, as many as there is room for.
    pub fn set(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(self.0.len());
        self.0[..count].copy_from_slice(&bytes[..count]);
    }

    /// The bytes before a place.
    pub fn until(&self, end: usize) -> &[u8] {
        self.0.get(..end).unwrap_or_default()
    }

    #[inline(always)]
    fn word(&self, at: usize) -> &[u8; WORD_BYTES] {
        let at = at % NUMBERS_BYTES_MAX;
        self.0[at..at + WORD_BYTES].first_chunk().unwrap_or(&[0; WORD_BYTES])
    }

    #[inline(always)]
    fn set_word(&mut self, at: usize, word: u64) {
        let at = at % NUMBERS_BYTES_MAX;
        self.0[at..at + WORD_BYTES].copy_from_slice(&word.to_le_bytes());
    }
}

/// Notes numbers one after the other.
pub struct NumberWriter<'b> {
    bytes: &'b mut NumberBytes,
    /// Where the next number belongs; all bytes from there on are of no use.
    at: usize,
    /// Where the lengths of the group are to be.
    lengths_at: usize,
    lengths: u32,
    /// How many more numbers the group takes.
    left: u32,
}

impl<'b> NumberWriter<'b> {
    /// Notes numbers from the first byte on; whatever was there is written over.
    pub fn new(bytes: &'b mut NumberBytes) -> Self {
        Self { bytes, at: LENGTHS_BYTES, lengths_at: 0, lengths: 0, left: GROUP }
    }

    fn end_group(&mut self) {
        let lengths = self.lengths >> (4 * self.left);
        let at = self.lengths_at % NUMBERS_BYTES_MAX;
        self.bytes.0[at..at + LENGTHS_BYTES].copy_from_slice(&lengths.to_le_bytes());
    }

    fn begin_group(&mut self) {
        self.end_group();
        (self.lengths_at, self.lengths, self.left) = (self.at, 0, GROUP);
        self.at += LENGTHS_BYTES;
    }

    /// How many bytes the numbers take. If that is more than [`NUMBERS_BYTES_MAX`] they were too many, and
    /// nothing can be read back.
    pub fn end(mut self) -> usize {
        self.end_group();
        self.at
    }
}

impl Numbers for NumberWriter<'_> {
    // Written out for each number of a customer it would take more instruction cache than calls take time.
    #[inline(never)]
    fn pass(&mut self, number: u64) -> u64 {
        if self.left == 0 {
            self.begin_group();
        }
        let length = WORD_BYTES as u32 - number.leading_zeros() / 8;
        // The first comes to lie lowest when all are there.
        self.lengths = self.lengths >> 4 | length << 28;
        self.left = self.left.wrapping_sub(1);
        // All eight bytes at once; the next number is written over those that do not count.
        self.bytes.set_word(self.at, number);
        self.at = self.at.wrapping_add(length as usize);
        number
    }
}

/// Reads what a [`NumberWriter`] noted.
pub struct NumberReader<'b> {
    bytes: &'b NumberBytes,
    at: usize,
    lengths: u32,
    /// How many more numbers the group has.
    left: u32,
}

impl<'b> NumberReader<'b> {
    /// Reads from the first byte on.
    pub fn new(bytes: &'b NumberBytes) -> Self {
        Self { bytes, at: 0, lengths: 0, left: 0 }
    }

    fn begin_group(&mut self) {
        let [a, b, c, d, ..] = *self.bytes.word(self.at);
        (self.lengths, self.left) = (u32::from_le_bytes([a, b, c, d]), GROUP);
        self.at = self.at.wrapping_add(LENGTHS_BYTES);
    }

    /// How many bytes the numbers took.
    pub fn end(self) -> usize {
        self.at
    }
}

impl Numbers for NumberReader<'_> {
    #[inline(never)]
    fn pass(&mut self, _: u64) -> u64 {
        if self.left == 0 {
            self.begin_group();
        }
        let length = self.lengths as usize & 0xf;
        self.lengths >>= 4;
        self.left = self.left.wrapping_sub(1);
        let word = u64::from_le_bytes(*self.bytes.word(self.at));
        self.at = self.at.wrapping_add(length);
        word & MASKS[length]
    }
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

    /// The bytes of some numbers, and how many they are.
    fn bytes_of(everything: &Everything) -> (NumberBytes, usize) {
        let mut bytes = NumberBytes([7; _]);
        let mut writer = NumberWriter::new(&mut bytes);
        everything.clone().pass(&mut writer);
        let end = writer.end();
        (bytes, end)
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
        // Lengths of a group of eight, of whom one is not as guessed.
        assert_eq!(bytes_of(&few).1, 4 + 1);
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
            let (bytes, end) = bytes_of(written);
            let mut reader = NumberReader::new(&bytes);
            read.pass(&mut reader);
            assert_eq!((&read, reader.end()), (written, end));
            // Nothing that follows is part of it.
            let mut copied = NumberBytes([9; _]);
            copied.set(bytes.until(end));
            read.pass(&mut NumberReader::new(&copied));
            assert_eq!(&read, written);
        }
    }

    #[test]
    fn of_zeros_everything_is_as_guessed() {
        let mut read = Everything { small: 3, many: vec![1], ..Everything::default() };
        read.pass(&mut NumberReader::new(&NumberBytes::AS_GUESSED));
        let guessed = Everything { number: 0x1234_5678, day: Day(20_000), ..Everything::default() };
        assert_eq!(read, guessed);
    }

    #[test]
    fn too_many_numbers_are_told_by_their_end() {
        let of = |count| {
            bytes_of(&Everything { many: vec![u64::MAX; count], ..Everything::default() }).1
        };
        assert!(of(100) <= NUMBERS_BYTES_MAX);
        assert!(of(1000) > 1000 * 8);
    }
}
