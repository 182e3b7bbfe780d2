//! Writes generated events to the events topic, and knows what each changes.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;

use crate::codec::event_codec::EventEncoding;
use crate::config::Config;
use crate::domain::event::{BillingEvent, EventKind, RawEvent};
use crate::domain::money::Currency;
use crate::domain::rules::AppRules;
use crate::domain::time::Timestamp;
use crate::generator::{Generator, GeneratorSettings};
use crate::kafka::{Delivery, Forwarder, KafkaSettings};
use crate::pipeline::forward::EventWriter;
use crate::stream::{NextOffset, Partition};

use super::known::{KnownRevenue, RevenueByOffset};

/// Events on their way to the brokers; what became of older ones is looked at.
const UNDER_WAY_MAX: usize = 50_000;
/// Pause between two portions of events fed at a rate.
const PORTION: Duration = Duration::from_millis(5);
/// Customers whose ids are kept, to ask about them.
const CUSTOMERS_MAX: usize = 1_000;
/// One event in so many gives such an id.
const CUSTOMER_EVERY: u64 = 97;

/// The generated events of one app, sent in order.
pub struct Feeder {
    rules: AppRules,
    state: Mutex<State>,
}

struct State {
    writer: EventWriter,
    events: Generator,
    known: KnownRevenue,
    by_offset: RevenueByOffset,
    under_way: VecDeque<(i64, Delivery)>,
    sent: u64,
    probes: u64,
    newest_at: Timestamp,
    customers: Vec<String>,
}

/// A purchase of a new customer, to see when it arrives where.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    pub sent_at: Instant,
    pub occurred_at: Timestamp,
    pub partition: Partition,
    pub next: NextOffset,
}

impl Feeder {
    /// A feeder of the first configured app, whose reporting currency must be US dollars.
    pub fn new(
        config: &Config,
        settings: &KafkaSettings,
        generated: &GeneratorSettings,
    ) -> anyhow::Result<Self> {
        let rules = config.rules.apps.get(&generated.app_id).context("the app has no rules")?;
        anyhow::ensure!(
            rules.reporting_currency == Currency::USD,
            "generated events bring rates into USD, but app \"{}\" reports in {}",
            rules.id,
            rules.reporting_currency
        );
        let state = State {
            writer: EventWriter::new(
                Forwarder::new(settings)?,
                Box::new(|| Ok(EventEncoding::SINGLE_OBJECT)),
            ),
            events: Generator::new(generated)?,
            known: KnownRevenue::new(rules.zero_payments),
            by_offset: RevenueByOffset::default(),
            under_way: VecDeque::new(),
            sent: 0,
            probes: 0,
            newest_at: Timestamp::default(),
            customers: Vec::new(),
        };
        Ok(Self { rules: rules.clone(), state: Mutex::new(state) })
    }

    /// Rules of the app.
    pub fn rules(&self) -> &AppRules {
        &self.rules
    }

    /// Sends the next `count` events as fast as they are taken.
    pub fn feed(&self, count: u64) -> anyhow::Result<()> {
        let mut state = self.state.lock();
        for _ in 0..count {
            let event = state.events.next().context("the generator has ended")?;
            state.newest_at = state.newest_at.max(event.occurred_at);
            if state.sent.is_multiple_of(CUSTOMER_EVERY) && state.customers.len() < CUSTOMERS_MAX {
                state.customers.push(event.customer_id.clone().into_owned());
            }
            let (change, delivery) = state.send(&event, &self.rules)?;
            state.under_way.push_back((change, delivery));
            state.sent += 1;
            state.settle(UNDER_WAY_MAX)?;
        }
        Ok(())
    }

    /// Sends events at `rate` per second until told to stop; answers with the rate reached.
    pub fn feed_at(&self, rate: u64, stop: &AtomicBool) -> anyhow::Result<f64> {
        let (begun_at, mut fed) = (Instant::now(), 0);
        while !stop.load(Ordering::Relaxed) {
            let due = (begun_at.elapsed().as_secs_f64() * rate as f64) as u64;
            // Small portions, so that a probe need not wait for a late feeder to catch up.
            let portion = due.saturating_sub(fed).min(1 + rate / 100);
            self.feed(portion)?;
            fed += portion;
            if fed >= due {
                std::thread::sleep(PORTION);
            }
        }
        Ok(fed as f64 / begun_at.elapsed().as_secs_f64())
    }

    /// Waits until everything sent is in the log.
    pub fn settle(&self) -> anyhow::Result<()> {
        let mut state = self.state.lock();
        state.writer.flush()?;
        state.settle(0)
    }

    /// Sends a purchase of a new customer and waits until it is in the log.
    pub fn probe(&self) -> anyhow::Result<Probe> {
        let mut state = self.state.lock();
        state.probes += 1;
        let (number, occurred_at) = (state.probes, state.newest_at);
        let text = |prefix: &str| Some(Cow::Owned(format!("{prefix}{number}")));
        let raw = RawEvent {
            event_id: text("probe-event-"),
            app_id: Some(Cow::Owned(self.rules.id.clone())),
            customer_id: text("probe-"),
            kind: Some(Cow::Borrowed(EventKind::Purchase.name())),
            occurred_at: Some(occurred_at),
            gross_micros: Some(1_000_000 + i64::try_from(number)?),
            currency: Some(Cow::Borrowed("USD")),
            ..RawEvent::default()
        };
        let event = raw.check().map_err(|error| anyhow::anyhow!(error.message))?;
        let sent_at = Instant::now();
        let (change, delivery) = state.send(&event, &self.rules)?;
        drop(state);
        let delivered = delivery.wait()?;
        self.state.lock().by_offset.insert(delivered.partition, delivered.next, change);
        let (partition, next) = (delivered.partition, delivered.next);
        Ok(Probe { sent_at, occurred_at, partition, next })
    }

    /// Events sent so far, probes aside.
    pub fn sent(&self) -> u64 {
        self.state.lock().sent
    }

    /// Some of the customers who have events.
    pub fn customers(&self) -> Vec<String> {
        self.state.lock().customers.clone()
    }

    /// Where the log ends; right after [`Feeder::settle`].
    pub fn ends(&self) -> BTreeMap<Partition, i64> {
        self.state.lock().by_offset.ends()
    }

    /// Revenue of the records below these offsets; right after [`Feeder::settle`].
    pub fn revenue_as_of(&self, next: &BTreeMap<Partition, i64>) -> i64 {
        self.state.lock().by_offset.as_of(next)
    }
}

impl State {
    fn send(
        &mut self,
        event: &BillingEvent<'_>,
        rules: &AppRules,
    ) -> anyhow::Result<(i64, Delivery)> {
        let delivery = self.writer.send(event)?;
        Ok((self.known.take(event, rules.reporting_currency)?, delivery))
    }

    /// Learns the offsets of all but the newest `kept` events.
    fn settle(&mut self, kept: usize) -> anyhow::Result<()> {
        while self.under_way.len() > kept {
            let Some((change, delivery)) = self.under_way.pop_front() else { break };
            let delivered = delivery.wait()?;
            self.by_offset.insert(delivered.partition, delivered.next, change);
        }
        Ok(())
    }
}
