//! Lifetime value as the vendor's clients read it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::cohort::Field;
use crate::domain::dimensions::Dimension;
use crate::http::adapty::country;
use crate::http::adapty::print;
use crate::metrics_api::ltv_table::{LtvTable, LtvTableRow, RowName};
use crate::metrics_api::question::{LtvQuestion, Measure};

/// The answer: one metric for each kind of money.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdaptyLtv {
    /// Before deductions.
    pub revenue: AdaptyLtvMetric,
    /// After store commission.
    pub proceeds: AdaptyLtvMetric,
    /// After commission and tax.
    pub net_revenue: AdaptyLtvMetric,
}

/// Lifetime value in one kind of money.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdaptyLtvMetric {
    /// The total first.
    pub data: Vec<AdaptyLtvRow>,
    pub description: &'static str,
    /// That of the total row.
    pub value: f64,
    /// The app's reporting currency.
    #[schema(example = "USD")]
    pub unit: String,
    pub title: &'static str,
}

/// All customers, a cohort, or a segment.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdaptyLtvRow {
    /// `Total`, the first day of the cohort, or the segment's display name.
    pub title: String,
    /// `total`, `single` for a cohort, or the segment's raw value.
    pub r#type: String,
    /// Money of the paying customers to date, less refunds, per paying customer.
    pub value: f64,
    pub values: Vec<AdaptyLtvValue>,
    /// Paying customers.
    pub cohort_size: i64,
}

/// The value by age, cumulative.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdaptyLtvValue {
    /// Payments from 1, or whole days since the install.
    pub period: u32,
    pub value: f64,
    pub cohort_size: i64,
}

const DESCRIPTION: &str = "Realised lifetime value: what the paying customers who installed in the \
                           range have brought in to date, less refunds, per paying customer.";

impl AdaptyLtv {
    /// The printed table.
    pub fn new(table: &LtvTable, question: &LtvQuestion, unit: &str) -> Self {
        let metric = |measure| metric(table, question, (measure, unit));
        Self {
            revenue: metric(Measure::Gross),
            proceeds: metric(Measure::Proceeds),
            net_revenue: metric(Measure::Net),
        }
    }

    fn metrics(&self) -> [(&'static str, &AdaptyLtvMetric); 3] {
        [
            ("revenue", &self.revenue),
            ("proceeds", &self.proceeds),
            ("net_revenue", &self.net_revenue),
        ]
    }
}

fn metric(
    table: &LtvTable,
    question: &LtvQuestion,
    (measure, unit): (Measure, &str),
) -> AdaptyLtvMetric {
    let rows = std::iter::once(&table.total).chain(table.rows_by(measure));
    let data: Vec<AdaptyLtvRow> =
        rows.map(|row| self::row(row, &table.ages, question, measure)).collect();
    AdaptyLtvMetric {
        value: data.first().map_or(0.0, |total| total.value),
        data,
        description: DESCRIPTION,
        unit: unit.to_owned(),
        title: "LTV",
    }
}

fn row(row: &LtvTableRow, ages: &[u32], question: &LtvQuestion, measure: Measure) -> AdaptyLtvRow {
    let heads = row.heads;
    let value = |flows| print::per_head(print::revenue(flows, measure), heads);
    let values = ages.iter().zip(&row.points).map(|(age, flows)| AdaptyLtvValue {
        period: *age,
        value: value(flows),
        cohort_size: heads,
    });
    let (title, r#type) = named(&row.name, question);
    AdaptyLtvRow {
        title,
        r#type,
        value: value(&row.to_date),
        values: values.collect(),
        cohort_size: heads,
    }
}

/// Title and type of a row.
fn named(name: &RowName, question: &LtvQuestion) -> (String, String) {
    match name {
        RowName::Total => ("Total".to_owned(), "total".to_owned()),
        RowName::Cohort(start) => (start.to_string(), "single".to_owned()),
        RowName::Value(value) if value.is_empty() => ("Unknown".to_owned(), String::new()),
        RowName::Value(value) => {
            let is_country = question.segment_by == Some(Field::Dimension(Dimension::Country));
            let title = if is_country { country::english(value) } else { value };
            (title.to_owned(), value.clone())
        }
    }
}

/// The same figures as a table with a column for each age.
pub fn csv(body: &AdaptyLtv, ages: &[u32]) -> String {
    let names = ["accounting_type", "segment", "cohort_size", "ltv"].map(str::to_owned);
    let head = names.into_iter().chain(ages.iter().map(u32::to_string)).collect();
    let rows = body.metrics().into_iter().flat_map(|(accounting_type, metric)| {
        metric.data.iter().map(move |row| {
            let mut cells = vec![
                accounting_type.to_owned(),
                row.title.clone(),
                row.cohort_size.to_string(),
                print::text(row.value),
            ];
            cells.extend(row.values.iter().map(|cell| print::text(cell.value)));
            cells.resize(4 + ages.len(), String::new());
            cells
        })
    });
    print::csv(std::iter::once(head).chain(rows))
}
