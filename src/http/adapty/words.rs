//! Refusals in the vendor's error body.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::adapty::request::{Fault, NO_FIELD};
use crate::http::compat::CompatError;
use crate::http::problem::Problem;
use crate::http::state::HttpState;

/// Why a request is not answered.
#[derive(Debug)]
pub enum Refusal {
    /// The request is wrong; at least one fault.
    Faults(Vec<Fault>),
    /// There is no `Authorization: Api-Key`.
    NoCredentials,
    Compat(CompatError),
}

impl From<CompatError> for Refusal {
    fn from(error: CompatError) -> Self {
        Self::Compat(error)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Compat(problem.into())
    }
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdaptyError {
    pub errors: Vec<AdaptyFault>,
    /// Of the first fault: `value_error.missing`, `enum`, `type_error`, `value_error`; else
    /// `not_authenticated`, `authentication_failed`, `permission_denied`, `not_found`,
    /// `method_not_allowed`, `throttled`, `unavailable` or `error`.
    pub error_code: String,
    /// The HTTP status.
    pub status_code: u16,
}

/// What is wrong with a field.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdaptyFault {
    /// The field, or `non_field_errors`.
    pub source: String,
    pub errors: Vec<String>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Faults(faults) => faulty(&faults),
            Self::NoCredentials => {
                let message = "Authentication credentials were not provided.";
                answer(StatusCode::UNAUTHORIZED, "not_authenticated", message)
            }
            Self::Compat(error) => worded(&error),
        }
    }
}

fn faulty(faults: &[Fault]) -> Response {
    let error_code = faults.first().map_or("value_error", |fault| fault.code.name());
    let mut errors: Vec<AdaptyFault> = Vec::new();
    for Fault { source, message, .. } in faults {
        match errors.iter_mut().find(|known| known.source == *source) {
            Some(known) => known.errors.push(message.clone()),
            None => {
                errors.push(AdaptyFault { source: source.clone(), errors: vec![message.clone()] });
            }
        }
    }
    body(StatusCode::BAD_REQUEST, error_code, errors)
}

fn answer(status: StatusCode, error_code: &str, message: impl Into<String>) -> Response {
    let fault = AdaptyFault { source: NO_FIELD.to_owned(), errors: vec![message.into()] };
    body(status, error_code, vec![fault])
}

fn body(status: StatusCode, error_code: &str, errors: Vec<AdaptyFault>) -> Response {
    let error_code = error_code.to_owned();
    let error = AdaptyError { errors, error_code, status_code: status.as_u16() };
    (status, Json(error)).into_response()
}

/// The vendor's words for what no handler of its paths has worded.
pub fn word(_: &HttpState, error: &CompatError) -> Response {
    worded(error)
}

fn worded(error: &CompatError) -> Response {
    let status = error.status();
    let plain = |code, message: &str| answer(status, code, message);
    match error {
        CompatError::Unauthorized => plain("authentication_failed", "The API key is not known."),
        CompatError::Forbidden => plain("permission_denied", "The API key may not read this app."),
        CompatError::NotOneApp => {
            let message = "The API key must be for exactly one app, which is the one answered for.";
            plain("permission_denied", message)
        }
        CompatError::UnknownApp { id } => {
            answer(status, "not_found", format!("There is no app \"{id}\"."))
        }
        CompatError::Limited(limited) => {
            let seconds = limited.retry_after_seconds;
            let message = format!(
                "Request was throttled. Expected available in {seconds} second{}.",
                if seconds == 1 { "" } else { "s" }
            );
            with_retry(answer(status, "throttled", message), seconds)
        }
        CompatError::BadParameters(parameters) => {
            let faults: Vec<Fault> = parameters
                .iter()
                .map(|parameter| Fault::value(&parameter.name, parameter))
                .collect();
            faulty(&faults)
        }
        CompatError::Unavailable { retry_after_seconds } => {
            with_retry(plain("unavailable", "Not available now."), *retry_after_seconds)
        }
        CompatError::Other(status) => {
            let code = match *status {
                StatusCode::NOT_FOUND => "not_found",
                StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
                StatusCode::TOO_MANY_REQUESTS => "throttled",
                _ => "error",
            };
            answer(*status, code, status.canonical_reason().unwrap_or("Error"))
        }
    }
}

fn with_retry(mut response: Response, seconds: u64) -> Response {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// What is not there of the vendor's API.
pub async fn unknown_path() -> Response {
    answer(StatusCode::NOT_FOUND, "not_found", "There is no such method here.")
}
