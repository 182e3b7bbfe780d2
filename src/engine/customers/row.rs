//! A customer's row as bytes in a cell.
//!
//! ```text
//! 2 bytes   the cell's own
//! 2         flags
//! 2         app
//! 1         length of the id
//! 4 each    path of the timeline, number of chunks, place among new events (commit, place)
//!           the id
//!           the customer's numbers, then its fingerprints, 2 bytes each;
//!           or the 4 bytes of a number, that of one that is kept whole
//! ```
//!
//! What is looked for, looked ahead at or let go of comes first, so that nothing else is read for it.

use crate::engine::customer::Customer;
use crate::engine::dictionary::AppIx;
use crate::engine::numbers::{NUMBERS_BYTES_MAX, NumberBytes, NumberReader, NumberWriter};
use crate::engine::shard::{ChunkPlace, Chunks};
use crate::engine::timelines::PathId;

/// Where the bytes of an id begin.
const ID_AT: usize = 23;

/// What is at hand without unpacking a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub app: AppIx,
    /// Met since the clock's hand last passed.
    pub is_recent: bool,
    /// The customer is too large for a cell and kept whole, under a number.
    pub is_whole: bool,
    pub id_length: u8,
    pub path: PathId,
    pub chunks: Chunks,
}

const RECENT: u8 = 1;
const WHOLE: u8 = 2;

fn word<const AT: usize>(head: &[u8; ID_AT]) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&head[AT..AT + 4]);
    u32::from_le_bytes(word)
}

impl Head {
    /// The head of a row.
    #[inline]
    pub fn read(row: &[u8]) -> Option<Self> {
        let head = row.first_chunk::<ID_AT>()?;
        let [_, _, flags, _, app, app_high, id_length, ..] = *head;
        let place = ChunkPlace { commit: word::<15>(head), place: word::<19>(head) };
        Some(Self {
            app: AppIx(u16::from_le_bytes([app, app_high])),
            is_recent: flags & RECENT != 0,
            is_whole: flags & WHOLE != 0,
            id_length,
            path: word::<7>(head),
            chunks: Chunks { count: word::<11>(head), place },
        })
    }

    /// Writes the head of a row; the cell's own bytes stay as they are.
    #[inline]
    pub fn write(&self, row: &mut [u8]) {
        let Some(head) = row.first_chunk_mut::<ID_AT>() else { return };
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        head[2] = flag(self.is_recent, RECENT) | flag(self.is_whole, WHOLE);
        head[4..6].copy_from_slice(&self.app.0.to_le_bytes());
        head[6] = self.id_length;
        let Chunks { count, place } = self.chunks;
        let words = [self.path, count, place.commit, place.place];
        for (at, word) in (7..).step_by(4).zip(words) {
            head[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
    }

    /// The bytes of the id.
    #[inline]
    pub fn id<'r>(&self, row: &'r [u8]) -> &'r [u8] {
        row.get(ID_AT..self.body_at()).unwrap_or_default()
    }

    /// The bytes after the id.
    #[inline]
    pub fn body<'r>(&self, row: &'r [u8]) -> &'r [u8] {
        row.get(self.body_at()..).unwrap_or_default()
    }

    #[inline]
    fn body_at(&self) -> usize {
        ID_AT + usize::from(self.id_length)
    }

    /// The number of the customer, if it is kept whole.
    #[inline]
    pub fn whole(&self, row: &[u8]) -> Option<u32> {
        let number = self.body(row).first_chunk().filter(|_| self.is_whole)?;
        Some(u32::from_le_bytes(*number))
    }
}

/// A row while it is made.
#[derive(Default)]
pub struct NewRow(Vec<u8>);

impl NewRow {
    /// Begins anew with a head to be written later, and an id.
    pub fn begin(&mut self, id: &[u8]) {
        self.0.clear();
        self.0.extend_from_slice(&[0; ID_AT]);
        self.0.extend_from_slice(id);
    }

    /// The row so far.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Writes the head.
    pub fn set_head(&mut self, head: &Head) {
        head.write(&mut self.0);
    }

