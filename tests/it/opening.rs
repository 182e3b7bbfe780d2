//! A state that is being opened: questions of whole cohorts have their answer before the facts are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use ltvstream::domain::cohort::Field;
use ltvstream::domain::dimensions::Dimension;
use ltvstream::engine::curves::{CurvesConfig, ZonesKept};
use ltvstream::store::memory::MemoryStore;

use crate::http_support::{Service, Setup, adapty, events, zenovay};

/// Both zones, and cohorts of each country of acme.
fn curves() -> CurvesConfig {
    let fields = vec![Field::Dimension(Dimension::Country)];
    let segments = BTreeMap::from([("acme".to_owned(), fields)]);
    CurvesConfig { zones: ZonesKept::All, segments }
}

fn setup(stores: &[Arc<MemoryStore>]) -> Setup {
    Setup { curves: curves(), stores: stores.to_vec(), ..Setup::default() }
}

/// The stores of two partitions that hold the events of two vendors' examples, and a service on them.
async fn state() -> (Vec<Arc<MemoryStore>>, Service) {
    let stores = vec![Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default())];
    let service = Service::fed(setup(&stores), &(zenovay() + &adapty())).await;
    (stores, service)
}

const WHOLE_COHORTS: [&str; 7] = [
    "/v1/apps/acme/ltv",
    "/v1/apps/acme/ltv?width=day&anchor=install",
    "/v1/apps/acme/ltv?width=week&zone=Europe/Berlin",
    "/v1/apps/acme/ltv?age=periods&until=2026-02-15",
    "/v1/apps/acme/ltv?segment_by=country",
    "/v1/apps/acme/ltv?format=csv",
    "/v1/apps/other/ltv",
];

#[tokio::test]
async fn questions_of_whole_cohorts_have_their_answer_before_the_facts_are_read() {
    let (stores, live) = state().await;
    let opening = Service::new(Setup { is_opening: true, ..setup(&stores) });
    for path in WHOLE_COHORTS {
        let (expected, early) = (live.get(path).await, opening.get(path).await);
        assert_eq!((early.status, &early.text), (StatusCode::OK, &expected.text), "{path}");
        assert_eq!(early.headers, expected.headers, "{path}");
    }
    // A, B and C of one example, three payers of the other.
    assert_eq!(opening.ask("/v1/apps/acme/ltv").await["total"]["customers"], 6);
}

#[tokio::test]
async fn all_other_questions_are_told_to_ask_again() {
    let (stores, _) = state().await;
    let opening = Service::new(Setup { is_opening: true, ..setup(&stores) });
    for path in [
        "/v1/apps/acme/ltv?filter.country=US",
        "/v1/apps/acme/ltv?age=payments",
        "/v1/apps/acme/ltv?segment_by=store",
        "/v1/apps/acme/revenue",
        "/v1/apps/acme/customers/A",
    ] {
        let answer = opening.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", answer.text);
        assert_eq!(answer.header("retry-after"), "1", "{path}");
    }
}

#[tokio::test]
async fn a_question_meets_all_shards_that_are_being_opened_or_none() {
    let (stores, _) = state().await;
    // The last commit of one is of a service with other cohorts of segments.
    let other = CurvesConfig { zones: ZonesKept::First, segments: BTreeMap::new() };
    let other = Service::new(Setup { curves: other, ..setup(&stores) });
    let event = events("E purchase 2026-03-01 1.00");
    assert_eq!(other.post("application/x-ndjson", event).await.status, StatusCode::ACCEPTED);
    let opening = Service::new(Setup { is_opening: true, ..setup(&stores) });
    let answer = opening.get("/v1/apps/acme/ltv").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    let opened = Service::new(setup(&stores));
    assert_eq!(opened.ask("/v1/apps/acme/ltv").await["total"]["customers"], 7);
}
