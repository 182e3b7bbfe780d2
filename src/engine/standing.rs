//! What each event of a ledger counts for: a function of the set of events alone.
//!
//! | event | standing |
//! |---|---|
//! | named by a `void` of its environment | voided, as if it had never been |
//! | of the sandbox | apart: no event of production sees it, and it sees none |
//! | second payment with a transaction id | suspended `duplicate_transaction` |
//! | refund of a payment that is not there | suspended `payment_missing` |
//! | … in another currency than the payment | suspended `refund_currency_mismatch` |
//! | … that with the earlier ones exceeds it | suspended `refund_exceeds_payment` |
//! | status of a chain that is not there, or of none while there are several | suspended `chain_unknown` |
//! | `void` of an event that production does not have, or of a `void` | suspended `void_target_missing` |
//! | anything else | effective |

use std::collections::BTreeMap;

use crate::domain::event::EventKind;
use crate::domain::rules::ZeroPayments;
use crate::engine::ledger::{Ledger, LedgerEvent};
use crate::engine::moment::Moment;

/// Why an accepted event has no effect yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Suspension {
    PaymentMissing = 1,
    RefundExceedsPayment = 2,
    RefundCurrencyMismatch = 3,
    DuplicateTransaction = 4,
    VoidTargetMissing = 5,
    ChainUnknown = 6,
}

impl Suspension {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::PaymentMissing,
        Self::RefundExceedsPayment,
        Self::RefundCurrencyMismatch,
        Self::DuplicateTransaction,
        Self::VoidTargetMissing,
        Self::ChainUnknown,
    ];

    /// The name users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::PaymentMissing => "payment_missing",
            Self::RefundExceedsPayment => "refund_exceeds_payment",
            Self::RefundCurrencyMismatch => "refund_currency_mismatch",
            Self::DuplicateTransaction => "duplicate_transaction",
            Self::VoidTargetMissing => "void_target_missing",
            Self::ChainUnknown => "chain_unknown",
        }
    }
}

/// What an event of a ledger counts for. Places are indices into [`Ledger::events`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A payment that counts.
    Payment,
    /// A refund of the payment at this place.
    LinkedRefund { payment: usize },
    /// A refund of no payment in particular.
    UnlinkedRefund,
    /// A status of the chain that the event at this place belongs to.
    ChainStatus { chain_of: usize },
    /// Any other event that counts, zero payments that are no payments included.
    Effective,
    /// A `void` that removes its target.
    Voiding,
    /// Removed by a `void`.
    Voided,
    /// A sandbox event.
    Apart,
    /// Without effect until the set of events allows it.
    Suspended(Suspension),
}

impl Standing {
    /// Whether the event leaves any trace in facts.
    pub fn is_effective(self) -> bool {
        !matches!(self, Self::Voiding | Self::Voided | Self::Apart | Self::Suspended(_))
    }
}

/// Whether the event is a payment under the app's rule for zero amounts, its standing aside.
pub fn is_paying(event: &LedgerEvent<'_>, zero_payments: ZeroPayments) -> bool {
    let is_zero = event.charge.is_none_or(|charge| charge.paid.gross == 0);
    event.kind.is_payment() && (!is_zero || zero_payments == ZeroPayments::Count)
}

/// The standing of each event, in ledger order.
pub fn standings(ledger: &Ledger<'_>, zero_payments: ZeroPayments) -> Vec<Standing> {
    let events = ledger.events();
    let mut standings = vec![Standing::Effective; events.len()];
    apply_voids(events, &mut standings);
    let payments = find_payments(events, zero_payments, &mut standings);
    link_refunds(events, &payments, &mut standings);
    place_statuses(events, &mut standings);
    standings
}

fn apply_voids(events: &[LedgerEvent<'_>], standings: &mut [Standing]) {
    if events.iter().all(|event| event.kind != EventKind::Void && !event.is_sandbox) {
        return;
    }
    for (standing, event) in standings.iter_mut().zip(events) {
        if event.is_sandbox {
            *standing = Standing::Apart;
        }
    }
    let is_target =
        |event: &LedgerEvent<'_>| !matches!(event.kind, EventKind::Void | EventKind::Forget);
    // Ids are those of one event each.
    let targets = events.iter().enumerate().filter(|(_, event)| is_target(event));
    let targets: BTreeMap<&str, usize> =
        targets.map(|(place, event)| (&*event.event_id, place)).collect();
    for place in 0..events.len() {
        if events[place].kind != EventKind::Void {
            continue;
        }
        let target = events[place].refers_to.as_deref().and_then(|id| targets.get(id).copied());
        let target = target.filter(|at| events[*at].is_sandbox == events[place].is_sandbox);
        standings[place] = match target {
            Some(target) => {
                standings[target] = Standing::Voided;
                Standing::Voiding
            }
            None if events[place].is_sandbox => Standing::Apart,
            None => Standing::Suspended(Suspension::VoidTargetMissing),
        };
    }
}

/// Payments by transaction id; of several with one id the first in the ledger counts.
fn find_payments<'a>(
    events: &'a [LedgerEvent<'_>],
    zero_payments: ZeroPayments,
    standings: &mut [Standing],
) -> BTreeMap<&'a str, usize> {
    let mut payments = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        if standings[place] != Standing::Effective || !is_paying(event, zero_payments) {
            continue;
        }
        let transaction = event.transaction_id.as_deref().unwrap_or(&event.event_id);
        standings[place] = match payments.entry(transaction) {
            std::collections::btree_map::Entry::Occupied(_) => {
                Standing::Suspended(Suspension::DuplicateTransaction)
            }
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(place);
                Standing::Payment
            }
        };
    }
    payments
}

