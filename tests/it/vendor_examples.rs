//! The worked examples and recorded figures of ChartMogul and Codat, number for number, asked
//! over HTTP of customers made up so that these figures come out.

use std::fmt::Write as _;

use ltvstream::config::{AppSettings, LtvChurnWindow};
use serde_json::Value;

use crate::http_support::{ACME, Service, Setup, events, settings};

/// Subscribers, as lines for [`events`].
#[derive(Default)]
struct Account {
    lines: String,
}

impl Account {
    /// From this day on the customer pays so many cents a month.
    fn pays(&mut self, customer: &str, day: &str, cents: i64) -> &mut Self {
        let (amount, until) = (decimal(cents), "2027-01-01T00:00:00Z");
        writeln!(
            self.lines,
            "{customer} renewal {day} {amount} chain={customer} tx={customer}-{day} period=P1M \
             expires_at={until}"
        )
        .unwrap();
        self
    }

    fn leaves(&mut self, customer: &str, day: &str) -> &mut Self {
        writeln!(self.lines, "{customer} expiration {day} - chain={customer}").unwrap();
        self
    }

    /// Customers `group0`, `group1`, … begin to pay so many cents together.
    fn join(&mut self, group: &str, count: i64, day: &str, cents: i64) -> &mut Self {
        for number in 0..count {
            let share = cents / count + i64::from(number < cents % count);
            self.pays(&format!("{group}{number}"), day, share);
        }
        self
    }

    /// The customers of a group with these numbers leave.
    fn part(&mut self, group: &str, numbers: std::ops::Range<i64>, day: &str) -> &mut Self {
        for number in numbers {
            self.leaves(&format!("{group}{number}"), day);
        }
        self
    }

    async fn asked(&self, window: LtvChurnWindow) -> Asked {
        let acme = AppSettings { ltv_churn_window: window, ..settings("acme", ACME) };
        let setup = Setup { apps: vec![acme], ..Setup::default() };
        Asked(Service::fed(setup, &events(&self.lines)).await)
    }
}

