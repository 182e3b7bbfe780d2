//! Real purchase data through every door, against figures that two other programs computed.
//!
//! CDNOW and its sample of one in ten (with zero amounts as payments and without) and Online Retail
//! go in through a data directory, over HTTP and through Kafka; month cohorts by months, by windows
//! of days on both bases and by thirty days, and day cohorts must equal the oracle files to the last
//! unit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::kafka::{brokers, create_topic, ends, topics_of, write_settings};
use crate::support::process::{Served, ltvstream};
use crate::support::{data, unique};

struct Dataset {
    app: &'static str,
    file: &'static str,
    map: &'static str,
    oracle: &'static str,
    /// Micro-units of one unit of the oracle: cents for CDNOW, mills for Online Retail.
    unit_micros: i64,
}

const DATASETS: [Dataset; 5] = [
    Dataset {
        app: "cdnow-any",
        file: "cdnow_master.txt.gz",
        map: "cdnow.toml",
        oracle: "cdnow",
        unit_micros: 10_000,
    },
    Dataset {
        app: "cdnow-paid",
        file: "cdnow_master.txt.gz",
        map: "cdnow.toml",
        oracle: "cdnow_paid",
        unit_micros: 10_000,
    },
    Dataset {
        app: "sample-any",
        file: "cdnow_sample.txt.gz",
        map: "cdnow_sample.toml",
        oracle: "cdnow_sample",
        unit_micros: 10_000,
    },
    Dataset {
        app: "sample-paid",
        file: "cdnow_sample.txt.gz",
        map: "cdnow_sample.toml",
        oracle: "cdnow_sample_paid",
        unit_micros: 10_000,
    },
    Dataset {
        app: "retail",
        file: "online_retail_2010_2011.csv.gz",
        map: "online_retail.toml",
        oracle: "retail1",
        unit_micros: 1_000,
    },
];

const APPS: &str = r#"
[[apps]]
id = "cdnow-any"
reporting_currency = "USD"
zero_payments = "count"
[[apps]]
id = "cdnow-paid"
reporting_currency = "USD"
[[apps]]
id = "sample-any"
reporting_currency = "USD"
zero_payments = "count"
[[apps]]
id = "sample-paid"
reporting_currency = "USD"
[[apps]]
id = "retail"
reporting_currency = "GBP"
"#;

fn write(path: PathBuf, text: &str) -> String {
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

fn import(dataset: &Dataset, arguments: &[&str]) {
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/maps").join(dataset.map);
    let output = ltvstream()
        .args(["import", "--app", dataset.app, "--map"])
        .arg(map)
        .args(arguments)
        .arg(data(dataset.file))
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}{errors}");
    assert!(words.contains("refused 0"), "{words}");
}

