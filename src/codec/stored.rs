//! Stored state, version 1: ledgers, facts and a shard's position as bytes; the dictionary is in
//! [`crate::codec::stored_entry`].
//!
//! Every value is sealed with its layout version and a checksum ([`crate::codec::sealed`]). Values
//! are postcard (varints, in field order); keys are big-endian, so that rows sort by meaning. A
//! change of any of these structs is a new layout version, and this one keeps decoding.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec::sealed;
use crate::domain::event::EventKind;
use crate::domain::money::{Amounts, Rate};
use crate::domain::period::{Period, PeriodUnit};
use crate::domain::time::{Day, Timestamp};
use crate::engine::dictionary::AppIx;
use crate::engine::facts::{Fact, FactKey, FactKind, Sums};
use crate::engine::ledger::{LedgerCharge, LedgerEvent};
use crate::engine::shard::SuspendedEvents;
use crate::engine::standing::Suspension;
use crate::stream::{DeadLetter, NextOffset};

/// Layout version of every value written now.
const VERSION: u8 = 1;

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

pub(super) fn decode<'a, T: Deserialize<'a>>(
    key: &[u8],
    bytes: &'a [u8],
) -> Result<T, StoredError> {
    let (version, payload) = sealed::open(key, bytes)?;
    if version != VERSION {
        return Err(StoredError::UnknownVersion(version));
    }
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(StoredError::Malformed("trailing bytes")),
        Err(_) => Err(StoredError::Malformed("not the expected structure")),
    }
}

#[derive(Serialize, Deserialize)]
struct StoredCharge<'a> {
    paid: [i64; 3],
    currency: &'a str,
    own_rate: Option<(u64, u8)>,
    reporting: [i64; 3],
}

#[derive(Serialize, Deserialize)]
struct StoredEvent<'a> {
    at: i64,
    event_id: &'a str,
    kind: u8,
    is_sandbox: bool,
    #[serde(borrow)]
    charge: Option<StoredCharge<'a>>,
    transaction_id: Option<&'a str>,
    chain: Option<&'a str>,
    period: Option<(u16, u8)>,
    expires_at: Option<i64>,
    refers_to: Option<&'a str>,
    device_id: Option<&'a str>,
    cancellation_reason: u32,
    own_tuple: u32,
}

/// Key of a chunk of a customer's history.
pub fn chunk_key(customer: &[u8], chunk: u32) -> Vec<u8> {
    [customer, &chunk.to_be_bytes()].concat()
}

/// The customer's part of a chunk's key.
pub fn chunk_customer(key: &[u8]) -> &[u8] {
    &key[..key.len().saturating_sub(4)]
}

/// A chunk of history as its row's value.
pub fn encode_chunk(key: &[u8], events: &[LedgerEvent]) -> Vec<u8> {
    let stored: Vec<StoredEvent<'_>> = events.iter().map(stored_event).collect();
    encode(key, &stored)
}

pub(super) fn amounts(amounts: Amounts) -> [i64; 3] {
    [amounts.gross, amounts.proceeds, amounts.net]
}

fn stored_event(event: &LedgerEvent) -> StoredEvent<'_> {
    StoredEvent {
        at: event.at.0,
        event_id: &event.event_id,
        kind: event.kind as u8,
        is_sandbox: event.is_sandbox,
        charge: event.charge.as_ref().map(|charge| StoredCharge {
            paid: amounts(charge.paid),
            currency: charge.currency.as_str(),
            own_rate: charge.own_rate.map(Rate::parts),
            reporting: amounts(charge.reporting),
        }),
        transaction_id: event.transaction_id.as_deref(),
        chain: event.chain.as_deref(),
        period: event.period.map(|period| (period.count, period.unit as u8)),
        expires_at: event.expires_at.map(|at| at.0),
        refers_to: event.refers_to.as_deref(),
        device_id: event.device_id.as_deref(),
        cancellation_reason: event.cancellation_reason,
        own_tuple: event.own_tuple,
    }
}

