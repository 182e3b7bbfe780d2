//! Recomputes a shard from its ledgers and compares it with the live one: facts, cohorts, suspended
//! events and the number of customers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::engine::curves::{Cell, CellKey, CohortCurves, CohortKey};
use crate::engine::customer::suspended;
use crate::engine::facts::{FactKey, FactKind, Sums};
use crate::engine::fold::delta::FactDelta;
use crate::engine::fold::{Scribe, facts};
use crate::engine::ledger::Ledger;
use crate::engine::shard::{CustomerKey, Shard, SuspendedEvents, split_customer_key};
use crate::engine::timelines::PathId;
use crate::state::ledgers::{LedgerOf, each_ledger};
use crate::state::{LiveShard, StateError, describe_key};

/// What the ledgers do not explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A fact, with its key in words.
    Fact { key: FactKey, description: String, live: Sums, recomputed: Sums },
    /// A cell of a cohort, with its key in words, against what the live facts say.
    Cohort { description: String, live: Cell, recomputed: Cell },
    /// The suspended events of a customer.
    Suspended { customer: String, live: SuspendedEvents, recomputed: SuspendedEvents },
    /// The number of customers.
    Customers { live: u64, recomputed: u64 },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, live, recomputed): (_, &dyn fmt::Debug, &dyn fmt::Debug) = match self {
            Self::Fact { description, live, recomputed, .. } => {
                (description.clone(), live, recomputed)
            }
            Self::Cohort { description, live, recomputed } => {
                (description.clone(), live, recomputed)
            }
            Self::Suspended { customer, live, recomputed } => {
                (format!("suspended events of {customer}"), live, recomputed)
            }
            Self::Customers { live, recomputed } => {
                ("number of customers".to_owned(), live, recomputed)
            }
        };
        write!(f, "{what}\n  live       {live:?}\n  recomputed {recomputed:?}")
    }
}

/// What an audit of a shard found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    pub customers: u64,
    pub events: u64,
    pub facts: u64,
    /// Facts in key order, then cells of cohorts, then suspended events by customer, then the number of
    /// customers.
    pub differences: Vec<Difference>,
}

/// By rising key what is not the same in both, with what each says; a key that one lacks says nothing.
fn differing<'m, K: Ord, V: Clone + Default + PartialEq>(
    live: &'m BTreeMap<K, V>,
    recomputed: &'m BTreeMap<K, V>,
) -> impl Iterator<Item = (&'m K, V, V)> {
    let keys: BTreeSet<&K> = live.keys().chain(recomputed.keys()).collect();
    keys.into_iter().filter_map(move |key| {
        let says = |map: &BTreeMap<K, V>| map.get(key).cloned().unwrap_or_default();
        let (live, recomputed) = (says(live), says(recomputed));
        (live != recomputed).then_some((key, live, recomputed))
    })
}

/// Facts that are not zero, each under the first path that says the same as its own.
fn by_first_equals(
    facts: impl Iterator<Item = (FactKey, Sums)>,
    first: &[PathId],
) -> BTreeMap<FactKey, Sums> {
    let mut all: BTreeMap<FactKey, Sums> = BTreeMap::new();
    for (mut key, sums) in facts {
        if matches!(key.kind, FactKind::Timeline | FactKind::UnrefundedTimeline) {
            key.dims = first.get(key.dims as usize).copied().unwrap_or(key.dims);
        }
        *all.entry(key).or_default() += sums;
    }
    all.retain(|_, sums| !sums.is_zero());
    all
}

/// What the ledgers say.
#[derive(Default)]
struct Recomputed {
    customers: u64,
    events: u64,
    facts: BTreeMap<FactKey, Sums>,
    suspended: BTreeMap<CustomerKey, SuspendedEvents>,
}

impl LiveShard {
    /// Recomputes every ledger of the store from its beginning and compares the sum, with what
    /// forgotten customers left behind, to the live facts; what cohorts add up to; what is suspended,
    /// and how many customers there are.
    ///
    /// Needs a shard without uncommitted changes; memory grows with the number of facts.
    pub fn audit(&mut self) -> Result<Audit, StateError> {
        let mut recomputed = self.recompute_all()?;
        for fact in self.shard.given().iter() {
            *recomputed.facts.entry(fact.key).or_default() += fact.sums;
        }
        let first = self.shard.dictionary.timelines.first_equals();
        let recomputed_facts = std::mem::take(&mut recomputed.facts);
        recomputed.facts = by_first_equals(recomputed_facts.into_iter(), &first);
        let live = self.shard.facts.iter().map(|fact| (fact.key, fact.sums));
        let live = by_first_equals(live, &first);
        let mut differences = self.of_facts(&live, &recomputed.facts);
        differences.extend(self.of_cohorts());
        differences.extend(self.of_suspended(&recomputed.suspended));
        let (live_customers, customers) = (self.shard.customer_count(), recomputed.customers);
        if live_customers != customers {
            differences.push(Difference::Customers { live: live_customers, recomputed: customers });
        }
        let facts = u64::try_from(live.len()).unwrap_or(u64::MAX);
        Ok(Audit { customers, events: recomputed.events, facts, differences })
    }

