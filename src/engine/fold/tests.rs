//! A walk over a whole ledger, against one step for each of its events.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::domain::money::{Amounts, Currency};
use crate::domain::rules::Rules;
use crate::engine::ledger::LedgerCharge;

const DAYS: usize = 365;

/// An event of a subscription of its own, which pays if it is a payment.
fn event(kind: EventKind, at: Timestamp, number: usize) -> LedgerEvent<'static> {
    let amounts = Amounts { gross: 5, proceeds: 5, net: 5 };
    LedgerEvent {
        charge: Some(LedgerCharge {
            paid: amounts,
            currency: Currency::USD,
            own_rate: None,
            reporting: amounts,
        }),
        transaction_id: Some(format!("t{number}").into()),
        chain: Some(format!("s{number}").into()),
        period: Some("P1Y".parse().unwrap()),
        ..LedgerEvent::bare(kind, format!("e{number}"), at)
    }
}

#[test]
fn a_walk_interns_what_its_timeline_is_made_of_and_not_what_each_step_foresaw() {
    let (rules, mut dictionary) = (Rules::of_one_app("acme"), Dictionary::default());
    let (app, rules) = (dictionary.app("acme"), &rules.apps["acme"]);
    let (dictionary, delta) = (&mut dictionary, &mut FactDelta::default());
    let mut scribe = Scribe { app, rules, dictionary, delta };
    let yearly = |day| event(EventKind::Purchase, Timestamp(day as i64 * DAY_MICROS), day);
    let ledger = Ledger::new((0..DAYS).map(yearly).collect());
    let (walked, _) = facts(&ledger, &mut scribe);
    // Each subscription begins and ends once.
    let paths = scribe.dictionary.timelines.path_count();
    assert!((DAYS..=2 * DAYS).contains(&paths), "{paths}");
    let mut stepped = Fold::default();
    for event in ledger.events() {
        stepped.append(event, Standing::Payment, &mut scribe);
    }
    assert_eq!(stepped.coverage, walked.coverage);
    assert_eq!((stepped.uncovered, walked.uncovered), (None, None));
    // What the walk is spared; without that its bound above would prove nothing.
    assert!(scribe.dictionary.timelines.path_count() > DAYS * DAYS / 2);
}

/// Events of few subscriptions around the midnight after which the clocks of St. John's went back to the day before.
fn around_midnight(random: &mut ChaCha8Rng) -> Vec<LedgerEvent<'static>> {
    const MINUTE_MICROS: i64 = 60_000_000;
    // They read 00:01 for the first time then, and 23:01 next.
    let back = Timestamp::parse_rfc3339("2010-11-07T02:31:00Z").unwrap();
    let minutes = |random: &mut ChaCha8Rng, reach: i64| {
        Timestamp(back.0 + random.random_range(-reach..=reach) * MINUTE_MICROS)
    };
    let event = |number| {
        let kind = match random.random_range(0..6) {
            0 => EventKind::TrialStarted,
            1 => EventKind::Expiration,
            2 => EventKind::GracePeriod,
            _ => EventKind::Renewal,
        };
        let reach = [90, 3_000][random.random_range(0..2)];
        let event = event(kind, minutes(random, reach), number);
        let is_payment = kind == EventKind::Renewal;
        LedgerEvent {
            charge: event.charge.filter(|_| is_payment),
            transaction_id: event.transaction_id.filter(|_| is_payment),
            chain: Some(format!("s{}", random.random_range(0..4)).into()),
            period: event.period.filter(|_| is_payment || kind == EventKind::TrialStarted),
            expires_at: random.random_ratio(2, 3).then(|| minutes(random, reach)),
            ..event
        }
    };
    (0..12).map(event).collect()
}

#[test]
fn a_walk_and_its_steps_write_the_same_where_clocks_go_back_over_midnight() {
    let seed = rand::random();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rules = Rules::of_one_app("acme").apps["acme"].clone();
    rules.reporting_zones = ["UTC", "America/St_Johns"].map(|zone| zone.parse().unwrap()).to_vec();
    for round in 0..500 {
        let ledger = Ledger::new(around_midnight(&mut random));
        let mut dictionary = Dictionary::default();
        let app = dictionary.app("acme");
        let (mut of_walk, mut of_steps) = (FactDelta::default(), FactDelta::default());
        let dictionary = &mut dictionary;
        let (walked, standings) =
            facts(&ledger, &mut Scribe { app, rules: &rules, dictionary, delta: &mut of_walk });
        let mut stepped = Fold { anchors: walked.anchors, ..Fold::default() };
        for (event, standing) in ledger.events().iter().zip(standings) {
            if standing.is_effective() {
                let delta = &mut of_steps;
                stepped.append(
                    event,
                    standing,
                    &mut Scribe { app, rules: &rules, dictionary, delta },
                );
            }
        }
        assert_eq!(stepped.coverage, walked.coverage, "seed {seed} round {round}");
        for delta in [&mut of_walk, &mut of_steps] {
            delta.sort_unstable_by_key(|(key, _)| *key);
            delta::join(delta);
            delta.retain(|(_, sums)| !sums.is_zero());
            delta.sort_unstable_by_key(|(key, _)| *key);
        }
        assert_eq!(of_steps, of_walk, "seed {seed} round {round}");
    }
}
