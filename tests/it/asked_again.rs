//! A question asked again is answered from what was worked out before and what was added since: the
//! answer is that of all facts. So is what is worked out in steps, with events in between.

use ltvstream::domain::cohort::{Anchor, Field};
use ltvstream::domain::dimensions::Dimension;
use ltvstream::domain::time::Width;
use ltvstream::engine::shard::Shard;
use ltvstream::metrics_api::cohorts::{self, Cells, CohortQuestion};
use ltvstream::metrics_api::commerce::{self, CommerceQuestion};
use ltvstream::metrics_api::commerce_periods::{PeriodUnit, periods};
use ltvstream::metrics_api::ltv;
use ltvstream::metrics_api::ltv_table::table;
use ltvstream::metrics_api::mrr::{self, ChurnWindow, Interval, MrrQuestion};
use ltvstream::metrics_api::mrr_answer;
use ltvstream::metrics_api::question::{
    AgeBasis, Filter, LtvQuestion, Measure, Members, Per, RefundDating, RefundedPayers,
};
use ltvstream::metrics_api::revenue::{self, RevenueQuestion};
use ltvstream::state::LiveShard;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::law::{EVENTS_MAX, Run, seeds, shuffled};
use crate::reference::random::{self, Options};

/// Questions of two zones, with and without filters and refunded payments.
fn recurring_questions() -> [MrrQuestion; 3] {
    let day = |text: &str| text.parse().unwrap();
    let question = MrrQuestion {
        app: "world".to_owned(),
        zone: 0,
        interval: Interval::Week,
        from: day("2024-01-01"),
        to: day("2024-12-31"),
        today: day("2025-06-01"),
        plans: None,
        countries: None,
        without_refunded: false,
        minor_digits: 2,
        churn_window: ChurnWindow::TrailingSix,
    };
    let countries = Some(["DE", "US"].map(str::to_owned).into());
    let unrefunded = MrrQuestion { zone: 1, without_refunded: true, ..question.clone() };
    let narrowed = MrrQuestion { countries, interval: Interval::Month, ..question.clone() };
    [question, unrefunded, narrowed]
}

/// By country, of a country, and by payments with refunds told at the purchase.
fn ltv_questions() -> [LtvQuestion; 3] {
    let country = Field::Dimension(Dimension::Country);
    let until = "2025-06-01".parse().unwrap();
    let by_country = LtvQuestion {
        app: "world".to_owned(),
        zone: 0,
        anchor: Anchor::FirstPurchase,
        width: Width::Month,
        age: AgeBasis::Days,
        ages: None,
        measure: Measure::Net,
        from: None,
        to: None,
        members: Members::WholeCohorts,
        filters: Vec::new(),
        any_of: Vec::new(),
        segment_by: Some(country.clone()),
        per: Per::Customer,
        refunded_payers: RefundedPayers::Stay,
        until,
        today: until,
        refunds: RefundDating::AtRefund,
    };
    let filter = Filter { field: country, values: ["DE".to_owned()].into() };
    let of_country = LtvQuestion {
        anchor: Anchor::Install,
        filters: vec![filter],
        segment_by: None,
        ..by_country.clone()
    };
    let by_payments = LtvQuestion {
        age: AgeBasis::Payments,
        refunds: RefundDating::AtPurchase,
        ..by_country.clone()
    };
    [by_country, of_country, by_payments]
}

/// By country and month, with refunds told at the purchase; and all, by week.
fn revenue_questions() -> [RevenueQuestion; 2] {
    let until = "2025-06-01".parse().unwrap();
    let by_country = RevenueQuestion {
        app: "world".to_owned(),
        zone: 2,
        width: Width::Month,
        from: None,
        to: None,
        filters: Vec::new(),
        segment_by: Some(Field::Dimension(Dimension::Country)),
        until,
        today: until,
        refunds: RefundDating::AtPurchase,
    };
    let from = Some("2024-02-01".parse().unwrap());
    let all = RevenueQuestion {
        width: Width::Week,
        from,
        segment_by: None,
        refunds: RefundDating::AtRefund,
        ..by_country.clone()
    };
    [by_country, all]
}

/// Along payments and along days.
fn cohort_questions() -> [CohortQuestion; 2] {
    [Cells::Payments, Cells::Days(vec![0, 7, 31, 183])].map(|cells| CohortQuestion {
        app: "world".to_owned(),
        zone: 1,
        width: Width::Week,
        from: "2023-06-01".parse().unwrap(),
        to: "2024-12-31".parse().unwrap(),
        cells,
        filters: Vec::new(),
        any_of: Vec::new(),
        today: "2024-07-01".parse().unwrap(),
    })
}

/// Of every day, and of some months cut to their length.
fn commerce_questions() -> [CommerceQuestion; 2] {
    let last = "2024-10-30".parse().unwrap();
    [(PeriodUnit::Day, 500), (PeriodUnit::Month, 8)].map(|(unit, count)| CommerceQuestion {
        app: "world".to_owned(),
        zone: 1,
        periods: periods(last, unit, 1, count).unwrap(),
        until: "2025-06-01".parse().unwrap(),
    })
}

