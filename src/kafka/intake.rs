//! How records get from the client library to the reader: many by one call, or one by one.
//!
//! Both ways hand out the same records in the same order within a partition. The batch call takes
//! less CPU and is not part of the library's safe interface; one by one is the reference it is
//! tested against, and the way out should it ever fail. Where a partition ends behind marks of transactions is
//! told by the batch call alone.

use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, Timestamp as KafkaTimestamp, TopicPartitionList};
use tracing::warn;

use crate::config::Consumption;
use crate::domain::time::Timestamp;
use crate::kafka::assignment::GroupConsumer;
use crate::kafka::batch::headers::LibraryMessage;
use crate::kafka::batch::{BatchQueue, Messages};
use crate::kafka::positions::Positions;
use crate::kafka::settings::{KafkaSettings, SetupError};
use crate::stream::{
    NextOffset, OwnedRecord, OwnedRecords, Partition, PartitionEnd, Record, RecordBatch, TakeOver,
};

/// While records are waited for in batches, decisions of the group are looked for this often.
const GROUP_INTERVAL: Duration = Duration::from_millis(20);

/// Events of the consumer's own queue that are dealt with at a time. While brokers are away it has some for
/// the log each second, behind which a decision of the group would wait for long if it were one.
const EVENTS_MAX: usize = 64;

/// Messages that are taken one by one and handed out together.
const SINGLE_MAX: usize = 100;

/// How long the library may take to set partitions to an offset; it does not ask the brokers.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);

/// The way that is configured.
pub(in crate::kafka) enum Intake {
    Single,
    Batch { queue: BatchQueue, topic: CString },
}

/// What a reader asks for.
#[derive(Clone, Copy)]
pub(in crate::kafka) struct Demand {
    /// How long to wait for the first record.
    pub timeout: Duration,
    pub records_max: usize,
}

impl Intake {
    pub fn new(
        settings: &KafkaSettings,
        consumer: &Arc<GroupConsumer>,
    ) -> Result<Self, SetupError> {
        if settings.consumption == Consumption::Single {
            return Ok(Self::Single);
        }
        let none = || SetupError::Client("no queue for the records".to_owned());
        let queue = BatchQueue::new(Arc::clone(consumer)).ok_or_else(none)?;
        // The settings were checked: a topic's name has no zero byte.
        let topic = CString::new(settings.events_topic.as_str()).map_err(|_| none())?;
        Ok(Self::Batch { queue, topic })
    }

    /// To be called before a partition is assigned: nothing of its life before comes any more.
    pub fn prepare(&mut self, partition: Partition) {
        if let Self::Batch { queue, topic } = self {
            queue.forget(partition);
            queue.forward(topic, partition);
        }
    }

    /// Hands over what is there, and waits only for the first record. Decisions of the group go to
    /// the consumer's context. Returns how many records were handed over.
    pub fn deliver(
        &mut self,
        (consumer, positions): (&Arc<GroupConsumer>, &mut Positions),
        demand: Demand,
        take_over: &mut TakeOver<'_>,
    ) -> usize {
        match self {
            Self::Single => {
                consumer.context().answer_idle_decision(consumer);
                deliver_singly((&**consumer, positions), demand, take_over)
            }
            Self::Batch { queue, topic } => {
                let deadline = Instant::now() + demand.timeout;
                loop {
                    positions
                        .delivering
                        .iter()
                        .filter(|(_, position)| !position.begun)
                        .for_each(|(partition, _)| queue.forward(topic, *partition));
                    attend((&**consumer, positions));
                    let may_take = set_positions((&**consumer, positions), topic);
                    if !may_take {
                        return 0;
                    }
                    consumer.context().answer_idle_decision(consumer);
                    if consumer.context().has_event() {
                        return 0;
                    }
                    let left = deadline.saturating_duration_since(Instant::now());
                    let demand = Demand { timeout: left.min(GROUP_INTERVAL), ..demand };
                    let count = deliver_batches((consumer, positions), queue, demand, take_over);
                    if count > 0 || left <= GROUP_INTERVAL || !positions.may_deliver() {
                        return count;
                    }
                }
            }
        }
    }
}

