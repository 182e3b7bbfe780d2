//! Facts: additive rows, the only thing questions are answered from.
//!
//! A fact is a key of days and dimensions with integer sums. The facts of a shard are the sum
//! over its customers of `facts(ledger)`; whatever order events came in, the sum is the same.
//!
//! Always true
//! * No row of [`FactTable::iter`] is zero in all its sums.
//! * Rows are per reporting zone: a question adds up rows of one zone only.

mod changed;
mod page;
mod passing;
mod restore;
mod table;

use std::ops::RangeInclusive;

use crate::domain::money::Amounts;
use crate::domain::time::Day;
use crate::engine::dictionary::AppIx;

pub use self::changed::FactPage;
pub use self::page::{Group, PAGE_ROWS};
pub use self::passing::{FactRow, Facts};
pub use self::restore::RestoredFacts;
pub use self::table::{FactTable, PageNumber};

/// What a fact counts. The discriminants are part of the stored format.
///
/// | kind | `day` | `other_day` | `index` | `dims` | `count` and money |
/// |---|---|---|---|---|---|
/// | `Payment` | of the payment | of the customer's payment before, or none | payment index in its chain, from 1 | tuple | payments, amounts |
/// | `Refund` | of the refund | of the refunded payment, or none if unlinked | of the refunded payment, 0 if unlinked | tuple (the payment's, if linked) | refunds, amounts given back (positive) |
/// | `UnplacedRefund` | of the refund | none | 0 | tuple | unlinked refunds before the customer's first payment; no anchors |
/// | `RepeatedRefund` | of the refund | of the refunded payment | 0 | tuple of the payment | refunds of a payment that had one before; no anchors |
/// | `Payer` | from which the customer has this signature | none | 0 | signature: payments with their lowest index, and refunds | customers with at least one payment; +1 and −1 as the signature changes |
/// | `Customer` | of the install anchor | none | 1 if placed by an `install` event, 0 if by the first event | tuple of that event | customers |
/// | `Timeline` | from which nothing runs any more, possibly in the future | none | 0 | path of a timeline | customers with this timeline; no anchors |
/// | `UnrefundedTimeline` | as `Timeline` | none | 0 | path of a timeline | −1 for the timeline and +1 for the one without the periods of refunded payments, of each customer for whom they differ |
/// | `PeriodPayer` | of the payment | none | payment index, from 2 | signature: tuples | corrections to payments of the index, so that customers who paid it on several chains count once: −1 for those before, −1 for this one, +1 for all |
/// | `Subscription` | of the payment or refund | none | 0 | signature of a chain, as `Payer` | changes after the chain's first payment, which counts for itself: −1 before, +1 after |
/// | `Starter` | from which the customer has this signature | none | 0 | signature: tuples of trials and of first payments of subscriptions | customers who began one; +1 and −1 as the signature changes |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FactKind {
    Payment = 1,
    Refund = 2,
    UnplacedRefund = 3,
    Payer = 4,
    Customer = 5,
    Timeline = 15,
    UnrefundedTimeline = 16,
    RepeatedRefund = 17,
    PeriodPayer = 18,
    Subscription = 19,
    Starter = 20,
}

impl FactKind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Payment,
        Self::Refund,
        Self::UnplacedRefund,
        Self::Payer,
        Self::Customer,
        Self::Timeline,
        Self::UnrefundedTimeline,
        Self::RepeatedRefund,
        Self::PeriodPayer,
        Self::Subscription,
        Self::Starter,
    ];

    /// Whether `dims` of the kind is a signature.
    pub fn has_signature(self) -> bool {
        matches!(self, Self::Payer | Self::PeriodPayer | Self::Subscription | Self::Starter)
    }

    /// Whether facts of the kind have money beside their count.
    pub fn has_money(self) -> bool {
        use FactKind::{Payment, Refund, RepeatedRefund, UnplacedRefund};
        matches!(self, Payment | Refund | UnplacedRefund | RepeatedRefund)
    }

    /// The numbers of kinds that are counted no more, since no question asked for them.
    pub const UNCOUNTED: RangeInclusive<u8> = 6..=14;

    /// The kind with this stored number.
    pub fn from_stored(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// How far calendar ages run ahead of elapsed ages, in days; daylight saving makes it −1 to 2.
///
/// `calendar age = elapsed age + slip`, where calendar age is the difference of two days of the
/// zone and elapsed age the whole 24-hour days between two instants.
pub type Slip = i8;

/// What distinguishes a fact. [`Day::MIN`] stands for "no such day".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactKey {
    pub app: AppIx,
    /// Index into the app's reporting zones.
    pub zone: u8,
    pub kind: FactKind,
    pub day: Day,
    /// Day of the customer's install, or of the first event where no install is known.
    pub install_day: Day,
    /// Day of the customer's first payment.
    pub first_day: Day,
    pub other_day: Day,
    pub index: u16,
    /// A tuple, a signature ([`FactKind::has_signature`]) or the path of a timeline.
    pub dims: u32,
    /// Slip of `day` against the install and the first payment: of payments and refunds both, of
    /// payers, subscriptions and starters the first.
    pub slip_install: Slip,
    pub slip_first: Slip,
    /// Slip of `other_day` against the install and the first payment; refunds only.
    pub other_slip_install: Slip,
    pub other_slip_first: Slip,
}

impl FactKey {
    /// A key without anchors, without a second day and without slips.
    pub fn new(app: AppIx, zone: u8, kind: FactKind, day: Day, dims: u32) -> Self {
        Self {
            app,
            zone,
            kind,
            day,
            install_day: Day::MIN,
            first_day: Day::MIN,
            other_day: Day::MIN,
            index: 0,
            dims,
            slip_install: 0,
            slip_first: 0,
            other_slip_install: 0,
            other_slip_first: 0,
        }
    }
}

/// Sums of a fact: a count, and money in micro-units of the app's reporting currency.
///
/// i128 holds more than 10^22 payments of the largest amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    pub count: i64,
    pub gross: i128,
    pub proceeds: i128,
    pub net: i128,
}

impl Sums {
    /// `count` without money.
    pub fn count(count: i64) -> Self {
        Self { count, ..Self::default() }
    }

    /// One event of these amounts.
    pub fn one(amounts: Amounts) -> Self {
        Self {
            count: 1,
            gross: i128::from(amounts.gross),
            proceeds: i128::from(amounts.proceeds),
            net: i128::from(amounts.net),
        }
    }

    /// The sums that take these away again.
    pub fn negated(self) -> Self {
        Self { count: -self.count, gross: -self.gross, proceeds: -self.proceeds, net: -self.net }
    }

    /// Whether nothing is counted.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.gross += other.gross;
        self.proceeds += other.proceeds;
        self.net += other.net;
    }
}

impl std::ops::Sub for Sums {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            count: self.count - other.count,
            gross: self.gross - other.gross,
            proceeds: self.proceeds - other.proceeds,
            net: self.net - other.net,
        }
    }
}

/// One fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    pub key: FactKey,
    pub sums: Sums,
}
