//! The stretches of time a chain is paid for or tried.

use super::ledger::Ledger;

/// A stretch in which a subscription runs.
#[derive(Debug, Clone)]
pub struct Span {
    pub start: i64,
    pub end: i64,
    /// Place of the trial or payment that opened it, whose dimensions and money it has.
    pub event: usize,
}

/// The spans of a chain, each with its final end. Of a trial of what is paid for there is none.
pub fn of(ledger: &Ledger<'_>, chain: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for at in ledger.effective().filter(|at| ledger.chain(*at).as_deref() == Some(chain)) {
        let event = ledger.events[at];
        let now = event.occurred_at;
        let is_paid_for = spans.last().is_some_and(|last| {
            ledger.events[last.event].kind != "trial_started" && now < last.end
        });
        let is_tried = event.kind == "trial_started" && is_paid_for;
        if let Some(new) = opened_by(ledger, at).filter(|_| !is_tried) {
            let covers = new.end > new.start;
            if let Some(last) = spans.last_mut().filter(|last| now <= last.end) {
                last.end = now;
            }
            if covers {
                spans.push(new);
            }
        }
        let Some(last) = spans.last_mut() else { continue };
        match (event.kind.as_str(), event.expires_at) {
            ("grace_period", Some(end)) if now <= last.end => last.end = last.end.max(end),
            ("grace_period", Some(end)) if end > now => {
                let again = Span { start: now, end, ..last.clone() };
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
    let is_trial = event.kind == "trial_started";
    (is_trial || ledger.is_payment(at)).then_some(Span { start, end, event: at })
}
