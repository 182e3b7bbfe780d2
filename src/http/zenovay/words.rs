//! Errors, request ids and headers of limits as the vendor writes them.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::time::Timestamp;
use crate::http::compat::{CompatError, Grant, Limited, random_uuid};
use crate::http::state::HttpState;
use crate::http::zenovay::ALLOWANCE;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATE_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const RATE_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RATE_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const USAGE_MONTHLY: HeaderName = HeaderName::from_static("x-usage-monthly");
const USAGE_LIMIT: HeaderName = HeaderName::from_static("x-usage-limit");
const USAGE_RESET: HeaderName = HeaderName::from_static("x-usage-reset");
const USAGE_TOTAL: HeaderName = HeaderName::from_static("x-usage-total");

/// An error.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ZenovayFailure {
    /// Always false.
    pub success: bool,
    pub error: ZenovayError,
}

/// What went wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ZenovayError {
    pub message: String,
    /// In capitals, for programs.
    #[schema(example = "VALIDATION_ERROR")]
    pub code: &'static str,
    /// UTC with milliseconds.
    pub timestamp: String,
}

/// UTC with milliseconds and Z.
pub fn iso_time(at: Timestamp) -> String {
    let time = DateTime::from_timestamp_micros(at.0).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The header that names a request.
pub fn request_id() -> HeaderMap {
    let id = HeaderValue::try_from(random_uuid());
    id.into_iter().map(|id| (REQUEST_ID, id)).collect()
}

/// Where the caller stands: the limits of the minute, or those of the key, and of the month.
pub fn limit_headers(grant: &Grant, now: Timestamp) -> HeaderMap {
    let full_at = now.0.div_euclid(1_000_000).saturating_add_unsigned(grant.full_after_seconds);
    let mut headers = HeaderMap::from_iter([
        (RATE_LIMIT, HeaderValue::from(grant.limit)),
        (RATE_REMAINING, HeaderValue::from(grant.remaining)),
        (RATE_RESET, HeaderValue::from(full_at)),
    ]);
    if let Some((limit, next)) = grant.calendar {
        headers.insert(USAGE_MONTHLY, HeaderValue::from(grant.used));
        headers.insert(USAGE_LIMIT, HeaderValue::from(limit));
        headers.insert(USAGE_TOTAL, HeaderValue::from(grant.used));
        if let Ok(next) = HeaderValue::try_from(iso_time(next)) {
            headers.insert(USAGE_RESET, next);
        }
    }
    headers
}

/// The vendor's answer to a refusal.
pub fn word(state: &HttpState, error: &CompatError) -> Response {
    let status = error.status();
    let told = |code, message: String| failure(state, status, code, message);
    match error {
        CompatError::Unauthorized => {
            told("UNAUTHORIZED", "Send a valid API key as X-API-Key or as a bearer token".into())
        }
        CompatError::Forbidden | CompatError::NotOneApp => {
            told("FORBIDDEN", "This API key has no access to this website".into())
        }
        CompatError::UnknownApp { id } => told("NOT_FOUND", format!("Website {id} not found")),
        CompatError::BadParameters(wrong) => {
            let each: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            told("VALIDATION_ERROR", each.join("; "))
        }
        CompatError::Limited(limited) => {
            let mut response = told(limit_code(limited), limit_message(limited));
            let headers = response.headers_mut();
            headers.extend(limit_headers(&limited.grant, state.parts.clock.now()));
            headers.insert(RETRY_AFTER, HeaderValue::from(limited.retry_after_seconds));
            response
        }
        CompatError::Unavailable { retry_after_seconds } => {
            let message = "The service cannot answer at the moment, try again".to_owned();
            let mut response = told("SERVICE_UNAVAILABLE", message);
            let seconds = HeaderValue::from(*retry_after_seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
            response
        }
        CompatError::Other(StatusCode::TOO_MANY_REQUESTS) => told(
            "RATE_LIMIT_EXCEEDED",
            "Too many requests at once. Try again in a moment".to_owned(),
        ),
        CompatError::Other(status) if status.is_client_error() => {
            told("GENERIC_ERROR", status.canonical_reason().unwrap_or("Bad request").to_owned())
        }
        CompatError::Other(_) => told("INTERNAL_ERROR", "Internal server error".to_owned()),
    }
}

/// The answer to a key of the free plan.
pub fn plan_required(state: &HttpState) -> Response {
    let message = "This endpoint requires a Pro plan or higher".to_owned();
    failure(state, StatusCode::FORBIDDEN, "PLAN_REQUIRED", message)
}

/// The answer to a path without a website in it.
pub fn missing_site(state: &HttpState) -> Response {
    let message = "The path must name a website".to_owned();
    failure(state, StatusCode::BAD_REQUEST, "MISSING_SITE_ID", message)
}

/// The answer to a path that is not there.
pub fn unknown_path(state: &HttpState) -> Response {
    failure(state, StatusCode::NOT_FOUND, "NOT_FOUND", "There is no such endpoint here".to_owned())
}

fn limit_code(limited: &Limited) -> &'static str {
    if limited.is_calendar { "MONTHLY_LIMIT_EXCEEDED" } else { "RATE_LIMIT_EXCEEDED" }
}

fn limit_message(limited: &Limited) -> String {
    let Limited { grant, retry_after_seconds, .. } = limited;
    match (grant.calendar, limited.is_calendar) {
        (Some((most, next)), true) => {
            format!(
                "Monthly limit exceeded ({most} requests). It starts anew at {}",
                iso_time(next)
            )
        }
        _ => format!(
            "Rate limit exceeded ({} requests/{}). Try again in {retry_after_seconds} seconds",
            grant.limit, grant.unit
        ),
    }
}

fn failure(state: &HttpState, status: StatusCode, code: &'static str, message: String) -> Response {
    let timestamp = iso_time(state.parts.clock.now());
    let error = ZenovayError { message, code, timestamp };
    // Of what is counted: where that is another limit, it takes this one's place.
    let limit = [(RATE_LIMIT, HeaderValue::from(ALLOWANCE.requests.get()))];
    (status, request_id(), limit, Json(ZenovayFailure { success: false, error })).into_response()
}
