//! `POST /v1/events`: ingest of events as JSON or NDJSON.
//!
//! Bytes of events are handed on as they came; what they mean is decided behind [`Ingest`]. Here
//! is decided what a body must be, and whether the key may speak for an event's app.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Query, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::codec::json_event;
use crate::http::auth::{Access, Caller, Ingesting};
use crate::http::encoding::{Encoding, NotDecoded};
use crate::http::freshness::{AsOf, blocking, by_name};
use crate::http::native::event_schema::EventsInJson;
use crate::http::parameters::Parameters;
use crate::http::problem::{Kind, Problem};
use crate::http::state::HttpState;
use crate::stream::{Ingest, IngestError, Receipt, Receipts};

/// The most refusals told one by one. Who wants to be told of each hands in no more events at once.
pub const ERRORS_MAX: usize = 1000;

/// The most events of one body, far more than fit into one of the usual length if they are any.
pub const EVENTS_MAX: usize = 1_000_000;

/// Events of a body that are handed on at a time: what became of them is kept until it is told.
const EVENTS_AT_A_TIME: usize = 10_000;

/// How often, and how long between, the rest of a body is handed on anew where too much is waiting.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// What became of a submission.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct IngestBody {
    /// Events that are durable now, for the first time.
    pub accepted: usize,
    /// Of these, how many have no effect yet; 0 when events go through Kafka, which can't tell.
    pub suspended: usize,
    /// Events that were accepted before with the same content; 0 when events go through Kafka.
    pub repeated: usize,
    pub refused: usize,
    /// The first 1000 refusals, in the order of the events.
    pub errors: Vec<RefusalBody>,
    /// Whether there are more refusals than `errors` tells.
    pub errors_truncated: bool,
    /// By partition: the next offset from which on a question's `min_as_of` sees what was
    /// accepted.
    #[schema(example = json!({"0": 1234}))]
    pub as_of: BTreeMap<String, i64>,
}

/// Why an event was not accepted.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RefusalBody {
    /// From 1: the line of NDJSON, or the position in the array.
    pub line: usize,
    /// Where one can be read.
    pub event_id: Option<String>,
    /// The field at fault, where there is one.
    pub field: Option<String>,
    /// Stable code.
    pub code: String,
    pub message: String,
}

/// Form of a body.
#[derive(Clone, Copy)]
enum Form {
    Json,
    Ndjson,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" => Ok(Self::Ndjson),
            other => {
                let detail = format!(
                    "Content-Type must be application/json or application/x-ndjson, got \"{other}\""
                );
                Err(Problem::new(Kind::UnsupportedMediaType, detail))
            }
        }
    }
}

/// Where an event stood, and its bytes.
type Numbered<'a> = (usize, &'a [u8]);

