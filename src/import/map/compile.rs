//! From the keys of a map file to its rules.

use chrono::format::{Fixed, Item, Numeric, StrftimeItems};
use chrono_tz::Tz;
use toml::Value;

use super::section::{Columns, Section};
use super::value::{Case, Choice, Instant, Money, TimeFormat};
use super::{
    Delimiter, Encoding, Map, MapError, Piece, Rule, Shape, Skip, Subject, Test, Text, Translation,
    Unlisted,
};
use crate::codec::event_fields::{Field, Holds};
use crate::domain::event::EventKind;

/// The amounts of an event, in the order of [`Subject::Amount`].
pub(in crate::import) const AMOUNTS: [Field; 3] =
    [Field::GrossMicros, Field::ProceedsMicros, Field::NetMicros];

/// The form that the map tells, and where it does not, that which is usual.
pub(super) fn shape(map: &mut Section, usual: Shape) -> Result<Shape, MapError> {
    map.known(&["source", "fields", "attributes", "skip_when", "group"])?;
    let Some(mut source) = map.section("source")? else {
        return Ok(usual);
    };
    let delimiter = match source.text("delimiter")?.as_deref() {
        None => usual.delimiter,
        Some("tab") => Delimiter::Byte(b'\t'),
        Some("whitespace") => Delimiter::Whitespace,
        Some(text) => match text.as_bytes() {
            [byte] if byte.is_ascii() && !b"\"\r\n".contains(byte) => Delimiter::Byte(*byte),
            _ => {
                let message = "must be one ASCII character, \"tab\" or \"whitespace\"";
                return Err(source.error("delimiter", message));
            }
        },
    };
    let encoding = match source.text("encoding")?.as_deref() {
        None | Some("utf-8") => Encoding::Utf8,
        Some("latin-1") => Encoding::Latin1,
        Some(_) => return Err(source.error("encoding", "must be \"utf-8\" or \"latin-1\"")),
    };
    let has_header = source.flag("has_header")?.unwrap_or(true);
    source.finish()?;
    Ok(Shape { delimiter, has_header, encoding })
}

pub(super) fn rules(mut map: Section, columns: &Columns) -> Result<Map, MapError> {
    let Some(fields) = map.section("fields")? else {
        return Err(map.error("fields", "is required"));
    };
    let fields = field_rules(fields, columns)?;
    let attributes = match map.section("attributes")? {
        None => Vec::new(),
        Some(section) => {
            let (path, table) = section.entries();
            let rule = |(name, value): (String, Value)| {
                let mut section = as_section(format!("{path}.{name}"), value)?;
                let text = text_rule(&mut section, columns)?;
                section.finish().map(|()| (name, text))
            };
            table.into_iter().map(rule).collect::<Result<_, _>>()?
        }
    };
    let skips = map.sections("skip_when")?.into_iter();
    let skips = skips.map(|section| skip(section, columns, &fields)).collect::<Result<_, _>>()?;
    let group_by = match map.section("group")? {
        None => Vec::new(),
        Some(mut group) => {
            let by = group.columns("by", columns)?;
            let by = by.ok_or_else(|| group.error("by", "is required"))?;
            group.finish()?;
            by
        }
    };
    map.finish()?;
    Ok(Map { fields, attributes, skips, group_by })
}

pub(super) fn identity(header: &[String]) -> Result<Map, String> {
    let cell = |column| Text { pieces: vec![Piece::Column(column)], values: None };
    let mut map =
        Map { fields: Vec::new(), attributes: Vec::new(), skips: Vec::new(), group_by: Vec::new() };
    for (column, name) in header.iter().enumerate() {
        if let Some(attribute) = name.strip_prefix("attributes.") {
            map.attributes.push((attribute.to_owned(), cell(column)));
            continue;
        }
        let field = Field::by_name(name).map(|(_, field)| field);
        let repeated = header[..column].contains(name);
        let field = field.filter(|_| !repeated).ok_or_else(|| name.clone())?;
        let rule = match field.holds() {
            Holds::Text => Rule::Text(cell(column)),
            Holds::Instant => Rule::Instant(Instant {
                text: cell(column),
                format: TimeFormat::Event,
                zone: Tz::UTC,
            }),
            Holds::Integer => Rule::Money(Money {
                factors: vec![cell(column)],
                places: 0,
                decimal_mark: '.',
                negated_for: Vec::new(),
            }),
            Holds::Attributes => return Err(name.clone()),
        };
        map.fields.push((field, rule));
    }
    Ok(map)
}