    fn of_facts(
        &self,
        live: &BTreeMap<FactKey, Sums>,
        recomputed: &BTreeMap<FactKey, Sums>,
    ) -> Vec<Difference> {
        let difference = |(key, live, recomputed): (&FactKey, _, _)| Difference::Fact {
            key: *key,
            description: self.shard.describe(key),
            live,
            recomputed,
        };
        differing(live, recomputed).map(difference).collect()
    }

    /// Cells of the live curves that are not those of the live facts.
    fn of_cohorts(&self) -> Vec<Difference> {
        let Shard { curves, facts, dictionary, .. } = &self.shard;
        let made = CohortCurves::of(curves.config().clone(), facts, dictionary);
        let live: BTreeMap<CellKey, Cell> = curves.cells().collect();
        let recomputed: BTreeMap<CellKey, Cell> = made.cells().collect();
        let difference = |(key, live, recomputed): (&CellKey, _, _)| Difference::Cohort {
            description: self.describe_cell(key),
            live,
            recomputed,
        };
        differing(&live, &recomputed).map(difference).collect()
    }

    /// `app|zone|anchor|segment|cohort day|cells|day|day of what is refunded`
    fn describe_cell(&self, key: &CellKey) -> String {
        let Shard { curves, dictionary, .. } = &self.shard;
        let app = dictionary.app_id(key.app);
        let cohort = key.cohort.map(|CohortKey { anchor, segment, day, .. }| {
            let segment = segment.map_or("-".to_owned(), |segment| {
                let field = curves.field(app, segment).map_or("?".to_owned(), ToString::to_string);
                format!("{field}={}", dictionary.text(segment.value))
            });
            format!("{}|{segment}|{day}", anchor.name())
        });
        let cohort = cohort.unwrap_or_else(|| "no cohort".to_owned());
        let of = key.of.map_or("-".to_owned(), |day| day.to_string());
        format!("{app}|{}|{cohort}|{:?}|{}|{of}", key.zone, key.kind, key.day)
    }

    fn of_suspended(&self, recomputed: &BTreeMap<CustomerKey, SuspendedEvents>) -> Vec<Difference> {
        let difference = |(customer, live, recomputed): (&CustomerKey, _, _)| {
            let customer = self.describe_customer(customer);
            Difference::Suspended { customer, live, recomputed }
        };
        differing(self.shard.suspended().lists(), recomputed).map(difference).collect()
    }

    fn describe_customer(&self, key: &CustomerKey) -> String {
        match split_customer_key(key) {
            Some((app, id)) => {
                format!("app \"{}\", customer \"{id}\"", self.shard.dictionary.app_id(app))
            }
            None => describe_key(key),
        }
    }

    /// Walks every stored ledger from an empty fold.
    fn recompute_all(&mut self) -> Result<Recomputed, StateError> {
        let rules = Arc::clone(self.rules());
        let store = Arc::clone(&self.store);
        let mut recomputed = Recomputed::default();
        let mut delta = FactDelta::new();
        each_ledger(&*store, |customer, chunks| {
            let LedgerOf { key, app, .. } = customer;
            let dictionary = &mut self.shard.dictionary;
            let app_id = dictionary.app_id(app);
            let unconfigured = || StateError::Unconfigured { app: app_id.to_owned() };
            let rules = rules.apps.get(app_id).ok_or_else(unconfigured)?;
            let events: Vec<_> = chunks.into_iter().flat_map(|(_, events)| events).collect();
            recomputed.customers += 1;
            recomputed.events += u64::try_from(events.len()).unwrap_or(u64::MAX);
            let ledger = Ledger::new(events);
            let (_, standings) =
                facts(&ledger, &mut Scribe { app, rules, dictionary, delta: &mut delta });
            for (key, sums) in delta.drain(..) {
                *recomputed.facts.entry(key).or_default() += sums;
            }
            let waiting = suspended(&ledger, &standings);
            if !waiting.is_empty() {
                recomputed.suspended.insert(key.into(), waiting);
            }
            Ok(())
        })?;
        Ok(recomputed)
    }
}
