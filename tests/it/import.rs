//! `ltvstream import`: nothing of a file disappears, and the exit code says whether all of it counts.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use ltvstream::codec::avro_event::BILLING_EVENT_V1;
use ltvstream::codec::json_event;
use ltvstream::config::hash_of;
use serde_json::Value;

use crate::support::embedded::{payment, served};
use crate::support::process::{Served, run_in};

/// The lines of the file of refused rows.
fn rejects(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_refusal_of_a_service_is_counted_and_written_however_many_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let service = served(dir.path());
    // There is no rate for the euro; the file itself has no fault.
    let currency = |n: usize| if n.is_multiple_of(250) { "USD" } else { "EUR" };
    let lines: Vec<String> = (0..2_500).map(|n| payment(n, currency(n))).collect();
    fs::write(dir.path().join("events.ndjson"), lines.join("\n")).unwrap();
    let (code, out, err) = run_in(dir.path(), &["import", "events.ndjson", "--to", &service.url]);
    let expected = "refused rows of events.ndjson: events.ndjson.rejects.ndjson\n\
        accepted 10 (0 suspended at first), repeated 0, refused 2490, left out by the map 0\n  \
        refused as missing_rate: 2490\n";
    assert_eq!((code, out.as_str(), err.as_str()), (Some(1), expected, ""));
    let rejects = rejects(&dir.path().join("events.ndjson.rejects.ndjson"));
    let found: Vec<u64> = rejects.iter().map(|row| row["line"].as_u64().unwrap()).collect();
    let refused = (0..2_500u64).filter(|n| !n.is_multiple_of(250)).map(|n| n + 1);
    assert_eq!(found, refused.collect::<Vec<u64>>());
}

#[test]
fn a_table_whose_quotes_are_wrong_is_told_and_the_reasons_of_a_map_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let map = r#"
[fields]
event_id = { column = "id" }
customer_id = { column = "who" }
kind = "install"
occurred_at = { column = "at" }
[[skip_when]]
column = "who"
empty = true
reason = "nobody"
[[skip_when]]
column = "id"
starts_with = "x"
"#;
    fs::write(dir.path().join("map.toml"), map).unwrap();
    let row = |id: &str, who: &str, note: &str| format!("{id},{who},2026-01-05T09:00:00Z,{note}\n");
    let good = "id,who,at,note\n".to_owned() + &row("1", "A", "") + &row("2", "", "");
    let command = ["import", "t.csv", "--map", "map.toml", "--data-dir", "data"];
    let import = |table: String| {
        fs::write(dir.path().join("t.csv"), table).unwrap();
        run_in(dir.path(), &command)
    };
    let (code, out, _) = import(good.clone() + &row("3", "B", "\"12 inch") + &row("4", "C", ""));
    let counted = "accepted 1 (0 suspended at first), repeated 0, refused 0, left out by the map 1\n  \
        left out by the map, nobody: 1\n";
    assert_eq!((code, out.as_str()), (Some(3), counted));
    let (code, out, err) = import(good + &row("3", "B", "\"12\" inch") + &row("4", "C", ""));
    assert_eq!(code, Some(1), "{err}");
    assert!(out.contains("accepted 1 (0 suspended at first), repeated 1, refused 1,"), "{out}");
    assert!(out.contains("refused as text_after_quote: 1\n"), "{out}");
    let rejects = rejects(&dir.path().join("t.csv.rejects.ndjson"));
    assert_eq!((&rejects[0]["line"], rejects.len()), (&4.into(), 1));
}