fn field_rules(section: Section, columns: &Columns) -> Result<Vec<(Field, Rule)>, MapError> {
    let (path, table) = section.entries();
    let mut rules = Vec::new();
    for (name, value) in table {
        let key = format!("{path}.{name}");
        let field = Field::by_name(&name).map(|(_, field)| field);
        let field = field.filter(|field| field.holds() != Holds::Attributes);
        let field = field.ok_or_else(|| MapError::new(&key, "is not a field of an event"))?;
        let mut section = as_section(key, value)?;
        let rule = match field.holds() {
            Holds::Instant => Rule::Instant(instant_rule(&mut section, columns)?),
            Holds::Integer => Rule::Money(money_rule(&mut section, columns)?),
            _ if section.has("then") || section.has("cases") => {
                Rule::Choice(choice_rule(&mut section, columns)?)
            }
            _ => Rule::Text(text_rule(&mut section, columns)?),
        };
        section.finish()?;
        rules.push((field, rule));
    }
    for required in [Field::EventId, Field::CustomerId, Field::Kind, Field::OccurredAt] {
        if !rules.iter().any(|(field, _)| *field == required) {
            return Err(MapError::new(&format!("{path}.{}", required.name()), "is required"));
        }
    }
    Ok(rules)
}

/// A bare text is a constant.
fn as_section(path: String, value: Value) -> Result<Section, MapError> {
    match value {
        Value::Table(table) => Ok(Section::of(path, table)),
        Value::String(_) => {
            let table = [("constant".to_owned(), value)].into_iter().collect();
            Ok(Section::of(path, table))
        }
        other => {
            let message =
                format!("must be a text or a table such as {{ column = … }}, got {other}");
            Err(MapError::new(&path, message))
        }
    }
}

fn text_rule(section: &mut Section, columns: &Columns) -> Result<Text, MapError> {
    let constant = section.text("constant")?.map(|text| vec![Piece::Literal(text)]);
    let column = section.column("column", columns)?.map(|column| vec![Piece::Column(column)]);
    let template = match section.text("template")? {
        None => None,
        Some(text) => Some(template(&text, &section.key("template"), columns)?),
    };
    let given = [constant, column, template];
    let mut given = given.into_iter().flatten();
    let (Some(pieces), None) = (given.next(), given.next()) else {
        let message = "exactly one of column, template and constant must be given";
        return Err(MapError::new(section.path(), message));
    };
    Ok(Text { pieces, values: translation(section)? })
}

fn translation(section: &mut Section) -> Result<Option<Translation>, MapError> {
    let given = section.text("unlisted")?;
    let unlisted = match given.as_deref() {
        None | Some("refuse") => Unlisted::Refuse,
        Some("keep") => Unlisted::Keep,
        Some("drop") => Unlisted::Drop,
        Some(_) => {
            let message = "must be \"refuse\", \"keep\" or \"drop\"";
            return Err(section.error("unlisted", message));
        }
    };
    let Some(values) = section.section("values")? else {
        return match given {
            Some(_) => Err(section.error("unlisted", "is of no use without values")),
            None => Ok(None),
        };
    };
    let (path, table) = values.entries();
    let text = |(name, value): (String, Value)| match value {
        _ if name.is_empty() => {
            Err(MapError::new(&path, "an empty text stays empty and is not looked for"))
        }
        Value::String(text) => Ok((name, text)),
        other => {
            Err(MapError::new(&format!("{path}.{name}"), format!("must be a text, got {other}")))
        }
    };
    let values = table.into_iter().map(text).collect::<Result<_, _>>()?;
    Ok(Some((values, unlisted)))
}

