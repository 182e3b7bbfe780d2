//! The Avro event, version 1: any writer's schema compiled once, then read without copying.
//!
//! A [`WriterSchema`] is a list of steps, one per field of the writer in the writer's order: read
//! into a field of ours, or skip. What the Avro specification calls resolution happens once, when
//! the steps are made:
//!
//! | the writer | is read as |
//! |---|---|
//! | has a field we don't know | skipped, whatever its type |
//! | lacks a field that we may miss | absent |
//! | lacks `event_id`, `app_id`, `customer_id`, `kind` or `occurred_at` | refused as a schema |
//! | writes a field in another place, or nullable, or not nullable | the same field |
//! | int for long, bytes for string | promoted |
//! | timestamp-millis for timestamp-micros | multiplied by 1000 |
//! | string for our enums, enum for our strings | by name |
//! | a union with branches that don't fit | refused when such a branch is used |
//!
//! The last but one row and null for a map or an enum of ours go beyond the specification.

use std::borrow::Cow;

use apache_avro::Schema;
use apache_avro::schema::ResolvedSchema;

use crate::codec::avro_fingerprint::{fingerprint, library_fingerprint};
use crate::codec::avro_resolve::{Source, Symbol, expected, source_of, unreadable};
use crate::codec::avro_skip::{ShapeId, Shapes, ShapesBuilder};
use crate::codec::avro_wire::{Cursor, WireError, put_count, put_long, put_text};
use crate::codec::error::{DecodeError, SchemaError};
use crate::codec::event_fields::{Field, FieldValue, Slot};
use crate::domain::event::{ATTRIBUTES_MAX, BillingEvent, Environment, FieldError, RawEvent};
use crate::domain::field_error::quoted;
use crate::domain::time::Timestamp;

/// Our own schema, as published.
pub const BILLING_EVENT_V1: &str = include_str!("../../schemas/billing_event.v1.avsc");

/// The unqualified name of the record, ours and every writer's.
const RECORD_NAME: &str = "BillingEvent";

/// A writer's schema, ready to read events with.
#[derive(Debug, Clone)]
pub struct WriterSchema {
    steps: Vec<Step>,
    shapes: Shapes,
    /// The shape of the whole record.
    record: ShapeId,
    fingerprints: Vec<[u8; 8]>,
}

/// What to do with the next value of the writer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    action: Action,
    /// The bytes of this step and the next ones, the first lowest, if all of them are null.
    nulls: u64,
    /// Of how many steps, this one included; each takes a byte then.
    null_steps: u8,
    /// Whether it reads a text, in a union or not.
    text: Option<TextHead>,
}

/// What stands before the length of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TextHead {
    /// The byte of its branch, if it is in a union.
    branch: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Read(Field, Source),
    Skip(ShapeId),
}

/// As many steps as there are bytes in a word.
const NULL_STEPS_MAX: usize = 8;

/// The steps of a record: each knows how many nulls may follow, so that they are passed over at once.
fn steps_of(actions: Vec<Action>) -> Vec<Step> {
    let nulls: Vec<Option<u8>> = actions.iter().map(null_byte).collect();
    let step = |(place, action)| {
        let following = nulls.iter().skip(place).take(NULL_STEPS_MAX).map_while(|null| *null);
        let (mut word, mut null_steps) = ([0; NULL_STEPS_MAX], 0);
        for (byte, null) in word.iter_mut().zip(following) {
            *byte = null;
            null_steps += 1;
        }
        let (nulls, text) = (u64::from_le_bytes(word), text_head(&action));
        Step { action, nulls, null_steps, text }
    };
    actions.into_iter().enumerate().map(step).collect()
}

/// The one byte by which the writer says that a field is null, if it can.
fn null_byte(action: &Action) -> Option<u8> {
    let Action::Read(_, Source::Union(branches)) = action else { return None };
    branch_byte(branches, |branch| matches!(branch, Source::Null))
}

/// What the writer puts before the length of a text, if the field may be one.
fn text_head(action: &Action) -> Option<TextHead> {
    match action {
        Action::Read(_, Source::Text) => Some(TextHead { branch: None }),
        Action::Read(_, Source::Union(branches)) => {
            let byte = branch_byte(branches, |branch| matches!(branch, Source::Text))?;
            Some(TextHead { branch: Some(byte) })
        }
        _ => None,
    }
}

/// The one byte that names the first of these branches that `is_it`.
fn branch_byte(branches: &[Source], is_it: impl Fn(&Source) -> bool) -> Option<u8> {
    let branch = branches.iter().position(is_it)?;
    // The zigzag of numbers below 64 is one byte.
    u8::try_from(branch).ok().filter(|branch| *branch < 64).map(|branch| branch * 2)
}

