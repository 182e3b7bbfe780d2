//! `GET /v1/apps`: the apps that the caller may ask about.

use axum::Json;
use axum::extract::{Query, State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::time::Zone;
use crate::http::auth::{Caller, Reading};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::http::state::HttpState;

/// Apps.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AppsBody {
    /// By id.
    pub apps: Vec<AppBody>,
}

/// An app and what its answers are in.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AppBody {
    pub id: String,
    pub reporting_currency: String,
    /// The zones that may be asked for; the first is that of questions which name none.
    pub reporting_zones: Vec<&'static str>,
}

/// The apps that the caller may ask about.
#[utoipa::path(
    get,
    path = "/v1/apps",
    tag = "questions",
    responses(
        (status = 200, description = "Apps", body = AppsBody),
        (status = 400, description = "A parameter is given; there are none", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "No valid key", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not with this key", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub async fn get_apps(
    State(state): State<HttpState>,
    Caller { access, .. }: Caller<Reading>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<AppsBody>, Problem> {
    Parameters::read(pairs, &[], false)?;
    let apps = state.parts.rules.apps.values().filter(|app| access.sees(&app.id));
    let body = apps.map(|app| AppBody {
        id: app.id.clone(),
        reporting_currency: app.reporting_currency.to_string(),
        reporting_zones: app.reporting_zones.iter().map(Zone::name).collect(),
    });
    Ok(Json(AppsBody { apps: body.collect() }))
}