fn decimal(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// A service that is asked for figures by month.
struct Asked(Service);

impl Asked {
    async fn entries(&self, metric: &str, from: &str, to: &str) -> Vec<Value> {
        let range = format!("start-date={from}&end-date={to}&interval=month");
        let answer = self.0.ask(&format!("/v1/metrics/{metric}?{range}")).await;
        answer["entries"].as_array().unwrap().clone()
    }

    /// Checks figures of all months, each against its own list.
    async fn check(&self, metric: &str, range: (&str, &str), figures: &[(&str, &[f64])]) {
        let entries = self.entries(metric, range.0, range.1).await;
        for (name, expected) in figures {
            let shown: Vec<f64> =
                entries.iter().map(|entry| entry[name].as_f64().unwrap()).collect();
            assert_eq!(shown, *expected, "{name} of {metric}");
        }
    }
}

const SPRING: (&str, &str) = ("2022-04-01", "2022-05-31");

/// The account recorded for the vendor's client for Go: April and May 2022.
fn go_account() -> Account {
    let mut account = Account::default();
    // 1088 customers pay 67290903: those who stay, leave in April, leave in May, and two who move.
    account.join("stay", 1023, "2022-03-15", 67_290_903 - 1_660_000 - 1_730_666 - 2_001_000);
    account.join("april", 31, "2022-03-15", 1_660_000).part("april", 0..31, "2022-04-12");
    account.join("may", 32, "2022-03-15", 1_730_666).part("may", 0..32, "2022-05-12");
    account
        .pays("up", "2022-03-15", 1_000)
        .pays("up", "2022-04-15", 1_000 + 2_386_603)
        .pays("up", "2022-05-15", 1_000 + 2_386_603 + 1_559_209)
        .pays("down", "2022-03-15", 2_000_000)
        .pays("down", "2022-04-15", 2_000_000 - 508_125)
        .pays("down", "2022-05-15", 2_000_000 - 508_125 - 770_875);
    for (customer, day, cents) in
        [("back0", "2022-04-20", 230_000), ("back1", "2022-05-20", 315_000)]
    {
        account.pays(customer, "2021-11-01", 100).leaves(customer, "2021-12-01");
        account.pays(customer, day, cents);
    }
    account.join("fourth", 39, "2022-04-05", 865_500).join("fifth", 36, "2022-05-05", 977_000);
    account
}

#[tokio::test]
async fn the_account_recorded_for_go_has_its_figures() {
    let asked = go_account().asked(LtvChurnWindow::SameMonth).await;
    let april_and_may: [(&str, &str, &[f64], f64); 7] = [
        ("mrr", "mrr", &[68_604_881.0, 68_954_549.0], 0.51),
        ("arr", "arr", &[823_258_572.0, 827_454_588.0], 0.51),
        ("arpa", "arpa", &[62_538.0, 62_572.0], 0.05),
        ("customer-count", "customers", &[1_097.0, 1_102.0], 0.46),
        ("customer-churn-rate", "customer-churn-rate", &[2.85, 2.92], 2.46),
        ("mrr-churn-rate", "mrr-churn-rate", &[-0.67, 0.91], 235.82),
        ("ltv", "ltv", &[2_194_315.0, 2_142_876.0], -2.34),
    ];
    for (metric, name, expected, change) in april_and_may {
        let change_name = format!("{name}-percentage-change");
        asked.check("all", SPRING, &[(name, expected), (&change_name, &[0.0, change])]).await;
        let figures = [(name, expected), ("percentage-change", &[0.0, change])];
        asked.check(metric, SPRING, &figures).await;
    }
    let movements: [(&str, &[f64]); 5] = [
        ("mrr-new-business", &[865_500.0, 977_000.0]),
        ("mrr-expansion", &[2_386_603.0, 1_559_209.0]),
        ("mrr-contraction", &[-508_125.0, -770_875.0]),
        ("mrr-churn", &[-1_660_000.0, -1_730_666.0]),
        ("mrr-reactivation", &[230_000.0, 315_000.0]),
    ];
    asked.check("mrr", SPRING, &movements).await;
}

#[tokio::test]
async fn the_account_recorded_for_ruby_has_its_figures() {
    let mut account = Account::default();
    account
        .join("leave", 13, "2022-03-15", 1_300)
        .join("stay", 524, "2022-03-15", 300_000_000)
        .part("leave", 0..3, "2022-04-12")
        .join("fourth", 51, "2022-04-15", 383_859_969 - 300_000_000 - 1_000)
        .part("leave", 3..13, "2022-05-12")
        .join("fifth", 27, "2022-05-15", 670_280_904 - 383_859_969 + 1_000);
    let figures: [(&str, &[f64]); 7] = [
        ("mrr", &[383_859_969.0, 670_280_904.0]),
        ("mrr-percentage-change", &[0.0, 74.62]),
        ("customers", &[585.0, 602.0]),
        ("arpa", &[656_170.0, 1_113_423.0]),
        ("customer-churn-rate", &[0.56, 1.71]),
        ("ltv", &[117_173_214.0, 65_112_456.0]),
        ("ltv-percentage-change", &[0.0, -44.43]),
    ];
    account.asked(LtvChurnWindow::SameMonth).await.check("all", SPRING, &figures).await;
}

#[tokio::test]
async fn the_arpa_of_the_recorded_summary_and_of_the_help_page_is_cut() {
    let april = ("2022-04-01", "2022-04-30");
    let mut account = Account::default();
    account.join("c", 1_100, "2022-03-15", 69_499_091);
    let asked = account.asked(LtvChurnWindow::SameMonth).await;
    asked.check("arpa", april, &[("arpa", &[63_180.0])]).await;
    let mut account = Account::default();
    for (customer, cents) in [("a", 100), ("b", 100), ("c", 300), ("d", 500), ("e", 500)] {
        account.pays(customer, "2022-03-15", cents);
    }
    let asked = account.asked(LtvChurnWindow::SameMonth).await;
    let figures: [(&str, &[f64]); 3] =
        [("mrr", &[1_500.0]), ("customers", &[5.0]), ("arpa", &[300.0])];
    asked.check("all", april, &figures).await;
}

#[tokio::test]
async fn changes_are_those_of_the_table() {
    let mut account = Account::default();
    account
        .pays("a", "2024-01-10", 22_776)
        .pays("a", "2024-02-10", 30_531)
        .pays("a", "2024-03-10", 4_100)
        .leaves("a", "2024-04-10")
        .pays("a", "2024-05-10", 500);
    let figures: [(&str, &[f64]); 2] = [
        ("mrr", &[22_776.0, 30_531.0, 4_100.0, 0.0, 500.0]),
        ("percentage-change", &[0.0, 34.05, -86.57, -100.0, 0.0]),
    ];
    let asked = account.asked(LtvChurnWindow::SameMonth).await;
    asked.check("mrr", ("2024-01-01", "2024-05-31"), &figures).await;
    let mut account = Account::default();
    account.pays("a", "2024-01-10", 1_000_000).pays("a", "2024-02-10", 1_001_700).pays(
        "a",
        "2024-03-10",
        1_001_700 + 746_467,
    );
    let asked = account.asked(LtvChurnWindow::SameMonth).await;
    let figures: [(&str, &[f64]); 2] =
        [("mrr-churn-rate", &[-0.17, -74.52]), ("percentage-change", &[0.0, -43_735.29])];
    asked.check("mrr-churn-rate", ("2024-02-01", "2024-03-31"), &figures).await;
}

/// A hundred customers at 100.00 begin each month; 4, 6, 5, 5, 3, 7 and 10 of them leave, and all
/// but the last ten are made up for.
#[tokio::test]
async fn lifetime_value_is_by_the_mean_of_six_months_or_by_the_month_itself() {
    let mut account = Account::default();
    account.join("c", 100, "2023-12-15", 1_000_000);
    let mut gone = 0;
    for (month, leaving) in (1..).zip([4, 6, 5, 5, 3, 7, 10]) {
        account.part("c", gone..gone + leaving, &format!("2024-{month:02}-10"));
        gone += leaving;
        if month < 7 {
            let joining = format!("2024-{month:02}-20");
            account.join(&format!("m{month}x"), leaving, &joining, leaving * 10_000);
        }
    }
    let rates: (&str, &[f64]) = ("customer-churn-rate", &[4.0, 6.0, 5.0, 5.0, 3.0, 7.0, 10.0]);
    let arpa: (&str, &[f64]) = ("arpa", &[10_000.0; 7]);
    // The month of 5 % in the older mode: $100 and 5 % give $2000.
    let same = [250_000.0, 166_666.0, 200_000.0, 200_000.0, 333_333.0, 142_857.0, 100_000.0];
    let trailing = [0.0, 250_000.0, 200_000.0, 200_000.0, 200_000.0, 217_391.0, 200_000.0];
    for (window, ltv) in
        [(LtvChurnWindow::SameMonth, same), (LtvChurnWindow::TrailingSix, trailing)]
    {
        let asked = account.asked(window).await;
        asked.check("all", ("2024-01-01", "2024-07-31"), &[rates, arpa, ("ltv", &ltv)]).await;
    }
}

#[tokio::test]
async fn who_comes_back_or_joins_and_leaves_within_the_month_is_no_churn() {
    let mut account = Account::default();
    account
        .join("c", 100, "2024-01-15", 100_000)
        .part("c", 0..11, "2024-02-10")
        .pays("c0", "2024-02-20", 1_000)
        .pays("new", "2024-02-05", 1_000)
        .leaves("new", "2024-02-15");
    let asked = account.asked(LtvChurnWindow::SameMonth).await;
    let figures: [(&str, &[f64]); 2] = [("customer-churn-rate", &[10.0]), ("customers", &[90.0])];
    asked.check("all", ("2024-02-01", "2024-02-29"), &figures).await;
}

/// One order on the first and one on the last day of each period: no period loses or shares a day.
#[tokio::test]
async fn periods_are_those_of_codats_table_and_hold_both_their_ends() {
    for (last, unit, length, periods) in [
        ("2021-10-31", "Month", 1, &["2021-10-01 2021-10-31", "2021-09-01 2021-09-30"][..]),
        ("2022-12-31", "Year", 1, &["2022-01-01 2022-12-31"]),
        ("2021-06-15", "Month", 1, &["2021-05-16 2021-06-15", "2021-04-16 2021-05-15"]),
        (
            "2021-03-30",
            "Month",
            1,
            &["2021-02-28 2021-03-30", "2021-01-31 2021-02-27", "2020-12-31 2021-01-30"],
        ),
        ("2024-02-29", "Year", 1, &["2023-03-01 2024-02-29", "2022-03-01 2023-02-28"]),
        ("2024-03-10", "Week", 2, &["2024-02-26 2024-03-10", "2024-02-12 2024-02-25"]),
        ("2024-03-10", "Day", 7, &["2024-03-04 2024-03-10", "2024-02-26 2024-03-03"]),
        ("2024-03-31", "Month", 3, &["2024-01-01 2024-03-31", "2023-10-01 2023-12-31"]),
    ] {
        let mut lines = String::new();
        for (place, period) in periods.iter().enumerate() {
            for day in period.split(' ') {
                // Other amounts in each period: 1.00, 2.00, …
                writeln!(lines, "c purchase {day} {}.00", place + 1).unwrap();
            }
        }
        let service = Service::with(&events(&lines)).await;
        let answer = service
            .ask(&format!(
                "/data/companies/acme/connections/acme/assess/commerceMetrics/orders\
                 ?reportDate={last}&periodUnit={unit}&periodLength={length}&numberOfPeriods={}",
                periods.len()
            ))
            .await;
        let items = answer["dimensions"][0]["items"].as_array().unwrap();
        let shown: Vec<String> = items
            .iter()
            .map(|item| [&item["start"], &item["end"]].map(|day| day.as_str().unwrap()).join(" "))
            .collect();
        assert_eq!(shown, periods, "{last} {unit} {length}");
        let data = answer["reportData"].as_array().unwrap();
        assert_eq!(data.len(), periods.len());
        for (place, period) in data.iter().enumerate() {
            let value = |line: usize| {
                let measures = &period["components"][line]["measures"];
                measures[0]["value"].as_f64().unwrap()
            };
            let amount = f64::from(u32::try_from(place + 1).unwrap());
            let expected = [2.0, 2.0 * amount, amount];
            assert_eq!([0, 1, 2].map(value), expected, "{last} {unit} {length} {place}");
        }
    }
}

/// The date of Codat's OpenAPI file, which writes the day first.
#[tokio::test]
async fn the_date_of_codats_document_ends_the_latest_period() {
    let service = Service::with(&events(
        "a purchase 2018-09-30 5.00
         a purchase 2019-09-29 7.00
         a purchase 2019-09-30 20.00
         b purchase 2020-09-29 40.00
         b purchase 2020-09-30 90.00",
    ))
    .await;
    let answer = service
        .ask(
            "/data/companies/acme/connections/acme/assess/commerceMetrics/revenue\
             ?reportDate=29-09-2020&periodUnit=Year&periodLength=1&numberOfPeriods=2\
             &includeDisplayNames=true",
        )
        .await;
    let items = answer["dimensions"][0]["items"].as_array().unwrap();
    let shown: Vec<String> =
        items.iter().map(|item| format!("{} {}", item["start"], item["end"])).collect();
    assert_eq!(shown, ["\"2019-09-30\" \"2020-09-29\"", "\"2018-09-30\" \"2019-09-29\""]);
    let revenue = |period: usize| {
        let components = &answer["reportData"][period]["components"];
        [0, 1].map(|line| components[line]["measures"][0]["value"].as_f64().unwrap())
    };
    // 60 after 12 is a growth of 400 %; before 12 there was nothing.
    assert_eq!([revenue(0), revenue(1)], [[60.0, 400.0], [12.0, 0.0]]);
}
