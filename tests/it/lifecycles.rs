//! What becomes of subscriptions, worked out by hand and asked over HTTP: renewals that fail and
//! recover or do not, pauses, changes within a chain, several subscriptions, refunds.
//!
//! A period paid at nine on the 10th of a month for a month ends at nine on the 10th of the next,
//! so the customer is active at the end of the 9th and not at the end of the 10th.

use axum::body::Body;
use axum::http::Request;
use ltvstream::config::{AppSettings, MrrRefunds};
use serde_json::{Value, json};

use crate::http_support::{ACME, Service, Setup, events, settings};

/// The service of one app that has taken in these events.
async fn service(lines: &str, mrr_refunds: Option<MrrRefunds>) -> Service {
    let acme = AppSettings { mrr_refunds, ..settings("acme", ACME) };
    Service::fed(Setup { apps: vec![acme], ..Setup::default() }, &events(lines)).await
}

const YEAR: &str = "start-date=2024-01-01&end-date=2024-12-31";
const MOVEMENTS: [&str; 5] = ["new-business", "expansion", "contraction", "churn", "reactivation"];

fn entries(answer: &Value) -> &[Value] {
    answer["entries"].as_array().unwrap()
}

/// `day MRR customers movement+amount…` of each day of 2024 on which anything moved.
async fn moves(service: &Service, more: &str) -> Vec<String> {
    let ask = async |metric: &str| {
        service.ask(&format!("/v1/metrics/{metric}?{YEAR}&interval=day{more}")).await
    };
    let (mrr, counts) = (ask("mrr").await, ask("customer-count").await);
    let mut shown = Vec::new();
    let mut customers_before = json!(0);
    for (mrr, count) in entries(&mrr).iter().zip(entries(&counts)) {
        assert_eq!(mrr["date"], count["date"]);
        let moved = MOVEMENTS.into_iter().filter_map(|name| {
            let amount = mrr[format!("mrr-{name}")].as_i64().unwrap();
            (amount != 0).then(|| format!(" {name}{amount:+}"))
        });
        let moved: String = moved.collect();
        if !moved.is_empty() || count["customers"] != customers_before {
            let date = mrr["date"].as_str().unwrap();
            shown.push(format!("{date} {} {}{moved}", mrr["mrr"], count["customers"]));
        }
        customers_before = count["customers"].clone();
    }
    shown
}

/// The rate of this name in the months of 2024, those with 0 left out: `month rate`.
async fn rates(service: &Service, metric: &str) -> Vec<String> {
    let path = format!("/v1/metrics/{metric}?{YEAR}&interval=month");
    let answer = service.ask(&path).await;
    let seen = entries(&answer).iter().filter(|entry| entry[metric] != 0.0);
    seen.map(|entry| format!("{} {}", &entry["date"].as_str().unwrap()[..7], entry[metric]))
        .collect()
}

