//! Ages of a cohort: which are asked, which have begun, which are complete.

use crate::domain::time::{Day, Width};
use crate::metrics_api::question::{AGE_MAX, AGES_MAX, AgeBasis, LtvQuestion};

const USUAL_DAYS: [u32; 22] = [
    0, 1, 3, 7, 14, 30, 60, 90, 120, 150, 180, 270, 365, 455, 545, 635, 730, 1095, 1460, 1825,
    2555, 3650,
];

/// The greatest payment index of questions that name none: ten years of weeks.
const PAYMENTS_MAX: u32 = 520;

/// The ages of questions that name none, before those not reached are left out.
pub fn usual(basis: AgeBasis, width: Width) -> Vec<u32> {
    match (basis, width) {
        (AgeBasis::Payments, _) => (1..=PAYMENTS_MAX).collect(),
        (AgeBasis::Days | AgeBasis::ElapsedDays, _) | (AgeBasis::Periods, Width::Day) => {
            USUAL_DAYS.to_vec()
        }
        (AgeBasis::Periods, Width::Week) => (0..=260).collect(),
        (AgeBasis::Periods, Width::Month) => (0..=120).collect(),
        (AgeBasis::Periods, Width::Quarter) => (0..=40).collect(),
        (AgeBasis::Periods, Width::Year) => (0..=30).collect(),
    }
}

/// Asked ages, and in which of them each age counts first.
pub struct AgeSlots {
    /// By age, up to the greatest one asked.
    slots: Vec<u16>,
    beyond: u16,
}

impl AgeSlots {
    /// `ages` rise.
    pub fn new(ages: &[u32]) -> Self {
        let mut slots = Vec::new();
        for (slot, age) in ages.iter().enumerate() {
            let slot = u16::try_from(slot).unwrap_or(u16::MAX);
            slots.resize((*age).min(AGE_MAX) as usize + 1, slot);
        }
        Self { slots, beyond: u16::try_from(ages.len()).unwrap_or(u16::MAX) }
    }

    /// Position of the first asked age not below `age`; one past the last if there is none. Ages
    /// before the anchor count as 0.
    #[inline]
    pub fn slot(&self, age: i64) -> usize {
        let age = usize::try_from(age.max(0)).unwrap_or(usize::MAX);
        usize::from(self.slots.get(age).copied().unwrap_or(self.beyond))
    }
}

/// The ages a question asks, rising, each once.
pub fn asked(question: &LtvQuestion) -> Vec<u32> {
    let Some(ages) = &question.ages else { return usual(question.age, question.width) };
    let mut ages = ages.clone();
    ages.sort_unstable();
    ages.dedup();
    ages.truncate(AGES_MAX);
    ages
}

/// What has been seen of time.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The last day that has begun and whose facts count, perhaps not over.
    pub until: Day,
    /// The last day that counts and is over.
    pub through: Day,
}

impl Seen {
    /// Days before `today` are over; those after `until` do not count, and those after `today` age nobody.
    pub fn new(until: Day, today: Day) -> Self {
        Self { until: until.min(today), through: until.min(Day(today.0.saturating_sub(1))) }
    }
}

/// How a cohort ages.
#[derive(Debug, Clone, Copy)]
pub struct Aging {
    pub basis: AgeBasis,
    pub width: Width,
    pub seen: Seen,
}

impl Aging {
    /// Whether somebody of the cohort may have reached the age: its window opens for a member of
    /// the cohort's first day no later than `until`. Payment indices always count as begun.
    pub fn begun(&self, ordinal: i32, age: u32) -> bool {
        let opens = match self.basis {
            AgeBasis::Days | AgeBasis::ElapsedDays => {
                i64::from(self.width.first_day(ordinal).0) + i64::from(age)
            }
            AgeBasis::Periods => i64::from(self.width.first_day(later(ordinal, age)).0),
            AgeBasis::Payments => return true,
        };
        opens <= i64::from(self.seen.until.0)
    }

