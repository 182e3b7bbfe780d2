//! Builds, runs and stops the parts.
//!
//! The only module that knows all of them, and the only one that reads the clock: it hands out a
//! [`Clock`] to those that need one. Nothing is decided here that changes a figure.

mod signals;
mod stores;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use tracing::{error, info, warn};

use crate::codec::avro_event::WriterSchema;
use crate::codec::envelope::{EventFormat, Framing};
use crate::codec::event_codec::{BILLING_EVENT_V1_FINGERPRINT, EventCodec, EventEncoding};
use crate::codec::snapshot::{LTV_SNAPSHOT_V1, LTV_SNAPSHOT_V1_FINGERPRINT};
use crate::config::{Config, Mode};
use crate::domain::time::Timestamp;
use crate::http::{Clock, HttpParts, HttpState, Limits, Readiness};
use crate::kafka::{Forwarder, KafkaSettings, KafkaSink, KafkaSource, ensure_topics};
use crate::pipeline::decode::Decoder;
use crate::pipeline::embedded::{EmbeddedLog, PARTITION};
use crate::pipeline::feed::{CommitPace, FeedParts, warn_of_unconfigured_apps};
use crate::pipeline::forward::{EventWriter, KafkaIngest};
use crate::pipeline::publish::{Publisher, SnapshotPlan};
use crate::pipeline::{LoopSettings, Pipeline, PipelineError, Progress, ReadClock, SharedProgress};
use crate::state::Shards;
use crate::stream::registry::SchemaRegistry;
use crate::stream::{Ingest, Partition};
use crate::telemetry::Metrics;

pub use signals::Signals;
pub use stores::Stores;
use stores::durability;

/// How long requests that were given up may still hold up the end.
const LEFT_BEHIND: Duration = Duration::from_secs(1);
/// How often it is looked whether the service is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often gauges of the store are read.
const OBSERVE_EVERY: Duration = Duration::from_secs(5);

/// What the state of the embedded log is computed from.
const EMBEDDED_LOG: &str = "embedded";

type Worker = JoinHandle<Result<(), PipelineError>>;

/// What an operator asks of one start.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartOptions {
    /// The instant that questions take for now.
    pub now: Option<Timestamp>,
    pub accept_retention_gap: bool,
    /// Recompute figures whose rules have changed.
    pub rebuild: bool,
}

/// The running parts, HTTP aside.
pub struct Service {
    pub config: Arc<Config>,
    pub shards: Arc<Shards>,
    pub metrics: Arc<Metrics>,
    pub ingest: Arc<dyn Ingest>,
    pub clock: Clock,
    pub progress: SharedProgress,
    /// Of the input, whoever holds them.
    partitions: Partition,
    readiness: Readiness,
    stores: Arc<Stores>,
    stop: Arc<AtomicBool>,
    worker: Worker,
    /// Keeps other processes out of the data directory.
    _lock: std::fs::File,
}

