//! `ltvstream bench`: how fast the whole service is.
//!
//! A ladder: the same topic is read from its beginning by ever more of the service, each rung in a
//! consumer group of its own. What a stage costs is the difference of two rungs. CPU time counts,
//! of all threads of the process, since other programs share the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::codec::envelope::EventFormat;
use crate::codec::envelope::Framing;
use crate::codec::event_codec::{EventCodec, EventEncoding};
use crate::codec::snapshot::LTV_SNAPSHOT_V1_FINGERPRINT;
use crate::config::{Config, Mode};
use crate::generator::{Generator, GeneratorSettings};
use crate::kafka::{Forwarder, KafkaSettings, KafkaSink, KafkaSource, Topics, ensure_topics};
use crate::pipeline::decode::Decoder;
use crate::pipeline::feed::Feed;
use crate::pipeline::forward::KafkaIngest;
use crate::pipeline::publish::{Publisher, SnapshotPlan};
use crate::pipeline::{LoopSettings, Pipeline, Progress};
use crate::service::{Stores, kafka_settings};
use crate::state::Shards;
use crate::store::Durability;
use crate::stream::{Partition, Polled, Record, Source};
use crate::telemetry::Metrics;

use super::{CliError, ConfigArgs, Exit, Globals, print};

/// Records handed over by one poll.
const POLL_RECORDS_MAX: usize = 10_000;
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// The generator's business has about this many events per customer in two years.
const EVENTS_PER_CUSTOMER: u64 = 4;

/// Measure the whole service: preload events into a new topic, then time until caught up
///
/// Prints CPU microseconds per event by stage, memory per customer, and the time to open the
/// state again. Topics it makes stay behind under their names.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Events to preload
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    pub events: u64,
    /// Customers the events belong to [default: a quarter of the events]
    #[arg(long, value_name = "N")]
    pub customers: Option<u32>,
    /// Partitions of the topic
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub partitions: u16,
    /// Seed of the events
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

/// Runs the measurement and prints its table.
///
/// # Errors
/// [`CliError::Dependency`] when Kafka or the store fails.
pub fn run(args: &Args, globals: &Globals) -> Result<Exit, CliError> {
    globals.start_logging(None)?;
    let config = args.config.load(Mode::Kafka)?;
    let text = measure(args, config).map_err(CliError::Dependency)?;
    print(&text)?;
    Ok(Exit::Done)
}

/// One rung of the ladder.
struct Rung {
    name: &'static str,
    cpu_micros: f64,
    wall_seconds: f64,
}

/// What the rungs share.
struct Bench {
    config: Config,
    settings: KafkaSettings,
    topics: Topics,
    events: u64,
}

fn measure(args: &Args, mut config: Config) -> anyhow::Result<String> {
    let dir = tempfile::tempdir()?;
    config.service.data_dir = dir.path().to_owned();
    let mut settings = kafka_settings(&config);
    let name = format!("ltvstream-bench-{}", std::process::id());
    settings.events_topic = format!("{name}-events");
    settings.snapshots_topic = format!("{name}-snapshots");
    settings.dead_letters_topic = format!("{name}-dlq");
    settings.new_topic_partitions = i32::from(args.partitions);
    let topics = ensure_topics(&settings)?;
    let events = preload(args, &config, &settings)?;
    print(&format!("{events} events preloaded into {}\n", settings.events_topic))?;
    let mut bench = Bench { config, settings, topics, events };
    let rungs = [
        bench.read("consume", |_| Ok(()))?,
        bench.decode()?,
        bench.apply("apply", false)?,
        bench.apply("commit", true)?,
    ];
    let (full, memory) = bench.whole()?;
    let opened = bench.open_again()?;
    Ok(table(&rungs, &full, events, &format!("{memory}{opened}")))
}

