//! Adapty's cohorts and lifetime values straight from the ledgers, customer by customer and cell by
//! cell: nothing is added up before it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};
use chrono_tz::Tz;

use super::Reference;
use super::calendar::{DAY_US, Width, day, elapsed_days};
use super::dims::{NAMES, Tuple};
use super::ledger::Ledger;

/// What is asked.
#[derive(Debug, Clone)]
pub struct AdaptyQuestion {
    pub app: String,
    pub zone: Tz,
    pub width: Width,
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub today: NaiveDate,
    /// Days since the install; `None`: payments.
    pub days: Option<Vec<i64>>,
    /// The empty text is the unknown value.
    pub countries: Option<Vec<String>>,
    /// Store, if one is named, and product.
    pub products: Option<Vec<(Option<String>, String)>>,
}

/// Gross, proceeds and net, micro-units.
pub type Money = [i128; 3];

/// Figures of a cell, or of a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub money: Money,
    pub payers: i64,
    pub subscriptions: i64,
    pub paying_money: Money,
    pub paying: i64,
    pub starters: i64,
}

/// A row of cohorts.
#[derive(Debug, Clone)]
pub struct CohortRow {
    pub start: NaiveDate,
    pub installs: i64,
    /// Whether anything was given back: at a rate of its own day, it may be more than was paid.
    pub has_refunds: bool,
    pub whole: Figures,
    /// Period, figures, and whether it still runs.
    pub cells: Vec<(i64, Figures, bool)>,
}

/// A row of lifetime values.
#[derive(Debug, Clone)]
pub struct LtvRow {
    /// First day of a cohort, value of a field, or `Total`.
    pub name: String,
    pub payers: i64,
    pub to_date: Money,
    /// Period and money through it.
    pub points: Vec<(i64, Money)>,
}

#[derive(Clone)]
struct Payment {
    index: i64,
    age: i64,
    money: Money,
    chain: String,
    /// Last day that it covers, by its duration; none for what has none.
    covers_to: Option<NaiveDate>,
    value: String,
}

#[derive(Clone)]
struct Refund {
    index: i64,
    age: i64,
    money: Money,
    chain: Option<String>,
    value: String,
}

/// What is seen of a customer through filters and range.
#[derive(Clone, Default)]
struct View {
    start: NaiveDate,
    is_counted: bool,
    payments: Vec<Payment>,
    refunds: Vec<Refund>,
    starts: Vec<i64>,
}

impl AdaptyQuestion {
    fn keeps(&self, tuple: &Tuple, is_install: bool) -> bool {
        let value = |name: &str| {
            let place = NAMES.iter().position(|known| *known == name).unwrap();
            tuple.fixed.get(&place).cloned().unwrap_or_default()
        };
        let country = self.countries.as_ref().is_none_or(|list| list.contains(&value("country")));
        // Nobody installs a product.
        let product = is_install
            || self.products.as_ref().is_none_or(|list| {
                list.iter().any(|(store, product)| {
                    *product == value("product_id")
                        && store.as_ref().is_none_or(|store| *store == value("store"))
                })
            });
        country && product
    }

    fn view(&self, ledger: &Ledger<'_>, until: NaiveDate, field: &str) -> Option<View> {
        let placing = ledger.placing()?;
        let anchor = ledger.events[placing].occurred_at;
        let anchor_day = day(anchor, self.zone);
        if anchor_day < self.from || anchor_day > self.to || anchor_day > until {
            return None;
        }
        let seen = |at: &usize| {
            day(ledger.events[*at].occurred_at, self.zone) <= until
                && self.keeps(&ledger.dims[*at], false)
        };
        let age = |at: usize| elapsed_days(anchor, ledger.events[at].occurred_at).max(0);
        let money = |at: usize| ledger.app.converted(ledger.events[at]);
        let value = |at: usize| {
            let place = NAMES.iter().position(|known| *known == field);
            place.and_then(|place| ledger.dims[at].fixed.get(&place).cloned()).unwrap_or_default()
        };
        let index = |at: usize| i64::try_from(ledger.payment_index(at)).unwrap();
        let mut view = View {
            start: self.width.start(anchor_day),
            is_counted: self.keeps(&ledger.dims[placing], true),
            ..View::default()
        };
        for at in ledger.payments().filter(seen) {
            let period = ledger.events[at].period.filter(|p| p.duration() != "Uncategorized");
            let paid_on = day(ledger.events[at].occurred_at, self.zone);
            let midnight = paid_on.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp_micros();
            let covers_to = period.map(|period| day(period.end(midnight) - DAY_US, Tz::UTC));
            view.payments.push(Payment {
                index: index(at),
                age: age(at),
                money: money(at),
                chain: ledger.chain(at).unwrap(),
                covers_to,
                value: value(at),
            });
        }
        for at in ledger.of_kind("refund").filter(seen).filter(|at| !ledger.is_unplaced(*at)) {
            let payment = ledger.payment_of(at);
            view.refunds.push(Refund {
                index: payment.map_or(1, index),
                age: age(at),
                money: money(at),
                chain: payment.and_then(|payment| ledger.chain(payment)),
                value: value(at),
            });
        }
        for at in ledger.effective().filter(seen) {
            let event = ledger.events[at];
            let subscribes = ledger.is_payment(at) && event.period.is_some() && index(at) == 1;
            if event.kind == "trial_started" || subscribes {
                view.starts.push(age(at));
            }
        }
        Some(view)
    }

