//! Request bodies as the OpenAPI document describes them. They are read by hand ([`request`]),
//! which takes more than this: old names, other spellings, unknown fields.
//!
//! [`request`]: crate::http::adapty::request

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, Required};
use utoipa::{IntoParams, ToSchema};

use crate::http::adapty::visit::ZONE_HEADER;

/// What stands beside the body: a header and a parameter of the query.
pub struct AdaptyParameters;

impl IntoParams for AdaptyParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let optional = |name: &str, place, about: &str, schema: ObjectBuilder| {
            let parameter = ParameterBuilder::new().name(name).parameter_in(place);
            let parameter = parameter.required(Required::False).description(Some(about));
            parameter.schema(Some(schema)).build()
        };
        let zone =
            "The zone of all dates, one of the app's `reporting_zones`; absent: their first.";
        let format = "Form of the answer, if the body has no `format`.";
        vec![
            optional(ZONE_HEADER, ParameterIn::Header, zone, text()),
            optional("format", ParameterIn::Query, format, text().enum_values(Some(FORMATS))),
        ]
    }
}

const FORMATS: [&str; 2] = ["json", "csv"];

/// Which events count. A row must have one of the values of each given list; empty lists are no
/// filters. Unknown fields are let pass and named in `X-Ltvstream-Ignored`.
#[derive(ToSchema)]
pub struct AdaptyFilters {
    /// First and last day, both counted.
    #[schema(example = json!(["2025-01-01", "2025-03-31"]))]
    pub date: Vec<String>,
    pub store: Option<Vec<String>>,
    /// ISO 3166-1 alpha-2 in any case; the empty text is the unknown country.
    pub country: Option<Vec<String>>,
    /// `store:product`, `store:product:plan`, `product`, or a pair of store and product.
    #[schema(value_type = Option<Vec<Object>>)]
    pub store_product_id: Option<Vec<String>>,
    /// `Weekly`, `Monthly`, `2 months`, `3 months`, `6 months`, `Annual` or `Uncategorized`.
    pub duration: Option<Vec<String>>,
    pub attribution_source: Option<Vec<String>>,
    pub attribution_status: Option<Vec<String>>,
    pub attribution_channel: Option<Vec<String>>,
    pub attribution_campaign: Option<Vec<String>>,
    pub attribution_adgroup: Option<Vec<String>>,
    pub attribution_adset: Option<Vec<String>>,
    pub attribution_creative: Option<Vec<String>>,
    /// `no_offer`, `introductory`, `promotional`, `offer_code`, `win_back` (or `winback`) or `retention`.
    pub offer_category: Option<Vec<String>>,
    /// `free_trial`, `pay_as_you_go` or `pay_up_front`.
    pub offer_type: Option<Vec<String>>,
    pub offer_id: Option<Vec<String>>,
    pub paywall_id: Option<Vec<String>>,
    pub placement_id: Option<Vec<String>>,
    pub audience_id: Option<Vec<String>>,
    pub ab_test_id: Option<Vec<String>>,
}

/// A request for lifetime value.
#[derive(ToSchema)]
pub struct AdaptyLtvRequest {
    pub filters: AdaptyFilters,
    /// Length of a cohort: `day`, `week`, `month` (if absent), `quarter` or `year`.
    pub period_unit: Option<String>,
    /// `renewals` (if absent) or `days`.
    pub period_type: Option<String>,
    /// `day`, `week`, `month` or `year` (cohorts of that length), `country`, `product`,
    /// `store_product_id`, `paywall`, `paywalls_group`, `audience`, `placement`, `duration`, `store`
    /// or `default` (none). `segmentation_by` is the same.
    pub segmentation: Option<String>,
    /// `json` (if absent) or `csv`; may stand in the query as well.
    pub format: Option<String>,
}

/// A request for cohorts.
#[derive(ToSchema)]
pub struct AdaptyCohortRequest {
    pub filters: AdaptyFilters,
    /// Length of a cohort: `day`, `week`, `month` (if absent), `quarter` or `year`.
    pub period_unit: Option<String>,
    /// `renewals` (if absent) or `days`.
    pub period_type: Option<String>,
    /// Days since the install, with `days`: a list, or a single number. If absent 0, 3, 7, 14, 28,
    /// 31, 61, 92, 183, 336, 550 and 731.
    pub renewal_days: Option<Vec<u32>>,
    /// What the cells of CSV show: `revenue` (if absent), `arppu`, `arpu`, `arpas`, `subscribers` or
    /// `subscriptions`. JSON always has all.
    pub value_field: Option<String>,
    /// `absolute` (if absent) or `relative`: cells of CSV in percent of the first.
    pub value_type: Option<String>,
    /// Which money the cells of CSV show: `revenue` (if absent), `proceeds` or `net_revenue`.
    pub accounting_type: Option<String>,
    /// 3, 6, 9, 12, 18 or 24. Without effect: nothing is predicted.
    pub prediction_months: Option<u32>,
    /// `json` (if absent) or `csv`; may stand in the query as well.
    pub format: Option<String>,
}
