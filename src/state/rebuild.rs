//! Recomputes a shard's facts from its ledgers under changed rules.
//!
//! The ledgers stay; amounts in the reporting currency, standings and facts are made anew, and the
//! epoch of the log is raised, so that readers of snapshots prefer the new figures. All of it is
//! one batch: a crash leaves the old state, which refuses the new rules as before.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::stored::{
    POSITION_KEY, RULES_KEY, decode_position, encode_chunk, encode_position, encode_rules,
    encode_suspended,
};
use crate::codec::stored_curves::CURVES_KEY;
use crate::codec::stored_entry::encode_entries;
use crate::domain::rules::Rules;
use crate::engine::customer::suspended;
use crate::engine::dictionary::{AppIx, Dictionary};
use crate::engine::facts::{FactKey, FactTable, Sums};
use crate::engine::fold::delta::FactDelta;
use crate::engine::fold::{Scribe, facts};
use crate::engine::ledger::Ledger;
use crate::engine::packed::pack;
use crate::engine::shard::convert;
use crate::state::commit::write_facts;
use crate::state::ledgers::{Chunks, LedgerOf, each_ledger};
use crate::state::load::{
    KEPT_BY_GIVEN, check_acceptance, read_dictionary, read_facts, read_rules,
};
use crate::state::{StateError, corrupt};
use crate::store::{Batch, Durability, Store, Table};

/// What a rebuild has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilt {
    pub customers: u64,
    pub events: u64,
    pub facts: u64,
}

/// Recomputes the facts of the shard in `store` under `rules`.
///
/// Facts that forgotten customers left behind stay as they were: no ledger explains them. So does all that is
/// stored of apps that have no rules now, until they are configured again. Fails,
/// changing nothing, when an event has no rate under the new rules, and when other events would have
/// been accepted under them. Memory grows with the number
/// of facts and ledgers.
pub fn rebuild(store: &dyn Store, rules: &Rules) -> Result<Rebuilt, StateError> {
    let mut run = Rebuild {
        rules,
        dictionary: read_dictionary(store)?,
        sums: BTreeMap::new(),
        batch: Batch::default(),
        done: Rebuilt::default(),
    };
    let stored = read_rules(store)?;
    check_acceptance(&stored, rules)?;
    let configured = rules.canonical();
    let given = read_facts(store, Table::Given)?;
    let apps = given.facts().iter().map(|fact| fact.key.app).collect::<BTreeSet<_>>();
    for app in apps.into_iter().filter(|app| run.is_configured(*app)) {
        check_given(run.dictionary.app_id(app), &stored, &configured)?;
    }
    for fact in given.facts().iter() {
        if run.is_configured(fact.key.app) {
            *run.sums.entry(fact.key).or_default() += fact.sums;
        }
    }
    let mut apps = (0..).map(AppIx).take(run.dictionary.apps().len());
    if apps.any(|app| !run.is_configured(app)) {
        for fact in read_facts(store, Table::Facts)?.facts().iter() {
            if !run.is_configured(fact.key.app) {
                *run.sums.entry(fact.key).or_default() += fact.sums;
            }
        }
    }
    each_ledger(store, |customer, chunks| run.customer(customer, chunks))?;
    let kept = stored.into_iter().filter(|(app, _)| !rules.apps.contains_key(app));
    run.commit(store, kept.chain(configured).collect())
}

/// What a forgotten customer left behind can't be recomputed: it must mean the same under the new
/// rules.
fn check_given(
    app: &str,
    stored: &BTreeMap<String, String>,
    configured: &BTreeMap<String, String>,
) -> Result<(), StateError> {
    for name in KEPT_BY_GIVEN {
        let line = |rules: &BTreeMap<String, String>| {
            let text = rules.get(app)?;
            text.lines().find(|line| line.starts_with(name)).map(str::to_owned)
        };
        if line(stored) != line(configured) {
            return Err(StateError::Given { app: app.to_owned(), setting: name });
        }
    }
    Ok(())
}

struct Rebuild<'a> {
    rules: &'a Rules,
    dictionary: Dictionary,
    sums: BTreeMap<FactKey, Sums>,
    batch: Batch,
    done: Rebuilt,
}

impl Rebuild<'_> {
    fn is_configured(&self, app: AppIx) -> bool {
        self.rules.apps.contains_key(self.dictionary.app_id(app))
    }

    fn customer(&mut self, of: LedgerOf<'_>, chunks: Chunks) -> Result<(), StateError> {
        let LedgerOf { key: customer, app, customer_id } = of;
        let app_id = self.dictionary.app_id(app).to_owned();
        let Some(rules) = self.rules.apps.get(&app_id) else { return Ok(()) };
        let mut ledger = Vec::new();
        for (key, mut events) in chunks {
            for event in &mut events {
                convert(event, rules).map_err(|refusal| StateError::Rebuild {
                    app: app_id.clone(),
                    customer_id: customer_id.to_owned(),
                    event_id: event.event_id.to_string(),
                    message: refusal.message(),
                })?;
            }
            let packed: Vec<Vec<u8>> = events
                .iter()
                .map(|event| {
                    let mut bytes = Vec::new();
                    pack(event, &mut bytes);
                    bytes
                })
                .collect();
            self.batch.put_written(Table::History, key, |key, into| {
                encode_chunk(key, packed.iter().map(Vec::as_slice), into);
            });
            ledger.extend(events);
        }
        self.done.customers += 1;
        self.done.events += u64::try_from(ledger.len()).unwrap_or(u64::MAX);
        let ledger = Ledger::new(ledger);
        let mut delta = FactDelta::new();
        let dictionary = &mut self.dictionary;
        let (_, standings) =
            facts(&ledger, &mut Scribe { app, rules, dictionary, delta: &mut delta });
        for (key, sums) in delta {
            *self.sums.entry(key).or_default() += sums;
        }
        let waiting = suspended(&ledger, &standings);
        if waiting.is_empty() {
            self.batch.delete(Table::Suspended, customer);
        } else {
            let value = encode_suspended(customer, &waiting);
            self.batch.put(Table::Suspended, customer, value);
        }
        Ok(())
    }

    fn commit(
        mut self,
        store: &dyn Store,
        rules: BTreeMap<String, String>,
    ) -> Result<Rebuilt, StateError> {
        let batch = &mut self.batch;
        store.scan(Table::Facts, &[], &mut |key, _| {
            batch.delete(Table::Facts, key);
            Ok(())
        })?;
        // Those of the next start are made of the facts.
        store.scan(Table::Curves, &[], &mut |key, _| {
            batch.delete(Table::Curves, key);
            Ok(())
        })?;
        batch.delete(Table::Meta, CURVES_KEY);
        self.sums.retain(|_, sums| !sums.is_zero());
        self.done.facts = u64::try_from(self.sums.len()).unwrap_or(u64::MAX);
        let mut facts = FactTable::default();
        for (key, sums) in self.sums {
            facts.add(key, sums);
        }
        write_facts(batch, Table::Facts, &facts.take_changed_pages());
        for (key, value) in encode_entries(&self.dictionary.take_fresh()) {
            batch.put(Table::Dictionary, key, value);
        }
        if let Some(bytes) = store.get(Table::Meta, POSITION_KEY)? {
            let mut position =
                decode_position(&bytes).map_err(|error| corrupt("meta", POSITION_KEY, &error))?;
            position.log_epoch += 1;
            batch.put(Table::Meta, POSITION_KEY, encode_position(&position));
        }
        batch.put(Table::Meta, RULES_KEY, encode_rules(&rules));
        store.commit(self.batch, Durability::Machine)?;
        Ok(self.done)
    }
}
