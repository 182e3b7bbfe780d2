//! Worked examples with published answers: figures of whole tables, from facts and from ledgers.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::super::calendar::Period;
use super::super::{Age, Anchor, Cohort, CohortQuestion, Facts, Refunds, Sums, Width};
use super::{accepted, app};

const USD: i128 = 1_000_000;

/// Subscriptions of four users: 30 % commission, no tax.
const SUBSCRIPTIONS: &str = "
    i1 u1 install 2025-01-03T09:00Z country=US
    v1 u1 paywall_view 2025-01-03T09:01Z
    t1 u1 trial_started 2025-01-03T09:02Z period=P1W chain=s1
    c1 u1 purchase 2025-01-10T09:00Z paid=10USD proceeds_micros=7000000 period=P1M chain=s1
    r1 u1 renewal 2025-02-10T09:00Z paid=10USD proceeds_micros=7000000 period=P1M chain=s1 transaction=r1
    x1 u1 refund 2025-02-20T09:00Z paid=10USD proceeds_micros=7000000 transaction=r1
    i2 u2 install 2025-01-20T09:00Z country=GB
    v2 u2 paywall_view 2025-01-20T09:01Z
    c2 u2 purchase 2025-01-21T10:00Z paid=10USD proceeds_micros=7000000 period=P1M chain=s2
    r2 u2 renewal 2025-02-21T10:00Z paid=10USD proceeds_micros=7000000 period=P1M chain=s2 transaction=r2
    i3 u3 install 2025-01-25T00:00Z country=US
    i4 u4 install 2025-02-05T09:00Z country=US
    c4 u4 purchase 2025-02-05T10:00Z paid=60USD proceeds_micros=42000000 period=P1Y chain=s4";

/// Sums over the facts of a kind whose day starts with `day` and whose dimensions hold `dims`.
fn sum(facts: &Facts, kind: &str, day: &str, dims: &str) -> Sums {
    let mut total = Sums::default();
    for (key, sums) in facts {
        let fields: Vec<&str> = key.split('|').collect();
        if fields[2] == kind && fields[3].starts_with(day) && fields[9].contains(dims) {
            total.0 += sums.0;
            total.1 += sums.1;
            total.2 += sums.2;
            total.3 += sums.3;
        }
    }
    total
}

/// Gross revenue less refunds.
fn revenue(facts: &Facts, day: &str, dims: &str) -> i128 {
    sum(facts, "Payment", day, dims).1 - sum(facts, "Refund", day, dims).1
}

fn question(anchor: Anchor, age: Age) -> CohortQuestion<'static> {
    let refunds = Refunds::AtRefund;
    CohortQuestion { app: "app", anchor, width: Width::Month, zone: Tz::UTC, age, refunds }
}

fn month(text: &str) -> NaiveDate {
    format!("{text}-01").parse().unwrap()
}

/// Gross less refunds through each of these ages, in whole dollars.
fn curve(cohort: &Cohort, ages: &[i64]) -> Vec<i128> {
    ages.iter().map(|age| cohort.through(*age).gross_after_refunds() / USD).collect()
}

#[test]
fn the_subscription_example_has_its_revenue_customers_and_payers() {
    let facts = accepted(app(&["UTC"], false), SUBSCRIPTIONS).facts();
    let of_month = |month| revenue(&facts, month, "") / USD;
    assert_eq!((of_month("2025-01"), of_month("2025-02")), (20, 70));
    assert_eq!(revenue(&facts, "2025", "country=US"), 70 * USD);
    assert_eq!(revenue(&facts, "2025", "country=GB"), 20 * USD);
    let proceeds = |month| {
        let paid: Sums = sum(&facts, "Payment", month, "");
        (paid.2 - sum(&facts, "Refund", month, "").2) / USD
    };
    assert_eq!((proceeds("2025-01"), proceeds("2025-02")), (14, 49));
    assert_eq!(sum(&facts, "Refund", "2025-02", "").0, 1);
    for (kind, january, february) in [("Customer", 3, 1), ("Payer", 2, 1)] {
        let counts = ["2025-01", "2025-02"].map(|month| sum(&facts, kind, month, "").0);
        assert_eq!(counts, [january, february], "{kind}");
    }
}

