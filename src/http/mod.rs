//! The HTTP API: questions, ingest, operations and a dashboard.
//!
//! A request passes [`layers`] (counting, limits, wording of errors), shows its key ([`auth`]),
//! has its parameters read strictly ([`parameters`]) and is answered by a handler of [`native`],
//! [`ops`] or [`page`]. Paths that other vendors' clients use ([`compat`]) are read leniently and
//! worded as their vendors do. Questions are computed on threads that may block, each shard under its own
//! read lock ([`freshness`]).
//!
//! Always true
//! * An answer about data says as of which input it is (`tests/it/http_native.rs`).
//! * Every route is in the OpenAPI document, which describes its answers (`tests/it/http_openapi.rs`).
//! * An error of a native path is a problem document (`tests/it/http_errors.rs`).
//!
//! Not here: what an answer is (`metrics_api`), what an event is worth (`engine`), and where
//! events go ([`Ingest`](crate::stream::Ingest)).

pub mod adapty;
mod asking;
pub mod auth;
pub mod chartmogul;
mod clock;
pub mod codat;
pub mod compat;
mod connections;
mod credentials;
mod csv;
mod encoding;
mod freshness;
mod json;
mod layers;
mod lobby;
pub mod money;
pub mod native;
mod openapi;
mod ops;
mod page;
mod parameters;
pub mod problem;
mod state;
#[cfg(test)]
mod tests;
pub mod zenovay;

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};
use tokio::net::TcpListener;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use compat::Vendor;
use connections::Connections;
use native::apps::get_apps;
use native::customers::get_customer;
use native::dead_letters::get_dead_letters;
use native::events::post_events;
use native::ltv::get_ltv;
use native::revenue::get_revenue;
use native::suspended::get_suspended;

pub use clock::Clock;
pub use lobby::{Lobby, STARTING};
pub use state::{HttpParts, HttpState, Lag, Limits, Readiness};

type Route = (&'static str, MethodRouter<HttpState>);

/// Paths whose requests count against the limits.
fn limited_routes() -> Vec<Route> {
    vec![
        ("/v1/apps", get(get_apps)),
        ("/v1/apps/{app}/ltv", get(get_ltv)),
        ("/v1/apps/{app}/revenue", get(get_revenue)),
        ("/v1/apps/{app}/customers/{id}", get(get_customer)),
        ("/v1/suspended", get(get_suspended)),
        ("/v1/dead-letters", get(get_dead_letters)),
        ("/v1/events", post(post_events)),
    ]
}

/// Paths that answer also when the service has too much to do.
fn free_routes() -> Vec<Route> {
    vec![
        ("/healthz", get(ops::get_healthz)),
        ("/readyz", get(ops::get_readyz)),
        ("/metrics", get(ops::get_metrics)),
        ("/openapi.json", get(ops::get_openapi)),
        ("/", get(page::get_page)),
    ]
}

/// The APIs of other vendors.
const VENDORS: [Vendor; 4] = [adapty::VENDOR, chartmogul::VENDOR, zenovay::VENDOR, codat::VENDOR];

/// All paths.
pub fn paths() -> Vec<&'static str> {
    let compatible = VENDORS.iter().flat_map(|vendor| (vendor.routes)());
    let all = limited_routes().into_iter().chain(compatible).chain(free_routes());
    all.map(|(path, _)| path).collect()
}

/// The API over this state.
pub fn router(state: HttpState) -> Router {
    router_with(&VENDORS, state)
}

/// The API with these vendors' paths.
fn router_with(vendors: &[Vendor], state: HttpState) -> Router {
    let add = |router: Router<HttpState>, (path, method): Route| router.route(path, method);
    let limited = limited_routes()
        .into_iter()
        .fold(Router::new(), add)
        .route_layer(DefaultBodyLimit::max(state.parts.limits.max_body_bytes))
        .route_layer(from_fn_with_state(state.clone(), layers::limit));
    let compatible =
        vendors.iter().fold(limited, |all, vendor| all.merge(compat::router(*vendor, &state)));
    free_routes()
        .into_iter()
        .fold(compatible, add)
        .fallback(layers::not_found)
        .layer(from_fn(layers::word_errors))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn_with_state(state.clone(), layers::only_by_own_names))
        // A key may come in a header that caches do not know for one.
        .layer(SetResponseHeaderLayer::if_not_present(
            CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        ))
        // Better compression costs more of the time of an answer than it saves on its way.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(from_fn_with_state(state.clone(), layers::observe))
        .with_state(state)
}

/// Answers requests until `shutdown`, then finishes those that have begun. No answer takes longer than
/// `answering_max`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    (router, answering_max): (Router, Duration),
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = Connections::new(listener, answering_max);
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}
