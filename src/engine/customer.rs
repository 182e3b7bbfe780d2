//! One customer in memory: enough to take the usual event in O(1), and to know when that is not
//! enough.
//!
//! The usual event comes after all others of its customer and changes the standing of none of
//! them: then one step of the [`Fold`] writes its facts. Everything else recomputes the ledger:
//! `facts(ledger + event) − facts(ledger)`. Both ways must agree; the law tests say so on every
//! run.

use std::cmp::Ordering;

use hashbrown::HashSet;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::event::EventKind;
use crate::domain::rules::ZeroPayments;
use crate::engine::fold::Fold;
use crate::engine::ledger::{Ledger, LedgerEvent};
use crate::engine::moment::Moment;
use crate::engine::packed::{PendingAt, PendingLog};
use crate::engine::shard::ChunkPlace;
use crate::engine::standing::{Standing, Suspension, is_paying};

/// Up to so many fingerprints a plain list is searched.
const LIST_MAX: usize = 64;

/// A set of 32-bit hashes of identifiers: "surely not seen" or "look closer".
#[derive(Debug, Clone)]
enum Fingerprints {
    List(SmallVec<[u32; 6]>),
    Set(Box<HashSet<u32>>),
}

impl Default for Fingerprints {
    fn default() -> Self {
        Self::List(SmallVec::new())
    }
}

/// The fingerprint of an event id.
fn of_event(event_id: &str) -> u32 {
    u32::try_from(xxh3_64(event_id.as_bytes()) >> 32).unwrap_or(0)
}

/// The fingerprint of a payment's transaction id; another one than that of an event of this id.
fn of_transaction(transaction_id: &str) -> u32 {
    u32::try_from(xxh3_64(transaction_id.as_bytes()) & u64::from(u32::MAX)).unwrap_or(0)
}

impl Fingerprints {
    /// `false` means that it was never inserted.
    fn may_contain(&self, fingerprint: u32) -> bool {
        match self {
            Self::List(list) => list.contains(&fingerprint),
            Self::Set(set) => set.contains(&fingerprint),
        }
    }

    fn insert(&mut self, fingerprint: u32) {
        match self {
            Self::List(list) if list.len() < LIST_MAX => list.push(fingerprint),
            Self::List(list) => {
                let mut set: HashSet<u32> = list.drain(..).collect();
                set.insert(fingerprint);
                *self = Self::Set(Box::new(set));
            }
            Self::Set(set) => {
                set.insert(fingerprint);
            }
        }
    }

    /// Bytes of memory held outside the struct itself.
    fn memory_bytes(&self) -> usize {
        match self {
            Self::List(list) if list.spilled() => list.capacity() * 4,
            Self::List(_) => 0,
            Self::Set(set) => size_of::<HashSet<u32>>() + set.allocation_size(),
        }
    }
}

/// What memory holds of a customer between commits.
#[derive(Debug, Clone, Default)]
pub struct Customer {
    pub fold: Fold,
    newest_at: Moment,
    /// All events at `newest_at` came since the last commit that took some of the customer: while they
    /// wait their ids can be read.
    is_newest_pending: bool,
    /// Of events and of the transactions of payments.
    identifiers: Fingerprints,
    /// An event waits for another: any new one may be it.
    has_suspended: bool,
    /// A status that names no chain is good only while there is one chain.
    has_unnamed_status: bool,
    /// The newest event that waits for a commit, as long as one does.
    pub pending: PendingAt,
    /// Chunks of history, with one that a commit is writing and one that waits for the next.
    pub chunks: u32,
    /// The customer's places in the last two commits that took events of it, or will.
    pub places: [ChunkPlace; 2],
}

impl Customer {
    /// A customer with so many stored chunks, of whose events nothing is known yet.
    pub fn stored(chunks: u32) -> Self {
        Self { chunks, ..Self::default() }
    }

    /// Reads something of every part of the row, to have it at hand.
    pub fn look_at(&self) -> u64 {
        let identifiers = match &self.identifiers {
            Fingerprints::List(list) => list.first().copied().unwrap_or_default(),
            Fingerprints::Set(_) => 0,
        };
        let newest_at = self.newest_at.get().map_or(0, |at| at.0.unsigned_abs());
        self.fold.look_at() ^ newest_at ^ u64::from(identifiers ^ self.chunks)
    }

    /// Whether an event with this id may have been accepted before.
    pub fn may_have(&self, event_id: &str) -> bool {
        self.identifiers.may_contain(of_event(event_id))
    }

    /// Takes note of a ledger walked from its beginning.
    pub fn reset(&mut self, fold: Fold, ledger: &Ledger<'_>, standings: &[Standing]) {
        self.fold = fold;
        let newest = ledger.events().last();
        self.newest_at = newest.map(|event| event.at.into()).unwrap_or_default();
        self.is_newest_pending = false;
        self.has_suspended =
            standings.iter().any(|standing| matches!(standing, Standing::Suspended(_)));
        self.has_unnamed_status = ledger.events().iter().zip(standings).any(|(event, standing)| {
            matches!(standing, Standing::ChainStatus { .. }) && event.chain.is_none()
        });
    }

    /// Remembers the identifiers of an accepted event.
    pub fn remember(&mut self, event: &LedgerEvent<'_>) {
        self.identifiers.insert(of_event(&event.event_id));
        if let (true, Some(transaction)) = (event.kind.is_payment(), &event.transaction_id) {
            self.identifiers.insert(of_transaction(transaction));
        }
    }

