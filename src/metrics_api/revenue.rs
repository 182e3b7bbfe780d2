//! Revenue by calendar bucket, whatever the cohort.
//!
//! Distinct payers need no sets: a payment row carries the day of the same customer's payment
//! before, so the payers of a range are its payments whose payment before lies before the range.

use std::collections::BTreeMap;

use crate::domain::cohort::Field;
use crate::domain::time::{Day, Width};
use crate::engine::dictionary::{AppIx, Dictionary};
use crate::engine::facts::{FactKey, FactKind, FactRow, Facts, Group, Sums};
use crate::metrics_api::ages::Seen;
use crate::metrics_api::buckets::Buckets;
use crate::metrics_api::filters::Selector;
use crate::metrics_api::grid::Grid;
use crate::metrics_api::kept::Summed;
use crate::metrics_api::ltv_answer::Note;
use crate::metrics_api::question::{Filter, InvalidQuestion, ROWS_MAX, RefundDating};

/// The most buckets of one answer.
pub const BUCKETS_MAX: usize = 40_000;

/// A question about revenue over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevenueQuestion {
    pub app: String,
    /// Index into the app's reporting zones; all days are of this zone.
    pub zone: u8,
    /// Length of a bucket.
    pub width: Width,
    /// First and last day that count; `None`: the first day with revenue, and `until`.
    pub from: Option<Day>,
    pub to: Option<Day>,
    /// All must match.
    pub filters: Vec<Filter>,
    pub segment_by: Option<Field>,
    /// The last day whose facts count.
    pub until: Day,
    /// The day of now. A day is over when it lies before `today`.
    pub today: Day,
    pub refunds: RefundDating,
}

impl RevenueQuestion {
    /// Refuses what has no answer.
    pub fn check(&self) -> Result<(), InvalidQuestion> {
        let Some(from) = self.from else { return Ok(()) };
        if let Some(to) = self.to
            && from > to
        {
            return Err(InvalidQuestion::EmptyRange(from, to));
        }
        let buckets =
            i64::from(self.width.ordinal(self.last_day())) - i64::from(self.width.ordinal(from));
        if usize::try_from(buckets).is_ok_and(|buckets| buckets >= BUCKETS_MAX) {
            return Err(InvalidQuestion::TooManyBuckets(BUCKETS_MAX));
        }
        Ok(())
    }

    fn last_day(&self) -> Day {
        self.to.map_or(self.until, |to| to.min(self.until))
    }
}

/// Sums of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RevenueSums {
    pub payments: Sums,
    /// Positive; those in `unplaced` included.
    pub refunds: Sums,
    /// Of these, the unlinked ones before the customer's first payment.
    pub unplaced: Sums,
    /// Payments that are their customer's first in the bucket.
    pub payers: i64,
    /// Payments that are their customer's first in the whole range.
    pub range_payers: i64,
}

impl RevenueSums {
    /// Payments less refunds; the count is that of payments.
    pub fn revenue(&self) -> Sums {
        let mut revenue = self.payments;
        revenue += Sums { count: 0, ..self.refunds.negated() };
        revenue
    }

    fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::AddAssign for RevenueSums {
    fn add_assign(&mut self, other: Self) {
        self.payments += other.payments;
        self.refunds += other.refunds;
        self.unplaced += other.unplaced;
        self.payers += other.payers;
        self.range_payers += other.range_payers;
    }
}

/// What one shard, or several merged, know of a question: sums by segment value (without
/// segments: the empty text) and bucket ordinal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevenuePartial {
    pub segments: BTreeMap<String, BTreeMap<i32, RevenueSums>>,
}

impl Summed for RevenuePartial {
    fn merge(mut self, other: Self) -> Self {
        for (value, buckets) in other.segments {
            let into = self.segments.entry(value).or_default();
            for (ordinal, sums) in buckets {
                *into.entry(ordinal).or_default() += sums;
            }
        }
        self
    }

    fn memory_bytes(&self) -> usize {
        self.segments.values().map(|buckets| buckets.len() * size_of::<RevenueSums>()).sum()
    }
}

