//! `GET /v1/dead-letters`: refused records with their reasons and bytes.

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::auth::{Administering, Caller};
use crate::http::freshness::{Freshness, blocking, gather};
use crate::http::parameters::{Parameter, Parameters, Shape, documented_parameters};
use crate::http::problem::{Kind, Problem};
use crate::http::state::HttpState;
use crate::stream::{DeadLetter, Partition};

/// Records of a page if the request does not say.
const LIMIT_USUAL: u64 = 100;
/// And at most.
pub const LIMIT_MAX: u32 = 1000;

/// What the path takes.
pub const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "cursor",
        is_required: false,
        shape: Shape::Text("the next_cursor of an answer, or PARTITION:OFFSET"),
        about: "The first record that may be shown; the first there is if absent.",
    },
    Parameter {
        name: "limit",
        is_required: false,
        shape: Shape::Integer(1, LIMIT_MAX as u64),
        about: "The most records of an answer; 100 if absent.",
    },
];

documented_parameters!(DeadLetterParameters, PARAMETERS, has_filters: false);

/// Refused records.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeadLettersBody {
    /// By partition and offset.
    pub dead_letters: Vec<DeadLetterBody>,
    /// Give it as `cursor` to go on; null at the end.
    pub next_cursor: Option<String>,
    #[serde(flatten)]
    pub freshness: Freshness,
}

/// A refused record.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeadLetterBody {
    pub partition: i32,
    pub offset: i64,
    /// The record's own timestamp.
    pub timestamp: String,
    /// Stable code.
    pub reason: String,
    /// The reason in words.
    pub message: String,
    pub key: Option<BytesBody>,
    pub value: Option<BytesBody>,
}

/// Bytes: as text if they are UTF-8, else in base64. One of the two is there.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BytesBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl From<Vec<u8>> for BytesBody {
    fn from(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { text: Some(text), base64: None },
            Err(error) => Self { text: None, base64: Some(STANDARD.encode(error.as_bytes())) },
        }
    }
}

impl From<DeadLetter> for DeadLetterBody {
    fn from(letter: DeadLetter) -> Self {
        Self {
            partition: letter.partition,
            offset: letter.offset,
            timestamp: letter.timestamp.to_rfc3339(),
            reason: letter.reason,
            message: letter.message,
            key: letter.key.map(BytesBody::from),
            value: letter.value.map(BytesBody::from),
        }
    }
}

fn parse_cursor(text: &str) -> Option<(Partition, i64)> {
    let (partition, offset) = text.split_once(':')?;
    let offset: i64 = offset.parse().ok()?;
    let partition: Partition = partition.parse().ok()?;
    (partition >= 0 && offset >= 0).then_some((partition, offset))
}

/// Refused records, with reasons and bytes.
///
/// Committed ones only: a record that was refused a moment ago may take a commit interval to
/// appear. They may be of any app, or of none, so a key needs the scope `admin`, and all apps.
#[utoipa::path(
    get,
    path = "/v1/dead-letters",
    tag = "data quality",
    params(DeadLetterParameters),
    responses(
        (status = 200, description = "Refused records", body = DeadLettersBody),
        (status = 400, description = "A parameter is unknown, repeated or wrong",
            body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid key", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not with this key", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "No partition is held", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub async fn get_dead_letters(
    State(state): State<HttpState>,
    Caller { access, .. }: Caller<Administering>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    if let Some(app) = state.parts.rules.apps.keys().find(|app| !access.sees(app)) {
        let detail = format!("dead letters may be of any app: {}", access.not_for(app));
        return Err(Problem::new(Kind::Forbidden, detail).with("app", app.as_str()));
    }
    let parameters = Parameters::read(pairs, PARAMETERS, false)?;
    let from = parameters.parsed("cursor", parse_cursor)?.unwrap_or((0, 0));
    let limit = parameters.integer("limit")?.unwrap_or(LIMIT_USUAL);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    blocking(move || respond(&state, from, limit)).await
}

fn respond(state: &HttpState, from: (Partition, i64), limit: usize) -> Result<Response, Problem> {
    // Readers outlive the lock: rows are read without holding up the ingest.
    let (readers, freshness) = gather(state, |shard| Ok(shard.reader()))?;
    let mut letters: Vec<DeadLetter> = Vec::new();
    for reader in readers {
        let wanted = limit + 1 - letters.len();
        if reader.partition < from.0 || wanted == 0 {
            continue;
        }
        let first = if reader.partition == from.0 { from.1 } else { 0 };
        let more = reader.dead_letters(first, wanted);
        letters.extend(more.map_err(|error| Problem::internal(&error))?);
    }
    let next_cursor = letters.get(limit).map(|next| format!("{}:{}", next.partition, next.offset));
    letters.truncate(limit);
    let dead_letters = letters.into_iter().map(DeadLetterBody::from).collect();
    let body = DeadLettersBody { dead_letters, next_cursor, freshness };
    Ok((body.freshness.headers(), Json(body)).into_response())
}
