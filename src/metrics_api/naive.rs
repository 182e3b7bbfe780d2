//! Random facts, answered a second time by the definitions alone: every cohort, age and segment
//! by its own scan over facts in words. Shares with the code under test only the calendar.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use crate::domain::cohort::{Anchor, Field};
use crate::domain::dimensions::{Dimension, Dimensions};
use crate::domain::time::{Day, Width};
use crate::engine::curves::{CohortCurves, CurvesConfig, ZonesKept};
use crate::engine::dictionary::{Dictionary, Mark};
use crate::engine::facts::{FactKey, FactKind, FactTable, Sums};
use crate::metrics_api::kept::Summed;
use crate::metrics_api::ltv::{self, LtvAnswer, LtvGroup};
use crate::metrics_api::question::{
    AgeBasis, Filter, LtvQuestion, Measure, Members, Per, RefundDating, RefundedPayers,
};
use crate::metrics_api::snapshot::{self, Snapshot, SnapshotAges, SnapshotKey};

/// Country, product and an attribute, each perhaps unknown.
type Words = (&'static str, &'static str, &'static str);

/// A fact in words.
#[derive(Debug, Clone)]
struct Raw {
    app: &'static str,
    zone: u8,
    kind: FactKind,
    day: i32,
    install: i32,
    first: i32,
    /// The payment before, or the one refunded.
    other: Option<i32>,
    index: u16,
    slips: [i8; 4],
    /// One, or for payers the set.
    tuples: Vec<Words>,
    /// Of payers: whether they have a refund with the first tuple.
    is_refunded: bool,
    count: i64,
    money: [i64; 3],
}

const NONE: i32 = i32::MIN;
/// 2024-12-19, so that years, quarters and weeks of both years appear.
const FIRST_DAY: i32 = 20_076;
const COUNTRIES: [&str; 3] = ["", "DE", "US"];
const PRODUCTS: [&str; 3] = ["", "pro", "lite"];
const VARIANTS: [&str; 3] = ["", "a", "b"];

fn any_day() -> impl Strategy<Value = i32> {
    (0..120).prop_map(|day| FIRST_DAY + day)
}

fn words() -> impl Strategy<Value = Words> {
    let one = prop::sample::select;
    (one(&COUNTRIES[..]), one(&PRODUCTS[..]), one(&VARIANTS[..]))
}

fn raw() -> impl Strategy<Value = Raw> {
    use FactKind::{Customer, Payer, Payment, Refund, Timeline, UnplacedRefund};
    let kinds = vec![
        Payment,
        Payment,
        Payment,
        Refund,
        Refund,
        UnplacedRefund,
        Payer,
        Payer,
        Customer,
        Customer,
        Timeline,
    ];
    let days = (any_day(), any_day(), any_day(), prop::option::of(any_day()));
    let slips = [-1..3i8, -1..3i8, -1..3i8, -1..3i8];
    // Mostly the first app and zone, so that facts meet.
    let app = prop::sample::select(vec!["acme", "acme", "acme", "other"]);
    let zone = prop::sample::select(vec![0u8, 0, 0, 1]);
    let sums = (1..4i64, [0..50i64, 0..50i64, 0..50i64], prop::bool::weighted(0.2));
    let rest = (1..5u16, slips, (vec(words(), 1..4), any::<bool>()), sums);
    (app, zone, prop::sample::select(kinds), days, rest).prop_map(
        |(app, zone, kind, (day, install, first, other), (index, slips, tuples, sums))| {
            let (count, money, less) = sums;
            let (tuples, is_refunded) = tuples;
            let raw = Raw {
                app,
                zone,
                kind,
                day,
                install,
                first,
                other,
                index,
                slips,
                tuples,
                is_refunded,
                count,
                money,
            };
            possible(raw, less)
        },
    )
}

/// Leaves the fact only what its kind has.
fn possible(mut raw: Raw, less: bool) -> Raw {
    match raw.kind {
        FactKind::Payer => {
            (raw.other, raw.index, raw.money) = (None, 0, [0; 3]);
            raw.count = if less { -raw.count } else { raw.count };
            return raw;
        }
        FactKind::Customer => {
            (raw.day, raw.first, raw.other) = (raw.install, NONE, None);
            (raw.index, raw.money) = (raw.index % 2, [0; 3]);
        }
        FactKind::UnplacedRefund | FactKind::Timeline => {
            (raw.install, raw.first, raw.other) = (NONE, NONE, None);
        }
        FactKind::Refund if raw.other.is_none() => {
            raw.index = 0;
            (raw.slips[2], raw.slips[3]) = (0, 0);
        }
        _ => (),
    }
    raw.tuples.truncate(1);
    raw
}

/// A shard holding facts, and curves fed with the same.
struct Shard {
    facts: FactTable,
    dictionary: Dictionary,
    curves: CohortCurves,
}

fn fields() -> Vec<Field> {
    ["country", "product_id", "attributes.ab"].iter().map(|name| name.parse().unwrap()).collect()
}

impl Shard {
    fn new() -> Self {
        let segments = BTreeMap::from([("acme".to_owned(), fields())]);
        Self {
            facts: FactTable::default(),
            dictionary: Dictionary::default(),
            curves: CohortCurves::new(CurvesConfig { zones: ZonesKept::All, segments }),
        }
    }

    fn of(raws: &[Raw]) -> Self {
        let mut shard = Self::new();
        shard.add(raws);
        shard
    }

    /// Adds more than there is and takes the rest away again, as corrections do.
    fn add(&mut self, raws: &[Raw]) {
        for raw in raws {
            self.add_sums(raw, 2);
        }
        for raw in raws.iter().rev() {
            self.add_sums(raw, -1);
        }
    }

    fn add_sums(&mut self, raw: &Raw, times: i64) {
        let tuples: Vec<u32> = raw.tuples.iter().map(|words| self.tuple(*words)).collect();
        let dims = if raw.kind == FactKind::Payer {
            let paid = tuples.iter().map(|tuple| Mark::paid(*tuple, 1));
            let refunded = tuples.first().filter(|_| raw.is_refunded);
            let marks = paid.chain(refunded.map(|tuple| Mark::refunded(*tuple)));
            marks.fold(0, |set, mark| self.dictionary.union(set, mark))
        } else {
            tuples[0]
        };
        let app = self.dictionary.app(raw.app);
        let mut key = FactKey::new(app, raw.zone, raw.kind, Day(raw.day), dims);
        (key.install_day, key.first_day) = (Day(raw.install), Day(raw.first));
        (key.other_day, key.index) = (raw.other.map_or(Day::MIN, Day), raw.index);
        [key.slip_install, key.slip_first, key.other_slip_install, key.other_slip_first] =
            raw.slips;
        let money = raw.money.map(|money| i128::from(money * times));
        let count = raw.count * times;
        let sums = Sums { count, gross: money[0], proceeds: money[1], net: money[2] };
        self.facts.add(key, sums);
        self.curves.add(&key, sums, &self.dictionary);
    }

    fn tuple(&mut self, (country, product, ab): Words) -> u32 {
        let mut dimensions = Dimensions::default();
        dimensions.set(Dimension::Country, Some(country.into()));
        dimensions.set(Dimension::ProductId, Some(product.into()));
        if !ab.is_empty() {
            dimensions.attributes.push(("ab".into(), ab.into()));
        }
        self.dictionary.tuple_of(&dimensions)
    }
}

fn question() -> impl Strategy<Value = LtvQuestion> {
    let pick = |values: &'static [&'static str]| prop::sample::subsequence(values, 1..3);
    let filter = prop_oneof![
        pick(&COUNTRIES).prop_map(|values| ("country", values)),
        pick(&PRODUCTS).prop_map(|values| ("product_id", values)),
        pick(&VARIANTS).prop_map(|values| ("attributes.ab", values)),
    ];
    let shape = (
        prop::sample::select(&Anchor::ALL[..]),
        prop::sample::select(&Width::ALL[..]),
        prop::sample::select(AgeBasis::ALL),
        prop::option::of(vec(1..60u32, 0..6)),
        prop::sample::select(Measure::ALL),
        prop::sample::select(RefundDating::ALL),
        prop::sample::select(Per::ALL),
    );
    let range = (prop::option::of(any_day()), prop::option::of(any_day()), any_day(), -3..30i32);
    let members = prop::sample::select(vec![Members::WholeCohorts, Members::BetweenDates]);
    let refunded_payers = prop::sample::select(vec![RefundedPayers::Stay, RefundedPayers::Leave]);
    let segment_by = prop::option::of(prop::sample::select(fields()));
    let rest = (0..2u8, members, segment_by, refunded_payers);
    let any_of = prop_oneof![3 => Just(Vec::new()), 1 => vec(vec(filter.clone(), 1..3), 1..3)];
    (shape, range, rest, vec(filter, 0..3), any_of).prop_map(
        |(shape, (from, to, until, later), rest, filters, any_of)| {
            let (zone, members, segment_by, refunded_payers) = rest;
            let (anchor, width, age, ages, measure, refunds, per) = shape;
            let filter = |(name, values): (&str, Vec<&str>)| Filter {
                field: name.parse().unwrap(),
                values: values.into_iter().map(str::to_owned).collect(),
            };
            let group = |group: Vec<_>| group.into_iter().map(filter).collect();
            LtvQuestion {
                app: "acme".into(),
                zone,
                anchor,
                width,
                age,
                ages,
                measure,
                from: from.map(Day),
                to: to.map(Day),
                members,
                filters: filters.into_iter().map(filter).collect(),
                any_of: any_of.into_iter().map(group).collect(),
                segment_by,
                per,
                refunded_payers,
                until: Day(until),
                today: Day(until + later),
                refunds,
            }
        },
    )
}

