//! What a random event says.

use chrono::DateTime;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::RECORD_TIMESTAMP_US;

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// Instants at which something may go wrong: ends of months and years, midnights and clock
/// changes in Berlin and New York, and payments exactly a month apart.
const INSTANTS: [&str; 22] = [
    "2023-01-31T10:00:00Z",
    "2024-01-01T00:00:00Z",
    "2024-01-31T10:00:00Z",
    "2024-02-29T10:00:00Z",
    "2024-03-10T05:00:00Z", // midnight in New York, an hour is missing later that day
    "2024-03-10T07:00:00Z", // the missing hour
    "2024-03-11T04:00:00Z", // the next midnight, 23 hours later
    "2024-03-29T23:00:00Z",
    "2024-03-30T23:00:00Z", // midnight in Berlin, an hour is missing later that day
    "2024-03-31T01:00:00Z", // the missing hour
    "2024-03-31T22:00:00Z", // the next midnight, 23 hours later
    "2024-04-30T10:00:00Z",
    "2024-10-26T22:00:00Z", // midnight in Berlin, an hour comes twice later that day
    "2024-10-27T01:00:00Z", // the second time
    "2024-10-27T23:00:00Z", // the next midnight, 25 hours later
    "2024-11-03T04:00:00Z", // midnight in New York, an hour comes twice later that day
    "2024-11-03T06:00:00Z", // the second time
    "2024-11-04T05:00:00Z", // the next midnight, 25 hours later
    "2024-12-31T23:30:00Z",
    "2025-01-31T10:00:00Z",
    "2025-02-28T10:00:00Z",
    "2025-12-31T00:00:00Z",
];

const EVENT_IDS: [&str; 16] = [
    "e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8", "e9", "e10", "e11", "e12", "E1", "é", "~",
];
const PERIODS: [&str; 12] =
    ["P1D", "P3D", "P7D", "P1W", "P2W", "P1M", "P2M", "P3M", "P6M", "P12M", "P1Y", "P5M"];
const GROSS: [i64; 8] = [0, 1, 3, 4_995_000, 5_000_001, 9_990_000, 10_000_000, 59_990_000];

/// Kinds and how often they come.
const KINDS: [(&str, u32); 13] = [
    ("install", 8),
    ("paywall_view", 5),
    ("trial_started", 10),
    ("purchase", 17),
    ("renewal", 18),
    ("refund", 15),
    ("cancellation", 3),
    ("uncancellation", 3),
    ("billing_issue", 3),
    ("grace_period", 7),
    ("expiration", 6),
    ("attribution", 5),
    ("void", 7),
];

/// What the events of a set share.
pub struct Theme {
    /// Epoch microseconds.
    instants: Vec<i64>,
    apps: Vec<&'static str>,
    customers: Vec<&'static str>,
    chains: Vec<&'static str>,
    transactions: Vec<&'static str>,
    periods: Vec<&'static str>,
}

impl Theme {
    /// Picks a few of everything; often a single customer of a single app.
    pub fn new(rng: &mut ChaCha8Rng) -> Self {
        let mut some = |from: &[&'static str], most: usize| -> Vec<&'static str> {
            let count = rng.random_range(1..=most);
            from.choose_multiple(rng, count).copied().collect()
        };
        let apps = some(&["plain", "world"], 2);
        let customers = some(&["ann", "bob", "cleo"], 3);
        let chains = some(&["s1", "s2", "t1", "e1"], 3);
        let transactions = some(&["t1", "t2", "t3", "t4", "e2", "e3"], 6);
        let periods = some(&PERIODS, 3);
        let count = rng.random_range(2..=8);
        let instants = INSTANTS
            .choose_multiple(rng, count)
            .map(|text| DateTime::parse_from_rfc3339(text).expect("RFC 3339").timestamp_micros());
        Self { instants: instants.collect(), apps, customers, chains, transactions, periods }
    }

    /// An instant of the set, or one close to it or whole days after it.
    fn instant(&self, rng: &mut ChaCha8Rng) -> i64 {
        let at = pick(&self.instants, rng);
        at + match rng.random_range(0..14) {
            0 => 1,
            1 | 2 => -1,
            3 => HOUR_US,
            4 => -HOUR_US,
            5 => DAY_US,
            6 => 3 * DAY_US,
            7 => 7 * DAY_US,
            8 => DAY_US - 1,
            _ => 0,
        }
    }
}

/// An event in plain form: instants as numbers, nothing written that is not needed.
pub fn event(theme: &Theme, forgets: bool, rng: &mut ChaCha8Rng) -> Map<String, Value> {
    let mut event = Map::new();
    let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
    let kind = kind(forgets, rng);
    let unknown_app = rng.random_ratio(1, 150);
    let app = if unknown_app { "nobody" } else { pick(&theme.apps, rng) };
    put("app_id", json!(app));
    put("customer_id", json!(pick(&theme.customers, rng)));
    put("event_id", json!(pick(&EVENT_IDS, rng)));
    put("kind", json!(kind));
    let at = match rng.random_range(0..150) {
        0 => RECORD_TIMESTAMP_US + DAY_US,
        1 => RECORD_TIMESTAMP_US + DAY_US + 1,
        _ => theme.instant(rng),
    };
    put("occurred_at", json!(at));
    // A `forget` of the sandbox is not a valid event.
    if rng.random_ratio(1, 16) && kind != "forget" {
        put("environment", json!("sandbox"));
    }
    if kind == "void" {
        put("refers_to", json!(pick(&EVENT_IDS, rng)));
    }
    if kind == "install" && rng.random_bool(0.6) {
        put("device_id", json!(pick(&["phone", "tablet"], rng)));
    }
    if matches!(kind, "cancellation" | "expiration") && rng.random_bool(0.3) {
        put("cancellation_reason", json!("too_dear"));
    }
    if matches!(kind, "purchase" | "renewal" | "refund") {
        put_money(&mut event, app, rng);
    }
    put_chain(&mut event, kind, theme, rng);
    put_period(&mut event, kind, at, theme, rng);
    put_dims(&mut event, rng);
    event
}

fn kind(forgets: bool, rng: &mut ChaCha8Rng) -> &'static str {
    if forgets && rng.random_ratio(1, 40) {
        return "forget";
    }
    let weighted = KINDS.choose_weighted(rng, |(_, weight)| *weight);
    weighted.expect("weights above 0").0
}

