//! The stretches of time a chain is paid for or tried.

use super::ledger::Ledger;
use super::money::half_even;

/// A stretch in which a subscription runs.
#[derive(Debug, Clone)]
pub struct Span {
    pub start: i64,
    pub end: i64,
    /// Payment index, 0 for a trial.
    pub index: usize,
    /// Place of the event whose dimensions it has.
    pub event: usize,
    /// Gross, proceeds and net a month.
    pub monthly: [i128; 3],
    /// Whether the chain's next span begins where this one ends.
    pub followed: bool,
}

/// The spans of a chain, each with its final end.
pub fn of(ledger: &Ledger<'_>, chain: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for at in ledger.effective().filter(|at| ledger.chain(*at).as_deref() == Some(chain)) {
        let event = ledger.events[at];
        let now = event.occurred_at;
        if let Some(new) = opened_by(ledger, at) {
            let covers = new.end > new.start;
            if let Some(last) = spans.last_mut().filter(|last| now <= last.end) {
                last.end = now;
                last.followed = covers;
            }
            if covers {
                spans.push(new);
            }
        }
        let Some(last) = spans.last_mut() else { continue };
        match (event.kind.as_str(), event.expires_at) {
            ("grace_period", Some(end)) if now <= last.end => last.end = last.end.max(end),
            ("grace_period", Some(end)) if end > now => {
                let again = Span { start: now, end, followed: false, ..last.clone() };
                spans.push(again);
            }
            ("expiration", _) if now < last.end => last.end = now,
            _ => (),
        }
    }
    spans
}

/// The span that a trial or a payment with a period asks for; its end may lie before its start.
fn opened_by(ledger: &Ledger<'_>, at: usize) -> Option<Span> {
    let event = ledger.events[at];
    let period = event.period?;
    let start = event.occurred_at;
    let end = event.expires_at.unwrap_or_else(|| period.end(start));
    let (numerator, denominator) = period.per_month();
    let (index, monthly) = if event.kind == "trial_started" {
        (0, [0; 3])
    } else if ledger.is_payment(at) {
        let amounts = ledger.app.converted(event);
        let monthly = amounts.map(|amount| half_even(amount * numerator, denominator));
        (ledger.payment_index(at), monthly)
    } else {
        return None;
    };
    Some(Span { start, end, index, event: at, monthly, followed: false })
}
