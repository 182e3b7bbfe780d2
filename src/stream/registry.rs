//! A schema registry over HTTP: which schema an id means, and which id a schema gets.
//!
//! Speaks the part of Confluent's API that Karapace, Apicurio and Redpanda speak too. A schema
//! never changes under its id, so each is asked for once; an unknown id is asked for again after
//! a while, since ids made up by corrupt records must not cost a request each.
//!
//! Not here: retrying (the caller has a loop to keep alive, see [`RegistryError::is_retryable`]),
//! and what is in a schema (`codec`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::stream::proxy::proxy_for;

/// How long one request may take, all in all.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unknown id is believed to be unknown.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// More unknown ids than this are not remembered.
const UNKNOWN_MAX: usize = 10_000;
/// Longest answer in bytes.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// The registry's own code for "no such schema"; any other 404 comes from a wrong address.
const SCHEMA_NOT_FOUND: i64 = 40403;

/// Why the registry did not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The record that names the id is to blame.
    #[error("the schema registry knows no schema {0}")]
    UnknownId(u32),
    /// The schema exists, but nothing here reads it.
    #[error("schema {id} of the registry can't be used: {why}")]
    Unusable { id: u32, why: String },
    /// Worth another try.
    #[error("the schema registry can't be reached: {0}")]
    Unavailable(String),
    /// Only another configuration helps.
    #[error("the schema registry refused: {0}")]
    Refused(String),
}

impl RegistryError {
    /// Whether the same request may succeed later, without anybody changing anything here.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// A client of one registry. Shared by reference; requests block.
#[derive(Debug)]
pub struct SchemaRegistry {
    base_url: String,
    authorization: Option<String>,
    agent: ureq::Agent,
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    schemas: BTreeMap<u32, Arc<str>>,
    unknown_since: BTreeMap<u32, Instant>,
}

#[derive(Deserialize)]
struct SchemaAnswer {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct IdAnswer {
    id: u32,
}

#[derive(Deserialize, Default)]
struct ErrorAnswer {
    error_code: Option<i64>,
    message: Option<String>,
}

type Outcome<T> = Result<T, RegistryError>;

impl SchemaRegistry {
    /// A client for the registry at `url`; `login` is user and password of basic authentication
    /// and may also stand in the address, percent-encoded.
    pub fn new(url: &str, login: Option<(&str, &str)>) -> Outcome<Self> {
        let invalid = || RegistryError::Refused("the address must be http:// or https://".into());
        let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (in_url, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(login.split_once(':').unwrap_or((login, ""))), host),
            None => (None, authority),
        };
        if !matches!(scheme, "http" | "https") || host.is_empty() {
            return Err(invalid());
        }
        let plain = |(user, password)| Some((percent_decode(user)?, percent_decode(password)?));
        let login = match (login, in_url) {
            (Some((user, password)), _) => Some((user.to_owned(), password.to_owned())),
            (None, Some(encoded)) => Some(plain(encoded).ok_or_else(invalid)?),
            (None, None) => None,
        };
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .proxy(proxy_for(url))
            .build();
        Ok(Self {
            base_url: format!("{scheme}://{host}{}", path.trim_end_matches('/')),
            authorization: login.map(|(user, password)| {
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }),
            agent: config.into(),
            answers: Mutex::default(),
        })
    }

    /// Whether a registry may give this id to a schema. All count in signed integers, and take a greater one
    /// for a wrong address.
    pub fn may_give(id: u32) -> bool {
        i32::try_from(id).is_ok()
    }

    /// The Avro schema that `id` means, as JSON.
    pub fn schema_by_id(&self, id: u32) -> Outcome<Arc<str>> {
        if !Self::may_give(id) {
            return Err(RegistryError::UnknownId(id));
        }
        {
            let answers = self.answers.lock();
            if let Some(schema) = answers.schemas.get(&id) {
                return Ok(Arc::clone(schema));
            }
            if answers.unknown_since.get(&id).is_some_and(|since| since.elapsed() < UNKNOWN_FOR) {
                return Err(RegistryError::UnknownId(id));
            }
        }
        let outcome = self.ask_for_schema(id);
        let mut answers = self.answers.lock();
        match &outcome {
            Ok(schema) => {
                answers.schemas.insert(id, Arc::clone(schema));
            }
            Err(RegistryError::UnknownId(_)) => {
                if answers.unknown_since.len() >= UNKNOWN_MAX {
                    answers.unknown_since.clear();
                }
                answers.unknown_since.insert(id, Instant::now());
            }
            Err(_) => (),
        }
        outcome
    }

