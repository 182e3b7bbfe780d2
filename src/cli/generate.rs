//! `ltvstream generate`: a realistic subscription business.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use crate::codec::json_event::encode;
use crate::config::{Config, Mode};
use crate::domain::money::Currency;
use crate::generator::{Generator, GeneratorSettings, Share};
use crate::service::event_writer;

use super::exit::settings_or_dependency;
use super::{CliError, ConfigArgs, Exit, Globals, print};

/// Generate the events of a subscription business; the same seed gives the same bytes
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Customers
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub customers: u32,
    /// Days of business
    #[arg(long, value_name = "D", default_value_t = 730)]
    pub days: u32,
    /// Seed of all choices
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Share of events that come late, from 0 to 1
    #[arg(long, value_name = "P", default_value = "0.02")]
    pub late: Share,
    /// Share of events that come twice, from 0 to 1
    #[arg(long, value_name = "P", default_value = "0.01")]
    pub duplicates: Share,
    /// App the events belong to
    #[arg(long, value_name = "ID", default_value = "default")]
    pub app: String,
    /// File for the events, as NDJSON [default: standard output]
    #[arg(long, value_name = "FILE", conflicts_with = "kafka")]
    pub out: Option<PathBuf>,
    /// Write to the events topic
    #[arg(long)]
    pub kafka: bool,
}

/// Writes the events in the order in which they arrive.
///
/// # Errors
/// [`CliError::Dependency`] when the events cannot be written.
pub fn run(args: &Args, globals: &Globals) -> Result<Exit, CliError> {
    globals.start_logging(None)?;
    let settings = GeneratorSettings {
        app_id: args.app.clone(),
        customers: args.customers,
        days: args.days,
        seed: args.seed,
        late: args.late,
        duplicates: args.duplicates,
        ..GeneratorSettings::default()
    };
    let generator =
        Generator::new(&settings).map_err(|error| CliError::Usage(error.to_string()))?;
    if args.kafka {
        let config = args.config.load(Mode::Kafka)?;
        check_app(&args.app, &config)?;
        let writer = event_writer(&config).map_err(settings_or_dependency)?;
        let count =
            writer.send_all(generator).map_err(|error| CliError::Dependency(error.into()))?;
        print(&format!("{count} events written to {}\n", config.kafka.events_topic))?;
        return Ok(Exit::Done);
    }
    let written = match &args.out {
        Some(path) => File::create(path).and_then(|file| to_lines(generator, file)),
        None => to_lines(generator, io::stdout().lock()),
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let error = anyhow::Error::new(error);
            let place = args
                .out
                .as_ref()
                .map_or("standard output".into(), |path| path.display().to_string());
            Err(CliError::Dependency(error.context(format!("can't write the events to {place}"))))
        }
        _ => Ok(Exit::Done),
    }
}

/// Events of an app that the service does not know would all become dead letters, and their rates are those of
/// one currency.
fn check_app(app: &str, config: &Config) -> Result<(), CliError> {
    if let Some(rules) = config.rules.apps.get(app) {
        let currency = rules.reporting_currency;
        return if currency == Currency::USD {
            Ok(())
        } else {
            let message =
                format!("--app must report in USD as what is generated, {app} does in {currency}");
            Err(CliError::Usage(message))
        };
    }
    let known: Vec<&str> = config.apps.iter().map(|app| app.id.as_str()).collect();
    let known = known.join(", ");
    Err(CliError::Usage(format!("--app must be a configured app ({known}), got \"{app}\"")))
}

fn to_lines(generator: Generator, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let mut line = Vec::new();
    for event in generator {
        line.clear();
        encode(&event, &mut line);
        line.push(b'\n');
        out.write_all(&line)?;
    }
    out.flush()
}