/// The events of a chunk.
pub fn decode_chunk(key: &[u8], bytes: &[u8]) -> Result<Vec<LedgerEvent>, StoredError> {
    let stored: Vec<StoredEvent<'_>> = decode(key, bytes)?;
    stored.into_iter().map(ledger_event).collect()
}

fn ledger_event(stored: StoredEvent<'_>) -> Result<LedgerEvent, StoredError> {
    let kind = EventKind::ALL.get(usize::from(stored.kind)).copied();
    let period = match stored.period {
        None => None,
        Some((count, unit)) => Some(Period { count, unit: period_unit(unit)? }),
    };
    Ok(LedgerEvent {
        at: Timestamp(stored.at),
        event_id: Box::from(stored.event_id),
        kind: kind.ok_or(StoredError::Malformed("unknown event kind"))?,
        is_sandbox: stored.is_sandbox,
        charge: stored.charge.map(ledger_charge).transpose()?,
        transaction_id: stored.transaction_id.map(Box::from),
        chain: stored.chain.map(Box::from),
        period,
        expires_at: stored.expires_at.map(Timestamp),
        refers_to: stored.refers_to.map(Box::from),
        device_id: stored.device_id.map(Box::from),
        cancellation_reason: stored.cancellation_reason,
        own_tuple: stored.own_tuple,
    })
}

pub(super) fn period_unit(number: u8) -> Result<PeriodUnit, StoredError> {
    let units = [PeriodUnit::Day, PeriodUnit::Week, PeriodUnit::Month, PeriodUnit::Year];
    units.get(usize::from(number)).copied().ok_or(StoredError::Malformed("unknown period unit"))
}

fn ledger_charge(stored: StoredCharge<'_>) -> Result<LedgerCharge, StoredError> {
    let of = |[gross, proceeds, net]: [i64; 3]| Amounts { gross, proceeds, net };
    let own_rate = match stored.own_rate {
        None => None,
        Some((mantissa, scale)) => Some(
            Rate::from_parts(mantissa, scale).ok_or(StoredError::Malformed("impossible rate"))?,
        ),
    };
    let currency = stored.currency.parse().map_err(|_| StoredError::Malformed("currency"))?;
    Ok(LedgerCharge { paid: of(stored.paid), currency, own_rate, reporting: of(stored.reporting) })
}

/// Bytes of a fact's key.
const FACT_KEY_BYTES: usize = 30;

/// The key of a fact's row.
pub fn fact_key(key: &FactKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FACT_KEY_BYTES);
    bytes.extend_from_slice(&key.app.0.to_be_bytes());
    bytes.extend_from_slice(&[key.zone, key.kind as u8]);
    for day in [key.day, key.install_day, key.first_day, key.other_day] {
        // With the sign bit flipped, bytes sort as numbers do.
        bytes.extend_from_slice(&(day.0 ^ i32::MIN).to_be_bytes());
    }
    bytes.extend_from_slice(&key.index.to_be_bytes());
    bytes.extend_from_slice(&key.dims.to_be_bytes());
    let slips = [key.slip_install, key.slip_first, key.other_slip_install, key.other_slip_first];
    bytes.extend(slips.map(|slip| slip.to_be_bytes()[0]));
    bytes
}

/// The value of a fact's row.
pub fn encode_sums(key: &[u8], sums: &Sums) -> Vec<u8> {
    encode(key, &(sums.count, sums.gross, sums.proceeds, sums.net))
}

/// A fact from its row.
pub fn decode_fact(key: &[u8], bytes: &[u8]) -> Result<Fact, StoredError> {
    let (count, gross, proceeds, net) = decode(key, bytes)?;
    let sums = Sums { count, gross, proceeds, net };
    let parsed = parse_fact_key(key).ok_or(StoredError::Malformed("fact key"))?;
    Ok(Fact { key: parsed, sums })
}

