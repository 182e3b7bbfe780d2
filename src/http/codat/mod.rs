//! Codat's commerce metrics: lifetime value, customer retention, orders, refunds and revenue.
//!
//! A company and its connection are an app, each by one of the app's `compat_ids` or its own id.
//! An order is a payment; days are those of the first of the app's zones. All metrics ask the one
//! question of [`commerce`](crate::metrics_api::commerce); which of its figures are shown is said
//! in [`metric`].

mod body;
mod metric;
mod parse;
mod words;

use std::num::NonZeroU32;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::domain::time::{Width, Zone};
use crate::http::asking;
use crate::http::compat::{
    self, Allowance, CompatApp, CompatError, Given, Grant, Vendor, Visitor, answer_headers, pairs,
};
use crate::http::credentials;
use crate::http::freshness::blocking;
use crate::http::state::HttpState;
use crate::metrics_api::commerce::{CommercePartial, CommerceQuestion};
use crate::metrics_api::kept::Summed;

pub use body::{
    CodatComponent, CodatDimension, CodatFigure, CodatItem, CodatItemFigures, CodatMeasure,
    CodatReport, CodatReportInfo,
};
use metric::Metric;
use parse::{Asked, CodatParameters, PARAMETERS};
pub use words::{CodatError, CodatValidation, CodatValidationItem};

/// The vendor.
pub const VENDOR: Vendor = Vendor {
    routes: || vec![(METRIC_PATH, get(get_codat_metric).fallback(refuse_method))],
    nothing_at: &["/data", "/data/", "/data/{*rest}"],
    nothing: compat::nothing,
    word: words::word,
    cross_origin: None,
};

const METRIC_PATH: &str =
    "/data/companies/{companyId}/connections/{connectionId}/{product}/commerceMetrics/{metric}";

/// The two names that the path had.
const PRODUCTS: [&str; 2] = ["assess", "lending"];

/// What an account may ask, the day aside: the vendor's limit by address, here by key.
const ALLOWANCE: Allowance = Allowance {
    vendor: "codat",
    requests: NonZeroU32::MIN.saturating_add(999),
    per: Duration::from_secs(60),
    calendar: None,
};

/// Requests a day of an account, and as many again for each of its companies.
const REQUESTS_PER_DAY: u64 = 1_000;

/// The parts of a path.
type Ids = (String, String, String, String);

/// A commerce metric as Codat's clients read it.
///
/// Figures of one or several periods, latest first, of the app that both ids name. Requests, error
/// bodies and limits are those of the vendor's Assess and Lending APIs.
#[utoipa::path(
    get,
    path = "/data/companies/{companyId}/connections/{connectionId}/{product}/commerceMetrics/{metric}",
    tag = "compatible",
    security(("basic" = [])),
    params(
        ("companyId" = String, Path, description = "One of the app's compat_ids, or its own id"),
        ("connectionId" = String, Path, description = "The same of the same app"),
        ("product" = String, Path, description = "assess or lending: both are answered alike"),
        ("metric" = String, Path,
            description = "lifetimeValue, customerRetention, orders, refunds or revenue"),
        CodatParameters,
    ),
    responses(
        (status = 200, description = "A report of the metric", body = CodatReport),
        (status = 400, description = "A parameter is missing or wrong", body = CodatError),
        (status = 401, description = "No valid key", body = CodatError),
        (status = 403, description = "Not with this key", body = CodatError),
        (status = 404, description = "Unknown company, connection or metric", body = CodatError),
        (status = 429, description = "Too many requests", body = CodatError),
        (status = 503, description = "Not at the moment", body = CodatError),
    ),
)]
pub async fn get_codat_metric(
    State(state): State<HttpState>,
    Path(ids): Path<Ids>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let (visitor, grant) = match admit(&state, &headers) {
        Ok(admitted) => admitted,
        Err(error) => return refuse(&state, &error),
    };
    let response = answer(&state, visitor, &ids, query.as_deref().unwrap_or_default())
        .await
        .unwrap_or_else(|refusal| refusal.word(&state));
    words::with_limits(&state, &grant, response)
}