fn invalid(error: apache_avro::Error) -> SchemaError {
    SchemaError::Invalid(error.to_string())
}

fn parse_schema(json: &str) -> Result<Schema, SchemaError> {
    Schema::parse_str(json).map_err(invalid)
}

impl WriterSchema {
    /// Compiles a schema given as JSON.
    pub fn parse(json: &str) -> Result<Self, SchemaError> {
        match parse_schema(json)? {
            Schema::Record(record) if record.name.name() != RECORD_NAME => {
                Err(SchemaError::NotAnEvent)
            }
            schema => Self::compile(&schema),
        }
    }

    /// As [`WriterSchema::parse`], for the records of a file, whose name is of no account: who hands
    /// in a file of events says by that what its records are.
    pub fn parse_of_any_name(json: &str) -> Result<Self, SchemaError> {
        Self::compile(&parse_schema(json)?)
    }

    fn compile(schema: &Schema) -> Result<Self, SchemaError> {
        let resolved = ResolvedSchema::try_from(schema).map_err(invalid)?;
        let Schema::Record(record) = schema else {
            return Err(SchemaError::NotAnEvent);
        };
        let mut shapes = ShapesBuilder::new(resolved.get_names());
        let mut actions = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            actions.push(match Field::by_name(&field.name) {
                Some((_, known)) => {
                    Action::Read(known, source_of(known, &field.schema, resolved.get_names())?)
                }
                None => Action::Skip(shapes.add(&field.schema)?),
            });
        }
        let is_read = |wanted: Field| {
            actions.iter().any(|step| match step {
                Action::Read(field, source) => *field == wanted && !matches!(source, Source::Null),
                Action::Skip(_) => false,
            })
        };
        match Field::ALL.into_iter().find(|field| field.is_required() && !is_read(*field)) {
            Some(field) => Err(SchemaError::MissingField(field.name())),
            None => Ok(Self {
                steps: steps_of(actions),
                record: shapes.add(schema)?,
                shapes: shapes.build(),
                fingerprints: [fingerprint(schema)]
                    .into_iter()
                    .chain(library_fingerprint(schema))
                    .collect(),
            }),
        }
    }

    /// What the schema allows to be written and is refused when it is, in words; empty where every
    /// value is of a type that is read. What a text or a number may be is not the schema's.
    pub fn unreadable(&self) -> Vec<String> {
        let of = |step: &Step| match &step.action {
            Action::Read(field, source) => unreadable(*field, source),
            Action::Skip(_) => Vec::new(),
        };
        self.steps.iter().flat_map(of).collect()
    }

    /// What single-object messages name the schema by, in the order of the wire: the
    /// specification's fingerprint, then the one that the Avro library of Rust writes if there is one.
    pub fn fingerprints(&self) -> &[[u8; 8]] {
        &self.fingerprints
    }

    /// Whether what [`encode`] writes is read as it was written.
    pub fn reads_what_is_encoded(&self) -> bool {
        // Ours has no field to skip.
        Self::parse(BILLING_EVENT_V1).is_ok_and(|ours| ours.steps == self.steps)
    }

    /// How many of `bytes` the datum takes that they begin with, whether it is an event or not.
    pub fn datum_length(&self, bytes: &[u8]) -> Result<usize, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        self.shapes.skip(self.record, &mut cursor)?;
        Ok(bytes.len() - cursor.left())
    }

    /// Reads one event from all of `datum`.
    pub fn decode<'a>(&self, datum: &'a [u8]) -> Result<BillingEvent<'a>, DecodeError> {
        let mut event = BillingEvent::vacant();
        self.decode_into(datum, &mut event)?;
        Ok(event)
    }

    /// As [`WriterSchema::decode`], into a vacant event, which means nothing after an error.
    pub fn decode_into<'a>(
        &self,
        datum: &'a [u8],
        event: &mut BillingEvent<'a>,
    ) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(datum);
        let mut raw = RawEvent::default();
        let mut next = 0;
        while let Some(Step { action, nulls, null_steps, text }) = self.steps.get(next) {
            // Most fields of most events.
            let passed = cursor.pass_equal(*nulls, *null_steps);
            if passed > 0 {
                next += passed;
                continue;
            }
            match action {
                Action::Read(field, source) => {
                    // Most of those that are there.
                    match (field.slot(&mut raw), text) {
                        (Slot::Text(slot), Some(TextHead { branch })) => {
                            match cursor.short_text(*branch) {
                                Some(text) => slot.set(Some(Cow::Borrowed(text))),
                                None => read(*field, source, &mut cursor, Slot::Text(slot))?,
                            }
                        }
                        (slot, _) => read(*field, source, &mut cursor, slot)?,
                    }
                }
                Action::Skip(shape) => self.shapes.skip(*shape, &mut cursor)?,
            }
            next += 1;
        }
        cursor.end()?;
        Ok(raw.check_into(event)?)
    }
}

