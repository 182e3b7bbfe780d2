//! Logs and metrics: one struct of Prometheus metrics, passed in where it is counted.
//!
//! There is no global registry: two services in one test do not see each other's counts. Every
//! name starts with `ltvstream_` and ends in its unit or in `_total`, except plain counts (see
//! [`PLAIN_COUNTS`]); metrics of the process have the names every exporter gives them.

use std::io;
use std::sync::OnceLock;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Metrics that count things which are there now, so that no unit fits their names.
pub const PLAIN_COUNTS: [&str; 5] = [
    "ltvstream_customers",
    "ltvstream_facts",
    "ltvstream_lag_records",
    "ltvstream_next_offset",
    "ltvstream_suspended_events",
];

/// Buckets of durations: from a tenth of a millisecond to a minute.
const SECONDS: [f64; 17] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 15.0, 60.0,
];

/// Everything that is counted, measured or shown to Prometheus.
///
/// Cheap to clone: all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    pub records: IntCounter,
    pub events_accepted: IntCounter,
    pub events_repeated: IntCounter,
    /// By `reason`, the code of the refusal.
    pub events_refused: IntCounterVec,
    /// By `partition`.
    pub lag_records: IntGaugeVec,
    /// By `partition`.
    pub next_offset: IntGaugeVec,
    pub commit_duration: Histogram,
    pub commit_events: IntCounter,
    pub publish_duration: Histogram,
    pub snapshots_published: IntCounter,
    pub publish_failures: IntCounter,
    pub data_age: Gauge,
    pub newest_event_timestamp: Gauge,
    pub customers: IntGauge,
    pub facts: IntGauge,
    /// By `reason`.
    pub suspended_events: IntGaugeVec,
    pub memory_budget: IntGauge,
    pub memory_used: IntGauge,
    /// By `route` (the pattern, never the path) and `status`.
    pub http_requests: IntCounterVec,
    /// By `route`.
    pub http_request_duration: HistogramVec,
    pub rocksdb_memtable: IntGauge,
    pub rocksdb_block_cache: IntGauge,
    pub rocksdb_sst: IntGauge,
    pub rocksdb_pending_compaction: IntGauge,
}

impl Metrics {
    /// All metrics at zero, in a registry of their own.
    ///
    /// # Errors
    /// Never with the names below; registering one name twice would fail.
    pub fn new() -> Result<Self, prometheus::Error> {
        let r = Registrar(Registry::new());
        r.0.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self {
            records: r.counter("records_total", "Records read, whatever became of them.")?,
            events_accepted: r.counter(
                "events_accepted_total",
                "Events that are in a ledger for the first time.",
            )?,
            events_repeated: r
                .counter("events_repeated_total", "Events dropped as equal to an accepted one.")?,
            events_refused: r.counters(
                "events_refused_total",
                "Records set aside as dead letters, by reason.",
                &["reason"],
            )?,
            lag_records: r.gauges(
                "lag_records",
                "Records of the partition that are not in the state yet.",
                &["partition"],
            )?,
            next_offset: r.gauges(
                "next_offset",
                "First offset of the partition that is not in the state yet.",
                &["partition"],
            )?,
            commit_duration: r.histogram("commit_duration_seconds", "Time to write one commit.")?,
            commit_events: r.counter("commit_events_total", "Records whose effects commits have taken.")?,
            publish_duration: r.histogram(
                "publish_duration_seconds",
                "Time to publish the changed snapshots of one tick.",
            )?,
            snapshots_published: r.counter("snapshots_published_total", "Snapshots published.")?,
            publish_failures: r.counter(
                "publish_failures_total",
                "Publishing transactions that failed or whose outcome is unknown.",
            )?,
            data_age: {
                let help = "Age of the newest event in the state, the sandbox aside; grows while no events come. NaN while there is none.";
                let data_age = r.gauge_f64("data_age_seconds", help)?;
                data_age.set(f64::NAN);
                data_age
            },
            newest_event_timestamp: r.gauge_f64(
                "newest_event_timestamp_seconds",
                "Event time of the newest accepted event, the sandbox aside, since 1970.",
            )?,
            customers: r.gauge("customers", "Customers with a ledger.")?,
            facts: r.gauge("facts", "Additive fact rows.")?,
            suspended_events: r.gauges(
                "suspended_events",
                "Accepted events without effect for now, by reason.",
                &["reason"],
            )?,
            memory_budget: r.gauge(
                "memory_budget_bytes",
                "Memory that customers, facts and kept answers may take: what engine.memory_budget_bytes \
                 leaves them.",
            )?,
            memory_used: r.gauge(
                "memory_used_bytes",
                "Memory that customers, facts and kept answers take.",
            )?,
            http_requests: r.counters(
                "http_requests_total",
                "HTTP requests answered, by route and status.",
                &["route", "status"],
            )?,
            http_request_duration: r.histograms(
                "http_request_duration_seconds",
                "Time to answer an HTTP request, by route.",
                &["route"],
            )?,
            rocksdb_memtable: r
                .gauge("rocksdb_memtable_bytes", "Written data that RocksDB holds in memory.")?,
            rocksdb_block_cache: r
                .gauge("rocksdb_block_cache_bytes", "Blocks that RocksDB holds for reading.")?,
            rocksdb_sst: r.gauge("rocksdb_sst_bytes", "Live table files of RocksDB.")?,
            rocksdb_pending_compaction: r.gauge(
                "rocksdb_pending_compaction_bytes",
                "Estimate of what RocksDB has to rewrite to be in shape.",
            )?,
            registry: r.0,
        })
    }

    /// Where a partition goes on as of what is stored.
    pub fn set_next_offset(&self, partition: i32, next_offset: i64) {
        self.next_offset.with_label_values(&[&partition.to_string()]).set(next_offset);
    }

    /// Where a partition goes on and how far it is behind is not told any more: nobody here reads it.
    pub fn forget_partition(&self, partition: i32) {
        let partition = partition.to_string();
        for gauges in [&self.lag_records, &self.next_offset] {
            // There is none of a partition of which that was never known.
            let _ = gauges.remove_label_values(&[&partition]);
        }
    }

    /// All metrics in the text format of Prometheus.
    ///
    /// # Errors
    /// When a metric cannot be written as text, which no metric here gives a reason for.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Makes metrics and registers them in one step, so that none is forgotten.
