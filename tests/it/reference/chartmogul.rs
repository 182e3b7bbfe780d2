//! What ChartMogul's paths must answer, from each customer's days one by one.

use chrono::{Datelike, Days, Months, NaiveDate};
use serde_json::{Map, Value, json};

use super::calendar::day;
use super::dims::NAMES;
use super::ledger::Ledger;
use super::money::half_away;
use super::{App, Reference, spans, timelines};

/// A question, with what the app's settings add to it.
#[derive(Debug, Clone)]
pub struct MrrQuestion {
    pub app: String,
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub today: NaiveDate,
    pub interval: &'static str,
    /// Plan names and product ids; empty for all.
    pub plans: Vec<String>,
    /// Empty for all.
    pub countries: Vec<String>,
    pub remove_refunded: bool,
    pub same_month: bool,
}

/// The figures of an interval, amounts in cents, rates in hundredths of a percent.
#[derive(Debug, Clone, Default)]
struct Figures {
    mrr: i128,
    customers: i128,
    arpa: i128,
    asp: i128,
    customer_churn_rate: i128,
    mrr_churn_rate: i128,
    ltv: i128,
    /// New business, expansion, contraction, churn, reactivation.
    movements: [i128; 5],
}

const ALL: [&str; 8] =
    ["mrr", "arr", "customer-churn-rate", "mrr-churn-rate", "ltv", "customers", "asp", "arpa"];
const MOVEMENTS: [&str; 5] =
    ["mrr-new-business", "mrr-expansion", "mrr-contraction", "mrr-churn", "mrr-reactivation"];

impl Figures {
    fn get(&self, name: &str) -> i128 {
        match name {
            "mrr" => self.mrr,
            "arr" => self.mrr * 12,
            "customer-churn-rate" => self.customer_churn_rate,
            "mrr-churn-rate" => self.mrr_churn_rate,
            "ltv" => self.ltv,
            "customers" => self.customers,
            "asp" => self.asp,
            "arpa" => self.arpa,
            _ => panic!("no figure {name}"),
        }
    }

    fn shown(&self, name: &str) -> Value {
        let value = self.get(name);
        if name.ends_with("rate") { hundredths(value) } else { json!(whole(value)) }
    }
}

fn whole(value: i128) -> i64 {
    i64::try_from(value).expect("a figure of a small business")
}

#[expect(clippy::cast_precision_loss, reason = "figures of a small business")]
fn hundredths(value: i128) -> Value {
    json!(whole(value) as f64 / 100.0)
}

fn change(now: i128, before: i128) -> i128 {
    if before == 0 { 0 } else { half_away((now - before) * 10_000, before.abs()) }
}

/// A customer: the stretches of its subscriptions with what a month of them is worth in cents,
/// and its first payment in micro-units.
struct Life {
    stretches: Vec<(NaiveDate, NaiveDate, i128)>,
    first_payment: Option<(NaiveDate, i128)>,
}

impl Life {
    fn new(ledger: &Ledger<'_>, question: &MrrQuestion) -> Self {
        let zone = ledger.app.zones[0];
        let kept = |at: usize| {
            let of = |name: &str| {
                let place = NAMES.iter().position(|known| *known == name);
                ledger.dims[at].fixed.get(&place.unwrap()).cloned().unwrap_or_default()
            };
            let named = |given: &[String], names: &[&str]| {
                given.is_empty() || names.iter().any(|name| given.contains(&of(name)))
            };
            named(&question.plans, &["plan_name", "product_id"])
                && named(&question.countries, &["country"])
        };
        let untaxed = |at: usize| {
            let [gross, proceeds, net] = ledger.app.converted(ledger.events[at]);
            gross - (proceeds - net)
        };
        let mut stretches = Vec::new();
        for chain in ledger.chains() {
            for span in spans::of(ledger, &chain) {
                let event = ledger.events[span.event];
                let is_gone =
                    question.remove_refunded && timelines::is_refunded(ledger, span.event);
                if event.kind == "trial_started" || !kept(span.event) || is_gone {
                    continue;
                }
                let (numerator, denominator) = event.period.unwrap().per_month();
                let cents = half_away(untaxed(span.event) * numerator, denominator * 10_000);
                stretches.push((day(span.start, zone), day(span.end, zone), cents));
            }
        }
        let first = ledger.payments().next().filter(|at| kept(*at));
        let first = first.map(|at| (day(ledger.events[at].occurred_at, zone), untaxed(at)));
        Self { stretches, first_payment: first }
    }

