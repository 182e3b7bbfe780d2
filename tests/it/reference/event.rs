//! An event as its JSON text says, defaults filled in.

use serde_json::Value;

use super::calendar::{Period, instant};
use super::dims::{Tuple, text};
use super::money::Rate;

/// The money of a purchase, renewal or refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub gross: i64,
    pub proceeds: i64,
    pub net: i64,
    pub currency: String,
    pub reporting_rate: Option<Rate>,
}

/// Two events are equal when their content is, however it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub event_id: String,
    pub app_id: String,
    pub customer_id: String,
    pub kind: String,
    /// Epoch microseconds.
    pub occurred_at: i64,
    pub charge: Option<Charge>,
    pub transaction_id: Option<String>,
    pub chain: Option<String>,
    pub period: Option<Period>,
    pub expires_at: Option<i64>,
    pub cancellation_reason: Option<String>,
    pub sandbox: bool,
    pub device_id: Option<String>,
    pub refers_to: Option<String>,
    /// The values the event names itself.
    pub own: Tuple,
}

impl Event {
    /// Reads a valid event.
    pub fn parse(json: &str) -> Self {
        let value: Value = serde_json::from_str(json).expect("JSON");
        let get = |name: &str| text(&value[name]);
        let kind = get("kind").expect("kind");
        let event_id = get("event_id").expect("event_id");
        let mut transaction_id = get("transaction_id");
        let mut chain = get("original_transaction_id");
        if kind == "purchase" {
            transaction_id = transaction_id.or_else(|| Some(event_id.clone()));
        }
        if kind == "purchase" || kind == "trial_started" {
            chain = chain.or_else(|| transaction_id.clone()).or_else(|| Some(event_id.clone()));
        }
        let period = get("period").map(|text| Period::parse(&text));
        let duration = match period {
            Some(period) => Some(period.duration()),
            None if kind == "purchase" => Some("Uncategorized"),
            None => None,
        };
        let own = Tuple::parse(&value, duration);
        let has_money = matches!(kind.as_str(), "purchase" | "renewal" | "refund");
        Self {
            app_id: get("app_id").expect("app_id"),
            customer_id: get("customer_id").expect("customer_id"),
            occurred_at: instant(&value["occurred_at"]),
            charge: has_money.then(|| Charge::parse(&value)),
            transaction_id,
            chain,
            period,
            expires_at: Some(&value["expires_at"]).filter(|at| !at.is_null()).map(instant),
            cancellation_reason: get("cancellation_reason"),
            sandbox: get("environment").is_some_and(|name| name == "sandbox"),
            device_id: get("device_id"),
            refers_to: get("refers_to"),
            own,
            event_id,
            kind,
        }
    }

    /// A purchase or a renewal, of whatever amount.
    pub fn is_purchase(&self) -> bool {
        self.kind == "purchase" || self.kind == "renewal"
    }

    /// Something that happens to a subscription without paying.
    pub fn is_status(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "cancellation" | "uncancellation" | "billing_issue" | "grace_period" | "expiration"
        )
    }

    /// Gross in the currency it was paid in, 0 without money.
    pub fn gross(&self) -> i64 {
        self.charge.as_ref().map_or(0, |charge| charge.gross)
    }

    /// Currency of the money.
    pub fn currency(&self) -> Option<&str> {
        self.charge.as_ref().map(|charge| charge.currency.as_str())
    }
}

impl Charge {
    fn parse(value: &Value) -> Self {
        let gross = value["gross_micros"].as_i64().expect("gross_micros");
        let proceeds = value["proceeds_micros"].as_i64().unwrap_or(gross);
        Self {
            gross,
            proceeds,
            net: value["net_micros"].as_i64().unwrap_or(proceeds),
            currency: text(&value["currency"]).expect("currency"),
            reporting_rate: text(&value["reporting_rate"]).map(|rate| Rate::parse(&rate)),
        }
    }
}
