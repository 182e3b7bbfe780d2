//! Reads the end of a topic, as far back as it takes to meet a record with a value.

use std::collections::{BTreeMap, BTreeSet};
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

/// What is looked at of a partition.
#[derive(Clone, Copy)]
struct Stretch {
    low: i64,
    high: i64,
    /// Offsets before `high`.
    offsets: i64,
}

impl Stretch {
    fn from(self) -> i64 {
        self.high.saturating_sub(self.offsets).max(self.low)
    }

    /// One that goes further back; `None` if this one goes all the way.
    fn further(self) -> Option<Self> {
        let offsets = self.offsets.saturating_mul(STRETCH);
        (self.from() > self.low).then_some(Self { offsets, ..self })
    }
}

/// Shows the values of the newest committed records of each partition of a topic: at least the
/// last one, where there is any; tombstones have none. The reader belongs to no group and has nothing else assigned.
///
/// All partitions are read at a time: to find one's end can take a while.
pub(in crate::kafka) fn newest_values(
    reader: &BaseConsumer<Logged>,
    topic: &str,
    visit: &mut dyn FnMut(&[u8]),
) -> KafkaResult<()> {
    let metadata = patiently(|| reader.fetch_metadata(Some(topic), ATTEMPT))?;
    let mut wanted = BTreeMap::new();
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        let partition = partition.id();
        let (low, high) = patiently(|| reader.fetch_watermarks(topic, partition, ATTEMPT))?;
        if low < high {
            wanted.insert(partition, Stretch { low, high, offsets: OFFSETS_MIN });
        }
    }
    while !wanted.is_empty() {
        let found = read_from(reader, (topic, &wanted), visit)?;
        let open = wanted.into_iter().filter(|(partition, _)| !found.contains(partition));
        wanted = open.filter_map(|(at, stretch)| Some((at, stretch.further()?))).collect();
    }
    reader.unassign()
}

/// Reads partitions to their ends; returns those in which a value was.
fn read_from(
    reader: &BaseConsumer<Logged>,
    (topic, wanted): (&str, &BTreeMap<Partition, Stretch>),
    visit: &mut dyn FnMut(&[u8]),
) -> KafkaResult<BTreeSet<Partition>> {
    let mut list = TopicPartitionList::new();
    for (partition, stretch) in wanted {
        list.add_partition_offset(topic, *partition, Offset::Offset(stretch.from()))?;
    }
    reader.assign(&list)?;
    let (mut found, mut ended) = (BTreeSet::new(), BTreeSet::new());
    let mut deadline = Instant::now() + PATIENCE;
    while ended.len() < wanted.len() {
        match reader.poll(POLL) {
            Some(Ok(message)) => {
                // A tombstone says nothing of what is before it.
                if let Some(value) = message.payload() {
                    found.insert(message.partition());
                    visit(value);
                }
                deadline = Instant::now() + PATIENCE;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) if !is_passing(&error) => return Err(error),
            Some(Err(_)) | None => {}
        }
        if Instant::now() >= deadline {
            return Err(KafkaError::MessageConsumption(Code::OperationTimedOut));
        }
    }
    Ok(found)
}
