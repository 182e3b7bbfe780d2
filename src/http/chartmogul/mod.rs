//! ChartMogul's metrics API: `GET /v1/metrics/…` and `/v1/ping`.
//!
//! An account is an app: the only one of the key. Parameters stand in the query, or in a form body
//! of the GET as in the vendor's own examples; the query wins. The zone is the first of the app's.

mod body;
mod words;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Path, RawQuery, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::config::{LtvChurnWindow, MrrRefunds};
use crate::domain::country;
use crate::domain::time::{Day, Zone};
use crate::http::asking;
use crate::http::compat::{
    self, Allowance, BadParameter, CompatApp, CompatError, Given, Vendor, Visitor, answer_headers,
    ignored_header, pairs,
};
use crate::http::credentials;
use crate::http::freshness::blocking;
use crate::http::parameters::{Parameter, Shape, documented_parameters};
use crate::http::state::HttpState;
use crate::metrics_api::mrr::{ChurnWindow, Interval, MrrQuestion};
use crate::metrics_api::question::InvalidQuestion;

use body::Metric;
pub use body::{ChartMogulEntry, ChartMogulMetrics, ChartMogulSummary};
pub use words::ChartMogulError;

/// The vendor.
pub const VENDOR: Vendor = Vendor {
    routes: || {
        vec![
            ("/v1/ping", get(get_chartmogul_ping)),
            ("/v1/metrics/{metric}", get(get_chartmogul_metrics)),
        ]
    },
    nothing_at: &[
        "/v1/metrics",
        "/v1/metrics/",
        "/v1/metrics/{metric}/",
        "/v1/metrics/{metric}/{*rest}",
    ],
    nothing: compat::nothing,
    word: words::word,
    cross_origin: Some(|| vec![CHURN_WINDOW_HEADER]),
};

/// What the vendor allows an account.
const ALLOWANCE: Allowance = Allowance {
    vendor: "chartmogul",
    requests: NonZeroU32::MIN.saturating_add(39),
    per: Duration::from_secs(1),
    calendar: None,
};

/// Header that says which churn rate divides in lifetime value, in the setting's words.
const CHURN_WINDOW_HEADER: HeaderName = HeaderName::from_static("x-ltvstream-ltv-churn-window");

/// What the metrics paths take.
const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "start-date",
        is_required: true,
        shape: Shape::Date,
        about: "A day of the first interval, which is listed whole.",
    },
    Parameter {
        name: "end-date",
        is_required: true,
        shape: Shape::Date,
        about: "The last day; later days than today are cut off.",
    },
    Parameter {
        name: "interval",
        is_required: false,
        shape: Shape::Choice(|| Interval::ALL.iter().map(|(name, _)| *name).collect()),
        about: "Length of an entry's interval; asp takes month and longer only. Absent: day for \
                mrr, arr, arpa and customer-count, else month. Weeks end on Saturday.",
    },
    Parameter {
        name: "geo",
        is_required: false,
        shape: Shape::Text("ISO 3166-1 alpha-2 codes separated by commas"),
        about: "Keeps subscriptions of these countries; UK is taken as GB.",
    },
    Parameter {
        name: "plans",
        is_required: false,
        shape: Shape::Text("plan names and product ids separated by commas"),
        about: "Keeps subscriptions of these plans; ids with or without pl_.",
    },
    Parameter {
        name: "filters",
        is_required: false,
        shape: Shape::Text("nothing: filters are not supported"),
        about: "ChartMogul's filter language is not supported, and refused.",
    },
];

documented_parameters!(ChartMogulParameters, PARAMETERS, has_filters: false);