/// What the facts of a shard say.
pub fn partial<'f>(
    facts: impl Into<Facts<'f>>,
    dictionary: &Dictionary,
    question: &RevenueQuestion,
) -> RevenuePartial {
    let mut partial = RevenuePartial::default();
    let Some(app) = dictionary.find_app(&question.app) else { return partial };
    let mut pass = Pass {
        question,
        first_day: question.from.unwrap_or(Day(i32::MIN + 1)),
        last_day: question.last_day(),
        buckets: Buckets::new(question.width, question.until),
        selector: Selector::new(dictionary, &question.filters, question.segment_by.as_ref()),
        rows: Grid::default(),
    };
    pass.run(&facts.into(), app);
    for (segment, ordinal, sums) in pass.rows.into_rows() {
        let value = dictionary.text(segment).to_owned();
        partial.segments.entry(value).or_default().insert(ordinal, sums);
    }
    partial
}

struct Pass<'a> {
    question: &'a RevenueQuestion,
    first_day: Day,
    last_day: Day,
    buckets: Buckets,
    selector: Selector<'a>,
    rows: Grid<RevenueSums>,
}

impl Pass<'_> {
    fn run(&mut self, facts: &Facts<'_>, app: AppIx) {
        let RevenueQuestion { zone, until, .. } = *self.question;
        let of = |kind| facts.through(Group { app, zone, kind }, until);
        of(FactKind::Payment).for_each(|fact| self.take_payment(&fact));
        of(FactKind::Refund).for_each(|fact| self.take_refund(&fact));
        of(FactKind::UnplacedRefund).for_each(|fact| {
            if let Some(row) = self.row(&fact, fact.key.day) {
                row.refunds += fact.sums();
                row.unplaced += fact.sums();
            }
        });
    }

    fn take_payment(&mut self, fact: &FactRow<'_>) {
        let (day, before) = (fact.key.day, fact.key.other_day);
        let (bucket_start, first_day) = (self.buckets.start(day), self.first_day);
        let Some(row) = self.row(fact, day) else { return };
        let sums = fact.sums();
        row.payments += sums;
        if before < bucket_start.max(first_day) {
            row.payers += sums.count;
        }
        if before < first_day {
            row.range_payers += sums.count;
        }
    }

    fn take_refund(&mut self, fact: &FactRow<'_>) {
        let FactKey { day, other_day, .. } = fact.key;
        let at_purchase = self.question.refunds == RefundDating::AtPurchase;
        let counted = if at_purchase && other_day != Day::MIN { other_day } else { day };
        if let Some(row) = self.row(fact, counted) {
            row.refunds += fact.sums();
        }
    }

    /// The row of the fact's segment and of `day`, if they count.
    fn row(&mut self, fact: &FactRow<'_>, day: Day) -> Option<&mut RevenueSums> {
        if day < self.first_day || day > self.last_day {
            return None;
        }
        let segment = self.selector.segment(fact.key.dims)?;
        let ordinal = self.buckets.ordinal(day);
        Some(self.rows.row(segment, ordinal, RevenueSums::default))
    }
}

/// A bucket, or the whole range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevenueBucket {
    /// First and last day of the calendar bucket; of the range: of its first and last bucket.
    pub start: Day,
    pub end: Day,
    pub sums: RevenueSums,
    /// Customers with at least one payment in it; `None` with filters, and of single segments.
    pub payers: Option<i64>,
    /// Whether all its days are within the question's range and over.
    pub complete: bool,
}

/// Buckets and their total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevenueGroup {
    /// `None` without buckets. Its payers are distinct over the whole range.
    pub total: Option<RevenueBucket>,
    /// Every bucket of the range by rising start, empty ones too.
    pub buckets: Vec<RevenueBucket>,
}

/// The answer to a [`RevenueQuestion`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevenueAnswer {
    pub overall: RevenueGroup,
    /// By segment value, the empty text for unknown; empty if the question has no segments.
    pub segments: Vec<(String, RevenueGroup)>,
    /// The last day that is over and counts.
    pub seen_through: Day,
    pub notes: Vec<Note>,
}

