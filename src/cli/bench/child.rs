//! The service under measurement: this program's own `serve`, as a process of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::client::Client;
use crate::config::hash_of;
use crate::kafka::KafkaSettings;
use crate::stream::Partition;

/// After so long without what is waited for, the measurement has failed.
const PATIENCE: Duration = Duration::from_secs(600);
/// Pause between two questions while waiting.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// How to start the service.
pub struct Start {
    /// Settings of everything that is not measured.
    pub file: Option<PathBuf>,
    /// Of the only key, which may ask everything as often as it likes.
    pub secret: String,
    pub data_dir: PathBuf,
    pub log: PathBuf,
    /// Group and topics.
    pub kafka: KafkaSettings,
    /// The app that is asked about.
    pub app: String,
}

/// A running service; ends with its handle.
pub struct Served {
    process: Child,
    pub url: String,
    pub client: Client,
    app: String,
}

/// What the default question says in sum.
#[derive(Debug, Clone)]
pub struct Sum {
    pub as_of: BTreeMap<Partition, i64>,
    pub revenue_micros: i64,
}

impl Start {
    /// Starts the service; returns when it says that it listens.
    pub fn serve(&self) -> anyhow::Result<Served> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve");
        if let Some(file) = &self.file {
            command.arg("--config").arg(file);
        }
        // With a limit of its own a key is not held to those of vendors.
        let api_keys = format!(
            "[{{ name = \"bench\", sha256 = \"{}\", apps = [{:?}], scopes = [\"read\", \"admin\"], \
             rate_limit_per_second = 1000000 }}]",
            hex::encode(hash_of(&self.secret)),
            self.app
        );
        let data_dir = self.data_dir.to_string_lossy();
        for (key, value) in [
            ("SERVICE__LISTEN", "127.0.0.1:0"),
            ("API_KEYS", &api_keys),
            ("SERVICE__DATA_DIR", &data_dir),
            ("KAFKA__GROUP_ID", &self.kafka.group_id),
            ("KAFKA__TRANSACTIONAL_ID_PREFIX", &self.kafka.transactional_id_prefix),
            ("KAFKA__EVENTS_TOPIC", &self.kafka.events_topic),
            ("KAFKA__SNAPSHOTS_TOPIC", &self.kafka.snapshots_topic),
            ("KAFKA__DEAD_LETTERS_TOPIC", &self.kafka.dead_letters_topic),
            ("KAFKA__EVENT_FORMAT", "avro-single-object"),
            // A killed member comes back under its name, without waiting for its session's end.
            ("KAFKA__PROPERTIES__GROUP__INSTANCE__ID", "bench"),
        ] {
            command.env(format!("LTVSTREAM__{key}"), value);
        }
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut lines =
            process.stdout.take().map(BufReader::new).into_iter().flat_map(|out| out.lines());
        let line = lines.next().and_then(Result::ok).unwrap_or_default();
        let Some(url) = line.strip_prefix("serving on ").map(str::to_owned) else {
            let status = process.wait()?;
            anyhow::bail!("the service did not start ({status}):\n{}", tail(&self.log));
        };
        let client = Client::new(&url, Some(self.secret.clone()));
        Ok(Served { process, url, client, app: self.app.clone() })
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

impl Served {
    /// The answer to the default question; `None` while nothing is answered.
    pub fn sum(&self) -> Option<Sum> {
        let path = format!("/v1/apps/{}/ltv", self.app);
        parse_sum(&self.client.get(&path, &[]).ok()?)
    }

    /// Asks the default question until the answer holds everything below `ends`.
    pub fn caught_up(&mut self, ends: &BTreeMap<Partition, i64>) -> anyhow::Result<Sum> {
        self.wait_for(|sum| {
            let held = |partition| sum.as_of.get(partition).copied().unwrap_or(0);
            ends.iter().all(|(partition, end)| held(partition) >= *end)
        })
    }

    /// Asks the default question until the answer is accepted.
    pub fn wait_for(&mut self, accepts: impl Fn(&Sum) -> bool) -> anyhow::Result<Sum> {
        self.wait(|served| served.sum().filter(&accepts))
    }

    /// Asks for revenue, which only facts tell, until there is an answer.
    pub fn facts_read(&mut self) -> anyhow::Result<()> {
        let path = format!("/v1/apps/{}/revenue", self.app);
        self.wait(|served| served.client.get(&path, &[]).ok()).map(|_| ())
    }

    fn wait<T>(&mut self, look: impl Fn(&Self) -> Option<T>) -> anyhow::Result<T> {
        let asked_at = Instant::now();
        while asked_at.elapsed() < PATIENCE {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if let Some(status) = self.process.try_wait()? {
                anyhow::bail!("the service ended: {status}");
            }
            std::thread::sleep(ASK_AGAIN);
        }
        anyhow::bail!("the service did not catch up within {} s", PATIENCE.as_secs())
    }

    /// Memory that the process holds, in bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")).context("VmRSS")?;
        Ok(kibibytes.parse::<u64>()? << 10)
    }

    /// Stops the process where it is, so that its input grows.
    pub fn freeze(&self) -> anyhow::Result<()> {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args(["-STOP", &pid]).status()?;
        anyhow::ensure!(status.success(), "the service can't be stopped");
        Ok(())
    }

    /// `kill -9`; returns the time of the kill.
    pub fn kill(mut self) -> anyhow::Result<Instant> {
        let killed_at = Instant::now();
        self.process.kill()?;
        self.process.wait()?;
        Ok(killed_at)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Already gone in the usual case.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Revenue to date of all cohorts, and as of what.
pub fn parse_sum(body: &str) -> Option<Sum> {
    let answer: Value = serde_json::from_str(body).ok()?;
    let mut as_of = BTreeMap::new();
    for (partition, next) in answer.get("as_of")?.as_object()? {
        as_of.insert(partition.parse().ok()?, next.as_i64()?);
    }
    let mut revenue_micros = 0;
    for cohort in answer.get("cohorts")?.as_array()? {
        revenue_micros += cohort.get("to_date")?.get("revenue_micros")?.as_i64()?;
    }
    Some(Sum { as_of, revenue_micros })
}
