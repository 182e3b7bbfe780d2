//! Cohorts by first purchase as of a day, straight from the ledgers.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::calendar::{Width, day};
use super::ledger::Ledger;

/// The customers of one cohort, and its gross less refunds by period, each for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buyers {
    pub customers: i128,
    pub micros: BTreeMap<i64, i128>,
}

impl Buyers {
    /// Gross less refunds up to and including a period.
    pub fn through(&self, period: i64) -> i128 {
        self.micros.range(..=period).map(|(_, micros)| micros).sum()
    }
}

/// Cohorts by first day; nothing after `until` counts.
pub fn of<'a>(
    ledgers: impl Iterator<Item = Ledger<'a>>,
    (width, zone, until): (Width, Tz, NaiveDate),
) -> BTreeMap<NaiveDate, Buyers> {
    let mut cohorts: BTreeMap<NaiveDate, Buyers> = BTreeMap::new();
    for ledger in ledgers {
        let Some(first) = ledger.first_payment() else { continue };
        let first = day(first, zone);
        if first > until {
            continue;
        }
        let cohort = cohorts.entry(width.start(first)).or_default();
        cohort.customers += 1;
        let payments = ledger.payments().map(|at| (at, 1));
        let refunds = ledger.of_kind("refund").filter(|at| !ledger.is_unplaced(*at));
        for (at, sign) in payments.chain(refunds.map(|at| (at, -1))) {
            let on = day(ledger.events[at].occurred_at, zone);
            if on <= until {
                let period = width.between(first, on);
                let gross = ledger.app.converted(ledger.events[at])[0];
                *cohort.micros.entry(period).or_default() += sign * gross;
            }
        }
    }
    cohorts
}
