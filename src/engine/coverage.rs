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
use crate::engine::moment::Moment;
use crate::engine::numbers::Numbers;
use crate::engine::timelines::{Element, PathId, TRIAL, TermsId, Timeline};

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
    /// period that is over when it begins does only that. A trial takes nothing away from what is paid
    /// for, refunded or not: while that runs there is no trial. Returns whether anything changed.
    pub fn open(newest: &mut Option<Self>, at: Timestamp, next: Self) -> bool {
        let is_paid_for = newest.is_some_and(|span| span.terms != TRIAL && span.end > at);
        if next.terms == TRIAL && is_paid_for {
            return false;
        }
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

    /// Passes all numbers that a span is made of; the guesses are an end and a tuple.
    #[inline]
    pub(super) fn pass(
        span: &mut Option<Self>,
        numbers: &mut impl Numbers,
        (end, tuple): (Moment, TupleId),
    ) {
        let mut ends = span.map_or(Moment::default(), |span| span.end.into());
        numbers.moment(&mut ends, end);
        let Some(end) = ends.get() else {
            *span = None;
            return;
        };
        let span = span.get_or_insert(Self { end, tuple, terms: 0, is_refunded: false });
        span.end = end;
        numbers.number(&mut span.tuple, tuple);
        numbers.number(&mut span.terms, 0);
        numbers.flags([&mut span.is_refunded]);
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
    /// Empty before the first span.
    all: Vec<Timeline>,
    /// Without the spans of refunded payments; empty for customers that have none.
    unrefunded: Vec<Timeline>,
}

impl Coverage {
    /// Of a customer without spans. `has_refunded`: whether there is a payment that refunds have
    /// given back.
    pub fn new(zones: usize, has_refunded: bool) -> Self {
        let refunded_zones = if has_refunded { zones } else { 0 };
        Self { all: Vec::new(), unrefunded: vec![Timeline::default(); refunded_zones] }
    }

    /// Writes what changes when at an instant, the newest so far, the newest spans of the
    /// customer's chains become these. With `until`, an instant at which they will change again, nothing is
    /// said of that one's day and those after it.
    pub fn rewrite(
        &mut self,
        (at, until): (Timestamp, Option<Timestamp>),
        spans: &(impl Iterator<Item = Span> + Clone),
        scribe: &mut Scribe<'_>,
    ) {
        self.all.resize(scribe.rules.reporting_zones.len(), Timeline::default());
        let timelines = &mut scribe.dictionary.timelines;
        let zones = scribe.rules.reporting_zones.iter().enumerate();
        for ((zone, days), all) in zones.zip(&mut self.all) {
            let part = (days.day(at), until.map(|until| days.day(until)));
            *all = timelines.rewrite(*all, part, running(at, *days, spans.clone()));
            if let Some(unrefunded) = self.unrefunded.get_mut(zone) {
                let kept = spans.clone().filter(|span| !span.is_refunded);
                *unrefunded = timelines.rewrite(*unrefunded, part, running(at, *days, kept));
            }
        }
    }

    /// Writes the facts of the timelines, or takes them back.
    pub fn count(&self, sign: i64, scribe: &mut Scribe<'_>) {
        for (zone, all) in self.all.iter().enumerate() {
            put(zone, FactKind::Timeline, (*all, sign), scribe);
            let unrefunded = self.unrefunded.get(zone).filter(|unrefunded| *unrefunded != all);
            if let Some(unrefunded) = unrefunded {
                put(zone, FactKind::UnrefundedTimeline, (*all, -sign), scribe);
                put(zone, FactKind::UnrefundedTimeline, (*unrefunded, sign), scribe);
            }
        }
    }

    /// The path of the timeline in the first zone.
    pub fn path(&self) -> PathId {
        self.all.first().map_or(0, |timeline| timeline.path)
    }

    /// Bytes of memory held outside the struct itself.
    pub fn memory_bytes(&self) -> usize {
        (self.all.capacity() + self.unrefunded.capacity()) * size_of::<Timeline>()
    }

    /// Passes all numbers that it is made of; `path` is that of the timeline in the first zone, and
    /// `lapse` a guess.
    #[inline]
    pub(super) fn pass(&mut self, numbers: &mut impl Numbers, (path, lapse): (PathId, Day)) {
        for timelines in [&mut self.all, &mut self.unrefunded] {
            numbers.length(timelines);
            for timeline in timelines {
                numbers.number(&mut timeline.path, path);
                numbers.day(&mut timeline.lapse, lapse);
            }
        }
    }
}

/// The spans that may run after the day of an instant, with the days on which they end.
fn running(
    at: Timestamp,
    zone: Zone,
    spans: impl Iterator<Item = Span>,
) -> impl Iterator<Item = (Day, Element)> {
    let running = spans.filter(move |span| span.end > at);
    running.map(move |span| (zone.day(span.end), Element::one(span.tuple, span.terms)))
}

fn put(zone: usize, kind: FactKind, (timeline, sign): (Timeline, i64), scribe: &mut Scribe<'_>) {
    if timeline.path != 0 {
        // The configuration allows fewer than 256 zones.
        let zone = u8::try_from(zone).unwrap_or(u8::MAX);
        let key = FactKey::new(scribe.app, zone, kind, timeline.lapse, timeline.path);
        scribe.delta.push((key, Sums::count(sign)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::{Amounts, Currency};
    use crate::domain::rules::{AppRules, RateTable, ZeroPayments};
    use crate::engine::dictionary::{AppIx, Dictionary};
    use crate::engine::fold::delta::FactDelta;
    use crate::engine::timelines::Terms;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    /// A shard of one app in UTC and Berlin, and what one customer's chain has covered.
    struct World {
        rules: AppRules,
        dictionary: Dictionary,
        delta: FactDelta,
        coverage: Coverage,
        newest: Option<Span>,
    }

    impl World {
        fn new(has_refunded: bool) -> Self {
            let zones = ["UTC", "Europe/Berlin"].map(|zone| zone.parse().unwrap());
            let rules = AppRules {
                id: "acme".to_owned(),
                reporting_currency: Currency::USD,
                reporting_zones: zones.to_vec(),
                zero_payments: ZeroPayments::Ignore,
                rates: RateTable::default(),
            };
            let (dictionary, delta) = (Dictionary::default(), FactDelta::new());
            let coverage = Coverage::new(zones.len(), has_refunded);
            Self { rules, dictionary, delta, coverage, newest: None }
        }

        fn cover(&mut self, now: &str) {
            let spans = self.newest.into_iter();
            let mut scribe = Scribe {
                app: AppIx(0),
                rules: &self.rules,
                dictionary: &mut self.dictionary,
                delta: &mut self.delta,
            };
            self.coverage.count(-1, &mut scribe);
            self.coverage.rewrite((at(now), None), &spans, &mut scribe);
            self.coverage.count(1, &mut scribe);
        }

        fn pay(&mut self, now: &str, end: &str, (gross, is_refunded): (i64, bool)) {
            let amounts = Amounts { gross, proceeds: gross, net: gross };
            let period = "P1M".parse().unwrap();
            let terms = self.dictionary.timelines.terms_id(Terms::Paid { amounts, period });
            let span = Span { end: at(end), tuple: 0, terms, is_refunded };
            if Span::open(&mut self.newest, at(now), span) {
                self.cover(now);
            }
        }

        fn try_out(&mut self, now: &str, end: &str) -> bool {
            let span = Span { end: at(end), tuple: 0, terms: TRIAL, is_refunded: false };
            Span::open(&mut self.newest, at(now), span)
        }

        /// The rows that are left: kind, zone, last day and path.
        fn rows(&self) -> Vec<String> {
            let mut sums: std::collections::BTreeMap<FactKey, i64> = Default::default();
            for (key, row) in &self.delta {
                *sums.entry(*key).or_default() += row.count;
            }
            let rows = sums.into_iter().filter(|(_, count)| *count != 0).map(|(key, count)| {
                let path = self.dictionary.describe_path(key.dims);
                format!("{:?} {} {} {path} {count:+}", key.kind, key.zone, key.day)
            });
            rows.collect()
        }
    }

    #[test]
    fn a_customer_has_a_timeline_in_each_zone() {
        let mut world = World::new(false);
        // In Berlin the next day begins at 23:00Z.
        world.pay("2024-01-10T23:30:00Z", "2024-02-10T22:30:00Z", (10, false));
        assert_eq!(
            world.rows(),
            [
                "Timeline 0 2024-02-10 2024-01-10{1 10/10/10 P1M } +1",
                "Timeline 1 2024-02-10 2024-01-11{1 10/10/10 P1M } +1",
            ]
        );
        // A renewal an hour late: a gap in Berlin, where the day has changed, and none in UTC.
        world.pay("2024-02-10T23:30:00Z", "2024-03-10T22:30:00Z", (10, false));
        let berlin = "2024-01-11{1 10/10/10 P1M } 2024-02-10{} 2024-02-11{1 10/10/10 P1M }";
        assert_eq!(
            world.rows(),
            [
                "Timeline 0 2024-03-10 2024-01-10{1 10/10/10 P1M } +1".to_owned(),
                format!("Timeline 1 2024-03-10 {berlin} +1"),
            ]
        );
    }

    #[test]
    fn a_renewal_that_changes_nothing_writes_two_rows_a_zone_and_no_entry() {
        let mut world = World::new(false);
        world.pay("2024-01-10T09:00:00Z", "2024-02-10T09:00:00Z", (10, false));
        world.delta.clear();
        world.dictionary.take_fresh();
        world.pay("2024-02-10T09:00:00Z", "2024-03-10T09:00:00Z", (10, false));
        assert_eq!(world.delta.len(), 4);
        assert!(world.dictionary.take_fresh().timelines.is_empty());
    }

    #[test]
    fn the_period_of_a_refunded_payment_is_in_one_timeline_and_not_in_the_other() {
        let mut world = World::new(true);
        world.pay("2024-01-10T09:00:00Z", "2024-02-10T09:00:00Z", (10, false));
        world.pay("2024-02-05T09:00:00Z", "2024-03-05T09:00:00Z", (8, true));
        let (before, all) =
            ("2024-01-10{1 10/10/10 P1M }", "2024-01-10{1 10/10/10 P1M } 2024-02-05{1 8/8/8 P1M }");
        let of_utc = [
            format!("Timeline 0 2024-03-05 {all} +1"),
            format!("UnrefundedTimeline 0 2024-02-05 {before} +1"),
            format!("UnrefundedTimeline 0 2024-03-05 {all} -1"),
        ];
        let rows: Vec<String> =
            world.rows().into_iter().filter(|row| row.contains("Timeline 0")).collect();
        assert_eq!(rows, of_utc);
        // Paid again in time: the refunded period stays a gap.
        world.pay("2024-03-05T09:00:00Z", "2024-04-05T09:00:00Z", (8, false));
        let gap = format!("{before} 2024-02-05{{}} 2024-03-05{{1 8/8/8 P1M }}");
        let rows = world.rows();
        assert!(rows.contains(&format!("UnrefundedTimeline 0 2024-04-05 {gap} +1")), "{rows:#?}");
    }

    #[test]
    fn a_trial_begins_where_nothing_paid_for_runs() {
        let mut world = World::new(false);
        let paid = "2024-02-01T00:00:00Z";
        assert!(world.try_out("2023-12-20T00:00:00Z", "2024-01-20T00:00:00Z"));
        assert!(world.try_out("2023-12-21T00:00:00Z", "2024-01-21T00:00:00Z"));
        world.pay("2024-01-01T00:00:00Z", paid, (10, false));
        for now in ["2024-01-01T00:00:00Z", "2024-01-31T23:59:59Z"] {
            assert!(!world.try_out(now, "2024-03-01T00:00:00Z"), "{now}");
            assert_eq!(world.newest.map(|span| span.end), Some(at(paid)), "{now}");
        }
        assert!(world.try_out(paid, "2024-03-01T00:00:00Z"));
    }

    #[test]
    fn grace_extends_or_brings_back_and_an_expiration_cuts() {
        let mut world = World::new(false);
        world.pay("2024-01-10T09:00:00Z", "2024-02-10T09:00:00Z", (10, false));
        let mut steps = Vec::new();
        for (now, end) in [
            ("2024-02-10T09:00:00Z", Some("2024-02-20T09:00:00Z")),
            ("2024-02-12T09:00:00Z", Some("2024-02-15T09:00:00Z")),
            ("2024-02-25T09:00:00Z", Some("2024-03-01T09:00:00Z")),
            ("2024-02-28T09:00:00Z", None),
            ("2024-02-29T09:00:00Z", None),
        ] {
            let span = world.newest.as_mut().unwrap();
            let is_changed = match end {
                Some(end) => span.extend(at(now), at(end)),
                None => span.cut(at(now)),
            };
            if is_changed {
                world.cover(now);
            }
            steps.push((is_changed, world.rows()[0].replace("{1 10/10/10 P1M }", "")));
        }
        let back = "2024-01-10 2024-02-20{} 2024-02-25 +1";
        assert_eq!(
            steps,
            [
                (true, "Timeline 0 2024-02-20 2024-01-10 +1".to_owned()),
                (false, "Timeline 0 2024-02-20 2024-01-10 +1".to_owned()),
                (true, format!("Timeline 0 2024-03-01 {back}")),
                (true, format!("Timeline 0 2024-02-28 {back}")),
                (false, format!("Timeline 0 2024-02-28 {back}")),
            ]
        );
    }
}
