//! What happens around every request: counting, limits, and answers to what no handler answers.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;

use crate::http::problem::{Kind, PROBLEM_JSON, Problem};
use crate::http::state::HttpState;

/// The route of requests that no route takes.
const UNMATCHED: &str = "unmatched";

tokio::task_local! {
    /// The place of a request among those that are answered at the same time. Held by all that works for it,
    /// which may go on when the request is given up.
    static SLOT: Arc<OwnedSemaphorePermit>;
}

/// The place of the request that is being answered here, to be held by what works for it elsewhere.
pub fn slot() -> Option<Arc<OwnedSemaphorePermit>> {
    SLOT.try_with(Arc::clone).ok()
}

/// Counts and times each request by its route, never by its path.
pub async fn observe(
    State(state): State<HttpState>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let (status, elapsed) = (response.status(), started.elapsed());
    let metrics = &state.parts.metrics;
    metrics.http_requests.with_label_values(&[route, status.as_str()]).inc();
    metrics.http_request_duration.with_label_values(&[route]).observe(elapsed.as_secs_f64());
    tracing::debug!(%method, route, status = status.as_u16(), ?elapsed, "answered");
    response
}

/// Turns away what is too much at once, and gives up on what takes too long.
pub async fn limit(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let Ok(slot) = Arc::clone(&state.in_flight).try_acquire_owned() else {
        let detail = "as many requests as allowed are being answered";
        return Problem::new(Kind::Overloaded, detail).retry_after_seconds(1).into_response();
    };
    let answering = SLOT.scope(Arc::new(slot), next.run(request));
    match tokio::time::timeout(state.parts.limits.request_timeout, answering).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request took longer than service.request_timeout_ms allows";
            Problem::new(Kind::Timeout, detail).retry_after_seconds(1).into_response()
        }
    }
}

/// Without keys only this machine may ask, and so only by its own names: by any other, a page of somebody's who
/// lets that name stand for this machine would read what its visitors may (DNS rebinding).
pub async fn only_by_own_names(
    State(state): State<HttpState>,
    request: Request,
    next: Next,
) -> Response {
    let name = request.headers().get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
    let name = name.or_else(|| Some(request.uri().authority()?.as_str().into()));
    match name {
        Some(name) if state.keyring.is_open() && !is_own_name(&name) => {
            let name: String = name.chars().take(200).collect();
            let detail = format!(
                "without API keys the service answers by localhost and by addresses only, not by \"{name}\"; \
                 configure [[api_keys]] to be asked by other names"
            );
            Problem::new(Kind::ForeignName, detail).into_response()
        }
        _ => next.run(request).await,
    }
}

/// Whether a host, with or without a port, can be nobody else's name.
fn is_own_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let name = name.to_ascii_lowercase();
    address.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

/// Gives errors that no handler worded (wrong method, unknown encoding, …) a problem document.
pub async fn word_errors(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || is_worded(&response) {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    let problem = Problem::new(Kind::of_status(status), detail(status));
    let mut worded = problem.into_response();
    *worded.status_mut() = status;
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    let headers = worded.headers_mut();
    for (name, value) in &parts.headers {
        headers.insert(name, value.clone());
    }
    worded
}

fn is_worded(response: &Response) -> bool {
    let worded = |value: &HeaderValue| {
        let text = value.as_bytes();
        text.starts_with(PROBLEM_JSON.as_bytes()) || text.starts_with(b"application/json")
    };
    response.headers().get(CONTENT_TYPE).is_some_and(worded)
}

fn detail(status: StatusCode) -> String {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            "this path does not take this method; the header Allow names those that it takes"
                .to_owned()
        }
        status => status.canonical_reason().unwrap_or("the request failed").to_lowercase(),
    }
}

/// Answers a path that does not exist.
pub async fn not_found(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::new(Kind::NotFound, format!("there is nothing at {path}"))
}

/// Answers for a handler that panicked.
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "a handler panicked".to_owned());
    Problem::internal(&text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_ones_own_if_it_can_be_nobody_elses() {
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:8080", true),
            ("app.localhost", true),
            ("127.0.0.1:8080", true),
            ("192.168.1.7", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("evil.example:8080", false),
            ("localhost.example", false),
            ("127.0.0.1.example", false),
            ("", false),
        ] {
            assert_eq!(is_own_name(host), expected, "{host}");
        }
    }
}
