//! `ltvstream dead-letters`: records that were refused.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::{Config, Mode};
use crate::http::native::dead_letters::LIMIT_MAX;
use crate::service::Stores;
use crate::stream::{DeadLetter, Partition};

use super::client::{Client, parse_url};
use super::exit::settings_or_dependency;
use super::options::partitions;
use super::{CliError, ConfigArgs, Exit, Globals, load, print, table};

/// List refused records
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with refused records.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print partition, offset, time and reason of each
    List(ListArgs),
}

/// Which refused records.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// A running service [default: http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", conflicts_with = "data_dir", value_parser = parse_url)]
    pub url: Option<String>,
    /// The state of a service that is not running
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Secret of an API key that may administrate
    #[arg(long, value_name = "SECRET", env = "LTVSTREAM_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// Most records that are printed
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Form of the list
    #[arg(long, default_value = "table")]
    pub format: Format,
}

/// Form of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Dependency`] when the service or the state cannot be read; [`CliError::Usage`] when there
/// is no state, or one of other settings.
pub fn run(args: &Args, globals: &Globals) -> Result<Exit, CliError> {
    let Command::List(args) = &args.command;
    let answer = match &args.data_dir {
        Some(dir) => from_state(dir, args, globals)?,
        None => {
            globals.start_logging(None)?;
            let url = args.url.as_deref().unwrap_or("http://127.0.0.1:8080");
            let client = Client::new(url, args.api_key.clone());
            from_service(&client, args.limit)?
        }
    };
    match args.format {
        Format::Json => print(&format!("{answer}\n"))?,
        Format::Table if answer["dead_letters"].as_array().is_some_and(Vec::is_empty) => {
            print("no dead letters\n")?;
        }
        Format::Table => {
            print(&table::rows(&answer))?;
            if !answer["next_cursor"].is_null() {
                print("there are more: --limit shows so many\n")?;
            }
        }
    }
    Ok(Exit::Done)
}

/// What a service answers.
#[derive(Deserialize, Serialize)]
struct Letters {
    dead_letters: Vec<Value>,
    next_cursor: Option<String>,
    #[serde(flatten)]
    as_of: Map<String, Value>,
}

/// What a service answers, as one answer however many it takes.
fn from_service(client: &Client, limit: u32) -> Result<Value, CliError> {
    let foreign = |error: serde_json::Error| CliError::Dependency(error.into());
    let (mut letters, mut left, mut cursor) = (Vec::new(), limit, None);
    loop {
        let page = left.min(LIMIT_MAX);
        let mut parameters = vec![("limit".to_owned(), page.to_string())];
        parameters.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
        let answer = client.get("/v1/dead-letters", &parameters)?;
        let mut answer: Letters = serde_json::from_str(&answer).map_err(foreign)?;
        letters.append(&mut answer.dead_letters);
        left -= page;
        if answer.next_cursor.is_none() || left == 0 {
            return serde_json::to_value(Letters { dead_letters: letters, ..answer })
                .map_err(foreign);
        }
        cursor = answer.next_cursor;
    }
}

fn from_state(dir: &Path, args: &ListArgs, globals: &Globals) -> Result<Value, CliError> {
    let dir = Some(dir.to_string_lossy().into_owned());
    let sources = args.config.sources().flag("--data-dir", "service.data_dir", dir);
    let config = load(&sources, Mode::Embedded)?;
    globals.start_logging_warnings(&config.service)?;
    let stores = Stores::to_look_at(&config);
    let partitions = partitions(&stores, &config)?;
    let _lock = stores.lock().map_err(settings_or_dependency)?;
    let most = args.limit.saturating_add(1);
    let mut letters = read(&stores, &partitions, &config, most).map_err(settings_or_dependency)?;
    // By the place of one that is not shown, as a service says it.
    let shown = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let next = letters.get(shown).map(|next| format!("{}:{}", next.partition, next.offset));
    letters.truncate(shown);
    let rows: Vec<Value> = letters
        .iter()
        .map(|letter| {
            json!({
                "partition": letter.partition,
                "offset": letter.offset,
                "timestamp": letter.timestamp.to_rfc3339(),
                "reason": letter.reason,
                "message": letter.message,
            })
        })
        .collect();
    Ok(json!({ "dead_letters": rows, "next_cursor": next }))
}

fn read(
    stores: &Stores,
    partitions: &[Partition],
    config: &Config,
    limit: u32,
) -> anyhow::Result<Vec<DeadLetter>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut letters = Vec::new();
    for partition in partitions {
        let left = limit - letters.len();
        let shard = stores.open_shard(*partition, config)?;
        letters.extend(shard.reader().dead_letters(i64::MIN, left)?);
    }
    Ok(letters)
}
