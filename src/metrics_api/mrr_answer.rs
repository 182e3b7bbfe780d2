//! Figures of recurring revenue from what the shards say, by a chain of roundings that is part of
//! what the figures are.
//!
//! Amounts are whole numbers of the currency's smallest unit, rates hundredths of a percent. ARPA
//! is cut; a rate is rounded, halves away from zero; lifetime value is the *cut* ARPA over the
//! *rounded* rate of the month, or over the unrounded mean of the months before, and cut.

use std::cell::Cell;

use num_bigint::BigInt;

use crate::domain::money::div_half_away;
use crate::domain::time::Day;
use crate::metrics_api::mrr::{ChurnWindow, Flow, Movements, MrrPartial, MrrQuestion, Stretch};
use crate::metrics_api::mrr_days::Days;

/// Hundredths of a percent in 1.
const WHOLE: i128 = 10_000;

/// The figures of one interval; stocks are those at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MrrFigures {
    pub date: Day,
    pub mrr: i128,
    /// Within the interval.
    pub movements: Movements,
    pub arr: i128,
    pub customers: i128,
    pub arpa: i128,
    /// Mean first payment of the customers who first paid within the interval, cut.
    pub asp: i128,
    /// Of the customers there were when the interval began.
    pub customer_churn_rate: i128,
    /// Net of expansion and reactivation, so it may be below zero.
    pub mrr_churn_rate: i128,
    pub ltv: i128,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MrrAnswer {
    /// By interval.
    pub entries: Vec<MrrFigures>,
    /// Of the last 30 days of the range, and of the 30 before.
    pub stocks: [MrrFigures; 2],
    /// Of the last month that is over by the end of the range, and of the one before.
    pub months: [MrrFigures; 2],
}

/// The answer to a question from what all shards together say.
pub fn answer(question: &MrrQuestion, partial: &MrrPartial) -> MrrAnswer {
    let days = question.days();
    let mut sums = Vec::new();
    let mut sum = Flow::default();
    for place in 0..days.marks().len() {
        sum += partial.flows.get(place).copied().unwrap_or_default();
        sums.push(sum);
    }
    let whole = Whole { question, days: &days, sums, trailing: Cell::default() };
    let intervals = days.intervals.iter();
    MrrAnswer {
        entries: intervals.map(|interval| whole.figures(*interval, |flow| flow.churned)).collect(),
        stocks: days.stocks.map(|stretch| whole.figures(stretch, |_| 0)),
        months: days.months.map(|month| whole.figures(month, |flow| flow.churned_of_month)),
    }
}

/// How much one figure is above another in hundredths of a percent of the other's size, halves
/// away from zero; 0 against 0.
pub fn percentage_change(current: i128, previous: i128) -> i128 {
    rate(current - previous, previous.abs())
}

/// A part in hundredths of a percent of a whole, halves away from zero; 0 of nothing.
fn rate(part: i128, of: i128) -> i128 {
    if of > 0 { div_half_away(part * WHOLE, of) } else { 0 }
}

/// MRR by customer, cut.
pub fn arpa(mrr: i128, customers: i128) -> i128 {
    if customers > 0 { mrr / customers } else { 0 }
}

/// Lifetime value by the rounded rate of one month, in hundredths of a percent; 0 without churn.
pub fn ltv_of_rate(arpa: i128, churn_rate: i128) -> i128 {
    if churn_rate > 0 { arpa * WHOLE / churn_rate } else { 0 }
}

/// The mean of unrounded rates, as what ARPA is multiplied with and divided by; exact, and of a
/// product of customers that no machine integer needs to hold.
struct MeanRate {
    multiplier: BigInt,
    divisor: BigInt,
}

impl MeanRate {
    /// Of rates that are each customers lost of customers there were; months that began with nobody
    /// do not count.
    fn of(rates: &[(i128, i128)]) -> Self {
        let counting: Vec<_> = rates.iter().filter(|(_, customers)| *customers > 0).collect();
        // sum(lost / customers) over the product of all customers.
        let (mut lost, mut product) = (BigInt::from(0), BigInt::from(1));
        for (churned, customers) in counting.iter().copied() {
            lost = lost * customers + churned * &product;
            product *= *customers;
        }
        Self { multiplier: product * counting.len(), divisor: lost }
    }

    /// Lifetime value, cut; 0 without churn.
    fn ltv(&self, arpa: i128) -> i128 {
        if self.divisor <= BigInt::from(0) {
            return 0;
        }
        i128::try_from(arpa * &self.multiplier / &self.divisor).unwrap_or(i128::MAX)
    }
}

/// All shards together.
struct Whole<'a> {
    question: &'a MrrQuestion,
    days: &'a Days,
    /// Everything up to each mark.
    sums: Vec<Flow>,
    /// The month that was asked about last, with the rate of the months before it: days of one
    /// month follow each other.
    trailing: Cell<Option<(Day, MeanRate)>>,
}