    /// Takes note of an event whose facts one step of the fold has written; whether others wait for the
    /// next commit.
    pub fn note_appended(&mut self, event: &LedgerEvent<'_>, is_waiting: bool) {
        self.is_newest_pending &= is_waiting;
        self.is_newest_pending |= self.newest_at.get().is_none_or(|newest| event.at > newest);
        self.newest_at = event.at.into();
    }

    /// The standing of a new event if one step is enough for it, else `None`; `waiting` holds events that
    /// wait for the next commit, if some are the customer's.
    pub fn appendable(
        &self,
        event: &LedgerEvent,
        zero: ZeroPayments,
        waiting: Option<&PendingLog>,
    ) -> Option<Standing> {
        if self.has_suspended || event.kind == EventKind::Void || !self.is_last(event, waiting) {
            return None;
        }
        if event.is_sandbox {
            return Some(Standing::Apart);
        }
        match event.kind {
            // The first install moves the anchor of everything before it.
            EventKind::Install => {
                let is_settled = self.fold.anchors.has_install || self.newest_at.get().is_none();
                is_settled.then_some(Standing::Effective)
            }
            EventKind::PaywallView | EventKind::Attribution => Some(Standing::Effective),
            EventKind::Refund => event.transaction_id.is_none().then_some(Standing::UnlinkedRefund),
            EventKind::TrialStarted => self.may_enter(event).then_some(Standing::Effective),
            EventKind::Purchase | EventKind::Renewal => self.appendable_payment(event, zero),
            kind if kind.is_chain_status() => {
                let chain = event.chain.as_deref()?;
                let status = Standing::ChainStatus { chain_of: usize::MAX };
                self.fold.knows_chain(chain).then_some(status)
            }
            _ => None,
        }
    }

    /// Whether the event comes after all others in the order of the ledger, as far as is known.
    fn is_last(&self, event: &LedgerEvent, waiting: Option<&PendingLog>) -> bool {
        let Some(newest_at) = self.newest_at.get() else { return true };
        match event.at.cmp(&newest_at) {
            Ordering::Greater => true,
            // A status counts for its chain alone; a payment also for refunds of its instant.
            Ordering::Equal if self.is_newest_pending && event.kind.is_chain_status() => {
                let is_after = |log: &PendingLog| {
                    let known = log.events(self.pending);
                    known.iter().all(|known| known.position() < event.position())
                };
                waiting.is_some_and(is_after)
            }
            Ordering::Equal | Ordering::Less => false,
        }
    }

    fn appendable_payment(&self, event: &LedgerEvent, zero: ZeroPayments) -> Option<Standing> {
        if !self.may_enter(event) {
            return None;
        }
        if !is_paying(event, zero) {
            return Some(Standing::Effective);
        }
        let transaction = event.transaction_id.as_deref()?;
        let is_new = !self.identifiers.may_contain(of_transaction(transaction));
        is_new.then_some(Standing::Payment)
    }

    /// Whether the event's chain is known, or a new chain would change nothing for the others.
    fn may_enter(&self, event: &LedgerEvent) -> bool {
        let chain = event.chain.as_deref();
        !self.has_unnamed_status || chain.is_some_and(|chain| self.fold.knows_chain(chain))
    }

    /// Bytes of memory held outside the struct itself.
    pub fn memory_bytes(&self) -> usize {
        self.fold.memory_bytes() + self.identifiers.memory_bytes()
    }
}

/// The suspended events of a ledger, in order.
pub fn suspended(ledger: &Ledger<'_>, standings: &[Standing]) -> Vec<(Box<str>, Suspension)> {
    let events = ledger.events().iter().zip(standings);
    events
        .filter_map(|(event, standing)| match standing {
            Standing::Suspended(reason) => Some((Box::from(&*event.event_id), *reason)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn event(kind: EventKind, id: &'static str, at: i64) -> LedgerEvent<'static> {
        LedgerEvent {
            at: Timestamp(at),
            event_id: id.into(),
            kind,
            is_sandbox: true,
            charge: None,
            transaction_id: None,
            chain: Some("chain".into()),
            period: None,
            expires_at: None,
            refers_to: None,
            device_id: None,
            cancellation_reason: 0,
            own_tuple: 0,
        }
    }

    #[test]
    fn at_one_instant_ids_tell_which_status_comes_last_while_all_are_pending() {
        let (mut customer, mut pending) = (Customer::default(), PendingLog::default());
        let status = |id, at| event(EventKind::GracePeriod, id, at);
        let is_appendable = |customer: &Customer, waiting: Option<&PendingLog>, id, at| {
            customer.appendable(&status(id, at), ZeroPayments::Ignore, waiting).is_some()
        };
        for (id, at) in [("a", 1), ("m", 2), ("n", 2)] {
            let is_waiting = id != "a";
            assert!(is_appendable(&customer, Some(&pending), id, at), "{id}");
            customer.note_appended(&status(id, at), is_waiting);
            customer.pending = pending.push(&status(id, at), customer.pending);
        }
        let payment = event(EventKind::Purchase, "o", 2);
        assert_eq!(customer.appendable(&payment, ZeroPayments::Ignore, Some(&pending)), None);
        assert!(is_appendable(&customer, Some(&pending), "o", 2));
        assert!(!is_appendable(&customer, Some(&pending), "mm", 2), "between two of one instant");
        assert!(!is_appendable(&customer, Some(&pending), "o", 1), "late");
        assert!(!is_appendable(&customer, None, "o", 2), "the others are in the store");
        assert!(is_appendable(&customer, None, "a", 3));
        // The first event since is of that instant, too: what was stored before it is not at hand.
        customer.note_appended(&status("o", 2), false);
        assert!(!is_appendable(&customer, Some(&pending), "p", 2));
    }
}
