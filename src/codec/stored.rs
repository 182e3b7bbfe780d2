//! Stored state, version 1: ledgers and a shard's position as bytes; the dictionary is in
//! [`crate::codec::stored_entry`], facts are in [`crate::codec::fact_pages`].
//!
//! Every value is sealed with its layout version and a checksum ([`crate::codec::sealed`]). Values
//! are postcard (varints, in field order); keys are big-endian, so that rows sort by meaning. A
//! change of any of these structs is a new layout version, and this one keeps decoding.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec::sealed;
use crate::domain::time::{Day, Timestamp};
use crate::engine::curves::EmptiedCohort;
use crate::engine::dictionary::AppIx;
use crate::engine::ledger::LedgerEvent;
use crate::engine::packed::unpack;
use crate::engine::shard::SuspendedEvents;
use crate::engine::standing::Suspension;
use crate::stream::{DeadLetter, Header, NextOffset};

/// Layout version of every value written now, but for quarantine rows.
pub(super) const VERSION: u8 = 1;

/// Why a stored row can't be read: damage, or a newer program's layout.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The seal is broken.
    #[error(transparent)]
    Seal(#[from] sealed::SealError),
    /// The layout is not known to this version of the program.
    #[error("layout version {0} is newer than this program knows")]
    UnknownVersion(u8),
    /// The bytes are sealed but do not say what they must.
    #[error("value does not decode: {0}")]
    Malformed(&'static str),
}

pub(super) fn encode<T: Serialize>(key: &[u8], value: &T) -> Vec<u8> {
    // Serialising plain structs into memory cannot fail; an empty payload would not decode.
    let payload = postcard::to_stdvec(value).unwrap_or_default();
    sealed::seal(VERSION, key, &payload)
}

pub(super) fn open<'a>(key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], StoredError> {
    let (version, payload) = sealed::open(key, bytes)?;
    if version != VERSION {
        return Err(StoredError::UnknownVersion(version));
    }
    Ok(payload)
}

pub(super) fn decode<'a, T: Deserialize<'a>>(
    key: &[u8],
    bytes: &'a [u8],
) -> Result<T, StoredError> {
    whole(open(key, bytes)?)
}

/// The structure that a payload is, to its last byte.
fn whole<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, StoredError> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(StoredError::Malformed("trailing bytes")),
        Err(_) => Err(StoredError::Malformed("not the expected structure")),
    }
}

/// What a number takes at most.
const COUNT_BYTES_MAX: usize = 10;

/// Key of a chunk of a customer's history.
pub fn chunk_key(customer: &[u8], chunk: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(customer.len() + size_of::<u32>());
    put_chunk_key(customer, chunk, &mut key);
    key
}

/// Appends the key of a chunk of a customer's history.
pub fn put_chunk_key(customer: &[u8], chunk: u32, into: &mut Vec<u8>) {
    into.extend_from_slice(customer);
    into.extend_from_slice(&chunk.to_be_bytes());
}

/// The customer's part of a chunk's key.
pub fn chunk_customer(key: &[u8]) -> &[u8] {
    &key[..key.len().saturating_sub(4)]
}

/// Appends a chunk of history as its row's value: the number of events, and each of them packed.
pub fn encode_chunk<'a>(
    key: &[u8],
    events: impl ExactSizeIterator<Item = &'a [u8]>,
    into: &mut Vec<u8>,
) {
    sealed::seal_into(VERSION, key, into, |payload| {
        let mut count = [0; COUNT_BYTES_MAX];
        // The number fits; a chunk without one would not decode.
        payload
            .extend_from_slice(postcard::to_slice(&events.len(), &mut count).unwrap_or_default());
        for event in events {
            payload.extend_from_slice(event);
        }
    });
}

