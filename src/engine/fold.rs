//! The walk over a ledger that writes its facts, one event at a time.
//!
//! [`Fold`] is what must be remembered of a customer to write the facts of one more, newest
//! event. Recomputing a ledger is the same walk from an empty fold, so the incremental path and
//! the full one run the same code; what they must agree on is only *when* one step is enough
//! ([`crate::engine::customer`]).
//!
//! One more event writes rows as differences: a renewal takes back the timeline that the period before
//! wrote down with its end in the future, and writes one with a later end. A walk over a whole ledger writes
//! each timeline once, at its end.

pub mod delta;
mod heads;
mod places;
mod row;
#[cfg(test)]
mod tests;

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::event::EventKind;
use crate::domain::rules::AppRules;
use crate::domain::time::{DAY_MICROS, Day, Timestamp};
use crate::engine::coverage::{Coverage, Span};
use crate::engine::dictionary::{AppIx, Dictionary, Mark, SignatureId, TupleId};
use crate::engine::facts::{FactKey, FactKind, Slip, Sums};
use crate::engine::ledger::{Ledger, LedgerEvent};
use crate::engine::moment::Moment;
use crate::engine::standing::{Anchors, Standing, refunded, standings};
use crate::engine::timelines::{PathId, Terms};

use delta::FactDelta;
use heads::{HeadStep, PaidTuples};
use places::ChainPlaces;

/// What is remembered of a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Chain {
    /// Hash of the chain's id. Two chains of one customer with one hash would be taken for one;
    /// with 64 bits that needs thousands of millions of chains of one customer.
    id: u64,
    tuple: TupleId,
    /// Of what `tuple` was made last: the event's own dimensions, and the customer's.
    merged: [TupleId; 2],
    payments: u16,
    /// The newest span, running or over.
    span: Option<Span>,
    paid: PaidTuples,
    signature: SignatureId,
}

/// A payment as refunds of it need it.
#[derive(Debug, Clone, Copy)]
struct PaymentTrace {
    at: Timestamp,
    /// Place of its chain.
    chain: usize,
    index: u16,
    tuple: TupleId,
    /// Whether a refund of it was written already.
    is_refunded: bool,
    /// What it does to marks, if anything.
    step: Option<HeadStep>,
}

/// What is remembered of a customer between two events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fold {
    pub anchors: Anchors,
    pub(super) last_payment_at: Moment,
    /// Dimensions from installs and attributions.
    tuple: TupleId,
    /// Marks of payments and refunds.
    signature: SignatureId,
    /// Tuples of trials and subscriptions that began.
    starters: SignatureId,
    pub(super) has_customer_row: bool,
    chains: Vec<Chain>,
    places: ChainPlaces,
    coverage: Coverage,
    /// From when on the coverage is yet to be written; `None` between two events, and when a walk is done.
    uncovered: Option<Timestamp>,
}

/// What the walk needs besides the customer: how to name things and where facts go.
pub struct Scribe<'a> {
    pub app: AppIx,
    pub rules: &'a AppRules,
    pub dictionary: &'a mut Dictionary,
    /// Facts are appended here.
    pub delta: &'a mut FactDelta,
}

/// Appends the facts of a whole ledger to the scribe's delta, and returns the fold at its end.
pub fn facts(ledger: &Ledger<'_>, scribe: &mut Scribe<'_>) -> (Fold, Vec<Standing>) {
    let standings = standings(ledger, scribe.rules.zero_payments);
    let refunded = refunded(ledger, &standings);
    let mut fold = Fold {
        anchors: Anchors::of(ledger, &standings),
        coverage: Coverage::new(scribe.rules.reporting_zones.len(), !refunded.is_empty()),
        ..Fold::default()
    };
    let mut late_refunds = Vec::new();
    let mut steps: Vec<(usize, HeadStep)> = Vec::new();
    let mut traces: Vec<Option<PaymentTrace>> = vec![None; ledger.events().len()];
    for (place, event) in ledger.events().iter().enumerate() {
        match standings[place] {
            Standing::LinkedRefund { payment } => late_refunds.push((place, payment)),
            Standing::ChainStatus { chain_of } => {
                let chain = ledger.events()[chain_of].chain.as_deref();
                fold.status(event, chain, scribe);
            }
            Standing::Payment => {
                let is_refunded = refunded.binary_search(&place).is_ok();
                let trace = fold.payment(event, is_refunded, scribe);
                steps.extend(trace.step.map(|step| (place, step)));
                traces[place] = Some(trace);
            }
            standing if standing.is_effective() => {
                steps.extend(fold.step(event, standing, scribe).map(|step| (place, step)));
            }
            _ => {}
        }
    }
    fold.cover(None, scribe);
    fold.coverage.count(1, scribe);
    // A refund has the tuple and index of its payment, which may come later in event time.
    for (place, payment) in late_refunds {
        if let Some(trace) = &mut traces[payment] {
            steps.push((place, fold.linked_refund(&ledger.events()[place], *trace, scribe)));
            trace.is_refunded = true;
        }
    }
    steps.sort_by_key(|(place, _)| *place);
    let mut earlier = Vec::new();
    for (_, step) in steps {
        fold.mark(step, &mut earlier, scribe);
    }
    (fold, standings)
}

