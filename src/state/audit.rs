//! Recomputes a shard's facts from its ledgers and compares them with the live ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::stored::{chunk_customer, decode_chunk};
use crate::domain::rules::Rules;
use crate::engine::facts::{FactKey, Sums};
use crate::engine::fold::{FactDelta, Scribe, facts};
use crate::engine::ledger::{Ledger, LedgerEvent};
use crate::engine::shard::split_customer_key;
use crate::state::{LiveShard, StateError, corrupt, describe_key};
use crate::store::{StoreError, Table};

/// A fact that the ledgers do not explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub key: FactKey,
    /// The key in words.
    pub description: String,
    pub live: Sums,
    pub recomputed: Sums,
}

/// What an audit of a shard found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    pub customers: u64,
    pub events: u64,
    pub facts: u64,
    /// In key order.
    pub differences: Vec<Difference>,
}

impl LiveShard {
    /// Recomputes every ledger of the store from its beginning and compares the sum, with what
    /// forgotten customers left behind, to the live facts.
    ///
    /// Needs a shard without uncommitted changes; memory grows with the number of facts.
    pub fn audit(&mut self) -> Result<Audit, StateError> {
        let mut recomputed: BTreeMap<FactKey, Sums> = BTreeMap::new();
        for fact in self.shard.given().iter() {
            *recomputed.entry(fact.key).or_default() += fact.sums;
        }
        let mut audit = Audit::default();
        self.recompute_all(&mut |delta, events| {
            audit.customers += 1;
            audit.events += events;
            for (key, sums) in delta.drain(..) {
                *recomputed.entry(key).or_default() += sums;
            }
        })?;
        recomputed.retain(|_, sums| !sums.is_zero());
        let live: BTreeMap<FactKey, Sums> =
            self.shard.facts.iter().map(|fact| (fact.key, fact.sums)).collect();
        audit.facts = u64::try_from(live.len()).unwrap_or(u64::MAX);
        let keys: std::collections::BTreeSet<FactKey> =
            live.keys().chain(recomputed.keys()).copied().collect();
        for key in keys {
            let live = live.get(&key).copied().unwrap_or_default();
            let recomputed = recomputed.get(&key).copied().unwrap_or_default();
            if live != recomputed {
                let description = self.shard.describe(&key);
                audit.differences.push(Difference { key, description, live, recomputed });
            }
        }
        Ok(audit)
    }

    /// Walks every stored ledger from an empty fold and hands its facts to `visit`, with the
    /// number of events.
    fn recompute_all(
        &mut self,
        visit: &mut dyn FnMut(&mut FactDelta, u64),
    ) -> Result<(), StateError> {
        let rules = Arc::clone(self.rules());
        let gate = Arc::clone(&self.commit_gate);
        let _gate = gate.lock();
        let store = Arc::clone(&self.store);
        let mut walk = LedgerWalk::new(self, &rules, visit);
        store.scan(Table::History, &[], &mut |key, value| {
            let events =
                decode_chunk(key, value).map_err(|error| corrupt("history", key, &error))?;
            walk.chunk(chunk_customer(key), events)
        })?;
        walk.finish()?;
        Ok(())
    }
}

/// Gathers chunks into ledgers.
struct LedgerWalk<'a> {
    live: &'a mut LiveShard,
    rules: &'a Rules,
    visit: &'a mut dyn FnMut(&mut FactDelta, u64),
    customer: Vec<u8>,
    events: Vec<LedgerEvent<'static>>,
    delta: FactDelta,
}

impl<'a> LedgerWalk<'a> {
    fn new(
        live: &'a mut LiveShard,
        rules: &'a Rules,
        visit: &'a mut dyn FnMut(&mut FactDelta, u64),
    ) -> Self {
        let (customer, events, delta) = (Vec::new(), Vec::new(), FactDelta::new());
        Self { live, rules, visit, customer, events, delta }
    }

    fn chunk(
        &mut self,
        customer: &[u8],
        events: Vec<LedgerEvent<'static>>,
    ) -> Result<(), StoreError> {
        if customer != self.customer {
            self.finish()?;
            self.customer = customer.to_vec();
        }
        self.events.extend(events);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        if self.events.is_empty() {
            return Ok(());
        }
        let unknown = |key: &[u8]| StoreError::Corrupt {
            table: "history",
            key: describe_key(key),
            message: "the key names no customer of a configured app".to_owned(),
        };
        let (app, _) = split_customer_key(&self.customer).ok_or_else(|| unknown(&self.customer))?;
        let app_id = self.live.shard.dictionary.app_id(app).to_owned();
        let rules = self.rules.apps.get(&app_id).ok_or_else(|| unknown(&self.customer))?;
        let events = std::mem::take(&mut self.events);
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        let dictionary = &mut self.live.shard.dictionary;
        let mut scribe = Scribe { app, rules, dictionary, delta: &mut self.delta };
        facts(&Ledger::new(events), &mut scribe);
        (self.visit)(&mut self.delta, count);
        self.delta.clear();
        Ok(())
    }
}
