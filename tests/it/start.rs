//! Starts that must be refused, before anything is written or anybody is disturbed.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use ltvstream::kafka::KafkaSettings;

use crate::kafka_support::{settings, write_transactions};
use crate::support::embedded::{served, served_with_log};
use crate::support::kafka::{
    brokers, create_topic, delete_records, grow_topic, topics_of, write_settings,
};
use crate::support::process::{Served, ended, ltvstream, signal};
use crate::support::unique;

fn serve(arguments: &[&str]) -> Output {
    ltvstream().arg("serve").args(arguments).output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn configuration(dir: &Path, topic: &str, app: &str) -> String {
    let more = format!(
        r#"
event_format = "json"
[[apps]]
id = "default"
reporting_currency = "USD"
{app}
"#
    );
    write_settings(dir, &brokers(), &topics_of(topic), &more)
}

#[test]
fn a_second_process_on_a_data_directory_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let topic = unique("start");
    create_topic(&topic, 2, "delete");
    let config = configuration(dir.path(), &topic, "");
    let first = Served::start(&["--config", &config], &dir.path().join("log"));
    first.wait_for("/readyz", |answer| answer["ready"] == true);
    let second = serve(&["--config", &config]);
    assert_eq!(second.status.code(), Some(3), "{}", words(&second));
    assert!(words(&second).contains("in use by another process"), "{}", words(&second));
    assert!(first.get("/v1/apps/default/ltv").is_some());
    assert_eq!(first.terminate(), Some(0));
}

#[test]
fn while_brokers_are_waited_for_the_process_says_that_it_lives_and_ends_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    // Takes connections and answers nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let brokers = silent.local_addr().unwrap().to_string();
    let more = "event_format = \"json\"\n[[apps]]\nid = \"default\"\n";
    let config = write_settings(dir.path(), &brokers, &topics_of("start"), more);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let serve = ["serve", "--config", &config, "--listen", &free.to_string()];
    let mut child =
        ltvstream().args(serve).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
    let agent = ureq::Agent::new_with_config(config);
    let ask = |path: &str| {
        let mut answer = agent.get(format!("http://{free}{path}")).call().ok()?;
        Some((answer.status().as_u16(), answer.body_mut().read_to_string().ok()?))
    };
    let begun = Instant::now();
    let lives = loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody answers");
        match ask("/healthz") {
            Some(answer) => break answer,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let ready = ask("/readyz");
    signal("TERM", &child);
    // By itself, not by what the system does with a signal that nobody asked for: it does nothing to the
    // first process of a container.
    assert_eq!(ended(&mut child), Some(143));
    assert_eq!(lives, (200, "ok\n".to_owned()));
    let (status, body) = ready.unwrap();
    assert_eq!(status, 503);
    assert!(body.contains("\"reason\":\"the service is starting\""), "{body}");
}

#[test]
fn a_topic_that_gets_more_partitions_ends_the_service_and_refuses_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let topic = unique("start");
    create_topic(&topic, 1, "delete");
    let config = configuration(dir.path(), &topic, "");
    let soon = "[kafka.properties]\n\"topic.metadata.refresh.interval.ms\" = \"500\"\n[[apps]]";
    let text = std::fs::read_to_string(&config).unwrap().replacen("[[apps]]", soon, 1);
    std::fs::write(&config, text).unwrap();
    let log = dir.path().join("log");
    // The next start refuses what is stored, which it is when the first has ended in order.
    let first = Served::start(&["--config", &config], &log);
    first.wait_for("/readyz", |answer| answer["ready"] == true);
    assert_eq!(first.terminate(), Some(0));
    let running = Served::start(&["--config", &config], &log);
    running.wait_for("/readyz", |answer| answer["ready"] == true);
    grow_topic(&topic, 2);
    assert_eq!(running.end(), Some(2));
    let found = format!("from topic {topic} of 1 partitions, not from");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains(&format!("{found} one of more partitions")), "{log}");
    let again = serve(&["--config", &config]);
    assert_eq!(again.status.code(), Some(2), "{}", words(&again));
    let said = format!("{found} topic {topic} of 2 partitions");
    assert!(words(&again).contains(&said), "{}", words(&again));
}