/// Hands in events.
///
/// What an event is says the README; its texts are at most 200 bytes (`app_id`: 100), without
/// control characters of ASCII.
///
/// The body is one event, an array of events, or NDJSON with one event a line (blank lines are
/// skipped), optionally encoded with gzip or zstd, in one piece or several that follow each other, and as a whole at
/// most `service.max_body_bytes` long, as it comes and when decoded (64 MiB), with at most a million events. JSON that
/// can't be parsed, NDJSON without one line of JSON, and a body without an event are refused whole. Otherwise events are accepted
/// and refused one by one, a line that is not JSON like any other. The answer is sent when every
/// accepted event is durable. Submitting the same events again is safe: they count as repeated.
///
/// Where events go through Kafka, the answer tells every refusal that does not depend on the
/// customer's earlier events, and nothing refused so is written to the topic. What does depend on
/// them is found when the topic is read: a repeat is counted there, and a conflict or an event of
/// a forgotten customer is accepted here and becomes a dead letter.
#[utoipa::path(
    post,
    path = "/v1/events",
    tag = "ingest",
    request_body(description = "Events, version 1", content(
        (EventsInJson = "application/json"),
        (String = "application/x-ndjson"),
    )),
    responses(
        (status = 202, description = "What became of the events; some may be refused",
            body = IngestBody),
        (status = 400, description = "The body cannot be read; nothing was accepted",
            body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid key", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not with this key",
            body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem,
            content_type = "application/problem+json"),
        (status = 415, description = "The body is of another type or encoding", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Every event was refused, for the reasons given", body = IngestBody),
        (status = 429, description = "Too much is waiting, or too many requests", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Events cannot be taken now; what was accepted is not known, \
            and submitting again is safe", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub async fn post_events(
    State(state): State<HttpState>,
    Caller { access, .. }: Caller<Ingesting>,
    Query(pairs): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Result<EventsBody, Problem>,
) -> Result<Response, Problem> {
    // It has none: what a sender hopes for is not passed over in silence.
    Parameters::read(pairs, &[], false)?;
    let form = Form::of(&headers)?;
    let EventsBody { encoding, bytes } = body?;
    blocking(move || {
        let bytes_max = state.parts.limits.max_body_bytes;
        let body = encoding.decode(bytes, bytes_max).map_err(|why| match why {
            NotDecoded::TooLong => too_large(bytes_max),
            NotDecoded::Malformed => unread(),
        })?;
        // Some programs put a byte order mark before what they write as UTF-8.
        let text = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&body);
        let events = match form {
            Form::Json => json_events(text)?,
            Form::Ndjson => ndjson_events(text)?,
        };
        if events.is_empty() {
            return Err(Problem::new(Kind::Unparseable, "the body holds no event"));
        }
        submit(&*state.parts.ingest, &access, &events)
    })
    .await
}

/// A body as it came, of no more bytes than are taken at once.
pub struct EventsBody {
    encoding: Encoding,
    bytes: Bytes,
}

impl FromRequest<HttpState> for EventsBody {
    type Rejection = Problem;

    /// Of a body that says its length nothing is read if that is too much: a sender who expects to be told before
    /// (`100-continue`) is, and others might find the connection closed before they come to the answer.
    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Problem> {
        let bytes_max = state.parts.limits.max_body_bytes;
        let encoding = Encoding::of(request.headers())?;
        let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|it| it > bytes_max) {
            return Err(too_large(bytes_max));
        }
        let body = Bytes::from_request(request, state).await;
        body.map(|bytes| Self { encoding, bytes }).map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(bytes_max),
            _ => unread(),
        })
    }
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("the body is longer than {bytes_max} bytes");
    Problem::new(Kind::BodyTooLarge, detail).with("max_bytes", bytes_max)
}

fn unread() -> Problem {
    let detail = "the body broke off, or is not encoded as Content-Encoding says";
    Problem::new(Kind::Unparseable, detail)
}

fn json_events(body: &[u8]) -> Result<Vec<Numbered<'_>>, Problem> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_none() {
        return Ok(Vec::new());
    }
    let is_array = first == Some(&b'[');
    let events: Vec<&RawValue> = if is_array {
        let AtMost(events) =
            serde_json::from_slice(body).map_err(|error| unparseable(&error, error.line()))?;
        events.ok_or_else(too_many)?
    } else {
        vec![serde_json::from_slice(body).map_err(|error| unparseable(&error, error.line()))?]
    };
    let bytes = events.into_iter().map(|event| event.get().as_bytes());
    Ok(bytes.enumerate().map(|(place, event)| (place + 1, event)).collect())
}

fn ndjson_events(body: &[u8]) -> Result<Vec<Numbered<'_>>, Problem> {
    let mut events = Vec::new();
    for (place, line) in body.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if !line.is_empty() {
            if events.len() == EVENTS_MAX {
                return Err(too_many());
            }
            events.push((place + 1, line));
        }
    }
    // A line that is not JSON is refused like any other event; where all are such, the body is of
    // another form than it says.
    let mut unreadable = None;
    for (number, line) in &events {
        match serde_json::from_slice::<&RawValue>(line) {
            Ok(_) => return Ok(events),
            Err(error) => {
                unreadable.get_or_insert_with(|| unparseable(&error, *number));
            }
        }
    }
    unreadable.map_or(Ok(events), Err)
}

fn unparseable(error: &serde_json::Error, line: usize) -> Problem {
    let (text, column) = (error.to_string(), error.column());
    // Its own place is within what was read, which may be a line of many.
    let what = text.split(" at line ").next().unwrap_or(&text);
    let detail = format!("line {line} is not JSON ({what}, column {column}); nothing was accepted");
    Problem::new(Kind::Unparseable, detail).with("line", line)
}

fn too_many() -> Problem {
    let detail = format!("the body holds more than {EVENTS_MAX} events");
    Problem::new(Kind::BodyTooLarge, detail).with("max_events", EVENTS_MAX)
}

/// The members of an array of JSON, unless there are too many.
struct AtMost<'a>(Option<Vec<&'a RawValue>>);

