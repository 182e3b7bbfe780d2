//! The JSON event, version 1: one object, the field names of the interface.
//!
//! Text is borrowed from the input where it has no escapes. Unknown and repeated fields are
//! refused by name, values of another type by field; `null` is the same as absent.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde_json::error::Category;

use crate::codec::error::DecodeError;
use crate::codec::event_fields::{Field, FieldValue, Slot};
use crate::domain::event::{
    ATTRIBUTES_MAX, BillingEvent, Environment, FieldError, RawEvent, TEXT_BYTES_MAX,
};
use crate::domain::field_error::{beginning, quoted};
use crate::domain::time::Timestamp;

/// Reads one event from all of `json`.
pub fn decode(json: &[u8]) -> Result<BillingEvent<'_>, DecodeError> {
    let text = std::str::from_utf8(json)
        .map_err(|_| DecodeError::MalformedJson("it is not UTF-8".to_owned()))?;
    let mut found = Found::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    found.deserialize(&mut reader).map_err(|error| malformed(&error))?;
    reader.end().map_err(|_| DecodeError::TrailingBytes)?;
    match found.refusal {
        Some(refusal) => Err(refusal),
        None => Ok(found.raw.check()?),
    }
}

/// The `event_id` of a refused event, for the answer that refuses it; `None` where none is found.
pub fn event_id_of(json: &[u8]) -> Option<String> {
    named_in(json)?.event_id.map(|id| beginning(&id, TEXT_BYTES_MAX))
}

/// The `app_id` and the `customer_id` of a refused event, as far as both are there.
pub fn customer_of(json: &[u8]) -> Option<(String, String)> {
    let named = named_in(json)?;
    Some((named.app_id?.to_string(), named.customer_id?.to_string()))
}

/// What a refused event names; what stands before a syntax error still does.
fn named_in(json: &[u8]) -> Option<RawEvent<'_>> {
    let text = std::str::from_utf8(json).ok()?;
    let mut found = Found::default();
    let _ = found.deserialize(&mut serde_json::Deserializer::from_str(text));
    Some(found.raw)
}

fn malformed(error: &serde_json::Error) -> DecodeError {
    match error.classify() {
        Category::Eof => DecodeError::Truncated,
        _ => DecodeError::MalformedJson(error.to_string()),
    }
}

/// What was read so far, and the first thing that is wrong with it.
#[derive(Default)]
struct Found<'a> {
    raw: RawEvent<'a>,
    /// A bit per position in [`Field::ALL`].
    seen: u64,
    refusal: Option<DecodeError>,
}

impl<'a> Found<'a> {
    fn deserialize(
        &mut self,
        reader: &mut serde_json::Deserializer<serde_json::de::StrRead<'a>>,
    ) -> Result<(), serde_json::Error> {
        reader.deserialize_map(EventVisitor(self))
    }

    fn refuse(&mut self, refusal: impl Into<DecodeError>) {
        self.refusal.get_or_insert(refusal.into());
    }

    fn set(&mut self, field: Field, value: Json<'a>) {
        let name = field.name();
        let outcome = match (field.slot(&mut self.raw), value) {
            (_, Json::Null) => Ok(()),
            (Slot::Text(slot), Json::Text(text)) => {
                slot.set(Some(text));
                Ok(())
            }
            (Slot::Text(slot), other) => {
                // Refused, and whose it is still known.
                if let Field::AppId | Field::CustomerId = field
                    && let Json::Integer(_) | Json::Large(_) = &other
                {
                    slot.set(Some(Cow::Owned(other.to_string())));
                }
                Err(FieldError::invalid(name, "a string", other))
            }
            (Slot::Integer(slot), Json::Integer(value)) => {
                *slot = Some(value);
                Ok(())
            }
            (Slot::Integer(_), other) => Err(FieldError::invalid(name, "an integer", other)),
            (Slot::Instant(slot), value) => instant(name, value).map(|at| *slot = Some(at)),
            (Slot::Attributes(slot), Json::Object(entries)) => {
                attributes(entries).map(|entries| *slot = entries)
            }
            (Slot::Attributes(_), other) => {
                Err(FieldError::invalid(name, "an object of strings", other))
            }
        };
        if let Err(error) = outcome {
            self.refuse(error);
        }
    }
}

fn instant(name: &'static str, value: Json<'_>) -> Result<Timestamp, FieldError> {
    let at = match &value {
        Json::Integer(micros) => Some(Timestamp(*micros)),
        Json::Text(text) => Timestamp::parse_rfc3339(text),
        _ => None,
    };
    at.ok_or_else(|| {
        let expected = "RFC 3339 with an offset, or an integer of epoch microseconds";
        FieldError::invalid(name, expected, value)
    })
}