/// `{row}`, `{name}` and `{place}` stand for what they name, `{{` and `}}` for braces.
fn template(text: &str, key: &str, columns: &Columns) -> Result<Vec<Piece>, MapError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '{' | '}' if characters.peek() == Some(&character) => {
                characters.next();
                literal.push(character);
            }
            '{' => {
                let mut name = String::new();
                loop {
                    match characters.next() {
                        Some('}') => break,
                        Some(character) => name.push(character),
                        None => return Err(MapError::new(key, "has a { without its }")),
                    }
                }
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(match (name.as_str(), name.parse()) {
                    ("row", _) => Piece::Row,
                    (_, Ok(place)) => Piece::Column(columns.at(place, key)?),
                    (name, Err(_)) => Piece::Column(columns.named(name, key)?),
                });
            }
            '}' => return Err(MapError::new(key, "has a } without its {")),
            character => literal.push(character),
        }
    }
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

fn choice_rule(section: &mut Section, columns: &Columns) -> Result<Choice, MapError> {
    let otherwise = section.text("else")?;
    let cases = section.sections("cases")?;
    if cases.is_empty() {
        let case = case(section, columns)?;
        return Ok(Choice { cases: vec![case], otherwise });
    }
    let finished = |mut section: Section| {
        let case = case(&mut section, columns)?;
        section.finish().map(|()| case)
    };
    Ok(Choice { cases: cases.into_iter().map(finished).collect::<Result<_, _>>()?, otherwise })
}

fn case(section: &mut Section, columns: &Columns) -> Result<Case, MapError> {
    let column = section.column("column", columns)?;
    let column = column.ok_or_else(|| section.error("column", "is required"))?;
    let test = test(section)?;
    let then = section.text("then")?.ok_or_else(|| section.error("then", "is required"))?;
    Ok(Case { column, test, then })
}

fn test(section: &mut Section) -> Result<Test, MapError> {
    let starts_with = section.text("starts_with")?.map(Test::StartsWith);
    let equals = section.texts("equals")?.map(Test::Equals);
    let mut given = vec![starts_with, equals];
    let mark = decimal_mark(section)?;
    let numeric = [("is_zero", Test::IsZero(mark)), ("is_negative", Test::IsNegative(mark))];
    for (name, test) in [("empty", Test::Empty)].into_iter().chain(numeric) {
        match section.flag(name)? {
            Some(false) => return Err(section.error(name, "can only be true")),
            flag => given.push(flag.map(|_| test)),
        }
    }
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(test), None) => Ok(test),
        _ => {
            let message =
                "exactly one of empty, equals, starts_with, is_zero and is_negative must be given";
            Err(MapError::new(section.path(), message))
        }
    }
}

fn instant_rule(section: &mut Section, columns: &Columns) -> Result<Instant, MapError> {
    let text = text_rule(section, columns)?;
    let zone = match section.text("zone")? {
        None => Tz::UTC,
        Some(name) => name
            .parse()
            .map_err(|_| section.error("zone", format!("\"{name}\" is not an IANA time zone")))?,
    };
    let format = match section.text("format")?.as_deref() {
        None | Some("rfc3339") => TimeFormat::Rfc3339,
        Some("epoch_seconds") => TimeFormat::Epoch(1_000_000),
        Some("epoch_millis") => TimeFormat::Epoch(1_000),
        Some("epoch_micros") => TimeFormat::Epoch(1),
        Some(format) => strftime(format).map_err(|message| section.error("format", message))?,
    };
    Ok(Instant { text, format, zone })
}

