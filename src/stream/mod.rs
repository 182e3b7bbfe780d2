//! What a log is, without Kafka: partitions, offsets, records, and where they come from and go to.
//!
//! The loop in `pipeline/mod.rs` reads a [`Source`], which Kafka is, and knows only these types. The embedded log
//! behind HTTP ingest and file import has a loop of its own (`pipeline/embedded.rs`).

pub mod proxy;
pub mod registry;

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::domain::time::Timestamp;

/// A partition of the events topic; also the name of the shard it feeds. The embedded log is
/// partition 0.
pub type Partition = i32;

/// The next offset to read: one past the last record whose effect is in the state.
///
/// There is no type for "last offset processed". Two conventions in one program is how records
/// get skipped or counted twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NextOffset(pub i64);

/// Bytes at a topic, partition and offset.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub partition: Partition,
    pub offset: i64,
    /// The record's own timestamp as the log holds it.
    pub timestamp: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Where the headers are; few ask for them. `None` where there can't be any.
    pub headers: Option<&'a dyn ReadHeaders>,
}

/// The headers of a record where they lie.
pub trait ReadHeaders: std::fmt::Debug {
    /// All of them, in their order.
    fn read(&self) -> Vec<Header>;
}

/// A header of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What of a name is no text is replaced by U+FFFD.
    pub name: String,
    pub value: Option<Vec<u8>>,
}

impl Record<'_> {
    /// What tells this record from any other that may once stand at its offset.
    pub fn fingerprint(&self) -> Fingerprint {
        let hash = hash_part(hash_part(0, self.key), self.value);
        Fingerprint { offset: self.offset, timestamp: self.timestamp, hash }
    }
}

/// Absent and empty differ.
fn hash_part(seed: u64, part: Option<&[u8]>) -> u64 {
    part.map_or(!seed, |bytes| xxh3_64_with_seed(bytes, seed))
}

/// A record in short, stored as an anchor: equal fingerprints at an offset mean the same log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    pub offset: i64,
    pub timestamp: Timestamp,
    /// XXH3 of key and value. Stored, so it never changes.
    pub hash: u64,
}

/// Records of one partition, in order of their offsets, that may be taken to another thread.
pub trait RecordBatch: Send {
    /// The partition of all of them.
    fn partition(&self) -> Partition;

    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them.
    fn records(&self) -> Vec<Record<'_>>;

    /// Where the partition goes on behind them, as far as that is known: what lies between is no record, but
    /// a mark of a transaction or part of one that was taken back.
    fn next_offset(&self) -> Option<NextOffset> {
        None
    }
}

/// A record with bytes of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    pub partition: Partition,
    pub offset: i64,
    pub timestamp: Timestamp,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
}

impl OwnedRecord {
    /// A copy of a record.
    pub fn of(record: &Record<'_>) -> Self {
        Self {
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.map(ReadHeaders::read).unwrap_or_default(),
        }
    }

    fn borrow(&self) -> Record<'_> {
        Record {
            partition: self.partition,
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: Some(&self.headers),
        }
    }
}

impl ReadHeaders for Vec<Header> {
    fn read(&self) -> Vec<Header> {
        self.clone()
    }
}

/// Copied records of one partition.
#[derive(Debug, Clone, Default)]
pub struct OwnedRecords(pub Vec<OwnedRecord>);

impl RecordBatch for OwnedRecords {
    fn partition(&self) -> Partition {
        self.0.first().map_or(0, |first| first.partition)
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn records(&self) -> Vec<Record<'_>> {
        self.0.iter().map(OwnedRecord::borrow).collect()
    }
}

/// No record: where a partition goes on that was read to its end.
#[derive(Debug, Clone, Copy)]
pub struct PartitionEnd {
    pub partition: Partition,
    pub next_offset: NextOffset,
}

impl RecordBatch for PartitionEnd {
    fn partition(&self) -> Partition {
        self.partition
    }

    fn len(&self) -> usize {
        0
    }

    fn records(&self) -> Vec<Record<'_>> {
        Vec::new()
    }

    fn next_offset(&self) -> Option<NextOffset> {
        Some(self.next_offset)
    }
}

/// Takes over records that a source has read.
pub type TakeOver<'v> = dyn FnMut(Box<dyn RecordBatch>) + 'v;

/// What a call of [`Source::poll`] brought. Records themselves were handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// So many records were handed over; 0 when the wait was over without one.
    Records(usize),
    /// These partitions are ours now, but deliver nothing until [`Source::start`] says where.
    Assigned(Vec<Partition>),
    /// These partitions go elsewhere: commit what they brought, then call [`Source::release`].
    Revoked(Vec<Partition>),
    /// These partitions were lost without a chance to commit; call [`Source::release`]. Somebody else may read
    /// them meanwhile, so their state is to be opened anew at the next [`Polled::Assigned`], which comes even
    /// where no partition is ours any more.
    Lost(Vec<Partition>),
}

/// Why a source can't deliver. Transient faults are retried inside the adapter.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The asked offset is no longer (or not yet) in the log.
    #[error(
        "partition {partition}: offset {wanted} is outside the log, which holds {low} to {high}"
    )]
    OutOfRange { partition: Partition, wanted: i64, low: i64, high: i64 },
    /// Nothing but a new consumer helps.
    #[error("the log can't be read: {0}")]
    Fatal(String),
}

