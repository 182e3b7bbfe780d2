//! The primitives of Avro's binary encoding, over borrowed bytes.
//!
//! A [`Cursor`] never reads past the end and never believes a length that the bytes left can't
//! hold, so what follows it may allocate what a length says.

use crate::codec::error::DecodeError;

/// Why bytes are not what the schema says. Small, since every primitive that is read returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireError {
    Truncated,
    TrailingBytes,
    LongInteger,
    LongInt,
    Boolean,
    Choice,
    NegativeLength,
    NotUtf8,
    BlockLength,
    Depth,
}

impl From<WireError> for DecodeError {
    #[cold]
    fn from(error: WireError) -> Self {
        Self::MalformedAvro(match error {
            WireError::Truncated => return Self::Truncated,
            WireError::TrailingBytes => return Self::TrailingBytes,
            WireError::LongInteger => "an integer is longer than 64 bits",
            WireError::LongInt => "an int is longer than 32 bits",
            WireError::Boolean => "a boolean is neither 0 nor 1",
            WireError::Choice => "a union or enum index is outside its schema",
            WireError::NegativeLength => "a length is negative",
            WireError::NotUtf8 => "a string is not UTF-8",
            WireError::BlockLength => "a block is not as long as it says",
            WireError::Depth => "a value is nested too deep",
        })
    }
}

/// A one in each byte.
const ONES: u64 = u64::MAX / 0xff;

/// Bytes after a text that are looked at with it: most messages are shorter.
const CHECKED_AHEAD_BYTES: usize = 512;

/// The bytes not yet read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    /// The last bytes found to be UTF-8. Texts in a row are found so at once, since lengths below 64 are
    /// ASCII, too.
    checked: &'a str,
    /// How many bytes of the message were left where they begin.
    left_at_checked: usize,
}

/// The head of a block of array items or map entries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    pub(crate) count: u64,
    /// Bytes left after the block, where the writer says how long the block is.
    left_after: Option<usize>,
}

