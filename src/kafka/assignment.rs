//! Which partitions are ours: the group's decisions as events, and the handle by which the sink
//! proves that we are still a member.
//!
//! The group protocol waits for us: after an assignment until [`crate::kafka::KafkaSource`] is
//! told where to start, after a revocation until it is told to release. So a partition reaches
//! its next owner only after its state here is committed. A decision about no partition is answered by the
//! intake, which knows what must come before the answer.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use tracing::{error, info};

use crate::kafka::client::{log_error, log_line};
use crate::stream::{Partition, Polled};

pub(in crate::kafka) type GroupConsumer = BaseConsumer<Assignment>;

/// Receives the decisions of the group, which come while the consumer is polled.
#[derive(Default)]
pub(in crate::kafka) struct Assignment {
    state: Mutex<State>,
    /// The group decided something since [`Assignment::take_interruption`].
    interrupted: AtomicBool,
    /// The consumer leaves the group: nobody will call start or release any more.
    closing: AtomicBool,
}

#[derive(Default)]
struct State {
    owned: BTreeSet<Partition>,
    /// Partitions were lost, and nothing was assigned since.
    is_lost: bool,
    /// A decision about no partition: nobody needs to hear of it, but the group waits for the answer.
    idle_decision: Option<Decision>,
    events: VecDeque<Polled>,
}

/// What the group decides about some partitions, or about none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Assign,
    Revoke,
}

impl Assignment {
    /// The oldest decision that was not told yet.
    pub(in crate::kafka) fn next_event(&self) -> Option<Polled> {
        self.state.lock().events.pop_front()
    }

    /// Whether there is a decision that was not told yet.
    pub(in crate::kafka) fn has_event(&self) -> bool {
        !self.state.lock().events.is_empty()
    }

    /// Whether the group decided something since the last call. The library pauses all partitions
    /// before it tells of a decision, even of one about none, until the decision is answered.
    pub(in crate::kafka) fn take_interruption(&self) -> bool {
        self.interrupted.swap(false, Ordering::SeqCst)
    }

    /// Undoes [`Assignment::take_interruption`].
    pub(in crate::kafka) fn note_interruption(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
    }

    /// Whether the group gave us the partition and did not take it back.
    pub(in crate::kafka) fn owns(&self, partition: Partition) -> bool {
        self.state.lock().owned.contains(&partition)
    }

    /// Whether partitions were lost and nothing was assigned since.
    fn is_lost(&self) -> bool {
        self.state.lock().is_lost
    }

    /// Takes note that the group was answered otherwise.
    pub(in crate::kafka) fn answered(&self) {
        self.state.lock().idle_decision = None;
    }

    /// Lets the group go on if it waits for nothing but the answer to a decision about no partition.
    pub(in crate::kafka) fn answer_idle_decision(&self, consumer: &GroupConsumer) {
        let decision = self.state.lock().idle_decision.take();
        if let Some(decision) = decision {
            log_failure(answer_nothing(consumer, decision));
        }
    }

    /// From now on decisions are answered at once.
    pub(in crate::kafka) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    fn assigned(&self, partitions: Vec<Partition>) {
        info!(?partitions, "partitions assigned");
        let mut state = self.state.lock();
        state.owned.extend(&partitions);
        state.is_lost = false;
        state.events.push_back(Polled::Assigned(partitions));
    }

    fn revoked(&self, partitions: Vec<Partition>, lost: bool) {
        info!(?partitions, lost, "partitions revoked");
        let mut state = self.state.lock();
        state.owned.retain(|owned| !partitions.contains(owned));
        state.is_lost |= lost;
        state.events.push_back(if lost {
            Polled::Lost(partitions)
        } else {
            Polled::Revoked(partitions)
        });
    }
}

impl ClientContext for Assignment {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Assignment {
    /// Only takes note, where the default would begin or end delivery itself.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        decision: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let decision = match decision {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Decision::Assign,
            _ => Decision::Revoke,
        };
        let partitions: Vec<Partition> =
            list.elements().iter().map(|element| element.partition()).collect();
        self.note_interruption();
        // A decision about no partitions must be answered all the same, and interests nobody.
        // Unless it says that what was lost is not ours any more.
        let says_lost = decision == Decision::Assign && self.is_lost();
        let is_idle = partitions.is_empty() && !says_lost;
        let is_closing = self.closing.load(Ordering::SeqCst);
        // The answer to this one is the answer to those before.
        self.state.lock().idle_decision = (is_idle && !is_closing).then_some(decision);
        if is_closing {
            log_failure(answer_nothing(consumer, decision));
            return;
        }
        match decision {
            _ if is_idle => {}
            Decision::Assign => self.assigned(partitions),
            Decision::Revoke => self.revoked(partitions, consumer.assignment_lost()),
        }
    }
}

/// Lets the group go on without a change of what is delivered.
fn answer_nothing(consumer: &GroupConsumer, decision: Decision) -> KafkaResult<()> {
    let nothing = TopicPartitionList::new();
    match decision {
        Decision::Assign => consumer.incremental_assign(&nothing),
        Decision::Revoke => consumer.incremental_unassign(&nothing),
    }
}

/// Leaves nothing for the group to wait for, so that the consumer can be closed: a pending
/// assignment is accepted, then everything delivered is given back.
pub(in crate::kafka) fn settle(consumer: &GroupConsumer, delivered: &TopicPartitionList) {
    consumer.context().close();
    log_failure(answer_nothing(consumer, Decision::Assign));
    log_failure(consumer.incremental_unassign(delivered));
}

fn log_failure(result: KafkaResult<()>) {
    if let Err(error) = result {
        error!(%error, "answer to the consumer group failed");
    }
}

/// Proof of our membership in the consumer group, for the offsets in a transaction. Does not keep
/// the source alive.
#[derive(Clone)]
pub struct GroupHandle(pub(in crate::kafka) Weak<GroupConsumer>);

impl GroupHandle {
    /// Member and generation as of now; `None` when the source is closed.
    ///
    /// As of now is right: a new generation begins only after everything revoked was released.
    pub(in crate::kafka) fn membership(&self) -> Option<ConsumerGroupMetadata> {
        self.0.upgrade()?.group_metadata()
    }
}