/// Reads one value into its field.
fn read<'a>(
    field: Field,
    source: &Source,
    cursor: &mut Cursor<'a>,
    slot: Slot<'_, 'a>,
) -> Result<(), DecodeError> {
    let source = branch(source, cursor)?;
    if matches!(source, Source::Null) {
        return Ok(());
    }
    match (slot, source) {
        (Slot::Text(slot), Source::Text) => slot.set(Some(Cow::Borrowed(cursor.text()?))),
        (Slot::Text(slot), Source::Enum(symbols)) => {
            slot.set(Some(match &symbols[cursor.choice(symbols.len())?] {
                Symbol::Ours(symbol) => Cow::Borrowed(*symbol),
                Symbol::Text(symbol) => Cow::Owned(symbol.clone()),
                Symbol::Unknown(symbol) => {
                    let (field, symbol) = (field.name(), quoted(symbol));
                    return Err(DecodeError::UnknownSymbol { field, symbol });
                }
            }));
        }
        (Slot::Integer(slot), Source::Int) => *slot = Some(cursor.int()?.into()),
        (Slot::Integer(slot), Source::Long) => *slot = Some(cursor.long()?),
        (Slot::Instant(slot), Source::Int) => *slot = Some(Timestamp(cursor.int()?.into())),
        (Slot::Instant(slot), Source::Long) => *slot = Some(Timestamp(cursor.long()?)),
        (Slot::Instant(slot), Source::Millis) => {
            let millis = cursor.long()?;
            let micros = millis.checked_mul(1000).ok_or_else(|| {
                FieldError::invalid(
                    field.name(),
                    "an instant from 1970-01-01 to 9999-12-31",
                    millis,
                )
            })?;
            *slot = Some(Timestamp(micros));
        }
        (Slot::Attributes(list), Source::TextMap(values)) => read_map(values, cursor, list)?,
        (_, _) => return Err(unfit(field)),
    }
    Ok(())
}

/// The source of the value itself: the branch that a union's index names.
#[inline]
fn branch<'s>(source: &'s Source, cursor: &mut Cursor<'_>) -> Result<&'s Source, WireError> {
    match source {
        Source::Union(branches) => Ok(&branches[cursor.choice(branches.len())?]),
        _ => Ok(source),
    }
}

/// The value is of a branch of the writer's union that doesn't fit the field.
fn unfit(field: Field) -> DecodeError {
    FieldError::invalid(field.name(), expected(field), "a value of another type").into()
}

fn read_map<'a>(
    values: &Source,
    cursor: &mut Cursor<'a>,
    list: &mut Vec<(Cow<'a, str>, Cow<'a, str>)>,
) -> Result<(), DecodeError> {
    while let Some(block) = cursor.block()? {
        for _ in 0..block.count {
            let name = cursor.text()?;
            let value = match branch(values, cursor)? {
                Source::Text => cursor.text()?,
                _ => return Err(unfit(Field::Attributes)),
            };
            if list.len() == ATTRIBUTES_MAX {
                let expected = format!("at most {ATTRIBUTES_MAX} entries");
                return Err(FieldError::invalid("attributes", &expected, "more").into());
            }
            list.push((Cow::Borrowed(name), Cow::Borrowed(value)));
        }
        cursor.end_block(block)?;
    }
    Ok(())
}

/// Appends the event as a datum of [`BILLING_EVENT_V1`], without framing.
pub fn encode(event: &BillingEvent<'_>, out: &mut Vec<u8>) {
    for field in Field::ALL {
        match field {
            Field::Kind => put_count(out, usize::from(event.kind as u8)),
            Field::Environment => {
                put_long(out, i64::from(event.environment == Environment::Sandbox))
            }
            Field::Attributes => put_attributes(out, &event.dimensions.attributes),
            _ => put_field(out, field, field.value(event)),
        }
    }
}

fn put_field(out: &mut Vec<u8>, field: Field, value: Option<FieldValue<'_, '_>>) {
    if !field.is_required() {
        put_long(out, i64::from(value.is_some()));
    }
    match value {
        Some(FieldValue::Text(text)) => put_text(out, &text),
        Some(FieldValue::Integer(value) | FieldValue::Instant(Timestamp(value))) => {
            put_long(out, value);
        }
        Some(FieldValue::Attributes(_)) | None => (),
    }
}

