//! Orders, their customers and their refunds by period: one pass over the facts of a shard.
//!
//! An order is a payment. Customers of a period are counted without a list of them: a payment
//! whose customer paid nothing earlier in the period is that customer's first in it. In the same
//! way the days from a customer's first to the last order of the period are the sum of the steps
//! from each payment back to the one before, where that lies in the period too.
//!
//! A linked refund belongs to its order, whenever it happens, so a past period changes with it;
//! an unlinked one belongs to its own day.

use crate::domain::time::Day;
use crate::engine::dictionary::{AppIx, Dictionary};
use crate::engine::facts::{FactKey, FactKind, FactRow, Facts, Group, Sums};
use crate::metrics_api::commerce_periods::Period;
use crate::metrics_api::kept::Summed;
use crate::metrics_api::ratio::Fraction;

/// Micro-units in a unit of money.
const MICROS: i128 = 1_000_000;

/// A question about the orders of some periods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommerceQuestion {
    pub app: String,
    /// Index into the app's reporting zones; all days are of this zone.
    pub zone: u8,
    /// Neighbours, latest first, without gaps.
    pub periods: Vec<Period>,
    /// The last day whose facts count.
    pub until: Day,
}

/// Sums of one period; money in micro-units of the reporting currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommerceSums {
    pub orders: i64,
    /// Before refunds.
    pub gross: i128,
    /// Customers who never ordered before.
    pub new_customers: i64,
    /// Customers who ordered before the period too.
    pub existing_customers: i64,
    /// Days from the first to the last order in the period, over all customers.
    pub span_days: i64,
    /// Orders of the period with a linked refund.
    pub refunded_orders: i64,
    /// What was given back of the orders of the period; positive.
    pub refunded: i128,
    /// Refunds of the period that name no order, and their money; positive.
    pub unlinked_refunds: i64,
    pub unlinked_refunded: i128,
}

impl std::ops::AddAssign for CommerceSums {
    fn add_assign(&mut self, other: Self) {
        self.orders += other.orders;
        self.gross += other.gross;
        self.new_customers += other.new_customers;
        self.existing_customers += other.existing_customers;
        self.span_days += other.span_days;
        self.refunded_orders += other.refunded_orders;
        self.refunded += other.refunded;
        self.unlinked_refunds += other.unlinked_refunds;
        self.unlinked_refunded += other.unlinked_refunded;
    }
}

impl CommerceSums {
    /// Everybody who ordered in the period.
    pub fn customers(&self) -> i64 {
        self.new_customers + self.existing_customers
    }

    /// Units of money after refunds.
    pub fn order_value(&self) -> Fraction {
        Fraction { numerator: self.order_micros(), denominator: MICROS }
    }

    /// Order value over orders.
    pub fn average_order_value(&self) -> Fraction {
        let orders = i128::from(self.orders);
        Fraction { numerator: self.order_micros(), denominator: orders * MICROS }
    }

    /// Average order value × orders per customer × mean days between a customer's first and last
    /// order: units of money times days.
    pub fn lifetime_value(&self) -> Fraction {
        let customers = i128::from(self.customers());
        Fraction {
            // Beyond 10^38 only with more money and days than there are.
            numerator: self.order_micros().saturating_mul(i128::from(self.span_days)),
            denominator: customers.saturating_mul(customers).saturating_mul(MICROS),
        }
    }

    /// Units of money before refunds.
    pub fn revenue(&self) -> Fraction {
        Fraction { numerator: self.gross, denominator: MICROS }
    }

    /// How revenue has grown since the period before, in percent.
    pub fn revenue_growth(&self, before: &Self) -> Fraction {
        Fraction { numerator: (self.gross - before.gross) * 100, denominator: before.gross }
    }

    /// Orders with a refund, and refunds that name no order.
    pub fn refunds(&self) -> i64 {
        self.refunded_orders + self.unlinked_refunds
    }

    /// Units of money given back; positive.
    pub fn refund_value(&self) -> Fraction {
        Fraction { numerator: self.refunded + self.unlinked_refunded, denominator: MICROS }
    }

    /// Refunds over orders.
    pub fn refund_rate(&self) -> Fraction {
        Fraction { numerator: i128::from(self.refunds()), denominator: i128::from(self.orders) }
    }

    /// Existing customers over all customers of the period before, in percent.
    pub fn retention_rate(&self, before: &Self) -> Fraction {
        percentage(self.existing_customers, before.customers())
    }

    /// Existing customers over all customers, in percent.
    pub fn repeat_rate(&self) -> Fraction {
        percentage(self.existing_customers, self.customers())
    }

    fn order_micros(&self) -> i128 {
        self.gross - self.refunded - self.unlinked_refunded
    }
}

fn percentage(part: i64, whole: i64) -> Fraction {
    Fraction { numerator: i128::from(part) * 100, denominator: i128::from(whole) }
}

/// What one shard, or several merged, know of a question: sums in the order of its periods.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommercePartial {
    pub periods: Vec<CommerceSums>,
}