impl Service {
    /// Starts the embedded log: events by HTTP and files.
    pub fn start_embedded(config: Config, options: StartOptions) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new()?);
        let (shards, progress) = (Arc::new(Shards::default()), Arc::new(Progress::default()));
        let stores = Stores::new(&config);
        let lock = stores.lock()?;
        if options.rebuild {
            stores.rebuild_all(&config)?;
        }
        let opening = stores.open_shard_of(PARTITION, EMBEDDED_LOG, &config)?;
        let shard = opening.load()?;
        warn_of_unconfigured_apps(&shard);
        let shard = shards.insert(shard);
        let parts = FeedParts {
            shards: Arc::clone(&shards),
            decoder: Decoder::new(EventCodec::new(EventFormat::Json)?, None),
            metrics: Arc::clone(&metrics),
            memory_budget_bytes: state_memory_budget(&config),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let clock = clock(options.now);
        let (log, worker) = EmbeddedLog::start(parts, shard, (arrival(), Arc::clone(&stop)))
            .context("can't start the embedded log")?;
        Ok(Self {
            config: Arc::new(config),
            shards,
            metrics,
            ingest: Arc::new(log),
            clock,
            progress,
            partitions: 1,
            readiness: Readiness::ready(),
            stores,
            stop,
            worker,
            _lock: lock,
        })
    }

    /// Joins the consumer group and starts the loop over the events topic.
    pub fn start_kafka(config: Config, options: StartOptions) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new()?);
        let (shards, progress) = (Arc::new(Shards::default()), Arc::new(Progress::default()));
        // Before the group is joined: a second start must not disturb the first.
        let stores = Stores::new(&config);
        let lock = stores.lock()?;
        let config = Arc::new(config);
        if options.rebuild {
            stores.rebuild_all(&config)?;
        }
        let log = format!("topic {}", config.kafka.events_topic);
        // Beside all that brokers are asked for until partitions are assigned.
        stores.open_ahead(&log, &config);
        let settings = kafka_settings(&config);
        let topics = ensure_topics(&settings)?;
        info!(partitions = topics.events_partitions, "topics are as they must be");
        let registry = registry(&config)?.map(Arc::new);
        let decoder = Decoder::new(event_codec(&config)?, registry.clone());
        let source = KafkaSource::new(&settings, &topics)?;
        let sink = KafkaSink::new(&settings, &topics, source.group())?;
        let parts = FeedParts {
            shards: Arc::clone(&shards),
            decoder,
            metrics: Arc::clone(&metrics),
            memory_budget_bytes: state_memory_budget(&config),
        };
        let framing = snapshot_framing(registry.as_deref(), &config)?;
        let partitions = usize::try_from(topics.events_partitions).unwrap_or(usize::MAX);
        let publisher =
            Publisher::new(SnapshotPlan::new(&config), framing, partitions, Arc::clone(&metrics));
        let open_shards = {
            let (stores, config) = (Arc::clone(&stores), Arc::clone(&config));
            let count = topics.events_partitions;
            Box::new(move |partitions: &[Partition]| {
                stores.open_shards(partitions, (&log, count), &config)
            })
        };
        let mut pipeline = Pipeline::new(
            (source, sink),
            (parts, publisher),
            (open_shards, Arc::clone(&progress)),
            LoopSettings {
                commit: commit_pace(&config),
                publish_interval: config.snapshots.interval,
                accept_retention_gap: options.accept_retention_gap,
                check_anchors: config.kafka.check_anchors,
            },
        )?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let writer = {
            let (config, registry) = (Arc::clone(&config), registry.clone());
            let find = move || {
                event_encoding(&config, registry.as_deref()).map_err(|error| format!("{error:#}"))
            };
            EventWriter::new(Forwarder::new(&settings)?, Box::new(find))
        };
        // Last: nobody would end it if something failed after it.
        let worker = std::thread::Builder::new()
            .name("pipeline".to_owned())
            .spawn(move || pipeline.run(&stopped))
            .context("can't start the pipeline")?;
        let rules = Arc::new(config.rules.clone());
        Ok(Self {
            config,
            shards,
            metrics,
            ingest: Arc::new(KafkaIngest::new(writer, rules, arrival())),
            clock: clock(options.now),
            progress,
            partitions: topics.events_partitions,
            readiness: Readiness::not_ready("no partition has been assigned yet"),
            stores,
            stop,
            worker,
            _lock: lock,
        })
    }

    /// What the HTTP API needs.
    pub fn http_state(&self) -> HttpState {
        let progress = Arc::clone(&self.progress);
        HttpState::new(HttpParts {
            shards: Arc::clone(&self.shards),
            partitions: self.partitions,
            rules: Arc::new(self.config.rules.clone()),
            apps: self.config.apps.clone(),
            api_keys: self.config.api_keys.clone(),
            limits: Limits::from(&self.config.service),
            clock: self.clock,
            ingest: Arc::clone(&self.ingest),
            metrics: Arc::clone(&self.metrics),
            readiness: self.readiness.clone(),
            lag: Arc::new(move || progress.lag()),
        })
    }

    /// Answers over HTTP until one of the signals or the end of the loop; then drains and commits.
    pub fn run(self, listener: std::net::TcpListener, signals: &Signals) -> anyhow::Result<()> {
        signals.start_is_over();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let state = self.http_state();
        let address: SocketAddr = listener.local_addr()?;
        info!(%address, "listening");
        runtime.block_on(async {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let stopped = Arc::new(tokio::sync::Notify::new());
            let shutdown = Arc::clone(&stopped);
            let answering_max = self.config.service.request_timeout;
            let router = (crate::http::router(state), answering_max);
            let served = crate::http::serve(listener, router, async move {
                shutdown.notified().await;
            });
            let mut served = tokio::spawn(served);
            tokio::select! {
                ended = &mut served => return ended.map_err(std::io::Error::other)?,
                () = self.until_stopped(signals) => stopped.notify_one(),
            }
            // A client that never finishes must not hold up the drain.
            let patience = self.config.service.shutdown_timeout;
            match tokio::time::timeout(patience, &mut served).await {
                Ok(ended) => ended.map_err(std::io::Error::other)?,
                Err(_) => {
                    warn!("requests did not end in time, stopping without them");
                    Ok(())
                }
            }
        })?;
        self.stop.store(true, Ordering::Relaxed);
        // Requests that still wait for an answer must not hold the drain up.
        runtime.shutdown_timeout(LEFT_BEHIND);
        self.stop()
    }

    /// Returns when a signal comes or the loop has ended; keeps gauges fresh meanwhile.
    async fn until_stopped(&self, signals: &Signals) {
        let mut observed_at = tokio::time::Instant::now() - OBSERVE_EVERY;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if signals.have_come() {
                info!("stopping: draining and committing");
                return;
            }
            if self.worker.is_finished() {
                error!("the pipeline has ended, stopping");
                return;
            }
            self.judge_readiness();
            if observed_at.elapsed() >= OBSERVE_EVERY {
                observed_at = tokio::time::Instant::now();
                self.stores.observe(&self.metrics);
            }
            let newest_event_at = self.metrics.newest_event_timestamp.get();
            if newest_event_at > 0.0 {
                let now = self.clock.now().0 as f64 / 1e6;
                self.metrics.data_age.set((now - newest_event_at).max(0.0));
            }
        }
    }

    fn judge_readiness(&self) {
        let is_lag_known = self.config.mode == Mode::Embedded
            || !self.progress.lag().is_empty()
            || self.progress.is_any_lost();
        if self.shards.count() == 0 {
            self.readiness.set_not_ready("no partition has been assigned yet");
        } else if self.shards.all().is_empty() {
            self.readiness.set_not_ready("facts are being read");
        } else if !is_lag_known {
            self.readiness.set_not_ready("it is not known yet how far the state is behind");
        } else {
            self.readiness.set_ready();
        }
    }

    /// Stops the loop and waits until everything is committed.
    pub fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.worker.join() {
            Ok(ended) => ended.context("the pipeline failed"),
            Err(_) => anyhow::bail!("the pipeline panicked"),
        }
    }
}

