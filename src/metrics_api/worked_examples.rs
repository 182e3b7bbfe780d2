//! Answers worked out by hand: published examples, daylight saving, refunds, ranges.

use std::collections::BTreeSet;

use crate::domain::cohort::Anchor;
use crate::domain::dimensions::{Dimension, Dimensions};
use crate::domain::money::Amounts;
use crate::domain::time::{Day, Width};
use crate::engine::dictionary::{AppIx, Dictionary, Mark};
use crate::engine::facts::{FactKey, FactKind, FactTable, Sums};
use crate::metrics_api::ltv::{LtvAnswer, LtvCohort, LtvGroup, answer, partial};
use crate::metrics_api::question::{
    AgeBasis, Filter, InvalidQuestion, LtvQuestion, Measure, Members, Per, RefundDating,
    RefundedPayers,
};
use crate::metrics_api::revenue::{self, RevenueQuestion};

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

/// A customer's facts, written by hand.
struct Customer {
    install: Day,
    first: Day,
    dims: u32,
}

#[derive(Default)]
struct Shard {
    facts: FactTable,
    dictionary: Dictionary,
}

impl Shard {
    fn new() -> Self {
        let mut shard = Self::default();
        shard.dictionary.app("acme");
        shard
    }

    fn dims(&mut self, country: &str) -> u32 {
        let mut dimensions = Dimensions::default();
        dimensions.set(Dimension::Country, Some(country.to_owned().into()));
        self.dictionary.tuple_of(&dimensions)
    }

    fn customer(&mut self, country: &str, install: &str, first: Option<&str>) -> Customer {
        let dims = self.dims(country);
        let customer = Customer { install: day(install), first: first.map_or(Day::MIN, day), dims };
        let mut key = FactKey::new(AppIx(0), 0, FactKind::Customer, customer.install, dims);
        (key.install_day, key.index) = (customer.install, 1);
        self.facts.add(key, Sums::count(1));
        if first.is_some() {
            let signature = self.dictionary.union(0, Mark::paid(dims, 1));
            let mut key = FactKey::new(AppIx(0), 0, FactKind::Payer, customer.first, signature);
            (key.install_day, key.first_day) = (customer.install, customer.first);
            self.facts.add(key, Sums::count(1));
        }
        customer
    }

    fn pay(&mut self, of: &Customer, index: u16, on: &str, before: Option<&str>, units: i64) {
        let key = self.key(of, FactKind::Payment, on);
        let other_day = before.map_or(Day::MIN, day);
        self.facts.add(FactKey { index, other_day, ..key }, money(units));
    }

    fn refund(&mut self, of: &Customer, index: u16, on: &str, paid_on: &str, units: i64) {
        let key = self.key(of, FactKind::Refund, on);
        self.facts.add(FactKey { index, other_day: day(paid_on), ..key }, money(units));
    }

    /// Who paid on `first` with this tuple is known from the day `on` on as somebody with a refund.
    fn mark_refunded(&mut self, of: &Customer, on: &str) {
        let paid = self.dictionary.union(0, Mark::paid(of.dims, 1));
        let refunded = self.dictionary.union(paid, Mark::refunded(of.dims));
        for (signature, count) in [(paid, -1), (refunded, 1)] {
            let mut key = self.key(of, FactKind::Payer, on);
            key.dims = signature;
            self.facts.add(key, Sums::count(count));
        }
    }

    fn key(&self, of: &Customer, kind: FactKind, on: &str) -> FactKey {
        let mut key = FactKey::new(AppIx(0), 0, kind, day(on), of.dims);
        (key.install_day, key.first_day) = (of.install, of.first);
        key
    }

    fn ask(&self, question: &LtvQuestion) -> LtvAnswer {
        assert_eq!(question.check(), Ok(()));
        answer(question, partial(&self.facts, &self.dictionary, question))
    }
}