type Read<T> = Result<T, WireError>;

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, checked: "", left_at_checked: bytes.len() }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Refuses bytes after the last one of the message.
    pub(crate) fn end(self) -> Read<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::TrailingBytes) }
    }

    /// Moves on over the next bytes that equal those of `pattern`, the first lowest, and returns how
    /// many: at most `most`, which is at most 8. Near the end of the message it may stop short.
    #[inline]
    pub(crate) fn pass_equal(&mut self, pattern: u64, most: u8) -> usize {
        let Some(next) = self.rest.first_chunk::<8>() else { return 0 };
        let equal = (u64::from_le_bytes(*next) ^ pattern).trailing_zeros() / 8;
        let passed = equal.min(u32::from(most)) as usize;
        self.rest = &self.rest[passed..];
        passed
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(WireError::Truncated),
        }
    }

    #[inline]
    fn byte(&mut self) -> Read<u8> {
        match self.rest.split_first() {
            Some((first, rest)) => {
                self.rest = rest;
                Ok(*first)
            }
            None => Err(WireError::Truncated),
        }
    }

    /// A zigzag variable-length integer of at most 64 bits.
    #[inline(always)]
    pub(crate) fn long(&mut self) -> Read<i64> {
        // Nearly all are one byte: union branches, enum symbols, lengths.
        if let Some((first @ 0..0x80, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(zigzag(u64::from(*first)));
        }
        self.long_of_many_bytes()
    }

    #[inline(never)]
    fn long_of_many_bytes(&mut self) -> Read<i64> {
        // All but the last byte have the highest bit.
        let next = self.rest.first_chunk::<8>().map(|next| u64::from_le_bytes(*next));
        let last = next.map_or(0, |next| !next & (ONES * 0x80));
        let (Some(next), 1..) = (next, last) else { return self.long_by_bytes() };
        let bits = last.trailing_zeros() + 1;
        self.rest = &self.rest[bits as usize / 8..];
        // Seven of each eight bits are brought together, then fourteen of sixteen, then 28 of 32.
        let bytes = next & (u64::MAX >> (u64::BITS - bits));
        let sevens = bytes & (ONES * 0x7f);
        let pairs = sevens & 0x007f_007f_007f_007f | (sevens & 0x7f00_7f00_7f00_7f00) >> 1;
        let fours = pairs & 0x0000_3fff_0000_3fff | (pairs & 0x3fff_0000_3fff_0000) >> 2;
        Ok(zigzag(fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4))
    }

    #[cold]
    fn long_by_bytes(&mut self) -> Read<i64> {
        let mut bits = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            bits |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(zigzag(bits));
            }
        }
        Err(WireError::LongInteger)
    }

    /// A zigzag variable-length integer of at most 32 bits.
    pub(crate) fn int(&mut self) -> Read<i32> {
        let malformed = |_| WireError::LongInt;
        i32::try_from(self.long()?).map_err(malformed)
    }

    /// One byte, 0 or 1.
    pub(crate) fn boolean(&mut self) -> Read<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Boolean),
        }
    }

    /// The position of an enum symbol or of a union branch among `count`.
    #[inline]
    pub(crate) fn choice(&mut self, count: usize) -> Read<usize> {
        match usize::try_from(self.long()?) {
            Ok(index) if index < count => Ok(index),
            _ => Err(WireError::Choice),
        }
    }

    /// A length that the bytes left can hold.
    #[inline]
    fn length(&mut self) -> Read<usize> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) if length <= self.rest.len() => Ok(length),
            _ if length < 0 => Err(WireError::NegativeLength),
            _ => Err(WireError::Truncated),
        }
    }

    /// Length-prefixed bytes.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// Length-prefixed UTF-8.
    #[inline]
    pub(crate) fn text(&mut self) -> Read<&'a str> {
        let length = self.length()?;
        let text = self.text_at(0, length).ok_or(WireError::NotUtf8)?;
        self.rest = &self.rest[length..];
        Ok(text)
    }

    /// The next text if it is as nearly all are, shorter than 64 bytes and, where it is in a union, behind this
    /// byte for its branch. Else nothing is read.
    #[inline]
    pub(crate) fn short_text(&mut self, branch: Option<u8>) -> Option<&'a str> {
        let (doubled, head) = match (branch, self.rest) {
            (Some(branch), [first, second, ..]) if *first == branch => (*second, 2),
            (None, [first, ..]) => (*first, 1),
            _ => return None,
        };
        // The length is one byte, and not below zero.
        if doubled & 0x81 != 0 {
            return None;
        }
        let length = usize::from(doubled / 2);
        let text = self.text_at(head, length)?;
        self.rest = self.rest.get(head + length..)?;
        Some(text)
    }

    /// The text of so many bytes that begins so far from here, if that is UTF-8.
    #[inline]
    fn text_at(&mut self, from: usize, length: usize) -> Option<&'a str> {
        // Beyond all that is checked if that begins later than the text.
        let start = self.left_at_checked.wrapping_sub(self.rest.len()).wrapping_add(from);
        // None, too, if one of its ends is within a character.
        match self.checked.get(start..start.wrapping_add(length)) {
            Some(text) => Some(text),
            None => self.check_text(from, length),
        }
    }

    /// Finds how far the bytes are UTF-8, in the text that begins there and not much further: who reads one
    /// message after the other from the same bytes begins anew with each.
    #[inline(never)]
    fn check_text(&mut self, from: usize, length: usize) -> Option<&'a str> {
        let rest = self.rest.get(from..)?;
        let ahead = &rest[..rest.len().min(length + CHECKED_AHEAD_BYTES)];
        // Most texts are ASCII, and what follows them ends with the first number of several bytes.
        let ascii = ascii_length(ahead);
        let checked = if ascii < length { ahead } else { &ahead[..ascii] };
        let valid = std::str::from_utf8(checked)
            .or_else(|error| std::str::from_utf8(&checked[..error.valid_up_to()]));
        self.checked = valid.unwrap_or_default();
        self.left_at_checked = rest.len();
        self.checked.get(..length)
    }

    /// The next block of an array or map; `None` at its end.
    pub(crate) fn block(&mut self) -> Read<Option<Block>> {
        let count = self.long()?;
        if count == 0 {
            return Ok(None);
        }
        let left_after = if count < 0 {
            let length = self.length()?;
            Some(self.left() - length)
        } else {
            None
        };
        Ok(Some(Block { count: count.unsigned_abs(), left_after }))
    }

    /// Refuses a block whose items are longer or shorter than its head said.
    pub(crate) fn end_block(&self, block: Block) -> Read<()> {
        match block.left_after {
            Some(left) if left != self.left() => Err(WireError::BlockLength),
            _ => Ok(()),
        }
    }
}

/// How many bytes are ASCII before the first that is not; the last few are taken for it unseen.
fn ascii_length(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let tops = |word: &[u8; 8]| u64::from_le_bytes(*word) & (ONES * 0x80);
    match words.iter().position(|word| tops(word) != 0) {
        Some(place) => place * 8 + tops(&words[place]).trailing_zeros() as usize / 8,
        None => bytes.len(),
    }
}

/// The integer that a zigzag encoding means.
#[inline]
fn zigzag(bits: u64) -> i64 {
    (bits >> 1).cast_signed() ^ -((bits & 1).cast_signed())
}

/// Appends a zigzag variable-length integer.
pub(crate) fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while bits >= 0x80 {
        out.push(low_byte(bits) | 0x80);
        bits >>= 7;
    }
    out.push(low_byte(bits));
}

/// The lowest seven bits.
fn low_byte(bits: u64) -> u8 {
    bits.to_le_bytes()[0] & 0x7f
}

/// Appends a count of items or bytes in memory, which always fits.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    put_long(out, i64::try_from(count).unwrap_or(i64::MAX));
}

