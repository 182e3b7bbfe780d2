//! Many records by one call of the client library.
//!
//! The safe interface hands out records one by one, each as an event of a queue that carries
//! rebalances and errors as well. Here the records of all our partitions come by one private queue
//! and are taken from it a thousand at a time. All else stays on the consumer's own queue: a batch
//! call on that one would drop decisions of the group without a word.
//!
//! # No record is lost, none comes out of order
//!
//! The library keeps a queue for each partition, which may be *forwarded* to another queue. As of
//! librdkafka 2.12 (`rdkafka_partition.c`, `rdkafka_queue.c`):
//!
//! 1. When a partition starts, the library forwards its queue to the consumer's own, unless the
//!    application ever forwarded it itself. When it stops, the forwarding is undone. Start and stop
//!    happen some time after they are asked for, in the library's thread, in the order asked.
//! 2. To forward a queue is to append what it holds to the other one, in order, under the lock
//!    that guards every later arrival. To forward it there again changes nothing.
//! 3. Each record, and the end of a partition, carries the version of its partition as of its
//!    fetch. A start, a stop, a pause and a seek raise the version, and taking skips what is older.
//! 4. Before the library tells of a decision of the group it pauses all partitions. When that is
//!    answered, a partition is fetched again from where the application is by the library's notes.
//! 5. The batch call notes the offset of an *error* as if a record had been taken there, and the
//!    end of a partition is such an error (confluentinc/librdkafka#4844). So a partition that was
//!    read to its end would go on one record too far.
//!
//! **Where records come.** [`BatchQueue::forward`] before a partition is assigned keeps its records
//! away from the consumer's own queue for good, by (1). But a stop that is still on its way undoes
//! it, and records then wait in the partition's own queue, where nobody looks. So the reader calls
//! `forward` again and again until the first record after a start, or the partition's end, has come.
//! That proves the rest: by (3) it is of this start, so the stop before is over; and it came here, so
//! the forwarding holds, which nothing undoes but the next stop. By (2) records that waited come
//! first.
//!
//! **Where fetching begins.** At the offset that a start names. Only after a pause the library goes
//! by its notes, which (5) spoils. So after each decision of the group the reader seeks every
//! partition to the first record that was not handed out (`intake.rs`), before it takes anything:
//! what was fetched by the notes is older than the seek, by (3). The library's thread does pause,
//! seek and resumption in the order asked, and the pause was asked for before we could see the
//! decision. So the library's notes are never used.
//!
//! **What was taken but not handed out** when a partition starts anew is of its life before:
//! [`BatchQueue::forget`] drops it, as (3) does with what was not taken. What comes twice, after a
//! seek, has an offset below the next one and is not handed out again.
//!
//! # Unsafe code
//!
//! The library has this call in C alone. What must hold:
//!
//! * The consumer outlives the queue and the messages: [`BatchQueue`] holds it, and its drop
//!   destroys messages and queue first.
//! * A message is destroyed exactly once, and nothing borrowed from it is used afterwards: `batch`
//!   owns messages, they are taken out of it before they are destroyed, and records borrow the
//!   [`BatchQueue`], so none is left when it is changed.
//! * Keys and values are valid for their length while the message lives: the library says so of
//!   messages without an error. A null pointer is an absent key or value.
//!
//! Headers are read by `headers.rs`, and only of records that are refused.

pub(in crate::kafka) mod headers;

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_message_t,
    rd_kafka_message_timestamp, rd_kafka_queue_destroy, rd_kafka_queue_forward,
    rd_kafka_queue_get_partition, rd_kafka_queue_new, rd_kafka_queue_t, rd_kafka_timestamp_type_t,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;

use crate::domain::time::Timestamp;
use crate::kafka::assignment::GroupConsumer;
use crate::kafka::batch::headers::LibraryMessage;
use crate::stream::{Partition, Record};

/// Messages of one call.
const BATCH_MAX: usize = 1000;

/// A private queue for the records of forwarded partitions, and what was taken from it.
pub(in crate::kafka) struct BatchQueue {
    consumer: Arc<GroupConsumer>,
    queue: NonNull<rd_kafka_queue_t>,
    /// Taken, in the order of their arrival; ours to destroy.
    batch: Vec<NonNull<rd_kafka_message_t>>,
    /// How many of `batch` were handed out.
    handed_out: usize,
    /// Where the library writes messages; its content means nothing between calls.
    places: Vec<*mut rd_kafka_message_t>,
}

// SAFETY: the library's queues and messages are bound to no thread, and whatever changes them here
// is behind `&mut self`.
unsafe impl Send for BatchQueue {}

impl BatchQueue {
    /// A queue without partitions; `None` if the library has no memory for one.
    pub(in crate::kafka) fn new(consumer: Arc<GroupConsumer>) -> Option<Self> {
        // SAFETY: the client is alive, and stays so while we hold the consumer.
        let queue = unsafe { rd_kafka_queue_new(consumer.client().native_ptr()) };
        Some(Self {
            consumer,
            queue: NonNull::new(queue)?,
            batch: Vec::with_capacity(BATCH_MAX),
            handed_out: 0,
            places: vec![std::ptr::null_mut(); BATCH_MAX],
        })
    }

