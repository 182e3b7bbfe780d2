//! Cohorts as the vendor's clients read them.
//!
//! Names of averages: `ar…` of revenue, `ap…` of proceeds, `anr…` of net revenue; `…pu` per install,
//! `…ppu` per paying customer, `…pas` per customer who began a trial or a subscription.

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::adapty::print::{per_head, percent, revenue, units};
use crate::metrics_api::cohorts::{CohortCell, CohortFigures, CohortTable, CohortTableRow};
use crate::metrics_api::flows::Flows;
use crate::metrics_api::question::Measure;

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdaptyCohorts {
    /// The total first, then cohorts by start.
    pub data: Vec<AdaptyCohort>,
}

/// A cohort, or all of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdaptyCohort {
    #[schema(example = "2025-01-01")]
    pub segment_start_date: String,
    /// `total` or `single`.
    pub r#type: &'static str,
    pub title: String,
    pub total_installs: i64,
    pub total_subscriptions: i64,
    pub total_paid_subscribers: i64,
    pub total_revenue_usd: f64,
    pub total_proceeds_usd: f64,
    pub total_net_revenue_usd: f64,
    pub total_arpu_usd: f64,
    pub total_appu_usd: f64,
    pub total_anrpu_usd: f64,
    pub total_arppu_usd: f64,
    pub total_apppu_usd: f64,
    pub total_anrppu_usd: f64,
    pub total_arpas_usd: f64,
    pub total_appas_usd: f64,
    pub total_anrpas_usd: f64,
    /// Always null: nothing is predicted.
    #[schema(value_type = Option<Object>)]
    pub predict: Option<()>,
    pub values: Vec<AdaptyCohortValue>,
}

/// A cell.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdaptyCohortValue {
    /// Payment from 1, or whole days since the install.
    pub period: u32,
    pub installs: i64,
    pub subscriptions: i64,
    pub subscribers: i64,
    pub revenue_usd: f64,
    pub proceeds_usd: f64,
    pub net_revenue_usd: f64,
    pub arpu_usd: f64,
    pub appu_usd: f64,
    pub anrpu_usd: f64,
    pub arppu_usd: f64,
    pub apppu_usd: f64,
    pub anrppu_usd: f64,
    pub arpas_usd: f64,
    pub appas_usd: f64,
    pub anrpas_usd: f64,
    /// Percent of the first cell's.
    pub revenue_relative: f64,
    pub proceeds_relative: f64,
    pub net_revenue_relative: f64,
    pub subscriptions_relative: f64,
    pub subscribers_relative: f64,
    /// Whether somebody has not had the time yet to reach the end of the cell.
    pub currently_active_period: bool,
}

impl AdaptyCohorts {
    /// The printed table.
    pub fn new(table: &CohortTable) -> Self {
        let total = cohort(&table.total, "total", "Total".to_owned());
        let rows = table.rows.iter().map(|row| cohort(row, "single", row.start.to_string()));
        Self { data: std::iter::once(total).chain(rows).collect() }
    }
}

/// Gross, proceeds and net of one figure.
fn each(figure: impl Fn(Measure) -> f64) -> [f64; 3] {
    [Measure::Gross, Measure::Proceeds, Measure::Net].map(figure)
}

fn money(flows: &Flows) -> [f64; 3] {
    each(|measure| units(revenue(flows, measure)))
}

fn average(flows: &Flows, heads: i64) -> [f64; 3] {
    each(|measure| per_head(revenue(flows, measure), heads))
}

fn cohort(row: &CohortTableRow, r#type: &'static str, title: String) -> AdaptyCohort {
    let figures = &row.figures;
    let [total_revenue_usd, total_proceeds_usd, total_net_revenue_usd] = money(&figures.money);
    let [total_arpu_usd, total_appu_usd, total_anrpu_usd] = average(&figures.money, row.customers);
    let [total_arppu_usd, total_apppu_usd, total_anrppu_usd] =
        average(&figures.paying_money, figures.paying);
    let [total_arpas_usd, total_appas_usd, total_anrpas_usd] =
        average(&figures.money, figures.starters);
    let first = row.cells.first().map(|cell| cell.figures).unwrap_or_default();
    AdaptyCohort {
        segment_start_date: row.start.to_string(),
        r#type,
        title,
        total_installs: row.customers,
        total_subscriptions: figures.subscriptions,
        total_paid_subscribers: figures.payers,
        total_revenue_usd,
        total_proceeds_usd,
        total_net_revenue_usd,
        total_arpu_usd,
        total_appu_usd,
        total_anrpu_usd,
        total_arppu_usd,
        total_apppu_usd,
        total_anrppu_usd,
        total_arpas_usd,
        total_appas_usd,
        total_anrpas_usd,
        predict: None,
        values: row.cells.iter().map(|cell| value(cell, &first, row.customers)).collect(),
    }
}

fn value(cell: &CohortCell, first: &CohortFigures, installs: i64) -> AdaptyCohortValue {
    let figures = &cell.figures;
    let [revenue_usd, proceeds_usd, net_revenue_usd] = money(&figures.money);
    let [arpu_usd, appu_usd, anrpu_usd] = average(&figures.money, installs);
    let [arppu_usd, apppu_usd, anrppu_usd] = average(&figures.paying_money, figures.paying);
    let [arpas_usd, appas_usd, anrpas_usd] = average(&figures.money, figures.starters);
    let [revenue_relative, proceeds_relative, net_revenue_relative] =
        each(|measure| percent(revenue(&figures.money, measure), revenue(&first.money, measure)));
    AdaptyCohortValue {
        period: cell.period,
        installs,
        subscriptions: figures.subscriptions,
        subscribers: figures.payers,
        revenue_usd,
        proceeds_usd,
        net_revenue_usd,
        arpu_usd,
        appu_usd,
        anrpu_usd,
        arppu_usd,
        apppu_usd,
        anrppu_usd,
        arpas_usd,
        appas_usd,
        anrpas_usd,
        revenue_relative,
        proceeds_relative,
        net_revenue_relative,
        subscriptions_relative: percent(figures.subscriptions.into(), first.subscriptions.into()),
        subscribers_relative: percent(figures.payers.into(), first.payers.into()),
        currently_active_period: cell.is_active,
    }
}
