//! Dead letters that are to go out, each once.

use std::collections::BTreeMap;

use crate::stream::{DeadLetter, NextOffset, Partition};

/// Dead letters by the places of their records.
#[derive(Debug, Default)]
pub(super) struct Letters {
    letters: BTreeMap<(Partition, i64), DeadLetter>,
    bytes: usize,
}

impl Letters {
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

    /// Up to where the log of each partition is out once these are.
    pub(super) fn next_offsets(&self) -> Vec<(Partition, NextOffset)> {
        let next = self.letters.keys().map(|(partition, offset)| (*partition, *offset));
        after(next)
    }

    /// The first of them, if there are more than go out at once.
    pub(super) fn take_full_part(&mut self, bytes_max: usize) -> Option<Vec<DeadLetter>> {
        if self.bytes <= bytes_max {
            return None;
        }
        let (mut letters, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max
            && let Some((_, letter)) = self.letters.pop_first()
        {
            bytes += letter.memory_bytes();
            letters.push(letter);
        }
        self.bytes -= bytes;
        Some(letters)
    }

    /// All of them.
    pub(super) fn take(&mut self) -> Vec<DeadLetter> {
        self.bytes = 0;
        std::mem::take(&mut self.letters).into_values().collect()
    }
}

/// Up to where the log of each partition is out once letters from these places, in order, are.
pub(super) fn after(
    places: impl Iterator<Item = (Partition, i64)>,
) -> Vec<(Partition, NextOffset)> {
    let next = places.map(|(partition, offset)| (partition, NextOffset(offset + 1)));
    next.collect::<BTreeMap<_, _>>().into_iter().collect()
}