/// The events of a chunk, which borrow their texts from it.
pub fn decode_chunk<'a>(key: &[u8], bytes: &'a [u8]) -> Result<Vec<LedgerEvent<'a>>, StoredError> {
    let payload = open(key, bytes)?;
    let (count, mut rest) = postcard::take_from_bytes::<usize>(payload)
        .map_err(|_| StoredError::Malformed("number of events"))?;
    // A count that lies must not take memory: an event has more than one byte.
    let mut events = Vec::with_capacity(count.min(rest.len()));
    for _ in 0..count {
        let (event, after) = unpack(rest).map_err(|error| StoredError::Malformed(error.0))?;
        events.push(event);
        rest = after;
    }
    if rest.is_empty() { Ok(events) } else { Err(StoredError::Malformed("trailing bytes")) }
}

/// The value of a customer's row of suspended events.
pub fn encode_suspended(key: &[u8], events: &SuspendedEvents) -> Vec<u8> {
    let stored: Vec<(&str, u8)> =
        events.iter().map(|(event_id, reason)| (&**event_id, *reason as u8)).collect();
    encode(key, &stored)
}

/// A customer's suspended events from their row.
pub fn decode_suspended(key: &[u8], bytes: &[u8]) -> Result<SuspendedEvents, StoredError> {
    let stored: Vec<(&str, u8)> = decode(key, bytes)?;
    let reason = |number: u8| {
        let mut all = Suspension::ALL.into_iter();
        all.find(|reason| *reason as u8 == number).ok_or(StoredError::Malformed("suspension"))
    };
    stored.into_iter().map(|(id, number)| Ok((Box::from(id), reason(number)?))).collect()
}

/// The row of a forgotten customer.
pub fn encode_forgotten((identity, by): (u128, u128)) -> (Vec<u8>, Vec<u8>) {
    let key = identity.to_be_bytes().to_vec();
    let value = encode(&key, &by);
    (key, value)
}

/// A forgotten customer from its row.
pub fn decode_forgotten(key: &[u8], bytes: &[u8]) -> Result<(u128, u128), StoredError> {
    let identity = key.try_into().map_err(|_| StoredError::Malformed("forgotten key"))?;
    Ok((u128::from_be_bytes(identity), decode(key, bytes)?))
}

/// Layout version of quarantine rows: the headers follow what version 1 has, and then what stands for the
/// customer.
const DEAD_LETTER_VERSION: u8 = 3;
/// Without what stands for the customer.
const DEAD_LETTER_VERSION_2: u8 = 2;

#[derive(Serialize, Deserialize)]
struct StoredDeadLetter<'a> {
    timestamp: i64,
    reason: &'a str,
    message: &'a str,
    #[serde(borrow)]
    key: Option<&'a [u8]>,
    #[serde(borrow)]
    value: Option<&'a [u8]>,
}

/// Name and value of each header of a refused record.
type StoredHeaders<'a> = Vec<(&'a str, Option<&'a [u8]>)>;

/// Key of the quarantine row of an offset.
pub fn quarantine_key(offset: i64) -> Vec<u8> {
    (offset ^ i64::MIN).to_be_bytes().to_vec()
}

/// The quarantine row of a refused record.
pub fn encode_dead_letter(letter: &DeadLetter) -> (Vec<u8>, Vec<u8>) {
    let key = quarantine_key(letter.offset);
    let stored = StoredDeadLetter {
        timestamp: letter.timestamp.0,
        reason: &letter.reason,
        message: &letter.message,
        key: letter.key.as_deref(),
        value: letter.value.as_deref(),
    };
    let headers = letter.headers.iter();
    let headers: StoredHeaders<'_> =
        headers.map(|header| (header.name.as_str(), header.value.as_deref())).collect();
    // As in `encode`, this cannot fail.
    let payload = postcard::to_stdvec(&(stored, headers, letter.customer)).unwrap_or_default();
    let value = sealed::seal(DEAD_LETTER_VERSION, &key, &payload);
    (key, value)
}

