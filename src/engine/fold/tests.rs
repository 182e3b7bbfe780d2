//! A walk over a whole ledger, against one step for each of its events.

use super::*;
use crate::domain::money::{Amounts, Currency};
use crate::domain::rules::Rules;
use crate::engine::ledger::LedgerCharge;

const DAYS: usize = 365;

/// A subscription for a year that begins on a day.
fn yearly(day: usize) -> LedgerEvent<'static> {
    let amounts = Amounts { gross: 5, proceeds: 5, net: 5 };
    LedgerEvent {
        at: Timestamp(day as i64 * DAY_MICROS),
        event_id: format!("e{day}").into(),
        kind: EventKind::Purchase,
        is_sandbox: false,
        charge: Some(LedgerCharge {
            paid: amounts,
            currency: Currency::USD,
            own_rate: None,
            reporting: amounts,
        }),
        transaction_id: Some(format!("t{day}").into()),
        chain: Some(format!("s{day}").into()),
        period: Some("P1Y".parse().unwrap()),
        expires_at: None,
        refers_to: None,
        device_id: None,
        cancellation_reason: 0,
        own_tuple: 0,
    }
}

#[test]
fn a_walk_interns_what_its_timeline_is_made_of_and_not_what_each_step_foresaw() {
    let (rules, mut dictionary) = (Rules::of_one_app("acme"), Dictionary::default());
    let (app, rules) = (dictionary.app("acme"), &rules.apps["acme"]);
    let (dictionary, delta) = (&mut dictionary, &mut FactDelta::default());
    let mut scribe = Scribe { app, rules, dictionary, delta };
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
    assert!(scribe.dictionary.timelines.path_count() > DAYS * DAYS / 2);
}
