//! Reports: periods by lines, each figure with its measure.

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::codat::metric::{Line, Metric, Units};
use crate::http::codat::parse::Asked;
use crate::http::compat::Number;
use crate::metrics_api::commerce::CommerceSums;

/// A report.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodatReport {
    pub report_info: CodatReportInfo,
    /// The periods, then the lines of the metric.
    pub dimensions: Vec<CodatDimension>,
    pub measures: Vec<CodatMeasure>,
    /// By period, latest first.
    pub report_data: Vec<CodatItemFigures>,
}

/// What a report is about.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodatReportInfo {
    #[schema(example = "lifetime_value")]
    pub name: &'static str,
    #[schema(example = "Lifetime Value")]
    pub display_name: &'static str,
}

/// Something that figures are laid out by.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodatDimension {
    pub index: usize,
    pub display_name: &'static str,
    /// `datespan` or `string`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub items: Vec<CodatItem>,
}

/// A period with its days, or a line with its name.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", untagged)]
pub enum CodatItem {
    #[serde(rename_all = "camelCase")]
    Period {
        index: usize,
        display_name: String,
        /// Both ends belong to it.
        #[schema(format = Date)]
        start: String,
        #[schema(format = Date)]
        end: String,
    },
    Line {
        index: usize,
        value: &'static str,
    },
}

/// What figures are measured in.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodatMeasure {
    pub index: usize,
    pub display_name: &'static str,
    /// A currency or `%`; left out of counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units: Option<String>,
    /// `currency`, `int` or `percentage`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// The figures of a period. Names are there if they were asked for.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodatItemFigures {
    pub dimension: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimension_display_name: Option<&'static str>,
    pub item: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_display_name: Option<String>,
    pub components: Vec<CodatComponent>,
}

/// The figure of a line.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodatComponent {
    pub dimension: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimension_display_name: Option<&'static str>,
    pub item: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_display_name: Option<&'static str>,
    pub measures: Vec<CodatFigure>,
}

/// A figure.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodatFigure {
    /// Place among the report's measures.
    pub index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure_display_name: Option<&'static str>,
    /// Counts whole; all else with two decimals, halves away from zero.
    pub value: Number,
}

/// The name of the first dimension.
const PERIOD: &str = "Period";

/// The report of a metric; `sums` are by period, and last of the period before them all.
pub fn report(
    metric: &'static Metric,
    asked: &Asked,
    sums: &[CommerceSums],
    currency: &str,
) -> CodatReport {
    let neighbours = sums.windows(2).enumerate();
    CodatReport {
        report_info: CodatReportInfo { name: metric.name, display_name: metric.display_name },
        dimensions: vec![periods(asked), lines(metric)],
        measures: measures(metric, currency),
        report_data: neighbours
            .map(|(item, pair)| CodatItemFigures {
                dimension: 0,
                dimension_display_name: asked.has_names.then_some(PERIOD),
                item,
                item_display_name: asked.has_names.then(|| period_name(item)),
                components: components(metric, asked.has_names, &pair[0], &pair[1]),
            })
            .collect(),
    }
}

fn period_name(index: usize) -> String {
    format!("{PERIOD} {index}")
}

fn periods(asked: &Asked) -> CodatDimension {
    let shown = asked.shown_periods().iter().enumerate().map(|(index, period)| CodatItem::Period {
        index,
        display_name: period_name(index),
        start: period.start.to_string(),
        end: period.end.to_string(),
    });
    CodatDimension { index: 0, display_name: PERIOD, kind: "datespan", items: shown.collect() }
}

fn lines(metric: &Metric) -> CodatDimension {
    let lines = metric.lines.iter().enumerate();
    CodatDimension {
        index: 1,
        display_name: metric.lines_name,
        kind: "string",
        items: lines.map(|(index, line)| CodatItem::Line { index, value: line.name }).collect(),
    }
}

fn measures(metric: &Metric, currency: &str) -> Vec<CodatMeasure> {
    let measures = metric.measures.iter().enumerate();
    measures
        .map(|(index, measure)| CodatMeasure {
            index,
            display_name: measure.name,
            units: match measure.units {
                Units::None => None,
                Units::Percent => Some("%".to_owned()),
                Units::Currency => Some(currency.to_owned()),
            },
            kind: measure.kind,
        })
        .collect()
}

fn components(
    metric: &'static Metric,
    has_names: bool,
    sums: &CommerceSums,
    before: &CommerceSums,
) -> Vec<CodatComponent> {
    let component = |(item, line): (usize, &'static Line)| CodatComponent {
        dimension: 1,
        dimension_display_name: has_names.then_some(metric.lines_name),
        item,
        item_display_name: has_names.then_some(line.name),
        measures: vec![CodatFigure {
            index: line.measure,
            measure_display_name: has_names.then(|| metric.measures[line.measure].name),
            value: (line.figure)(sums, before),
        }],
    };
    metric.lines.iter().enumerate().map(component).collect()
}