/// So many payments as an Avro container, a block each hundred.
fn container(count: usize) -> Vec<u8> {
    let sync = [7; 16];
    let mut bytes = b"Obj\x01".to_vec();
    let text = |bytes: &mut Vec<u8>, text: &[u8]| {
        long(bytes, text.len());
        bytes.extend_from_slice(text);
    };
    long(&mut bytes, 1);
    text(&mut bytes, b"avro.schema");
    text(&mut bytes, BILLING_EVENT_V1.as_bytes());
    long(&mut bytes, 0);
    bytes.extend_from_slice(&sync);
    for first in (0..count).step_by(100) {
        let mut block = Vec::new();
        for n in first..count.min(first + 100) {
            let json = payment(n, "USD");
            let event = json_event::decode(json.as_bytes()).unwrap();
            ltvstream::codec::avro_event::encode(&event, &mut block);
        }
        long(&mut bytes, count.min(first + 100) - first);
        text(&mut bytes, &block);
        bytes.extend_from_slice(&sync);
    }
    bytes
}

/// Appends a number as Avro does.
fn long(bytes: &mut Vec<u8>, number: usize) {
    let mut zigzag = number * 2;
    while zigzag >= 0x80 {
        bytes.push((zigzag % 0x80) as u8 | 0x80);
        zigzag /= 0x80;
    }
    bytes.push(zigzag as u8);
}

#[test]
fn a_damaged_file_ends_with_3_and_what_was_read_before_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    for n in 0..1_000 {
        writeln!(gzip, "{}", payment(n, "USD")).unwrap();
    }
    let gzip = gzip.finish().unwrap();
    let avro = container(1_000);
    let whole = ["import", "events", "--format", "avro", "--data-dir", "whole"];
    fs::write(dir.path().join("events"), &avro).unwrap();
    let (code, out, err) = run_in(dir.path(), &whole);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.starts_with("accepted 1000 (0 suspended at first), repeated 0, refused 0,"),
        "{out}"
    );

    let mut no_sync = avro.clone();
    *no_sync.last_mut().unwrap() = 8;
    for (name, bytes, format) in [
        ("cut.gz", &gzip[..gzip.len() / 2], "ndjson"),
        ("cut.avro", &avro[..avro.len() / 2], "avro"),
        ("no_sync.avro", &no_sync[..], "avro"),
    ] {
        fs::write(dir.path().join(name), bytes).unwrap();
        let to = format!("{name}.data");
        let arguments = ["import", name, "--format", format, "--data-dir", &to, "--allow-refused"];
        let (code, out, err) = run_in(dir.path(), &arguments);
        assert_eq!(code, Some(3), "{name}: {out}{err}");
        assert!(err.starts_with(&format!("error: {name}:")), "{err}");
        assert!(err.contains("the file can't be read further"), "{err}");
        let accepted = out.strip_prefix("accepted ").and_then(|out| out.split(' ').next());
        let accepted: usize = accepted.unwrap().parse().unwrap();
        assert!((300..=900).contains(&accepted), "{name}: {out}");
        assert!(out.contains("refused 0,"), "{name}: {out}");
    }
}

#[test]
fn a_file_that_is_damaged_from_its_beginning_ends_with_3_and_the_wrong_one_with_2() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("text.avro"), "event_id,app_id\n").unwrap();
    fs::write(dir.path().join("table.csv"), "event_id,curency\n").unwrap();
    fs::write(dir.path().join("map.toml"), "[fields]\n").unwrap();
    let import = |arguments: &[&str]| {
        let to = ["--data-dir", "data", "--allow-refused"];
        run_in(dir.path(), &[&["import"], arguments, &to].concat())
    };
    let (code, _, err) = import(&["text.avro"]);
    assert_eq!(code, Some(3), "{err}");
    assert!(err.starts_with("error: text.avro is not an Avro container file"), "{err}");
    for (arguments, expected) in [
        (&["absent.csv"][..], "error: absent.csv can't be read: No such file"),
        (&["table.csv"], "error: table.csv has the unknown column \"curency\""),
        (&["table.csv", "--map", "map.toml"], "error: the map is wrong: "),
    ] {
        let (code, _, err) = import(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {err}");
        assert!(err.starts_with(expected), "{arguments:?}: {err}");
    }
}

