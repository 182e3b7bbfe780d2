//! Exact decimals as JSON numbers.

use std::borrow::Cow;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A decimal that stands in JSON as a number with exactly these digits: `12.50`, not `12.5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number(String);

impl Number {
    /// The number that this text of digits, a sign and a point writes.
    pub fn new(text: String) -> Self {
        Self(text)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl PartialSchema for Number {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Number);
        RefOr::T(Schema::Object(number.build()))
    }
}

impl ToSchema for Number {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Number")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_reach_the_text_as_they_are() {
        let printed = |text: &str| serde_json::to_string(&[Number::new(text.to_owned())]);
        assert_eq!(printed("-12.50").unwrap(), "[-12.50]");
        assert_eq!(printed("123456789012345678901.00").unwrap(), "[123456789012345678901.00]");
        assert!(printed("1,5").is_err());
    }
}
