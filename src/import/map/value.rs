//! What a rule of the map makes of a row: texts, kinds, instants and amounts.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use super::{Piece, Test, Text, Unlisted};
use crate::domain::event::FieldError;
use crate::domain::time::Timestamp;
use crate::import::decimal::Decimal;
use crate::import::table::Cells;

impl Text {
    /// The text of a row; `None` when it is empty or dropped.
    pub(in crate::import) fn read(
        &self,
        field: &'static str,
        cells: &Cells,
    ) -> Result<Option<String>, FieldError> {
        let text = self.join(cells);
        if text.is_empty() {
            return Ok(None);
        }
        let Some((values, unlisted)) = &self.values else {
            return Ok(Some(text.into_owned()));
        };
        match (values.get(&*text), unlisted) {
            (Some(value), _) => Ok(Some(value.clone()).filter(|value| !value.is_empty())),
            (None, Unlisted::Keep) => Ok(Some(text.into_owned())),
            (None, Unlisted::Drop) => Ok(None),
            (None, Unlisted::Refuse) => {
                Err(FieldError::invalid(field, "one of the values the map lists", text))
            }
        }
    }

    fn join<'c>(&'c self, cells: &'c Cells) -> Cow<'c, str> {
        let piece = |piece: &'c Piece| match piece {
            Piece::Literal(text) => Cow::Borrowed(text.as_str()),
            Piece::Column(column) => Cow::Borrowed(cells.get(*column)),
            Piece::Row => Cow::Owned(cells.row.to_string()),
        };
        match self.pieces.as_slice() {
            [single] => piece(single),
            pieces => Cow::Owned(pieces.iter().map(piece).collect()),
        }
    }
}

/// One of several texts, by the first test that holds.
#[derive(Debug, Clone)]
pub(in crate::import) struct Choice {
    pub(in crate::import) cases: Vec<Case>,
    /// `None`: a row for which no case holds is refused.
    pub(in crate::import) otherwise: Option<String>,
}

#[derive(Debug, Clone)]
pub(in crate::import) struct Case {
    pub(in crate::import) column: usize,
    pub(in crate::import) test: Test,
    pub(in crate::import) then: String,
}

impl Choice {
    pub(in crate::import) fn read(
        &self,
        field: &'static str,
        cells: &Cells,
    ) -> Result<Option<String>, FieldError> {
        let case = self.cases.iter().find(|case| case.test.holds(cells.get(case.column)));
        match case.map(|case| &case.then).or(self.otherwise.as_ref()) {
            Some(text) => Ok(Some(text.clone())),
            None => {
                let cell = self.cases.first().map_or("", |case| cells.get(case.column));
                Err(FieldError::invalid(field, "a case of the map", cell))
            }
        }
    }
}

/// How an instant is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) enum TimeFormat {
    Rfc3339,
    /// RFC 3339 or microseconds, as in a JSON event.
    Event,
    /// An integer of so many microseconds each since 1970.
    Epoch(i64),
    /// By strftime, with an offset in the text.
    Offset(String),
    /// By strftime, in the map's zone.
    Local(String),
    /// By strftime, midnight in the map's zone.
    Date(String),
}

/// An instant of a row.
#[derive(Debug, Clone)]
pub(in crate::import) struct Instant {
    pub(in crate::import) text: Text,
    pub(in crate::import) format: TimeFormat,
    pub(in crate::import) zone: Tz,
}

impl Instant {
    pub(in crate::import) fn read(
        &self,
        field: &'static str,
        cells: &Cells,
    ) -> Result<Option<Timestamp>, FieldError> {
        let Some(text) = self.text.read(field, cells)? else {
            return Ok(None);
        };
        let instant = self.parse(&text);
        instant.map(Some).ok_or_else(|| FieldError::invalid(field, &self.expected(), text))
    }

