//! What is remembered of a customer between two events, and the arithmetic of a payment.

use crate::domain::event::EventKind;
use crate::domain::money::Amounts;
use crate::domain::time::DAY_MICROS;

use super::catalog::{COUNTRIES, CURRENCIES, Country, OFFERS, PRODUCTS, STORES};

/// A customer with something still planned. Small, as a million of them are kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Customer {
    /// From 1, in the order of installation.
    pub(super) number: u32,
    /// Events and transactions so far: the last ordinal given out.
    pub(super) events: u16,
    pub(super) transactions: u16,
    /// How many actions are planned; nobody is kept with none.
    pub(super) planned: u16,
    /// Counts the turns of the subscription; a plan made for another turn is dropped.
    pub(super) epoch: u16,
    /// Ordinal of the transaction that began the chain; 0 before there is one.
    pub(super) chain: u16,
    pub(super) chain_start: i64,
    /// Paid transactions of the chain.
    pub(super) payments: u16,
    pub(super) product: u8,
    pub(super) country: u8,
    pub(super) store: u8,
    pub(super) source: u8,
    pub(super) campaign: u8,
    pub(super) adset: u8,
    pub(super) creative: u8,
    pub(super) paywall: u8,
    pub(super) placement: u8,
    pub(super) audience: u8,
    pub(super) sandbox: bool,
    /// A trial or paid period is running.
    pub(super) active: bool,
    pub(super) forgotten: bool,
}

impl Customer {
    pub(super) fn country(&self) -> &'static Country {
        &COUNTRIES[usize::from(self.country)]
    }

    /// Churn at the end of the current paid period, per mille, before anything personal.
    pub(super) fn churn(&self) -> u32 {
        let churn = PRODUCTS[usize::from(self.product)].churn;
        let index = usize::from(self.payments.saturating_sub(1)).min(churn.len().saturating_sub(1));
        churn.get(index).copied().unwrap_or(1_000)
    }

    /// The list price in micro-units, less the offer's reduction, cut to the smallest amount.
    pub(super) fn price(&self, product: u8, offer: Option<u8>) -> i64 {
        let currency = self.country().currency;
        let left = offer.map_or(1_000, |offer| OFFERS[usize::from(offer)].price);
        let list = PRODUCTS[usize::from(product)].prices[currency];
        list * left / 1_000 * CURRENCIES[currency].minor_micros
    }

    /// What the store keeps of a payment at this time, per mille.
    pub(super) fn commission(&self, product: u8, at: i64) -> i64 {
        let store = &STORES[usize::from(self.store)];
        if PRODUCTS[usize::from(product)].period.is_none() {
            return store.one_time;
        }
        let first_year = at < self.chain_start + 365 * DAY_MICROS;
        if first_year { store.first_year } else { store.later }
    }
}

/// One payment as it was made; enough to refund or correct it later.
#[derive(Debug, Clone)]
pub(super) struct Payment {
    pub(super) kind: EventKind,
    pub(super) at: i64,
    pub(super) transaction: u16,
    /// Ordinal of the chain's first transaction; for one-time purchases their own.
    pub(super) chain: u16,
    pub(super) product: u8,
    pub(super) offer: Option<u8>,
    /// Micro-units.
    pub(super) gross: i64,
    /// Per mille.
    pub(super) commission: i64,
}

/// Gross, proceeds and net of an amount that contains tax: the tax is the state's, the store keeps
/// its part of the rest. All in micro-units, whole smallest amounts of the currency.
pub(super) fn amounts(gross: i64, commission: i64, country: &Country) -> Amounts {
    let minor = CURRENCIES[country.currency].minor_micros;
    let whole = |micros: i64| micros / minor * minor;
    let tax = whole(gross * country.tax / (1_000 + country.tax));
    let proceeds = gross - whole((gross - tax) * commission / 1_000);
    Amounts { gross, proceeds, net: proceeds - tax }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tax_and_commission_leave_what_an_accountant_gets() {
        // EUR 9.99 with 19 % tax holds 1.595…, cut to 1.59; 30 % of 8.40 are 2.52.
        let german = amounts(9_990_000, 300, &COUNTRIES[2]);
        assert_eq!((german.proceeds, german.net), (7_470_000, 5_880_000));
        // JPY 1,500 with 10 % tax holds 136.36, cut to 136; 15 % of 1,364 are 204.6, cut to 204.
        let japanese = amounts(1_500_000_000, 150, &COUNTRIES[8]);
        assert_eq!((japanese.proceeds, japanese.net), (1_296_000_000, 1_160_000_000));
    }

    #[test]
    fn churn_falls_and_then_stays() {
        let mut customer = Customer { product: 1, payments: 1, ..Customer::default() };
        assert_eq!(customer.churn(), 170);
        customer.payments = 2;
        assert_eq!(customer.churn(), 125);
        customer.payments = 500;
        assert_eq!(customer.churn(), 33);
    }
}
