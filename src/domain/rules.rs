//! The settings that change results. They are part of the state.
//!
//! Everything in [`AppRules`] decides what an event is worth or on which day it counts, so a
//! state computed under other rules is another state. [`Rules::canonical`] is what is stored
//! beside the state and compared at start.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::money::{Currency, Rate};
use super::time::{DAY_MICROS, Day, Zone};

/// What a payment of amount 0 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ZeroPayments {
    /// Kept in the ledger: makes nobody a payer, has no payment index and no subscription span.
    #[default]
    Ignore,
    /// A payment like any other; it may found a cohort.
    Count,
}

impl ZeroPayments {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Count => "count",
        }
    }
}

/// Dated exchange rates into one reporting currency.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RateTable {
    by_currency: BTreeMap<Currency, BTreeMap<Day, Rate>>,
}

impl RateTable {
    /// Sets the rate of `currency` from `day` on; returns the one it replaces.
    pub fn insert(&mut self, currency: Currency, day: Day, rate: Rate) -> Option<Rate> {
        self.by_currency.entry(currency).or_default().insert(day, rate)
    }

    /// The newest rate on or before `day`.
    pub fn rate(&self, currency: Currency, day: Day) -> Option<Rate> {
        let dated = self.by_currency.get(&currency)?;
        dated.range(..=day).next_back().map(|(_, rate)| *rate)
    }

    /// All rates, by currency and day.
    pub fn iter(&self) -> impl Iterator<Item = (Currency, Day, Rate)> + '_ {
        self.by_currency
            .iter()
            .flat_map(|(currency, dated)| dated.iter().map(|(day, rate)| (*currency, *day, *rate)))
    }
}

/// The rules of one app.
#[derive(Debug, Clone, PartialEq)]
pub struct AppRules {
    pub id: String,
    pub reporting_currency: Currency,
    /// At least one; the first is the zone of questions that name none.
    pub reporting_zones: Vec<Zone>,
    pub zero_payments: ZeroPayments,
    pub rates: RateTable,
}

impl AppRules {
    /// A zone that is kept, by its name, and its place among them; without a name the first.
    pub fn zone(&self, name: Option<&str>) -> Option<(u8, Zone)> {
        let mut zones = (0..).zip(self.reporting_zones.iter().copied());
        zones.find(|(_, zone)| name.is_none_or(|name| zone.name() == name))
    }

    fn canonical(&self, future_limit_micros: i64) -> String {
        let zones: Vec<&str> = self.reporting_zones.iter().map(Zone::name).collect();
        let mut text = format!(
            "reporting_currency = {}\nreporting_zones = {}\nzero_payments = {}\n\
             {FUTURE_LIMIT_NAME} = {}\n",
            self.reporting_currency,
            zones.join(","),
            self.zero_payments.name(),
            future_limit_micros / 1_000_000
        );
        for (currency, day, rate) in self.rates.iter() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "rate {currency} {day} = {rate}");
        }
        text
    }
}

/// The rules of the whole service.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// By app id.
    pub apps: BTreeMap<String, AppRules>,
    /// How far an event may lie after its record's own timestamp.
    pub future_limit_micros: i64,
}

/// Name of the rule [`Rules::future_limit_micros`], which is set in seconds. Unlike the others it
/// decides which events are accepted at all, so no ledger can tell what another limit would give.
pub const FUTURE_LIMIT_NAME: &str = "future_limit_seconds";

impl Rules {
    /// The rules of a service of one app that says nothing but its id: US dollars, days of UTC, zero
    /// payments ignored, no rates.
    pub fn of_one_app(id: &str) -> Self {
        let app = AppRules {
            id: id.to_owned(),
            reporting_currency: Currency::USD,
            reporting_zones: vec![Zone::UTC],
            zero_payments: ZeroPayments::Ignore,
            rates: RateTable::default(),
        };
        let apps = BTreeMap::from([(id.to_owned(), app)]);
        Self { apps, future_limit_micros: Self::FUTURE_LIMIT_MICROS }
    }

    /// The rules of each app, by its id, as lines `name = value`: the same text for the same rules,
    /// rates last.
    pub fn canonical(&self) -> BTreeMap<String, String> {
        let text = |rules: &AppRules| rules.canonical(self.future_limit_micros);
        self.apps.iter().map(|(id, rules)| (id.clone(), text(rules))).collect()
    }

    /// Default of [`Rules::future_limit_micros`]: one day.
    pub const FUTURE_LIMIT_MICROS: i64 = DAY_MICROS;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_rate_on_or_before_the_day_applies() {
        let eur: Currency = "EUR".parse().unwrap();
        let mut table = RateTable::default();
        table.insert(eur, Day(10), "1.1".parse().unwrap());
        table.insert(eur, Day(20), "1.2".parse().unwrap());
        let on = |day| table.rate(eur, Day(day)).map(|rate| rate.to_string());
        assert_eq!(on(9), None);
        assert_eq!(on(10).as_deref(), Some("1.1"));
        assert_eq!(on(19).as_deref(), Some("1.1"));
        assert_eq!(on(99).as_deref(), Some("1.2"));
    }
}
