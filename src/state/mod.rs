//! A shard and its store: open, apply, commit, read.
//!
//! [`LiveShard`] is the one place where the pure engine meets its stored past. What changes
//! together is committed together: new events, facts, curves, dictionary entries, the next offset,
//! anchors and quarantine rows go into one batch.
//!
//! Always true
//! * The state in the store is that of exactly the records below its next offset
//!   (`tests/it/law.rs`, `tests/it/crash.rs`).
//! * A value that does not open is an error that names the row, never skipped.

mod audit;
mod commit;
mod gather;
mod ledgers;
mod load;
mod opening;
mod rebuild;
mod refused;
mod shards;

use std::sync::Arc;

use crate::codec::stored::{Anchor, Position, StoredError, chunk_key, decode_chunk};
use crate::domain::event::{BillingEvent, EventKind};
use crate::domain::rules::Rules;
use crate::domain::time::Timestamp;
use crate::engine::customers::HasHistory;
use crate::engine::dictionary::TupleId;
use crate::engine::facts::{Facts, PageNumber};
use crate::engine::ledger::{Ledger, LedgerEvent};
use crate::engine::shard::{
    CustomerKey, History, Offer, ReadAhead, Shard, Verdict, customer_key, identity_hash,
};
use crate::engine::standing::{Standing, standings};
use crate::metrics_api::cohorts::{self, CohortPartial, CohortQuestion};
use crate::metrics_api::commerce::{self, CommercePartial, CommerceQuestion};
use crate::metrics_api::kept::Kept;
use crate::metrics_api::ltv::{self, LtvPartial};
use crate::metrics_api::mrr::{self, MrrPartial, MrrQuestion};
use crate::metrics_api::question::LtvQuestion;
use crate::metrics_api::revenue::{self, RevenuePartial, RevenueQuestion};
use crate::store::{Store, StoreError, Table};
use crate::stream::{DeadLetter, Fingerprint, NextOffset, Partition, Record};

pub use audit::{Audit, Difference};
pub use commit::{PreparedCommit, Written};
pub use gather::Scattered;
pub use load::RulesChanged;
pub use opening::OpeningShard;
pub use rebuild::{Rebuilt, rebuild};
pub use refused::{Refused, ShardReader};
pub use shards::{HeldShard, Shards, SharedShard, at_a_time};

/// Chunks of a customer that are asked for at once: most have fewer.
const CHUNKS_AT_A_TIME: u32 = 4;

/// Why a shard can't go on. None of these is retried in place.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store failed or holds damaged rows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored facts were computed under other rules.
    #[error(transparent)]
    Rules(#[from] RulesChanged),
    /// The state is that of another log, so offsets would mean other records.
    #[error("the state was computed from {found}, not from {wanted}; use another data directory")]
    OtherLog { found: String, wanted: String },
    /// The topic has got other partitions, so customers are spread otherwise.
    #[error(
        "the state was computed from {found}, not from {wanted}: a customer's events may lie in two partitions \
         now, each of which knows a part of them; produce all events to a new topic, and give it a new data \
         directory"
    )]
    Repartitioned { found: String, wanted: String },
    /// There are ledgers of an app that has no rules.
    #[error("the state holds events of app \"{app}\", which is not configured")]
    Unconfigured { app: String },
    /// What forgotten customers of an app left behind can't be recomputed under the new rules.
    #[error(
        "{setting} of app \"{app}\" can't change any more: forgotten customers left figures behind that no \
         ledger explains; give the events again to a new data directory"
    )]
    Given { app: String, setting: &'static str },
    /// A ledger can't be recomputed under the new rules.
    #[error("app \"{app}\", customer \"{customer_id}\", event \"{event_id}\": {message}")]
    Rebuild { app: String, customer_id: String, event_id: String, message: String },
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its effect was in the state before: below the next offset.
    Known,
    Accepted {
        is_suspended: bool,
    },
    Repeated,
    Refused(Refused),
}

/// A record, and the event that was found in it.
#[derive(Debug, Clone)]
pub struct Arrival<'a> {
    pub record: Record<'a>,
    pub decoded: Result<BillingEvent<'a>, Refused>,
}

impl<'a> Arrival<'a> {
    /// A record with a place for the event in it.
    pub fn vacant(record: Record<'a>) -> Self {
        Self { record, decoded: Ok(BillingEvent::vacant()) }
    }
}

