//! Which pages of other origins may read answers in a browser.
//!
//! A browser that sends credentials takes no wildcards: the origin is mirrored, and headers that
//! pages may read are named one by one. Who has no key is answered nothing but errors, so with keys
//! any origin will do. Without keys whoever asks is answered, and only loopback is listened on:
//! then only pages of this machine may read, lest any page on the net read through its visitor.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::http::compat::IGNORED_HEADER;
use crate::http::freshness::FRESHNESS_HEADERS;
use crate::http::state::HttpState;

/// Answers preflight requests, which carry no key, and lets pages read the answers to others;
/// `own` are headers of the vendor's that they may read.
pub fn layer(state: &HttpState, own: Vec<HeaderName>) -> CorsLayer {
    let is_open = state.keyring.is_open();
    let of_all = [RETRY_AFTER, IGNORED_HEADER];
    let readable = of_all.into_iter().chain(FRESHNESS_HEADERS).chain(own);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| !is_open || is_local(origin)))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(readable.collect::<Vec<_>>())
}

/// Whether an origin is this machine, on whatever port.
fn is_local(origin: &HeaderValue) -> bool {
    let host = origin.to_str().ok().and_then(|origin| {
        let (_, rest) = origin.split_once("://")?;
        let port = rest.rfind(':').filter(|colon| !rest[*colon..].contains(']'));
        Some(&rest[..port.unwrap_or(rest.len())])
    });
    matches!(host, Some("localhost" | "127.0.0.1" | "[::1]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_local_by_its_host_alone() {
        for (origin, expected) in [
            ("http://localhost", true),
            ("http://localhost:3000", true),
            ("https://127.0.0.1:8443", true),
            ("http://[::1]", true),
            ("http://[::1]:3000", true),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com:80", false),
            ("http://example.com", false),
            ("null", false),
        ] {
            assert_eq!(is_local(&HeaderValue::from_static(origin)), expected, "{origin}");
        }
    }
}
