//! How long a payment lasts: whole days, weeks, months or years.
//!
//! Months are added in the UTC calendar, the day cut to the month's length, counted from the
//! payment itself, as `spec/decisions.md` settles.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Months, Utc};

use super::time::{DAY_MICROS, TIMESTAMP_MAX, Timestamp};

/// The unit of a [`Period`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeriodUnit {
    Day,
    Week,
    Month,
    Year,
}

/// A length of `count` whole units, from one unit up to 9,999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period {
    pub count: u16,
    pub unit: PeriodUnit,
}

/// The text is not an ISO 8601 duration of 1 to 9,999 days, weeks, months or years.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not an ISO 8601 duration of 1 to 9999 days, weeks, months or years, such as P1M"
)]
pub struct InvalidPeriod(pub String);

impl Period {
    /// The instant at which a period that starts at `from` is over; never after the year 9999.
    pub fn end(self, from: Timestamp) -> Timestamp {
        let count = i64::from(self.count);
        let end = match self.unit {
            PeriodUnit::Day => from.0.checked_add(count * DAY_MICROS),
            PeriodUnit::Week => from.0.checked_add(count * 7 * DAY_MICROS),
            PeriodUnit::Month => add_months(from, u32::from(self.count)),
            PeriodUnit::Year => add_months(from, u32::from(self.count) * 12),
        };
        Timestamp(end.unwrap_or(TIMESTAMP_MAX.0)).min(TIMESTAMP_MAX)
    }

    /// What one month is of the period, as a fraction `(numerator, denominator)`.
    ///
    /// Weeks count as 12/52 of a month, days as 12/364, as ChartMogul and Adapty do.
    pub fn per_month(self) -> (i64, i64) {
        let count = i64::from(self.count);
        match self.unit {
            PeriodUnit::Day => (364, 12 * count),
            PeriodUnit::Week => (52, 12 * count),
            PeriodUnit::Month => (1, count),
            PeriodUnit::Year => (1, 12 * count),
        }
    }

    /// The name by which filters and segments know the length.
    pub fn duration_name(self) -> &'static str {
        match (self.count, self.unit) {
            (1, PeriodUnit::Week) | (7, PeriodUnit::Day) => "Weekly",
            (1, PeriodUnit::Month) => "Monthly",
            (2, PeriodUnit::Month) => "2 months",
            (3, PeriodUnit::Month) => "3 months",
            (6, PeriodUnit::Month) => "6 months",
            (1, PeriodUnit::Year) | (12, PeriodUnit::Month) => "Annual",
            _ => UNCATEGORIZED,
        }
    }
}

/// The duration of one-time purchases and of unusual periods.
pub const UNCATEGORIZED: &str = "Uncategorized";

/// All names of durations.
pub const DURATION_NAMES: [&str; 7] =
    ["Weekly", "Monthly", "2 months", "3 months", "6 months", "Annual", UNCATEGORIZED];

fn add_months(from: Timestamp, months: u32) -> Option<i64> {
    let start = DateTime::<Utc>::from_timestamp_micros(from.0)?;
    Some(start.checked_add_months(Months::new(months))?.timestamp_micros())
}

impl FromStr for Period {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPeriod(text.to_owned());
        let body = text.strip_prefix('P').ok_or_else(invalid)?;
        let unit = match body.as_bytes().last() {
            Some(b'D') => PeriodUnit::Day,
            Some(b'W') => PeriodUnit::Week,
            Some(b'M') => PeriodUnit::Month,
            Some(b'Y') => PeriodUnit::Year,
            _ => return Err(invalid()),
        };
        let digits = &body[..body.len() - 1];
        if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        match digits.parse() {
            Ok(count) if count > 0 => Ok(Self { count, unit }),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            PeriodUnit::Day => 'D',
            PeriodUnit::Week => 'W',
            PeriodUnit::Month => 'M',
            PeriodUnit::Year => 'Y',
        };
        write!(f, "P{}{unit}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_durations_are_those_that_periods_have() {
        let periods = ["P1W", "P7D", "P1M", "P2M", "P3M", "P6M", "P1Y", "P12M", "P5D", "P2Y"];
        let mut names: Vec<_> =
            periods.iter().map(|text| text.parse::<Period>().unwrap().duration_name()).collect();
        names.dedup();
        assert_eq!(names, DURATION_NAMES);
    }

    fn end(period: &str, from: &str) -> String {
        let from = Timestamp::parse_rfc3339(from).unwrap();
        period.parse::<Period>().unwrap().end(from).to_rfc3339()
    }

    #[test]
    fn months_are_cut_to_their_length_and_counted_from_the_payment() {
        assert_eq!(end("P1M", "2024-01-31T10:00:00Z"), "2024-02-29T10:00:00Z");
        assert_eq!(end("P2M", "2024-01-31T10:00:00Z"), "2024-03-31T10:00:00Z");
        assert_eq!(end("P1Y", "2024-02-29T00:00:00Z"), "2025-02-28T00:00:00Z");
        assert_eq!(end("P1W", "2024-02-29T00:00:00Z"), "2024-03-07T00:00:00Z");
        assert_eq!(end("P9999Y", "2024-02-29T00:00:00Z"), TIMESTAMP_MAX.to_rfc3339());
    }

    #[test]
    fn only_whole_days_weeks_months_and_years_are_periods() {
        for text in ["P1D", "P2W", "P12M", "P1Y"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        for text in ["", "P", "P0M", "1M", "P1M1D", "PT1H", "P1.5M", "p1m", "P-1M", "P10000D"] {
            assert!(text.parse::<Period>().is_err(), "{text} must be refused");
        }
    }
}