    /// Lets an unknown id be asked for again at once.
    pub fn forget_unknown(&self, id: u32) {
        self.answers.lock().unknown_since.remove(&id);
    }

    /// The id of `schema` under `subject`; registers it if it is new there.
    pub fn register(&self, subject: &str, schema: &str) -> Outcome<u32> {
        let subject = percent_encode(subject);
        // Who may not write may still find what is there.
        match self.id_of(&format!("/subjects/{subject}"), schema) {
            Ok(id) => Ok(id),
            Err(RegistryError::Refused(_)) => {
                self.id_of(&format!("/subjects/{subject}/versions"), schema)
            }
            Err(error) => Err(error),
        }
    }

    fn id_of(&self, path: &str, schema: &str) -> Outcome<u32> {
        let body = serde_json::json!({ "schema": schema }).to_string();
        let request = self.agent.post(self.address(path)).content_type(CONTENT_TYPE);
        let answer = self.authorized(request).send(&body);
        let (status, body) = read(answer)?;
        if status == 200 {
            return parse::<IdAnswer>(&body).map(|answer| answer.id);
        }
        Err(failure(status, &body))
    }

    fn ask_for_schema(&self, id: u32) -> Outcome<Arc<str>> {
        let request = self.agent.get(self.address(&format!("/schemas/ids/{id}")));
        let (status, body) = read(self.authorized(request.header("accept", CONTENT_TYPE)).call())?;
        if status == 404 && error_of(&body).error_code == Some(SCHEMA_NOT_FOUND) {
            return Err(RegistryError::UnknownId(id));
        }
        if status != 200 {
            return Err(failure(status, &body));
        }
        let answer: SchemaAnswer = parse(&body)?;
        let unusable = |why: String| Err(RegistryError::Unusable { id, why });
        match answer.schema_type.as_deref() {
            None | Some("AVRO") if answer.references.is_empty() => Ok(answer.schema.into()),
            None | Some("AVRO") => unusable("it refers to other schemas".to_owned()),
            Some(other) => unusable(format!("its type is {other}, not AVRO")),
        }
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        }
    }
}

/// Status and body of an answer.
fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Outcome<(u16, String)> {
    let mut answer = answer.map_err(|error| transport(&error))?;
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
    Ok((answer.status().as_u16(), body.map_err(|error| transport(&error))?))
}

