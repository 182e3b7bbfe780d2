//! Which events are accepted, repeated or refused.

use super::super::calendar::DAY_US;
use super::super::{Reference, Verdict};
use super::{app, event, instant};

/// Offers lines in order and asserts the verdict that ends each after `->`.
fn verdicts(lines: &str) -> Reference {
    let mut reference = Reference::new(&[app(&["UTC"], false)]);
    for line in lines.lines().map(str::trim) {
        let (line, expected) = line.split_once(" -> ").unwrap();
        let got = reference.offer(&event(line), super::RECORD_US);
        let got = match got {
            Verdict::Accepted => "accepted",
            Verdict::Repeated => "repeated",
            Verdict::Refused(code) => code,
        };
        assert_eq!(got, expected, "{line}");
    }
    reference
}

#[test]
fn equal_content_is_a_repeat_and_other_content_a_conflict() {
    verdicts(
        "a ann purchase 2024-01-05T00:00Z paid=10USD country=gb reporting_rate=1.50 -> accepted
         a ann purchase 2024-01-05T02:00:00+02:00 paid=10USD country=UK reporting_rate=1.5 \
           transaction=a chain=a proceeds_micros=10000000 store= environment=production -> repeated
         a ann purchase 2024-01-05T00:00Z paid=10USD country=gb reporting_rate=1.51 -> conflict
         a ann purchase 2024-01-05T00:00Z paid=10USD reporting_rate=1.5 -> conflict
         a bob purchase 2024-01-06T00:00Z paid=10USD -> accepted
         t ann trial_started 2024-01-05T00:00Z period=P1W -> accepted
         t ann trial_started 2024-01-05T00:00Z period=P1W chain=t gross_micros=0 -> repeated",
    );
}

#[test]
fn a_payment_needs_a_rate_and_a_refused_one_leaves_no_trace() {
    verdicts(
        "a ann purchase 2023-12-31T23:59Z paid=10EUR -> missing_rate
         a ann purchase 2024-01-01T00:00Z paid=10EUR -> accepted
         b ann purchase 2023-12-31T23:59Z paid=10EUR reporting_rate=2 -> accepted
         c ann refund 2024-01-01T00:00Z paid=10JPY environment=sandbox -> missing_rate
         d ann purchase 2024-01-01T00:00Z paid=1000000000JPY reporting_rate=9224 \
           -> invalid_reporting_rate",
    );
}

#[test]
fn an_event_may_lie_one_day_after_its_record() {
    let mut reference = Reference::new(&[app(&["UTC"], false)]);
    let line = event("a ann install 2024-01-05T00:00Z");
    let limit = instant("2024-01-05T00:00Z") - DAY_US;
    assert_eq!(reference.offer(&line, limit - 1), Verdict::Refused("invalid_occurred_at"));
    assert_eq!(reference.offer(&line, limit), Verdict::Accepted);
    let stray = line.replace("\"app\"", "\"other\"");
    assert_eq!(reference.offer(&stray, limit), Verdict::Refused("unknown_app"));
}

#[test]
fn after_forget_nothing_is_accepted_and_the_facts_stay() {
    let reference = verdicts(
        "a ann install 2024-01-05T00:00Z -> accepted
         b ann void 2024-01-05T00:00Z refers_to=z -> accepted
         f ann forget 2024-01-01T00:00Z -> accepted
         f ann forget 2024-01-01T00:00Z -> repeated
         f ann install 2024-01-01T00:00Z -> customer_forgotten
         a ann install 2024-01-05T00:00Z -> customer_forgotten
         v ann void 2024-01-06T00:00Z refers_to=a -> customer_forgotten
         a bob install 2024-01-05T00:00Z -> accepted",
    );
    let facts = reference.facts();
    assert_eq!(facts["app|0|Customer|2024-01-05|2024-01-05|-|-|1|0,0,0,0|"], (2, 0, 0, 0));
    assert!(reference.suspended().is_empty());
}
