//! `ltvstream import`: events from files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use crate::codec::json_event::to_json;
use crate::config::Mode;
use crate::http::native::events::ERRORS_MAX;
use crate::import::{self, ImportSettings, OpenError};
use crate::service::{Service, StartOptions, kafka_ingest};
use crate::state::Refused;
use crate::stream::{Ingest, IngestError, Receipt, Receipts};

use super::client::{Client, PAUSE, parse_url};
use super::exit::settings_or_dependency;
use super::{CliError, ConfigArgs, Exit, Globals, load, print};

/// Form of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Ndjson,
    Csv,
    Avro,
}

/// Import events from files; exit code 1 if any is refused
///
/// Refused events are written beside their file, with the reason.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Files of events; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Form of the files [default: by the file's name, else ndjson]
    #[arg(long)]
    pub format: Option<Format>,
    /// TOML file that names columns, constants and formats of a foreign CSV
    #[arg(long, value_name = "FILE")]
    pub map: Option<PathBuf>,
    /// App of events whose map names none [default: default]
    #[arg(long, value_name = "ID")]
    pub app: Option<String>,
    #[command(flatten)]
    pub target: Target,
    /// Secret of the API key for --to
    #[arg(long, value_name = "SECRET", env = "LTVSTREAM_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// Exit code 0 although events were refused
    #[arg(long)]
    pub allow_refused: bool,
}

/// Where the events go: one of them, by default the service on this machine.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct Target {
    /// A running service [default: http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    pub to: Option<String>,
    /// The state of an embedded service that is not running
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The events topic
    #[arg(long)]
    pub kafka: bool,
}

/// Events handed over at once: no more than a service tells the refusals of, one by one.
const BATCH_EVENTS: usize = ERRORS_MAX;

/// What became of the events of all files.
#[derive(Debug, Default)]
struct Summary {
    accepted: u64,
    suspended: u64,
    repeated: u64,
    refused: u64,
    /// By the code of the refusal.
    reasons: BTreeMap<String, u64>,
    /// By the reason that the map gives.
    skipped: BTreeMap<String, u64>,
}

impl Summary {
    fn refuse(&mut self, code: &str) {
        self.refused += 1;
        *self.reasons.entry(code.to_owned()).or_default() += 1;
    }

    fn text(&self) -> String {
        let Self { accepted, suspended, repeated, refused, .. } = self;
        let skipped: u64 = self.skipped.values().sum();
        let mut text = format!(
            "accepted {accepted} ({suspended} suspended at first), repeated {repeated}, refused {refused}, \
             left out by the map {skipped}\n"
        );
        for (code, count) in &self.reasons {
            text.push_str(&format!("  refused as {code}: {count}\n"));
        }
        for (reason, count) in &self.skipped {
            text.push_str(&format!("  left out by the map, {reason}: {count}\n"));
        }
        text
    }
}

/// A row whose fate is not known yet.
struct Waiting {
    line: u64,
    raw: String,
}

/// The refused rows of a file, beside it.
struct Rejects {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    /// Why the first that could not be written down was not.
    failure: Option<io::Error>,
}

impl Rejects {
    /// Beside a file, and here for what is no file; none of the files that are imported.
    fn new(of: &Path, files: &[PathBuf]) -> Self {
        let name = match of.file_name() {
            _ if of == Path::new("-") => "stdin".into(),
            Some(name) if !of.is_file() => name.to_owned(),
            _ => of.as_os_str().to_owned(),
        };
        let path = |number: usize| {
            let mut name = name.clone();
            name.push(if number == 1 {
                ".rejects".to_owned()
            } else {
                format!(".rejects.{number}")
            });
            name.push(".ndjson");
            PathBuf::from(name)
        };
        let is_imported =
            |path: &PathBuf| files.iter().any(|file| file == path || is_same_file(file, path));
        // As many numbers as there are files, and one more, can't all be taken.
        let mut paths = (1..).map(path);
        let path = paths.find(|path| !is_imported(path)).unwrap_or_default();
        Self { path, file: None, failure: None }
    }

