//! Seals a stored value, so that damage is noticed when it is read back.
//!
//! A sealed value is its layout version (1 byte), its payload, and a checksum (4 bytes, little
//! endian): the low half of XXH3-64 over version and payload, seeded with XXH3-64 of the row's
//! key. The key is in the seed and not in the bytes, so a value found under another key fails too,
//! and no byte can change sides between key and payload.
//!
//! RocksDB has a checksum of its own per block. This one covers the rest of the way: memory, copies
//! and rows exchanged. Random damage passes it once in 2^32 times.
//!
//! Not here: what a payload means, and which versions are known; that is the caller's.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const VERSION_BYTES: usize = 1;
const CHECKSUM_BYTES: usize = 4;

/// Bytes that sealing adds to a payload.
pub const SEAL_BYTES: usize = VERSION_BYTES + CHECKSUM_BYTES;

/// Why a stored value is not what was written under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short to be any sealed value.
    #[error("{bytes} bytes are too few for a sealed value")]
    Truncated { bytes: usize },
    /// The bytes were changed or cut, or belong to another key.
    #[error("checksum is {stored:08x}, but the bytes under this key have {computed:08x}")]
    Mismatch { stored: u32, computed: u32 },
}

/// The value to store under `key`: `payload` in layout `version`, with its checksum.
pub fn seal(version: u8, key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(payload.len() + SEAL_BYTES);
    seal_into(version, key, &mut sealed, |sealed| sealed.extend_from_slice(payload));
    sealed
}

/// Appends the value to store under `key`, whose payload `write` appends.
pub fn seal_into(version: u8, key: &[u8], into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = into.len();
    into.push(version);
    write(into);
    let checksum = checksum(key, &into[start..]);
    into.extend_from_slice(&checksum.to_le_bytes());
}

/// The layout version and payload of a value stored under `key`.
pub fn open<'a>(key: &[u8], sealed: &'a [u8]) -> Result<(u8, &'a [u8]), SealError> {
    let truncated = SealError::Truncated { bytes: sealed.len() };
    let (body, stored) = sealed.split_last_chunk::<CHECKSUM_BYTES>().ok_or(truncated)?;
    let (version, payload) = body.split_first().ok_or(truncated)?;
    let stored = u32::from_le_bytes(*stored);
    let computed = checksum(key, body);
    if stored == computed {
        Ok((*version, payload))
    } else {
        Err(SealError::Mismatch { stored, computed })
    }
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let hash = xxh3_64_with_seed(body, xxh3_64(key));
    (hash & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOADS: [&[u8]; 5] =
        [b"", b"\0", b"ledger", b"a payload of thirty-some bytes.", &[0xa5; 300]];

    #[test]
    fn a_sealed_value_opens_under_its_key() {
        for payload in PAYLOADS {
            for key in [&b""[..], b"k", b"app/customer"] {
                let sealed = seal(3, key, payload);
                assert_eq!(sealed.len(), payload.len() + SEAL_BYTES);
                assert_eq!(open(key, &sealed), Ok((3, payload)));
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for payload in PAYLOADS {
            let mut sealed = seal(1, b"key", payload);
            for bit in 0..sealed.len() * 8 {
                sealed[bit / 8] ^= 1 << (bit % 8);
                let opened = open(b"key", &sealed);
                assert!(matches!(opened, Err(SealError::Mismatch { .. })), "bit {bit}");
                sealed[bit / 8] ^= 1 << (bit % 8);
            }
            assert_eq!(open(b"key", &sealed), Ok((1, payload)));
        }
    }

    #[test]
    fn every_cut_at_either_end_is_noticed() {
        for payload in PAYLOADS {
            let sealed = seal(1, b"key", payload);
            for length in 0..sealed.len() {
                assert!(open(b"key", &sealed[..length]).is_err(), "first {length} bytes");
                assert!(open(b"key", &sealed[sealed.len() - length..]).is_err(), "last {length}");
            }
        }
        assert_eq!(open(b"key", b"1234"), Err(SealError::Truncated { bytes: 4 }));
    }

    #[test]
    fn a_longer_value_is_noticed() {
        let mut sealed = seal(1, b"key", b"ledger");
        sealed.push(0);
        assert!(open(b"key", &sealed).is_err());
    }

    #[test]
    fn a_value_under_another_key_is_noticed() {
        let sealed = seal(1, b"customer", b"ledger");
        for other in [&b""[..], b"custome", b"customer\0", b"customes", b"ledger"] {
            assert!(open(other, &sealed).is_err(), "{other:?}");
        }
        // The same bytes in a row, divided otherwise between key, version and payload.
        let shifted = seal(b'b', b"a", b"cd");
        assert_ne!(shifted[3..], seal(b'c', b"ab", b"d")[2..]);
    }

    #[test]
    fn stored_bytes_stay_as_they_are() {
        // The checksums were computed with xxHash's own C code.
        assert_eq!(hex::encode(seal(1, b"", b"")), "0160f889cf");
        assert_eq!(hex::encode(seal(2, b"app/customer", b"ledger")), "026c65646765727be5891e");
    }
}