/// One partition's state with its store.
pub struct LiveShard {
    pub partition: Partition,
    pub shard: Shard,
    pub position: Position,
    kept_ltv: Kept<LtvQuestion, LtvPartial>,
    kept_revenue: Kept<RevenueQuestion, RevenuePartial>,
    kept_cohorts: Kept<CohortQuestion, CohortPartial>,
    kept_mrr: Kept<MrrQuestion, MrrPartial>,
    kept_commerce: Kept<CommerceQuestion, CommercePartial>,
    store: Arc<dyn Store>,
    /// Refused since the last commit.
    quarantine: Vec<DeadLetter>,
    quarantine_bytes: usize,
    /// Refused since the last [`LiveShard::take_refused`].
    refused: Vec<DeadLetter>,
    refused_bytes: usize,
    last_anchor: Option<Anchor>,
    /// The row of rules that the first commit stores: those in force, and those of apps that are
    /// not configured now. They do not change while a shard is open.
    unstored_rules: Option<Vec<u8>>,
    /// Keys of stored curves that the first commit removes: of another kind, or left behind.
    stale_curves: Vec<Vec<u8>>,
    is_dirty: bool,
}

impl LiveShard {
    /// The apps that have had events and have no rules now.
    pub fn unconfigured_apps(&self) -> impl Iterator<Item = &str> {
        let rules = self.rules();
        let apps = self.shard.dictionary.apps().iter().map(String::as_str);
        apps.filter(|app| !rules.apps.contains_key(*app))
    }

