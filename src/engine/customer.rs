//! One customer in memory: enough to take the usual event in O(1), and to know when that is not
//! enough.
//!
//! The usual event comes after all others of its customer and changes the standing of none of
//! them: then one step of the [`Fold`] writes its facts. Everything else recomputes the ledger:
//! `facts(ledger + event) − facts(ledger)`. Both ways must agree; the law tests say so on every
//! run.

use std::cmp::Ordering;

use hashbrown::HashSet;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::domain::event::EventKind;
use crate::domain::rules::ZeroPayments;
use crate::engine::fold::Fold;
use crate::engine::ledger::{Ledger, LedgerEvent};
use crate::engine::moment::Moment;
use crate::engine::numbers::{NumberBytes, NumberReader, Numbers};
use crate::engine::shard::{Chunks, Waiting};
use crate::engine::standing::{Standing, Suspension, is_paying};
use crate::engine::timelines::PathId;

/// So many fingerprints are kept as short ones.
const SHORT_MAX: usize = 128;
/// Tells a chain from an event of the same id.
const CHAIN_SEED: u64 = 1;

/// Hashes of identifiers: "surely not seen" or "look closer".
///
/// The first are 16 bits long, which lets one in a thousand events of a customer look closer for nothing
/// when there are sixty of them; those of a customer that has very many are 32 bits long, and the first become
/// so when its ledger is walked next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprints {
    short: Vec<u16>,
    long: HashSet<u32>,
}

/// The fingerprint of an event id.
fn of_event(event_id: &str) -> u32 {
    u32::try_from(xxh3_64(event_id.as_bytes()) >> 32).unwrap_or(0)
}

/// The fingerprint of a payment's transaction id; another one than that of an event of this id.
fn of_transaction(transaction_id: &str) -> u32 {
    u32::try_from(xxh3_64(transaction_id.as_bytes()) & u64::from(u32::MAX)).unwrap_or(0)
}

/// The fingerprint of a chain that a status waits for.
fn of_chain(chain: &str) -> u32 {
    u32::try_from(xxh3_64_with_seed(chain.as_bytes(), CHAIN_SEED) >> 32).unwrap_or(0)
}

fn short(fingerprint: u32) -> u16 {
    (fingerprint >> 16) as u16
}

impl Fingerprints {
    /// `false` means that it was never inserted.
    fn may_contain(&self, fingerprint: u32) -> bool {
        self.short.contains(&short(fingerprint)) || self.long.contains(&fingerprint)
    }

    fn insert(&mut self, fingerprint: u32) {
        if self.short.len() < SHORT_MAX && self.long.is_empty() {
            self.short.push(short(fingerprint));
        } else {
            self.long.insert(fingerprint);
        }
    }

    /// All of them as short ones, if they are few enough.
    pub fn as_short(&self) -> Option<&[u16]> {
        self.long.is_empty().then_some(&self.short)
    }

    /// Becomes what [`Fingerprints::as_short`] gave.
    pub fn set_short(&mut self, fingerprints: impl Iterator<Item = u16>) {
        self.short.clear();
        self.short.extend(fingerprints);
        self.long.clear();
    }
}

/// What memory holds of a customer between commits, as it is worked with; the others lie packed
/// ([`customers`](super::customers)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Customer {
    pub fold: Fold,
    newest_at: Moment,
    /// All events at `newest_at` came since the last commit that took some of the customer: while they
    /// wait their ids can be read.
    is_newest_pending: bool,
    /// A status waits for its chain: any new one may be it.
    has_waiting_status: bool,
    /// A status that names no chain is good only while there is one chain.
    has_unnamed_status: bool,
    /// Of events and of the transactions of payments, and of those that others wait for.
    pub identifiers: Fingerprints,
    /// Of its history.
    pub chunks: Chunks,
}

impl Customer {
    /// A customer with so many stored chunks, of whose events nothing is known yet.
    pub fn stored(chunks: u32) -> Self {
        Self { chunks: Chunks::stored(chunks), ..Self::default() }
    }

    /// Becomes a customer of which nothing is known, with what memory it has.
    pub fn clear(&mut self) {
        self.pass(&mut NumberReader::new(&NumberBytes::AS_GUESSED), 0);
        self.identifiers.set_short(std::iter::empty());
        self.chunks = Chunks::default();
    }

