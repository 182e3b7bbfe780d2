//! Ledger events as bytes, for memory and for the store.
//!
//! An event is packed once, when it is accepted: its bytes wait in a [`PendingLog`] for the next
//! commit and go from there into a chunk of history as they are. The layout is postcard: varints,
//! in the order of the fields below. It is part of the stored format, version 1.
//!
//! Not here: what a chunk is and how it is sealed (`codec::stored`).

use std::borrow::Cow;
use std::num::NonZeroU64;

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::domain::event::EventKind;
use crate::domain::money::{Amounts, Rate};
use crate::domain::period::{Period, PeriodUnit};
use crate::domain::time::Timestamp;
use crate::engine::blocks::{Blocks, RunAt};
use crate::engine::ledger::{LedgerCharge, LedgerEvent};
use crate::engine::row_index::LOOK_AHEAD;

/// Bytes that are no packed event, with what is wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotPacked(pub &'static str);

#[derive(Serialize, Deserialize)]
struct PackedCharge<'a> {
    paid: [i64; 3],
    currency: &'a str,
    own_rate: Option<(u64, u8)>,
    reporting: [i64; 3],
}

#[derive(Serialize, Deserialize)]
struct PackedEvent<'a> {
    at: i64,
    event_id: &'a str,
    kind: u8,
    is_sandbox: bool,
    #[serde(borrow)]
    charge: Option<PackedCharge<'a>>,
    transaction_id: Option<&'a str>,
    chain: Option<&'a str>,
    period: Option<(u16, u8)>,
    expires_at: Option<i64>,
    refers_to: Option<&'a str>,
    device_id: Option<&'a str>,
    cancellation_reason: u32,
    own_tuple: u32,
}

/// Appends the event's bytes.
pub fn pack(event: &LedgerEvent<'_>, into: &mut Vec<u8>) {
    let packed = PackedEvent {
        at: event.at.0,
        event_id: &event.event_id,
        kind: event.kind as u8,
        is_sandbox: event.is_sandbox,
        charge: event.charge.as_ref().map(|charge| PackedCharge {
            paid: numbers(charge.paid),
            currency: charge.currency.as_str(),
            own_rate: charge.own_rate.map(Rate::parts),
            reporting: numbers(charge.reporting),
        }),
        transaction_id: event.transaction_id.as_deref(),
        chain: event.chain.as_deref(),
        period: event.period.map(|period| (period.count, period.unit as u8)),
        expires_at: event.expires_at.map(|at| at.0),
        refers_to: event.refers_to.as_deref(),
        device_id: event.device_id.as_deref(),
        cancellation_reason: event.cancellation_reason,
        own_tuple: event.own_tuple,
    };
    // Writing plain structs into memory cannot fail; what was cut short would not unpack.
    let _ = postcard::serialize_with_flavor(&packed, Tail(into));
}

/// Lets bytes follow those that are there.
struct Tail<'v>(&'v mut Vec<u8>);

impl Flavor for Tail<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// The first event of the bytes, and the bytes after it.
pub fn unpack(bytes: &[u8]) -> Result<(LedgerEvent<'_>, &[u8]), NotPacked> {
    let (packed, rest) = postcard::take_from_bytes::<PackedEvent<'_>>(bytes)
        .map_err(|_| NotPacked("not the expected structure"))?;
    let kind = EventKind::ALL.get(usize::from(packed.kind)).copied();
    let event = LedgerEvent {
        at: Timestamp(packed.at),
        event_id: Cow::Borrowed(packed.event_id),
        kind: kind.ok_or(NotPacked("unknown event kind"))?,
        is_sandbox: packed.is_sandbox,
        charge: packed.charge.map(charge).transpose()?,
        transaction_id: packed.transaction_id.map(Cow::Borrowed),
        chain: packed.chain.map(Cow::Borrowed),
        period: packed.period.map(period).transpose()?,
        expires_at: packed.expires_at.map(Timestamp),
        refers_to: packed.refers_to.map(Cow::Borrowed),
        device_id: packed.device_id.map(Cow::Borrowed),
        cancellation_reason: packed.cancellation_reason,
        own_tuple: packed.own_tuple,
    };
    Ok((event, rest))
}

/// Gross, proceeds and net.
pub fn numbers(amounts: Amounts) -> [i64; 3] {
    [amounts.gross, amounts.proceeds, amounts.net]
}

/// The period of a count and the number of a unit.
pub fn period((count, unit): (u16, u8)) -> Result<Period, NotPacked> {
    let units = [PeriodUnit::Day, PeriodUnit::Week, PeriodUnit::Month, PeriodUnit::Year];
    let unit = units.get(usize::from(unit)).copied().ok_or(NotPacked("unknown period unit"))?;
    Ok(Period { count, unit })
}

fn charge(packed: PackedCharge<'_>) -> Result<LedgerCharge, NotPacked> {
    let amounts = |[gross, proceeds, net]: [i64; 3]| Amounts { gross, proceeds, net };
    let rate =
        |(mantissa, scale)| Rate::from_parts(mantissa, scale).ok_or(NotPacked("impossible rate"));
    Ok(LedgerCharge {
        paid: amounts(packed.paid),
        currency: packed.currency.parse().map_err(|_| NotPacked("currency"))?,
        own_rate: packed.own_rate.map(rate).transpose()?,
        reporting: amounts(packed.reporting),
    })
}

/// Where the newest waiting event of a customer lies in a [`PendingLog`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PendingAt(Option<NonZeroU64>);

impl PendingAt {
    /// Whether no event waits.
    pub fn is_none(self) -> bool {
        self.0.is_none()
    }