    /// Appends the number of a customer that is kept whole, in place of a body.
    pub fn append_number(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Appends a customer's body: how many fingerprints there are, its numbers and they. Chunks and path
    /// are the head's. `false`, and nothing appended, if the customer is too large.
    pub fn append_body(&mut self, customer: &mut Customer, bytes: &mut NumberBytes) -> bool {
        let path = customer.fold.path();
        let mut numbers = NumberWriter::new(bytes);
        customer.pass(&mut numbers, path);
        let end = numbers.end();
        let short = customer.identifiers.as_short().filter(|_| end <= NUMBERS_BYTES_MAX);
        let Some((short, count)) =
            short.and_then(|short| Some((short, short.len().try_into().ok()?)))
        else {
            return false;
        };
        self.0.push(count);
        self.0.extend_from_slice(bytes.until(end));
        let start = self.0.len();
        self.0.resize(start + 2 * short.len(), 0);
        let (places, _) = self.0[start..].as_chunks_mut();
        for (place, fingerprint) in places.iter_mut().zip(short) {
            *place = fingerprint.to_le_bytes();
        }
        true
    }
}

/// Makes `customer` the one whose body begins these bytes.
pub fn read_body(body: &[u8], head: &Head, customer: &mut Customer, bytes: &mut NumberBytes) {
    let (count, rest) = body.split_first().map_or((0, body), |(count, rest)| (*count, rest));
    bytes.set(rest);
    let mut numbers = NumberReader::new(bytes);
    customer.pass(&mut numbers, head.path);
    let end = numbers.end();
    let (fingerprints, _) = rest.get(end..).unwrap_or_default().as_chunks::<2>();
    let fingerprints = fingerprints.iter().take(usize::from(count));
    customer.identifiers.set_short(fingerprints.map(|bytes| u16::from_le_bytes(*bytes)));
    customer.chunks = head.chunks;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::event::EventKind;
    use crate::domain::money::{Amounts, Currency};
    use crate::domain::rules::{AppRules, RateTable, ZeroPayments};
    use crate::domain::time::Timestamp;
    use crate::engine::dictionary::Dictionary;
    use crate::engine::fold::{Scribe, facts};
    use crate::engine::ledger::{Ledger, LedgerCharge, LedgerEvent};

    const DAY: i64 = 86_400_000_000;

    /// An event of a day, from the middle of 2024 on, and its chain.
    fn event(day: i64, kind: EventKind, chain: &str) -> LedgerEvent<'static> {
        let amounts = Amounts { gross: 9_990_000, proceeds: 8_490_000, net: 6_990_000 };
        let charge = LedgerCharge {
            paid: amounts,
            currency: Currency::USD,
            own_rate: None,
            reporting: amounts,
        };
        let is_payment = kind.is_payment();
        let transaction_id = (is_payment || kind == EventKind::Refund)
            .then(|| format!("transaction {chain} {}", day / 30).into());
        let at = Timestamp(19_900 * DAY + day * DAY + 12_345_678_901);
        LedgerEvent {
            charge: transaction_id.is_some().then_some(charge),
            transaction_id,
            chain: (kind != EventKind::Install && kind != EventKind::Refund)
                .then(|| chain.to_owned().into()),
            period: is_payment.then(|| "P1M".parse().unwrap()),
            device_id: (kind == EventKind::Install).then(|| chain.to_owned().into()),
            ..LedgerEvent::bare(kind, format!("{kind:?} {chain} {day}"), at)
        }
    }

    /// A customer with this ledger, in several zones.
    fn customer(events: Vec<LedgerEvent<'static>>, zones: &[&str]) -> Customer {
        let rules = AppRules {
            id: "acme".to_owned(),
            reporting_currency: Currency::USD,
            reporting_zones: zones.iter().map(|zone| zone.parse().unwrap()).collect(),
            zero_payments: ZeroPayments::Ignore,
            rates: RateTable::default(),
        };
        let (mut dictionary, mut delta) = (Dictionary::default(), Vec::new());
        let (rules, app) = (&Arc::new(rules), AppIx(0));
        let mut scribe = Scribe { app, rules, dictionary: &mut dictionary, delta: &mut delta };
        let mut customer = Customer::stored(3);
        customer.chunks.place = ChunkPlace { commit: 7, place: u32::MAX };
        events.iter().for_each(|event| customer.remember(event));
        let ledger = Ledger::new(events);
        let (fold, standings) = facts(&ledger, &mut scribe);
        customer.reset(fold, &ledger, &standings);
        customer
    }