type Texts<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn attributes<'a>(entries: Vec<(Cow<'a, str>, Json<'a>)>) -> Result<Texts<'a>, FieldError> {
    if entries.len() > ATTRIBUTES_MAX {
        let expected = format!("at most {ATTRIBUTES_MAX} entries");
        return Err(FieldError::invalid("attributes", &expected, "more"));
    }
    let text = |(name, value)| match value {
        Json::Text(value) => Ok((name, value)),
        other => {
            let expected = format!("an object of strings, \"{name}\" one of them");
            Err(FieldError::invalid("attributes", &expected, other))
        }
    };
    entries.into_iter().map(text).collect()
}

struct EventVisitor<'f, 'a>(&'f mut Found<'a>);

impl<'a> Visitor<'a> for EventVisitor<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a billing event as an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Depth(0))? {
            let Json::Text(name) = name else { continue };
            let Some((position, field)) = Field::by_name(&name) else {
                self.0.refuse(DecodeError::UnknownField(quoted(&name)));
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let bit = 1u64 << position;
            if self.0.seen & bit != 0 {
                self.0.refuse(DecodeError::DuplicateField(field.name()));
            }
            self.0.seen |= bit;
            let value = map.next_value_seed(Depth(u8::from(field == Field::Attributes)))?;
            self.0.set(field, value);
        }
        Ok(())
    }
}

