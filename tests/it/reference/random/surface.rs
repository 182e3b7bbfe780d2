//! The same event, written differently: nothing here changes what it says.

use chrono::{DateTime, FixedOffset, SecondsFormat};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

/// Optional texts that may be written as null or empty when absent.
const TEXTS: [&str; 8] = [
    "product_id",
    "plan_name",
    "store",
    "country",
    "offer_id",
    "paywall_id",
    "device_id",
    "cancellation_reason",
];

/// The JSON text of an event, in one of the many forms that mean the same.
pub fn dress(event: &Map<String, Value>, rng: &mut ChaCha8Rng) -> String {
    let mut event = event.clone();
    for name in ["occurred_at", "expires_at"] {
        if let Some(us) = event.get(name).and_then(Value::as_i64) {
            event.insert(name.to_owned(), instant(us, rng));
        }
    }
    for name in TEXTS {
        if !event.contains_key(name) && rng.random_bool(0.05) {
            let nothing = if rng.random() { Value::Null } else { json!("") };
            event.insert(name.to_owned(), nothing);
        }
    }
    if let Some(code) = event.get("country").and_then(Value::as_str)
        && rng.random_bool(0.3)
    {
        let other = if code == "GB" { "uk".to_owned() } else { code.to_lowercase() };
        event.insert("country".to_owned(), json!(other));
    }
    if let Some(rate) = event.get("reporting_rate").and_then(Value::as_str)
        && rate.contains('.')
        && rng.random_bool(0.3)
    {
        let longer = format!("0{rate}0");
        event.insert("reporting_rate".to_owned(), json!(longer));
    }
    if rng.random_bool(0.3) {
        spell_out_defaults(&mut event);
    }
    Value::Object(event).to_string()
}

fn instant(us: i64, rng: &mut ChaCha8Rng) -> Value {
    let offset_s = match rng.random_range(0..4) {
        0 => return json!(us),
        1 => 0,
        2 => 2 * 3600,
        _ => -(5 * 3600 + 30 * 60),
    };
    let offset = FixedOffset::east_opt(offset_s).expect("an offset");
    let at = DateTime::from_timestamp_micros(us).expect("an instant").with_timezone(&offset);
    json!(at.to_rfc3339_opts(SecondsFormat::AutoSi, offset_s == 0))
}

/// Writes down what would be understood anyway.
fn spell_out_defaults(event: &mut Map<String, Value>) {
    let mut default = |name: &str, value: Value| {
        event.entry(name).or_insert(value);
        event[name].clone()
    };
    default("environment", json!("production"));
    let kind = default("kind", Value::Null);
    let event_id = default("event_id", Value::Null);
    match kind.as_str().unwrap_or_default() {
        "purchase" => {
            let transaction = default("transaction_id", event_id);
            default("original_transaction_id", transaction);
        }
        "renewal" | "refund" => (),
        // A price of 0 where there is nothing to pay is as good as none.
        _ => {
            default("gross_micros", json!(0));
            return;
        }
    }
    let gross = default("gross_micros", json!(0));
    let proceeds = default("proceeds_micros", gross);
    default("net_micros", proceeds);
}
