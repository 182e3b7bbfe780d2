//! `POST /api/v1/client-api/metrics/ltv/`: realised lifetime value per paying customer.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

use crate::domain::cohort::Anchor;
use crate::http::adapty::document::{AdaptyLtvRequest, AdaptyParameters};
use crate::http::adapty::ltv_body::{AdaptyLtv, csv};
use crate::http::adapty::request::{
    Asked, Format, LtvRequest, PeriodType, RENEWAL_DAYS, Segmentation, Sent, read_ltv,
};
use crate::http::adapty::visit::{Place, Visited, headers};
use crate::http::adapty::words::{AdaptyError, Refusal};
use crate::http::asking::ltv_partial;
use crate::http::compat::pairs;
use crate::http::csv::csv_headers;
use crate::http::freshness::blocking;
use crate::http::json::Json;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::metrics_api::ltv_table::table;
use crate::metrics_api::question::{
    AgeBasis, LtvQuestion, Measure, Members, Per, RefundDating, RefundedPayers,
};

/// Whether a payer who was given money back stays in what lifetime value is divided by. The one
/// place where that is decided: the vendor's page on lifetime value does not say, and its page on
/// cohorts drops such payers along days. Here they stay, as what they paid and got back does.
const REFUNDED_PAYERS: RefundedPayers = RefundedPayers::Stay;

/// Lifetime value of paying customers, as Adapty's clients ask for it.
///
/// Customers are grouped by the day, week, month, quarter or year of their install; `date` bounds
/// the installs, and what these customers paid counts to date. Revenue is net of refunds; the
/// denominator is the paying customers, refunded ones included.
/// Dates are of the reporting zone that the header `Adapty-Tz` names, else of the first.
#[utoipa::path(
    post,
    path = "/api/v1/client-api/metrics/ltv/",
    tag = "compatible",
    security(("adapty" = [])),
    params(AdaptyParameters),
    request_body = AdaptyLtvRequest,
    responses(
        (status = 200, description = "A total and a row for each cohort or segment", content(
            (AdaptyLtv = "application/json"),
            (String = "text/csv"),
        )),
        (status = 400, description = "A field is wrong", body = AdaptyError),
        (status = 401, description = "No valid key", body = AdaptyError),
        (status = 403, description = "The key is not for exactly one app", body = AdaptyError),
        (status = 429, description = "Too many requests", body = AdaptyError),
        (status = 503, description = "Not available now", body = AdaptyError),
    ),
)]
pub async fn post_adapty_ltv(
    State(state): State<HttpState>,
    RawQuery(query): RawQuery,
    Visited { place, body }: Visited,
) -> Result<Response, Refusal> {
    let query = pairs(query.as_deref().unwrap_or_default());
    let sent = Sent { body: &body, query: &query };
    let asked = read_ltv(&sent).map_err(Refusal::Faults)?;
    let answered = blocking(move || respond(&state, &place, &asked)).await;
    Ok(answered?)
}

/// Lifetime value of paying customers: the same path without its last slash.
#[utoipa::path(
    post,
    path = "/api/v1/client-api/metrics/ltv",
    tag = "compatible",
    security(("adapty" = [])),
    params(AdaptyParameters),
    request_body = AdaptyLtvRequest,
    responses((status = 200, description = "As with the slash", body = AdaptyLtv)),
)]
pub async fn post_adapty_ltv_bare(
    state: State<HttpState>,
    query: RawQuery,
    visited: Visited,
) -> Result<Response, Refusal> {
    post_adapty_ltv(state, query, visited).await
}

fn respond(
    state: &HttpState,
    place: &Place,
    asked: &Asked<LtvRequest>,
) -> Result<Response, Problem> {
    let question = question(place, &asked.request);
    let (whole, freshness) = ltv_partial(state, &question)?;
    let table = table(&question, &whole);
    let headers = headers(&freshness, asked);
    let body = AdaptyLtv::new(&table, &question, &place.unit);
    Ok(match asked.request.common.format {
        Format::Json => (headers, Json(body)).into_response(),
        Format::Csv => (csv_headers(headers), csv(&body, &table.ages)).into_response(),
    })
}

fn question(place: &Place, request: &LtvRequest) -> LtvQuestion {
    let filters = &request.common.filters;
    let (width, segment_by) = match &request.segmentation {
        Segmentation::None => (request.common.unit, None),
        Segmentation::Cohorts(width) => (*width, None),
        Segmentation::Field(field) => (request.common.unit, Some(field.clone())),
    };
    let (age, ages) = match request.period_type {
        PeriodType::Renewals => (AgeBasis::Payments, None),
        PeriodType::Days => (AgeBasis::ElapsedDays, Some(RENEWAL_DAYS.to_vec())),
    };
    LtvQuestion {
        app: place.app.clone(),
        zone: place.zone,
        anchor: Anchor::Install,
        width,
        age,
        ages,
        measure: Measure::Gross,
        from: Some(filters.date.0),
        to: Some(filters.date.1),
        members: Members::BetweenDates,
        filters: filters.filters.clone(),
        any_of: filters.products.clone(),
        segment_by,
        per: Per::Payer,
        refunded_payers: REFUNDED_PAYERS,
        until: place.today,
        today: place.today,
        refunds: RefundDating::AtRefund,
    }
}
