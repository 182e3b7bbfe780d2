//! Publications on their way out, beside the loop: a transaction waits for brokers far longer than
//! the loop may wait for it.
//!
//! Always true
//! * At most one publication is on its way, and nothing else is asked of the sink meanwhile.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::codec::snapshot::decode_message;
use crate::stream::{NextOffset, Partition, Publication, Sink, SinkError};

/// `o_pub` of each partition, as the log knows it.
pub type PublishedOffsets = Vec<(Partition, Option<NextOffset>)>;

/// A publication, and what became of it.
pub struct Sent {
    pub publication: Publication,
    pub outcome: Result<(), SinkError>,
    pub duration: Duration,
}

enum Order {
    Publish(Publication),
    ReadPublished(Vec<Partition>),
    ReadEpoch,
}

enum Answer {
    Sent(Sent),
    Published(Result<PublishedOffsets, SinkError>),
    Epoch(Result<Option<u64>, SinkError>),
}

/// A sink on a thread of its own.
pub struct Outbox {
    /// `None` only while it is dropped.
    orders: Option<Sender<Order>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
    is_busy: bool,
}

impl Outbox {
    /// Takes over the sink.
    pub fn new(mut sink: impl Sink + 'static) -> Self {
        let (orders, taken) = channel();
        let (answer, answers) = channel();
        let thread = spawn(move || {
            for order in taken {
                let answered = match order {
                    Order::Publish(publication) => {
                        let begun_at = Instant::now();
                        let outcome = sink.publish(&publication);
                        Answer::Sent(Sent { publication, outcome, duration: begun_at.elapsed() })
                    }
                    Order::ReadPublished(partitions) => {
                        Answer::Published(sink.published(&partitions))
                    }
                    Order::ReadEpoch => Answer::Epoch(newest_epoch(&mut sink)),
                };
                if answer.send(answered).is_err() {
                    break;
                }
            }
        });
        Self { orders: Some(orders), answers, thread: Some(thread), is_busy: false }
    }

    /// Whether a publication is on its way.
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Sends a publication on its way; none may be.
    pub fn send(&mut self, publication: Publication) {
        debug_assert!(!self.is_busy, "one publication at a time");
        self.order(Order::Publish(publication));
        self.is_busy = true;
    }

    /// What became of the publication on its way; `None` while that is not known, or if none is.
    pub fn poll(&mut self) -> Option<Sent> {
        if !self.is_busy {
            return None;
        }
        let answer = self.answers.try_recv();
        self.sent(answer)
    }

    /// Waits for the publication on its way, if one is.
    pub fn wait(&mut self) -> Option<Sent> {
        if !self.is_busy {
            return None;
        }
        let answer = self.answers.recv().map_err(|_| TryRecvError::Disconnected);
        self.sent(answer)
    }

    /// Asks the log up to where partitions are published; no publication may be on its way.
    pub fn published(&mut self, partitions: &[Partition]) -> Result<PublishedOffsets, SinkError> {
        debug_assert!(!self.is_busy, "what is published is not known meanwhile");
        self.order(Order::ReadPublished(partitions.to_vec()));
        match self.answers.recv() {
            Ok(Answer::Published(published)) => published,
            Ok(_) => Err(was_busy()),
            Err(_) => self.fail(),
        }
    }

    /// Asks the log for the greatest epoch that is published; no publication may be on its way.
    pub fn epoch(&mut self) -> Result<Option<u64>, SinkError> {
        debug_assert!(!self.is_busy, "what is published is not known meanwhile");
        self.order(Order::ReadEpoch);
        match self.answers.recv() {
            Ok(Answer::Epoch(epoch)) => epoch,
            Ok(_) => Err(was_busy()),
            Err(_) => self.fail(),
        }
    }

    fn order(&mut self, order: Order) {
        let is_taken = self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        if !is_taken {
            self.fail()
        }
    }

    fn sent(&mut self, answer: Result<Answer, TryRecvError>) -> Option<Sent> {
        let sent = match answer {
            Ok(Answer::Sent(sent)) => Some(sent),
            Ok(Answer::Published(_) | Answer::Epoch(_)) => None,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => self.fail(),
        };
        self.is_busy = false;
        sent
    }

    /// The thread ends early only by a panic, which goes on here.
    fn fail<T>(&mut self) -> T {
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => resume_unwind(panic),
            _ => unreachable!("the sink's thread lives as long as its outbox"),
        }
    }
}

fn was_busy() -> SinkError {
    SinkError::Retry("a publication was on its way".to_owned())
}

/// The greatest epoch that is published. Epochs never fall, so the newest snapshots have it.
fn newest_epoch(sink: &mut impl Sink) -> Result<Option<u64>, SinkError> {
    let mut newest = None;
    sink.newest_snapshots(&mut |value| match decode_message(value) {
        Ok(snapshot) => newest = newest.max(u64::try_from(snapshot.version.log_epoch).ok()),
        Err(error) => warn!(%error, "a record of the snapshots topic is no snapshot"),
    })?;
    Ok(newest)
}

impl Drop for Outbox {
    /// Waits for the publication on its way.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was told there.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
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
        let mut outbox = Outbox::new(Slow(told));
        assert!(outbox.poll().is_none() && outbox.wait().is_none());
        outbox.send(publication(0));
        assert!(outbox.poll().is_none() && outbox.is_busy());
        go.send(()).unwrap();
        assert!(outbox.wait().is_some_and(|sent| sent.outcome.is_ok()));
        assert!(!outbox.is_busy());
        assert_eq!(outbox.published(&[3]).unwrap(), [(3, Some(NextOffset(7)))]);
        assert_eq!(outbox.epoch().unwrap(), None);
    }

    #[test]
    #[should_panic(expected = "snapshots are not for this sink")]
    fn a_panic_of_the_sink_reaches_the_loop() {
        let (go, told) = channel();
        let mut outbox = Outbox::new(Slow(told));
        outbox.send(publication(1));
        go.send(()).unwrap();
        outbox.wait();
    }
}
