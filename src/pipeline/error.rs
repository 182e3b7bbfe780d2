//! What ends the loop.

use crate::state::StateError;
use crate::stream::{Partition, SinkError, SourceError};

/// Why the loop ended. The process ends with it and resumes from the last commit.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A shard can't be opened, applied to or committed.
    #[error("partition {partition}")]
    State { partition: Partition, source: StateError },
    /// A thread can't be started.
    #[error("the thread \"{name}\" can't be started: {error}")]
    Thread { name: String, error: std::io::Error },
    /// The log can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Another instance publishes in our place.
    #[error(transparent)]
    Fenced(SinkError),
    /// The schema registry can't be asked, for longer than it was waited for.
    #[error("schema registry: {0}")]
    Registry(String),
    /// Retention has removed records that were never read.
    #[error(
        "partition {partition}: offsets {wanted} to {low} are gone from the log before they were \
         read ({missing} records missing); put a newer copy of the data directory in its place, or \
         start with --accept-retention-gap to go on without them"
    )]
    Gap { partition: Partition, wanted: i64, low: i64, missing: i64 },
    /// The log does not tell up to where we have published.
    #[error("the log does not tell what is published already, so nothing may be published")]
    PublishedUnknown,
    /// The log is not the one that the state was computed from.
    #[error(
        "partition {partition}: the record at offset {offset} is not the one the state was \
         computed from; the topic was replaced or truncated"
    )]
    OtherLog { partition: Partition, offset: i64 },
}
