//! TLS and passwords: `[kafka.properties]` reach every client that the service makes.

use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::Value;

use crate::support::kafka::{brokers, read_all, topics_of, write_settings};
use crate::support::process::{Served, ltvstream};
use crate::support::unique;

/// Who the broker of the tests lets in.
const USER: &str = "billing";
const PASSWORD: &str = "only-for-tests";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `./ltv test`"))
}

fn configuration(dir: &Path, topic: &str, password: &str, authority: &str) -> String {
    let more = format!(
        r#"
event_format = "json"
events_partitions = 1
[kafka.properties]
"security.protocol" = "SASL_SSL"
"sasl.mechanisms" = "PLAIN"
"sasl.username" = "{USER}"
"sasl.password" = "{password}"
"ssl.ca.location" = "{authority}"
[snapshots]
interval_ms = 50
[[apps]]
id = "default"
reporting_currency = "USD"
"#
    );
    write_settings(dir, &variable("LTVSTREAM_TEST_KAFKA_SECURED"), &topics_of(topic), &more)
}

fn committed(group: &str, topic: &str) -> Option<i64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("group.id", group)
        .create()
        .unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let answer = consumer.committed_offsets(asked, Duration::from_secs(20)).unwrap();
    answer.find_partition(topic, 0).unwrap().offset().to_raw()
}

#[test]
fn the_service_reads_publishes_and_commits_over_tls_with_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let topic = unique("secured");
    let authority = variable("LTVSTREAM_TEST_KAFKA_CA");
    let config = configuration(dir.path(), &topic, PASSWORD, &authority);
    let served = Served::start(&["--config", &config], &dir.path().join("log"));
    let lines: Vec<String> = (0..20)
        .map(|n| {
            format!(
                r#"{{"event_id":"e{n}","app_id":"default","customer_id":"c{n}","kind":"purchase","occurred_at":"2024-01-01T00:00:00Z","gross_micros":1000000,"currency":"USD"}}"#
            )
        })
        .collect();
    let mut answer = ureq::post(format!("{}/v1/events", served.url))
        .header("Content-Type", "application/x-ndjson")
        .send(lines.join("\n"))
        .unwrap();
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(answer["accepted"], 20, "{answer}");
    let ltv = served.wait_for("/v1/apps/default/ltv", |ltv| ltv["as_of"]["0"] == 20);
    assert_eq!(ltv["total"]["to_date"]["revenue"], "20.00");
    assert_eq!(served.terminate(), Some(0));
    assert!(!read_all(&format!("{topic}-snapshots"), 1).is_empty());
    assert_eq!(committed(&topic, &topic), Some(20));
}

/// Starts in vain; what it said.
fn refusal(password: &str, authority: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let config = configuration(dir.path(), &unique("refused"), password, authority);
    let output = ltvstream().args(["serve", "--config", &config]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{words}");
    let error = words.lines().find(|line| line.starts_with("error: "));
    error.unwrap_or_else(|| panic!("no error in {words}")).to_owned()
}

#[test]
fn a_wrong_password_ends_the_start_and_is_named_but_not_shown() {
    let error = refusal("hunter2", &variable("LTVSTREAM_TEST_KAFKA_CA"));
    assert!(error.contains("Invalid username or password"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_broker_whose_certificate_is_not_trusted_is_not_talked_to() {
    // Some other authority: the certificate of nobody, made for this test.
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.pem");
    std::fs::write(&other, OTHER_AUTHORITY).unwrap();
    let error = refusal(PASSWORD, &other.to_string_lossy());
    assert!(error.contains("certificate"), "{error}");
}

/// Self-signed, its key thrown away.
const OTHER_AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBeTCCAR+gAwIBAgIUZfn3Fivf1r5zVUWgzwBSYSo+pTwwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGbm9ib2R5MCAXDTI2MTEyMTE1MzY1OVoYDzIxMjYxMDI4MTUz
NjU5WjARMQ8wDQYDVQQDDAZub2JvZHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AASypeMCO2URgGrr8oXZIkq+SGp7wSGHpusBE27HW+m0L6Z5PcZyCooH2yA1vsPz
Z8MfMOqKqzaXxl1wNetGd/A6o1MwUTAdBgNVHQ4EFgQU/Fi0DZauSHgAe0rKzhU9
tz32YxMwHwYDVR0jBBgwFoAU/Fi0DZauSHgAe0rKzhU9tz32YxMwDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiAF5nOcxaYi7mUR/UKqWiZpeabJPq0K
DRivbmYPwc7m9wIhAORV8i28yBOzydXy3Ru1ViLioI6C5DOOCZ+uuUrR/zjr
-----END CERTIFICATE-----
";
