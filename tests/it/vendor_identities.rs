//! Every business by its seed, behind the vendors' paths: what must add up there is asserted in
//! `chartmogul_identities.rs` and `adapty_identities.rs`.
//!
//! `IDENTITIES_SEED` and `IDENTITIES_CASES` choose where seeds begin and how many there are.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use crate::businesses::{Business, subscriptions};
use crate::http_support::Service;
use crate::identities::seeds;
use crate::reference::AppSettings;

/// A business, the service that holds it, and whether each customer of it stays in one country.
pub struct Held {
    pub business: Business,
    service: Service,
    pub settled: bool,
    pub seed: u64,
}

impl Held {
    async fn new(business: Business, seed: u64, settled: bool) -> Self {
        let service = business.behind_keys(seed).await;
        Self { business, service, settled, seed }
    }

    pub async fn get(&self, path: &str, authorization: String) -> Value {
        let request = Request::get(path).header("authorization", authorization);
        self.sent(request.body(Body::empty()).unwrap(), path).await
    }

    pub async fn sent(&self, request: Request<Body>, asked: &str) -> Value {
        let answer = self.service.send(request).await;
        assert_eq!(answer.status, 200, "{} {asked}: {}", self.label(), answer.text);
        answer.json()
    }

    pub fn label(&self) -> String {
        format!("IDENTITIES_SEED={}", self.seed)
    }

    /// Values of a field in the events, as they are stored.
    pub fn values(&self, field: &str) -> BTreeSet<String> {
        let events = self.business.events.iter();
        let events = events.map(|text| serde_json::from_str::<Value>(text).unwrap());
        let values = events.filter_map(|event| event[field].as_str().map(str::to_owned));
        // An empty text is as none.
        let values = values.filter(|value| !value.is_empty());
        match field {
            "country" => values
                .map(|code| code.to_uppercase())
                .map(|code| if code == "UK" { "GB".to_owned() } else { code })
                .collect(),
            _ => values.collect(),
        }
    }
}

/// Checks the apps of the businesses of all seeds, each shuffled, repeated and restarted; of every
/// fourth seed also a set of events that collide.
pub async fn each(
    collisions: fn(u64) -> Business,
    check: impl AsyncFn(&Held, &AppSettings) -> usize,
) {
    let mut seen = 0;
    for seed in seeds() {
        let mut all = vec![Held::new(subscriptions(seed), seed, true).await];
        if seed % 4 == 0 {
            all.push(Held::new(collisions(seed), seed, false).await);
        }
        for held in &all {
            for app in &held.business.apps {
                seen += check(held, app).await;
            }
        }
    }
    assert!(seeds().count() < 200 || seen > 10_000, "too little was compared: {seen}");
}
