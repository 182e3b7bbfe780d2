//! What an event costs, stage by stage.
//!
//! A ladder: the same topic is read from its beginning by ever more of the service, each rung in a
//! consumer group of its own. What a stage costs is the difference of two rungs. CPU time counts,
//! of all threads of the process, since other programs share the machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::codec::envelope::EventFormat;
use crate::codec::envelope::Framing;
use crate::codec::event_codec::{EventCodec, EventEncoding};
use crate::codec::snapshot::LTV_SNAPSHOT_V1_FINGERPRINT;
use crate::config::Config;
use crate::generator::Generator;
use crate::kafka::{Forwarder, KafkaSettings, KafkaSink, KafkaSource, Topics, ensure_topics};
use crate::pipeline::decode::Decoder;
use crate::pipeline::feed::{Feed, FeedParts};
use crate::pipeline::forward::EventWriter;
use crate::pipeline::publish::{Publisher, SnapshotPlan};
use crate::pipeline::{LoopSettings, Pipeline, Progress};
use crate::service::{Stores, commit_pace, state_memory_budget};
use crate::state::Shards;
use crate::store::Durability;
use crate::stream::{Partition, Polled, Record, Source};
use crate::telemetry::Metrics;

use super::cpu::{MachineCpu, process_cpu};
use super::report::{Ladder, Memory, Rung};

/// Records handed over by one poll.
const POLL_RECORDS_MAX: usize = 10_000;
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// What the rungs share.
struct Bench {
    config: Config,
    settings: KafkaSettings,
    topics: Topics,
    events: u64,
}

/// Preloads the events of `generator` into a new topic and climbs the ladder over it.
pub fn measure(
    config: Config,
    settings: KafkaSettings,
    generator: Generator,
    events: u64,
) -> anyhow::Result<Ladder> {
    let topics = ensure_topics(&settings)?;
    preload(&settings, generator, events)?;
    let mut bench = Bench { config, settings, topics, events };
    // The first to fill memory pays for taking it from the system, which is nobody's stage.
    bench.apply("warm", false)?;
    let mut rungs = vec![
        bench.read("consume", |_| Ok(()))?,
        bench.decode()?,
        bench.apply("apply", false)?,
        bench.apply("commit", true)?,
    ];
    let (whole, memory) = bench.whole()?;
    rungs.push(whole);
    Ok(Ladder { rungs, memory, open_again_seconds: bench.open_again()? })
}

fn preload(settings: &KafkaSettings, generator: Generator, events: u64) -> anyhow::Result<()> {
    let writer =
        EventWriter::new(Forwarder::new(settings)?, Box::new(|| Ok(EventEncoding::SINGLE_OBJECT)));
    writer.send_all(generator.take(usize::try_from(events)?))?;
    Ok(())
}

/// When a rung was begun.
struct Begun {
    at: Instant,
    cpu: Duration,
    machine: MachineCpu,
}

impl Begun {
    fn now() -> anyhow::Result<Self> {
        Ok(Self { at: Instant::now(), cpu: process_cpu()?, machine: MachineCpu::now()? })
    }
}

