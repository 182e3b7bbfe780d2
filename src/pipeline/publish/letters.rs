//! Dead letters that are to go out, each once.
//!
//! Always true
//! * Of a partition none goes out before one of a smaller offset: what is out names the offset up to which all are.

use std::collections::BTreeMap;

use crate::pipeline::PipelineError;
use crate::state::ShardReader;
use crate::stream::{DeadLetter, NextOffset, Partition};

/// Stored letters that are read at a time.
const READ_AT_A_TIME: usize = 64;

/// Dead letters by the places of their records.
#[derive(Default)]
pub(super) struct Letters {
    letters: BTreeMap<(Partition, i64), DeadLetter>,
    bytes: usize,
    /// Those that are in a store, from an offset on and before another, and not here yet.
    unread: BTreeMap<Partition, Unread>,
}

struct Unread {
    reader: ShardReader,
    next: i64,
    until: i64,
}

impl Letters {
    /// Owes what is stored of a partition from an offset on and before another, however much that is. What was
    /// refused from there on is to be added.
    pub(super) fn add_stored(
        &mut self,
        reader: ShardReader,
        (NextOffset(next), NextOffset(until)): (NextOffset, NextOffset),
    ) {
        self.unread.insert(reader.partition, Unread { reader, next, until });
    }

    /// Reads stored letters, as many as go out at once.
    pub(super) fn read(&mut self, bytes_max: usize) -> Result<(), PipelineError> {
        while let Some((partition, unread)) = self.unread.first_key_value() {
            let (partition, next) = (*partition, unread.next);
            let here = self.letters.range((partition, i64::MIN)..(partition, next));
            if here.map(|(_, letter)| letter.memory_bytes()).sum::<usize>() >= bytes_max {
                break;
            }
            let read = unread.reader.dead_letters(next, READ_AT_A_TIME);
            let mut read = read.map_err(|source| PipelineError::State { partition, source })?;
            let is_end = read.len() < READ_AT_A_TIME;
            read.retain(|letter| letter.offset < unread.until);
            match read.last().map(|letter| letter.offset + 1).filter(|_| !is_end) {
                Some(next) => {
                    self.unread.entry(partition).and_modify(|unread| unread.next = next);
                }
                None => _ = self.unread.remove(&partition),
            }
            self.add(read);
        }
        Ok(())
    }

    /// Whether none of a smaller offset is still to be read.
    fn may_go(&self, (partition, offset): (Partition, i64)) -> bool {
        self.unread.get(&partition).is_none_or(|unread| offset < unread.next)
    }

    /// Adds letters, each in the place of the one that is there of its record.
    pub(super) fn add(&mut self, letters: Vec<DeadLetter>) {
        for letter in letters {
            let bytes = letter.memory_bytes();
            let before = self.letters.insert((letter.partition, letter.offset), letter);
            self.bytes += bytes;
            self.bytes -= before.map_or(0, |before| before.memory_bytes());
        }
    }

    /// Keeps those at the places that `stays` says.
    pub(super) fn retain(&mut self, stays: impl Fn(Partition, i64) -> bool) {
        self.unread.retain(|partition, unread| stays(*partition, unread.until - 1));
        self.letters.retain(|(partition, offset), letter| {
            let stays = stays(*partition, *offset);
            if !stays {
                self.bytes -= letter.memory_bytes();
            }
            stays
        });
    }

    /// Bytes of memory held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether none is to go out.
    pub(super) fn is_empty(&self) -> bool {
        self.letters.is_empty() && self.unread.is_empty()
    }

    /// The first of them, if there are more than go out at once.
    pub(super) fn take_full_part(&mut self, bytes_max: usize) -> Option<Vec<DeadLetter>> {
        if self.bytes <= bytes_max && self.unread.is_empty() {
            return None;
        }
        let (mut places, mut bytes) = (Vec::new(), 0);
        for (place, letter) in self.letters.iter().filter(|(place, _)| self.may_go(**place)) {
            if bytes >= bytes_max {
                break;
            }
            bytes += letter.memory_bytes();
            places.push(*place);
        }
        self.bytes -= bytes;
        Some(places.iter().filter_map(|place| self.letters.remove(place)).collect())
    }

    /// All that are here; none may be still to be read.
    pub(super) fn take(&mut self) -> Vec<DeadLetter> {
        self.bytes = 0;
        std::mem::take(&mut self.letters).into_values().collect()
    }
}

/// Up to where the log of each partition is out once these letters, in order of their places, are.
pub(super) fn after(letters: &[DeadLetter]) -> Vec<(Partition, NextOffset)> {
    let next = letters.iter().map(|letter| (letter.partition, NextOffset(letter.offset + 1)));
    next.collect::<BTreeMap<_, _>>().into_iter().collect()
}
