//! Promise: while brokers are away, questions are answered as of what was read, and when they are back
//! nothing is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::support::kafka::{topics_of, write_settings};
use crate::support::process::Served;
use crate::support::unique;

const PATIENCE: Duration = Duration::from_secs(60);

/// A broker of one's own, which nobody else misses while it stands still.
struct Broker {
    dir: PathBuf,
    address: String,
}

fn broker(order: &str, dir: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker");
    let heap = ("LTVSTREAM_KAFKA_HEAP", "256m");
    let done = Command::new(script).arg(order).arg(dir).env(heap.0, heap.1).output().unwrap();
    assert!(done.status.success(), "{order}: {}", String::from_utf8_lossy(&done.stderr));
    done
}

impl Broker {
    fn start(dir: PathBuf) -> Self {
        broker("start", &dir);
        let address = std::fs::read_to_string(dir.join("address")).unwrap().trim().to_owned();
        Self { dir, address }
    }

    fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.dir.join("pid")).unwrap();
        assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
    }
}

impl Broker {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    fn produce(&self, topic: &str, value: &str) {
        let producer: BaseProducer = self.config().create().unwrap();
        let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).key("k").payload(value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(PATIENCE).unwrap();
    }

    /// Committed records of a topic of one partition.
    fn count(&self, topic: &str) -> usize {
        let mut config = self.config();
        config.set("group.id", "count").set("isolation.level", "read_committed");
        let consumer: BaseConsumer = config.set("enable.partition.eof", "true").create().unwrap();
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&all).unwrap();
        let (mut count, deadline) = (0, Instant::now() + PATIENCE);
        while Instant::now() < deadline {
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(_)) => count += 1,
                Some(Err(KafkaError::PartitionEOF(_))) => return count,
                Some(Err(_)) | None => {}
            }
        }
        panic!("{topic} has no end");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.signal("-CONT");
        broker("stop", &self.dir);
    }
}

fn purchase(served: &Served, number: u32) {
    let event = format!(
        r#"{{"event_id":"e{number}","app_id":"default","customer_id":"c{number}","kind":"purchase","occurred_at":"2024-01-01T00:00:00Z","gross_micros":1000000,"currency":"USD"}}"#
    );
    ureq::post(format!("{}/v1/events", served.url))
        .header("Content-Type", "application/json")
        .send(event)
        .unwrap();
}

#[test]
fn answers_stay_while_brokers_are_away_for_longer_than_a_session() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path().join("broker"));
    let more = r#"
event_format = "json"
events_partitions = 2
[kafka.properties]
"session.timeout.ms" = "3000"
"heartbeat.interval.ms" = "500"
[snapshots]
interval_ms = 50
[[apps]]
id = "default"
reporting_currency = "USD"
"#;
    let topics = topics_of(&unique("outage"));
    let config = write_settings(dir.path(), &broker.address, &topics, more);
    let log = dir.path().join("log");
    let served = Served::start(&["--config", &config], &log);
    served.wait_for("/readyz", |answer| answer["ready"] == true);
    (0..10).for_each(|number| purchase(&served, number));
    let revenue = |served: &Served| {
        let answer = served.get("/v1/apps/default/ltv")?;
        Some(answer["total"]["to_date"]["revenue"].as_str()?.to_owned())
    };
    broker.produce(&topics[0], "no event");
    served.wait_for("/v1/apps/default/ltv", |_| revenue(&served).as_deref() == Some("10.00"));
    let published_by = Instant::now() + PATIENCE;
    while broker.count(&topics[2]) == 0 {
        assert!(Instant::now() < published_by, "the dead letter is not published");
    }
    let lag = |served: &Served| {
        let url = format!("{}/metrics", served.url);
        let text = ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap();
        text.lines().filter(|line| line.starts_with("ltvstream_lag_records{")).count()
    };
    assert_eq!(lag(&served), 2);

    broker.signal("-STOP");
    let (stopped_at, mut lost_at) = (Instant::now(), None);
    while lost_at.is_none_or(|at: Instant| at.elapsed() < Duration::from_secs(3)) {
        assert!(stopped_at.elapsed() < Duration::from_secs(60), "no partition was ever lost");
        assert_eq!(revenue(&served).as_deref(), Some("10.00"));
        assert!(served.get("/readyz").is_some_and(|answer| answer["ready"] == true));
        let is_lost = std::fs::read_to_string(&log).unwrap().contains("partitions lost");
        lost_at = lost_at.or(is_lost.then(Instant::now));
        std::thread::sleep(Duration::from_millis(100));
    }
    // How far behind it is, nobody can tell.
    assert_eq!(lag(&served), 0);

    broker.signal("-CONT");
    purchase(&served, 10);
    served.wait_for("/v1/apps/default/ltv", |_| revenue(&served).as_deref() == Some("11.00"));
    assert_eq!(served.terminate(), Some(0));
    // What is out is out: of all that was read anew nothing is published twice.
    assert_eq!(broker.count(&topics[2]), 1);
}