fn transport(error: &ureq::Error) -> RegistryError {
    use ureq::Error;
    match error {
        Error::BadUri(_)
        | Error::Http(_)
        | Error::Tls(_)
        | Error::Rustls(_)
        | Error::RedirectFailed
        | Error::TooManyRedirects
        | Error::BodyExceedsLimit(_) => RegistryError::Refused(error.to_string()),
        _ => RegistryError::Unavailable(error.to_string()),
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a str) -> Outcome<T> {
    let foreign = |_| RegistryError::Refused("the answer is not a schema registry's".to_owned());
    serde_json::from_str(body).map_err(foreign)
}

fn error_of(body: &str) -> ErrorAnswer {
    serde_json::from_str(body).unwrap_or_default()
}

fn failure(status: u16, body: &str) -> RegistryError {
    let text = match error_of(body).message {
        Some(message) => format!("HTTP status {status}: {message}"),
        None => format!("HTTP status {status}"),
    };
    match status {
        408 | 425 | 429 | 500.. => RegistryError::Unavailable(text),
        _ => RegistryError::Refused(text),
    }
}

fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// `None` when a percent sign is not followed by two hexadecimal digits, or the text is not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.extend_from_slice(before.as_bytes());
        let digits = after.get(..2)?;
        out.push(hex::decode(digits).ok()?[0]);
        rest = &after[2..];
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A registry that answers every request by `answer(head, body)`.
    struct Server {
        url: String,
        requests: Arc<AtomicUsize>,
    }

    fn serve(answer: impl Fn(&str, &str) -> (u16, String) + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
                let head = head.to_ascii_lowercase();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.trim().parse().unwrap());
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let (status, text) = answer(&head, &String::from_utf8(body).unwrap());
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
                    text.len()
                );
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        Server { url, requests }
    }

    fn client(server: &Server) -> SchemaRegistry {
        SchemaRegistry::new(&format!("http://{}/", server.url), None).unwrap()
    }

    #[test]
    fn a_schema_is_asked_for_once() {
        let server = serve(|head, _| {
            assert!(head.starts_with("get /schemas/ids/7 "), "{head}");
            (200, r#"{"schema":"\"string\""}"#.to_owned())
        });
        let registry = client(&server);
        for _ in 0..3 {
            assert_eq!(registry.schema_by_id(7).as_deref(), Ok("\"string\""));
        }
        assert_eq!(server.requests.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn an_unknown_id_is_the_records_fault_and_not_asked_for_at_once_again() {
        let server = serve(|_, _| (404, r#"{"error_code":40403,"message":"no"}"#.to_owned()));
        let registry = client(&server);
        assert_eq!(registry.schema_by_id(7), Err(RegistryError::UnknownId(7)));
        assert_eq!(registry.schema_by_id(7), Err(RegistryError::UnknownId(7)));
        assert_eq!(server.requests.load(Ordering::SeqCst), 1);
        registry.forget_unknown(7);
        assert_eq!(registry.schema_by_id(7), Err(RegistryError::UnknownId(7)));
        assert_eq!(server.requests.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn an_id_that_no_registry_gives_is_not_asked_for() {
        // What a registry says of a number that it can't read is what it says of a wrong address.
        let server = serve(|_, _| (404, r#"{"error_code":404,"message":"HTTP 404"}"#.to_owned()));
        let registry = client(&server);
        for id in [1 << 31, u32::MAX] {
            assert_eq!(registry.schema_by_id(id), Err(RegistryError::UnknownId(id)));
        }
        assert_eq!(server.requests.load(Ordering::SeqCst), 0);
        assert!(matches!(registry.schema_by_id(1 << 30), Err(RegistryError::Refused(_))));
    }

    #[test]
    fn a_registry_in_trouble_is_told_from_a_wrong_address() {
        for (status, body, retryable) in [
            (503, "", true),
            (429, "", true),
            (404, "<html>", false),
            (401, r#"{"error_code":401,"message":"who"}"#, false),
            (200, "<html>", false),
        ] {
            let server = serve(move |_, _| (status, body.to_owned()));
            let error = client(&server).schema_by_id(1).unwrap_err();
            assert_eq!(error.is_retryable(), retryable, "{status} {error}");
            assert_ne!(error, RegistryError::UnknownId(1));
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nobody = SchemaRegistry::new(&format!("http://{free}"), None).unwrap();
        assert!(nobody.schema_by_id(1).unwrap_err().is_retryable());
    }

    #[test]
    fn schemas_that_nothing_here_reads_are_named() {
        for body in [
            r#"{"schema":"syntax = 'proto3';","schemaType":"PROTOBUF"}"#,
            r#"{"schema":"{}","references":[{"name":"a","subject":"b","version":1}]}"#,
        ] {
            let server = serve(move |_, _| (200, body.to_owned()));
            let error = client(&server).schema_by_id(1).unwrap_err();
            assert!(matches!(error, RegistryError::Unusable { id: 1, .. }), "{error}");
        }
    }

    #[test]
    fn a_schema_is_registered_under_its_subject_with_the_login_of_the_address() {
        for known_already in [false, true] {
            let server = serve(move |head, body| {
                assert!(head.starts_with("post /subjects/a%2fb-value"), "{head}");
                // "me:p@ss", which a user sees as the specification's base64.
                assert!(head.contains("authorization: basic bwu6cebzcw==\r\n"), "{head}");
                assert_eq!(body, r#"{"schema":"\"long\""}"#);
                match (head.starts_with("post /subjects/a%2fb-value/versions "), known_already) {
                    (false, true) | (true, false) => (200, r#"{"id":12}"#.to_owned()),
                    (false, false) => {
                        (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned())
                    }
                    (true, true) => (403, r#"{"error_code":403,"message":"read only"}"#.to_owned()),
                }
            });
            let url = format!("http://me:p%40ss@{}", server.url);
            let registry = SchemaRegistry::new(&url, None).unwrap();
            assert_eq!(registry.register("a/b-value", "\"long\""), Ok(12));
            let requests = if known_already { 1 } else { 2 };
            assert_eq!(server.requests.load(Ordering::SeqCst), requests);
        }
    }

    #[test]
    fn other_addresses_are_refused() {
        for url in ["", "localhost:8081", "ftp://x", "http://", "http://a%:b@host"] {
            assert!(SchemaRegistry::new(url, None).is_err(), "{url} must be refused");
        }
    }
}
