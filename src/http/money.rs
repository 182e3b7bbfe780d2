//! Money in answers: exact decimal texts of units beside integers of micro-units, never floats.

use std::borrow::Cow;
use std::fmt;

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

/// Micro-units, printed as a text of units: an exact decimal of two to six places, `12.34`,
/// `0.000001`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units(pub i128);

/// Room for the longest: a sign, 33 digits of units, a point and six digits.
const UNITS_LEN_MAX: usize = 41;

impl Units {
    /// The text, written from the end of `room`: answers hold ten thousands of them.
    fn write(self, room: &mut [u8; UNITS_LEN_MAX]) -> &str {
        let size = self.0.unsigned_abs();
        let (units, mut rest) = match u64::try_from(size) {
            // What 64 bits hold is divided much faster.
            Ok(size) => (u128::from(size / 1_000_000), size % 1_000_000),
            Err(_) => (size / 1_000_000, low_half(size % 1_000_000)),
        };
        let mut decimals = 6;
        while decimals > 2 && rest.is_multiple_of(10) {
            (rest, decimals) = (rest / 10, decimals - 1);
        }
        let mut start = put_digits(room, UNITS_LEN_MAX, rest, decimals) - 1;
        room[start] = b'.';
        start = match u64::try_from(units) {
            Ok(units) => put_digits(room, start, units, 1),
            Err(_) => {
                let start = put_digits(room, start, low_half(units % 10u128.pow(18)), 18);
                put_digits(room, start, low_half(units / 10u128.pow(18)), 1)
            }
        };
        if self.0 < 0 {
            start -= 1;
            room[start] = b'-';
        }
        str::from_utf8(&room[start..]).unwrap_or_default()
    }
}

/// A number that 64 bits hold.
fn low_half(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Writes a number of at least `digits` digits so that it ends before `end`; where it starts.
fn put_digits(room: &mut [u8], end: usize, mut value: u64, digits: usize) -> usize {
    let mut start = end;
    while end - start < digits || value > 0 {
        start -= 1;
        room[start] = b"0123456789"[(value % 10) as usize];
        value /= 10;
    }
    start
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write(&mut [0; UNITS_LEN_MAX]))
    }
}

impl Serialize for Units {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write(&mut [0; UNITS_LEN_MAX]))
    }
}

impl PartialSchema for Units {
    fn schema() -> RefOr<Schema> {
        let about = "Units of the currency, exact, with two to six decimals.";
        let text = ObjectBuilder::new().schema_type(Type::String).description(Some(about));
        RefOr::T(Schema::Object(text.pattern(Some(r"^-?[0-9]+\.[0-9]{2,6}$")).build()))
    }
}

impl ToSchema for Units {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Units")
    }
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
            (10_000_000, "10.00"),
            (-9_999_990, "-9.99999"),
            (10i128.pow(25), "10000000000000000000.00"),
            (10i128.pow(24) + 10i128.pow(6), "1000000000000000001.00"),
            (i128::from(u64::MAX) * 1_000_000 + 1, "18446744073709551615.000001"),
            (i128::from(u64::MAX) * 1_000_000 + 1_000_000, "18446744073709551616.00"),
            (i128::MIN, "-170141183460469231731687303715884.105728"),
        ] {
            assert_eq!(Units(micros).to_string(), text);
            assert_eq!(serde_json::to_string(&Units(micros)).unwrap(), format!("\"{text}\""));
        }
    }

    #[test]
    fn micros_beyond_64_bits_are_text() {
        let json = |micros| serde_json::to_string(&Micros(micros)).unwrap();
        assert_eq!(json(i128::from(i64::MIN)), "-9223372036854775808");
        assert_eq!(json(i128::from(i64::MAX) + 1), "\"9223372036854775808\"");
    }
}
