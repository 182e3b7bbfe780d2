//! Stored state, version 1: entries of the dictionary as bytes.
//!
//! Rows sort in the order in which a dictionary must take them in again: what an entry refers to
//! has a smaller key.

use serde::{Deserialize, Serialize};

use crate::codec::stored::{StoredError, amounts, decode, encode, period_unit};
use crate::domain::dimensions::Dimension;
use crate::domain::money::Amounts;
use crate::domain::period::Period;
use crate::domain::time::Day;
use crate::engine::dictionary::{Entry, Mark, Tuple};
use crate::engine::timelines::{Change, Element, Terms, TimelineEntry};

#[derive(Serialize, Deserialize)]
enum StoredEntry {
    App(u16, String),
    Text(u32, String),
    Tuple(u32, [u32; Dimension::COUNT], Vec<(u32, u32)>),
    /// Tuple, lowest index paid and whether refunded of each mark.
    Signature(u32, Vec<(u32, u16, bool)>),
    /// Amounts and period of paid terms; trials have a number that is never stored.
    Terms(u32, Option<([i64; 3], (u16, u8))>),
    /// Chain, tuple and terms of each element.
    State(u32, Vec<(u16, u32, u32)>),
    /// Path before, day and state.
    Path(u32, (u32, i32, u32)),
}

fn stored_timeline(entry: TimelineEntry) -> StoredEntry {
    match entry {
        TimelineEntry::Terms(id, Terms::Trial) => StoredEntry::Terms(id, None),
        TimelineEntry::Terms(id, Terms::Paid { amounts: paid, period }) => {
            let period = (period.count, period.unit as u8);
            StoredEntry::Terms(id, Some((amounts(paid), period)))
        }
        TimelineEntry::State(id, elements) => {
            let elements = elements.iter();
            let stored = elements.map(|element| (element.chain, element.tuple, element.terms));
            StoredEntry::State(id, stored.collect())
        }
        TimelineEntry::Path(id, change) => {
            StoredEntry::Path(id, (change.before, change.day.0, change.state))
        }
    }
}

fn terms_of(stored: Option<([i64; 3], (u16, u8))>) -> Result<Terms, StoredError> {
    let Some(([gross, proceeds, net], (count, unit))) = stored else { return Ok(Terms::Trial) };
    let amounts = Amounts { gross, proceeds, net };
    Ok(Terms::Paid { amounts, period: Period { count, unit: period_unit(unit)? } })
}

/// The row of a dictionary entry; rows sort in the order in which they must be read back.
pub fn encode_entry(entry: Entry) -> (Vec<u8>, Vec<u8>) {
    let (kind, id) = match &entry {
        Entry::App(id, _) => (0, u32::from(*id)),
        Entry::Text(id, _) => (1, *id),
        Entry::Tuple(id, _) => (2, *id),
        Entry::Signature(id, _) => (3, *id),
        Entry::Timeline(TimelineEntry::Terms(id, _)) => (4, *id),
        Entry::Timeline(TimelineEntry::State(id, _)) => (5, *id),
        Entry::Timeline(TimelineEntry::Path(id, _)) => (6, *id),
    };
    let mut key = vec![kind];
    key.extend_from_slice(&id.to_be_bytes());
    let stored = match entry {
        Entry::App(id, app) => StoredEntry::App(id, app),
        Entry::Text(id, text) => StoredEntry::Text(id, text),
        Entry::Tuple(id, tuple) => StoredEntry::Tuple(id, tuple.values, tuple.attributes),
        Entry::Signature(id, marks) => {
            let marks = marks.iter().map(|mark| (mark.tuple, mark.lowest_paid, mark.is_refunded));
            StoredEntry::Signature(id, marks.collect())
        }
        Entry::Timeline(entry) => stored_timeline(entry),
    };
    let value = encode(&key, &stored);
    (key, value)
}

/// A dictionary entry from its row.
pub fn decode_entry(key: &[u8], bytes: &[u8]) -> Result<Entry, StoredError> {
    Ok(match decode(key, bytes)? {
        StoredEntry::App(id, app) => Entry::App(id, app),
        StoredEntry::Text(id, text) => Entry::Text(id, text),
        StoredEntry::Tuple(id, values, attributes) => {
            Entry::Tuple(id, Tuple { values, attributes })
        }
        StoredEntry::Signature(id, marks) => {
            let marks = marks.into_iter().map(|(tuple, lowest_paid, is_refunded)| Mark {
                tuple,
                lowest_paid,
                is_refunded,
            });
            Entry::Signature(id, marks.collect())
        }
        StoredEntry::Terms(id, terms) => {
            Entry::Timeline(TimelineEntry::Terms(id, terms_of(terms)?))
        }
        StoredEntry::State(id, elements) => {
            let elements = elements.into_iter();
            let elements = elements.map(|(chain, tuple, terms)| Element { chain, tuple, terms });
            Entry::Timeline(TimelineEntry::State(id, elements.collect()))
        }
        StoredEntry::Path(id, (before, day, state)) => {
            Entry::Timeline(TimelineEntry::Path(id, Change { before, day: Day(day), state }))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was_and_rows_sort_by_what_refers_to_what() {
        let amounts = Amounts { gross: 3, proceeds: 2, net: 1 };
        let terms = Terms::Paid { amounts, period: "P2W".parse().unwrap() };
        let element = Element { chain: 1, tuple: 2, terms: 3 };
        let change = Change { before: 300, day: Day(-1), state: 4 };
        let entries = [
            Entry::App(0, "acme".to_owned()),
            Entry::Text(7, "DE".to_owned()),
            Entry::Tuple(8, Tuple { values: [7; Dimension::COUNT], attributes: vec![(1, 2)] }),
            Entry::Signature(1, vec![Mark::refunded(1), Mark::paid(8, 300)]),
            Entry::Timeline(TimelineEntry::Terms(3, terms)),
            Entry::Timeline(TimelineEntry::Terms(4, Terms::Trial)),
            Entry::Timeline(TimelineEntry::State(4, Box::from([element]))),
            Entry::Timeline(TimelineEntry::Path(301, change)),
        ];
        let mut before = Vec::new();
        for entry in entries {
            let (key, value) = encode_entry(entry.clone());
            assert_eq!(decode_entry(&key, &value).unwrap(), entry);
            assert!(before < key);
            before = key;
        }
    }
}
