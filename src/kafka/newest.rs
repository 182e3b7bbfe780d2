//! Reads the end of a topic, as far back as it takes to meet a record.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::client::{Logged, is_passing};
use crate::kafka::source::{PATIENCE, patiently};
use crate::stream::Partition;

/// How long one question to the brokers may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Longest wait of a single poll.
const POLL: Duration = Duration::from_millis(500);
/// Offsets that are looked at first: the marker of a transaction takes one, too.
const OFFSETS_MIN: i64 = 100;
/// Each further look, where only aborted records and markers were, goes this many times as far.
const STRETCH: i64 = 10;

/// Shows the values of the newest committed records of each partition of a topic: at least the
/// last one, where there is any. The reader belongs to no group and has nothing else assigned.
pub(in crate::kafka) fn newest_values(
    reader: &BaseConsumer<Logged>,
    topic: &str,
    visit: &mut dyn FnMut(&[u8]),
) -> KafkaResult<()> {
    let metadata = patiently(|| reader.fetch_metadata(Some(topic), ATTEMPT))?;
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        let partition = partition.id();
        let (low, high) = patiently(|| reader.fetch_watermarks(topic, partition, ATTEMPT))?;
        let mut offsets = OFFSETS_MIN;
        loop {
            let from = high.saturating_sub(offsets).max(low);
            let is_found = from < high && read_from(reader, (topic, partition, from), visit)?;
            if is_found || from == low || from >= high {
                break;
            }
            offsets = offsets.saturating_mul(STRETCH);
        }
    }
    reader.unassign()
}

/// Reads a partition from an offset to its end; false if no record was there.
fn read_from(
    reader: &BaseConsumer<Logged>,
    (topic, partition, from): (&str, Partition, i64),
    visit: &mut dyn FnMut(&[u8]),
) -> KafkaResult<bool> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(from))?;
    reader.assign(&list)?;
    let mut is_found = false;
    let mut deadline = Instant::now() + PATIENCE;
    loop {
        match reader.poll(POLL) {
            Some(Ok(message)) => {
                is_found = true;
                visit(message.payload().unwrap_or_default());
                deadline = Instant::now() + PATIENCE;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(is_found),
            Some(Err(error)) if !is_passing(&error) => return Err(error),
            Some(Err(_)) | None => {}
        }
        if Instant::now() >= deadline {
            return Err(KafkaError::MessageConsumption(Code::OperationTimedOut));
        }
    }
}