/// A refused record of a partition from its quarantine row.
pub fn decode_dead_letter(
    partition: i32,
    key: &[u8],
    bytes: &[u8],
) -> Result<DeadLetter, StoredError> {
    let (version, payload) = sealed::open(key, bytes)?;
    type Row<'a> = (StoredDeadLetter<'a>, StoredHeaders<'a>, Option<u128>);
    let (stored, headers, customer): Row<'_> = match version {
        VERSION => (whole(payload)?, Vec::new(), None),
        DEAD_LETTER_VERSION_2 => {
            let (stored, headers) = whole(payload)?;
            (stored, headers, None)
        }
        DEAD_LETTER_VERSION => whole(payload)?,
        newer => return Err(StoredError::UnknownVersion(newer)),
    };
    let header = |(name, value): (&str, Option<&[u8]>)| Header {
        name: name.to_owned(),
        value: value.map(<[u8]>::to_vec),
    };
    let offset = key.try_into().map_err(|_| StoredError::Malformed("quarantine key"))?;
    Ok(DeadLetter {
        partition,
        offset: i64::from_be_bytes(offset) ^ i64::MIN,
        timestamp: Timestamp(stored.timestamp),
        reason: stored.reason.to_owned(),
        message: stored.message.to_owned(),
        key: stored.key.map(<[u8]>::to_vec),
        value: stored.value.map(<[u8]>::to_vec),
        headers: headers.into_iter().map(header).collect(),
        customer,
    })
}

/// Where a shard stands in its log, and what it has counted on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Name of the log that the state is computed from; empty before the first commit.
    pub log: String,
    /// The next offset to read.
    pub next_offset: i64,
    /// Raised when figures are computed anew, so that readers prefer the new ones.
    pub log_epoch: u64,
    pub newest_event_at_micros: Option<i64>,
    pub customer_count: u64,
    pub commit_count: u64,
    pub records: u64,
    pub accepted: u64,
    pub repeated: u64,
    /// By reason.
    pub refused: BTreeMap<String, u64>,
    /// Offsets that retention removed before they were read, by the operator's leave.
    pub missing_offsets: u64,
    /// Fingerprints of the last record and of a few older ones, newest first.
    pub anchors: Vec<Anchor>,
}

impl Position {
    /// The next offset to read.
    pub fn next_offset(&self) -> NextOffset {
        NextOffset(self.next_offset)
    }
}

/// A fingerprint of a record of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    pub offset: i64,
    /// Microseconds since 1970.
    pub timestamp: i64,
    /// Hash of key and value.
    pub hash: u64,
}

/// Key of the position in the meta table.
pub const POSITION_KEY: &[u8] = b"position";
/// Key of the rules in the meta table.
pub const RULES_KEY: &[u8] = b"rules";
/// Key of the row of emptied cohorts.
pub const EMPTIED_KEY: &[u8] = b"emptied";

/// The value of the position's row.
pub fn encode_position(position: &Position) -> Vec<u8> {
    encode(POSITION_KEY, position)
}

/// The position from its row.
pub fn decode_position(bytes: &[u8]) -> Result<Position, StoredError> {
    decode(POSITION_KEY, bytes)
}

/// The value of the rules' row: canonical text by app id.
pub fn encode_rules(rules: &BTreeMap<String, String>) -> Vec<u8> {
    encode(RULES_KEY, rules)
}

/// The rules from their row.
pub fn decode_rules(bytes: &[u8]) -> Result<BTreeMap<String, String>, StoredError> {
    decode(RULES_KEY, bytes)
}

/// App, name of the anchor, name of the segment's field with the number of its value, and day.
type StoredEmptied = (u16, String, Option<(String, u32)>, i32);

/// The value of the row of emptied cohorts.
pub fn encode_emptied(emptied: &[EmptiedCohort]) -> Vec<u8> {
    let stored = |cohort: &EmptiedCohort| -> StoredEmptied {
        let segment = cohort.segment.as_ref();
        let segment = segment.map(|(field, value)| (field.to_string(), *value));
        (cohort.app.0, cohort.anchor.name().to_owned(), segment, cohort.day.0)
    };
    encode(EMPTIED_KEY, &emptied.iter().map(stored).collect::<Vec<_>>())
}