impl Fold {
    /// The path of the customer's timeline in the first zone.
    pub fn path(&self) -> PathId {
        self.coverage.path()
    }

    /// Whether the chain with this id is known.
    pub fn knows_chain(&self, chain: &str) -> bool {
        self.place_of(xxh3_64(chain.as_bytes())).is_some()
    }

    /// Whether there is any chain.
    pub fn has_chains(&self) -> bool {
        !self.chains.is_empty()
    }

    fn place_of(&self, id: u64) -> Option<usize> {
        self.places.find(id, &self.chains)
    }

    /// Writes the facts of one newest event that is no payment, linked refund or chain status;
    /// what it does to marks is returned.
    fn step(
        &mut self,
        event: &LedgerEvent<'_>,
        standing: Standing,
        scribe: &mut Scribe<'_>,
    ) -> Option<HeadStep> {
        match (event.kind, standing) {
            (_, Standing::UnlinkedRefund) => return self.unlinked_refund(event, scribe),
            (EventKind::Install, _) => self.install(event, scribe),
            (EventKind::Attribution, _) => self.attribution(event, scribe),
            // Of account only as the first event of a customer, who has no other dimensions then.
            (EventKind::PaywallView, _) => self.note_customer(event, event.own_tuple, scribe),
            (EventKind::TrialStarted, _) => self.trial(event, scribe),
            // A zero payment that is no payment: its chain exists and passes dimensions on.
            _ => {
                let (_, tuple) = self.enter_chain(event, event.chain.as_deref(), scribe);
                self.note_customer(event, tuple, scribe);
            }
        }
        None
    }

    /// The facts of one more event that is newer than all others of its customer, or tells nothing, and changes the
    /// standing of none of them.
    pub fn append(&mut self, event: &LedgerEvent<'_>, standing: Standing, scribe: &mut Scribe<'_>) {
        let step = match standing {
            Standing::ChainStatus { .. } => {
                self.status(event, event.chain.as_deref(), scribe);
                None
            }
            Standing::Payment => {
                self.anchors.first_payment_at.set_first(event.at);
                // A refund that came before its payment would have been suspended.
                self.payment(event, false, scribe).step
            }
            _ => self.step(event, standing, scribe),
        };
        if self.uncovered.is_some() {
            self.coverage.count(-1, scribe);
            self.cover(None, scribe);
            self.coverage.count(1, scribe);
        }
        if let Some(step) = step {
            self.mark(step, &mut Vec::new(), scribe);
        }
    }

    fn install(&mut self, event: &LedgerEvent<'_>, scribe: &mut Scribe<'_>) {
        let tuple = scribe.dictionary.merge(event.own_tuple, self.tuple, 0);
        self.tuple = tuple;
        self.note_customer(event, tuple, scribe);
    }

    fn attribution(&mut self, event: &LedgerEvent<'_>, scribe: &mut Scribe<'_>) {
        self.tuple = scribe.dictionary.merge(event.own_tuple, self.tuple, 0);
        let tuple = self.tuple;
        self.note_customer(event, tuple, scribe);
    }

    fn trial(&mut self, event: &LedgerEvent<'_>, scribe: &mut Scribe<'_>) {
        let (chain, tuple) = self.enter_chain(event, event.chain.as_deref(), scribe);
        self.note_customer(event, tuple, scribe);
        self.begin(event.at, tuple, scribe);
        self.open_span(event, (chain, Terms::Trial, false), scribe);
    }

    fn payment(
        &mut self,
        event: &LedgerEvent<'_>,
        is_refunded: bool,
        scribe: &mut Scribe<'_>,
    ) -> PaymentTrace {
        let (place, tuple) = self.enter_chain(event, event.chain.as_deref(), scribe);
        self.note_customer(event, tuple, scribe);
        let amounts = event.charge.map(|charge| charge.reporting).unwrap_or_default();
        let chain = &mut self.chains[place];
        chain.payments = chain.payments.saturating_add(1);
        let index = chain.payments;
        if let Some(period) = event.period {
            let terms = Terms::Paid { amounts, period };
            self.open_span(event, (place, terms, is_refunded), scribe);
        }
        let paid = (place, index, tuple);
        let step = self.count_payment(event.at, paid, event.period.is_some(), scribe);
        for zone in 0..scribe.rules.reporting_zones.len() {
            let place = self.placed(scribe, zone, event.at);
            let previous = scribe.day(zone, self.last_payment_at.get());
            let key = FactKey {
                kind: FactKind::Payment,
                dims: tuple,
                other_day: previous,
                index,
                ..place
            };
            scribe.delta.push((key, Sums::one(amounts)));
        }
        self.last_payment_at = event.at.into();
        PaymentTrace { at: event.at, chain: place, index, tuple, is_refunded: false, step }
    }