fn put_attributes(out: &mut Vec<u8>, attributes: &[(Cow<'_, str>, Cow<'_, str>)]) {
    if !attributes.is_empty() {
        put_count(out, attributes.len());
    }
    for (name, value) in attributes {
        put_text(out, name);
        put_text(out, value);
    }
    put_long(out, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl Fn(&str) -> String) -> String {
        match WriterSchema::parse(&change(BILLING_EVENT_V1)) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_schema_that_can_never_give_an_event_is_refused() {
        assert_eq!(refusal(str::to_owned), "accepted");
        assert_eq!(refusal(|_| "\"string\"".to_owned()), SchemaError::NotAnEvent.to_string());
        assert_eq!(
            refusal(|schema| schema.replace("\"BillingEvent\"", "\"PageView\"")),
            SchemaError::NotAnEvent.to_string()
        );
        assert_eq!(
            refusal(|schema| schema.replace("\"event_id\"", "\"id\"")),
            "the schema has no field event_id"
        );
        assert_eq!(
            refusal(|schema| schema.replace(
                "\"gross_micros\", \"type\": [\"null\", \"long\"]",
                "\"gross_micros\", \"type\": [\"null\", \"double\"]"
            )),
            "gross_micros must be a long"
        );
        assert_eq!(
            refusal(|schema| schema.replace(
                "\"customer_id\", \"type\": \"string\"",
                "\"customer_id\", \"type\": \"null\""
            )),
            "the schema has no field customer_id"
        );
        assert!(refusal(|_| "{".to_owned()).starts_with("not an Avro schema"));
    }

    #[test]
    fn a_schema_of_another_layout_does_not_read_what_is_encoded() {
        let reads = |from: &str, to: &str| {
            let other = BILLING_EVENT_V1.replace(from, to);
            assert_ne!(other, BILLING_EVENT_V1);
            WriterSchema::parse(&other).unwrap().reads_what_is_encoded()
        };
        assert!(reads("Business time", "When"));
        // The same bytes would be another field, another instant, or another length.
        assert!(!reads("\"proceeds_micros\"", "\"later\""));
        assert!(!reads(
            "timestamp-micros\"}, \"doc\": \"Business",
            "timestamp-millis\"}, \"doc\": \"Business"
        ));
        assert!(!reads(
            "\"customer_id\", \"type\": \"string\"",
            "\"customer_id\", \"type\": [\"null\", \"string\"]"
        ));
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_by_its_field() {
        let decode = |from: &str, to: &str, datum: &[u8]| {
            assert!(BILLING_EVENT_V1.contains(from));
            let minimal: Vec<&str> = BILLING_EVENT_V1
                .lines()
                .filter(|line| !line.contains("\"default\"") || line.contains(from))
                .collect();
            // The last field left has a comma behind it only if another one followed.
            let json = minimal.join("\n").replace(from, to).replace("},\n  ]", "}\n  ]");
            let schema = WriterSchema::parse(&json).unwrap();
            schema.decode(datum).map_or_else(|error| error.reason().into_owned(), |_| "ok".into())
        };
        let head = [&[2, b'e', 2, b'a', 2, b'c'][..], &[0]].concat();
        let with = |rest: &[u8]| [&head[..], rest].concat();
        let micros = "timestamp-micros\"}, \"doc\": \"Business";
        let millis = "timestamp-millis\"}, \"doc\": \"Business";
        assert_eq!(decode(micros, millis, &with(&[2])), "ok");
        let most = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(decode(micros, millis, &with(&most)), "invalid_occurred_at");
        assert_eq!(decode(micros, micros, &with(&most)), "invalid_occurred_at");

        let text = "\"store\", \"type\": [\"null\", \"string\"]";
        let union = "\"store\", \"type\": [\"null\", \"string\", \"int\"]";
        assert_eq!(decode(text, union, &with(&[2, 2, 2, b'x'])), "ok");
        assert_eq!(decode(text, union, &with(&[2, 4, 2])), "invalid_store");
        assert_eq!(decode(text, union, &with(&[2, 6, 2])), "malformed_avro");
        assert_eq!(decode(text, union, &with(&[2])), "truncated");
        let symbols = "\"store\", \"type\": [\"null\", {\"type\": \"enum\", \"name\": \"S\", \"symbols\": [\"x\"]}]";
        assert_eq!(decode(text, symbols, &with(&[2, 2, 0])), "ok");
        assert_eq!(decode(text, symbols, &with(&[2, 2, 2])), "malformed_avro");
        assert_eq!(decode("\"install\"", "\"gift\"", &with(&[2])), "unknown_symbol");
    }

    #[test]
    fn the_fields_of_the_published_schema_are_the_fields_of_the_code() {
        let Ok(Schema::Record(record)) = Schema::parse_str(BILLING_EVENT_V1) else {
            panic!("not a record");
        };
        let names: Vec<&str> = record.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, Field::ALL.map(Field::name));
    }
}
