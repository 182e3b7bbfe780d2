//! How long questions take over a million facts: by curves, by one pass, filtered, segmented.
//!
//! The business: two years of installs, monthly subscriptions, 5 % refunds, 20 countries,
//! 8 products, 4 stores. The facts are made here, so that only the questions are measured.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};

use ltvstream::domain::cohort::{Anchor, Field};
use ltvstream::domain::dimensions::{Dimension, Dimensions};
use ltvstream::domain::money::Amounts;
use ltvstream::domain::time::{Day, Width};
use ltvstream::engine::curves::{CohortCurves, CurvesConfig, ZonesKept};
use ltvstream::engine::dictionary::{AppIx, Dictionary, Mark};
use ltvstream::engine::facts::{FactKey, FactKind, FactTable, Sums};
use ltvstream::engine::timelines::{Element, Terms, Timeline};
use ltvstream::metrics_api::cohorts::{self, Cells, CohortQuestion};
use ltvstream::metrics_api::commerce::{self, CommerceQuestion};
use ltvstream::metrics_api::commerce_periods::{PeriodUnit, periods};
use ltvstream::metrics_api::ltv;
use ltvstream::metrics_api::ltv_table;
use ltvstream::metrics_api::mrr::{self, ChurnWindow, Interval, MrrQuestion};
use ltvstream::metrics_api::mrr_answer;
use ltvstream::metrics_api::question::{
    AgeBasis, Filter, LtvQuestion, Measure, Members, Per, RefundDating, RefundedPayers,
};
use ltvstream::metrics_api::revenue::{self, RevenueQuestion};
use ltvstream::metrics_api::snapshot;

const FACTS: usize = 1_000_000;
const FIRST_DAY: i32 = 19_000;
const DAYS: i32 = 730;

/// A linear congruential generator: the same facts every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }

    fn day(&mut self, limit: i32) -> i32 {
        self.below(limit.unsigned_abs().into()).try_into().unwrap_or(0)
    }
}

struct Shard {
    facts: FactTable,
    dictionary: Dictionary,
    curves: CohortCurves,
}

impl Shard {
    fn new() -> Self {
        let country = Field::Dimension(Dimension::Country);
        let segments = BTreeMap::from([("acme".to_owned(), vec![country])]);
        let mut shard = Self {
            facts: FactTable::default(),
            dictionary: Dictionary::default(),
            curves: CohortCurves::new(CurvesConfig { zones: ZonesKept::First, segments }),
        };
        shard.dictionary.app("acme");
        let mut random = Random(7);
        while shard.facts.len() < FACTS {
            shard.add_customer(&mut random);
        }
        shard.curves.take_changed();
        shard
    }

    fn add_customer(&mut self, random: &mut Random) {
        let mut dimensions = Dimensions::default();
        let values = [
            (Dimension::Country, random.below(20)),
            (Dimension::ProductId, random.below(8)),
            (Dimension::Store, random.below(4)),
        ];
        for (dimension, value) in values {
            dimensions.set(dimension, Some(format!("{}-{value}", dimension.name()).into()));
        }
        let dims = self.dictionary.tuple_of(&dimensions);
        let install = FIRST_DAY + random.day(DAYS);
        let app = self.dictionary.app("acme");
        let mut key = FactKey::new(app, 0, FactKind::Customer, Day(install), dims);
        (key.install_day, key.index) = (Day(install), 1);
        self.add(key, Sums::count(1));
        if random.below(4) == 0 {
            return;
        }
        let first = install + random.day(30);
        key.first_day = Day(first);
        let signature = self.dictionary.union(0, Mark::paid(dims, 1));
        let payer = FactKey { kind: FactKind::Payer, day: Day(first), dims: signature, ..key };
        self.add(FactKey { index: 0, ..payer }, Sums::count(1));
        let starter = FactKey { kind: FactKind::Starter, index: 0, first_day: Day::MIN, ..payer };
        self.add(starter, Sums::count(1));
        let sums = Sums::one(Amounts { gross: 9_990_000, proceeds: 6_993_000, net: 6_000_000 });
        let mut before = Day::MIN;
        let mut timeline = Timeline::default();
        for index in 1.. {
            let day = Day(first + 30 * i32::from(index - 1u16) + random.day(3));
            if day.0 > FIRST_DAY + DAYS || random.below(8) == 0 {
                self.add_timeline(app, timeline);
                return;
            }
            timeline = self.renewed(timeline, day, dims);
            let payment = FactKey { kind: FactKind::Payment, day, index, other_day: before, ..key };
            self.add(payment, sums);
            if random.below(20) == 0 {
                let (kind, refunded) = (FactKind::Refund, Day(day.0 + 5));
                self.add(FactKey { kind, day: refunded, index, other_day: day, ..key }, sums);
            }
            before = day;
        }
    }