    /// The figures of the payments, refunds and starts that the cell takes.
    fn cell(&self, views: &[&View], period: i64) -> Figures {
        let along_days = self.days.is_some();
        let taken = |index: i64, age: i64| if along_days { age <= period } else { index == period };
        let through = |index: i64, age: i64| if along_days { age } else { index } <= period;
        let mut figures = Figures::default();
        for view in views {
            let paid = |within: &dyn Fn(i64, i64) -> bool| {
                view.payments.iter().any(|payment| within(payment.index, payment.age))
            };
            let refunded = view.refunds.iter().any(|r| !along_days || r.age <= period);
            figures.money = plus(figures.money, view.money(&taken));
            figures.paying_money = plus(figures.paying_money, view.money(&through));
            figures.payers += i64::from(paid(&taken) && !(along_days && refunded));
            figures.paying += i64::from(paid(&through) && !refunded);
            let chains: BTreeSet<&String> = view
                .payments
                .iter()
                .filter(|payment| taken(payment.index, payment.age))
                .map(|payment| &payment.chain)
                .filter(|chain| {
                    let gave_back =
                        |r: &Refund| r.age <= period && r.chain.as_ref() == Some(*chain);
                    !(along_days && view.refunds.iter().any(gave_back))
                })
                .collect();
            figures.subscriptions += i64::try_from(chains.len()).unwrap();
            let started = view.starts.iter().any(|age| !along_days || *age <= period);
            figures.starters += i64::from(started);
        }
        figures
    }

    fn whole(&self, views: &[&View]) -> Figures {
        if self.days.is_some() {
            return self.cell(views, i64::MAX);
        }
        let mut figures = Figures::default();
        for view in views {
            let all = view.money(&|_, _| true);
            figures.money = plus(figures.money, all);
            figures.paying_money = plus(figures.paying_money, all);
            figures.payers += i64::from(!view.payments.is_empty());
            figures.paying += i64::from(!view.payments.is_empty() && view.refunds.is_empty());
            figures.starters += i64::from(!view.starts.is_empty());
            let chains: BTreeSet<&String> = view.payments.iter().map(|p| &p.chain).collect();
            figures.subscriptions += i64::try_from(chains.len()).unwrap();
        }
        figures
    }

    fn row(&self, start: NaiveDate, last: NaiveDate, views: &[&View]) -> CohortRow {
        let counted = views.iter().filter(|view| !view.is_empty());
        let first = counted.map(|view| view.start).min().unwrap_or(start).max(self.from);
        let until = self.to.min(self.today);
        let last = last.min(self.to);
        let mut cells = Vec::new();
        for period in self.periods(views) {
            let is_active = match &self.days {
                Some(_) if first + Days::new(period.unsigned_abs()) > until => {
                    continue;
                }
                Some(_) => last + Days::new(period.unsigned_abs() + 2) > self.today,
                None => {
                    let runs = |payment: &Payment| {
                        let to = payment.covers_to;
                        payment.index <= period && to.is_some_and(|to| to >= self.today)
                    };
                    last >= self.today || views.iter().any(|view| view.payments.iter().any(runs))
                }
            };
            cells.push((period, self.cell(views, period), is_active));
        }
        CohortRow {
            start,
            installs: views.iter().map(|view| i64::from(view.is_counted)).sum(),
            has_refunds: views.iter().any(|view| !view.refunds.is_empty()),
            whole: self.whole(views),
            cells,
        }
    }

    /// Asked days, or payments as far as there are any.
    fn periods(&self, views: &[&View]) -> Vec<i64> {
        if let Some(days) = &self.days {
            return days.clone();
        }
        let payments = views.iter().flat_map(|view| view.payments.iter().map(|p| p.index));
        let refunds = views.iter().flat_map(|view| view.refunds.iter().map(|r| r.index));
        (1..=payments.chain(refunds).max().unwrap_or(0)).collect()
    }