    fn head(customer: &Customer) -> Head {
        let (path, chunks) = (customer.fold.path(), customer.chunks);
        let (app, is_recent, is_whole, id_length) = (AppIx(u16::MAX), true, false, 11);
        Head { app, is_recent, is_whole, id_length, path, chunks }
    }

    #[test]
    fn a_head_comes_back_as_it_was_and_the_id_lies_behind_it() {
        let of_nobody = head(&Customer::default());
        let of_somebody = Head { is_whole: true, is_recent: false, ..head(&customer(vec![], &[])) };
        for head in [of_nobody, of_somebody] {
            let mut row = [5; ID_AT + 12];
            row[ID_AT..].copy_from_slice(b"customer 12b");
            head.write(&mut row);
            assert_eq!(Head::read(&row), Some(head));
            assert_eq!((head.id(&row), row[head.body_at()]), (&b"customer 12"[..], b'b'));
            assert_eq!(row[..2], [5, 5]);
        }
        assert_eq!(Head::read(&[0; ID_AT - 1]), None);
    }

    #[test]
    fn a_customer_is_unpacked_as_it_was_packed_whoever_was_there_before() {
        use EventKind::{
            GracePeriod, Install, PaywallView, Purchase, Refund, Renewal, TrialStarted,
        };
        let months = |chain| {
            let renewals = (1..12).map(move |month| event(30 * month + 1, Renewal, chain));
            renewals.chain([event(1, Purchase, chain)])
        };
        let refund = |chain| LedgerEvent { event_id: "refund".into(), ..event(61, Refund, chain) };
        let unknown = LedgerEvent { chain: None, ..event(3, GracePeriod, "a") };
        let customers = [
            customer(vec![event(0, Install, "device")], &["UTC"]),
            customer(vec![event(0, TrialStarted, "a"), event(1, PaywallView, "b")], &["UTC"]),
            customer(months("a").chain([event(0, Install, "device")]).collect(), &["UTC"]),
            // Several chains, installs and zones, a refund and somebody who waits.
            customer(
                months("a")
                    .chain(months("b"))
                    .chain([event(0, Install, "one"), event(9, Install, "other"), refund("b")])
                    .chain([event(400, TrialStarted, "c"), unknown])
                    .collect(),
                &["UTC", "Europe/Berlin", "Asia/Tokyo"],
            ),
            Customer::default(),
        ];
        let (mut row, mut bytes) = (NewRow::default(), NumberBytes::default());
        let mut unpacked = Customer::default();
        let mut sizes = Vec::new();
        for packed in customers.iter().chain(customers.iter().rev()) {
            row.begin(b"id");
            assert!(row.append_body(&mut packed.clone(), &mut bytes));
            let mut body = row.bytes()[ID_AT + 2..].to_vec();
            sizes.push(body.len());
            body.extend([7; 8]);
            read_body(&body, &head(packed), &mut unpacked, &mut bytes);
            assert_eq!(&unpacked, packed);
        }
        assert!(sizes[0] < 40 && sizes[2] < 120, "{sizes:?}");
        unpacked = customers[3].clone();
        unpacked.clear();
        assert_eq!(unpacked, Customer::default());
    }

    #[test]
    fn a_customer_that_is_too_large_does_not_fit() {
        let (mut row, mut bytes) = (NewRow::default(), NumberBytes::default());
        let many =
            |count| (0..count).map(|day| event(day, EventKind::Purchase, &format!("chain {day}")));
        let mut sizes = Vec::new();
        for chains in [0, 10, 30, 50] {
            row.begin(b"id");
            let start = row.bytes().len();
            let fits = row.append_body(&mut customer(many(chains).collect(), &["UTC"]), &mut bytes);
            sizes.push(if fits { row.bytes().len() - start } else { 0 });
        }
        assert!(sizes[1] > 250 && sizes[2] > 800 && sizes[3] == 0, "{sizes:?}");
        // So is one with very many identifiers.
        let mut large = customer(Vec::new(), &["UTC"]);
        (0..200).for_each(|number: u8| large.remember_id(&number.to_string()));
        row.begin(b"id");
        assert!(!row.append_body(&mut large, &mut bytes));
        assert_eq!(row.bytes().len(), ID_AT + 2);
    }
}