/// Commission 30 %, no tax.
fn money(units: i64) -> Sums {
    Sums::one(Amounts { gross: units * 1_000_000, proceeds: units * 700_000, net: units * 700_000 })
}

fn question(today: &str) -> LtvQuestion {
    LtvQuestion {
        app: "acme".into(),
        zone: 0,
        anchor: Anchor::FirstPurchase,
        width: Width::Month,
        age: AgeBasis::Periods,
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
        until: day(today),
        today: day(today),
        refunds: RefundDating::AtRefund,
    }
}

/// Per-head values of a cohort: with `~` while incomplete, `-` before it begins.
fn curve(cohort: &LtvCohort) -> String {
    let points = cohort.points.iter().map(|point| match point {
        None => "-".to_owned(),
        Some(point) => {
            let value = point.value.per_head().units(2).unwrap_or_else(|| "none".into());
            if point.complete == Some(false) { format!("{value}~") } else { value }
        }
    });
    points.collect::<Vec<_>>().join(" ")
}

fn curves(answer: &LtvAnswer) -> Vec<String> {
    let cohorts = &answer.overall.cohorts;
    cohorts
        .iter()
        .map(|cohort| format!("{} {} {}", cohort.start, cohort.sizes.customers, curve(cohort)))
        .collect()
}

/// The example of Zenovay's path: three customers, one refund, asked on 2026-03-16.
fn zenovay() -> Shard {
    let mut shard = Shard::new();
    let a = shard.customer("", "2026-01-05", Some("2026-01-05"));
    shard.pay(&a, 1, "2026-01-05", None, 10);
    shard.pay(&a, 2, "2026-02-05", Some("2026-01-05"), 10);
    shard.pay(&a, 3, "2026-03-05", Some("2026-02-05"), 10);
    let b = shard.customer("", "2026-01-20", Some("2026-01-20"));
    shard.pay(&b, 1, "2026-01-20", None, 30);
    shard.refund(&b, 1, "2026-02-02", "2026-01-20", 5);
    let c = shard.customer("", "2026-02-28", Some("2026-02-28"));
    shard.pay(&c, 1, "2026-02-28", None, 7);
    shard.pay(&c, 2, "2026-03-01", Some("2026-02-28"), 7);
    shard
}

#[test]
fn monthly_cohorts_of_the_zenovay_example() {
    let answer = zenovay().ask(&question("2026-03-16"));
    assert_eq!(answer.ages, [0, 1, 2]);
    assert_eq!(curves(&answer), ["2026-01-01 2 20.00 22.50 27.50~", "2026-02-01 1 7.00 14.00~ -"]);
    // (2 × 20 + 7) / 3; then January alone, the only one to have completed February's age.
    let total = answer.overall.total.unwrap();
    assert_eq!(curve(&total), "15.67 22.50~ -");
    assert_eq!(total.points[1].map(|point| point.cohorts), Some(1));
    assert_eq!(total.to_date.per_head().units(2).as_deref(), Some("23.00"));
}

#[test]
fn a_refund_may_count_when_its_payment_did() {
    let mut asked = question("2026-03-16");
    asked.refunds = RefundDating::AtPurchase;
    let shard = zenovay();
    assert_eq!(curves(&shard.ask(&asked))[0], "2026-01-01 2 17.50 22.50 27.50~");
    // Before the refund has happened it lowers nothing.
    (asked.until, asked.ages) = (day("2026-02-01"), Some(vec![0]));
    assert_eq!(curves(&shard.ask(&asked)), ["2026-01-01 2 20.00"]);
}

#[test]
fn payments_are_an_age_of_their_own() {
    let mut asked = question("2026-03-16");
    asked.age = AgeBasis::Payments;
    let answer = zenovay().ask(&asked);
    assert_eq!(answer.ages, [1, 2, 3]);
    assert_eq!(
        curves(&answer),
        ["2026-01-01 2 17.50 22.50 27.50", "2026-02-01 1 7.00 14.00 14.00"]
    );
    assert_eq!(curve(&answer.overall.total.unwrap()), "14.00 19.67 23.00");
}

