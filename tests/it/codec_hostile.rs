//! Corrupt input is refused with a reason: no panic, no half-read event, no runaway.

use ltvstream::codec::avro_event::{BILLING_EVENT_V1, WriterSchema};
use ltvstream::codec::envelope::{EventFormat, Framing};
use ltvstream::codec::error::DecodeError;
use ltvstream::codec::event_codec::{BILLING_EVENT_V1_FINGERPRINT, EventCodec};
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::codec_golden::events;

const KNOWN_ID: u32 = 7;

/// A codec of every format, with valid messages for it.
fn formats() -> Vec<(EventCodec, Vec<Vec<u8>>)> {
    let framed = |framing: Framing| {
        let message = |(datum, _): (Vec<u8>, _)| {
            let mut message = Vec::new();
            framing.put(&mut message);
            message.extend(datum);
            message
        };
        events().into_iter().map(message).collect()
    };
    EventFormat::ALL
        .into_iter()
        .map(|format| {
            let mut codec = EventCodec::new(format).unwrap();
            codec.add_registered(KNOWN_ID, Ok(BILLING_EVENT_V1));
            let messages = match format {
                EventFormat::AvroRegistry => framed(Framing::Registry(KNOWN_ID)),
                EventFormat::AvroSingleObject => {
                    framed(Framing::SingleObject(BILLING_EVENT_V1_FINGERPRINT))
                }
                EventFormat::AvroBare => framed(Framing::Bare),
                EventFormat::Json => {
                    events().into_iter().map(|(_, json)| json.as_bytes().to_vec()).collect()
                }
            };
            (codec, messages)
        })
        .collect()
}

fn reason(codec: &EventCodec, message: &[u8]) -> String {
    match codec.decode(Some(message)) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            error.reason().into_owned()
        }
    }
}

#[test]
fn every_truncation_is_refused_as_such() {
    for (codec, messages) in formats() {
        for message in messages {
            assert_eq!(reason(&codec, &message), "accepted");
            assert_eq!(reason(&codec, &[]), "empty_value");
            for length in 1..message.len() {
                let cut = &message[..length];
                // A cut within a character leaves what is not JSON at all.
                let in_character =
                    codec.format() == EventFormat::Json && std::str::from_utf8(cut).is_err();
                let expected = if in_character { "malformed_json" } else { "truncated" };
                assert_eq!(reason(&codec, cut), expected, "{:?} {length}", codec.format());
            }
        }
    }
}

#[test]
fn every_prolongation_is_refused_as_such() {
    for (codec, messages) in formats() {
        for mut message in messages {
            message.push(b'x');
            assert_eq!(reason(&codec, &message), "trailing_bytes");
        }
    }
}

#[test]
fn flipped_bits_never_panic_and_every_refusal_has_a_reason() {
    let seed: u64 = 20_240_229;
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut formats = formats();
    let evolved = WriterSchema::parse(&with_every_type()).unwrap();
    let datum = datum_with_every_type();
    assert!(evolved.decode(&datum).is_ok());
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..100_000 {
        let kinds = formats.len() + 1;
        let (outcome, message) = match formats.get_mut(round % kinds) {
            Some((codec, messages)) => {
                let at = rng.random_range(0..messages.len());
                let message = flipped(&messages[at], &mut rng);
                (codec.decode(Some(&message)).map(drop), message)
            }
            None => {
                let message = flipped(&datum, &mut rng);
                (evolved.decode(&message).map(drop), message)
            }
        };
        match outcome {
            Ok(()) => accepted += 1,
            Err(error) => {
                refused += 1;
                let reason = error.reason();
                let is_label = reason.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                assert!(is_label && !reason.is_empty(), "{reason} for {}", hex::encode(message));
            }
        }
    }
    // Both happen: a flip within a name is another name, one within a length is the end.
    assert!(accepted > 1_000 && refused > 1_000, "{accepted} accepted, {refused} refused");
}