/// The answers to all questions: as the shard gives them, and as worked out from all its facts. And
/// how many rows they have.
fn answers(live: &LiveShard) -> (Vec<[String; 2]>, usize) {
    let Shard { facts, dictionary, .. } = &live.shard;
    let (mut answers, mut rows) = (Vec::new(), 0);
    for question in &recurring_questions() {
        let given = [live.mrr(question).unwrap(), mrr::partial(facts, dictionary, question)];
        answers.push(given.map(|partial| format!("{:?}", mrr_answer::answer(question, &partial))));
    }
    for question in &ltv_questions() {
        let given = [live.ltv(question).unwrap(), ltv::partial(facts, dictionary, question)];
        rows += given[0].cohorts.len();
        answers.push(given.clone().map(|partial| format!("{:?}", table(question, &partial))));
        answers.push(given.map(|partial| format!("{:?}", ltv::answer(question, partial))));
    }
    for question in &revenue_questions() {
        let given =
            [live.revenue(question).unwrap(), revenue::partial(facts, dictionary, question)];
        answers.push(given.map(|partial| format!("{:?}", revenue::answer(question, &partial))));
    }
    for question in &cohort_questions() {
        let given =
            [live.cohorts(question).unwrap(), cohorts::partial(facts, dictionary, question)];
        rows += given[0].counts.len();
        answers.push(given.map(|partial| format!("{:?}", cohorts::table(question, &partial))));
    }
    for question in &commerce_questions() {
        let given =
            [live.commerce(question).unwrap(), commerce::partial(facts, dictionary, question)];
        rows += given[0].periods.iter().filter(|sums| sums.orders > 0).count();
        answers.push(given.map(|partial| format!("{partial:?}")));
    }
    (answers, rows)
}

#[test]
fn a_question_asked_again_and_again_has_the_answer_of_one_asked_once() {
    let (mut rows_seen, mut changes_seen) = (0, 0);
    for seed in seeds().take(300) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let options = Options { conflicts: true, forgets: true };
        let events = random::events_of(seed, EVENTS_MAX, options);
        let mut run = Run::new(shuffled(&events, &mut rng));
        let (mut offset, mut before) = (0, Vec::new());
        while offset < run.log.len() {
            let next = run.log.len().min(offset + rng.random_range(1..=4));
            run.take(offset..next);
            offset = next;
            let (answers, rows) = answers(&run.live);
            for [given, expected] in &answers {
                assert!(given == expected, "LAW_SEED={seed} offset {offset}\n{given}\n{expected}");
            }
            rows_seen += rows;
            changes_seen += usize::from(answers != before);
            before = answers;
            if rng.random_ratio(1, 6) {
                run.commit();
            }
            if rng.random_ratio(1, 12) {
                offset = run.crash();
            }
        }
    }
    assert!(rows_seen > 10_000 && changes_seen > 1_000, "{rows_seen} rows, {changes_seen} changes");
}

/// A run of which questions are asked while it goes on.
struct Asked {
    run: Run,
    rng: ChaCha8Rng,
    offset: usize,
    /// Events taken between questions and their steps.
    between: usize,
}

impl Asked {
    /// Takes the next event, if there is one, every fourth time.
    fn take_some(&mut self) {
        if self.offset < self.run.log.len() && self.rng.random_ratio(1, 4) {
            self.run.take(self.offset..self.offset + 1);
            self.offset += 1;
            self.between += 1;
        }
    }

    /// What the shard says, step by step, with events taken in between.
    fn in_steps<P>(&mut self, ask: impl Fn(&LiveShard) -> Option<P>) -> P {
        self.run.live.set_step_pages_min(1);
        loop {
            if let Some(partial) = ask(&self.run.live) {
                return partial;
            }
            self.take_some();
        }
    }

    /// Asserts that the shard, in steps, says the same as all its facts at the end.
    fn check<P>(
        &mut self,
        name: &str,
        ask: impl Fn(&LiveShard) -> Option<P>,
        all: impl Fn(&Shard) -> P,
        shown: impl Fn(P) -> String,
    ) {
        let (given, expected) = (self.in_steps(ask), all(&self.run.live.shard));
        let (given, expected) = (shown(given), shown(expected));
        assert!(given == expected, "{name}, offset {}\n{given}\n{expected}", self.offset);
    }
}

#[test]
fn what_is_worked_out_while_events_are_applied_is_the_answer_of_all_of_them() {
    let mut between = 0;
    for seed in seeds().take(100) {
        println!("LAW_SEED={seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let options = Options { conflicts: true, forgets: true };
        let events = random::events_of(seed, EVENTS_MAX, options);
        let run = Run::new(shuffled(&events, &mut rng));
        let mut asked = Asked { run, rng, offset: 0, between: 0 };
        asked.offset = asked.run.log.len().min(8);
        asked.run.take(0..asked.offset);
        for question in &recurring_questions() {
            asked.check(
                "mrr",
                |live| live.mrr(question),
                |Shard { facts, dictionary, .. }| mrr::partial(facts, dictionary, question),
                |partial| format!("{:?}", mrr_answer::answer(question, &partial)),
            );
        }
        for question in &ltv_questions() {
            asked.check(
                "ltv",
                |live| live.ltv(question),
                |Shard { facts, dictionary, .. }| ltv::partial(facts, dictionary, question),
                |partial| format!("{:?}", ltv::answer(question, partial)),
            );
        }
        for question in &revenue_questions() {
            asked.check(
                "revenue",
                |live| live.revenue(question),
                |Shard { facts, dictionary, .. }| revenue::partial(facts, dictionary, question),
                |partial| format!("{:?}", revenue::answer(question, &partial)),
            );
        }
        for question in &cohort_questions() {
            asked.check(
                "cohorts",
                |live| live.cohorts(question),
                |Shard { facts, dictionary, .. }| cohorts::partial(facts, dictionary, question),
                |partial| format!("{:?}", cohorts::table(question, &partial)),
            );
        }
        for question in &commerce_questions() {
            asked.check(
                "commerce",
                |live| live.commerce(question),
                |Shard { facts, dictionary, .. }| commerce::partial(facts, dictionary, question),
                |partial| format!("{partial:?}"),
            );
        }
        between += asked.between;
    }
    assert!(between > 1_000, "{between} events");
}
