//! Parameters as Codat's clients send them.

use chrono::{DateTime, NaiveDateTime};

use crate::domain::time::Day;
use crate::http::compat::{BadParameter, CompatError, Given};
use crate::http::parameters::{Parameter, Shape, documented_parameters};
use crate::metrics_api::commerce_periods::{
    InvalidPeriods, PERIODS_MAX, Period, PeriodUnit, REACH_YEARS, periods,
};

const UNITS: [(&str, PeriodUnit); 4] = [
    ("Day", PeriodUnit::Day),
    ("Week", PeriodUnit::Week),
    ("Month", PeriodUnit::Month),
    ("Year", PeriodUnit::Year),
];

const REPORT_DATE: &str = "a date YYYY-MM-DD or DD-MM-YYYY, or a datetime as in RFC 3339";
const UNIT: &str = "one of Day, Week, Month, Year";
const POSITIVE: &str = "a whole number above 0";
const BOOLEAN: &str = "true or false";

/// What the path takes.
pub const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "reportDate",
        is_required: true,
        shape: Shape::Text(REPORT_DATE),
        about: "The last day of the latest period, a date YYYY-MM-DD or DD-MM-YYYY or \
                an RFC 3339 datetime, of which the date as written counts.",
    },
    Parameter {
        name: "periodUnit",
        is_required: true,
        shape: Shape::Choice(|| UNITS.iter().map(|(name, _)| *name).collect()),
        about: "What the length of a period is counted in.",
    },
    Parameter {
        name: "periodLength",
        is_required: true,
        shape: Shape::Integer(1, u32::MAX as u64),
        about: "Units in a period.",
    },
    Parameter {
        name: "numberOfPeriods",
        is_required: true,
        shape: Shape::Integer(1, PERIODS_MAX as u64),
        about: "Periods in the report.",
    },
    Parameter {
        name: "includeDisplayNames",
        is_required: false,
        shape: Shape::Choice(|| vec!["true", "false"]),
        about: "Whether figures carry the names of their dimensions and measures; false if absent.",
    },
];

documented_parameters!(CodatParameters, PARAMETERS, has_filters: false);

/// What is asked of a metric.
pub struct Asked {
    /// Latest first; last the period before them all, which is not shown.
    pub periods: Vec<Period>,
    pub has_names: bool,
}

impl Asked {
    /// Reads the parameters; all that are wrong are told at once.
    pub fn read(given: &Given) -> Result<Self, CompatError> {
        let mut wrong = Vec::new();
        let date = required(given, &mut wrong, "reportDate", REPORT_DATE, report_date);
        let unit = required(given, &mut wrong, "periodUnit", UNIT, |text| {
            UNITS.iter().find(|(name, _)| *name == text).map(|(_, unit)| *unit)
        });
        let length = required(given, &mut wrong, "periodLength", POSITIVE, positive);
        let count = required(given, &mut wrong, "numberOfPeriods", POSITIVE, positive);
        let has_names = match given.text("includeDisplayNames") {
            None => Some(false),
            Some(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Some(text) => {
                wrong.push(BadParameter::wrong("includeDisplayNames", BOOLEAN, text));
                None
            }
        };
        let (Some(date), Some(unit), Some(length), Some(count), Some(has_names)) =
            (date, unit, length, count, has_names)
        else {
            return Err(CompatError::BadParameters(wrong));
        };
        let periods = periods(date, unit, length, count);
        let periods = periods.map_err(|error| bad_reach(error, (length, count)))?;
        Ok(Self { periods, has_names })
    }

    /// The periods of the report.
    pub fn shown_periods(&self) -> &[Period] {
        self.periods.split_last().map_or(&[], |(_, shown)| shown)
    }
}

fn bad_reach(error: InvalidPeriods, (length, count): (u32, u32)) -> CompatError {
    CompatError::bad_parameter(match error {
        InvalidPeriods::TooMany => {
            let expected = format!("no more than {PERIODS_MAX}");
            BadParameter::wrong("numberOfPeriods", expected, &count.to_string())
        }
        InvalidPeriods::TooFarBack => {
            let expected = format!("short enough for a reach of {REACH_YEARS} years");
            BadParameter::wrong("periodLength", expected, &length.to_string())
        }
    })
}

fn required<T>(
    given: &Given,
    wrong: &mut Vec<BadParameter>,
    name: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let Some(text) = given.text(name).filter(|text| !text.is_empty()) else {
        wrong.push(BadParameter::missing(name, expected));
        return None;
    };
    let value = parse(text);
    if value.is_none() {
        wrong.push(BadParameter::wrong(name, expected, text));
    }
    value
}

fn positive(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && *number > 0)
}

/// The date as written, whatever the zone.
fn report_date(text: &str) -> Option<Day> {
    let (date, time) = text.split_at_checked(10)?;
    if !time.is_empty() {
        let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
        let is_local = forms.iter().any(|form| NaiveDateTime::parse_from_str(text, form).is_ok());
        if !is_local && DateTime::parse_from_rfc3339(text).is_err() {
            return None;
        }
    }
    let parts: Vec<&str> = date.split('-').collect();
    if !parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    match parts[..] {
        [year, month, _] if (year.len(), month.len()) == (4, 2) => date.parse().ok(),
        [day, month, year] if (day.len(), month.len()) == (2, 2) && time.is_empty() => {
            format!("{year}-{month}-{day}").parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_date_has_many_forms_and_means_the_day_as_written() {
        for text in [
            "2020-09-29",
            "29-09-2020",
            "2020-09-29T23:59:59Z",
            "2020-09-29T00:00:00",
            "2020-09-29T00:00:00.000Z",
            "2020-09-29T23:30:00-05:00",
            "2020-09-29T00:30:00+05:00",
            "2020-09-29 12:00:00",
            "2020-09-29T12:00",
        ] {
            assert_eq!(report_date(text).map(|day| day.to_string()).as_deref(), Some("2020-09-29"));
        }
        for text in [
            "",
            "2020-9-29",
            "29/09/2020",
            "2020-02-30",
            "31-02-2020",
            "+020-09-29",
            "é-a-b-c-d",
            "2020é0929a",
            "29-09-2020T00:00:00",
            "2020-09-29T25:00:00",
            "today",
            "2020-09-29T",
        ] {
            assert_eq!(report_date(text), None, "{text}");
        }
    }
}
