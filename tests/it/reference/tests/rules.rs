//! Standing, anchors, money and slips, a small case for each rule.

use super::{accepted, app, check, check_app, check_suspended, rows};

const ONE_USD: &str = "+1 1000000 1000000 1000000";

#[test]
fn a_void_removes_its_target_whatever_comes_first() {
    for lines in [
        "a ann purchase 2024-01-02T00:00Z paid=1USD
         v ann void 2024-01-03T00:00Z refers_to=a
         w ann void 2024-01-03T00:00Z refers_to=a",
        "v ann void 2024-01-01T00:00Z refers_to=a
         a ann purchase 2024-01-02T00:00Z paid=1USD",
        "v ann void 2024-01-01T00:00Z refers_to=a environment=sandbox
         a ann purchase 2024-01-02T00:00Z paid=1USD environment=sandbox",
    ] {
        assert!(accepted(app(&["UTC"], false), lines).facts().is_empty());
        check_suspended(lines, &[]);
    }
    check_suspended(
        "v ann void 2024-01-01T00:00Z refers_to=a
         w ann void 2024-01-01T00:00Z refers_to=v
         x ann void 2024-01-01T00:00Z refers_to=x
         a bob purchase 2024-01-02T00:00Z paid=1USD",
        &["v: void_target_missing", "w: void_target_missing", "x: void_target_missing"],
    );
}

#[test]
fn sandbox_events_touch_nothing() {
    let lines = "a ann purchase 2024-01-02T00:00Z paid=1USD chain=s environment=sandbox
                 b ann cancellation 2024-01-03T00:00Z chain=s
                 c ann refund 2024-01-03T00:00Z paid=1USD transaction=a
                 d ann refund 2024-01-03T00:00Z paid=1USD transaction=z environment=sandbox";
    assert!(accepted(app(&["UTC"], false), lines).facts().is_empty());
    check_suspended(lines, &["b: chain_unknown", "c: payment_missing"]);
}

#[test]
fn a_void_stays_in_its_environment() {
    let lines = "a ann purchase 2024-01-02T00:00Z paid=1USD
                 v ann void 2024-01-03T00:00Z refers_to=a environment=sandbox
                 b ann purchase 2024-01-02T00:00Z paid=1USD environment=sandbox
                 w ann void 2024-01-03T00:00Z refers_to=b";
    check(
        lines,
        "Payment",
        &["2024-01-02|2024-01-02|2024-01-02|-|1|0,0,0,0|duration=Uncategorized: \
           +1 1000000 1000000 1000000"],
    );
    check_suspended(lines, &["w: void_target_missing"]);
}

#[test]
fn of_one_transaction_the_earliest_counts() {
    let lines = "b ann purchase 2024-01-02T00:00Z paid=1USD transaction=t country=US
                 a ann purchase 2024-01-02T00:00Z paid=2USD transaction=t country=DE
                 c ann renewal 2024-01-01T00:00Z paid=0USD transaction=t chain=s period=P1M";
    check(
        lines,
        "Payment",
        &["2024-01-02|2024-01-01|2024-01-02|-|1|0,0,0,0|duration=Uncategorized,country=DE: \
           +1 2000000 2000000 2000000"],
    );
    check_suspended(lines, &["b: duplicate_transaction"]);
    // Where a payment of nothing counts, it is the earliest.
    check_app(
        app(&["UTC"], true),
        lines,
        "Payment",
        &["2024-01-01|2024-01-01|2024-01-01|-|1|0,0,0,0|duration=Monthly: +1"],
    );
}

#[test]
fn refunds_of_a_payment_fit_in_order_of_time() {
    check_suspended(
        "p ann purchase 2024-01-05T00:00Z paid=10USD
         r1 ann refund 2024-01-03T00:00Z paid=6USD transaction=p
         r2 ann refund 2024-01-04T00:00Z paid=5USD transaction=p
         r3 ann refund 2024-01-05T00:00Z paid=4USD transaction=p
         r4 ann refund 2024-01-06T00:00Z paid=0.01USD transaction=p
         r5 ann refund 2024-01-01T00:00Z paid=1EUR transaction=p
         r6 ann refund 2024-01-01T00:00Z paid=1USD transaction=q",
        &[
            "r2: refund_exceeds_payment",
            "r4: refund_exceeds_payment",
            "r5: refund_currency_mismatch",
            "r6: payment_missing",
        ],
    );
}

#[test]
fn an_unlinked_refund_before_the_first_payment_is_unplaced() {
    let lines = "i ann install 2024-01-01T00:00Z
                 a ann refund 2024-01-02T00:00Z paid=1USD
                 z ann purchase 2024-01-03T00:00Z paid=1USD
                 b ann refund 2024-01-03T00:00Z paid=1USD";
    let row = format!("2024-01-02|-|-|-|0|0,0,0,0|: {ONE_USD}");
    check(lines, "UnplacedRefund", &[&row]);
    let row = format!("2024-01-03|2024-01-01|2024-01-03|-|0|0,0,0,0|: {ONE_USD}");
    check(lines, "Refund", &[&row]);
    let alone = "a ann refund 2024-01-02T00:00Z paid=1USD";
    let row = format!("2024-01-02|-|-|-|0|0,0,0,0|: {ONE_USD}");
    check(alone, "UnplacedRefund", &[&row]);
    check(alone, "Customer", &[]);
}

