//! Rows of facts, packed: 16 bytes of key side by side, and their sums beside them.
//!
//! The rows of a page are of one app, zone and kind, so that a question reads only the kinds it
//! asks for, and of these only the keys until one matches. A key or sums that do not fit are marked
//! here and kept elsewhere ([`FactTable`](super::FactTable)).

use std::ops::Deref;
use std::sync::Arc;

use crate::domain::time::Day;
use crate::engine::dictionary::AppIx;
use crate::engine::facts::{FactKey, FactKind, Slip, Sums};

/// Rows of a page, the unit in which facts are stored and handed out.
pub const PAGE_ROWS: usize = 512;

/// What the facts of a page have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Group {
    pub app: AppIx,
    pub zone: u8,
    pub kind: FactKind,
}

impl Group {
    /// All of it in one word.
    pub(super) fn word(self) -> u64 {
        u64::from(self.app.0) << 16 | u64::from(self.zone) << 8 | self.kind as u64
    }

    /// The group of a key.
    pub fn of(key: &FactKey) -> Self {
        Self { app: key.app, zone: key.zone, kind: key.kind }
    }
}

/// Something about a row, noted beside its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    /// All sums are zero: there is no fact.
    Zero = 1 << 0,
    /// Changed since the last commit; in a page that a commit took, since the one before.
    Dirty = 1 << 1,
    /// The sums are kept elsewhere.
    WideSums = 1 << 2,
    /// The key is kept elsewhere.
    WideKey = 1 << 3,
    /// Was zero, and is among the rows that new facts may take.
    Spare = 1 << 4,
}

impl Flag {
    fn bit(self) -> u64 {
        (self as u64) << FLAGS_SHIFT
    }
}

const FLAGS_SHIFT: u32 = 56;
const FLAGS: u64 = 0xff << FLAGS_SHIFT;
/// Days are kept as so many more than they are, which reaches from 1967 to 2146; 0 is no day.
const DAY_SHIFT: i32 = 1_000;
/// Slips are kept as so many more than they are, in two bits.
const SLIP_SHIFT: Slip = 1;

/// A key within its group, with the flags of its row.
///
/// ```text
/// word 0  day, install day, first day, other day (16 bits each, the first lowest)
/// word 1  dims (32 bits), index (16), slips (2 each), flags (8)
/// ```
#[derive(Debug, Clone, Copy)]
pub(super) struct PackedKey([u64; 2]);

impl PackedKey {
    /// Stands where no key is.
    pub(super) const VACANT: Self = Self([0, (Flag::Zero as u64) << FLAGS_SHIFT]);
    /// Stands where the key is kept elsewhere.
    pub(super) const WIDE: Self =
        Self([0, (Flag::Zero as u64 | Flag::WideKey as u64) << FLAGS_SHIFT]);

    /// The key of a row without sums, if it fits.
    pub(super) fn pack(key: &FactKey) -> Option<Self> {
        let day = |day: Day| match day {
            Day::MIN => Some(0),
            Day(day) => {
                let shifted = day.checked_add(DAY_SHIFT).filter(|shifted| *shifted > 0)?;
                u16::try_from(shifted).ok().map(u64::from)
            }
        };
        let slip = |slip: Slip| {
            let shifted = u64::try_from(slip.checked_add(SLIP_SHIFT)?).ok()?;
            (shifted < 4).then_some(shifted)
        };
        let days = day(key.day)?
            | day(key.install_day)? << 16
            | day(key.first_day)? << 32
            | day(key.other_day)? << 48;
        let slips = slip(key.slip_install)?
            | slip(key.slip_first)? << 2
            | slip(key.other_slip_install)? << 4
            | slip(key.other_slip_first)? << 6;
        let rest = u64::from(key.dims) | u64::from(key.index) << 32 | slips << 48;
        Some(Self([days, rest | Flag::Zero.bit()]))
    }

    /// The key, if it is not kept elsewhere.
    #[inline]
    pub(super) fn unpack(self, group: Group) -> FactKey {
        let Self([days, rest]) = self;
        let day = |place: u32| match (days >> (16 * place)) as u16 {
            0 => Day::MIN,
            shifted => Day(i32::from(shifted) - DAY_SHIFT),
        };
        let slip = |place: u32| ((rest >> (48 + 2 * place)) & 3) as Slip - SLIP_SHIFT;
        FactKey {
            app: group.app,
            zone: group.zone,
            kind: group.kind,
            day: day(0),
            install_day: day(1),
            first_day: day(2),
            other_day: day(3),
            index: (rest >> 32) as u16,
            dims: rest as u32,
            slip_install: slip(0),
            slip_first: slip(1),
            other_slip_install: slip(2),
            other_slip_first: slip(3),
        }
    }

