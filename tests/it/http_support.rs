//! A service in memory, asked through its router.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use ltvstream::codec::json_event;
use ltvstream::config::{ApiKey, AppSettings, LtvChurnWindow};
use ltvstream::domain::rules::{AppRules, RateTable, Rules, ZeroPayments};
use ltvstream::domain::time::Timestamp;
use ltvstream::engine::curves::{CurvesConfig, ZonesKept};
use ltvstream::http::{Clock, HttpParts, HttpState, Limits, Readiness, router, serve};
use ltvstream::state::{Arrival, OpeningShard, Outcome, Refused, Shards};
use ltvstream::store::Durability;
use ltvstream::store::memory::MemoryStore;
use ltvstream::stream::{Ingest, IngestError, Partition, Receipt, Receipts, Record};
use ltvstream::telemetry::Metrics;
use serde_json::Value;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

/// The instant of now of the worked examples of Zenovay's interface.
pub const NOW: &str = "2026-03-16T15:00:00Z";

/// By which vendors' paths know app `acme`.
pub const ACME: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";
/// By which they know app `other`.
pub const OTHER: &str = "0f0f0f0f-1111-4222-8333-444444444444";

/// Settings as they are without a word in the configuration.
pub fn settings(id: &str, compat_id: &str) -> AppSettings {
    AppSettings {
        id: id.to_owned(),
        compat_ids: vec![compat_id.to_owned()],
        ltv_churn_window: LtvChurnWindow::default(),
        mrr_refunds: None,
        snapshot_widths: Vec::new(),
        snapshot_segments: Vec::new(),
    }
}

/// When all events are recorded: 2026-12-31T00:00:00Z.
pub const DIRECT_RECORDED_AT: Timestamp = Timestamp(1_798_675_200_000_000);

/// Applies events at once: customers whose id is even in length go to partition 0, others to 1.
struct DirectIngest(Arc<Shards>);

impl Ingest for DirectIngest {
    fn submit(&self, events: Vec<Vec<u8>>) -> Result<Receipts, IngestError> {
        let mut touched = BTreeMap::new();
        let mut receipts = Vec::new();
        for bytes in events {
            let decoded = json_event::decode(&bytes);
            let partition = decoded
                .as_ref()
                .map_or(0, |event| Partition::try_from(event.customer_id.len() % 2).unwrap());
            let shard = self.0.get(partition).unwrap();
            let mut shard = shard.write();
            let offset = shard.next_offset().0;
            let record = Record {
                partition,
                offset,
                timestamp: DIRECT_RECORDED_AT,
                key: Some(b"\xff\xfe"),
                value: Some(&bytes),
                headers: None,
            };
            let refused = |error: ltvstream::codec::error::DecodeError| Refused {
                code: error.reason().into_owned(),
                field: error.field().map(str::to_owned),
                message: error.to_string(),
            };
            let arrival = Arrival { record, decoded: decoded.map_err(refused) };
            receipts.push(match shard.apply(&[arrival]).unwrap().remove(0) {
                Outcome::Accepted { is_suspended } => Receipt::Accepted { is_suspended },
                Outcome::Repeated => Receipt::Repeated,
                Outcome::Refused(Refused { code, field, message }) => {
                    Receipt::Refused { code, field, message }
                }
                Outcome::Known => unreachable!("the offset is the next one"),
            });
            shard.commit(Durability::Machine).unwrap();
            touched.insert(partition, shard.next_offset());
        }
        Ok(Receipts { receipts, as_of: touched.into_iter().collect() })
    }
}