    fn linked_refund(
        &self,
        event: &LedgerEvent<'_>,
        payment: PaymentTrace,
        scribe: &mut Scribe<'_>,
    ) -> HeadStep {
        let amounts = event.charge.map(|charge| charge.reporting).unwrap_or_default();
        for zone in 0..scribe.rules.reporting_zones.len() {
            let paid = self.placed(scribe, zone, payment.at);
            let key = FactKey {
                kind: FactKind::Refund,
                dims: payment.tuple,
                index: payment.index,
                other_day: paid.day,
                other_slip_install: paid.slip_install,
                other_slip_first: paid.slip_first,
                ..self.placed(scribe, zone, event.at)
            };
            scribe.delta.push((key, Sums::one(amounts)));
            if payment.is_refunded {
                let kind = FactKind::RepeatedRefund;
                let again = scribe.key(zone, kind, key.day, payment.tuple);
                scribe.delta.push((FactKey { other_day: paid.day, ..again }, Sums::count(1)));
            }
        }
        let mark = Mark::refunded(payment.tuple);
        HeadStep { at: event.at, chain: Some(payment.chain), mark }
    }

    fn unlinked_refund(
        &self,
        event: &LedgerEvent<'_>,
        scribe: &mut Scribe<'_>,
    ) -> Option<HeadStep> {
        let tuple = self.resolve(event, scribe);
        let amounts = event.charge.map(|charge| charge.reporting).unwrap_or_default();
        let first_payment_at = self.anchors.first_payment_at.get();
        let is_placed = first_payment_at.is_some_and(|first| event.at >= first);
        for zone in 0..scribe.rules.reporting_zones.len() {
            let key = if is_placed {
                let place = self.placed(scribe, zone, event.at);
                FactKey { kind: FactKind::Refund, dims: tuple, ..place }
            } else {
                let day = scribe.day(zone, Some(event.at));
                scribe.key(zone, FactKind::UnplacedRefund, day, tuple)
            };
            scribe.delta.push((key, Sums::one(amounts)));
        }
        let mark = Mark::refunded(tuple);
        is_placed.then_some(HeadStep { at: event.at, chain: None, mark })
    }

    fn status(&mut self, event: &LedgerEvent<'_>, chain: Option<&str>, scribe: &mut Scribe<'_>) {
        let (place, tuple) = self.enter_chain(event, chain, scribe);
        self.note_customer(event, tuple, scribe);
        let Some(mut span) = self.chains[place].span else { return };
        let is_changed = match (event.kind, event.expires_at) {
            (EventKind::GracePeriod, Some(end)) => span.extend(event.at, end),
            (EventKind::Expiration, _) => span.cut(event.at),
            _ => false,
        };
        if is_changed {
            self.set_span(place, Some(span), event.at, scribe);
        }
    }

    /// Begins the period that a trial or payment of a chain asks for, if it asks for one.
    fn open_span(
        &mut self,
        event: &LedgerEvent<'_>,
        (place, terms, is_refunded): (usize, Terms, bool),
        scribe: &mut Scribe<'_>,
    ) {
        let Some(end) = event.span_end() else { return };
        let chain = &self.chains[place];
        let timelines = &mut scribe.dictionary.timelines;
        // A renewal is nearly always on the terms of the period before.
        let known = chain.span.map(|span| span.terms).filter(|id| timelines.terms(*id) == terms);
        let terms = known.unwrap_or_else(|| timelines.terms_id(terms));
        let next = Span { end, tuple: chain.tuple, terms, is_refunded };
        let mut span = chain.span;
        if Span::open(&mut span, event.at, next) {
            self.set_span(place, span, event.at, scribe);
        }
    }

    /// Gives a chain another newest span from an instant on. What the spans before cover up to then is written;
    /// what they cover from then on is not, as that is told anew: a walk that wrote for each event all that was
    /// yet to end would intern as many states and paths, the ledger's length times what runs at once.
    fn set_span(
        &mut self,
        place: usize,
        span: Option<Span>,
        at: Timestamp,
        scribe: &mut Scribe<'_>,
    ) {
        self.cover(Some(at), scribe);
        self.chains[place].span = span;
        self.uncovered = Some(at);
    }