/// What a format reads, by what it is made of, however that is written: `%-H` is an hour as `%T` holds one.
fn strftime(format: &str) -> Result<TimeFormat, String> {
    let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
    let has = |test: fn(&Item<'_>) -> bool| items.iter().any(test);
    if has(|item| *item == Item::Error) || !has(|i| matches!(i, Item::Numeric(..) | Item::Fixed(_)))
    {
        return Err(format!("\"{format}\" is not a strftime format of a date"));
    }
    if has(|item| matches!(item, Item::Numeric(Numeric::Timestamp, _))) {
        return Err("%s is no date: write \"epoch_seconds\"".to_owned());
    }
    if has(|item| matches!(item, Item::Fixed(Fixed::TimezoneName))) {
        let message = "%Z, a zone's name, can't be read: name it by zone, or read an offset by %z";
        return Err(message.to_owned());
    }
    let format = format.to_owned();
    Ok(if has(is_offset) {
        TimeFormat::Offset(format)
    } else if has(|item| matches!(item, Item::Numeric(Numeric::Hour | Numeric::Hour12, _))) {
        TimeFormat::Local(format)
    } else {
        TimeFormat::Date(format)
    })
}

/// Whether the item holds an offset from UTC.
fn is_offset(item: &Item<'_>) -> bool {
    let is_named = matches!(
        item,
        Item::Fixed(
            Fixed::TimezoneOffset
                | Fixed::TimezoneOffsetZ
                | Fixed::TimezoneOffsetColon
                | Fixed::TimezoneOffsetColonZ
                | Fixed::TimezoneOffsetDoubleColon
                | Fixed::TimezoneOffsetTripleColon
                | Fixed::RFC2822
                | Fixed::RFC3339
        )
    );
    // The library has no name for the last one.
    is_named || StrftimeItems::new("%#z").next().as_ref() == Some(item)
}

fn money_rule(section: &mut Section, columns: &Columns) -> Result<Money, MapError> {
    let factors = match section.columns("product", columns)? {
        Some(columns) => {
            let cell = |column| Text { pieces: vec![Piece::Column(column)], values: None };
            columns.into_iter().map(cell).collect()
        }
        None => vec![text_rule(section, columns)?],
    };
    let places = match section.text("unit")?.as_deref() {
        None | Some("units") => 6,
        Some("cents") => 4,
        Some("micros") => 0,
        Some(_) => {
            return Err(section.error("unit", "must be \"units\", \"cents\" or \"micros\""));
        }
    };
    let decimal_mark = decimal_mark(section)?;
    let negated_for = section.texts("negated_for")?.unwrap_or_default();
    if let Some(unknown) = negated_for.iter().find(|kind| kind.parse::<EventKind>().is_err()) {
        return Err(section.error("negated_for", format!("\"{unknown}\" is not a kind of event")));
    }
    Ok(Money { factors, places, decimal_mark, negated_for })
}

fn decimal_mark(section: &mut Section) -> Result<char, MapError> {
    match section.text("decimal_mark")?.as_deref() {
        None | Some(".") => Ok('.'),
        Some(",") => Ok(','),
        Some(_) => Err(section.error("decimal_mark", "must be \".\" or \",\"")),
    }
}

fn skip(
    mut section: Section,
    columns: &Columns,
    fields: &[(Field, Rule)],
) -> Result<Skip, MapError> {
    let column = section.column("column", columns)?;
    let name = section.text("field")?;
    let reason = section.text("reason")?;
    let test = test(&mut section)?;
    let (subject, default) = match (column, &name) {
        (Some(column), None) => (Subject::Column(column), section.path().to_owned()),
        (None, Some(name)) => {
            let amount = AMOUNTS.iter().position(|field| field.name() == name);
            let mapped = fields.iter().any(|(field, _)| field.name() == name);
            let numeric = matches!(test, Test::IsZero(_) | Test::IsNegative(_));
            let amount = amount.filter(|_| mapped && numeric).ok_or_else(|| {
                section.error("field", "must be a mapped amount, with is_zero or is_negative")
            })?;
            (Subject::Amount(amount), section.path().to_owned())
        }
        _ => {
            let message = "exactly one of column and field must be given";
            return Err(MapError::new(section.path(), message));
        }
    };
    section.finish()?;
    Ok(Skip { subject, test, reason: reason.unwrap_or(default) })
}
