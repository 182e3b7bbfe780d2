//! Kills of the real process while it reads from a real broker: nothing lost, nothing twice.
//!
//! `CRASH_SEED` chooses the moments. The events are a generated business with late, repeated and
//! corrupt records mixed in; what must come out is computed by the slow reference.

use std::path::Path;
use std::time::Duration;

use ltvstream::codec::json_event::to_json;
use ltvstream::codec::snapshot::SnapshotRecord;
use ltvstream::domain::time::Width;
use ltvstream::generator::{Generator, GeneratorSettings, Share};
use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::reference::{AppSettings, Reference};
use crate::support::facts::stored;
use crate::support::kafka::{Writer, brokers, create_topic, ends, read_all, write_settings};
use crate::support::process::Served;
use crate::support::snapshots::{Plan, newest};
use crate::support::unique;

const KILLS: u32 = 50;
const PARTITIONS: i32 = 2;
const SNAPSHOTS_PARTITIONS: i32 = 2;
/// 2026-06-01: after everything the generator makes.
const RECORD_TIMESTAMP_MS: i64 = 1_780_272_000_000;
/// Answers as soon as a shard is open, and says how far it is.
const QUESTION: &str = "/v1/apps/default/revenue";

/// What a record is: an event in JSON, or bytes that are none.
enum Sent {
    Event(String),
    Corrupt(Vec<u8>),
}

fn records(rng: &mut ChaCha8Rng) -> Vec<Sent> {
    let settings = GeneratorSettings {
        customers: 1_200,
        days: 200,
        seed: 11,
        late: Share::from_ppm(50_000),
        duplicates: Share::from_ppm(50_000),
        ..GeneratorSettings::default()
    };
    let mut records = Vec::new();
    for event in Generator::new(&settings).unwrap() {
        let json = to_json(&event);
        if rng.random_ratio(1, 30) {
            let mut bytes = json.clone().into_bytes();
            bytes.truncate(rng.random_range(0..bytes.len()));
            records.push(Sent::Corrupt(bytes));
        }
        records.push(Sent::Event(json));
    }
    records
}

fn partition_of(json: &str) -> i32 {
    let event: serde_json::Value = serde_json::from_str(json).unwrap();
    let customer = event["customer_id"].as_str().unwrap();
    i32::from(customer.bytes().fold(0u8, u8::wrapping_add) % 2)
}

fn configuration(dir: &Path, topics: &[String; 3]) -> String {
    let more = format!(
        r#"
snapshots_partitions = {SNAPSHOTS_PARTITIONS}
event_format = "json"
[kafka.properties]
"group.instance.id" = "crash"
"session.timeout.ms" = "6000"
[engine]
commit_interval_ms = 150
[snapshots]
interval_ms = 100
[[apps]]
id = "default"
reporting_currency = "USD"
snapshot_widths = ["day", "week", "month", "quarter", "year"]
snapshot_segments = ["country"]
"#
    );
    write_settings(dir, &brokers(), topics, &more)
}

#[test]
fn fifty_kills_lose_nothing_and_count_nothing_twice() {
    let seed = std::env::var("CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(3);
    println!("CRASH_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let topics = ["events", "snapshots", "dlq"].map(|name| unique(&format!("crash-{name}")));
    let [events, snapshots, dead_letters] = &topics;
    create_topic(events, PARTITIONS, "delete");
    let dir = tempfile::tempdir().unwrap();
    let config = configuration(dir.path(), &topics);
    let log = dir.path().join("log");
    let records = records(&mut rng);
    let mut reference = Reference::new(&[AppSettings {
        id: "default".to_owned(),
        reporting_currency: "USD".to_owned(),
        zones: vec!["UTC".to_owned()],
        ..AppSettings::default()
    }]);
    let writer = Writer::new(events);
    let share = records.len().div_ceil(KILLS as usize);
    let mut corrupt: Vec<Vec<u8>> = Vec::new();
    let mut reading = 0;
    for part in records.chunks(share) {
        // One kill in five hits the start itself, the others the reading and publishing.
        let hits_start = rng.random_ratio(1, 5);
        let start = || Served::start(&["--config", &config], &log);
        let opened = (!hits_start).then(|| {
            let served = start();
            let as_of = served.wait_for(QUESTION, |_| true)["as_of"].clone();
            (served, as_of)
        });
        for record in part {
            match record {
                Sent::Event(json) => {
                    reference.offer(json, RECORD_TIMESTAMP_MS * 1000);
                    let value = Some(json.as_bytes());
                    writer.send(partition_of(json), RECORD_TIMESTAMP_MS, Some(b"k"), value);
                }
                Sent::Corrupt(bytes) => {
                    corrupt.push(bytes.clone());
                    let partition = rng.random_range(0..PARTITIONS);
                    writer.send(partition, RECORD_TIMESTAMP_MS, None, Some(bytes));
                }
            }
        }
        let served = match opened {
            None => start(),
            Some((served, as_of)) => {
                for _ in 0..200 {
                    let held = served.get(QUESTION).map(|answer| answer["as_of"].clone());
                    if held.is_some_and(|held| held != as_of) {
                        reading += 1;
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                served
            }
        };
        std::thread::sleep(Duration::from_millis(rng.random_range(0..250)));
        served.kill();
    }
    println!("{reading} of {KILLS} kills hit while it was seen to read");
    assert!(reading >= 20, "only {reading} kills hit while it was reading");
    writer.flush();
    let ends = ends(events, PARTITIONS);
    let served = Served::start(&["--config", &config], &log);
    served.wait_for(QUESTION, |answer| {
        let next = |partition: usize| answer["as_of"][partition.to_string()].as_i64();
        (0..ends.len()).all(|partition| next(partition) == Some(ends[partition]))
    });
    assert_eq!(served.terminate(), Some(0), "{}", std::fs::read_to_string(&log).unwrap());
    check_facts(&config, &reference);
    check_snapshots(snapshots, &reference);
    check_dead_letters(dead_letters, corrupt);
}

fn check_facts(config: &str, reference: &Reference) {
    let (facts, expected) = (stored(config, PARTITIONS), reference.facts());
    assert!(expected.len() > 3_000, "{} facts", expected.len());
    assert!(facts == expected, "facts differ from the reference after the kills");
}

fn check_snapshots(topic: &str, reference: &Reference) {
    let newest = newest(topic, SNAPSHOTS_PARTITIONS);
    let plan = Plan { app: "default", widths: &Width::ALL, segments: &["country"] };
    let compared = plan.compare(&newest, reference);
    assert!(compared > 10_000, "only {compared} ages were compared");
    let some = |what: &dyn Fn(&SnapshotRecord) -> bool| newest.values().any(what);
    assert!(some(&|snapshot| snapshot.refunds > 0), "no refund was compared");
    assert!(some(&|snapshot| snapshot.segment.is_some()), "no segment was compared");
}

fn check_dead_letters(topic: &str, mut corrupt: Vec<Vec<u8>>) {
    let mut found: Vec<Vec<u8>> =
        read_all(topic, 1).into_iter().map(|record| record.value.unwrap_or_default()).collect();
    found.sort();
    corrupt.sort();
    assert!(corrupt.len() > 50);
    assert_eq!(found.len(), corrupt.len(), "dead letters");
    assert!(found == corrupt, "dead letters are not the corrupt records");
}
