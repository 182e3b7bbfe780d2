//! Stored facts, version 1: a page of a shard's table of facts, and updates of its rows.
//!
//! Facts are stored as they lie in memory ([`crate::engine::facts::FactTable`]): pages of
//! neighbouring rows, so that a commit writes few rows of the store whatever it has changed, and a
//! start reads them in one pass. The row of a page, and of each update that followed it, is
//!
//! ```text
//! key    page (u32, big endian), update (u32, big endian; 0 is the whole page)
//! value  sealed: app, zone and kind of all its facts, number of rows, then for each
//!        places passed over since the row before
//!        0, or what is present
//!        day (from the row before), the other days (from the day), index, dims, slips, count,
//!        money
//! ```
//!
//! with all numbers as zigzag varints; sums beyond 64 bits take 16 bytes each.

use crate::codec::avro_wire::{Cursor, put_long};
use crate::codec::error::DecodeError;
use crate::codec::sealed;
use crate::codec::stored::{StoredError, VERSION, open};
use crate::domain::time::Day;
use crate::engine::dictionary::AppIx;
use crate::engine::facts::{
    Fact, FactKey, FactKind, FactPage, Group, PAGE_ROWS, RestoredFacts, Sums,
};

/// What is present, as bits.
const IS_FACT: i64 = 1;
const HAS_INSTALL: i64 = 1 << 1;
const HAS_FIRST: i64 = 1 << 2;
const HAS_OTHER: i64 = 1 << 3;
const HAS_SLIPS: i64 = 1 << 4;
const HAS_MONEY: i64 = 1 << 5;
const IS_WIDE: i64 = 1 << 6;

/// Key of a page's row, or of that of its update of this number.
pub fn page_key(page: u32, update: u32) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&page.to_be_bytes());
    key[4..].copy_from_slice(&update.to_be_bytes());
    key
}

/// Appends the value of the row of a page or update.
pub fn encode_page(key: &[u8], page: &FactPage, into: &mut Vec<u8>) {
    sealed::seal_into(VERSION, key, into, |payload| {
        let Group { app, zone, kind } = page.group();
        put_long(payload, i64::from(app.0));
        put_long(payload, i64::from(zone));
        put_long(payload, i64::from(kind as u8));
        put_long(payload, i64::try_from(page.len()).unwrap_or(0));
        let (mut next, mut day) = (0, Day(0));
        for (place, fact) in page.rows() {
            put_long(payload, i64::from(place) - next);
            next = i64::from(place) + 1;
            match fact {
                None => put_long(payload, 0),
                Some(fact) => {
                    put_fact(payload, &fact, day);
                    day = fact.key.day;
                }
            }
        }
    });
}

fn put_fact(out: &mut Vec<u8>, Fact { key, sums }: &Fact, day_before: Day) {
    let slips = [key.slip_install, key.slip_first, key.other_slip_install, key.other_slip_first];
    let days =
        [(HAS_INSTALL, key.install_day), (HAS_FIRST, key.first_day), (HAS_OTHER, key.other_day)];
    let small = [sums.gross, sums.proceeds, sums.net].map(i64::try_from);
    let mut head = IS_FACT;
    for (bit, day) in days {
        head |= if day == Day::MIN { 0 } else { bit };
    }
    head |= if slips == [0; 4] { 0 } else { HAS_SLIPS };
    head |= match small {
        [Ok(0), Ok(0), Ok(0)] => 0,
        [Ok(_), Ok(_), Ok(_)] => HAS_MONEY,
        _ => HAS_MONEY | IS_WIDE,
    };
    put_long(out, head);
    put_long(out, i64::from(key.day.0) - i64::from(day_before.0));
    for (_, day) in days.into_iter().filter(|(_, day)| *day != Day::MIN) {
        put_long(out, i64::from(day.0) - i64::from(key.day.0));
    }
    put_long(out, i64::from(key.index));
    put_long(out, i64::from(key.dims));
    if slips != [0; 4] {
        out.extend_from_slice(&slips.map(i8::cast_unsigned));
    }
    put_long(out, sums.count);
    match small {
        [Ok(0), Ok(0), Ok(0)] => (),
        [Ok(gross), Ok(proceeds), Ok(net)] => {
            put_long(out, gross);
            // Deductions are smaller than what is left.
            put_long(out, gross.wrapping_sub(proceeds));
            put_long(out, proceeds.wrapping_sub(net));
        }
        _ => {
            for micros in [sums.gross, sums.proceeds, sums.net] {
                out.extend_from_slice(&micros.to_le_bytes());
            }
        }
    }
}

