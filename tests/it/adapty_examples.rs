//! The forms of requests that Adapty's pages have shown over the years, first drafts included.
//!
//! Each is sent as a page shows it, values aside, and answered with figures worked out by hand; where
//! a page's JSON is broken, it is refused as it stands and answered once it is repaired.

use serde_json::{Value, json};

use crate::adapty::{COHORT, KEY, LTV, assert_holds, post, service};
use crate::http_support::{Answer, Service, events};

async fn sent(service: &Service, path: &str, body: &str) -> Answer {
    let headers = [KEY, ("content-type", "application/json")];
    post(service, path, &headers, body).await
}

async fn answered(service: &Service, path: &str, body: &str) -> Answer {
    let answer = sent(service, path, body).await;
    assert_eq!(answer.status, 200, "{body}: {}", answer.text);
    answer
}

/// A value for each audience, as the page of 2024 asks for it: a bare product, a country in lower
/// case, and an attribution.
#[tokio::test]
async fn the_page_of_all_methods_asks_for_lifetime_value_by_audience() {
    let from = "country=US store=app_store attribution_source=appsflyer attribution_status=organic";
    let social = format!("{from} attribution_channel=social_media");
    let lines = format!(
        "a install  2023-02-01 - {social} audience_id=old
         a purchase 2023-02-02 10.00 chain=a period=P1M product_id=premium
         a renewal  2023-03-02 10.00 chain=a tx=a2 period=P1M product_id=premium
         b install  2023-05-01 - {social} audience_id=new
         b purchase 2023-05-02 30.00 chain=b period=P1M product_id=premium
         c install  2023-05-03 - {social} audience_id=new
         c purchase 2023-05-03 99.00 chain=c period=P1M product_id=other
         d install  2023-05-03 - {from} attribution_channel=search audience_id=new
         d purchase 2023-05-03 77.00 chain=d period=P1M product_id=premium
         e install  2022-12-31 - {social} audience_id=new
         e purchase 2023-01-03 55.00 chain=e period=P1M product_id=premium"
    );
    let service = service(&events(&lines)).await;
    let body = r#"{
      "filters": {
        "date": ["2023-01-01", "2023-12-31"],
        "store": ["app_store"],
        "country": ["us"],
        "store_product_id": ["premium"],
        "attribution_source": ["appsflyer"],
        "attribution_status": ["organic"],
        "attribution_channel": ["social_media"]
      },
      "period_unit": "month",
      "period_type": "renewals",
      "segmentation": "audience",
      "value_type": "absolute"
    }"#;
    let answer = answered(&service, LTV, body).await;
    // a paid 10 and 10, b 30. Another product, another channel and an install of the year before
    // do not count.
    let point = |period: u32, value: f64, size: u32| json!({"period": period, "value": value, "cohort_size": size});
    let rows = json!([
        {"title": "Total", "type": "total", "value": 25.0, "cohort_size": 2,
         "values": [point(1, 20.0, 2), point(2, 25.0, 2)]},
        {"title": "new", "type": "new", "value": 30.0, "cohort_size": 1,
         "values": [point(1, 30.0, 1)]},
        {"title": "old", "type": "old", "value": 20.0, "cohort_size": 1,
         "values": [point(1, 10.0, 1), point(2, 20.0, 1)]},
    ]);
    assert_eq!(answer.json()["revenue"]["data"], rows);
    assert_eq!(answer.header("x-ltvstream-ignored"), "period_unit, value_type");
}