fn parse_fact_key(key: &[u8]) -> Option<FactKey> {
    let key: &[u8; FACT_KEY_BYTES] = key.try_into().ok()?;
    let day = |at: usize| -> Option<Day> {
        let bytes: [u8; 4] = key.get(at..at + 4)?.try_into().ok()?;
        Some(Day(i32::from_be_bytes(bytes) ^ i32::MIN))
    };
    let slip = |at: usize| i8::from_be_bytes([key[at]]);
    Some(FactKey {
        app: AppIx(u16::from_be_bytes([key[0], key[1]])),
        zone: key[2],
        kind: FactKind::from_stored(key[3])?,
        day: day(4)?,
        install_day: day(8)?,
        first_day: day(12)?,
        other_day: day(16)?,
        index: u16::from_be_bytes([key[20], key[21]]),
        dims: u32::from_be_bytes([key[22], key[23], key[24], key[25]]),
        slip_install: slip(26),
        slip_first: slip(27),
        other_slip_install: slip(28),
        other_slip_first: slip(29),
    })
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
    let value = encode(&key, &stored);
    (key, value)
}

/// A refused record of a partition from its quarantine row.
pub fn decode_dead_letter(
    partition: i32,
    key: &[u8],
    bytes: &[u8],
) -> Result<DeadLetter, StoredError> {
    let stored: StoredDeadLetter<'_> = decode(key, bytes)?;
    let offset = key.try_into().map_err(|_| StoredError::Malformed("quarantine key"))?;
    Ok(DeadLetter {
        partition,
        offset: i64::from_be_bytes(offset) ^ i64::MIN,
        timestamp: Timestamp(stored.timestamp),
        reason: stored.reason.to_owned(),
        message: stored.message.to_owned(),
        key: stored.key.map(<[u8]>::to_vec),
        value: stored.value.map(<[u8]>::to_vec),
    })
}

/// Where a shard stands in its log, and what it has counted on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Name of the log that the state is computed from; empty before the first commit.
    pub log: String,
    /// The next offset to read.
    pub next_offset: i64,
    /// Raised by a rebuild, so that readers prefer the new figures.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::dictionary::AppIx;

    fn event() -> LedgerEvent {
        LedgerEvent {
            at: Timestamp(1_700_000_000_000_001),
            event_id: "e1".into(),
            kind: EventKind::Renewal,
            is_sandbox: false,
            charge: Some(LedgerCharge {
                paid: Amounts { gross: 10, proceeds: 7, net: 6 },
                currency: "EUR".parse().unwrap(),
                own_rate: "1.25".parse().ok(),
                reporting: Amounts { gross: 12, proceeds: 9, net: 8 },
            }),
            transaction_id: Some("t1".into()),
            chain: None,
            period: "P1M".parse().ok(),
            expires_at: Some(Timestamp(5)),
            refers_to: None,
            device_id: Some("d".into()),
            cancellation_reason: 3,
            own_tuple: 4,
        }
    }

    #[test]
    fn a_chunk_comes_back_as_it_was_and_damage_is_noticed() {
        let key = chunk_key(b"customer\0", 7);
        let bytes = encode_chunk(&key, &[event(), event()]);
        assert_eq!(decode_chunk(&key, &bytes).unwrap(), [event(), event()]);
        assert_eq!(chunk_customer(&key), b"customer\0");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode_chunk(&key, &damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_fact_comes_back_as_it_was_and_keys_sort_by_day() {
        let key = FactKey {
            other_day: Day::MIN,
            install_day: Day(-3),
            index: 2,
            slip_first: -1,
            other_slip_install: 2,
            ..FactKey::new(AppIx(1), 1, FactKind::Refund, Day(19_000), 9)
        };
        let sums = Sums { count: -2, gross: i128::from(i64::MAX) * 5, proceeds: -1, net: 0 };
        let bytes = fact_key(&key);
        assert_eq!(decode_fact(&bytes, &encode_sums(&bytes, &sums)).unwrap(), Fact { key, sums });
        let earlier = fact_key(&FactKey { day: Day(-1), ..key });
        assert!(earlier < bytes);
    }

    #[test]
    fn a_position_comes_back_as_it_was() {
        let anchor = Anchor { offset: 4, timestamp: 5, hash: 6 };
        let position = Position {
            next_offset: 5,
            refused: BTreeMap::from([("conflict".to_owned(), 2)]),
            anchors: vec![anchor],
            ..Position::default()
        };
        assert_eq!(decode_position(&encode_position(&position)).unwrap(), position);
    }
}