    /// Lets the records of a partition come here, first those that wait for a reader. For
    /// partitions that are ours only.
    pub(in crate::kafka) fn forward(&self, topic: &CStr, partition: Partition) {
        // SAFETY: client and queue are alive, the topic's name ends with a zero byte. The handle of
        // the partition's queue is ours until destroyed, which does not end the forwarding.
        unsafe {
            let client = self.consumer.client().native_ptr();
            let queue = rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
            if !queue.is_null() {
                rd_kafka_queue_forward(queue, self.queue.as_ptr());
                rd_kafka_queue_destroy(queue);
            }
        }
    }

    /// Drops what was taken of a partition and not handed out.
    pub(in crate::kafka) fn forget(&mut self, partition: Partition) {
        let waiting = self.batch.split_off(self.handed_out);
        for message in waiting {
            // SAFETY: not destroyed yet; it goes either back into `batch` or away.
            if unsafe { message.as_ref() }.partition == partition {
                unsafe { rd_kafka_message_destroy(message.as_ptr()) };
            } else {
                self.batch.push(message);
            }
        }
    }

    /// Whether everything taken was handed out.
    pub(in crate::kafka) fn is_empty(&self) -> bool {
        self.handed_out == self.batch.len()
    }

    /// Takes what is there, at most `records_max`, and waits only for the first. To be called when
    /// everything taken was handed out. True if there is something to hand out.
    pub(in crate::kafka) fn fill(&mut self, timeout: Duration, records_max: usize) -> bool {
        self.clear();
        let most = records_max.min(BATCH_MAX);
        self.take(Duration::ZERO, most);
        // A call for many would wait until all of them are there or the time is over.
        if self.batch.is_empty() && most > 0 && !timeout.is_zero() {
            self.take(timeout, 1);
            self.take(Duration::ZERO, most - self.batch.len());
        }
        !self.batch.is_empty()
    }

    fn take(&mut self, timeout: Duration, most: usize) {
        let timeout_ms = timeout.as_millis().try_into().unwrap_or(i32::MAX);
        let places = &mut self.places[..most];
        // SAFETY: the queue is alive, and there is room for as many messages as are asked for.
        let taken = unsafe {
            let (queue, room) = (self.queue.as_ptr(), places.len());
            rd_kafka_consume_batch_queue(queue, timeout_ms, places.as_mut_ptr(), room)
        };
        // Negative only where the arguments are wrong.
        let taken = usize::try_from(taken).unwrap_or(0);
        self.batch.extend(places.iter().take(taken).copied().filter_map(NonNull::new));
    }

    /// What was taken and not handed out: records, and errors of partitions among them.
    pub(in crate::kafka) fn waiting(&self) -> impl Iterator<Item = Result<Record<'_>, KafkaError>> {
        let messages = self.batch.get(self.handed_out..).unwrap_or_default();
        // SAFETY: destroyed only by calls that borrow `self` mutably; the records borrow it.
        messages.iter().map(|message| record_of(unsafe { message.as_ref() }))
    }

    /// So many of what was waiting are handed out.
    pub(in crate::kafka) fn hand_out(&mut self, count: usize) {
        self.handed_out = self.batch.len().min(self.handed_out + count);
    }

    fn clear(&mut self) {
        self.handed_out = 0;
        for message in self.batch.drain(..) {
            // SAFETY: taken from the library, and not in `batch` any more.
            unsafe { rd_kafka_message_destroy(message.as_ptr()) };
        }
    }
}

impl Drop for BatchQueue {
    fn drop(&mut self) {
        self.clear();
        // SAFETY: ours since `new`; the consumer is dropped only after this.
        unsafe { rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// The record without a copy, or the error in its place.
fn record_of(message: &rd_kafka_message_t) -> Result<Record<'_>, KafkaError> {
    match message.err {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {}
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
            return Err(KafkaError::PartitionEOF(message.partition));
        }
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__FATAL => {
            return Err(KafkaError::MessageConsumptionFatal(message.err.into()));
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
        // As the safe way: one without a timestamp is dated just before 1970.
        timestamp: Timestamp(if is_dated { millis.saturating_mul(1000) } else { -1000 }),
        // SAFETY: valid for their lengths while the message is, to which the record is bound.
        key: unsafe { bytes(message.key, message.key_len) },
        value: unsafe { bytes(message.payload, message.len) },
        // SAFETY: in the library's memory, and whoever has the record borrows the queue.
        headers: Some(unsafe { LibraryMessage::at(message) }),
    })
}

/// # Safety
/// `start` is null or points to `length` bytes that live for `'a` and do not change.
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), length) })
}