#[test]
fn cohorts_are_listed_whole_from_the_bucket_of_from_to_the_day_to() {
    let mut asked = question("2026-03-16");
    let starts = |asked: &LtvQuestion| -> Vec<String> {
        let answer = zenovay().ask(asked);
        answer.overall.cohorts.iter().map(|cohort| cohort.start.to_string()).collect()
    };
    asked.from = Some(day("2026-01-31"));
    assert_eq!(starts(&asked), ["2026-01-01", "2026-02-01"]);
    asked.to = Some(day("2026-01-31"));
    assert_eq!(starts(&asked), ["2026-01-01"]);
    (asked.from, asked.to) = (Some(day("2026-02-28")), Some(day("2026-02-01")));
    assert!(matches!(asked.check(), Err(InvalidQuestion::EmptyRange(_, _))));
}

/// The worked example of Adapty's paths, as far as money and heads go.
fn adapty() -> Shard {
    let mut shard = Shard::new();
    let u1 = shard.customer("US", "2025-01-03", Some("2025-01-10"));
    shard.pay(&u1, 1, "2025-01-10", None, 10);
    shard.pay(&u1, 2, "2025-02-10", Some("2025-01-10"), 10);
    shard.refund(&u1, 2, "2025-02-20", "2025-02-10", 10);
    shard.mark_refunded(&u1, "2025-02-20");
    let u2 = shard.customer("GB", "2025-01-20", Some("2025-01-21"));
    shard.pay(&u2, 1, "2025-01-21", None, 10);
    shard.pay(&u2, 2, "2025-02-21", Some("2025-01-21"), 10);
    shard.customer("US", "2025-01-25", None);
    let u4 = shard.customer("US", "2025-02-05", Some("2025-02-05"));
    shard.pay(&u4, 1, "2025-02-05", None, 60);
    shard
}

fn adapty_question() -> LtvQuestion {
    let mut asked = question("2025-05-31");
    (asked.anchor, asked.per, asked.age) = (Anchor::Install, Per::Payer, AgeBasis::Days);
    asked.ages = Some(vec![0, 7, 31, 61]);
    asked
}

#[test]
fn install_cohorts_of_the_adapty_example() {
    let mut asked = adapty_question();
    let shard = adapty();
    let answer = shard.ask(&asked);
    assert_eq!(curve(&answer.overall.cohorts[0]), "0.00 10.00 10.00 15.00");
    assert_eq!(curve(&answer.overall.cohorts[1]), "60.00 60.00 60.00 60.00");
    let total = answer.overall.total.unwrap();
    assert_eq!(curve(&total), "20.00 26.67 26.67 30.00");
    assert_eq!((total.sizes.customers, total.sizes.payers, total.sizes.installs), (4, 3, Some(4)));
    asked.measure = Measure::Proceeds;
    let answer = shard.ask(&asked);
    let to_date = |cohort: &LtvCohort| cohort.to_date.per_head().units(2);
    let values: Vec<_> = answer.overall.cohorts.iter().map(to_date).collect();
    assert_eq!(values, [Some("10.50".to_owned()), Some("42.00".to_owned())]);
    assert_eq!(to_date(&answer.overall.total.unwrap()).as_deref(), Some("21.00"));
    // ARPU of the cohort path: 30 of three installs, 90 of four.
    (asked.measure, asked.per) = (Measure::Gross, Per::Install);
    let answer = shard.ask(&asked);
    assert_eq!(to_date(&answer.overall.cohorts[0]).as_deref(), Some("10.00"));
    assert_eq!(to_date(&answer.overall.total.unwrap()).as_deref(), Some("22.50"));
}

