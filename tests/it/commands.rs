//! Commands over a service or its state: what they print is what was handed in.

use std::fs;
use std::path::Path;

use ltvstream::codec::stored::{
    POSITION_KEY, decode_position, decode_suspended, encode_position, encode_suspended,
};
use ltvstream::config::{Config, Mode, Sources};
use ltvstream::service::Stores;
use ltvstream::store::rocks::{RocksSettings, RocksShared, RocksStore};
use ltvstream::store::{Batch, Durability, Store as _, Table};
use serde_json::Value;

use crate::support::embedded::{payment, served};
use crate::support::process::run_in;

/// Hands lines in as a file; all must be accepted or refused as said.
fn import(folder: &Path, lines: &[String], arguments: &[&str]) {
    fs::write(folder.join("events.ndjson"), lines.join("\n")).unwrap();
    let (code, out, err) =
        run_in(folder, &[&["import", "events.ndjson", "--allow-refused"], arguments].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
}

#[test]
fn a_customer_is_asked_for_by_an_id_of_any_characters() {
    let dir = tempfile::tempdir().unwrap();
    let service = served(dir.path());
    let ids = ["a/b", "what?", "#1", "one two", "100%", "a%2Fb", "Zoë+1", "../ltv", "&x=y"];
    let of = |(n, id): (usize, &&str)| {
        payment(n, "USD").replace(&format!("\"c{n}\""), &format!("\"{id}\""))
    };
    let lines: Vec<String> = ids.iter().enumerate().map(of).collect();
    import(dir.path(), &lines, &["--to", &service.url]);
    for id in ids {
        let question = format!("customers/{id}");
        let arguments = ["query", &question, "--url", &service.url, "--format", "json"];
        let (code, out, err) = run_in(dir.path(), &arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{id}");
        let answer: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(answer["customer_id"], id);
        assert_eq!(answer["ledger"].as_array().unwrap().len(), 1, "{answer}");
    }
    let (code, _, err) = run_in(dir.path(), &["query", "customers/a", "--url", &service.url]);
    let expected = "error: app \"default\" has no event of customer \"a\"\n";
    assert_eq!((code, err.as_str()), (Some(2), expected));
}

#[test]
fn a_question_is_answered_as_table_csv_and_json() {
    let dir = tempfile::tempdir().unwrap();
    let service = served(dir.path());
    // Two customers pay 1 at first, one of them another 1 on the 20th day.
    let again = payment(1, "USD").replace("\"e1\"", "\"e3\"").replace("01-01T", "01-20T");
    import(dir.path(), &[payment(1, "USD"), payment(2, "USD"), again], &["--to", &service.url]);
    let query = |more: &[&str]| {
        let question = ["query", "ltv", "width=month", "age=days", "ages=0,30"];
        run_in(dir.path(), &[&question[..], &["--url", &service.url], more].concat())
    };
    let (code, table, err) = query(&[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let row = table.lines().find(|line| line.contains("2024-01-01")).unwrap();
    let cells: Vec<&str> =
        row.split(|c: char| !c.is_ascii_graphic()).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(cells, ["2024-01-01", "2", "2", "1.00", "1.50"], "{table}");
    assert!(table.contains("USD gross per customer, cumulative, by days"), "{table}");

    let (code, json, _) = query(&["--format", "json"]);
    let answer: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &answer["total"]["to_date"]["revenue"]), (Some(0), &Value::from("3.00")));
    let (code, csv, _) = query(&["--format", "csv"]);
    assert_eq!(code, Some(0));
    assert_eq!(query(&["format=csv"]), (Some(0), csv.clone(), String::new()));
    assert!(csv.lines().count() > 1 && csv.lines().all(|line| line.contains(',')), "{csv}");

    let (code, _, err) = query(&["zone=Mars"]);
    assert_eq!(code, Some(2));
    assert!(err.starts_with("error: zone must be"), "{err}");
    let unreachable = ["query", "ltv", "--url", "http://127.0.0.1:9"];
    assert_eq!(run_in(dir.path(), &unreachable).0, Some(3));
}

#[test]
fn a_state_that_is_not_there_or_of_an_app_that_is_not_configured_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("acme.toml"), "[[apps]]\nid = \"acme\"\n").unwrap();
    fs::write(
        dir.path().join("both.toml"),
        "[[apps]]\nid = \"acme\"\n[[apps]]\nid = \"default\"\n",
    )
    .unwrap();
    let of_acme = payment(1, "USD").replace("\"default\"", "\"acme\"");
    import(dir.path(), &[of_acme], &["--config", "acme.toml", "--data-dir", "data"]);
    let run = |arguments: &[&str]| {
        let (code, _, err) = run_in(dir.path(), arguments);
        (code, err.lines().next().unwrap_or_default().to_owned())
    };
    let audit = ["audit", "--embedded", "--data-dir", "data"];
    let expected = "error: the state holds events of app \"acme\", which is not configured";
    assert_eq!(run(&audit), (Some(2), expected.to_owned()));
    assert_eq!(run(&[&audit[..], &["--config", "both.toml"]].concat()), (Some(0), String::new()));
    for command in [&["audit", "--embedded"][..], &["dead-letters", "list"]] {
        let (code, err) = run(&[command, &["--data-dir", "nowhere"]].concat());
        assert_eq!(code, Some(2), "{err}");
        assert!(err.starts_with("error: there is no state in nowhere: "), "{err}");
    }
    let (code, out, _) = run_in(
        dir.path(),
        &["dead-letters", "list", "--data-dir", "data", "--config", "both.toml"],
    );
    assert_eq!((code, out.as_str()), (Some(0), "no dead letters\n"));
}

