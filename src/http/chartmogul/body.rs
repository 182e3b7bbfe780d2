//! Bodies of answers: whole smallest units, and rates in percent with up to two decimals.

use std::borrow::Cow;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use crate::http::compat::Number;
use crate::metrics_api::mrr::Interval;
use crate::metrics_api::mrr_answer::{MrrAnswer, MrrFigures, percentage_change};

/// A path under `/v1/metrics/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "kebab-case")]
pub enum Metric {
    Ltv,
    Mrr,
    Arr,
    Arpa,
    Asp,
    CustomerCount,
    CustomerChurnRate,
    MrrChurnRate,
    All,
}

/// A figure of an entry: its name, and how it is got.
#[derive(Clone, Copy)]
struct Figure {
    name: &'static str,
    of: fn(&MrrFigures) -> i128,
    /// In hundredths of a percent, and measured over whole months.
    is_rate: bool,
    /// Measured over whole months in a summary.
    is_monthly: bool,
}

const fn stock(name: &'static str, of: fn(&MrrFigures) -> i128) -> Figure {
    Figure { name, of, is_rate: false, is_monthly: false }
}

const fn rate(name: &'static str, of: fn(&MrrFigures) -> i128) -> Figure {
    Figure { name, of, is_rate: true, is_monthly: true }
}

const MRR: Figure = stock("mrr", |figures| figures.mrr);
const ARR: Figure = stock("arr", |figures| figures.arr);
const CUSTOMER_CHURN: Figure = rate("customer-churn-rate", |figures| figures.customer_churn_rate);
const MRR_CHURN: Figure = rate("mrr-churn-rate", |figures| figures.mrr_churn_rate);
const LTV: Figure =
    Figure { name: "ltv", of: |figures| figures.ltv, is_rate: false, is_monthly: true };
const CUSTOMERS: Figure = stock("customers", |figures| figures.customers);
const ASP: Figure = stock("asp", |figures| figures.asp);
const ARPA: Figure = stock("arpa", |figures| figures.arpa);
/// What `all` lists.
const ALL: [Figure; 8] = [MRR, ARR, CUSTOMER_CHURN, MRR_CHURN, LTV, CUSTOMERS, ASP, ARPA];

/// What `mrr` lists beside the MRR itself.
const MOVEMENTS: [Figure; 5] = [
    stock("mrr-new-business", |figures| figures.movements.new_business),
    stock("mrr-expansion", |figures| figures.movements.expansion),
    stock("mrr-contraction", |figures| figures.movements.contraction),
    stock("mrr-churn", |figures| figures.movements.churn),
    stock("mrr-reactivation", |figures| figures.movements.reactivation),
];

const CHANGE: &str = "percentage-change";

impl FromStr for Metric {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "ltv" => Self::Ltv,
            "mrr" => Self::Mrr,
            "arr" => Self::Arr,
            "arpa" => Self::Arpa,
            "asp" => Self::Asp,
            "customer-count" => Self::CustomerCount,
            "customer-churn-rate" => Self::CustomerChurnRate,
            "mrr-churn-rate" => Self::MrrChurnRate,
            "all" => Self::All,
            _ => return Err(()),
        })
    }
}

impl Metric {
    /// The interval of a request that names none.
    pub fn usual_interval(self) -> Interval {
        match self {
            Self::Mrr | Self::Arr | Self::Arpa | Self::CustomerCount => Interval::Day,
            _ => Interval::Month,
        }
    }

    /// Whether the path takes an interval.
    pub fn takes(self, interval: Interval) -> bool {
        self != Self::Asp || !matches!(interval, Interval::Day | Interval::Week)
    }

    /// The one figure that the path lists; none for all.
    fn figure(self) -> Option<Figure> {
        Some(match self {
            Self::Ltv => LTV,
            Self::Mrr => MRR,
            Self::Arr => ARR,
            Self::Arpa => ARPA,
            Self::Asp => ASP,
            Self::CustomerCount => CUSTOMERS,
            Self::CustomerChurnRate => CUSTOMER_CHURN,
            Self::MrrChurnRate => MRR_CHURN,
            Self::All => return None,
        })
    }
}

/// An answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChartMogulMetrics {
    /// By rising date.
    pub entries: Vec<ChartMogulEntry>,
    pub summary: ChartMogulSummary,
}

