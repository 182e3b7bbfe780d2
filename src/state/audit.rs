//! Recomputes a shard's facts from its ledgers and compares them with the live ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::facts::{FactKey, Sums};
use crate::engine::fold::delta::FactDelta;
use crate::engine::fold::{Scribe, facts};
use crate::engine::ledger::Ledger;
use crate::engine::shard::split_customer_key;
use crate::state::ledgers::each_ledger;
use crate::state::{LiveShard, StateError, describe_key};
use crate::store::StoreError;

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
        let mut delta = FactDelta::new();
        each_ledger(&*store, |customer, chunks| {
            let unknown = || StoreError::Corrupt {
                table: "history",
                key: describe_key(customer),
                message: "the key names no customer of a configured app".to_owned(),
            };
            let dictionary = &mut self.shard.dictionary;
            let (app, _) = split_customer_key(customer).ok_or_else(unknown)?;
            let rules = rules.apps.get(dictionary.app_id(app)).ok_or_else(unknown)?;
            let events: Vec<_> = chunks.into_iter().flat_map(|(_, events)| events).collect();
            let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
            facts(&Ledger::new(events), &mut Scribe { app, rules, dictionary, delta: &mut delta });
            visit(&mut delta, count);
            delta.clear();
            Ok(())
        })
    }
}
