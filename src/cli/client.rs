//! The HTTP client of the commands: questions to a running service, and events to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::Agent;
use ureq::Body;
use ureq::http::Response;

use crate::http::STARTING;
use crate::stream::proxy::proxy_for;
use crate::stream::{Ingest, IngestError, NextOffset, Receipt, Receipts};

use super::CliError;

/// How long an answer may take: the service may first read what an import has just written.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Pause before events are handed in again to a service that takes none at the moment.
pub const PAUSE: Duration = Duration::from_millis(500);

/// A running service.
pub struct Client {
    agent: Agent,
    base_url: String,
    api_key: Option<String>,
    /// The most events that are handed in at once.
    events_max: AtomicUsize,
    /// The most that were taken at once; 0 before the first.
    taken_max: AtomicUsize,
}

impl Client {
    /// The service at this address, asked with this key.
    pub fn new(base_url: &str, api_key: Option<String>) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .proxy(proxy_for(base_url))
            .build();
        let base_url = base_url.trim_end_matches('/').to_owned();
        let agent = Agent::new_with_config(config);
        let (events_max, taken_max) = (AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
        Self { agent, base_url, api_key, events_max, taken_max }
    }

    /// The body of an answer. A refused question is [`CliError::Usage`] with the service's words.
    pub fn get(&self, path: &str, parameters: &[(String, String)]) -> Result<String, CliError> {
        let url = format!("{}{path}", self.base_url);
        let ask = || {
            let mut request = self.agent.get(&url);
            for (name, value) in parameters {
                request = request.query(name, value);
            }
            if let Some(key) = &self.api_key {
                request = request.header("X-API-Key", key);
            }
            let mut response = request.call().map_err(|error| unreachable(&url, error))?;
            Ok::<_, CliError>((response.status().as_u16(), read_body(&mut response)?))
        };
        let begun = Instant::now();
        let (status, body) = loop {
            let (status, body) = ask()?;
            if !is_starting(status, &body) || begun.elapsed() > TIMEOUT {
                break (status, body);
            }
            std::thread::sleep(PAUSE);
        };
        match status {
            200..=299 => Ok(body),
            // Too many requests, which passes.
            429 => Err(CliError::Dependency(anyhow::anyhow!("{url}: {}", problem(&body)))),
            400..=499 => Err(CliError::Usage(problem(&body))),
            status => {
                let problem = problem(&body);
                Err(CliError::Dependency(anyhow::anyhow!("{url} answered {status}: {problem}")))
            }
        }
    }
}

/// The address of a service, which a browser would take without its scheme.
///
/// # Errors
/// That the scheme is missing, or is none that is spoken here.
pub fn parse_url(text: &str) -> Result<String, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(text.to_owned());
    }
    Err("must begin with http:// or https://".to_owned())
}