fn flipped(message: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut message = message.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..message.len());
        message[at] ^= 1 << rng.random_range(0..8);
    }
    message
}

/// Our schema with a field in front that holds every type there is.
fn with_every_type() -> String {
    let extra = r#""fields": [ {"name": "extra", "type": {"type": "record", "name": "Extra", "fields": [
        {"name": "a", "type": ["null", "boolean", "int", "float", "double", "bytes"]},
        {"name": "b", "type": {"type": "array", "items": ["null", "Extra"]}},
        {"name": "c", "type": {"type": "map", "values": {"type": "array", "items": "string"}}},
        {"name": "d", "type": {"type": "fixed", "name": "Four", "size": 4}},
        {"name": "e", "type": {"type": "enum", "name": "Colour", "symbols": ["red", "green"]}},
        {"name": "f", "type": {"type": "array", "items": "null"}},
        {"name": "g", "type": ["null", "Four", "Colour"]}]}},"#;
    BILLING_EVENT_V1.replacen("\"fields\": [", extra, 1)
}

fn datum_with_every_type() -> Vec<u8> {
    let leaf = [&[2, 1][..], &[0], &[0], b"four", &[2], &[0x80, 0x80, 0x80, 0x01, 0], &[0]];
    let leaf = leaf.concat();
    let items = [&[2, 2][..], &leaf, &[4, 0, 0], &[0]].concat();
    let map = [&[2, 2, b'k'][..], &[2, 4, b'h', b'i', 0], &[0]].concat();
    let extra = [&[6, 0, 0, 0, 0][..], &items, &map, b"4444", &[0], &[0], &[4, 2]].concat();
    [extra, events()[0].0.clone()].concat()
}

#[test]
fn lengths_and_depths_that_a_message_can_not_hold_are_refused_at_once() {
    let huge = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let schema = WriterSchema::parse(BILLING_EVENT_V1).unwrap();
    assert_eq!(schema.decode(&huge).unwrap_err().reason(), "truncated");

    let (datum, _) = &events()[1];
    let without_end = &datum[..datum.len() - 1];
    let many_attributes = [without_end, &huge].concat();
    assert_eq!(schema.decode(&many_attributes).unwrap_err().reason(), "truncated");
    let thirty_three = (0..33).flat_map(|n| [2, b'A' + n, 2, b'x']).collect::<Vec<u8>>();
    let too_many = [without_end, &[66], &thirty_three, &[0]].concat();
    assert_eq!(schema.decode(&too_many).unwrap_err().reason(), "invalid_attributes");

    let evolved = WriterSchema::parse(&with_every_type()).unwrap();
    let deep = [0u8, 2, 2].repeat(100_000);
    assert_eq!(
        evolved.decode(&deep),
        Err(DecodeError::MalformedAvro("a value is nested too deep"))
    );
}

#[test]
fn unknown_schemas_and_foreign_beginnings_are_refused_by_name() {
    for (codec, messages) in formats() {
        let message = &messages[0];
        let mut foreign = message.clone();
        foreign[0] = b'x';
        match codec.format() {
            EventFormat::AvroRegistry => {
                let mut other = message.clone();
                other[4] = 8;
                assert_eq!(codec.decode(Some(&other)), Err(DecodeError::UnknownSchemaId(8)));
                assert_eq!(reason(&codec, &other), "unknown_schema");
                assert_eq!(reason(&codec, &foreign), "wrong_magic");
            }
            EventFormat::AvroSingleObject => {
                let mut other = message.clone();
                other[9] ^= 1;
                assert_eq!(reason(&codec, &other), "unknown_schema");
                assert_eq!(reason(&codec, &foreign), "wrong_magic");
            }
            EventFormat::AvroBare => (),
            EventFormat::Json => assert_eq!(reason(&codec, &foreign), "malformed_json"),
        }
        assert_eq!(codec.decode(None).unwrap_err().reason(), "null_value");
        assert_eq!(codec.decode(Some(&[])).unwrap_err().reason(), "empty_value");
    }
}
