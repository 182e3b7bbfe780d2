//! `ltvstream bench`: how fast the whole service is.
//!
//! * [`ladder`]: CPU of each stage, in this process.
//! * [`live`]: the service as a process of its own, asked over HTTP while events flow in, killed
//!   and started again; its sums must be those of what was sent.

mod child;
mod cpu;
mod feeder;
mod known;
mod ladder;
mod live;
mod questions;
mod report;

use std::path::Path;
use std::time::Duration;

use crate::config::{Config, Mode};
use crate::generator::{Generator, GeneratorSettings};
use crate::kafka::{KafkaSettings, ensure_topics};
use crate::service::kafka_settings;

pub use self::cpu::process_cpu;

use self::child::Start;
use self::feeder::Feeder;
use self::live::Plan;
use self::report::Report;
use super::{CliError, ConfigArgs, Exit, Globals, print};

/// The generator's business has about this many events per customer in two years.
const EVENTS_PER_CUSTOMER: u64 = 4;
/// How many times `--seconds` events flow: for probes, and for each question by one and by more.
const TIMES_FED: u64 = live::PROBE_TIMES as u64 + questions::times_asked();

/// Which part is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// CPU by stage
    Ladder,
    /// Latencies and restart of the running service
    Live,
    All,
}

/// Measure the whole service: preload events into a new topic, then time until caught up
///
/// Prints CPU microseconds per event by stage and memory per customer; then, of the running
/// service, how long questions take while events flow in, how soon an event is in answers and
/// snapshots, and how long the first correct answer after `kill -9` takes. Topics it makes stay
/// behind under their names.
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
    /// Part to measure
    #[arg(long, value_enum, default_value_t = Part::All)]
    pub part: Part,
    /// Events per second that flow in while the service is asked
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,
    /// How long each question is asked; four times as long for the latency of events
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// Events written before the kill that the service has not read [default: a tenth of the events]
    #[arg(long, value_name = "N")]
    pub backlog: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs the measurement and prints what it found.
///
/// # Errors
/// [`CliError::Dependency`] when Kafka or the store fails, or an answer is not what was sent.
pub fn run(args: &Args, globals: &Globals) -> Result<Exit, CliError> {
    globals.start_logging(None)?;
    let config = args.config.load(Mode::Kafka)?;
    let report = args.measure(&config).map_err(CliError::Dependency)?;
    if args.json {
        let json = serde_json::to_string_pretty(&report).map_err(anyhow::Error::new);
        print(&format!("{}\n", json.map_err(CliError::Dependency)?))?;
    } else {
        print(&report.table())?;
    }
    Ok(Exit::Done)
}

impl Args {
    fn measure(&self, config: &Config) -> anyhow::Result<Report> {
        let dir = tempfile::tempdir()?;
        let (events, partitions) = (self.events, self.partitions);
        let mut report = Report { events, partitions, ..Report::default() };
        if self.part != Part::Live {
            let mut config = config.clone();
            config.service.data_dir = dir.path().join("ladder");
            let settings = self.topics(&config, "ladder");
            let generator = Generator::new(&self.generated(&config, self.events))?;
            report.ladder = Some(ladder::measure(config, settings, generator, self.events)?);
        }
        if self.part != Part::Ladder {
            report.live = Some(self.live(config, dir.path())?);
        }
        Ok(report)
    }

    fn live(&self, config: &Config, dir: &Path) -> anyhow::Result<report::Live> {
        let settings = self.topics(config, "live");
        ensure_topics(&settings)?;
        let plan = Plan {
            events: self.events,
            rate: self.rate,
            each: Duration::from_secs(self.seconds),
            backlog: self.backlog.unwrap_or(self.events / 10),
        };
        // As many customers as all events belong to, so that the last lie in the past as well.
        let all = plan.events + self.rate * self.seconds * TIMES_FED + plan.backlog;
        let generated = self.generated(config, all);
        let feeder = Feeder::new(config, &settings, &generated)?;
        let start = Start {
            file: self.config.file(),
            secret: format!("{:032x}", rand::random::<u128>()),
            data_dir: dir.join("live"),
            log: dir.join("log"),
            kafka: settings,
            app: generated.app_id.clone(),
        };
        live::measure(&plan, &feeder, &start, (&config.apps[0], &generated))
    }

    /// Topics and a group of their own.
    fn topics(&self, config: &Config, part: &str) -> KafkaSettings {
        let name = format!("ltvstream-bench-{}-{part}", std::process::id());
        let mut settings = kafka_settings(config);
        settings.events_topic = format!("{name}-events");
        settings.snapshots_topic = format!("{name}-snapshots");
        settings.dead_letters_topic = format!("{name}-dlq");
        settings.transactional_id_prefix.clone_from(&name);
        settings.group_id = name;
        settings.events_partitions = i32::from(self.partitions);
        settings
    }

    fn generated(&self, config: &Config, events: u64) -> GeneratorSettings {
        let customers = events.div_ceil(EVENTS_PER_CUSTOMER);
        GeneratorSettings {
            app_id: config.apps[0].id.clone(),
            customers: self.customers.unwrap_or(u32::try_from(customers).unwrap_or(u32::MAX)),
            seed: self.seed,
            open_ended: true,
            ..GeneratorSettings::default()
        }
    }
}
