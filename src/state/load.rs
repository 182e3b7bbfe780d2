//! What a store holds of a shard, and whether it may be read under the rules in force.

use std::collections::BTreeMap;

use hashbrown::HashSet;

use crate::codec::fact_pages::PageReader;
use crate::codec::stored::{
    EMPTIED_KEY, Position, RULES_KEY, StoredError, decode_emptied, decode_forgotten, decode_rules,
    decode_suspended,
};
use crate::codec::stored_entry::decode_entries;
use crate::domain::rules::{FUTURE_LIMIT_NAME, Rules};
use crate::domain::time::{Day, Timestamp};
use crate::engine::curves::{CohortCurves, CurvesConfig};
use crate::engine::dictionary::{Dictionary, RestoredDictionary};
use crate::engine::facts::RestoredFacts;
use crate::engine::shard::Stored;
use crate::state::{StateError, corrupt, describe_key};
use crate::store::{Store, StoreError, Table};

/// The stored facts were computed under other rules.
#[derive(Debug, thiserror::Error)]
#[error(
    "the state of app \"{app}\" was computed under other rules ({difference}); start with the \
     rules it has, or {remedy}"
)]
pub struct RulesChanged {
    pub app: String,
    /// The lines that differ: `-` as stored, `+` as configured.
    pub difference: String,
    /// What gives figures under the configured rules.
    pub remedy: &'static str,
}

impl RulesChanged {
    fn new(app: String, difference: &[String], remedy: &'static str) -> Self {
        Self { app, difference: difference.join("; "), remedy }
    }

    /// What the ledgers hold is the same under both rules.
    pub const REBUILD: &'static str = "recompute it with --rebuild";
    /// No ledger tells what forgotten customers have left behind.
    pub const FORGOTTEN: &'static str = "give the events again to a new data directory, as forgotten customers left \
                                         figures behind that no ledger explains";
    /// The ledgers hold what was accepted under the stored rules.
    pub const READ_AGAIN: &'static str =
        "give the events again to a new data directory, as they decide which events are accepted";
}

/// Settings under which figures that forgotten customers left behind mean something else.
pub(super) const KEPT_BY_GIVEN: [&str; 2] = ["reporting_currency", "reporting_zones"];

/// Everything that is stored of a shard but ledgers; curves too, unless they are read already.
pub(super) fn read_stored(
    store: &dyn Store,
    position: &Position,
    curves: Option<CohortCurves>,
    config: &CurvesConfig,
) -> Result<Stored, StateError> {
    // Facts are most of it, and the dictionary nearly all of the rest.
    let (facts, dictionary) = beside(|| read_facts(store, Table::Facts), || read_dictionary(store));
    let (facts, dictionary) = (facts?, dictionary?);
    let made = || CohortCurves::of(config.clone(), facts.facts(), &dictionary);
    let (index, curves) = beside(|| facts.index(), || curves.unwrap_or_else(made));
    let mut stored = Stored {
        dictionary,
        facts: facts.finish(index),
        curves,
        given: read_facts(store, Table::Given)?.indexed(),
        forgotten: Vec::new(),
        suspended: Vec::new(),
        emptied: Vec::new(),
        newest_event_at: position.newest_event_at_micros.map(Timestamp),
        customer_count: position.customer_count,
    };
    read(store, Table::Forgotten, decode_forgotten, &mut stored.forgotten)?;
    let with_key = |key: &[u8], value: &[u8]| Ok((Box::from(key), decode_suspended(key, value)?));
    read(store, Table::Suspended, with_key, &mut stored.suspended)?;
    if let Some(bytes) = store.get(Table::Meta, EMPTIED_KEY)? {
        stored.emptied =
            decode_emptied(&bytes).map_err(|error| corrupt("meta", EMPTIED_KEY, &error))?;
    }
    Ok(stored)
}

/// What both give, worked out side by side.
fn beside<A: Send, B>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), other)
    })
}