/// Writes events to the events topic, as the settings say.
pub fn event_writer(config: &Config) -> anyhow::Result<EventWriter> {
    let settings = kafka_settings(config);
    ensure_topics(&settings)?;
    // Before the first event is read.
    let encoding = event_encoding(config, registry(config)?.as_ref())?;
    Ok(EventWriter::new(Forwarder::new(&settings)?, Box::new(move || Ok(encoding))))
}

/// Ingest into the events topic without the loop behind it.
pub fn kafka_ingest(config: &Config) -> anyhow::Result<KafkaIngest> {
    let rules = Arc::new(config.rules.clone());
    Ok(KafkaIngest::new(event_writer(config)?, rules, arrival()))
}

/// The clock of what arrives: the machine's, even where questions see a frozen one.
fn arrival() -> ReadClock {
    Arc::new(|| Clock::System.now())
}

fn clock(now: Option<Timestamp>) -> Clock {
    now.map_or(Clock::System, Clock::Frozen)
}

/// When events are committed.
pub(crate) fn commit_pace(config: &Config) -> CommitPace {
    let engine = &config.engine;
    CommitPace {
        interval: engine.commit_interval,
        events_max: engine.commit_events_max,
        durability: durability(config),
    }
}

/// What the memory budget of the process leaves to customers and facts: what RocksDB and records fetched
/// ahead may take is taken from it, and an eighth for the allocator and everything small; at most half of
/// it all together, so that a budget too small for the store's settings is exceeded.
pub(crate) fn state_memory_budget(config: &Config) -> usize {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let budget = bytes(config.engine.memory_budget_bytes);
    let prefetch = bytes(config.kafka.prefetch_kbytes.saturating_mul(1024));
    let store = config.store.block_cache_bytes.saturating_add(config.store.write_buffer_bytes);
    let others = store.saturating_add(prefetch).saturating_add(budget / 8);
    budget.saturating_sub(others).max(budget / 2)
}

