//! The door for events: a record's value in the configured format, in and out.

use std::collections::BTreeMap;

use crate::codec::avro_event::{self, BILLING_EVENT_V1, WriterSchema};
use crate::codec::envelope::{EventFormat, Framing, open_registry, open_single_object};
use crate::codec::error::{DecodeError, SchemaError};
use crate::codec::json_event;
use crate::domain::event::BillingEvent;

/// CRC-64-AVRO of [`BILLING_EVENT_V1`], in the order of the wire.
pub const BILLING_EVENT_V1_FINGERPRINT: [u8; 8] = [0x35, 0xa4, 0x51, 0x68, 0x5b, 0x8b, 0x43, 0x9d];

/// Decodes events of one format, by the schemas it knows so far.
#[derive(Debug, Clone)]
pub struct EventCodec {
    format: EventFormat,
    /// By registry id; schemas that can't be used are kept too, so that they are judged once.
    registered: BTreeMap<u32, Result<WriterSchema, SchemaError>>,
    /// By fingerprint: position in `added`.
    by_fingerprint: BTreeMap<[u8; 8], usize>,
    added: Vec<WriterSchema>,
    bare: WriterSchema,
}

impl EventCodec {
    /// A codec that knows our own schema: by its fingerprint, and as the one of bare messages.
    pub fn new(format: EventFormat) -> Result<Self, SchemaError> {
        let mut codec = Self {
            format,
            registered: BTreeMap::new(),
            by_fingerprint: BTreeMap::new(),
            added: Vec::new(),
            bare: WriterSchema::parse(BILLING_EVENT_V1)?,
        };
        codec.add_schema(BILLING_EVENT_V1)?;
        Ok(codec)
    }

    /// The format it was made for.
    pub fn format(&self) -> EventFormat {
        self.format
    }

    /// Learns what the registry holds under `id`. A schema that can't be used makes its messages
    /// refused as `unusable_schema`, with the reason.
    pub fn add_registered(&mut self, id: u32, schema: Result<&str, SchemaError>) {
        self.registered.insert(id, schema.and_then(WriterSchema::parse));
    }

    /// Learns a writer's schema for single-object messages.
    pub fn add_schema(&mut self, schema: &str) -> Result<(), SchemaError> {
        let schema = WriterSchema::parse(schema)?;
        for fingerprint in schema.fingerprints() {
            self.by_fingerprint.insert(*fingerprint, self.added.len());
        }
        self.added.push(schema);
        Ok(())
    }

    /// Takes `schema` as the one that wrote bare messages.
    pub fn set_bare_schema(&mut self, schema: &str) -> Result<(), SchemaError> {
        self.bare = WriterSchema::parse(schema)?;
        Ok(())
    }

    /// The event in a record's value.
    ///
    /// On [`DecodeError::UnknownSchemaId`] the caller asks the registry, calls
    /// [`EventCodec::add_registered`] and decodes again; if the registry does not know the id
    /// either, the error is the record's refusal.
    pub fn decode<'a>(&self, value: Option<&'a [u8]>) -> Result<BillingEvent<'a>, DecodeError> {
        let mut event = BillingEvent::vacant();
        self.decode_into(value, &mut event)?;
        Ok(event)
    }

    /// As [`EventCodec::decode`], into a vacant event, which means nothing after an error.
    pub fn decode_into<'a>(
        &self,
        value: Option<&'a [u8]>,
        event: &mut BillingEvent<'a>,
    ) -> Result<(), DecodeError> {
        let value = value.ok_or(DecodeError::NullValue)?;
        if value.is_empty() {
            return Err(DecodeError::EmptyValue);
        }
        match self.format {
            EventFormat::AvroRegistry => {
                let (id, datum) = open_registry(value)?;
                match self.registered.get(&id) {
                    Some(Ok(schema)) => schema.decode_into(datum, event),
                    Some(Err(error)) => Err(DecodeError::UnusableSchema(error.clone())),
                    None => Err(DecodeError::UnknownSchemaId(id)),
                }
            }
            EventFormat::AvroSingleObject => {
                let (fingerprint, datum) = open_single_object(value)?;
                match self.by_fingerprint.get(&fingerprint) {
                    Some(position) => self.added[*position].decode_into(datum, event),
                    None => Err(DecodeError::UnknownFingerprint(u64::from_le_bytes(fingerprint))),
                }
            }
            EventFormat::AvroBare => self.bare.decode_into(value, event),
            EventFormat::Json => {
                *event = json_event::decode(value)?;
                Ok(())
            }
        }
    }
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventEncoding {
    Avro(Framing),
    Json,
}

impl EventEncoding {
    /// Avro of our own schema, in single-object encoding.
    pub const SINGLE_OBJECT: Self = Self::Avro(Framing::SingleObject(BILLING_EVENT_V1_FINGERPRINT));
}

/// Appends the event as the value of a record.
pub fn encode_event(event: &BillingEvent<'_>, encoding: EventEncoding, out: &mut Vec<u8>) {
    match encoding {
        EventEncoding::Json => json_event::encode(event, out),
        EventEncoding::Avro(framing) => {
            framing.put(out);
            avro_event::encode(event, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str =
        r#"{"event_id":"e1","app_id":"acme","customer_id":"c1","kind":"install","occurred_at":1}"#;

    #[test]
    fn what_one_encoding_writes_its_format_reads_and_the_others_refuse() {
        let event = json_event::decode(EVENT.as_bytes()).unwrap();
        let encodings = [
            EventEncoding::Avro(Framing::Registry(7)),
            EventEncoding::SINGLE_OBJECT,
            EventEncoding::Avro(Framing::Bare),
            EventEncoding::Json,
        ];
        for (written, encoding) in encodings.into_iter().enumerate() {
            let mut value = Vec::new();
            encode_event(&event, encoding, &mut value);
            for (read, format) in EventFormat::ALL.into_iter().enumerate() {
                let mut codec = EventCodec::new(format).unwrap();
                codec.add_registered(7, Ok(BILLING_EVENT_V1));
                let decoded = codec.decode(Some(&value));
                let expected = json_event::decode(EVENT.as_bytes());
                assert_eq!(decoded == expected, written == read, "{decoded:?}");
            }
        }
    }

    #[test]
    fn the_fingerprint_is_that_of_the_published_schema() {
        let schema = WriterSchema::parse(BILLING_EVENT_V1).unwrap();
        assert_eq!(schema.fingerprints()[0], BILLING_EVENT_V1_FINGERPRINT);
    }

    #[test]
    fn a_schema_is_asked_for_once_and_judged_once() {
        let mut codec = EventCodec::new(EventFormat::AvroRegistry).unwrap();
        let message = [0, 0, 0, 0, 9, 1];
        assert_eq!(codec.decode(Some(&message)), Err(DecodeError::UnknownSchemaId(9)));
        codec.add_registered(9, Ok("\"string\""));
        assert_eq!(
            codec.decode(Some(&message)),
            Err(DecodeError::UnusableSchema(SchemaError::NotAnEvent))
        );
        assert_eq!(codec.decode(None), Err(DecodeError::NullValue));
        assert_eq!(codec.decode(Some(&[])), Err(DecodeError::EmptyValue));
    }
}