    /// A timeline after a payment for 31 days, of which one in twenty costs more or less.
    fn renewed(&mut self, timeline: Timeline, day: Day, tuple: u32) -> Timeline {
        let gross = if day.0 % 20 == 0 { 19_990_000 } else { 9_990_000 };
        let amounts = Amounts { gross, proceeds: gross, net: gross };
        let timelines = &mut self.dictionary.timelines;
        let period = "P1M".parse().expect("a period");
        let terms = timelines.terms_id(Terms::Paid { amounts, period });
        let element = Element::one(tuple, terms);
        timelines.rewrite(timeline, (day, None), std::iter::once((Day(day.0 + 31), element)))
    }

    fn add_timeline(&mut self, app: AppIx, timeline: Timeline) {
        if timeline.path != 0 {
            let kind = FactKind::Timeline;
            let key = FactKey::new(app, 0, kind, timeline.lapse, timeline.path);
            self.add(key, Sums::count(1));
        }
    }

    fn add(&mut self, key: FactKey, sums: Sums) {
        self.facts.add(key, sums);
        self.curves.add(&key, sums, &self.dictionary);
    }
}

fn question() -> LtvQuestion {
    LtvQuestion {
        app: "acme".into(),
        zone: 0,
        anchor: Anchor::FirstPurchase,
        width: Width::Month,
        age: AgeBasis::Days,
        ages: None,
        measure: Measure::Gross,
        from: None,
        to: None,
        members: Members::WholeCohorts,
        filters: Vec::new(),
        any_of: Vec::new(),
        segment_by: None,
        per: Per::Customer,
        refunded_payers: RefundedPayers::Stay,
        until: Day(FIRST_DAY + DAYS),
        today: Day(FIRST_DAY + DAYS),
        refunds: RefundDating::AtRefund,
    }
}