// ---- the second answer

fn word(field: &Field, words: Words) -> &'static str {
    match field {
        Field::Dimension(Dimension::Country) => words.0,
        Field::Dimension(_) => words.1,
        Field::Attribute(_) => words.2,
    }
}

fn kept(question: &LtvQuestion, raw: &Raw) -> bool {
    kept_of(question, raw, &raw.tuples)
}

/// Whether any of these tuples of a fact is kept.
fn kept_of(question: &LtvQuestion, raw: &Raw, tuples: &[Words]) -> bool {
    let install = raw.kind == FactKind::Customer;
    let blind = |filter: &Filter| install && filter.field == Field::Dimension(Dimension::ProductId);
    let any_of_is_blind = question.any_of.iter().flatten().any(blind);
    tuples.iter().any(|words| {
        let has = |filter: &Filter| filter.values.contains(word(&filter.field, *words));
        let one = question.any_of.iter().any(|group| group.iter().all(has));
        question.filters.iter().all(|filter| blind(filter) || has(filter))
            && (question.any_of.is_empty() || any_of_is_blind || one)
    })
}

/// How many buckets after that of `anchor` the one of `day` comes, by walking.
fn periods(width: Width, anchor: i32, day: i32) -> i64 {
    let (mut bucket, mut steps) = (width.start(Day(anchor)), 0);
    while bucket < width.start(Day(day)) {
        bucket = Day(width.end(bucket).0 + 1);
        steps += 1;
    }
    steps
}

