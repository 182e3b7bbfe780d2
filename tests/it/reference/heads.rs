//! Who is counted once: customers and chains by what they paid and gave back, and by what they
//! began.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::Ledger;

/// A change of a count: at which event, what it counts, index, by what dimensions, by how much.
#[derive(Debug)]
pub struct Change {
    pub at: usize,
    pub kind: &'static str,
    pub index: usize,
    pub dims: String,
    pub count: i64,
}

/// All changes of a ledger. `texts` are the dimensions of its events.
pub fn of(ledger: &Ledger<'_>, texts: &[String]) -> Vec<Change> {
    let mut changes = Vec::new();
    for at in ledger.effective() {
        payer(ledger, texts, at, &mut changes);
        subscription(ledger, texts, at, &mut changes);
        starter(ledger, texts, at, &mut changes);
        period_payer(ledger, texts, at, &mut changes);
    }
    changes
}

fn change(at: usize, kind: &'static str, rows: [(String, i64); 2], into: &mut Vec<Change>) {
    if rows[0].0 == rows[1].0 {
        return;
    }
    for (dims, count) in rows {
        if !dims.is_empty() {
            into.push(Change { at, kind, index: 0, dims, count });
        }
    }
}

/// Lowest index paid and whether refunded, by dimensions, as text; empty without a payment.
fn marks(ledger: &Ledger<'_>, texts: &[String], payments: &[usize], refunds: &[usize]) -> String {
    if payments.is_empty() {
        return String::new();
    }
    let mut marks: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
    for refund in refunds {
        marks.insert(&texts[*refund], (0, true));
    }
    for payment in payments {
        let index = ledger.payment_index(*payment);
        let mark = marks.entry(&texts[*payment]).or_default();
        mark.0 = if mark.0 == 0 { index } else { mark.0.min(index) };
    }
    let words = marks.iter().map(|(text, (index, refunded))| {
        format!("{index}{} {text}", if *refunded { "!" } else { "" })
    });
    words.collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>().join(";")
}

fn payer(ledger: &Ledger<'_>, texts: &[String], at: usize, into: &mut Vec<Change>) {
    let before = |end: usize| {
        let payments: Vec<usize> = ledger.payments().filter(|p| *p < end).collect();
        let refunds = ledger.of_kind("refund").filter(|r| *r < end && !ledger.is_unplaced(*r));
        marks(ledger, texts, &payments, &refunds.collect::<Vec<_>>())
    };
    change(at, "Payer", [(before(at), -1), (before(at + 1), 1)], into);
}

fn subscription(ledger: &Ledger<'_>, texts: &[String], at: usize, into: &mut Vec<Change>) {
    let payment = if ledger.is_payment(at) { Some(at) } else { ledger.payment_of(at) };
    let Some(payment) = payment else { return };
    let chain = ledger.chain(payment);
    let before = |end: usize| {
        let of_chain = |payment: usize| ledger.chain(payment) == chain;
        let payments: Vec<usize> = ledger.payments().filter(|p| *p < end && of_chain(*p)).collect();
        let refunds = ledger.of_kind("refund").filter(|r| *r < end);
        let refunds = refunds.filter(|r| ledger.payment_of(*r).is_some_and(of_chain));
        marks(ledger, texts, &payments, &refunds.collect::<Vec<_>>())
    };
    // The first payment of a chain counts the chain as what it is by that payment alone.
    let is_first = ledger.is_payment(at) && ledger.payment_index(at) == 1;
    let old = if is_first { format!("1 {}", texts[at]) } else { before(at) };
    change(at, "Subscription", [(old, -1), (before(at + 1), 1)], into);
}

fn starter(ledger: &Ledger<'_>, texts: &[String], at: usize, into: &mut Vec<Change>) {
    let begins = |at: usize| {
        let event = ledger.events[at];
        let subscribes =
            ledger.is_payment(at) && event.period.is_some() && ledger.payment_index(at) == 1;
        event.kind == "trial_started" || subscribes
    };
    let before = |end: usize| {
        let begun = ledger.effective().filter(|at| *at < end && begins(*at));
        plain(begun.map(|at| texts[at].as_str()).collect())
    };
    change(at, "Starter", [(before(at), -1), (before(at + 1), 1)], into);
}

fn period_payer(ledger: &Ledger<'_>, texts: &[String], at: usize, into: &mut Vec<Change>) {
    if !ledger.is_payment(at) || ledger.payment_index(at) < 2 {
        return;
    }
    let index = ledger.payment_index(at);
    let same = ledger.payments().filter(|p| *p < at && ledger.payment_index(*p) == index);
    let mut paid: BTreeSet<&str> = same.map(|p| texts[p].as_str()).collect();
    if paid.is_empty() {
        return;
    }
    let (old, one) = (plain(paid.clone()), plain(BTreeSet::from([texts[at].as_str()])));
    paid.insert(&texts[at]);
    for (dims, count) in [(old, -1), (one, -1), (plain(paid), 1)] {
        into.push(Change { at, kind: "PeriodPayer", index, dims, count });
    }
}

fn plain(texts: BTreeSet<&str>) -> String {
    texts.into_iter().map(|text| format!("0 {text}")).collect::<Vec<_>>().join(";")
}
