//! A shard: one input partition with all that belongs to it, in memory.
//!
//! Takes events in order of arrival and keeps the facts of the set of accepted ones. Reads and
//! writes nothing: where the past of a customer is needed it asks ([`Offer::NeedsHistory`]), and
//! what has changed since the last commit is handed out by [`Shard::take_changes`].
//!
//! Always true
//! * The facts are the sum of `facts(ledger)` over all customers, plus those that forgotten
//!   customers left behind.
//! * Order of arrival, repetition and the cut of batches do not change them.

mod ahead;
mod memory;
mod scattered;
mod storing;
mod suspending;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::event::{BillingEvent, Environment, EventKind};
use crate::domain::rules::{AppRules, Rules};
use crate::domain::time::{Day, Timestamp};
use crate::engine::admission::{app_rules, in_reporting_currency};
use crate::engine::curves::{CohortCurves, CurveChanges, CurvesConfig, EmptiedCohort};
use crate::engine::customer::{Customer, suspended};
use crate::engine::customers::{Customers, HasHistory};
use crate::engine::dictionary::{AppIx, Dictionary, NewEntries, TupleId};
use crate::engine::facts::{FactKey, FactKind, FactPage, FactTable, PageNumber};
use crate::engine::fold::delta::{FactDelta, difference, join};
use crate::engine::fold::{Scribe, facts};
use crate::engine::ledger::{Ledger, LedgerCharge, LedgerEvent};
use crate::engine::recent::RecentRows;
use crate::engine::refusal::Refusal;
use crate::engine::standing::{Standing, Suspension};
use crate::engine::suspended::SuspendedByCustomer;

pub use ahead::ReadAhead;
pub use memory::Evicted;
pub use storing::{ChunkPlace, Chunks, NewChunk, NewEvents, Waiting};

use storing::Unstored;

/// App and customer id in bytes that sort by app and then by customer, none a prefix of another.
pub type CustomerKey = Box<[u8]>;

/// The key of a customer of an app.
pub fn customer_key(app: AppIx, customer_id: &str) -> CustomerKey {
    let mut key = Vec::with_capacity(customer_id.len() + 3);
    put_customer_key(app, customer_id, &mut key);
    key.into_boxed_slice()
}

fn put_customer_key(app: AppIx, customer_id: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(&app.0.to_be_bytes());
    into.extend_from_slice(customer_id.as_bytes());
    // Identifiers hold no control characters, so this byte ends the longest key first.
    into.push(0);
}

/// The app and the customer id of a key.
pub fn split_customer_key(key: &[u8]) -> Option<(AppIx, &str)> {
    let (app, rest) = key.split_first_chunk::<2>()?;
    let customer_id = std::str::from_utf8(rest.strip_suffix(&[0])?).ok()?;
    Some((AppIx(u16::from_be_bytes(*app)), customer_id))
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// In the ledger; `is_suspended` when it has no effect yet.
    Accepted { is_suspended: bool },
    /// Accepted before, with the same content.
    Repeated,
    /// Not in the ledger.
    Refused(Refusal),
}

/// What the store holds of a customer.
#[derive(Debug, Clone, Default)]
pub struct History<'a> {
    pub events: Vec<LedgerEvent<'a>>,
    /// Number of stored chunks.
    pub chunks: u32,
}

/// The answer to an offered event.
#[derive(Debug)]
pub enum Offer {
    /// Done.
    Done(Verdict),
    /// Nothing happened yet: offer the event again with the stored history of this customer.
    NeedsHistory(CustomerKey, HasHistory),
}

/// What has changed since the last commit and must be stored together.
#[derive(Debug, Default)]
pub struct Changes {
    pub events: Arc<NewEvents>,
    /// Customers whose stored chunks, so many, must go.
    pub erased: Vec<(CustomerKey, u32)>,
    pub facts: Vec<FactPage>,
    /// Facts of forgotten customers.
    pub given: Vec<FactPage>,
    /// New entries of the dictionary.
    pub entries: NewEntries,
    /// Customers whose list of suspended events is now this.
    pub suspended: BTreeMap<CustomerKey, SuspendedEvents>,
    /// Hash of a forgotten customer and of the event that asked for it.
    pub forgotten: Vec<(u128, u128)>,
    pub curves: CurveChanges,
}

