//! Commits: what memory has and the store has not, as one batch.

use std::sync::Arc;

use crate::codec::fact_pages::{encode_page, page_key};
use crate::codec::stored::{
    Anchor, EMPTIED_KEY, POSITION_KEY, Position, RULES_KEY, chunk_key, encode_chunk,
    encode_dead_letter, encode_emptied, encode_forgotten, encode_position, encode_suspended,
    put_chunk_key,
};
use crate::codec::stored_curves::{
    CURVES_KEY, CurvesLayout, encode_cohort, encode_stretch, encode_unplaced,
};
use crate::codec::stored_entry::encode_entries;
use crate::engine::curves::CurveChanges;
use crate::engine::facts::FactPage;
use crate::engine::row_index::LOOK_AHEAD;
use crate::engine::shard::{Changes, NewChunk, NewEvents};
use crate::state::refused::erase_letters;
use crate::state::{LiveShard, StateError};
use crate::store::{Batch, Durability, Store, Table, sort_by_key};
use crate::stream::{DeadLetter, NextOffset};

/// So many anchors are kept, each about four times as many commits old as the one before.
const ANCHORS_MAX: u32 = 8;

/// What a row of history takes beside its events, roughly.
const ROW_BYTES: usize = 24;

/// Changes taken out of memory that the store does not have yet.
///
/// Taking them needs the shard for a moment; writing them does not, so questions are answered and events
/// applied meanwhile. If the write fails, the shard in memory must be dropped.
pub struct PreparedCommit {
    changes: Changes,
    quarantine: Vec<DeadLetter>,
    position: Position,
    rules: Option<Vec<u8>>,
    curves: CurvesLayout,
    /// Keys of stored curves that are of no use.
    stale_curves: Vec<Vec<u8>>,
    store: Arc<dyn Store>,
}

/// What a commit has made durable.
#[derive(Debug)]
pub struct Written {
    pub next_offset: NextOffset,
}

impl LiveShard {
    /// Takes everything that changed since the last commit, which must be over.
    pub fn prepare_commit(&mut self) -> PreparedCommit {
        let changes = self.shard.take_changes();
        let position = &mut self.position;
        position.newest_event_at_micros = self.shard.newest_event_at().map(|at| at.0);
        position.customer_count = self.shard.customer_count();
        position.commit_count += 1;
        if let Some(anchor) = self.last_anchor.take() {
            keep_anchor(&mut position.anchors, anchor, position.commit_count);
        }
        self.is_dirty = false;
        let apps = self.shard.dictionary.apps().to_vec();
        let commit_count = position.commit_count;
        PreparedCommit {
            curves: CurvesLayout::new(self.shard.curves.config(), commit_count, apps),
            stale_curves: std::mem::take(&mut self.stale_curves),
            changes,
            quarantine: self.take_quarantine(),
            position: self.position.clone(),
            rules: self.unstored_rules.take(),
            store: Arc::clone(&self.store),
        }
    }

    /// Takes note that the commit that was prepared last is written.
    pub fn committed(&mut self) {
        self.shard.stored();
    }

    /// Takes and writes everything that changed since the last commit.
    pub fn commit(&mut self, durability: Durability) -> Result<Written, StateError> {
        let written = self.prepare_commit().write(durability)?;
        self.committed();
        Ok(written)
    }
}

/// Keeps the newest anchor first and thins the older ones: place `n` is renewed every 4^(n-1) commits.
fn keep_anchor(anchors: &mut Vec<Anchor>, newest: Anchor, commit_count: u64) {
    for place in (1..ANCHORS_MAX).rev() {
        let place_at = place as usize;
        if commit_count.is_multiple_of(4u64.pow(place - 1)) && anchors.len() >= place_at {
            let younger = anchors[place_at - 1];
            match anchors.get_mut(place_at) {
                Some(anchor) => *anchor = younger,
                None => anchors.push(younger),
            }
        }
    }
    match anchors.first_mut() {
        Some(first) => *first = newest,
        None => anchors.push(newest),
    }
}

impl PreparedCommit {
    /// Writes the changes, with the offset up to which they reach, in one batch.
    pub fn write(self, durability: Durability) -> Result<Written, StateError> {
        let mut batch = Batch::default();
        self.stale_curves.iter().for_each(|key| batch.delete(Table::Curves, key));
        erase_letters(&mut batch, &*self.store, &self.changes.forgotten)?;
        write_changes(&mut batch, self.changes);
        batch.put(Table::Meta, CURVES_KEY, self.curves.encode());
        for letter in &self.quarantine {
            let (key, value) = encode_dead_letter(letter);
            batch.put(Table::Quarantine, key, value);
        }
        if let Some(rules) = self.rules {
            batch.put(Table::Meta, RULES_KEY, rules);
        }
        batch.put(Table::Meta, POSITION_KEY, encode_position(&self.position));
        self.store.commit(batch, durability)?;
        Ok(Written { next_offset: self.position.next_offset() })
    }
}