#[test]
fn offsets_that_hold_no_record_are_passed_and_are_no_gap_when_retention_removes_them() {
    let dir = tempfile::tempdir().unwrap();
    let topic = unique("start");
    create_topic(&topic, 1, "delete");
    let settings = KafkaSettings { events_topic: topic.clone(), ..settings("start", 1) };
    // Five records that are no events, two of them taken back, and three marks of transactions.
    write_transactions(&settings);
    let config = configuration(dir.path(), &topic, "");
    let log = dir.path().join("log");
    for _ in 0..2 {
        let service = Served::start(&["--config", &config], &log);
        service.wait_for("/v1/apps/default/ltv?min_as_of=0:8", |answer| answer["as_of"]["0"] == 8);
        service.wait_for("/readyz", |answer| answer["lag_records"]["0"] == 0);
        assert_eq!(service.terminate(), Some(0));
        delete_records(&topic, 8);
    }
}

#[test]
fn a_state_of_another_log_and_other_rules_are_refused_as_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let topic = unique("start");
    create_topic(&topic, 1, "delete");
    let config = configuration(dir.path(), &topic, "");
    let embedded = Served::start(&["--embedded", "--config", &config], &dir.path().join("log"));
    let event = r#"{"event_id":"e","app_id":"default","customer_id":"c","kind":"purchase",
        "occurred_at":"2024-01-01T00:00:00Z","gross_micros":1000000,"currency":"USD"}"#;
    ureq::post(format!("{}/v1/events", embedded.url))
        .header("Content-Type", "application/json")
        .send(event)
        .unwrap();
    assert_eq!(embedded.terminate(), Some(0));

    let by_kafka = serve(&["--config", &config]);
    assert_eq!(by_kafka.status.code(), Some(2), "{}", words(&by_kafka));
    assert!(words(&by_kafka).contains("computed from embedded"), "{}", words(&by_kafka));

    let zones = configuration(dir.path(), &topic, "reporting_zones = [\"Asia/Tokyo\"]");
    let changed = serve(&["--embedded", "--config", &zones]);
    assert_eq!(changed.status.code(), Some(2), "{}", words(&changed));
    assert!(words(&changed).contains("+ reporting_zones = Asia/Tokyo"), "{}", words(&changed));

    let service = "[service]\nfuture_limit_seconds = 60\n";
    let limited = std::fs::read_to_string(&config).unwrap().replace("[service]\n", service);
    let limited_file = dir.path().join("limited.toml");
    std::fs::write(&limited_file, limited).unwrap();
    for rebuild in [&[][..], &["--rebuild"]] {
        let limited = limited_file.to_str().unwrap();
        let changed = serve(&[&["--embedded", "--config", limited][..], rebuild].concat());
        assert_eq!(changed.status.code(), Some(2), "{}", words(&changed));
        let said = "- future_limit_seconds = 86400; + future_limit_seconds = 60";
        assert!(words(&changed).contains(said), "{}", words(&changed));
    }

    let arguments = ["--embedded", "--config", &zones, "--rebuild"];
    let rebuilt = Served::start(&arguments, &dir.path().join("log"));
    let answer = rebuilt.get("/v1/apps/default/ltv?zone=Asia/Tokyo&width=day").unwrap();
    assert_eq!(answer["cohorts"][0]["start"], "2024-01-01");
    assert_eq!(answer["total"]["to_date"]["revenue"], "1.00");
}

#[test]
fn a_service_that_can_not_write_its_log_serves_and_ends_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let service = served_with_log(dir.path(), Path::new("/dev/full"));
    service.wait_for("/readyz", |answer| answer["ready"] == true);
    let metrics = ureq::get(format!("{}/metrics", service.url)).call().unwrap();
    let metrics = metrics.into_body().read_to_string().unwrap();
    // Where it goes on is known before the first commit.
    assert!(metrics.contains("ltvstream_next_offset{partition=\"0\"} 0\n"), "{metrics}");
    assert_eq!(service.terminate(), Some(0));
}

#[test]
fn the_reason_of_a_failed_start_is_in_the_log_s_own_form() {
    let dir = tempfile::tempdir().unwrap();
    let first = served(dir.path());
    let data = dir.path().join("data").to_string_lossy().into_owned();
    let embedded = ["--embedded", "--listen", "127.0.0.1:0", "--data-dir", &data];
    let second = serve(&[&embedded[..], &["--log-format", "json"]].concat());
    assert_eq!(second.status.code(), Some(3));
    let read = |line: &str| serde_json::from_str(line).unwrap();
    let lines: Vec<serde_json::Value> = words(&second).lines().map(read).collect();
    let (level, message) = lines.last().map(|line| (&line["level"], &line["message"])).unwrap();
    assert_eq!(level, "ERROR");
    assert!(message.to_string().contains("in use by another process"), "{message}");
    assert_eq!(first.terminate(), Some(0));
}
