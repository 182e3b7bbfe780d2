//! What a customer's subscriptions cover: the newest span of each chain, and the timelines that
//! follow from all spans so far.
//!
//! A newest event changes only what runs from its own day on, and of that the newest span of each
//! chain says everything: older spans are over by then. So the timeline is cut at that day and
//! written again from the newest spans.
//!
//! Where the clocks of a zone go back over midnight, an instant can fall on an earlier day than
//! one before it. Then the later instant's word stands, the same on every walk.

use crate::domain::time::{Day, Timestamp, Zone};
use crate::engine::dictionary::TupleId;
use crate::engine::facts::{FactKey, FactKind, Sums};
use crate::engine::fold::Scribe;
use crate::engine::timelines::{Element, TermsId, Timeline};

/// A stretch of time in which a chain runs: a trial, or what a payment paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub end: Timestamp,
    pub tuple: TupleId,
    pub terms: TermsId,
    /// Whether refunds have given back all of what was paid for it.
    pub is_refunded: bool,
}

impl Span {
    /// The next period of a chain begins: it ends the one before, if that is still running. A
    /// period that is over when it begins does only that. Returns whether anything changed.
    pub fn open(newest: &mut Option<Self>, at: Timestamp, next: Self) -> bool {
        if next.end <= at {
            return newest.as_mut().is_some_and(|span| span.cut(at));
        }
        *newest = Some(next);
        true
    }

    /// A grace period keeps the subscription alive up to `end`, or brings it back.
    pub fn extend(&mut self, at: Timestamp, end: Timestamp) -> bool {
        let is_longer = end > self.end.max(at);
        if is_longer {
            self.end = end;
        }
        is_longer
    }

    /// An explicit expiration ends the running span early.
    pub fn cut(&mut self, at: Timestamp) -> bool {
        let is_shorter = at < self.end;
        if is_shorter {
            self.end = at;
        }
        is_shorter
    }
}

/// A customer's timelines, by zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    all: Vec<Timeline>,
    /// Without the spans of refunded payments; empty for customers that have none.
    unrefunded: Vec<Timeline>,
}

impl Coverage {
    /// Of a customer without spans. `has_refunded`: whether there is a payment that refunds have
    /// given back.
    pub fn new(zones: usize, has_refunded: bool) -> Self {
        let empty = |zones| vec![Timeline::default(); zones];
        Self { all: empty(zones), unrefunded: empty(if has_refunded { zones } else { 0 }) }
    }

    /// Writes what changes when at an instant, the newest so far, the newest spans of the
    /// customer's chains become these.
    pub fn rewrite(
        &mut self,
        at: Timestamp,
        spans: &(impl Iterator<Item = (u16, Span)> + Clone),
        scribe: &mut Scribe<'_>,
    ) {
        let rules = scribe.rules;
        for (zone, days) in rules.reporting_zones.iter().enumerate() {
            let day = days.day(at);
            let timelines = &mut scribe.dictionary.timelines;
            let Some(old) = self.all.get(zone).copied() else { continue };
            let all = timelines.rewrite(old, day, running(at, *days, spans.clone()));
            let Some(old_unrefunded) = self.unrefunded.get(zone).copied() else {
                self.all[zone] = all;
                if all != old {
                    put(zone, FactKind::Timeline, (old, -1), scribe);
                    put(zone, FactKind::Timeline, (all, 1), scribe);
                }
                continue;
            };
            let kept = spans.clone().filter(|(_, span)| !span.is_refunded);
            let unrefunded = timelines.rewrite(old_unrefunded, day, running(at, *days, kept));
            (self.all[zone], self.unrefunded[zone]) = (all, unrefunded);
            for (all, unrefunded, sign) in [(old, old_unrefunded, -1), (all, unrefunded, 1)] {
                put(zone, FactKind::Timeline, (all, sign), scribe);
                if all != unrefunded {
                    put(zone, FactKind::UnrefundedTimeline, (all, -sign), scribe);
                    put(zone, FactKind::UnrefundedTimeline, (unrefunded, sign), scribe);
                }
            }
        }
    }

    /// Bytes of memory held outside the struct itself.
    pub fn memory_bytes(&self) -> usize {
        (self.all.capacity() + self.unrefunded.capacity()) * size_of::<Timeline>()
    }
}

/// The spans that may run after the day of an instant, with the days on which they end.
fn running(
    at: Timestamp,
    zone: Zone,
    spans: impl Iterator<Item = (u16, Span)>,
) -> impl Iterator<Item = (Day, Element)> {
    let running = spans.filter(move |(_, span)| span.end > at);
    running.map(move |(chain, span)| {
        (zone.day(span.end), Element { chain, tuple: span.tuple, terms: span.terms })
    })
}

fn put(zone: usize, kind: FactKind, (timeline, sign): (Timeline, i64), scribe: &mut Scribe<'_>) {
    if timeline.path != 0 {
        // The configuration allows fewer than 256 zones.
        let zone = u8::try_from(zone).unwrap_or(u8::MAX);
        let key = FactKey::new(scribe.app, zone, kind, timeline.lapse, timeline.path);
        scribe.delta.push((key, Sums::count(sign)));
    }
}
