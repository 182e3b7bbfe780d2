//! What can be asked of the generator, and what it refuses.

use std::fmt;
use std::str::FromStr;

use crate::domain::event::{APP_ID_BYTES_MAX, is_app_id};
use crate::domain::time::Day;

/// Longest business that can be asked for, in days: 100 years.
pub const DAYS_MAX: u32 = 36_525;
/// Most customers that can be asked for.
pub const CUSTOMERS_MAX: u32 = 1_000_000_000;

/// A share of a whole in parts per million, from nothing to all of it.
///
/// Written as a decimal (`0.02`) or in percent (`2%`); at most six decimals count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Share {
    ppm: u32,
}

impl Share {
    /// Nothing.
    pub const NONE: Self = Self { ppm: 0 };

    /// A share of so many parts per million; all of it when more than a million are given.
    pub const fn from_ppm(ppm: u32) -> Self {
        Self { ppm: if ppm > 1_000_000 { 1_000_000 } else { ppm } }
    }

    /// Parts per million.
    pub const fn ppm(self) -> u32 {
        self.ppm
    }
}

/// The text is not a share from 0 to 1, or from 0% to 100%.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a share from 0 to 1, or from 0% to 100%")]
pub struct InvalidShare(pub String);

impl FromStr for Share {
    type Err = InvalidShare;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidShare(text.to_owned());
        let (number, decimals) = match text.strip_suffix('%') {
            Some(percent) => (percent, 4),
            None => (text, 6),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let fits = fraction.len() <= decimals && !whole.is_empty() && whole.len() <= 3;
        if !fits || number.ends_with('.') || !digits(whole) || !digits(fraction) {
            return Err(invalid());
        }
        let ppm = format!("{whole}{fraction:0<decimals$}").parse().map_err(|_| invalid())?;
        if ppm > 1_000_000 {
            return Err(invalid());
        }
        Ok(Self { ppm })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.ppm / 1_000_000, self.ppm % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// The business to make up. Equal settings give equal events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratorSettings {
    /// The app of all events. Its reporting currency must be USD, as the rates on the events say.
    pub app_id: String,
    /// How many customers install within `days`.
    pub customers: u32,
    /// How many days of business there are, from `first_day` on.
    pub days: u32,
    pub seed: u64,
    /// Events that arrive minutes to weeks after they happened.
    pub late: Share,
    /// Events that arrive a second time, exactly as the first.
    pub duplicates: Share,
    /// Customers who ask to be forgotten at some time.
    pub forgets: Share,
    /// First day of the business, UTC.
    pub first_day: Day,
    /// The business goes on after `days` at the pace it has reached, and the events never end.
    pub open_ended: bool,
}

impl Default for GeneratorSettings {
    fn default() -> Self {
        Self {
            app_id: "default".to_owned(),
            customers: 10_000,
            days: 730,
            seed: 1,
            late: Share::from_ppm(20_000),
            duplicates: Share::from_ppm(10_000),
            forgets: Share::NONE,
            // 2024-01-01; fixed, so that the same seed gives the same bytes on every day.
            first_day: Day(19_723),
            open_ended: false,
        }
    }
}

impl GeneratorSettings {
    /// The same business moved so that `day` is the first one after its `days`.
    pub fn ending_before(mut self, day: Day) -> Self {
        let days = i32::try_from(self.days).unwrap_or(i32::MAX);
        self.first_day = Day(day.0.saturating_sub(days));
        self
    }

    /// Whether a business can be made of these settings.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !is_app_id(&self.app_id) {
            return Err(SettingsError::AppId(self.app_id.clone()));
        }
        if !(1..=DAYS_MAX).contains(&self.days) {
            return Err(SettingsError::Days(self.days));
        }
        if !(1..=CUSTOMERS_MAX).contains(&self.customers) {
            return Err(SettingsError::Customers(self.customers));
        }
        // The years 1970 to 2999: every period that begins there ends before the year 9999.
        if !(0..=376_199).contains(&self.first_day.0) {
            return Err(SettingsError::FirstDay(self.first_day));
        }
        Ok(())
    }
}

/// A setting no business can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("app_id must be 1 to {APP_ID_BYTES_MAX} bytes of A-Z a-z 0-9 . _ : -, got \"{0}\"")]
    AppId(String),
    #[error("days must be from 1 to {DAYS_MAX}, got {0}")]
    Days(u32),
    #[error("customers must be from 1 to {CUSTOMERS_MAX}, got {0}")]
    Customers(u32),
    #[error("first_day must be from 1970-01-01 to 2999-12-31, got {0}")]
    FirstDay(Day),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_decimal_or_a_percentage() {
        for (text, ppm) in
            [("0", 0), ("0.02", 20_000), ("2%", 20_000), ("0.5%", 5_000), ("1", 1_000_000)]
        {
            assert_eq!(text.parse(), Ok(Share::from_ppm(ppm)), "{text}");
        }
        for text in ["", "-0.1", "1.1", "101%", "0.1234567", "2 %", ".5", "1.", "x"] {
            assert!(text.parse::<Share>().is_err(), "{text} must be refused");
        }
        assert_eq!(Share::from_ppm(20_000).to_string(), "0.02");
        assert_eq!(Share::NONE.to_string(), "0");
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let refusal = |change: fn(&mut GeneratorSettings)| {
            let mut settings = GeneratorSettings::default();
            change(&mut settings);
            settings.check().map_or_else(|error| error.to_string(), |()| String::new())
        };
        assert_eq!(refusal(|_| ()), "");
        assert!(refusal(|s| s.app_id = "a b".into()).starts_with("app_id"));
        assert!(refusal(|s| s.days = 0).starts_with("days"));
        assert!(refusal(|s| s.customers = 0).starts_with("customers"));
        assert!(refusal(|s| s.first_day = Day(-1)).starts_with("first_day"));
    }
}