/// What a month of the subscriptions that run at the end of a day is worth.
fn recurring(facts: &Facts, with: &[&str], day: &str) -> i128 {
    let rows = facts.iter().filter_map(|(key, sums)| {
        let fields: Vec<&str> = key.split('|').collect();
        let runs = with.contains(&fields[2]) && fields[3] > day;
        let changes = fields[9].split("} ").take_while(|change| &change[..10] <= day);
        let state = changes.last().filter(|_| runs)?;
        let elements = state[11..].trim_end_matches('}').split(';');
        let worth = elements.filter(|element| !element.contains(" trial ")).map(|element| {
            let words: Vec<&str> = element.split(' ').collect();
            let gross: i128 = words[1].split('/').next().unwrap().parse().unwrap();
            let (numerator, denominator) = Period::parse(words[2]).per_month();
            gross * numerator / denominator
        });
        Some(i128::from(sums.0) * worth.sum::<i128>())
    });
    rows.sum::<i128>() / USD
}

#[test]
fn the_subscription_example_has_its_recurring_revenue() {
    let facts = accepted(app(&["UTC"], false), SUBSCRIPTIONS).facts();
    for (day, kept, removed) in
        [("2025-01-09", 0, 0), ("2025-01-31", 20, 20), ("2025-02-28", 25, 15)]
    {
        assert_eq!(recurring(&facts, &["Timeline"], day), kept, "{day}");
        let both = ["Timeline", "UnrefundedTimeline"];
        assert_eq!(recurring(&facts, &both, day), removed, "{day}");
    }
}

#[test]
fn the_subscription_example_has_its_cohorts() {
    let reference = accepted(app(&["UTC"], false), SUBSCRIPTIONS);
    for age in [Age::Days, Age::ElapsedDays] {
        let cohorts = reference.cohorts(&question(Anchor::Install, age));
        let january = &cohorts[&month("2025-01")];
        assert_eq!((january.customers, january.payers), (3, 2));
        assert_eq!(curve(january, &[0, 7, 31, 61]), [0, 20, 20, 30]);
        // The renewals come on days 38 and 32, the refund on day 48.
        assert_eq!(curve(january, &[32, 37, 38, 47, 48]), [30, 30, 40, 40, 30]);
        let february = &cohorts[&month("2025-02")];
        assert_eq!((february.customers, curve(february, &[0])), (1, vec![60]));
    }
    let at_purchase =
        CohortQuestion { refunds: Refunds::AtPurchase, ..question(Anchor::Install, Age::Days) };
    let cohorts = reference.cohorts(&at_purchase);
    assert_eq!(curve(&cohorts[&month("2025-01")], &[37, 38, 48]), [30, 30, 30]);
    let first_purchase = reference.cohorts(&question(Anchor::FirstPurchase, Age::Days));
    let sizes: BTreeMap<_, _> =
        first_purchase.iter().map(|(start, cohort)| (*start, cohort.customers)).collect();
    assert_eq!(sizes, BTreeMap::from([(month("2025-01"), 2), (month("2025-02"), 1)]));
}

#[test]
fn the_monthly_first_purchase_example_has_its_curves() {
    for refund in ["", "transaction=b"] {
        let lines = format!(
            "a1 A purchase 2026-01-05T00:00Z paid=10USD
             a2 A purchase 2026-02-05T00:00Z paid=10USD
             a3 A purchase 2026-03-05T00:00Z paid=10USD
             b B purchase 2026-01-20T00:00Z paid=30USD
             r B refund 2026-02-02T00:00Z paid=5USD {refund}
             c1 C purchase 2026-02-28T00:00Z paid=7USD
             c2 C purchase 2026-03-01T00:00Z paid=7USD"
        );
        let reference = accepted(app(&["UTC"], false), &lines);
        let cohorts = reference.cohorts(&question(Anchor::FirstPurchase, Age::Periods));
        assert_eq!(cohorts.len(), 2);
        let january = &cohorts[&month("2026-01")];
        // Twice 20.00, 22.50 and 27.50.
        assert_eq!((january.customers, curve(january, &[0, 1, 2])), (2, vec![40, 45, 55]));
        let february = &cohorts[&month("2026-02")];
        assert_eq!((february.customers, curve(february, &[0, 1])), (1, vec![7, 14]));
    }
}