fn put_money(event: &mut Map<String, Value>, app: &str, rng: &mut ChaCha8Rng) {
    let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
    let currency = match (app, rng.random_range(0..20)) {
        ("world", 0..9) => "EUR",
        ("world", 9..16) => "USD",
        ("world", 16..19) => "GBP",
        (_, 0..14) => "USD",
        (_, 14..19) => "EUR",
        _ => "JPY",
    };
    put("currency", json!(currency));
    // JPY is in no table: it comes with a rate of its own, or is refused.
    if rng.random_bool(if currency == "JPY" { 0.5 } else { 0.2 }) {
        put("reporting_rate", json!(pick(&["0.5", "1.5", "1.0956", "0.000001", "2"], rng)));
    }
    if rng.random_ratio(1, 80) {
        put("gross_micros", json!(1_000_000_000_000_000i64));
        put("reporting_rate", json!(pick(&["100000", "9223.372036854775"], rng)));
        return;
    }
    let gross = pick(&GROSS, rng);
    put("gross_micros", json!(gross));
    let mut ceiling = gross;
    for name in ["proceeds_micros", "net_micros"] {
        let part = match rng.random_range(0..5) {
            0 => ceiling * 7 / 10,
            1 => ceiling / 2,
            2 => 0,
            _ => continue,
        };
        put(name, json!(part));
        ceiling = part;
    }
}

fn put_chain(event: &mut Map<String, Value>, kind: &str, theme: &Theme, rng: &mut ChaCha8Rng) {
    let (transaction, chain) = match kind {
        "renewal" => (1.0, 1.0),
        "purchase" => (0.75, 0.8),
        "trial_started" => (0.2, 0.9),
        "refund" => (0.75, 0.3),
        "paywall_view" | "install" | "attribution" => (0.05, 0.3),
        "void" | "forget" => (0.05, 0.05),
        _ => (0.2, 0.6),
    };
    if rng.random_bool(transaction) {
        event.insert("transaction_id".to_owned(), json!(pick(&theme.transactions, rng)));
    }
    if rng.random_bool(chain) {
        // A chain nobody knows, now and then.
        let chain = if rng.random_ratio(1, 20) { "s9" } else { pick(&theme.chains, rng) };
        event.insert("original_transaction_id".to_owned(), json!(chain));
    }
}

fn put_period(
    event: &mut Map<String, Value>,
    kind: &str,
    at: i64,
    theme: &Theme,
    rng: &mut ChaCha8Rng,
) {
    let (period, expires_at) = match kind {
        "renewal" | "trial_started" => (1.0, 0.3),
        "purchase" => (0.75, 0.3),
        "grace_period" => (0.1, 0.85),
        _ => (0.05, 0.1),
    };
    if rng.random_bool(period) {
        event.insert("period".to_owned(), json!(pick(&theme.periods, rng)));
    }
    if rng.random_bool(expires_at) {
        let end = match rng.random_range(0..8) {
            0 => at,
            1 => at - HOUR_US,
            2 | 3 => theme.instant(rng),
            4 => at + DAY_US,
            5 => at + 7 * DAY_US,
            6 => at + 40 * DAY_US,
            _ => at + 400 * DAY_US,
        };
        event.insert("expires_at".to_owned(), json!(end));
    }
}

/// Names, values and how likely an event has them. Some values need escaping.
const DIMS: [(&str, &[&str], f64); 10] = [
    ("product_id", &["gold", "silver"], 0.4),
    ("plan_name", &["a,b=c;d\\"], 0.1),
    ("store", &["app_store", "stripe"], 0.3),
    ("country", &["US", "DE", "GB"], 0.3),
    ("offer_category", &["intro"], 0.1),
    ("offer_id", &["o1"], 0.1),
    ("paywall_id", &["p1", "p2"], 0.2),
    ("attribution_source", &["ads", "organic"], 0.2),
    ("attribution_campaign", &["spring", "autumn"], 0.2),
    ("attribution_creative", &["red"], 0.05),
];

fn put_dims(event: &mut Map<String, Value>, rng: &mut ChaCha8Rng) {
    // Many events say little: then they take over more.
    let talkative = rng.random_bool(0.5);
    for (name, values, likely) in DIMS {
        if talkative && rng.random_bool(likely) {
            event.insert(name.to_owned(), json!(pick(values, rng)));
        }
    }
    let mut attributes = Map::new();
    for name in ["test", "test b", "a=\\,;"] {
        if talkative && rng.random_bool(0.15) {
            attributes.insert(name.to_owned(), json!(pick(&["x", "y;=", ""], rng)));
        }
    }
    if !attributes.is_empty() {
        event.insert("attributes".to_owned(), Value::Object(attributes));
    }
}

fn pick<T: Copy>(from: &[T], rng: &mut ChaCha8Rng) -> T {
    *from.choose(rng).expect("something to pick from")
}
