//! Lifetime value in all three measures at once, as a table: a total, and a row for each cohort or
//! for each value of a field.
//!
//! The sums are those of [`ltv`](crate::metrics_api::ltv); this module only lays them out. Other
//! than there, a total holds all cohorts at every age: the young ones with what they have so far.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::domain::time::Day;
use crate::metrics_api::ages::asked;
use crate::metrics_api::flows::Flows;
use crate::metrics_api::ltv::{Flow, LtvPartial, LtvRow};
use crate::metrics_api::question::{AgeBasis, LtvQuestion, Measure};

/// What a row is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowName {
    Total,
    /// The cohort whose bucket begins on this day.
    Cohort(Day),
    /// A value of the question's field; empty if unknown.
    Value(String),
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LtvTableRow {
    pub name: RowName,
    /// What the question divides by.
    pub heads: i64,
    /// Everything through `until`.
    pub to_date: Flows,
    /// By [`LtvTable::ages`], everything up to and through the age; only as far as somebody of the
    /// row may have reached it.
    pub points: Vec<Flows>,
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LtvTable {
    pub ages: Vec<u32>,
    pub total: LtvTableRow,
    /// Cohorts by rising start, values by name.
    pub rows: Vec<LtvTableRow>,
}

impl LtvTable {
    /// The rows in order: cohorts by rising start, values by falling lifetime value, then by name.
    pub fn rows_by(&self, measure: Measure) -> Vec<&LtvTableRow> {
        let mut rows: Vec<&LtvTableRow> = self.rows.iter().collect();
        rows.sort_by(|a, b| match (&a.name, &b.name) {
            (RowName::Value(_), RowName::Value(_)) => by_value(b, a, measure),
            _ => Ordering::Equal,
        });
        rows
    }
}

/// The table from the merged partials of all shards. Cohorts without customers and money are left
/// out, and so are values without payers and money.
pub fn table(question: &LtvQuestion, partial: &LtvPartial) -> LtvTable {
    let maker = Maker { question, ages: asked(question) };
    let total = maker.row(
        RowName::Total,
        maker.first(&partial.cohorts, |row| !row.is_zero()),
        partial.cohorts.values(),
    );
    let rows = match question.segment_by {
        None => maker.cohorts(&partial.cohorts),
        Some(_) => maker.values(partial),
    };
    let longest = rows.iter().map(|row| row.points.len()).max().unwrap_or(0);
    let mut ages = maker.ages;
    ages.truncate(longest.max(total.points.len()));
    LtvTable { ages, total, rows }
}

struct Maker<'a> {
    question: &'a LtvQuestion,
    ages: Vec<u32>,
}

impl Maker<'_> {
    fn cohorts(&self, cohorts: &BTreeMap<i32, LtvRow>) -> Vec<LtvTableRow> {
        let rows = cohorts.iter().filter(|(_, row)| !row.is_zero());
        rows.map(|(ordinal, row)| {
            let name = RowName::Cohort(self.question.width.first_day(*ordinal));
            self.row(name, Some(self.first_of(*ordinal)), std::iter::once(row))
        })
        .collect()
    }

    /// The first day of a cohort that is asked for.
    fn first_of(&self, ordinal: i32) -> Day {
        let start = self.question.width.first_day(ordinal);
        self.question.from.map_or(start, |from| from.max(start))
    }

    /// That of the first of several that counts, if one does.
    fn first(
        &self,
        cohorts: &BTreeMap<i32, LtvRow>,
        counts: impl Fn(&LtvRow) -> bool,
    ) -> Option<Day> {
        let mut counted = cohorts.iter().filter(|(_, row)| counts(row));
        let first = counted.next().map(|(ordinal, _)| self.first_of(*ordinal));
        first.or(self.question.from)
    }

    fn values(&self, partial: &LtvPartial) -> Vec<LtvTableRow> {
        let per = self.question.per;
        let has_any = |row: &LtvRow| {
            row.heads.of(per) != 0 || row.flows.iter().any(|flows| *flows != Flows::default())
        };
        let rows = partial.segments.iter().map(|(value, cohorts)| {
            self.row(RowName::Value(value.clone()), self.first(cohorts, has_any), cohorts.values())
        });
        rows.filter(|row| row.heads != 0 || row.to_date != Flows::default()).collect()
    }

    /// The row of cohorts whose first members came on `first`.
    fn row<'a>(
        &self,
        name: RowName,
        first: Option<Day>,
        cohorts: impl Iterator<Item = &'a LtvRow> + Clone,
    ) -> LtvTableRow {
        let heads = cohorts.clone().map(|row| row.heads.of(self.question.per)).sum();
        let (mut to_date, mut points) = (Flows::default(), Vec::new());
        let reached = cohorts.clone().map(LtvRow::reached).max().unwrap_or(0);
        for slot in 0..reached.max(self.ages.len()) {
            cohorts.clone().for_each(|row| to_date += row.at(slot));
            let has_begun = |age: &u32| match self.question.age {
                AgeBasis::Payments => slot < reached,
                _ => first.is_none_or(|first| {
                    i64::from(first.0) + i64::from(*age) <= i64::from(self.question.until.0)
                }),
            };
            if self.ages.get(slot).is_some_and(has_begun) {
                points.push(to_date);
            }
        }
        LtvTableRow { name, heads, to_date, points }
    }
}

/// By lifetime value, exactly; rows without heads come first.
fn by_value(a: &LtvTableRow, b: &LtvTableRow, measure: Measure) -> Ordering {
    let revenue = |row: &LtvTableRow| Flow::of(&row.to_date, measure).revenue_micros();
    if a.heads <= 0 || b.heads <= 0 {
        return (a.heads > 0).cmp(&(b.heads > 0));
    }
    (revenue(a) * i128::from(b.heads)).cmp(&(revenue(b) * i128::from(a.heads)))
}