/// Event ids with the reason why they have no effect.
pub type SuspendedEvents = Vec<(Box<str>, Suspension)>;

/// One partition's state.
pub struct Shard {
    rules: Arc<Rules>,
    pub dictionary: Dictionary,
    pub facts: FactTable,
    /// Sums by cohort, of the same facts.
    pub curves: CohortCurves,
    /// What was added to the facts of late.
    pub recent: RecentRows,
    /// Facts of forgotten customers, which no ledger explains any more.
    given: FactTable,
    customers: Customers,
    /// Where the customer of the next event is worked with.
    customer: Option<Box<Customer>>,
    unstored: Unstored,
    /// Bytes of the events of the last commit.
    pending_bytes_before: usize,
    /// Bytes of memory that customers held when the last commit was over.
    customer_bytes_before: usize,
    /// Whether every customer of the shard is in `customers`.
    is_all_resident: bool,
    customer_count: u64,
    forgotten: HashMap<u128, u128>,
    suspended: SuspendedByCustomer,
    newest_event_at: Option<Timestamp>,
    /// Customers that had many chunks of history, so many, when they were noted here.
    scattered: Vec<(CustomerKey, u32)>,
    changes: Changes,
    /// Rows of the event that is being taken.
    delta: FactDelta,
    /// Rows of events taken since the last [`Shard::settle`].
    unsettled: FactDelta,
    /// The pages that rows went to at the last [`Shard::settle`]; kept to spare an allocation.
    settled_pages: Vec<PageNumber>,
}

impl Shard {
    /// An empty shard under these rules, with curves of this kind.
    pub fn new(rules: Arc<Rules>, curves: CurvesConfig) -> Self {
        Self {
            rules,
            dictionary: Dictionary::default(),
            facts: FactTable::default(),
            curves: CohortCurves::new(curves),
            recent: RecentRows::default(),
            given: FactTable::default(),
            customers: Customers::default(),
            customer: None,
            unstored: Unstored::default(),
            pending_bytes_before: 0,
            customer_bytes_before: 0,
            is_all_resident: true,
            customer_count: 0,
            forgotten: HashMap::new(),
            suspended: SuspendedByCustomer::default(),
            newest_event_at: None,
            scattered: Vec::new(),
            changes: Changes::default(),
            delta: FactDelta::new(),
            unsettled: FactDelta::new(),
            settled_pages: Vec::new(),
        }
    }

    /// Offers an event whose record has this timestamp. Its facts are counted from the next
    /// [`Shard::settle`] on. `rules` are the shard's own: who offers many events holds them once, as counting
    /// who does makes the processor finish all it has begun.
    pub fn offer(
        &mut self,
        rules: &Rules,
        event: &BillingEvent<'_>,
        recorded_at: Timestamp,
        read: ReadAhead<'_>,
    ) -> Offer {
        let app_rules = match app_rules(event, recorded_at, rules) {
            Ok(app_rules) => app_rules,
            Err(refusal) => return refused(refusal),
        };
        if let Some(by) = self.forgotten_by(&event.app_id, &event.customer_id) {
            let is_same = event.kind == EventKind::Forget && by == event_hash(&event.event_id);
            let verdict = if is_same {
                Verdict::Repeated
            } else {
                Verdict::Refused(Refusal::CustomerForgotten)
            };
            return Offer::Done(verdict);
        }
        let app = self.dictionary.app(&event.app_id);
        if event.kind == EventKind::Forget {
            return self.forget((app, app_rules), event, read.history);
        }
        self.take((app, app_rules), event, read)
    }

