//! Options that several commands share.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use crate::config::{Config, LogFormat, Mode, ServiceSettings, Sources};
use crate::domain::time::Timestamp;
use crate::service::{Stores, kafka_settings};
use crate::stream::Partition;
use crate::telemetry;

use super::exit::CliError;

/// What is logged by commands that answer by what they print.
const WARNINGS: &str = "warn";

/// How logs are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormatArg {
    Text,
    Json,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// How logs are written to standard error [default: service.log_format, else text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormatArg>,
    /// Log more: -v debug, -vv trace; wins over service.log_filter
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

impl Globals {
    /// Starts logging; to be called once, by commands that log.
    ///
    /// `service` gives form and filter where no flag does; without it, warnings are logged.
    ///
    /// # Errors
    /// [`CliError::Usage`] when logging was started before or the filter is wrong.
    pub fn start_logging(&self, service: Option<&ServiceSettings>) -> Result<(), CliError> {
        let format = service.map_or(LogFormat::Text, |service| service.log_format);
        self.log(format, service.map_or(WARNINGS, |service| &service.log_filter))
    }

    /// As [`Globals::start_logging`], of warnings in the form that the settings of the service give.
    ///
    /// # Errors
    /// As there.
    pub fn start_logging_warnings(&self, service: &ServiceSettings) -> Result<(), CliError> {
        self.log(service.log_format, WARNINGS)
    }

    /// Flags win.
    fn log(&self, format: LogFormat, filter: &str) -> Result<(), CliError> {
        let format = match self.log_format {
            Some(LogFormatArg::Text) => LogFormat::Text,
            Some(LogFormatArg::Json) => LogFormat::Json,
            None => format,
        };
        let filter = match self.verbose {
            0 => filter,
            // Libraries at trace drown everything else.
            1 => "info,ltvstream=debug",
            _ => "debug,ltvstream=trace",
        };
        telemetry::start_logging(format, filter).map_err(|error| CliError::Usage(error.to_string()))
    }
}

/// Where the settings are.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// TOML file of settings; the environment (LTVSTREAM__SECTION__KEY) wins over it [env: LTVSTREAM_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// The file and the environment, to which a command may add its flags.
    pub fn sources(&self) -> Sources {
        Sources::of_process(self.file())
    }

    /// The file that is named. A variable that is set to nothing, as Compose and systemd do, names none.
    pub fn file(&self) -> Option<PathBuf> {
        let named = || std::env::var_os("LTVSTREAM_CONFIG").filter(|name| !name.is_empty());
        self.config.clone().or_else(|| named().map(PathBuf::from))
    }

    /// The settings, without flags.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(&self, mode: Mode) -> Result<Config, CliError> {
        load(&self.sources(), mode)
    }
}

/// The settings of these sources. With Kafka its client library has looked at its properties, as
/// only it knows them all.
///
/// # Errors
/// [`CliError::Config`] and [`CliError::Usage`] with all that is wrong.
pub fn load(sources: &Sources, mode: Mode) -> Result<Config, CliError> {
    let config = Config::load(sources, mode)?;
    if mode == Mode::Kafka {
        let problems = kafka_settings(&config).problems();
        if !problems.is_empty() {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return Err(CliError::Usage(lines.join("\n")));
        }
    }
    Ok(config)
}

/// Reads the value of an option that is an instant.
///
/// # Errors
/// A message for people when the text is not RFC 3339 with an offset.
pub fn parse_instant(text: &str) -> Result<Timestamp, String> {
    let expected = "must be an RFC 3339 instant such as 2024-06-30T12:00:00Z";
    Timestamp::parse_rfc3339(text).ok_or_else(|| expected.to_owned())
}

/// Reads the value of an option that is a share from 0 to 1.
///
/// # Errors
/// A message for people when the text is no number or outside of the range.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

/// The partitions that have a state in the configured directory.
///
/// # Errors
/// [`CliError::Usage`] when there is none.
pub fn partitions(stores: &Stores, config: &Config) -> Result<Vec<Partition>, CliError> {
    let none = |why: String| {
        let dir = config.service.data_dir.display();
        CliError::Usage(format!("there is no state in {dir}{why}"))
    };
    let partitions = stores.partitions().map_err(|error| none(format!(": {error}")))?;
    if partitions.is_empty() { Err(none(String::new())) } else { Ok(partitions) }
}