fn filtered() -> LtvQuestion {
    let filter = |dimension: Dimension, values: &[u64]| Filter {
        field: Field::Dimension(dimension),
        values: values.iter().map(|value| format!("{}-{value}", dimension.name())).collect(),
    };
    let filters = vec![
        filter(Dimension::Country, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        filter(Dimension::Store, &[0, 1]),
    ];
    LtvQuestion { filters, ..question() }
}

fn segmented() -> LtvQuestion {
    LtvQuestion { segment_by: Some(Field::Dimension(Dimension::Country)), ..question() }
}

fn questions(criterion: &mut Criterion) {
    let shard = Shard::new();
    let Shard { facts, dictionary, curves } = &shard;
    println!(
        "{} facts ({} MiB), {} cohorts in curves ({} MiB), {} tuples, {} paths of timelines",
        facts.len(),
        facts.memory_bytes() >> 20,
        curves.len(),
        curves.memory_bytes() >> 20,
        dictionary.tuple_count(),
        dictionary.timelines.path_count()
    );
    let mut group = criterion.benchmark_group("million_facts");
    group.sample_size(30);
    for (name, asked) in
        [("default", question()), ("filtered", filtered()), ("segmented", segmented())]
    {
        group.bench_function(format!("ltv_{name}_facts"), |bencher| {
            bencher.iter(|| {
                let partial = ltv::partial(facts, dictionary, black_box(&asked));
                ltv::answer(&asked, partial)
            });
        });
        if asked.filters.is_empty() {
            group.bench_function(format!("ltv_{name}_curves"), |bencher| {
                bencher.iter(|| {
                    ltv::partial_of_curves(curves, dictionary, black_box(&asked))
                        .map(|partial| ltv::answer(&asked, partial))
                });
            });
        }
    }
    let asked = revenue_question();
    group.bench_function("revenue_facts", |bencher| {
        bencher.iter(|| {
            let partial = revenue::partial(facts, dictionary, black_box(&asked));
            revenue::answer(&asked, &partial)
        });
    });
    for (name, asked) in [("mrr_months", mrr_months()), ("mrr_filtered_days", mrr_filtered_days())]
    {
        group.bench_function(format!("{name}_facts"), |bencher| {
            bencher.iter(|| {
                let partial = mrr::partial(facts, dictionary, black_box(&asked));
                mrr_answer::answer(&asked, &partial)
            });
        });
    }
    let last = Day(FIRST_DAY + DAYS);
    let periods = periods(last, PeriodUnit::Month, 1, 24).unwrap_or_default();
    let asked = CommerceQuestion { app: "acme".into(), zone: 0, periods, until: last };
    group.bench_function("commerce_24_months_facts", |bencher| {
        bencher.iter(|| commerce::partial(facts, dictionary, black_box(&asked)));
    });
    for (name, asked) in [("cohorts_renewals", cohorts(false)), ("cohorts_days", cohorts(true))] {
        group.bench_function(format!("{name}_facts"), |bencher| {
            bencher.iter(|| {
                let partial = cohorts::partial(facts, dictionary, black_box(&asked));
                cohorts::table(&asked, &partial)
            });
        });
        let asked = LtvQuestion { per: Per::Payer, ..asked.money() };
        group.bench_function(format!("ltv_{name}_facts"), |bencher| {
            bencher.iter(|| {
                let partial = ltv::partial(facts, dictionary, black_box(&asked));
                ltv_table::table(&asked, &partial)
            });
        });
    }
    // Every cohort of every width that is usually published.
    let keys: BTreeSet<snapshot::SnapshotKey> = [Width::Day, Width::Week, Width::Month]
        .into_iter()
        .flat_map(|width| (0..DAYS).map(move |day| (width, width.start(Day(FIRST_DAY + day)))))
        .map(|(width, cohort_start)| snapshot::SnapshotKey {
            app: "acme".into(),
            anchor: Anchor::FirstPurchase,
            segment: None,
            width,
            cohort_start,
        })
        .collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let until = Day(FIRST_DAY + DAYS);
    let ages = snapshot::SnapshotAges {
        days: vec![0, 1, 3, 7, 14, 30, 60, 90, 180, 365, 730],
        periods: (0..=24).collect(),
    };
    group.bench_function("snapshots_all", |bencher| {
        bencher.iter(|| snapshot::partials(curves, dictionary, black_box(&keys), (&ages, until)));
    });
    group.finish();
}

/// Monthly install cohorts, by payments or by days, filtered.
fn cohorts(by_days: bool) -> CohortQuestion {
    let days = vec![0, 3, 7, 14, 28, 31, 61, 92, 183, 336, 550, 731];
    CohortQuestion {
        app: "acme".into(),
        zone: 0,
        width: Width::Month,
        from: Day(FIRST_DAY),
        to: Day(FIRST_DAY + DAYS),
        cells: if by_days { Cells::Days(days) } else { Cells::Payments },
        filters: filtered().filters,
        any_of: Vec::new(),
        today: Day(FIRST_DAY + DAYS),
    }
}

fn revenue_question() -> RevenueQuestion {
    RevenueQuestion {
        app: "acme".into(),
        zone: 0,
        width: Width::Month,
        from: None,
        to: None,
        filters: vec![Filter {
            field: Field::Dimension(Dimension::Store),
            values: BTreeSet::from(["store-1".to_owned()]),
        }],
        segment_by: None,
        until: Day(FIRST_DAY + DAYS),
        today: Day(FIRST_DAY + DAYS),
        refunds: RefundDating::AtRefund,
    }
}

fn mrr_months() -> MrrQuestion {
    MrrQuestion {
        app: "acme".into(),
        zone: 0,
        interval: Interval::Month,
        from: Day(FIRST_DAY),
        to: Day(FIRST_DAY + DAYS),
        today: Day(FIRST_DAY + DAYS),
        plans: None,
        countries: None,
        without_refunded: false,
        minor_digits: 2,
        churn_window: ChurnWindow::TrailingSix,
    }
}

fn mrr_filtered_days() -> MrrQuestion {
    MrrQuestion {
        interval: Interval::Day,
        plans: Some(BTreeSet::from(["product_id-1".to_owned(), "product_id-2".to_owned()])),
        ..mrr_months()
    }
}

fn updates(criterion: &mut Criterion) {
    let mut shard = Shard::new();
    let keys: Vec<FactKey> =
        shard.facts.iter().step_by(97).map(|fact| fact.key).take(10_000).collect();
    criterion.bench_function("curves_add_10k_facts", |bencher| {
        bencher.iter(|| {
            for key in &keys {
                shard.curves.add(key, Sums::count(1), &shard.dictionary);
            }
            shard.curves.take_changed()
        });
    });
}

criterion_group!(benches, questions, updates);
criterion_main!(benches);
