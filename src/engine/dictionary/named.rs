//! What events name, found as a whole: one look-up instead of one for each text, since most events name
//! a tuple that is known.

use smallvec::SmallVec;

use crate::domain::dimensions::Dimensions;
use crate::domain::event::TEXT_BYTES_MAX;
use crate::engine::dictionary::TupleId;
use crate::engine::pieces::Pieces;
use crate::engine::row_index::LOOK_AHEAD;
use crate::engine::slices::Slices;

/// What events name is remembered in so many bytes at most, and then anew.
const NAMED_BYTES_MAX: usize = 64 << 20;

/// Appends what is named in bytes that are the same only for the same.
fn spell(dimensions: &Dimensions<'_>, into: &mut Vec<u8>) {
    const ATTRIBUTE: u8 = u8::MAX;
    let text = |text: &str, into: &mut Vec<u8>| {
        const { assert!(TEXT_BYTES_MAX < u8::MAX as usize, "a length is one byte") };
        into.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        into.extend_from_slice(text.as_bytes());
    };
    for (dimension, value) in dimensions.values() {
        into.push(u8::try_from(dimension.index()).unwrap_or(ATTRIBUTE));
        text(value, into);
    }
    for (name, value) in &dimensions.attributes {
        into.push(ATTRIBUTE);
        text(name, into);
        text(value, into);
    }
}

/// The tuples of what events named.
pub(super) struct NamedTuples {
    /// In bytes: [`spell`].
    named: Slices<u8>,
    /// By number there.
    tuples: Pieces<TupleId>,
    /// Used by `find` and `push` only, kept to spare an allocation for each.
    spelled: Vec<u8>,
}

impl Default for NamedTuples {
    fn default() -> Self {
        // Naming nothing is naming the tuple without any value.
        Self { named: Slices::default(), tuples: Pieces::from_iter([0]), spelled: Vec::new() }
    }
}

impl NamedTuples {
    /// The tuple of what is named, if that was named before.
    pub(super) fn find(&mut self, dimensions: &Dimensions<'_>) -> Option<TupleId> {
        self.spelled.clear();
        spell(dimensions, &mut self.spelled);
        self.tuple(self.named.find(&self.spelled)?)
    }

    /// The tuples of what each names, as far as that was named before.
    pub(super) fn find_all<'d, 'a: 'd>(
        &self,
        all: impl Iterator<Item = Option<&'d Dimensions<'a>>>,
    ) -> SmallVec<[Option<TupleId>; LOOK_AHEAD]> {
        let mut spelled = Vec::with_capacity(self.spelled.capacity() * LOOK_AHEAD);
        let ends = all.map(|dimensions| {
            if let Some(dimensions) = dimensions {
                spell(dimensions, &mut spelled);
            }
            spelled.len()
        });
        let ends: SmallVec<[usize; LOOK_AHEAD]> = ends.collect();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let slices = starts.zip(&ends).map(|(start, end)| &spelled[start..*end]);
        let tuple = |number: Option<u32>| self.tuple(number?);
        self.named.find_all(slices).into_iter().map(tuple).collect()
    }

    fn tuple(&self, number: u32) -> Option<TupleId> {
        self.tuples.get(number as usize).copied()
    }

    /// Remembers the tuple of what was looked for last, in vain.
    pub(super) fn push(&mut self, tuple: TupleId) {
        if self.named.memory_bytes() >= NAMED_BYTES_MAX {
            *self = Self { spelled: std::mem::take(&mut self.spelled), ..Self::default() };
        }
        self.named.push(&self.spelled);
        self.tuples.push(tuple);
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.named.memory_bytes() + self.tuples.memory_bytes()
    }
}