/// A log to read, partition by partition.
pub trait Source {
    /// Waits up to `timeout` for the first of at most `records_max` records and hands them over,
    /// some at a time, in offset order within a partition.
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        take_over: &mut TakeOver<'_>,
    ) -> Result<Polled, SourceError>;

    /// Begins delivery of an assigned partition at an offset; `None` is the log's beginning.
    fn start(&mut self, from: &[(Partition, Option<NextOffset>)]) -> Result<(), SourceError>;

    /// Ends delivery of revoked or lost partitions.
    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError>;

    /// First offset held by the log and one past the newest, of a partition.
    fn bounds(&self, partition: Partition) -> Result<(i64, i64), SourceError>;

    /// Reads the records at these offsets once more, without any effect on delivery; `None` where
    /// there is no such record any more. In the order asked.
    fn fingerprints(
        &self,
        partition: Partition,
        offsets: &[i64],
    ) -> Result<Vec<Option<Fingerprint>>, SourceError>;

    /// How many offsets each delivering partition is behind the log's end, at most. Left out are those of which
    /// that is not told at once.
    fn lag(&self) -> Result<Vec<(Partition, i64)>, SourceError>;
}

/// A refused record with its reason, on its way to the dead-letter topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub partition: Partition,
    pub offset: i64,
    pub timestamp: Timestamp,
    /// The stable code of the refusal.
    pub reason: String,
    /// The refusal in words.
    pub message: String,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// The record's own.
    pub headers: Vec<Header>,
    /// What stands for the customer, as far as the record tells whose it is.
    pub customer: Option<u128>,
}

impl DeadLetter {
    /// A record as it was, refused for this reason.
    pub fn of(
        record: &Record<'_>,
        (reason, message): (&str, &str),
        customer: Option<u128>,
    ) -> Self {
        let OwnedRecord { partition, offset, timestamp, key, value, headers } =
            OwnedRecord::of(record);
        let (reason, message) = (reason.to_owned(), message.to_owned());
        Self { partition, offset, timestamp, reason, message, key, value, headers, customer }
    }

    /// Bytes of memory held, roughly.
    pub fn memory_bytes(&self) -> usize {
        let optional = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self
            .headers
            .iter()
            .map(|header| size_of::<Header>() + header.name.len() + optional(&header.value));
        size_of::<Self>()
            + self.reason.len()
            + self.message.len()
            + optional(&self.key)
            + optional(&self.value)
            + headers.sum::<usize>()
    }

    /// Leaves that the record was refused and for what reason, and nothing of what was in it.
    pub fn erase(&mut self) {
        (self.key, self.value) = (None, None);
        self.headers.clear();
        self.message = "the customer was erased by a forget event".to_owned();
    }
}

/// What becomes visible at once, or not at all: all that one tick publishes, or a part of it.
#[derive(Debug, Clone, Default)]
pub struct Publication {
    /// Key and value of each changed snapshot.
    pub snapshots: Vec<(Vec<u8>, Vec<u8>)>,
    pub dead_letters: Vec<DeadLetter>,
    /// `o_pub` of each partition once this is published.
    pub next_offsets: Vec<(Partition, NextOffset)>,
}

/// Why a publication did not (surely) happen.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The outcome is unknown or the transaction was aborted; the adapter has made a new
    /// producer. Read `o_pub` back and publish again.
    #[error("publication failed: {0}")]
    Retry(String),
    /// The snapshots topic was gone and has been made anew: publish every snapshot again.
    #[error("the snapshots topic was gone; it is made anew, and all snapshots are published again")]
    Emptied,
    /// A newer instance publishes in our place.
    #[error("another instance publishes in our place: {0}")]
    Fenced(String),
}

/// Where publications go.
pub trait Sink: Send {
    /// Publishes all or nothing; blocks until the outcome is known or given up.
    fn publish(&mut self, publication: &Publication) -> Result<(), SinkError>;

    /// `o_pub` of each partition as the log knows it; `None` where nothing was ever published.
    fn published(
        &mut self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, Option<NextOffset>)>, SinkError>;

    /// Shows the values of snapshots that are out, the newest of all among them, if there are any.
    fn newest_snapshots(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<(), SinkError>;
}

/// What became of one record handed in by [`Ingest::submit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// Durable. `is_suspended` when it has no effect yet; Kafka ingest can't tell and says false.
    Accepted { is_suspended: bool },
    /// Accepted before, with the same content.
    Repeated,
    /// Not accepted: stable code, field at fault where there is one, and the words.
    Refused { code: String, field: Option<String>, message: String },
}

/// Receipts, and the input up to which the state must be to show what was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipts {
    /// In the order of the records.
    pub receipts: Vec<Receipt>,
    /// Next offset of each partition that took a record.
    pub as_of: Vec<(Partition, NextOffset)>,
}

/// Why nothing can be said of a submission. What of it was accepted is not known; submitting it
/// again is safe.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Too much is waiting; come back later.
    #[error("too many events are waiting")]
    Overloaded,
    /// The service is stopping or its store or broker failed.
    #[error("events can't be taken: {0}")]
    Unavailable(String),
    /// Nothing of the submission may be handed in; submitting it again changes nothing.
    #[error("the events are refused: {0}")]
    Refused(String),
    /// The first of them have an answer each, and the others none, for this reason, which who hands them in again
    /// learns from their own error.
    #[error("{reason}")]
    After { first: Vec<Receipt>, reason: Box<IngestError> },
}

/// Where events from HTTP and files go: the embedded log, or Kafka.
pub trait Ingest: Send + Sync {
    /// Hands in events as JSON, one each, and blocks until every accepted one is durable.
    fn submit(&self, events: Vec<Vec<u8>>) -> Result<Receipts, IngestError>;
}