/// What a test may want otherwise.
pub struct Setup {
    pub api_keys: Vec<ApiKey>,
    /// Apps `acme` (USD; UTC, Europe/Berlin) and `other` (USD; UTC).
    pub rules: Arc<Rules>,
    pub apps: Vec<AppSettings>,
    /// By partition, perhaps with what an earlier service stored; new ones if empty.
    pub stores: Vec<Arc<MemoryStore>>,
    pub limits: Limits,
    pub clock: Clock,
    /// Instead of one that applies events.
    pub ingest: Option<Arc<dyn Ingest>>,
    pub readiness: Readiness,
    pub partitions: Partition,
    pub curves: CurvesConfig,
    /// The facts of the shards are not read.
    pub is_opening: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            rules: rules(),
            stores: Vec::new(),
            apps: vec![settings("acme", ACME), settings("other", OTHER)],
            limits: Limits::default(),
            clock: Clock::Frozen(Timestamp::parse_rfc3339(NOW).unwrap()),
            ingest: None,
            readiness: Readiness::ready(),
            partitions: 2,
            curves: CurvesConfig { zones: ZonesKept::First, segments: BTreeMap::new() },
            is_opening: false,
        }
    }
}

/// The service.
pub struct Service {
    pub router: Router,
    pub metrics: Arc<Metrics>,
}

/// An answer, read whole and unpacked.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn app(id: &str, currency: &str, zones: &[&str]) -> (String, AppRules) {
    let rules = AppRules {
        id: id.to_owned(),
        reporting_currency: currency.parse().unwrap(),
        reporting_zones: zones.iter().map(|zone| zone.parse().unwrap()).collect(),
        zero_payments: ZeroPayments::Ignore,
        rates: RateTable::default(),
    };
    (id.to_owned(), rules)
}

fn rules() -> Arc<Rules> {
    let apps = [app("acme", "USD", &["UTC", "Europe/Berlin"]), app("other", "USD", &["UTC"])];
    let future_limit_micros = Rules::FUTURE_LIMIT_MICROS;
    Arc::new(Rules { apps: BTreeMap::from(apps), future_limit_micros })
}

impl Service {
    /// Starts it.
    pub fn new(setup: Setup) -> Self {
        let rules = Arc::clone(&setup.rules);
        let shards = Arc::new(Shards::default());
        for partition in 0..setup.partitions {
            let settings = (Arc::clone(&rules), setup.curves.clone());
            let known = setup.stores.get(usize::try_from(partition).unwrap());
            let store = known.cloned().unwrap_or_default();
            let shard = OpeningShard::new(store, partition, settings).unwrap();
            if setup.is_opening {
                shards.insert_opening(&[Arc::new(shard)]);
            } else {
                shards.insert(shard.load().unwrap());
            }
        }
        let metrics = Arc::new(Metrics::new().unwrap());
        let direct: Arc<dyn Ingest> = Arc::new(DirectIngest(Arc::clone(&shards)));
        let router = router(HttpState::new(HttpParts {
            shards,
            partitions: 2,
            rules,
            apps: setup.apps,
            api_keys: setup.api_keys,
            limits: setup.limits,
            clock: setup.clock,
            ingest: setup.ingest.unwrap_or(direct),
            metrics: Arc::clone(&metrics),
            readiness: setup.readiness,
            lag: Arc::new(|| BTreeMap::from([(0, 7)])),
        }));
        Self { router, metrics }
    }

    /// A service that has taken in these events, one a line.
    pub async fn with(events: &str) -> Self {
        Self::fed(Setup::default(), events).await
    }

