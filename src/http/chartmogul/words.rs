//! Errors as the vendor writes them: code, message and the parameter at fault.

use axum::Json;
use axum::http::HeaderValue;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::compat::CompatError;
use crate::http::state::HttpState;

/// An error.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChartMogulError {
    /// The status.
    #[schema(example = 401)]
    pub code: u16,
    #[schema(example = "No valid API key provided")]
    pub message: String,
    /// The parameter at fault; null if it is none.
    pub param: Option<String>,
}

/// The vendor's answer to a refusal.
pub fn word(_: &HttpState, error: &CompatError) -> Response {
    let status = error.status();
    let (message, param) = match error {
        CompatError::Unauthorized => ("No valid API key provided".to_owned(), None),
        CompatError::Forbidden => ("This API key may not read metrics".to_owned(), None),
        CompatError::NotOneApp => {
            let message = "An account is one app here, but this API key is for none or for \
                           several: use a key that names exactly one app";
            (message.to_owned(), None)
        }
        CompatError::UnknownApp { id } => (format!("Account {id} not found"), None),
        CompatError::Limited(_) => {
            ("Your request rate has exceeded our rate limit.".to_owned(), None)
        }
        CompatError::BadParameters(wrong) => {
            let each: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            (each.join("; "), wrong.first().map(|parameter| parameter.name.clone()))
        }
        CompatError::Unavailable { .. } => {
            ("The service cannot answer at the moment, try again".to_owned(), None)
        }
        CompatError::Other(status) => {
            (status.canonical_reason().unwrap_or("The request failed").to_owned(), None)
        }
    };
    let body = ChartMogulError { code: status.as_u16(), message, param };
    let mut response = (status, Json(body)).into_response();
    let retry = match error {
        CompatError::Limited(limited) => Some(limited.retry_after_seconds),
        CompatError::Unavailable { retry_after_seconds } => Some(*retry_after_seconds),
        _ => None,
    };
    if let Some(seconds) = retry {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
