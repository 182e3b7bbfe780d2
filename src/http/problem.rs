//! Errors of native paths: RFC 9457 problem documents.

use std::fmt::Display;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong. Each kind has a stable `type`, `title` and status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    UnknownParameter,
    RepeatedParameter,
    InvalidParameter,
    /// Each parameter is right, but not together.
    InvalidQuestion,
    Unparseable,
    BadRequest,
    Unauthorized,
    Forbidden,
    UnknownApp,
    UnknownCustomer,
    CustomerForgotten,
    NotFound,
    MethodNotAllowed,
    BodyTooLarge,
    UnsupportedMediaType,
    /// Asked by a name that may be another's.
    ForeignName,
    RateLimited,
    Overloaded,
    Internal,
    Unavailable,
    AsOfNotReached,
    Timeout,
}

impl Kind {
    /// Last part of the `type`, the `title`, and the status.
    fn parts(self) -> (&'static str, &'static str, StatusCode) {
        use StatusCode as S;
        match self {
            Self::UnknownParameter => ("unknown-parameter", "Unknown parameter", S::BAD_REQUEST),
            Self::RepeatedParameter => ("repeated-parameter", "Repeated parameter", S::BAD_REQUEST),
            Self::InvalidParameter => ("invalid-parameter", "Invalid parameter", S::BAD_REQUEST),
            Self::InvalidQuestion => ("invalid-question", "Invalid question", S::BAD_REQUEST),
            Self::Unparseable => ("unparseable", "Body cannot be read", S::BAD_REQUEST),
            Self::BadRequest => ("bad-request", "Bad request", S::BAD_REQUEST),
            Self::Unauthorized => ("unauthorized", "No valid API key", S::UNAUTHORIZED),
            Self::Forbidden => ("forbidden", "Not allowed with this API key", S::FORBIDDEN),
            Self::UnknownApp => ("unknown-app", "Unknown app", S::NOT_FOUND),
            Self::UnknownCustomer => ("unknown-customer", "Unknown customer", S::NOT_FOUND),
            Self::CustomerForgotten => ("customer-forgotten", "Customer was erased", S::GONE),
            Self::NotFound => ("not-found", "No such path", S::NOT_FOUND),
            Self::MethodNotAllowed => {
                ("method-not-allowed", "Method not allowed", S::METHOD_NOT_ALLOWED)
            }
            Self::BodyTooLarge => ("body-too-large", "Body too large", S::PAYLOAD_TOO_LARGE),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", "Unsupported media type", S::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::ForeignName => {
                ("foreign-name", "Not asked by a name of this machine", S::MISDIRECTED_REQUEST)
            }
            Self::RateLimited => ("rate-limited", "Too many requests", S::TOO_MANY_REQUESTS),
            Self::Overloaded => ("overloaded", "Too much is waiting", S::TOO_MANY_REQUESTS),
            Self::Internal => ("internal", "Internal error", S::INTERNAL_SERVER_ERROR),
            Self::Unavailable => ("unavailable", "Not available", S::SERVICE_UNAVAILABLE),
            Self::AsOfNotReached => {
                ("as-of-not-reached", "Input not reached in time", S::SERVICE_UNAVAILABLE)
            }
            Self::Timeout => ("timeout", "Not answered in time", S::SERVICE_UNAVAILABLE),
        }
    }

    /// The kind that stands for a status of which nothing else is known.
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            status if status.is_client_error() => Self::BadRequest,
            _ => Self::Internal,
        }
    }
}

/// A problem document. Kinds of problems have further members, such as `parameter`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Stable name of the kind of problem, a URN.
    #[serde(rename = "type")]
    #[schema(example = "urn:ltvstream:problem:unknown-parameter")]
    kind: String,
    title: &'static str,
    /// The HTTP status.
    #[serde(serialize_with = "status_number")]
    #[schema(value_type = u16)]
    status: StatusCode,
    /// What happened this time, in words.
    detail: String,
    #[serde(flatten)]
    #[schema(ignore)]
    members: serde_json::Map<String, Value>,
    #[serde(skip)]
    #[schema(ignore)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

fn status_number<S: serde::Serializer>(status: &StatusCode, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem, told in words.
    pub fn new(kind: Kind, detail: impl Display) -> Self {
        let (name, title, status) = kind.parts();
        let mut headers = Vec::new();
        if kind == Kind::Unauthorized {
            headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        Self {
            kind: format!("urn:ltvstream:problem:{name}"),
            title,
            status,
            detail: detail.to_string(),
            members: serde_json::Map::new(),
            headers,
        }
    }

    /// A fault of ours: told to the log, not to the caller.
    pub fn internal(error: &dyn Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::new(Kind::Internal, "the request failed for a reason that is in the service's log")
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Tells when to come back.
    #[must_use]
    pub fn retry_after_seconds(mut self, seconds: u64) -> Self {
        self.headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
        self
    }
}

/// A wait in whole seconds, as `Retry-After` wants it: never less than it is.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.extend(self.headers);
        response
    }
}
