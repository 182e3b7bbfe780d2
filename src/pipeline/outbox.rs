//! Publications on their way out, beside the loop: a transaction waits for brokers far longer than
//! the loop may wait for it.
//!
//! Always true
//! * At most one publication or question is on its way, and nothing else is asked of the sink meanwhile.

use std::time::{Duration, Instant};

use tracing::warn;

use crate::codec::snapshot::{SnapshotVersion, decode_message};
use crate::pipeline::PipelineError;
use crate::pipeline::helper::Helper;
use crate::stream::{NextOffset, Partition, Publication, Sink, SinkError};

/// `o_pub` of each partition, as the log knows it.
pub type PublishedOffsets = Vec<(Partition, Option<NextOffset>)>;

/// A publication, and what became of it.
pub struct Sent {
    pub publication: Publication,
    pub outcome: Result<(), SinkError>,
    pub duration: Duration,
}

/// What comes back from the log.
pub enum Returned {
    /// Of a publication.
    Sent(Sent),
    /// Of the question up to where partitions are published.
    Published(Result<PublishedOffsets, SinkError>),
}

enum Order {
    Publish(Publication),
    ReadPublished(Vec<Partition>),
    ReadNewest,
}

enum Answer {
    Returned(Returned),
    Newest(Result<Option<SnapshotVersion>, SinkError>),
}

/// A sink on a thread of its own.
pub struct Outbox {
    helper: Helper<Order, Answer>,
    is_busy: bool,
}

impl Outbox {
    /// Takes over the sink.
    ///
    /// # Errors
    /// [`PipelineError::Thread`] if the system has none for it.
    pub fn new(mut sink: impl Sink + 'static) -> Result<Self, PipelineError> {
        let carry_out = move |order| match order {
            Order::Publish(publication) => {
                let begun_at = Instant::now();
                let outcome = sink.publish(&publication);
                let sent = Sent { publication, outcome, duration: begun_at.elapsed() };
                Answer::Returned(Returned::Sent(sent))
            }
            Order::ReadPublished(partitions) => {
                Answer::Returned(Returned::Published(sink.published(&partitions)))
            }
            Order::ReadNewest => Answer::Newest(newest_version(&mut sink)),
        };
        Ok(Self { helper: Helper::new("outbox".to_owned(), carry_out)?, is_busy: false })
    }

    /// Whether a publication or a question is on its way.
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Sends a publication on its way; none may be.
    pub fn send(&mut self, publication: Publication) {
        debug_assert!(!self.is_busy, "one publication at a time");
        self.helper.order(Order::Publish(publication));
        self.is_busy = true;
    }

    /// Asks the log up to where partitions are published; nothing may be on its way.
    pub fn ask_published(&mut self, partitions: &[Partition]) {
        debug_assert!(!self.is_busy, "what is published is not known meanwhile");
        self.helper.order(Order::ReadPublished(partitions.to_vec()));
        self.is_busy = true;
    }

    /// What came back of that which is on its way; `None` while it is not known, or if nothing is.
    pub fn poll(&mut self) -> Option<Returned> {
        let answer = if self.is_busy { self.helper.poll()? } else { return None };
        self.returned(answer)
    }

    /// Waits for what is on its way, if anything is.
    pub fn wait(&mut self) -> Option<Returned> {
        let answer = if self.is_busy { self.helper.wait() } else { return None };
        self.returned(answer)
    }

    /// Asks the log for the greatest version that is published; no publication may be on its way.
    pub fn newest_version(&mut self) -> Result<Option<SnapshotVersion>, SinkError> {
        debug_assert!(!self.is_busy, "what is published is not known meanwhile");
        self.helper.order(Order::ReadNewest);
        match self.helper.wait() {
            Answer::Newest(version) => version,
            _ => Err(was_busy()),
        }
    }

    fn returned(&mut self, answer: Answer) -> Option<Returned> {
        self.is_busy = false;
        match answer {
            Answer::Returned(returned) => Some(returned),
            Answer::Newest(_) => None,
        }
    }
}

fn was_busy() -> SinkError {
    SinkError::Retry("a publication was on its way".to_owned())
}

/// The greatest version that is published. Versions never fall, so those of the newest snapshots hold it:
/// the greatest epoch, and of that the greatest offset of each partition.
fn newest_version(sink: &mut impl Sink) -> Result<Option<SnapshotVersion>, SinkError> {
    let mut newest: Option<SnapshotVersion> = None;
    sink.newest_snapshots(&mut |value| match decode_message(value) {
        Ok(snapshot) => {
            let version = snapshot.version;
            match &mut newest {
                Some(newest) if newest.log_epoch > version.log_epoch => {}
                Some(newest) if newest.log_epoch == version.log_epoch => {
                    for (partition, next) in version.next_offsets {
                        let known = newest.next_offsets.entry(partition).or_insert(next);
                        *known = next.max(*known);
                    }
                }
                _ => newest = Some(version),
            }
        }
        Err(error) => warn!(%error, "a record of the snapshots topic is no snapshot"),
    })?;
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Publishes when told to.
    struct Slow(Receiver<()>);

    impl Sink for Slow {
        fn publish(&mut self, publication: &Publication) -> Result<(), SinkError> {
            self.0.recv().map_err(|_| SinkError::Retry("never told".to_owned()))?;
            assert!(publication.snapshots.is_empty(), "snapshots are not for this sink");
            Ok(())
        }

        fn published(&mut self, partitions: &[Partition]) -> Result<PublishedOffsets, SinkError> {
            Ok(partitions.iter().map(|partition| (*partition, Some(NextOffset(7)))).collect())
        }

        fn newest_snapshots(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<(), SinkError> {
            visit(b"no snapshot");
            Ok(())
        }
    }

    fn publication(snapshots: usize) -> Publication {
        let snapshots = vec![(Vec::new(), Vec::new()); snapshots];
        Publication { snapshots, dead_letters: Vec::new(), next_offsets: Vec::new() }
    }

    #[test]
    fn a_publication_is_on_its_way_until_the_sink_is_done_with_it() {
        let (go, told) = channel();
        let mut outbox = Outbox::new(Slow(told)).unwrap();
        assert!(outbox.poll().is_none() && outbox.wait().is_none());
        outbox.send(publication(0));
        assert!(outbox.poll().is_none() && outbox.is_busy());
        go.send(()).unwrap();
        let is_sent = |back| matches!(back, Returned::Sent(Sent { outcome: Ok(()), .. }));
        assert!(outbox.wait().is_some_and(is_sent));
        assert!(!outbox.is_busy());
        outbox.ask_published(&[3]);
        assert!(outbox.is_busy());
        let published = [(3, Some(NextOffset(7)))];
        assert!(
            matches!(outbox.wait(), Some(Returned::Published(Ok(found))) if found == published)
        );
        assert_eq!(outbox.newest_version().unwrap(), None);
    }

    #[test]
    #[should_panic(expected = "snapshots are not for this sink")]
    fn a_panic_of_the_sink_reaches_the_loop() {
        let (go, told) = channel();
        let mut outbox = Outbox::new(Slow(told)).unwrap();
        outbox.send(publication(1));
        go.send(()).unwrap();
        outbox.wait();
    }
}
