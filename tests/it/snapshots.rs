//! Snapshots through the real process and broker: all widths and segments are what the slow
//! reference says, and a lost state does not make its successor's snapshots look old.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ltvstream::codec::json_event::to_json;
use ltvstream::domain::time::Width;
use ltvstream::generator::{Generator, GeneratorSettings};

use crate::reference::{AppSettings, Reference};
use crate::support::kafka::{Writer, brokers, create_topic, ends, topics_of, write_settings};
use crate::support::process::Served;
use crate::support::snapshots::{Plan, by_version, newest};
use crate::support::unique;

const PARTITIONS: i32 = 2;
/// 2026-06-01: after everything the generator makes.
const RECORD_TIMESTAMP_MS: i64 = 1_780_272_000_000;
const PLAN: Plan<'static> = Plan {
    app: "default",
    widths: &[Width::Quarter, Width::Year],
    segments: &["country", "store"],
};

/// A business whose events are in a topic, and the service over it.
struct Site {
    dir: tempfile::TempDir,
    topic: String,
    config: String,
    reference: Reference,
}

impl Site {
    fn new() -> Self {
        let mut site = Self::without_events();
        site.write(&events());
        site
    }

    fn without_events() -> Self {
        let (dir, topic) = (tempfile::tempdir().unwrap(), unique("snapshots"));
        create_topic(&topic, PARTITIONS, "delete");
        let config = configuration(dir.path(), &topic);
        Self { dir, topic, config, reference: reference() }
    }

    fn write(&mut self, events: &[String]) {
        let writer = Writer::new(&self.topic);
        for json in events {
            self.reference.offer(json, RECORD_TIMESTAMP_MS * 1000);
            let partition = partition_of(json);
            writer.send(partition, RECORD_TIMESTAMP_MS, Some(b"k"), Some(json.as_bytes()));
        }
        writer.flush();
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Reads the log to its end and stops; then all snapshots must be right, of one epoch.
    fn run(&self) -> i64 {
        let log = self.dir.path().join("log");
        let served = Served::start(&["--config", &self.config], &log);
        let ends = ends(&self.topic, PARTITIONS);
        served.wait_for("/v1/apps/default/revenue", |answer| {
            let next = |partition: usize| answer["as_of"][partition.to_string()].as_i64();
            (0..ends.len()).all(|partition| next(partition) == Some(ends[partition]))
        });
        assert_eq!(served.terminate(), Some(0), "{}", std::fs::read_to_string(&log).unwrap());
        let newest = newest(&format!("{}-snapshots", self.topic), 1);
        assert!(PLAN.compare(&newest, &self.reference) > 200);
        // A cohort that others' late installs have emptied is none that every state has met.
        let held = newest.values().filter(|found| found.customers > 0);
        let epochs: Vec<i64> = held.map(|found| found.version.log_epoch).collect();
        assert_eq!(epochs.iter().min(), epochs.iter().max(), "every cohort is published again");
        epochs[0]
    }
}

fn events() -> Vec<String> {
    let settings = GeneratorSettings { customers: 300, days: 700, ..GeneratorSettings::default() };
    Generator::new(&settings).unwrap().map(|event| to_json(&event)).collect()
}

fn reference() -> Reference {
    Reference::new(&[AppSettings {
        id: "default".to_owned(),
        reporting_currency: "USD".to_owned(),
        zones: vec!["UTC".to_owned()],
        ..AppSettings::default()
    }])
}

fn partition_of(json: &str) -> i32 {
    let event: serde_json::Value = serde_json::from_str(json).unwrap();
    let customer = event["customer_id"].as_str().unwrap();
    i32::from(customer.bytes().fold(0u8, u8::wrapping_add) % 2)
}

fn configuration(dir: &Path, topic: &str) -> String {
    let more = r#"
event_format = "json"
[kafka.properties]
"group.instance.id" = "snapshots"
"session.timeout.ms" = "6000"
[[apps]]
id = "default"
reporting_currency = "USD"
snapshot_widths = ["quarter", "year"]
snapshot_segments = ["country", "store"]
"#;
    write_settings(dir, &brokers(), &topics_of(topic), more)
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

#[test]
fn a_state_that_was_lost_or_is_an_older_copy_publishes_above_the_epoch_that_is_out() {
    let site = Site::new();
    assert_eq!(site.run(), 0);
    assert_eq!(site.run(), 0, "a state that is continued keeps its epoch");
    let backup = site.dir.path().join("backup");
    copy(&site.data(), &backup);

    std::fs::remove_dir_all(site.data()).unwrap();
    assert_eq!(site.run(), 1);
    assert_eq!(site.run(), 1, "the new state remembers its epoch");

    std::fs::remove_dir_all(site.data()).unwrap();
    copy(&backup, &site.data());
    assert_eq!(site.run(), 2);
}

#[test]
fn snapshots_published_while_events_flow_in_are_what_the_log_says_as_of_their_version() {
    let (mut site, events) = (Site::without_events(), events());
    let log = site.dir.path().join("log");
    let served = Served::start(&["--config", &site.config], &log);
    served.wait_for("/v1/apps/default/revenue", |_| true);
    for events in events.chunks(events.len() / 40) {
        site.write(events);
        std::thread::sleep(Duration::from_millis(60));
    }
    let ends = ends(&site.topic, PARTITIONS);
    served.wait_for("/v1/apps/default/revenue", |answer| {
        (0..2).all(|partition| answer["as_of"][partition.to_string()] == ends[partition])
    });
    assert_eq!(served.terminate(), Some(0), "{}", std::fs::read_to_string(&log).unwrap());
    // What readers keep is what would be published now, also of cohorts to which nothing happened of late.
    let mut kept = newest(&format!("{}-snapshots", site.topic), 1);
    let newest_event_at = kept.values().filter_map(|snapshot| snapshot.newest_event_at).max();
    kept.values_mut().for_each(|snapshot| snapshot.newest_event_at = newest_event_at);
    assert!(PLAN.compare(&kept, &site.reference) > 200);
    let by_version = by_version(&format!("{}-snapshots", site.topic), 1);
    assert!(by_version.len() > 5, "{} versions", by_version.len());
    // A reference costs a while; those of any few versions will do.
    let compared = by_version.iter().step_by(by_version.len().div_ceil(12)).map(|found| {
        let ((_, next_offsets), published) = found;
        let mut reference = reference();
        let mut read = [0; 2];
        for json in &events {
            let partition = partition_of(json);
            let offset = &mut read[usize::try_from(partition).unwrap()];
            if *offset < next_offsets[&partition] {
                reference.offer(json, RECORD_TIMESTAMP_MS * 1000);
            }
            *offset += 1;
        }
        PLAN.compare_each(published, &reference)
    });
    assert!(compared.sum::<usize>() > 500);
}
