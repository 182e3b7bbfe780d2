//! What all handlers share.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Semaphore;

use crate::config::{ApiKey, AppSettings, ServiceSettings};
use crate::domain::rules::{AppRules, Rules};
use crate::http::auth::{Access, Keyring};
use crate::http::clock::Clock;
use crate::http::compat::Limiters;
use crate::http::problem::{Kind, Problem};
use crate::state::Shards;
use crate::stream::{Ingest, Partition};
use crate::telemetry::Metrics;

/// Tells how many records of each partition are not in the state yet.
pub type Lag = Arc<dyn Fn() -> BTreeMap<Partition, i64> + Send + Sync>;

/// Whether the service can answer as it should, and if not, why.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<RwLock<Option<String>>>);

impl Readiness {
    /// Ready from the beginning.
    pub fn ready() -> Self {
        Self::default()
    }

    /// Not ready until [`Readiness::set_ready`].
    pub fn not_ready(reason: impl Into<String>) -> Self {
        Self(Arc::new(RwLock::new(Some(reason.into()))))
    }

    /// Everything is as it should be.
    pub fn set_ready(&self) {
        *self.0.write() = None;
    }

    /// Something is missing.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        *self.0.write() = Some(reason.into());
    }

    /// What is missing, `None` if nothing is.
    pub fn reason(&self) -> Option<String> {
        self.0.read().clone()
    }
}

/// Limits of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest request body, after decompression.
    pub max_body_bytes: usize,
    /// A request that takes longer is answered 503.
    pub request_timeout: Duration,
    /// Requests answered at the same time; further ones are answered 429.
    pub requests_in_flight_max: usize,
    /// Longest wait of a question for its `min_as_of`.
    pub min_as_of_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 << 20,
            request_timeout: Duration::from_secs(30),
            requests_in_flight_max: 256,
            min_as_of_wait: Duration::from_secs(5),
        }
    }
}

impl From<&ServiceSettings> for Limits {
    fn from(settings: &ServiceSettings) -> Self {
        Self {
            max_body_bytes: settings.max_body_bytes,
            request_timeout: settings.request_timeout,
            requests_in_flight_max: settings.requests_in_flight_max,
            min_as_of_wait: settings.min_as_of_wait,
        }
    }
}

/// What the API is made of.
pub struct HttpParts {
    pub shards: Arc<Shards>,
    /// How many partitions the input has, held here or elsewhere.
    pub partitions: Partition,
    pub rules: Arc<Rules>,
    pub apps: Vec<AppSettings>,
    /// Without any, every request is let in: then only loopback may be listened on.
    pub api_keys: Vec<ApiKey>,
    pub limits: Limits,
    pub clock: Clock,
    pub ingest: Arc<dyn Ingest>,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    pub lag: Lag,
}

/// The parts, ready to be shared. Cheap to clone.
#[derive(Clone)]
pub struct HttpState(Arc<Shared>);

/// What is behind an [`HttpState`].
pub struct Shared {
    pub parts: HttpParts,
    pub(super) keyring: Keyring,
    pub(super) in_flight: Arc<Semaphore>,
    /// Limits of vendors' paths.
    pub(super) limiters: Limiters,
}

impl HttpState {
    /// Shares the parts.
    pub fn new(parts: HttpParts) -> Self {
        let keyring = Keyring::new(&parts.api_keys);
        let slots = parts.limits.requests_in_flight_max.min(Semaphore::MAX_PERMITS);
        let in_flight = Arc::new(Semaphore::new(slots));
        Self(Arc::new(Shared { parts, keyring, in_flight, limiters: Limiters::default() }))
    }

    /// The rules of an app that the caller may ask about.
    pub(super) fn app(&self, access: &Access, id: &str) -> Result<&AppRules, Problem> {
        access.check_app(id)?;
        self.parts.rules.apps.get(id).ok_or_else(|| {
            Problem::new(Kind::UnknownApp, format!("\"{id}\" is not one of the configured apps"))
                .with("app", id)
        })
    }
}

impl Deref for HttpState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
