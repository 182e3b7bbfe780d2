//! What is refused, and how it is said.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use ltvstream::http::{Limits, Readiness};
use ltvstream::stream::{Ingest, IngestError, Receipts};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::http_support::{Answer, Service, Setup, zenovay};

const LTV: &str = "/v1/apps/acme/ltv";

/// The answer's body, checked to be a problem document of this kind.
fn problem(answer: &Answer, status: u16, kind: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let body = answer.json();
    assert_eq!(body["type"], format!("urn:ltvstream:problem:{kind}"));
    assert_eq!(body["status"], status);
    assert!(body["title"].is_string() && body["detail"].is_string());
    body
}

#[tokio::test]
async fn unknown_parameters_are_refused_by_name() {
    let service = Service::new(Setup::default());
    for (path, parameter, nearest) in [
        ("/v1/apps/acme/ltv?agess=1", "agess", "ages"),
        ("/v1/apps/acme/ltv?filter.contry=DE", "filter.contry", "filter.country"),
        ("/v1/apps/acme/ltv?Width=day", "Width", "width"),
        ("/v1/apps/acme/revenue?segmentby=store", "segmentby", "segment_by"),
        ("/v1/suspended?reson=x", "reson", "reason"),
        ("/v1/dead-letters?curser=1", "curser", "cursor"),
        ("/v1/apps/acme/customers/A?min_asof=0:1", "min_asof", "min_as_of"),
    ] {
        let body = problem(&service.get(path).await, 400, "unknown-parameter");
        assert_eq!(body["parameter"], parameter, "{path}");
        assert_eq!(body["nearest"], nearest, "{path}");
        assert!(body["detail"].as_str().unwrap().contains(parameter));
    }
}

#[tokio::test]
async fn repeated_parameters_are_refused() {
    let service = Service::new(Setup::default());
    let answer = service.get("/v1/apps/acme/ltv?ages=1&ages=2").await;
    assert_eq!(problem(&answer, 400, "repeated-parameter")["parameter"], "ages");
}

#[tokio::test]
async fn wrong_values_say_what_was_expected_and_given() {
    let service = Service::new(Setup::default());
    for (query, expected) in [
        ("anchor=birth", "one of first_purchase, install"),
        ("width=decade", "one of day, week, month, quarter, year"),
        ("age=years", "one of days, elapsed_days, periods, payments"),
        ("ages=1;2", "whole numbers from 0, separated by commas"),
        ("measure=profit", "one of gross, proceeds, net"),
        ("from=2026-1-1", "a date of the form YYYY-MM-DD"),
        ("to=2026-02-30", "a date of the form YYYY-MM-DD"),
        ("until=tomorrow", "a date of the form YYYY-MM-DD"),
        ("segment_by=colour", "a dimension or attributes.NAME"),
        ("per=head", "one of customer, payer, install"),
        ("refunds=never", "one of at_refund, at_purchase"),
        ("format=xml", "one of json, csv"),
        ("min_as_of=5", "PARTITION:OFFSET, several separated by commas, as in 0:123,1:5"),
    ] {
        let answer = service.get(&format!("{LTV}?{query}")).await;
        let body = problem(&answer, 400, "invalid-parameter");
        let (name, value) = query.split_once('=').unwrap();
        assert_eq!(body["parameter"], name);
        assert_eq!(body["expected"], expected, "{query}");
        assert_eq!(body["got"], value);
        assert_eq!(body["detail"], format!("{name} must be {expected}, got \"{value}\""));
    }
    for query in ["limit=0", "limit=1001", "limit=x"] {
        let answer = service.get(&format!("/v1/suspended?{query}")).await;
        let body = problem(&answer, 400, "invalid-parameter");
        assert_eq!(body["expected"], "a whole number from 1 to 1000");
    }
}

#[tokio::test]
async fn questions_without_an_answer_are_refused() {
    let service = Service::new(Setup::default());
    for query in
        ["from=2026-02-01&to=2026-01-01", "age=payments&ages=0", "per=install", "ages=36526"]
    {
        problem(&service.get(&format!("{LTV}?{query}")).await, 400, "invalid-question");
    }
    let days = "/v1/apps/acme/revenue?width=day&from=1800-01-01";
    problem(&service.get(days).await, 400, "invalid-question");
}

#[tokio::test]
async fn unknown_paths_apps_and_methods_are_problems() {
    let service = Service::new(Setup::default());
    problem(&service.get("/v1/apps/nope/ltv").await, 404, "unknown-app");
    problem(&service.get("/v1/apps/nope/revenue").await, 404, "unknown-app");
    problem(&service.get("/v1/suspended?app=nope").await, 404, "unknown-app");
    problem(&service.get("/v2").await, 404, "not-found");
    problem(&service.get("/v1/apps/acme/ltv/").await, 404, "not-found");
    problem(&service.get("/v1/apps/%ff/ltv").await, 400, "bad-request");
    let answer = service.send(Request::post(LTV).body(Body::empty()).unwrap()).await;
    problem(&answer, 405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "GET,HEAD");
    problem(&service.get("/v1/events").await, 405, "method-not-allowed");
}