/// Numbers by name.
type Members = Vec<(Cow<'static, str>, Number)>;

/// One interval: its last day, and figures by name, each with its change against the entry
/// before.
#[derive(Debug, Clone)]
pub struct ChartMogulEntry {
    date: String,
    members: Members,
}

/// Current and previous figures, and the change between them.
#[derive(Debug, Clone)]
pub struct ChartMogulSummary(Members);

/// One member of an object.
#[derive(Serialize)]
#[serde(untagged)]
enum Member<'a> {
    Date(&'a str),
    Number(&'a Number),
}

impl Serialize for ChartMogulEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let date = std::iter::once(("date", Member::Date(&self.date)));
        let numbers = self.members.iter();
        let numbers = numbers.map(|(name, number)| (name.as_ref(), Member::Number(number)));
        serializer.collect_map(date.chain(numbers))
    }
}

impl Serialize for ChartMogulSummary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, number)| (name, number)))
    }
}

/// An object whose other members are numbers.
fn numbers(object: ObjectBuilder) -> RefOr<Schema> {
    let number = ObjectBuilder::new().schema_type(Type::Number);
    RefOr::T(Schema::Object(object.additional_properties(Some(number)).build()))
}

impl PartialSchema for ChartMogulEntry {
    fn schema() -> RefOr<Schema> {
        let date = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)));
        let about = "The last day of an interval, the figures of the path by name, and their \
                     changes against the entry before in percent.";
        numbers(
            ObjectBuilder::new().property("date", date).required("date").description(Some(about)),
        )
    }
}

impl ToSchema for ChartMogulEntry {}

impl PartialSchema for ChartMogulSummary {
    fn schema() -> RefOr<Schema> {
        let about = "current, previous and percentage-change; for all, with the figure's name. \
                     Stocks at the end of the range and 30 days before, others of the last two \
                     whole months.";
        numbers(ObjectBuilder::new().description(Some(about)))
    }
}

impl ToSchema for ChartMogulSummary {}

/// The body of an answer.
pub fn answered(metric: Metric, answer: &MrrAnswer) -> ChartMogulMetrics {
    let mut previous = None;
    let mut entries = Vec::new();
    for figures in &answer.entries {
        let members = members(metric, figures, previous.unwrap_or(figures));
        entries.push(ChartMogulEntry { date: figures.date.to_string(), members });
        previous = Some(figures);
    }
    ChartMogulMetrics { entries, summary: ChartMogulSummary(summary(metric, answer)) }
}

fn members(metric: Metric, figures: &MrrFigures, previous: &MrrFigures) -> Members {
    let mut members = Members::new();
    let mut put = |name: Cow<'static, str>, number| members.push((name, number));
    let change =
        |figure: Figure| hundredths(percentage_change((figure.of)(figures), (figure.of)(previous)));
    let Some(one) = metric.figure() else {
        for figure in ALL {
            put(figure.name.into(), printed(figure, figures));
            put(format!("{}-{CHANGE}", figure.name).into(), change(figure));
        }
        return members;
    };
    put(one.name.into(), printed(one, figures));
    if metric == Metric::Mrr {
        for movement in MOVEMENTS {
            put(movement.name.into(), printed(movement, figures));
        }
    }
    put(CHANGE.into(), change(one));
    members
}

fn summary(metric: Metric, answer: &MrrAnswer) -> Members {
    let mut members = Members::new();
    let mut put = |figure: Figure, name: &dyn Fn(&str) -> String, change_name: String| {
        let [now, before] = if figure.is_monthly { &answer.months } else { &answer.stocks };
        let change = percentage_change((figure.of)(now), (figure.of)(before));
        members.push((name("current").into(), printed(figure, now)));
        members.push((name("previous").into(), printed(figure, before)));
        members.push((change_name.into(), hundredths(change)));
    };
    match metric.figure() {
        Some(figure) => put(figure, &str::to_owned, CHANGE.to_owned()),
        None => {
            for figure in ALL {
                let name = figure.name;
                put(figure, &|which| format!("{which}-{name}"), format!("{name}-{CHANGE}"));
            }
        }
    }
    members
}

fn printed(figure: Figure, figures: &MrrFigures) -> Number {
    let value = (figure.of)(figures);
    if figure.is_rate { hundredths(value) } else { Number::new(value.to_string()) }
}

/// Hundredths as a decimal: two places, the second left out where it is nought.
fn hundredths(value: i128) -> Number {
    let (sign, size) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
    let (whole, rest) = (size / 100, size % 100);
    Number::new(match rest % 10 {
        0 => format!("{sign}{whole}.{}", rest / 10),
        _ => format!("{sign}{whole}.{rest:02}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_print_with_a_decimal_point_and_no_idle_nought() {
        for (value, text) in [
            (0, "0.0"),
            (1000, "10.0"),
            (909, "9.09"),
            (-10_000, "-100.0"),
            (-67, "-0.67"),
            (5, "0.05"),
            (-4_373_529, "-43735.29"),
            (7_462, "74.62"),
            (910, "9.1"),
        ] {
            assert_eq!(serde_json::to_string(&hundredths(value)).unwrap(), text);
        }
    }
}
