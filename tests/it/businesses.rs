//! Seeded sets of events, the service that has taken them in, and the slow reference of them.
//!
//! One service gets the events in order. Another gets them in another order and some of them
//! twice, and is asked before and after it has been started again over what it stored.

use std::num::NonZeroU32;
use std::sync::Arc;

use chrono::NaiveDate;
use chrono_tz::Tz;
use ltvstream::codec::json_event;
use ltvstream::config::{ApiKey, Plan, Scope, hash_of};
use ltvstream::domain::time::Timestamp;
use ltvstream::generator::{Generator, GeneratorSettings, Share};
use ltvstream::http::Clock;
use ltvstream::store::memory::MemoryStore;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use crate::http_support::{DIRECT_RECORDED_AT, Service, Setup, settings};
use crate::law::rules_of;
use crate::reference::random::{self, Options};
use crate::reference::{AppSettings, Reference};

/// What a seed is about.
pub struct Business {
    pub apps: Vec<AppSettings>,
    /// In the order of their arrival.
    pub events: Vec<String>,
    /// The instant of now, RFC 3339.
    pub now: &'static str,
    /// The days on which something happens: the first, and how many.
    pub days: (NaiveDate, u64),
}

/// An app without rates.
pub fn app(id: &str, currency: &str, zones: &[&str]) -> AppSettings {
    AppSettings {
        id: id.to_owned(),
        reporting_currency: currency.to_owned(),
        zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
        ..AppSettings::default()
    }
}

/// Two apps with events made to collide: refunds of every kind, voids, duplicates.
pub fn collisions(seed: u64) -> Business {
    let mut apps = random::apps();
    // Days of a zone that is not UTC: the last one comes first.
    apps.iter_mut().for_each(|app| app.zones.reverse());
    let now = ["2024-07-01T23:00:00Z", "2024-04-02T00:30:00Z", "2026-03-01T03:00:00Z"];
    Business {
        apps,
        events: random::events_of(seed, 60, Options::default()),
        now: now[usize::try_from(seed % 3).unwrap()],
        days: (NaiveDate::from_ymd_opt(2023, 6, 1).unwrap(), 900),
    }
}

/// Subscriptions of the app `acme` over three hundred days, asked shortly before they end.
pub fn subscriptions(seed: u64) -> Business {
    let settings = GeneratorSettings {
        app_id: "acme".to_owned(),
        customers: 25,
        days: 300,
        seed,
        late: Share::from_ppm(200_000),
        duplicates: Share::from_ppm(100_000),
        ..GeneratorSettings::default()
    };
    let text = |event| {
        let mut bytes = Vec::new();
        json_event::encode(&event, &mut bytes);
        String::from_utf8(bytes).unwrap()
    };
    Business {
        apps: vec![app("acme", "USD", &["America/New_York", "UTC"])],
        events: Generator::new(&settings).unwrap().map(text).collect(),
        now: "2024-10-10T02:00:00Z",
        days: (NaiveDate::from_ymd_opt(2024, 2, 1).unwrap(), 300),
    }
}

/// Two partitions that hold nothing yet.
fn stores() -> Vec<Arc<MemoryStore>> {
    (0..2).map(|_| Arc::default()).collect()
}

impl Business {
    /// The slow reference of all events.
    pub fn reference(&self) -> Reference {
        let mut reference = Reference::new(&self.apps);
        for event in &self.events {
            reference.offer(event, DIRECT_RECORDED_AT.0);
        }
        reference
    }

    /// The service that took the events in as they come, one that took them in as the seed
    /// shuffles and repeats them, and the latter started again. Vendors' paths know each app by
    /// its own id.
    pub async fn services(&self, seed: u64) -> [Service; 3] {
        let in_order = Service::new(self.setup(&stores()));
        in_order.post("application/x-ndjson", self.events.join("\n")).await;
        let stores = stores();
        let shuffled = self.shuffled(seed, &stores).await;
        [in_order, shuffled, Service::new(self.setup(&stores))]
    }

    /// The service that took the events in as the seed shuffles and repeats them, started again
    /// behind a key for each app: named as the app, and with all the requests there may be.
    pub async fn behind_keys(&self, seed: u64) -> Service {
        let stores = stores();
        self.shuffled(seed, &stores).await;
        let key = |app: &AppSettings| ApiKey {
            name: app.id.clone(),
            sha256: hash_of(&app.id),
            apps: [app.id.clone()].into(),
            scopes: [Scope::Read].into(),
            plan: Plan::Pro,
            rate_limit_per_second: NonZeroU32::new(1_000_000),
        };
        let api_keys = self.apps.iter().map(key).collect();
        Service::new(Setup { api_keys, ..self.setup(&stores) })
    }

    fn setup(&self, stores: &[Arc<MemoryStore>]) -> Setup {
        Setup {
            rules: rules_of(&self.apps),
            apps: self.apps.iter().map(|app| settings(&app.id, &app.id)).collect(),
            stores: stores.to_vec(),
            clock: Clock::Frozen(Timestamp::parse_rfc3339(self.now).unwrap()),
            ..Setup::default()
        }
    }

    async fn shuffled(&self, seed: u64, stores: &[Arc<MemoryStore>]) -> Service {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut events = self.events.clone();
        events.extend(self.events.iter().filter(|_| rng.random_ratio(1, 4)).cloned());
        events.shuffle(&mut rng);
        let service = Service::new(self.setup(stores));
        service.post("application/x-ndjson", events.join("\n")).await;
        service
    }

    /// The day of the instant so many times 24 hours before now, in the first zone of an app.
    pub fn day_before_now(&self, app: &AppSettings, days_before: i64) -> NaiveDate {
        let zone: Tz = app.zones[0].parse().unwrap();
        let now = chrono::DateTime::parse_from_rfc3339(self.now).unwrap();
        (now.with_timezone(&zone) - chrono::TimeDelta::days(days_before)).date_naive()
    }
}