    /// Passes all numbers that it is made of but chunks, fingerprints and the path of its timeline.
    #[inline]
    pub fn pass(&mut self, numbers: &mut impl Numbers, path: PathId) {
        numbers.flags([
            &mut self.fold.anchors.has_install,
            &mut self.fold.has_customer_row,
            &mut self.is_newest_pending,
            &mut self.has_waiting_status,
            &mut self.has_unnamed_status,
        ]);
        self.fold.pass(numbers, path);
        numbers.moment(&mut self.newest_at, self.fold.last_payment_at);
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
        self.has_waiting_status =
            standings.contains(&Standing::Suspended(Suspension::ChainUnknown));
        self.remember_awaited(ledger, standings);
        self.has_unnamed_status = ledger.events().iter().zip(standings).any(|(event, standing)| {
            matches!(standing, Standing::ChainStatus { .. }) && event.chain.is_none()
        });
    }

    /// Remembers the identifiers that suspended events wait for, as if what has them were there: who comes
    /// with one of them is looked at closer. Those of a large ledger are all written down anew, as long ones.
    fn remember_awaited(&mut self, ledger: &Ledger<'_>, standings: &[Standing]) {
        if !self.identifiers.short.is_empty() && !self.identifiers.long.is_empty() {
            self.identifiers.short.clear();
            ledger.events().iter().for_each(|event| self.remember(event));
        }
        for (event, standing) in ledger.events().iter().zip(standings) {
            let awaited = match standing {
                Standing::Suspended(Suspension::PaymentMissing) => {
                    event.transaction_id.as_deref().map(of_transaction)
                }
                Standing::Suspended(Suspension::VoidTargetMissing) => {
                    event.refers_to.as_deref().map(of_event)
                }
                Standing::Suspended(Suspension::ChainUnknown) => {
                    event.chain.as_deref().map(of_chain)
                }
                _ => None,
            };
            if let Some(awaited) = awaited.filter(|awaited| !self.identifiers.may_contain(*awaited))
            {
                self.identifiers.insert(awaited);
            }
        }
    }

    /// Remembers an event id, and nothing else of the event.
    pub(super) fn remember_id(&mut self, event_id: &str) {
        self.identifiers.insert(of_event(event_id));
    }

    /// Remembers the identifiers of an accepted event.
    pub fn remember(&mut self, event: &LedgerEvent<'_>) {
        self.remember_id(&event.event_id);
        if let (true, Some(transaction)) = (event.kind.is_payment(), &event.transaction_id) {
            self.identifiers.insert(of_transaction(transaction));
        }
    }

    /// Takes note of an event whose facts one step of the fold has written; whether others wait for the
    /// next commit.
    pub fn note_appended(&mut self, event: &LedgerEvent<'_>, is_waiting: bool) {
        self.is_newest_pending &= is_waiting;
        if self.newest_at.get().is_none_or(|newest| event.at > newest) {
            self.is_newest_pending = true;
            self.newest_at = event.at.into();
        }
    }