fn age_of(question: &LtvQuestion, raw: &Raw) -> i64 {
    let purchase = question.refunds == RefundDating::AtPurchase && raw.kind == FactKind::Refund;
    let (day, other) = match raw.other {
        Some(other) if purchase => (other, 2),
        _ => (raw.day, 0),
    };
    let (anchor, slip) = match question.anchor {
        Anchor::Install => (raw.install, raw.slips[other]),
        Anchor::FirstPurchase => (raw.first, raw.slips[other + 1]),
    };
    let age = match question.age {
        AgeBasis::Days => i64::from(day - anchor),
        AgeBasis::ElapsedDays => i64::from(day - anchor) - i64::from(slip),
        AgeBasis::Periods => periods(question.width, anchor, day),
        AgeBasis::Payments => i64::from(raw.index.max(1)),
    };
    age.max(0)
}

/// Rows as text: cohort, heads, value to date and by age.
fn second_answer(question: &LtvQuestion, raws: &[Raw], ages: &[u32]) -> Vec<String> {
    let anchor_of = |raw: &Raw| match question.anchor {
        Anchor::Install => raw.install,
        Anchor::FirstPurchase => raw.first,
    };
    let until = question.until.0;
    let counted: Vec<&Raw> = raws
        .iter()
        .filter(|raw| raw.app == question.app && raw.zone == question.zone && raw.day <= until)
        .filter(|raw| anchor_of(raw) != NONE && anchor_of(raw) <= until)
        .filter(|raw| {
            let anchor = Day(anchor_of(raw));
            question.members == Members::WholeCohorts
                || question.from.is_none_or(|from| from <= anchor)
                    && question.to.is_none_or(|to| anchor <= to)
        })
        .filter(|raw| kept(question, raw))
        .collect();
    let starts: BTreeSet<Day> = counted
        .iter()
        .map(|raw| question.width.start(Day(anchor_of(raw))))
        .filter(|start| question.from.is_none_or(|from| question.width.start(from) <= *start))
        .filter(|start| question.to.is_none_or(|to| *start <= to))
        .collect();
    let rows = starts.into_iter().filter_map(|start| {
        let of_cohort = |raw: &&&Raw| question.width.start(Day(anchor_of(raw))) == start;
        let members: Vec<&Raw> = counted.iter().filter(of_cohort).copied().collect();
        second_row(question, start, &members, ages)
    });
    rows.collect()
}

