//! Ledger events as bytes, for memory and for the store.
//!
//! An event is packed once, when it is accepted: its bytes wait in a [`PendingLog`] for the next
//! commit and go from there into a chunk of history as they are. The layout is postcard: varints,
//! in the order of the fields below. It is part of the stored format, version 1.
//!
//! Not here: what a chunk is and how it is sealed (`codec::stored`).

use std::borrow::Cow;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::domain::event::EventKind;
use crate::domain::money::{Amounts, Rate};
use crate::domain::period::{Period, PeriodUnit};
use crate::domain::time::Timestamp;
use crate::engine::blocks::{Blocks, RunAt};
use crate::engine::ledger::{LedgerCharge, LedgerEvent};
use crate::engine::numbers::varint_word;
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
    pack_by(&mut Scratch::default(), event, into);
}

fn pack_by(scratch: &mut Scratch, event: &LedgerEvent<'_>, into: &mut Vec<u8>) {
    scratch.at = 0;
    scratch.signed(event.at.0);
    scratch.text(&event.event_id);
    scratch.byte(event.kind as u8);
    scratch.byte(u8::from(event.is_sandbox));
    scratch.optional(event.charge.as_ref(), |scratch, charge| {
        numbers(charge.paid).into_iter().for_each(|number| scratch.signed(number));
        scratch.text(charge.currency.as_str());
        scratch.optional(charge.own_rate.map(Rate::parts), |scratch, (mantissa, scale)| {
            scratch.number(mantissa);
            scratch.byte(scale);
        });
        numbers(charge.reporting).into_iter().for_each(|number| scratch.signed(number));
    });
    scratch.optional(event.transaction_id.as_deref(), Scratch::text);
    scratch.optional(event.chain.as_deref(), Scratch::text);
    scratch.optional(event.period, |scratch, period| {
        scratch.number(u64::from(period.count));
        scratch.byte(period.unit as u8);
    });
    scratch.optional(event.expires_at, |scratch, at| scratch.signed(at.0));
    scratch.optional(event.refers_to.as_deref(), Scratch::text);
    scratch.optional(event.device_id.as_deref(), Scratch::text);
    scratch.number(u64::from(event.cancellation_reason));
    scratch.number(u64::from(event.own_tuple));
    match scratch.bytes[..SCRATCH_BYTES].get(..scratch.at) {
        Some(bytes) => into.extend_from_slice(bytes),
        None => pack_long(event, into),
    }
}

/// Room for an event whose texts are as long as those of any event may be (200 bytes).
const SCRATCH_BYTES: usize = 1536;
const WORD_BYTES: usize = 8;

/// An event's bytes while they are made, in a place of fixed size, so that no step asks for room: an event
/// that takes more is told by its end, and was not written.
#[derive(Debug)]
struct Scratch {
    bytes: [u8; SCRATCH_BYTES + WORD_BYTES],
    at: usize,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { bytes: [0; _], at: 0 }
    }
}

impl Scratch {
    #[inline(always)]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.at % SCRATCH_BYTES] = byte;
        self.at += 1;
    }

    /// Seven bits a byte, the lowest first; all but the last with the highest bit set.
    #[inline(always)]
    fn number(&mut self, number: u64) {
        if number >> 56 != 0 {
            return self.long_number(number);
        }
        let (word, length) = varint_word(number);
        // All eight bytes at once; what comes next is written over those that do not count.
        let at = self.at % SCRATCH_BYTES;
        self.bytes[at..at + WORD_BYTES].copy_from_slice(&word.to_le_bytes());
        self.at += length;
    }

    #[inline(never)]
    fn long_number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// A number near zero of either sign (zigzag).
    #[inline(always)]
    fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63).cast_unsigned());
    }

    #[inline(always)]
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        if let Some(place) = self.bytes.get_mut(self.at..self.at + text.len()) {
            place.copy_from_slice(text.as_bytes());
        }
        self.at += text.len();
    }

    #[inline(always)]
    fn optional<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }
}

/// Appends the bytes of any event; [`pack`] writes the same.
fn pack_long(event: &LedgerEvent<'_>, into: &mut Vec<u8>) {
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
    if let Ok(bytes) = postcard::to_stdvec(&packed) {
        into.extend_from_slice(&bytes);
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
    /// Where the next event is packed.
    scratch: Box<Scratch>,
}

/// Bytes before an entry's event: place of the entry before, and length of the event.
const HEAD_BYTES: usize = 12;

impl PendingLog {
    /// Appends an event of a customer whose newest waiting event is at `before`.
    pub fn push(&mut self, event: &LedgerEvent<'_>, before: PendingAt) -> PendingAt {
        let before = before.0.map_or(0, NonZeroU64::get);
        let scratch = &mut *self.scratch;
        PendingAt::of(self.entries.append(|bytes| {
            let at = bytes.len();
            bytes.extend_from_slice(&before.to_le_bytes());
            bytes.extend_from_slice(&[0; 4]);
            pack_by(scratch, event, bytes);
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
    use rand::{Rng as _, RngCore as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

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
    fn an_event_is_packed_as_postcard_does_it() {
        let seed = rand::random();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for round in 0..20_000 {
            let random = &mut random;
            let number = |random: &mut ChaCha8Rng| {
                let shift = random.random_range(0..64);
                random.next_u64().cast_signed() >> shift
            };
            let text = |random: &mut ChaCha8Rng| {
                // Some are longer than those of any event.
                let most = [0, 1, 40, 127, 128, 200, 2_000][random.random_range(0..7)];
                let length = random.random_range(0..=most);
                (0..length).map(|_| ['a', 'ß', '7'][random.random_range(0..3)]).collect::<String>()
            };
            let texts: Vec<Option<String>> =
                (0..5).map(|_| random.random_bool(0.5).then(|| text(random))).collect();
            let borrowed = |at: usize| texts[at].as_deref().map(Cow::Borrowed);
            let amounts = |random: &mut ChaCha8Rng| Amounts {
                gross: number(random),
                proceeds: number(random),
                net: number(random),
            };
            let charge = LedgerCharge {
                paid: amounts(random),
                currency: "JPY".parse().unwrap(),
                own_rate: random.random_bool(0.5).then(|| "123.456".parse().unwrap()),
                reporting: amounts(random),
            };
            let unit = [PeriodUnit::Day, PeriodUnit::Year][random.random_range(0..2)];
            let event = LedgerEvent {
                at: Timestamp(number(random)),
                event_id: borrowed(0).unwrap_or_default(),
                kind: EventKind::ALL[random.random_range(0..EventKind::ALL.len())],
                is_sandbox: random.random_bool(0.5),
                charge: random.random_bool(0.5).then_some(charge),
                transaction_id: borrowed(1),
                chain: borrowed(2),
                period: random.random_bool(0.5).then(|| Period { count: random.random(), unit }),
                expires_at: random.random_bool(0.5).then(|| Timestamp(number(random))),
                refers_to: borrowed(3),
                device_id: borrowed(4),
                cancellation_reason: random.next_u32() >> random.random_range(0..32),
                own_tuple: random.next_u32() >> random.random_range(0..32),
            };
            let (mut packed, mut expected) = (vec![7], vec![7]);
            pack(&event, &mut packed);
            pack_long(&event, &mut expected);
            assert_eq!(packed, expected, "seed {seed} round {round}");
            assert_eq!(unpack(&packed[1..]), Ok((event, &[][..])), "seed {seed} round {round}");
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
