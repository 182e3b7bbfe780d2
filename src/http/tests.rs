//! What no request can bring about from outside: a handler that panics, through all layers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::HeaderMap;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::config::{AppSettings, LtvChurnWindow};
use crate::domain::rules::Rules;
use crate::domain::time::Timestamp;
use crate::engine::curves::{CurvesConfig, ZonesKept};
use crate::http::freshness::blocking;
use crate::http::problem::Problem;
use crate::state::{LiveShard, Shards};
use crate::store::memory::MemoryStore;
use crate::stream::{Ingest, IngestError, Receipts};
use crate::telemetry::Metrics;

/// The instant of now.
pub const NOW: &str = "2026-03-16T15:00:00Z";

struct Closed;

impl Ingest for Closed {
    fn submit(&self, _: Vec<Vec<u8>>) -> Result<Receipts, IngestError> {
        Err(IngestError::Overloaded)
    }
}

/// A service of the app `acme` without keys and events.
pub fn state() -> HttpState {
    let rules = Arc::new(Rules::of_one_app("acme"));
    let curves = CurvesConfig { zones: ZonesKept::First, segments: BTreeMap::new() };
    let shards = Arc::new(Shards::default());
    let store = Arc::new(MemoryStore::default());
    shards.insert(LiveShard::open(store, 0, (Arc::clone(&rules), curves)).unwrap());
    let acme = AppSettings {
        id: "acme".to_owned(),
        compat_ids: Vec::new(),
        ltv_churn_window: LtvChurnWindow::default(),
        mrr_refunds: None,
        snapshot_widths: Vec::new(),
        snapshot_segments: Vec::new(),
    };
    HttpState::new(HttpParts {
        shards,
        partitions: 1,
        rules,
        apps: vec![acme],
        api_keys: Vec::new(),
        limits: Limits::default(),
        clock: Clock::Frozen(Timestamp::parse_rfc3339(NOW).unwrap()),
        ingest: Arc::new(Closed),
        metrics: Arc::new(Metrics::new().unwrap()),
        readiness: Readiness::ready(),
        lag: Arc::new(BTreeMap::new),
    })
}

/// Status, headers and body of an answer.
pub async fn ask(router: &Router, path: &str) -> (StatusCode, HeaderMap, Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (parts.status, parts.headers, body)
}

async fn panics() -> Response {
    panic!("a bug in a handler")
}

/// A question that panics on the thread on which questions are worked out.
async fn asks_what_panics() -> Result<(), Problem> {
    blocking(|| panic!("a bug in a question")).await
}

fn faulty_routes() -> Vec<Route> {
    vec![("/panics", get(panics)), ("/asks", get(asks_what_panics))]
}

/// What the handlers of a vendor's path answer to a panic, in a handler and in a question.
async fn answers_to_panics(vendor: Vendor) -> [(HeaderMap, Value); 2] {
    let router = router_with(&[Vendor { routes: faulty_routes, ..vendor }], state());
    let mut answers = Vec::new();
    for path in ["/panics", "/asks"] {
        let (status, headers, body) = ask(&router, path).await;
        assert_eq!(status, 500, "{path} {body}");
        assert_eq!(headers["content-type"], "application/json", "{path} {body}");
        assert!(!body.to_string().contains("a bug"), "{path} {body}");
        answers.push((headers, body));
    }
    answers.try_into().unwrap()
}

#[tokio::test]
async fn a_panic_on_a_vendors_path_is_told_in_the_vendors_words() {
    for (headers, body) in answers_to_panics(zenovay::VENDOR).await {
        let error = json!({"message": "Internal server error", "code": "INTERNAL_ERROR",
                           "timestamp": "2026-03-16T15:00:00.000Z"});
        assert_eq!(body, json!({"success": false, "error": error}));
        assert!(compat::is_uuid(headers["x-request-id"].to_str().unwrap()));
    }
    for (_, body) in answers_to_panics(chartmogul::VENDOR).await {
        let message = "Internal Server Error";
        assert_eq!(body, json!({"code": 500, "message": message, "param": null}));
    }
    for (_, mut body) in answers_to_panics(codat::VENDOR).await {
        assert!(body["correlationId"].take().is_string());
        let expected = json!({"statusCode": 500, "service": "PublicApi",
            "error": "Internal Server Error", "correlationId": null, "validation": null,
            "canBeRetried": "Unknown", "detailedErrorCode": 0});
        assert_eq!(body, expected);
    }
    for (_, body) in answers_to_panics(adapty::VENDOR).await {
        let errors = json!([{"source": "non_field_errors", "errors": ["Internal Server Error"]}]);
        assert_eq!(body, json!({"errors": errors, "error_code": "error", "status_code": 500}));
    }
}
