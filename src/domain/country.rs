//! Country codes of ISO 3166-1, alpha-2.

use std::borrow::Cow;

/// Of each first letter the second letters it makes a code with, a bit each: the codes that are
/// assigned, and those that the standard leaves to its users (XK is in wide use for Kosovo).
const CODES: [u32; 26] = {
    let mut codes = [0; 26];
    let mut place = 0;
    while place < rust_iso3166::ALL_ALPHA2.len() {
        let code = rust_iso3166::ALL_ALPHA2[place].as_bytes();
        codes[(code[0] - b'A') as usize] |= letters(code[1], code[1]);
        place += 1;
    }
    codes[0] |= letters(b'A', b'A');
    codes[(b'Q' - b'A') as usize] |= letters(b'M', b'Z');
    codes[(b'X' - b'A') as usize] |= letters(b'A', b'Z');
    codes[(b'Z' - b'A') as usize] |= letters(b'Z', b'Z');
    codes
};

/// The bits of these letters and all between them.
const fn letters(first: u8, last: u8) -> u32 {
    (u32::MAX >> (31 - (last - first))) << (first - b'A')
}

/// The code as events hold it, where it is written otherwise: in upper case, and as `GB` for `UK`, which is no code
/// but widely used for one.
pub fn other_spelling(text: &str) -> Option<Cow<'static, str>> {
    if text.eq_ignore_ascii_case("UK") {
        return Some(Cow::Borrowed("GB"));
    }
    let is_lower = text.bytes().any(|byte| byte.is_ascii_lowercase());
    is_lower.then(|| Cow::Owned(text.to_ascii_uppercase()))
}

/// The text as events hold a code.
pub fn spelled(text: &str) -> String {
    other_spelling(text).map_or_else(|| text.to_owned(), Cow::into_owned)
}

/// Whether the text is a code, in whatever case.
pub fn is_code(text: &str) -> bool {
    let &[first, second] = text.as_bytes() else { return false };
    let place = |letter: u8| letter.to_ascii_uppercase().wrapping_sub(b'A');
    let seconds = CODES.get(usize::from(place(first))).copied().unwrap_or_default();
    let bit = 1u32.checked_shl(u32::from(place(second))).unwrap_or_default();
    seconds & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_assigned_ones_and_those_left_to_users() {
        let of_users = |code: &str| {
            matches!(code, "AA" | "ZZ") || code.starts_with('X') || ("QM"..="QZ").contains(&code)
        };
        let mut count = 0;
        for first in b'A'..=b'Z' {
            for second in b'A'..=b'Z' {
                let code = String::from_utf8(vec![first, second]).unwrap();
                let expected = rust_iso3166::from_alpha2(&code).is_some() || of_users(&code);
                assert_eq!(is_code(&code), expected, "{code}");
                assert_eq!(is_code(&code.to_lowercase()), expected, "{code}");
                count += usize::from(expected);
            }
        }
        // 249 of the standard; AA, ZZ, 14 with Q and 26 with X.
        assert_eq!(count, 249 + 42);
        for text in ["", "D", "DEU", "D1", "@A", "A[", "Ä", "é", "UK", "EU", "AN", "0\u{0}"] {
            assert!(!is_code(text), "{text}");
        }
    }
}
