//! Resolution: how each field of ours is read from whatever type a writer gave it.
//!
//! Done once per writer's schema; the table is in [`avro_event`](crate::codec::avro_event).

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, UuidSchema};

use crate::codec::error::SchemaError;
use crate::codec::event_fields::{Field, Holds};
use crate::domain::event::{Environment, EventKind};
use crate::domain::field_error::quoted;

/// How the writer wrote a value that fits its field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Null,
    Int,
    Long,
    /// A long of milliseconds.
    Millis,
    Text,
    Enum(Vec<Symbol>),
    /// A map whose values are texts.
    TextMap(Box<Source>),
    Union(Vec<Source>),
    /// A branch of a union that doesn't fit the field.
    Unfit,
}

/// A symbol of the writer's enum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Symbol {
    /// One that ours has too.
    Ours(&'static str),
    /// Of a field that may hold any text.
    Text(String),
    /// Of an enum of ours that doesn't have it.
    Unknown(String),
}

/// How a field of ours is read from the writer's type; a type that can never fit is an error.
pub(crate) fn source_of(
    field: Field,
    schema: &Schema,
    names: &NamesRef<'_>,
) -> Result<Source, SchemaError> {
    let refuse = || SchemaError::FieldType { field: field.name(), expected: expected(field) };
    match resolve(schema, names) {
        Schema::Union(union) => {
            let fit = |branch| direct_source(field, resolve(branch, names), names);
            let branches: Vec<_> = union.variants().iter().map(fit).collect();
            if !branches
                .iter()
                .any(|branch| matches!(branch, Some(s) if !matches!(s, Source::Null)))
            {
                return Err(refuse());
            }
            let or_unfit = |branch: Option<_>| branch.unwrap_or(Source::Unfit);
            Ok(Source::Union(branches.into_iter().map(or_unfit).collect()))
        }
        // A field that is always null is as good as absent.
        other => direct_source(field, other, names).ok_or_else(refuse),
    }
}

/// What the writer can write into a field and no event may hold there, in words.
pub(crate) fn unreadable(field: Field, source: &Source) -> Vec<String> {
    let name = field.name();
    match source {
        Source::Union(branches) => {
            branches.iter().flat_map(|branch| unreadable(field, branch)).collect()
        }
        Source::TextMap(values) => unreadable(field, values),
        Source::Null if field.is_required() => vec![format!("{name} that is null")],
        Source::Unfit => vec![format!("{name} that is not {}", expected(field))],
        Source::Enum(symbols) => {
            let unknown = symbols.iter().filter_map(|symbol| match symbol {
                Symbol::Unknown(symbol) => Some(format!("{name} \"{}\"", quoted(symbol))),
                Symbol::Ours(_) | Symbol::Text(_) => None,
            });
            unknown.collect()
        }
        Source::Null | Source::Int | Source::Long | Source::Millis | Source::Text => Vec::new(),
    }
}

fn resolve<'s>(schema: &'s Schema, names: &NamesRef<'s>) -> &'s Schema {
    match schema {
        Schema::Ref { name } => names.get(name).copied().unwrap_or(schema),
        _ => schema,
    }
}

/// As [`source_of`], for a type that is no union; `None` where it doesn't fit.
fn direct_source(field: Field, schema: &Schema, names: &NamesRef<'_>) -> Option<Source> {
    match (field.holds(), schema) {
        (_, Schema::Null) => Some(Source::Null),
        (Holds::Integer | Holds::Instant, Schema::Int) => Some(Source::Int),
        (Holds::Integer | Holds::Instant, Schema::Long) => Some(Source::Long),
        (Holds::Instant, Schema::TimestampMicros) => Some(Source::Long),
        (Holds::Instant, Schema::TimestampMillis) => Some(Source::Millis),
        (Holds::Text, Schema::Enum(symbols)) => {
            let ours = |symbol: &String| symbol_of(field, symbol);
            Some(Source::Enum(symbols.symbols.iter().map(ours).collect()))
        }
        (Holds::Text, _) => text_source(schema),
        (Holds::Attributes, Schema::Map(map)) => match resolve(&map.types, names) {
            Schema::Union(union) => {
                let or_unfit =
                    |branch| text_source(resolve(branch, names)).unwrap_or(Source::Unfit);
                let branches: Vec<_> = union.variants().iter().map(or_unfit).collect();
                let fits = branches.iter().any(|branch| matches!(branch, Source::Text));
                fits.then(|| Source::TextMap(Box::new(Source::Union(branches))))
            }
            other => text_source(other).map(|text| Source::TextMap(Box::new(text))),
        },
        _ => None,
    }
}

fn text_source(schema: &Schema) -> Option<Source> {
    let is_text =
        matches!(schema, Schema::String | Schema::Bytes | Schema::Uuid(UuidSchema::String));
    is_text.then_some(Source::Text)
}

fn symbol_of(field: Field, symbol: &str) -> Symbol {
    let ours = match field {
        Field::Kind => EventKind::ALL.map(EventKind::name).into_iter().find(|name| *name == symbol),
        Field::Environment => [Environment::Production, Environment::Sandbox]
            .map(Environment::name)
            .into_iter()
            .find(|name| *name == symbol),
        _ => return Symbol::Text(symbol.to_owned()),
    };
    ours.map_or_else(|| Symbol::Unknown(symbol.to_owned()), Symbol::Ours)
}

/// The types that fit a field, in words.
pub(crate) fn expected(field: Field) -> &'static str {
    match field.holds() {
        Holds::Text => "a string",
        Holds::Integer => "a long",
        Holds::Instant => "a timestamp-micros or timestamp-millis",
        Holds::Attributes => "a map of strings",
    }
}
