//! A dictionary read back from its stored entries.

use std::hash::BuildHasher as _;

use crate::engine::dictionary::{Dictionary, Entry, OutOfSequence, TextId};

/// A dictionary that is put together entry by entry. What there is most of is indexed when all are
/// there.
#[derive(Default)]
pub struct RestoredDictionary(Dictionary);

impl RestoredDictionary {
    /// Takes in a stored entry; entries of a kind must come in the order of their numbers.
    pub fn entry(&mut self, entry: Entry) -> Result<(), OutOfSequence> {
        let Self(dictionary) = self;
        let expected = match &entry {
            Entry::App(id, _) => usize::from(*id) == dictionary.apps.len(),
            Entry::Text(id, _) => *id as usize == dictionary.texts.len(),
            Entry::Tuple(id, _) => *id as usize == dictionary.tuples.len(),
            Entry::Signature(id, _) => *id as usize == dictionary.signature_count(),
            Entry::Timeline(entry) => dictionary.timelines.restore(entry),
        };
        if !expected {
            return Err(OutOfSequence(entry));
        }
        dictionary.entries += 1;
        match entry {
            Entry::App(_, app) => dictionary.apps.push(app),
            Entry::Text(_, text) => {
                dictionary.add_text(text);
            }
            Entry::Tuple(_, tuple) => {
                dictionary.add_tuple(tuple);
            }
            Entry::Signature(_, set) => {
                dictionary.signatures.restore(&set);
            }
            Entry::Timeline(_) => {}
        }
        Ok(())
    }

    /// The dictionary, when all entries have been taken in.
    pub fn finish(self) -> Dictionary {
        let Self(mut dictionary) = self;
        dictionary.signatures.index_all();
        dictionary.timelines.index_all();
        dictionary
    }
}

impl Dictionary {
    /// What apps and some texts are called, and nothing else: apps in the order of their numbers, texts by
    /// rising number.
    pub fn of_words(apps: Vec<String>, texts: impl IntoIterator<Item = (TextId, String)>) -> Self {
        let mut dictionary = Self { apps, ..Self::default() };
        for (id, text) in texts {
            // Those between stand for no text that is asked for.
            while dictionary.texts.len() < id as usize {
                dictionary.texts.push(String::new());
            }
            if dictionary.texts.len() == id as usize {
                dictionary.text_ids.insert(dictionary.hasher.hash_one(&text), id);
                dictionary.texts.push(text);
            }
        }
        dictionary
    }
}