    /// The event with what repeats interned; the charge is converted later.
    fn intern<'a>(
        &mut self,
        event: &'a BillingEvent<'_>,
        own_tuple: Option<TupleId>,
    ) -> LedgerEvent<'a> {
        let text = |text: &'a Option<Cow<'_, str>>| text.as_deref().map(Cow::Borrowed);
        LedgerEvent {
            at: event.occurred_at,
            event_id: Cow::Borrowed(&*event.event_id),
            kind: event.kind,
            is_sandbox: event.environment == Environment::Sandbox,
            charge: event.charge.map(|charge| LedgerCharge {
                paid: charge.amounts,
                currency: charge.currency,
                own_rate: charge.reporting_rate,
                reporting: crate::domain::money::Amounts::default(),
            }),
            transaction_id: text(&event.transaction_id),
            chain: text(&event.original_transaction_id),
            period: event.period,
            expires_at: event.expires_at,
            refers_to: text(&event.refers_to),
            device_id: text(&event.device_id),
            cancellation_reason: match &event.cancellation_reason {
                Some(reason) => self.dictionary.text_id(reason),
                None => 0,
            },
            own_tuple: own_tuple.unwrap_or_else(|| self.dictionary.tuple_of(&event.dimensions)),
        }
    }

    fn take(
        &mut self,
        (app, rules): (AppIx, &AppRules),
        event: &BillingEvent<'_>,
        ReadAhead { own_tuple, history }: ReadAhead<'_>,
    ) -> Offer {
        let customer_id = &*event.customer_id;
        let mut customer = self.customer.take().unwrap_or_default();
        let whose = Whose { app, customer_id, rules };
        let offer = match (self.customers.find(app, customer_id), &history) {
            (Ok(at), _) => {
                self.customers.take_out(at, &mut customer);
                let offer = self.take_next(&mut customer, whose, event, (own_tuple, history));
                self.customers.put_back(at, &mut customer);
                offer
            }
            (Err(_), None) if !self.is_all_resident => {
                Offer::NeedsHistory(customer_key(app, customer_id), HasHistory::Perhaps)
            }
            (Err(vacancy), Some(stored)) if !stored.events.is_empty() => {
                self.admit(&mut customer, whose, stored);
                let offer = self.take_next(&mut customer, whose, event, (own_tuple, history));
                self.customers.insert(vacancy, (app, customer_id), &mut customer);
                offer
            }
            (Err(vacancy), _) => {
                customer.clear();
                let offer = self.take_next(&mut customer, whose, event, (own_tuple, history));
                // A refused event makes nobody a customer.
                if matches!(offer, Offer::Done(Verdict::Accepted { .. })) {
                    self.customer_count += 1;
                    self.customers.insert(vacancy, (app, customer_id), &mut customer);
                }
                offer
            }
        };
        self.customer = Some(customer);
        offer
    }

    /// Takes an event of a customer of which everything before is known.
    fn take_next(
        &mut self,
        customer: &mut Customer,
        whose: Whose<'_>,
        event: &BillingEvent<'_>,
        (own_tuple, history): (Option<TupleId>, Option<History<'_>>),
    ) -> Offer {
        let Whose { app, customer_id, rules } = whose;
        let mut event = self.intern(event, own_tuple);
        let may_be_repeat = customer.may_have(&event.event_id);
        let is_repeated = |known: &&LedgerEvent<'_>| known.event_id == event.event_id;
        // Repeats follow soon as a rule, so that the store need not be asked.
        if may_be_repeat
            && let Some(known) = self.unstored.events(customer.chunks).iter().find(is_repeated)
        {
            return Offer::Done(repeated(known, &event));
        }
        let waiting = || self.unstored.waiting(customer.chunks);
        let standing = customer.appendable(&event, rules.zero_payments, waiting);
        let stored = match (may_be_repeat || standing.is_none(), history) {
            // A customer without chunks has its whole ledger in memory.
            (true, None) if self.unstored.stored_chunks(customer.chunks) > 0 => {
                let has = HasHistory::Chunks(self.unstored.stored_chunks(customer.chunks));
                return Offer::NeedsHistory(customer_key(app, customer_id), has);
            }
            (true, history) => history.unwrap_or_default(),
            (false, _) => History::default(),
        };
        if may_be_repeat && let Some(known) = stored.events.iter().find(is_repeated) {
            return Offer::Done(repeated(known, &event));
        }
        if let Err(refusal) = convert(&mut event, rules) {
            return refused(refusal);
        }
        let is_suspended = match standing {
            // An id that others may wait for changes more than its own event.
            Some(standing) if !may_be_repeat => {
                self.append(customer, whose, &event, standing);
                false
            }
            _ => self.recompute(customer, whose, &event, stored),
        };
        self.accept(customer, whose, &event);
        Offer::Done(Verdict::Accepted { is_suspended })
    }

    /// Makes `customer` one that is stored; its facts are counted already.
    fn admit(&mut self, customer: &mut Customer, whose: Whose<'_>, history: &History<'_>) {
        let Whose { app, customer_id, rules } = whose;
        *customer = Customer::stored(history.chunks);
        for event in &history.events {
            customer.remember(event);
        }
        let ledger = Ledger::new(history.events.clone());
        self.delta.clear();
        let mut scribe =
            Scribe { app, rules, dictionary: &mut self.dictionary, delta: &mut self.delta };
        let (fold, standings) = facts(&ledger, &mut scribe);
        customer.reset(fold, &ledger, &standings);
        self.delta.clear();
        self.note_admitted((app, customer_id), history.chunks);
    }

    fn append(
        &mut self,
        customer: &mut Customer,
        Whose { app, rules, .. }: Whose<'_>,
        event: &LedgerEvent<'_>,
        standing: Standing,
    ) {
        if standing.is_effective() {
            self.delta.clear();
            let mut scribe =
                Scribe { app, rules, dictionary: &mut self.dictionary, delta: &mut self.delta };
            customer.fold.append(event, standing, &mut scribe);
        }
        let is_waiting = self.unstored.pending.has(customer.chunks);
        customer.note_appended(event, is_waiting);
        self.spend_delta();
    }

    /// Adds `facts(ledger + event) − facts(ledger)`; returns whether the event is suspended.
    fn recompute(
        &mut self,
        customer: &mut Customer,
        Whose { app, customer_id, rules }: Whose<'_>,
        event: &LedgerEvent<'_>,
        stored: History<'_>,
    ) -> bool {
        let mut events = stored.events;
        events.extend(self.unstored.events(customer.chunks));
        let mut ledger = Ledger::new(events);
        self.delta.clear();
        let mut scribe =
            Scribe { app, rules, dictionary: &mut self.dictionary, delta: &mut self.delta };
        facts(&ledger, &mut scribe);
        let before = scribe.delta.len();
        ledger.insert(event.clone());
        let (fold, standings) = facts(&ledger, &mut scribe);
        difference(scribe.delta, before);
        customer.reset(fold, &ledger, &standings);
        let waiting = suspended(&ledger, &standings);
        let is_suspended = waiting.iter().any(|(event_id, _)| **event_id == *event.event_id);
        let key = customer_key(app, customer_id);
        if waiting != self.suspended.of(&key) {
            self.set_suspended(key, waiting);
        }
        self.spend_delta();
        is_suspended
    }

    /// Lets the delta wait to be settled, each key once, without rows that cancel out.
    fn spend_delta(&mut self) {
        join(&mut self.delta);
        self.unsettled.extend(self.delta.drain(..).filter(|(_, sums)| !sums.is_zero()));
    }

    /// Counts the facts of all events offered so far.
    pub fn settle(&mut self) {
        self.settled_pages.clear();
        self.facts.add_each(&self.unsettled, |page| self.settled_pages.push(page));
        self.recent.note(&self.unsettled, &self.settled_pages, self.facts.len());
        for (key, sums) in self.unsettled.drain(..) {
            self.curves.add(&key, sums, &self.dictionary);
        }
    }

    fn accept(
        &mut self,
        customer: &mut Customer,
        Whose { app, customer_id, .. }: Whose<'_>,
        event: &LedgerEvent<'_>,
    ) {
        // Of figures, in which nothing of the sandbox is.
        if !event.is_sandbox {
            self.newest_event_at = self.newest_event_at.max(Some(event.at));
        }
        customer.remember(event);
        if self.unstored.pending.push(event, (app, customer_id), &mut customer.chunks) {
            self.note_chunk((app, customer_id), customer.chunks.count);
        }
    }

    fn forget(
        &mut self,
        (app, rules): (AppIx, &AppRules),
        event: &BillingEvent<'_>,
        history: Option<History<'_>>,
    ) -> Offer {
        let key = customer_key(app, &event.customer_id);
        let at = self.customers.find(app, &event.customer_id).ok();
        let has_history = self.has_history(app, &event.customer_id);
        let stored = match (history, has_history) {
            (Some(history), _) => history,
            (None, HasHistory::Chunks(0)) => History::default(),
            (None, HasHistory::Perhaps) if self.is_all_resident => History::default(),
            (None, has_history) => return Offer::NeedsHistory(key, has_history),
        };
        let known = at.map(|at| self.customers.chunks(at));
        let pending = &self.unstored.pending;
        let chunks =
            known.map_or(stored.chunks, |known| known.count - u32::from(pending.has(known)));
        let mut events = stored.events;
        events.extend(self.pending(app, &event.customer_id));
        if events.iter().any(|known| *known.event_id == *event.event_id) {
            return refused(Refusal::Conflict);
        }
        if let Some(at) = at {
            self.unstored.pending.drop_events(self.customers.chunks(at));
            self.customers.remove(at);
        }
        if !events.is_empty() {
            self.customer_count = self.customer_count.saturating_sub(1);
        }
        self.delta.clear();
        let mut scribe =
            Scribe { app, rules, dictionary: &mut self.dictionary, delta: &mut self.delta };
        facts(&Ledger::new(events), &mut scribe);
        for (key, sums) in self.delta.drain(..) {
            self.given.add(key, sums);
        }
        if !self.suspended.of(&key).is_empty() {
            self.set_suspended(key.clone(), Vec::new());
        }
        if chunks > 0 {
            self.changes.erased.push((key, chunks));
        }
        let identity = identity_hash(&event.app_id, &event.customer_id);
        let by = event_hash(&event.event_id);
        self.forgotten.insert(identity, by);
        self.changes.forgotten.push((identity, by));
        self.newest_event_at = self.newest_event_at.max(Some(event.occurred_at));
        Offer::Done(Verdict::Accepted { is_suspended: false })
    }

    /// Everything to store since the last call, whose changes are in the store by now. Must be stored
    /// whole, or the shard dropped; [`Shard::stored`] is to be told when it is.
    pub fn take_changes(&mut self) -> Changes {
        self.settle();
        let mut changes = std::mem::take(&mut self.changes);
        changes.events = self.unstored.take();
        self.pending_bytes_before = changes.events.log.byte_count();
        changes.facts = self.facts.take_changed_pages();
        changes.given = self.given.take_changed_pages();
        changes.entries = self.dictionary.take_fresh();
        changes.curves = self.curves.take_unstored(&self.dictionary);
        changes
    }

    /// Takes in what a store holds, before the first event: everything but ledgers.
    pub fn restore(&mut self, stored: Stored) {
        (self.dictionary, self.curves) = (stored.dictionary, stored.curves);
        self.curves.restore_emptied(stored.emptied, &self.dictionary);
        (self.facts, self.given) = (stored.facts, stored.given);
        self.forgotten = stored.forgotten.into_iter().collect();
        self.suspended = stored.suspended.into_iter().collect();
        self.newest_event_at = stored.newest_event_at;
        self.customer_count = stored.customer_count;
        self.is_all_resident = stored.customer_count == 0;
    }

    /// A fact's key in words, the same in every shard:
    /// `app|zone|kind|day|install_day|first_day|other_day|index|slips|dims`.
    pub fn describe(&self, key: &FactKey) -> String {
        let day = |day: Day| if day == Day::MIN { "-".to_owned() } else { day.to_string() };
        let dims = match key.kind {
            kind if kind.has_signature() => self.dictionary.describe_signature(key.dims),
            FactKind::Timeline | FactKind::UnrefundedTimeline => {
                self.dictionary.describe_path(key.dims)
            }
            _ => self.dictionary.describe_tuple(key.dims),
        };
        format!(
            "{}|{}|{:?}|{}|{}|{}|{}|{}|{},{},{},{}|{dims}",
            self.dictionary.app_id(key.app),
            key.zone,
            key.kind,
            day(key.day),
            day(key.install_day),
            day(key.first_day),
            day(key.other_day),
            key.index,
            key.slip_install,
            key.slip_first,
            key.other_slip_install,
            key.other_slip_first,
        )
    }

    /// The rules the facts are computed under.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Facts of forgotten customers.
    pub fn given(&self) -> &FactTable {
        &self.given
    }

    /// The newest event time accepted, over all kinds, the sandbox aside.
    pub fn newest_event_at(&self) -> Option<Timestamp> {
        self.newest_event_at
    }

    /// Customers with a ledger.
    pub fn customer_count(&self) -> u64 {
        self.customer_count
    }

    /// Whether the customer was erased by a `forget`.
    pub fn is_forgotten(&self, app_id: &str, customer_id: &str) -> bool {
        self.forgotten_by(app_id, customer_id).is_some()
    }

    /// Whether the customer that a hash stands for has been erased.
    pub fn has_forgotten(&self, identity: u128) -> bool {
        self.forgotten.contains_key(&identity)
    }

    /// Hash of the event that erased the customer.
    fn forgotten_by(&self, app_id: &str, customer_id: &str) -> Option<u128> {
        if self.forgotten.is_empty() {
            return None;
        }
        self.forgotten.get(&identity_hash(app_id, customer_id)).copied()
    }

    /// What memory knows of the history of a customer, if it is there.
    fn resident(&self, app: AppIx, customer_id: &str) -> Option<Chunks> {
        Some(self.customers.chunks(self.customers.find(app, customer_id).ok()?))
    }

    /// What the store holds of a customer beside [`Shard::pending`].
    pub fn has_history(&self, app: AppIx, customer_id: &str) -> HasHistory {
        self.resident(app, customer_id).map_or(HasHistory::Perhaps, |chunks| {
            HasHistory::Chunks(self.unstored.stored_chunks(chunks))
        })
    }

    /// Events of a customer that are accepted but not known to be stored, in order of arrival.
    pub fn pending(&self, app: AppIx, customer_id: &str) -> Vec<LedgerEvent<'static>> {
        let Some(chunks) = self.resident(app, customer_id) else {
            return Vec::new();
        };
        let events = self.unstored.events(chunks);
        events.into_iter().map(LedgerEvent::into_owned).collect()
    }
}