    /// What of it makes the key, for hashing and comparing.
    pub(super) fn words(self) -> [u64; 2] {
        [self.0[0], self.0[1] & !FLAGS]
    }

    pub(super) fn has(self, flag: Flag) -> bool {
        self.has_any([flag])
    }

    pub(super) fn has_any<const N: usize>(self, flags: [Flag; N]) -> bool {
        self.0[1] & flags.into_iter().fold(0, |bits, flag| bits | flag.bit()) != 0
    }

    pub(super) fn set(&mut self, flag: Flag, on: bool) {
        if on {
            self.0[1] |= flag.bit();
        } else {
            self.0[1] &= !flag.bit();
        }
    }
}

/// Sums of a payment or refund, packed.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, packed(4))]
pub(super) struct Money {
    count: i32,
    gross: i64,
    proceeds: i64,
    net: i64,
}

impl Money {
    fn plus(self, more: Self) -> Option<Self> {
        let Self { count, gross, proceeds, net } = self;
        Some(Self {
            count: count.checked_add(more.count)?,
            gross: gross.checked_add(more.gross)?,
            proceeds: proceeds.checked_add(more.proceeds)?,
            net: net.checked_add(more.net)?,
        })
    }

    fn is_zero(self) -> bool {
        let Self { count, gross, proceeds, net } = self;
        count == 0 && gross | proceeds | net == 0
    }
}

/// Sums of the rows of a page, by place.
#[derive(Debug, Clone)]
enum Column {
    /// Of kinds without money.
    Counts(Vec<i32>),
    Money(Vec<Money>),
}

/// Up to [`PAGE_ROWS`] rows of one group.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) group: Group,
    keys: Vec<PackedKey>,
    column: Column,
}

impl Page {
    pub(super) fn new(group: Group) -> Self {
        let column = match group.kind.has_money() {
            true => Column::Money(Vec::new()),
            false => Column::Counts(Vec::new()),
        };
        Self { group, keys: Vec::new(), column }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn keys(&self) -> &[PackedKey] {
        &self.keys
    }

    pub(super) fn key(&self, place: usize) -> PackedKey {
        self.keys.get(place).copied().unwrap_or(PackedKey::VACANT)
    }

    /// Reads something of every part of a row, to have it at hand.
    pub(super) fn look_at(&self, place: usize) -> u64 {
        let sums = match &self.column {
            Column::Counts(counts) => counts[place],
            Column::Money(money) => money[place].count,
        };
        self.keys[place].0[0] ^ u64::from(sums.unsigned_abs())
    }

    /// Adds a row at zero.
    pub(super) fn push(&mut self, key: PackedKey) {
        self.keys.push(key);
        match &mut self.column {
            Column::Counts(counts) => counts.push(0),
            Column::Money(money) => money.push(Money::default()),
        }
    }

    /// Puts another key, at zero, in the place of one at zero.
    pub(super) fn reuse(&mut self, place: usize, key: PackedKey) {
        self.keys[place] = key;
    }

    pub(super) fn set_flag(&mut self, place: usize, flag: Flag, on: bool) {
        self.keys[place].set(flag, on);
    }

    /// The sums of a row, if they are not kept elsewhere.
    #[inline]
    pub(super) fn sums(&self, place: usize) -> Sums {
        match &self.column {
            Column::Counts(counts) => Sums::count(counts[place].into()),
            Column::Money(money) => {
                let Money { count, gross, proceeds, net } = money[place];
                Sums {
                    count: count.into(),
                    gross: gross.into(),
                    proceeds: proceeds.into(),
                    net: net.into(),
                }
            }
        }
    }

    /// Adds to the sums of a row that are kept here and stay here; `false`, and nothing changed, if
    /// they are or would be kept elsewhere.
    #[inline]
    pub(super) fn add(&mut self, place: usize, more: &Sums) -> bool {
        if self.keys[place].has(Flag::WideSums) {
            return false;
        }
        let is_zero = match &mut self.column {
            Column::Counts(counts) => {
                let Some(sum) = i32::try_from(more.count)
                    .ok()
                    .and_then(|more| counts[place].checked_add(more))
                    .filter(|_| *more == Sums::count(more.count))
                else {
                    return false;
                };
                counts[place] = sum;
                sum == 0
            }
            Column::Money(money) => {
                let Some(sum) = pack_sums(more).and_then(|more| money[place].plus(more)) else {
                    return false;
                };
                money[place] = sum;
                sum.is_zero()
            }
        };
        self.keys[place].set(Flag::Zero, is_zero);
        true
    }

    /// Sets the sums of a row; `false`, and zero sums kept here, if they do not fit.
    pub(super) fn set_sums(&mut self, place: usize, sums: &Sums) -> bool {
        let packed = pack_sums(sums);
        let fits = match &mut self.column {
            Column::Counts(counts) => {
                let packed = packed.filter(|_| *sums == Sums::count(sums.count));
                counts[place] = packed.unwrap_or_default().count;
                packed.is_some()
            }
            Column::Money(money) => {
                money[place] = packed.unwrap_or_default();
                packed.is_some()
            }
        };
        self.keys[place].set(Flag::Zero, sums.is_zero());
        self.keys[place].set(Flag::WideSums, !fits);
        fits
    }

    /// Nothing of it has changed.
    fn forget_changes(&mut self) {
        self.keys.iter_mut().for_each(|key| key.set(Flag::Dirty, false));
    }

    /// Bytes of memory held by its rows.
    pub(super) fn row_bytes(&self) -> usize {
        let sums = match &self.column {
            Column::Counts(counts) => counts.capacity() * size_of::<i32>(),
            Column::Money(money) => money.capacity() * size_of::<Money>(),
        };
        self.keys.capacity() * size_of::<PackedKey>() + sums
    }

    /// [`Page::row_bytes`] of a full page of this group.
    pub(super) fn row_bytes_of_full(group: Group) -> usize {
        let sums = if group.kind.has_money() { size_of::<Money>() } else { size_of::<i32>() };
        PAGE_ROWS * (size_of::<PackedKey>() + sums)
    }
}

/// A page of a table: the table's alone, or shared with a commit on its way to the store.
///
/// Only a page that was shared is asked whether it still is: asking makes the processor finish all
/// it has begun, which costs more than most changes of a row.
#[derive(Debug)]
pub(super) enum HeldPage {
    Own(Page),
    Shared(Arc<Page>),
}

impl Deref for HeldPage {
    type Target = Page;

