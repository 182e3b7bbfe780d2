//! API keys: scopes, apps and limits.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::Request;
use ltvstream::config::{ApiKey, Plan, Scope, hash_of};
use serde_json::{Value, json};

use crate::http_support::{Answer, Service, Setup, events};

fn key(name: &str, apps: &[&str], scopes: &[Scope]) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        sha256: hash_of(name),
        apps: apps.iter().map(|app| (*app).to_owned()).collect(),
        scopes: scopes.iter().copied().collect(),
        plan: Plan::Pro,
        rate_limit_per_second: None,
    }
}

fn service() -> Service {
    let api_keys = vec![
        key("reader", &["acme"], &[Scope::Read]),
        key("writer", &["acme"], &[Scope::Ingest]),
        key("admin", &["acme", "other"], &[Scope::Read, Scope::Ingest, Scope::Admin]),
        key("tenant", &["acme"], &[Scope::Read, Scope::Admin]),
    ];
    Service::new(Setup { api_keys, ..Setup::default() })
}

async fn with_key(service: &Service, key: &str, path: &str) -> Answer {
    let request = Request::get(path).header("authorization", format!("Bearer {key}"));
    service.send(request.body(Body::empty()).unwrap()).await
}

async fn post(service: &Service, key: &str, body: &str) -> Answer {
    let request = Request::post("/v1/events").header("content-type", "application/x-ndjson");
    let request = request.header("x-api-key", key).body(Body::from(body.to_owned()));
    service.send(request.unwrap()).await
}

