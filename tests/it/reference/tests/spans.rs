//! Active subscriptions and lapses: where spans begin, end, touch and come back.

use super::{accepted, app, check_suspended, rows};

/// Asserts Active and Lapse rows as `kind day index: count money`, dimensions left out.
fn check(lines: &str, expected: &[&str]) {
    let facts = accepted(app(&["UTC"], false), lines).facts();
    let mut got = Vec::new();
    for kind in ["Active", "Lapse"] {
        for row in rows(&facts, 0, kind) {
            let (key, sums) = row.split_once(": ").unwrap();
            let fields: Vec<&str> = key.split('|').collect();
            assert_eq!(fields[1..4], ["-", "-", "-"], "anchors of {row}");
            assert_eq!(fields[5], "0,0,0,0", "slips of {row}");
            // Gross alone: proceeds and net are treated the same way.
            let sums: Vec<&str> = sums.split(' ').take(2).collect();
            got.push(format!("{kind} {} {}: {}", fields[0], fields[4], sums.join(" ")));
        }
    }
    assert_eq!(got, expected, "{lines}");
}

#[test]
fn a_payment_runs_for_its_period_and_lapses() {
    check(
        "a ann purchase 2024-01-31T10:00Z paid=12USD period=P1M",
        &[
            "Active 2024-01-31 1: +1 12000000",
            "Active 2024-02-29 1: -1 -12000000",
            "Lapse 2024-02-29 1: +1",
        ],
    );
    for (period, end, monthly) in [
        ("P3D", "2024-02-03", "121333333"), // 12 * 364 / 36 = 121.333…
        ("P2W", "2024-02-14", "26000000"),  // 12 * 52 / 24
        ("P6M", "2024-07-31", "2000000"),
        ("P1Y", "2025-01-31", "1000000"),
        ("P9999Y", "9999-12-31", "100"), // 12 000 000 / 119 988 = 100.01…
    ] {
        check(
            &format!("a ann purchase 2024-01-31T10:00Z paid=12USD period={period}"),
            &[
                &format!("Active 2024-01-31 1: +1 {monthly}"),
                &format!("Active {end} 1: -1 -{monthly}"),
                &format!("Lapse {end} 1: +1"),
            ],
        );
    }
    check("a ann purchase 2024-01-31T10:00Z paid=12USD expires_at=2024-03-01T00:00Z", &[]);
}

#[test]
fn the_share_of_a_month_is_rounded_half_to_even() {
    check(
        "a ann purchase 2024-01-01T00:00Z gross_micros=5 currency=USD period=P2M",
        &["Active 2024-01-01 1: +1 2", "Active 2024-03-01 1: -1 -2", "Lapse 2024-03-01 1: +1"],
    );
}

#[test]
fn a_renewal_ends_the_span_before_it_and_a_late_one_leaves_the_lapse() {
    let first = "a ann purchase 2024-01-10T00:00Z paid=10USD period=P1M chain=s\n";
    let renewal =
        |at: &str| format!("{first} b ann renewal {at} paid=8USD period=P1M chain=s transaction=b");
    check(
        &renewal("2024-02-10T00:00Z"),
        &[
            "Active 2024-01-10 1: +1 10000000",
            "Active 2024-02-10 1: -1 -10000000",
            "Active 2024-02-10 2: +1 8000000",
            "Active 2024-03-10 2: -1 -8000000",
            "Lapse 2024-03-10 2: +1",
        ],
    );
    check(
        &renewal("2024-02-05T00:00Z"),
        &[
            "Active 2024-01-10 1: +1 10000000",
            "Active 2024-02-05 1: -1 -10000000",
            "Active 2024-02-05 2: +1 8000000",
            "Active 2024-03-05 2: -1 -8000000",
            "Lapse 2024-03-05 2: +1",
        ],
    );
    check(
        &renewal("2024-02-10T00:01Z"),
        &[
            "Active 2024-01-10 1: +1 10000000",
            "Active 2024-02-10 1: -1 -10000000",
            "Active 2024-02-10 2: +1 8000000",
            "Active 2024-03-10 2: -1 -8000000",
            "Lapse 2024-02-10 1: +1",
            "Lapse 2024-03-10 2: +1",
        ],
    );
}