    /// Whether everybody of the cohort has been seen through the end of the age, so that only
    /// late events and refunds can still change the sum.
    ///
    /// | basis | the last day needed |
    /// |---|---|
    /// | days | the cohort's last day + age |
    /// | elapsed days | one more: who came in the last instant of a day needs 24 hours of the next |
    /// | periods | the last day of the bucket `age` after the cohort's |
    /// | payments | not defined: `None` |
    ///
    /// Elapsed days take calendar days for 24 hours: where clocks go forward in between, the last members
    /// have up to an hour more to live.
    pub fn complete(&self, ordinal: i32, age: u32) -> Option<bool> {
        let last = |ordinal: i32| i64::from(self.width.first_day(ordinal.saturating_add(1)).0) - 1;
        let needed = match self.basis {
            AgeBasis::Days => last(ordinal) + i64::from(age),
            AgeBasis::ElapsedDays => last(ordinal) + i64::from(age) + 1,
            AgeBasis::Periods => last(later(ordinal, age)),
            AgeBasis::Payments => return None,
        };
        Some(needed <= i64::from(self.seen.through.0))
    }
}

/// The ordinal of the bucket `age` after this one.
pub fn later(ordinal: i32, age: u32) -> i32 {
    ordinal.saturating_add(i32::try_from(age).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    /// The first day on which the age of the January 2025 cohort is complete, as `today`.
    fn complete_on(basis: AgeBasis, width: Width, age: u32) -> String {
        let ordinal = width.ordinal(day("2025-01-01"));
        let mut today = day("2025-01-01");
        loop {
            let aging = Aging { basis, width, seen: Seen::new(today, today) };
            match aging.complete(ordinal, age) {
                Some(true) => return today.to_string(),
                Some(false) => today = Day(today.0 + 1),
                None => return "never".to_owned(),
            }
        }
    }

    #[test]
    fn an_age_is_complete_when_the_last_possible_member_has_lived_it_whole() {
        // A customer of January 31 has day 0 behind them on February 1.
        assert_eq!(complete_on(AgeBasis::Days, Width::Month, 0), "2025-02-01");
        assert_eq!(complete_on(AgeBasis::Days, Width::Month, 30), "2025-03-03");
        // One of January 31, 23:59, has their first 24 hours behind them on February 2.
        assert_eq!(complete_on(AgeBasis::ElapsedDays, Width::Month, 0), "2025-02-02");
        assert_eq!(complete_on(AgeBasis::Periods, Width::Month, 0), "2025-02-01");
        assert_eq!(complete_on(AgeBasis::Periods, Width::Month, 1), "2025-03-01");
        assert_eq!(complete_on(AgeBasis::Periods, Width::Quarter, 1), "2025-07-01");
        // The week of January 1 is that of Monday, December 30.
        assert_eq!(complete_on(AgeBasis::Periods, Width::Week, 0), "2025-01-06");
        assert_eq!(complete_on(AgeBasis::Payments, Width::Month, 1), "never");
    }

    #[test]
    fn a_past_until_is_a_whole_day_and_today_is_not() {
        let ordinal = Width::Month.ordinal(day("2025-01-01"));
        let complete = |until, today| {
            let seen = Seen::new(day(until), day(today));
            Aging { basis: AgeBasis::Days, width: Width::Month, seen }.complete(ordinal, 0)
        };
        assert_eq!(complete("2025-01-31", "2025-01-31"), Some(false));
        assert_eq!(complete("2025-01-31", "2025-06-01"), Some(true));
        assert_eq!(complete("2025-01-30", "2025-06-01"), Some(false));
        assert_eq!(complete("2025-06-01", "2025-01-31"), Some(false));
    }

    #[test]
    fn an_age_begins_with_the_first_possible_member() {
        let ordinal = Width::Month.ordinal(day("2025-01-01"));
        let begun = |basis, age, until| {
            let seen = Seen::new(day(until), day(until));
            Aging { basis, width: Width::Month, seen }.begun(ordinal, age)
        };
        assert!(begun(AgeBasis::Days, 30, "2025-01-31"));
        assert!(!begun(AgeBasis::Days, 31, "2025-01-31"));
        assert!(!begun(AgeBasis::Periods, 1, "2025-01-31"));
        assert!(begun(AgeBasis::Periods, 1, "2025-02-01"));
        let seen = Seen::new(day("2030-01-01"), day("2025-01-31"));
        let aging = Aging { basis: AgeBasis::Days, width: Width::Month, seen };
        assert!(aging.begun(ordinal, 30) && !aging.begun(ordinal, 31), "days ahead age nobody");
    }

    #[test]
    fn an_age_counts_in_the_first_asked_one_that_holds_it() {
        let slots = AgeSlots::new(&[0, 7, 30]);
        let places: Vec<usize> =
            [-3, 0, 1, 7, 8, 30, 31, i64::MAX].iter().map(|age| slots.slot(*age)).collect();
        assert_eq!(places, [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(AgeSlots::new(&[]).slot(0), 0);
    }
}
