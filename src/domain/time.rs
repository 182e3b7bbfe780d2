//! Instants, days of a zone, and the calendar buckets that cohorts are made of.
//!
//! The program never asks what time it is here: an instant comes in an event or in a question.
//! Days are counted from 1970-01-01, which is day 0.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, TimeZone, Utc};

/// Microseconds in a day of 24 hours.
pub const DAY_MICROS: i64 = 86_400_000_000;

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

/// Latest instant an event may name: the end of the year 9999 in UTC.
pub const TIMESTAMP_MAX: Timestamp = Timestamp(253_402_300_799_999_999);

impl Timestamp {
    /// Reads an RFC 3339 text with an offset; fractions below a microsecond are cut.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at = DateTime::parse_from_rfc3339(text).ok()?;
        Some(Self(at.timestamp_micros()))
    }

    /// The instant as RFC 3339 in UTC, with as many decimals as it needs.
    pub fn to_rfc3339(self) -> String {
        match Utc.timestamp_micros(self.0).single() {
            Some(at) => at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            None => format!("{}us", self.0),
        }
    }

    /// The day of the instant in UTC.
    pub fn utc_day(self) -> Day {
        let days = self.0.div_euclid(DAY_MICROS);
        Day(i32::try_from(days).unwrap_or(if days < 0 { Day::MIN.0 } else { Day::MAX.0 }))
    }
}

/// A calendar day of some zone: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Day(pub i32);

impl Day {
    /// Earlier than every real day; also written as "no such day" in facts.
    pub const MIN: Self = Self(i32::MIN);
    /// Later than every real day.
    pub const MAX: Self = Self(i32::MAX);

    /// The day as a calendar date; days outside the calendar's range are cut to its ends.
    pub fn date(self) -> NaiveDate {
        NaiveDate::from_epoch_days(self.0).unwrap_or(if self.0 < 0 {
            NaiveDate::MIN
        } else {
            NaiveDate::MAX
        })
    }

    /// The day of a calendar date.
    pub fn of(date: NaiveDate) -> Self {
        Self(date.to_epoch_days())
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.date())
    }
}

/// The text is not a date `YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a date of the form YYYY-MM-DD")]
pub struct InvalidDay(pub String);

impl FromStr for Day {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDay(text.to_owned());
        // chrono would read a sign as part of the year.
        let is_digit = |(place, byte): (usize, u8)| byte.is_ascii_digit() || matches!(place, 4 | 7);
        if text.len() != 10 || !text.bytes().enumerate().all(is_digit) {
            return Err(invalid());
        }
        NaiveDate::parse_from_str(text, "%Y-%m-%d").map(Self::of).map_err(|_| invalid())
    }
}

/// A reporting zone: an IANA name with its daylight-saving history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(chrono_tz::Tz);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(chrono_tz::Tz::UTC);

    /// The IANA name.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// The calendar day on which `at` falls in this zone.
    pub fn day(&self, at: Timestamp) -> Day {
        if self.0 == chrono_tz::Tz::UTC {
            return at.utc_day();
        }
        match Utc.timestamp_micros(at.0).single() {
            Some(utc) => Day::of(utc.with_timezone(&self.0).date_naive()),
            None => at.utc_day(),
        }
    }
}

/// The name is not in the IANA time zone database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an IANA time zone")]
pub struct UnknownZone(pub String);

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| UnknownZone(text.to_owned()))
    }
}

/// The length of a cohort or of a calendar bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Width {
    /// All widths, shortest first.
    pub const ALL: [Self; 5] = [Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// The name used in settings, questions and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// Ordinal of the bucket that holds `day`; consecutive buckets have consecutive ordinals.
    ///
    /// Weeks start on Monday.
    pub fn ordinal(self, day: Day) -> i32 {
        match self {
            Self::Day => day.0,
            // Day 0 was a Thursday; day -3 a Monday.
            Self::Week => (day.0.saturating_add(3)).div_euclid(7),
            Self::Month => months(day),
            Self::Quarter => months(day).div_euclid(3),
            Self::Year => day.date().year(),
        }
    }

    /// First day of the bucket with this ordinal.
    pub fn first_day(self, ordinal: i32) -> Day {
        match self {
            Self::Day => Day(ordinal),
            Self::Week => Day(ordinal.saturating_mul(7).saturating_sub(3)),
            Self::Month => first_of_month(ordinal),
            Self::Quarter => first_of_month(ordinal.saturating_mul(3)),
            Self::Year => first_of_month(ordinal.saturating_mul(12)),
        }
    }

    /// First day of the bucket that holds `day`.
    pub fn start(self, day: Day) -> Day {
        self.first_day(self.ordinal(day))
    }

    /// Last day of the bucket that holds `day`.
    pub fn end(self, day: Day) -> Day {
        Day(self.first_day(self.ordinal(day).saturating_add(1)).0.saturating_sub(1))
    }
}

impl FromStr for Width {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|width| width.name() == text).ok_or(())
    }
}

/// Months since year 0.
fn months(day: Day) -> i32 {
    let date = day.date();
    date.year() * 12 + i32::try_from(date.month0()).unwrap_or(0)
}

fn first_of_month(months: i32) -> Day {
    let month = u32::try_from(months.rem_euclid(12)).unwrap_or(0) + 1;
    NaiveDate::from_ymd_opt(months.div_euclid(12), month, 1).map_or(Day::MAX, Day::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    #[test]
    fn buckets_start_and_end_where_the_calendar_says() {
        for (width, of, start, end) in [
            (Width::Day, "2024-02-29", "2024-02-29", "2024-02-29"),
            (Width::Week, "2024-02-29", "2024-02-26", "2024-03-03"),
            (Width::Week, "1969-12-31", "1969-12-29", "1970-01-04"),
            (Width::Month, "2024-02-29", "2024-02-01", "2024-02-29"),
            (Width::Quarter, "2024-05-01", "2024-04-01", "2024-06-30"),
            (Width::Year, "2024-05-01", "2024-01-01", "2024-12-31"),
        ] {
            assert_eq!(width.start(day(of)), day(start), "{width:?} {of}");
            assert_eq!(width.end(day(of)), day(end), "{width:?} {of}");
        }
    }

    #[test]
    fn a_day_is_digits_only() {
        assert_eq!("2024-02-29".parse::<Day>().map(|day| day.to_string()), Ok("2024-02-29".into()));
        for text in ["+020-02-29", "-001-02-28", "2023-02-29", "2024-2-029", "2024-02-2", ""] {
            assert_eq!(text.parse::<Day>(), Err(InvalidDay(text.to_owned())));
        }
    }

    #[test]
    fn a_day_belongs_to_a_zone() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        let late = Timestamp::parse_rfc3339("2024-03-30T23:30:00Z").unwrap();
        assert_eq!(Zone::UTC.day(late), day("2024-03-30"));
        assert_eq!(berlin.day(late), day("2024-03-31"));
        let summer = Timestamp::parse_rfc3339("2024-03-31T22:30:00Z").unwrap();
        assert_eq!(berlin.day(summer), day("2024-04-01"));
        assert!("Mars/Base".parse::<Zone>().is_err());
    }

    #[test]
    fn instants_before_1970_fall_on_the_right_day() {
        assert_eq!(Timestamp(-1).utc_day(), Day(-1));
        assert_eq!(Timestamp(0).utc_day(), Day(0));
    }
}
