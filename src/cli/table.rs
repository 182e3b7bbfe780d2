//! Answers as tables for the terminal.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;

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
pub fn ltv(answer: &Value) -> String {
    let empty = Vec::new();
    let list = |value: &Value, name: &str| -> Vec<Value> {
        value.get(name).and_then(Value::as_array).unwrap_or(&empty).clone()
    };
    let ages = list(answer, "ages");
    let mut table = table();
    let heads = ["cohort", "customers", "payers"].map(str::to_owned);
    table.set_header(heads.into_iter().chain(ages.iter().map(word)));
    let segments = list(answer, "segments");
    if segments.is_empty() {
        add_cohorts(&mut table, "", answer, &ages);
    }
    for segment in &segments {
        add_cohorts(&mut table, &segment_name(segment), segment, &ages);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let member = |name: &str| answer.get(name).map(word).unwrap_or_default();
    format!(
        "{table}\n{} {} per {}, cumulative, by {}; * not everybody is that old yet; \
         totals leave younger cohorts out\n{}",
        member("currency"),
        member("measure"),
        member("per"),
        member("age"),
        footer(answer)
    )
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

fn add_cohorts(table: &mut Table, prefix: &str, group: &Value, ages: &[Value]) {
    let cohorts = group.get("cohorts").and_then(Value::as_array);
    for cohort in cohorts.into_iter().flatten() {
        let start = cohort.get("start").map(word).unwrap_or_default();
        table.add_row(ltv_row(format!("{prefix}{start}"), cohort, ages));
    }
    if let Some(total) = group.get("total").filter(|total| total.is_object()) {
        table.add_row(ltv_row(format!("{prefix}total"), total, ages));
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
    let value = point.get("ltv").map(word).unwrap_or_default();
    // Two decimals are enough for the eye; the answer itself has six.
    let cut = value.find('.').map_or(value.len(), |dot| (dot + 3).min(value.len()));
    let mark = if point.get("complete") == Some(&Value::Bool(false)) { "*" } else { "" };
    format!("{}{mark}", &value[..cut])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