impl Summed for CommercePartial {
    fn merge(mut self, other: Self) -> Self {
        if self.periods.len() < other.periods.len() {
            self.periods.resize(other.periods.len(), CommerceSums::default());
        }
        for (sums, more) in self.periods.iter_mut().zip(other.periods) {
            *sums += more;
        }
        self
    }

    fn memory_bytes(&self) -> usize {
        self.periods.capacity() * size_of::<CommerceSums>()
    }
}

/// What the facts of a shard say.
pub fn partial<'f>(
    facts: impl Into<Facts<'f>>,
    dictionary: &Dictionary,
    question: &CommerceQuestion,
) -> CommercePartial {
    let mut pass = Pass::new(&question.periods);
    if let Some(app) = dictionary.find_app(&question.app) {
        pass.run(&facts.into(), (app, question.zone), question.until);
    }
    CommercePartial { periods: pass.sums }
}

/// One pass over facts.
struct Pass<'a> {
    periods: &'a [Period],
    sums: Vec<CommerceSums>,
    /// First day of the earliest period, and the period of that day and each after it.
    first: Day,
    places: Vec<u32>,
}

impl<'a> Pass<'a> {
    fn new(periods: &'a [Period]) -> Self {
        let first = periods.last().map_or(Day::MAX, |period| period.start);
        let mut places = Vec::new();
        for (place, period) in periods.iter().enumerate().rev() {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            let days = (period.end.0 - period.start.0 + 1).max(0);
            places.extend(std::iter::repeat_n(place, usize::try_from(days).unwrap_or(0)));
        }
        Self { periods, sums: vec![CommerceSums::default(); periods.len()], first, places }
    }

    /// The period of a day, with its sums.
    fn period(&mut self, day: Day) -> Option<(Period, &mut CommerceSums)> {
        let after = usize::try_from(i64::from(day.0) - i64::from(self.first.0)).ok()?;
        let place = usize::try_from(*self.places.get(after)?).ok()?;
        Some((*self.periods.get(place)?, self.sums.get_mut(place)?))
    }

    fn run(&mut self, facts: &Facts<'_>, (app, zone): (AppIx, u8), until: Day) {
        let of = |kind| facts.through(Group { app, zone, kind }, until);
        // A refund may come before its order in time.
        let of_orders = |kind| of(kind).filter(|fact| fact.key.other_day <= until);
        of(FactKind::Payment).for_each(|fact| self.take_payment(&fact));
        of_orders(FactKind::Refund).for_each(|fact| self.take_refund(&fact));
        of(FactKind::UnplacedRefund).for_each(|fact| self.take_unlinked(&fact));
        of_orders(FactKind::RepeatedRefund).for_each(|fact| {
            // The order was counted with its first refund.
            if let Some((_, sums)) = self.period(fact.key.other_day) {
                sums.refunded_orders -= fact.sums().count;
            }
        });
    }

    fn take_payment(&mut self, fact: &FactRow<'_>) {
        let FactKey { day, other_day: before, .. } = fact.key;
        let Some((period, sums)) = self.period(day) else { return };
        let Sums { count, gross, .. } = fact.sums();
        sums.orders += count;
        sums.gross += gross;
        if before == Day::MIN {
            sums.new_customers += count;
        } else if before < period.start {
            sums.existing_customers += count;
        } else {
            sums.span_days += i64::from(day.0 - before.0) * count;
        }
    }

    fn take_refund(&mut self, fact: &FactRow<'_>) {
        if fact.key.other_day == Day::MIN {
            self.take_unlinked(fact);
        } else if let Some((_, sums)) = self.period(fact.key.other_day) {
            let Sums { count, gross, .. } = fact.sums();
            sums.refunded_orders += count;
            sums.refunded += gross;
        }
    }

    fn take_unlinked(&mut self, fact: &FactRow<'_>) {
        if let Some((_, sums)) = self.period(fact.key.day) {
            let Sums { count, gross, .. } = fact.sums();
            sums.unlinked_refunds += count;
            sums.unlinked_refunded += gross;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(fraction: Fraction) -> String {
        fraction.decimal(2).unwrap_or_else(|| "none".to_owned())
    }

    #[test]
    fn figures_are_those_of_the_vendors_samples() {
        // 94 orders of 3315.18 by 60 customers over 4107 days between first and last orders.
        let sums = CommerceSums {
            orders: 94,
            gross: 3_315_180_000,
            new_customers: 47,
            existing_customers: 13,
            span_days: 4_107,
            refunded_orders: 39,
            ..CommerceSums::default()
        };
        assert_eq!(printed(sums.lifetime_value()), "3782.07");
        assert_eq!(printed(sums.average_order_value()), "35.27");
        assert_eq!(printed(sums.repeat_rate()), "21.67");
        assert_eq!(printed(sums.refund_rate()), "0.41");
        let before = CommerceSums { gross: 141_810_000, ..CommerceSums::default() };
        let sums = CommerceSums { gross: 375_640_000, ..CommerceSums::default() };
        assert_eq!(printed(sums.revenue_growth(&before)), "164.89");
        assert_eq!(printed(before.revenue_growth(&CommerceSums::default())), "none");
        assert_eq!(printed(CommerceSums::default().lifetime_value()), "none");
    }
}
