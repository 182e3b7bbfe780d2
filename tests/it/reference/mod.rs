//! What the engine must answer, worked out the slow and plain way.
//!
//! Nothing here uses the crate under test: events are read from their JSON text, a customer's
//! ledger is sorted anew for every answer, and each rule is looked up in the whole set of events
//! instead of being kept up to date. The engine is compared with this, fact by fact.
//!
//! Always true
//! * [`Reference::facts`] depends on the set of accepted events alone, apart from `forget`.
//! * A key of the facts is text made only of what the rules say, so that an engine with other
//!   numbers for its tuples can be compared.

mod adapty;
mod calendar;
mod cdnow;
mod chartmogul;
mod cohorts;
mod commerce;
mod dims;
mod event;
mod facts;
mod first_purchases;
mod heads;
mod ledger;
mod money;
pub mod random;
mod spans;
mod tests;
mod timelines;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use chrono_tz::Tz;

pub use adapty::{AdaptyQuestion, CohortRow, Figures, LtvRow};
pub use calendar::Width;
pub use chartmogul::MrrQuestion;
pub use cohorts::{Age, Anchor, Cohort, CohortQuestion, Refunds, SegmentValue, Totals};
pub use commerce::Figures as CommerceFigures;
pub use first_purchases::Buyers;

use calendar::DAY_US;
use event::Event;
use ledger::Ledger;
use money::Rate;

/// Count, and gross, proceeds and net in micro-units of the reporting currency.
pub type Sums = (i64, i128, i128, i128);

/// Facts by canonical key.
pub type Facts = BTreeMap<String, Sums>;

/// The settings of one app, as text.
#[derive(Debug, Clone, Default)]
pub struct AppSettings {
    pub id: String,
    pub reporting_currency: String,
    /// IANA names.
    pub zones: Vec<String>,
    /// Whether a payment of 0 is a payment.
    pub count_zero_payments: bool,
    /// Date (`YYYY-MM-DD`) from which it holds, currency, rate.
    pub rates: Vec<(String, String, String)>,
}

/// What became of an event that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Repeated,
    /// With the stable code of the reason.
    Refused(&'static str),
}

/// An app ready to work with.
struct App {
    settings: AppSettings,
    zones: Vec<Tz>,
    rates: Vec<(NaiveDate, String, Rate)>,
}

#[derive(Default)]
struct Customer {
    /// By event id.
    events: BTreeMap<String, Event>,
    forgotten: Option<Forgotten>,
}

struct Forgotten {
    event_id: String,
    /// The customer's facts when it was forgotten; nothing changes them any more.
    facts: Facts,
}

/// All events accepted so far, by app and customer.
pub struct Reference {
    apps: BTreeMap<String, App>,
    customers: BTreeMap<(String, String), Customer>,
}

impl Reference {
    /// A reference without events.
    pub fn new(apps: &[AppSettings]) -> Self {
        let apps = apps.iter().map(|settings| (settings.id.clone(), App::new(settings))).collect();
        Self { apps, customers: BTreeMap::new() }
    }

    /// Takes in one event that came in a record of this timestamp.
    ///
    /// Panics on text that is not a valid event: the reference knows nothing of invalid fields.
    pub fn offer(&mut self, json: &str, record_timestamp_us: i64) -> Verdict {
        let event = Event::parse(json);
        let Some(app) = self.apps.get(&event.app_id) else {
            return Verdict::Refused("unknown_app");
        };
        if event.occurred_at > record_timestamp_us + DAY_US {
            return Verdict::Refused("invalid_occurred_at");
        }
        let identity = (event.app_id.clone(), event.customer_id.clone());
        if let Some(known) = self.customers.get(&identity) {
            if let Some(forgotten) = &known.forgotten {
                let again = event.kind == "forget" && event.event_id == forgotten.event_id;
                return if again {
                    Verdict::Repeated
                } else {
                    Verdict::Refused("customer_forgotten")
                };
            }
            match known.events.get(&event.event_id) {
                Some(first) if *first == event => return Verdict::Repeated,
                Some(_) => return Verdict::Refused("conflict"),
                None => (),
            }
        }
        if let Err(code) = app.check_rate(&event) {
            return Verdict::Refused(code);
        }
        let customer = self.customers.entry(identity).or_default();
        if event.kind == "forget" {
            let facts = facts::of(&Ledger::new(app, &customer.events));
            customer.forgotten = Some(Forgotten { event_id: event.event_id, facts });
            customer.events.clear();
        } else {
            customer.events.insert(event.event_id.clone(), event);
        }
        Verdict::Accepted
    }

    /// All facts that are not zero.
    pub fn facts(&self) -> Facts {
        let mut all = Facts::new();
        for ((app_id, _), customer) in &self.customers {
            if let Some(forgotten) = &customer.forgotten {
                for (key, sums) in &forgotten.facts {
                    facts::add(&mut all, key.clone(), *sums);
                }
            }
            let ledger = Ledger::new(&self.apps[app_id], &customer.events);
            for (key, sums) in facts::of(&ledger) {
                facts::add(&mut all, key, sums);
            }
        }
        all.retain(|_, sums| *sums != (0, 0, 0, 0));
        all
    }