    pub async fn fed(setup: Setup, events: &str) -> Self {
        let service = Self::new(setup);
        if events.is_empty() {
            return service;
        }
        let answer = service.post("application/x-ndjson", events.to_owned()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
        assert_eq!(answer.json()["refused"], 0, "{}", answer.text);
        service
    }

    /// Answers on a port of this machine for as long as the runtime lives; the address.
    pub async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = (self.router.clone(), Limits::default().request_timeout);
        tokio::spawn(serve(listener, router, std::future::pending()));
        format!("http://{address}")
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let is_gzip = parts.headers.get("content-encoding").is_some_and(|coding| coding == "gzip");
        let text = if is_gzip {
            std::io::read_to_string(flate2::read::GzDecoder::new(bytes.as_ref())).unwrap()
        } else {
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.send(Request::get(uri).body(Body::empty()).unwrap()).await
    }

    /// The body of an answer that must be 200.
    pub async fn ask(&self, uri: &str) -> Value {
        let answer = self.get(uri).await;
        assert_eq!(answer.status, StatusCode::OK, "{uri}: {}", answer.text);
        answer.json()
    }

    pub async fn post(&self, content_type: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post("/v1/events").header("content-type", content_type);
        self.send(request.body(body.into()).unwrap()).await
    }
}

/// Events from lines `customer kind time amount name=value…`: `-` is no amount, times are UTC,
/// the event's id is `customer/number`, and `app=` names another app than acme.
pub fn events(lines: &str) -> String {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.enumerate().map(|(number, line)| event(number, line) + "\n").collect()
}

fn event(number: usize, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [customer, kind, at, amount, more @ ..] = words.as_slice() else {
        panic!("not an event: {line}")
    };
    let at = if at.len() == 10 { format!("{at}T09:00:00Z") } else { format!("{at}:00Z") };
    let mut event = serde_json::json!({
        "event_id": format!("{customer}/{number}"), "app_id": "acme", "customer_id": customer,
        "kind": kind, "occurred_at": at,
    });
    if *amount != "-" {
        let (units, cents) = amount.split_once('.').unwrap_or((amount, "00"));
        let micros = |text: &str| text.parse::<i64>().unwrap();
        event["gross_micros"] = (micros(units) * 1_000_000 + micros(cents) * 10_000).into();
        event["currency"] = "USD".into();
    }
    for pair in more {
        let (name, value) = pair.split_once('=').unwrap();
        match name {
            "app" => event["app_id"] = value.into(),
            "tx" => event["transaction_id"] = value.into(),
            "chain" => event["original_transaction_id"] = value.into(),
            name if name.ends_with("_micros") => event[name] = value.parse::<i64>().unwrap().into(),
            name => event[name] = value.into(),
        }
    }
    event.to_string()
}

/// The worked example of Zenovay's interface.
pub fn zenovay() -> String {
    events(
        "A purchase 2026-01-05 10.00
         A purchase 2026-02-05 10.00
         A purchase 2026-03-05 10.00
         B purchase 2026-01-20 30.00 tx=b1
         B refund   2026-02-02  5.00 tx=b1
         C purchase 2026-02-28  7.00
         C purchase 2026-03-01  7.00",
    )
}

/// The worked example of Adapty's interface: commission 30 %, no tax.
pub fn adapty() -> String {
    events(
        "u1 install       2025-01-03 - country=US store=app_store
         u1 paywall_view  2025-01-03 -
         u1 trial_started 2025-01-03 - chain=s1 period=P1W product_id=monthly
         u1 purchase      2025-01-10 10.00 tx=s1-1 chain=s1 period=P1M product_id=monthly proceeds_micros=7000000
         u1 renewal       2025-02-10 10.00 tx=s1-2 chain=s1 period=P1M product_id=monthly proceeds_micros=7000000
         u1 refund        2025-02-20 10.00 tx=s1-2 proceeds_micros=7000000
         u2 install       2025-01-20 - country=GB store=app_store
         u2 paywall_view  2025-01-20 -
         u2 purchase      2025-01-21T10:00 10.00 tx=s2-1 chain=s2 period=P1M product_id=monthly proceeds_micros=7000000
         u2 renewal       2025-02-21T10:00 10.00 tx=s2-2 chain=s2 period=P1M product_id=monthly proceeds_micros=7000000
         u3 install       2025-01-25 - country=US store=app_store
         u4 install       2025-02-05 - country=US store=app_store
         u4 purchase      2025-02-05T10:00 60.00 tx=s4-1 chain=s4 period=P1Y product_id=annual proceeds_micros=42000000",
    )
}