impl<'de: 'a, 'a> Deserialize<'de> for AtMost<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Option<Vec<&'de RawValue>>;

            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = seq.next_element()? {
                    members.push(member);
                    if members.len() > EVENTS_MAX {
                        while seq.next_element::<IgnoredAny>()?.is_some() {}
                        return Ok(None);
                    }
                }
                Ok(Some(members))
            }
        }

        deserializer.deserialize_seq(Members).map(Self)
    }
}

fn submit(
    ingest: &dyn Ingest,
    access: &Access,
    events: &[Numbered<'_>],
) -> Result<Response, Problem> {
    let mut body = IngestBody::default();
    for events in events.chunks(EVENTS_AT_A_TIME) {
        submit_some(ingest, access, events, &mut body)?;
    }
    body.errors_truncated = body.refused > body.errors.len();
    let is_all_refused = body.refused > 0 && body.accepted + body.repeated == 0;
    let status =
        if is_all_refused { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::ACCEPTED };
    Ok((status, Json(body)).into_response())
}

/// Hands on some of a body's events, and adds what became of them to what became of those before.
fn submit_some(
    ingest: &dyn Ingest,
    access: &Access,
    events: &[Numbered<'_>],
    body: &mut IngestBody,
) -> Result<(), Problem> {
    let (allowed, mut errors) = part(access, events);
    let bytes = || allowed.iter().map(|(_, bytes)| bytes.to_vec()).collect();
    let mut submitted = match allowed.is_empty() {
        true => Ok(Receipts { receipts: Vec::new(), as_of: Vec::new() }),
        false => ingest.submit(bytes()),
    };
    // What was taken before need not be handed in again.
    let mut tries = if body.accepted + body.repeated > 0 { TRIES } else { 0 };
    while tries > 0 && matches!(submitted, Err(IngestError::Overloaded)) {
        std::thread::sleep(PAUSE);
        submitted = ingest.submit(bytes());
        tries -= 1;
    }
    let Receipts { receipts, as_of } = submitted.map_err(refused_whole)?;
    // Later ones of a partition are further.
    body.as_of.extend(by_name(&as_of.into_iter().collect::<AsOf>()));
    body.refused += errors.len();
    for ((line, bytes), receipt) in allowed.into_iter().zip(receipts) {
        match receipt {
            Receipt::Accepted { is_suspended } => {
                body.accepted += 1;
                body.suspended += usize::from(is_suspended);
            }
            Receipt::Repeated => body.repeated += 1,
            Receipt::Refused { code, field, message } => {
                body.refused += 1;
                if errors.len() <= ERRORS_MAX {
                    let event_id = json_event::event_id_of(bytes);
                    errors.push(RefusalBody { line, event_id, field, code, message });
                }
            }
        }
    }
    errors.sort_by_key(|error| error.line);
    body.errors.extend(errors);
    body.errors.truncate(ERRORS_MAX);
    Ok(())
}

/// Takes out the events of apps that the key is not for. They are told to the sender only: what
/// strangers send is no dead letter.
fn part<'a>(access: &Access, events: &[Numbered<'a>]) -> (Vec<Numbered<'a>>, Vec<RefusalBody>) {
    if access.sees_everything() {
        return (events.to_vec(), Vec::new());
    }
    let (mut allowed, mut refused) = (Vec::with_capacity(events.len()), Vec::new());
    for &(line, bytes) in events {
        // What does not decode is of no app, and is refused behind the seam with its reason.
        let foreign = json_event::decode(bytes).ok().and_then(|event| {
            let (app, id) = (&event.app_id, &event.event_id);
            (!access.sees(app)).then(|| (app.to_string(), id.to_string()))
        });
        match foreign {
            None => allowed.push((line, bytes)),
            Some((app, event_id)) => refused.push(RefusalBody {
                line,
                event_id: Some(event_id),
                field: Some("app_id".to_owned()),
                code: "forbidden_app".to_owned(),
                message: access.not_for(&app),
            }),
        }
    }
    (allowed, refused)
}

fn refused_whole(error: IngestError) -> Problem {
    match error {
        IngestError::Overloaded => Problem::new(Kind::Overloaded, error).retry_after_seconds(1),
        IngestError::After { reason, .. } => refused_whole(*reason),
        IngestError::Unavailable(_) | IngestError::Refused(_) => {
            tracing::warn!(%error, "ingest is not available");
            Problem::new(Kind::Unavailable, error).retry_after_seconds(5)
        }
    }
}