#[tokio::test]
async fn min_as_of_is_waited_for() {
    let limits = Limits { min_as_of_wait: Duration::from_millis(20), ..Limits::default() };
    let service = Service::fed(Setup { limits, ..Setup::default() }, &zenovay()).await;
    for reached in ["0:0", "1:7", "0:0,1:7"] {
        assert_eq!(service.get(&format!("{LTV}?min_as_of={reached}")).await.status, 200);
    }
    for missed in ["1:8", "0:1,1:7"] {
        let answer = service.get(&format!("{LTV}?min_as_of={missed}")).await;
        let body = problem(&answer, 503, "as-of-not-reached");
        assert_ne!(answer.header("retry-after"), "");
        assert!(body["min_as_of"].is_object() && body["as_of"].is_object());
    }
    // Nothing to wait for: the input has the partitions 0 and 1.
    let body =
        problem(&service.get(&format!("{LTV}?min_as_of=0:0,5:1")).await, 400, "invalid-parameter");
    assert_eq!(body["detail"], "min_as_of must be of partitions 0 to 1, got \"0:0,5:1\"");
}

#[tokio::test]
async fn a_question_sees_what_an_ingest_answer_promised() {
    let service = Service::new(Setup::default());
    let question = service.get("/v1/apps/acme/ltv?min_as_of=1:7");
    let submission = service.post("application/x-ndjson", zenovay());
    let (answer, _) = tokio::join!(question, submission);
    assert_eq!(answer.json()["total"]["to_date"]["revenue"], "69.00");
}

#[tokio::test]
async fn a_process_without_partitions_says_so() {
    let service = Service::new(Setup { partitions: 0, ..Setup::default() });
    problem(&service.get(LTV).await, 503, "unavailable");
    assert_eq!(service.get("/healthz").await.status, 200);
}

/// Does what its channel says: fails when the channel is closed.
struct Blocking(Mutex<Receiver<()>>);

impl Ingest for Blocking {
    fn submit(&self, _: Vec<Vec<u8>>) -> Result<Receipts, IngestError> {
        let _ = self.0.lock().recv();
        Err(IngestError::Unavailable("stopping".to_owned()))
    }
}

struct Failing(fn() -> IngestError);

impl Ingest for Failing {
    fn submit(&self, _: Vec<Vec<u8>>) -> Result<Receipts, IngestError> {
        Err(self.0())
    }
}

fn ingest(ingest: impl Ingest + 'static) -> Setup {
    Setup { ingest: Some(Arc::new(ingest)), ..Setup::default() }
}

#[tokio::test]
async fn ingest_that_cannot_go_on_says_when_to_come_back() {
    let service = Service::new(ingest(Failing(|| IngestError::Overloaded)));
    let answer = service.post("application/json", "{}").await;
    problem(&answer, 429, "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    let service = Service::new(ingest(Failing(|| IngestError::Unavailable("full".into()))));
    problem(&service.post("application/json", "{}").await, 503, "unavailable");
}

#[tokio::test]
async fn a_panic_is_an_internal_error() {
    let service = Service::new(ingest(Failing(|| panic!("a bug"))));
    let body = problem(&service.post("application/json", "{}").await, 500, "internal");
    assert!(!body.to_string().contains("a bug"));
}

#[tokio::test]
async fn what_takes_too_long_is_given_up() {
    let (release, wait) = channel();
    let limits = Limits { request_timeout: Duration::from_millis(20), ..Limits::default() };
    let setup = Setup { limits, ..ingest(Blocking(Mutex::new(wait))) };
    let service = Service::new(setup);
    problem(&service.post("application/json", "{}").await, 503, "timeout");
    drop(release);
}

#[tokio::test]
async fn what_was_given_up_counts_as_long_as_it_is_worked_on() {
    let (release, wait) = channel();
    let request_timeout = Duration::from_millis(20);
    let limits = Limits { request_timeout, requests_in_flight_max: 1, ..Limits::default() };
    let service = Service::new(Setup { limits, ..ingest(Blocking(Mutex::new(wait))) });
    problem(&service.post("application/json", "{}").await, 503, "timeout");
    problem(&service.get(LTV).await, 429, "overloaded");
    drop(release);
    // Each of these may take too long as well.
    for _ in 0..10_000 {
        if service.get(LTV).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("what was given up counts for ever");
}

#[tokio::test]
async fn too_much_at_once_is_turned_away_but_health_answers() {
    let limits = Limits { requests_in_flight_max: 0, ..Limits::default() };
    let service = Service::new(Setup { limits, ..Setup::default() });
    let answer = service.get(LTV).await;
    problem(&answer, 429, "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/"] {
        assert_eq!(service.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let readiness = Readiness::not_ready("partition 1 is catching up");
    let service = Service::new(Setup { readiness: readiness.clone(), ..Setup::default() });
    let answer = service.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.json(),
        json!({
            "ready": false, "reason": "partition 1 is catching up", "as_of": {"0": 0, "1": 0},
            "lag_records": {"0": 7},
        })
    );
    readiness.set_ready();
    assert_eq!(service.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let service = Service::new(Setup::default());
    service.get(LTV).await;
    service.get("/v1/apps/other/ltv?x=1").await;
    service.get("/nowhere").await;
    let text = service.get("/metrics").await.text;
    for line in [
        "ltvstream_http_requests_total{route=\"/v1/apps/{app}/ltv\",status=\"200\"} 1",
        "ltvstream_http_requests_total{route=\"/v1/apps/{app}/ltv\",status=\"400\"} 1",
        "ltvstream_http_requests_total{route=\"unmatched\",status=\"404\"} 1",
        "ltvstream_http_request_duration_seconds_count{route=\"/v1/apps/{app}/ltv\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert_eq!(service.metrics.http_requests.with_label_values(&["/metrics", "200"]).get(), 1);
}
