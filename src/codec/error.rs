//! Why bytes are not an event.

use std::borrow::Cow;

use crate::domain::event::FieldError;

/// Why a message is refused. Each variant has a label of a small, closed set
/// ([`DecodeError::reason`]), used for metrics, dead letters and answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the record has no value")]
    NullValue,
    #[error("the value is empty")]
    EmptyValue,
    #[error("the value is not a JSON event: {0}")]
    MalformedJson(String),
    #[error("the value is not an Avro event: {0}")]
    MalformedAvro(&'static str),
    #[error("the value ends before the event does")]
    Truncated,
    #[error("the value goes on after the event's end")]
    TrailingBytes,
    #[error("the value does not begin with {0}")]
    WrongMagic(&'static str),
    /// The caller may fetch the schema, add it, and decode again.
    #[error("no schema with id {0} is known")]
    UnknownSchemaId(u32),
    #[error("no schema with fingerprint {0:016x} is known")]
    UnknownFingerprint(u64),
    #[error("the schema of the value can't be used: {0}")]
    UnusableSchema(SchemaError),
    #[error("{field} has the unknown symbol \"{symbol}\"")]
    UnknownSymbol { field: &'static str, symbol: String },
    #[error("\"{0}\" is not a field of an event")]
    UnknownField(String),
    #[error("{0} is given twice")]
    DuplicateField(&'static str),
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl DecodeError {
    /// The stable label, such as `truncated` or `missing_currency`.
    pub fn reason(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NullValue => "null_value",
            Self::EmptyValue => "empty_value",
            Self::MalformedJson(_) => "malformed_json",
            Self::MalformedAvro(_) => "malformed_avro",
            Self::Truncated => "truncated",
            Self::TrailingBytes => "trailing_bytes",
            Self::WrongMagic(_) => "wrong_magic",
            Self::UnknownSchemaId(_) | Self::UnknownFingerprint(_) => "unknown_schema",
            Self::UnusableSchema(_) => "unusable_schema",
            Self::UnknownSymbol { .. } => "unknown_symbol",
            Self::UnknownField(_) => "unknown_field",
            Self::DuplicateField(_) => "duplicate_field",
            Self::Field(error) => return Cow::Owned(error.code()),
        })
    }

    /// The field at fault, where there is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::UnknownSymbol { field, .. } | Self::DuplicateField(field) => Some(field),
            Self::UnknownField(field) => Some(field),
            Self::Field(error) => Some(error.field),
            _ => None,
        }
    }
}

/// Why events can't be read with a writer's schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("not an Avro schema: {0}")]
    Invalid(String),
    #[error("the schema is not a record named BillingEvent")]
    NotAnEvent,
    #[error("the schema has no field {0}")]
    MissingField(&'static str),
    #[error("{field} must be {expected}")]
    FieldType { field: &'static str, expected: &'static str },
    #[error("{0}")]
    Unsupported(String),
}