/// Appends length-prefixed UTF-8.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_as_the_avro_specification_shows() {
        for (value, bytes) in [
            (0, vec![0x00]),
            (-1, vec![0x01]),
            (1, vec![0x02]),
            (-64, vec![0x7f]),
            (64, vec![0x80, 0x01]),
            (i64::MIN, [vec![0xff; 9], vec![0x01]].concat()),
            (i64::MAX, [vec![0xfe], vec![0xff; 8], vec![0x01]].concat()),
        ] {
            let mut out = Vec::new();
            put_long(&mut out, value);
            assert_eq!(out, bytes, "{value}");
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.long(), Ok(value));
            assert_eq!(cursor.end(), Ok(()));
        }
    }

    #[test]
    fn integers_of_every_length_are_read_whatever_follows() {
        let values = (0..63).flat_map(|bits| [-1, 0, 1].map(|near| (1i64 << bits) + near));
        for value in values.flat_map(|value| [value, -value]).chain([i64::MIN, i64::MAX]) {
            for follows in [0x00, 0x7f, 0x80, 0xff] {
                for count in 0..9 {
                    let mut bytes = Vec::new();
                    put_long(&mut bytes, value);
                    bytes.resize(bytes.len() + count, follows);
                    let mut cursor = Cursor::new(&bytes);
                    assert_eq!(cursor.long(), Ok(value));
                    assert_eq!(cursor.left(), count, "{value} before {follows}");
                }
            }
        }
        // Longer than it need be.
        assert_eq!(Cursor::new(&[0x82, 0x80, 0x80, 0x00, 9, 9, 9, 9]).long(), Ok(1));
    }

    #[test]
    fn texts_in_a_row_are_each_a_text_of_their_own() {
        let text_of = |text: &[u8]| {
            let mut bytes = Vec::new();
            put_count(&mut bytes, text.len());
            [&bytes, text].concat()
        };
        let long = "ß".repeat(64);
        let texts = ["", "one", &long, "zwölf", "", "zwei", &long, "é", "z"];
        // Each text is followed by nothing, or by bytes of which the first is in no UTF-8.
        for between in [None, Some(-1_000_000_000)] {
            let mut bytes = Vec::new();
            let all = || texts.iter().cycle().take(100);
            for text in all() {
                put_text(&mut bytes, text);
                between.iter().for_each(|number| put_long(&mut bytes, *number));
            }
            let mut cursor = Cursor::new(&bytes);
            for text in all() {
                assert_eq!(cursor.text(), Ok(*text));
                assert_eq!(between.map(|_| cursor.long()), between.map(Ok));
            }
            assert_eq!(cursor.end(), Ok(()));
        }
        // A character that ends in the length of the next text, or in what follows it, belongs to neither.
        let begun = text_of(b"\xc3");
        let after = text_of(&[b'a'; 64]);
        assert_eq!(std::str::from_utf8(&[begun[1], after[0]]), Ok("À"));
        let cut = [begun.clone(), after.clone()].concat();
        assert_eq!(Cursor::new(&cut).text(), Err(WireError::NotUtf8));
        let mut begins_late = Cursor::new(&cut);
        begins_late.long().unwrap();
        begins_late.take(1).unwrap();
        assert_eq!(begins_late.text().map(str::len), Ok(64));
        let mut cursor = Cursor::new(&begun);
        assert_eq!(cursor.text(), Err(WireError::NotUtf8));
        // In a union, a text stands behind the byte of its branch; what is not that is left.
        let in_union = [vec![2], text_of("é".as_bytes()), vec![0], text_of(b"a")].concat();
        let mut cursor = Cursor::new(&in_union);
        assert_eq!(cursor.short_text(Some(4)), None);
        assert_eq!(cursor.short_text(Some(2)), Some("é"));
        assert_eq!((cursor.short_text(Some(2)), cursor.long()), (None, Ok(0)));
        assert_eq!((cursor.short_text(None), cursor.end()), (Some("a"), Ok(())));
        for not_short in [&[0x01][..], &[0x80, 0x01], &[0x04, b'a'], &[0x02, 0xff], &[]] {
            let mut cursor = Cursor::new(not_short);
            assert_eq!((cursor.short_text(None), cursor.left()), (None, not_short.len()));
        }
        // What follows a text may be anything.
        let followed = [text_of("é".as_bytes()), vec![0xff, 0xff]].concat();
        assert_eq!(Cursor::new(&followed).text(), Ok("é"));
    }

    #[test]
    fn lengths_are_not_believed() {
        let refused = |bytes: &[u8]| Cursor::new(bytes).bytes().unwrap_err();
        assert_eq!(refused(&[]), WireError::Truncated);
        assert_eq!(refused(&[0x80]), WireError::Truncated);
        assert_eq!(refused(&[0x04, b'a']), WireError::Truncated);
        assert_eq!(refused(&[0x01]), WireError::NegativeLength);
        let endless = [0xff; 11];
        let too_long = WireError::LongInteger;
        assert_eq!(refused(&endless), too_long);
        let mut most = vec![0xfe];
        most.extend([0xff; 8]);
        most.push(0x01);
        assert_eq!(refused(&most), WireError::Truncated);
    }
}
