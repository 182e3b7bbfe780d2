//! `GET /v1/apps/{app}/revenue`: money by calendar bucket, whatever the cohort.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};

use crate::domain::cohort::Field;
use crate::domain::rules::AppRules;
use crate::domain::time::Width;
use crate::http::asking;
use crate::http::auth::{Caller, Reading};
use crate::http::freshness::{blocking, wait_for};
use crate::http::native::question::{
    FORMAT, Format, MEASURE, MIN_AS_OF_PARAMETER, ZONE, csv_response, today, zone,
};
use crate::http::native::revenue_body::{AskedRevenue, RevenueBody, csv_chunks};
use crate::http::parameters::{Parameter, Parameters, Shape, documented_parameters};
use crate::http::problem::{Kind, Problem};
use crate::http::state::HttpState;
use crate::metrics_api::question::{Measure, RefundDating};
use crate::metrics_api::revenue::RevenueQuestion;

/// What the path takes, filters aside.
pub const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "width",
        is_required: false,
        shape: Shape::Choice(|| Width::ALL.iter().map(|width| width.name()).collect()),
        about: "Length of a bucket; month if absent. Weeks start on Monday.",
    },
    MEASURE,
    Parameter {
        name: "from",
        is_required: false,
        shape: Shape::Date,
        about: "The first day that counts; the first with revenue if absent.",
    },
    Parameter {
        name: "to",
        is_required: false,
        shape: Shape::Date,
        about: "The last day that counts; until if absent.",
    },
    Parameter {
        name: "segment_by",
        is_required: false,
        shape: Shape::Text("a dimension or attributes.NAME"),
        about: "Splits buckets by the values of a dimension or of attributes.NAME.",
    },
    Parameter {
        name: "until",
        is_required: false,
        shape: Shape::Date,
        about: "The last day whose events count, as if it were today; today if absent.",
    },
    Parameter {
        name: "refunds",
        is_required: false,
        shape: Shape::Choice(|| RefundDating::ALL.iter().map(|dating| dating.name()).collect()),
        about: "Whether a refund that names its payment counts on its own day or on the \
                payment's; at_refund if absent.",
    },
    ZONE,
    FORMAT,
    MIN_AS_OF_PARAMETER,
];

documented_parameters!(RevenueParameters, PARAMETERS, has_filters: true);

fn read_question(
    parameters: &Parameters,
    state: &HttpState,
    app: &AppRules,
) -> Result<(RevenueQuestion, AskedRevenue), Problem> {
    let (place, zone) = zone(parameters, app)?;
    let today = today(state.parts.clock, zone);
    let measure = parameters.value("measure")?.unwrap_or(Measure::Gross);
    let question = RevenueQuestion {
        app: app.id.clone(),
        zone: place,
        width: parameters.value("width")?.unwrap_or(Width::Month),
        from: parameters.day("from")?,
        to: parameters.day("to")?,
        filters: parameters.filters()?,
        segment_by: parameters.value::<Field>("segment_by")?,
        until: parameters.day("until")?.unwrap_or(today),
        today,
        refunds: parameters.value("refunds")?.unwrap_or(RefundDating::AtRefund),
    };
    question.check().map_err(|error| Problem::new(Kind::InvalidQuestion, error))?;
    let asked = AskedRevenue::new(&question, measure, zone, app.reporting_currency);
    Ok((question, asked))
}

/// Revenue by calendar bucket.
///
/// Payments, refunds and what is left by day, week, month, quarter or year, whatever the cohort;
/// distinct payers where they can be told. Amounts are in the app's reporting currency, as exact
/// decimal strings and as integers of micro-units.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/revenue",
    tag = "questions",
    params(("app" = String, Path, description = "Id of the app"), RevenueParameters),
    responses(
        (status = 200, description = "Buckets and their total", content(
            (RevenueBody = "application/json"),
            (String = "text/csv"),
        )),
        (status = 400, description = "A parameter is unknown, repeated or wrong",
            body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid key", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not with this key", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "Unknown app", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "min_as_of was not reached in time", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub async fn get_revenue(
    State(state): State<HttpState>,
    Caller { access, .. }: Caller<Reading>,
    Path(app): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let app = state.app(&access, &app)?;
    let parameters = Parameters::read(pairs, PARAMETERS, true)?;
    let format = Format::of(&parameters)?;
    let (question, asked) = read_question(&parameters, &state, app)?;
    wait_for(&state, parameters.text("min_as_of")).await?;
    blocking(move || respond(&state, &question, asked, format)).await
}

fn respond(
    state: &HttpState,
    question: &RevenueQuestion,
    asked: AskedRevenue,
    format: Format,
) -> Result<Response, Problem> {
    let (answer, freshness) = asking::revenue(state, question)?;
    let headers = freshness.headers();
    Ok(match format {
        Format::Json => {
            (headers, Json(RevenueBody::new(asked, &answer, freshness))).into_response()
        }
        Format::Csv => csv_response(headers, csv_chunks(answer, asked.measured())),
    })
}