/// Adapty's total row of everybody who installed in 2024.
async fn cohort(service: &Service, more: Value) -> Value {
    let mut body = more;
    body["filters"] = json!({"date": ["2024-01-01", "2024-12-31"]});
    let request = Request::post("/api/v1/client-api/metrics/cohort/");
    let answer = service.send(request.body(Body::from(body.to_string())).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["data"][0].clone()
}

/// Revenue and payers of each of Adapty's payment indices.
fn cells(total: &Value) -> Vec<(f64, i64)> {
    let cells = total["values"].as_array().unwrap().iter();
    cells
        .map(|cell| (cell["revenue_usd"].as_f64().unwrap(), cell["subscribers"].as_i64().unwrap()))
        .collect()
}

/// `month revenue` of the native path, months without any left out.
async fn revenue(service: &Service) -> Vec<String> {
    let answer = service.ask("/v1/apps/acme/revenue").await;
    let buckets = answer["buckets"].as_array().unwrap().iter();
    let seen = buckets.filter(|bucket| bucket["payments"] != 0 || bucket["refunds"] != 0);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    seen.map(|bucket| format!("{} {}", &text(&bucket["start"])[..7], text(&bucket["revenue"])))
        .collect()
}

#[tokio::test]
async fn a_failed_renewal_keeps_the_customer_through_the_grace_period_and_no_longer() {
    let service = service(
        "a purchase      2024-01-10 10.00 chain=a period=P1M
         a billing_issue 2024-02-10 - chain=a
         a grace_period  2024-02-10 - chain=a expires_at=2024-02-26T09:00:00Z",
        None,
    )
    .await;
    let expected = ["2024-01-10 1000 1 new-business+1000", "2024-02-26 0 0 churn-1000"];
    assert_eq!(moves(&service, "").await, expected);
    // One customer at the beginning of February, none of them at its end.
    assert_eq!(rates(&service, "customer-churn-rate").await, ["2024-02 100.0"]);
    assert_eq!(rates(&service, "mrr-churn-rate").await, ["2024-02 100.0"]);
    // Grace is not paid for.
    assert_eq!(cells(&cohort(&service, json!({})).await), [(10.0, 1)]);
    assert_eq!(revenue(&service).await, ["2024-01 10.00"]);
}

#[tokio::test]
async fn who_pays_within_the_grace_period_never_left() {
    let service = service(
        "a purchase      2024-01-10 10.00 chain=a period=P1M
         a billing_issue 2024-02-10 - chain=a
         a grace_period  2024-02-10 - chain=a expires_at=2024-02-26T09:00:00Z
         a renewal       2024-02-20 10.00 chain=a tx=a2 period=P1M",
        None,
    )
    .await;
    // The second period runs from the day of its payment: to March 20.
    let expected = ["2024-01-10 1000 1 new-business+1000", "2024-03-20 0 0 churn-1000"];
    assert_eq!(moves(&service, "").await, expected);
    assert_eq!(rates(&service, "customer-churn-rate").await, ["2024-03 100.0"]);
    assert_eq!(cells(&cohort(&service, json!({})).await), [(10.0, 1), (10.0, 1)]);
    assert_eq!(revenue(&service).await, ["2024-01 10.00", "2024-02 10.00"]);
}

#[tokio::test]
async fn an_expiration_ends_the_grace_period_early() {
    let service = service(
        "a purchase      2024-01-10 10.00 chain=a period=P1M
         a grace_period  2024-02-10 - chain=a expires_at=2024-02-26T09:00:00Z
         a expiration    2024-02-20 - chain=a",
        None,
    )
    .await;
    let expected = ["2024-01-10 1000 1 new-business+1000", "2024-02-20 0 0 churn-1000"];
    assert_eq!(moves(&service, "").await, expected);
}

#[tokio::test]
async fn a_billing_retry_that_recovers_is_churn_and_reactivation() {
    let service = service(
        "a purchase      2024-01-10 10.00 chain=a period=P1M
         b purchase      2024-01-10 40.00 chain=b period=P1Y
         a billing_issue 2024-02-10 - chain=a
         a renewal       2024-02-25 10.00 chain=a tx=a2 period=P1M",
        None,
    )
    .await;
    // b pays 40.00 a year, 3.33 a month.
    let expected = [
        "2024-01-10 1333 2 new-business+1333",
        "2024-02-10 333 1 churn-1000",
        "2024-02-25 1333 2 reactivation+1000",
        "2024-03-25 333 1 churn-1000",
    ];
    assert_eq!(moves(&service, "").await, expected);
    // Who left and came back within February is not counted; in March one of two leaves.
    assert_eq!(rates(&service, "customer-churn-rate").await, ["2024-03 50.0"]);
    // February: (1000 - 1000) / 1333. March: 1000 / 1333 = 75.0187… %.
    assert_eq!(rates(&service, "mrr-churn-rate").await, ["2024-03 75.02"]);
    // The late payment is the second one all the same.
    assert_eq!(cells(&cohort(&service, json!({})).await), [(50.0, 2), (10.0, 1)]);
    assert_eq!(revenue(&service).await, ["2024-01 50.00", "2024-02 10.00"]);
}

#[tokio::test]
async fn a_billing_retry_that_ends_was_churn_on_the_day_the_period_ended() {
    let service = service(
        "a purchase      2024-01-10 10.00 chain=a period=P1M
         a billing_issue 2024-02-10 - chain=a
         a expiration    2024-03-11 - chain=a cancellation_reason=billing_error",
        None,
    )
    .await;
    let expected = ["2024-01-10 1000 1 new-business+1000", "2024-02-10 0 0 churn-1000"];
    assert_eq!(moves(&service, "").await, expected);
    assert_eq!(rates(&service, "customer-churn-rate").await, ["2024-02 100.0"]);
    assert_eq!(cells(&cohort(&service, json!({})).await), [(10.0, 1)]);
}

#[tokio::test]
async fn a_pause_is_churn_when_it_begins_and_reactivation_when_it_is_over() {
    let service = service(
        "a purchase     2024-01-10 10.00 chain=a period=P1M
         a cancellation 2024-01-20 - chain=a
         a expiration   2024-02-10 - chain=a cancellation_reason=paused
         a uncancellation 2024-04-15 - chain=a
         a renewal      2024-04-15 12.00 chain=a tx=a2 period=P1M",
        None,
    )
    .await;
    // Renewal switched off changes nothing before the period is over.
    let expected = [
        "2024-01-10 1000 1 new-business+1000",
        "2024-02-10 0 0 churn-1000",
        "2024-04-15 1200 1 reactivation+1200",
        "2024-05-15 0 0 churn-1200",
    ];
    assert_eq!(moves(&service, "").await, expected);
    // April begins without customers, so nobody is missed in it.
    let expected = ["2024-02 100.0", "2024-05 100.0"];
    assert_eq!(rates(&service, "customer-churn-rate").await, expected);
    assert_eq!(rates(&service, "mrr-churn-rate").await, expected);
    assert_eq!(cells(&cohort(&service, json!({})).await), [(10.0, 1), (12.0, 1)]);
    assert_eq!(revenue(&service).await, ["2024-01 10.00", "2024-04 12.00"]);
}

#[tokio::test]
async fn upgrades_and_downgrades_within_a_chain_are_expansion_and_contraction() {
    let service = service(
        "a purchase 2024-01-10  10.00 chain=a period=P1M product_id=basic
         a renewal  2024-01-20  20.00 chain=a tx=a2 period=P1M product_id=pro
         a renewal  2024-02-20   5.00 chain=a tx=a3 period=P1M product_id=lite
         a renewal  2024-03-15 120.00 chain=a tx=a4 period=P1Y product_id=pro",
        None,
    )
    .await;
    // The next payment ends the period before it, paid for or not. 120.00 a year is 10.00 a month.
    let expected = [
        "2024-01-10 1000 1 new-business+1000",
        "2024-01-20 2000 1 expansion+1000",
        "2024-02-20 500 1 contraction-1500",
        "2024-03-15 1000 1 expansion+500",
    ];
    assert_eq!(moves(&service, "").await, expected);
    assert_eq!(rates(&service, "customer-churn-rate").await, Vec::<String>::new());
    // Of 2000 at the beginning of February 1500 go; 500 come to 500 in March.
    assert_eq!(rates(&service, "mrr-churn-rate").await, ["2024-02 75.0", "2024-03 -100.0"]);
    // Seen by plan, a change of plans is leaving one and taking up the other.
    let pro = [
        "2024-01-20 2000 1 new-business+2000",
        "2024-02-20 0 0 churn-2000",
        "2024-03-15 1000 1 reactivation+1000",
    ];
    assert_eq!(moves(&service, "&plans=pro").await, pro);
    let total = cohort(&service, json!({})).await;
    assert_eq!(cells(&total), [(10.0, 1), (20.0, 1), (5.0, 1), (120.0, 1)]);
    assert_eq!(
        (&total["total_subscriptions"], &total["total_revenue_usd"]),
        (&json!(1), &json!(155.0))
    );
}

#[tokio::test]
async fn a_trial_of_what_is_paid_for_takes_nothing_away() {
    let service = service(
        "a purchase      2024-01-10 120.00 chain=a period=P1Y
         a trial_started 2024-02-20 - chain=a period=P1W
         b purchase      2024-01-10  10.00 chain=b period=P1M
         b trial_started 2024-02-15 - chain=b period=P1W
         b purchase      2024-02-18  20.00 chain=b tx=b2 period=P1M",
        None,
    )
    .await;
    // The year goes on; of the other a trial begins after the month is over, and a payment ends it.
    let expected = [
        "2024-01-10 2000 2 new-business+2000",
        "2024-02-10 1000 1 churn-1000",
        "2024-02-18 3000 2 reactivation+2000",
        "2024-03-18 1000 1 churn-2000",
    ];
    assert_eq!(moves(&service, "").await, expected);
}

#[tokio::test]
async fn a_customer_of_several_subscriptions_churns_when_the_last_of_them_ends() {
    let service = service(
        "a purchase 2024-01-10 10.00 chain=s period=P1M
         a purchase 2024-01-15 30.00 chain=t period=P2M
         a purchase 2024-01-20 99.00",
        None,
    )
    .await;
    // 30.00 for two months is 15.00 a month; what was bought once is no subscription.
    let expected = [
        "2024-01-10 1000 1 new-business+1000",
        "2024-01-15 2500 1 expansion+1500",
        "2024-02-10 1500 1 contraction-1000",
        "2024-03-15 0 0 churn-1500",
    ];
    assert_eq!(moves(&service, "").await, expected);
    assert_eq!(rates(&service, "customer-churn-rate").await, ["2024-03 100.0"]);
    // 1000 of 2500 go in February, 1500 of 1500 in March.
    assert_eq!(rates(&service, "mrr-churn-rate").await, ["2024-02 40.0", "2024-03 100.0"]);
    let total = cohort(&service, json!({})).await;
    assert_eq!(cells(&total), [(139.0, 1)]);
    assert_eq!(total["total_subscriptions"], 3);
    let ltv = service.ask("/v1/apps/acme/ltv").await;
    assert_eq!(ltv["total"]["to_date"]["ltv"], "139.00");
}

const REFUNDED: &str = "a purchase 2024-01-10 10.00 chain=a period=P1M
                        a renewal  2024-02-10 10.00 chain=a tx=a2 period=P1M
                        a refund   2024-02-20 10.00 tx=a2
                        a renewal  2024-03-10 10.00 chain=a tx=a3 period=P1M
                        a refund   2024-03-20  4.00 tx=a3";

#[tokio::test]
async fn a_refund_takes_its_period_out_of_recurring_revenue_only_where_the_app_says_so() {
    for (refunds, expected, churn) in [
        (
            MrrRefunds::Keep,
            &["2024-01-10 1000 1 new-business+1000", "2024-04-10 0 0 churn-1000"][..],
            &["2024-04 100.0"][..],
        ),
        (
            // The period that was given back whole is a gap; the one of which a part was stays.
            MrrRefunds::Remove,
            &[
                "2024-01-10 1000 1 new-business+1000",
                "2024-02-10 0 0 churn-1000",
                "2024-03-10 1000 1 reactivation+1000",
                "2024-04-10 0 0 churn-1000",
            ],
            &["2024-02 100.0", "2024-04 100.0"],
        ),
    ] {
        let service = service(REFUNDED, Some(refunds)).await;
        assert_eq!(moves(&service, "").await, expected, "{refunds:?}");
        assert_eq!(rates(&service, "customer-churn-rate").await, churn, "{refunds:?}");
        // Money does not depend on it: 10, 10 less 10, 10 less 4.
        let total = cohort(&service, json!({})).await;
        assert_eq!(cells(&total), [(10.0, 1), (0.0, 1), (6.0, 1)], "{refunds:?}");
        assert_eq!(revenue(&service).await, ["2024-01 10.00", "2024-02 0.00", "2024-03 6.00"]);
    }
}

#[tokio::test]
async fn along_days_a_refunded_customer_leaves_the_payers_on_the_day_of_the_refund() {
    let service = service(REFUNDED, None).await;
    let days = json!({"period_type": "days", "renewal_days": [0, 31, 40, 41, 60, 70]});
    // Placed by the first payment on January 10: paid again on days 31 and 60, refunded on days
    // 41 and 70.
    let expected = [(10.0, 1), (20.0, 1), (20.0, 1), (10.0, 0), (20.0, 0), (16.0, 0)];
    assert_eq!(cells(&cohort(&service, days).await), expected);
}
