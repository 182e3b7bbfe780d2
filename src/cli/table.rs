//! Answers as tables for the terminal.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;

use crate::domain::money::div_half_away;

fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The first array of objects in an answer, a row each and a column for each plain member.
pub fn rows(answer: &Value) -> String {
    let arrays = answer.as_object().into_iter().flatten();
    let rows = arrays.filter_map(|(_, value)| value.as_array());
    let is_table = |rows: &&Vec<Value>| !rows.is_empty() && rows.iter().all(Value::is_object);
    let Some(rows) = rows.into_iter().find(is_table) else {
        return format!("{answer:#}\n");
    };
    let mut names: Vec<&String> = Vec::new();
    for row in rows.iter().filter_map(Value::as_object) {
        for (name, value) in row {
            if !value.is_object() && !value.is_array() && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let mut table = table();
    table.set_header(names.iter().copied());
    for row in rows {
        table.add_row(names.iter().map(|name| row.get(name.as_str()).map_or(String::new(), word)));
    }
    format!("{table}\n{}", footer(answer))
}

/// As of which input the answer is, if it says so.
fn footer(answer: &Value) -> String {
    if answer.get("as_of").is_none() {
        return String::new();
    }
    let member = |name: &str| answer.get(name).map_or_else(|| "–".to_owned(), word);
    format!(
        "as of {} (newest event {}, {} s old)\n",
        member("as_of"),
        member("newest_event_at"),
        member("data_age_seconds")
    )
}

/// An LTV answer as the table people know: a cohort each row, an age each column. A value that
/// younger members of the cohort can still change is marked with `*`.
///
/// Where the terminal is not wide enough for all ages, those are shown that people look at first.
pub fn ltv(answer: &Value, terminal_width: Option<u16>) -> String {
    let empty = Vec::new();
    let list = |value: &Value, name: &str| -> Vec<Value> {
        value.get(name).and_then(Value::as_array).unwrap_or(&empty).clone()
    };
    let ages = list(answer, "ages");
    let mut table = table();
    let heads = ["cohort", "customers", "payers"].map(str::to_owned);
    let mut rows: Vec<Vec<String>> = vec![heads.into_iter().chain(ages.iter().map(word)).collect()];
    let segments = list(answer, "segments");
    if segments.is_empty() {
        add_cohorts(&mut rows, "", answer, &ages);
    }
    for segment in &segments {
        add_cohorts(&mut rows, &segment_name(segment), segment, &ages);
    }
    let shown = match terminal_width.or(table.width()) {
        Some(width) => fitting_columns(&rows, usize::from(width)),
        None => (0..rows[0].len()).collect(),
    };
    let left_out = rows[0].len() - shown.len();
    let mut rows = rows.iter().map(|row| shown.iter().filter_map(|column| row.get(*column)));
    if let Some(heads) = rows.next() {
        table.set_header(heads);
    }
    rows.for_each(|row| {
        table.add_row(row);
    });
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let member = |name: &str| answer.get(name).map(word).unwrap_or_default();
    let more = match left_out {
        0 => String::new(),
        ages => format!("{ages} more ages do not fit here; ages=… chooses, --format csv has all\n"),
    };
    format!(
        "{table}\n{} {} per {}, cumulative, by {}; * not everybody is that old yet; \
         totals leave younger cohorts out\n{more}{}",
        member("currency"),
        member("measure"),
        member("per"),
        member("age"),
        footer(answer)
    )
}

/// Columns before those of ages.
const HEAD_COLUMNS: usize = 3;
/// Ages that people look at first, the most telling ones first.
const AGES_FIRST: [&str; 18] = [
    "0", "1", "3", "6", "12", "24", "2", "9", "18", "36", "7", "14", "30", "60", "90", "180",
    "365", "730",
];

/// The columns of a table with this header and these rows that fit into so many characters.
fn fitting_columns(rows: &[Vec<String>], width: usize) -> Vec<usize> {
    let cell = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |c| c.chars().count());
    let width_of = |column| rows.iter().map(|row| cell(row, column)).max().unwrap_or(0) + 3;
    let heads = &rows[0];
    let mut shown: Vec<usize> = (0..HEAD_COLUMNS.min(heads.len())).collect();
    // A blank on each side of a cell, one or a border behind it, and the border before all.
    let mut left = width.saturating_sub(1 + shown.iter().map(|at| width_of(*at)).sum::<usize>());
    let rank = |column: &usize| AGES_FIRST.iter().position(|age| *age == heads[*column]);
    let mut ages: Vec<usize> = (shown.len()..heads.len()).collect();
    ages.sort_by_key(|column| (rank(column).unwrap_or(AGES_FIRST.len()), *column));
    for column in ages {
        if width_of(column) <= left {
            left -= width_of(column);
            shown.push(column);
        }
    }
    shown.sort_unstable();
    shown
}

/// Where the columns of a customer's events are in each of them; each has the name that it has there.
const CUSTOMER_COLUMNS: [&str; 6] =
    ["/occurred_at", "/kind", "/standing", "/charge/gross", "/charge/currency", "/transaction_id"];

/// A customer: a row for each event, then its subscriptions and what all of it is worth.
pub fn customer(answer: &Value) -> String {
    let list = |name: &str| answer.get(name).and_then(Value::as_array).into_iter().flatten();
    let member = |of: &Value, path: &str| of.pointer(path).map(word).unwrap_or_default();
    let mut table = table();
    table.set_header(CUSTOMER_COLUMNS.map(|path| path.rsplit('/').next().unwrap_or(path)));
    for event in list("ledger") {
        let cell = |path| event.pointer(path).filter(|value| !value.is_null());
        table.add_row(CUSTOMER_COLUMNS.map(|path| cell(path).map(word).unwrap_or_default()));
    }
    if let Some(column) = table.column_mut(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{table}\n");
    for chain in list("chains") {
        let of = |path| member(chain, path);
        text += &format!(
            "subscription {}: since {}, paid until {}, {} payments, revenue {}\n",
            of("/original_transaction_id"),
            of("/started_at"),
            of("/covered_until"),
            of("/worth/payments"),
            of("/worth/gross/revenue")
        );
    }
    let of = |path| member(answer, path);
    text += &format!(
        "{} payments {}, {} refunds {}, revenue {} {} gross, {} net; first payment {}\n",
        of("/ltv/payments"),
        of("/ltv/gross/paid"),
        of("/ltv/refunds"),
        of("/ltv/gross/refunded"),
        of("/ltv/gross/revenue"),
        of("/currency"),
        of("/ltv/net/revenue"),
        of("/first_payment_at")
    );
    text + &footer(answer)
}

/// A revenue answer: a bucket each row. Detail that seldom matters is left to the answer itself.
pub fn revenue(answer: &Value) -> String {
    let mut table = table();
    table.set_header(REVENUE_COLUMNS);
    let segments = answer.get("segments").and_then(Value::as_array).filter(|all| !all.is_empty());
    match segments {
        None => add_buckets(&mut table, "", answer),
        Some(segments) => {
            for segment in segments {
                add_buckets(&mut table, &segment_name(segment), segment);
            }
        }
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let member = |name: &str| answer.get(name).map(word).unwrap_or_default();
    format!(
        "{table}\n{} {} by {}, refunds {}; * the {2} is not over or not asked whole\n{}",
        member("currency"),
        member("measure"),
        member("width"),
        member("refunds"),
        footer(answer)
    )
}

const REVENUE_COLUMNS: [&str; 7] =
    ["start", "payers", "payments", "paid", "refunds", "refunded", "revenue"];

fn add_buckets(table: &mut Table, prefix: &str, group: &Value) {
    let row = |name: String, bucket: &Value| {
        let cells = REVENUE_COLUMNS[1..].iter();
        let cells = cells.map(|column| bucket.get(*column).map(word).unwrap_or_default());
        std::iter::once(name).chain(cells).collect::<Vec<_>>()
    };
    for bucket in group.get("buckets").and_then(Value::as_array).into_iter().flatten() {
        let start = bucket.get("start").map(word).unwrap_or_default();
        let mark = if bucket.get("complete") == Some(&Value::Bool(false)) { "*" } else { "" };
        table.add_row(row(format!("{prefix}{start}{mark}"), bucket));
    }
    if let Some(total) = group.get("total").filter(|total| total.is_object()) {
        table.add_row(row(format!("{prefix}total"), total));
    }
}

/// The value of a segment, to stand before the rows of its group.
fn segment_name(segment: &Value) -> String {
    let value = segment.get("value").map(word).unwrap_or_default();
    if value.is_empty() { "unknown ".to_owned() } else { format!("{value} ") }
}

fn add_cohorts(rows: &mut Vec<Vec<String>>, prefix: &str, group: &Value, ages: &[Value]) {
    let cohorts = group.get("cohorts").and_then(Value::as_array);
    for cohort in cohorts.into_iter().flatten() {
        let start = cohort.get("start").map(word).unwrap_or_default();
        rows.push(ltv_row(format!("{prefix}{start}"), cohort, ages));
    }
    if let Some(total) = group.get("total").filter(|total| total.is_object()) {
        rows.push(ltv_row(format!("{prefix}total"), total, ages));
    }
}

fn ltv_row(name: String, cohort: &Value, ages: &[Value]) -> Vec<String> {
    let member = |name: &str| cohort.get(name).map(word).unwrap_or_default();
    let mut row = vec![name, member("customers"), member("payers")];
    let curve = cohort.get("curve").and_then(Value::as_array);
    for age in ages {
        let point = curve.into_iter().flatten().find(|point| point.get("age") == Some(age));
        row.push(point.map_or_else(String::new, ltv_cell));
    }
    row
}

fn ltv_cell(point: &Value) -> String {
    let mark = if point.get("complete") == Some(&Value::Bool(false)) { "*" } else { "" };
    let value = point.get("ltv").map(word).unwrap_or_default();
    let decimals = value.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    match point.get("ltv_micros").and_then(Value::as_i64) {
        // Two are enough for the eye; the answer itself has six.
        Some(micros) if decimals > 2 => {
            let cents = div_half_away(micros.into(), 10_000);
            let (sign, size) = (if cents < 0 { "-" } else { "" }, cents.unsigned_abs());
            format!("{sign}{}.{:02}{mark}", size / 100, size % 100)
        }
        _ => value + mark,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_cohort_table_those_ages_are_shown_that_fit_and_matter() {
        let curve: Vec<_> = (0..40)
            .map(|age| json!({"age": age, "ltv": "123.456", "ltv_micros": 123_456_000, "complete": age < 30}))
            .collect();
        let cohort =
            json!({"start": "2026-01-01", "customers": 1234, "payers": 1000, "curve": curve});
        let ages: Vec<u32> = (0..40).collect();
        let answer = json!({"ages": ages, "cohorts": [cohort], "segments": [], "currency": "USD"});
        let text = ltv(&answer, Some(80));
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(['│', '┌'])).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        let heads: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!(heads[1..7], ["cohort", "customers", "payers", "0", "1", "3"], "{text}");
        assert!(text.contains("35 more ages do not fit here"), "{text}");
        assert!(!ltv(&answer, Some(1000)).contains("do not fit"));
        for width in 40..200 {
            let text = ltv(&answer, Some(width));
            let widest = text.lines().filter(|line| line.starts_with(['│', '┌'])).map(str::chars);
            assert!(widest.map(Iterator::count).max() <= Some(usize::from(width)), "{text}");
        }
    }

    #[test]
    fn a_value_is_rounded_for_the_eye_half_away_from_zero() {
        for (ltv, micros, shown) in [
            ("19.999999", 19_999_999, "20.00"),
            ("12.666667", 12_666_667, "12.67"),
            ("-0.125", -125_000, "-0.13"),
            ("0.004", 4_000, "0.00"),
            ("7.00", 7_000_000, "7.00"),
            ("1200", 1_200_000_000, "1200"),
        ] {
            let point = json!({"ltv": ltv, "ltv_micros": micros, "complete": false});
            assert_eq!(ltv_cell(&point), format!("{shown}*"));
        }
    }

    #[test]
    fn of_a_customer_the_money_is_shown() {
        let gross = json!({"paid": "9.99", "refunded": "0.99", "revenue": "9.00"});
        let worth = json!({"payments": 1, "refunds": 1, "gross": gross, "net": gross});
        let answer = json!({"currency": "USD", "first_payment_at": "2026-11-01T10:00:00Z",
            "ltv": worth, "chains": [{"original_transaction_id": "s1", "worth": worth}],
            "ledger": [
                {"occurred_at": "2026-11-01T10:00:00Z", "kind": "purchase", "standing": "payment",
                 "charge": {"gross": "9.99", "currency": "USD"}, "transaction_id": "t1"},
                {"occurred_at": "2026-11-02T10:00:00Z", "kind": "install", "charge": null}]});
        let text = customer(&answer);
        for part in [
            "9.99",
            "install",
            "subscription s1: since ",
            "1 payments 9.99, 1 refunds 0.99, revenue 9.00 USD gross, 9.00 net",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn a_revenue_table_has_a_row_each_bucket_and_fits_a_terminal() {
        let bucket = |start: &str, complete: bool| {
            json!({"start": start, "end": "x", "complete": complete, "payers": 12, "payments": 34,
                "refunds": 5, "paid": "34567.89", "paid_micros": 1, "refunded": "12.00",
                "refunded_micros": 1, "revenue": "34555.89", "revenue_micros": 1,
                "unplaced_refunds": 0, "unplaced_refunded": "0.00"})
        };
        let buckets = [bucket("2026-01-01", true), bucket("2026-02-01", false)];
        let answer = json!({"currency": "USD", "measure": "gross", "width": "month",
            "refunds": "at_refund", "buckets": buckets, "total": bucket("2026-01-01", false),
            "segments": [], "as_of": {"0": 7}});
        let text = revenue(&answer);
        for name in ["2026-01-01 ", "2026-02-01* ", "total "] {
            let row = text.lines().find(|line| line.contains(name)).unwrap();
            assert!(row.contains("34555.89"), "{row}");
        }
        let table = text.lines().filter(|line| line.starts_with(['│', '┌', '└', '╞']));
        assert!(table.clone().count() >= 6);
        assert!(table.map(|line| line.chars().count()).all(|width| width <= 80), "{text}");
        assert!(text.contains("USD gross by month, refunds at_refund; * the month is not over"));
        let segments = json!([{"value": "", "buckets": buckets, "total": null}]);
        let by_store = revenue(&json!({"segments": segments}));
        assert!(by_store.contains("unknown 2026-01-01"), "{by_store}");
    }
}
