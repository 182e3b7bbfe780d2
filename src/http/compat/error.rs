//! Why a vendor's path does not answer, before a vendor words it.

use axum::http::StatusCode;

use crate::http::compat::limits::Limited;
use crate::http::problem::Problem;

/// A parameter that cannot be used as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadParameter {
    pub name: String,
    /// What it must be, to follow "must be".
    pub expected: String,
    /// `None`: it is missing.
    pub got: Option<String>,
}

impl BadParameter {
    /// A value that is not what is expected.
    pub fn wrong(name: &str, expected: impl Into<String>, got: &str) -> Self {
        let got = got.chars().take(200).collect();
        Self { name: name.to_owned(), expected: expected.into(), got: Some(got) }
    }

    /// A required parameter that is not there.
    pub fn missing(name: &str, expected: impl Into<String>) -> Self {
        Self { name: name.to_owned(), expected: expected.into(), got: None }
    }
}

impl std::fmt::Display for BadParameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, expected, got } = self;
        match got {
            Some(got) => write!(f, "{name} must be {expected}, got \"{got}\""),
            None => write!(f, "{name} is required: {expected}"),
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompatError {
    /// No key, or one that is not known.
    Unauthorized,
    /// The key lacks the scope `read`, or is not for this app.
    Forbidden,
    /// The path needs a key that is for exactly one app (or, without keys, exactly one app).
    NotOneApp,
    /// No app has this id among its `compat_ids` or as its own.
    UnknownApp {
        id: String,
    },
    Limited(Limited),
    /// At least one, in the order of the vendor's own list.
    BadParameters(Vec<BadParameter>),
    /// The state is not there at the moment.
    Unavailable {
        retry_after_seconds: u64,
    },
    /// Anything else; told to the log where it is a fault of ours.
    Other(StatusCode),
}

impl CompatError {
    /// One wrong parameter.
    pub fn bad_parameter(parameter: BadParameter) -> Self {
        Self::BadParameters(vec![parameter])
    }

    /// The error that stands for a status of which nothing else is known.
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable { retry_after_seconds: 1 },
            status => Self::Other(status),
        }
    }

    /// The status that all vendors give this; a vendor may choose its own.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::NotOneApp => StatusCode::FORBIDDEN,
            Self::UnknownApp { .. } => StatusCode::NOT_FOUND,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::BadParameters(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Other(status) => *status,
        }
    }
}

impl From<Problem> for CompatError {
    fn from(problem: Problem) -> Self {
        Self::of_status(problem.status())
    }
}
