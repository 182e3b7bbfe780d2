//! The promises of the generator, tried on small businesses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::dimensions::Dimension;
use crate::domain::event::{Environment, EventKind};

use super::*;

fn settings(customers: u32) -> GeneratorSettings {
    GeneratorSettings { customers, ..GeneratorSettings::default() }
}

fn events(settings: &GeneratorSettings) -> Vec<BillingEvent<'static>> {
    Generator::new(settings).unwrap().collect()
}

fn prompt(customers: u32) -> Vec<BillingEvent<'static>> {
    events(&GeneratorSettings { late: Share::NONE, duplicates: Share::NONE, ..settings(customers) })
}

fn count(events: &[BillingEvent<'_>], kind: EventKind) -> usize {
    events.iter().filter(|event| event.kind == kind).count()
}

/// A text of everything in an event that does not depend on how any struct is printed.
fn line(event: &BillingEvent<'_>) -> String {
    let amounts = event.charge.map(|charge| {
        let rate = charge.reporting_rate.map(|rate| rate.parts());
        let amounts = charge.amounts;
        (amounts.gross, amounts.proceeds, amounts.net, charge.currency.to_string(), rate)
    });
    let dimensions: Vec<_> = Dimension::ALL.map(|dimension| event.dimensions.get(dimension)).into();
    format!(
        "{} {} {} {} {} {amounts:?} {:?} {:?} {:?} {:?} {} {:?} {:?} {dimensions:?} {:?}\n",
        event.app_id,
        event.customer_id,
        event.event_id,
        event.kind.name(),
        event.occurred_at.0,
        event.transaction_id,
        event.original_transaction_id,
        event.expires_at.map(|at| at.0),
        event.cancellation_reason,
        event.environment.name(),
        event.device_id,
        event.refers_to,
        event.dimensions.attributes,
    )
}

#[test]
fn the_first_thousand_events_of_a_seed_never_change() {
    let text: String =
        Generator::new(&settings(1_000)).unwrap().take(1_000).map(|event| line(&event)).collect();
    assert_eq!(format!("{:016x}", xxh3_64(text.as_bytes())), "e54dd042704bcd26");
}

#[test]
fn businesses_of_two_seeds_share_no_customer_event_or_payment() {
    let ids = |seed: u64| -> std::collections::BTreeSet<String> {
        let events = events(&GeneratorSettings { seed, ..settings(300) });
        let ids = events.into_iter().flat_map(|event| {
            [Some(event.customer_id), Some(event.event_id), event.transaction_id]
        });
        ids.flatten().map(std::borrow::Cow::into_owned).collect()
    };
    // 1 and 11: a number may not run into what stands before it.
    assert!(ids(1).is_disjoint(&ids(11)));
}

#[test]
fn equal_settings_give_equal_events_and_other_seeds_others() {
    let first = events(&settings(300));
    assert_eq!(first, events(&settings(300)));
    assert_ne!(first, events(&GeneratorSettings { seed: 2, ..settings(300) }));
}

#[test]
fn lateness_and_duplicates_change_only_order_and_repetition() {
    let set = |events: &[BillingEvent<'_>]| events.iter().map(line).collect::<BTreeSet<_>>();
    let plain = prompt(500);
    let disturbed = events(&GeneratorSettings {
        late: Share::from_ppm(300_000),
        duplicates: Share::from_ppm(200_000),
        ..settings(500)
    });
    assert_eq!(set(&plain), set(&disturbed));
    assert!(disturbed.len() * 100 > plain.len() * 117 && disturbed.len() * 100 < plain.len() * 123);
    // Corrections alone are sent long after they happened.
    let backwards = |events: &[BillingEvent<'_>]| {
        events.windows(2).filter(|pair| pair[1].occurred_at < pair[0].occurred_at).count()
    };
    assert!(backwards(&plain) < plain.len() / 1_000, "{}", backwards(&plain));
    assert!(backwards(&disturbed) > plain.len() / 10);
}

#[test]
fn event_ids_are_unique_but_for_exact_duplicates() {
    let mut seen = BTreeMap::new();
    let mut repeats = 0;
    let mut total = 0;
    for event in Generator::new(&settings(2_000)).unwrap() {
        total += 1;
        let identity = (event.customer_id.clone(), event.event_id.clone());
        let text = line(&event);
        if let Some(before) = seen.insert(identity, text.clone()) {
            assert_eq!(before, text);
            repeats += 1;
        }
    }
    // One per cent, within four standard deviations.
    assert!((60..=160).contains(&(repeats * 10_000 / total)), "{repeats} of {total}");
}

#[test]
fn arrivals_never_go_back_and_happen_before_they_arrive() {
    let mut generator = Generator::new(&settings(300)).unwrap();
    let first = i64::from(GeneratorSettings::default().first_day.0) * 86_400_000_000;
    let mut before = Timestamp(0);
    while let Some(Arrival { at, event }) = generator.next_arrival() {
        assert!(at >= before && event.occurred_at <= at);
        assert!((first..first + 730 * 86_400_000_000).contains(&event.occurred_at.0));
        before = at;
    }
}

#[test]
fn linked_refunds_never_exceed_their_payment() {
    let mut paid: BTreeMap<String, i64> = BTreeMap::new();
    let mut refunded: BTreeMap<String, i64> = BTreeMap::new();
    let all = prompt(20_000);
    for event in &all {
        let Some((charge, id)) = event.charge.zip(event.transaction_id.as_deref()) else {
            continue;
        };
        let gross = charge.amounts.gross;
        if event.kind == EventKind::Refund {
            *refunded.entry(id.to_owned()).or_default() += gross;
        } else {
            // A corrected payment comes twice; the smaller is the right one.
            paid.entry(id.to_owned())
                .and_modify(|known| *known = gross.min(*known))
                .or_insert(gross);
        }
    }
    assert!(refunded.len() > 300);
    for (id, gross) in &refunded {
        assert!(gross <= &paid[id], "{id}");
    }
    let unlinked = all.iter().filter(|event| event.kind == EventKind::Refund);
    let unlinked = unlinked.filter(|event| event.transaction_id.is_none()).count();
    assert!((1..refunded.len() / 10).contains(&unlinked));
    let partial = refunded.iter().filter(|(id, gross)| *gross < &paid[*id]).count();
    assert!((refunded.len() / 20..refunded.len() / 4).contains(&partial));
}

#[test]
fn the_business_looks_like_one() {
    let all = prompt(20_000);
    let of = |kind| count(&all, kind);
    assert_eq!(of(EventKind::Install), 20_000);
    assert_eq!(of(EventKind::Forget), 0);
    assert!(of(EventKind::PaywallView) > 20_000);
    let range = |part: usize, whole: usize| part * 1_000 / whole;
    let payments = of(EventKind::Purchase) + of(EventKind::Renewal);
    assert!((15..40).contains(&range(of(EventKind::Refund), payments)));
    assert!(of(EventKind::Renewal) > of(EventKind::Purchase));
    for kind in EventKind::ALL {
        assert!(kind == EventKind::Forget || of(kind) > 0, "no {}", kind.name());
    }
    let sandbox = all.iter().filter(|event| event.environment == Environment::Sandbox).count();
    assert!((1..20).contains(&range(sandbox, all.len())));

    // Trials that had the time to convert, and did.
    let trials: BTreeSet<_> = all
        .iter()
        .filter(|event| event.kind == EventKind::TrialStarted)
        .map(|event| event.original_transaction_id.clone())
        .collect();
    let converted: BTreeSet<_> = all
        .iter()
        .filter(|event| event.kind == EventKind::Purchase)
        .map(|event| event.original_transaction_id.clone())
        .collect();
    let rate = range(trials.intersection(&converted).count(), trials.len());
    assert!((370..450).contains(&rate), "{rate}");
}

#[test]
fn churn_declines_with_the_age_of_the_subscription() {
    let mut payments: BTreeMap<String, usize> = BTreeMap::new();
    for event in prompt(20_000) {
        if event.kind.is_payment() && event.dimensions.get(Dimension::Duration) == Some("Monthly") {
            *payments.entry(event.original_transaction_id.unwrap().into_owned()).or_default() += 1;
        }
    }
    let at_least = |n: usize| payments.values().filter(|count| **count >= n).count();
    let kept = |n: usize| at_least(n + 1) * 1_000 / at_least(n);
    assert!(kept(1) < kept(4) && kept(4) < 960, "{} {}", kept(1), kept(4));
}

#[test]
fn chains_begin_with_a_purchase_or_a_trial_and_ended_ones_may_return() {
    let mut state: BTreeMap<String, EventKind> = BTreeMap::new();
    let mut returned = 0;
    for event in prompt(5_000) {
        let Some(chain) = event.original_transaction_id.clone() else {
            continue;
        };
        if event.kind == EventKind::Refund {
            continue;
        }
        let before = state.insert(chain.to_string(), event.kind);
        let begins = matches!(event.kind, EventKind::Purchase | EventKind::TrialStarted);
        assert!(before.is_some() || begins, "{chain} begins with {}", event.kind.name());
        if before == Some(EventKind::Expiration) {
            assert!(event.kind.is_payment());
            returned += 1;
        }
    }
    assert!(returned > 20);
}

#[test]
fn nothing_of_a_customer_happens_after_it_asked_to_be_forgotten() {
    let mut forgotten = BTreeSet::new();
    let all = events(&GeneratorSettings {
        forgets: Share::from_ppm(300_000),
        late: Share::NONE,
        duplicates: Share::NONE,
        ..settings(1_000)
    });
    for event in all {
        assert!(!forgotten.contains(&event.customer_id));
        if event.kind == EventKind::Forget {
            forgotten.insert(event.customer_id);
        }
    }
    assert!(forgotten.len() > 100);
}

#[test]
fn an_open_ended_business_begins_as_the_closed_one_and_goes_on() {
    let closed =
        GeneratorSettings { late: Share::NONE, duplicates: Share::NONE, days: 60, ..settings(300) };
    let open = GeneratorSettings { open_ended: true, ..closed.clone() };
    let all = events(&closed);
    let more: Vec<_> = Generator::new(&open).unwrap().take(all.len() * 3).collect();
    assert_eq!(all[..], more[..all.len()]);
    assert!(count(&more, EventKind::Install) > 300);
}

#[test]
fn a_business_can_end_on_a_given_day() {
    let end = crate::domain::time::Day(20_000);
    let all = events(&GeneratorSettings { days: 30, ..settings(50) }.ending_before(end));
    assert!(all.iter().all(|event| (19_970..20_000).contains(&event.occurred_at.utc_day().0)));
}

/// Not an assertion: prints the pace of one thread. `cargo test --release -- --ignored pace`.
#[test]
#[ignore = "a measurement"]
fn pace() {
    let begin = Instant::now();
    let customers = std::env::var("CUSTOMERS").map_or(200_000, |text| text.parse().unwrap());
    let total = Generator::new(&settings(customers)).unwrap().count();
    let seconds = begin.elapsed().as_secs_f64();
    println!("{total} events in {seconds:.1} s");
}
