//! Fingerprints of schemas, by which single-object messages name their writer's.
//!
//! The specification takes CRC-64-AVRO of the schema's parsing canonical form, which is made here. The
//! Avro library used here makes another one: it leaves `{"type":"long"}` where a logical type was stripped,
//! keeps the precision of decimals and the order of fields, and panics at some attributes that a schema may
//! have beside those of the specification. Producers that use the library write its fingerprint, so both
//! are known.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::schema::{FixedSchema, Name};
use serde_json::Value;

use crate::codec::avro_plain::Plain;

/// CRC-64-AVRO of no bytes, and its polynomial.
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

/// The specification's fingerprint, in the order of the wire.
pub(crate) fn fingerprint(schema: &Schema) -> [u8; 8] {
    let mut form = String::new();
    put_form(schema, &mut form);
    crc_64_avro(form.as_bytes()).to_le_bytes()
}

/// The fingerprint that the library writes, in the order of the wire; `None` where the library may not be
/// asked for it.
pub(crate) fn library_fingerprint(schema: &Schema) -> Option<[u8; 8]> {
    is_told(schema).then(|| crc_64_avro(schema.canonical_form().as_bytes()).to_le_bytes())
}

/// Appends the parsing canonical form:
/// <https://avro.apache.org/docs/1.12.0/specification/#parsing-canonical-form-for-schemas>.
fn put_form(schema: &Schema, out: &mut String) {
    match Plain::of(schema) {
        Plain::Null => put_text("null", out),
        Plain::Boolean => put_text("boolean", out),
        Plain::Int => put_text("int", out),
        Plain::Long => put_text("long", out),
        Plain::Float => put_text("float", out),
        Plain::Double => put_text("double", out),
        Plain::Bytes => put_text("bytes", out),
        Plain::Text => put_text("string", out),
        Plain::Fixed(fixed) => put_fixed(fixed, out),
        Plain::Ref(name) => put_text(&name.fullname(None), out),
        Plain::Array(array) => {
            out.push_str("{\"type\":\"array\",\"items\":");
            put_form(&array.items, out);
            out.push('}');
        }
        Plain::Map(map) => {
            out.push_str("{\"type\":\"map\",\"values\":");
            put_form(&map.types, out);
            out.push('}');
        }
        Plain::Union(union) => put_list(union.variants(), out, put_form),
        Plain::Enum(symbols) => {
            put_named(&symbols.name, "enum", out);
            out.push_str(",\"symbols\":");
            put_list(&symbols.symbols, out, |symbol, out| put_text(symbol, out));
            out.push('}');
        }
        Plain::Record(record) => {
            put_named(&record.name, "record", out);
            out.push_str(",\"fields\":");
            put_list(&record.fields, out, |field, out| {
                out.push_str("{\"name\":");
                put_text(&field.name, out);
                out.push_str(",\"type\":");
                put_form(&field.schema, out);
                out.push('}');
            });
            out.push('}');
        }
    }
}

fn put_fixed(fixed: &FixedSchema, out: &mut String) {
    put_named(&fixed.name, "fixed", out);
    out.push_str(&format!(",\"size\":{}}}", fixed.size));
}

/// Appends how a type of this name begins.
fn put_named(name: &Name, of_type: &str, out: &mut String) {
    out.push_str("{\"name\":");
    put_text(&name.fullname(None), out);
    out.push_str(",\"type\":");
    put_text(of_type, out);
}

fn put_list<T>(items: &[T], out: &mut String, put: impl Fn(&T, &mut String)) {
    out.push('[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        put(item, out);
    }
    out.push(']');
}

/// Names and symbols hold nothing that JSON would have written otherwise.
fn put_text(text: &str, out: &mut String) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// Whether the library makes its form without a panic: it takes attributes of these names for parts of the
/// schema wherever they stand, and sizes for numbers of 63 bits.
fn is_told(schema: &Schema) -> bool {
    let is_number = |value: &Value| match value.as_str() {
        Some(text) => text.parse::<i64>().is_ok(),
        None => value.as_i64().is_some(),
    };
    let are_told = |attributes: &BTreeMap<String, Value>| {
        attributes.iter().all(|(name, value)| match name.as_str() {
            "size" | "precision" | "scale" => is_number(value),
            "name" | "type" | "fields" | "symbols" | "items" | "values" | "order" => {
                value.is_string()
            }
            _ => true,
        })
    };
    let fits = |size: usize| i64::try_from(size).is_ok();
    let is_annotation_told = match schema {
        Schema::Decimal(decimal) => fits(decimal.precision) && fits(decimal.scale),
        _ => true,
    };
    is_annotation_told
        && match Plain::of(schema) {
            Plain::Fixed(fixed) => fits(fixed.size) && are_told(&fixed.attributes),
            Plain::Enum(symbols) => are_told(&symbols.attributes),
            Plain::Array(array) => are_told(&array.attributes) && is_told(&array.items),
            Plain::Map(map) => are_told(&map.attributes) && is_told(&map.types),
            Plain::Union(union) => union.variants().iter().all(is_told),
            Plain::Record(record) => {
                are_told(&record.attributes)
                    && record
                        .fields
                        .iter()
                        .all(|field| are_told(&field.custom_attributes) && is_told(&field.schema))
            }
            Plain::Null
            | Plain::Boolean
            | Plain::Int
            | Plain::Long
            | Plain::Float
            | Plain::Double
            | Plain::Bytes
            | Plain::Text
            | Plain::Ref(_) => true,
        }
}

