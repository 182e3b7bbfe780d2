//! The reference against figures that others computed: CDNOW month cohorts.

use std::io::Read as _;
use std::path::PathBuf;

use chrono::NaiveDate;
use chrono_tz::Tz;
use flate2::read::GzDecoder;
use serde_json::json;

use super::{Age, Anchor, AppSettings, CohortQuestion, Reference, Refunds, Totals, Verdict, Width};

/// Micro-units in a cent.
const CENT: i128 = 10_000;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name)
}

/// All CDNOW purchases, offered in the order of the file.
fn cdnow(count_zero_payments: bool) -> Reference {
    let mut reference = Reference::new(&[AppSettings {
        id: "cdnow".to_owned(),
        reporting_currency: "USD".to_owned(),
        zones: vec!["UTC".to_owned()],
        count_zero_payments,
        rates: Vec::new(),
    }]);
    let file = std::fs::File::open(data("cdnow_master.txt.gz")).unwrap();
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    for (row, line) in text.lines().enumerate().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [customer, date, _, dollars] = fields[..] else { continue };
        let (whole, cents) = dollars.split_once('.').unwrap();
        let cents: i64 = format!("{whole}{cents}").parse().unwrap();
        let event = json!({
            "event_id": format!("row-{row}"),
            "app_id": "cdnow",
            "customer_id": customer,
            "kind": "purchase",
            "occurred_at": format!("{}-{}-{}T00:00:00Z", &date[..4], &date[4..6], &date[6..]),
            "gross_micros": cents * 10_000,
            "currency": "USD",
        });
        assert_eq!(reference.offer(&event.to_string(), i64::MAX / 2), Verdict::Accepted);
    }
    reference
}

/// Compares every row of the table; returns how many customers and rows there were.
fn compare(count_zero_payments: bool, oracle: &str) -> (i64, usize) {
    let question = CohortQuestion {
        app: "cdnow",
        anchor: Anchor::FirstPurchase,
        width: Width::Month,
        zone: Tz::UTC,
        age: Age::Periods,
        refunds: Refunds::AtRefund,
    };
    let cohorts = cdnow(count_zero_payments).cohorts(&question);
    let mut rows = 0;
    let mut reader = csv::Reader::from_path(data("oracle").join(oracle)).unwrap();
    for line in reader.records() {
        let line = line.unwrap();
        let number = |column: usize| line[column].parse::<i128>().unwrap();
        let start: NaiveDate = format!("{}-01", &line[0]).parse().unwrap();
        let cohort = &cohorts[&start];
        let got: Totals = cohort.through(number(1).try_into().unwrap());
        assert_eq!(i128::from(cohort.customers), number(2), "{line:?}");
        assert_eq!(i128::from(got.payments), number(8), "{line:?}");
        assert_eq!(got.gross, number(9) * CENT, "{line:?}");
        assert_eq!(got.gross_after_refunds(), number(11) * CENT, "{line:?}");
        rows += 1;
    }
    (cohorts.values().map(|cohort| cohort.customers).sum(), rows)
}

#[test]
fn cdnow_month_cohorts_with_zero_payments_are_those_of_the_oracle() {
    assert_eq!(compare(true, "cdnow_cohort_month.csv"), (23_570, 51));
}

#[test]
fn cdnow_month_cohorts_of_paid_purchases_are_those_of_the_oracle() {
    assert_eq!(compare(false, "cdnow_paid_cohort_month.csv"), (23_502, 59));
}
