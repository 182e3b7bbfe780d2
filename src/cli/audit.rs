//! `ltvstream audit`: recompute and compare.

use std::path::PathBuf;

use crate::config::{Config, Mode};
use crate::service::Stores;
use crate::state::Audit;
use crate::stream::Partition;

use super::exit::settings_or_dependency;
use super::options::partitions;
use super::{CliError, ConfigArgs, Exit, Globals, load, print};

/// Recompute the state by the slow reference path and compare; exit code 1 if anything differs
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The state to audit; wins over service.data_dir
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The state is that of an embedded service
    #[arg(long)]
    pub embedded: bool,
}

/// Differences that are printed, at most.
const PRINTED_MAX: usize = 100;

/// Prints `equal`, or every difference.
///
/// # Errors
/// [`CliError::Dependency`] when the state cannot be read, as when a service has it open;
/// [`CliError::Usage`] when there is none, or one of other settings.
pub fn run(args: &Args, globals: &Globals) -> Result<Exit, CliError> {
    let mode = if args.embedded { Mode::Embedded } else { Mode::Kafka };
    let dir = args.data_dir.as_ref().map(|dir| dir.to_string_lossy().into_owned());
    let sources = args.config.sources().flag("--data-dir", "service.data_dir", dir);
    let config = load(&sources, mode)?;
    globals.start_logging_warnings(&config.service)?;
    let stores = Stores::to_look_at(&config);
    let partitions = partitions(&stores, &config)?;
    let _lock = stores.lock().map_err(settings_or_dependency)?;
    let mut differences = 0;
    for partition in partitions {
        let audit = audit(&stores, partition, &config).map_err(settings_or_dependency)?;
        differences += audit.differences.len();
        print(&text(partition, &audit))?;
    }
    Ok(if differences == 0 { Exit::Done } else { Exit::ProblemFound })
}

fn audit(stores: &Stores, partition: Partition, config: &Config) -> anyhow::Result<Audit> {
    Ok(stores.open_shard(partition, config)?.audit()?)
}

fn text(partition: Partition, audit: &Audit) -> String {
    let Audit { customers, events, facts, differences } = audit;
    let verdict = match differences.len() {
        0 => "equal".to_owned(),
        1 => "1 difference".to_owned(),
        count => format!("{count} differences"),
    };
    let mut text = format!(
        "partition {partition}: {events} events of {customers} customers recomputed against \
         {facts} facts: {verdict}\n"
    );
    for difference in differences.iter().take(PRINTED_MAX) {
        for line in difference.to_string().lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    if differences.len() > PRINTED_MAX {
        text.push_str(&format!("  and {} more\n", differences.len() - PRINTED_MAX));
    }
    text
}
