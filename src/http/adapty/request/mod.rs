//! What clients ask, read from the JSON bodies of all the years of the vendor's API.
//!
//! Each method reads its own fields beside those that all share ([`Common`]); a new method adds a
//! reader here and nothing else.
//!
//! Always true
//! * A body with faults is refused with all of them, each naming its field.
//! * Fields without effect are let pass and named ([`Asked::ignored`]).

mod fault;
mod fields;
mod filters;
mod segmentation;

use serde_json::{Map, Value};

use crate::domain::time::Width;

pub use fault::{Fault, FaultCode, NO_FIELD};
pub use filters::{Dates, MetricsFilters};
pub use segmentation::Segmentation;

use fields::{Choices, Fields};

/// The greatest number of days since install that may be asked: a hundred years.
const RENEWAL_DAY_MAX: u32 = 36_500;
/// The most days since install of one request.
const RENEWAL_DAYS_MAX: usize = 1_000;

/// The days since install that a request without any asks.
pub const RENEWAL_DAYS: [u32; 12] = [0, 3, 7, 14, 28, 31, 61, 92, 183, 336, 550, 731];

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Json,
    Csv,
}

/// Along what a cohort ages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PeriodType {
    /// Payments of a subscription, from 1.
    #[default]
    Renewals,
    /// Whole 24-hour days since the install.
    Days,
}

/// Whether a table shows values or their part of the first period's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueType {
    #[default]
    Absolute,
    Relative,
}

/// What a cohort table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueField {
    #[default]
    Revenue,
    Arppu,
    Arpu,
    Arpas,
    Subscribers,
    Subscriptions,
}

/// Which money a cohort table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccountingType {
    #[default]
    Revenue,
    Proceeds,
    NetRevenue,
}

const FORMATS: Choices<'static, Format> = &[("json", Format::Json), ("csv", Format::Csv)];
const UNITS: Choices<'static, Width> = &[
    ("day", Width::Day),
    ("week", Width::Week),
    ("month", Width::Month),
    ("quarter", Width::Quarter),
    ("year", Width::Year),
];
const PERIOD_TYPES: Choices<'static, PeriodType> =
    &[("renewals", PeriodType::Renewals), ("days", PeriodType::Days)];
const VALUE_TYPES: Choices<'static, ValueType> =
    &[("absolute", ValueType::Absolute), ("relative", ValueType::Relative)];
const VALUE_FIELDS: Choices<'static, ValueField> = &[
    ("revenue", ValueField::Revenue),
    ("arppu", ValueField::Arppu),
    ("arpu", ValueField::Arpu),
    ("arpas", ValueField::Arpas),
    ("subscribers", ValueField::Subscribers),
    ("subscriptions", ValueField::Subscriptions),
];
const ACCOUNTING_TYPES: Choices<'static, AccountingType> = &[
    ("revenue", AccountingType::Revenue),
    ("proceeds", AccountingType::Proceeds),
    ("net_revenue", AccountingType::NetRevenue),
];

/// What every method reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    pub filters: MetricsFilters,
    /// Length of a cohort or bucket.
    pub unit: Width,
    pub format: Format,
}

/// A request for lifetime value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LtvRequest {
    pub common: Common,
    pub period_type: PeriodType,
    pub segmentation: Segmentation,
}

/// A request for cohorts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CohortRequest {
    pub common: Common,
    pub period_type: PeriodType,
    pub value_type: ValueType,
    pub value_field: ValueField,
    pub accounting_type: AccountingType,
    /// Rising, each once.
    pub renewal_days: Vec<u32>,
}

/// A request that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked<R> {
    pub request: R,
    /// Names of fields without effect, those of `filters` with that in front.
    pub ignored: Vec<String>,
}

/// A body, and the query string beside it.
pub struct Sent<'a> {
    pub body: &'a [u8],
    pub query: &'a [(String, String)],
}

/// Reads a request of the method `ltv`.
///
/// # Errors
/// All that is wrong with it.
pub fn read_ltv(sent: &Sent<'_>) -> Result<Asked<LtvRequest>, Vec<Fault>> {
    read(sent, |fields, query| {
        let common = read_common(fields, query);
        let period_type = fields.choice("period_type", PERIOD_TYPES).unwrap_or_default();
        let segmentation = segmentation::read(fields, segmentation::LTV);
        // Gone since 2025, and never with a meaning for a value per head.
        fields.idle_choice("value_type", &["absolute", "relative"]);
        // Other cohorts are asked for, or rows that hold all cohorts.
        if segmentation != Segmentation::None {
            fields.ignore_given("period_unit");
        }
        Some(LtvRequest { common: common?, period_type, segmentation })
    })
}