/// The page of 2024 has a comma too many behind its last filter, a list in a list.
#[tokio::test]
async fn the_page_of_all_methods_asks_for_cohorts_of_a_nested_product() {
    let service = service(&events(
        "a install  2024-04-03 - country=US store=app_store
         a purchase 2024-04-04 5.99 chain=a period=P1M product_id=monthly.premium
         a renewal  2024-05-04 5.99 chain=a tx=a2 period=P1M product_id=monthly.premium
         b install  2024-04-20 - country=US store=app_store
         b purchase 2024-04-21 50.00 chain=b period=P1Y product_id=yearly.premium
         c install  2024-05-02 - country=CA store=app_store
         c purchase 2024-05-02 5.99 chain=c period=P1M product_id=monthly.premium
         d install  2024-05-02 - country=US store=play_store
         d purchase 2024-05-02 5.99 chain=d period=P1M product_id=monthly.premium",
    ))
    .await;
    let body = r#"{
      "filters": {
        "date": ["2024-04-01", "2024-09-30"],
        "compare_date": ["2023-04-01", "2023-09-30"],
        "store": ["app_store"],
        "country": ["us"],
        "store_product_id": [["monthly.premium"]],
      },
      "period_unit": "month",
      "period_type": "renewals",
      "value_type": "absolute",
      "value_field": "subscriptions"
    }"#;
    let refused = sent(&service, COHORT, body).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["error_code"]),
        (400, &json!("value_error"))
    );
    let repaired = body.replace("]],\n      }", "]]\n      }");
    assert_ne!(repaired, body);
    let answer = answered(&service, COHORT, &repaired).await;
    // a and b installed, b bought something else: 5.99 twice, for two installs.
    let cells = json!([
        {"period": 1, "revenue_usd": 5.99, "subscriptions": 1, "subscribers": 1, "installs": 2},
        {"period": 2, "revenue_usd": 5.99, "subscriptions": 1, "subscribers": 1, "installs": 2},
    ]);
    let row = |title: &str, kind: &str| {
        json!({"title": title, "type": kind, "total_installs": 2, "total_subscriptions": 1,
               "total_paid_subscribers": 1, "total_revenue_usd": 11.98, "total_arpu_usd": 5.99,
               "values": cells})
    };
    let rows = json!([row("Total", "total"), row("2024-04-01", "single")]);
    assert_holds(&answer.json()["data"], &rows, "cohorts");
    let ignored = "filters.compare_date, value_field, value_type";
    assert_eq!(answer.header("x-ltvstream-ignored"), ignored);
}

/// Every filter that the first draft knew, with placeholders for values.
fn draft_filters() -> Value {
    let uuid = "0c4f6b1e-93d4-4f57-8a2b-1d7c50e6a9f3";
    let (days, instant) = (json!(["2019-08-24", "2019-08-24"]), "2019-08-24T14:15:22Z");
    let mut filters = json!({
        "date": days, "compare_date": days, "date_from": instant, "date_to": instant,
        "compare_date_from": instant, "compare_date_to": instant, "state": ["live"],
        "country": ["st"], "store_product_id": [["string", "string"]], "duration": ["Weekly"],
        "renewal_period": [0], "subscription_duration": 0, "timezone": "string",
        "profiles_counting_method": "profile_id",
    });
    for name in ["source", "status", "channel", "campaign", "adgroup", "adset", "creative"] {
        filters[format!("attribution_{name}")] = json!(["string"]);
    }
    filters["store"] = json!(["string"]);
    for name in [
        "app_id",
        "placement_id",
        "audience_id",
        "ab_test_id",
        "paywalls_group_id",
        "paywall_id",
        "placement_audience_version_id",
        "purchase_container_id",
    ] {
        filters[name] = json!([uuid]);
    }
    filters
}

