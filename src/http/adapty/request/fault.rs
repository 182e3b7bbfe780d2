//! What is wrong with a request, field by field, in the words of Adapty's error body.

use std::fmt::Display;

/// What a fault is called in `error_code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultCode {
    /// A required field is not there.
    Missing,
    /// A text that is not one of the permitted ones.
    Enum,
    /// JSON of another type than the field's.
    Type,
    /// The right type, but a value that means nothing.
    Value,
}

impl FaultCode {
    /// The code in the error body.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "value_error.missing",
            Self::Enum => "enum",
            Self::Type => "type_error",
            Self::Value => "value_error",
        }
    }
}

/// One thing wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field's own name, without the object it is in: `date`, not `filters.date`.
    pub source: String,
    pub message: String,
    pub code: FaultCode,
}

/// The source of faults of no field in particular.
pub const NO_FIELD: &str = "non_field_errors";

impl Fault {
    /// A required field that is not there.
    pub fn missing(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            message: "field required".to_owned(),
            code: FaultCode::Missing,
        }
    }

    /// A value that cannot be used.
    pub fn value(source: &str, message: impl Display) -> Self {
        Self { source: source.to_owned(), message: message.to_string(), code: FaultCode::Value }
    }

    /// JSON of another type.
    pub fn kind(source: &str, expected: &str) -> Self {
        let message = format!("value is not {expected}");
        Self { source: source.to_owned(), message, code: FaultCode::Type }
    }

    /// A text that is none of the permitted ones.
    pub fn not_permitted<'a>(source: &str, permitted: impl Iterator<Item = &'a str>) -> Self {
        let permitted: Vec<String> = permitted.map(|name| format!("'{name}'")).collect();
        let permitted = permitted.join(", ");
        let message = format!("value is not a valid enumeration member; permitted: {permitted}");
        Self { source: source.to_owned(), message, code: FaultCode::Enum }
    }
}