fn oracle(name: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(data("oracle").join(name)).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

fn integer(row: &BTreeMap<String, String>, column: &str) -> i64 {
    row[column].parse().unwrap()
}

fn ask(served: &Served, app: &str, parameters: &str) -> Value {
    let path = format!("/v1/apps/{app}/ltv?{parameters}");
    served.get(&path).unwrap_or_else(|| panic!("{path} is not answered"))
}

/// Ages of each cohort by its month, and of all together as `ALL`.
fn curves(
    served: &Served,
    app: &str,
    parameters: &str,
) -> BTreeMap<String, (i64, BTreeMap<i64, Value>)> {
    let answer = ask(served, app, &format!("width=month&{parameters}"));
    let point = |cohort: &Value| {
        let points = cohort["curve"].as_array().unwrap().iter();
        let by_age = points.map(|point| (point["age"].as_i64().unwrap(), point.clone()));
        (cohort["customers"].as_i64().unwrap(), by_age.collect())
    };
    let cohorts = answer["cohorts"].as_array().unwrap().iter();
    let mut curves: BTreeMap<String, _> = cohorts
        .map(|cohort| (cohort["start"].as_str().unwrap()[..7].to_owned(), point(cohort)))
        .collect();
    curves.insert("ALL".to_owned(), point(&answer["total"]));
    curves
}

fn check_months(served: &Served, dataset: &Dataset) {
    let ages: Vec<String> = (0..24).map(|age| age.to_string()).collect();
    let curves = curves(served, dataset.app, &format!("age=periods&ages={}", ages.join(",")));
    let rows = oracle(&format!("{}_cohort_month.csv", dataset.oracle));
    assert!(rows.len() > 40);
    for row in rows {
        let (customers, curve) = &curves[&row["cohort"]];
        assert_eq!(*customers, integer(&row, "customers"), "{row:?}");
        let point = &curve[&integer(&row, "month_index")];
        let unit = dataset.unit_micros;
        for (member, column, sign) in [
            ("paid_micros", "cum_gross", 1),
            ("refunded_micros", "cum_refund", -1),
            ("revenue_micros", "cum_net", 1),
        ] {
            let expected = integer(&row, column) * unit * sign;
            assert_eq!(point[member].as_i64(), Some(expected), "{} {row:?}", dataset.app);
        }
        assert_eq!(point["payments"].as_i64(), Some(integer(&row, "cum_purchases")));
    }
}

fn check_days(served: &Served, dataset: &Dataset) {
    let rows = oracle(&format!("{}_cohort_days.csv", dataset.oracle));
    assert!(rows.len() > 50);
    let mut windows: Vec<i64> = rows.iter().map(|row| integer(row, "days")).collect();
    windows.sort_unstable();
    windows.dedup();
    // A window of N days is everything through age N - 1.
    let ages: Vec<String> = windows.iter().map(|days| (days - 1).to_string()).collect();
    for (basis, age) in [("elapsed", "elapsed_days"), ("calendar", "days")] {
        let parameters = format!("age={age}&ages={}", ages.join(","));
        let curves = curves(served, dataset.app, &parameters);
        for row in rows.iter().filter(|row| row["offset_basis"] == basis) {
            let (customers, curve) = &curves[&row["cohort"]];
            assert_eq!(*customers, integer(row, "customers"), "{row:?}");
            let point = &curve[&(integer(row, "days") - 1)];
            let unit = dataset.unit_micros;
            let words = format!("{} {basis} {row:?}", dataset.app);
            let expected = Some(integer(row, "gross_lt") * unit);
            assert_eq!(point["paid_micros"].as_i64(), expected, "{words}");
            let expected = Some(integer(row, "net_lt") * unit);
            assert_eq!(point["revenue_micros"].as_i64(), expected, "{words}");
        }
    }
}

/// Month cohorts by thirty elapsed days. The oracle leaves out a bucket without any event.
fn check_thirty_days(served: &Served, dataset: &Dataset) {
    let rows = oracle(&format!("{}_cohort_30d.csv", dataset.oracle));
    assert!(rows.len() > 40);
    let age = |row: &BTreeMap<String, String>| (integer(row, "bucket_30d") + 1) * 30 - 1;
    let mut ages: Vec<i64> = rows.iter().map(age).collect();
    ages.sort_unstable();
    ages.dedup();
    let ages: Vec<String> = ages.iter().map(i64::to_string).collect();
    let parameters = format!("age=elapsed_days&ages={}", ages.join(","));
    let curves = curves(served, dataset.app, &parameters);
    for row in rows {
        let (customers, curve) = &curves[&row["cohort"]];
        assert_eq!(*customers, integer(&row, "customers"), "{row:?}");
        let point = &curve[&age(&row)];
        for (member, column) in [("paid_micros", "cum_gross"), ("revenue_micros", "cum_net")] {
            let expected = integer(&row, column) * dataset.unit_micros;
            assert_eq!(point[member].as_i64(), Some(expected), "{} {row:?}", dataset.app);
        }
    }
}

/// Cohorts of a day each, by windows of calendar days and to date.
fn check_day_cohorts(served: &Served, dataset: &Dataset) {
    let rows = oracle(&format!("{}_cohort_daily.csv", dataset.oracle));
    assert!(rows.len() > 80);
    let answer = ask(served, dataset.app, "width=day&age=days&ages=0,29,89,179,364");
    let cohorts = answer["cohorts"].as_array().unwrap();
    assert_eq!(cohorts.len(), rows.len(), "{}", dataset.app);
    for (cohort, row) in cohorts.iter().zip(&rows) {
        let words = format!("{} {row:?}", dataset.app);
        assert_eq!(cohort["start"], row["cohort_day"].as_str(), "{words}");
        assert_eq!(cohort["customers"].as_i64(), Some(integer(row, "customers")), "{words}");
        let units = |column: &str| Some(integer(row, column) * dataset.unit_micros);
        for (at, column) in
            ["gross_d1", "gross_d30", "gross_d90", "gross_d180", "gross_d365"].iter().enumerate()
        {
            assert_eq!(cohort["curve"][at]["paid_micros"].as_i64(), units(column), "{words}");
        }
        assert_eq!(cohort["to_date"]["paid_micros"].as_i64(), units("gross_all"), "{words}");
        assert_eq!(cohort["to_date"]["revenue_micros"].as_i64(), units("net_all"), "{words}");
    }
}

fn check(served: &Served) {
    for dataset in &DATASETS {
        check_months(served, dataset);
        check_days(served, dataset);
        check_thirty_days(served, dataset);
        check_day_cohorts(served, dataset);
    }
}

#[test]
fn imported_into_a_data_directory_the_figures_are_those_of_the_oracle() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("data").to_string_lossy().into_owned();
    let text = format!("[service]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"{state}\"\n{APPS}");
    let config = write(dir.path().join("config.toml"), &text);
    for dataset in &DATASETS {
        import(dataset, &["--config", &config, "--data-dir", &state]);
    }
    let served = Served::start(&["--embedded", "--config", &config], &dir.path().join("log"));
    check(&served);
    assert_eq!(served.terminate(), Some(0));
    let audit = ltvstream().args(["audit", "--embedded", "--config", &config]).output().unwrap();
    let words = String::from_utf8_lossy(&audit.stdout);
    assert!(audit.status.success() && words.contains("equal"), "{words}");
}