struct Registrar(Registry);

type Registered<T> = Result<T, prometheus::Error>;

impl Registrar {
    fn add<T: Collector + Clone + 'static>(&self, metric: T) -> Registered<T> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(name, help).namespace("ltvstream")
    }

    fn buckets(name: &str, help: &str) -> HistogramOpts {
        HistogramOpts::from(Self::opts(name, help)).buckets(SECONDS.to_vec())
    }

    fn counter(&self, name: &str, help: &str) -> Registered<IntCounter> {
        self.add(IntCounter::with_opts(Self::opts(name, help))?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Registered<IntCounterVec> {
        self.add(IntCounterVec::new(Self::opts(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Registered<IntGauge> {
        self.add(IntGauge::with_opts(Self::opts(name, help))?)
    }

    fn gauge_f64(&self, name: &str, help: &str) -> Registered<Gauge> {
        self.add(Gauge::with_opts(Self::opts(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Registered<IntGaugeVec> {
        self.add(IntGaugeVec::new(Self::opts(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str) -> Registered<Histogram> {
        self.add(Histogram::with_opts(Self::buckets(name, help))?)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> Registered<HistogramVec> {
        self.add(HistogramVec::new(Self::buckets(name, help), labels)?)
    }
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("the log filter \"{filter}\" is wrong: {source}")]
    Filter { filter: String, source: tracing_subscriber::filter::ParseError },
    #[error("logging was started before")]
    Started,
}

/// How logs are written; none before [`start_logging`].
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// How logs are written since they are.
pub fn log_format() -> Option<LogFormat> {
    FORMAT.get().copied()
}

/// Sends logs to standard error from here on.
///
/// # Errors
/// [`LoggingError::Filter`] for a wrong filter, [`LoggingError::Started`] at a second call.
pub fn start_logging(format: LogFormat, filter: &str) -> Result<(), LoggingError> {
    let wrong = |source| LoggingError::Filter { filter: filter.to_owned(), source };
    let directives = EnvFilter::try_new(filter).map_err(wrong)?;
    let logs = tracing_subscriber::fmt().with_env_filter(directives).with_writer(io::stderr);
    // Else a line that can't be written is told on standard error, in vain again, which ends the thread.
    let logs = logs.log_internal_errors(false);
    let started = match format {
        LogFormat::Text => logs.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    started.map_err(|_| LoggingError::Started)?;
    FORMAT.set(format).map_err(|_| LoggingError::Started)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A registry in which every metric has at least one series.
    fn metrics() -> Metrics {
        let metrics = Metrics::new().unwrap();
        metrics.events_refused.with_label_values(&["missing_currency"]).inc();
        metrics.suspended_events.with_label_values(&["payment_missing"]).set(1);
        metrics.lag_records.with_label_values(&["0"]).set(3);
        metrics.next_offset.with_label_values(&["0"]).set(4);
        metrics.http_requests.with_label_values(&["/healthz", "200"]).inc();
        metrics.http_request_duration.with_label_values(&["/healthz"]).observe(0.01);
        metrics
    }

    #[test]
    fn every_name_ends_in_a_unit_or_is_a_known_plain_count() {
        let (mut seen, mut plain) = (0, 0);
        for family in metrics().registry.gather() {
            let name = family.name();
            assert!(!family.help().is_empty(), "{name} has no help");
            if name.starts_with("process_") {
                continue;
            }
            seen += 1;
            assert!(name.starts_with("ltvstream_"), "{name}");
            let counter = family.get_field_type() == prometheus::proto::MetricType::COUNTER;
            assert_eq!(name.ends_with("_total"), counter, "{name}");
            if PLAIN_COUNTS.contains(&name) {
                plain += 1;
            } else {
                let ends = ["_total", "_seconds", "_bytes"];
                assert!(ends.iter().any(|end| name.ends_with(end)), "{name}");
            }
        }
        assert_eq!((seen, plain), (24, PLAIN_COUNTS.len()));
    }

    #[test]
    fn the_text_shows_what_was_counted() {
        let text = metrics().encode().unwrap();
        for line in [
            "ltvstream_events_refused_total{reason=\"missing_currency\"} 1",
            "ltvstream_lag_records{partition=\"0\"} 3",
            "ltvstream_http_requests_total{route=\"/healthz\",status=\"200\"} 1",
            "ltvstream_records_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.contains("\nprocess_resident_memory_bytes "));
    }

    #[test]
    fn nothing_is_told_of_a_partition_that_is_read_elsewhere() {
        let metrics = metrics();
        metrics.next_offset.with_label_values(&["1"]).set(5);
        metrics.forget_partition(0);
        // One of which nothing was known.
        metrics.forget_partition(7);
        let text = metrics.encode().unwrap();
        assert!(!text.contains("partition=\"0\""), "{text}");
        assert!(text.contains("ltvstream_next_offset{partition=\"1\"} 5"), "{text}");
    }
}