    #[inline]
    fn deref(&self) -> &Page {
        match self {
            Self::Own(page) => page,
            Self::Shared(page) => page,
        }
    }
}

impl HeldPage {
    /// The page to be changed: what others share stays what it is. Of one that was shared nothing has
    /// changed since.
    #[inline]
    pub(super) fn own(&mut self) -> &mut Page {
        if let Self::Shared(page) = self {
            let emptied = Page::new(page.group);
            let mut page = std::mem::replace(Arc::make_mut(page), emptied);
            page.forget_changes();
            *self = Self::Own(page);
        }
        match self {
            Self::Own(page) => page,
            Self::Shared(page) => Arc::make_mut(page),
        }
    }

    /// The page as it is now.
    pub(super) fn share(&mut self) -> Arc<Page> {
        if let Self::Own(page) = self {
            let emptied = Page::new(page.group);
            *self = Self::Shared(Arc::new(std::mem::replace(page, emptied)));
        }
        match self {
            Self::Own(page) => Arc::new(page.clone()),
            Self::Shared(page) => Arc::clone(page),
        }
    }
}

fn pack_sums(sums: &Sums) -> Option<Money> {
    let money = |micros: i128| i64::try_from(micros).ok();
    Some(Money {
        count: i32::try_from(sums.count).ok()?,
        gross: money(sums.gross)?,
        proceeds: money(sums.proceeds)?,
        net: money(sums.net)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day() -> impl Strategy<Value = Day> {
        prop_oneof![Just(Day::MIN), (-1_100..64_600i32).prop_map(Day), any::<i32>().prop_map(Day)]
    }

    proptest! {
        #[test]
        fn a_key_that_fits_comes_back_and_only_its_flags_change(
            days in [day(), day(), day(), day()],
            (index, dims) in any::<(u16, u32)>(),
            slips in prop::array::uniform4(-2..4i8),
        ) {
            let group = Group { app: AppIx(3), zone: 1, kind: FactKind::Refund };
            let [slip_install, slip_first, other_slip_install, other_slip_first] = slips;
            let key = FactKey {
                install_day: days[1],
                first_day: days[2],
                other_day: days[3],
                index,
                slip_install,
                slip_first,
                other_slip_install,
                other_slip_first,
                ..FactKey::new(group.app, group.zone, group.kind, days[0], dims)
            };
            let day_fits = |day: Day| day == Day::MIN || (-999..=64_535).contains(&day.0);
            let fits = days.into_iter().all(day_fits)
                && slips.into_iter().all(|slip| (-1..=2).contains(&slip));
            let packed = PackedKey::pack(&key);
            prop_assert_eq!(packed.is_some(), fits);
            if let Some(mut packed) = packed {
                prop_assert!(packed.has(Flag::Zero) && !packed.has(Flag::Dirty));
                let words = packed.words();
                packed.set(Flag::Dirty, true);
                prop_assert_eq!((packed.unpack(group), packed.words()), (key, words));
            }
        }
    }
}
