//! Opens a shard from its store, or begins a new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::codec::fact_pages::PageReader;
use crate::codec::stored::{
    POSITION_KEY, Position, RULES_KEY, StoredError, decode_forgotten, decode_position,
    decode_rules, decode_suspended, encode_rules,
};
use crate::codec::stored_entry::decode_entries;
use crate::domain::rules::Rules;
use crate::domain::time::{Day, Timestamp};
use crate::engine::curves::CurvesConfig;
use crate::engine::dictionary::Entry;
use crate::engine::facts::FactTable;
use crate::engine::shard::{Shard, Stored};
use crate::state::{LiveShard, StateError, corrupt};
use crate::store::{Store, StoreError, Table};
use crate::stream::Partition;

/// The stored facts were computed under other rules.
#[derive(Debug, thiserror::Error)]
#[error(
    "the state of app \"{app}\" was computed under other rules ({difference}); start with the \
     rules it has, or recompute it with --rebuild"
)]
pub struct RulesChanged {
    pub app: String,
    /// The lines that differ: `-` as stored, `+` as configured.
    pub difference: String,
}

impl LiveShard {
    /// Opens the shard that the store holds, or an empty one.
    ///
    /// Fails when a row does not open, and when the state was computed under other rules; new
    /// apps, and rates of days after the newest event, are no other rules.
    pub fn open(
        store: Arc<dyn Store>,
        partition: Partition,
        (rules, curves): (Arc<Rules>, CurvesConfig),
    ) -> Result<Self, StateError> {
        let position = match store.get(Table::Meta, POSITION_KEY)? {
            Some(bytes) => {
                decode_position(&bytes).map_err(|error| corrupt("meta", POSITION_KEY, &error))?
            }
            None => Position::default(),
        };
        let mut stored_rules = read_rules(&*store)?;
        check_rules(&stored_rules, &rules, &position)?;
        stored_rules.extend(canonical_rules(&rules));
        let mut shard = Shard::new(rules, curves);
        let stored = read_stored(&*store, &position)?;
        shard.restore(stored).map_err(|error| StoreError::Corrupt {
            table: "dictionary",
            key: String::new(),
            message: error.to_string(),
        })?;
        Ok(Self {
            partition,
            shard,
            position,
            kept_ltv: Default::default(),
            kept_revenue: Default::default(),
            kept_cohorts: Default::default(),
            kept_mrr: Default::default(),
            store,
            commit_gate: Arc::new(Mutex::new(())),
            quarantine: Vec::new(),
            last_anchor: None,
            unstored_rules: Some(encode_rules(&stored_rules)),
            is_dirty: false,
        })
    }
}

fn read_stored(store: &dyn Store, position: &Position) -> Result<Stored, StateError> {
    let mut stored = Stored {
        newest_event_at: position.newest_event_at_micros.map(Timestamp),
        customer_count: position.customer_count,
        ..Stored::default()
    };
    stored.entries = read_entries(store)?;
    stored.facts = read_facts(store, Table::Facts)?;
    stored.given = read_facts(store, Table::Given)?;
    read(store, Table::Forgotten, decode_forgotten, &mut stored.forgotten)?;
    let with_key = |key: &[u8], value: &[u8]| Ok((Box::from(key), decode_suspended(key, value)?));
    read(store, Table::Suspended, with_key, &mut stored.suspended)?;
    Ok(stored)
}

/// The stored facts of a table.
pub(super) fn read_facts(store: &dyn Store, table: Table) -> Result<FactTable, StateError> {
    let mut pages = PageReader::default();
    store.scan(table, &[], &mut |key, value| {
        pages.row(key, value).map_err(|error| corrupt(table.name(), key, &error))
    })?;
    Ok(pages.finish())
}

/// The stored entries of the dictionary, in the order in which they were made.
pub(super) fn read_entries(store: &dyn Store) -> Result<Vec<Entry>, StateError> {
    let mut entries = Vec::new();
    store.scan(Table::Dictionary, &[], &mut |key, value| {
        let decoded = decode_entries(entries.len() as u64, key, value);
        entries.extend(decoded.map_err(|error| corrupt("dictionary", key, &error))?);
        Ok(())
    })?;
    Ok(entries)
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

/// The rules as they are stored: canonical text by app.
pub(super) fn canonical_rules(rules: &Rules) -> BTreeMap<String, String> {
    rules.apps.iter().map(|(id, rules)| (id.clone(), rules.canonical())).collect()
}

/// The stored rules by app; none in a new store.
pub(super) fn read_rules(store: &dyn Store) -> Result<BTreeMap<String, String>, StateError> {
    Ok(match store.get(Table::Meta, RULES_KEY)? {
        Some(bytes) => decode_rules(&bytes).map_err(|error| corrupt("meta", RULES_KEY, &error))?,
        None => BTreeMap::new(),
    })
}

fn check_rules(
    stored: &BTreeMap<String, String>,
    rules: &Rules,
    position: &Position,
) -> Result<(), StateError> {
    let newest_day = position.newest_event_at_micros.map(|at| Timestamp(at).utc_day());
    for (app, configured) in canonical_rules(rules) {
        let Some(stored) = stored.get(&app) else {
            continue;
        };
        let difference = difference(stored, &configured, newest_day);
        if !difference.is_empty() {
            return Err(RulesChanged { app, difference: difference.join("; ") }.into());
        }
    }
    Ok(())
}

fn difference(stored: &str, configured: &str, newest_day: Option<Day>) -> Vec<String> {
    let removed = stored.lines().filter(|line| !configured.lines().any(|other| other == *line));
    let added = configured.lines().filter(|line| !stored.lines().any(|other| other == *line));
    let added = added.filter(|line| !is_future_rate(line, newest_day));
    removed.map(|line| format!("- {line}")).chain(added.map(|line| format!("+ {line}"))).collect()
}

/// A rate of a day on which no event has happened yet changes nothing.
fn is_future_rate(line: &str, newest_day: Option<Day>) -> bool {
    let mut words = line.split(' ');
    let day = match (words.next(), words.next(), words.next()) {
        (Some("rate"), Some(_), Some(day)) => day.parse::<Day>().ok(),
        _ => None,
    };
    day.is_some_and(|day| newest_day.is_none_or(|newest| day > newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_days_to_come_are_no_other_rules() {
        let stored = "reporting_zones = UTC\nrate EUR 2024-01-01 = 1.1\n";
        let newest = "2024-06-01".parse().ok();
        let with = |line: &str| difference(stored, &format!("{stored}{line}\n"), newest);
        assert!(with("rate EUR 2024-06-02 = 1.2").is_empty());
        assert_eq!(with("rate EUR 2024-06-01 = 1.2"), ["+ rate EUR 2024-06-01 = 1.2"]);
        let other = difference(stored, "reporting_zones = UTC,Europe/Berlin\n", newest);
        assert_eq!(other.len(), 3, "{other:?}");
    }
}