fn second_row(question: &LtvQuestion, start: Day, raws: &[&Raw], ages: &[u32]) -> Option<String> {
    let count = |wanted: &dyn Fn(&Raw) -> bool| -> i64 {
        raws.iter().filter(|raw| wanted(raw)).map(|raw| raw.count).sum()
    };
    let all_payers = count(&|raw| raw.kind == FactKind::Payer);
    let leaves = |raw: &Raw| {
        question.refunded_payers == RefundedPayers::Leave
            && raw.is_refunded
            && kept_of(question, raw, &raw.tuples[..1])
    };
    let payers = count(&|raw| raw.kind == FactKind::Payer && !leaves(raw));
    let (customers, installs) = match question.anchor {
        Anchor::FirstPurchase => (all_payers, 0),
        Anchor::Install => (
            count(&|raw| raw.kind == FactKind::Customer),
            count(&|raw| raw.kind == FactKind::Customer && raw.index == 1),
        ),
    };
    let heads = match question.per {
        Per::Customer => customers,
        Per::Payer => payers,
        Per::Install => installs,
    };
    let measure = Measure::ALL.iter().position(|measure| *measure == question.measure).unwrap();
    let through = |age: i64| -> String {
        let sum = |kind: FactKind| {
            let of = raws.iter().filter(|raw| raw.kind == kind && age_of(question, raw) <= age);
            of.fold((0, 0), |sum, raw| (sum.0 + raw.count, sum.1 + raw.money[measure]))
        };
        format!("{:?}-{:?}/{heads}", sum(FactKind::Payment), sum(FactKind::Refund))
    };
    let to_date = through(i64::MAX);
    let empty = to_date.starts_with("(0, 0)-(0, 0)");
    if empty && (customers, payers, installs) == (0, 0, 0) {
        return None;
    }
    let points: Vec<String> = ages
        .iter()
        .map(|age| match second_state(question, start, *age) {
            None => "-".to_owned(),
            Some(complete) => format!("{}{complete:?}", through(i64::from(*age))),
        })
        .collect();
    Some(format!("{start} {customers} {payers} {installs} {to_date} {}", points.join(" ")))
}

