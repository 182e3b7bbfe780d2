//! Ingest in Kafka mode: events from HTTP and files go to the events topic.

use std::time::Duration;

use crate::codec::event_codec::{EventEncoding, encode_event};
use crate::codec::json_event;
use crate::domain::event::BillingEvent;
use crate::kafka::{Delivery, ForwardError, Forwarder};
use crate::stream::{Ingest, IngestError, NextOffset, Receipt, Receipts};

/// How long an event may wait for room in the producer's queue.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes events to the topic that the loop reads.
pub struct KafkaIngest {
    forwarder: Forwarder,
    encoding: EventEncoding,
}

impl KafkaIngest {
    /// Events go out in this encoding.
    pub fn new(forwarder: Forwarder, encoding: EventEncoding) -> Self {
        Self { forwarder, encoding }
    }

    /// Sends one event; the delivery tells when it is durable.
    pub fn send(&self, event: &BillingEvent<'_>) -> Result<Delivery, ForwardError> {
        let key = format!("{}/{}", event.app_id, event.customer_id);
        let mut value = Vec::with_capacity(256);
        encode_event(event, self.encoding, &mut value);
        self.forwarder.send(key.as_bytes(), &value, PATIENCE)
    }
}

impl KafkaIngest {
    /// Waits until everything sent is durable, or says that it is not.
    pub fn flush(&self) -> Result<(), ForwardError> {
        self.forwarder.flush(PATIENCE)
    }
}

impl Ingest for KafkaIngest {
    fn submit(&self, events: Vec<Vec<u8>>) -> Result<Receipts, IngestError> {
        let mut sent = Vec::with_capacity(events.len());
        for event in &events {
            sent.push(match json_event::decode(event) {
                Ok(event) => Ok(self.send(&event).map_err(unavailable)?),
                Err(error) => Err(Receipt::Refused {
                    code: error.reason().into_owned(),
                    field: error.field().map(str::to_owned),
                    message: error.to_string(),
                }),
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
