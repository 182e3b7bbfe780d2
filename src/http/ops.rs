//! What operators and tools ask: health, readiness, metrics, the OpenAPI document.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::auth::{Caller, Known};
use crate::http::freshness::{blocking, by_name};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::HttpState;

/// Whether the process lives.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operations",
    security(()),
    responses((status = 200, description = "It lives", body = String, content_type = "text/plain")),
)]
pub async fn get_healthz() -> &'static str {
    "ok\n"
}

/// Whether the service answers as it should.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReadyBody {
    pub ready: bool,
    /// What is missing.
    pub reason: Option<String>,
    /// By partition: the first offset that is not in the state.
    pub as_of: BTreeMap<String, i64>,
    /// By partition: records that are not in the state yet. Absent are partitions that were lost while brokers
    /// are away, which answer as of what was read.
    pub lag_records: BTreeMap<String, i64>,
}

/// Whether the service is ready for questions and events.
///
/// It is once it has input and knows how far it is behind, however far that is: answers say what
/// they are as of, and `lag_records` tells what is missing. It stays so while brokers are away.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    security(()),
    responses(
        (status = 200, description = "It is ready", body = ReadyBody),
        (status = 503, description = "It is not, for the reason given", body = ReadyBody),
    ),
)]
pub async fn get_readyz(State(state): State<HttpState>) -> Result<Response, Problem> {
    // Shards may be locked for as long as a batch is applied.
    let body = blocking(move || {
        let reason = state.parts.readiness.reason();
        let lag = (state.parts.lag)();
        Ok(ReadyBody {
            ready: reason.is_none(),
            reason,
            as_of: by_name(&state.parts.shards.as_of()),
            lag_records: lag.iter().map(|(partition, lag)| (partition.to_string(), *lag)).collect(),
        })
    })
    .await?;
    let status = if body.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(body)).into_response())
}

/// Metrics in the text format of Prometheus.
///
/// With any valid key, once there are keys.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    responses(
        (status = 200, description = "All metrics", body = String, content_type = "text/plain"),
        (status = 401, description = "No valid key", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub async fn get_metrics(
    State(state): State<HttpState>,
    _: Caller<Known>,
) -> Result<Response, Problem> {
    let text = state.parts.metrics.encode().map_err(|error| Problem::internal(&error))?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "operations",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)),
)]
pub async fn get_openapi() -> Response {
    let json: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];
    (json, openapi::text()).into_response()
}
