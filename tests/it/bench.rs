//! `ltvstream bench` against a real broker: everything is measured and every sum is right.

use serde_json::Value;

use crate::support::kafka::brokers;
use crate::support::process::ltvstream;

const EVENTS: u64 = 20_000;

#[test]
fn every_part_is_measured_and_every_answer_says_what_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("bench.toml");
    std::fs::write(dir.path().join("rates.csv"), "date,currency,rate\n2024-01-01,EUR,1.1\n")
        .unwrap();
    let brokers = brokers();
    // The rate table lies beside the file that names it, not where the bench runs.
    let text = format!(
        "[kafka]\nbootstrap_servers = \"{brokers}\"\nevent_format = \"avro-single-object\"\n\
         [snapshots]\ninterval_ms = 100\n[[apps]]\nid = \"bench\"\nrates_file = \"rates.csv\"\n\
         snapshot_segments = [\"store\"]\n"
    );
    std::fs::write(&config, text).unwrap();
    let output = ltvstream()
        .args(["bench", "--json", "--seconds", "1", "--rate", "1000", "--partitions", "2"])
        .args(["--events", &EVENTS.to_string(), "--backlog", "3000"])
        .arg("--config")
        .arg(&config)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rungs = report["ladder"]["rungs"].as_array().unwrap();
    let stages: Vec<_> = rungs.iter().map(|rung| rung["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["consume", "decode", "apply", "commit", "publish"]);
    let live = &report["live"];
    for latency in [&live["event_to_query"], &live["event_to_snapshot"]] {
        assert!(latency["count"].as_u64() > Some(0), "{live}");
        let [half, most] = ["p50_ms", "p99_ms"].map(|name| latency[name].as_f64().unwrap());
        assert!(half <= most, "{live}");
    }
    let questions = live["questions"].as_array().unwrap();
    assert_eq!(questions.len(), 21);
    assert!(questions.iter().all(|asked| asked["count"].as_u64() > Some(0)), "{live}");
    assert!(live["sums_checked"].as_u64() > Some(10), "{live}");
    // Frozen, it can't have read what was written then.
    assert!(live["restart"]["behind"].as_i64() >= Some(0), "{live}");
    assert!(live["restart"]["events"].as_u64() > Some(EVENTS + 3_000), "{live}");
}
