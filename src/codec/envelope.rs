//! What stands around an Avro datum: which schema wrote it.
//!
//! | framing | bytes before the datum |
//! |---|---|
//! | registry (Confluent) | `00`, schema id as 4 bytes big-endian |
//! | single object (Avro specification) | `C3 01`, CRC-64-AVRO of the schema as 8 bytes little-endian |
//! | bare | none; one schema is configured |

use std::str::FromStr;

use crate::codec::error::DecodeError;

const REGISTRY_MAGIC: [u8; 1] = [0x00];
const SINGLE_OBJECT_MAGIC: [u8; 2] = [0xc3, 0x01];

/// How events are written on a topic. Chosen by a setting, never guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFormat {
    AvroRegistry,
    AvroSingleObject,
    AvroBare,
    Json,
}

impl EventFormat {
    /// All formats.
    pub const ALL: [Self; 4] =
        [Self::AvroRegistry, Self::AvroSingleObject, Self::AvroBare, Self::Json];

    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::AvroRegistry => "avro-registry",
            Self::AvroSingleObject => "avro-single-object",
            Self::AvroBare => "avro-bare",
            Self::Json => "json",
        }
    }
}

impl FromStr for EventFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or(())
    }
}

/// What is written before a datum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The schema's id in the registry.
    Registry(u32),
    /// The schema's fingerprint, in the order of the wire.
    SingleObject([u8; 8]),
    Bare,
}

impl Framing {
    /// Appends what stands before the datum.
    pub fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Registry(id) => {
                out.extend(REGISTRY_MAGIC);
                out.extend(id.to_be_bytes());
            }
            Self::SingleObject(fingerprint) => {
                out.extend(SINGLE_OBJECT_MAGIC);
                out.extend(fingerprint);
            }
            Self::Bare => (),
        }
    }
}

/// The schema id and the datum of a message with a registry's framing.
pub fn open_registry(message: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    let (id, datum) = open(message, REGISTRY_MAGIC, "the byte 00 of a schema registry's framing")?;
    Ok((u32::from_be_bytes(id), datum))
}

/// The schema's fingerprint and the datum of a message in single-object encoding.
pub fn open_single_object(message: &[u8]) -> Result<([u8; 8], &[u8]), DecodeError> {
    open(message, SINGLE_OBJECT_MAGIC, "the bytes C3 01 of Avro's single-object encoding")
}

/// Splits `message` behind its magic and the `M` bytes that follow.
fn open<'a, const N: usize, const M: usize>(
    message: &'a [u8],
    magic: [u8; N],
    what: &'static str,
) -> Result<([u8; M], &'a [u8]), DecodeError> {
    let Some((head, rest)) = message.split_first_chunk::<N>() else {
        let begins = magic.starts_with(message);
        return Err(if begins { DecodeError::Truncated } else { DecodeError::WrongMagic(what) });
    };
    if *head != magic {
        return Err(DecodeError::WrongMagic(what));
    }
    let (schema, datum) = rest.split_first_chunk::<M>().ok_or(DecodeError::Truncated)?;
    Ok((*schema, datum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_framings_are_those_of_their_specifications() {
        let mut out = Vec::new();
        Framing::Registry(0x0102_0304).put(&mut out);
        assert_eq!(out, [0, 1, 2, 3, 4]);
        out.push(9);
        assert_eq!(open_registry(&out), Ok((0x0102_0304, &[9u8][..])));

        let mut out = Vec::new();
        Framing::SingleObject(*b"abcdefgh").put(&mut out);
        assert_eq!(out, b"\xc3\x01abcdefgh");
        assert_eq!(open_single_object(&out), Ok((*b"abcdefgh", &[][..])));
    }

    #[test]
    fn a_foreign_beginning_is_told_from_a_cut_one() {
        assert_eq!(open_registry(&[0, 1, 2]), Err(DecodeError::Truncated));
        assert_eq!(open_single_object(&[0xc3]), Err(DecodeError::Truncated));
        assert_eq!(open_single_object(&[0xc3, 1, 0]), Err(DecodeError::Truncated));
        assert!(matches!(open_registry(b"{\"a\":1}"), Err(DecodeError::WrongMagic(_))));
        assert!(matches!(open_single_object(&[0xc4]), Err(DecodeError::WrongMagic(_))));
    }
}