/// `None` before the age begins; inside, whether it is complete, where that is defined.
fn second_state(question: &LtvQuestion, start: Day, age: u32) -> Option<Option<bool>> {
    let age = i32::try_from(age).unwrap();
    let mut opens = start.0 + age;
    let mut closes = question.width.end(start).0 + age;
    match question.age {
        AgeBasis::Payments => return Some(None),
        AgeBasis::Days => (),
        AgeBasis::ElapsedDays => closes += 1,
        AgeBasis::Periods => {
            let mut bucket = start;
            for _ in 0..age {
                bucket = Day(question.width.end(bucket).0 + 1);
            }
            (opens, closes) = (bucket.0, question.width.end(bucket).0);
        }
    }
    let over = closes < question.today.0 && closes <= question.until.0;
    (opens <= question.until.0.min(question.today.0)).then_some(Some(over))
}

fn rows(group: &LtvGroup) -> Vec<String> {
    let cohorts = group.cohorts.iter().map(|cohort| {
        let value = |value: &ltv::Value| {
            let (payments, refunds) = (value.flow.payments, value.flow.refunds);
            format!(
                "{:?}-{:?}/{}",
                (payments.count, payments.micros),
                (refunds.count, refunds.micros),
                value.heads
            )
        };
        let points = cohort.points.iter().map(|point| match point {
            None => "-".to_owned(),
            Some(point) => format!("{}{:?}", value(&point.value), point.complete),
        });
        let sizes = cohort.sizes;
        format!(
            "{} {} {} {} {} {}",
            cohort.start,
            sizes.customers,
            sizes.payers,
            sizes.installs.unwrap_or(0),
            value(&cohort.to_date),
            points.collect::<Vec<_>>().join(" ")
        )
    });
    cohorts.collect()
}