/// Refuses a question whose answer fits nowhere: one of a row for each bucket of each segment.
///
/// # Errors
/// [`InvalidQuestion::TooManyRows`].
pub fn check_length(
    question: &RevenueQuestion,
    partial: &RevenuePartial,
) -> Result<(), InvalidQuestion> {
    let first = partial.segments.values().filter_map(|buckets| buckets.keys().next()).min();
    let (first, last) = range(question, first.copied());
    let buckets = usize::try_from(i64::from(last) - i64::from(first) + 1).unwrap_or(0);
    let segments = if question.segment_by.is_some() { partial.segments.len() } else { 0 };
    match segments.saturating_mul(buckets) > ROWS_MAX {
        true => Err(InvalidQuestion::TooManyRows(ROWS_MAX)),
        false => Ok(()),
    }
}

/// The answer from the merged partials of all shards.
pub fn answer(question: &RevenueQuestion, partial: &RevenuePartial) -> RevenueAnswer {
    let mut overall: BTreeMap<i32, RevenueSums> = BTreeMap::new();
    for buckets in partial.segments.values() {
        for (ordinal, sums) in buckets {
            *overall.entry(*ordinal).or_default() += *sums;
        }
    }
    overall.retain(|_, sums| !sums.is_zero());
    let through = Seen::new(question.until, question.today).through;
    let unfiltered = question.filters.is_empty();
    let maker = Maker { question, through, range: range(question, overall.keys().next().copied()) };
    let segmented = question.segment_by.is_some();
    let is_empty =
        |buckets: &BTreeMap<i32, RevenueSums>| buckets.values().all(RevenueSums::is_zero);
    let segments = partial.segments.iter().filter(|(_, buckets)| segmented && !is_empty(buckets));
    RevenueAnswer {
        overall: maker.group(&overall, unfiltered),
        segments: segments
            .map(|(value, buckets)| (value.clone(), maker.group(buckets, false)))
            .collect(),
        seen_through: through,
        notes: if unfiltered && !segmented { Vec::new() } else { vec![Note::PayersUnknown] },
    }
}

/// Ordinals of the first and the last bucket, the first with revenue being this one; the second before the
/// first if there is none.
fn range(question: &RevenueQuestion, first_with_revenue: Option<i32>) -> (i32, i32) {
    let first = question.from.map(|from| question.width.ordinal(from));
    match first.or(first_with_revenue) {
        Some(first) => {
            let longest = i32::try_from(BUCKETS_MAX).unwrap_or(i32::MAX);
            let last = question.width.ordinal(question.last_day());
            (first, last.min(first.saturating_add(longest)))
        }
        None => (0, -1),
    }
}

struct Maker<'a> {
    question: &'a RevenueQuestion,
    through: Day,
    range: (i32, i32),
}