fn preload(args: &Args, config: &Config, settings: &KafkaSettings) -> anyhow::Result<u64> {
    let customers = args.events.div_ceil(EVENTS_PER_CUSTOMER);
    let generator = Generator::new(&GeneratorSettings {
        app_id: config.apps[0].id.clone(),
        customers: args.customers.unwrap_or(u32::try_from(customers).unwrap_or(u32::MAX)),
        seed: args.seed,
        open_ended: true,
        ..GeneratorSettings::default()
    })?;
    let ingest = KafkaIngest::new(Forwarder::new(settings)?, EventEncoding::SINGLE_OBJECT);
    let count = usize::try_from(args.events)?;
    for event in generator.take(count) {
        // The flush tells whether all of them arrived.
        drop(ingest.send(&event)?);
    }
    ingest.flush()?;
    Ok(args.events)
}

impl Bench {
    /// Reads the whole topic in a new group and hands every record to `visit`.
    fn read(
        &mut self,
        name: &'static str,
        mut visit: impl FnMut(&Record<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Rung> {
        self.settings.group_id = format!("{}-{name}", self.settings.events_topic);
        let mut source = KafkaSource::new(&self.settings, &self.topics)?;
        let (mut read, mut failure) = (0, None);
        let mut begun: Option<(f64, Instant)> = None;
        while read < self.events {
            let polled = source.poll(POLL_TIMEOUT, POLL_RECORDS_MAX, &mut |record| {
                if failure.is_none() {
                    failure = visit(&record).err();
                }
            })?;
            if let Some(failure) = failure {
                return Err(failure);
            }
            match polled {
                Polled::Records(count) => read += u64::try_from(count)?,
                Polled::Assigned(partitions) => {
                    let starts: Vec<_> = partitions.into_iter().map(|p| (p, None)).collect();
                    begun = Some((cpu_seconds()?, Instant::now()));
                    source.start(&starts)?;
                }
                Polled::Revoked(partitions) | Polled::Lost(partitions) => {
                    source.release(&partitions)?;
                }
            }
        }
        let (cpu, wall) = begun.context("no partition was assigned")?;
        Ok(self.rung(name, cpu, wall, cpu_seconds()?))
    }

    fn rung(&self, name: &'static str, cpu_begun: f64, begun_at: Instant, cpu: f64) -> Rung {
        let cpu_micros = (cpu - cpu_begun) * 1e6 / self.events as f64;
        Rung { name, cpu_micros, wall_seconds: begun_at.elapsed().as_secs_f64() }
    }

    fn decode(&mut self) -> anyhow::Result<Rung> {
        let mut decoder = decoder()?;
        self.read("decode", |record| {
            // Nothing may be refused; the compiler may not skip the work either.
            decoder.decode(record.value)?.map_err(|refused| anyhow::anyhow!(refused.message))?;
            Ok(())
        })
    }

    /// Reads, decodes and applies; with commits every interval, or without any.
    fn apply(&mut self, name: &'static str, commits: bool) -> anyhow::Result<Rung> {
        let mut config = self.config.clone();
        config.service.data_dir = config.service.data_dir.join(name);
        let stores = Stores::new(&config);
        let shards = Arc::new(Shards::default());
        for partition in 0..self.topics.events_partitions {
            shards.insert(stores.open_shard(partition, &config)?);
        }
        let mut feed = feed(shards, usize::MAX)?;
        let (interval, most) = (config.engine.commit_interval, config.engine.commit_events_max);
        let (mut committed_at, mut uncommitted) = (Instant::now(), 0);
        self.read(name, |record| {
            feed.take(record)?;
            uncommitted += 1;
            if commits && (uncommitted >= most || committed_at.elapsed() >= interval * 4) {
                feed.commit(Durability::Process)?;
                (committed_at, uncommitted) = (Instant::now(), 0);
            }
            Ok(())
        })
    }

    /// The whole service, as `serve` runs it; returns what it takes of memory in words.
    fn whole(&mut self) -> anyhow::Result<(Rung, String)> {
        self.settings.group_id = format!("{}-publish", self.settings.events_topic);
        let config = self.config.clone();
        let metrics = Arc::new(Metrics::new()?);
        let shards = Arc::new(Shards::default());
        let source = KafkaSource::new(&self.settings, &self.topics)?;
        let sink = KafkaSink::new(&self.settings, &self.topics, source.group())?;
        let framing = Framing::SingleObject(LTV_SNAPSHOT_V1_FINGERPRINT);
        let partitions = usize::try_from(self.topics.events_partitions)?;
        let publisher = Publisher::new(SnapshotPlan::new(&config), framing, partitions, metrics);
        let budget = usize::try_from(config.engine.memory_budget_bytes)?;
        let feed = feed(Arc::clone(&shards), budget)?;
        let stores = Stores::new(&config);
        let settings = LoopSettings {
            commit_interval: config.engine.commit_interval,
            commit_events_max: config.engine.commit_events_max,
            publish_interval: config.snapshots.interval,
            accept_missing_offsets: false,
            check_anchors: true,
        };
        let opening = config.clone();
        let open_shard =
            Box::new(move |partition: Partition| stores.open_shard(partition, &opening));
        let mut pipeline = Pipeline::new((source, sink), (feed, publisher), open_shard, settings);
        let stop = Arc::new(AtomicBool::new(false));
        let (cpu, begun_at) = (cpu_seconds()?, Instant::now());
        while records(&shards) < self.events {
            pipeline.turn()?;
        }
        stop.store(true, Ordering::Relaxed);
        pipeline.run(&stop)?;
        let rung = self.rung("publish", cpu, begun_at, cpu_seconds()?);
        Ok((rung, memory(&shards)))
    }

    /// How long the state takes to open, after which questions are answered.
    fn open_again(&self) -> anyhow::Result<String> {
        let begun_at = Instant::now();
        let stores = Stores::new(&self.config);
        for partition in 0..self.topics.events_partitions {
            stores.open_shard(partition, &self.config)?;
        }
        Ok(format!("state opened again in {:.2} s\n", begun_at.elapsed().as_secs_f64()))
    }
}

fn decoder() -> anyhow::Result<Decoder> {
    Ok(Decoder::new(EventCodec::new(EventFormat::AvroSingleObject)?, None))
}

fn feed(shards: Arc<Shards>, memory_budget_bytes: usize) -> anyhow::Result<Feed> {
    let counted = (Arc::new(Metrics::new()?), Arc::new(Progress::default()));
    Ok(Feed::new(shards, decoder()?, counted, memory_budget_bytes))
}

fn records(shards: &Shards) -> u64 {
    shards.all().iter().map(|shard| shard.read().position.records).sum()
}

fn memory(shards: &Shards) -> String {
    let (mut customers, mut held, mut facts, mut fixed) = (0, 0, 0, 0);
    for shard in shards.all() {
        let shard = &shard.read().shard;
        customers += shard.customer_count();
        held += shard.customer_memory_bytes();
        facts += shard.facts.len();
        fixed += shard.fixed_memory_bytes();
    }
    format!(
        "{customers} customers: {:.0} bytes of memory each; {facts} facts with their cohorts and \
         dictionary: {:.0} bytes each\n",
        held as f64 / (customers.max(1)) as f64,
        fixed as f64 / (facts.max(1)) as f64,
    )
}

/// CPU time of this process so far, all threads, user and system.
fn cpu_seconds() -> anyhow::Result<f64> {
    // Clock ticks are hundredths of a second on every Linux.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").context("CPU time needs Linux")?;
    let after_name = stat.rsplit_once(')').context("/proc/self/stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| -> anyhow::Result<f64> {
        Ok(fields.get(at).context("/proc/self/stat")?.parse::<f64>()?)
    };
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

fn table(rungs: &[Rung], full: &Rung, events: u64, rest: &str) -> String {
    let mut text = format!(
        "{:<10}{:>16}{:>16}{:>14}{:>14}\n",
        "stage", "stage µs CPU", "total µs CPU", "× consume", "wall s"
    );
    let consume = rungs.first().map_or(1.0, |rung| rung.cpu_micros);
    let mut before = 0.0;
    for rung in rungs.iter().chain([full]) {
        text.push_str(&format!(
            "{:<10}{:>16.2}{:>16.2}{:>14.1}{:>14.1}\n",
            rung.name,
            rung.cpu_micros - before,
            rung.cpu_micros,
            rung.cpu_micros / consume,
            rung.wall_seconds
        ));
        before = rung.cpu_micros;
    }
    text.push_str(&format!("per event, over {events} events; stages are differences of rungs\n"));
    text.push_str(rest);
    text
}
