//! Zenovay's external API: `GET /api/external/v1/revenue/{websiteId}/ltv`.
//!
//! A website is an app, by one of its `compat_ids` or its own id. The question is that of the
//! native path: cohorts of the first purchase by month or week, gross less refunds at their own
//! time, per customer, in the first of the app's zones.

mod body;
#[cfg(test)]
mod tests;
mod words;

use std::num::NonZeroU32;
use std::time::Duration as StdDuration;

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};

use crate::config::Plan;
use crate::domain::cohort::Anchor;
use crate::domain::rules::AppRules;
use crate::domain::time::{DAY_MICROS, Timestamp, Width, Zone};
use crate::http::asking;
use crate::http::compat::{
    Allowance, BadParameter, CompatError, Given, Vendor, Visitor, answer_headers, is_uuid, pairs,
};
use crate::http::credentials;
use crate::http::freshness::blocking;
use crate::http::parameters::{Parameter, Shape, documented_parameters};
use crate::http::state::HttpState;
use crate::metrics_api::question::{
    AgeBasis, LtvQuestion, Measure, Members, Per, RefundDating, RefundedPayers,
};

use body::answered;
pub use body::{ZenovayCohort, ZenovayData, ZenovayLtv, ZenovayPeriod, ZenovaySummary};
pub use words::{ZenovayError, ZenovayFailure};

/// The vendor.
pub const VENDOR: Vendor = Vendor {
    routes: || vec![(LTV_PATH, get(get_zenovay_ltv))],
    nothing_at: &["/api/external/v1", "/api/external/v1/", "/api/external/v1/{*rest}"],
    nothing: || any(get_nothing),
    word: words::word,
    cross_origin: None,
};

const LTV_PATH: &str = "/api/external/v1/revenue/{websiteId}/ltv";

/// What the vendor's plan Pro allows.
const ALLOWANCE: Allowance = Allowance {
    vendor: "zenovay",
    requests: NonZeroU32::MIN.saturating_add(29),
    per: StdDuration::from_secs(60),
    calendar: Some((Width::Month, 10_000)),
};

/// Names of ranges and their length in days.
const RANGES: [(&str, i64); 4] = [("24h", 1), ("7d", 7), ("30d", 30), ("90d", 90)];

/// How cohorts are cut: name, width, and the periods that stand for 30 and for 90 days.
const GRANULARITIES: [(&str, Granularity); 2] = [
    ("weekly", Granularity { width: Width::Week, at_30_days: 3, at_90_days: 11 }),
    ("monthly", Granularity { width: Width::Month, at_30_days: 0, at_90_days: 2 }),
];

#[derive(Clone, Copy)]
struct Granularity {
    width: Width,
    at_30_days: usize,
    at_90_days: usize,
}

/// What the path takes.
const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "range",
        is_required: false,
        shape: Shape::Choice(|| RANGES.iter().map(|(name, _)| *name).collect()),
        about: "Cohorts whose month or week meets this stretch of time up to now, each whole; 90d \
                if absent.",
    },
    Parameter {
        name: "granularity",
        is_required: false,
        shape: Shape::Choice(|| GRANULARITIES.iter().map(|(name, _)| *name).collect()),
        about: "Length of cohorts and periods; monthly if absent. Weeks start on Monday.",
    },
];

documented_parameters!(ZenovayParameters, PARAMETERS, has_filters: false);

