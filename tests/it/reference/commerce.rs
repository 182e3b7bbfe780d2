//! Orders of periods straight from the ledgers, customer by customer, without facts in between.

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::calendar::day;
use super::ledger::Ledger;

/// One period, both days in it; nothing after `until` counts.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub start: NaiveDate,
    pub end: NaiveDate,
    pub zone: Tz,
    pub until: NaiveDate,
}

/// Sums of a period, money in micro-units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub orders: i128,
    pub gross: i128,
    /// Gross less all refunds.
    pub value: i128,
    pub existing: i128,
    pub new: i128,
    /// Days between the first and the last order of each customer.
    pub days: i128,
    pub refunds: i128,
    pub refunded: i128,
}

/// The figures of a period over these customers.
pub fn of<'a>(ledgers: impl Iterator<Item = Ledger<'a>>, span: &Span) -> Figures {
    let mut figures = Figures::default();
    for ledger in ledgers {
        customer(&ledger, span, &mut figures);
    }
    figures.value = figures.gross - figures.refunded;
    figures
}

fn customer(ledger: &Ledger<'_>, span: &Span, figures: &mut Figures) {
    let day_of = |at: usize| day(ledger.events[at].occurred_at, span.zone);
    let gross = |at: usize| ledger.app.converted(ledger.events[at])[0];
    let seen = |at: &usize| day_of(*at) <= span.until;
    let inside = |at: &usize| span.start <= day_of(*at) && day_of(*at) <= span.end;
    let orders: Vec<usize> = ledger.payments().filter(seen).filter(inside).collect();
    let refunds: Vec<usize> = ledger.of_kind("refund").filter(seen).collect();
    for order in &orders {
        figures.orders += 1;
        figures.gross += gross(*order);
        let of_order = refunds.iter().filter(|at| ledger.payment_of(**at) == Some(*order));
        let given_back: Vec<i128> = of_order.map(|at| gross(*at)).collect();
        figures.refunds += i128::from(!given_back.is_empty());
        figures.refunded += given_back.iter().sum::<i128>();
    }
    for refund in refunds.iter().filter(|at| ledger.payment_of(**at).is_none() && inside(at)) {
        figures.refunds += 1;
        figures.refunded += gross(*refund);
    }
    let (Some(first), Some(last)) = (orders.first(), orders.last()) else { return };
    if ledger.payments().any(|at| day_of(at) < span.start) {
        figures.existing += 1;
    } else {
        figures.new += 1;
    }
    figures.days += i128::from((day_of(*last) - day_of(*first)).num_days());
}