#[test]
fn a_refunded_payer_stays_or_leaves_what_is_divided_by() {
    let shard = adapty();
    let ask = |refunded_payers: RefundedPayers, until: &str, segment_by: Option<&str>| {
        let mut asked = LtvQuestion { refunded_payers, ..adapty_question() };
        asked.until = day(until);
        asked.segment_by = segment_by.map(|field| field.parse().unwrap());
        let answer = shard.ask(&asked);
        let mut groups = vec![("all".to_owned(), answer.overall)];
        groups.extend(answer.segments);
        let row = |(name, group): (String, LtvGroup)| {
            let each = group.cohorts.iter().chain(&group.total).map(|cohort| {
                let value = cohort.to_date.per_head().units(2).unwrap_or_else(|| "none".into());
                format!("{value}/{}", cohort.sizes.payers)
            });
            format!("{name} {}", each.collect::<Vec<_>>().join(" "))
        };
        groups.into_iter().map(row).collect::<Vec<_>>()
    };
    use RefundedPayers::{Leave, Stay};
    // January's cohort, February's, both: 10 + 10 - 10 of u1 and 10 + 10 of u2, by two heads or
    // by u2 alone; 60 of u4; 90 by three heads or by two.
    assert_eq!(ask(Stay, "2025-05-31", None), ["all 15.00/2 60.00/1 30.00/3"]);
    assert_eq!(ask(Leave, "2025-05-31", None), ["all 30.00/1 60.00/1 45.00/2"]);
    // On the day before the refund nobody has left: 20 of u1 and 10 of u2, by two heads.
    for side in [Stay, Leave] {
        assert_eq!(ask(side, "2025-02-19", None), ["all 15.00/2 60.00/1 30.00/3"], "{side:?}");
    }
    // u1, who is from the US, leaves there: nobody is left of January, and u4 of both.
    assert_eq!(
        ask(Stay, "2025-05-31", Some("country")),
        ["all 15.00/2 60.00/1 30.00/3", "GB 20.00/1 20.00/1", "US 10.00/1 60.00/1 35.00/2"]
    );
    assert_eq!(
        ask(Leave, "2025-05-31", Some("country")),
        ["all 30.00/1 60.00/1 45.00/2", "GB 20.00/1 20.00/1", "US none/0 60.00/1 70.00/1"]
    );
}

#[test]
fn a_country_narrows_installs_and_a_product_does_not() {
    let mut asked = adapty_question();
    let filter = |field: &str, value: &str| Filter {
        field: field.parse().unwrap(),
        values: BTreeSet::from([value.to_owned()]),
    };
    let shard = adapty();
    asked.filters = vec![filter("country", "GB")];
    let gb = shard.ask(&asked).overall.total.unwrap();
    assert_eq!((gb.sizes.customers, gb.sizes.payers), (1, 1));
    assert_eq!(gb.to_date.per_head().units(2).as_deref(), Some("20.00"));
    asked.filters = vec![filter("product_id", "pro")];
    let answer = shard.ask(&asked);
    let pro = answer.overall.total.unwrap();
    assert_eq!((pro.sizes.customers, pro.sizes.payers), (4, 0));
    assert_eq!(pro.to_date.per_head().units(2), None);
    assert_eq!(answer.notes.len(), 1);
    // The empty text asks for the unknown value, which is all there is.
    asked.filters = vec![filter("product_id", ""), filter("attributes.ab", "")];
    assert_eq!(shard.ask(&asked).overall.total.unwrap().sizes.payers, 3);
}