fn write_changes(batch: &mut Batch, changes: Changes) {
    // First: a page that is changed before it was written has to be copied.
    write_facts(batch, Table::Facts, &changes.facts);
    write_facts(batch, Table::Given, &changes.given);
    drop((changes.facts, changes.given));
    for (customer, chunks) in changes.erased {
        for chunk in 0..chunks {
            batch.delete(Table::History, chunk_key(&customer, chunk));
        }
    }
    let events = changes.events;
    let bytes = events.log.byte_count() + events.chunks.len() * ROW_BYTES;
    batch.put_made(Table::History, bytes, Box::new(move |put| make_histories(&events, put)));
    for (key, value) in encode_entries(&changes.entries) {
        batch.put(Table::Dictionary, key, value);
    }
    for (customer, events) in changes.suspended {
        if events.is_empty() {
            batch.delete(Table::Suspended, customer);
        } else {
            let value = encode_suspended(&customer, &events);
            batch.put(Table::Suspended, customer, value);
        }
    }
    for forgotten in changes.forgotten {
        let (key, value) = encode_forgotten(forgotten);
        batch.put(Table::Forgotten, key, value);
    }
    write_curves(batch, &changes.curves);
}

/// Hands over the new chunks of histories, by rising key: their rows are as large as all others together.
fn make_histories(events: &NewEvents, put: &mut dyn FnMut(&[u8], &[u8])) {
    let NewEvents { log, chunks, .. } = events;
    let mut places: Vec<u32> = (0..).take(chunks.len()).collect();
    let chunk = |place: u32| &chunks[place as usize];
    sort_by_key(&mut places, |place| log.noted(chunk(place).customer));
    let (mut key, mut value, mut packed) = (Vec::new(), Vec::new(), Vec::new());
    for places in places.chunks(LOOK_AHEAD) {
        log.look_ahead(places.iter().map(|place| chunk(*place).events));
        for place in places {
            let NewChunk { customer, chunk: number, events: newest, .. } = chunk(*place);
            packed.clear();
            packed.extend(log.newest_first(*newest));
            // The customer was forgotten since.
            if packed.is_empty() {
                continue;
            }
            key.clear();
            put_chunk_key(log.noted(*customer), *number, &mut key);
            value.clear();
            encode_chunk(&key, packed.iter().rev().copied(), &mut value);
            put(&key, &value);
        }
    }
}

fn write_curves(batch: &mut Batch, changes: &CurveChanges) {
    for (key, value) in changes.cohorts.iter().map(encode_cohort) {
        batch.put(Table::Curves, key, value);
    }
    for (key, value) in changes.stretches.iter().map(encode_stretch) {
        batch.put(Table::Curves, key, value);
    }
    for (key, value) in changes.unplaced.iter().map(encode_unplaced) {
        batch.put(Table::Curves, key, value);
    }
    if let Some(emptied) = &changes.emptied {
        batch.put(Table::Meta, EMPTIED_KEY, encode_emptied(emptied));
    }
}

/// Pages of facts; a whole page takes the place of the updates that followed the one before.
pub(super) fn write_facts(batch: &mut Batch, table: Table, pages: &[FactPage]) {
    for page in pages {
        for update in 1..=page.replaces {
            batch.delete(table, page_key(page.page, update));
        }
        let key = page_key(page.page, page.update);
        batch.put_written(table, key, |key, into| encode_page(key, page, into));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_thin_out_with_age() {
        let mut anchors = Vec::new();
        for commit in 1..=1000u64 {
            let offset = i64::try_from(commit).unwrap();
            keep_anchor(&mut anchors, Anchor { offset, timestamp: 0, hash: 0 }, commit);
        }
        let offsets: Vec<i64> = anchors.iter().map(|anchor| anchor.offset).collect();
        assert_eq!(offsets[0], 1000);
        assert!(offsets.windows(2).all(|pair| pair[0] > pair[1]), "{offsets:?}");
        assert!(offsets.len() >= 5 && *offsets.last().unwrap() < 900, "{offsets:?}");
    }
}