    /// Writes what is not yet written of the timelines, up to an instant or to their end.
    fn cover(&mut self, until: Option<Timestamp>, scribe: &mut Scribe<'_>) {
        let Some(at) = self.uncovered.take() else { return };
        let spans = self.chains.iter().filter_map(|chain| chain.span);
        self.coverage.rewrite((at, until), &spans, scribe);
    }

    /// The dimensions of an event that passes none on: its own, its chain's, the customer's.
    fn resolve(&self, event: &LedgerEvent<'_>, scribe: &mut Scribe<'_>) -> TupleId {
        let id = event.chain.as_deref().map(|chain| xxh3_64(chain.as_bytes()));
        let place = id.and_then(|id| self.place_of(id));
        let chain_tuple = place.map_or(0, |place| self.chains[place].tuple);
        scribe.dictionary.merge(event.own_tuple, chain_tuple, self.tuple)
    }

    /// Finds or makes the chain; its dimensions and the event's become the same.
    fn enter_chain(
        &mut self,
        event: &LedgerEvent<'_>,
        chain: Option<&str>,
        scribe: &mut Scribe<'_>,
    ) -> (usize, TupleId) {
        let id = xxh3_64(chain.unwrap_or(&event.event_id).as_bytes());
        let place = self.place_of(id).unwrap_or_else(|| {
            self.chains.push(Chain { id, ..Chain::default() });
            self.places.note(&self.chains);
            self.chains.len() - 1
        });
        let chain = &mut self.chains[place];
        // Merging the same once more changes nothing, and most events of a chain bring the same.
        if chain.merged != [event.own_tuple, self.tuple] {
            chain.merged = [event.own_tuple, self.tuple];
            chain.tuple = scribe.dictionary.merge(event.own_tuple, chain.tuple, self.tuple);
        }
        (place, chain.tuple)
    }

    /// Writes the row that makes the customer one of an install cohort, once, at the event that
    /// is the anchor.
    fn note_customer(&mut self, event: &LedgerEvent<'_>, tuple: TupleId, scribe: &mut Scribe<'_>) {
        if self.has_customer_row {
            return;
        }
        if self.anchors.install_at.get().is_none() {
            self.anchors.install_at = event.at.into();
            self.anchors.has_install = event.kind == EventKind::Install;
        }
        let is_anchor_kind = event.kind == EventKind::Install || !self.anchors.has_install;
        if self.anchors.install_at != event.at.into() || !is_anchor_kind {
            return;
        }
        self.has_customer_row = true;
        let index = u16::from(self.anchors.has_install);
        for zone in 0..scribe.rules.reporting_zones.len() {
            let day = scribe.day(zone, Some(event.at));
            let place = scribe.key(zone, FactKind::Customer, day, tuple);
            let key = FactKey { install_day: day, index, ..place };
            scribe.delta.push((key, Sums::count(1)));
        }
    }

    /// A key of an instant with the customer's anchors and the slips against them.
    fn placed(&self, scribe: &Scribe<'_>, zone: usize, at: Timestamp) -> FactKey {
        let install_at = self.anchors.install_at.get();
        let first_payment_at = self.anchors.first_payment_at.get();
        let day = scribe.day(zone, Some(at));
        let install_day = scribe.day(zone, install_at);
        let first_day = scribe.day(zone, first_payment_at);
        FactKey {
            install_day,
            first_day,
            slip_install: slip(day, at, install_day, install_at),
            slip_first: slip(day, at, first_day, first_payment_at),
            ..scribe.key(zone, FactKind::Payment, day, 0)
        }
    }
}

impl Scribe<'_> {
    fn key(&self, zone: usize, kind: FactKind, day: Day, dims: u32) -> FactKey {
        // The configuration allows fewer than 256 zones.
        FactKey::new(self.app, u8::try_from(zone).unwrap_or(u8::MAX), kind, day, dims)
    }

    /// The day of an instant in a zone; none for none.
    fn day(&self, zone: usize, at: Option<Timestamp>) -> Day {
        at.map_or(Day::MIN, |at| self.rules.reporting_zones[zone].day(at))
    }
}

/// Calendar age minus elapsed age, in days; 0 without an anchor.
fn slip(day: Day, at: Timestamp, anchor_day: Day, anchor: Option<Timestamp>) -> Slip {
    let Some(anchor) = anchor else {
        return 0;
    };
    let calendar = i64::from(day.0) - i64::from(anchor_day.0);
    let elapsed = (at.0 - anchor.0).div_euclid(DAY_MICROS);
    // Days of a zone differ from days of 24 hours by far less than a day.
    Slip::try_from(calendar - elapsed).unwrap_or(0)
}
