//! Periods that end on a day and reach back from it, latest first, without gaps or overlaps.

use chrono::Months;

use crate::domain::time::Day;

/// The most periods of one question.
pub const PERIODS_MAX: u32 = 1_000;
/// How far periods may reach back, in years.
pub const REACH_YEARS: u32 = 100;

/// What the length of a period is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeriodUnit {
    Day,
    Week,
    Month,
    Year,
}

impl PeriodUnit {
    /// `count` units before a day; in months and years the day is cut to the month's length.
    fn before(self, day: Day, count: u32) -> Option<Day> {
        let days = |length: u32| {
            let days = i32::try_from(count.checked_mul(length)?).ok()?;
            day.0.checked_sub(days).map(Day)
        };
        let months = |length: u32| {
            let months = Months::new(count.checked_mul(length)?);
            day.date().checked_sub_months(months).map(Day::of)
        };
        match self {
            Self::Day => days(1),
            Self::Week => days(7),
            Self::Month => months(1),
            Self::Year => months(12),
        }
    }
}

/// Some days; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub start: Day,
    pub end: Day,
}

/// Why there are no such periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPeriods {
    #[error("no more than {PERIODS_MAX} periods may be asked")]
    TooMany,
    #[error("periods may not reach back more than {REACH_YEARS} years")]
    TooFarBack,
}

/// `count` periods of `length` units, the latest ending on `last`, and the one before them all.
///
/// Every period is reckoned from the day after `last`, never from its neighbour, so that months
/// cut to their length do not drift.
pub fn periods(
    last: Day,
    unit: PeriodUnit,
    length: u32,
    count: u32,
) -> Result<Vec<Period>, InvalidPeriods> {
    if count > PERIODS_MAX {
        return Err(InvalidPeriods::TooMany);
    }
    let after = Day(last.0.saturating_add(1));
    let back = |number: u32| unit.before(after, number.checked_mul(length)?);
    let reach = PeriodUnit::Year.before(after, REACH_YEARS).ok_or(InvalidPeriods::TooFarBack)?;
    if back(count).is_none_or(|start| start < reach) {
        return Err(InvalidPeriods::TooFarBack);
    }
    let starts: Option<Vec<Day>> = (0..=count.saturating_add(1)).map(back).collect();
    let starts = starts.ok_or(InvalidPeriods::TooFarBack)?;
    let neighbours = starts.windows(2);
    Ok(neighbours.map(|pair| Period { start: pair[1], end: Day(pair[0].0 - 1) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(last: &str, unit: PeriodUnit, length: u32, count: u32) -> Vec<String> {
        let periods = periods(last.parse().unwrap(), unit, length, count).unwrap();
        assert_eq!(periods.len(), usize::try_from(count).unwrap() + 1);
        periods.iter().map(|period| format!("{}..{}", period.start, period.end)).collect()
    }

    #[test]
    fn periods_are_reckoned_from_the_day_after_the_last() {
        use PeriodUnit::{Day, Month, Week, Year};
        for (last, unit, length, expected) in [
            ("2021-10-31", Month, 1, &["2021-10-01..2021-10-31", "2021-09-01..2021-09-30"][..]),
            ("2022-12-31", Year, 1, &["2022-01-01..2022-12-31"]),
            ("2021-06-15", Month, 1, &["2021-05-16..2021-06-15", "2021-04-16..2021-05-15"]),
            (
                "2021-03-30",
                Month,
                1,
                &["2021-02-28..2021-03-30", "2021-01-31..2021-02-27", "2020-12-31..2021-01-30"],
            ),
            ("2024-02-29", Year, 1, &["2023-03-01..2024-02-29", "2022-03-01..2023-02-28"]),
            ("2024-03-10", Week, 2, &["2024-02-26..2024-03-10", "2024-02-12..2024-02-25"]),
            ("2024-03-10", Day, 7, &["2024-03-04..2024-03-10", "2024-02-26..2024-03-03"]),
            ("2024-03-31", Month, 3, &["2024-01-01..2024-03-31", "2023-10-01..2023-12-31"]),
        ] {
            let count = u32::try_from(expected.len()).unwrap();
            let all = shown(last, unit, length, count);
            assert_eq!(all[..expected.len()], *expected, "{last} {unit:?} {length}");
        }
    }

    #[test]
    fn too_many_and_too_far_back_are_refused() {
        let last: Day = "2024-02-29".parse().unwrap();
        let ask = |unit, length, count| periods(last, unit, length, count).map(|all| all.len());
        assert_eq!(ask(PeriodUnit::Day, 1, 1_000), Ok(1_001));
        assert_eq!(ask(PeriodUnit::Day, 1, 1_001), Err(InvalidPeriods::TooMany));
        assert_eq!(ask(PeriodUnit::Year, 1, 100), Ok(101));
        assert_eq!(ask(PeriodUnit::Year, 100, 1), Ok(2));
        assert_eq!(ask(PeriodUnit::Month, 1, 1_000), Ok(1_001));
        for (unit, length, count) in [
            (PeriodUnit::Year, 101, 1),
            (PeriodUnit::Month, 1_201, 1),
            (PeriodUnit::Day, u32::MAX, 1_000),
            (PeriodUnit::Week, u32::MAX, 1),
            (PeriodUnit::Year, u32::MAX / 2, 1),
        ] {
            assert_eq!(ask(unit, length, count), Err(InvalidPeriods::TooFarBack), "{unit:?}");
        }
    }
}