fn deliver_singly(
    (consumer, positions): (&GroupConsumer, &mut Positions),
    demand: Demand,
    take_over: &mut TakeOver<'_>,
) -> usize {
    let deadline = Instant::now() + demand.timeout;
    let (mut count, mut is_over) = (0, false);
    while !is_over && count < demand.records_max && positions.may_deliver() {
        let most = SINGLE_MAX.min(demand.records_max - count);
        let mut records = Vec::with_capacity(most);
        while !is_over && records.len() < most && positions.may_deliver() {
            let wait = match count + records.len() {
                0 => deadline.saturating_duration_since(Instant::now()),
                _ => Duration::ZERO,
            };
            match consumer.poll(wait) {
                Some(Ok(message)) if positions.admit((message.partition(), message.offset())) => {
                    records.push(OwnedRecord::of(&record_of(&message)));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => positions.note(consumer, &error),
                // Time is over, nothing more is there, or the group decided something.
                None => is_over = true,
            }
        }
        count += records.len();
        let mut records = records.into_iter().peekable();
        while let Some(first) = records.next() {
            let partition = first.partition;
            let mut batch = vec![first];
            while let Some(next) = records.next_if(|next| next.partition == partition) {
                batch.push(next);
            }
            take_over(Box::new(OwnedRecords(batch)));
        }
    }
    count
}

/// Serves the consumer's own queue, where all but the records comes.
fn attend((consumer, positions): (&GroupConsumer, &mut Positions)) {
    // A poll deals with one event, and says of most, a line for the log or a decision of the group, as little
    // as where there is none.
    for _ in 0..EVENTS_MAX {
        match consumer.poll(Duration::ZERO) {
            None => {}
            Some(Ok(message)) => {
                // Forwarding keeps records away from here. Should that ever cease, the order of the
                // two queues is not known, and this record must not be dropped in silence.
                positions.failure = Some(format!(
                    "record {} of partition {} came one by one: kafka.consumption must be \"single\"",
                    message.offset(),
                    message.partition()
                ));
            }
            Some(Err(error)) => positions.note(consumer, &error),
        }
    }
}

/// After a decision of the group, tells the library where each partition goes on: `batch.rs` says
/// why. False if that must be tried again before anything is taken.
fn set_positions((consumer, positions): (&GroupConsumer, &Positions), topic: &CStr) -> bool {
    if !consumer.context().take_interruption() {
        return true;
    }
    let set = seek(consumer, positions, &topic.to_string_lossy());
    if let Err(error) = &set {
        warn!(%error, "partitions could not be set to where they go on: trying again");
        consumer.context().note_interruption();
    }
    set.is_ok()
}

fn seek(consumer: &GroupConsumer, positions: &Positions, topic: &str) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    for (partition, position) in positions.delivering.iter().filter(|(_, p)| p.open) {
        let offset = position.next.map_or(Offset::Beginning, Offset::Offset);
        list.add_partition_offset(topic, *partition, offset)?;
    }
    // The library refuses an empty list.
    if list.count() == 0 {
        return Ok(());
    }
    for element in consumer.seek_partitions(list, SEEK_TIMEOUT)?.elements() {
        match element.error() {
            // It starts where we say, later: not started yet, or stopped by an error.
            Err(error) if is_not_started(&error) => {}
            result => result?,
        }
    }
    Ok(())
}

fn is_not_started(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::State | Code::PreviousInProgress))
}

fn deliver_batches(
    (consumer, positions): (&Arc<GroupConsumer>, &mut Positions),
    queue: &mut BatchQueue,
    demand: Demand,
    take_over: &mut TakeOver<'_>,
) -> usize {
    let mut count = 0;
    while count < demand.records_max && positions.may_deliver() {
        let wait = if count == 0 { demand.timeout } else { Duration::ZERO };
        if !queue.fill(wait, demand.records_max - count) {
            break;
        }
        let mut batch: Option<Messages> = None;
        while count < demand.records_max
            && positions.may_deliver()
            && let Some(message) = queue.next()
        {
            let place = match message.place() {
                Ok(place) => place,
                Err(error) => {
                    positions.note(consumer, &error);
                    if let Some((partition, end)) = message.end()
                        && positions.admit_end((partition, end))
                    {
                        batch.take().into_iter().for_each(|whole| take_over(Box::new(whole)));
                        let next_offset = NextOffset(end);
                        take_over(Box::new(PartitionEnd { partition, next_offset }));
                    }
                    continue;
                }
            };
            if !positions.admit(place) {
                continue;
            }
            let (partition, _) = place;
            if batch.as_ref().is_some_and(|batch| batch.partition() != partition)
                && let Some(whole) = batch.take()
            {
                take_over(Box::new(whole));
            }
            let batch = batch.get_or_insert_with(|| Messages::new(partition, Arc::clone(consumer)));
            batch.push(message);
            count += 1;
        }
        if let Some(last) = batch {
            take_over(Box::new(last));
        }
    }
    count
}

/// The record without a copy. One without a timestamp is dated just before 1970.
pub(in crate::kafka) fn record_of<'m>(message: &'m BorrowedMessage<'_>) -> Record<'m> {
    let millis = match message.timestamp() {
        KafkaTimestamp::CreateTime(millis) | KafkaTimestamp::LogAppendTime(millis) => millis,
        KafkaTimestamp::NotAvailable => -1,
    };
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: Timestamp(millis.saturating_mul(1000)),
        key: message.key(),
        value: message.payload(),
        headers: Some(LibraryMessage::of(message)),
    }
}