/// What is in a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PageOf {
    Facts(Group),
    /// Facts of an app and a zone that are counted no more.
    Uncounted(AppIx, u8),
}

/// Puts the stored pages of a table together, row by row in the order of their keys.
#[derive(Default)]
pub struct PageReader {
    table: RestoredFacts,
    pages: u32,
    /// Of the page that is being read.
    group: Option<PageOf>,
    facts: Vec<Option<Fact>>,
    updates: u32,
    updated_rows: usize,
}

impl PageReader {
    /// Takes in the next row.
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoredError> {
        let malformed = StoredError::Malformed("key of a page of facts");
        let Some((page, update)) = key.split_first_chunk::<4>() else {
            return Err(malformed);
        };
        let update = <[u8; 4]>::try_from(update).map_err(|_| malformed)?;
        let (page, update) = (u32::from_be_bytes(*page), u32::from_be_bytes(update));
        let follows = match update {
            0 => page == self.pages,
            _ => page + 1 == self.pages && update == self.updates + 1,
        };
        if !follows {
            return Err(StoredError::Malformed("a page of facts or an update is missing"));
        }
        if update == 0 {
            self.end_page();
            self.pages += 1;
        }
        self.updates = update;
        self.rows(key, value)
    }

    fn rows(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoredError> {
        let mut cursor = Cursor::new(open(key, value)?);
        let group = read_group(&mut cursor).map_err(malformed)?;
        if *self.group.get_or_insert(group) != group {
            return Err(StoredError::Malformed("a page of facts and its update are of two kinds"));
        }
        let PageOf::Facts(group) = group else { return Ok(()) };
        let count = cursor.long().map_err(malformed)?;
        let (mut place, mut day) = (0, Day(0));
        for _ in 0..count {
            place += cursor.long().map_err(malformed)?;
            let fact = read_fact(&mut cursor, group, day).map_err(malformed)?;
            if let Some(fact) = &fact {
                day = fact.key.day;
            }
            let at = usize::try_from(place).ok().filter(|at| *at < PAGE_ROWS);
            let at = at.ok_or(StoredError::Malformed("place in a page of facts"))?;
            self.facts.resize(self.facts.len().max(at + 1), None);
            self.facts[at] = fact;
            place += 1;
        }
        if self.updates > 0 {
            self.updated_rows += usize::try_from(count).unwrap_or(0);
        }
        cursor.end().map_err(malformed)
    }

    fn end_page(&mut self) {
        match self.group.take() {
            Some(PageOf::Facts(group)) => {
                self.table.page(group, &self.facts, (self.updates, self.updated_rows));
            }
            Some(PageOf::Uncounted(app, zone)) => {
                self.table.uncounted_page((app, zone), self.updates);
            }
            None => {}
        }
        self.facts.clear();
        self.updated_rows = 0;
    }

    /// The facts, when all rows have been taken in.
    pub fn finish(mut self) -> RestoredFacts {
        self.end_page();
        self.table
    }
}

fn malformed<E>(_: E) -> StoredError {
    StoredError::Malformed("page of facts")
}

fn beyond(what: &'static str) -> DecodeError {
    DecodeError::MalformedAvro(what)
}

fn read_group(cursor: &mut Cursor<'_>) -> Result<PageOf, DecodeError> {
    let app = u16::try_from(cursor.long()?).map_err(|_| beyond("app of facts"))?;
    let zone = u8::try_from(cursor.long()?).map_err(|_| beyond("zone of facts"))?;
    let number = u8::try_from(cursor.long()?).map_err(|_| beyond("kind of facts"))?;
    let app = AppIx(app);
    match FactKind::from_stored(number) {
        Some(kind) => Ok(PageOf::Facts(Group { app, zone, kind })),
        None if FactKind::UNCOUNTED.contains(&number) => Ok(PageOf::Uncounted(app, zone)),
        None => Err(beyond("kind of facts")),
    }
}

fn read_fact(
    cursor: &mut Cursor<'_>,
    Group { app, zone, kind }: Group,
    day_before: Day,
) -> Result<Option<Fact>, DecodeError> {
    let head = cursor.long()?;
    if head == 0 {
        return Ok(None);
    }
    let day_from = |from: Day, cursor: &mut Cursor<'_>| {
        let day = i64::from(from.0).checked_add(cursor.long()?);
        let day = day.and_then(|day| i32::try_from(day).ok());
        day.map(Day).ok_or(beyond("day of a fact"))
    };
    let day = day_from(day_before, cursor)?;
    let other = |bit: i64, cursor: &mut Cursor<'_>| {
        if head & bit == 0 { Ok(Day::MIN) } else { day_from(day, cursor) }
    };
    let (install_day, first_day, other_day) =
        (other(HAS_INSTALL, cursor)?, other(HAS_FIRST, cursor)?, other(HAS_OTHER, cursor)?);
    let index = u16::try_from(cursor.long()?).map_err(|_| beyond("index of a fact"))?;
    let dims = u32::try_from(cursor.long()?).map_err(|_| beyond("dimensions of a fact"))?;
    let mut slips = [0; 4];
    if head & HAS_SLIPS != 0 {
        slips.copy_from_slice(cursor.take(4)?);
    }
    let [slip_install, slip_first, other_slip_install, other_slip_first] =
        slips.map(u8::cast_signed);
    let key = FactKey {
        install_day,
        first_day,
        other_day,
        index,
        slip_install,
        slip_first,
        other_slip_install,
        other_slip_first,
        ..FactKey::new(app, zone, kind, day, dims)
    };
    Ok(Some(Fact { key, sums: read_sums(cursor, head)? }))
}

