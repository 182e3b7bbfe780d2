//! On which days the set of running subscriptions changed, worked out day by day.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::calendar::day;
use super::ledger::Ledger;
use super::spans;

/// The first and the day after the last day of a subscription's stretch, and its text.
type Stretch = (NaiveDate, NaiveDate, String);

/// The day from which nothing runs any more, and the changes before it in words; nothing if
/// nothing ever ran at the end of a day.
pub fn of(
    ledger: &Ledger<'_>,
    zone: Tz,
    texts: &[String],
    without_refunded: bool,
) -> Option<(NaiveDate, String)> {
    let stretches = stretches(ledger, zone, texts, without_refunded);
    let days: BTreeSet<NaiveDate> =
        stretches.iter().flat_map(|(start, end, _)| [*start, *end]).collect();
    let mut changes: Vec<(NaiveDate, String)> = Vec::new();
    let mut now = String::new();
    for day in days {
        let mut running: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, _, text) in stretches.iter().filter(|(start, end, _)| *start <= day && day < *end) {
            *running.entry(text).or_default() += 1;
        }
        let mut state: Vec<String> =
            running.iter().map(|(text, count)| format!("{count} {text}")).collect();
        state.sort();
        let state = state.join(";");
        if state != now {
            changes.push((day, state.clone()));
            now = state;
        }
    }
    let (lapse, _) = changes.pop()?;
    let changes = changes.into_iter().map(|(day, state)| format!("{day}{{{state}}}"));
    Some((lapse, changes.collect::<Vec<_>>().join(" ")))
}

/// All stretches.
fn stretches(
    ledger: &Ledger<'_>,
    zone: Tz,
    texts: &[String],
    without_refunded: bool,
) -> Vec<Stretch> {
    let mut chains: Vec<String> = Vec::new();
    for chain in ledger.effective().filter_map(|at| ledger.chain(at)) {
        if !chains.contains(&chain) {
            chains.push(chain);
        }
    }
    let mut stretches = Vec::new();
    for chain in &chains {
        for span in spans::of(ledger, chain) {
            if without_refunded && is_refunded(ledger, span.event) {
                continue;
            }
            let text = format!("{} {}", terms(ledger, span.event), texts[span.event]);
            stretches.push((day(span.start, zone), day(span.end, zone), text));
        }
    }
    stretches
}

fn terms(ledger: &Ledger<'_>, at: usize) -> String {
    let event = ledger.events[at];
    match event.period {
        Some(period) if event.kind != "trial_started" => {
            let [gross, proceeds, net] = ledger.app.converted(event);
            format!("{gross}/{proceeds}/{net} P{}{}", period.count, period.unit)
        }
        _ => "trial".to_owned(),
    }
}

/// Whether the linked refunds of a payment give back all of it.
pub fn is_refunded(ledger: &Ledger<'_>, payment: usize) -> bool {
    let refunds = ledger.of_kind("refund").filter(|at| ledger.payment_of(*at) == Some(payment));
    let given_back: Vec<i64> = refunds.map(|at| ledger.events[at].gross()).collect();
    !given_back.is_empty() && given_back.iter().sum::<i64>() == ledger.events[payment].gross()
}
