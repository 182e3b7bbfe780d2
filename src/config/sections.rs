//! The sections that say how the service runs: none of them changes a result.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::rules::{AppRules, Rules};

use super::section::Section;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const DAY_MS: u64 = 86_400_000;

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// `[service]`: address, folder, logs and limits of requests.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSettings {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub log_format: LogFormat,
    /// Directives of `tracing_subscriber::EnvFilter`, checked.
    pub log_filter: String,
    /// Longest request body, after decompression.
    pub max_body_bytes: usize,
    /// How far an event may lie after its record's timestamp; part of the rules.
    pub future_limit_seconds: u64,
    /// A request that takes longer is answered 503.
    pub request_timeout: Duration,
    /// Requests answered at the same time; further ones are answered 429.
    pub requests_in_flight_max: usize,
    /// Longest wait of a query for its `min_as_of`.
    pub min_as_of_wait: Duration,
    /// How long SIGTERM waits for requests; the last commit it waits for in any case.
    pub shutdown_timeout: Duration,
}

impl ServiceSettings {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        Self {
            listen: section.parsed(
                "listen",
                SocketAddr::from(([127, 0, 0, 1], 8080)),
                "an IP address and port such as 127.0.0.1:8080",
            ),
            data_dir: PathBuf::from(section.name("data_dir", "./data")),
            log_format: section.choice("log_format", LogFormat::Text, &formats),
            log_filter: read_log_filter(section),
            max_body_bytes: section.count("max_body_bytes", 64 << 20, KIB..=4 * GIB),
            future_limit_seconds: section.integer("future_limit_seconds", 86_400, 0..=31_536_000),
            request_timeout: section.millis("request_timeout_ms", 30_000, 100..=DAY_MS),
            requests_in_flight_max: section.count("requests_in_flight_max", 256, 1..=1_000_000),
            min_as_of_wait: section.millis("min_as_of_wait_ms", 5_000, 0..=DAY_MS),
            shutdown_timeout: section.millis("shutdown_timeout_ms", 30_000, 0..=DAY_MS),
        }
    }

    /// The rules of all apps together.
    pub(super) fn rules(&self, apps: Vec<AppRules>) -> Rules {
        let seconds = i64::try_from(self.future_limit_seconds).unwrap_or(i64::MAX);
        Rules {
            apps: apps.into_iter().map(|app| (app.id.clone(), app)).collect(),
            future_limit_micros: seconds.saturating_mul(1_000_000),
        }
    }
}

fn read_log_filter(section: &mut Section<'_>) -> String {
    let filter = section.name("log_filter", "info");
    if tracing_subscriber::EnvFilter::try_new(&filter).is_err() {
        section.refuse("log_filter", "filter directives such as info,ltvstream=debug", &filter);
    }
    filter
}

/// `[engine]`: when effects are written and how much memory they may take before.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineSettings {
    /// Longest time between two commits while events arrive.
    pub commit_interval: Duration,
    /// Most events in one commit.
    pub commit_events_max: usize,
    /// Memory for the whole process.
    pub memory_budget_bytes: u64,
}

impl EngineSettings {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            commit_interval: section.millis("commit_interval_ms", 1_000, 1..=600_000),
            commit_events_max: section.count("commit_events_max", 1_000_000, 1..=100_000_000),
            memory_budget_bytes: section.integer("memory_budget_bytes", GIB, 16 * MIB..=1024 * GIB),
        }
    }
}

/// `[snapshots]`: how often and at which ages cohorts are published.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotSettings {
    pub interval: Duration,
    /// Ages in calendar days, ascending.
    pub ages_days: Vec<u32>,
    /// Ages in calendar periods of the cohort's width, ascending.
    pub ages_periods: Vec<u32>,
}

impl SnapshotSettings {
    /// Oldest age in days: a hundred years.
    const AGE_DAYS_MAX: u32 = 36_525;
    /// Oldest age in periods: ten years of days.
    const AGE_PERIODS_MAX: u32 = 3_653;

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let days = vec![0, 1, 3, 7, 14, 30, 60, 90, 180, 365, 730];
        Self {
            interval: section.millis("interval_ms", 250, 10..=600_000),
            ages_days: section.integers("ages_days", days, Self::AGE_DAYS_MAX),
            ages_periods: section.integers(
                "ages_periods",
                (0..=24).collect(),
                Self::AGE_PERIODS_MAX,
            ),
        }
    }
}

/// `[store]`: memory and durability of RocksDB.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreSettings {
    /// Uncompressed blocks kept for reading, all shards together.
    pub block_cache_bytes: usize,
    /// Written data kept in memory before it goes to files, all shards together.
    pub write_buffer_bytes: usize,
    /// Each commit waits for the disk. Always true without Kafka, where no log stands behind.
    pub sync: bool,
}

impl StoreSettings {
    pub(super) fn read(section: &mut Section<'_>, embedded: bool) -> Self {
        let largest = 1024 * GIB;
        Self {
            block_cache_bytes: section.count("block_cache_bytes", 256 << 20, MIB..=largest),
            write_buffer_bytes: section.count("write_buffer_bytes", 128 << 20, MIB..=largest),
            sync: if embedded {
                section.always_true("sync")
            } else {
                section.boolean("sync", false)
            },
        }
    }
}
