//! Ingest over HTTP.

use std::io::Write as _;
use std::task::Poll;

use axum::body::Body;
use axum::http::Request;
use futures_util::stream::poll_fn;
use ltvstream::http::Limits;
use serde_json::{Value, json};

use crate::http_support::{Answer, Service, Setup, events, zenovay};

const NDJSON: &str = "application/x-ndjson";

fn counts(answer: &Answer) -> [Value; 4] {
    let body = answer.json();
    ["accepted", "suspended", "repeated", "refused"].map(|name| body[name].clone())
}

async fn encoded(service: &Service, encoding: &str, body: Vec<u8>) -> Answer {
    let request = Request::post("/v1/events").header("content-type", NDJSON);
    let request = request.header("content-encoding", encoding);
    service.send(request.body(Body::from(body)).unwrap()).await
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_parameter_that_a_sender_hopes_for_is_refused_and_nothing_accepted() {
    let service = Service::new(Setup::default());
    let request = Request::post("/v1/events?app=acme").header("content-type", NDJSON);
    let body = Body::from(events("A purchase 2026-01-05 10.00"));
    let answer = service.send(request.body(body).unwrap()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["parameter"]), (400, &json!("app")));
    let customer = service.get("/v1/apps/acme/customers/A").await;
    assert_eq!(customer.status, 404);
}

#[tokio::test]
async fn lines_are_accepted_repeated_suspended_and_refused_one_by_one() {
    let service = Service::new(Setup::default());
    let good = events("A purchase 2026-01-05 10.00\nA refund 2026-01-06 1.00 tx=none");
    let lines: Vec<&str> = good.lines().collect();
    let no_currency = lines[0].replace("\"currency\":\"USD\",", "").replace("A/0", "A/9");
    let body = format!("{}\r\n\n  \n{}\n{}\n{no_currency}\n7", lines[0], lines[1], lines[0]);
    let answer = service.post(NDJSON, body).await;
    assert_eq!(answer.status, 202);
    let expected = json!({
        "accepted": 2, "suspended": 1, "repeated": 1, "refused": 2,
        "errors": [
            {"line": 6, "event_id": "A/9", "field": "currency", "code": "missing_currency",
             "message": "currency is required with gross_micros"},
            {"line": 7, "event_id": null, "field": null, "code": "malformed_json"},
        ],
        "errors_truncated": false,
        "as_of": {"0": 2, "1": 3},
    });
    let mut body = answer.json();
    body["errors"][1].as_object_mut().unwrap().remove("message");
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_byte_order_mark_before_a_body_is_no_part_of_it() {
    let service = Service::new(Setup::default());
    let all = zenovay();
    let lines: Vec<&str> = all.lines().collect();
    let two = service.post(NDJSON, format!("\u{feff}{}\n{}\n", lines[0], lines[1])).await;
    assert_eq!(counts(&two), [2, 0, 0, 0].map(|count| json!(count)));
    let one = service.post("application/json", format!("\u{feff}{}", lines[2])).await;
    assert_eq!(counts(&one), [1, 0, 0, 0].map(|count| json!(count)));
}

#[tokio::test]
async fn json_is_one_event_or_an_array() {
    let service = Service::new(Setup::default());
    let all = zenovay();
    let lines: Vec<&str> = all.lines().collect();
    let one = service.post("application/json; charset=utf-8", format!(" {}\n", lines[0])).await;
    assert_eq!(counts(&one), [1, 0, 0, 0].map(|count| json!(count)));
    let array = format!("[\n{},\n{{\"event_id\":\"x\"}}]", lines.join(","));
    let all = service.post("application/json", array).await;
    assert_eq!(counts(&all), [6, 0, 1, 1].map(|count| json!(count)));
    assert_eq!(all.json()["errors"][0]["line"], 8);
    assert_eq!(all.json()["errors"][0]["event_id"], "x");
}

#[tokio::test]
async fn a_line_that_is_not_json_is_refused_alone() {
    let service = Service::new(Setup::default());
    let good = zenovay();
    let (first, rest) = good.split_once('\n').unwrap();
    let broken = "{\"event_id\":\"A/9\", oops}";
    let answer = service.post(NDJSON, format!("{broken}\n{first}\n\u{1}\n{rest}{{\"a\":")).await;
    assert_eq!(answer.status, 202);
    assert_eq!(counts(&answer), [7, 0, 0, 3].map(|count| json!(count)));
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    let told = |error: &Value| (error["line"].clone(), error["event_id"].clone());
    let told: Vec<_> = errors.iter().map(told).collect();
    assert_eq!(told, [(json!(1), json!("A/9")), (json!(3), Value::Null), (json!(10), Value::Null)]);
    let codes: Vec<&Value> = errors.iter().map(|error| &error["code"]).collect();
    assert_eq!(codes, ["malformed_json", "malformed_json", "truncated"]);
    assert!(errors.iter().all(|error| error["message"].is_string()), "{errors:?}");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_whole() {
    let service = Service::new(Setup::default());
    let answer = service.post(NDJSON, "\nevent_id,app_id\ne1,acme\n").await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["line"], 2);
    let detail = "line 2 is not JSON (expected value, column 1); nothing was accepted";
    assert_eq!(answer.json()["detail"], detail);
    assert_eq!(answer.json()["type"], "urn:ltvstream:problem:unparseable");
    for body in ["[{}", "{} {}", "[1\n,", "\u{1}"] {
        assert_eq!(service.post("application/json", body).await.status, 400, "{body:?}");
    }
    let json = "application/json";
    for (content_type, body) in
        [(json, "[]"), (json, ""), (json, "\n"), (NDJSON, ""), (NDJSON, "\n \n")]
    {
        let empty = service.post(content_type, body).await;
        assert_eq!(
            (empty.status.as_u16(), &empty.json()["detail"]),
            (400, &json!("the body holds no event"))
        );
    }
    let nothing = service.ask("/v1/apps/acme/ltv").await;
    assert_eq!(nothing["as_of"], json!({"0": 0, "1": 0}));
}

#[tokio::test]
async fn all_refused_is_unprocessable() {
    let service = Service::new(Setup::default());
    let answer = service.post("application/json", "[{},{\"nonsense\":1}]").await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.header("content-type"), "application/json");
    let codes: Vec<Value> = [0, 1].map(|at| answer.json()["errors"][at]["code"].clone()).into();
    assert_eq!(codes, ["missing_event_id", "unknown_field"]);
}

