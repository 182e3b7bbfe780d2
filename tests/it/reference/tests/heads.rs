//! Customers and chains that are counted once.

use super::check;

#[test]
fn a_payers_marks_grow_at_payments_and_at_refunds() {
    check(
        "a ann purchase 2024-01-01T00:00Z paid=1USD country=US
         b ann purchase 2024-01-02T00:00Z paid=1USD country=DE transaction=b
         c ann purchase 2024-01-03T00:00Z paid=1USD country=US
         d ann refund 2024-01-04T12:00Z paid=1USD transaction=b
         e ann refund 2024-01-05T00:00Z paid=1USD country=FR",
        "Payer",
        &[
            "2024-01-01|2024-01-01|2024-01-01|-|0|0,0,0,0|1 duration=Uncategorized,country=US: +1",
            "2024-01-02|2024-01-01|2024-01-01|-|0|0,0,0,0|1 duration=Uncategorized,country=DE;\
             1 duration=Uncategorized,country=US: +1",
            "2024-01-02|2024-01-01|2024-01-01|-|0|0,0,0,0|1 duration=Uncategorized,country=US: -1",
            "2024-01-04|2024-01-01|2024-01-01|-|0|0,0,0,0|1 duration=Uncategorized,country=DE;\
             1 duration=Uncategorized,country=US: -1",
            "2024-01-04|2024-01-01|2024-01-01|-|0|0,0,0,0|1 duration=Uncategorized,country=US;\
             1! duration=Uncategorized,country=DE: +1",
            "2024-01-05|2024-01-01|2024-01-01|-|0|0,0,0,0|0! country=FR;\
             1 duration=Uncategorized,country=US;1! duration=Uncategorized,country=DE: +1",
            "2024-01-05|2024-01-01|2024-01-01|-|0|0,0,0,0|1 duration=Uncategorized,country=US;\
             1! duration=Uncategorized,country=DE: -1",
        ],
    );
}

#[test]
fn a_refund_before_the_first_payment_counts_from_that_payment_on() {
    let events = "r ann refund 2024-01-01T00:00Z paid=1USD transaction=a
                  a ann purchase 2024-01-02T00:00Z paid=1USD chain=s transaction=a period=P1M
                  b ann renewal 2024-02-02T00:00Z paid=1USD chain=s transaction=b period=P1M";
    check(
        events,
        "Payer",
        &["2024-01-02|2024-01-02|2024-01-02|-|0|0,0,0,0|1! duration=Monthly: +1"],
    );
    check(
        events,
        "Subscription",
        &[
            "2024-01-02|2024-01-02|-|-|0|0,0,0,0|1 duration=Monthly: -1",
            "2024-01-02|2024-01-02|-|-|0|0,0,0,0|1! duration=Monthly: +1",
        ],
    );
}

#[test]
fn a_chain_changes_by_an_upgrade_and_by_a_refund() {
    check(
        "i ann install 2024-01-01T12:00Z
         a ann purchase 2024-01-02T00:00Z paid=1USD chain=s period=P1M
         b ann renewal 2024-02-02T00:00Z paid=9USD chain=s transaction=b period=P1Y
         r ann refund 2024-02-03T13:00Z paid=1USD transaction=b",
        "Subscription",
        &[
            "2024-02-02|2024-01-01|-|-|0|1,0,0,0|1 duration=Monthly: -1",
            "2024-02-02|2024-01-01|-|-|0|1,0,0,0|1 duration=Monthly;2 duration=Annual: +1",
            "2024-02-03|2024-01-01|-|-|0|0,0,0,0|1 duration=Monthly;2 duration=Annual: -1",
            "2024-02-03|2024-01-01|-|-|0|0,0,0,0|1 duration=Monthly;2! duration=Annual: +1",
        ],
    );
}

#[test]
fn a_customer_starts_once_by_trial_or_subscription_and_not_by_a_single_purchase() {
    check(
        "o ann purchase 2024-01-01T00:00Z paid=1USD
         t ann trial_started 2024-01-02T00:00Z chain=s period=P1W
         a ann purchase 2024-01-09T00:00Z paid=1USD chain=s period=P1M
         b ann renewal 2024-02-09T00:00Z paid=1USD chain=s period=P1Y transaction=b
         u ann trial_started 2024-03-02T00:00Z chain=s2 period=P1W",
        "Starter",
        &[
            "2024-01-02|2024-01-01|-|-|0|0,0,0,0|0 duration=Weekly: +1",
            "2024-01-09|2024-01-01|-|-|0|0,0,0,0|0 duration=Monthly;0 duration=Weekly: +1",
            "2024-01-09|2024-01-01|-|-|0|0,0,0,0|0 duration=Weekly: -1",
        ],
    );
}

#[test]
fn who_pays_an_index_on_several_chains_is_taken_back_but_once() {
    check(
        "a ann purchase 2024-01-01T00:00Z paid=1USD chain=s period=P1M
         b ann purchase 2024-01-02T00:00Z paid=1USD chain=t period=P1Y
         c ann renewal 2024-02-01T00:00Z paid=1USD chain=s period=P1M transaction=c
         d ann renewal 2024-02-02T00:00Z paid=1USD chain=t period=P1Y transaction=d
         e ann purchase 2024-03-02T00:00Z paid=1USD chain=u period=P1M
         f ann renewal 2024-04-02T00:00Z paid=1USD chain=u period=P1M transaction=f",
        "PeriodPayer",
        &[
            "2024-02-02|2024-01-01|-|-|2|0,0,0,0|0 duration=Annual: -1",
            "2024-02-02|2024-01-01|-|-|2|0,0,0,0|0 duration=Annual;0 duration=Monthly: +1",
            "2024-02-02|2024-01-01|-|-|2|0,0,0,0|0 duration=Monthly: -1",
            "2024-04-02|2024-01-01|-|-|2|0,0,0,0|0 duration=Monthly: -1",
        ],
    );
}