fn crc_64_avro(bytes: &[u8]) -> u64 {
    bytes.iter().fold(EMPTY, |mut crc, byte| {
        crc ^= u64::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (EMPTY * (crc & 1));
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(schema: &str) -> Schema {
        Schema::parse_str(schema).unwrap()
    }

    fn form(schema: &str) -> String {
        let mut form = String::new();
        put_form(&parsed(schema), &mut form);
        form
    }

    fn of(schema: &str) -> u64 {
        u64::from_le_bytes(fingerprint(&parsed(schema)))
    }

    #[test]
    fn fingerprints_are_those_of_the_specifications_test_file() {
        assert_eq!(of("\"null\""), 0x63dd_24e7_cc25_8f8a);
        assert_eq!(of("\"int\""), 0x7275_d51a_3f39_5c8f);
        assert_eq!(of("{\"type\": \"string\"}"), 0x8f01_4872_6345_03c7);
    }

    /// By the rules of the specification, one after the other.
    #[test]
    fn the_canonical_form_is_the_specifications() {
        for (schema, canonical) in [
            // From the specification's test file of schemas (`schema-tests.txt`).
            (r#"{"type":"array", "items":"long"}"#, r#"{"type":"array","items":"long"}"#),
            (
                r#"{"fields":[], "type":"record", "name":"foo", "namespace":"x.y", "doc":"d"}"#,
                r#"{"name":"x.y.foo","type":"record","fields":[]}"#,
            ),
            (
                r#"{"type":"fixed", "name":"foo", "namespace":"x.y", "size":32, "aliases":["b"]}"#,
                r#"{"name":"x.y.foo","type":"fixed","size":32}"#,
            ),
            (
                r#"{"type":"record","name":"foo","doc":"","fields":[
                    {"name":"f1","type":"boolean","default":true,"order":"descending"},
                    {"order":"ignore","name":"f2","type":{"type":"int"}}]}"#,
                r#"{"name":"foo","type":"record","fields":[{"name":"f1","type":"boolean"},{"name":"f2","type":"int"}]}"#,
            ),
            // Names within take the namespace of what they stand in, as do those that refer to them.
            (
                r#"{"type":"record","name":"a.R","fields":[
                    {"name":"e","type":{"type":"enum","name":"E","symbols":["x","y"]}},
                    {"name":"f","type":["null",{"type":"map","values":"E"}]}]}"#,
                r#"{"name":"a.R","type":"record","fields":[{"name":"e","type":{"name":"a.E","type":"enum","symbols":["x","y"]}},{"name":"f","type":["null",{"type":"map","values":"a.E"}]}]}"#,
            ),
            // Logical types are stripped with all that belongs to them.
            (r#"{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}"#, "\"bytes\""),
            (
                r#"{"type":"fixed","name":"D","size":9,"logicalType":"decimal","precision":10,"scale":2}"#,
                r#"{"name":"D","type":"fixed","size":9}"#,
            ),
            (r#"{"type":"long","logicalType":"timestamp-millis"}"#, "\"long\""),
            (r#"{"type":"int","logicalType":"date"}"#, "\"int\""),
            (r#"{"type":"string","logicalType":"uuid"}"#, "\"string\""),
        ] {
            assert_eq!(form(schema), canonical, "{schema}");
        }
    }

    #[test]
    fn a_logical_type_does_not_change_the_fingerprint() {
        let plain = r#"{"type": "array", "items": "long"}"#;
        let dated =
            plain.replace("\"long\"", r#"{"type": "long", "logicalType": "timestamp-micros"}"#);
        assert_eq!(of(plain), of(&dated));
        let dated = parsed(&dated);
        let library = dated.fingerprint::<apache_avro::rabin::Rabin>().bytes;
        assert_eq!(library_fingerprint(&dated).map(|bytes| bytes.to_vec()), Some(library));
    }

    /// The library's own form panics at some of these.
    #[test]
    fn attributes_of_ones_own_change_no_fingerprint_whatever_they_are() {
        let with = |attribute: &str| {
            format!(
                r#"{{"type":"record","name":"R","fields":[{{"name":"fee","type":["null","long"],"default":null{attribute}}}]}}"#
            )
        };
        let plain = of(&with(""));
        for (attribute, is_told) in [
            (r#","scale":"micros""#, false),
            (r#","precision":2.5"#, false),
            (r#","size":null"#, false),
            (r#","size":9223372036854775808"#, false),
            (r#","items":7"#, false),
            (r#","symbols":true"#, false),
            (r#","order":"ignore""#, true),
            (r#","scale":2"#, true),
            (r#","unit":{"scale":null}"#, true),
        ] {
            let schema = with(attribute);
            assert_eq!(of(&schema), plain, "{attribute}");
            assert_eq!(library_fingerprint(&parsed(&schema)).is_some(), is_told, "{attribute}");
        }
        let decimal = |size: &str, precision: &str| {
            let json = format!(
                r#"{{"type":"fixed","name":"D","size":{size},"logicalType":"decimal","precision":{precision},"scale":2}}"#
            );
            library_fingerprint(&parsed(&json)).is_some()
        };
        assert!(decimal("9", "10"));
        assert!(!decimal("9223372036854775808", "10"));
    }
}