#[test]
fn elapsed_ages_follow_the_clock_through_daylight_saving() {
    // First payment 2025-03-29 23:30 in Berlin. The payment of 2025-03-31 00:00 is two calendar
    // days later but only 23.5 hours: the night was short by an hour. Slip 2.
    let mut shard = Shard::new();
    let customer = shard.customer("", "2025-03-29", Some("2025-03-29"));
    shard.pay(&customer, 1, "2025-03-29", None, 1);
    let mut key = shard.key(&customer, FactKind::Payment, "2025-03-31");
    (key.index, key.other_day, key.slip_first) = (2, customer.first, 2);
    shard.facts.add(key, money(10));
    // Its refund on 2025-04-01 at noon is 2 whole days after the first payment, 3 by calendar.
    let mut key = shard.key(&customer, FactKind::Refund, "2025-04-01");
    (key.index, key.other_day) = (2, day("2025-03-31"));
    (key.slip_first, key.other_slip_first) = (1, 2);
    shard.facts.add(key, money(4));
    let mut asked = question("2025-05-31");
    (asked.width, asked.ages) = (Width::Day, Some(vec![0, 1, 2, 3]));
    asked.age = AgeBasis::Days;
    assert_eq!(curves(&shard.ask(&asked)), ["2025-03-29 1 1.00 1.00 11.00 7.00"]);
    asked.age = AgeBasis::ElapsedDays;
    assert_eq!(curves(&shard.ask(&asked)), ["2025-03-29 1 11.00 11.00 7.00 7.00"]);
    asked.refunds = RefundDating::AtPurchase;
    assert_eq!(curves(&shard.ask(&asked)), ["2025-03-29 1 7.00 7.00 7.00 7.00"]);
}

#[test]
fn revenue_of_the_adapty_example_by_month() {
    let shard = adapty();
    let mut asked = RevenueQuestion {
        app: "acme".into(),
        zone: 0,
        width: Width::Month,
        from: Some(day("2025-01-01")),
        to: Some(day("2025-02-28")),
        filters: Vec::new(),
        segment_by: None,
        until: day("2025-02-28"),
        today: day("2025-03-15"),
        refunds: RefundDating::AtRefund,
    };
    assert_eq!(asked.check(), Ok(()));
    let ask = |asked: &RevenueQuestion| {
        let partial = revenue::partial(&shard.facts, &shard.dictionary, asked);
        revenue::answer(asked, &partial)
    };
    let answer = ask(&asked);
    let gross: Vec<i128> =
        answer.overall.buckets.iter().map(|bucket| bucket.sums.revenue().gross).collect();
    assert_eq!(gross, [20_000_000, 70_000_000]);
    let payers: Vec<Option<i64>> =
        answer.overall.buckets.iter().map(|bucket| bucket.payers).collect();
    assert_eq!(payers, [Some(2), Some(3)]);
    let total = answer.overall.total.unwrap();
    assert_eq!((total.payers, total.complete), (Some(3), true));
    assert_eq!((total.sums.refunds.count, total.sums.revenue().proceeds), (1, 63_000_000));
    asked.segment_by = "country".parse().ok();
    let answer = ask(&asked);
    let by_country: Vec<(&str, i128)> = answer
        .segments
        .iter()
        .map(|(value, group)| (value.as_str(), group.total.unwrap().sums.revenue().gross))
        .collect();
    assert_eq!(by_country, [("GB", 20_000_000), ("US", 70_000_000)]);
    assert_eq!(answer.segments[0].1.total.unwrap().payers, None);
}

#[test]
fn questions_without_an_answer_are_refused() {
    let mut asked = question("2026-03-16");
    asked.per = Per::Install;
    assert_eq!(asked.check(), Err(InvalidQuestion::InstallsWithoutInstallAnchor));
    (asked.per, asked.age, asked.ages) = (Per::Payer, AgeBasis::Payments, Some(vec![0]));
    assert_eq!(asked.check(), Err(InvalidQuestion::PaymentZero));
    asked.ages = Some(vec![36_526]);
    assert_eq!(asked.check(), Err(InvalidQuestion::AgeTooGreat(36_526)));
}

#[test]
fn an_app_without_events_has_an_empty_answer() {
    let answer = Shard::default().ask(&question("2026-03-16"));
    assert_eq!(answer.overall.total, None);
    assert_eq!((answer.ages.len(), answer.overall.cohorts.len()), (0, 0));
}