    /// The last day of the bucket that begins on this one.
    fn bucket_end(&self, start: NaiveDate) -> NaiveDate {
        let mut last = start;
        while self.width.start(last + Days::new(1)) == start {
            last = last + Days::new(1);
        }
        last
    }
}

impl View {
    fn money(&self, within: &dyn Fn(i64, i64) -> bool) -> Money {
        let mut money = [0; 3];
        for payment in self.payments.iter().filter(|p| within(p.index, p.age)) {
            money = plus(money, payment.money);
        }
        for refund in self.refunds.iter().filter(|r| within(r.index, r.age)) {
            money = plus(money, refund.money.map(|amount| -amount));
        }
        money
    }

    fn is_empty(&self) -> bool {
        !self.is_counted
            && self.payments.is_empty()
            && self.refunds.is_empty()
            && self.starts.is_empty()
    }
}

fn plus(one: Money, other: Money) -> Money {
    [one[0] + other[0], one[1] + other[1], one[2] + other[2]]
}

impl Reference {
    fn views(&self, asked: &AdaptyQuestion, until: NaiveDate, field: &str) -> Vec<View> {
        let app = &self.apps[&asked.app];
        let of_app = self.customers.iter().filter(|((app_id, _), _)| *app_id == asked.app);
        let ledgers = of_app.map(|(_, customer)| Ledger::new(app, &customer.events));
        ledgers.filter_map(|ledger| asked.view(&ledger, until, field)).collect()
    }

    /// The total and the cohorts in which anything is counted.
    pub fn adapty_cohorts(&self, asked: &AdaptyQuestion) -> (CohortRow, Vec<CohortRow>) {
        let views = self.views(asked, asked.to.min(asked.today), "");
        let all: Vec<&View> = views.iter().collect();
        let starts: BTreeSet<NaiveDate> =
            views.iter().filter(|view| !view.is_empty()).map(|view| view.start).collect();
        let rows = starts.into_iter().map(|start| {
            let members: Vec<&View> = views.iter().filter(|view| view.start == start).collect();
            asked.row(start, asked.bucket_end(start), &members)
        });
        (asked.row(asked.width.start(asked.from), asked.to, &all), rows.collect())
    }

    /// The total, and cohorts by start, or values of the field by name.
    pub fn adapty_ltv(&self, asked: &AdaptyQuestion, field: Option<&str>) -> (LtvRow, Vec<LtvRow>) {
        let views = self.views(asked, asked.today, field.unwrap_or_default());
        let counts =
            |view: &&View| view.is_counted || !view.payments.is_empty() || !view.refunds.is_empty();
        // The first day from which on somebody is counted.
        let first = |views: &[View]| {
            let start = views.iter().filter(counts).map(|view| view.start).min();
            start.unwrap_or(asked.from).max(asked.from)
        };
        let total = asked.ltv_row("Total".to_owned(), first(&views), &views);
        let mut groups: BTreeMap<String, Vec<View>> = BTreeMap::new();
        for view in &views {
            if field.is_none() {
                groups.entry(view.start.to_string()).or_default().push(view.clone());
                continue;
            }
            let values: BTreeSet<String> = (view.payments.iter().map(|p| p.value.clone()))
                .chain(view.refunds.iter().map(|r| r.value.clone()))
                .collect();
            for value in values {
                let mut part = view.clone();
                part.payments.retain(|payment| payment.value == value);
                part.refunds.retain(|refund| refund.value == value);
                groups.entry(value).or_default().push(part);
            }
        }
        let mut rows: Vec<LtvRow> = Vec::new();
        for (name, members) in groups {
            if members.iter().any(|view| counts(&view)) {
                rows.push(asked.ltv_row(name, first(&members), &members));
            }
        }
        (total, rows)
    }
}

impl AdaptyQuestion {
    fn ltv_row(&self, name: String, first: NaiveDate, views: &[View]) -> LtvRow {
        let refs: Vec<&View> = views.iter().collect();
        let money = |within: &dyn Fn(i64, i64) -> bool| {
            views.iter().fold([0; 3], |sum, view| plus(sum, view.money(within)))
        };
        let mut points = Vec::new();
        for period in self.periods(&refs) {
            let begun = first + Days::new(period.unsigned_abs()) <= self.today;
            if self.days.is_none() || begun {
                let along_days = self.days.is_some();
                let through = |index: i64, age: i64| if along_days { age } else { index } <= period;
                points.push((period, money(&through)));
            }
        }
        LtvRow {
            name,
            payers: views.iter().map(|view| i64::from(!view.payments.is_empty())).sum(),
            to_date: money(&|_, _| true),
            points,
        }
    }
}
