//! Dimensions: each on its own, from the event, its chain, or the customer.

use super::{check, rows};

#[test]
fn a_value_comes_from_the_event_else_the_chain_else_the_customer() {
    check(
        "i ann install 2024-01-01T00:00Z country=US attribution_source=ads attributes.test=x
         a ann purchase 2024-01-02T00:00Z paid=10USD period=P1M chain=s store=stripe
         n ann attribution 2024-01-03T00:00Z country=DE attribution_source=mail
         b ann renewal 2024-02-02T00:00Z paid=10USD period=P1M chain=s transaction=b product_id=gold
         c ann purchase 2024-02-03T00:00Z paid=5USD",
        "Payment",
        &[
            "2024-01-02|2024-01-01|2024-01-02|-|1|0,0,0,0|duration=Monthly,store=stripe,\
             country=US,attribution_source=ads,attributes.test=x: +1 10000000 10000000 10000000",
            "2024-02-02|2024-01-01|2024-01-02|2024-01-02|2|0,0,0,0|product_id=gold,\
             duration=Monthly,store=stripe,country=US,attribution_source=ads,attributes.test=x: \
             +1 10000000 10000000 10000000",
            "2024-02-03|2024-01-01|2024-01-02|2024-02-02|1|0,0,0,0|duration=Uncategorized,\
             country=DE,attribution_source=mail,attributes.test=x: +1 5000000 5000000 5000000",
        ],
    );
}

#[test]
fn a_status_event_passes_its_values_on_and_a_view_does_not() {
    check(
        "a ann trial_started 2024-01-01T00:00Z period=P1W chain=s country=US
         b ann cancellation 2024-01-02T00:00Z store=stripe
         c ann paywall_view 2024-01-03T00:00Z chain=s paywall_id=p1
         d ann purchase 2024-01-08T00:00Z paid=10USD period=P1W chain=s",
        "Payment",
        &["2024-01-08|2024-01-01|2024-01-08|-|1|0,0,0,0|duration=Weekly,store=stripe,country=US: \
           +1 10000000 10000000 10000000"],
    );
}

#[test]
fn a_linked_refund_has_the_values_of_its_payment_and_an_unlinked_one_its_own() {
    check(
        "a ann refund 2024-01-01T00:00Z paid=10USD transaction=b country=DE
         b ann purchase 2024-01-02T00:00Z paid=10USD country=US chain=s
         c ann refund 2024-01-03T00:00Z paid=1USD chain=s store=stripe
         d ann refund 2024-01-04T00:00Z paid=1USD store=stripe",
        "Refund",
        &[
            // A linked refund may lie before its payment.
            "2024-01-01|2024-01-02|2024-01-02|2024-01-02|1|0,0,0,0|duration=Uncategorized,\
             country=US: +1 10000000 10000000 10000000",
            "2024-01-03|2024-01-02|2024-01-02|-|0|0,0,0,0|duration=Uncategorized,store=stripe,\
             country=US: +1 1000000 1000000 1000000",
            "2024-01-04|2024-01-02|2024-01-02|-|0|0,0,0,0|store=stripe: \
             +1 1000000 1000000 1000000",
        ],
    );
}

#[test]
fn the_free_payment_passes_its_values_on_though_it_is_no_payment() {
    let reference = super::accepted(
        super::app(&["UTC"], false),
        "a ann purchase 2024-01-01T00:00Z paid=0USD chain=s period=P1M country=US
         b ann renewal 2024-02-01T00:00Z paid=10USD chain=s period=P1Y transaction=b",
    );
    assert_eq!(
        rows(&reference.facts(), 0, "Payment"),
        ["2024-02-01|2024-01-01|2024-02-01|-|1|0,0,0,0|duration=Annual,country=US: \
          +1 10000000 10000000 10000000"]
    );
}

#[test]
fn names_and_values_are_escaped_and_attributes_are_sorted() {
    check(
        r"i ann install 2024-01-01T00:00Z plan_name=a,b=c;d\ attributes.z=1 attributes.a,=2",
        "Customer",
        &[
            r"2024-01-01|2024-01-01|-|-|1|0,0,0,0|plan_name=a\,b\=c\;d\\,attributes.a\,=2,attributes.z=1: +1",
        ],
    );
}