/// Reads a request of the method `cohort`.
///
/// # Errors
/// All that is wrong with it.
pub fn read_cohort(sent: &Sent<'_>) -> Result<Asked<CohortRequest>, Vec<Fault>> {
    read(sent, |fields, query| {
        let common = read_common(fields, query);
        let period_type = fields.choice("period_type", PERIOD_TYPES).unwrap_or_default();
        let value_type = fields.choice("value_type", VALUE_TYPES).unwrap_or_default();
        let value_field = fields.choice("value_field", VALUE_FIELDS).unwrap_or_default();
        let accounting_type =
            fields.choice("accounting_type", ACCOUNTING_TYPES).unwrap_or_default();
        let renewal_days = renewal_days(fields);
        prediction_months(fields);
        let request = CohortRequest {
            common: common?,
            period_type,
            value_type,
            value_field,
            accounting_type,
            renewal_days,
        };
        ignore_unshown(fields, &request);
        Some(request)
    })
}

/// Days are asked for along days only. What one cell of CSV shows is chosen; JSON shows all, and
/// counts are not of any money.
fn ignore_unshown(fields: &mut Fields<'_>, request: &CohortRequest) {
    if request.period_type == PeriodType::Renewals {
        fields.ignore_given("renewal_days");
    }
    match (request.common.format, request.value_field) {
        (Format::Json, _) => {
            fields.ignore_given("value_type");
            fields.ignore_given("value_field");
            fields.ignore_given("accounting_type");
        }
        (Format::Csv, ValueField::Subscribers | ValueField::Subscriptions) => {
            fields.ignore_given("accounting_type");
        }
        (Format::Csv, _) => (),
    }
}

fn read<R>(
    sent: &Sent<'_>,
    method: impl FnOnce(&mut Fields<'_>, &[(String, String)]) -> Option<R>,
) -> Result<Asked<R>, Vec<Fault>> {
    let map = object(sent.body)?;
    let mut fields = Fields::new(&map, "");
    let request = method(&mut fields, sent.query);
    let has_format = fields.get("format").is_some();
    let used = sent.query.iter().position(|(name, _)| name == "format").filter(|_| !has_format);
    let mut rest = fields.finish();
    let unused = sent.query.iter().enumerate().filter(|(place, _)| Some(*place) != used);
    rest.ignored.extend(unused.map(|(_, (name, _))| name.clone()));
    match request {
        Some(request) if rest.faults.is_empty() => Ok(Asked { request, ignored: rest.ignored }),
        _ => Err(rest.faults),
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Vec<Fault>> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(vec![Fault::kind(NO_FIELD, "an object")]),
        Err(error) => Err(vec![Fault::value(NO_FIELD, format!("the body is not JSON: {error}"))]),
    }
}

fn read_common(fields: &mut Fields<'_>, query: &[(String, String)]) -> Option<Common> {
    let filters = filters::read(fields);
    let unit = fields.choice("period_unit", UNITS).unwrap_or(Width::Month);
    let in_body = fields.choice("format", FORMATS);
    // One of the vendor's drafts had the format in the query; the body wins.
    let in_query = query.iter().find(|(name, _)| name == "format").map(|(_, value)| value);
    let format = in_query.filter(|_| in_body.is_none()).and_then(|text| {
        let found = FORMATS.iter().find(|(name, _)| name == text);
        if found.is_none() {
            let permitted = FORMATS.iter().map(|(name, _)| *name);
            fields.fault(Fault::not_permitted("format", permitted));
        }
        found.map(|(_, format)| *format)
    });
    let format = in_body.or(format).unwrap_or_default();
    Some(Common { filters: filters?, unit, format })
}

fn renewal_days(fields: &mut Fields<'_>) -> Vec<u32> {
    const NAME: &str = "renewal_days";
    let Some(mut days) = fields.integers(NAME) else { return RENEWAL_DAYS.to_vec() };
    if days.len() > RENEWAL_DAYS_MAX || days.iter().any(|day| *day > RENEWAL_DAY_MAX) {
        let expected =
            format!("at most {RENEWAL_DAYS_MAX} days, none greater than {RENEWAL_DAY_MAX}");
        fields.fault(Fault::value(NAME, expected));
    }
    days.sort_unstable();
    days.dedup();
    days
}

/// Predictions are not made; the answers say null.
fn prediction_months(fields: &mut Fields<'_>) {
    const NAME: &str = "prediction_months";
    const PERMITTED: [u64; 6] = [3, 6, 9, 12, 18, 24];
    let Some(value) = fields.get(NAME) else { return };
    if value.as_u64().is_some_and(|months| PERMITTED.contains(&months)) {
        fields.ignore(NAME);
    } else {
        let permitted: Vec<String> = PERMITTED.iter().map(u64::to_string).collect();
        fields.fault(Fault::not_permitted(NAME, permitted.iter().map(String::as_str)));
    }
}

#[cfg(test)]
mod tests;