/// A JSON value, as far as an event needs to know it.
enum Json<'a> {
    Null,
    Integer(i64),
    /// An integer beyond those.
    Large(u64),
    Text(Cow<'a, str>),
    /// Of at most one entry more than an event may have.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
    /// What no field may hold, in words.
    Other(String),
}

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Large(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "{}", text.escape_debug()),
            Self::Object(_) => f.write_str("an object"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

/// Reads a [`Json`]; objects nested deeper than this are passed over.
struct Depth(u8);

impl<'a> DeserializeSeed<'a> for Depth {
    type Value = Json<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Json<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Depth {
    type Value = Json<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Json<'a>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'a>, E> {
        Ok(Json::Other(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'a>, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'a>, E> {
        Ok(i64::try_from(value).map_or(Json::Large(value), Json::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'a>, E> {
        // With its point, which is what is wrong with it where an integer is expected.
        Ok(Json::Other(format!("{value:?}")))
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Json<'a>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'a>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Json<'a>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Json::Other("an array".to_owned()))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Json<'a>, A::Error> {
        let mut entries = Vec::new();
        while self.0 > 0 && entries.len() <= ATTRIBUTES_MAX {
            let Some(Json::Text(name)) = map.next_key_seed(Self(0))? else {
                return Ok(Json::Object(entries));
            };
            entries.push((name, map.next_value_seed(Self(0))?));
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Json::Object(entries))
    }
}

/// Appends the event as canonical JSON: the fields in the order of the schema, without those it
/// does not have; the environment only if it is not production. The same event gives the same
/// bytes, and decoding them gives the event.
pub fn encode(event: &BillingEvent<'_>, out: &mut Vec<u8>) {
    // Writing to memory fails never, and all names are strings.
    let _ = write(event, out);
}

/// The event as canonical JSON, see [`encode`].
pub fn to_json(event: &BillingEvent<'_>) -> String {
    let mut out = Vec::new();
    encode(event, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn write(event: &BillingEvent<'_>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let mut writer = serde_json::Serializer::new(out);
    let mut map = writer.serialize_map(None)?;
    for field in Field::ALL {
        if field == Field::Environment && event.environment == Environment::Production {
            continue;
        }
        let name = field.name();
        match field.value(event) {
            None => (),
            Some(FieldValue::Text(text)) => map.serialize_entry(name, &*text)?,
            Some(FieldValue::Integer(value)) => map.serialize_entry(name, &value)?,
            Some(FieldValue::Instant(at)) => map.serialize_entry(name, &at.to_rfc3339())?,
            Some(FieldValue::Attributes(list)) => {
                map.serialize_entry(name, &AttributeList(list))?;
            }
        }
    }
    map.end()
}

struct AttributeList<'l, 'a>(&'l [(Cow<'a, str>, Cow<'a, str>)]);

impl serde::Serialize for AttributeList<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (&**name, &**value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURCHASE: &str = r#"{"event_id":"e1","app_id":"acme","customer_id":"c1","kind":"purchase","occurred_at":"2024-01-31T10:00:00.5+01:00","gross_micros":9990000,"currency":"EUR","attributes":{"b":"2","a":"1"}}"#;

    fn reason(json: &str) -> String {
        decode(json.as_bytes()).map_or_else(|error| error.reason().into_owned(), |_| "ok".into())
    }

    fn with(from: &str, to: &str) -> String {
        assert!(PURCHASE.contains(from));
        reason(&PURCHASE.replacen(from, to, 1))
    }

    #[test]
    fn an_event_prints_with_its_defaults_and_reads_back_equal() {
        let printed = to_json(&decode(PURCHASE.as_bytes()).unwrap());
        assert_eq!(
            printed,
            r#"{"event_id":"e1","app_id":"acme","customer_id":"c1","kind":"purchase","occurred_at":"2024-01-31T09:00:00.500Z","gross_micros":9990000,"proceeds_micros":9990000,"net_micros":9990000,"currency":"EUR","transaction_id":"e1","original_transaction_id":"e1","attributes":{"a":"1","b":"2"}}"#
        );
        assert_eq!(decode(printed.as_bytes()), decode(PURCHASE.as_bytes()));
    }

    #[test]
    fn text_without_escapes_is_borrowed() {
        let event = decode(PURCHASE.as_bytes()).unwrap();
        assert!(matches!(event.customer_id, Cow::Borrowed("c1")));
        let escaped = PURCHASE.replace("\"c1\"", "\"\\u0063\\\"\"");
        assert_eq!(decode(escaped.as_bytes()).unwrap().customer_id, "c\"");
    }

    #[test]
    fn a_refusal_names_what_is_wrong() {
        for (from, to, expected) in [
            ("9990000", "\"12\"", "invalid_gross_micros"),
            ("9990000", "1.5", "invalid_gross_micros"),
            ("9990000", "1e3", "invalid_gross_micros"),
            ("9990000", "18446744073709551616", "invalid_gross_micros"),
            ("9990000", "18446744073709551615", "invalid_gross_micros"),
            ("9990000", "[1,{}]", "invalid_gross_micros"),
            ("9990000", "null", "missing_gross_micros"),
            ("\"e1\"", "7", "invalid_event_id"),
            ("\"2024-01-31T10:00:00.5+01:00\"", "1706691600500000", "ok"),
            ("+01:00", "", "invalid_occurred_at"),
            ("\"purchase\"", "\"gift\"", "invalid_kind"),
            ("\"purchase\"", "true", "invalid_kind"),
            ("{\"b\":\"2\",\"a\":\"1\"}", "{\"a\":1}", "invalid_attributes"),
            ("{\"b\":\"2\",\"a\":\"1\"}", "{\"a\":{}}", "invalid_attributes"),
            ("{\"b\":\"2\",\"a\":\"1\"}", "{\"a\":\"1\",\"a\":\"1\"}", "invalid_attributes"),
            ("{\"b\":\"2\",\"a\":\"1\"}", "[]", "invalid_attributes"),
            ("{\"b\":\"2\",\"a\":\"1\"}", "null", "ok"),
            ("\"currency\"", "\"curency\"", "unknown_field"),
            ("\"currency\"", "\"duration\"", "unknown_field"),
            ("\"currency\"", "\"event_id\"", "duplicate_field"),
            ("}}", "}", "truncated"),
            ("}}", "}} x", "trailing_bytes"),
            ("}}", "}}\n", "ok"),
            ("{\"event_id\"", "[{\"event_id\"", "malformed_json"),
            ("\"e1\",", "\"e1\"", "malformed_json"),
        ] {
            assert_eq!(with(from, to), expected, "{from} -> {to}");
        }
        assert_eq!(decode(b"\xff").unwrap_err().reason(), "malformed_json");
        let misspelt = PURCHASE.replace("\"currency\"", "\"curency\"");
        let error = decode(misspelt.as_bytes()).unwrap_err();
        assert_eq!(error.field(), Some("curency"));
        assert_eq!(event_id_of(misspelt.as_bytes()).as_deref(), Some("e1"));
        // Whole, that who sent it finds it again, unless it is longer than any may be.
        let long = |length: usize| "x".repeat(length);
        let id_of =
            |id: &str| event_id_of(misspelt.replace("\"e1\"", &format!("\"{id}\"")).as_bytes());
        assert_eq!(id_of(&long(200)), Some(long(200)));
        assert_eq!(id_of(&long(201)), Some(long(200) + "…"));
        let whose = (|json: &str| customer_of(json.as_bytes())) as fn(&str) -> _;
        let customer = Some(("a".to_owned(), "c".to_owned()));
        assert_eq!(whose(r#"{"customer_id":"c","kind":7,"app_id":"a","pe"#), customer);
        assert_eq!(whose(r#"{"customer_id":"c","kind":"install"}"#), None);
        // A number is no id, but tells whose the event would be.
        let number = Some(("a".to_owned(), "778899".to_owned()));
        assert_eq!(whose(r#"{"app_id":"a","customer_id":778899}"#), number);
        let largest = Some(("a".to_owned(), "18446744073709551615".to_owned()));
        assert_eq!(whose(r#"{"app_id":"a","customer_id":18446744073709551615}"#), largest);
        assert_eq!(with("\"c1\"", "778899"), "invalid_customer_id");
    }
}
