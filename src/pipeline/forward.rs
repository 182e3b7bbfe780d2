//! Ingest in Kafka mode: events from HTTP and files go to the events topic.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::codec::event_codec::{EventEncoding, encode_event};
use crate::codec::json_event;
use crate::domain::event::BillingEvent;
use crate::domain::rules::Rules;
use crate::domain::time::Timestamp;
use crate::engine::admission::judge;
use crate::kafka::{Delivery, ForwardError, Forwarder};
use crate::pipeline::ReadClock;
use crate::pipeline::decode::refused;
use crate::state::Refused;
use crate::stream::{Ingest, IngestError, NextOffset, Receipt, Receipts};

/// How long an event may wait for room in the producer's queue.
const PATIENCE: Duration = Duration::from_secs(30);

/// Events whose delivery is not waited for yet, at most.
const OPEN_MAX: usize = 100_000;

/// Finds out how events are to be written, or why they can't be.
pub type FindEncoding = Box<dyn Fn() -> Result<EventEncoding, String> + Send + Sync>;

/// Writes events to the topic that the loop reads.
pub struct EventWriter {
    forwarder: Forwarder,
    find: FindEncoding,
    /// Once it was found.
    encoding: OnceLock<EventEncoding>,
}

impl EventWriter {
    /// Events go out in an encoding that is looked for when the first is sent, and again while it is not
    /// found: who only reads events need not be able to write any.
    pub fn new(forwarder: Forwarder, find: FindEncoding) -> Self {
        Self { forwarder, find, encoding: OnceLock::new() }
    }

    /// Finds out how events are written, if that is not known.
    pub fn encoding(&self) -> Result<EventEncoding, ForwardError> {
        if let Some(encoding) = self.encoding.get() {
            return Ok(*encoding);
        }
        let found = (self.find)().map_err(ForwardError::NoEncoding)?;
        Ok(*self.encoding.get_or_init(|| found))
    }

    /// Sends one event; the delivery tells when it is durable.
    pub fn send(&self, event: &BillingEvent<'_>) -> Result<Delivery, ForwardError> {
        let encoding = self.encoding()?;
        let key = format!("{}/{}", event.app_id, event.customer_id);
        let mut value = Vec::with_capacity(256);
        encode_event(event, encoding, &mut value);
        self.forwarder.send(key.as_bytes(), &value, PATIENCE)
    }

    /// Sends events and waits until all of them are durable; returns how many they are, or why one is not.
    pub fn send_all<'e>(
        &self,
        events: impl Iterator<Item = BillingEvent<'e>>,
    ) -> Result<u64, ForwardError> {
        let (mut open, mut count) = (VecDeque::new(), 0);
        for event in events {
            if open.len() == OPEN_MAX
                && let Some(oldest) = open.pop_front()
            {
                Delivery::wait(oldest)?;
            }
            open.push_back(self.send(&event)?);
            count += 1;
        }
        open.into_iter().try_for_each(|delivery| delivery.wait().map(|_| ()))?;
        Ok(count)
    }

    /// Waits until the outcome of everything sent is known; the deliveries tell it.
    pub fn flush(&self) -> Result<(), ForwardError> {
        self.forwarder.flush(PATIENCE)
    }
}

/// Takes events and writes those that only their customer's past could still refuse.
pub struct KafkaIngest {
    writer: EventWriter,
    rules: Arc<Rules>,
    clock: ReadClock,
}

impl KafkaIngest {
    /// Ingest for a loop under these rules.
    pub fn new(writer: EventWriter, rules: Arc<Rules>, clock: ReadClock) -> Self {
        Self { writer, rules, clock }
    }
}

/// The event in these bytes, unless the reader of a record made now would refuse it in any state.
fn judged<'a>(json: &'a [u8], now: Timestamp, rules: &Rules) -> Result<BillingEvent<'a>, Refused> {
    let event = json_event::decode(json).map_err(refused)?;
    judge(&event, now, rules)?;
    Ok(event)
}

impl Ingest for KafkaIngest {
    fn submit(&self, events: Vec<Vec<u8>>) -> Result<Receipts, IngestError> {
        let mut sent = Vec::with_capacity(events.len());
        for event in &events {
            sent.push(match judged(event, (self.clock)(), &self.rules) {
                Ok(event) => Ok(self.writer.send(&event).map_err(unavailable)?),
                Err(Refused { code, field, message }) => {
                    Err(Receipt::Refused { code, field, message })
                }
            });
        }
        let mut as_of = std::collections::BTreeMap::new();
        let mut receipts = Vec::with_capacity(sent.len());
        for sent in sent {
            receipts.push(match sent {
                Err(refused) => refused,
                Ok(delivery) => {
                    let delivered = delivery.wait().map_err(unavailable)?;
                    let known: &mut NextOffset = as_of.entry(delivered.partition).or_default();
                    *known = delivered.next.max(*known);
                    Receipt::Accepted { is_suspended: false }
                }
            });
        }
        Ok(Receipts { receipts, as_of: as_of.into_iter().collect() })
    }
}

fn unavailable(error: ForwardError) -> IngestError {
    match error {
        ForwardError::QueueFull => IngestError::Overloaded,
        error => IngestError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::money::Currency;
    use crate::domain::rules::{AppRules, RateTable, ZeroPayments};
    use crate::domain::time::{Day, Zone};

    fn rules() -> Rules {
        let mut rates = RateTable::default();
        rates.insert("EUR".parse().unwrap(), Day(19_723), "1.1".parse().unwrap());
        let acme = AppRules {
            id: "acme".to_owned(),
            reporting_currency: Currency::USD,
            reporting_zones: vec![Zone::UTC],
            zero_payments: ZeroPayments::Ignore,
            rates,
        };
        Rules {
            apps: BTreeMap::from([("acme".to_owned(), acme)]),
            future_limit_micros: Rules::FUTURE_LIMIT_MICROS,
        }
    }

    #[test]
    fn what_any_state_would_refuse_is_refused_before_it_is_written() {
        let now = Timestamp::parse_rfc3339("2024-01-05T00:00:00Z").unwrap();
        for (app, at, money, expected) in [
            ("acme", "2024-01-04T00:00:00Z", r#"10,"currency":"USD""#, "written"),
            ("acme", "2024-01-06T00:00:00Z", r#"10,"currency":"EUR""#, "written"),
            ("acme", "2024-01-06T00:00:01Z", r#"10,"currency":"USD""#, "invalid_occurred_at"),
            ("emca", "2024-01-04T00:00:00Z", r#"10,"currency":"USD""#, "unknown_app"),
            ("acme", "2023-12-31T00:00:00Z", r#"10,"currency":"EUR""#, "missing_rate"),
            (
                "acme",
                "2024-01-04T00:00:00Z",
                r#"1000000000000000,"currency":"JPY","reporting_rate":"9224""#,
                "invalid_reporting_rate",
            ),
            ("acme", "2024-01-04T00:00:00Z", r#"10,"currency":"usd""#, "invalid_currency"),
            ("acme", "2024-01-04T00:00:00Z", "10", "missing_currency"),
            ("acme", "2024-01-04T00:00:00Z", "", "malformed_json"),
        ] {
            let json = format!(
                r#"{{"event_id":"e","app_id":"{app}","customer_id":"c","kind":"purchase",
                    "occurred_at":"{at}","gross_micros":{money}}}"#
            );
            let code = match judged(json.as_bytes(), now, &rules()) {
                Ok(_) => "written".to_owned(),
                Err(refused) => refused.code,
            };
            assert_eq!(code, expected, "{json}");
        }
    }
}
