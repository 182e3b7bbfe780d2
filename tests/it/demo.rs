//! The demo: a business to look at, of which nothing is left behind.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::{ended, ltvstream, signal};

/// A demo whose temporary files are in a folder of their own, and the lines that it prints.
fn demo(customers: &str) -> (Child, Lines<BufReader<ChildStdout>>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = ltvstream()
        .args(["demo", "--listen", "127.0.0.1:0", "--customers", customers])
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines, folder)
}

fn is_empty(folder: &TempDir) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn a_demo_has_an_answer_on_screen_and_at_its_address_and_leaves_nothing_behind() {
    let (mut child, mut lines, folder) = demo("300");
    let mut text = String::new();
    let address = loop {
        let line = lines.next().expect("it ended early").unwrap();
        text.push_str(&line);
        if let Some((_, address)) = line.split_once("look at ") {
            break address.to_owned();
        }
    };
    assert!(text.contains("lifetime value per customer"), "{text}");
    let mut answer =
        ureq::get(format!("{address}/v1/apps/default/ltv?width=month")).call().unwrap();
    let answer: Value = answer.body_mut().read_json().unwrap();
    assert!(answer["cohorts"].as_array().is_some_and(|cohorts| cohorts.len() > 12), "{answer}");
    let page = ureq::get(&address).call().unwrap().into_body().read_to_string().unwrap();
    assert!(page.contains("<title>"), "{page}");
    assert!(!is_empty(&folder));
    signal("INT", &child);
    assert_eq!(ended(&mut child), Some(0));
    assert!(is_empty(&folder));
}

#[test]
fn a_demo_that_is_interrupted_while_it_generates_leaves_nothing_behind() {
    let (mut child, mut lines, folder) = demo("200000");
    let line = lines.next().expect("it ended early").unwrap();
    assert!(line.starts_with("generating"), "{line}");
    signal("INT", &child);
    assert_eq!(ended(&mut child), Some(0));
    assert!(is_empty(&folder));
}
