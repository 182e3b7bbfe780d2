//! Interned texts: apps, dimension values, tuples of values, signatures (sets of marks), and the
//! parts of timelines.
//!
//! Facts hold small numbers instead of texts. Numbers are given in order of arrival, so they
//! differ between two shards that hold the same events; everything that leaves a shard is
//! spelled out ([`Dictionary::text`]). Number 0 always means "nothing": the unknown value, the
//! tuple of unknown values, the empty set.

mod named;
mod restore;
mod words;

use std::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;
use smallvec::SmallVec;

use crate::domain::dimensions::Dimension;
use crate::domain::dimensions::Dimensions;
use crate::engine::dictionary::named::NamedTuples;
use crate::engine::memo::Memo;
use crate::engine::pieces::Pieces;
use crate::engine::row_index::{LOOK_AHEAD, RowIndex};
use crate::engine::slices::Slices;
use crate::engine::timelines::{TimelineEntry, Timelines};

pub use restore::RestoredDictionary;

/// Number of an app within a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppIx(pub u16);

/// Number of a text; 0 is the unknown value.
pub type TextId = u32;
/// Number of a tuple; 0 is the tuple without any value.
pub type TupleId = u32;
/// Number of a set of marks; 0 is the empty set.
pub type SignatureId = u32;

/// What a customer or a chain did with one tuple of dimensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    pub tuple: TupleId,
    /// The lowest payment index paid with the tuple; 0 if none was.
    pub lowest_paid: u16,
    /// Whether a refund has the tuple.
    pub is_refunded: bool,
}

impl Mark {
    /// A tuple of which no more is said.
    pub fn of(tuple: TupleId) -> Self {
        Self { tuple, lowest_paid: 0, is_refunded: false }
    }

    /// A payment.
    pub fn paid(tuple: TupleId, index: u16) -> Self {
        Self { lowest_paid: index, ..Self::of(tuple) }
    }

    /// A refund.
    pub fn refunded(tuple: TupleId) -> Self {
        Self { is_refunded: true, ..Self::of(tuple) }
    }

    /// Both, of one tuple.
    fn and(self, other: Self) -> Self {
        let lowest_paid = match (self.lowest_paid, other.lowest_paid) {
            (0, paid) | (paid, 0) => paid,
            (one, another) => one.min(another),
        };
        Self { lowest_paid, is_refunded: self.is_refunded || other.is_refunded, ..self }
    }
}

/// The values of all dimensions, some of them unknown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Tuple {
    /// By [`Dimension::index`].
    pub values: [TextId; Dimension::COUNT],
    /// Free dimensions: name and value, in order of the name's number.
    pub attributes: Vec<(TextId, TextId)>,
}

/// An entry to store: what was interned since the last commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    App(u16, String),
    Text(TextId, String),
    Tuple(TupleId, Tuple),
    /// Marks by rising tuple, each tuple once.
    Signature(SignatureId, Vec<Mark>),
    Timeline(TimelineEntry),
}

/// What was interned since the last commit, in an order in which it can be taken in again.
#[derive(Debug, Clone, Default)]
pub struct NewEntries {
    /// The number of the first over all kinds.
    pub first: u64,
    /// Of the dictionary itself; none is [`Entry::Timeline`].
    pub entries: Pieces<Entry>,
    /// Of its timelines, which follow.
    pub timelines: Pieces<TimelineEntry>,
}

/// A stored entry that does not continue the dictionary read so far.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dictionary entry {0:?} is out of sequence")]
pub struct OutOfSequence(pub Entry);

/// The dictionary of one shard.
pub struct Dictionary {
    apps: Vec<String>,
    texts: Pieces<String>,
    text_ids: RowIndex,
    tuples: Pieces<Tuple>,
    /// The values of all tuples again, by dimension: a filter reads one of them.
    columns: [Pieces<TextId>; Dimension::COUNT],
    tuple_ids: RowIndex,
    signatures: Slices<Mark>,
    named: NamedTuples,
    hasher: DefaultHashBuilder,
    merges: Memo<[TupleId; 3]>,
    unions: Memo<(SignatureId, Mark)>,
    pub timelines: Timelines,
    fresh: Pieces<Entry>,
    /// Entries handed out to be stored, or read back.
    entries: u64,
    /// Bytes that texts, and attributes of tuples, hold outside of their rows.
    spelled_bytes: usize,
}

