//! The program as the shell sees it: exit codes, and what goes to which output.

use assert_cmd::Command;

use crate::support::process::{ltvstream, run_in};

/// Exit code, standard output, standard error, of a run in a folder with this file.
fn run(args: &[&str], file: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), file).unwrap();
    run_in(folder.path(), args)
}

#[test]
fn wrong_usage_ends_with_2() {
    for args in [
        &[][..],
        &["unknown"],
        &["serve", "--no-such-flag"],
        &["serve", "--now", "yesterday"],
        &["import"],
        &["import", "--kafka", "--to", "http://localhost:1", "a.csv"],
        &["import", "--format", "xml", "a.xml"],
        &["generate", "--late", "2"],
        &["generate", "--kafka", "--out", "a.ndjson"],
        &["query", "ltv", "width"],
        &["config", "hash-key", ""],
        &["config", "hash-key", "größe"],
        &["config", "hash-key", " pad "],
        &["config", "hash-key", "a:b"],
        &["schema", "check", "absent.avsc"],
        &["--log-format", "xml", "config", "show"],
    ] {
        let (code, out, err) = run(args, "");
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        assert!(!err.is_empty(), "{args:?}");
    }
}

#[test]
fn events_are_not_generated_for_an_app_that_is_not_configured() {
    let file = "[[apps]]\nid = \"acme\"\n[[apps]]\nid = \"beta\"\n";
    let (code, out, err) = run(&["generate", "--kafka", "--config", "c.toml"], file);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(err, "error: --app must be a configured app (acme, beta), got \"default\"\n");
    let file = "[[apps]]\nid = \"acme\"\nreporting_currency = \"EUR\"\n";
    let args = ["generate", "--kafka", "--app", "acme", "--config", "c.toml"];
    let (code, out, err) = run(&args, file);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    let expected = "error: --app must report in USD as what is generated, acme does in EUR\n";
    assert_eq!(err, expected);
}

#[test]
fn settings_may_come_from_a_pipe() {
    let file = "[engine]\ncommit_interval_ms = 7\n[[apps]]\nid = \"acme\"\n";
    let mut command = ltvstream();
    command.args(["config", "show", "--embedded", "--config", "/dev/stdin"]);
    let output = Command::from_std(command).write_stdin(file).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    for line in [
        "engine.commit_interval_ms = 7  # /dev/stdin:engine.commit_interval_ms",
        "apps[0].id = \"acme\"  # /dev/stdin:apps[0].id",
        // What is in force, not what would be with Kafka.
        "store.sync = true  # default",
    ] {
        assert!(out.lines().any(|found| found == line), "{line} in\n{out}");
    }
}

#[test]
fn wrong_configuration_ends_with_2_and_says_everything() {
    let file = "[service]\nlisten = \"x\"\nlisen = 1\n[engine]\ncommit_events_max = 0\n";
    for args in [&["config", "check", "--config", "c.toml"][..], &["serve", "--config", "c.toml"]] {
        let (code, out, err) = run(args, file);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        for expected in [
            "error: service.listen must be an IP address",
            "error: engine.commit_events_max must be an integer from 1",
            "error: apps must be at least one [[apps]]",
            "error: service.lisen is not a setting, did you mean service.listen? (c.toml)",
        ] {
            assert!(err.contains(expected), "{expected}: {err}");
        }
        assert_eq!(err.lines().count(), 4, "{err}");
    }
    let (code, _, err) = run(&["config", "check", "--config", "absent.toml"], "");
    assert_eq!(code, Some(2));
    assert!(err.starts_with("error: cannot read absent.toml\n  caused by: "), "{err}");
}

#[test]
fn properties_that_the_kafka_client_does_not_take_are_wrong_configuration() {
    let file = "[kafka]\nevent_format = \"json\"\nbootstrap_servers = \"127.0.0.1:1\"\n\
                [kafka.properties]\nsasl.pasword = \"hunter2\"\nlinger.ms = \"soon\"\n\
                [[apps]]\nid = \"a\"\n";
    for args in [
        &["config", "check", "--config", "c.toml"][..],
        &["serve", "--config", "c.toml"],
        &["generate", "--kafka", "--config", "c.toml"],
    ] {
        let (code, out, err) = run(args, file);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        let lines: Vec<&str> = err.lines().collect();
        assert!(lines[0].starts_with("error: kafka.properties: \"linger.ms\": "), "{err}");
        assert!(lines[1].starts_with("error: kafka.properties: \"sasl.pasword\": "), "{err}");
        assert_eq!(lines.len(), 2, "{err}");
        assert!(!err.contains("hunter2"), "{err}");
    }
    // Without Kafka nobody needs them.
    let (code, _, err) = run(&["config", "check", "--embedded", "--config", "c.toml"], file);
    assert_eq!(code, Some(0), "{err}");
    // What the library only says when a client is made.
    let listen = format!("[service]\nlisten = \"127.0.0.1:0\"\n{file}");
    let absent = listen.replace(
        "sasl.pasword = \"hunter2\"\nlinger.ms = \"soon\"",
        "\
                               security.protocol = \"ssl\"\nssl.ca.location = \"absent.pem\"",
    );
    for args in [&["config", "check", "--config", "c.toml"][..], &["serve", "--config", "c.toml"]] {
        let (code, _, err) = run(args, &absent);
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains("ssl.ca.location"), "{err}");
    }
    // A password is not shown where what it stands in is wrong.
    let registry = "[kafka]\nschema_registry_url = \"u:hunter2@h:1\"\n[[apps]]\nid = \"a\"\n";
    let (_, _, err) = run(&["config", "check", "--config", "c.toml"], registry);
    assert!(err.contains("got \"(hidden)\"") && !err.contains("hunter2"), "{err}");
}

