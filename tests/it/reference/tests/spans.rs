//! Timelines: where spans begin, end, touch and come back.

use super::{accepted, app, check_suspended, rows};

/// Asserts the timelines of one zone as `lapse path`, and ` ×count` where that is not 1. Amounts
/// are gross alone and dimensions left out: they are treated alike.
fn check_zone(zone: u8, lines: &str, kind: &str, expected: &[&str]) {
    let facts = accepted(app(&["UTC", "Europe/Berlin"], false), lines).facts();
    let mut got = Vec::new();
    for row in rows(&facts, zone, kind) {
        let (key, count) = row.rsplit_once(": ").unwrap();
        let fields: Vec<&str> = key.split('|').collect();
        assert_eq!(fields[1..6], ["-", "-", "-", "0", "0,0,0,0"], "{row}");
        let path = fields[6].split('}').map(|change| {
            let elements = change.split(';').map(|element| {
                let words: Vec<&str> = element.split(' ').collect();
                let kept: Vec<&str> =
                    words.iter().copied().take_while(|word| !word.contains('=')).collect();
                let gross_only = kept.iter().map(|word| word.split('/').next().unwrap());
                gross_only.collect::<Vec<_>>().join(" ").replace("000000", "")
            });
            elements.map(|text| text.trim_end().to_owned()).collect::<Vec<_>>().join(";")
        });
        let path = path.collect::<Vec<_>>().join("}");
        let count = if count == "+1" { String::new() } else { format!(" x{count}") };
        got.push(format!("{} {path}{count}", fields[0]));
    }
    assert_eq!(got, expected, "{kind} of {lines}");
}

fn check(lines: &str, expected: &[&str]) {
    check_zone(0, lines, "Timeline", expected);
}

#[test]
fn a_payment_runs_for_its_period_and_lapses() {
    for (period, end) in [
        ("P1M", "2024-02-29"),
        ("P3D", "2024-02-03"),
        ("P2W", "2024-02-14"),
        ("P6M", "2024-07-31"),
        ("P1Y", "2025-01-31"),
        ("P9999Y", "9999-12-31"),
    ] {
        check(
            &format!("a ann purchase 2024-01-31T10:00Z paid=12USD period={period}"),
            &[&format!("{end} 2024-01-31{{1 12 {period}}}")],
        );
    }
    check("a ann purchase 2024-01-31T10:00Z paid=12USD expires_at=2024-03-01T00:00Z", &[]);
}

#[test]
fn what_begins_and_ends_within_a_day_is_never_seen() {
    let line = "a ann purchase 2024-01-31T10:00Z paid=12USD period=P1M \
                expires_at=2024-01-31T22:59Z";
    check(line, &[]);
    // In Berlin the day changes at 23:00Z.
    check_zone(1, line, "Timeline", &[]);
    let late = "a ann purchase 2024-01-31T10:00Z paid=12USD period=P1M \
                expires_at=2024-01-31T23:00Z";
    check(late, &[]);
    check_zone(1, late, "Timeline", &["2024-02-01 2024-01-31{1 12 P1M}"]);
}

#[test]
fn a_renewal_at_the_same_price_moves_the_last_day_alone() {
    let first = "a ann purchase 2024-01-10T00:00Z paid=10USD period=P1M chain=s\n";
    let renewal = |at: &str, paid: &str| {
        format!("{first} b ann renewal {at} paid={paid} period=P1M chain=s transaction=b")
    };
    check(&renewal("2024-02-10T00:00Z", "10USD"), &["2024-03-10 2024-01-10{1 10 P1M}"]);
    check(&renewal("2024-02-05T00:00Z", "10USD"), &["2024-03-05 2024-01-10{1 10 P1M}"]);
    // Late, but on the day on which it lapsed.
    check(&renewal("2024-02-10T23:59Z", "10USD"), &["2024-03-10 2024-01-10{1 10 P1M}"]);
    check(
        &renewal("2024-02-11T00:00Z", "10USD"),
        &["2024-03-11 2024-01-10{1 10 P1M} 2024-02-10{} 2024-02-11{1 10 P1M}"],
    );
    check(
        &renewal("2024-02-10T00:00Z", "8USD"),
        &["2024-03-10 2024-01-10{1 10 P1M} 2024-02-10{1 8 P1M}"],
    );
    check(
        &renewal("2024-01-20T00:00Z", "30USD"),
        &["2024-02-20 2024-01-10{1 10 P1M} 2024-01-20{1 30 P1M}"],
    );
}

#[test]
fn two_subscriptions_are_one_timeline() {
    let lines = "a ann purchase 2024-01-10T00:00Z paid=10USD period=P1M chain=s
                 b ann purchase 2024-01-20T00:00Z paid=5USD period=P1M chain=t";
    check(
        lines,
        &["2024-02-20 2024-01-10{1 10 P1M} 2024-01-20{1 10 P1M;1 5 P1M} 2024-02-10{1 5 P1M}"],
    );
    check(
        &format!(
            "{lines}
             c ann renewal 2024-02-10T00:00Z paid=10USD period=P1M chain=s transaction=c"
        ),
        &["2024-03-10 2024-01-10{1 10 P1M} 2024-01-20{1 10 P1M;1 5 P1M} 2024-02-20{1 10 P1M}"],
    );
}

