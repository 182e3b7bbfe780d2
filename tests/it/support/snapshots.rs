//! Published snapshots, compared in every field with what the slow reference says.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate};
use chrono_tz::Tz;
use ltvstream::codec::snapshot::{SnapshotAge, SnapshotRecord, SnapshotVersion, decode_message};
use ltvstream::codec::snapshot_key::Segment;
use ltvstream::domain::cohort::Anchor;
use ltvstream::domain::time::Width;

use crate::reference::{self, Age, Cohort, CohortQuestion, Reference, Refunds};
use crate::support::kafka::{TestRecord, read_all};

/// The ages that are published unless settings say else.
const AGES_DAYS: [u32; 11] = [0, 1, 3, 7, 14, 30, 60, 90, 180, 365, 730];
const AGES_PERIODS: [u32; 25] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24];

/// The newest snapshot by key. No version of a key may be smaller than one before it.
pub fn newest(topic: &str, partitions: i32) -> BTreeMap<Vec<u8>, SnapshotRecord> {
    let mut newest: BTreeMap<Vec<u8>, SnapshotRecord> = BTreeMap::new();
    for TestRecord { key, value, .. } in read_all(topic, partitions) {
        let (key, snapshot) = (key.unwrap(), decode_message(&value.unwrap()).unwrap());
        assert_eq!(String::from_utf8_lossy(&key), snapshot.key().to_string());
        if let Some(before) = newest.get(&key) {
            assert_not_smaller(&before.version, &snapshot.version);
        }
        newest.insert(key, snapshot);
    }
    newest
}

/// Epoch and next offsets of a version.
pub type VersionKey = (i64, BTreeMap<i32, i64>);

/// All that was ever published, by version and key.
pub fn by_version(
    topic: &str,
    partitions: i32,
) -> BTreeMap<VersionKey, BTreeMap<Vec<u8>, SnapshotRecord>> {
    let mut found: BTreeMap<VersionKey, BTreeMap<_, _>> = BTreeMap::new();
    for TestRecord { key, value, .. } in read_all(topic, partitions) {
        let snapshot = decode_message(&value.unwrap()).unwrap();
        let version = (snapshot.version.log_epoch, snapshot.version.next_offsets.clone());
        found.entry(version).or_default().insert(key.unwrap(), snapshot);
    }
    found
}

fn assert_not_smaller(before: &SnapshotVersion, after: &SnapshotVersion) {
    assert!(before.log_epoch <= after.log_epoch, "{after:?} after {before:?}");
    assert!(before.next_offsets.keys().eq(after.next_offsets.keys()), "{after:?} after {before:?}");
    for (partition, next) in &before.next_offsets {
        // Figures that are computed anew begin where they like.
        let is_kept = before.log_epoch < after.log_epoch || *next <= after.next_offsets[partition];
        assert!(is_kept, "{after:?} after {before:?}");
    }
}

const ANCHORS: [(Anchor, reference::Anchor); 2] = [
    (Anchor::FirstPurchase, reference::Anchor::FirstPurchase),
    (Anchor::Install, reference::Anchor::Install),
];

/// What an app publishes, in UTC.
pub struct Plan<'a> {
    pub app: &'a str,
    pub widths: &'a [Width],
    pub segments: &'a [&'a str],
}