#[test]
fn a_service_that_takes_less_at_once_is_handed_less() {
    let dir = tempfile::tempdir().unwrap();
    // Some ten payments.
    fs::write(dir.path().join("small.toml"), "[service]\nmax_body_bytes = 2048\n").unwrap();
    let [config, data] = ["small.toml", "data"].map(|name| dir.path().join(name));
    let [config, data] = [&config, &data].map(|path| path.to_string_lossy());
    let arguments = ["--embedded", "--config", &config, "--data-dir", &data];
    let listen = ["--listen", "127.0.0.1:0"];
    let service = Served::start(&[&arguments[..], &listen].concat(), &dir.path().join("log"));
    let lines: Vec<String> = (0..300).map(|n| payment(n, "USD")).collect();
    fs::write(dir.path().join("events.ndjson"), lines.join("\n")).unwrap();
    let import = || run_in(dir.path(), &["import", "events.ndjson", "--to", &service.url]);
    let (code, out, err) = import();
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with("accepted 300 "), "{out}");
    // What does not fit alone is refused, and what comes after it is taken.
    let attributes: Vec<String> =
        (0..20).map(|n| format!("\"a{n}\":\"{}\"", "x".repeat(150))).collect();
    let large = format!("{{\"attributes\":{{{}}},", attributes.join(","));
    let lines = [payment(301, "USD").replacen('{', &large, 1), payment(302, "USD")];
    fs::write(dir.path().join("events.ndjson"), lines.join("\n")).unwrap();
    let (code, out, err) = import();
    assert_eq!((code, err.as_str()), (Some(1), ""));
    assert!(out.contains("accepted 1 (0 suspended at first), repeated 0, refused 1,"), "{out}");
    let rejects = rejects(&dir.path().join("events.ndjson.rejects.ndjson"));
    let message = Value::from("the body is longer than 2048 bytes");
    assert_eq!((&rejects[0]["code"], &rejects[0]["message"]), (&"too_large".into(), &message));
}

#[test]
fn refused_rows_are_not_written_over_a_file_that_is_imported() {
    let dir = tempfile::tempdir().unwrap();
    let service = served(dir.path());
    let [events, repaired, next] =
        ["events.ndjson", "events.ndjson.rejects.ndjson", "events.ndjson.rejects.2.ndjson"];
    fs::write(dir.path().join(events), payment(1, "EUR")).unwrap();
    fs::write(dir.path().join(repaired), payment(2, "USD")).unwrap();
    let also = format!("./{repaired}");
    let (code, out, _) = run_in(dir.path(), &["import", "--to", &service.url, events, &also]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("accepted 1 (0 suspended at first), repeated 0, refused 1,"), "{out}");
    assert_eq!(fs::read_to_string(dir.path().join(repaired)).unwrap(), payment(2, "USD"));
    assert_eq!(rejects(&dir.path().join(next))[0]["code"], "missing_rate");
}

#[test]
fn an_event_counts_as_suspended_as_it_is_when_all_are_in() {
    let dir = tempfile::tempdir().unwrap();
    let service = served(dir.path());
    let refund = |n: usize, of: usize| {
        let linked = format!("\"refund\",\"transaction_id\":\"e{of}\"");
        let refund = payment(of, "USD").replace("\"purchase\"", &linked);
        refund.replace(&format!("\"event_id\":\"e{of}\""), &format!("\"event_id\":\"r{n}\""))
    };
    // The first has its payment behind it, the second has none.
    let lines = [refund(1, 1), refund(2, 2), payment(1, "USD")];
    fs::write(dir.path().join("events.ndjson"), lines.join("\n")).unwrap();
    let (_, out, _) = run_in(dir.path(), &["import", "events.ndjson", "--to", &service.url]);
    assert!(out.starts_with("accepted 3 (1 suspended at first), "), "{out}");
    let waiting = service.get("/v1/suspended").unwrap();
    assert_eq!(waiting["suspended"].as_array().unwrap().len(), 1, "{waiting}");
}