    /// MRR at the end of a day, if the customer is active then.
    fn at(&self, day: NaiveDate) -> Option<i128> {
        let running = self.stretches.iter().filter(|(start, end, _)| *start <= day && day < *end);
        running.map(|(_, _, cents)| *cents).reduce(|all, cents| all + cents)
    }

    /// The first day at whose end it was active.
    fn begin(&self) -> Option<NaiveDate> {
        let seen = self.stretches.iter().filter(|(start, end, _)| start < end);
        seen.map(|(start, _, _)| *start).min()
    }
}

struct Business<'a> {
    question: &'a MrrQuestion,
    lives: Vec<Life>,
}

fn before(day: NaiveDate) -> NaiveDate {
    day - Days::new(1)
}

/// First and last day of the interval around a day.
fn around(interval: &str, day: NaiveDate) -> (NaiveDate, NaiveDate) {
    let first = |month: u32| NaiveDate::from_ymd_opt(day.year(), month, 1).unwrap();
    let (start, months) = match interval {
        "day" => return (day, day),
        "week" => {
            let start = day - Days::new(u64::from(day.weekday().num_days_from_sunday()));
            return (start, start + Days::new(6));
        }
        "month" => (first(day.month()), 1),
        "quarter" => (first((day.month() - 1) / 3 * 3 + 1), 3),
        _ => (first(1), 12),
    };
    (start, before(start + Months::new(months)))
}

impl Business<'_> {
    fn active(&self, day: NaiveDate) -> i128 {
        whole_count(self.lives.iter().filter(|life| life.at(day).is_some()).count())
    }

    fn mrr(&self, day: NaiveDate) -> i128 {
        self.lives.iter().filter_map(|life| life.at(day)).sum()
    }

    /// Customers there were before the stretch, and those of them who are gone at its end.
    fn churn(&self, start: NaiveDate, end: NaiveDate) -> (i128, i128) {
        let there = self.lives.iter().filter(|life| life.at(before(start)).is_some());
        let gone = there.clone().filter(|life| life.at(end).is_none()).count();
        (whole_count(there.count()), whole_count(gone))
    }

    fn movements(&self, start: NaiveDate, end: NaiveDate) -> [i128; 5] {
        let mut moved = [0; 5];
        for today in start.iter_days().take_while(|day| *day <= end) {
            for life in &self.lives {
                let (was, is) = (life.at(before(today)), life.at(today));
                let kind = match (was, is) {
                    (None, None) => continue,
                    (None, Some(_)) if life.begin() == Some(today) => 0,
                    (None, Some(_)) => 4,
                    (Some(_), None) => 3,
                    (Some(was), Some(is)) => 1 + usize::from(is < was),
                };
                moved[kind] += is.unwrap_or(0) - was.unwrap_or(0);
            }
        }
        moved
    }

    fn ltv(&self, arpa: i128, day: NaiveDate) -> i128 {
        let mut month = around("month", day).0;
        if self.question.same_month {
            let (there, gone) = self.churn(month, day);
            let rate = if there == 0 { 0 } else { half_away(gone * 10_000, there) };
            return if rate == 0 { 0 } else { arpa * 10_000 / rate };
        }
        let mut rates = Vec::new();
        for _ in 0..6 {
            let (start, end) = around("month", before(month));
            rates.push(self.churn(start, end));
            month = start;
        }
        rates.retain(|(there, _)| *there > 0);
        let common: i128 = rates.iter().map(|(there, _)| there).product();
        let sum: i128 = rates.iter().map(|(there, gone)| gone * common / there).sum();
        if sum == 0 { 0 } else { arpa * whole_count(rates.len()) * common / sum }
    }

    fn figures(&self, start: NaiveDate, end: NaiveDate) -> Figures {
        let (mrr, customers) = (self.mrr(end), self.active(end));
        let (there, gone) = self.churn(start, end);
        let movements = self.movements(start, end);
        let mrr_before = self.mrr(before(start));
        assert_eq!(mrr_before + movements.iter().sum::<i128>(), mrr, "movements add up");
        let [_, expansion, contraction, churn, reactivation] = movements;
        let lost = -churn - contraction - expansion - reactivation;
        let new = self.lives.iter().filter_map(|life| life.first_payment);
        let new: Vec<i128> =
            new.filter(|(day, _)| start <= *day && *day <= end).map(|(_, paid)| paid).collect();
        let arpa = if customers == 0 { 0 } else { mrr / customers };
        let of = |part: i128, whole: i128| {
            if whole == 0 { 0 } else { half_away(part * 10_000, whole) }
        };
        Figures {
            mrr,
            customers,
            arpa,
            asp: match whole_count(new.len()) {
                0 => 0,
                count => new.iter().sum::<i128>() / (count * 10_000),
            },
            customer_churn_rate: of(gone, there),
            mrr_churn_rate: of(lost, mrr_before),
            ltv: self.ltv(arpa, end),
            movements,
        }
    }

    fn body(&self, metric: &str) -> Value {
        let question = self.question;
        let last = question.to.min(question.today);
        let mut entries: Vec<Value> = Vec::new();
        let mut older: Option<Figures> = None;
        let mut start = around(question.interval, question.from).0;
        while question.from <= last && start <= last {
            let end = around(question.interval, start).1.min(last);
            let figures = self.figures(start, end);
            let previous = older.unwrap_or_else(|| figures.clone());
            entries.push(entry(metric, end, &figures, &previous));
            older = Some(figures);
            start = end + Days::new(1);
        }
        json!({"entries": entries, "summary": self.summary(metric, last)})
    }

    fn summary(&self, metric: &str, last: NaiveDate) -> Value {
        let mut month = around("month", last);
        if month.1 > last || month.1 >= self.question.today {
            month = around("month", before(month.0));
        }
        let month_before = around("month", before(month.0));
        let older = |days| last - Days::new(days);
        let stocks = [(older(29), last), (older(59), older(30))];
        let pair = |ranges: [(NaiveDate, NaiveDate); 2]| {
            ranges.map(|(start, end)| self.figures(start, end))
        };
        let (stocks, months) = (pair(stocks), pair([month, month_before]));
        let mut summary = Map::new();
        for name in figures_of(metric) {
            let is_monthly = name.ends_with("rate") || *name == "ltv";
            let [now, then] = if is_monthly { &months } else { &stocks };
            let changed = hundredths(change(now.get(name), then.get(name)));
            let (current, previous, percentage) = if metric == "all" {
                let of = |which: &str| format!("{which}-{name}");
                (of("current"), of("previous"), format!("{name}-percentage-change"))
            } else {
                ("current".into(), "previous".into(), "percentage-change".into())
            };
            summary.insert(current, now.shown(name));
            summary.insert(previous, then.shown(name));
            summary.insert(percentage, changed);
        }
        Value::Object(summary)
    }
}

