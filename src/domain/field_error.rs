//! Why an event is refused, in the words of the interface.

use std::fmt;

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Absent though required.
    Missing,
    /// Present but not what the interface promises.
    Invalid,
}

/// Why an event is refused: the field, what is wrong with it, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    pub fault: Fault,
    pub field: &'static str,
    pub message: String,
}

impl FieldError {
    /// A required field is absent.
    pub fn missing(field: &'static str, why: &str) -> Self {
        Self { fault: Fault::Missing, field, message: format!("{field} is required {why}") }
    }

    /// A field holds something else than `expected`.
    pub fn invalid(field: &'static str, expected: &str, got: impl fmt::Display) -> Self {
        let got = quoted(&got.to_string());
        Self {
            fault: Fault::Invalid,
            field,
            message: format!("{field} must be {expected}, got \"{got}\""),
        }
    }

    /// The stable code, such as `missing_currency`.
    pub fn code(&self) -> String {
        match self.fault {
            Fault::Missing => format!("missing_{}", self.field),
            Fault::Invalid => format!("invalid_{}", self.field),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FieldError {}

/// At most this many bytes of a stranger's text go into a message.
const QUOTED_BYTES_MAX: usize = 80;

/// The beginning of `text`, short enough for a message.
pub fn quoted(text: &str) -> String {
    beginning(text, QUOTED_BYTES_MAX)
}

/// The beginning of `text`, of so many bytes at most; one that is cut says so.
pub fn beginning(text: &str, bytes_max: usize) -> String {
    let cut = cut(text, bytes_max);
    if cut.len() == text.len() { text.to_owned() } else { format!("{cut}…") }
}

/// The longest prefix of whole characters within so many bytes.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_whole_character() {
        assert_eq!(cut("größe", 3), "gr");
        assert_eq!(cut("größe", 4), "grö");
        assert_eq!(cut("größe", 99), "größe");
        assert_eq!((beginning("größe", 4), beginning("größe", 7)), ("grö…".into(), "größe".into()));
    }
}