/// The Kafka part of the settings, as the adapter wants it.
pub fn kafka_settings(config: &Config) -> KafkaSettings {
    let kafka = &config.kafka;
    KafkaSettings {
        bootstrap_servers: kafka.bootstrap_servers.clone(),
        group_id: kafka.group_id.clone(),
        transactional_id_prefix: kafka.transactional_id_prefix.clone(),
        events_topic: kafka.events_topic.clone(),
        snapshots_topic: kafka.snapshots_topic.clone(),
        dead_letters_topic: kafka.dead_letters_topic.clone(),
        properties: kafka.properties.0.clone(),
        prefetch_kbytes: u32::try_from(kafka.prefetch_kbytes).unwrap_or(u32::MAX),
        consumption: kafka.consumption,
        create_topics: kafka.topics.create,
        events_partitions: i32::from(kafka.topics.events_partitions),
        snapshots_partitions: i32::from(kafka.topics.snapshots_partitions),
        dead_letters_partitions: i32::from(kafka.topics.dead_letters_partitions),
        replication_factor: kafka.topics.replication_factor.map_or(-1, i32::from),
    }
}

fn registry(config: &Config) -> anyhow::Result<Option<SchemaRegistry>> {
    let Some(registry) = &config.kafka.schema_registry else {
        return Ok(None);
    };
    let login = registry.login.as_ref().map(|(user, password)| (user.as_str(), password.expose()));
    Ok(Some(SchemaRegistry::new(&registry.url, login)?))
}

fn event_codec(config: &Config) -> anyhow::Result<EventCodec> {
    let mut codec = EventCodec::new(config.kafka.event_format)?;
    if let Some(schema) = &config.kafka.avro_schema {
        codec.set_bare_schema(&schema.text).with_context(|| schema.path.display().to_string())?;
    }
    for schema in &config.kafka.avro_schemas {
        codec.add_schema(&schema.text).with_context(|| schema.path.display().to_string())?;
    }
    Ok(codec)
}

/// Bare Avro is read by one schema, and that is not the one by which events are written.
#[derive(Debug, thiserror::Error)]
#[error(
    "events are written by the schema billing_event.v1, and kafka.avro_schema_file ({path}) would read them as \
     something else; produce them otherwise, or use a format that names the schema of each record",
    path = .0.display()
)]
pub struct OtherLayout(pub PathBuf);

/// How events that come by HTTP are written to the events topic.
pub fn event_encoding(
    config: &Config,
    registry: Option<&SchemaRegistry>,
) -> anyhow::Result<EventEncoding> {
    Ok(match config.kafka.event_format {
        EventFormat::Json => EventEncoding::Json,
        EventFormat::AvroBare => {
            if let Some(schema) = &config.kafka.avro_schema
                && !WriterSchema::parse(&schema.text)?.reads_what_is_encoded()
            {
                return Err(OtherLayout(schema.path.clone()).into());
            }
            EventEncoding::Avro(Framing::Bare)
        }
        EventFormat::AvroSingleObject => {
            EventEncoding::Avro(Framing::SingleObject(BILLING_EVENT_V1_FINGERPRINT))
        }
        EventFormat::AvroRegistry => {
            let registry = registry.context("kafka.event_format avro-registry needs a registry")?;
            let subject = format!("{}-value", config.kafka.events_topic);
            let id = registry.register(&subject, crate::codec::avro_event::BILLING_EVENT_V1)?;
            EventEncoding::Avro(Framing::Registry(id))
        }
    })
}

fn snapshot_framing(registry: Option<&SchemaRegistry>, config: &Config) -> anyhow::Result<Framing> {
    Ok(match registry {
        Some(registry) => {
            let subject = format!("{}-value", config.kafka.snapshots_topic);
            Framing::Registry(registry.register(&subject, LTV_SNAPSHOT_V1)?)
        }
        None => Framing::SingleObject(LTV_SNAPSHOT_V1_FINGERPRINT),
    })
}
