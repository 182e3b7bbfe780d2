//! Money in answers: exact decimal texts of units beside integers of micro-units, never floats.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{OneOfBuilder, Type};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

/// Micro-units: a JSON integer if an `i64` holds it, else a string of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Micros(pub i128);

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(self.0) {
            Ok(micros) => serializer.serialize_i64(micros),
            Err(_) => serializer.collect_str(&self.0),
        }
    }
}

impl PartialSchema for Micros {
    fn schema() -> RefOr<Schema> {
        let integer = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^-?[0-9]+$"));
        let about = "Millionths of a unit of the currency; a string beyond 64 bits.";
        let both = OneOfBuilder::new().item(integer).item(text).description(Some(about));
        RefOr::T(Schema::OneOf(both.build()))
    }
}

impl ToSchema for Micros {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Micros")
    }
}

/// Units as an exact decimal of at least two places: `12.34`, `0.000001`.
pub fn decimal(micros: i128) -> String {
    let (sign, size) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    let (units, rest) = match u64::try_from(size) {
        // What 64 bits hold is divided much faster.
        Ok(size) => (u128::from(size / 1_000_000), u128::from(size % 1_000_000)),
        Err(_) => (size / 1_000_000, size % 1_000_000),
    };
    let mut text = format!("{sign}{units}.{rest:06}");
    let least = text.len() - 4;
    while text.len() > least && text.ends_with('0') {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_exactly_with_two_to_six_decimals() {
        for (micros, text) in [
            (0, "0.00"),
            (12_340_000, "12.34"),
            (-500_000, "-0.50"),
            (1, "0.000001"),
            (15_666_667, "15.666667"),
            (100_000_000, "100.00"),
            (10i128.pow(25), "10000000000000000000.00"),
        ] {
            assert_eq!(decimal(micros), text);
        }
    }

    #[test]
    fn micros_beyond_64_bits_are_text() {
        let json = |micros| serde_json::to_string(&Micros(micros)).unwrap();
        assert_eq!(json(i128::from(i64::MIN)), "-9223372036854775808");
        assert_eq!(json(i128::from(i64::MAX) + 1), "\"9223372036854775808\"");
    }
}