impl Default for Dictionary {
    fn default() -> Self {
        let mut dictionary = Self {
            apps: Vec::new(),
            texts: Pieces::default(),
            text_ids: RowIndex::default(),
            tuples: Pieces::default(),
            columns: Default::default(),
            tuple_ids: RowIndex::default(),
            signatures: Slices::default(),
            named: NamedTuples::default(),
            hasher: DefaultHashBuilder::default(),
            merges: Memo::default(),
            unions: Memo::default(),
            timelines: Timelines::default(),
            fresh: Pieces::default(),
            entries: 0,
            spelled_bytes: 0,
        };
        dictionary.add_text(String::new());
        dictionary.add_tuple(Tuple::default());
        dictionary
    }
}

fn next_id(len: usize) -> u32 {
    // Four thousand million distinct texts do not fit into memory long before they end here.
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Dictionary {
    /// Number of an app, given at its first use.
    pub fn app(&mut self, id: &str) -> AppIx {
        if let Some(app) = self.find_app(id) {
            return app;
        }
        let number = u16::try_from(self.apps.len()).unwrap_or(u16::MAX);
        self.apps.push(id.to_owned());
        self.fresh.push(Entry::App(number, id.to_owned()));
        AppIx(number)
    }

    /// Number of an app that has been used.
    pub fn find_app(&self, id: &str) -> Option<AppIx> {
        let place = self.apps.iter().position(|known| known == id)?;
        u16::try_from(place).ok().map(AppIx)
    }

    /// The app's id.
    pub fn app_id(&self, app: AppIx) -> &str {
        self.apps.get(usize::from(app.0)).map_or("", String::as_str)
    }

    /// The ids of all apps, by number.
    pub fn apps(&self) -> &[String] {
        &self.apps
    }

    /// Number of a text, given at its first use.
    pub fn text_id(&mut self, text: &str) -> TextId {
        if let Some(id) = self.find_text(text) {
            return id;
        }
        let id = self.add_text(text.to_owned());
        self.fresh.push(Entry::Text(id, text.to_owned()));
        id
    }

    fn add_text(&mut self, text: String) -> TextId {
        let id = next_id(self.texts.len());
        self.text_ids.insert(self.hasher.hash_one(&text), id);
        self.spelled_bytes += text.capacity();
        self.texts.push(text);
        id
    }

    /// Number of a text that has been used.
    pub fn find_text(&self, text: &str) -> Option<TextId> {
        self.text_ids.find(self.hasher.hash_one(text), |id| self.text(id) == text)
    }

    /// The text of a number; empty for the unknown value.
    pub fn text(&self, id: TextId) -> &str {
        self.texts.get(id as usize).map_or("", String::as_str)
    }

    /// Number of the tuple an event names itself.
    pub fn tuple_of(&mut self, dimensions: &Dimensions<'_>) -> TupleId {
        self.named.find(dimensions).unwrap_or_else(|| {
            let id = self.intern_tuple(dimensions);
            self.named.push(id);
            id
        })
    }

    /// The tuples that several events name themselves, as far as their like was named before.
    pub fn find_tuples<'d, 'a: 'd>(
        &self,
        all: impl Iterator<Item = Option<&'d Dimensions<'a>>>,
    ) -> SmallVec<[Option<TupleId>; LOOK_AHEAD]> {
        self.named.find_all(all)
    }

    fn intern_tuple(&mut self, dimensions: &Dimensions<'_>) -> TupleId {
        let mut tuple = Tuple::default();
        for (dimension, value) in dimensions.values() {
            tuple.values[dimension.index()] = self.text_id(value);
        }
        for (name, value) in &dimensions.attributes {
            let pair = (self.text_id(name), self.text_id(value));
            tuple.attributes.push(pair);
        }
        tuple.attributes.sort_unstable();
        self.tuple_id(tuple)
    }

    fn tuple_id(&mut self, tuple: Tuple) -> TupleId {
        let hash = self.hasher.hash_one(&tuple);
        if let Some(id) = self.tuple_ids.find(hash, |id| *self.tuple(id) == tuple) {
            return id;
        }
        let id = self.add_tuple(tuple.clone());
        self.fresh.push(Entry::Tuple(id, tuple));
        id
    }

    fn add_tuple(&mut self, tuple: Tuple) -> TupleId {
        let id = next_id(self.tuples.len());
        self.tuple_ids.insert(self.hasher.hash_one(&tuple), id);
        for (column, value) in self.columns.iter_mut().zip(tuple.values) {
            column.push(value);
        }
        self.spelled_bytes += tuple.attributes.capacity() * size_of::<(TextId, TextId)>();
        self.tuples.push(tuple);
        id
    }

    /// The tuple of a number; the one without any value of a number that none has.
    pub fn tuple(&self, id: TupleId) -> &Tuple {
        static UNKNOWN: Tuple = Tuple { values: [0; Dimension::COUNT], attributes: Vec::new() };
        self.tuples.get(id as usize).unwrap_or(&UNKNOWN)
    }

    /// The values of a dimension, by tuple.
    pub fn values(&self, dimension: Dimension) -> &Pieces<TextId> {
        &self.columns[dimension.index()]
    }

    /// All tuples, by number.
    pub fn tuples(&self) -> &Pieces<Tuple> {
        &self.tuples
    }

    /// How many tuples have a number.
    pub fn tuple_count(&self) -> usize {
        self.tuples.len()
    }

    /// Each dimension on its own: the value of the first of the three tuples that knows one.
    pub fn merge(&mut self, own: TupleId, chain: TupleId, customer: TupleId) -> TupleId {
        // A tuple adds nothing to one that it equals, and an empty one to none.
        let customer = if customer == chain || customer == own { 0 } else { customer };
        let chain = if chain == own { 0 } else { chain };
        let key = match [own, chain, customer] {
            [0, 0, one] | [0, one, 0] | [one, 0, 0] => return one,
            [0, own, weaker] | [own, 0, weaker] => [own, weaker, 0],
            all => all,
        };
        if let Some(id) = self.merges.get(key) {
            return id;
        }
        let [own, chain, customer] = key;
        let mut merged = self.tuple(own).clone();
        for weaker in [chain, customer] {
            let weaker = self.tuple(weaker);
            for (place, value) in merged.values.iter_mut().zip(weaker.values) {
                if *place == 0 {
                    *place = value;
                }
            }
            for (name, value) in &weaker.attributes {
                if !merged.attributes.iter().any(|(known, _)| known == name) {
                    merged.attributes.push((*name, *value));
                }
            }
            merged.attributes.sort_unstable();
        }
        let id = self.tuple_id(merged);
        self.merges.put(key, id);
        id
    }

    /// Number of the set `signature` with `mark` in it; marks of one tuple become one.
    pub fn union(&mut self, signature: SignatureId, mark: Mark) -> SignatureId {
        if let Some(id) = self.unions.get((signature, mark)) {
            return id;
        }
        let mut set = self.signature(signature).to_vec();
        match set.binary_search_by_key(&mark.tuple, |known| known.tuple) {
            Ok(place) => set[place] = set[place].and(mark),
            Err(place) => set.insert(place, mark),
        }
        let id = self.set_id(set);
        self.unions.put((signature, mark), id);
        id
    }

    /// Number of the set of `marks`; those of one tuple become one.
    pub fn signature_of(&mut self, mut marks: Vec<Mark>) -> SignatureId {
        marks.sort_by_key(|mark| mark.tuple);
        marks.dedup_by(|mark, kept| {
            let is_same = mark.tuple == kept.tuple;
            if is_same {
                *kept = kept.and(*mark);
            }
            is_same
        });
        self.set_id(marks)
    }

    fn set_id(&mut self, set: Vec<Mark>) -> SignatureId {
        self.signatures.find(&set).unwrap_or_else(|| {
            let id = self.signatures.push(&set);
            self.fresh.push(Entry::Signature(id, set));
            id
        })
    }

    /// The marks of a signature, by rising tuple.
    pub fn signature(&self, id: SignatureId) -> &[Mark] {
        self.signatures.get(id)
    }

    /// How many signatures have a number.
    pub fn signature_count(&self) -> usize {
        self.signatures.count()
    }

    /// What was interned since the last call.
    pub fn take_fresh(&mut self) -> NewEntries {
        let entries = std::mem::take(&mut self.fresh);
        let timelines = self.timelines.take_fresh();
        let first = self.entries;
        self.entries += (entries.len() + timelines.len()) as u64;
        NewEntries { first, entries, timelines }
    }

    /// Bytes of memory held, roughly.
    pub fn memory_bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(Pieces::memory_bytes).sum();
        let tuples = self.tuples.memory_bytes() + columns;
        let indexes = [&self.text_ids, &self.tuple_ids];
        self.texts.memory_bytes()
            + self.spelled_bytes
            + tuples
            + self.signatures.memory_bytes()
            + self.named.memory_bytes()
            + self.timelines.memory_bytes()
            + indexes.map(RowIndex::memory_bytes).iter().sum::<usize>()
            + self.merges.memory_bytes()
            + self.unions.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(dictionary: &mut Dictionary, country: &str, store: &str) -> TupleId {
        let mut dimensions = Dimensions::default();
        dimensions.set(Dimension::Country, Some(country.into()));
        dimensions.set(Dimension::Store, Some(store.into()));
        if !country.is_empty() {
            dimensions.attributes = vec![("ab".into(), country.into())];
        }
        dictionary.tuple_of(&dimensions)
    }

    #[test]
    fn each_dimension_is_inherited_on_its_own() {
        let mut dictionary = Dictionary::default();
        let own = tuple(&mut dictionary, "", "stripe");
        let chain = tuple(&mut dictionary, "DE", "paddle");
        let merged = dictionary.merge(own, chain, 0);
        let text = dictionary.describe_tuple(merged);
        assert_eq!(text, "store=stripe,country=DE,attributes.ab=DE");
    }

    #[test]
    fn a_signature_is_a_set() {
        let mut dictionary = Dictionary::default();
        let (a, b) = (tuple(&mut dictionary, "DE", ""), tuple(&mut dictionary, "US", ""));
        let marks = [Mark::paid(a, 3), Mark::refunded(b), Mark::paid(a, 2), Mark::of(b)];
        let mut union = |marks: &[Mark]| {
            marks.iter().fold(0, |signature, mark| dictionary.union(signature, *mark))
        };
        let forth = union(&marks);
        let back = union(&[marks[3], marks[2], marks[1], marks[0]]);
        assert_eq!(forth, back);
        assert_eq!(dictionary.union(forth, marks[0]), forth);
        // Made at once, nothing on the way is remembered.
        let known = dictionary.signature_count();
        assert_eq!(dictionary.signature_of(marks.to_vec()), forth);
        let other = Mark::paid(a, 9);
        let few = dictionary.signature_of(vec![marks[3], other, marks[3]]);
        assert_eq!(dictionary.signature_count(), known + 1);
        let one = dictionary.union(0, other);
        assert_eq!(dictionary.union(one, marks[3]), few);
        assert_eq!(
            dictionary.describe_signature(forth),
            "0! country=US,attributes.ab=US;2 country=DE,attributes.ab=DE"
        );
    }

    #[test]
    fn stored_entries_make_the_same_dictionary() {
        let mut dictionary = Dictionary::default();
        dictionary.app("acme");
        let a = tuple(&mut dictionary, "DE", "a,b");
        let signature = dictionary.union(0, Mark::paid(a, 1));
        let mut copy = RestoredDictionary::default();
        for entry in dictionary.take_fresh().entries.iter() {
            copy.entry(entry.clone()).unwrap();
        }
        assert!(copy.entry(Entry::Text(99, "gap".into())).is_err());
        let mut copy = copy.finish();
        assert_eq!(copy.describe_signature(signature), dictionary.describe_signature(signature));
        assert_eq!(copy.find_app("acme"), Some(AppIx(0)));
        assert_eq!(tuple(&mut copy, "DE", "a,b"), a);
        assert_eq!(copy.union(0, Mark::paid(a, 1)), signature);
        assert!(copy.take_fresh().entries.is_empty());
    }
}
