//! Many records by one call of the client library.
//!
//! The safe way hands out records one by one, each through a queue of events that also carries
//! rebalances and errors; that costs about as much CPU again as fetching a record. Here the records
//! of all our partitions are forwarded to one private queue and taken from it a thousand at a time.
//! Everything else stays on the consumer's own queue: a batch call on that one drops partitions
//! without a word when the group rebalances.
//!
//! The only module with `unsafe` code: the library has this call in C alone. What must hold:
//!
//! * The consumer outlives the queue: [`BatchQueue`] holds it, and destroys the queue first.
//! * A message is destroyed exactly once, and nothing borrowed from it is used afterwards: messages
//!   are owned by `batch`, [`BatchQueue::clear`] takes them out before it destroys them, and records
//!   borrow the queue, so none is left when it is filled or cleared again.
//! * Keys and values are valid for their length: the library says so of messages without an error.
//!   A null pointer is an absent key or value.
//!
//! Headers are not looked at.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_message_t,
    rd_kafka_message_timestamp, rd_kafka_queue_destroy, rd_kafka_queue_forward,
    rd_kafka_queue_get_partition, rd_kafka_queue_new, rd_kafka_queue_t, rd_kafka_timestamp_type_t,
};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;

use crate::domain::time::Timestamp;
use crate::kafka::assignment::GroupConsumer;
use crate::stream::{Partition, Record};

/// Messages of one call.
const BATCH_MAX: usize = 1000;

/// A private queue that gets the records of forwarded partitions.
pub(in crate::kafka) struct BatchQueue {
    consumer: Arc<GroupConsumer>,
    queue: NonNull<rd_kafka_queue_t>,
    /// Ours to destroy.
    batch: Vec<NonNull<rd_kafka_message_t>>,
    /// Where the library writes messages; empty between calls.
    places: Vec<*mut rd_kafka_message_t>,
}

// SAFETY: the library's queues and messages are bound to no thread, and all use of them here is
// through `&mut self` or only reads.
unsafe impl Send for BatchQueue {}

impl BatchQueue {
    /// A queue without partitions; `None` if the library has no memory for one.
    pub(in crate::kafka) fn new(consumer: &Arc<GroupConsumer>) -> Option<Self> {
        // SAFETY: the client is alive, and stays so while we hold the consumer.
        let queue = unsafe { rd_kafka_queue_new(consumer.client().native_ptr()) };
        Some(Self {
            consumer: Arc::clone(consumer),
            queue: NonNull::new(queue)?,
            batch: Vec::with_capacity(BATCH_MAX),
            places: Vec::with_capacity(BATCH_MAX),
        })
    }

    /// Lets the records of a partition come here. To be called before the partition is assigned:
    /// then none goes to the consumer's own queue, and their order stays whole.
    pub(in crate::kafka) fn forward(&self, topic: &str, partition: Partition) {
        // A name with a zero byte names no topic.
        let Ok(topic) = CString::new(topic) else {
            return;
        };
        // SAFETY: client and queue are alive; the partition's queue is ours until destroyed, which
        // gives up our handle and not the forwarding.
        unsafe {
            let client = self.consumer.client().native_ptr();
            let queue = rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
            if !queue.is_null() {
                rd_kafka_queue_forward(queue, self.queue.as_ptr());
                rd_kafka_queue_destroy(queue);
            }
        }
    }

    /// Takes what is there, at most `records_max`, in place of what was taken before; waits only
    /// for the first. Returns how many there are.
    pub(in crate::kafka) fn fill(&mut self, timeout: Duration, records_max: usize) -> usize {
        self.clear();
        // A call for many waits until all of them are there or the time is over.
        self.take(timeout, records_max.min(1));
        if !self.batch.is_empty() {
            self.take(Duration::ZERO, records_max.min(BATCH_MAX) - 1);
        }
        self.batch.len()
    }

    fn take(&mut self, timeout: Duration, most: usize) {
        let timeout_ms = timeout.as_millis().try_into().unwrap_or(i32::MAX);
        self.places.clear();
        self.places.resize(most, std::ptr::null_mut());
        // SAFETY: the queue is alive, and there are `most` places to write to.
        let taken = unsafe {
            let places = self.places.as_mut_ptr();
            rd_kafka_consume_batch_queue(self.queue.as_ptr(), timeout_ms, places, most)
        };
        // Negative only where the arguments are wrong.
        let taken = usize::try_from(taken).unwrap_or(0);
        self.batch.extend(self.places.drain(..).take(taken).filter_map(NonNull::new));
    }

    /// The records taken by [`Self::fill`], in order, and errors of partitions among them.
    pub(in crate::kafka) fn records(&self) -> impl Iterator<Item = Result<Record<'_>, KafkaError>> {
        self.batch.iter().map(|message| {
            // SAFETY: not destroyed before `self` is borrowed mutably again.
            record_of(unsafe { message.as_ref() })
        })
    }

    /// Gives back what was taken.
    pub(in crate::kafka) fn clear(&mut self) {
        for message in self.batch.drain(..) {
            // SAFETY: taken from the library, and not in `batch` any more.
            unsafe { rd_kafka_message_destroy(message.as_ptr()) };
        }
    }
}

impl Drop for BatchQueue {
    fn drop(&mut self) {
        self.clear();
        // SAFETY: ours since `new`, and the consumer is still alive: fields are dropped after this.
        unsafe { rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

fn record_of(message: &rd_kafka_message_t) -> Result<Record<'_>, KafkaError> {
    match message.err {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => (),
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
            return Err(KafkaError::PartitionEOF(message.partition));
        }
        error => return Err(KafkaError::MessageConsumption(error.into())),
    }
    let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is valid, and `kind` is there to be written.
    let millis = unsafe { rd_kafka_message_timestamp(message, &raw mut kind) };
    let is_dated = kind != rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    Ok(Record {
        partition: message.partition,
        offset: message.offset,
        // As with single records: one without a timestamp is dated just before 1970.
        timestamp: Timestamp(if is_dated { millis.saturating_mul(1000) } else { -1000 }),
        key: bytes(message.key, message.key_len),
        value: bytes(message.payload, message.len),
    })
}

fn bytes<'a>(start: *const std::ffi::c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: see above; the lifetime is that of the message, to which the only caller ties it.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), length) })
}
