//! `ltvstream serve`: the service.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use tracing::warn;

use crate::config::{Config, Mode};
use crate::domain::time::Timestamp;
use crate::http::Lobby;
use crate::service::{Service, Signals, StartOptions};

use super::exit::settings_or_dependency;
use super::{CliError, ConfigArgs, Exit, Globals, load, parse_instant, print};

/// Run the service: events in, snapshots out, answers over HTTP
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Without Kafka: events come by HTTP and `import`
    #[arg(long)]
    pub embedded: bool,
    /// Where the state is kept; wins over service.data_dir
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the HTTP API; wins over service.listen
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// The instant that questions take for now, instead of the clock; events ignore it
    #[arg(long, value_name = "RFC3339", value_parser = parse_instant)]
    pub now: Option<Timestamp>,
    /// Recompute the figures from the ledgers when the rules changed
    #[arg(long)]
    pub rebuild: bool,
    /// Go on although the topic lost events the state has not seen; all later answers say so
    #[arg(long)]
    pub accept_retention_gap: bool,
}

impl Args {
    /// The settings, with the flags over them.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(&self) -> Result<Config, CliError> {
        let mode = if self.embedded { Mode::Embedded } else { Mode::Kafka };
        let data_dir = self.data_dir.as_ref().map(|dir| dir.to_string_lossy().into_owned());
        let sources = self.config.sources().flag("--data-dir", "service.data_dir", data_dir).flag(
            "--listen",
            "service.listen",
            self.listen.clone(),
        );
        load(&sources, mode)
    }
}

/// Serves until SIGTERM, SIGINT or an error.
///
/// # Errors
/// [`CliError::Config`] for wrong settings, [`CliError::Dependency`] when Kafka or the store fails.
pub fn run(args: &Args, globals: &Globals) -> Result<Exit, CliError> {
    let config = args.load()?;
    globals.start_logging(Some(&config.service))?;
    let options = StartOptions {
        now: args.now,
        accept_retention_gap: args.accept_retention_gap,
        rebuild: args.rebuild,
    };
    let signals = Signals::take().map_err(dependency)?;
    let listener = bind(config.service.listen)?;
    let address = listener.local_addr().map_err(dependency)?;
    if config.api_keys.is_empty() {
        warn!(%address, "no [[api_keys]]: whoever reaches this address may read and write");
    }
    let lobby = Lobby::open(&listener).map_err(dependency)?;
    let service = if args.embedded {
        Service::start_embedded(config, options)
    } else {
        Service::start_kafka(config, options)
    };
    let service = service.map_err(settings_or_dependency)?;
    lobby.close();
    print(&format!("serving on http://{address}\n"))?;
    service.run(listener, &signals).map_err(settings_or_dependency)?;
    Ok(Exit::Done)
}

/// Takes the address of the HTTP API.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).map_err(|error| {
        let error = anyhow::Error::new(error);
        CliError::Dependency(error.context(format!("can't listen on {address}")))
    })
}

fn dependency(error: std::io::Error) -> CliError {
    CliError::Dependency(anyhow::Error::new(error))
}