    /// Writes a refused row down. Where that can't be done, rows that are good are taken all the same, and the
    /// failure is told at the end.
    fn write(&mut self, row: &Waiting, refused: &Refused) {
        let line = serde_json::json!({
            "line": row.line,
            "code": refused.code,
            "field": refused.field,
            "message": refused.message,
            "raw": row.raw,
        });
        if let Err(error) = self.try_write(&line.to_string()) {
            self.failure.get_or_insert(error);
        }
    }

    /// Whether all refused rows of the file are written down. What an earlier import refused and this one took does
    /// not stay.
    fn end(self, of: &Path) -> Result<(), CliError> {
        if let Some(error) = self.failure {
            let context = format!("refused rows can't be written to {}", self.path.display());
            return Err(CliError::Dependency(anyhow::Error::new(error).context(context)));
        }
        if self.file.is_none() && of.is_file() {
            // There is none as a rule, and one that stays misleads nobody who looks at its time.
            let _ = std::fs::remove_file(&self.path);
        }
        Ok(())
    }

    fn try_write(&mut self, line: &str) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(File::create(&self.path)?)),
        };
        writeln!(file, "{line}")?;
        file.flush()
    }
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    real(a).is_some_and(|a| real(b) == Some(a))
}

/// Imports all files and prints how many events were accepted, repeated and refused.
///
/// # Errors
/// [`CliError::Usage`] for files that are not what the arguments say and for an API key that is not
/// for their events, [`CliError::Dependency`] for damaged files and when the target fails; the files
/// behind such a one are not read.
pub fn run(args: &Args, globals: &Globals) -> Result<Exit, CliError> {
    globals.start_logging(None)?;
    let map = match &args.map {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
            CliError::Usage(format!("can't read the map {}: {error}", path.display()))
        })?),
        None => None,
    };
    let format = args.format.map(|format| match format {
        Format::Ndjson => import::Format::Ndjson,
        Format::Csv => import::Format::Csv,
        Format::Avro => import::Format::Avro,
    });
    let settings = ImportSettings { format, map, app_id: args.app.clone() };
    let (ingest, service) = target(args)?;
    let mut summary = Summary::default();
    let imported = args
        .files
        .iter()
        .try_for_each(|file| import_file((file, &args.files), &settings, &*ingest, &mut summary));
    drop(ingest);
    if let Some(service) = service {
        service.stop().map_err(CliError::Dependency)?;
    }
    // What was accepted before a failure stays accepted.
    print(&summary.text())?;
    imported?;
    let is_clean = summary.refused == 0 || args.allow_refused;
    Ok(if is_clean { Exit::Done } else { Exit::ProblemFound })
}

/// Where the events go; a data directory needs the engine beside it.
fn target(args: &Args) -> Result<(Arc<dyn Ingest>, Option<Service>), CliError> {
    if let Some(dir) = &args.target.data_dir {
        let dir = Some(dir.to_string_lossy().into_owned());
        let sources = args.config.sources().flag("--data-dir", "service.data_dir", dir);
        let config = load(&sources, Mode::Embedded)?;
        let service = Service::start_embedded(config, StartOptions::default());
        let service = service.map_err(settings_or_dependency)?;
        return Ok((Arc::clone(&service.ingest), Some(service)));
    }
    if args.target.kafka {
        let config = args.config.load(Mode::Kafka)?;
        let ingest = kafka_ingest(&config).map_err(settings_or_dependency)?;
        return Ok((Arc::new(ingest), None));
    }
    let url = args.target.to.as_deref().unwrap_or("http://127.0.0.1:8080");
    Ok((Arc::new(Client::new(url, args.api_key.clone())), None))
}

