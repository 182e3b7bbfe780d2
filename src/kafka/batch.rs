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
//! seek and resumption in the order asked: the pause was asked for before we could see the
//! decision, and the partitions resume when it is answered, which is after the seek, also where it is about no
//! partition. So nothing is fetched by the library's notes. A fetch one record behind the log's end
//! would be refused, and that has no version (`rd_kafka_offset_reset`): it could not be told from a log that
//! was cut off.
//!
//! **What was taken but not handed out** when a partition starts anew is of its life before:
//! [`BatchQueue::forget`] drops it, as (3) does with what was not taken. What comes twice, after a
//! seek, has an offset below the next one and is not handed out again.
//!
//! # Unsafe code
//!
//! The library has this call in C alone. What must hold:
//!
//! * The consumer outlives the queue and the messages: [`BatchQueue`] and [`Messages`] hold it, and
//!   both destroy what is the library's first.
//! * A message is destroyed exactly once, and nothing borrowed from it is used afterwards: a
//!   [`Message`] is its only owner, cannot be copied, and is borrowed by its records.
//! * Messages and the queue are bound to no thread, and no two threads use one at a time: they can
//!   be sent to another thread, but not shared.
//! * Keys and values are valid for their length while the message lives: the library says so of
//!   messages without an error. A null pointer is an absent key or value.
//!
//! Headers are read by `headers.rs`, and only of records that are refused.

pub(in crate::kafka) mod headers;

use std::collections::VecDeque;
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
use crate::stream::{Partition, Record, RecordBatch};

/// Messages of one call.
const BATCH_MAX: usize = 1000;

/// A message of the library; ours to destroy.
pub(in crate::kafka) struct Message(NonNull<rd_kafka_message_t>);

// SAFETY: the library's messages are bound to no thread.
unsafe impl Send for Message {}

impl Message {
    fn get(&self) -> &rd_kafka_message_t {
        // SAFETY: destroyed only when this is dropped.
        unsafe { self.0.as_ref() }
    }

    /// Partition and offset of a record, or the error in its place.
    pub(in crate::kafka) fn place(&self) -> Result<(Partition, i64), KafkaError> {
        let message = self.get();
        match message.err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok((message.partition, message.offset)),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                Err(KafkaError::PartitionEOF(message.partition))
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__FATAL => {
                Err(KafkaError::MessageConsumptionFatal(message.err.into()))
            }
            error => Err(KafkaError::MessageConsumption(error.into())),
        }
    }

    /// The partition that was read to its end, and where it goes on; `None` unless that is what is told.
    pub(in crate::kafka) fn end(&self) -> Option<(Partition, i64)> {
        let message = self.get();
        let is_end = message.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF;
        is_end.then_some((message.partition, message.offset))
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: taken from the library, and nobody else destroys it.
        unsafe { rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// Records of one partition where the library has put them.
pub(in crate::kafka) struct Messages {
    partition: Partition,
    /// Without errors among them. Destroyed before the consumer is let go.
    messages: Vec<Message>,
    _consumer: Arc<GroupConsumer>,
}

impl Messages {
    /// No record of a partition.
    pub(in crate::kafka) fn new(partition: Partition, consumer: Arc<GroupConsumer>) -> Self {
        Self { partition, messages: Vec::new(), _consumer: consumer }
    }

    /// Adds the next record of the partition.
    pub(in crate::kafka) fn push(&mut self, message: Message) {
        self.messages.push(message);
    }
}

impl RecordBatch for Messages {
    fn partition(&self) -> Partition {
        self.partition
    }

    fn len(&self) -> usize {
        self.messages.len()
    }

    fn records(&self) -> Vec<Record<'_>> {
        self.messages.iter().map(|message| record_of(message.get())).collect()
    }
}

/// A private queue for the records of forwarded partitions, and what was taken from it.
pub(in crate::kafka) struct BatchQueue {
    consumer: Arc<GroupConsumer>,
    queue: NonNull<rd_kafka_queue_t>,
    /// Taken and not handed out, in the order of their arrival.
    waiting: VecDeque<Message>,
    /// Where the library writes messages; its content means nothing between calls.
    places: Vec<*mut rd_kafka_message_t>,
}

// SAFETY: the library's queues are bound to no thread, and whatever changes one here is behind
// `&mut self`.
unsafe impl Send for BatchQueue {}

impl BatchQueue {
    /// A queue without partitions; `None` if the library has no memory for one.
    pub(in crate::kafka) fn new(consumer: Arc<GroupConsumer>) -> Option<Self> {
        // SAFETY: the client is alive, and stays so while we hold the consumer.
        let queue = unsafe { rd_kafka_queue_new(consumer.client().native_ptr()) };
        Some(Self {
            consumer,
            queue: NonNull::new(queue)?,
            waiting: VecDeque::with_capacity(BATCH_MAX),
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
        self.waiting.retain(|message| message.get().partition != partition);
    }

    /// Takes what is there, at most `records_max`, unless something taken before is not handed out;
    /// waits only for the first. True if there is something to hand out.
    pub(in crate::kafka) fn fill(&mut self, timeout: Duration, records_max: usize) -> bool {
        let most = records_max.min(BATCH_MAX);
        if self.waiting.is_empty() {
            self.take(Duration::ZERO, most);
        }
        // A call for many would wait until all of them are there or the time is over.
        if self.waiting.is_empty() && most > 0 && !timeout.is_zero() {
            self.take(timeout, 1);
            self.take(Duration::ZERO, most - self.waiting.len());
        }
        !self.waiting.is_empty()
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
        let messages = places.iter().take(taken).copied().filter_map(NonNull::new);
        self.waiting.extend(messages.map(Message));
    }

    /// Hands out the next of what was taken: a record, or an error of a partition.
    pub(in crate::kafka) fn next(&mut self) -> Option<Message> {
        self.waiting.pop_front()
    }
}

impl Drop for BatchQueue {
    fn drop(&mut self) {
        self.waiting.clear();
        // SAFETY: ours since `new`; the consumer is dropped only after this.
        unsafe { rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// The record without a copy; the message is no error.
fn record_of(message: &rd_kafka_message_t) -> Record<'_> {
    let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is valid, and `kind` is there to be written.
    let millis = unsafe { rd_kafka_message_timestamp(message, &raw mut kind) };
    let is_dated = kind != rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    Record {
        partition: message.partition,
        offset: message.offset,
        // As the safe way: one without a timestamp is dated just before 1970.
        timestamp: Timestamp(if is_dated { millis.saturating_mul(1000) } else { -1000 }),
        // SAFETY: valid for their lengths while the message is, to which the record is bound.
        key: unsafe { bytes(message.key, message.key_len) },
        value: unsafe { bytes(message.payload, message.len) },
        // SAFETY: in the library's memory, and whoever has the record borrows the message.
        headers: Some(unsafe { LibraryMessage::at(message) }),
    }
}

/// # Safety
/// `start` is null or points to `length` bytes that live for `'a` and do not change.
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), length) })
}