impl Maker<'_> {
    fn group(&self, sums: &BTreeMap<i32, RevenueSums>, payers_known: bool) -> RevenueGroup {
        let (first, last) = self.range;
        let buckets: Vec<RevenueBucket> = (first..=last)
            .map(|ordinal| {
                let sums = sums.get(&ordinal).copied().unwrap_or_default();
                self.bucket((ordinal, ordinal), sums, payers_known.then_some(sums.payers))
            })
            .collect();
        let total = (!buckets.is_empty()).then(|| {
            let mut total = RevenueSums::default();
            buckets.iter().for_each(|bucket| total += bucket.sums);
            self.bucket(self.range, total, payers_known.then_some(total.range_payers))
        });
        RevenueGroup { total, buckets }
    }

    fn bucket(
        &self,
        (first, last): (i32, i32),
        sums: RevenueSums,
        payers: Option<i64>,
    ) -> RevenueBucket {
        let width = self.question.width;
        let (start, end) = (width.first_day(first), width.end(width.first_day(last)));
        let whole = self.question.from.is_none_or(|from| from <= start)
            && self.question.to.is_none_or(|to| end <= to);
        RevenueBucket { start, end, sums, payers, complete: whole && end <= self.through }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::engine::facts::FactTable;

    #[test]
    fn a_row_for_each_bucket_of_each_segment_may_be_too_many() {
        let question = |segment_by: Option<&str>, width| RevenueQuestion {
            app: "acme".to_owned(),
            zone: 0,
            width,
            from: Some("2016-01-01".parse().unwrap()),
            to: None,
            filters: Vec::new(),
            segment_by: segment_by.map(|field| field.parse().unwrap()),
            until: "2025-12-31".parse().unwrap(),
            today: "2026-01-01".parse().unwrap(),
            refunds: RefundDating::AtRefund,
        };
        let sums = RevenueSums { payers: 1, ..RevenueSums::default() };
        let segment = |number: u32| (number.to_string(), BTreeMap::from([(5, sums)]));
        // Ten years, of which three are leap years.
        let days = 3_653;
        for (segments, expected) in [
            (ROWS_MAX as u32 / days, Ok(())),
            (ROWS_MAX as u32 / days + 1, Err(InvalidQuestion::TooManyRows(ROWS_MAX))),
        ] {
            let partial = RevenuePartial { segments: (0..segments).map(segment).collect() };
            let of = |question: RevenueQuestion| check_length(&question, &partial);
            assert_eq!(of(question(Some("country"), Width::Day)), expected);
            assert_eq!(of(question(Some("country"), Width::Month)), Ok(()));
            assert_eq!(of(question(None, Width::Day)), Ok(()));
        }
    }

    const FIRST_DAY: i32 = 20_076;

    /// Payments of each customer as facts.
    fn facts(customers: &[Vec<i32>], dictionary: &mut Dictionary) -> FactTable {
        let app = dictionary.app("acme");
        let mut facts = FactTable::default();
        for days in customers {
            let mut before = Day::MIN;
            for day in days {
                let mut key = FactKey::new(app, 0, FactKind::Payment, Day(*day), 0);
                (key.other_day, key.first_day) = (before, Day(days[0]));
                facts.add(key, Sums { count: 1, gross: 10, proceeds: 7, net: 5 });
                before = Day(*day);
            }
        }
        facts
    }

    fn distinct(customers: &[Vec<i32>], from: Day, to: Day) -> i64 {
        let in_range = |day: &i32| from.0 <= *day && *day <= to.0;
        let payers = customers.iter().filter(|days| days.iter().any(in_range));
        i64::try_from(payers.count()).unwrap()
    }

    proptest! {
        #[test]
        fn payers_are_distinct_in_every_bucket_and_in_the_range(
            mut customers in vec(vec(FIRST_DAY..FIRST_DAY + 100, 1..6), 0..12),
            width in prop::sample::select(&Width::ALL[..]),
            from in prop::option::of(FIRST_DAY - 5..FIRST_DAY + 60),
            (length, until) in (0..60i32, FIRST_DAY..FIRST_DAY + 120),
        ) {
            customers.iter_mut().for_each(|days| days.sort_unstable());
            let mut dictionary = Dictionary::default();
            let facts = facts(&customers, &mut dictionary);
            let question = RevenueQuestion {
                app: "acme".into(),
                zone: 0,
                width,
                from: from.map(Day),
                to: from.map(|from| Day(from + length)),
                filters: Vec::new(),
                segment_by: None,
                until: Day(until),
                today: Day(until),
                refunds: RefundDating::AtRefund,
            };
            let answer = answer(&question, &partial(&facts, &dictionary, &question));
            let first = from.map_or(Day(0), Day);
            let last = question.to.unwrap_or(Day::MAX).min(question.until);
            for bucket in &answer.overall.buckets {
                let (from, to) = (bucket.start.max(first), bucket.end.min(last));
                prop_assert_eq!(bucket.payers, Some(distinct(&customers, from, to)));
            }
            let starts: BTreeSet<Day> =
                answer.overall.buckets.iter().map(|bucket| bucket.start).collect();
            let paid = customers.iter().flatten().filter(|day| {
                first.0 <= **day && **day <= last.0
            });
            let mut payments = 0;
            for day in paid {
                prop_assert!(starts.contains(&width.start(Day(*day))));
                payments += 1;
            }
            let total = answer.overall.total.map(|total| (total.payers, total.sums.payments.count));
            if let Some(total) = total {
                prop_assert_eq!(total, (Some(distinct(&customers, first, last)), payments));
            }
        }
    }
}
