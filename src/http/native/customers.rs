//! `GET /v1/apps/{app}/customers/{id}`: one customer's ledger, and what it is worth.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};

use crate::domain::rules::AppRules;
use crate::domain::time::Timestamp;
use crate::http::auth::{Caller, Reading};
use crate::http::freshness::{blocking, gather, wait_for};
use crate::http::native::customer_body::{CustomerBody, CustomerLedger};
use crate::http::native::question::MIN_AS_OF_PARAMETER;
use crate::http::parameters::{Parameter, Parameters, documented_parameters};
use crate::http::problem::{Kind, Problem};
use crate::http::state::HttpState;
use crate::state::LiveShard;

/// What the path takes.
pub const PARAMETERS: &[Parameter] = &[MIN_AS_OF_PARAMETER];

documented_parameters!(CustomerParameters, PARAMETERS, has_filters: false);

/// What a shard knows of a customer.
enum Known {
    Nothing,
    Forgotten,
    Ledger(Box<CustomerLedger>),
}

/// A customer's ledger and lifetime value.
///
/// Every accepted event in order of event time with its standing: what it counts for, or why it
/// has no effect. Sums are in the app's reporting currency, net of refunds that count; what lies ahead of
/// today is listed and not yet in them.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/customers/{id}",
    tag = "questions",
    params(
        ("app" = String, Path, description = "Id of the app"),
        ("id" = String, Path, description = "The customer_id of its events"),
        CustomerParameters,
    ),
    responses(
        (status = 200, description = "The customer", body = CustomerBody),
        (status = 400, description = "A parameter is unknown, repeated or wrong",
            body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid key", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not with this key", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "Unknown app or customer", body = Problem,
            content_type = "application/problem+json"),
        (status = 410, description = "The customer was erased by a forget event", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "min_as_of was not reached in time", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub async fn get_customer(
    State(state): State<HttpState>,
    Caller { access, .. }: Caller<Reading>,
    Path((app, id)): Path<(String, String)>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let app = state.app(&access, &app)?.clone();
    let parameters = Parameters::read(pairs, PARAMETERS, false)?;
    wait_for(&state, parameters.text("min_as_of")).await?;
    blocking(move || respond(&state, &app, &id)).await
}

fn respond(state: &HttpState, app: &AppRules, id: &str) -> Result<Response, Problem> {
    let zone = app.reporting_zones.first().copied();
    let today = zone.map(|zone| zone.day(state.parts.clock.now()));
    let has_come = |at: Timestamp| zone.map(|zone| zone.day(at)) <= today;
    let (known, freshness) = gather(state, |shard| look(shard, app, id, has_come))?;
    let headers = freshness.headers();
    let mut whole: Option<Box<CustomerLedger>> = None;
    let mut is_forgotten = false;
    for known in known {
        match (known, &mut whole) {
            (Known::Nothing, _) => (),
            (Known::Forgotten, _) => is_forgotten = true,
            (Known::Ledger(ledger), Some(whole)) => whole.join(*ledger),
            (Known::Ledger(ledger), None) => whole = Some(ledger),
        }
    }
    match whole {
        Some(ledger) => {
            let body = CustomerBody::new(app, id, *ledger, freshness);
            Ok((headers, Json(body)).into_response())
        }
        None if is_forgotten => {
            Err(Problem::new(Kind::CustomerForgotten, "the customer was erased by a forget event"))
        }
        None => {
            let shown: String = id.chars().take(200).collect();
            let detail = format!("app \"{}\" has no event of customer \"{shown}\"", app.id);
            Err(Problem::new(Kind::UnknownCustomer, detail))
        }
    }
}

fn look(
    shard: &LiveShard,
    app: &AppRules,
    id: &str,
    has_come: impl Fn(Timestamp) -> bool,
) -> Result<Known, Problem> {
    if shard.shard.is_forgotten(&app.id, id) {
        return Ok(Known::Forgotten);
    }
    let ledger = shard.ledger(&app.id, id).map_err(|error| Problem::internal(&error))?;
    Ok(ledger.map_or(Known::Nothing, |ledger| {
        let dictionary = &shard.shard.dictionary;
        let ledger = CustomerLedger::new(shard.partition, dictionary, &ledger, has_come);
        Known::Ledger(Box::new(ledger))
    }))
}