#[test]
fn a_status_without_a_chain_means_the_only_one() {
    let lines = "a ann trial_started 2024-01-05T00:00Z period=P1W
                 b ann billing_issue 2024-01-04T00:00Z transaction=q
                 c ann billing_issue 2024-01-04T00:00Z chain=q";
    check_suspended(lines, &["c: chain_unknown"]);
    check_suspended(
        &format!("{lines}\n d ann purchase 2024-02-01T00:00Z paid=1USD"),
        &["b: chain_unknown", "c: chain_unknown"],
    );
    check_suspended("b ann expiration 2024-01-04T00:00Z", &["b: chain_unknown"]);
}

#[test]
fn the_first_install_places_the_customer_and_else_the_first_event() {
    check(
        "a ann refund 2024-01-01T00:00Z paid=1USD
         b ann paywall_view 2024-01-02T00:00Z country=US
         c ann purchase 2024-01-03T00:00Z paid=1USD",
        "Customer",
        &["2024-01-02|2024-01-02|-|-|0|0,0,0,0|country=US: +1"],
    );
    check(
        "b ann paywall_view 2024-01-02T00:00Z
         c ann install 2024-01-03T00:00Z country=DE
         d ann install 2024-01-03T00:00Z country=US",
        "Customer",
        &["2024-01-03|2024-01-03|-|-|1|0,0,0,0|country=DE: +1"],
    );
}

#[test]
fn money_is_converted_at_the_rate_of_its_own_day_half_to_even() {
    let lines = "a ann purchase 2024-01-31T00:00Z gross_micros=3 currency=EUR
         b ann refund 2024-02-01T00:00Z gross_micros=3 currency=EUR transaction=a
         c ann purchase 2024-03-01T00:00Z gross_micros=5 net_micros=3 currency=EUR \
           reporting_rate=0.5
         d ann purchase 2024-04-01T00:00Z gross_micros=5 currency=USD reporting_rate=7";
    let dims = "0,0,0,0|duration=Uncategorized";
    check(
        lines,
        "Payment",
        &[
            &format!("2024-01-31|2024-01-31|2024-01-31|-|1|{dims}: +1 4 4 4"),
            &format!("2024-03-01|2024-01-31|2024-01-31|2024-01-31|1|{dims}: +1 2 2 2"),
            &format!("2024-04-01|2024-01-31|2024-01-31|2024-03-01|1|{dims}: +1 5 5 5"),
        ],
    );
    let refund = format!("2024-02-01|2024-01-31|2024-01-31|2024-01-31|1|{dims}: +1 2 2 2");
    check(lines, "Refund", &[&refund]);
}

/// 2024-03-31 has 23 hours in Berlin, 2024-10-27 has 25.
#[test]
fn slips_are_the_hours_the_clocks_lose_and_win() {
    let berlin = || app(&["Europe/Berlin"], false);
    let lines = "i ann install 2024-03-30T11:00Z
                 a ann purchase 2024-03-31T10:00Z paid=1USD
                 b ann purchase 2024-04-01T10:30Z paid=1USD
                 r ann refund 2024-04-01T09:30Z paid=1USD transaction=a";
    // 12:00 on the 30th to 12:00 on the 31st is a day of the calendar but only 23 hours;
    // from there to 12:30 on the 1st are a day and 24.5 hours, from the install 47.5.
    let dims = "duration=Uncategorized";
    check_app(
        berlin(),
        lines,
        "Payment",
        &[
            &format!("2024-03-31|2024-03-30|2024-03-31|-|1|1,0,0,0|{dims}: {ONE_USD}"),
            &format!("2024-04-01|2024-03-30|2024-03-31|2024-03-31|1|1,0,0,0|{dims}: {ONE_USD}"),
        ],
    );
    check_app(
        berlin(),
        lines,
        "Refund",
        &[&format!("2024-04-01|2024-03-30|2024-03-31|2024-03-31|1|1,1,1,0|{dims}: {ONE_USD}")],
    );
    // 00:00 on the 27th to 23:59 the same day are 24 h 59 min: an elapsed day, no calendar day.
    check_app(
        berlin(),
        "i ann install 2024-10-26T22:00Z
         a ann purchase 2024-10-27T22:59Z paid=1USD",
        "Payment",
        &[&format!("2024-10-27|2024-10-27|2024-10-27|-|1|-1,0,0,0|{dims}: {ONE_USD}")],
    );
    // From 23:59 on the 30th to 00:00 on the 1st are two days of the calendar but 23 h 1 min.
    check_app(
        berlin(),
        "i ann install 2024-03-30T22:59Z
         a ann purchase 2024-03-31T22:00Z paid=1USD",
        "Payment",
        &[&format!("2024-04-01|2024-03-30|2024-04-01|-|1|2,0,0,0|{dims}: {ONE_USD}")],
    );
    // Before the anchor: 00:01 is on the day of 12:00, but not a whole day before it.
    check_app(
        berlin(),
        "a ann purchase 2024-06-01T22:01Z paid=1USD
         i ann install 2024-06-02T10:00Z",
        "Payment",
        &[&format!("2024-06-02|2024-06-02|2024-06-02|-|1|1,0,0,0|{dims}: {ONE_USD}")],
    );
}

#[test]
fn every_zone_has_its_own_days() {
    let zones = ["UTC", "Europe/Berlin", "America/New_York"];
    let facts = accepted(app(&zones, false), "i ann install 2024-03-31T22:30Z").facts();
    assert_eq!(rows(&facts, 0, "Customer"), ["2024-03-31|2024-03-31|-|-|1|0,0,0,0|: +1"]);
    assert_eq!(rows(&facts, 1, "Customer"), ["2024-04-01|2024-04-01|-|-|1|0,0,0,0|: +1"]);
    assert_eq!(rows(&facts, 2, "Customer"), ["2024-03-31|2024-03-31|-|-|1|0,0,0,0|: +1"]);
}
