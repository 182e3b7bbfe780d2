//! Avro object container files: records with the event's field names.
//!
//! Fields the event does not have are passed over, as a reader of Avro does with fields that a
//! later writer added.

use std::borrow::Cow;
use std::path::Path;

use apache_avro::Reader;
use apache_avro::types::Value;

use crate::codec::event_fields::{Field, Slot};
use crate::domain::event::{BillingEvent, FieldError, RawEvent};
use crate::domain::time::Timestamp;

use super::input::Text;
use super::{ImportError, OpenError, Row};

pub(super) struct Records {
    values: Reader<'static, Text>,
    record: u64,
}

impl Records {
    pub(super) fn open(path: &Path, text: Text) -> Result<Self, OpenError> {
        let values = Reader::new(text).map_err(|error| OpenError::Avro {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        Ok(Self { values, record: 0 })
    }

    pub(super) fn next_row(&mut self) -> Option<Row> {
        let value = self.values.next()?;
        self.record += 1;
        let event = match value {
            Err(error) => Err(ImportError::unreadable(error)),
            Ok(value) => event_of(&value).map_err(|error| {
                let json = serde_json::Value::try_from(value);
                ImportError::of_field(error, json.map(|json| json.to_string()).unwrap_or_default())
            }),
        };
        Some((self.record, event))
    }
}

fn event_of(value: &Value) -> Result<BillingEvent<'static>, FieldError> {
    let Value::Record(fields) = value else {
        return Err(FieldError::missing("event_id", "for all kinds"));
    };
    let mut raw = RawEvent::default();
    for (name, value) in fields {
        let value = match value {
            Value::Union(_, value) => value,
            value => value,
        };
        if let Some((_, field)) = Field::by_name(name)
            && *value != Value::Null
        {
            put(field, value, &mut raw)?;
        }
    }
    raw.check()
}

fn put(field: Field, value: &Value, raw: &mut RawEvent<'static>) -> Result<(), FieldError> {
    let invalid = |expected| FieldError::invalid(field.name(), expected, format!("{value:?}"));
    match field.slot(raw) {
        Slot::Text(slot) => slot.set(Some(text(value).ok_or_else(|| invalid("a string"))?)),
        Slot::Integer(slot) => *slot = Some(integer(value).ok_or_else(|| invalid("a long"))?),
        Slot::Instant(slot) => {
            *slot = Some(instant(value).ok_or_else(|| invalid("a timestamp of micros or millis"))?);
        }
        Slot::Attributes(slot) => {
            let Value::Map(entries) = value else {
                return Err(invalid("a map of strings"));
            };
            for (name, value) in entries {
                let value = text(value).ok_or_else(|| invalid("a map of strings"))?;
                slot.push((Cow::Owned(name.clone()), value));
            }
        }
    }
    Ok(())
}

fn text(value: &Value) -> Option<Cow<'static, str>> {
    match value {
        Value::String(text) | Value::Enum(_, text) => Some(Cow::Owned(text.clone())),
        Value::Uuid(id) => Some(Cow::Owned(id.to_string())),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Long(integer) => Some(*integer),
        Value::Int(integer) => Some(i64::from(*integer)),
        _ => None,
    }
}

fn instant(value: &Value) -> Option<Timestamp> {
    match value {
        Value::TimestampMicros(micros) | Value::Long(micros) => Some(Timestamp(*micros)),
        Value::TimestampMillis(millis) => millis.checked_mul(1_000).map(Timestamp),
        _ => None,
    }
}