/// A customer who has all the placeholders, and one who lacks one of them.
fn draft_customers() -> String {
    let uuid = "0c4f6b1e-93d4-4f57-8a2b-1d7c50e6a9f3";
    let mut dims = String::from("store=string");
    for name in ["source", "status", "channel", "campaign", "adgroup", "adset", "creative"] {
        dims += &format!(" attribution_{name}=string");
    }
    for name in ["placement_id", "audience_id", "paywall_id"] {
        dims += &format!(" {name}={uuid}");
    }
    let lines = format!(
        "a install  2019-08-24 - country=ST {dims}
         a purchase 2019-08-24T10:00 4.00 chain=a period=P1W product_id=string
         b install  2019-08-24 - country=US {dims}
         b purchase 2019-08-24T10:00 7.00 chain=b period=P1W product_id=string"
    );
    events(&lines)
        .lines()
        .map(|line| {
            let mut event: Value = serde_json::from_str(line).unwrap();
            event["attributes"] = json!({"ab_test_id": uuid});
            event.to_string() + "\n"
        })
        .collect()
}

#[tokio::test]
async fn the_first_draft_asks_with_every_field_it_had() {
    let service = service(&draft_customers()).await;
    let idle_filters = "filters.app_id, filters.compare_date, filters.compare_date_from, \
                        filters.compare_date_to, filters.date_from, filters.date_to, \
                        filters.paywalls_group_id, filters.placement_audience_version_id, \
                        filters.profiles_counting_method, filters.purchase_container_id, \
                        filters.renewal_period, filters.state, filters.subscription_duration, \
                        filters.timezone";
    let ltv = json!({
        "filters": draft_filters(), "format": "json", "period_unit": "month",
        "period_type": "renewals", "segmentation": "day", "value_type": "absolute",
    });
    let answer = answered(&service, LTV, &ltv.to_string()).await;
    let row = |title: &str, kind: &str| json!({"title": title, "type": kind, "value": 4.0, "cohort_size": 1});
    let rows = json!([row("Total", "total"), row("2019-08-24", "single")]);
    assert_holds(&answer.json()["revenue"]["data"], &rows, "ltv");
    let ignored = format!("{idle_filters}, period_unit, value_type");
    assert_eq!(answer.header("x-ltvstream-ignored"), ignored);
    let cohort = json!({
        "filters": draft_filters(), "period_unit": "month", "period_type": "renewals",
        "value_type": "absolute", "value_field": "revenue", "accounting_type": "revenue",
        "renewal_days": [0], "format": "json",
    });
    let answer = answered(&service, COHORT, &cohort.to_string()).await;
    let row = |title: &str, kind: &str| {
        json!({"title": title, "type": kind, "total_installs": 1, "total_revenue_usd": 4.0,
               "values": [{"period": 1, "revenue_usd": 4.0, "subscriptions": 1}]})
    };
    let rows = json!([row("Total", "total"), row("2019-08-01", "single")]);
    assert_holds(&answer.json()["data"], &rows, "cohorts");
    let ignored = format!("accounting_type, {idle_filters}, renewal_days, value_field, value_type");
    assert_eq!(answer.header("x-ltvstream-ignored"), ignored);
}

/// Methods that are not there say so in the vendor's error body, whatever they are asked.
#[tokio::test]
async fn the_pages_of_other_methods_are_told_that_these_are_not_there() {
    let service = service("").await;
    for (method, more) in [
        (
            "analytics",
            json!({"date_type": "purchase_date", "segmentation_by": "attribution_campaign"}),
        ),
        (
            "conversion",
            json!({"date_type": "purchase_date", "segmentation_by": "attribution_channel"}),
        ),
        ("funnel", json!({"date_type": "purchase_date", "segmentation_by": "renewal_status"})),
        ("retention", json!({"segmentation_by": "country", "use_trial": false})),
    ] {
        let mut body = more;
        body["filters"] = json!({"date": ["2023-01-01", "2023-12-31"]});
        let path = format!("/api/v1/client-api/metrics/{method}/");
        let answer = sent(&service, &path, &body.to_string()).await;
        let errors = json!([{"source": "non_field_errors",
                             "errors": ["There is no such method here."]}]);
        let expected = json!({"errors": errors, "error_code": "not_found", "status_code": 404});
        assert_eq!((answer.status.as_u16(), answer.json()), (404, expected), "{method}");
    }
}
