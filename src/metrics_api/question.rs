//! What can be asked about lifetime value, and which questions make no sense.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::domain::cohort::{Anchor, Field};
use crate::domain::time::{Day, Width};
use crate::engine::curves::Heads;
use crate::engine::facts::Sums;

/// The most ages of one question.
pub const AGES_MAX: usize = 2_000;
/// Most rows that an answer may have in all its segments: some hundred megabytes of memory.
pub const ROWS_MAX: usize = 500_000;
/// The greatest age: a hundred years of days.
pub const AGE_MAX: u32 = 36_525;

/// In what ages are counted. An age is reached through its end: age 0 is the first day, period
/// or payment whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgeBasis {
    /// Calendar days of the zone since the anchor day, from 0.
    Days,
    /// Whole 24-hour days since the anchor instant, from 0.
    ElapsedDays,
    /// Calendar buckets of the cohort's width since the cohort's own, from 0.
    Periods,
    /// Payment index within a chain, from 1. A refund counts at its payment's index; one that
    /// names no payment at the first.
    Payments,
}

/// What of a payment is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    Gross,
    /// After store commission.
    Proceeds,
    /// After commission and tax.
    Net,
}

/// By what revenue is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Per {
    /// Customers of the cohort, payers or not. Of a first-purchase cohort all are payers.
    Customer,
    /// Customers with at least one payment through `until`.
    Payer,
    /// Customers placed by an `install` event; only with the install anchor.
    Install,
}

/// Whether who was given money back is still one of the payers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefundedPayers {
    /// Who paid is a payer, whatever was given back.
    Stay,
    /// Who has a refund, of whatever part, is no payer from the refund's day on. Money is not
    /// touched: what such customers paid and got back still counts.
    Leave,
}

/// When a refund that names its payment counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefundDating {
    /// At its own time.
    AtRefund,
    /// At the time of its payment, once the refund itself has happened by `until`.
    AtPurchase,
}

macro_rules! named {
    ($type:ident, $($variant:ident = $name:literal),+) => {
        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in questions and answers.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl FromStr for $type {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|known| known.name() == text).ok_or(())
            }
        }
    };
}

named!(
    AgeBasis,
    Days = "days",
    ElapsedDays = "elapsed_days",
    Periods = "periods",
    Payments = "payments"
);
named!(Measure, Gross = "gross", Proceeds = "proceeds", Net = "net");
named!(Per, Customer = "customer", Payer = "payer", Install = "install");
named!(RefundDating, AtRefund = "at_refund", AtPurchase = "at_purchase");

impl Heads {
    /// How many revenue is divided by.
    pub fn of(self, per: Per) -> i64 {
        match per {
            Per::Customer => self.customers,
            Per::Payer => self.payers,
            Per::Install => self.installs,
        }
    }
}

impl Measure {
    /// This measure of the sums, micro-units.
    pub fn of(self, sums: &Sums) -> i128 {
        match self {
            Self::Gross => sums.gross,
            Self::Proceeds => sums.proceeds,
            Self::Net => sums.net,
        }
    }
}

/// Keeps what has one of the values in the field; the empty text stands for the unknown value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub field: Field,
    pub values: BTreeSet<String>,
}

/// Which tuples count: all `filters` must match, and of `any_of` at least one group whole, if
/// there are any.
#[derive(Debug, Clone, Copy, Default)]
pub struct Narrowing<'a> {
    pub filters: &'a [Filter],
    pub any_of: &'a [Vec<Filter>],
}

impl<'a> From<&'a Vec<Filter>> for Narrowing<'a> {
    fn from(filters: &'a Vec<Filter>) -> Self {
        Self { filters, any_of: &[] }
    }
}

/// Who of the cohorts at the ends of a range is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Members {
    /// Cohorts are whole, with all their customers, if they begin no earlier than the bucket of
    /// `from` and no later than `to`.
    WholeCohorts,
    /// Customers whose anchor day lies from `from` through `to`; the first and the last cohort may
    /// be parts of their buckets.
    BetweenDates,
}

/// A question about lifetime value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LtvQuestion {
    pub app: String,
    /// Index into the app's reporting zones; all days are of this zone.
    pub zone: u8,
    pub anchor: Anchor,
    /// Length of a cohort.
    pub width: Width,
    pub age: AgeBasis,
    /// `None`: a usual list up to the age reached.
    pub ages: Option<Vec<u32>>,
    pub measure: Measure,
    /// What the ends mean is in `members`. `None`: no bound.
    pub from: Option<Day>,
    pub to: Option<Day>,
    pub members: Members,
    /// All must match.
    pub filters: Vec<Filter>,
    /// At least one of these groups must match whole, if there are any.
    pub any_of: Vec<Vec<Filter>>,
    pub segment_by: Option<Field>,
    pub per: Per,
    pub refunded_payers: RefundedPayers,
    /// The last day whose facts count.
    pub until: Day,
    /// The day of now. A day is over when it lies before `today`.
    pub today: Day,
    pub refunds: RefundDating,
}

/// Why a question cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuestion {
    #[error("from {0} is later than to {1}")]
    EmptyRange(Day, Day),
    #[error("no more than {AGES_MAX} ages may be asked")]
    TooManyAges,
    #[error("age {0} is greater than {AGE_MAX}")]
    AgeTooGreat(u32),
    #[error("payments are counted from 1")]
    PaymentZero,
    #[error("per install needs anchor install")]
    InstallsWithoutInstallAnchor,
    #[error("a range may not hold more than {0} buckets")]
    TooManyBuckets(usize),
    #[error("cohorts times days may not be more than {0}; ask fewer days or longer cohorts")]
    TooManyCells(i64),
    #[error(
        "an answer may not have more than {0} rows in its segments; ask a shorter range, longer cohorts or \
         buckets, fewer ages, or filter"
    )]
    TooManyRows(usize),
    #[error("a range may not be longer than {0} days")]
    RangeTooLong(i32),
}

impl LtvQuestion {
    /// All that narrows it.
    pub fn narrowing(&self) -> Narrowing<'_> {
        Narrowing { filters: &self.filters, any_of: &self.any_of }
    }

    /// Refuses what has no answer. Answers of refused questions mean nothing, but never panic.
    pub fn check(&self) -> Result<(), InvalidQuestion> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from > to
        {
            return Err(InvalidQuestion::EmptyRange(from, to));
        }
        let ages = self.ages.as_deref().unwrap_or(&[]);
        if ages.len() > AGES_MAX {
            return Err(InvalidQuestion::TooManyAges);
        }
        if let Some(age) = ages.iter().find(|age| **age > AGE_MAX) {
            return Err(InvalidQuestion::AgeTooGreat(*age));
        }
        if self.age == AgeBasis::Payments && ages.contains(&0) {
            return Err(InvalidQuestion::PaymentZero);
        }
        if self.per == Per::Install && self.anchor != Anchor::Install {
            return Err(InvalidQuestion::InstallsWithoutInstallAnchor);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_they_print() {
        for basis in AgeBasis::ALL {
            assert_eq!(basis.name().parse(), Ok(*basis));
        }
        assert_eq!("at_purchase".parse(), Ok(RefundDating::AtPurchase));
        assert_eq!("visitor".parse::<Per>(), Err(()));
    }
}