#[test]
fn an_address_without_its_scheme_and_a_form_that_is_not_there_are_usage_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, err) = run_in(dir.path(), &["query", "ltv", "--url", "localhost:8080"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("must begin with http:// or https://"), "{err}");
    let (code, _, err) = run_in(dir.path(), &["query", "customers/a", "--format", "csv"]);
    let expected = "error: customers/a has no CSV; --format must be table or json\n";
    assert_eq!((code, err.as_str()), (Some(2), expected));
}

#[test]
fn dead_letters_are_listed_by_the_service_and_from_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let service = served(dir.path());
    let lines = [payment(1, "EUR"), payment(2, "USD"), payment(3, "EUR")];
    import(dir.path(), &lines, &["--to", &service.url]);
    let list = |more: &[&str]| run_in(dir.path(), &[&["dead-letters", "list"], more].concat());
    let reasons = |json: &str| -> Vec<(Value, Value)> {
        let answer: Value = serde_json::from_str(json).unwrap();
        let letters = answer["dead_letters"].as_array().unwrap();
        letters.iter().map(|row| (row["offset"].clone(), row["reason"].clone())).collect()
    };
    let expected = [0, 2].map(|offset| (Value::from(offset), Value::from("missing_rate")));
    let (code, json, err) = list(&["--url", &service.url, "--format", "json"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(reasons(&json), expected);
    let (_, table, _) = list(&["--url", &service.url]);
    let rows = table.lines().filter(|line| line.contains("missing_rate"));
    assert_eq!(rows.count(), 2, "{table}");

    assert_eq!(service.terminate(), Some(0));
    let (code, json, err) = list(&["--data-dir", "data", "--format", "json"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(reasons(&json), expected);
    let (_, json, _) = list(&["--data-dir", "data", "--format", "json", "--limit", "1"]);
    assert_eq!(reasons(&json), expected[..1]);
}

#[test]
fn the_same_seed_generates_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let generate = |seed: &str, more: &[&str]| {
        let of = ["generate", "--customers", "60", "--days", "90", "--seed", seed];
        let (code, out, err) = run_in(dir.path(), &[&of, more].concat());
        assert_eq!((code, err.as_str()), (Some(0), ""));
        out
    };
    let events = generate("7", &[]);
    assert!(events.lines().count() > 100);
    assert_eq!(generate("7", &[]), events);
    assert_eq!(generate("7", &["--out", "events.ndjson"]), "");
    assert_eq!(fs::read_to_string(dir.path().join("events.ndjson")).unwrap(), events);
    assert_ne!(generate("8", &[]), events);
}

/// Changes three stored values behind the back of the service, each with a valid checksum.
fn plant(data: &Path) {
    let flags = vec![("--data-dir", "service.data_dir", data.to_string_lossy().into_owned())];
    let sources = Sources { file: None, environment: Vec::new(), flags };
    let config = Config::load(&sources, Mode::Embedded).unwrap();
    let stores = Stores::new(&config);
    let mut live = stores.open_shard(0, &config).unwrap();
    let fact = live.shard.facts.iter().next().unwrap();
    live.shard.facts.add(fact.key, fact.sums);
    live.commit(Durability::Machine).unwrap();
    drop(live);

    let shared = RocksShared::new(8 << 20, 8 << 20);
    let settings = RocksSettings { shared, durability: Durability::Machine };
    let store = RocksStore::open(&Stores::dir(data, 0), &settings).unwrap();
    let mut batch = Batch::default();
    let position = store.get(Table::Meta, POSITION_KEY).unwrap().unwrap();
    let mut position = decode_position(&position).unwrap();
    position.customer_count += 1;
    batch.put(Table::Meta, POSITION_KEY, encode_position(&position));
    let mut suspended = Vec::new();
    store
        .scan(Table::Suspended, b"", &mut |key, value| {
            suspended.push((key.to_vec(), decode_suspended(key, value).unwrap()));
            Ok(())
        })
        .unwrap();
    let [(key, events)] = &mut suspended[..] else {
        panic!("the events of one customer are suspended");
    };
    events[0].0 = "other".into();
    batch.put(Table::Suspended, &*key, encode_suspended(key, events));
    store.commit(batch, Durability::Machine).unwrap();
    store.close().unwrap();
}

#[test]
fn an_audit_of_a_state_that_does_not_follow_from_its_ledgers_ends_with_1_and_names_what() {
    let dir = tempfile::tempdir().unwrap();
    let refund = payment(3, "USD")
        .replace("purchase", "refund")
        .replace("\"gross_micros\"", "\"transaction_id\":\"nowhere\",\"gross_micros\"");
    import(dir.path(), &[payment(1, "USD"), payment(2, "USD"), refund], &["--data-dir", "data"]);
    let audit = || run_in(dir.path(), &["audit", "--embedded", "--data-dir", "data"]);
    let (code, out, err) = audit();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("partition 0: 3 events of 3 customers recomputed against "), "{out}");
    assert!(out.ends_with(" facts: equal\n"), "{out}");

    plant(&dir.path().join("data"));
    let (code, out, err) = audit();
    assert_eq!((code, err.as_str()), (Some(1), ""));
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].ends_with(" facts: 4 differences"), "{out}");
    assert!(lines[1].starts_with("  default|"), "{out}");
    let of =
        |line: &str| line.rsplit_once("count: ").unwrap().1.split(',').next().unwrap().to_owned();
    let (live, recomputed): (i64, i64) =
        (of(lines[2]).parse().unwrap(), of(lines[3]).parse().unwrap());
    assert!(lines[2].starts_with("    live ") && lines[3].starts_with("    recomputed "), "{out}");
    assert_eq!(live, 2 * recomputed, "{out}");
    // The stored cohorts know nothing of the planted fact.
    assert_eq!(lines[4], "  default|0|install|-|2024-01-01|Heads|2024-01-01|-", "{out}");
    assert!(lines[5].starts_with("    live       Cell { heads: Heads { customers: 2,"), "{out}");
    assert!(lines[6].starts_with("    recomputed Cell { heads: Heads { customers: 4,"), "{out}");
    let expected = [
        "  suspended events of app \"default\", customer \"c3\"",
        "    live       [(\"other\", PaymentMissing)]",
        "    recomputed [(\"e3\", PaymentMissing)]",
        "  number of customers",
        "    live       4",
        "    recomputed 3",
    ];
    assert_eq!(lines[7..], expected, "{out}");
}
