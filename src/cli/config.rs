//! `ltvstream config`: check and show the settings, hash the secret of an API key.

use std::fmt::Write as _;
use std::io::BufRead;

use clap::Subcommand;

use crate::config::{Config, Mode, Origin, hash_of};
use crate::service::kafka_settings;

use super::{CliError, ConfigArgs, Exit, Globals, print};

/// Check or show settings, hash secrets
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report all that is wrong; exit code 2 if anything is. What `[kafka.properties]` must be, and the files that
    /// they name, is asked of the client library once the rest is right
    Check(Where),
    /// Print every setting with its value and who gave it; secrets stay hidden
    Show(Where),
    /// Print the SHA-256 of a secret, for api_keys.sha256
    HashKey {
        /// The secret; without it, the first line of standard input (which leaves no trace in the
        /// shell's history)
        secret: Option<String>,
    },
}

/// Which settings.
#[derive(Debug, clap::Args)]
pub struct Where {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// As `serve --embedded` would see them
    #[arg(long)]
    pub embedded: bool,
}

impl Where {
    fn load(&self) -> Result<Config, CliError> {
        let mode = if self.embedded { Mode::Embedded } else { Mode::Kafka };
        self.config.load(mode)
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Config`] and [`CliError::Usage`] with all that is wrong.
pub fn run(args: &Args, _: &Globals) -> Result<Exit, CliError> {
    let text = match &args.command {
        Command::Check(place) => {
            let config = place.load()?;
            if config.mode == Mode::Kafka {
                let taken = kafka_settings(&config).check();
                taken.map_err(|error| CliError::Usage(error.to_string()))?;
            }
            let (apps, keys) = (config.apps.len(), config.api_keys.len());
            format!("ok: {apps} apps, {keys} API keys\n")
        }
        Command::Show(place) => listing(&place.load()?),
        Command::HashKey { secret } => {
            let secret = secret.clone().map_or_else(secret_of_input, Ok)?;
            let is_sent_whole = secret.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            if secret.is_empty()
                || !is_sent_whole
                || secret.trim() != secret
                || secret.contains(':')
            {
                let message = "the secret must be of printable ASCII characters, without blanks around \
                               them and without a colon: no other reaches the service whole in a header";
                return Err(CliError::Usage(message.to_owned()));
            }
            format!("{}\n", hex::encode(hash_of(&secret)))
        }
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// One line per setting: `key = value  # origin`.
fn listing(config: &Config) -> String {
    let mut text = String::new();
    for setting in &config.settings {
        let place = match &setting.origin {
            Origin::File(path) => format!("{}:{}", path.display(), setting.key),
            origin => origin.to_string(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} = {}  # {place}", setting.key, setting.value);
    }
    text
}

fn secret_of_input() -> Result<String, CliError> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| CliError::Usage(format!("cannot read the secret: {error}")))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
