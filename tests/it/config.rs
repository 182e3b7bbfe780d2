//! Settings: every one documented, every wrong one reported, no secret shown.

use std::path::{Path, PathBuf};

use ltvstream::config::{Config, ConfigError, Mode, Origin, Sources};
use ltvstream::service::kafka_settings;

/// The settings a text gives, every problem a line of the error.
fn load_with(text: &str, environment: &[(&str, &str)], mode: Mode) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ltvstream.toml");
    std::fs::write(&file, text).unwrap();
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let sources = Sources { file: Some(file.clone()), environment, flags: Vec::new() };
    let place = format!("{}/", folder.path().display());
    Config::load(&sources, mode).map_err(|error| error.to_string().replace(&place, ""))
}

fn load(text: &str) -> Result<Config, String> {
    load_with(text, &[], Mode::Kafka)
}

fn problems(text: &str) -> Vec<String> {
    load(text).unwrap_err().lines().map(str::to_owned).collect()
}

fn deploy_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/ltvstream.toml")
}

/// The documented file with its settings that have no default made live.
fn with_examples() -> String {
    let text = std::fs::read_to_string(deploy_file()).unwrap();
    let live = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| !c.is_whitespace()) => rest.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(live).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_documented_file_equals_the_defaults() {
    let documented = Sources { file: Some(deploy_file()), ..Sources::default() };
    for mode in [Mode::Kafka, Mode::Embedded] {
        let documented = Config::load(&documented, mode).unwrap();
        // Only without Kafka an app is served that nobody configured.
        let defaults = Config::load(&Sources::default(), Mode::Embedded).unwrap();
        let values = |config: &Config| {
            // What is in force, which is another thing without Kafka.
            let values = config.settings.iter().filter(|setting| setting.key != "store.sync");
            values.map(|setting| (setting.key.clone(), setting.value.clone())).collect::<Vec<_>>()
        };
        assert_eq!(values(&documented), values(&defaults));
        assert_eq!(documented.rules, defaults.rules);
        let sync = documented.settings.iter().find(|setting| setting.key == "store.sync");
        assert_eq!(sync.map(|sync| sync.value.as_bool()), Some(Some(mode == Mode::Embedded)));
    }
}

#[test]
fn the_documented_file_has_every_setting() {
    let config = load(&with_examples()).unwrap();
    let missing: Vec<_> = config.settings.iter().filter(|s| s.origin == Origin::Default).collect();
    assert!(missing.is_empty(), "not in deploy/ltvstream.toml: {missing:?}");
    assert_eq!(config.api_keys.len(), 1);
    assert_eq!(config.kafka.properties.0["security.protocol"], "SASL_SSL");
}