fn whole_count(count: usize) -> i128 {
    i128::try_from(count).unwrap()
}

fn figures_of(metric: &str) -> &[&str] {
    match metric {
        "all" => &ALL,
        "customer-count" => &ALL[5..6],
        _ => {
            let place = ALL.iter().position(|name| *name == metric).unwrap();
            &ALL[place..=place]
        }
    }
}

fn entry(metric: &str, date: NaiveDate, figures: &Figures, previous: &Figures) -> Value {
    let mut entry = Map::from_iter([("date".to_owned(), json!(date.to_string()))]);
    for name in figures_of(metric) {
        let percentage = if metric == "all" {
            format!("{name}-percentage-change")
        } else {
            "percentage-change".to_owned()
        };
        entry.insert((*name).to_owned(), figures.shown(name));
        let changed = change(figures.get(name), previous.get(name));
        entry.insert(percentage, hundredths(changed));
    }
    if metric == "mrr" {
        for (name, amount) in MOVEMENTS.iter().zip(figures.movements) {
            entry.insert((*name).to_owned(), json!(whole(amount)));
        }
    }
    Value::Object(entry)
}

impl Reference {
    /// The bodies of these metrics.
    pub fn chartmogul(&self, question: &MrrQuestion, metrics: &[&str]) -> Vec<Value> {
        let app: &App = &self.apps[&question.app];
        let of_app = self.customers.iter().filter(|((app_id, _), _)| *app_id == question.app);
        let ledgers = of_app.map(|(_, customer)| Ledger::new(app, &customer.events));
        let lives = ledgers.map(|ledger| Life::new(&ledger, question)).collect();
        let business = Business { question, lives };
        metrics.iter().map(|metric| business.body(metric)).collect()
    }
}