impl Whole<'_> {
    /// Everything up to the end of a day that is a mark.
    fn through(&self, day: Day) -> Flow {
        let place = self.days.marks().binary_search(&day);
        place.ok().and_then(|place| self.sums.get(place)).copied().unwrap_or_default()
    }

    fn within(&self, stretch: Stretch) -> Flow {
        self.through(stretch.end) - self.through(stretch.before())
    }

    /// `churned` is what counts as churn of the flow within the stretch.
    fn figures(&self, stretch: Stretch, churned: impl Fn(&Flow) -> i64) -> MrrFigures {
        let (begin, end) = (self.through(stretch.before()), self.through(stretch.end));
        let within = end - begin;
        let churned = churned(&within);
        let Flow { movements, first_payments, first_paid, .. } = within;
        let (mrr, customers) = (end.movements.total(), i128::from(end.customers));
        let lost = movements.new_business - movements.total();
        let first_payments = i128::from(first_payments) * self.question.minor_micros();
        MrrFigures {
            date: stretch.end,
            mrr,
            movements,
            arr: mrr * 12,
            customers,
            arpa: arpa(mrr, customers),
            asp: if first_payments > 0 { first_paid / first_payments } else { 0 },
            customer_churn_rate: rate(i128::from(churned), i128::from(begin.customers)),
            mrr_churn_rate: rate(lost, begin.movements.total()),
            ltv: self.ltv(arpa(mrr, customers), stretch.end),
        }
    }

    /// Lifetime value at the end of a day: MRR is by the month, so the rate is one of months,
    /// whatever interval is asked for.
    fn ltv(&self, arpa: i128, day: Day) -> i128 {
        let churn = |month: Stretch| {
            let churned = i128::from(self.within(month).churned_of_month);
            (churned, i128::from(self.through(month.before()).customers))
        };
        match self.question.churn_window {
            ChurnWindow::SameMonth => {
                let (churned, customers) = churn(Days::month_to(day));
                ltv_of_rate(arpa, rate(churned, customers))
            }
            ChurnWindow::TrailingSix => {
                let month = Days::month_to(day).start;
                let kept = self.trailing.take().filter(|(of, _)| *of == month);
                let mean = kept.map(|(_, mean)| mean);
                let mean =
                    mean.unwrap_or_else(|| MeanRate::of(&Days::months_before(day).map(churn)));
                let ltv = mean.ltv(arpa);
                self.trailing.set(Some((month, mean)));
                ltv
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_of_cuts_and_roundings_is_that_of_recorded_answers() {
        for (mrr, customers, expected_arpa, churn_rate, ltv) in [
            (68_604_881, 1097, 62_538, 285, 2_194_315),
            (68_954_549, 1102, 62_572, 292, 2_142_876),
            (383_859_969, 585, 656_170, 56, 117_173_214),
            (670_280_904, 602, 1_113_423, 171, 65_112_456),
        ] {
            let arpa = arpa(mrr, customers);
            assert_eq!((arpa, ltv_of_rate(arpa, churn_rate)), (expected_arpa, ltv));
        }
        assert_eq!(arpa(69_499_091, 1100), 63_180);
        assert_eq!(arpa(1500, 5), 300);
        assert_eq!((arpa(0, 0), ltv_of_rate(100, 0)), (0, 0));
        // Churned and contracted less expanded and reactivated, of the MRR there was.
        assert_eq!(rate(1_730_666 + 770_875 - 1_559_209 - 315_000, 68_604_881), 91);
        assert_eq!(rate(1_660_000 + 508_125 - 2_386_603 - 230_000, 67_290_903), -67);
    }

    #[test]
    fn changes_are_measured_against_the_size_of_the_previous_figure() {
        for (current, previous, expected) in [
            (2_142_876, 2_194_315, -234),
            (65_112_456, 117_173_214, -4_443),
            (292, 285, 246),
            (91, -67, 23_582),
            (-7_452, -17, -4_373_529),
            (1102, 1097, 46),
            (30_531, 22_776, 3_405),
            (670_280_904, 383_859_969, 7_462),
            (0, 4100, -10_000),
            (5, 0, 0),
            (13_095, 12_000, 913),
            (19_473, 25_733, -2_433),
        ] {
            assert_eq!(percentage_change(current, previous), expected, "{current} {previous}");
        }
    }

    #[test]
    fn the_mean_of_rates_is_exact() {
        let ltv_of_mean = |arpa, rates: &[(i128, i128)]| MeanRate::of(rates).ltv(arpa);
        let percent: Vec<(i128, i128)> = [4, 6, 5, 5, 3, 7].map(|rate| (rate, 100)).to_vec();
        assert_eq!(ltv_of_mean(10_000, &percent), 200_000);
        assert_eq!(ltv_of_mean(1250, &[(1, 10), (1, 11)]), 13_095);
        assert_eq!(ltv_of_mean(1187, &[(1, 10), (1, 11), (0, 10)]), 18_652);
        assert_eq!(ltv_of_mean(1250, &[(0, 0), (1, 10), (1, 11), (0, 0)]), 13_095);
        assert_eq!(ltv_of_mean(1250, &[(0, 10), (0, 0)]), 0);
        // Six large numbers without a common divisor, whose product no i128 holds.
        let big = [99_999_989, 99_999_971, 99_999_959, 99_999_941, 99_999_931, 99_999_847];
        assert_eq!(
            ltv_of_mean(1_000_000, &big.map(|customers| (customers / 2, customers))),
            2_000_000
        );
    }
}