    fn parse(&self, text: &str) -> Option<Timestamp> {
        match &self.format {
            TimeFormat::Rfc3339 => Timestamp::parse_rfc3339(text),
            TimeFormat::Event => {
                text.parse().ok().map(Timestamp).or_else(|| Timestamp::parse_rfc3339(text))
            }
            TimeFormat::Epoch(micros) => {
                text.parse::<i64>().ok()?.checked_mul(*micros).map(Timestamp)
            }
            TimeFormat::Offset(format) => {
                let at = DateTime::parse_from_str(text, format).ok()?;
                Some(Timestamp(at.timestamp_micros()))
            }
            TimeFormat::Local(format) => {
                self.in_zone(NaiveDateTime::parse_from_str(text, format).ok()?)
            }
            TimeFormat::Date(format) => {
                self.start_of(NaiveDate::parse_from_str(text, format).ok()?)
            }
        }
    }

    /// The first instant of a day; where clocks go forward at midnight it is not midnight.
    fn start_of(&self, day: NaiveDate) -> Option<Timestamp> {
        let minutes = (0..24).flat_map(|hour| (0..60).map(move |minute| (hour, minute)));
        let mut times = minutes.filter_map(|(hour, minute)| day.and_hms_opt(hour, minute, 0));
        times.find_map(|local| self.in_zone(local))
    }

    fn in_zone(&self, local: NaiveDateTime) -> Option<Timestamp> {
        let at = self.zone.from_local_datetime(&local).earliest()?;
        Some(Timestamp(at.timestamp_micros()))
    }

    fn expected(&self) -> String {
        match &self.format {
            TimeFormat::Rfc3339 => "an RFC 3339 time with an offset".to_owned(),
            TimeFormat::Event => "an RFC 3339 time with an offset or epoch microseconds".to_owned(),
            TimeFormat::Epoch(_) => "an integer since 1970".to_owned(),
            TimeFormat::Offset(format) => format!("a time of the form {format}"),
            TimeFormat::Local(format) | TimeFormat::Date(format) => {
                format!("a time of the form {format} that {} has", self.zone.name())
            }
        }
    }
}

/// An amount of a row: a number, or a product of numbers.
#[derive(Debug, Clone)]
pub(in crate::import) struct Money {
    pub(in crate::import) factors: Vec<Text>,
    /// Places from the written unit to micro-units: 6 from units, 4 from cents, 0 from micros.
    pub(in crate::import) places: u32,
    pub(in crate::import) decimal_mark: char,
    /// Kinds of events for which the sign is turned.
    pub(in crate::import) negated_for: Vec<String>,
}

impl Money {
    /// In the written unit; `None` when a cell is empty.
    pub(in crate::import) fn read(
        &self,
        field: &'static str,
        cells: &Cells,
    ) -> Result<Option<Decimal>, FieldError> {
        let mut product = Decimal::ONE;
        for factor in &self.factors {
            let Some(text) = factor.read(field, cells)? else {
                return Ok(None);
            };
            let number = Decimal::parse(&text, self.decimal_mark);
            let times = number.and_then(|number| product.times(number));
            product =
                times.ok_or_else(|| FieldError::invalid(field, "made of decimal numbers", text))?;
        }
        Ok(Some(product))
    }

    /// Micro-units, for an event of this kind.
    pub(in crate::import) fn micros(
        &self,
        field: &'static str,
        amount: Decimal,
        kind: &str,
    ) -> Result<i64, FieldError> {
        let turned = self.negated_for.iter().any(|negated| negated == kind);
        let amount = if turned { amount.negated() } else { amount };
        amount.scaled(self.places).ok_or_else(|| {
            FieldError::invalid(field, "an amount of whole millionths of a unit", amount)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_with_its_first_instant_where_clocks_go_forward_at_midnight() {
        let start_of = |zone: &str, day: &str| {
            let text = Text { pieces: Vec::new(), values: None };
            let format = TimeFormat::Date("%F".to_owned());
            let instant = Instant { text, format, zone: zone.parse().unwrap() };
            instant.parse(day).map(Timestamp::to_rfc3339)
        };
        for (zone, day, at) in [
            ("America/Sao_Paulo", "2017-10-15", Some("2017-10-15T03:00:00Z")),
            ("America/Sao_Paulo", "2017-10-16", Some("2017-10-16T02:00:00Z")),
            ("Europe/Berlin", "2024-03-31", Some("2024-03-30T23:00:00Z")),
            // Samoa had no such day.
            ("Pacific/Apia", "2011-12-30", None),
        ] {
            assert_eq!(start_of(zone, day).as_deref(), at, "{zone} {day}");
        }
    }
}
