//! Errors and headers of limits as the vendor writes them.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::time::Timestamp;
use crate::http::compat::{BadParameter, CompatError, Grant, random_hex};
use crate::http::state::HttpState;

const RATE_LIMIT: HeaderName = HeaderName::from_static("x-rate-limit-limit");
const RATE_REMAINING: HeaderName = HeaderName::from_static("x-rate-limit-remaining");
const RATE_RESET: HeaderName = HeaderName::from_static("x-rate-limit-reset");

/// The services that the vendor's errors name.
const PUBLIC_API: &str = "PublicApi";
const CLIENTS_API: &str = "ClientsApi";

/// An error.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodatError {
    /// The HTTP status.
    pub status_code: u16,
    /// `PublicApi` or `ClientsApi`.
    pub service: &'static str,
    /// What happened, in words.
    pub error: String,
    /// 32 hexadecimal digits that name this error.
    pub correlation_id: String,
    /// What is wrong with the parameters, else null.
    pub validation: Option<CodatValidation>,
    /// `True`, `False` or `Unknown`.
    pub can_be_retried: &'static str,
    /// Always 0.
    pub detailed_error_code: u32,
}

/// What is wrong with the parameters.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodatValidation {
    /// One for each parameter.
    pub errors: Vec<CodatValidationItem>,
    /// Always empty.
    pub warnings: Vec<CodatValidationItem>,
}

/// A parameter that is missing or wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodatValidationItem {
    /// The parameter.
    pub item_id: String,
    pub message: String,
    pub validator_name: &'static str,
}

/// An answer that says where the caller stands.
pub fn with_limits(state: &HttpState, grant: &Grant, mut response: Response) -> Response {
    response.headers_mut().extend(limit_headers(grant, state.parts.clock.now()));
    response
}

/// Where the caller stands: the day's limit, or that of the key.
fn limit_headers(grant: &Grant, now: Timestamp) -> HeaderMap {
    let (limit, remaining, reset) = match grant.calendar {
        Some((limit, next)) => (limit, limit.saturating_sub(grant.used), next),
        None => {
            let full_after = grant.full_after_seconds.saturating_mul(1_000_000);
            let full_at = now.0.saturating_add_unsigned(full_after);
            let full_at = Timestamp(full_at.div_euclid(1_000_000) * 1_000_000);
            (u64::from(grant.limit), u64::from(grant.remaining), full_at)
        }
    };
    let mut headers = HeaderMap::from_iter([
        (RATE_LIMIT, HeaderValue::from(limit)),
        (RATE_REMAINING, HeaderValue::from(remaining)),
    ]);
    if let Ok(reset) = HeaderValue::try_from(reset.to_rfc3339()) {
        headers.insert(RATE_RESET, reset);
    }
    headers
}

/// The vendor's answer to a refusal.
pub fn word(state: &HttpState, error: &CompatError) -> Response {
    let status = error.status();
    let told = |text: &str| body(status, PUBLIC_API, text.to_owned()).respond(status);
    match error {
        CompatError::Unauthorized => told("Unauthorized"),
        CompatError::Forbidden | CompatError::NotOneApp => {
            told("The API key is not valid for this resource.")
        }
        CompatError::UnknownApp { id } => {
            body(status, CLIENTS_API, format!("No company was found with ID {id}")).respond(status)
        }
        CompatError::BadParameters(wrong) => {
            let text = "Error processing request - not valid.".to_owned();
            let errors = wrong.iter().map(CodatValidationItem::of).collect();
            let validation = Some(CodatValidation { errors, warnings: Vec::new() });
            CodatError { validation, ..body(status, PUBLIC_API, text) }.respond(status)
        }
        CompatError::Limited(limited) => {
            let response = told(
                "You have made too many requests in a given amount of time; please retry later.",
            );
            let mut response = with_limits(state, &limited.grant, response);
            let seconds = HeaderValue::from(limited.retry_after_seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
            response
        }
        CompatError::Unavailable { retry_after_seconds } => {
            let mut response = told("The service is temporarily unavailable; please retry later.");
            let seconds = HeaderValue::from(*retry_after_seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
            response
        }
        CompatError::Other(status) => told(status.canonical_reason().unwrap_or("Error")),
    }
}

/// The answer to a connection that the company does not have.
pub fn unknown_connection(id: &str) -> Response {
    let status = StatusCode::NOT_FOUND;
    body(status, PUBLIC_API, format!("Data connection {id} not found")).respond(status)
}

fn body(status: StatusCode, service: &'static str, error: String) -> CodatError {
    let can_be_retried = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "True",
        status if status.is_client_error() => "False",
        _ => "Unknown",
    };
    CodatError {
        status_code: status.as_u16(),
        service,
        error,
        correlation_id: random_hex(),
        validation: None,
        can_be_retried,
        detailed_error_code: 0,
    }
}

impl CodatError {
    fn respond(self, status: StatusCode) -> Response {
        (status, Json(self)).into_response()
    }
}

impl CodatValidationItem {
    fn of(wrong: &BadParameter) -> Self {
        Self {
            item_id: wrong.name.clone(),
            message: wrong.to_string(),
            validator_name: if wrong.got.is_some() {
                "ValueValidator"
            } else {
                "NotEmptyValidator"
            },
        }
    }
}
