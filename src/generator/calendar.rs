//! When customers come, and what money is worth on a day.
//!
//! Both are integer functions of the day alone, so that no draw and no order changes them.

use crate::domain::time::{DAY_MICROS, Day};
use chrono::Datelike;

use super::catalog::{CURRENCIES, CurrencyInfo};

/// Installs by month of the year, per mille of the average.
const MONTHS: [u64; 12] = [1_180, 1_030, 960, 940, 930, 890, 870, 900, 1_010, 1_000, 1_080, 1_210];
/// Installs by day of the week from Monday, per mille of the average.
const WEEKDAYS: [u64; 7] = [950, 930, 940, 960, 1_020, 1_120, 1_080];
/// Installs by hour of the day in UTC, relative to each other.
pub(super) const HOURS: [u32; 24] = [
    40, 34, 28, 24, 20, 20, 24, 30, 36, 40, 42, 44, 46, 48, 50, 52, 54, 56, 60, 64, 66, 64, 58, 48,
];

/// How many customers install on each day: growth to three times the first day's pace, the
/// season and the day of the week.
#[derive(Debug)]
pub(super) struct InstallCurve {
    customers: u64,
    first_day: Day,
    days: u64,
    /// Of all of the `days` together.
    weight: u64,
    /// The next day to be asked for, and the weight of all days before it.
    next: u64,
    weight_before: u64,
}

impl InstallCurve {
    pub(super) fn new(customers: u32, first_day: Day, days: u32) -> Self {
        let days = u64::from(days);
        let weight = (0..days).map(|index| day_weight(first_day, days, index)).sum();
        let customers = u64::from(customers);
        Self { customers, first_day, days, weight, next: 0, weight_before: 0 }
    }

    /// Installs of the next day; over the asked `days` they sum to exactly the asked customers,
    /// and go on after them at the pace reached.
    pub(super) fn next_day(&mut self) -> u64 {
        let through = self.weight_before + day_weight(self.first_day, self.days, self.next);
        let installs_before = self.installs(self.weight_before);
        let installs = self.installs(through) - installs_before;
        self.weight_before = through;
        self.next += 1;
        installs
    }

    fn installs(&self, weight: u64) -> u64 {
        let share = u128::from(self.customers) * u128::from(weight) / u128::from(self.weight);
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

fn day_weight(first_day: Day, days: u64, index: u64) -> u64 {
    let offset = i32::try_from(index).unwrap_or(i32::MAX);
    let date = Day(first_day.0.saturating_add(offset)).date();
    let month = MONTHS[usize::try_from(date.month0()).unwrap_or(0)];
    let weekday = WEEKDAYS[usize::try_from(date.weekday().num_days_from_monday()).unwrap_or(0)];
    let growth = 1_000 + 2_000 * index.min(days) / days;
    growth * month * weekday / 1_000_000
}

/// The rates of one day as decimal texts, made anew when the day changes.
#[derive(Debug, Default)]
pub(super) struct RateBoard {
    day: Option<i64>,
    texts: [String; CURRENCIES.len()],
}

impl RateBoard {
    /// US dollars for one unit of the currency at this instant.
    pub(super) fn text(&mut self, currency: usize, at_micros: i64) -> &str {
        let day = at_micros.div_euclid(DAY_MICROS);
        if self.day != Some(day) {
            self.day = Some(day);
            for (text, info) in self.texts.iter_mut().zip(&CURRENCIES) {
                *text = rate_text(info, day);
            }
        }
        &self.texts[currency]
    }
}

fn rate_text(info: &CurrencyInfo, day: i64) -> String {
    if info.rate_decimals == 0 {
        return info.rate_mantissa.to_string();
    }
    let phase = i64::from(info.code.as_bytes()[0]) * 31 + i64::from(info.code.as_bytes()[1]) * 7;
    // Two slow waves and a daily tremble, in parts of 10,000 of the middle rate.
    let moved = wave(day + phase, 411, 450) + wave(day + phase * 3, 97, 120) + tremble(day, phase);
    let mantissa = info.rate_mantissa * (10_000 + moved) / 10_000;
    let unit = 10i64.pow(u32::try_from(info.rate_decimals).unwrap_or(0));
    format!("{}.{:0width$}", mantissa / unit, mantissa % unit, width = info.rate_decimals)
}

/// A triangle between `-height` and `height`.
fn wave(day: i64, length: i64, height: i64) -> i64 {
    let position = day.rem_euclid(length) * 4 * height / length;
    (position - 2 * height).abs() - height
}

/// A number from -8 to 8 that differs from day to day without a pattern to see.
fn tremble(day: i64, phase: i64) -> i64 {
    let mixed = (day.rem_euclid(1_000_003) * 7_919 + phase) % 1_000_003;
    (mixed * mixed % 1_000_003) % 17 - 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Rate;

    #[test]
    fn the_days_share_out_exactly_the_customers() {
        for (customers, days) in [(1, 1), (10, 730), (10_000, 730), (999_983, 365)] {
            let mut curve = InstallCurve::new(customers, Day(19_723), days);
            let counts: Vec<u64> = (0..days).map(|_| curve.next_day()).collect();
            assert_eq!(counts.iter().sum::<u64>(), u64::from(customers));
        }
    }

    #[test]
    fn the_business_grows_and_weekends_are_strong() {
        let mut curve = InstallCurve::new(1_000_000, Day(19_723), 730);
        let counts: Vec<u64> = (0..730).map(|_| curve.next_day()).collect();
        let year = |from: usize| counts[from..from + 365].iter().sum::<u64>();
        assert!(year(365) * 10 > year(0) * 14);
        // 2024-01-06 was a Saturday, 2024-01-09 a Tuesday.
        assert!(counts[5] > counts[8]);
        // The pace reached goes on.
        let after: u64 = (0..365).map(|_| curve.next_day()).sum();
        assert!(after > year(365));
    }

    #[test]
    fn rates_are_valid_decimals_that_move_slowly_around_their_middle() {
        for info in &CURRENCIES {
            let mut before = 0;
            for day in 19_723..20_823 {
                let text = rate_text(info, day);
                assert!(text.parse::<Rate>().is_ok(), "{text}");
                let digits: i64 = text.replace('.', "").parse().unwrap();
                assert!((digits - info.rate_mantissa).abs() * 100 <= info.rate_mantissa * 6);
                if before > 0 {
                    assert!((digits - before).abs() * 1_000 <= before * 12, "{} {text}", info.code);
                }
                before = digits;
            }
        }
    }
}
