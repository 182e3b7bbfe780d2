//! Who may ask what, and how often.
//!
//! Handlers take a [`Caller`] that names the scope they need; without one they cannot see the
//! caller's apps. Without any configured key everybody may do everything.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::num::NonZeroU32;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use subtle::ConstantTimeEq as _;

use crate::config::{ApiKey, Scope, hash_of};
use crate::http::credentials;
use crate::http::problem::{Kind, Problem, whole_seconds};
use crate::http::state::HttpState;

/// Requests a second of a key that has no limit of its own.
const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// The configured keys.
pub struct Keyring {
    keys: Vec<(ApiKey, DefaultDirectRateLimiter)>,
}

impl Keyring {
    /// A ring of these keys; their limits begin unused.
    pub fn new(keys: &[ApiKey]) -> Self {
        let limited = |key: &ApiKey| {
            let per_second = key.rate_limit_per_second.unwrap_or(REQUESTS_PER_SECOND);
            (key.clone(), RateLimiter::direct(Quota::per_second(per_second)))
        };
        Self { keys: keys.iter().map(limited).collect() }
    }

    /// What the sender of these headers may do, if that includes `scope` and the key is not used
    /// too often; `None` asks for any key.
    fn admit(&self, headers: &HeaderMap, scope: Option<Scope>) -> Result<Access, Problem> {
        if self.keys.is_empty() {
            return Ok(Access { apps: None });
        }
        let how = "send Authorization: Bearer KEY or X-API-Key: KEY";
        let secret =
            credentials::api_key(headers).ok_or_else(|| Problem::new(Kind::Unauthorized, how))?;
        let (key, limiter) = self
            .find(secret)
            .ok_or_else(|| Problem::new(Kind::Unauthorized, "the API key is not known"))?;
        limiter.check().map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            let per_second = key.rate_limit_per_second.unwrap_or(REQUESTS_PER_SECOND);
            let detail = format!("API key \"{}\" may ask {per_second} times a second", key.name);
            Problem::new(Kind::RateLimited, detail).retry_after_seconds(whole_seconds(wait).max(1))
        })?;
        if let Some(scope) = scope
            && !key.scopes.contains(&scope)
        {
            let scope = name(scope);
            let detail = format!("the API key \"{}\" lacks the scope {scope}", key.name);
            return Err(Problem::new(Kind::Forbidden, detail).with("scope", scope));
        }
        Ok(Access { apps: Some(key.apps.clone()) })
    }

    /// Whether everybody is let in, for want of keys.
    pub(super) fn is_open(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key with this secret.
    pub(super) fn key(&self, secret: &str) -> Option<&ApiKey> {
        self.find(secret).map(|(key, _)| key)
    }

    /// Compares with every key, each in constant time.
    fn find(&self, secret: &str) -> Option<&(ApiKey, DefaultDirectRateLimiter)> {
        let hash = hash_of(secret);
        let mut found = None;
        for key in &self.keys {
            if bool::from(key.0.sha256.ct_eq(&hash)) {
                found = Some(key);
            }
        }
        found
    }
}

fn name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Ingest => "ingest",
        Scope::Admin => "admin",
    }
}

/// The apps a caller may see.
#[derive(Debug, Clone)]
pub struct Access {
    /// `None`: all.
    apps: Option<BTreeSet<String>>,
}

impl Access {
    /// Whether the caller may see the app.
    pub fn sees(&self, app: &str) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.contains(app))
    }

    /// Whether the caller may see whatever app there is.
    pub fn sees_everything(&self) -> bool {
        self.apps.is_none()
    }

    /// Refuses apps that the caller may not see, be they configured or not.
    pub fn check_app(&self, app: &str) -> Result<(), Problem> {
        if self.sees(app) {
            return Ok(());
        }
        Err(Problem::new(Kind::Forbidden, self.not_for(app)).with("app", app))
    }

    /// That the caller may not see the app, and which ones instead.
    pub fn not_for(&self, app: &str) -> String {
        let apps = self.apps.iter().flatten().map(|app| format!("\"{app}\""));
        let apps = apps.collect::<Vec<_>>().join(", ");
        format!("the API key is not for app \"{app}\" but for {apps}")
    }
}

/// A scope as a type.
pub trait Needs {
    /// `None`: any key will do.
    const SCOPE: Option<Scope>;
}

/// Questions.
pub struct Reading;
/// Handing in events.
pub struct Ingesting;
/// What concerns the whole service.
pub struct Administering;
/// Anything, as long as a key is shown.
pub struct Known;

impl Needs for Reading {
    const SCOPE: Option<Scope> = Some(Scope::Read);
}

impl Needs for Ingesting {
    const SCOPE: Option<Scope> = Some(Scope::Ingest);
}

impl Needs for Administering {
    const SCOPE: Option<Scope> = Some(Scope::Admin);
}

impl Needs for Known {
    const SCOPE: Option<Scope> = None;
}

/// Who sent the request, admitted to scope `S`.
pub struct Caller<S> {
    pub access: Access,
    scope: PhantomData<S>,
}

impl<S: Needs> FromRequestParts<HttpState> for Caller<S> {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &HttpState,
    ) -> Result<Self, Self::Rejection> {
        let access = state.keyring.admit(&parts.headers, S::SCOPE)?;
        Ok(Self { access, scope: PhantomData })
    }
}