/// Emptied cohorts from their row.
pub fn decode_emptied(bytes: &[u8]) -> Result<Vec<EmptiedCohort>, StoredError> {
    let stored: Vec<StoredEmptied> = decode(EMPTIED_KEY, bytes)?;
    let cohort = |(app, anchor, segment, day): StoredEmptied| {
        let anchor = anchor.parse().map_err(|()| StoredError::Malformed("anchor"))?;
        let segment = match segment {
            None => None,
            Some((field, value)) => {
                let field = field.parse().map_err(|_| StoredError::Malformed("field"))?;
                Some((field, value))
            }
        };
        Ok(EmptiedCohort { app: AppIx(app), anchor, segment, day: Day(day) })
    };
    stored.into_iter().map(cohort).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cohort::Anchor;
    use crate::domain::event::EventKind;
    use crate::engine::packed::pack;

    #[test]
    fn emptied_cohorts_come_back_as_they_were() {
        let of_segment = |field: &str| EmptiedCohort {
            app: AppIx(3),
            anchor: Anchor::Install,
            segment: Some((field.parse().unwrap(), 70_000)),
            day: Day(-4),
        };
        let whole =
            EmptiedCohort { anchor: Anchor::FirstPurchase, segment: None, ..of_segment("country") };
        let emptied = vec![whole, of_segment("country"), of_segment("attributes.ab_test")];
        assert_eq!(decode_emptied(&encode_emptied(&emptied)).unwrap(), emptied);
    }

    #[test]
    fn a_chunk_comes_back_as_it_was_and_damage_is_noticed() {
        let event = LedgerEvent {
            is_sandbox: true,
            device_id: Some("d".into()),
            own_tuple: 4,
            ..LedgerEvent::bare(EventKind::Install, "e1", Timestamp(1_700_000_000_000_001))
        };
        let mut packed = Vec::new();
        pack(&event, &mut packed);
        let key = chunk_key(b"customer\0", 7);
        let mut bytes = Vec::new();
        encode_chunk(&key, [&packed[..], &packed[..]].into_iter(), &mut bytes);
        assert_eq!(decode_chunk(&key, &bytes).unwrap(), [event.clone(), event]);
        assert_eq!(chunk_customer(&key), b"customer\0");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode_chunk(&key, &damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_dead_letter_comes_back_as_it_was_and_those_of_older_versions_with_what_they_have() {
        let mut letter = DeadLetter {
            partition: 3,
            offset: 9,
            timestamp: Timestamp(7),
            reason: "conflict".to_owned(),
            message: "m".to_owned(),
            key: None,
            value: Some(vec![0xff, 0]),
            headers: vec![
                Header { name: "trace".to_owned(), value: Some(vec![0xfe]) },
                Header { name: "trace".to_owned(), value: None },
                Header { name: String::new(), value: Some(Vec::new()) },
            ],
            customer: Some(7 << 100),
        };
        let (key, row) = encode_dead_letter(&letter);
        assert_eq!(decode_dead_letter(3, &key, &row).unwrap(), letter);
        letter.customer = None;
        // Three headers, as version 2 wrote them.
        let payload =
            b"\x0e\x08conflict\x01m\0\x01\x02\xff\0\x03\x05trace\x01\x01\xfe\x05trace\0\0\x01\0";
        let row = sealed::seal(2, &key, payload);
        assert_eq!(decode_dead_letter(3, &key, &row).unwrap(), letter);
        // Timestamp, reason, message, no key, value: as version 1 wrote it.
        let payload = b"\x0e\x08conflict\x01m\0\x01\x02\xff\0";
        let row = sealed::seal(1, &key, payload);
        letter.headers.clear();
        assert_eq!(decode_dead_letter(3, &key, &row).unwrap(), letter);
        let row = sealed::seal(4, &key, payload);
        let newer = decode_dead_letter(3, &key, &row);
        assert!(matches!(newer, Err(StoredError::UnknownVersion(4))), "{newer:?}");
    }

    #[test]
    fn a_position_comes_back_as_it_was() {
        let anchor = super::Anchor { offset: 4, timestamp: 5, hash: 6 };
        let position = Position {
            next_offset: 5,
            refused: BTreeMap::from([("conflict".to_owned(), 2)]),
            anchors: vec![anchor],
            ..Position::default()
        };
        assert_eq!(decode_position(&encode_position(&position)).unwrap(), position);
    }
}
