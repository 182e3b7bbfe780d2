//! What the APIs of other vendors have in common, so that each of them only adds its own wording.
//!
//! A vendor is a [`Vendor`]: its routes and how it words an error. A handler
//! 1. takes the secret out of the headers its vendor's way ([`credentials`](crate::http::credentials)) and lets the
//!    [`Visitor`] in, which may be refused;
//! 2. charges the request against the vendor's [`Allowance`] or the key's own limit;
//! 3. reads [`Given`] parameters, setting aside by name those that are not used;
//! 4. finds its app, asks a question of the pure layer ([`asking`](crate::http::asking)) and prints
//!    the answer with [`answer_headers`].
//!
//! Any refusal on the way is a [`CompatError`], which the vendor words.
//!
//! Always true
//! * Whatever happens on a vendor's path, a body comes from its own wording: also for wrong
//!   methods, time-outs and panics ([`router`]).
//!
//! Not here: figures, and any form that only one vendor has.

mod cross_origin;
mod error;
mod given;
mod identifiers;
mod limits;
mod number;
mod visitor;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, any};
use tower_http::catch_panic::CatchPanicLayer;

use crate::http::freshness::Freshness;
use crate::http::layers;
use crate::http::state::HttpState;

pub use error::{BadParameter, CompatError};
pub use given::{Given, pairs};
pub use identifiers::{is_uuid, random_hex, random_uuid};
pub use limits::{Allowance, Grant, Limited, Limiters};
pub use number::Number;
pub use visitor::{CompatApp, Visitor};

/// Longest body of a question: none has more to say than some lists of names.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Header with the names of the parameters that had no effect.
pub const IGNORED_HEADER: HeaderName = HeaderName::from_static("x-ltvstream-ignored");

/// An API that was another's first.
#[derive(Clone, Copy)]
pub struct Vendor {
    pub routes: fn() -> Vec<(&'static str, MethodRouter<HttpState>)>,
    /// Paths beside them at which nothing is, and what says so there.
    pub nothing_at: &'static [&'static str],
    pub nothing: fn() -> MethodRouter<HttpState>,
    /// The vendor's answer to what cannot be answered: status, headers and body.
    pub word: fn(&HttpState, &CompatError) -> Response,
    /// Headers of its own that pages of other origins may read; `None` if such pages may read
    /// nothing, as with most vendors.
    pub cross_origin: Option<fn() -> Vec<HeaderName>>,
}

/// The vendor's paths with what happens around each of their requests.
pub fn router(vendor: Vendor, state: &HttpState) -> Router<HttpState> {
    let nothing_at = vendor.nothing_at.iter().map(|path| (*path, (vendor.nothing)()));
    let router = (vendor.routes)()
        .into_iter()
        .chain(nothing_at)
        .fold(Router::new(), |router, (path, method)| router.route(path, method))
        .route_layer(DefaultBodyLimit::max(BODY_BYTES_MAX.min(state.parts.limits.max_body_bytes)))
        .route_layer(from_fn_with_state(state.clone(), layers::limit))
        .route_layer(CatchPanicLayer::custom(layers::panicked))
        .route_layer(from_fn_with_state((state.clone(), vendor), reword));
    match vendor.cross_origin {
        Some(own) => router.route_layer(cross_origin::layer(state, own())),
        None => router,
    }
}

/// What the vendor's API does not have, to be worded by [`reword`].
pub fn nothing() -> MethodRouter<HttpState> {
    any(async || StatusCode::NOT_FOUND)
}

/// Gives errors that the vendor's handlers did not word the vendor's body.
async fn reword(
    State((state, vendor)): State<(HttpState, Vendor)>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE);
    let is_worded = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !(status.is_client_error() || status.is_server_error()) || is_worded {
        return response;
    }
    let mut worded = (vendor.word)(&state, &CompatError::of_status(status));
    *worded.status_mut() = status;
    for name in [ALLOW, RETRY_AFTER] {
        if let Some(value) = response.headers().get(&name) {
            worded.headers_mut().insert(name, value.clone());
        }
    }
    worded
}

/// What every answer with figures carries: as of which input it is, and what was not used.
pub fn answer_headers(freshness: &Freshness, given: &Given) -> HeaderMap {
    let mut headers = freshness.headers();
    headers.extend(ignored_header(given));
    headers
}

/// The header with what was not used, if there is any.
pub fn ignored_header(given: &Given) -> HeaderMap {
    let names = given.ignored().and_then(|names| HeaderValue::try_from(names).ok());
    names.map(|names| (IGNORED_HEADER, names)).into_iter().collect()
}
