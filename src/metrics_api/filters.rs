//! Filters and segments, worked out once per tuple so that a pass over facts compares numbers.

use std::borrow::Cow;
use std::ops::{BitAndAssign, BitOrAssign};

use crate::domain::cohort::Field;
use crate::engine::dictionary::{Dictionary, Mark, TextId, TupleId};
use crate::engine::fields::FieldPlace;
use crate::engine::pieces::Pieces;
use crate::metrics_api::question::{Filter, Narrowing};

/// Which tuples and signatures count, and in which segments.
///
/// A segment is known by the number of its value; everything is in segment 0 when the question
/// has no segments.
pub struct Selector<'a> {
    /// By tuple; `None` if all are kept.
    kept: Option<Bits>,
    /// By tuple; `None` in a question without segments.
    segments: Option<Cow<'a, Pieces<TextId>>>,
}

impl<'a> Selector<'a> {
    /// Works out the filters over every tuple of the dictionary.
    pub fn new<'q>(
        dictionary: &'a Dictionary,
        narrowing: impl Into<Narrowing<'q>>,
        segment_by: Option<&Field>,
    ) -> Self {
        let Narrowing { filters, any_of } = narrowing.into();
        let mut kept = (!filters.is_empty()).then(|| Bits::of_all(filters, dictionary));
        if let Some((first, others)) = any_of.split_first() {
            let mut any = Bits::of_all(first, dictionary);
            others.iter().for_each(|group| any |= Bits::of_all(group, dictionary));
            match &mut kept {
                Some(kept) => *kept &= any,
                None => kept = Some(any),
            }
        }
        let segments = segment_by.map(|field| FieldPlace::of(field, dictionary).values(dictionary));
        Self { kept, segments }
    }

    /// The selector for installs: what a field does not say of installs is left out of it.
    pub fn for_installs<'q>(
        dictionary: &'a Dictionary,
        narrowing: impl Into<Narrowing<'q>>,
        segment_by: Option<&Field>,
    ) -> Self {
        let Narrowing { filters, any_of } = narrowing.into();
        let says = |filter: &Filter| filter.field.narrows_installs();
        let filters: Vec<Filter> = filters.iter().filter(|filter| says(filter)).cloned().collect();
        // A group that speaks of a product says nothing of installs, so it keeps all of them.
        let is_blind = any_of.iter().any(|group| !group.iter().all(says));
        let narrowing =
            Narrowing { filters: &filters, any_of: if is_blind { &[] } else { any_of } };
        let segment_by = segment_by.filter(|field| field.narrows_installs());
        Self::new(dictionary, narrowing, segment_by)
    }

    /// The segment of a tuple, if it counts.
    #[inline]
    pub fn segment(&self, tuple: TupleId) -> Option<TextId> {
        if self.kept.as_ref().is_some_and(|kept| !kept.has(tuple)) {
            return None;
        }
        let segments = self.segments.as_ref();
        Some(segments.map_or(0, |segments| segments.get(tuple as usize).copied().unwrap_or(0)))
    }

    /// What the filters see of each signature, by its number. For questions without segments.
    pub fn seen(&self, dictionary: &Dictionary) -> Vec<MarksSeen> {
        let signatures = 0..u32::try_from(dictionary.signature_count()).unwrap_or(u32::MAX);
        signatures.map(|id| self.seen_of(dictionary.signature(id))).collect()
    }

    fn seen_of(&self, marks: &[Mark]) -> MarksSeen {
        let mut seen = MarksSeen::default();
        for mark in marks.iter().filter(|mark| self.segment(mark.tuple).is_some()) {
            seen.has_any = true;
            seen.is_refunded |= mark.is_refunded;
            if seen.lowest_paid == 0 || (1..seen.lowest_paid).contains(&mark.lowest_paid) {
                seen.lowest_paid = mark.lowest_paid;
            }
        }
        seen
    }

    /// The segments in which a customer with these marks counts, each once: those of any tuple
    /// that it paid with and that the filters keep.
    pub fn segments_of(&self, marks: &[Mark], found: &mut Vec<TextId>) {
        found.clear();
        if self.kept.is_none() && self.segments.is_none() {
            return found.push(0);
        }
        let paid = marks.iter().filter(|mark| mark.lowest_paid > 0);
        for segment in paid.filter_map(|mark| self.segment(mark.tuple)) {
            if !found.contains(&segment) {
                found.push(segment);
            }
        }
    }

    /// The segments in which a customer with these marks was given money back.
    pub fn refunded_segments(&self, marks: &[Mark], found: &mut Vec<TextId>) {
        found.clear();
        let refunded = marks.iter().filter(|mark| mark.is_refunded);
        found.extend(refunded.filter_map(|mark| self.segment(mark.tuple)));
    }
}

/// What filters see of the marks of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MarksSeen {
    /// Whether there is any.
    pub has_any: bool,
    /// The lowest payment index paid; 0 if none was.
    pub lowest_paid: u16,
    pub is_refunded: bool,
}

/// A bit for each tuple.
struct Bits(Vec<u64>);

impl Bits {
    /// Those that all filters keep.
    fn of_all(filters: &[Filter], dictionary: &Dictionary) -> Self {
        let words = dictionary.tuple_count().div_ceil(64);
        let mut bits = Self(vec![u64::MAX; words]);
        for filter in filters {
            let wanted: Vec<TextId> =
                filter.values.iter().filter_map(|value| dictionary.find_text(value)).collect();
            let values = FieldPlace::of(&filter.field, dictionary).values(dictionary);
            bits &= match wanted[..] {
                [only] => Self::of(&values, |value| value == only),
                _ => Self::of(&values, |value| wanted.contains(&value)),
            };
        }
        bits
    }

    fn of(values: &Pieces<TextId>, is_wanted: impl Fn(TextId) -> bool) -> Self {
        let word = |values: &[TextId]| {
            let bits = values.iter().rev();
            bits.fold(0, |word, value| word << 1 | u64::from(is_wanted(*value)))
        };
        Self(values.slices().flat_map(|values| values.chunks(64)).map(word).collect())
    }

    #[inline]
    fn has(&self, tuple: TupleId) -> bool {
        let word = self.0.get(tuple as usize / 64).copied().unwrap_or(0);
        word >> (tuple % 64) & 1 == 1
    }
}

impl BitAndAssign for Bits {
    fn bitand_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= other);
    }
}

impl BitOrAssign for Bits {
    fn bitor_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
    }
}