impl Plan<'_> {
    /// Every cohort of the reference must be published, each as the reference has it; others only
    /// if they are empty now. Returns how many ages were compared.
    pub fn compare(
        &self,
        published: &BTreeMap<Vec<u8>, SnapshotRecord>,
        reference: &Reference,
    ) -> usize {
        for (anchor, name) in ANCHORS {
            for width in self.widths {
                let expected = self.expected(reference, (name, *width));
                let found = |(segment, start): &(Option<Segment>, NaiveDate)| {
                    published.values().any(|snapshot| {
                        (snapshot.anchor, snapshot.width) == (anchor, *width)
                            && snapshot.segment == *segment
                            && snapshot.cohort_start.date() == *start
                    })
                };
                let missing: Vec<_> = expected.keys().filter(|place| !found(place)).collect();
                assert!(missing.is_empty(), "{anchor:?} {width:?} lacks {missing:?}");
            }
        }
        self.compare_each(published, reference)
    }

    /// Each of those published must be as the reference has it, or empty where it has none. Returns how
    /// many ages were compared.
    pub fn compare_each(
        &self,
        published: &BTreeMap<Vec<u8>, SnapshotRecord>,
        reference: &Reference,
    ) -> usize {
        let mut compared = 0;
        let mut seen = BTreeSet::new();
        for (anchor, name) in ANCHORS {
            for width in self.widths {
                let expected = self.expected(reference, (name, *width));
                for (key, snapshot) in published {
                    if (snapshot.anchor, snapshot.width) != (anchor, *width) {
                        continue;
                    }
                    let place = (snapshot.segment.clone(), snapshot.cohort_start.date());
                    seen.insert(key);
                    assert!(self.is_planned(snapshot), "{snapshot:?}");
                    let empty = Default::default();
                    compared += check(snapshot, expected.get(&place).unwrap_or(&empty));
                }
            }
        }
        assert_eq!(seen.len(), published.len(), "snapshots that nobody planned");
        compared
    }

    fn is_planned(&self, snapshot: &SnapshotRecord) -> bool {
        let segment = snapshot.segment.as_ref();
        snapshot.app_id == self.app
            && (snapshot.zone.as_str(), snapshot.currency.as_str()) == ("UTC", "USD")
            && segment.is_none_or(|segment| self.segments.contains(&segment.dimension.as_str()))
    }

    fn expected(
        &self,
        reference: &Reference,
        (anchor, width): (reference::Anchor, Width),
    ) -> BTreeMap<(Option<Segment>, NaiveDate), [Cohort; 2]> {
        let mut expected: BTreeMap<(Option<Segment>, NaiveDate), [Cohort; 2]> = BTreeMap::new();
        for (place, age) in [Age::Days, Age::Periods].into_iter().enumerate() {
            let question = CohortQuestion {
                app: self.app,
                anchor,
                width: width_of(width),
                age,
                refunds: Refunds::AtRefund,
                zone: Tz::UTC,
            };
            for (start, cohort) in reference.cohorts(&question) {
                expected.entry((None, start)).or_default()[place] = cohort;
            }
            for dimension in self.segments {
                for ((start, value), cohort) in reference.segments(&question, dimension) {
                    let segment = Segment { dimension: (*dimension).to_owned(), value };
                    expected.entry((Some(segment), start)).or_default()[place] = cohort;
                }
            }
        }
        expected
    }
}

/// By days, and by periods.
fn check(snapshot: &SnapshotRecord, [by_days, by_periods]: &[Cohort; 2]) -> usize {
    let refunds = by_days.through(i64::MAX).refunds;
    assert_eq!(
        (snapshot.customers, snapshot.payers, snapshot.refunds),
        (by_days.customers, by_days.payers, refunds),
        "{snapshot:?}"
    );
    // What is complete refers to the newest event in the same snapshot.
    let newest = snapshot.newest_event_at.unwrap();
    let today = DateTime::from_timestamp_micros(newest.0).unwrap().date_naive();
    let (width, start) = (width_of(snapshot.width), snapshot.cohort_start.date());
    let last_day = width.later(start, 1) - Days::new(1);
    // When the age begins for the cohort's first member, and ends for its last.
    let of_days = |age: u32| (start + Days::new(age.into()), last_day + Days::new(age.into()));
    let of_periods =
        |age: u32| (width.later(start, age), width.later(start, age + 1) - Days::new(1));
    check_ages(snapshot, (&snapshot.ages_days, &AGES_DAYS), (by_days, today), &of_days);
    check_ages(snapshot, (&snapshot.ages_periods, &AGES_PERIODS), (by_periods, today), &of_periods);
    snapshot.ages_days.len() + snapshot.ages_periods.len()
}

fn check_ages(
    snapshot: &SnapshotRecord,
    (found, ages): (&[SnapshotAge], &[u32]),
    (cohort, today): (&Cohort, NaiveDate),
    span: &dyn Fn(u32) -> (NaiveDate, NaiveDate),
) {
    let begun: Vec<u32> = ages.iter().copied().filter(|age| span(*age).0 <= today).collect();
    assert_eq!(found.len(), begun.len(), "ages that have begun on {today}: {snapshot:?}");
    for (found, age) in found.iter().zip(begun) {
        let totals = cohort.through(age.into());
        assert_eq!(u32::try_from(found.age), Ok(age), "{snapshot:?}");
        assert_eq!(found.payments, totals.payments, "age {age} of {snapshot:?}");
        let money =
            |sums: ltvstream::codec::snapshot::MoneySums| [sums.gross, sums.proceeds, sums.net];
        let paid = [totals.gross, totals.proceeds, totals.net];
        assert_eq!(money(found.paid), paid, "age {age} of {snapshot:?}");
        let refunded = [totals.refunded_gross, totals.refunded_proceeds, totals.refunded_net];
        assert_eq!(money(found.refunded), refunded, "age {age} of {snapshot:?}");
        assert_eq!(found.complete, span(age).1 < today, "age {age} on {today} of {snapshot:?}");
    }
}

fn width_of(width: Width) -> reference::Width {
    match width {
        Width::Day => reference::Width::Day,
        Width::Week => reference::Width::Week,
        Width::Month => reference::Width::Month,
        Width::Quarter => reference::Width::Quarter,
        Width::Year => reference::Width::Year,
    }
}