/// The stored facts of a table.
pub(super) fn read_facts(store: &dyn Store, table: Table) -> Result<RestoredFacts, StateError> {
    let mut pages = PageReader::default();
    store.scan(table, &[], &mut |key, value| {
        pages.row(key, value).map_err(|error| corrupt(table.name(), key, &error))
    })?;
    Ok(pages.finish())
}

/// The stored dictionary.
pub(super) fn read_dictionary(store: &dyn Store) -> Result<Dictionary, StateError> {
    let (mut dictionary, mut count) = (RestoredDictionary::default(), 0);
    store.scan(Table::Dictionary, &[], &mut |key, value| {
        let entries = decode_entries(count, key, value)
            .map_err(|error| corrupt("dictionary", key, &error))?;
        count += entries.len() as u64;
        let restored = entries.into_iter().try_for_each(|entry| dictionary.entry(entry));
        restored.map_err(|error| StoreError::Corrupt {
            table: "dictionary",
            key: describe_key(key),
            message: error.to_string(),
        })
    })?;
    Ok(dictionary.finish())
}

fn read<T>(
    store: &dyn Store,
    table: Table,
    decode: impl Fn(&[u8], &[u8]) -> Result<T, StoredError>,
    rows: &mut Vec<T>,
) -> Result<(), StateError> {
    store.scan(table, &[], &mut |key, value| {
        rows.push(decode(key, value).map_err(|error| corrupt(table.name(), key, &error))?);
        Ok(())
    })?;
    Ok(())
}

/// The stored rules by app; none in a new store.
pub(super) fn read_rules(store: &dyn Store) -> Result<BTreeMap<String, String>, StateError> {
    Ok(match store.get(Table::Meta, RULES_KEY)? {
        Some(bytes) => decode_rules(&bytes).map_err(|error| corrupt("meta", RULES_KEY, &error))?,
        None => BTreeMap::new(),
    })
}

/// The refusal, with what helps if forgotten customers left figures behind that would mean something else.
pub(super) fn remedied(mut changed: RulesChanged, store: &dyn Store) -> Result<(), StateError> {
    let is_kept = |line: &str| KEPT_BY_GIVEN.iter().any(|name| line.contains(name));
    if changed.difference.split("; ").any(is_kept) {
        let (given, dictionary) = (read_facts(store, Table::Given)?, read_dictionary(store)?);
        if given.facts().iter().any(|fact| dictionary.app_id(fact.key.app) == changed.app) {
            changed.remedy = RulesChanged::FORGOTTEN;
        }
    }
    Err(changed.into())
}

/// Refuses rules under which stored figures would be others.
pub(super) fn check_rules(
    stored: &BTreeMap<String, String>,
    rules: &Rules,
    position: &Position,
) -> Result<(), RulesChanged> {
    check_acceptance(stored, rules)?;
    let newest_day = position.newest_event_at_micros.map(|at| Timestamp(at).utc_day());
    for (app, mut difference) in differences(stored, rules) {
        difference.retain(|line| !is_future_limit(line) && !is_future_rate(line, newest_day));
        if !difference.is_empty() {
            return Err(RulesChanged::new(app, &difference, RulesChanged::REBUILD));
        }
    }
    Ok(())
}

/// Checks the rules that decide which events the ledgers hold: no rebuild can change them.
pub(super) fn check_acceptance(
    stored: &BTreeMap<String, String>,
    rules: &Rules,
) -> Result<(), RulesChanged> {
    for (app, mut difference) in differences(stored, rules) {
        difference.retain(|line| is_future_limit(line));
        // A state that was made before this rule was stored says nothing of it.
        if difference.iter().any(|line| line.starts_with('-')) {
            return Err(RulesChanged::new(app, &difference, RulesChanged::READ_AGAIN));
        }
    }
    Ok(())
}

/// Of each app that has stored rules, the lines that differ: `-` as stored, `+` as configured.
fn differences(
    stored: &BTreeMap<String, String>,
    rules: &Rules,
) -> impl Iterator<Item = (String, Vec<String>)> {
    rules.canonical().into_iter().filter_map(|(app, configured)| {
        let difference = difference(stored.get(&app)?, &configured);
        Some((app, difference))
    })
}

