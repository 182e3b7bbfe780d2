//! Reads single records again, to see whether the log is still the one the state was made of.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::client::{Logged, create, is_offset_error, is_passing};
use crate::kafka::intake::record_of;
use crate::kafka::settings::KafkaSettings;
use crate::kafka::source::PATIENCE;
use crate::stream::{Fingerprint, Partition, SourceError};

/// Longest wait of a single poll.
const POLL: Duration = Duration::from_millis(500);

/// Fingerprints of the records at these offsets, in the order asked; `None` where the log, whose
/// bounds are given, holds none. The consumer lives only as long as this call and is no member
/// of the group.
pub(in crate::kafka) fn read_fingerprints(
    settings: &KafkaSettings,
    partition: Partition,
    offsets: &[i64],
    (low, high): (i64, i64),
) -> Result<Vec<Option<Fingerprint>>, SourceError> {
    if !offsets.iter().any(|offset| (low..high).contains(offset)) {
        return Ok(vec![None; offsets.len()]);
    }
    let failed = |error: String| SourceError::Fatal(error);
    let config = settings.reader().map_err(|error| failed(error.to_string()))?;
    let consumer: BaseConsumer<Logged> =
        create(&config, Logged).map_err(|error| failed(error.to_string()))?;
    // Upwards, so that a record left over from the offset before can't be taken for an answer.
    let mut ascending: Vec<usize> = (0..offsets.len()).collect();
    ascending.sort_unstable_by_key(|index| offsets[*index]);
    let mut fingerprints = vec![None; offsets.len()];
    for index in ascending {
        if (low..high).contains(&offsets[index]) {
            fingerprints[index] =
                read_one(&consumer, &settings.events_topic, partition, offsets[index])?;
        }
    }
    Ok(fingerprints)
}

fn read_one(
    consumer: &BaseConsumer<Logged>,
    topic: &str,
    partition: Partition,
    offset: i64,
) -> Result<Option<Fingerprint>, SourceError> {
    let failed = |error: KafkaError| SourceError::Fatal(error.to_string());
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(failed)?;
    consumer.assign(&list).map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match consumer.poll(POLL) {
            // Left over from the offset before.
            Some(Ok(message)) if message.offset() < offset => {}
            // A later one: there is a gap, left by compaction or by a transaction.
            Some(Ok(message)) => {
                let record = record_of(&message);
                return Ok((record.offset == offset).then(|| record.fingerprint()));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
            Some(Err(error)) if is_offset_error(&error) => return Ok(None),
            Some(Err(error)) if !is_passing(&error) => return Err(failed(error)),
            Some(Err(_)) | None => {}
        }
        if Instant::now() >= deadline {
            let message = format!("partition {partition}: no answer about offset {offset}");
            return Err(SourceError::Fatal(message));
        }
    }
}
