//! Commands over a service or its state: what they print is what was handed in.

use std::fs;

use serde_json::Value;

use crate::support::embedded::{payment, served};
use crate::support::process::run_in;

/// Hands lines in as a file; all must be accepted or refused as said.
fn import(folder: &std::path::Path, lines: &[String], arguments: &[&str]) {
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