    fn of(RunAt(at): RunAt) -> Self {
        Self(NonZeroU64::new(at + 1))
    }

    fn run(self) -> Option<RunAt> {
        self.0.map(|at| RunAt(at.get() - 1))
    }
}

/// Where bytes lie that were noted in a [`PendingLog`].
#[derive(Debug, Clone, Copy)]
pub struct NoteAt {
    at: RunAt,
    bytes: u32,
}

/// Events accepted since the last commit, packed, in order of arrival over all customers.
///
/// Each entry knows the one before of its customer, so that a customer's events are found from the
/// newest backwards without an allocation for each.
#[derive(Debug, Default)]
pub struct PendingLog {
    entries: Blocks,
}

/// Bytes before an entry's event: place of the entry before, and length of the event.
const HEAD_BYTES: usize = 12;

impl PendingLog {
    /// Appends an event of a customer whose newest waiting event is at `before`.
    pub fn push(&mut self, event: &LedgerEvent<'_>, before: PendingAt) -> PendingAt {
        let before = before.0.map_or(0, NonZeroU64::get);
        PendingAt::of(self.entries.append(|bytes| {
            let at = bytes.len();
            bytes.extend_from_slice(&before.to_le_bytes());
            bytes.extend_from_slice(&[0; 4]);
            pack(event, bytes);
            let length = u32::try_from(bytes.len() - at - HEAD_BYTES).unwrap_or(u32::MAX);
            if let Some(place) = bytes.get_mut(at + 8..at + HEAD_BYTES) {
                place.copy_from_slice(&length.to_le_bytes());
            }
        }))
    }

    /// Notes what `write` appends beside the events.
    pub fn note(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> NoteAt {
        let mut bytes = 0;
        let at = self.entries.append(|into| {
            let before = into.len();
            write(into);
            bytes = u32::try_from(into.len() - before).unwrap_or(u32::MAX);
        });
        NoteAt { at, bytes }
    }

    /// What was noted.
    pub fn noted(&self, NoteAt { at, bytes }: NoteAt) -> &[u8] {
        self.entries.from(at).get(..bytes as usize).unwrap_or_default()
    }

    /// The packed events of a customer, newest first.
    pub fn newest_first(&self, newest: PendingAt) -> impl Iterator<Item = &[u8]> {
        let mut next = newest;
        std::iter::from_fn(move || {
            let (before, bytes, rest) = self.entry(next)?;
            next = before;
            rest.get(..bytes as usize)
        })
    }

    /// Reads where the events of these customers lie, to have them at hand: an event of each in a step, none of
    /// which waits for that of another.
    pub fn look_ahead(&self, newest: impl Iterator<Item = PendingAt>) {
        let mut next: SmallVec<[PendingAt; LOOK_AHEAD]> = newest.collect();
        while !next.is_empty() {
            let before =
                |at: PendingAt| self.entry(at).map_or_else(PendingAt::default, |entry| entry.0);
            next.iter_mut().for_each(|at| *at = before(*at));
            next.retain(|at| !at.is_none());
        }
    }

    /// The place of the entry before, the length of this one's event, and the bytes from there on.
    fn entry(&self, at: PendingAt) -> Option<(PendingAt, u32, &[u8])> {
        let (head, rest) = self.entries.from(at.run()?).split_first_chunk::<HEAD_BYTES>()?;
        let [before @ .., a, b, c, d] = *head;
        let before = PendingAt(NonZeroU64::new(u64::from_le_bytes(before)));
        Some((before, u32::from_le_bytes([a, b, c, d]), rest))
    }

    /// The events of a customer, in order of arrival.
    pub fn events(&self, newest: PendingAt) -> Vec<LedgerEvent<'_>> {
        // What was packed here unpacks.
        let mut events: Vec<_> =
            self.newest_first(newest).filter_map(|bytes| unpack(bytes).ok()).collect();
        events.reverse();
        events.into_iter().map(|(event, _)| event).collect()
    }

    /// Bytes of all entries.
    pub fn byte_count(&self) -> usize {
        self.entries.byte_count()
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.entries.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> LedgerEvent<'_> {
        LedgerEvent {
            at: Timestamp(1_700_000_000_000_001),
            event_id: id.into(),
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
    fn an_event_comes_back_as_it_was_and_a_cut_one_does_not() {
        let mut bytes = Vec::new();
        pack(&event("e1"), &mut bytes);
        let length = bytes.len();
        pack(&event("e2"), &mut bytes);
        let (first, rest) = unpack(&bytes).unwrap();
        assert_eq!((first, rest.len()), (event("e1"), bytes.len() - length));
        assert_eq!(unpack(rest).unwrap(), (event("e2"), &[][..]));
        for cut in 0..length {
            assert!(unpack(&bytes[..cut]).is_err(), "{cut} bytes");
        }
    }

    #[test]
    fn the_events_of_a_customer_are_found_among_those_of_others() {
        let mut log = PendingLog::default();
        let a = log.push(&event("a1"), PendingAt::default());
        let b = log.push(&event("b1"), PendingAt::default());
        let a = log.push(&event("a2"), a);
        assert_eq!(log.events(a), [event("a1"), event("a2")]);
        assert_eq!(log.events(b), [event("b1")]);
        assert!(log.events(PendingAt::default()).is_empty());
        let notes = ["one", "", "three"];
        let noted = notes.map(|note| log.note(|into| into.extend_from_slice(note.as_bytes())));
        assert_eq!(noted.map(|at| log.noted(at)), notes.map(str::as_bytes));
    }
}
