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
/// How long a schema may take from the registry where it was registered to the one that is asked.
const SPREAD: Duration = Duration::from_secs(3);
/// Who waited so long for nothing does not for the next unknown id within this time: ids in foreign records
/// are made up, and there may be many.
const NO_WAIT: Duration = Duration::from_secs(60);

/// Decodes the values of records.
#[derive(Clone)]
pub struct Decoder {
    codec: EventCodec,
    registry: Option<Arc<SchemaRegistry>>,
    /// When an id stayed unknown that was waited for.
    in_vain_at: Option<Instant>,
}

impl Decoder {
    /// A decoder; without a registry, unknown schema ids are refused.
    pub fn new(codec: EventCodec, registry: Option<Arc<SchemaRegistry>>) -> Self {
        Self { codec, registry, in_vain_at: None }
    }

    /// The event in a record's value, or why it is none. Fails only if the registry stays silent.
    pub fn decode<'a>(
        &mut self,
        value: Option<&'a [u8]>,
    ) -> Result<Result<BillingEvent<'a>, Refused>, RegistryError> {
        let mut decoded = Ok(BillingEvent::vacant());
        self.decode_into(value, &mut decoded)?;
        Ok(decoded)
    }

    /// As [`Decoder::decode`], into the place of a vacant event: moved less often.
    pub fn decode_into<'a>(
        &mut self,
        value: Option<&'a [u8]>,
        decoded: &mut Result<BillingEvent<'a>, Refused>,
    ) -> Result<(), RegistryError> {
        let Ok(event) = decoded else { return Ok(()) };
        let mut outcome = self.codec.decode_into(value, event);
        if let Err(DecodeError::UnknownSchemaId(id)) = outcome
            && let Some(registry) = self.registry.clone()
            && let Some(schema) = self.patiently(&registry, id)?
        {
            self.codec.add_registered(id, schema.as_deref().map_err(Clone::clone));
            outcome = self.codec.decode_into(value, event);
        }
        if let Err(error) = outcome {
            *decoded = Err(refused(error));
        }
        Ok(())
    }

    /// Asks until the registry answers, or patience ends; `None` if it knows no such schema.
    fn patiently(
        &mut self,
        registry: &SchemaRegistry,
        id: u32,
    ) -> Result<Option<Result<Arc<str>, SchemaError>>, RegistryError> {
        let asked_at = Instant::now();
        let may_wait = SchemaRegistry::may_give(id)
            && self.in_vain_at.is_none_or(|at| at.elapsed() >= NO_WAIT);
        loop {
            match registry.schema_by_id(id) {
                Ok(schema) => return Ok(Some(Ok(schema))),
                // The record is refused as of an unknown schema; later ones are asked for anew.
                Err(RegistryError::UnknownId(_)) if !may_wait => return Ok(None),
                Err(RegistryError::UnknownId(_)) if asked_at.elapsed() >= SPREAD => {
                    self.in_vain_at = Some(Instant::now());
                    return Ok(None);
                }
                Err(RegistryError::UnknownId(_)) => {
                    std::thread::sleep(PAUSE);
                    registry.forget_unknown(id);
                }
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
