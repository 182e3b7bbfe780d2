//! The map file: which columns of a foreign table make an event.
//!
//! A TOML file. Columns are named by the header's name, or by their place from 1 as an integer.
//! Cells are read without blanks around them. Unknown keys are refused by name.
//!
//! ```toml
//! [source]
//! delimiter = ","          # a character, "tab" (the default for .tsv), or "whitespace": any run of blanks
//! has_header = true
//! encoding = "utf-8"       # or "latin-1"
//!
//! [fields]                                        # the event's fields, any but attributes
//! currency = "GBP"                                # a constant
//! customer_id = { column = "customer" }           # a cell
//! event_id = { template = "{invoice}-{customer}" }  # cells in a text; {row}: the row's ordinal
//! country = { column = 8, values = { "EIRE" = "IE" }, unlisted = "keep" }   # translated:
//!                          # other values are refused (default), kept ("keep") or left out ("drop")
//! occurred_at = { column = "date", format = "%Y%m%d", zone = "Europe/London" }
//!                          # strftime, "rfc3339" (default), "epoch_seconds", "epoch_millis" or
//!                          # "epoch_micros"; without a time of day: the first instant of the day; the zone is UTC if
//!                          # not named and no offset (%z) is in the cell
//! gross_micros = { column = "total", unit = "units" }
//!                          # a decimal of whole units (default) or of "cents", or "micros";
//!                          # decimal_mark = ","; product = ["quantity", "price"] multiplies;
//!                          # negated_for = ["refund"] turns the sign for events of these kinds
//! kind = { column = "invoice", starts_with = "C", then = "refund", else = "purchase" }
//!                          # equals, empty, is_zero, is_negative (with decimal_mark = "," for a column of
//!                          # such numbers) as below
//! # or:  { cases = [{ column = "type", equals = "sale", then = "purchase" }, …], else = "refund" }
//!
//! [attributes]                                    # as fields: constant, column or template
//! segment_id = { column = "segment" }
//!
//! [[skip_when]]                                   # rows to leave out, the first that holds counts
//! column = "customer"
//! empty = true             # or equals = "x" or ["x", "y"], starts_with = "x", is_zero = true,
//!                          # is_negative = true
//! reason = "no customer"   # in the summary
//!
//! [[skip_when]]                                   # events to leave out, by their amount
//! field = "gross_micros"
//! is_zero = true
//!
//! [group]                                         # rows with equal cells make one event
//! by = ["invoice", "customer"]
//! ```
//!
//! A quote opens a cell at its beginning only, and is doubled within. A quoted cell holds 1,048,576 bytes at most: where
//! the closing quote does not come by then, the file counts as damaged. A row in which text follows a closing quote is
//! refused.
//!
//! In a group amounts are summed exactly, `occurred_at` is the earliest, all else is from its first
//! row. Rows of a group need not be neighbours: the file is read to its end before the first event.
//! A row with a bad cell refuses its group; one with the wrong number of columns, whose group cannot
//! be told, is refused by itself. A time that a zone has twice is the earlier one; one it has
//! not is refused.

mod compile;
mod section;
mod value;

use std::collections::BTreeMap;

use super::decimal::Decimal;
use super::table::Cells;
use crate::codec::event_fields::Field;

pub(super) use compile::AMOUNTS;
pub(super) use section::{Columns, Section};
pub(super) use value::Money;
use value::{Choice, Instant};

/// Why a map cannot be used: the key, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct MapError {
    /// Dotted path, such as `fields.occurred_at.format`.
    pub key: String,
    pub message: String,
}

impl MapError {
    pub(super) fn new(key: &str, message: impl Into<String>) -> Self {
        Self { key: key.to_owned(), message: message.into() }
    }
}

/// What separates the cells of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delimiter {
    Byte(u8),
    Whitespace,
}

/// How characters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Latin1,
}

/// The form of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) delimiter: Delimiter,
    pub(super) has_header: bool,
    pub(super) encoding: Encoding,
}

impl Shape {
    pub(super) const CSV: Self =
        Self { delimiter: Delimiter::Byte(b','), has_header: true, encoding: Encoding::Utf8 };
    pub(super) const TSV: Self = Self { delimiter: Delimiter::Byte(b'\t'), ..Self::CSV };
}

/// A map, its columns found in the header.
#[derive(Debug, Clone)]
pub(super) struct Map {
    pub(super) fields: Vec<(Field, Rule)>,
    pub(super) attributes: Vec<(String, Text)>,
    pub(super) skips: Vec<Skip>,
    /// Columns whose cells tell the groups apart; empty: every row is an event.
    pub(super) group_by: Vec<usize>,
}

/// How a field comes about.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    Text(Text),
    Choice(Choice),
    Instant(Instant),
    Money(Money),
}

/// A text made of a row.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) pieces: Vec<Piece>,
    /// What each value becomes, and what becomes of others.
    pub(super) values: Option<Translation>,
}

/// What each value becomes, and what becomes of those not listed.
pub(super) type Translation = (BTreeMap<String, String>, Unlisted);

#[derive(Debug, Clone)]
pub(super) enum Piece {
    Literal(String),
    Column(usize),
    Row,
}

/// What becomes of a value that `values` does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlisted {
    Refuse,
    Keep,
    Drop,
}

/// Rows or events to leave out.
#[derive(Debug, Clone)]
pub(super) struct Skip {
    pub(super) subject: Subject,
    pub(super) test: Test,
    pub(super) reason: String,
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// The cell, row by row.
    Column(usize),
    /// The amount of this place (gross, proceeds, net) of the whole event.
    Amount(usize),
}

/// What a rule asks of a cell or an amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    Empty,
    Equals(Vec<String>),
    StartsWith(String),
    /// Of a number with this decimal mark.
    IsZero(char),
    IsNegative(char),
}

impl Test {
    pub(super) fn holds(&self, cell: &str) -> bool {
        let number = |mark, test: fn(Decimal) -> bool| Decimal::parse(cell, mark).is_some_and(test);
        match self {
            Self::Empty => cell.is_empty(),
            Self::Equals(texts) => texts.iter().any(|text| text == cell),
            Self::StartsWith(start) => cell.starts_with(start.as_str()),
            Self::IsZero(mark) => number(*mark, Decimal::is_zero),
            Self::IsNegative(mark) => number(*mark, Decimal::is_negative),
        }
    }

    pub(super) fn holds_for(&self, amount: Decimal) -> bool {
        match self {
            Self::IsZero(_) => amount.is_zero(),
            Self::IsNegative(_) => amount.is_negative(),
            Self::Empty | Self::Equals(_) | Self::StartsWith(_) => false,
        }
    }
}

impl Skip {
    /// Whether the row is left out.
    pub(super) fn holds(&self, cells: &Cells) -> bool {
        matches!(self.subject, Subject::Column(column) if self.test.holds(cells.get(column)))
    }
}

/// The form of the table, read before its header is.
pub(super) fn shape(map: &mut Section, usual: Shape) -> Result<Shape, MapError> {
    compile::shape(map, usual)
}

/// The rules, with the columns found.
pub(super) fn rules(map: Section, columns: &Columns) -> Result<Map, MapError> {
    compile::rules(map, columns)
}

/// The map of a table whose columns are the event's fields; the column that is none.
pub(super) fn identity(header: &[String]) -> Result<Map, String> {
    compile::identity(header)
}