fn ask(shard: &Shard, question: &LtvQuestion) -> LtvAnswer {
    ltv::answer(question, ltv::partial(&shard.facts, &shard.dictionary, question))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_answer_is_what_its_definition_says(
        raws in vec(raw(), 0..40), question in question(),
    ) {
        let answer = ask(&Shard::of(&raws), &question);
        let overall = LtvQuestion { segment_by: None, ..question.clone() };
        prop_assert_eq!(rows(&answer.overall), second_answer(&overall, &raws, &answer.ages));
        let unplaced: i64 = raws
            .iter()
            .filter(|raw| raw.kind == FactKind::UnplacedRefund && raw.app == question.app)
            .filter(|raw| raw.zone == question.zone && raw.day <= question.until.0)
            .filter(|raw| kept(&question, raw))
            .map(|raw| raw.count)
            .sum();
        prop_assert_eq!(answer.unplaced_refunds.count, unplaced);
        let Some(field) = question.segment_by.clone() else { return Ok(()) };
        let answered: BTreeMap<String, LtvGroup> = answer.segments.into_iter().collect();
        for value in COUNTRIES.iter().chain(&PRODUCTS).chain(&VARIANTS) {
            let mut narrowed = overall.clone();
            let values = BTreeSet::from([(*value).to_owned()]);
            narrowed.filters.push(Filter { field: field.clone(), values });
            let expected = second_answer(&narrowed, &raws, &answer.ages);
            match answered.get(*value) {
                Some(group) => prop_assert_eq!(rows(group), expected, "{}", value),
                // A value without money and payers is no segment, whatever installs there are.
                None if !field.narrows_installs() => (),
                None => prop_assert!(expected.is_empty(), "{} is missing: {:?}", value, expected),
            }
        }
    }

    #[test]
    fn shards_together_answer_as_one(
        raws in vec((raw(), any::<bool>()), 0..40), question in question(),
    ) {
        let all: Vec<Raw> = raws.iter().map(|(raw, _)| raw.clone()).collect();
        let part = |side: bool| -> Vec<Raw> {
            let of = raws.iter().rev().filter(|(_, on)| *on == side);
            of.map(|(raw, _)| raw.clone()).collect()
        };
        let partials = [part(false), part(true)].map(|raws| {
            let shard = Shard::of(&raws);
            ltv::partial(&shard.facts, &shard.dictionary, &question)
        });
        let [left, right] = partials;
        prop_assert_eq!(ltv::answer(&question, left.merge(right)), ask(&Shard::of(&all), &question));
    }

    #[test]
    fn curves_answer_as_facts_do(raws in vec(raw(), 0..40), question in question()) {
        let question = LtvQuestion { filters: Vec::new(), any_of: Vec::new(), ..question };
        let shard = Shard::of(&raws);
        let by_calendar = matches!(question.age, AgeBasis::Days | AgeBasis::Periods);
        let stay = question.refunded_payers == RefundedPayers::Stay;
        let partial = ltv::partial_of_curves(&shard.curves, &shard.dictionary, &question);
        prop_assert_eq!(partial.is_some(), by_calendar && stay);
        if let Some(partial) = partial {
            prop_assert_eq!(ltv::answer(&question, partial), ask(&shard, &question));
        }
    }

    #[test]
    fn a_snapshot_that_changes_is_touched(
        before in vec(raw(), 0..30), elsewhere in vec(raw(), 0..30), after in vec(raw(), 1..6),
    ) {
        let until = Day(FIRST_DAY + 400);
        let mut shards = [Shard::of(&before), Shard::of(&elsewhere)];
        let mut keys = touched(&mut shards);
        let old = take(&shards, &keys, until);
        shards[0].add(&after);
        let again = touched(&mut shards);
        keys.extend(again.iter().cloned());
        for (key, now) in take(&shards, &keys, until) {
            let changed = old.get(&key) != Some(&now);
            prop_assert!(!changed || again.contains(&key), "{:?} changed untold", key);
        }
    }
}

// Every snapshot costs six questions, so fewer cases do.
proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_snapshot_says_what_the_question_about_its_cohort_says(
        raws in vec(raw(), 1..40), until in any_day(),
    ) {
        let mut shards = [Shard::of(&raws)];
        let keys = touched(&mut shards);
        let [shard] = &shards;
        for (key, snapshot) in take(&shards, &keys, Day(until)) {
            if key.app != "acme" {
                continue;
            }
            for measure in Measure::ALL {
                for age in [AgeBasis::Days, AgeBasis::Periods] {
                    let cohort = cohort_row(shard, &key, Day(until), (*measure, age));
                    prop_assert_eq!(snapshot_row(&snapshot, *measure, age), cohort, "{:?}", key);
                }
            }
        }
    }
}

fn touched(shards: &mut [Shard]) -> BTreeSet<SnapshotKey> {
    let widths = [Width::Day, Width::Week, Width::Month];
    let (mut keys, mut refilling) = (BTreeSet::new(), BTreeSet::new());
    for shard in &mut *shards {
        let changed = shard.curves.take_changed();
        let touched = snapshot::touched(&shard.curves, &shard.dictionary, &changed, &widths);
        keys.extend(touched.keys);
        refilling.extend(touched.refilling);
    }
    for shard in &*shards {
        let of = |whole| snapshot::refilled(&shard.curves, &shard.dictionary, whole);
        keys.extend(refilling.iter().flat_map(of));
    }
    keys
}

