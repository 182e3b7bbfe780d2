//! What time it is to a question.

use chrono::Utc;

use crate::domain::time::Timestamp;

/// The clock that questions see. Ingest does not ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The machine's.
    System,
    /// Standing still, for demos, tests and answers that can be had again.
    Frozen(Timestamp),
}

impl Clock {
    /// The instant of now.
    pub fn now(self) -> Timestamp {
        match self {
            Self::System => Timestamp(Utc::now().timestamp_micros()),
            Self::Frozen(at) => at,
        }
    }
}