    /// The standing of a new event if one step is enough for it, else `None`; `waiting` gives the events
    /// that wait for the next commit, if some are the customer's.
    pub fn appendable<'w>(
        &self,
        event: &LedgerEvent,
        zero: ZeroPayments,
        waiting: impl FnOnce() -> Option<Waiting<'w>>,
    ) -> Option<Standing> {
        let is_void = event.kind == EventKind::Void;
        if is_void || !(self.tells_nothing(event) || self.is_last(event, waiting)) {
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

    /// Whether no fact tells of the event, wherever in the ledger it comes: a view is of account only as the first
    /// event of who has no install.
    fn tells_nothing(&self, event: &LedgerEvent) -> bool {
        let anchors = &self.fold.anchors;
        event.kind == EventKind::PaywallView
            && self.fold.has_customer_row
            && (anchors.has_install
                || anchors.install_at.get().is_some_and(|first| event.at > first))
    }

    /// Whether the event comes after all others in the order of the ledger, as far as is known.
    fn is_last<'w>(
        &self,
        event: &LedgerEvent,
        waiting: impl FnOnce() -> Option<Waiting<'w>>,
    ) -> bool {
        let Some(newest_at) = self.newest_at.get() else { return true };
        match event.at.cmp(&newest_at) {
            Ordering::Greater => true,
            // A status counts for its chain alone; a payment also for refunds of its instant.
            Ordering::Equal if self.is_newest_pending && event.kind.is_chain_status() => {
                let is_after = |known: &LedgerEvent<'_>| known.position() < event.position();
                waiting().is_some_and(|waiting| waiting.events().iter().all(is_after))
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
        if !(self.has_unnamed_status || self.has_waiting_status) {
            return true;
        }
        let Some(chain) = event.chain.as_deref() else { return false };
        // A status that names no chain waits for the first; with a second one it has none any more.
        let is_settled = !self.has_unnamed_status && self.fold.has_chains();
        self.fold.knows_chain(chain)
            || (is_settled && !self.identifiers.may_contain(of_chain(chain)))
    }

    /// Bytes of memory held, with the struct itself.
    pub fn memory_bytes(&self) -> usize {
        let Fingerprints { short, long } = &self.identifiers;
        let identifiers = short.capacity() * size_of::<u16>() + long.allocation_size();
        size_of::<Self>() + self.fold.memory_bytes() + identifiers
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
    use crate::domain::money::{Amounts, Currency};
    use crate::domain::rules::Rules;
    use crate::domain::time::Timestamp;
    use crate::engine::dictionary::Dictionary;
    use crate::engine::fold::delta::FactDelta;
    use crate::engine::fold::{Scribe, facts};
    use crate::engine::ledger::LedgerCharge;
    use crate::engine::packed::{PendingAt, PendingLog};

    fn event(kind: EventKind, id: &'static str, at: i64) -> LedgerEvent<'static> {
        LedgerEvent {
            is_sandbox: true,
            chain: Some("chain".into()),
            ..LedgerEvent::bare(kind, id, Timestamp(at))
        }
    }

    #[test]
    fn at_one_instant_ids_tell_which_status_comes_last_while_all_are_pending() {
        let (mut customer, mut log) = (Customer::default(), PendingLog::default());
        let mut newest = PendingAt::default();
        let status = |id, at| event(EventKind::GracePeriod, id, at);
        let is_appendable = |customer: &Customer, waiting: Option<Waiting<'_>>, id, at| {
            customer.appendable(&status(id, at), ZeroPayments::Ignore, || waiting).is_some()
        };
        for (id, at) in [("a", 1), ("m", 2), ("n", 2)] {
            let is_waiting = id != "a";
            assert!(is_appendable(&customer, Some(Waiting { log: &log, newest }), id, at), "{id}");
            customer.note_appended(&status(id, at), is_waiting);
            newest = log.push(&status(id, at), newest);
        }
        let waiting = Some(Waiting { log: &log, newest });
        let payment = event(EventKind::Purchase, "o", 2);
        assert_eq!(customer.appendable(&payment, ZeroPayments::Ignore, || waiting), None);
        assert!(is_appendable(&customer, waiting, "o", 2));
        assert!(!is_appendable(&customer, waiting, "mm", 2), "between two of one instant");
        assert!(!is_appendable(&customer, waiting, "o", 1), "late");
        assert!(!is_appendable(&customer, None, "o", 2), "the others are in the store");
        assert!(is_appendable(&customer, None, "a", 3));
        // The first event since is of that instant, too: what was stored before it is not at hand.
        customer.note_appended(&status("o", 2), false);
        assert!(!is_appendable(&customer, waiting, "p", 2));
    }

    #[test]
    fn a_late_view_needs_no_walk_unless_it_might_place_the_customer() {
        let event = |kind, at| LedgerEvent { is_sandbox: false, ..event(kind, "id", at) };
        let customer_of = |first: EventKind| {
            let mut customer = Customer::default();
            let ledger = Ledger::new(vec![event(first, 5), event(EventKind::Attribution, 9)]);
            let standings = crate::engine::standing::standings(&ledger, ZeroPayments::Ignore);
            customer.reset(fold_of(&ledger), &ledger, &standings);
            customer
        };
        let is_appendable = |customer: &Customer, kind, at| {
            customer.appendable(&event(kind, at), ZeroPayments::Ignore, || None).is_some()
        };
        let (installed, viewed) =
            (customer_of(EventKind::Install), customer_of(EventKind::PaywallView));
        let view = EventKind::PaywallView;
        assert_eq!([4, 5, 6].map(|at| is_appendable(&installed, view, at)), [true; 3]);
        assert_eq!([4, 5, 6].map(|at| is_appendable(&viewed, view, at)), [false, false, true]);
        assert!(!is_appendable(&installed, EventKind::Attribution, 6));
        // The newest stays the newest.
        let mut customer = installed;
        customer.note_appended(&event(view, 6), true);
        assert_eq!(
            (customer.newest_at.get(), customer.is_newest_pending),
            (Some(Timestamp(9)), false)
        );
        customer.note_appended(&event(view, 10), true);
        assert_eq!(
            (customer.newest_at.get(), customer.is_newest_pending),
            (Some(Timestamp(10)), true)
        );
    }

    #[test]
    fn suspended_events_stop_only_those_that_they_may_wait_for() {
        let event = |kind, id, at| LedgerEvent { is_sandbox: false, ..event(kind, id, at) };
        let amounts = Amounts { gross: 5, proceeds: 5, net: 5 };
        let charge = LedgerCharge {
            paid: amounts,
            currency: Currency::USD,
            own_rate: None,
            reporting: amounts,
        };
        let of_transaction = |kind, id, at, transaction: &'static str| LedgerEvent {
            charge: Some(charge),
            transaction_id: Some(transaction.into()),
            ..event(kind, id, at)
        };
        let waiting = [
            of_transaction(EventKind::Refund, "r", 1, "t1"),
            LedgerEvent { refers_to: Some("gone".into()), ..event(EventKind::Void, "v", 2) },
        ];
        let customer_of = |events: Vec<LedgerEvent<'static>>| {
            let mut customer = Customer::default();
            events.iter().for_each(|event| customer.remember(event));
            let ledger = Ledger::new(events);
            let standings = crate::engine::standing::standings(&ledger, ZeroPayments::Ignore);
            assert_eq!(suspended(&ledger, &standings).len(), ledger.events().len());
            for _ in 0..3 {
                customer.reset(Fold::default(), &ledger, &standings);
            }
            customer
        };
        let customer = customer_of(waiting.to_vec());
        // Two ids, and what they wait for, once each.
        assert_eq!(customer.identifiers.as_short().map(<[u16]>::len), Some(4));
        let standing = |customer: &Customer, event: &LedgerEvent<'_>| {
            customer.appendable(event, ZeroPayments::Ignore, || None)
        };
        let payment = |transaction| of_transaction(EventKind::Purchase, "p", 5, transaction);
        let view = event(EventKind::PaywallView, "w", 5);
        assert_eq!(standing(&customer, &view), Some(Standing::Effective));
        assert_eq!(standing(&customer, &payment("t2")), Some(Standing::Payment));
        assert_eq!(standing(&customer, &payment("t1")), None);
        assert!(customer.may_have("gone") && !customer.may_have("p"));
        // A status waits for the chain that it names, or for the first one.
        let status = event(EventKind::Cancellation, "c", 3);
        let of_chain =
            |chain: &'static str| LedgerEvent { chain: Some(chain.into()), ..payment("t2") };
        for (chain, standings) in
            [(Some("chain"), [None, Some(Standing::Payment)]), (None, [Some(Standing::Payment); 2])]
        {
            let status = LedgerEvent { chain: chain.map(Into::into), ..status.clone() };
            let mut customer = customer_of([&waiting[..], &[status]].concat());
            assert_eq!(standing(&customer, &view), Some(Standing::Effective));
            let named = ["chain", "another"].map(of_chain);
            assert_eq!(named.each_ref().map(|event| standing(&customer, event)), [None; 2]);
            let third = LedgerEvent { chain: Some("third".into()), ..payment("t3") };
            customer.fold = fold_of(&Ledger::new(vec![third]));
            assert_eq!(named.each_ref().map(|event| standing(&customer, event)), standings);
        }
    }

    /// What a ledger leaves behind.
    fn fold_of(ledger: &Ledger<'_>) -> Fold {
        let (rules, mut dictionary) = (Rules::of_one_app("acme"), Dictionary::default());
        let (app, rules) = (dictionary.app("acme"), &rules.apps["acme"]);
        let (dictionary, delta) = (&mut dictionary, &mut FactDelta::default());
        facts(ledger, &mut Scribe { app, rules, dictionary, delta }).0
    }

    #[test]
    fn the_fingerprints_of_a_large_ledger_become_long_ones() {
        let mut customer = Customer::default();
        let events: Vec<_> = (0..SHORT_MAX + 2)
            .map(|number| LedgerEvent {
                event_id: format!("e{number}").into(),
                ..event(EventKind::PaywallView, "", number as i64)
            })
            .collect();
        events.iter().for_each(|event| customer.remember(event));
        assert_eq!((customer.identifiers.short.len(), customer.identifiers.long.len()), (128, 2));
        let ledger = Ledger::new(events);
        customer.reset(Fold::default(), &ledger, &[]);
        assert_eq!((customer.identifiers.short.len(), customer.identifiers.long.len()), (0, 130));
        customer.remember_id("one more");
        assert_eq!((customer.identifiers.short.len(), customer.identifiers.long.len()), (0, 131));
        assert!(ledger.events().iter().all(|event| customer.may_have(&event.event_id)));
    }
}