#[test]
fn sent_over_http_the_figures_are_those_of_the_oracle() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("data").to_string_lossy().into_owned();
    let text = format!("[service]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"{state}\"\n{APPS}");
    let config = write(dir.path().join("config.toml"), &text);
    let served = Served::start(&["--embedded", "--config", &config], &dir.path().join("log"));
    for dataset in &DATASETS {
        import(dataset, &["--to", &served.url]);
    }
    check(&served);
    // What was acknowledged is there after the process is killed.
    served.kill();
    let served = Served::start(&["--embedded", "--config", &config], &dir.path().join("log"));
    check(&served);
}

#[test]
fn through_kafka_the_figures_are_those_of_the_oracle() {
    let dir = tempfile::tempdir().unwrap();
    let events = unique("oracle-events");
    create_topic(&events, 3, "delete");
    let more = format!("event_format = \"avro-single-object\"\n{APPS}");
    let config = write_settings(dir.path(), &brokers(), &topics_of(&events), &more);
    for dataset in &DATASETS {
        import(dataset, &["--config", &config, "--kafka"]);
    }
    let ends = ends(&events, 3);
    assert_eq!(ends.iter().sum::<i64>(), 2 * (69_659 + 6_919) + 22_186, "records in the log");
    let served = Served::start(&["--config", &config], &dir.path().join("log"));
    served.wait_for("/v1/apps/retail/revenue", |answer| {
        let next = |partition: usize| answer["as_of"][partition.to_string()].as_i64();
        (0..ends.len()).all(|partition| next(partition) == Some(ends[partition]))
    });
    check(&served);
    assert_eq!(served.terminate(), Some(0));
}
