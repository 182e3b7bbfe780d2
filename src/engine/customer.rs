//! One customer in memory: enough to take the usual event in O(1), and to know when that is not
//! enough.
//!
//! The usual event is newer than all others of its customer and changes the standing of none of
//! them: then one step of the [`Fold`] writes its facts. Everything else recomputes the ledger:
//! `facts(ledger + event) − facts(ledger)`. Both ways must agree; the law tests say so on every
//! run.

use hashbrown::HashSet;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::event::EventKind;
use crate::domain::rules::ZeroPayments;
use crate::domain::time::Timestamp;
use crate::engine::fold::Fold;
use crate::engine::ledger::{Ledger, LedgerEvent};
use crate::engine::standing::{Standing, Suspension, is_paying};

/// Up to so many fingerprints a plain list is searched.
const LIST_MAX: usize = 64;

/// A set of 32-bit hashes of identifiers: "surely not seen" or "look closer".
#[derive(Debug, Clone)]
pub enum Fingerprints {
    List(Vec<u32>),
    Set(Box<HashSet<u32>>),
}

impl Default for Fingerprints {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

fn fingerprint(id: &str) -> u32 {
    let hash = xxh3_64(id.as_bytes());
    u32::try_from(hash >> 32).unwrap_or(0)
}

impl Fingerprints {
    /// `false` means that the id was never inserted.
    pub fn may_contain(&self, id: &str) -> bool {
        match self {
            Self::List(list) => list.contains(&fingerprint(id)),
            Self::Set(set) => set.contains(&fingerprint(id)),
        }
    }

    /// Remembers the id.
    pub fn insert(&mut self, id: &str) {
        match self {
            Self::List(list) if list.len() < LIST_MAX => list.push(fingerprint(id)),
            Self::List(list) => {
                let mut set: HashSet<u32> = list.drain(..).collect();
                set.insert(fingerprint(id));
                *self = Self::Set(Box::new(set));
            }
            Self::Set(set) => {
                set.insert(fingerprint(id));
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Self::List(list) => list.capacity() * 4,
            Self::Set(set) => set.allocation_size(),
        }
    }
}

/// What memory holds of a customer between commits.
#[derive(Debug, Clone, Default)]
pub struct Customer {
    pub fold: Fold,
    newest_at: Option<Timestamp>,
    events: Fingerprints,
    transactions: Fingerprints,
    /// An event waits for another: any new one may be it.
    has_suspended: bool,
    /// A status that names no chain is good only while there is one chain.
    has_unnamed_status: bool,
    /// Accepted since the last commit, in order of arrival.
    pub pending: Vec<LedgerEvent>,
    /// Chunks of history in the store.
    pub chunks: u32,
}

impl Customer {
    /// Whether an event with this id may have been accepted before.
    pub fn may_have(&self, event_id: &str) -> bool {
        self.events.may_contain(event_id)
    }

    /// Takes note of a ledger walked from its beginning.
    pub fn reset(&mut self, fold: Fold, ledger: &Ledger, standings: &[Standing]) {
        self.fold = fold;
        self.newest_at = ledger.events().last().map(|event| event.at);
        self.has_suspended =
            standings.iter().any(|standing| matches!(standing, Standing::Suspended(_)));
        self.has_unnamed_status = ledger.events().iter().zip(standings).any(|(event, standing)| {
            matches!(standing, Standing::ChainStatus { .. }) && event.chain.is_none()
        });
    }

    /// Remembers the identifiers of an accepted event.
    pub fn remember(&mut self, event: &LedgerEvent) {
        self.events.insert(&event.event_id);
        if let (true, Some(transaction)) = (event.kind.is_payment(), &event.transaction_id) {
            self.transactions.insert(transaction);
        }
    }

    /// Takes note of an event whose facts one step of the fold has written.
    pub fn note_appended(&mut self, event: &LedgerEvent) {
        self.newest_at = Some(event.at);
    }

    /// The standing of a new event if one step is enough for it, else `None`.
    pub fn appendable(&self, event: &LedgerEvent, zero: ZeroPayments) -> Option<Standing> {
        let is_newest = self.newest_at.is_some_and(|newest| event.at > newest);
        if !is_newest || self.has_suspended || event.kind == EventKind::Void {
            return None;
        }
        if event.is_sandbox {
            return Some(Standing::Apart);
        }
        match event.kind {
            // The first install moves the anchor of everything before it.
            EventKind::Install => self.fold.anchors.has_install.then_some(Standing::Effective),
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

    fn appendable_payment(&self, event: &LedgerEvent, zero: ZeroPayments) -> Option<Standing> {
        if !self.may_enter(event) {
            return None;
        }
        if !is_paying(event, zero) {
            return Some(Standing::Effective);
        }
        let transaction = event.transaction_id.as_deref()?;
        (!self.transactions.may_contain(transaction)).then_some(Standing::Payment)
    }

    /// Whether the event's chain is known, or a new chain would change nothing for the others.
    fn may_enter(&self, event: &LedgerEvent) -> bool {
        let chain = event.chain.as_deref();
        !self.has_unnamed_status || chain.is_some_and(|chain| self.fold.knows_chain(chain))
    }

    /// Bytes of memory held, roughly.
    pub fn memory_bytes(&self) -> usize {
        let pending: usize =
            self.pending.iter().map(|event| size_of::<LedgerEvent>() + event.event_id.len()).sum();
        size_of::<Self>()
            + self.fold.memory_bytes()
            + self.events.memory_bytes()
            + self.transactions.memory_bytes()
            + pending
    }
}

/// The suspended events of a ledger, in order.
pub fn suspended(ledger: &Ledger, standings: &[Standing]) -> Vec<(Box<str>, Suspension)> {
    let events = ledger.events().iter().zip(standings);
    events
        .filter_map(|(event, standing)| match standing {
            Standing::Suspended(reason) => Some((event.event_id.clone(), *reason)),
            _ => None,
        })
        .collect()
}
