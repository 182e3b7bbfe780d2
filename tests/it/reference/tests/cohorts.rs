//! Cohort tables: what they are cut by, and at which age money is booked.

use chrono_tz::Tz;

use super::super::{Age, Anchor, CohortQuestion, Reference, Refunds, Width};
use super::{accepted, app};

const QUESTION: CohortQuestion<'static> = CohortQuestion {
    app: "app",
    anchor: Anchor::FirstPurchase,
    width: Width::Day,
    zone: Tz::UTC,
    age: Age::Periods,
    refunds: Refunds::AtRefund,
};

/// Asserts the cohorts as `start: customers payers age=gross-refunded …` in micro-units.
fn check(reference: &Reference, question: CohortQuestion<'_>, expected: &[&str]) {
    let mut got = Vec::new();
    for (start, cohort) in reference.cohorts(&question) {
        let mut line = format!("{start}: {} {}", cohort.customers, cohort.payers);
        for (age, totals) in &cohort.curve {
            line += &format!(" {age}={}-{}", totals.gross, totals.refunded_gross);
        }
        got.push(line);
    }
    assert_eq!(got, expected, "{question:?}");
}

#[test]
fn cohorts_are_calendar_buckets_and_so_are_their_periods() {
    let lines = "a ann purchase 2024-02-29T00:00Z gross_micros=5 currency=USD
                 b ann purchase 2024-04-01T00:00Z gross_micros=7 currency=USD
                 c bob purchase 2024-03-03T00:00Z gross_micros=1 currency=USD";
    let reference = accepted(app(&["UTC"], false), lines);
    for (width, expected) in [
        (Width::Day, ["2024-02-29: 1 1 0=5-0 32=12-0", "2024-03-03: 1 1 0=1-0"].as_slice()),
        (Width::Week, &["2024-02-26: 2 2 0=6-0 5=13-0"]),
        (Width::Month, &["2024-02-01: 1 1 0=5-0 2=12-0", "2024-03-01: 1 1 0=1-0"]),
        (Width::Quarter, &["2024-01-01: 2 2 0=6-0 1=13-0"]),
        (Width::Year, &["2024-01-01: 2 2 0=13-0"]),
    ] {
        check(&reference, CohortQuestion { width, ..QUESTION }, expected);
    }
}

#[test]
fn refunds_are_booked_at_their_own_time_or_at_their_purchase() {
    let lines = "a ann purchase 2024-01-01T00:00Z gross_micros=5 currency=USD
                 b ann purchase 2024-01-03T00:00Z gross_micros=7 currency=USD
                 c ann refund 2024-01-05T00:00Z gross_micros=6 currency=USD transaction=b
                 d ann refund 2024-01-06T00:00Z gross_micros=2 currency=USD
                 e ann refund 2023-12-31T00:00Z gross_micros=2 currency=USD";
    let reference = accepted(app(&["UTC"], false), lines);
    check(&reference, QUESTION, &["2024-01-01: 1 1 0=5-0 2=12-0 4=12-6 5=12-8"]);
    let at_purchase = CohortQuestion { refunds: Refunds::AtPurchase, ..QUESTION };
    check(&reference, at_purchase, &["2024-01-01: 1 1 0=5-0 2=12-6 5=12-8"]);
}

#[test]
fn ages_are_calendar_days_of_the_zone_or_elapsed_days() {
    // 12:00 to 12:00 over the night in which Berlin loses an hour.
    let lines = "i ann install 2024-03-30T11:00Z
                 a ann purchase 2024-03-31T10:00Z gross_micros=5 currency=USD
                 b bob install 2024-03-30T11:00Z";
    let reference = accepted(app(&["UTC"], false), lines);
    let berlin = CohortQuestion { anchor: Anchor::Install, zone: Tz::Europe__Berlin, ..QUESTION };
    let days = CohortQuestion { age: Age::Days, ..berlin };
    check(&reference, days, &["2024-03-30: 2 1 1=5-0"]);
    let elapsed = CohortQuestion { age: Age::ElapsedDays, ..berlin };
    check(&reference, elapsed, &["2024-03-30: 2 1 0=5-0"]);
}

#[test]
fn a_payment_before_a_late_install_has_a_negative_age() {
    let lines = "a ann purchase 2024-01-01T00:00Z gross_micros=5 currency=USD
                 i ann install 2024-01-03T00:00Z";
    let reference = accepted(app(&["UTC"], false), lines);
    let installs = CohortQuestion { anchor: Anchor::Install, age: Age::Days, ..QUESTION };
    check(&reference, installs, &["2024-01-03: 1 1 -2=5-0"]);
    let cohort = &reference.cohorts(&installs)[&"2024-01-03".parse().unwrap()];
    assert_eq!((cohort.through(-3).gross, cohort.through(0).gross), (0, 5));
}
