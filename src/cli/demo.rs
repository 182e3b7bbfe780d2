//! `ltvstream demo`: the service on a generated business, to look around.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::json_event::to_json;
use crate::config::{Mode, Sources};
use crate::domain::time::Timestamp;
use crate::generator::{Generator, GeneratorSettings, Share};
use crate::http::{Clock, Lobby};
use crate::service::{Service, Signals, StartOptions};
use crate::stream::Ingest;

use super::client::Client;
use super::serve::bind;
use super::{CliError, Exit, Globals, load, print, table};

/// Show the service on two generated years of a subscription business and live events
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the HTTP API
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Customers of the generated business
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub customers: u32,
    /// The same seed generates the same business
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

/// Days of business before today.
const DAYS: u32 = 730;
/// Events handed over at once.
const BATCH_EVENTS: usize = 5_000;
/// Pause between live events.
const LIVE_PAUSE: Duration = Duration::from_millis(200);

/// Serves the generated business until it is interrupted.
///
/// # Errors
/// [`CliError::Dependency`] when the store or the address cannot be used.
pub fn run(args: &Args, globals: &Globals) -> Result<Exit, CliError> {
    globals.start_logging(None)?;
    let signals = Signals::take().map_err(|error| failed(error.into()))?;
    // There is a directory to be removed whenever it ends.
    signals.start_is_over();
    let dir = tempfile::tempdir().map_err(|error| failed(error.into()))?;
    let listener = bind(args.listen)?;
    let address = listener.local_addr().map_err(|error| failed(error.into()))?;
    let sources = Sources { file: None, environment: Vec::new(), flags: Vec::new() }
        .flag("--data-dir", "service.data_dir", Some(dir.path().to_string_lossy().into_owned()))
        .flag("--listen", "service.listen", Some(address.to_string()));
    let config = load(&sources, Mode::Embedded)?;
    let today = Clock::System.now().utc_day();
    let settings = GeneratorSettings {
        customers: args.customers,
        days: DAYS,
        seed: args.seed,
        // Live events get new times, so a repeat of an older one would be another event.
        duplicates: Share::NONE,
        open_ended: true,
        ..GeneratorSettings::default()
    };
    let mut generator = Generator::new(&settings.ending_before(today))
        .map_err(|error| CliError::Usage(error.to_string()))?;
    let lobby = Lobby::open(&listener).map_err(|error| failed(error.into()))?;
    let service =
        Service::start_embedded(config, StartOptions::default()).map_err(CliError::Dependency)?;
    let now = service.clock.now();
    print(&format!("generating two years of a business with {} customers …\n", args.customers))?;
    let count = preload(&mut generator, now, &*service.ingest, &signals)?;
    print(&format!("{count} events taken in, durably\n"))?;
    print(&format!("no keys are configured: whoever reaches {address} may read and write\n\n"))?;
    let ingest = Arc::clone(&service.ingest);
    let clock = service.clock;
    lobby.close();
    // Both threads end with the process; nothing of the demo outlives it.
    std::thread::spawn(move || live(generator, &*ingest, &clock));
    std::thread::spawn(move || show(address));
    service.run(listener, &signals).map_err(CliError::Dependency)?;
    Ok(Exit::Done)
}

fn failed(error: anyhow::Error) -> CliError {
    CliError::Dependency(error)
}

/// Takes in what has arrived before `now`, unless a signal comes; returns how many events.
fn preload(
    generator: &mut Generator,
    now: Timestamp,
    ingest: &dyn Ingest,
    signals: &Signals,
) -> Result<u64, CliError> {
    let mut count = 0;
    let mut batch = Vec::with_capacity(BATCH_EVENTS);
    while let Some(arrival) = generator.next_arrival() {
        if arrival.at > now || signals.have_come() {
            break;
        }
        batch.push(to_json(&arrival.event).into_bytes());
        count += 1;
        if batch.len() == BATCH_EVENTS {
            submit(ingest, std::mem::take(&mut batch))?;
        }
    }
    submit(ingest, batch)?;
    Ok(count)
}

fn submit(ingest: &dyn Ingest, events: Vec<Vec<u8>>) -> Result<(), CliError> {
    ingest.submit(events).map(|_| ()).map_err(|error| failed(error.into()))
}

/// Sends what would come in the next days now, so that there is something to see.
fn live(mut generator: Generator, ingest: &dyn Ingest, clock: &Clock) {
    while let Some(arrival) = generator.next_arrival() {
        let mut event = arrival.event;
        event.occurred_at = clock.now();
        // It was counted from the day on which the event would have come.
        event.expires_at = None;
        if ingest.submit(vec![to_json(&event).into_bytes()]).is_err() {
            return;
        }
        std::thread::sleep(LIVE_PAUSE);
    }
}

/// Asks the service for its first table, as a user would.
fn show(address: SocketAddr) {
    let client = Client::new(&format!("http://{address}"), None);
    let parameters = [("width", "month"), ("age", "periods"), ("ages", "0,1,2,3,6,9,12,18")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let answer = client.get("/v1/apps/default/ltv", &parameters);
    let text = match answer.map(|answer| serde_json::from_str(&answer)) {
        Ok(Ok(answer)) => format!(
            "lifetime value per customer, by month of the first purchase and months since\n{}\n\
             more events are arriving; look at http://{address}\n\
             ask again: ltvstream query ltv width=month --url http://{address}\n\
             stop with Ctrl-C\n",
            table::ltv(&answer, None)
        ),
        Ok(Err(error)) => format!("the service's answer can't be read: {error}\n"),
        Err(error) => format!("the service does not answer: {error}\n"),
    };
    // The terminal may be gone; the service goes on.
    let _ = print(&text);
}