    /// Takes in the next records of the partition, in order of their offsets, and returns what
    /// became of each. Records below the next offset are known.
    ///
    /// Many at a time cost less than each alone: their customers and facts are looked up together.
    pub fn apply(&mut self, arrivals: &[Arrival<'_>]) -> Result<Vec<Outcome>, StateError> {
        let events = arrivals.iter().map(|arrival| arrival.decoded.as_ref().ok());
        let tuples = self.shard.look_ahead(events.clone());
        let mut histories = histories(&*self.store, &self.shard.missing(events))?.into_iter();
        let read = tuples.into_iter().map(|own_tuple| (own_tuple, histories.next().flatten()));
        let arrivals_read = arrivals.iter().zip(read);
        let rules = Arc::clone(self.rules());
        let outcomes =
            arrivals_read.map(|(arrival, read)| self.take(&rules, arrival, read)).collect();
        self.shard.settle();
        if let Some(Arrival { record, .. }) = arrivals.last()
            && self.position.next_offset == record.offset + 1
        {
            let Fingerprint { offset, timestamp, hash } = record.fingerprint();
            self.last_anchor = Some(Anchor { offset, timestamp: timestamp.0, hash });
        }
        outcomes
    }

    fn take(
        &mut self,
        rules: &Rules,
        arrival: &Arrival<'_>,
        read: (Option<TupleId>, Option<ChunkRows>),
    ) -> Result<Outcome, StateError> {
        let record = &arrival.record;
        if record.offset < self.position.next_offset {
            return Ok(Outcome::Known);
        }
        let outcome = match &arrival.decoded {
            Ok(event) => self.offer(rules, event, record.timestamp, read)?,
            Err(refused) => Outcome::Refused(refused.clone()),
        };
        match &outcome {
            Outcome::Accepted { .. } => {
                self.position.accepted += 1;
                if let Ok(BillingEvent { kind: EventKind::Forget, app_id, customer_id, .. }) =
                    &arrival.decoded
                {
                    self.erase_refused(identity_hash(app_id, customer_id));
                }
            }
            Outcome::Repeated => self.position.repeated += 1,
            Outcome::Refused(refused) => {
                self.quarantine(record, refused, arrival.decoded.as_ref().ok());
            }
            Outcome::Known => {}
        }
        self.position.records += 1;
        self.position.next_offset = record.offset + 1;
        self.is_dirty = true;
        Ok(outcome)
    }

    fn offer(
        &mut self,
        rules: &Rules,
        event: &BillingEvent<'_>,
        recorded_at: Timestamp,
        (own_tuple, chunks): (Option<TupleId>, Option<ChunkRows>),
    ) -> Result<Outcome, StateError> {
        let history_read = chunks.as_ref().map(history).transpose()?;
        let read = ReadAhead { own_tuple, history: history_read };
        let mut offer = self.shard.offer(rules, event, recorded_at, read);
        if let Offer::NeedsHistory(customer, has_history) = offer {
            let chunks = self.chunks(&customer, has_history)?;
            let read = ReadAhead { own_tuple, history: Some(history(&chunks)?) };
            offer = self.shard.offer(rules, event, recorded_at, read);
        }
        Ok(match offer {
            Offer::Done(Verdict::Accepted { is_suspended }) => Outcome::Accepted { is_suspended },
            Offer::Done(Verdict::Repeated) => Outcome::Repeated,
            Offer::Done(Verdict::Refused(refusal)) => Outcome::Refused(refusal.into()),
            Offer::NeedsHistory(customer, _) => {
                let key = describe_key(&customer);
                let message = "history was asked for twice".to_owned();
                return Err(StoreError::Corrupt { table: "history", key, message }.into());
            }
        })
    }

    /// The stored chunks of a customer, in order, each under its key.
    fn chunks(&self, key: &CustomerKey, has: HasHistory) -> Result<ChunkRows, StoreError> {
        if let HasHistory::Chunks(count) = has {
            let keys: Vec<Vec<u8>> = (0..count).map(|chunk| chunk_key(key, chunk)).collect();
            let wanted: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let found = self.store.get_many(Table::History, &wanted)?;
            let chunk = |(key, value): (Vec<u8>, Option<Vec<u8>>)| match value {
                Some(value) => Ok((key, value)),
                None => Err(missing_chunk(&key)),
            };
            return keys.into_iter().zip(found).map(chunk).collect();
        }
        let mut chunks = ChunkRows::new();
        // Most of those that may have none are new: a filter answers that without a scan.
        if self.store.get(Table::History, &chunk_key(key, 0))?.is_none() {
            return Ok(chunks);
        }
        self.store.scan(Table::History, key, &mut |row, value| {
            let next = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
            if row != chunk_key(key, next) {
                return Err(missing_chunk(row));
            }
            chunks.push((row.to_vec(), value.to_vec()));
            Ok(())
        })?;
        Ok(chunks)
    }

    /// Goes on at `low`: the records before it are gone from the log. Answers say so from now on.
    pub fn skip_missing(&mut self, low: i64) {
        self.position.missing_offsets +=
            u64::try_from(low - self.position.next_offset).unwrap_or(0);
        self.position.next_offset = low;
        self.is_dirty = true;
    }

    /// Goes on at `next` if that is further: what lies before it is no record.
    pub fn pass(&mut self, next: NextOffset) {
        if next.0 > self.position.next_offset {
            self.position.next_offset = next.0;
            self.is_dirty = true;
        }
    }

    /// Whether nothing was ever committed: the log is read from its beginning.
    pub fn is_new(&self) -> bool {
        self.position.commit_count == 0
    }

    /// Lets readers prefer these figures to those of smaller epochs.
    pub fn raise_epoch(&mut self, epoch: u64) {
        self.position.log_epoch = epoch;
        self.is_dirty = true;
    }

    /// Whether anything was applied since the last commit.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// The next offset to read.
    pub fn next_offset(&self) -> NextOffset {
        self.position.next_offset()
    }

    /// The rules in force.
    pub fn rules(&self) -> &Arc<Rules> {
        self.shard.rules()
    }

    /// Lets questions that are worked out in steps take so many pages of facts at a time at the least.
    pub fn set_step_pages_min(&mut self, pages: PageNumber) {
        self.kept_ltv.set_step_pages_min(pages);
        self.kept_revenue.set_step_pages_min(pages);
        self.kept_cohorts.set_step_pages_min(pages);
        self.kept_mrr.set_step_pages_min(pages);
        self.kept_commerce.set_step_pages_min(pages);
    }

    /// Bytes of memory held by answers that are kept.
    pub fn kept_bytes(&self) -> usize {
        self.kept_ltv.memory_bytes()
            + self.kept_revenue.memory_bytes()
            + self.kept_cohorts.memory_bytes()
            + self.kept_mrr.memory_bytes()
            + self.kept_commerce.memory_bytes()
    }

    /// What the shard says of lifetime value: by the curves where they know the answer, else by the
    /// facts. `None`, here and below: more is to be done, by the next call; the lock should be let go of
    /// in between, so that events are applied.
    pub fn ltv(&self, question: &LtvQuestion) -> Option<LtvPartial> {
        let Shard { facts, curves, dictionary, recent, .. } = &self.shard;
        let by_curves = || ltv::partial_of_curves(curves, dictionary, question);
        let some = |facts: Facts<'_>| ltv::partial(facts, dictionary, question);
        self.kept_ltv.ask(question, (facts, recent), by_curves, some)
    }

    /// What the facts say of revenue by calendar bucket.
    pub fn revenue(&self, question: &RevenueQuestion) -> Option<RevenuePartial> {
        let Shard { facts, dictionary, recent, .. } = &self.shard;
        let some = |facts: Facts<'_>| revenue::partial(facts, dictionary, question);
        self.kept_revenue.ask(question, (facts, recent), || None, some)
    }

    /// What the facts say of install cohorts.
    pub fn cohorts(&self, question: &CohortQuestion) -> Option<CohortPartial> {
        let Shard { facts, dictionary, recent, .. } = &self.shard;
        let some = |facts: Facts<'_>| cohorts::partial(facts, dictionary, question);
        self.kept_cohorts.ask(question, (facts, recent), || None, some)
    }

    /// What the facts say of recurring revenue.
    pub fn mrr(&self, question: &MrrQuestion) -> Option<MrrPartial> {
        let Shard { facts, dictionary, recent, .. } = &self.shard;
        let some = |facts: Facts<'_>| mrr::partial(facts, dictionary, question);
        self.kept_mrr.ask(question, (facts, recent), || None, some)
    }

    /// What the facts say of orders by period.
    pub fn commerce(&self, question: &CommerceQuestion) -> Option<CommercePartial> {
        let Shard { facts, dictionary, recent, .. } = &self.shard;
        let some = |facts: Facts<'_>| commerce::partial(facts, dictionary, question);
        self.kept_commerce.ask(question, (facts, recent), || None, some)
    }

    /// What a reader needs to read ledgers and stored rows without holding up the ingest.
    pub fn reader(&self) -> ShardReader {
        ShardReader { partition: self.partition, store: Arc::clone(&self.store) }
    }

    /// A customer's ledger with the standing of each event, or `None` for a customer that is not
    /// known.
    pub fn ledger(
        &self,
        app_id: &str,
        customer_id: &str,
    ) -> Result<Option<Vec<(LedgerEvent<'static>, Standing)>>, StateError> {
        let (Some(app), Some(rules)) =
            (self.shard.dictionary.find_app(app_id), self.rules().apps.get(app_id))
        else {
            return Ok(None);
        };
        let key = customer_key(app, customer_id);
        // Chunks that a commit writes or replaces are not read: their events are pending.
        let chunks = self.chunks(&key, self.shard.has_history(app, customer_id))?;
        let stored = history(&chunks)?.events;
        let mut events: Vec<_> = stored.into_iter().map(LedgerEvent::into_owned).collect();
        events.extend(self.shard.pending(app, customer_id));
        if events.is_empty() {
            return Ok(None);
        }
        let ledger = Ledger::new(events);
        let standings = standings(&ledger, rules.zero_payments);
        Ok(Some(ledger.events().iter().cloned().zip(standings).collect()))
    }
}

/// The stored chunks of each customer that is given, in order, each under its key.
///
/// All customers are asked for together, [`CHUNKS_AT_A_TIME`] chunks of each at a time, until two
/// in a row are not there: one that is missing between others is reported.
fn histories(
    store: &dyn Store,
    customers: &[Option<CustomerKey>],
) -> Result<Vec<Option<ChunkRows>>, StoreError> {
    let given = (0..).zip(customers).filter_map(|(at, key)| Some((at, key.as_ref()?)));
    let mut open: Vec<(usize, &CustomerKey)> = given.collect();
    let mut found: Vec<Option<ChunkRows>> = vec![None; customers.len()];
    let mut first = 0;
    while !open.is_empty() {
        let chunks = first..first + CHUNKS_AT_A_TIME;
        let keys_of = |key: &CustomerKey| {
            chunks.clone().map(|chunk| chunk_key(key, chunk)).collect::<Vec<_>>()
        };
        let keys: Vec<Vec<u8>> = open.iter().flat_map(|(_, key)| keys_of(key)).collect();
        let wanted: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let values = store.get_many(Table::History, &wanted)?;
        let mut rows = keys.into_iter().zip(values);
        let mut more = Vec::new();
        for (at, customer) in open {
            let rows: Vec<_> = rows.by_ref().take(chunks.len()).collect();
            let absent = rows.iter().rev().take_while(|(_, value)| value.is_none()).count();
            let found = found[at].get_or_insert_default();
            for (key, value) in rows.into_iter().take(chunks.len() - absent) {
                let Some(value) = value else { return Err(missing_chunk(&key)) };
                let next = u32::try_from(found.len()).unwrap_or(u32::MAX);
                if key != chunk_key(customer, next) {
                    return Err(missing_chunk(&chunk_key(customer, next)));
                }
                found.push((key, value));
            }
            if absent < 2 {
                more.push((at, customer));
            }
        }
        open = more;
        first = chunks.end;
    }
    Ok(found)
}

/// Stored chunks, each under its key.
type ChunkRows = Vec<(Vec<u8>, Vec<u8>)>;

/// The ledger in a customer's stored chunks.
fn history(chunks: &ChunkRows) -> Result<History<'_>, StoreError> {
    let mut history = History::default();
    for (key, value) in chunks {
        let events = decode_chunk(key, value).map_err(|error| corrupt("history", key, &error))?;
        history.events.extend(events);
        history.chunks += 1;
    }
    Ok(history)
}

fn missing_chunk(row: &[u8]) -> StoreError {
    corrupt("history", row, &StoredError::Malformed("chunk missing"))
}

fn describe_key(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

fn corrupt(table: &'static str, key: &[u8], error: &StoredError) -> StoreError {
    StoreError::Corrupt { table, key: describe_key(key), message: error.to_string() }
}