/// Imports one of the files of a command.
fn import_file(
    (file, files): (&Path, &[PathBuf]),
    settings: &ImportSettings,
    ingest: &dyn Ingest,
    summary: &mut Summary,
) -> Result<(), CliError> {
    let mut reader = import::reader(file, settings).map_err(unopened)?;
    let bar = progress_bar(reader.bytes_total(), &file.display().to_string());
    let mut rejects = Rejects::new(file, files);
    let mut batch: Vec<(Waiting, Vec<u8>)> = Vec::with_capacity(BATCH_EVENTS);
    let mut damage = None;
    let handed_in = reader.by_ref().try_for_each(|item| {
        bar.set_position(item.bytes_read);
        match item.event {
            Ok(event) => {
                let json = to_json(&event);
                let row = Waiting { line: item.line, raw: json.clone() };
                batch.push((row, json.into_bytes()));
            }
            Err(error) if error.is_fatal() => damage = Some((item.line, error)),
            Err(error) => {
                summary.refuse(&error.code);
                let row = Waiting { line: item.line, raw: error.raw };
                let refused =
                    Refused { code: error.code, field: error.field, message: error.message };
                rejects.write(&row, &refused);
            }
        }
        if batch.len() == BATCH_EVENTS {
            return submit(ingest, std::mem::take(&mut batch), summary, &mut rejects);
        }
        Ok(())
    });
    let handed_in = handed_in.and_then(|()| submit(ingest, batch, summary, &mut rejects));
    for (reason, count) in reader.skipped().into_iter().filter(|(_, count)| *count > 0) {
        *summary.skipped.entry(reason).or_default() += count;
    }
    bar.finish_and_clear();
    if rejects.file.is_some() {
        print(&format!("refused rows of {}: {}\n", file.display(), rejects.path.display()))?;
    }
    handed_in?;
    match damage {
        None => rejects.end(file),
        Some((line, error)) => {
            let place = format!("{}:{line}", file.display());
            Err(CliError::Dependency(anyhow::Error::new(error).context(place)))
        }
    }
}

/// A file that cannot be begun: one that is damaged, or the wrong one.
fn unopened(error: OpenError) -> CliError {
    let is_damaged = match &error {
        OpenError::Avro { .. } => true,
        OpenError::Read { source, .. } => !matches!(
            source.kind(),
            ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::IsADirectory
        ),
        _ => false,
    };
    let error = anyhow::Error::new(error);
    if is_damaged { CliError::Dependency(error) } else { CliError::Usage(format!("{error:#}")) }
}

fn submit(
    ingest: &dyn Ingest,
    batch: Vec<(Waiting, Vec<u8>)>,
    summary: &mut Summary,
    rejects: &mut Rejects,
) -> Result<(), CliError> {
    if batch.is_empty() {
        return Ok(());
    }
    let (rows, events): (Vec<Waiting>, Vec<Vec<u8>>) = batch.into_iter().unzip();
    let mut done = 0;
    while done < events.len() {
        let receipts = match ingest.submit(events[done..].to_vec()) {
            Ok(Receipts { receipts, .. }) | Err(IngestError::After { first: receipts, .. }) => {
                receipts
            }
            Err(IngestError::Overloaded) => {
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(error @ IngestError::Refused(_)) => return Err(CliError::Usage(error.to_string())),
            Err(error) => return Err(CliError::Dependency(anyhow::Error::new(error))),
        };
        let first = done;
        done += receipts.len();
        for (row, receipt) in rows[first..].iter().zip(receipts) {
            match receipt {
                Receipt::Accepted { is_suspended } => {
                    summary.accepted += 1;
                    summary.suspended += u64::from(is_suspended);
                }
                Receipt::Repeated => summary.repeated += 1,
                Receipt::Refused { code, field, message } => {
                    summary.refuse(&code);
                    rejects.write(row, &Refused { code, field, message });
                }
            }
        }
    }
    Ok(())
}

/// A bar over the bytes of a file whose events are handed in; silent where nobody watches.
fn progress_bar(bytes_total: Option<u64>, name: &str) -> ProgressBar {
    let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let bar = match bytes_total {
        Some(total) => ProgressBar::new(total).with_style(
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
        ),
        None => ProgressBar::new_spinner(),
    };
    let bar = bar.with_message(name.to_owned());
    // The first event may be long in coming, where all rows are read before it.
    bar.tick();
    bar
}