/// Lifetime value as Zenovay's clients read it.
///
/// Cumulative revenue per customer of cohorts by first purchase, net of refunds in the period in
/// which they happen. Limits, usage and errors are worded as the vendor does.
#[utoipa::path(
    get,
    path = "/api/external/v1/revenue/{websiteId}/ltv",
    tag = "compatible",
    params(
        ("websiteId" = String, Path, description = "One of the app's compat_ids, or its own id"),
        ZenovayParameters,
    ),
    responses(
        (status = 200, description = "Cohorts and their averages", body = ZenovayLtv),
        (status = 400, description = "VALIDATION_ERROR or MISSING_SITE_ID", body = ZenovayFailure),
        (status = 401, description = "UNAUTHORIZED", body = ZenovayFailure),
        (status = 403, description = "PLAN_REQUIRED or FORBIDDEN", body = ZenovayFailure),
        (status = 404, description = "NOT_FOUND", body = ZenovayFailure),
        (status = 429, description = "RATE_LIMIT_EXCEEDED or MONTHLY_LIMIT_EXCEEDED",
            body = ZenovayFailure),
        (status = 500, description = "INTERNAL_ERROR", body = ZenovayFailure),
        (status = 503, description = "SERVICE_UNAVAILABLE", body = ZenovayFailure),
    ),
)]
pub async fn get_zenovay_ltv(
    State(state): State<HttpState>,
    Path(website): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let secret = credentials::api_key(&headers);
    let admitted = Visitor::admit(&state, secret)
        .and_then(|visitor| Ok((visitor, visitor.charge(&ALLOWANCE, None)?)));
    let (visitor, grant) = match admitted {
        Ok(admitted) => admitted,
        Err(error) => return words::word(&state, &error),
    };
    let mut response = match visitor.plan() {
        Plan::Free => words::plan_required(&state),
        Plan::Pro if website.is_empty() => words::missing_site(&state),
        Plan::Pro => answer(&state, visitor, &website, query.as_deref().unwrap_or_default())
            .await
            .unwrap_or_else(|error| words::word(&state, &error)),
    };
    response.headers_mut().extend(words::limit_headers(&grant, state.parts.clock.now()));
    response
}

async fn answer(
    state: &HttpState,
    visitor: Visitor<'_>,
    website: &str,
    query: &str,
) -> Result<Response, CompatError> {
    let given = Given::read(pairs(query), PARAMETERS);
    let range = choice(&given, "range", "90d", &RANGES);
    let granularity = choice(&given, "granularity", "monthly", &GRANULARITIES);
    let mut wrong: Vec<BadParameter> = Vec::new();
    wrong.extend(range.as_ref().err().cloned());
    wrong.extend(granularity.as_ref().err().cloned());
    let app = visitor.app(website);
    if matches!(app, Err(CompatError::UnknownApp { .. })) && !is_uuid(website) {
        wrong.push(BadParameter::wrong("websiteId", "a UUID", website));
    }
    let (Ok(days), Ok(granularity), true) = (range, granularity, wrong.is_empty()) else {
        return Err(CompatError::BadParameters(wrong));
    };
    let now = state.parts.clock.now();
    let question = question(app?.rules, granularity.width, days, now);
    let asked = state.clone();
    let (answer, freshness) = blocking(move || asking::ltv(&asked, &question)).await?;
    let body = answered(&answer, granularity, now);
    Ok((words::request_id(), answer_headers(&freshness, &given), axum::Json(body)).into_response())
}

/// What is not there of the vendor's API.
async fn get_nothing(State(state): State<HttpState>) -> Response {
    words::unknown_path(&state)
}

/// The value of a parameter that is one of a few words.
fn choice<T: Copy>(
    given: &Given,
    name: &str,
    default: &str,
    known: &[(&str, T)],
) -> Result<T, BadParameter> {
    let text = given.text(name).unwrap_or(default);
    let found = known.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        BadParameter::wrong(name, format!("one of {}", words.join(", ")), text)
    })
}

/// Every period that a cohort of the range has begun is asked for, so that the place of a period
/// among the ages is its number.
fn question(app: &AppRules, width: Width, days: i64, now: Timestamp) -> LtvQuestion {
    let zone = app.reporting_zones.first().copied().unwrap_or(Zone::UTC);
    let (today, from) = (zone.day(now), zone.day(Timestamp(now.0 - days * DAY_MICROS)));
    let periods = width.ordinal(today).saturating_sub(width.ordinal(from));
    LtvQuestion {
        app: app.id.clone(),
        zone: 0,
        anchor: Anchor::FirstPurchase,
        width,
        age: AgeBasis::Periods,
        ages: Some((0..=u32::try_from(periods).unwrap_or(0)).collect()),
        measure: Measure::Gross,
        from: Some(from),
        to: None,
        members: Members::WholeCohorts,
        filters: Vec::new(),
        any_of: Vec::new(),
        segment_by: None,
        per: Per::Customer,
        refunded_payers: RefundedPayers::Stay,
        until: today,
        today,
        refunds: RefundDating::AtRefund,
    }
}
