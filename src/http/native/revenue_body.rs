//! The JSON and the CSV of a revenue answer.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::money::Currency;
use crate::domain::time::{Day, Zone};
use crate::http::freshness::Freshness;
use crate::http::money::Units;
use crate::http::native::customer_body::MoneyBody;
use crate::http::native::ltv_csv::lines;
use crate::metrics_api::question::Measure;
use crate::metrics_api::revenue::{RevenueAnswer, RevenueBucket, RevenueGroup, RevenueQuestion};

/// The question as it was understood, with every default filled in.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AskedRevenue {
    pub app: String,
    /// The reporting currency, in which all amounts are.
    pub currency: String,
    pub zone: &'static str,
    pub width: &'static str,
    pub measure: &'static str,
    pub refunds: &'static str,
    pub from: Option<String>,
    pub to: Option<String>,
    pub until: String,
    /// By field: the values kept; the empty text stands for unknown.
    pub filters: BTreeMap<String, Vec<String>>,
    pub segment_by: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    of: Measure,
}

impl AskedRevenue {
    /// A question about days of `zone`, answered in `currency`.
    pub fn new(
        question: &RevenueQuestion,
        measure: Measure,
        zone: Zone,
        currency: Currency,
    ) -> Self {
        let text = |day: Option<Day>| day.map(|day| day.to_string());
        let filters = question.filters.iter().map(|filter| {
            (filter.field.to_string(), filter.values.iter().cloned().collect::<Vec<_>>())
        });
        Self {
            app: question.app.clone(),
            currency: currency.to_string(),
            zone: zone.name(),
            width: question.width.name(),
            measure: measure.name(),
            refunds: question.refunds.name(),
            from: text(question.from),
            to: text(question.to),
            until: question.until.to_string(),
            filters: filters.collect(),
            segment_by: question.segment_by.as_ref().map(ToString::to_string),
            of: measure,
        }
    }

    /// The measure to show.
    pub fn measured(&self) -> Measure {
        self.of
    }
}

/// Revenue by calendar bucket.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RevenueBody {
    #[serde(flatten)]
    pub asked: AskedRevenue,
    /// The whole range; null without buckets.
    pub total: Option<BucketBody>,
    /// Every bucket of the range by rising start, empty ones too.
    pub buckets: Vec<BucketBody>,
    /// By value of `segment_by`; empty without it.
    pub segments: Vec<RevenueSegmentBody>,
    /// The last day that is over and counts.
    pub seen_through: String,
    /// What a reader of the figures must know.
    pub notes: Vec<String>,
    #[serde(flatten)]
    pub freshness: Freshness,
}

/// Buckets of one value of the field that segments.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RevenueSegmentBody {
    /// Empty: unknown.
    pub value: String,
    pub total: Option<BucketBody>,
    pub buckets: Vec<BucketBody>,
}

/// A calendar bucket, or the whole range.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BucketBody {
    /// First day.
    pub start: String,
    /// Last day.
    pub end: String,
    /// Whether all its days are within the range asked and over.
    pub complete: bool,
    /// Customers with at least one payment; null with filters and of segments.
    pub payers: Option<i64>,
    /// Number of payments.
    pub payments: i64,
    /// Number of refunds.
    pub refunds: i64,
    #[serde(flatten)]
    pub money: MoneyBody,
    /// Of the refunds, those that name no payment and lie before the customer's first.
    pub unplaced_refunds: i64,
    pub unplaced_refunded: Units,
}

impl BucketBody {
    fn new(bucket: &RevenueBucket, measure: Measure) -> Self {
        let sums = &bucket.sums;
        Self {
            start: bucket.start.to_string(),
            end: bucket.end.to_string(),
            complete: bucket.complete,
            payers: bucket.payers,
            payments: sums.payments.count,
            refunds: sums.refunds.count,
            money: MoneyBody::new(measure.of(&sums.payments), measure.of(&sums.refunds)),
            unplaced_refunds: sums.unplaced.count,
            unplaced_refunded: Units(measure.of(&sums.unplaced)),
        }
    }
}

impl RevenueBody {
    /// The body of an answer.
    pub fn new(asked: AskedRevenue, answer: &RevenueAnswer, freshness: Freshness) -> Self {
        let of = asked.of;
        let segments = answer.segments.iter().map(|(value, group)| {
            let (total, buckets) = group_bodies(group, of);
            RevenueSegmentBody { value: value.clone(), total, buckets }
        });
        let (total, buckets) = group_bodies(&answer.overall, of);
        Self {
            total,
            buckets,
            segments: segments.collect(),
            seen_through: answer.seen_through.to_string(),
            notes: answer.notes.iter().map(ToString::to_string).collect(),
            asked,
            freshness,
        }
    }
}

fn group_bodies(group: &RevenueGroup, of: Measure) -> (Option<BucketBody>, Vec<BucketBody>) {
    let body = |bucket| BucketBody::new(bucket, of);
    (group.total.as_ref().map(body), group.buckets.iter().map(body).collect())
}

const COLUMNS: [&str; 14] = [
    "row",
    "segment",
    "start",
    "end",
    "complete",
    "payers",
    "payments",
    "paid",
    "refunds",
    "refunded",
    "revenue",
    "unplaced_refunds",
    "unplaced_refunded",
    "notes",
];

/// The answer as CSV in pieces: the column names, then a piece per group.
///
/// `row` is `total`, `bucket`, `segment_total` or `segment_bucket`. `notes`, which are about the
/// whole answer, stand in the first row.
pub fn csv_chunks(
    answer: RevenueAnswer,
    of: Measure,
) -> impl Iterator<Item = String> + Send + 'static {
    let notes = answer.notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let whole = std::iter::once((String::new(), answer.overall, ["total", "bucket"]));
    let parts = answer.segments.into_iter();
    let parts = parts.map(|(value, group)| (value, group, ["segment_total", "segment_bucket"]));
    let notes = std::iter::once(notes).chain(std::iter::repeat(String::new()));
    let groups = whole.chain(parts).zip(notes);
    let groups = groups.map(move |((segment, group, [total, bucket]), notes)| {
        let totals = group.total.iter().map(|whole| (total, whole));
        let rows = totals.chain(group.buckets.iter().map(|part| (bucket, part)));
        let mut rows: Vec<_> =
            rows.map(|(row, bucket)| fields((row, &segment), bucket, of)).collect();
        if let Some(first) = rows.first_mut() {
            first[COLUMNS.len() - 1] = notes;
        }
        lines(&rows)
    });
    std::iter::once(lines(&[COLUMNS.map(str::to_owned)])).chain(groups)
}

fn fields(
    (row, segment): (&str, &str),
    bucket: &RevenueBucket,
    of: Measure,
) -> [String; COLUMNS.len()] {
    let body = BucketBody::new(bucket, of);
    [
        row.to_owned(),
        segment.to_owned(),
        body.start,
        body.end,
        body.complete.to_string(),
        body.payers.map(|payers| payers.to_string()).unwrap_or_default(),
        body.payments.to_string(),
        body.money.paid.to_string(),
        body.refunds.to_string(),
        body.money.refunded.to_string(),
        body.money.revenue.to_string(),
        body.unplaced_refunds.to_string(),
        body.unplaced_refunded.to_string(),
        String::new(),
    ]
}
