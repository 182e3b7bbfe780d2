//! What can be said of an event without its customer's past.
//!
//! Both doors ask here: a shard before it takes an event, and ingest before it writes one to the
//! log, so that a sender is told at once what the log's reader would find later.

use crate::domain::event::{BillingEvent, FieldError};
use crate::domain::money::{Amounts, Currency, Rate};
use crate::domain::rules::{AppRules, Rules};
use crate::domain::time::Timestamp;
use crate::engine::refusal::Refusal;

/// The rules of the event's app; a refusal if the app is not served, or if the event lies too far
/// after the record it comes in.
pub fn app_rules<'r>(
    event: &BillingEvent<'_>,
    recorded_at: Timestamp,
    rules: &'r Rules,
) -> Result<&'r AppRules, Refusal> {
    let app = rules.apps.get(&*event.app_id).ok_or(Refusal::UnknownApp)?;
    if event.occurred_at.0 > recorded_at.0.saturating_add(rules.future_limit_micros) {
        let (lead, recorded_at) = (rules.future_limit_micros / 1_000_000, recorded_at.to_rfc3339());
        let expected = format!("at most {lead} s after the record's own timestamp {recorded_at}");
        let got = event.occurred_at.to_rfc3339();
        return Err(Refusal::Field(FieldError::invalid("occurred_at", &expected, got)));
    }
    Ok(app)
}

/// What was paid at an instant in the app's reporting currency, by the event's own rate or the
/// table's.
pub fn in_reporting_currency(
    (paid, currency): (Amounts, Currency),
    own_rate: Option<Rate>,
    at: Timestamp,
    rules: &AppRules,
) -> Result<Amounts, Refusal> {
    let rate = if currency == rules.reporting_currency {
        Rate::ONE
    } else {
        let dated = || rules.rates.rate(currency, at.utc_day());
        own_rate.or_else(dated).ok_or(Refusal::MissingRate)?
    };
    paid.convert(rate).ok_or_else(|| {
        let expected = "a rate at which the amount stays below 9.2 * 10^18 micro-units";
        Refusal::Field(FieldError::invalid("reporting_rate", expected, rate))
    })
}

/// Everything that speaks against the event whatever its customer's past may be.
pub fn judge(
    event: &BillingEvent<'_>,
    recorded_at: Timestamp,
    rules: &Rules,
) -> Result<(), Refusal> {
    let app = app_rules(event, recorded_at, rules)?;
    if let Some(charge) = &event.charge {
        let paid = (charge.amounts, charge.currency);
        in_reporting_currency(paid, charge.reporting_rate, event.occurred_at, app)?;
    }
    Ok(())
}
