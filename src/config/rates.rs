//! Exchange rates of an app: tables in the configuration, lines of a CSV file, or both.

use std::path::Path;

use crate::domain::money::{Currency, Rate};
use crate::domain::rules::RateTable;
use crate::domain::time::Day;

use super::section::Section;

/// Most wrong lines of one file that are reported; the next ones are likely wrong the same way.
const WRONG_LINES_MAX: usize = 10;

const LINES: &str =
    "a CSV file that begins with date,currency,rate, with lines such as 2024-01-01,EUR,1.0956";

/// The columns of a file.
const NAMES: [&str; 3] = ["date", "currency", "rate"];

/// One rate with the place it was given.
struct Given {
    rate: Option<(Currency, Day, Rate)>,
    place: String,
}

#[derive(serde::Deserialize)]
struct Line {
    date: String,
    currency: String,
    rate: String,
}

/// Reads `rates` and `rates_file`; the file's path starts at `folder`.
///
/// Refused: rates of the reporting currency, and two different rates of one currency and day.
pub(super) fn read(section: &mut Section<'_>, folder: &Path, reporting: Currency) -> RateTable {
    let mut table = RateTable::default();
    for given in section.sections("rates", read_table) {
        insert(section, &mut table, "rates", (given, reporting));
    }
    let path = section.optional("rates_file", "", "a path", |path| Some(folder.join(path)));
    if let Some(path) = path {
        for given in read_file(section, &path) {
            insert(section, &mut table, "rates_file", (given, reporting));
        }
    }
    table
}

fn read_table(section: &mut Section<'_>) -> Given {
    let place = section.key("rate");
    let day =
        section.required("date", "a date in quotes such as \"2024-01-01\"", |d| d.parse().ok());
    let currency =
        section.required("currency", "an ISO 4217 code in upper case", |code| code.parse().ok());
    let expected = format!("{} in quotes, such as \"1.0956\"", Rate::EXPECTED);
    let rate = section.required("rate", &expected, |rate| rate.parse().ok());
    let rate = currency.zip(day).zip(rate).map(|((currency, day), rate)| (currency, day, rate));
    Given { rate, place }
}

fn read_file(section: &mut Section<'_>, path: &Path) -> Vec<Given> {
    let reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path);
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(error) => {
            section.refuse("rates_file", "a readable file", format!("{}: {error}", path.display()));
            return Vec::new();
        }
    };
    // Without a line of data nobody asks for its columns.
    let first = match reader.headers() {
        Ok(names) if NAMES.iter().all(|name| names.iter().any(|given| given == *name)) => None,
        Ok(names) => Some(names.iter().collect::<Vec<_>>().join(",")),
        Err(error) => Some(error.to_string()),
    };
    if let Some(first) = first {
        section.refuse("rates_file", LINES, format!("line 1: {first}"));
        return Vec::new();
    }
    let (mut all, mut wrong) = (Vec::new(), 0);
    for (row, line) in reader.deserialize::<Line>().enumerate() {
        // The first line holds the names.
        let place = format!("line {}", row + 2);
        let rate = match &line {
            Ok(Line { date, currency, rate }) => parse_line(date, currency, rate),
            Err(_) => None,
        };
        if rate.is_none() {
            wrong += 1;
            let content = match line {
                Ok(line) => format!("{},{},{}", line.date, line.currency, line.rate),
                Err(error) => error.to_string(),
            };
            section.refuse("rates_file", LINES, format!("{place}: {content}"));
            if wrong == WRONG_LINES_MAX {
                break;
            }
        }
        all.push(Given { rate, place });
    }
    all
}

fn parse_line(date: &str, currency: &str, rate: &str) -> Option<(Currency, Day, Rate)> {
    Some((currency.parse().ok()?, date.parse().ok()?, rate.parse().ok()?))
}

fn insert(
    section: &mut Section<'_>,
    table: &mut RateTable,
    name: &str,
    (given, reporting): (Given, Currency),
) {
    let Some((currency, day, rate)) = given.rate else { return };
    let got = format!("{}: {currency} on {day}", given.place);
    if currency == reporting {
        section.refuse(name, "rates of other currencies than reporting_currency", got);
    } else if table.insert(currency, day, rate).is_some_and(|earlier| earlier != rate) {
        section.refuse(name, "one rate for each currency and day", got);
    }
}
