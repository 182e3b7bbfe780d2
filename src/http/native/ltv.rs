//! `GET /v1/apps/{app}/ltv`: lifetime value by cohort and age.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};

use crate::domain::cohort::{Anchor, Field};
use crate::domain::rules::AppRules;
use crate::domain::time::Width;
use crate::http::asking;
use crate::http::auth::{Caller, Reading};
use crate::http::freshness::{blocking, wait_for};
use crate::http::json::Json;
use crate::http::native::ltv_body::{Asked, LtvBody};
use crate::http::native::ltv_csv::csv_chunks;
use crate::http::native::question::{
    FORMAT, Format, MEASURE, MIN_AS_OF_PARAMETER, ZONE, csv_response, today, zone,
};
use crate::http::parameters::{Parameter, Parameters, Shape, documented_parameters};
use crate::http::problem::{Kind, Problem};
use crate::http::state::HttpState;
use crate::metrics_api::question::{
    AgeBasis, LtvQuestion, Measure, Members, Per, RefundDating, RefundedPayers,
};

/// What the path takes, filters aside.
pub const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "anchor",
        is_required: false,
        shape: Shape::Choice(|| Anchor::ALL.iter().map(|anchor| anchor.name()).collect()),
        about: "What places a customer in a cohort; first_purchase if absent.",
    },
    Parameter {
        name: "width",
        is_required: false,
        shape: Shape::Choice(|| Width::ALL.iter().map(|width| width.name()).collect()),
        about: "Length of a cohort; month if absent. Weeks start on Monday.",
    },
    Parameter {
        name: "age",
        is_required: false,
        shape: Shape::Choice(|| AgeBasis::ALL.iter().map(|basis| basis.name()).collect()),
        about: "In what ages are counted: calendar days of the zone or whole 24-hour days since \
                the anchor, calendar periods of the cohort's width (all from 0), or payment index \
                (from 1); periods if absent. A value at an age is cumulative through its end.",
    },
    Parameter {
        name: "ages",
        is_required: false,
        shape: Shape::Integers,
        about: "The ages to show; a usual list up to the age reached if absent.",
    },
    MEASURE,
    Parameter {
        name: "from",
        is_required: false,
        shape: Shape::Date,
        about: "Cohorts from the one of this day on; from the first if absent.",
    },
    Parameter {
        name: "to",
        is_required: false,
        shape: Shape::Date,
        about: "Cohorts up to the one of this day; to the last if absent.",
    },
    Parameter {
        name: "segment_by",
        is_required: false,
        shape: Shape::Text("a dimension or attributes.NAME"),
        about: "Splits cohorts by the values of a dimension or of attributes.NAME.",
    },
    Parameter {
        name: "per",
        is_required: false,
        shape: Shape::Choice(|| Per::ALL.iter().map(|per| per.name()).collect()),
        about: "By what revenue is divided: customers of the cohort, those who paid by until, or \
                those with an install (anchor=install only); customer if absent.",
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
        about: "Whether a refund that names its payment counts at its own age or at the \
                payment's; at_refund if absent.",
    },
    ZONE,
    FORMAT,
    MIN_AS_OF_PARAMETER,
];

documented_parameters!(LtvParameters, PARAMETERS, has_filters: true);

/// Reads the question and what of it must be repeated in the answer.
fn read_question(
    parameters: &Parameters,
    state: &HttpState,
    app: &AppRules,
) -> Result<(LtvQuestion, Asked), Problem> {
    let (place, zone) = zone(parameters, app)?;
    let today = today(state.parts.clock, zone);
    let question = LtvQuestion {
        app: app.id.clone(),
        zone: place,
        anchor: parameters.value("anchor")?.unwrap_or(Anchor::FirstPurchase),
        width: parameters.value("width")?.unwrap_or(Width::Month),
        age: parameters.value("age")?.unwrap_or(AgeBasis::Periods),
        ages: parameters.integers("ages")?,
        measure: parameters.value("measure")?.unwrap_or(Measure::Gross),
        from: parameters.day("from")?,
        to: parameters.day("to")?,
        members: Members::WholeCohorts,
        filters: parameters.filters()?,
        any_of: Vec::new(),
        segment_by: parameters.value::<Field>("segment_by")?,
        per: parameters.value("per")?.unwrap_or(Per::Customer),
        refunded_payers: RefundedPayers::Stay,
        until: parameters.day("until")?.unwrap_or(today),
        today,
        refunds: parameters.value("refunds")?.unwrap_or(RefundDating::AtRefund),
    };
    question.check().map_err(|error| Problem::new(Kind::InvalidQuestion, error))?;
    let asked = Asked::new(&question, zone, app.reporting_currency);
    Ok((question, asked))
}

/// Lifetime value of cohorts.
///
/// Customers are grouped by the day, week, month, quarter or year of their first payment or
/// install; each cohort has its sizes and a curve of revenue per head by age, cumulative and net of
/// refunds. Totals are weighted by heads and hold the cohorts that completed the age. Amounts are
/// in the app's reporting currency: decimal strings, exact but for `ltv`, which is rounded once to
/// six decimals (halves away from zero), and the same as integers of micro-units.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/ltv",
    tag = "questions",
    params(("app" = String, Path, description = "Id of the app"), LtvParameters),
    responses(
        (status = 200, description = "Cohorts with their curves", content(
            (LtvBody = "application/json"),
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
pub async fn get_ltv(
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
    question: &LtvQuestion,
    asked: Asked,
    format: Format,
) -> Result<Response, Problem> {
    let (answer, freshness) = asking::ltv(state, question)?;
    let headers = freshness.headers();
    Ok(match format {
        Format::Json => (headers, Json(LtvBody::new(asked, answer, freshness))).into_response(),
        Format::Csv => csv_response(headers, csv_chunks(answer)),
    })
}
