//! `POST /api/v1/client-api/metrics/cohort/`: install cohorts by payments or by days.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

use crate::http::adapty::cohort_body::AdaptyCohorts;
use crate::http::adapty::cohort_csv::csv;
use crate::http::adapty::document::{AdaptyCohortRequest, AdaptyParameters};
use crate::http::adapty::request::{
    Asked, CohortRequest, Fault, Format, NO_FIELD, PeriodType, Sent, read_cohort,
};
use crate::http::adapty::visit::{Place, Visited, headers};
use crate::http::adapty::words::{AdaptyError, Refusal};
use crate::http::asking::merged;
use crate::http::compat::pairs;
use crate::http::csv::csv_headers;
use crate::http::freshness::blocking;
use crate::http::json::Json;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::metrics_api::cohorts::{Cells, CohortPartial, CohortQuestion, table};
use crate::metrics_api::kept::Summed;
use crate::state::LiveShard;

/// Install cohorts, as Adapty's clients ask for them.
///
/// `date` bounds the installs, and the payments and refunds that are seen. Along `renewals` a cell
/// holds what the n-th payment of each subscription brought; along `days` everything up to and
/// through that many whole days since the install. A refund lowers the cell of its payment, or the
/// cells from its own day on.
/// Dates are of the reporting zone that the header `Adapty-Tz` names, else of the first.
#[utoipa::path(
    post,
    path = "/api/v1/client-api/metrics/cohort/",
    tag = "compatible",
    security(("adapty" = [])),
    params(AdaptyParameters),
    request_body = AdaptyCohortRequest,
    responses(
        (status = 200, description = "A total and a row for each cohort", content(
            (AdaptyCohorts = "application/json"),
            (String = "text/csv"),
        )),
        (status = 400, description = "A field is wrong", body = AdaptyError),
        (status = 401, description = "No valid key", body = AdaptyError),
        (status = 403, description = "The key is not for exactly one app", body = AdaptyError),
        (status = 429, description = "Too many requests", body = AdaptyError),
        (status = 503, description = "Not available now", body = AdaptyError),
    ),
)]
pub async fn post_adapty_cohort(
    State(state): State<HttpState>,
    RawQuery(query): RawQuery,
    Visited { place, body }: Visited,
) -> Result<Response, Refusal> {
    let query = pairs(query.as_deref().unwrap_or_default());
    let sent = Sent { body: &body, query: &query };
    let asked = read_cohort(&sent).map_err(Refusal::Faults)?;
    let question = question(&place, &asked.request);
    question.check().map_err(|error| Refusal::Faults(vec![Fault::value(NO_FIELD, error)]))?;
    let answered = blocking(move || respond(&state, &question, &asked)).await;
    Ok(answered?)
}

/// Install cohorts: the same path without its last slash.
#[utoipa::path(
    post,
    path = "/api/v1/client-api/metrics/cohort",
    tag = "compatible",
    security(("adapty" = [])),
    params(AdaptyParameters),
    request_body = AdaptyCohortRequest,
    responses((status = 200, description = "As with the slash", body = AdaptyCohorts)),
)]
pub async fn post_adapty_cohort_bare(
    state: State<HttpState>,
    query: RawQuery,
    visited: Visited,
) -> Result<Response, Refusal> {
    post_adapty_cohort(state, query, visited).await
}

fn respond(
    state: &HttpState,
    question: &CohortQuestion,
    asked: &Asked<CohortRequest>,
) -> Result<Response, Problem> {
    let look = |shard: &LiveShard| shard.cohorts(question);
    let (whole, freshness) = merged(state, look, CohortPartial::merge)?;
    let body = AdaptyCohorts::new(&table(question, &whole));
    let headers = headers(&freshness, asked);
    Ok(match asked.request.common.format {
        Format::Json => (headers, Json(body)).into_response(),
        Format::Csv => (csv_headers(headers), csv(&body, &asked.request)).into_response(),
    })
}

fn question(place: &Place, request: &CohortRequest) -> CohortQuestion {
    let filters = &request.common.filters;
    CohortQuestion {
        app: place.app.clone(),
        zone: place.zone,
        width: request.common.unit,
        from: filters.date.0,
        to: filters.date.1,
        cells: match request.period_type {
            PeriodType::Renewals => Cells::Payments,
            PeriodType::Days => Cells::Days(request.renewal_days.clone()),
        },
        filters: filters.filters.clone(),
        any_of: filters.products.clone(),
        today: place.today,
    }
}
