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
        let mut got = got.to_string();
        if got.len() > 80 {
            let cut = (0..=80).rev().find(|at| got.is_char_boundary(*at)).unwrap_or(0);
            got.truncate(cut);
            got.push('…');
        }
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