/// A text as one segment of a path: percent-encoded but for what RFC 3986 leaves unreserved.
pub fn segment(text: &str) -> String {
    const RESERVED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

fn read_body(response: &mut Response<Body>) -> Result<String, CliError> {
    let limit = 4 << 30;
    let body = response.body_mut().with_config().limit(limit).read_to_string();
    body.context("can't read the answer").map_err(CliError::Dependency)
}

fn unreachable(url: &str, error: ureq::Error) -> CliError {
    let context = format!("can't reach {url}: is the service running?");
    CliError::Dependency(anyhow::Error::new(error).context(context))
}

/// Whether the service will answer in a while.
fn is_starting(status: u16, body: &str) -> bool {
    status == 503 && problem(body) == STARTING
}

/// The words of a problem document, or the body if it is none.
fn problem(body: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    let word = |name: &str| parsed.as_ref()?.get(name)?.as_str().map(str::to_owned);
    word("detail").or_else(|| word("title")).unwrap_or_else(|| body.trim().to_owned())
}

impl Ingest for Client {
    fn submit(&self, events: Vec<Vec<u8>>) -> Result<Receipts, IngestError> {
        let mut all = Receipts { receipts: Vec::with_capacity(events.len()), as_of: Vec::new() };
        let mut left = &events[..];
        while !left.is_empty() {
            let count = left.len().min(self.events_max.load(Ordering::Relaxed));
            match self.post(&left[..count]) {
                Ok(Posted::Answered(Receipts { receipts, as_of })) => {
                    self.taken_max.fetch_max(count, Ordering::Relaxed);
                    all.receipts.extend(receipts);
                    all.as_of.extend(as_of);
                    left = &left[count..];
                }
                // One event that is too large is refused as one that says the wrong thing.
                Ok(Posted::TooLarge(message)) if count < 2 => {
                    let code = "too_large".to_owned();
                    all.receipts.push(Receipt::Refused { code, field: None, message });
                    left = &left[count..];
                    // The others are as large as those before it.
                    let events_max = match self.taken_max.load(Ordering::Relaxed) {
                        0 => usize::MAX,
                        taken => taken,
                    };
                    self.events_max.store(events_max, Ordering::Relaxed);
                }
                // The service takes less at once than is handed in here.
                Ok(Posted::TooLarge(_)) => self.events_max.store(count / 2, Ordering::Relaxed),
                Err(error) if all.receipts.is_empty() => return Err(error),
                Err(error) => {
                    let (first, reason) = (all.receipts, Box::new(error));
                    return Err(IngestError::After { first, reason });
                }
            }
        }
        Ok(all)
    }
}

/// What the service said to events.
enum Posted {
    Answered(Receipts),
    /// Too many bytes at once; nothing was taken.
    TooLarge(String),
}

impl Client {
    fn post(&self, events: &[Vec<u8>]) -> Result<Posted, IngestError> {
        let failed = |error: String| IngestError::Unavailable(error);
        let count = events.len();
        let mut body = Vec::with_capacity(events.iter().map(|event| event.len() + 1).sum());
        for event in events {
            body.extend_from_slice(event);
            body.push(b'\n');
        }
        let url = format!("{}/v1/events", self.base_url);
        // Told that it is too much after it was sent, we might see the connection closed and no answer.
        let request = self.agent.post(&url).header("Expect", "100-continue");
        let mut request = request.header("Content-Type", "application/x-ndjson");
        if let Some(key) = &self.api_key {
            request = request.header("X-API-Key", key);
        }
        let mut response =
            request.send(&body[..]).map_err(|error| failed(format!("{url}: {error}")))?;
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(|e| failed(e.to_string()))?;
        match status {
            202 | 422 => parse_receipts(&text, count).map(Posted::Answered).ok_or_else(|| {
                failed(format!("{url} does not account for {count} events: {text}"))
            }),
            413 => Ok(Posted::TooLarge(problem(&text))),
            429 => Err(IngestError::Overloaded),
            _ if is_starting(status, &text) => Err(IngestError::Overloaded),
            400..=499 => Err(IngestError::Refused(problem(&text))),
            status => Err(failed(format!("{url} answered {status}: {}", problem(&text)))),
        }
    }
}

/// Receipts from the answer of `POST /v1/events`: which events were refused is told by line, and
/// how many of the others were repeated or suspended only as a number. `None` unless the numbers
/// account for every event and every refusal is told.
fn parse_receipts(text: &str, count: usize) -> Option<Receipts> {
    let answer: Value = serde_json::from_str(text).ok()?;
    let number = |name: &str| usize::try_from(answer.get(name)?.as_u64()?).ok();
    let (mut repeated, mut suspended) = (number("repeated")?, number("suspended")?);
    let (accepted, refused) = (number("accepted")?, number("refused")?);
    let mut receipts: Vec<Option<Receipt>> = vec![None; count];
    for error in answer.get("errors")?.as_array()? {
        let line = usize::try_from(error.get("line")?.as_u64()?).ok()?;
        let word = |name: &str| Some(error.get(name)?.as_str()?.to_owned());
        let refused = Receipt::Refused {
            code: word("code")?,
            field: word("field"),
            message: word("message")?,
        };
        *receipts.get_mut(line.checked_sub(1)?)? = Some(refused);
    }
    let is_told = receipts.iter().flatten().count() == refused;
    let sum = accepted.checked_add(repeated)?.checked_add(refused)?;
    if !is_told || sum != count {
        return None;
    }
    let receipts = receipts.into_iter().map(|receipt| {
        receipt.unwrap_or_else(|| {
            if repeated > 0 {
                repeated -= 1;
                return Receipt::Repeated;
            }
            let is_suspended = suspended > 0;
            suspended = suspended.saturating_sub(1);
            Receipt::Accepted { is_suspended }
        })
    });
    let receipts = receipts.collect();
    let as_of = answer.get("as_of")?.as_object()?.iter();
    let as_of = as_of
        .map(|(partition, next)| Some((partition.parse().ok()?, NextOffset(next.as_i64()?))))
        .collect::<Option<Vec<_>>>()?;
    Some(Receipts { receipts, as_of })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    #[test]
    fn a_segment_of_a_path_is_one_segment_whatever_it_holds() {
        assert_eq!(segment("A-z_0.9~/?#% +é"), "A-z_0.9~%2F%3F%23%25%20%2B%C3%A9");
    }

    #[test]
    fn receipts_are_read_from_the_answer_of_the_service() {
        let text = r#"{"accepted":2,"suspended":1,"repeated":1,"refused":1,"errors":[{"line":2,
            "event_id":"e","field":"currency","code":"missing_currency","message":"m"}],
            "as_of":{"0":7}}"#;
        let receipts = parse_receipts(text, 4).unwrap();
        assert_eq!(receipts.as_of, [(0, NextOffset(7))]);
        let accepted = |receipt: &&Receipt| matches!(receipt, Receipt::Accepted { .. });
        assert_eq!(receipts.receipts.iter().filter(accepted).count(), 2);
        assert!(
            matches!(&receipts.receipts[1], Receipt::Refused { code, .. } if code == "missing_currency")
        );
    }

    /// Answers requests with these, in order: the events of each, and the address.
    fn service(answers: Vec<(u16, &'static str)>) -> (JoinHandle<Vec<usize>>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let answer = |(status, body): (u16, &str)| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let length = loop {
                    let mut piece = [0; 1024];
                    let read = stream.read(&mut piece).unwrap();
                    request.extend_from_slice(&piece[..read]);
                    let text = String::from_utf8_lossy(&request).to_lowercase();
                    let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
                    let length =
                        head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    break length.unwrap().parse::<usize>().unwrap();
                };
                // Told before the body is sent, as a service does of one that is too large.
                if status < 400 {
                    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
                    let mut read = vec![0; length];
                    stream.read_exact(&mut read).unwrap();
                    request = read;
                }
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close");
                stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
                if status < 400 { request.iter().filter(|byte| **byte == b'\n').count() } else { 0 }
            };
            answers.into_iter().map(answer).collect()
        });
        (serving, url)
    }

    #[test]
    fn what_was_taken_before_a_failure_is_told_with_it() {
        const ONE: &str =
            r#"{"accepted":1,"suspended":0,"repeated":0,"refused":0,"errors":[],"as_of":{}}"#;
        const TWO: &str =
            r#"{"accepted":2,"suspended":0,"repeated":0,"refused":0,"errors":[],"as_of":{}}"#;
        // Four are too many, one of the second half is too large, then the service stops.
        let answers = vec![
            (413, ""),
            (202, TWO),
            (413, ""),
            (413, "large"),
            (202, ONE),
            (202, TWO),
            (503, ""),
        ];
        let (serving, url) = service(answers);
        let client = Client::new(&url, None);
        let receipts = client.submit(vec![b"{}".to_vec(); 4]).unwrap().receipts;
        let accepted = Receipt::Accepted { is_suspended: false };
        let refused = Receipt::Refused {
            code: "too_large".to_owned(),
            field: None,
            message: "large".to_owned(),
        };
        assert_eq!(receipts, [&accepted, &accepted, &refused, &accepted].map(Clone::clone));
        let error = client.submit(vec![b"{}".to_vec(); 4]).unwrap_err();
        let IngestError::After { first, reason } = error else { panic!("{error}") };
        assert_eq!(first, [&accepted, &accepted].map(Clone::clone));
        assert!(matches!(*reason, IngestError::Unavailable(_)), "{reason}");
        // As many at a time as were taken before the one that is too large.
        assert_eq!(serving.join().unwrap(), [0, 2, 0, 0, 1, 2, 0]);
    }

    #[test]
    fn who_asks_while_the_service_starts_waits_for_it() {
        let starting = r#"{"status":503,"detail":"the service is starting"}"#;
        let (serving, url) = service(vec![(503, starting), (503, "")]);
        let client = Client::new(&url, None);
        let error = client.submit(vec![b"{}".to_vec()]).unwrap_err();
        assert!(matches!(error, IngestError::Overloaded), "{error}");
        let error = client.submit(vec![b"{}".to_vec()]).unwrap_err();
        assert!(matches!(error, IngestError::Unavailable(_)), "{error}");
        serving.join().unwrap();
        assert!(is_starting(503, starting) && !is_starting(500, starting));
    }

    #[test]
    fn an_answer_that_does_not_account_for_every_event_is_no_receipt() {
        let parse = |refused: usize, count: usize| {
            let text = format!(
                r#"{{"accepted":1,"suspended":0,"repeated":1,"refused":{refused},"errors":[{{
                "line":3,"code":"missing_currency","message":"m"}}],"as_of":{{}}}}"#
            );
            parse_receipts(&text, count).is_some()
        };
        assert!(parse(1, 3));
        // More refusals than are told, and events of which nothing is said.
        assert!(!parse(2, 4));
        assert!(!parse(1, 4));
        assert!(!parse(1, 2));
    }
}
