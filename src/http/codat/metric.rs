//! The metrics: their names, what they show, and in which measure.

use crate::http::compat::Number;
use crate::metrics_api::commerce::CommerceSums;
use crate::metrics_api::ratio::Fraction;

/// What a figure is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    None,
    Percent,
    /// The app's reporting currency.
    Currency,
}

/// A measure of a metric.
pub struct Measure {
    pub name: &'static str,
    pub units: Units,
    pub kind: &'static str,
}

/// A line of a metric.
pub struct Line {
    pub name: &'static str,
    /// Place among the metric's measures.
    pub measure: usize,
    /// The figure of a period, given the period before.
    pub figure: fn(&CommerceSums, &CommerceSums) -> Number,
}

/// A metric.
pub struct Metric {
    pub path: &'static str,
    pub name: &'static str,
    pub display_name: &'static str,
    /// The name of the lines together.
    pub lines_name: &'static str,
    pub measures: &'static [Measure],
    pub lines: &'static [Line],
}

impl Metric {
    /// The metric with this last part of the path.
    pub fn of_path(path: &str) -> Option<&'static Self> {
        METRICS.iter().find(|metric| metric.path == path)
    }
}

const COUNT: Measure = Measure { name: "Count", units: Units::None, kind: "int" };
const VALUE: Measure = Measure { name: "Value", units: Units::Currency, kind: "currency" };

/// Two decimals, halves away from zero; 0 where there is nothing to divide by.
fn decimal(fraction: Fraction) -> Number {
    Number::new(fraction.decimal(2).unwrap_or_else(|| "0.00".to_owned()))
}

fn count(count: i64) -> Number {
    Number::new(count.to_string())
}

const METRICS: [Metric; 5] = [
    Metric {
        path: "lifetimeValue",
        name: "lifetime_value",
        display_name: "Lifetime Value",
        lines_name: "Lifetime value metrics",
        measures: &[VALUE],
        lines: &[Line {
            name: "Lifetime value",
            measure: 0,
            figure: |sums, _| decimal(sums.lifetime_value()),
        }],
    },
    Metric {
        path: "customerRetention",
        name: "customer_retention",
        display_name: "Customer Retention",
        lines_name: "Customer retention metrics",
        measures: &[COUNT, Measure { name: "Percentage", units: Units::None, kind: "percentage" }],
        lines: &[
            Line {
                name: "Existing customers",
                measure: 0,
                figure: |sums, _| count(sums.existing_customers),
            },
            Line { name: "New customers", measure: 0, figure: |sums, _| count(sums.new_customers) },
            Line { name: "Total customers", measure: 0, figure: |sums, _| count(sums.customers()) },
            Line {
                name: "Retention rate",
                measure: 1,
                figure: |sums, before| decimal(sums.retention_rate(before)),
            },
            Line { name: "Repeat rate", measure: 1, figure: |sums, _| decimal(sums.repeat_rate()) },
        ],
    },
    Metric {
        path: "orders",
        name: "orders",
        display_name: "Orders",
        lines_name: "Order metrics",
        measures: &[COUNT, VALUE],
        lines: &[
            Line { name: "Number of orders", measure: 0, figure: |sums, _| count(sums.orders) },
            Line { name: "Total value", measure: 1, figure: |sums, _| decimal(sums.order_value()) },
            Line {
                name: "Average order value",
                measure: 1,
                figure: |sums, _| decimal(sums.average_order_value()),
            },
        ],
    },
    Metric {
        path: "refunds",
        name: "refunds",
        display_name: "Refunds",
        lines_name: "Refund metrics",
        measures: &[
            COUNT,
            VALUE,
            Measure { name: "Percentage", units: Units::Percent, kind: "percentage" },
        ],
        lines: &[
            Line { name: "Number of refunds", measure: 0, figure: |sums, _| count(sums.refunds()) },
            Line {
                name: "Value of refunds",
                measure: 1,
                figure: |sums, _| decimal(sums.refund_value()),
            },
            Line { name: "Refund rate", measure: 2, figure: |sums, _| decimal(sums.refund_rate()) },
        ],
    },
    Metric {
        path: "revenue",
        name: "revenue",
        display_name: "Revenue",
        lines_name: "Revenue metrics",
        measures: &[
            VALUE,
            Measure {
                name: "Percentage change vs. previous period",
                units: Units::Percent,
                kind: "percentage",
            },
        ],
        lines: &[
            Line { name: "Revenue", measure: 0, figure: |sums, _| decimal(sums.revenue()) },
            Line {
                name: "Revenue growth",
                measure: 1,
                figure: |sums, before| decimal(sums.revenue_growth(before)),
            },
        ],
    },
];
