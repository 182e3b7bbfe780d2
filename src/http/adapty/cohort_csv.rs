//! Cohorts as a table with a column for each cell, of the one figure that the request chooses.

use std::collections::BTreeSet;

use crate::http::adapty::cohort_body::{AdaptyCohort, AdaptyCohortValue, AdaptyCohorts};
use crate::http::adapty::print;
use crate::http::adapty::request::{AccountingType, CohortRequest, ValueField, ValueType};

const COLUMNS: [&str; 6] =
    ["cohort", "type", "installs", "subscriptions", "paid_subscribers", "total"];

/// The table; cells that nobody can have reached are empty. `total` is always absolute.
pub fn csv(body: &AdaptyCohorts, request: &CohortRequest) -> String {
    let periods: BTreeSet<u32> =
        body.data.iter().flat_map(|row| row.values.iter().map(|cell| cell.period)).collect();
    let head = COLUMNS.iter().map(|name| (*name).to_owned());
    let head = head.chain(periods.iter().map(u32::to_string)).collect();
    let rows = body.data.iter().map(|row| {
        let mut cells = vec![
            row.title.clone(),
            row.r#type.to_owned(),
            row.total_installs.to_string(),
            row.total_subscriptions.to_string(),
            row.total_paid_subscribers.to_string(),
            total(row, request).text(),
        ];
        for period in &periods {
            let cell = row.values.iter().find(|cell| cell.period == *period);
            cells.push(cell.map_or(String::new(), |cell| shown(cell, row, request)));
        }
        cells
    });
    print::csv(std::iter::once(head).chain(rows))
}

/// A figure as JSON has it.
#[derive(Clone, Copy)]
enum Figure {
    Count(i64),
    Amount(f64),
}

impl Figure {
    fn text(self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Amount(amount) => print::text(amount),
        }
    }
}

fn shown(cell: &AdaptyCohortValue, row: &AdaptyCohort, request: &CohortRequest) -> String {
    if request.value_type == ValueType::Absolute {
        return absolute(cell, request).text();
    }
    let first = row.values.first().map_or(Figure::Amount(0.0), |first| absolute(first, request));
    print::text(match (request.value_field, request.accounting_type) {
        (ValueField::Subscribers, _) => cell.subscribers_relative,
        (ValueField::Subscriptions, _) => cell.subscriptions_relative,
        (ValueField::Revenue, AccountingType::Revenue) => cell.revenue_relative,
        (ValueField::Revenue, AccountingType::Proceeds) => cell.proceeds_relative,
        (ValueField::Revenue, AccountingType::NetRevenue) => cell.net_revenue_relative,
        _ => match (absolute(cell, request), first) {
            (Figure::Amount(part), Figure::Amount(whole)) => print::percent_of_average(part, whole),
            // Averages are amounts.
            _ => 0.0,
        },
    })
}

fn absolute(cell: &AdaptyCohortValue, request: &CohortRequest) -> Figure {
    Figure::Amount(match (request.value_field, request.accounting_type) {
        (ValueField::Subscribers, _) => return Figure::Count(cell.subscribers),
        (ValueField::Subscriptions, _) => return Figure::Count(cell.subscriptions),
        (ValueField::Revenue, AccountingType::Revenue) => cell.revenue_usd,
        (ValueField::Revenue, AccountingType::Proceeds) => cell.proceeds_usd,
        (ValueField::Revenue, AccountingType::NetRevenue) => cell.net_revenue_usd,
        (ValueField::Arpu, AccountingType::Revenue) => cell.arpu_usd,
        (ValueField::Arpu, AccountingType::Proceeds) => cell.appu_usd,
        (ValueField::Arpu, AccountingType::NetRevenue) => cell.anrpu_usd,
        (ValueField::Arppu, AccountingType::Revenue) => cell.arppu_usd,
        (ValueField::Arppu, AccountingType::Proceeds) => cell.apppu_usd,
        (ValueField::Arppu, AccountingType::NetRevenue) => cell.anrppu_usd,
        (ValueField::Arpas, AccountingType::Revenue) => cell.arpas_usd,
        (ValueField::Arpas, AccountingType::Proceeds) => cell.appas_usd,
        (ValueField::Arpas, AccountingType::NetRevenue) => cell.anrpas_usd,
    })
}

fn total(row: &AdaptyCohort, request: &CohortRequest) -> Figure {
    Figure::Amount(match (request.value_field, request.accounting_type) {
        (ValueField::Subscribers, _) => return Figure::Count(row.total_paid_subscribers),
        (ValueField::Subscriptions, _) => return Figure::Count(row.total_subscriptions),
        (ValueField::Revenue, AccountingType::Revenue) => row.total_revenue_usd,
        (ValueField::Revenue, AccountingType::Proceeds) => row.total_proceeds_usd,
        (ValueField::Revenue, AccountingType::NetRevenue) => row.total_net_revenue_usd,
        (ValueField::Arpu, AccountingType::Revenue) => row.total_arpu_usd,
        (ValueField::Arpu, AccountingType::Proceeds) => row.total_appu_usd,
        (ValueField::Arpu, AccountingType::NetRevenue) => row.total_anrpu_usd,
        (ValueField::Arppu, AccountingType::Revenue) => row.total_arppu_usd,
        (ValueField::Arppu, AccountingType::Proceeds) => row.total_apppu_usd,
        (ValueField::Arppu, AccountingType::NetRevenue) => row.total_anrppu_usd,
        (ValueField::Arpas, AccountingType::Revenue) => row.total_arpas_usd,
        (ValueField::Arpas, AccountingType::Proceeds) => row.total_appas_usd,
        (ValueField::Arpas, AccountingType::NetRevenue) => row.total_anrpas_usd,
    })
}