fn read_sums(cursor: &mut Cursor<'_>, head: i64) -> Result<Sums, DecodeError> {
    let count = cursor.long()?;
    if head & HAS_MONEY == 0 {
        return Ok(Sums::count(count));
    }
    if head & IS_WIDE == 0 {
        let gross = cursor.long()?;
        let proceeds = gross.wrapping_sub(cursor.long()?);
        let net = proceeds.wrapping_sub(cursor.long()?);
        let (gross, proceeds, net) = (gross.into(), proceeds.into(), net.into());
        return Ok(Sums { count, gross, proceeds, net });
    }
    let mut wide = || -> Result<i128, DecodeError> {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(cursor.take(16)?);
        Ok(i128::from_le_bytes(bytes))
    };
    Ok(Sums { count, gross: wide()?, proceeds: wide()?, net: wide()? })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::facts::FactTable;

    fn table() -> FactTable {
        let mut table = FactTable::default();
        for number in 0..1200 {
            let day = Day(19_000 + i32::try_from(number % 9).unwrap());
            let key = FactKey {
                install_day: if number % 2 == 0 { Day(18_990) } else { Day::MIN },
                first_day: Day(-3),
                index: u16::try_from(number).unwrap(),
                slip_first: if number % 5 == 0 { -1 } else { 0 },
                other_slip_install: 2,
                ..FactKey::new(AppIx(1), 1, FactKind::Refund, day, number * 77_777)
            };
            let gross = i128::from(number) * if number == 7 { i128::from(i64::MAX) } else { 1000 };
            let sums = Sums { count: i64::from(number) - 600, gross, proceeds: gross - 3, net: -9 };
            table.add(key, sums);
        }
        table
    }

    /// The rows of what has changed since the last call.
    fn changed_rows(table: &mut FactTable) -> Vec<([u8; 8], Vec<u8>)> {
        let row = |page: &FactPage| {
            let (key, mut value) = (page_key(page.page, page.update), Vec::new());
            encode_page(&key, page, &mut value);
            (key, value)
        };
        table.take_changed_pages().iter().map(row).collect()
    }

    fn sorted(table: &FactTable) -> Vec<Fact> {
        let mut facts: Vec<Fact> = table.iter().collect();
        facts.sort_unstable_by_key(|fact| fact.key);
        facts
    }

    #[test]
    fn pages_and_their_updates_come_back_as_they_were() {
        let mut table = table();
        let mut rows = changed_rows(&mut table);
        let key = table.iter().next().unwrap().key;
        table.add(key, Sums::count(5));
        rows.extend(changed_rows(&mut table));
        rows.sort();
        assert_eq!(
            rows.iter().map(|(key, _)| key[3..].to_vec()).filter(|key| key[4] == 1).count(),
            1
        );
        let mut reader = PageReader::default();
        for (key, value) in &rows {
            reader.row(key, value).unwrap();
        }
        assert_eq!(sorted(reader.finish().facts()), sorted(&table));
    }

    /// A page, or an update of one, of a kind that is counted no more.
    fn uncounted(page: u32, update: u32) -> ([u8; 8], Vec<u8>) {
        let (key, mut value) = (page_key(page, update), Vec::new());
        sealed::seal_into(VERSION, &key, &mut value, |payload| {
            [1, 1, i64::from(*FactKind::UNCOUNTED.start()), 1, 0, IS_FACT, 19_000, 0, 7, 1]
                .into_iter()
                .for_each(|number| put_long(payload, number));
        });
        (key, value)
    }

    #[test]
    fn the_rows_of_facts_that_are_counted_no_more_are_those_of_others() {
        let customer = |dims| FactKey::new(AppIx(1), 1, FactKind::Customer, Day(19_000), dims);
        let read = |stored: &BTreeMap<[u8; 8], Vec<u8>>| {
            let mut reader = PageReader::default();
            stored.iter().for_each(|(key, value)| reader.row(key, value).unwrap());
            reader.finish().indexed()
        };
        let mut few = FactTable::default();
        (0..3).for_each(|dims| few.add(customer(dims), Sums::count(1)));
        let mut stored: BTreeMap<_, _> = changed_rows(&mut few).into_iter().collect();
        stored.extend([uncounted(1, 0), uncounted(1, 1), uncounted(2, 0)]);
        let mut table = read(&stored);
        assert_eq!(sorted(&table), sorted(&few));
        assert!(changed_rows(&mut table).is_empty());
        (3..1_400).for_each(|dims| table.add(customer(dims), Sums::count(1)));
        assert_eq!(table.next_page(), 3, "three pages have room for 1,536");
        for page in table.take_changed_pages() {
            assert_eq!(page.update, 0, "page {} is stored whole", page.page);
            (1..=page.replaces).for_each(|update| _ = stored.remove(&page_key(page.page, update)));
            let (key, mut value) = (page_key(page.page, 0), Vec::new());
            encode_page(&key, &page, &mut value);
            stored.insert(key, value);
        }
        assert_eq!(stored.len(), 3);
        assert_eq!(sorted(&read(&stored)), sorted(&table));
    }

    #[test]
    fn a_missing_page_and_a_damaged_one_are_noticed() {
        let rows = changed_rows(&mut table());
        let mut reader = PageReader::default();
        reader.row(&rows[0].0, &rows[0].1).unwrap();
        assert!(reader.row(&rows[2].0, &rows[2].1).is_err());
        let mut damaged = rows[0].1.clone();
        for at in (0..damaged.len()).step_by(97) {
            damaged[at] ^= 4;
            assert!(PageReader::default().row(&rows[0].0, &damaged).is_err(), "byte {at}");
            damaged[at] ^= 4;
        }
    }
}