fn link_refunds(
    events: &[LedgerEvent<'_>],
    payments: &BTreeMap<&str, usize>,
    standings: &mut [Standing],
) {
    let mut refunded: BTreeMap<usize, i64> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        if standings[place] != Standing::Effective || event.kind != EventKind::Refund {
            continue;
        }
        standings[place] = match event.transaction_id.as_deref() {
            None => Standing::UnlinkedRefund,
            Some(transaction) => match payments.get(transaction) {
                None => Standing::Suspended(Suspension::PaymentMissing),
                Some(payment) => link_refund(events, event, *payment, &mut refunded),
            },
        };
    }
}

fn link_refund(
    events: &[LedgerEvent<'_>],
    refund: &LedgerEvent<'_>,
    payment: usize,
    refunded: &mut BTreeMap<usize, i64>,
) -> Standing {
    let (Some(given_back), Some(paid)) = (refund.charge, events[payment].charge) else {
        return Standing::Suspended(Suspension::PaymentMissing);
    };
    if given_back.currency != paid.currency {
        return Standing::Suspended(Suspension::RefundCurrencyMismatch);
    }
    let total = refunded.entry(payment).or_default();
    // Both are at most 10^15, so the sum cannot overflow.
    if *total + given_back.paid.gross > paid.paid.gross {
        return Standing::Suspended(Suspension::RefundExceedsPayment);
    }
    *total += given_back.paid.gross;
    Standing::LinkedRefund { payment }
}

/// The places of the payments that their effective refunds give back in full, rising. A payment
/// refunded in part is not among them.
pub fn refunded(ledger: &Ledger<'_>, standings: &[Standing]) -> Vec<usize> {
    let events = ledger.events();
    let gross = |place: usize| events[place].charge.map_or(0, |charge| charge.paid.gross);
    let mut given_back: BTreeMap<usize, i64> = BTreeMap::new();
    for (place, standing) in standings.iter().enumerate() {
        if let Standing::LinkedRefund { payment } = standing {
            *given_back.entry(*payment).or_default() += gross(place);
        }
    }
    let whole = given_back.into_iter().filter(|(payment, total)| *total >= gross(*payment));
    whole.map(|(payment, _)| payment).collect()
}

/// Whether the event makes its chain exist.
fn founds_chain(event: &LedgerEvent<'_>, standing: Standing) -> bool {
    matches!(standing, Standing::Payment | Standing::Effective)
        && (event.kind.is_payment() || event.kind == EventKind::TrialStarted)
}

fn place_statuses(events: &[LedgerEvent<'_>], standings: &mut [Standing]) {
    if !events.iter().any(|event| event.kind.is_chain_status()) {
        return;
    }
    let mut chains: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        if let (true, Some(chain)) = (founds_chain(event, standings[place]), &event.chain) {
            chains.entry(chain).or_insert(place);
        }
    }
    for (place, event) in events.iter().enumerate() {
        if standings[place] != Standing::Effective || !event.kind.is_chain_status() {
            continue;
        }
        let founder = match &event.chain {
            Some(chain) => chains.get(&**chain).copied(),
            None if chains.len() == 1 => chains.values().next().copied(),
            None => None,
        };
        standings[place] = match founder {
            Some(chain_of) => Standing::ChainStatus { chain_of },
            None => Standing::Suspended(Suspension::ChainUnknown),
        };
    }
}

/// What all of a customer's facts refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Anchors {
    /// The install, or the first event that is not a refund where no install is known.
    pub install_at: Moment,
    /// Whether `install_at` is a real install.
    pub has_install: bool,
    pub first_payment_at: Moment,
}

impl Anchors {
    /// The anchors of a ledger with these standings.
    pub fn of(ledger: &Ledger<'_>, standings: &[Standing]) -> Self {
        let mut anchors = Self::default();
        for (event, standing) in ledger.events().iter().zip(standings) {
            if !standing.is_effective() {
                continue;
            }
            if event.kind == EventKind::Install && !anchors.has_install {
                anchors.install_at = event.at.into();
                anchors.has_install = true;
            }
            if event.kind != EventKind::Refund {
                anchors.install_at.set_first(event.at);
            }
            if *standing == Standing::Payment {
                anchors.first_payment_at.set_first(event.at);
            }
        }
        anchors
    }
}