/// Whether a key is good, as ChartMogul's clients ask.
#[utoipa::path(
    get,
    path = "/v1/ping",
    tag = "compatible",
    security(("basic" = [])),
    responses(
        (status = 200, description = "The key is good", body = serde_json::Value,
            example = json!({"data": "pong!"})),
        (status = 401, description = "No good key", body = ChartMogulError),
        (status = 403, description = "The key is for none or several apps, or may not read",
            body = ChartMogulError),
        (status = 429, description = "More than 40 requests in a second", body = ChartMogulError),
    ),
)]
pub async fn get_chartmogul_ping(
    State(state): State<HttpState>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    match asked(&state, query.as_deref(), request).await {
        Ok((_, given)) => {
            let given = Given::read(given, &[]);
            let pong = Json(serde_json::json!({"data": "pong!"}));
            (ignored_header(&given), pong).into_response()
        }
        Err(error) => words::word(&state, &error),
    }
}

/// Recurring revenue, churn and lifetime value as ChartMogul's clients read them.
///
/// Amounts are in the smallest unit of the reporting currency. An interval's figures are those at
/// its end, which is the entry's date; movements and rates are those within it.
#[utoipa::path(
    get,
    path = "/v1/metrics/{metric}",
    tag = "compatible",
    security(("basic" = [])),
    params(
        ("metric" = inline(Metric), Path, description = "What to list; all lists eight figures at once"),
        ChartMogulParameters,
    ),
    responses(
        (status = 200, description = "Entries by date, and a summary", body = ChartMogulMetrics),
        (status = 400, description = "A parameter that cannot be used", body = ChartMogulError),
        (status = 401, description = "No good key", body = ChartMogulError),
        (status = 403, description = "The key is for none or several apps, or may not read",
            body = ChartMogulError),
        (status = 404, description = "No such metric", body = ChartMogulError),
        (status = 429, description = "More than 40 requests in a second", body = ChartMogulError),
        (status = 503, description = "Nothing can be answered now", body = ChartMogulError),
    ),
)]
pub async fn get_chartmogul_metrics(
    State(state): State<HttpState>,
    Path(metric): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let answered = match asked(&state, query.as_deref(), request).await {
        Ok((app, given)) => answer(&state, app, &metric, given).await,
        Err(error) => Err(error),
    };
    answered.unwrap_or_else(|error| words::word(&state, &error))
}

/// Who asks, and the parameters of the query and then of a form body, which is read only of somebody who may
/// ask; of any other body none.
async fn asked<'a>(
    state: &'a HttpState,
    query: Option<&str>,
    request: Request,
) -> Result<(CompatApp<'a>, Vec<(String, String)>), CompatError> {
    let app = account(state, request.headers())?;
    let mut given = pairs(query.unwrap_or_default());
    let content_type = request.headers().get(CONTENT_TYPE);
    if content_type.is_some_and(|kind| kind.to_str().is_ok_and(is_form)) {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|error| CompatError::of_status(error.status()))?;
        given.extend(pairs(&String::from_utf8_lossy(&body)));
    }
    Ok((app, given))
}

fn is_form(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The app of the key in `Authorization: Basic`, whose password is empty or the key again; the
/// request counts against its limit.
fn account<'a>(state: &'a HttpState, headers: &HeaderMap) -> Result<CompatApp<'a>, CompatError> {
    let secret = match credentials::basic(headers) {
        Some((key, None)) => Some(key),
        Some((key, Some(password))) if password.is_empty() || password == key => Some(key),
        _ => None,
    };
    let visitor = Visitor::admit(state, secret.as_deref())?;
    let app = visitor.only_app()?;
    visitor.charge(&ALLOWANCE, Some(&app.rules.id))?;
    Ok(app)
}

async fn answer(
    state: &HttpState,
    app: CompatApp<'_>,
    metric: &str,
    given: Vec<(String, String)>,
) -> Result<Response, CompatError> {
    let metric: Metric = metric.parse().map_err(|()| CompatError::Other(StatusCode::NOT_FOUND))?;
    let mut given = Given::read(given, PARAMETERS);
    for name in ["geo", "plans", "filters"] {
        let is_empty = |text: &str| text.split(',').all(|value| value.trim().is_empty());
        if given.text(name).is_some_and(is_empty) {
            given.ignore(name);
        }
    }
    let question = question(state, app, metric, &given).map_err(CompatError::bad_parameter)?;
    let window = churn_window_name(question.churn_window);
    let asked = state.clone();
    let (answer, freshness) = blocking(move || asking::mrr(&asked, &question)).await?;
    let mut headers = answer_headers(&freshness, &given);
    headers.insert(CHURN_WINDOW_HEADER, HeaderValue::from_static(window));
    Ok((headers, Json(body::answered(metric, &answer))).into_response())
}

