//! Random sets of valid events, made to collide.
//!
//! Few customers, transactions, chains, event ids and instants, so that what the rules are about
//! really happens: ties, duplicates, refunds before their payment, voids of voids, spans that
//! touch, days on which the clocks change. The same seeds always give the same events.

use std::collections::BTreeSet;

use proptest::prelude::{Strategy, any};
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::AppSettings;

mod fields;
mod surface;

/// The timestamp of every record: some events lie exactly a day later, some a microsecond more.
pub const RECORD_TIMESTAMP_US: i64 = 1_767_225_600_000_000; // 2026-01-01T00:00:00Z

/// What may be in a set.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Whether one identity may come with different contents: then arrival order matters.
    pub conflicts: bool,
    /// Whether customers may be forgotten: then arrival order matters.
    pub forgets: bool,
}

/// The apps the events are for: one plain, one with everything.
pub fn apps() -> Vec<AppSettings> {
    let rates = |lines: &[[&str; 3]]| {
        lines.iter().map(|line| line.map(str::to_owned).into()).collect::<Vec<_>>()
    };
    vec![
        AppSettings {
            id: "plain".to_owned(),
            reporting_currency: "USD".to_owned(),
            zones: vec!["UTC".to_owned()],
            count_zero_payments: false,
            rates: rates(&[["2024-03-01", "EUR", "1.0956"]]),
        },
        AppSettings {
            id: "world".to_owned(),
            reporting_currency: "EUR".to_owned(),
            zones: ["UTC", "Europe/Berlin", "America/New_York"].map(str::to_owned).to_vec(),
            count_zero_payments: true,
            rates: rates(&[
                ["2000-01-01", "USD", "0.9127"],
                ["2024-03-31", "USD", "0.5"],
                ["2024-10-27", "USD", "0.925"],
                ["2023-06-01", "GBP", "1.1"],
                ["2024-10-28", "GBP", "1.25"],
            ]),
        },
    ]
}

/// Events in the order in which they arrive, each as JSON text, up to about a fifth more than
/// there are `event_seeds`: repeats come on top.
///
/// `set_seed` picks what the events share. Leaving out event seeds leaves the other events much
/// as they were, so that a failing set can be made smaller.
pub fn events(set_seed: u64, event_seeds: &[u64], options: Options) -> Vec<String> {
    let theme = fields::Theme::new(&mut ChaCha8Rng::seed_from_u64(set_seed));
    let mut made: Vec<Map<String, Value>> = Vec::new();
    let mut taken: BTreeSet<[String; 3]> = BTreeSet::new();
    let mut texts = Vec::new();
    for seed in event_seeds {
        let mut rng = ChaCha8Rng::seed_from_u64(*seed);
        let mut event = fields::event(&theme, options.forgets, &mut rng);
        let mut next = 0;
        while !options.conflicts && !taken.insert(identity(&event)) {
            event.insert("event_id".to_owned(), json!(format!("e{next}")));
            next += 1;
        }
        texts.push(surface::dress(&event, &mut rng));
        made.push(event);
        let roll = rng.random_range(0..100);
        if roll < 12 {
            let again = made.choose(&mut rng).expect("one was just made");
            texts.push(surface::dress(again, &mut rng));
        } else if roll < 15 && options.conflicts {
            let mut other = made.choose(&mut rng).expect("one was just made").clone();
            other.insert("store".to_owned(), json!("another_store"));
            texts.push(surface::dress(&other, &mut rng));
            made.push(other);
        }
    }
    texts
}

/// [`events`] from one seed.
pub fn events_of(seed: u64, count: usize, options: Options) -> Vec<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let event_seeds: Vec<u64> = (0..count).map(|_| rng.random()).collect();
    events(seed, &event_seeds, options)
}

/// Sets of up to `most` events (and their repeats) that shrink by leaving events out.
pub fn event_sets(most: usize, options: Options) -> impl Strategy<Value = Vec<String>> {
    let seeds = proptest::collection::vec(any::<u64>(), 0..=most);
    (any::<u64>(), seeds).prop_map(move |(set, seeds)| events(set, &seeds, options))
}

fn identity(event: &Map<String, Value>) -> [String; 3] {
    ["app_id", "customer_id", "event_id"].map(|name| event[name].as_str().unwrap_or("").to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::reference::{Reference, Verdict};

    fn offer_all(reference: &mut Reference, events: &[String]) -> Vec<Verdict> {
        events.iter().map(|event| reference.offer(event, RECORD_TIMESTAMP_US)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_events() {
        let options = Options { conflicts: true, forgets: true };
        assert_eq!(events_of(7, 40, options), events_of(7, 40, options));
        assert_ne!(events_of(7, 40, options), events_of(8, 40, options));
    }

    #[test]
    fn everything_the_rules_speak_of_happens() {
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        let options = Options { conflicts: true, forgets: true };
        for seed in 0..300 {
            let mut reference = Reference::new(&apps());
            for verdict in offer_all(&mut reference, &events_of(seed, 40, options)) {
                *seen.entry(format!("{verdict:?}")).or_default() += 1;
            }
            for reason in reference.suspended().into_values() {
                *seen.entry(reason.to_owned()).or_default() += 1;
            }
            for key in reference.facts().into_keys() {
                let kind = key.split('|').nth(2).unwrap().to_owned();
                *seen.entry(kind).or_default() += 1;
            }
        }
        for name in [
            "Accepted",
            "Repeated",
            "Refused(\"conflict\")",
            "Refused(\"customer_forgotten\")",
            "Refused(\"invalid_occurred_at\")",
            "Refused(\"invalid_reporting_rate\")",
            "Refused(\"missing_rate\")",
            "Refused(\"unknown_app\")",
            "chain_unknown",
            "duplicate_transaction",
            "payment_missing",
            "refund_currency_mismatch",
            "refund_exceeds_payment",
            "void_target_missing",
            "Customer",
            "Payer",
            "Payment",
            "PeriodPayer",
            "Refund",
            "RepeatedRefund",
            "Starter",
            "Subscription",
            "Timeline",
            "UnplacedRefund",
            "UnrefundedTimeline",
        ] {
            assert!(seen.get(name).is_some_and(|count| *count >= 10), "{name}: {seen:#?}");
        }
    }

    proptest! {
        #[test]
        fn without_conflicts_and_forgets_order_and_repetition_change_nothing(
            mut events in event_sets(40, Options::default())
        ) {
            let mut forward = Reference::new(&apps());
            let verdicts = offer_all(&mut forward, &events);
            prop_assert!(!verdicts.contains(&Verdict::Refused("conflict")));
            events.reverse();
            events.extend(events.clone());
            let mut backward = Reference::new(&apps());
            offer_all(&mut backward, &events);
            prop_assert_eq!(forward.facts(), backward.facts());
            prop_assert_eq!(forward.suspended(), backward.suspended());
        }
    }
}
