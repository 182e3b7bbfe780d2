//! Fingerprints of schemas, by which single-object messages name their writer's.
//!
//! The specification takes CRC-64-AVRO of the schema's parsing canonical form. The Avro library
//! used here makes that form slightly wrong: it leaves `{"type":"long"}` where a logical type was
//! stripped, and the specification (and Java, Python, C#) says `"long"`. Ours is the
//! specification's; producers that use the library write its own, so both are known.

use apache_avro::Schema;

/// CRC-64-AVRO of no bytes, and its polynomial.
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

/// The specification's fingerprint, in the order of the wire.
pub(crate) fn fingerprint(schema: &Schema) -> [u8; 8] {
    let mut form = schema.canonical_form();
    for primitive in ["null", "boolean", "int", "long", "float", "double", "bytes", "string"] {
        // Names and symbols hold neither braces nor quotes, so this is always a type.
        form = form.replace(&format!("{{\"type\":\"{primitive}\"}}"), &format!("\"{primitive}\""));
    }
    crc_64_avro(form.as_bytes()).to_le_bytes()
}

/// The fingerprint that the library writes, in the order of the wire.
pub(crate) fn library_fingerprint(schema: &Schema) -> [u8; 8] {
    crc_64_avro(schema.canonical_form().as_bytes()).to_le_bytes()
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

    fn of(schema: &str) -> u64 {
        u64::from_le_bytes(fingerprint(&Schema::parse_str(schema).unwrap()))
    }

    #[test]
    fn fingerprints_are_those_of_the_specifications_test_file() {
        assert_eq!(of("\"null\""), 0x63dd_24e7_cc25_8f8a);
        assert_eq!(of("\"int\""), 0x7275_d51a_3f39_5c8f);
        assert_eq!(of("{\"type\": \"string\"}"), 0x8f01_4872_6345_03c7);
    }

    #[test]
    fn a_logical_type_does_not_change_the_fingerprint() {
        let plain = r#"{"type": "array", "items": "long"}"#;
        let dated =
            plain.replace("\"long\"", r#"{"type": "long", "logicalType": "timestamp-micros"}"#);
        assert_eq!(of(plain), of(&dated));
        let dated = Schema::parse_str(&dated).unwrap();
        assert_eq!(
            library_fingerprint(&dated).to_vec(),
            dated.fingerprint::<apache_avro::rabin::Rabin>().bytes
        );
    }
}