#[test]
fn events_of_another_app_than_the_keys_are_refused_and_an_unknown_key_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let configuration = format!(
        "[[apps]]\nid = \"default\"\nreporting_currency = \"USD\"\n\
         [[apps]]\nid = \"acme\"\nreporting_currency = \"USD\"\n\
         [[api_keys]]\nname = \"writer\"\nsha256 = \"{}\"\napps = [\"acme\"]\n\
         scopes = [\"ingest\"]\n",
        hex::encode(hash_of("secret"))
    );
    fs::write(dir.path().join("keys.toml"), configuration).unwrap();
    let [config, data] = ["keys.toml", "data"].map(|name| dir.path().join(name));
    let [config, data] = [&config, &data].map(|path| path.to_string_lossy());
    let arguments = ["--embedded", "--config", &config, "--data-dir", &data];
    let listen = ["--listen", "127.0.0.1:0"];
    let service = Served::start(&[&arguments[..], &listen].concat(), &dir.path().join("log"));
    fs::write(dir.path().join("events.ndjson"), payment(1, "USD")).unwrap();
    let import = |secret: &str| {
        let to = ["import", "events.ndjson", "--to", &service.url, "--api-key", secret];
        run_in(dir.path(), &to)
    };
    let (code, out, err) = import("secret");
    assert_eq!((code, err.as_str()), (Some(1), ""), "{out}");
    let rejects = rejects(&dir.path().join("events.ndjson.rejects.ndjson"));
    let message = "the API key is not for app \"default\" but for \"acme\"";
    assert_eq!((rejects.len(), rejects[0]["message"].as_str()), (1, Some(message)));
    let (code, out, err) = import("guess");
    let expected = "error: the events are refused: the API key is not known\n";
    assert_eq!((code, err.as_str()), (Some(2), expected));
    assert!(out.starts_with("accepted 0 "), "{out}");
}

#[test]
fn refused_rows_are_written_with_their_reason_and_taken_once_they_are_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let service = served(dir.path());
    let negative = payment(3, "USD").replace("1000000", "-1");
    let lines = [payment(1, "USD"), payment(2, "EUR"), negative.clone(), "{".to_owned()];
    fs::write(dir.path().join("events.ndjson"), lines.join("\n")).unwrap();
    let import =
        |more: &[&str]| run_in(dir.path(), &[&["import", "--to", &service.url], more].concat());
    let (code, out, err) = import(&["events.ndjson"]);
    assert_eq!((code, err.as_str()), (Some(1), ""));
    assert!(out.contains("accepted 1 (0 suspended at first), repeated 0, refused 3,"), "{out}");
    let mut rows = rejects(&dir.path().join("events.ndjson.rejects.ndjson"));
    rows.sort_by_key(|row| row["line"].as_u64());
    let cells = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(cells("line"), [2, 3, 4]);
    assert_eq!(cells("code"), ["missing_rate", "invalid_gross_micros", "truncated"]);
    let field = |name: &str| Value::from(name);
    assert_eq!(cells("field"), [field("reporting_rate"), field("gross_micros"), Value::Null]);
    assert!(rows.iter().all(|row| !row["message"].as_str().unwrap().is_empty()), "{rows:?}");
    let raw = cells("raw");
    let as_json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(as_json(raw[0].as_str().unwrap())["currency"], "EUR");
    assert_eq!((&raw[1], &raw[2]), (&Value::from(negative), &Value::from("{")));

    let repaired = raw[..2].iter().map(|raw| raw.as_str().unwrap());
    let repaired: Vec<String> =
        repaired.map(|raw| raw.replace("EUR", "USD").replace("-1", "1000000")).collect();
    fs::write(dir.path().join("repaired.ndjson"), repaired.join("\n")).unwrap();
    let (code, out, _) = import(&["repaired.ndjson"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.starts_with("accepted 2 (0 suspended at first), repeated 0, refused 0,"), "{out}");
    assert!(!dir.path().join("repaired.ndjson.rejects.ndjson").exists());

    let (code, out, _) = import(&["events.ndjson", "--allow-refused"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("accepted 0 (0 suspended at first), repeated 1, refused 3,"), "{out}");
    let revenue = service.get("/v1/apps/default/revenue?width=year").unwrap();
    assert_eq!(revenue["total"]["revenue"], "3.00");
}
