//! Days of a zone, buckets of days, and the lengths of periods.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};
use chrono_tz::Tz;
use serde_json::Value;

/// Microseconds of 24 hours.
pub const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// The last microsecond of the year 9999 in UTC: no period ends later.
const LAST_US: i64 = 253_402_300_799_999_999;

/// Epoch microseconds from RFC 3339 text or from a number that is that already.
pub fn instant(value: &Value) -> i64 {
    match value.as_str() {
        Some(text) => DateTime::parse_from_rfc3339(text).expect("RFC 3339").timestamp_micros(),
        None => value.as_i64().expect("epoch microseconds"),
    }
}

fn utc(us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(us).expect("an instant of the calendar")
}

/// The calendar day of an instant in a zone.
pub fn day(us: i64, zone: Tz) -> NaiveDate {
    utc(us).with_timezone(&zone).date_naive()
}

/// Whole 24-hour days from one instant to another, rounded down.
pub fn elapsed_days(from: i64, to: i64) -> i64 {
    (to - from).div_euclid(DAY_US)
}

/// How far the calendar age of `at` runs ahead of its elapsed age.
pub fn slip(at: i64, anchor: i64, zone: Tz) -> i64 {
    (day(at, zone) - day(anchor, zone)).num_days() - elapsed_days(anchor, at)
}

/// A number of days, weeks, months or years (`D`, `W`, `M`, `Y`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub count: u32,
    pub unit: char,
}

impl Period {
    /// Reads `P1M` and the like.
    pub fn parse(text: &str) -> Self {
        let unit = text.chars().last().expect("a unit");
        Self { count: text[1..text.len() - 1].parse().expect("a count"), unit }
    }

    /// When a period that begins at this instant is over.
    pub fn end(self, from: i64) -> i64 {
        let end = match self.unit {
            'D' => from + i64::from(self.count) * DAY_US,
            'W' => from + i64::from(self.count) * 7 * DAY_US,
            'M' => (utc(from) + Months::new(self.count)).timestamp_micros(),
            _ => (utc(from) + Months::new(self.count * 12)).timestamp_micros(),
        };
        end.min(LAST_US)
    }

    /// The share of one month, as numerator and denominator.
    pub fn per_month(self) -> (i128, i128) {
        let count = i128::from(self.count);
        match self.unit {
            'D' => (364, 12 * count),
            'W' => (52, 12 * count),
            'M' => (1, count),
            _ => (1, 12 * count),
        }
    }

    /// The value of the dimension `duration`.
    pub fn duration(self) -> &'static str {
        match (self.count, self.unit) {
            (1, 'W') | (7, 'D') => "Weekly",
            (1, 'M') => "Monthly",
            (2, 'M') => "2 months",
            (3, 'M') => "3 months",
            (6, 'M') => "6 months",
            (12, 'M') | (1, 'Y') => "Annual",
            _ => "Uncategorized",
        }
    }
}

/// The width of a cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Width {
    /// First day of the bucket that holds the day; weeks begin on Monday.
    pub fn start(self, day: NaiveDate) -> NaiveDate {
        let first = |month0: u32| NaiveDate::from_ymd_opt(day.year(), month0 + 1, 1).unwrap();
        match self {
            Self::Day => day,
            Self::Week => day - Days::new(u64::from(day.weekday().num_days_from_monday())),
            Self::Month => first(day.month0()),
            Self::Quarter => first(day.month0() / 3 * 3),
            Self::Year => first(0),
        }
    }

    /// First day of the bucket so many buckets after the one that holds the day.
    pub fn later(self, day: NaiveDate, buckets: u32) -> NaiveDate {
        let start = self.start(day);
        match self {
            Self::Day => start + Days::new(u64::from(buckets)),
            Self::Week => start + Days::new(u64::from(buckets) * 7),
            Self::Month => start + Months::new(buckets),
            Self::Quarter => start + Months::new(buckets * 3),
            Self::Year => start + Months::new(buckets * 12),
        }
    }

    /// How many buckets `to` lies after `from`; negative before it.
    pub fn between(self, from: NaiveDate, to: NaiveDate) -> i64 {
        let (from, to) = (self.start(from), self.start(to));
        let months = i64::from(to.year() - from.year()) * 12 + i64::from(to.month0())
            - i64::from(from.month0());
        match self {
            Self::Day => (to - from).num_days(),
            Self::Week => (to - from).num_days() / 7,
            Self::Month => months,
            Self::Quarter => months / 3,
            Self::Year => months / 12,
        }
    }
}