#[tokio::test]
async fn the_list_of_errors_ends_at_a_thousand() {
    let service = Service::new(Setup::default());
    let answer = service.post(NDJSON, "{}\n".repeat(1001)).await;
    let body = answer.json();
    assert_eq!(body["refused"], 1001);
    assert_eq!(body["errors"].as_array().unwrap().len(), 1000);
    assert_eq!(body["errors_truncated"], true);
}

#[tokio::test]
async fn gzip_and_zstd_bodies_are_read() {
    let service = Service::new(Setup::default());
    let answer = encoded(&service, "gzip", gzip(zenovay().as_bytes())).await;
    assert_eq!(counts(&answer)[0], 7);
    let zstd = zstd::encode_all(zenovay().as_bytes(), 3).unwrap();
    let answer = encoded(&service, "zstd", zstd).await;
    assert_eq!(counts(&answer)[2], 7);
    let answer = encoded(&service, "gzip", b"not gzip".to_vec()).await;
    assert_eq!(answer.status, 400);
    let answer = encoded(&service, "br", b"x".to_vec()).await;
    assert_eq!(answer.status, 415);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json()["type"], "urn:ltvstream:problem:unsupported-media-type");
}

#[tokio::test]
async fn bodies_encoded_piece_by_piece_are_read_whole() {
    let service = Service::new(Setup::default());
    let text = zenovay();
    let zstd = |body: &[u8]| zstd::encode_all(body, 3).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let gzips = [b"", lines[0].as_bytes(), lines[1].as_bytes()].map(gzip).concat();
    let answer = encoded(&service, "gzip", gzips).await;
    assert_eq!(counts(&answer)[0], 2, "{}", answer.text);
    let (first, rest) = (gzip(lines[2].as_bytes()), gzip(lines[3..].concat().as_bytes()));
    let answer = encoded(&service, "X-GZip", [first, rest].concat()).await;
    assert_eq!(counts(&answer)[0], 5);
    let zstds = lines.iter().flat_map(|line| zstd(line.as_bytes())).collect();
    assert_eq!(counts(&encoded(&service, "ZSTD", zstds).await)[2], 7);
    // What follows is not passed over.
    for (encoding, mut body) in [("gzip", gzip(text.as_bytes())), ("zstd", zstd(text.as_bytes()))] {
        body.extend(b"and more");
        assert_eq!(encoded(&service, encoding, body).await.status, 400);
    }
    assert_eq!(encoded(&service, "gzip, gzip", gzip(&gzip(text.as_bytes()))).await.status, 415);
}

#[tokio::test]
async fn the_limit_counts_what_is_decoded() {
    let limits = Limits { max_body_bytes: 10_000, ..Limits::default() };
    let service = Service::new(Setup { limits, ..Setup::default() });
    assert_eq!(service.post(NDJSON, vec![b'\n'; 10_000]).await.status, 400);
    let answer = service.post(NDJSON, vec![b'\n'; 10_001]).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.json()["type"], "urn:ltvstream:problem:body-too-large");
    assert_eq!(answer.json()["max_bytes"], 10_000);
    // Ten megabytes in ten kilobytes.
    let bomb = gzip(&vec![b'\n'; 9_000_000]);
    assert!(bomb.len() < 50_000);
    assert_eq!(encoded(&service, "gzip", bomb).await.status, 413);
}

#[tokio::test]
async fn a_body_that_says_it_is_too_long_is_refused_before_it_is_sent() {
    let limits = Limits { max_body_bytes: 10_000, ..Limits::default() };
    let service = Service::new(Setup { limits, ..Setup::default() });
    let sent = poll_fn(|_| -> Poll<Option<std::io::Result<Vec<u8>>>> { panic!("it was read") });
    let request = Request::post("/v1/events")
        .header("content-type", NDJSON)
        .header("content-length", "10001")
        .header("expect", "100-continue")
        .body(Body::from_stream(sent))
        .unwrap();
    let answer = service.send(request).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.json()["max_bytes"], 10_000);
}

#[tokio::test]
async fn other_media_types_are_not_read() {
    let service = Service::new(Setup::default());
    for content_type in ["text/csv", "application/jsonx", ""] {
        let answer = service.post(content_type, zenovay()).await;
        assert_eq!(answer.status, 415, "{content_type}");
    }
    let request = Request::post("/v1/events").body(Body::from(zenovay())).unwrap();
    assert_eq!(service.send(request).await.status, 415);
}