#[test]
fn the_file_of_the_compose_setup_is_valid() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/compose.toml");
    let sources = Sources { file: Some(file), ..Sources::default() };
    let config = Config::load(&sources, Mode::Kafka).unwrap();
    let hash = ltvstream::config::hash_of("demo-key");
    assert_eq!(config.api_keys[0].sha256, hash, "the file says that the secret is demo-key");
    let generated = ltvstream::generator::GeneratorSettings::default().app_id;
    assert_eq!(config.apps[0].id, generated, "generated events are of the app that is served");
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let found = problems(
        r#"
        [service]
        listen = "everywhere"
        log_format = "xml"
        [kafka]
        bootstrap_server = "kafka:9092"
        prefetch_kbytes = "many"
        [kafka.properties]
        enable.auto.commit = true
        [engine]
        commit_interval_ms = 0
        [[apps]]
        id = "two words"
        reporting_currency = "usd"
        reporting_zones = ["Mars/Base"]
        "#,
    );
    assert_eq!(
        found,
        [
            "service.listen must be an IP address and port such as 127.0.0.1:8080, \
             got \"everywhere\" (ltvstream.toml)",
            "service.log_format must be one of text, json, got \"xml\" (ltvstream.toml)",
            "kafka.prefetch_kbytes must be an integer from 64 to 2097151, got \"many\" \
             (ltvstream.toml)",
            "kafka.properties.enable.auto.commit must be left to the service (offsets are kept with \
             the state, never by the client), got \"true\" (ltvstream.toml)",
            "engine.commit_interval_ms must be an integer from 1 to 600000, got \"0\" \
             (ltvstream.toml)",
            "apps[0].id must be 1 to 100 of the letters A-Za-z0-9._:-, got \"two words\" \
             (ltvstream.toml)",
            "apps[0].reporting_currency must be an ISO 4217 code in upper case, got \"usd\" \
             (ltvstream.toml)",
            "apps[0].reporting_zones must be a list of different IANA time zones such as UTC or \
             Europe/Berlin, got \"[Mars/Base]\" (ltvstream.toml)",
            "kafka.bootstrap_server is not a setting, did you mean kafka.bootstrap_servers? \
             (ltvstream.toml)",
        ]
    );
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_one() {
    let app = "[[apps]]\nid = \"a\"\n";
    for (text, expected) in [
        ("[kafak]\ngroup_id = \"x\"\n", "kafak is not a setting, did you mean kafka?"),
        ("group_id = \"x\"\n", "group_id is not a setting, did you mean kafka.group_id?"),
        ("[store]\ncommit_interval_ms = 5\n", "did you mean engine.commit_interval_ms?"),
        ("[[apps]]\nid = \"b\"\nzone = \"UTC\"\n", "apps[0].zone is not a setting"),
    ] {
        let found = problems(&format!("{text}{app}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(expected), "{found:?}");
    }
    let environment = [("LTVSTREAM__KAFKA__GROUPID", "x")];
    let found = load_with(app, &environment, Mode::Kafka).unwrap_err();
    assert_eq!(
        found,
        "kafka.groupid is not a setting, did you mean LTVSTREAM__KAFKA__GROUP_ID? \
         (environment LTVSTREAM__KAFKA__GROUPID)"
    );
}

#[test]
fn the_environment_wins_and_stays_as_it_was_written() {
    let text = r#"
        [kafka]
        group_id = "from-file"
        events_topic = "from.file"
        [kafka.properties]
        "sasl.password" = "from-file"
        [[apps]]
        id = "a"
    "#;
    let environment = [
        ("LTVSTREAM__KAFKA__GROUP_ID", "007"),
        ("LTVSTREAM__KAFKA__PROPERTIES__SASL_PASSWORD", "0123"),
        ("LTVSTREAM__STORE__SYNC", "true"),
        ("LTVSTREAM__SNAPSHOTS__AGES_DAYS", "30, 0"),
        ("LTVSTREAM__APPS", r#"[{ id = "b", reporting_zones = ["UTC", "Europe/Berlin"] }]"#),
    ];
    let config = load_with(text, &environment, Mode::Kafka).unwrap();
    assert_eq!(config.kafka.group_id, "007");
    assert_eq!(config.kafka.events_topic, "from.file");
    assert_eq!(config.kafka.properties.0["sasl.password"], "0123");
    assert!(config.store.sync);
    assert_eq!(config.snapshots.ages_days, [0, 30]);
    assert_eq!(config.rules.apps["b"].reporting_zones.len(), 2);
    let origin = |key: &str| {
        config.settings.iter().find(|s| s.key == key).map(|s| s.origin.to_string()).unwrap()
    };
    assert_eq!(origin("kafka.group_id"), "environment LTVSTREAM__KAFKA__GROUP_ID");
    assert!(origin("kafka.events_topic").ends_with("ltvstream.toml"));
    assert_eq!(origin("kafka.snapshots_topic"), "default");
}

#[test]
fn no_secret_is_ever_printed() {
    let text = r#"
        [kafka]
        schema_registry_user = "me"
        schema_registry_password = "hunter2"
        [kafka.properties]
        ssl.key.password = "hunter2"
        sasl.username = "me"
        [[apps]]
        id = "a"
    "#;
    let config = load(text).unwrap();
    let registry = config.kafka.schema_registry.clone().unwrap();
    assert_eq!(registry.login.unwrap().1.expose(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
    let refused = problems(
        "[kafka]\nschema_registry_password = 4711\n[kafka.properties]\nsasl.password = [4711]\n",
    );
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert!(!refused.concat().contains("4711"), "{refused:?}");
}

#[test]
fn ids_and_keys_must_be_told_apart() {
    let text = format!(
        r#"
        apps = [
            {{ id = "a", compat_ids = ["x"] }},
            {{ id = "b", compat_ids = ["X"] }},
            {{ id = "a", compat_ids = ["b"] }},
        ]
        api_keys = [
            {{ name = "k", sha256 = "{hash}", apps = ["a"] }},
            {{ name = "k", sha256 = "{hash}", apps = ["c"], scopes = [] }},
            {{ name = "l", sha256 = "abc" }},
        ]
        "#,
        hash = "ab".repeat(32)
    );
    let found = problems(&text);
    for expected in [
        // On vendors' paths they are the same in both cases of their letters.
        "apps[1].compat_ids must be ids that name no other app, got \"X\"",
        "apps[2].id must be different from all other ids, got \"a\"",
        "apps[2].compat_ids must be ids that name no other app, got \"b\"",
        "api_keys[1].name must be different",
        "api_keys[1].sha256 must be different",
        "api_keys[1].apps must be ids of [[apps]], got \"c\"",
        "api_keys[1].scopes must be at least one of",
        "api_keys[2].sha256 must be 64 hexadecimal digits, got \"(hidden)\"",
        "api_keys[2].apps must be at least one id",
    ] {
        assert!(
            found.iter().any(|problem| problem.starts_with(expected)),
            "{expected}: {found:#?}"
        );
    }
    assert_eq!(found.len(), 9, "{found:#?}");
}

#[test]
fn without_keys_the_address_must_be_loopback() {
    let app = "[[apps]]\nid = \"a\"\n";
    let open = format!("[service]\nlisten = \"0.0.0.0:80\"\n{app}");
    let found = problems(&open);
    assert_eq!(
        found,
        ["service.listen must be a loopback address while there are no [[api_keys]], \
          got \"0.0.0.0:80\" (ltvstream.toml)"]
    );
    let key =
        format!("[[api_keys]]\nname = \"k\"\nsha256 = \"{}\"\napps = [\"a\"]\n", "0".repeat(64));
    assert!(load(&format!("{open}{key}")).is_ok());
    assert!(load(&format!("[service]\nlisten = \"[::1]:80\"\n{app}")).is_ok());
}

#[test]
fn embedded_without_a_file_serves_one_app() {
    let config = Config::load(&Sources::default(), Mode::Embedded).unwrap();
    let app = &config.rules.apps["default"];
    assert_eq!(app.reporting_currency.as_str(), "USD");
    assert_eq!(app.reporting_zones[0].name(), "UTC");
    assert!(config.store.sync, "an accepted event must be on the disk");
    assert_eq!(config.rules.future_limit_micros, 86_400_000_000);
    let none = Config::load(&Sources::default(), Mode::Kafka).unwrap_err();
    assert_eq!(none.to_string(), "apps must be at least one [[apps]], got \"[]\" (default)");
}

#[test]
fn rates_come_from_tables_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let app = "[[apps]]\nid = \"a\"\nrates_file = \"rates.csv\"\n\
               [[apps.rates]]\ndate = \"2024-01-01\"\ncurrency = \"EUR\"\nrate = \"1.0956\"\n";
    let sources = Sources { file: Some(write("c.toml", app)), ..Sources::default() };
    write("rates.csv", "currency,date,rate\nEUR,2024-02-01,1.08\nGBP,2024-01-01,1.27\n");
    let config = Config::load(&sources, Mode::Kafka).unwrap();
    let rates: Vec<String> = config.rules.apps["a"]
        .rates
        .iter()
        .map(|(currency, day, rate)| format!("{currency} {day} {rate}"))
        .collect();
    assert_eq!(rates, ["EUR 2024-01-01 1.0956", "EUR 2024-02-01 1.08", "GBP 2024-01-01 1.27"]);

    // Nothing would tell that the rates are missing before the first event needs one.
    for (text, first) in [("", ""), ("2024-01-01,EUR,1.0956\n", "2024-01-01,EUR,1.0956")] {
        write("rates.csv", text);
        let error = Config::load(&sources, Mode::Kafka).unwrap_err().to_string();
        assert!(error.contains(&format!("got \"line 1: {first}\"")), "{error}");
    }
    write(
        "rates.csv",
        "date,currency,rate\n2024-01-01,EUR,1.1\n2024-13-01,EUR,1\n2024-01-01,USD,1\n",
    );
    let ConfigError::Invalid(found) = Config::load(&sources, Mode::Kafka).unwrap_err() else {
        panic!("must be refused for its values")
    };
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 3, "{found:#?}");
    for (problem, part) in found.iter().zip([
        "got \"line 3: 2024-13-01,EUR,1\"",
        "one rate for each currency and day, got \"line 2: EUR on 2024-01-01\"",
        "other currencies than reporting_currency, got \"line 4: USD on 2024-01-01\"",
    ]) {
        assert!(problem.starts_with("apps[0].rates_file must be "), "{problem}");
        assert!(problem.contains(part), "{problem}");
    }
}

#[test]
fn a_date_that_is_not_in_quotes_is_told_as_it_stands_there() {
    let found = problems(
        "[[apps]]\nid = \"a\"\n[[apps.rates]]\ndate = 2024-01-01\ncurrency = \"EUR\"\nrate = \"1.1\"\n",
    );
    assert_eq!(found.len(), 1, "{found:#?}");
    let expected = r#"must be a date in quotes such as "2024-01-01", got "2024-01-01""#;
    assert!(found[0].contains(expected), "{found:?}");
}

#[test]
fn a_format_needs_its_schemas() {
    let app = "[[apps]]\nid = \"a\"\n";
    for (text, key) in [
        ("schema_registry_url = \"\"", "kafka.schema_registry_url"),
        ("event_format = \"avro-bare\"", "kafka.avro_schema_file"),
        ("avro_schema_files = [\"absent.avsc\"]", "kafka.avro_schema_files"),
        ("schema_registry_url = \"http://me:pw@host\"", "kafka.schema_registry_url"),
        ("dead_letters_topic = \"billing.events\"", "kafka.dead_letters_topic"),
    ] {
        let found = problems(&format!("[kafka]\n{text}\n{app}"));
        assert!(found.iter().any(|problem| problem.starts_with(key)), "{text}: {found:?}");
    }
    let json = format!("[kafka]\nevent_format = \"json\"\nschema_registry_url = \"\"\n{app}");
    assert!(load(&json).unwrap().kafka.schema_registry.is_none());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.avsc");
    std::fs::write(&path, r#"{"type": "record", "name": "BillingEvent", "fields": []}"#).unwrap();
    let path = path.display();
    for text in [
        format!("event_format = \"avro-bare\"\navro_schema_file = \"{path}\""),
        format!("event_format = \"avro-single-object\"\navro_schema_files = [\"{path}\"]"),
    ] {
        let found = problems(&format!("[kafka]\n{text}\n{app}"));
        let expected = "must be Avro schemas of billing events (the schema has no field event_id)";
        assert!(matches!(&found[..], [one] if one.contains(expected)), "{found:?}");
    }
}

#[test]
fn how_topics_are_made_and_publishers_are_named_reaches_kafka() {
    let text = "[kafka]\ngroup_id = \"g\"\nevents_partitions = 2\nsnapshots_partitions = 3\n\
                dead_letters_partitions = 4\nreplication_factor = 5\n[[apps]]\nid = \"a\"\n";
    let settings = kafka_settings(&load(text).unwrap());
    assert_eq!(settings.transactional_id_prefix, "g");
    assert_eq!((settings.events_partitions, settings.snapshots_partitions), (2, 3));
    assert_eq!((settings.dead_letters_partitions, settings.replication_factor), (4, 5));
    let named = text.replace("events_p", "transactional_id_prefix = \"p\"\nevents_p");
    let settings = kafka_settings(&load(&named).unwrap());
    assert_eq!((settings.group_id.as_str(), &*settings.transactional_id_prefix), ("g", "p"));
}

#[test]
fn what_stands_in_place_of_a_table_is_not_shown() {
    let secret = "{\"sasl.password\"=\"hunter2\"}";
    let app = "[[apps]]\nid = \"a\"\n";
    for (text, environment) in [
        (app.to_owned(), vec![("LTVSTREAM__KAFKA__PROPERTIES", secret)]),
        (app.to_owned(), vec![("LTVSTREAM__KAFKA", secret)]),
        (app.to_owned(), vec![("LTVSTREAM__API_KEYS", secret)]),
        (format!("api_keys = [\"hunter2\"]\nkafka = \"hunter2\"\n{app}"), vec![]),
    ] {
        let error = load_with(&text, &environment, Mode::Kafka).unwrap_err();
        assert!(error.contains("must be a") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_broken_file_is_named() {
    let missing = Sources { file: Some(PathBuf::from("absent.toml")), ..Sources::default() };
    let error = Config::load(&missing, Mode::Kafka).unwrap_err();
    assert_eq!(error.to_string(), "cannot read absent.toml");
    let error = load("[kafka]\nschema_registry_password = \"hunter2\n").unwrap_err();
    assert!(error.starts_with("ltvstream.toml is not TOML: line 2: "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
