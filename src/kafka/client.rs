//! What all clients share: where their log lines go, and which of their errors pass by themselves.

use std::sync::Arc;

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel as Level};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tracing::{debug, error, info, warn};

use crate::kafka::settings::SetupError;

/// A client context that only logs.
#[derive(Clone, Copy)]
pub(in crate::kafka) struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: Level, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Logged {}

impl ProducerContext for Logged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result {
            debug!(%error, "record not delivered");
        }
    }
}

/// A client context that also remembers why a broker could not be reached: the errors of the
/// library only say that it could not.
#[derive(Clone, Default)]
pub(in crate::kafka) struct Remembering {
    failure: Arc<Mutex<Option<String>>>,
}

impl Remembering {
    /// The newest failure to reach a broker, in the words of the library.
    pub(in crate::kafka) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }
}

impl ClientContext for Remembering {
    fn log(&self, level: Level, facility: &str, message: &str) {
        if facility == "FAIL" {
            // Without the name of the library's thread.
            let words = message.split_once("]: ").map_or(message, |(_, words)| words);
            *self.failure.lock() = Some(words.to_owned());
        }
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Remembering {}

/// Passes a line of the client library on to our log.
pub(in crate::kafka) fn log_line(level: Level, facility: &str, message: &str) {
    // Every client gets all properties of the operator, and complains about those of other kinds.
    if facility == "CONFWARN" && message.contains("property and will be ignored by this") {
        return;
    }
    match level {
        Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
            error!(target: "librdkafka", facility, "{message}");
        }
        Level::Warning => warn!(target: "librdkafka", facility, "{message}"),
        Level::Notice | Level::Info => info!(target: "librdkafka", facility, "{message}"),
        Level::Debug => debug!(target: "librdkafka", facility, "{message}"),
    }
}

/// Logs what a client says about its connections; such an error also reaches the caller if it
/// concerns him.
pub(in crate::kafka) fn log_error(error: &KafkaError, reason: &str) {
    // The end of a partition is no error.
    if error.rdkafka_error_code() != Some(Code::PartitionEOF) {
        warn!(%error, reason, "kafka client");
    }
}

/// Makes a client; the error names the property at fault where the library does.
pub(in crate::kafka) fn create<C, T>(config: &ClientConfig, context: C) -> Result<T, SetupError>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C>,
{
    config.create_with_context(context).map_err(|error| match error {
        KafkaError::ClientConfig(_, reason, property, _) => {
            SetupError::Property { property, reason }
        }
        KafkaError::ClientCreation(reason) => SetupError::Client(reason),
        other => SetupError::Client(other.to_string()),
    })
}

/// Whether a partition stopped because its offset is not in the log.
pub(in crate::kafka) fn is_offset_error(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation)
    )
}

/// Whether the client gets over it; it was logged by its context.
pub(in crate::kafka) fn is_passing(error: &KafkaError) -> bool {
    !matches!(error, KafkaError::MessageConsumptionFatal(_))
        && error.rdkafka_error_code().is_some_and(is_transient)
}

/// Whether a client gets over this error by itself.
///
/// What is not listed is not trusted: some errors, a failed checksum among them, mean that the
/// library is about to skip records.
pub(in crate::kafka) fn is_transient(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::Resolve
            | Code::SSL
            | Code::Authentication
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::WaitingForCoordinator
            | Code::WaitCache
            | Code::InProgress
            | Code::PreviousInProgress
            | Code::Retry
            | Code::NodeUpdate
            | Code::BrokerDestroy
            | Code::DestroyBroker
            | Code::UnknownBroker
            | Code::PollExceeded
            | Code::AssignmentLost
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopicId
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::RequestTimedOut
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::MemberIdRequired
            | Code::RebalanceInProgress
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::StaleBrokerEpoch
            | Code::PreferredLeaderNotAvailable
            | Code::EligibleLeadersNotAvailable
            | Code::ListenerNotFound
            | Code::FetchSessionIdNotFound
            | Code::InvalidFetchSessionEpoch
            | Code::UnstableOffsetCommit
            | Code::ThrottlingQuotaExceeded
            | Code::RebootstrapRequired
    )
}
