//! Bytes to events, with the schema registry at hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::codec::error::{DecodeError, SchemaError};
use crate::codec::event_codec::EventCodec;
use crate::domain::event::BillingEvent;
use crate::state::Refused;
use crate::stream::registry::{RegistryError, SchemaRegistry};

/// Pause between questions to a registry that does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the loop waits for the registry. Without a schema nothing can be said of a record,
/// so it is neither skipped nor refused.
const PATIENCE: Duration = Duration::from_secs(60);

/// Decodes the values of records.
#[derive(Clone)]
pub struct Decoder {
    codec: EventCodec,
    registry: Option<Arc<SchemaRegistry>>,
}

impl Decoder {
    /// A decoder; without a registry, unknown schema ids are refused.
    pub fn new(codec: EventCodec, registry: Option<Arc<SchemaRegistry>>) -> Self {
        Self { codec, registry }
    }

    /// The event in a record's value, or why it is none. Fails only if the registry stays silent.
    pub fn decode<'a>(
        &mut self,
        value: Option<&'a [u8]>,
    ) -> Result<Result<BillingEvent<'a>, Refused>, RegistryError> {
        match self.codec.decode(value) {
            Err(DecodeError::UnknownSchemaId(id)) => {
                if let Some(registry) = &self.registry
                    && let Some(schema) = patiently(registry, id)?
                {
                    let schema = schema.as_deref().map_err(Clone::clone);
                    self.codec.add_registered(id, schema);
                }
                Ok(self.codec.decode(value).map_err(refused))
            }
            decoded => Ok(decoded.map_err(refused)),
        }
    }
}

/// Asks until the registry answers, or patience ends; `None` if it knows no such schema.
fn patiently(
    registry: &SchemaRegistry,
    id: u32,
) -> Result<Option<Result<Arc<str>, SchemaError>>, RegistryError> {
    let asked_at = Instant::now();
    loop {
        match registry.schema_by_id(id) {
            Ok(schema) => return Ok(Some(Ok(schema))),
            // The record is refused as of an unknown schema; the next one asks again.
            Err(RegistryError::UnknownId(_)) => return Ok(None),
            // Not the record's fault: with other settings it could be read.
            Err(error @ RegistryError::Refused(_)) => return Err(error),
            Err(error) if !error.is_retryable() => {
                return Ok(Some(Err(SchemaError::Unsupported(error.to_string()))));
            }
            Err(error) if asked_at.elapsed() > PATIENCE => return Err(error),
            Err(error) => {
                warn!(%error, id, "the schema registry does not answer, asking again");
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// What the sender of the bytes is told.
pub fn refused(error: DecodeError) -> Refused {
    match error {
        DecodeError::Field(error) => error.into(),
        error => Refused {
            code: error.reason().into_owned(),
            field: error.field().map(str::to_owned),
            message: error.to_string(),
        },
    }
}