fn difference(stored: &str, configured: &str) -> Vec<String> {
    // Of tens of thousands of rates.
    let in_stored: HashSet<&str> = stored.lines().collect();
    let in_configured: HashSet<&str> = configured.lines().collect();
    let removed = stored.lines().filter(|line| !in_configured.contains(line));
    let added = configured.lines().filter(|line| !in_stored.contains(line));
    removed.map(|line| format!("- {line}")).chain(added.map(|line| format!("+ {line}"))).collect()
}

fn is_future_limit(line: &str) -> bool {
    line.split(' ').nth(1) == Some(FUTURE_LIMIT_NAME)
}

/// A new rate of a day on which no event has happened yet changes nothing.
fn is_future_rate(line: &str, newest_day: Option<Day>) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let day = match words[..] {
        ["+", "rate", _, day, ..] => day.parse::<Day>().ok(),
        _ => None,
    };
    day.is_some_and(|day| newest_day.is_none_or(|newest| day > newest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rules::{AppRules, RateTable, ZeroPayments};

    fn rules(future_limit_seconds: i64, rates: &[&str]) -> Rules {
        let mut table = RateTable::default();
        for day in rates {
            let (currency, rate) = ("EUR".parse().unwrap(), "1.1".parse().unwrap());
            table.insert(currency, day.parse().unwrap(), rate);
        }
        let app = AppRules {
            id: "a".to_owned(),
            reporting_currency: "USD".parse().unwrap(),
            reporting_zones: vec!["UTC".parse().unwrap()],
            zero_payments: ZeroPayments::Ignore,
            rates: table,
        };
        Rules {
            apps: BTreeMap::from([(app.id.clone(), app)]),
            future_limit_micros: future_limit_seconds * 1_000_000,
        }
    }

    /// What is said of a state whose newest event is of 2024-06-01.
    fn refusal(stored: &BTreeMap<String, String>, rules: &Rules) -> Option<String> {
        let newest = Timestamp::parse_rfc3339("2024-06-01T12:00:00Z").map(|at| at.0);
        let position = Position { newest_event_at_micros: newest, ..Position::default() };
        check_rules(stored, rules, &position).err().map(|changed| changed.difference)
    }

    #[test]
    fn rates_of_days_to_come_are_no_other_rules() {
        let stored = rules(1, &["2024-01-01"]).canonical();
        let with = |day| refusal(&stored, &rules(1, &["2024-01-01", day]));
        assert_eq!(with("2024-06-02"), None);
        assert_eq!(with("2024-06-01").as_deref(), Some("+ rate EUR 2024-06-01 = 1.1"));
        let without = refusal(&stored, &rules(1, &[]));
        assert_eq!(without.as_deref(), Some("- rate EUR 2024-01-01 = 1.1"));
    }

    #[test]
    fn another_future_limit_is_refused_unless_the_state_is_older_than_its_storage() {
        let stored = rules(60, &[]).canonical();
        assert_eq!(refusal(&stored, &rules(60, &[])), None);
        let lines = "- future_limit_seconds = 60; + future_limit_seconds = 61";
        assert_eq!(refusal(&stored, &rules(61, &[])).as_deref(), Some(lines));
        let by_rebuild = check_acceptance(&stored, &rules(61, &[])).unwrap_err();
        assert_eq!(by_rebuild.difference, lines);
        assert!(!by_rebuild.to_string().contains("--rebuild"), "{by_rebuild}");
        let older = stored["a"].replace("future_limit_seconds = 60\n", "");
        let older = BTreeMap::from([("a".to_owned(), older)]);
        assert_eq!(refusal(&older, &rules(61, &[])), None);
        let changed = rules(61, &["2024-01-01"]);
        let expected = "+ rate EUR 2024-01-01 = 1.1";
        assert_eq!(refusal(&older, &changed).as_deref(), Some(expected));
    }
}