#[test]
fn a_conversion_ends_the_trial() {
    check(
        "a ann trial_started 2024-01-01T00:00Z period=P1W chain=s
         b ann purchase 2024-01-05T00:00Z paid=10USD period=P1M chain=s",
        &[
            "Active 2024-01-01 0: +1",
            "Active 2024-01-05 0: -1",
            "Active 2024-01-05 1: +1 10000000",
            "Active 2024-02-05 1: -1 -10000000",
            "Lapse 2024-02-05 1: +1",
        ],
    );
}

#[test]
fn a_span_that_covers_nothing_only_ends_the_one_before() {
    check(
        "a ann purchase 2024-01-10T00:00Z paid=10USD period=P1M chain=s
         b ann renewal 2024-01-20T00:00Z paid=8USD period=P1M chain=s transaction=b \
           expires_at=2024-01-20T00:00Z",
        &[
            "Active 2024-01-10 1: +1 10000000",
            "Active 2024-01-20 1: -1 -10000000",
            "Lapse 2024-01-20 1: +1",
        ],
    );
}

#[test]
fn an_expiration_ends_a_running_span_at_its_own_time() {
    let first = "a ann purchase 2024-01-10T00:00Z paid=10USD period=P1M chain=s\n";
    check(
        &format!("{first} b ann expiration 2024-01-15T00:00Z"),
        &[
            "Active 2024-01-10 1: +1 10000000",
            "Active 2024-01-15 1: -1 -10000000",
            "Lapse 2024-01-15 1: +1",
        ],
    );
    check(
        &format!("{first} b ann expiration 2024-02-15T00:00Z"),
        &[
            "Active 2024-01-10 1: +1 10000000",
            "Active 2024-02-10 1: -1 -10000000",
            "Lapse 2024-02-10 1: +1",
        ],
    );
    // At the instant it began: nothing was covered, but the coverage did end.
    check(&format!("{first} b ann expiration 2024-01-10T00:00Z"), &["Lapse 2024-01-10 1: +1"]);
}

#[test]
fn a_grace_period_extends_a_span_or_brings_it_back() {
    let first = "a ann purchase 2024-01-10T00:00Z paid=10USD period=P1M chain=s\n";
    check(
        &format!("{first} g ann grace_period 2024-02-10T00:00Z expires_at=2024-02-20T00:00Z"),
        &[
            "Active 2024-01-10 1: +1 10000000",
            "Active 2024-02-20 1: -1 -10000000",
            "Lapse 2024-02-20 1: +1",
        ],
    );
    check(
        &format!("{first} g ann grace_period 2024-02-12T00:00Z expires_at=2024-02-20T00:00Z"),
        &[
            "Active 2024-01-10 1: +1 10000000",
            "Active 2024-02-10 1: -1 -10000000",
            "Active 2024-02-12 1: +1 10000000",
            "Active 2024-02-20 1: -1 -10000000",
            "Lapse 2024-02-10 1: +1",
            "Lapse 2024-02-20 1: +1",
        ],
    );
    for nothing in ["", "expires_at=2024-01-11T00:00Z"] {
        check(
            &format!("{first} g ann grace_period 2024-01-20T00:00Z {nothing}"),
            &[
                "Active 2024-01-10 1: +1 10000000",
                "Active 2024-02-10 1: -1 -10000000",
                "Lapse 2024-02-10 1: +1",
            ],
        );
    }
    let alone = "a ann purchase 2024-01-10T00:00Z paid=10USD chain=s
                 g ann grace_period 2024-01-20T00:00Z expires_at=2024-02-20T00:00Z";
    check(alone, &[]);
    check_suspended(alone, &[]);
}

#[test]
fn a_one_time_purchase_in_a_chain_leaves_its_span_alone() {
    check(
        "a ann purchase 2024-01-10T00:00Z paid=10USD period=P1M chain=s
         b ann purchase 2024-01-20T00:00Z paid=3USD chain=s
         c ann renewal 2024-01-21T00:00Z paid=0USD chain=s period=P1M transaction=c",
        &[
            "Active 2024-01-10 1: +1 10000000",
            "Active 2024-02-10 1: -1 -10000000",
            "Lapse 2024-02-10 1: +1",
        ],
    );
}
