//! The JSON of an LTV answer.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::money::Currency;
use crate::domain::time::{Day, Zone};
use crate::http::freshness::Freshness;
use crate::http::money::{Micros, Units};
use crate::metrics_api::ltv::{LtvAnswer, LtvCohort, LtvGroup, LtvPoint, Tally, Value};
use crate::metrics_api::question::LtvQuestion;

/// The question as it was understood, with every default filled in.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Asked {
    pub app: String,
    /// The reporting currency, in which all amounts are.
    pub currency: String,
    pub zone: &'static str,
    pub anchor: &'static str,
    pub width: &'static str,
    pub age: &'static str,
    pub measure: &'static str,
    pub per: &'static str,
    pub refunds: &'static str,
    pub from: Option<String>,
    pub to: Option<String>,
    pub until: String,
    /// By field: the values kept; the empty text stands for unknown.
    pub filters: BTreeMap<String, Vec<String>>,
    pub segment_by: Option<String>,
}

impl Asked {
    /// A question about days of `zone`, answered in `currency`.
    pub fn new(question: &LtvQuestion, zone: Zone, currency: Currency) -> Self {
        let text = |day: Option<Day>| day.map(|day| day.to_string());
        let filters = question.filters.iter().map(|filter| {
            (filter.field.to_string(), filter.values.iter().cloned().collect::<Vec<_>>())
        });
        Self {
            app: question.app.clone(),
            currency: currency.to_string(),
            zone: zone.name(),
            anchor: question.anchor.name(),
            width: question.width.name(),
            age: question.age.name(),
            measure: question.measure.name(),
            per: question.per.name(),
            refunds: question.refunds.name(),
            from: text(question.from),
            to: text(question.to),
            until: question.until.to_string(),
            filters: filters.collect(),
            segment_by: question.segment_by.as_ref().map(ToString::to_string),
        }
    }
}

/// Lifetime value of cohorts.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LtvBody {
    #[serde(flatten)]
    pub asked: Asked,
    /// The ages of the curves, rising.
    pub ages: Vec<u32>,
    /// All cohorts together; null without cohorts.
    pub total: Option<CohortBody>,
    /// By rising start.
    pub cohorts: Vec<CohortBody>,
    /// By value of `segment_by`; empty without it.
    pub segments: Vec<SegmentBody>,
    /// Refunds that name no payment and lie before the customer's first: in no cohort.
    pub unplaced_refunds: TallyBody,
    /// The last day that is over and counts.
    pub seen_through: String,
    /// What a reader of the figures must know.
    pub notes: Vec<String>,
    #[serde(flatten)]
    pub freshness: Freshness,
}

/// Cohorts of the customers with one value of the field that segments.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SegmentBody {
    /// Empty: unknown.
    pub value: String,
    pub total: Option<CohortBody>,
    pub cohorts: Vec<CohortBody>,
}

/// A cohort, or the total of several.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CohortBody {
    /// First day.
    pub start: String,
    /// Last day.
    pub end: String,
    pub customers: i64,
    pub payers: i64,
    /// Customers placed by an install; null with the first-purchase anchor.
    pub installs: Option<i64>,
    /// Everything through `until`, whatever the age.
    pub to_date: ValueBody,
    /// By age, as far as it has begun.
    pub curve: Vec<PointBody>,
}

/// Everything up to and through one age.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PointBody {
    pub age: u32,
    /// Of a cohort: whether everybody has lived through the age. Of a total: whether all its
    /// cohorts are in it. Null when ages are payments.
    pub complete: Option<bool>,
    /// How many cohorts are in it.
    pub cohorts: usize,
    #[serde(flatten)]
    pub value: ValueBody,
}

/// Money of a number of heads.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ValueBody {
    /// By how many revenue is divided.
    pub heads: i64,
    /// Number of payments.
    pub payments: i64,
    pub paid: Units,
    pub paid_micros: Micros,
    /// Number of refunds.
    pub refunds: i64,
    pub refunded: Units,
    pub refunded_micros: Micros,
    /// Paid less refunded.
    pub revenue: Units,
    pub revenue_micros: Micros,
    /// Revenue per head, rounded to six decimals; null without heads.
    pub ltv: Option<Units>,
    pub ltv_micros: Option<Micros>,
}

impl From<&Value> for ValueBody {
    fn from(value: &Value) -> Self {
        let flow = &value.flow;
        let ltv = value.per_head().rounded_micros();
        Self {
            heads: value.heads,
            payments: flow.payments.count,
            paid: Units(flow.payments.micros),
            paid_micros: Micros(flow.payments.micros),
            refunds: flow.refunds.count,
            refunded: Units(flow.refunds.micros),
            refunded_micros: Micros(flow.refunds.micros),
            revenue: Units(flow.revenue_micros()),
            revenue_micros: Micros(flow.revenue_micros()),
            ltv: ltv.map(Units),
            ltv_micros: ltv.map(Micros),
        }
    }
}

/// A number and its money.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TallyBody {
    pub count: i64,
    pub amount: Units,
    pub amount_micros: Micros,
}

impl From<Tally> for TallyBody {
    fn from(tally: Tally) -> Self {
        Self {
            count: tally.count,
            amount: Units(tally.micros),
            amount_micros: Micros(tally.micros),
        }
    }
}

impl LtvBody {
    /// The body of an answer.
    pub fn new(asked: Asked, answer: LtvAnswer, freshness: Freshness) -> Self {
        let ages = &answer.ages;
        let segments = answer.segments.iter().map(|(value, group)| {
            let (total, cohorts) = group_bodies(group, ages);
            SegmentBody { value: value.clone(), total, cohorts }
        });
        let segments = segments.collect();
        let (total, cohorts) = group_bodies(&answer.overall, ages);
        Self {
            asked,
            total,
            cohorts,
            segments,
            unplaced_refunds: answer.unplaced_refunds.into(),
            seen_through: answer.seen_through.to_string(),
            notes: answer.notes.iter().map(ToString::to_string).collect(),
            ages: answer.ages,
            freshness,
        }
    }
}

fn group_bodies(group: &LtvGroup, ages: &[u32]) -> (Option<CohortBody>, Vec<CohortBody>) {
    let body = |cohort| CohortBody::new(cohort, ages);
    (group.total.as_ref().map(body), group.cohorts.iter().map(body).collect())
}

impl CohortBody {
    fn new(cohort: &LtvCohort, ages: &[u32]) -> Self {
        let points = ages.iter().zip(&cohort.points);
        let point = |age: u32, point: &LtvPoint| PointBody {
            age,
            complete: point.complete,
            cohorts: point.cohorts,
            value: (&point.value).into(),
        };
        Self {
            start: cohort.start.to_string(),
            end: cohort.end.to_string(),
            customers: cohort.sizes.customers,
            payers: cohort.sizes.payers,
            installs: cohort.sizes.installs,
            to_date: (&cohort.to_date).into(),
            curve: points.filter_map(|(age, seen)| Some(point(*age, seen.as_ref()?))).collect(),
        }
    }
}