#[test]
fn customers_with_the_same_timeline_are_counted_together() {
    check(
        "a ann purchase 2024-01-10T00:00Z paid=10USD period=P1M
         b bob purchase 2024-01-10T09:00Z paid=10USD period=P1M",
        &["2024-02-10 2024-01-10{1 10 P1M} x+2"],
    );
}

#[test]
fn a_conversion_ends_the_trial() {
    check(
        "a ann trial_started 2024-01-01T00:00Z period=P1W chain=s
         b ann purchase 2024-01-05T00:00Z paid=10USD period=P1M chain=s",
        &["2024-02-05 2024-01-01{1 trial} 2024-01-05{1 10 P1M}"],
    );
}

#[test]
fn a_span_that_covers_nothing_only_ends_the_one_before() {
    check(
        "a ann purchase 2024-01-10T00:00Z paid=10USD period=P1M chain=s
         b ann renewal 2024-01-20T00:00Z paid=8USD period=P1M chain=s transaction=b \
           expires_at=2024-01-20T00:00Z",
        &["2024-01-20 2024-01-10{1 10 P1M}"],
    );
}

#[test]
fn an_expiration_ends_a_running_span_at_its_own_time() {
    let first = "a ann purchase 2024-01-10T00:00Z paid=10USD period=P1M chain=s\n";
    for (at, lapse) in [("2024-01-15T00:00Z", "2024-01-15"), ("2024-02-15T00:00Z", "2024-02-10")] {
        check(
            &format!("{first} b ann expiration {at}"),
            &[&format!("{lapse} 2024-01-10{{1 10 P1M}}")],
        );
    }
    // At the instant it began: nothing was covered.
    check(&format!("{first} b ann expiration 2024-01-10T00:00Z"), &[]);
    // Back, and gone again on the same day.
    check(
        &format!(
            "{first} b ann renewal 2024-03-01T00:00Z paid=10USD period=P1M chain=s transaction=b
             c ann expiration 2024-03-01T12:00Z"
        ),
        &["2024-02-10 2024-01-10{1 10 P1M}"],
    );
}

#[test]
fn a_grace_period_extends_a_span_or_brings_it_back() {
    let first = "a ann purchase 2024-01-10T00:00Z paid=10USD period=P1M chain=s\n";
    check(
        &format!("{first} g ann grace_period 2024-02-10T00:00Z expires_at=2024-02-20T00:00Z"),
        &["2024-02-20 2024-01-10{1 10 P1M}"],
    );
    check(
        &format!("{first} g ann grace_period 2024-02-12T00:00Z expires_at=2024-02-20T00:00Z"),
        &["2024-02-20 2024-01-10{1 10 P1M} 2024-02-10{} 2024-02-12{1 10 P1M}"],
    );
    for nothing in ["", "expires_at=2024-01-11T00:00Z"] {
        check(
            &format!("{first} g ann grace_period 2024-01-20T00:00Z {nothing}"),
            &["2024-02-10 2024-01-10{1 10 P1M}"],
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
        &["2024-02-10 2024-01-10{1 10 P1M}"],
    );
}

#[test]
fn a_payment_refunded_in_full_has_no_period_in_the_unrefunded_timeline() {
    let lines = "a ann purchase 2024-01-10T00:00Z paid=10USD period=P1M chain=s
                 b ann renewal 2024-02-05T00:00Z paid=8USD period=P1M chain=s transaction=b\n";
    let all = "2024-03-05 2024-01-10{1 10 P1M} 2024-02-05{1 8 P1M}";
    let minus = format!("{all} x-1");
    for (refunds, expected) in [
        ("", &[][..]),
        // In part: the period stays.
        ("r ann refund 2024-02-06T00:00Z paid=7USD transaction=b", &[]),
        // Its own period alone goes; it did end the one before.
        (
            "r ann refund 2024-02-06T00:00Z paid=7USD transaction=b
             s ann refund 2024-02-07T00:00Z paid=1USD transaction=b",
            &["2024-02-05 2024-01-10{1 10 P1M}", &minus],
        ),
        (
            "r ann refund 2024-02-06T00:00Z paid=10USD transaction=a",
            &[&minus, "2024-03-05 2024-02-05{1 8 P1M}"],
        ),
        // A grace period belongs to the payment before it.
        (
            "r ann refund 2024-02-06T00:00Z paid=8USD transaction=b
             g ann grace_period 2024-03-01T00:00Z expires_at=2024-03-05T00:00Z",
            &["2024-02-05 2024-01-10{1 10 P1M}", &minus],
        ),
    ] {
        let lines = format!("{lines}{refunds}");
        check(&lines, &[all]);
        check_zone(0, &lines, "UnrefundedTimeline", expected);
    }
    let alone = "a ann purchase 2024-01-10T00:00Z paid=10USD period=P1M
                 r ann refund 2024-01-10T01:00Z paid=10USD transaction=a";
    check(alone, &["2024-02-10 2024-01-10{1 10 P1M}"]);
    check_zone(0, alone, "UnrefundedTimeline", &["2024-02-10 2024-01-10{1 10 P1M} x-1"]);
}