    /// Reason by (app, customer, event) of every accepted event that has no effect yet.
    pub fn suspended(&self) -> BTreeMap<(String, String, String), &'static str> {
        let mut reasons = BTreeMap::new();
        for ((app_id, customer_id), customer) in &self.customers {
            let ledger = Ledger::new(&self.apps[app_id], &customer.events);
            for (event, reason) in ledger.suspended() {
                let key = (app_id.clone(), customer_id.clone(), event.event_id.clone());
                reasons.insert(key, reason);
            }
        }
        reasons
    }

    /// Orders of a period, first and last day, in the app's first zone, as of an instant (RFC
    /// 3339); computed from the ledgers.
    pub fn commerce(
        &self,
        app: &str,
        (start, end): (NaiveDate, NaiveDate),
        now: &str,
    ) -> CommerceFigures {
        let rules = &self.apps[app];
        let zone = rules.zones[0];
        let now = calendar::instant(&now.into());
        let span = commerce::Span { start, end, zone, until: calendar::day(now, zone) };
        let of_app = self.customers.iter().filter(|((app_id, _), _)| app_id == app);
        commerce::of(of_app.map(|(_, customer)| Ledger::new(rules, &customer.events)), &span)
    }

    /// Cohorts by first purchase, by first day, in the app's first zone, as of an instant (RFC
    /// 3339); computed from the ledgers.
    pub fn first_purchases(
        &self,
        app: &str,
        width: Width,
        now: &str,
    ) -> BTreeMap<NaiveDate, Buyers> {
        let rules = &self.apps[app];
        let zone = rules.zones[0];
        let until = calendar::day(calendar::instant(&now.into()), zone);
        let of_app = self.customers.iter().filter(|((app_id, _), _)| app_id == app);
        let ledgers = of_app.map(|(_, customer)| Ledger::new(rules, &customer.events));
        first_purchases::of(ledgers, (width, zone, until))
    }

    /// Cohorts with their cumulative money, by first day; computed from the ledgers.
    ///
    /// Forgotten customers are not in it: of them only facts are left.
    pub fn cohorts(&self, question: &CohortQuestion<'_>) -> BTreeMap<NaiveDate, Cohort> {
        let app = &self.apps[question.app];
        let of_app = self.customers.iter().filter(|((app_id, _), _)| app_id == question.app);
        let ledgers = of_app.map(|(_, customer)| Ledger::new(app, &customer.events));
        cohorts::of(ledgers, question)
    }

    /// The same split by the values of a dimension.
    pub fn segments(
        &self,
        question: &CohortQuestion<'_>,
        dimension: &str,
    ) -> BTreeMap<(NaiveDate, SegmentValue), Cohort> {
        let app = &self.apps[question.app];
        let of_app = self.customers.iter().filter(|((app_id, _), _)| app_id == question.app);
        let ledgers = of_app.map(|(_, customer)| Ledger::new(app, &customer.events));
        cohorts::segments_of(ledgers, question, dimension)
    }
}

impl App {
    fn new(settings: &AppSettings) -> Self {
        let zones = settings.zones.iter().map(|name| name.parse().unwrap()).collect();
        let rates = settings.rates.iter();
        let rates = rates.map(|(date, currency, rate)| {
            (date.parse().unwrap(), currency.clone(), Rate::parse(rate))
        });
        Self { settings: settings.clone(), zones, rates: rates.collect() }
    }

    fn check_rate(&self, event: &Event) -> Result<(), &'static str> {
        let Some(charge) = &event.charge else { return Ok(()) };
        let rate = self.rate(event).ok_or("missing_rate")?;
        for amount in [charge.gross, charge.proceeds, charge.net] {
            if i64::try_from(rate.convert(amount)).is_err() {
                return Err("invalid_reporting_rate");
            }
        }
        Ok(())
    }

    /// The rate of an event with money: 1, its own, or the newest of the table by its UTC day.
    fn rate(&self, event: &Event) -> Option<Rate> {
        let charge = event.charge.as_ref()?;
        if charge.currency == self.settings.reporting_currency {
            return Some(Rate::parse("1"));
        }
        if charge.reporting_rate.is_some() {
            return charge.reporting_rate;
        }
        let day = calendar::day(event.occurred_at, Tz::UTC);
        let dated = self.rates.iter().filter(|(date, _, _)| *date <= day);
        let dated = dated.filter(|(_, currency, _)| *currency == charge.currency);
        dated.max_by_key(|(date, _, _)| *date).map(|(_, _, rate)| *rate)
    }

    /// Gross, proceeds and net in the reporting currency; zeros for events without money.
    fn converted(&self, event: &Event) -> [i128; 3] {
        match (&event.charge, self.rate(event)) {
            (Some(charge), Some(rate)) => {
                [charge.gross, charge.proceeds, charge.net].map(|amount| rate.convert(amount))
            }
            _ => [0; 3],
        }
    }
}