/// Whose event is taken.
#[derive(Clone, Copy)]
struct Whose<'a> {
    app: AppIx,
    customer_id: &'a str,
    rules: &'a AppRules,
}

/// What a store holds of a shard, ledgers aside.
pub struct Stored {
    pub dictionary: Dictionary,
    pub facts: FactTable,
    /// Of these facts.
    pub curves: CohortCurves,
    pub given: FactTable,
    pub forgotten: Vec<(u128, u128)>,
    pub suspended: Vec<(CustomerKey, SuspendedEvents)>,
    /// In order.
    pub emptied: Vec<EmptiedCohort>,
    pub newest_event_at: Option<Timestamp>,
    pub customer_count: u64,
}

fn refused(refusal: Refusal) -> Offer {
    Offer::Done(Verdict::Refused(refusal))
}

/// A hash that stands for a customer after its erasure.
pub fn identity_hash(app_id: &str, customer_id: &str) -> u128 {
    // Neither id can hold a zero byte.
    xxh3_128(&[app_id.as_bytes(), &[0], customer_id.as_bytes()].concat())
}

fn event_hash(event_id: &str) -> u128 {
    xxh3_128(event_id.as_bytes())
}

/// What becomes of an event of the identity of one that is known.
fn repeated(known: &LedgerEvent<'_>, offered: &LedgerEvent<'_>) -> Verdict {
    match same_content(known, offered) {
        true => Verdict::Repeated,
        false => Verdict::Refused(Refusal::Conflict),
    }
}

/// Whether two events of one identity say the same; what was derived from them aside.
fn same_content(known: &LedgerEvent<'_>, offered: &LedgerEvent<'_>) -> bool {
    let mut offered = offered.clone();
    if let (Some(charge), Some(known)) = (&mut offered.charge, &known.charge) {
        charge.reporting = known.reporting;
    }
    *known == offered
}

/// Fills in the amounts in the reporting currency.
pub fn convert(event: &mut LedgerEvent<'_>, rules: &AppRules) -> Result<(), Refusal> {
    if let Some(charge) = &mut event.charge {
        let paid = (charge.paid, charge.currency);
        charge.reporting = in_reporting_currency(paid, charge.own_rate, event.at, rules)?;
    }
    Ok(())
}
