//! An LTV answer as CSV: one row per cohort and age, written cohort by cohort.

use crate::http::money::Units;
use crate::metrics_api::ltv::{LtvAnswer, LtvCohort, LtvGroup, LtvPoint};

const COLUMNS: [&str; 20] = [
    "row",
    "segment",
    "cohort_start",
    "cohort_end",
    "customers",
    "payers",
    "installs",
    "revenue_to_date",
    "ltv_to_date",
    "age",
    "complete",
    "cohorts",
    "heads",
    "payments",
    "paid",
    "refunds",
    "refunded",
    "revenue",
    "ltv",
    "notes",
];

/// The rows in pieces: the column names, then a piece per total and cohort.
///
/// `row` is `total`, `cohort`, `segment_total` or `segment_cohort`. A cohort none of whose ages
/// has begun has one row, without an age. `notes`, which are about the whole answer, stand in the
/// first row.
pub fn csv_chunks(answer: LtvAnswer) -> impl Iterator<Item = String> + Send + 'static {
    let LtvAnswer { ages, overall, segments, notes, .. } = answer;
    let notes = notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let whole = group_rows(String::new(), overall, ["total", "cohort"]);
    let parts = segments
        .into_iter()
        .flat_map(|(value, group)| group_rows(value, group, ["segment_total", "segment_cohort"]));
    let notes = std::iter::once(notes).chain(std::iter::repeat(String::new()));
    let cohorts = whole.chain(parts).zip(notes).map(move |((row, segment, cohort), notes)| {
        cohort_rows(row, &segment, &cohort, (&ages, notes))
    });
    std::iter::once(lines(&[COLUMNS.map(str::to_owned)])).chain(cohorts)
}

fn group_rows(
    segment: String,
    group: LtvGroup,
    [total, cohort]: [&'static str; 2],
) -> impl Iterator<Item = (&'static str, String, LtvCohort)> {
    let totals = group.total.into_iter().map(move |whole| (total, whole));
    let rows = totals.chain(group.cohorts.into_iter().map(move |part| (cohort, part)));
    rows.map(move |(row, cohort)| (row, segment.clone(), cohort))
}

fn cohort_rows(
    row: &str,
    segment: &str,
    cohort: &LtvCohort,
    (ages, notes): (&[u32], String),
) -> String {
    let points = ages.iter().zip(&cohort.points);
    let begun = points.filter_map(|(age, point)| Some((*age, point.as_ref()?)));
    let mut rows: Vec<_> = begun.map(|point| fields(row, segment, cohort, Some(point))).collect();
    if rows.is_empty() {
        rows.push(fields(row, segment, cohort, None));
    }
    rows[0][COLUMNS.len() - 1] = notes;
    lines(&rows)
}

fn fields(
    row: &str,
    segment: &str,
    cohort: &LtvCohort,
    point: Option<(u32, &LtvPoint)>,
) -> [String; COLUMNS.len()] {
    let units = |micros| Units(micros).to_string();
    let ltv = |value: &crate::metrics_api::ltv::Value| {
        value.per_head().rounded_micros().map(units).unwrap_or_default()
    };
    let of_point = |text: &dyn Fn(&LtvPoint) -> String| {
        point.map(|(_, point)| text(point)).unwrap_or_default()
    };
    [
        row.to_owned(),
        segment.to_owned(),
        cohort.start.to_string(),
        cohort.end.to_string(),
        cohort.sizes.customers.to_string(),
        cohort.sizes.payers.to_string(),
        cohort.sizes.installs.map(|installs| installs.to_string()).unwrap_or_default(),
        units(cohort.to_date.flow.revenue_micros()),
        ltv(&cohort.to_date),
        point.map(|(age, _)| age.to_string()).unwrap_or_default(),
        of_point(&|point| point.complete.map(|complete| complete.to_string()).unwrap_or_default()),
        of_point(&|point| point.cohorts.to_string()),
        of_point(&|point| point.value.heads.to_string()),
        of_point(&|point| point.value.flow.payments.count.to_string()),
        of_point(&|point| units(point.value.flow.payments.micros)),
        of_point(&|point| point.value.flow.refunds.count.to_string()),
        of_point(&|point| units(point.value.flow.refunds.micros)),
        of_point(&|point| units(point.value.flow.revenue_micros())),
        of_point(&|point| ltv(&point.value)),
        String::new(),
    ]
}

/// Rows as CSV.
pub fn lines<const N: usize>(rows: &[[String; N]]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        // Writing rows of one length to memory cannot fail.
        let _ = writer.write_record(row);
    }
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}