/// Neither list is that of questions that name no ages.
fn published_ages() -> SnapshotAges {
    SnapshotAges { days: vec![0, 2, 30, 400], periods: vec![0, 1, 5, 12, 24] }
}

fn take(
    shards: &[Shard],
    keys: &BTreeSet<SnapshotKey>,
    until: Day,
) -> BTreeMap<SnapshotKey, Snapshot> {
    let at = (&published_ages(), until);
    let keys: Vec<SnapshotKey> = keys.iter().cloned().collect();
    let mut merged = vec![snapshot::SnapshotPartial::default(); keys.len()];
    for shard in shards {
        let partials = snapshot::partials(&shard.curves, &shard.dictionary, &keys, at);
        for (sum, partial) in merged.iter_mut().zip(partials) {
            *sum = std::mem::take(sum).merge(partial);
        }
    }
    let snapshot = |(key, sum)| (SnapshotKey::clone(&key), snapshot::snapshot(key, at, &sum));
    keys.into_iter().zip(merged).map(snapshot).collect()
}

fn snapshot_row(snapshot: &Snapshot, measure: Measure, basis: AgeBasis) -> String {
    let heads = snapshot.heads;
    let ages = if basis == AgeBasis::Days { &snapshot.ages_days } else { &snapshot.ages_periods };
    let points = ages.iter().map(|point| {
        let (payments, refunds) = (&point.flows.payments, &point.flows.refunds);
        let money = (measure.of(payments), measure.of(refunds));
        format!("{} {} {} {money:?}{}", point.age, payments.count, refunds.count, point.complete)
    });
    let points: Vec<String> = points.collect();
    format!("{} {} {}", heads.customers, heads.payers, points.join(" "))
}

/// The same row from the question about the cohort, asked of the facts.
fn cohort_row(
    shard: &Shard,
    key: &SnapshotKey,
    until: Day,
    (measure, age): (Measure, AgeBasis),
) -> String {
    let filters = key.segment.iter().map(|segment| Filter {
        field: segment.field.clone(),
        values: BTreeSet::from([segment.value.clone()]),
    });
    let question = LtvQuestion {
        app: key.app.clone(),
        zone: 0,
        anchor: key.anchor,
        width: key.width,
        age,
        ages: Some(match age {
            AgeBasis::Days => published_ages().days,
            _ => published_ages().periods,
        }),
        measure,
        from: Some(key.cohort_start),
        to: Some(key.cohort_start),
        members: Members::WholeCohorts,
        filters: filters.collect(),
        any_of: Vec::new(),
        segment_by: None,
        per: Per::Customer,
        refunded_payers: RefundedPayers::Stay,
        until,
        today: until,
        refunds: RefundDating::AtRefund,
    };
    let answer = ask(shard, &question);
    let ordinal = key.width.ordinal(key.cohort_start);
    let begun = crate::metrics_api::ages::Aging {
        basis: age,
        width: key.width,
        seen: crate::metrics_api::ages::Seen::new(until, until),
    };
    let Some(cohort) = answer.overall.cohorts.first() else {
        let complete = |age: u32| begun.complete(ordinal, age) == Some(true);
        let ages = answer.ages.iter().filter(|age| begun.begun(ordinal, **age));
        let points: Vec<String> =
            ages.map(|age| format!("{age} 0 0 (0, 0){}", complete(*age))).collect();
        return format!("0 0 {}", points.join(" "));
    };
    let points = answer.ages.iter().zip(&cohort.points).filter_map(|(age, point)| {
        let point = (*point)?;
        let (payments, refunds) = (point.value.flow.payments, point.value.flow.refunds);
        let money = (payments.micros, refunds.micros);
        let complete = point.complete == Some(true);
        Some(format!("{age} {} {} {money:?}{complete}", payments.count, refunds.count))
    });
    let points: Vec<String> = points.collect();
    format!("{} {} {}", cohort.sizes.customers, cohort.sizes.payers, points.join(" "))
}