#[test]
fn flags_are_checked_like_settings() {
    let (code, _, err) = run(&["serve", "--embedded", "--listen", "0.0.0.0:80"], "");
    assert_eq!(code, Some(2));
    assert_eq!(
        err,
        "error: service.listen must be a loopback address while there are no [[api_keys]], \
         got \"0.0.0.0:80\" (--listen)\n"
    );
}

#[test]
fn a_valid_configuration_is_ok_and_every_setting_shows_its_origin() {
    let file = "[kafka]\ngroup_id = \"g\"\nschema_registry_password = \"hunter2\"\n\
                [kafka.properties]\nsasl.password = \"hunter2\"\n[[apps]]\nid = \"acme\"\n";
    let (code, out, err) = run(&["config", "check", "--config", "c.toml"], file);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "ok: 1 apps, 0 API keys\n", ""));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), file).unwrap();
    let output = ltvstream()
        .current_dir(&folder)
        .args(["config", "show", "--config", "c.toml"])
        .env("LTVSTREAM__ENGINE__COMMIT_INTERVAL_MS", "5")
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    for line in [
        "service.listen = \"127.0.0.1:8080\"  # default",
        "kafka.group_id = \"g\"  # c.toml:kafka.group_id",
        "kafka.schema_registry_password = \"(hidden)\"  # c.toml:kafka.schema_registry_password",
        "engine.commit_interval_ms = 5  # environment LTVSTREAM__ENGINE__COMMIT_INTERVAL_MS",
        "apps[0].snapshot_widths = [\"day\", \"week\", \"month\"]  # default",
    ] {
        assert!(out.lines().any(|found| found == line), "{line} in\n{out}");
    }
    assert!(!out.contains("hunter2"), "{out}");
}

#[test]
fn a_secret_is_hashed_from_argument_or_input() {
    // FIPS 180-2, appendix B.1.
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
    assert_eq!(run(&["config", "hash-key", "abc"], ""), (Some(0), hash.to_owned(), String::new()));
    let mut command = ltvstream();
    command.args(["config", "hash-key"]);
    Command::from_std(command).write_stdin("abc\n").assert().code(0).stdout(hash);
}

#[test]
fn schemas_are_printed_and_checked() {
    let (code, schema, _) = run(&["schema", "print"], "");
    assert_eq!(code, Some(0));
    assert!(schema.contains("\"BillingEvent\""));
    assert_eq!(run(&["schema", "check", "c.toml"], &schema).0, Some(0));
    assert_eq!(run(&["schema", "check", "c.toml"], "\"string\"").0, Some(1));
    for name in ["ltv-snapshot", "dead-letter"] {
        let (code, text, _) = run(&["schema", "print", name], "");
        assert_eq!(code, Some(0));
        assert!(text.starts_with('{'), "{name}");
    }
}

#[test]
fn flags_that_errors_name_are_flags_of_serve() {
    use ltvstream::pipeline::PipelineError;
    use ltvstream::state::RulesChanged;
    let gap = PipelineError::Gap { partition: 3, wanted: 5, low: 9, missing: 4 }.to_string();
    assert!(gap.contains("partition 3: offsets 5 to 9") && gap.contains("4 records"), "{gap}");
    let (app, difference, remedy) = ("a".to_owned(), "- x".to_owned(), RulesChanged::REBUILD);
    for error in [gap, RulesChanged { app, difference, remedy }.to_string()] {
        let flags: Vec<&str> = error.split(' ').filter(|word| word.starts_with("--")).collect();
        let flags: Vec<&str> = flags.iter().map(|flag| flag.trim_end_matches([',', ';'])).collect();
        assert_eq!(flags.len(), 1, "{error}");
        // Flags before --help are read first.
        let (code, _, words) = run(&["serve", flags[0], "--help"], "");
        assert_eq!(code, Some(0), "{words}");
    }
}

#[test]
fn help_version_and_completions_end_with_0() {
    for args in [&["--help"][..], &["--version"], &["serve", "--help"], &["completions", "bash"]] {
        let (code, out, _) = run(args, "");
        assert_eq!(code, Some(0), "{args:?}");
        assert!(out.contains("ltvstream"), "{args:?}");
    }
}
