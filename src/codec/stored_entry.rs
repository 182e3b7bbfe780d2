//! Stored state, version 1: entries of the dictionary as bytes.
//!
//! Entries are numbered over all kinds in the order in which they were made, and a dictionary takes
//! them in again in that order: what an entry refers to has a smaller number. A row holds
//! consecutive ones, under the number of its first.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::codec::stored::{StoredError, decode, encode};
use crate::domain::dimensions::Dimension;
use crate::domain::money::Amounts;
use crate::domain::time::Day;
use crate::engine::dictionary::{Entry, Mark, NewEntries, Tuple};
use crate::engine::packed::{numbers, period};
use crate::engine::timelines::{Change, Element, Terms, TimelineEntry, add_up};

#[derive(Serialize, Deserialize)]
enum StoredEntry<'a> {
    App(u16, &'a str),
    Text(u32, &'a str),
    Tuple(u32, [u32; Dimension::COUNT], Cow<'a, [(u32, u32)]>),
    /// Tuple, lowest index paid and whether refunded of each mark.
    Signature(u32, Vec<(u32, u16, bool)>),
    /// Amounts and period of paid terms; trials have a number that is never stored.
    Terms(u32, Option<([i64; 3], (u16, u8))>),
    /// Chain, tuple and terms of each subscription, as states were stored once.
    State(u32, Vec<(u16, u32, u32)>),
    /// Path before, day and state.
    Path(u32, (u32, i32, u32)),
    /// Tuple, terms and number of each kind of subscription in a state.
    Running(u32, Vec<(u32, u32, u32)>),
}

/// Entries of one row, at most.
const ENTRIES_MAX: usize = 256;

/// Rows of consecutive dictionary entries.
pub fn encode_entries(new: &NewEntries) -> impl Iterator<Item = ([u8; 8], Vec<u8>)> {
    let entries = new.entries.slices().flat_map(|slice| slice.chunks(ENTRIES_MAX));
    let timelines = new.timelines.slices().flat_map(|slice| slice.chunks(ENTRIES_MAX));
    let entries = entries.map(|row| row.iter().map(stored_entry).collect::<Vec<_>>());
    let timelines = timelines.map(|row| row.iter().map(stored_timeline).collect::<Vec<_>>());
    entries.chain(timelines).scan(new.first, |next, row| {
        let key = next.to_be_bytes();
        *next += row.len() as u64;
        Some((key, encode(&key, &row)))
    })
}

fn stored_entry(entry: &Entry) -> StoredEntry<'_> {
    match entry {
        Entry::App(id, app) => StoredEntry::App(*id, app),
        Entry::Text(id, text) => StoredEntry::Text(*id, text),
        Entry::Tuple(id, tuple) => {
            StoredEntry::Tuple(*id, tuple.values, Cow::Borrowed(&tuple.attributes))
        }
        Entry::Signature(id, marks) => {
            let marks = marks.iter().map(|mark| (mark.tuple, mark.lowest_paid, mark.is_refunded));
            StoredEntry::Signature(*id, marks.collect())
        }
        Entry::Timeline(entry) => stored_timeline(entry),
    }
}

fn stored_timeline(entry: &TimelineEntry) -> StoredEntry<'_> {
    match entry {
        TimelineEntry::Terms(id, Terms::Trial) => StoredEntry::Terms(*id, None),
        TimelineEntry::Terms(id, Terms::Paid { amounts: paid, period }) => {
            let period = (period.count, period.unit as u8);
            StoredEntry::Terms(*id, Some((numbers(*paid), period)))
        }
        TimelineEntry::State(id, elements) => {
            let elements = elements.iter();
            let stored = elements.map(|element| (element.tuple, element.terms, element.count));
            StoredEntry::Running(*id, stored.collect())
        }
        TimelineEntry::Path(id, change) => {
            StoredEntry::Path(*id, (change.before, change.day.0, change.state))
        }
    }
}