fn churn_window_name(window: ChurnWindow) -> &'static str {
    match window {
        ChurnWindow::TrailingSix => "trailing_6",
        ChurnWindow::SameMonth => "same_month",
    }
}

fn question(
    state: &HttpState,
    app: CompatApp<'_>,
    metric: Metric,
    given: &Given,
) -> Result<MrrQuestion, BadParameter> {
    let (from, to) = (day(given, "start-date")?, day(given, "end-date")?);
    if let Some(filters) = given.text("filters").filter(|text| !text.trim().is_empty()) {
        let expected = "left out: the filter language is not supported, use geo and plans";
        return Err(BadParameter::wrong("filters", expected, filters));
    }
    let zone = app.rules.reporting_zones.first().copied().unwrap_or(Zone::UTC);
    let question = MrrQuestion {
        app: app.rules.id.clone(),
        zone: 0,
        interval: interval(given, metric)?,
        from,
        to,
        today: zone.day(state.parts.clock.now()),
        plans: list(given, "plans", plan_texts),
        countries: list(given, "geo", |code| vec![country::spelled(code)]),
        without_refunded: app.settings.mrr_refunds == Some(MrrRefunds::Remove),
        minor_digits: app.rules.reporting_currency.minor_digits(),
        churn_window: match app.settings.ltv_churn_window {
            LtvChurnWindow::TrailingSix => ChurnWindow::TrailingSix,
            LtvChurnWindow::SameMonth => ChurnWindow::SameMonth,
        },
    };
    let shown = given.text("start-date").unwrap_or_default();
    match question.check() {
        Ok(()) => Ok(question),
        Err(InvalidQuestion::EmptyRange(..)) => {
            Err(BadParameter::wrong("start-date", "no later than end-date", shown))
        }
        Err(error) => Err(BadParameter::wrong("start-date", format!("later ({error})"), shown)),
    }
}

fn day(given: &Given, name: &str) -> Result<Day, BadParameter> {
    let expected = "a date of the form YYYY-MM-DD";
    let text = given.text(name).ok_or_else(|| BadParameter::missing(name, expected))?;
    text.trim().parse().map_err(|_| BadParameter::wrong(name, expected, text))
}

fn interval(given: &Given, metric: Metric) -> Result<Interval, BadParameter> {
    let Some(text) = given.text("interval") else { return Ok(metric.usual_interval()) };
    let allowed = Interval::ALL.into_iter().filter(|(_, interval)| metric.takes(*interval));
    let allowed: Vec<(&str, Interval)> = allowed.collect();
    let found = allowed.iter().find(|(name, _)| *name == text).map(|(_, interval)| *interval);
    found.ok_or_else(|| {
        let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
        BadParameter::wrong("interval", format!("one of {}", names.join(", ")), text)
    })
}

/// The texts of a list separated by commas; none if there is nothing in it.
fn list(
    given: &Given,
    name: &str,
    texts: impl Fn(&str) -> Vec<String>,
) -> Option<BTreeSet<String>> {
    let values = given.text(name)?.split(',').map(str::trim).filter(|value| !value.is_empty());
    Some(values.flat_map(texts).collect()).filter(|values: &BTreeSet<String>| !values.is_empty())
}

/// A plan as it is written, and as an id with and without the vendor's prefix.
fn plan_texts(plan: &str) -> Vec<String> {
    let bare = plan.strip_prefix("pl_").filter(|id| !id.is_empty()).map(str::to_owned);
    [plan.to_owned(), format!("pl_{plan}")].into_iter().chain(bare).collect()
}
