//! Filters and segments, worked out once per tuple so that a pass over facts compares numbers.

use crate::domain::cohort::Field;
use crate::engine::dictionary::{Dictionary, SignatureId, TextId, Tuple, TupleId};
use crate::engine::fields::FieldPlace;
use crate::metrics_api::question::{Filter, Narrowing};

/// Marks a tuple that the filters leave out; no text has this number.
const LEFT_OUT: TextId = TextId::MAX;

/// Which tuples and signatures count, and in which segments.
///
/// A segment is known by the number of its value; everything is in segment 0 when the question
/// has no segments.
pub struct Selector {
    /// By tuple; empty if all are in segment 0.
    tuples: Vec<TextId>,
    /// By signature: where its segments stand in `segments`, each once; empty as `tuples`.
    signatures: Vec<(u32, u32)>,
    segments: Vec<TextId>,
}

/// The segments of a signature in a question without filters and segments.
const EVERYTHING: [TextId; 1] = [0];

impl Selector {
    /// Works out the filters over every tuple and signature of the dictionary.
    pub fn new<'a>(
        dictionary: &Dictionary,
        narrowing: impl Into<Narrowing<'a>>,
        segment_by: Option<&Field>,
    ) -> Self {
        let mut selector = Self::for_tuples(dictionary, narrowing.into(), segment_by);
        if selector.tuples.is_empty() {
            return selector;
        }
        let mut found: Vec<TextId> = Vec::new();
        for id in 0..dictionary.signature_count() {
            let id = SignatureId::try_from(id).unwrap_or(SignatureId::MAX);
            found.clear();
            let paid = dictionary.signature(id).iter().filter(|mark| mark.lowest_paid > 0);
            found.extend(paid.filter_map(|mark| selector.segment(mark.tuple)));
            found.sort_unstable();
            found.dedup();
            let start = position(&selector.segments);
            selector.segments.extend(&found);
            selector.signatures.push((start, position(&selector.segments)));
        }
        selector
    }

    /// A selector that is asked about tuples only.
    fn for_tuples(dictionary: &Dictionary, narrowing: Narrowing<'_>, by: Option<&Field>) -> Self {
        let Narrowing { filters, any_of } = narrowing;
        let mut tuples = Vec::new();
        if !filters.is_empty() || !any_of.is_empty() || by.is_some() {
            let filters = matchers(filters, dictionary);
            let any_of: Vec<Vec<Matcher>> =
                any_of.iter().map(|group| matchers(group, dictionary)).collect();
            let by = by.map(|field| FieldPlace::of(field, dictionary));
            for id in 0..dictionary.tuple_count() {
                let tuple = dictionary.tuple(TupleId::try_from(id).unwrap_or(0));
                let matching = all_match(&filters, tuple)
                    && (any_of.is_empty() || any_of.iter().any(|group| all_match(group, tuple)));
                let segment = by.map_or(0, |place| place.value(tuple));
                tuples.push(if matching { segment } else { LEFT_OUT });
            }
        }
        Self { tuples, signatures: Vec::new(), segments: Vec::new() }
    }

    /// The selector for installs: what a field does not say of installs is left out of it.
    pub fn for_installs<'a>(
        dictionary: &Dictionary,
        narrowing: impl Into<Narrowing<'a>>,
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
        Self::for_tuples(dictionary, narrowing, segment_by)
    }

    /// The segment of a tuple, if it counts.
    pub fn segment(&self, tuple: TupleId) -> Option<TextId> {
        if self.tuples.is_empty() {
            return Some(0);
        }
        self.tuples.get(tuple as usize).copied().filter(|segment| *segment != LEFT_OUT)
    }

    /// By signature, what the filters see of its marks. For questions without segments.
    pub fn marks(&self, dictionary: &Dictionary) -> Vec<MarksSeen> {
        let seen = |id: usize| {
            let id = SignatureId::try_from(id).unwrap_or(SignatureId::MAX);
            let marks = dictionary.signature(id).iter();
            let mut seen = MarksSeen::default();
            for mark in marks.filter(|mark| self.segment(mark.tuple).is_some()) {
                seen.has_any = true;
                seen.is_refunded |= mark.is_refunded;
                if seen.lowest_paid == 0 || (1..seen.lowest_paid).contains(&mark.lowest_paid) {
                    seen.lowest_paid = mark.lowest_paid;
                }
            }
            seen
        };
        (0..dictionary.signature_count()).map(seen).collect()
    }

    /// The segments in which a customer with this signature counts: those of any tuple that it
    /// paid with and that the filters keep.
    pub fn signature_segments(&self, signature: SignatureId) -> &[TextId] {
        if self.tuples.is_empty() {
            return &EVERYTHING;
        }
        let Some((start, end)) = self.signatures.get(signature as usize) else { return &[] };
        &self.segments[*start as usize..*end as usize]
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

fn position(segments: &[TextId]) -> u32 {
    u32::try_from(segments.len()).unwrap_or(u32::MAX)
}

fn matchers(filters: &[Filter], dictionary: &Dictionary) -> Vec<Matcher> {
    filters.iter().map(|filter| Matcher::new(filter, dictionary)).collect()
}

fn all_match(filters: &[Matcher], tuple: &Tuple) -> bool {
    filters.iter().all(|filter| filter.matches(filter.place.value(tuple)))
}

/// A filter in the numbers of a dictionary.
struct Matcher {
    place: FieldPlace,
    /// Rising.
    values: Vec<TextId>,
}

impl Matcher {
    fn new(filter: &Filter, dictionary: &Dictionary) -> Self {
        let known = filter.values.iter().filter_map(|value| dictionary.find_text(value));
        let mut values: Vec<TextId> = known.collect();
        values.sort_unstable();
        Self { place: FieldPlace::of(&filter.field, dictionary), values }
    }

    fn matches(&self, value: TextId) -> bool {
        self.values.binary_search(&value).is_ok()
    }
}