impl Bench {
    /// Reads the whole topic in a new group and hands all records to `visit`.
    fn read(
        &mut self,
        stage: &'static str,
        mut visit: impl FnMut(&[Record<'_>]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Rung> {
        self.settings.group_id = format!("{}-{stage}", self.settings.events_topic);
        let mut source = KafkaSource::new(&self.settings, &self.topics)?;
        let (mut read, mut failure) = (0, None);
        let mut begun: Option<Begun> = None;
        while read < self.events {
            let polled = source.poll(POLL_TIMEOUT, POLL_RECORDS_MAX, &mut |batch| {
                if failure.is_none() {
                    failure = visit(&batch.records()).err();
                }
            })?;
            if let Some(failure) = failure {
                return Err(failure);
            }
            match polled {
                Polled::Records(count) => read += u64::try_from(count)?,
                Polled::Assigned(partitions) => {
                    let starts: Vec<_> = partitions.into_iter().map(|p| (p, None)).collect();
                    begun = Some(Begun::now()?);
                    source.start(&starts)?;
                }
                Polled::Revoked(partitions) | Polled::Lost(partitions) => {
                    source.release(&partitions)?;
                }
            }
        }
        self.rung(stage, begun.context("no partition was assigned")?)
    }

    fn rung(&self, stage: &'static str, begun: Begun) -> anyhow::Result<Rung> {
        let cpu = process_cpu()? - begun.cpu;
        Ok(Rung {
            stage,
            cpu_micros: cpu.as_secs_f64() * 1e6 / self.events as f64,
            wall_seconds: begun.at.elapsed().as_secs_f64(),
            stolen_percent: MachineCpu::now()?.stolen_percent_since(begun.machine),
        })
    }

    fn decode(&mut self) -> anyhow::Result<Rung> {
        let mut decoder = decoder()?;
        self.read("decode", |records| {
            for record in records {
                // Nothing may be refused; the compiler may not skip the work either.
                decoder
                    .decode(record.value)?
                    .map_err(|refused| anyhow::anyhow!(refused.message))?;
            }
            Ok(())
        })
    }

    /// Reads, decodes and applies; with commits every interval, or without any.
    fn apply(&mut self, name: &'static str, commits: bool) -> anyhow::Result<Rung> {
        let mut config = self.config.clone();
        config.service.data_dir = config.service.data_dir.join(name);
        let stores = Stores::new(&config);
        let parts = feed_parts(&config)?;
        let mut feeds = BTreeMap::new();
        for partition in 0..self.topics.events_partitions {
            let shard = parts.shards.insert(stores.open_shard(partition, &config)?);
            feeds.insert(partition, Feed::new(parts.clone(), shard)?);
        }
        let pace = commit_pace(&config);
        self.read(name, |records| {
            let partition = records.first().map_or(0, |first| first.partition);
            let feed = feeds.get_mut(&partition).context("a record of an unknown partition")?;
            feed.take(records)?;
            if commits && feed.is_commit_due(&pace, true) {
                feed.commit(Durability::Process)?;
            }
            Ok(())
        })
    }

    /// The whole service, as `serve` runs it; returns what it takes of memory.
    fn whole(&mut self) -> anyhow::Result<(Rung, Memory)> {
        self.settings.group_id = format!("{}-publish", self.settings.events_topic);
        let config = self.config.clone();
        let parts = feed_parts(&config)?;
        let (metrics, shards) = (Arc::clone(&parts.metrics), Arc::clone(&parts.shards));
        let source = KafkaSource::new(&self.settings, &self.topics)?;
        let sink = KafkaSink::new(&self.settings, &self.topics, source.group())?;
        let framing = Framing::SingleObject(LTV_SNAPSHOT_V1_FINGERPRINT);
        let partitions = usize::try_from(self.topics.events_partitions)?;
        let publisher = Publisher::new(SnapshotPlan::new(&config), framing, partitions, metrics);
        let stores = Stores::new(&config);
        let settings = LoopSettings {
            commit: commit_pace(&config),
            publish_interval: config.snapshots.interval,
            accept_retention_gap: false,
            check_anchors: true,
        };
        let opening = config.clone();
        let open_shards = Box::new(move |partitions: &[Partition]| {
            partitions.iter().map(|partition| stores.begin_shard(*partition, &opening)).collect()
        });
        let mut pipeline = Pipeline::new(
            (source, sink),
            (parts, publisher),
            (open_shards, Arc::new(Progress::default())),
            settings,
        )?;
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Begun::now()?;
        while records(&shards) < self.events {
            pipeline.turn()?;
        }
        stop.store(true, Ordering::Relaxed);
        pipeline.run(&stop)?;
        Ok((self.rung("publish", begun)?, memory(&shards)))
    }

    /// How many seconds the state takes to open, after which questions are answered.
    fn open_again(&self) -> anyhow::Result<f64> {
        let begun_at = Instant::now();
        let stores = Stores::new(&self.config);
        for partition in 0..self.topics.events_partitions {
            stores.open_shard(partition, &self.config)?;
        }
        Ok(begun_at.elapsed().as_secs_f64())
    }
}

fn decoder() -> anyhow::Result<Decoder> {
    Ok(Decoder::new(EventCodec::new(EventFormat::AvroSingleObject)?, None))
}

fn feed_parts(config: &Config) -> anyhow::Result<FeedParts> {
    Ok(FeedParts {
        shards: Arc::new(Shards::default()),
        decoder: decoder()?,
        metrics: Arc::new(Metrics::new()?),
        memory_budget_bytes: state_memory_budget(config),
    })
}

fn records(shards: &Shards) -> u64 {
    shards.all().iter().map(|shard| shard.read().position.records).sum()
}

fn memory(shards: &Shards) -> Memory {
    let (mut customers, mut held, mut facts, mut fixed) = (0, 0, 0, 0);
    for shard in shards.all() {
        let shard = &shard.read().shard;
        customers += shard.customer_count();
        held += shard.customer_memory_bytes() + shard.spare_memory_bytes();
        facts += shard.facts.len();
        fixed += shard.fixed_memory_bytes();
    }
    Memory {
        customers,
        bytes_per_customer: held as f64 / (customers.max(1)) as f64,
        facts,
        bytes_per_fact: fixed as f64 / (facts.max(1)) as f64,
    }
}