fn terms_of(stored: Option<([i64; 3], (u16, u8))>) -> Result<Terms, StoredError> {
    let Some(([gross, proceeds, net], (count, unit))) = stored else { return Ok(Terms::Trial) };
    let amounts = Amounts { gross, proceeds, net };
    let period = period((count, unit)).map_err(|error| StoredError::Malformed(error.0))?;
    Ok(Terms::Paid { amounts, period })
}

/// The dictionary entries of a row, of which the first must have number `first`.
pub fn decode_entries(first: u64, key: &[u8], bytes: &[u8]) -> Result<Vec<Entry>, StoredError> {
    if key != first.to_be_bytes() {
        return Err(StoredError::Malformed("dictionary entries are missing"));
    }
    let stored: Vec<StoredEntry<'_>> = decode(key, bytes)?;
    stored.into_iter().map(entry).collect()
}

fn entry(stored: StoredEntry<'_>) -> Result<Entry, StoredError> {
    Ok(match stored {
        StoredEntry::App(id, app) => Entry::App(id, app.to_owned()),
        StoredEntry::Text(id, text) => Entry::Text(id, text.to_owned()),
        StoredEntry::Tuple(id, values, attributes) => {
            Entry::Tuple(id, Tuple { values, attributes: attributes.into_owned() })
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
            let mut elements: Vec<Element> =
                elements.map(|(_, tuple, terms)| Element::one(tuple, terms)).collect();
            add_up(&mut elements);
            Entry::Timeline(TimelineEntry::State(id, elements.into()))
        }
        StoredEntry::Running(id, elements) => {
            let elements = elements.into_iter();
            let elements = elements.map(|(tuple, terms, count)| Element { tuple, terms, count });
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
    fn entries_come_back_as_they_were_and_in_their_order() {
        let amounts = Amounts { gross: 3, proceeds: 2, net: 1 };
        let terms = Terms::Paid { amounts, period: "P2W".parse().unwrap() };
        let element = Element { tuple: 2, terms: 3, count: 70_000 };
        let change = Change { before: 300, day: Day(-1), state: 4 };
        let entries = [
            Entry::App(0, "acme".to_owned()),
            Entry::Text(7, "DE".to_owned()),
            Entry::Tuple(8, Tuple { values: [7; Dimension::COUNT], attributes: vec![(1, 2)] }),
            Entry::Signature(1, vec![Mark::refunded(1), Mark::paid(8, 300)]),
        ];
        let timelines = [
            TimelineEntry::Terms(3, terms),
            TimelineEntry::Terms(4, Terms::Trial),
            TimelineEntry::State(4, Box::from([element])),
            TimelineEntry::Path(301, change),
        ];
        let new = NewEntries {
            first: 5,
            entries: entries.iter().cycle().take(600).cloned().collect(),
            timelines: timelines.iter().cycle().take(300).cloned().collect(),
        };
        let rows: Vec<_> = encode_entries(&new).collect();
        assert!(rows.len() > 4 && rows.is_sorted());
        let mut read = Vec::new();
        for (key, value) in &rows {
            read.extend(decode_entries(5 + read.len() as u64, key, value).unwrap());
        }
        let timelines = new.timelines.iter().cloned().map(Entry::Timeline);
        assert!(read.iter().cloned().eq(new.entries.iter().cloned().chain(timelines)));
        assert!(decode_entries(5, &rows[1].0, &rows[1].1).is_err());
    }

    #[test]
    fn a_state_that_was_stored_by_chain_tells_how_many_of_a_kind_run() {
        let key = 0u64.to_be_bytes();
        let stored = vec![StoredEntry::State(1, vec![(0, 7, 9), (1, 2, 3), (5, 7, 9)])];
        let read = decode_entries(0, &key, &encode(&key, &stored)).unwrap();
        let expected = [Element::one(2, 3), Element { tuple: 7, terms: 9, count: 2 }];
        assert_eq!(read, [Entry::Timeline(TimelineEntry::State(1, Box::from(expected)))]);
    }
}
