//! Bodies of answers: numbers of major units with two decimals, halves away from zero.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::time::Timestamp;
use crate::http::compat::Number;
use crate::http::zenovay::Granularity;
use crate::http::zenovay::words::iso_time;
use crate::metrics_api::ltv::{LtvAnswer, LtvCohort, Value};

/// An answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ZenovayLtv {
    /// Always true.
    pub success: bool,
    pub data: ZenovayData,
    /// When it was answered: UTC with milliseconds.
    pub timestamp: String,
}

/// What an answer says.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ZenovayData {
    /// By rising date.
    pub cohorts: Vec<ZenovayCohort>,
    pub summary: ZenovaySummary,
}

/// The customers who first bought in one month or week.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ZenovayCohort {
    /// First day of the month, or the Monday of the week.
    #[schema(format = Date)]
    pub cohort_date: String,
    pub customers: i64,
    pub periods: Vec<ZenovayPeriod>,
}

/// What a cohort has brought in by the end of a month or week.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ZenovayPeriod {
    /// Months or weeks since the cohort's own.
    pub period: u32,
    pub cumulative_revenue_per_customer: Number,
}

/// Means over the listed cohorts, weighted by customers; 0 where no cohort is that old.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ZenovaySummary {
    pub average_ltv_30d: Number,
    pub average_ltv_90d: Number,
}

/// The body of an answer about cohorts of this granularity.
pub fn answered(answer: &LtvAnswer, granularity: Granularity, now: Timestamp) -> ZenovayLtv {
    let overall = &answer.overall;
    let listed = overall.cohorts.iter().filter(|cohort| cohort.sizes.customers > 0);
    ZenovayLtv {
        success: true,
        data: ZenovayData {
            cohorts: listed.map(|listed| cohort(listed, &answer.ages)).collect(),
            summary: ZenovaySummary {
                average_ltv_30d: per_customer(&overall.begun(granularity.at_30_days)),
                average_ltv_90d: per_customer(&overall.begun(granularity.at_90_days)),
            },
        },
        timestamp: iso_time(now),
    }
}

fn cohort(cohort: &LtvCohort, ages: &[u32]) -> ZenovayCohort {
    let begun = ages.iter().zip(&cohort.points);
    let begun = begun.filter_map(|(age, point)| Some((*age, point.as_ref()?)));
    ZenovayCohort {
        cohort_date: cohort.start.to_string(),
        customers: cohort.sizes.customers,
        periods: begun
            .map(|(period, point)| ZenovayPeriod {
                period,
                cumulative_revenue_per_customer: per_customer(&point.value),
            })
            .collect(),
    }
}

fn per_customer(value: &Value) -> Number {
    Number::new(value.per_head().units(2).unwrap_or_else(|| "0.00".to_owned()))
}
