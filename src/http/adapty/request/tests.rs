//! Requests as the vendor's pages and known clients send them.

use serde_json::json;

use super::*;
use crate::domain::cohort::Field;
use crate::domain::dimensions::Dimension;

fn ltv(body: &Value) -> Result<Asked<LtvRequest>, Vec<Fault>> {
    read_ltv(&Sent { body: body.to_string().as_bytes(), query: &[] })
}

fn cohort(body: &Value) -> Result<Asked<CohortRequest>, Vec<Fault>> {
    read_cohort(&Sent { body: body.to_string().as_bytes(), query: &[] })
}

fn sources(faults: &[Fault]) -> Vec<&str> {
    faults.iter().map(|fault| fault.source.as_str()).collect()
}

#[test]
fn the_least_request_has_the_documented_defaults() {
    let body = json!({"filters": {"date": ["2024-01-01", "2024-12-31"]}});
    let asked = ltv(&body).unwrap();
    assert_eq!(asked.ignored, Vec::<String>::new());
    assert_eq!(asked.request.common.unit, Width::Month);
    assert_eq!(asked.request.common.format, Format::Json);
    assert_eq!(asked.request.period_type, PeriodType::Renewals);
    assert_eq!(asked.request.segmentation, Segmentation::None);
    let asked = cohort(&body).unwrap();
    assert_eq!(asked.request.renewal_days, [0, 3, 7, 14, 28, 31, 61, 92, 183, 336, 550, 731]);
    assert_eq!(asked.request.value_field, ValueField::Revenue);
    assert_eq!(asked.request.accounting_type, AccountingType::Revenue);
}

#[test]
fn the_published_forms_are_accepted_as_they_stand() {
    let asked = ltv(&json!({
        "filters": {
            "date": ["2024-07-01", "2024-09-30"], "compare_date": ["2024-04-01", "2024-06-30"],
            "store": ["app_store"], "store_product_id": [["yearly.premium.6999"]],
            "country": ["US"], "attribution_source": ["appsflyer"],
        },
        "period_unit": "week", "period_type": "days", "segmentation": "store_product_id",
        "value_type": "absolute", "format": "csv",
    }))
    .unwrap();
    let product = Field::Dimension(Dimension::ProductId);
    assert_eq!(asked.request.segmentation, Segmentation::Field(product));
    assert_eq!(asked.request.common.format, Format::Csv);
    assert_eq!(asked.request.common.filters.products.len(), 1);
    assert_eq!(asked.ignored, ["filters.compare_date", "period_unit", "value_type"]);

    let asked = cohort(&json!({
        "filters": {"date": ["2024-07-01", "2024-09-30"], "country": ["us", "gb"]},
        "period_unit": "month", "period_type": "days", "value_type": "absolute",
        "value_field": "subscriptions", "accounting_type": "revenue",
        "renewal_days": [60, 0, 7, 14, 30, 7], "prediction_months": 12, "format": "json",
    }))
    .unwrap();
    assert_eq!(asked.request.renewal_days, [0, 7, 14, 30, 60]);
    let unshown = ["accounting_type", "prediction_months", "value_field", "value_type"];
    assert_eq!(asked.ignored, unshown);

    // A single number, as the first draft had it, and the old name of the segmentation.
    let dates = json!({"date": ["2024-07-01", "2024-07-01"]});
    let asked = cohort(&json!({"filters": dates, "renewal_days": 5})).unwrap();
    assert_eq!(asked.request.renewal_days, [5]);
    let asked = ltv(&json!({"filters": dates, "segmentation_by": "week"})).unwrap();
    assert_eq!(asked.request.segmentation, Segmentation::Cohorts(Width::Week));
}

#[test]
fn the_format_may_stand_in_the_query_and_the_body_wins() {
    let query = |format: &str| vec![("format".to_owned(), format.to_owned())];
    let dates = json!({"date": ["2024-07-01", "2024-07-01"]});
    let (plain, json) = (json!({"filters": dates}), json!({"filters": dates, "format": "json"}));
    for (body, in_query, expected) in [
        (&plain, "csv", Some(Format::Csv)),
        (&json, "csv", Some(Format::Json)),
        (&plain, "xml", None),
    ] {
        let query = query(in_query);
        let read = read_ltv(&Sent { body: body.to_string().as_bytes(), query: &query });
        assert_eq!(read.ok().map(|asked| asked.request.common.format), expected, "{body}");
    }
}

#[test]
fn a_format_in_the_query_that_is_not_used_is_named() {
    let query: Vec<(String, String)> =
        [("format", "csv"), ("format", "json")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
    let ignored = |body: &Value, query: &[(String, String)]| {
        read_ltv(&Sent { body: body.to_string().as_bytes(), query }).unwrap().ignored
    };
    let dates = json!({"date": ["2024-07-01", "2024-07-01"]});
    let (plain, json) = (json!({"filters": dates}), json!({"filters": dates, "format": "json"}));
    assert_eq!(ignored(&plain, &query[..1]), Vec::<String>::new());
    assert_eq!(ignored(&plain, &query), ["format"]);
    assert_eq!(ignored(&json, &query[..1]), ["format"]);
}

#[test]
fn faults_are_told_all_at_once_by_field() {
    let faults = cohort(&json!({
        "filters": {"date": ["2024-07-01"], "country": "US"}, "period_unit": "decade",
        "period_type": "weeks", "renewal_days": ["1"], "prediction_months": 5, "format": "xml",
    }))
    .unwrap_err();
    let expected = [
        "date",
        "country",
        "period_unit",
        "format",
        "period_type",
        "renewal_days",
        "prediction_months",
    ];
    assert_eq!(sources(&faults), expected);
    let read = |body: &[u8]| read_ltv(&Sent { body, query: &[] }).unwrap_err();
    assert_eq!(sources(&read(b"{}")), ["filters"]);
    assert_eq!(sources(&read(b"{\"filters\": {}}")), ["date"]);
    assert_eq!(sources(&read(b"{\"filters\": 1}")), ["filters"]);
    assert_eq!(sources(&read(b"[]")), [NO_FIELD]);
    assert_eq!(sources(&read(b"{\"filters\": {")), [NO_FIELD]);
}