/// A method that the path does not take; the request counts all the same.
async fn refuse_method(State(state): State<HttpState>, headers: HeaderMap) -> Response {
    let grant = match admit(&state, &headers) {
        Ok((_, grant)) => grant,
        Err(error) => return refuse(&state, &error),
    };
    let error = CompatError::Other(StatusCode::METHOD_NOT_ALLOWED);
    words::with_limits(&state, &grant, words::word(&state, &error))
}

/// What an account with so many companies may ask.
fn allowance(companies: usize) -> Allowance {
    let companies = u64::try_from(companies).unwrap_or(u64::MAX);
    let a_day = companies.saturating_add(1).saturating_mul(REQUESTS_PER_DAY);
    Allowance { calendar: Some((Width::Day, a_day)), ..ALLOWANCE }
}

/// Lets a request in and counts it.
fn admit<'a>(
    state: &'a HttpState,
    headers: &HeaderMap,
) -> Result<(Visitor<'a>, Grant), CompatError> {
    let visitor = Visitor::admit(state, secret(headers).as_deref())?;
    let grant = visitor.charge(&allowance(visitor.apps().count()), None)?;
    Ok((visitor, grant))
}

/// The answer to who is not let in. Such requests count for nobody, so the limits it tells are
/// those of an account that has no companies and has asked nothing.
fn refuse(state: &HttpState, error: &CompatError) -> Response {
    let response = words::word(state, error);
    if matches!(error, CompatError::Limited(_)) {
        return response;
    }
    words::with_limits(state, &allowance(0).untouched(state.parts.clock.now()), response)
}

/// The key stands alone in what is encoded; a colon and a password after it do no harm.
fn secret(headers: &HeaderMap) -> Option<String> {
    credentials::basic(headers).map(|(key, _)| key)
}

/// Why there is no report.
enum Refusal {
    Compat(CompatError),
    /// No such connection of the company.
    Connection(String),
}

impl Refusal {
    fn word(self, state: &HttpState) -> Response {
        match self {
            Self::Compat(error) => words::word(state, &error),
            Self::Connection(id) => words::unknown_connection(&id),
        }
    }
}

impl<E: Into<CompatError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Compat(error.into())
    }
}

async fn answer(
    state: &HttpState,
    visitor: Visitor<'_>,
    (company, connection, product, metric): &Ids,
    query: &str,
) -> Result<Response, Refusal> {
    let metric = Metric::of_path(metric).filter(|_| PRODUCTS.contains(&product.as_str()));
    let metric = metric.ok_or(CompatError::Other(StatusCode::NOT_FOUND))?;
    let app = visitor.app(company)?;
    match visitor.app(connection) {
        Ok(connected) if connected.rules.id == app.rules.id => (),
        _ => return Err(Refusal::Connection(connection.clone())),
    }
    let given = Given::read(pairs(query), PARAMETERS);
    let asked = Asked::read(&given)?;
    let question = question(state, app, &asked);
    let held = state.clone();
    let (whole, freshness) = blocking(move || {
        asking::merged(&held, |shard| shard.commerce(&question), CommercePartial::merge)
    })
    .await?;
    let currency = app.rules.reporting_currency;
    let report = body::report(metric, &asked, &whole.periods, currency.as_str());
    Ok((answer_headers(&freshness, &given), Json(report)).into_response())
}

fn question(state: &HttpState, app: CompatApp<'_>, asked: &Asked) -> CommerceQuestion {
    let zone = app.rules.reporting_zones.first().copied().unwrap_or(Zone::UTC);
    CommerceQuestion {
        app: app.rules.id.clone(),
        zone: 0,
        periods: asked.periods.clone(),
        until: zone.day(state.parts.clock.now()),
    }
}