#[tokio::test]
async fn a_path_opens_to_keys_with_its_scope_and_app() {
    let service = service();
    let event = events("A purchase 2026-01-05 10.00");
    assert_eq!(post(&service, "admin", &event).await.status, 202);
    // No key, wrong key, reader, writer, admin.
    let table: [(&str, [u16; 5]); 12] = [
        ("/v1/apps", [401, 401, 200, 403, 200]),
        ("/v1/apps/acme/ltv", [401, 401, 200, 403, 200]),
        ("/v1/apps/other/ltv", [401, 401, 403, 403, 200]),
        ("/v1/apps/nope/ltv", [401, 401, 403, 403, 403]),
        ("/v1/apps/acme/revenue", [401, 401, 200, 403, 200]),
        ("/v1/apps/acme/customers/A", [401, 401, 200, 403, 200]),
        ("/v1/suspended", [401, 401, 200, 403, 200]),
        ("/v1/suspended?app=other", [401, 401, 403, 403, 200]),
        ("/v1/dead-letters", [401, 401, 403, 403, 200]),
        ("/metrics", [401, 401, 200, 200, 200]),
        ("/healthz", [200; 5]),
        ("/openapi.json", [200; 5]),
    ];
    for (path, expected) in table {
        let mut statuses = vec![service.get(path).await.status.as_u16()];
        for key in ["nobody", "reader", "writer", "admin"] {
            statuses.push(with_key(&service, key, path).await.status.as_u16());
        }
        assert_eq!(statuses, expected, "{path}");
    }
    for path in ["/readyz", "/"] {
        assert_eq!(service.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn keys_come_as_bearer_or_in_their_own_header_which_wins() {
    let service = service();
    let status = async |headers: &[(&str, &str)]| {
        let mut request = Request::get("/v1/apps/acme/ltv");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        service.send(request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(status(&[("x-api-key", "reader")]).await.status, 200);
    assert_eq!(status(&[("authorization", "bearer reader")]).await.status, 200);
    assert_eq!(status(&[("authorization", "Basic reader")]).await.status, 401);
    let both = [("authorization", "Bearer reader"), ("x-api-key", "nobody")];
    let answer = status(&both).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    assert_eq!(answer.json()["type"], "urn:ltvstream:problem:unauthorized");
}

#[tokio::test]
async fn a_key_hands_in_events_of_its_apps_only() {
    let service = service();
    let both = events("A purchase 2026-01-05 10.00\nB purchase 2026-01-05 10.00 app=other");
    let answer = post(&service, "writer", &both).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json()["accepted"], 1);
    assert_eq!(
        answer.json()["errors"],
        json!([{
            "line": 2, "event_id": "B/1", "field": "app_id", "code": "forbidden_app",
            "message": "the API key is not for app \"other\" but for \"acme\"",
        }])
    );
    let other = events("B purchase 2026-01-05 10.00 app=other");
    let answer = post(&service, "writer", &other).await;
    assert_eq!(answer.status, 422);
    let refused = answer.json();
    assert_eq!((&refused["accepted"], &refused["refused"]), (&json!(0), &json!(1)));
    assert_eq!(refused["errors"][0]["code"], "forbidden_app");
    assert_eq!(post(&service, "reader", &both).await.status, 403);
    // The foreign event left no trace.
    let ltv = with_key(&service, "admin", "/v1/apps/other/ltv").await.json();
    assert_eq!(ltv["total"], Value::Null);
    let letters = with_key(&service, "admin", "/v1/dead-letters").await.json();
    assert_eq!(letters["dead_letters"], json!([]));
}

#[tokio::test]
async fn dead_letters_are_shown_to_keys_for_all_apps_only() {
    let service = service();
    let bad = events("B purchase 2026-01-05 10.00 app=other").replace("USD", "XXX");
    assert_eq!(post(&service, "admin", &bad).await.status, 422);
    let answer = with_key(&service, "tenant", "/v1/dead-letters").await;
    assert_eq!(answer.status, 403);
    let detail = "dead letters may be of any app: the API key is not for app \"other\"";
    assert!(answer.json()["detail"].as_str().unwrap().starts_with(detail), "{}", answer.json());
    assert_eq!(with_key(&service, "admin", "/v1/dead-letters").await.status, 200);
}

#[tokio::test]
async fn apps_are_listed_to_those_who_may_ask_about_them() {
    let service = service();
    let acme = json!({
        "id": "acme", "reporting_currency": "USD", "reporting_zones": ["UTC", "Europe/Berlin"],
    });
    let listed = with_key(&service, "reader", "/v1/apps").await.json();
    assert_eq!(listed, json!({"apps": [acme]}));
    let listed = with_key(&service, "admin", "/v1/apps").await.json();
    assert_eq!(listed["apps"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn suspended_events_of_other_apps_stay_hidden() {
    let service = service();
    let lines = "A refund 2026-01-05 1.00 tx=x\nB refund 2026-01-05 1.00 tx=x app=other";
    assert_eq!(post(&service, "admin", &events(lines)).await.status, 202);
    let seen = async |key: &str| {
        let body = with_key(&service, key, "/v1/suspended").await.json();
        body["suspended"].as_array().unwrap().len()
    };
    assert_eq!((seen("admin").await, seen("reader").await), (2, 1));
}

#[tokio::test]
async fn a_key_that_is_used_too_often_is_told_when_to_come_back() {
    let mut limited = key("limited", &["acme"], &[Scope::Read]);
    limited.rate_limit_per_second = NonZeroU32::new(2);
    let service = Service::new(Setup { api_keys: vec![limited], ..Setup::default() });
    let mut refused = None;
    for _ in 0..50 {
        let answer = with_key(&service, "limited", "/v1/apps/acme/ltv").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status, 200);
    }
    let refused = refused.expect("fifty requests are more than two a second allow");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.json()["type"], "urn:ltvstream:problem:rate-limited");
    // Who has no valid key uses up nobody's limit, and health needs none.
    assert_eq!(service.get("/v1/apps/acme/ltv").await.status, 401);
    assert_eq!(service.get("/healthz").await.status, 200);
}

/// A body that tells whether anybody has begun to read it.
fn watched_body() -> (Body, Arc<AtomicBool>) {
    let is_read = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_read);
    let stream = futures_util::stream::once(async move {
        told.store(true, Ordering::Relaxed);
        Ok::<_, std::io::Error>("{}")
    });
    (Body::from_stream(stream), is_read)
}

#[tokio::test]
async fn the_body_of_somebody_without_a_key_is_not_read() {
    let service = service();
    for (method, path, content_type) in [
        ("POST", "/v1/events", "application/json"),
        ("POST", "/api/v1/client-api/metrics/ltv/", "application/json"),
        ("POST", "/api/v1/client-api/metrics/cohort", "application/json"),
        ("GET", "/v1/ping", "application/x-www-form-urlencoded"),
        ("GET", "/v1/metrics/mrr", "application/x-www-form-urlencoded"),
    ] {
        let (body, is_read) = watched_body();
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", content_type).body(body).unwrap();
        assert_eq!(service.send(request).await.status, 401, "{path}");
        assert!(!is_read.load(Ordering::Relaxed), "{path}");
    }
}

#[tokio::test]
async fn a_question_may_not_be_longer_than_questions_are() {
    let service = service();
    let body = format!("a={}", "b".repeat(2 << 20));
    let request = Request::get("/v1/ping").header("authorization", "Basic cmVhZGVyOg==");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = service.send(request.body(Body::from(body)).unwrap()).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert_eq!(answer.json()["code"], 413);
}

#[tokio::test]
async fn without_keys_the_service_answers_by_its_own_names_only() {
    let by = |host: &str| Request::get("/v1/apps").header("host", host).body(Body::empty());
    let open = Service::new(Setup::default());
    for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"] {
        assert_eq!(open.send(by(host).unwrap()).await.status, 200, "{host}");
    }
    let answer = open.send(by("evil.example:8080").unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (421, "no-store"));
    assert_eq!(
        answer.json()["type"].as_str().map(|kind| kind.ends_with("foreign-name")),
        Some(true)
    );
    // With keys nobody is let in by a name.
    assert_eq!(service().send(by("evil.example").unwrap()).await.status, 401);
}

#[tokio::test]
async fn answers_are_kept_by_no_cache() {
    let service = service();
    let answer = with_key(&service, "reader", "/v1/apps").await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"));
    assert_eq!(service.get("/").await.header("cache-control"), "no-cache");
}
