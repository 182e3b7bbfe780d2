//! Which days a question about recurring revenue needs figures of.
//!
//! All figures are taken at the ends of a few days, the *marks*: stocks as sums over everything
//! up to a mark, flows as the difference of two. So a pass over facts adds each change to the
//! stretch between two marks that holds its day, and nothing else depends on how many days or
//! intervals are asked.

use std::collections::BTreeSet;

use crate::domain::time::{Day, Width};

/// The length of an interval. Weeks run from Sunday to Saturday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Interval {
    /// All of them, shortest first, with their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("day", Self::Day),
        ("week", Self::Week),
        ("month", Self::Month),
        ("quarter", Self::Quarter),
        ("year", Self::Year),
    ];

    fn width(self) -> Width {
        match self {
            Self::Day => Width::Day,
            Self::Week => Width::Week,
            Self::Month => Width::Month,
            Self::Quarter => Width::Quarter,
            Self::Year => Width::Year,
        }
    }

    /// First and last day of the interval that holds `day`.
    pub fn around(self, day: Day) -> Stretch {
        // Sunday is one day before the Monday with which weeks begin elsewhere.
        let shift = i32::from(self == Self::Week);
        let day = Day(day.0 + shift);
        let (start, end) = (self.width().start(day), self.width().end(day));
        Stretch { start: Day(start.0 - shift), end: Day(end.0 - shift) }
    }
}

/// Days from `start` to `end`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub start: Day,
    pub end: Day,
}

impl Stretch {
    /// The day before it.
    pub fn before(self) -> Day {
        Day(self.start.0 - 1)
    }

    /// So many days that end with this one.
    fn ending(end: Day, days: i32) -> Self {
        Self { start: Day(end.0 - days + 1), end }
    }
}

/// How far back the earlier one of two stocks lies, in days.
const STOCK_DAYS: i32 = 30;
/// The most whole months before a month whose churn rates are averaged.
pub const TRAILING_MONTHS: usize = 6;

/// What is asked, day by day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Days {
    /// The intervals asked for; the first one whole, the last one cut to the range's end.
    pub intervals: Vec<Stretch>,
    /// The last 30 days of the range, and the 30 before.
    pub stocks: [Stretch; 2],
    /// The last month that is over by the end of the range, and the one before.
    pub months: [Stretch; 2],
    /// Rising; no figure is needed of other days' ends.
    marks: Vec<Day>,
    /// From the day after the first mark to the last: the place of the first mark not before it,
    /// and the first days of its interval and of its month.
    table: Vec<(u32, Day, Day)>,
}

impl Days {
    /// Of a range as asked, and the day of now, which cuts it.
    pub fn new(interval: Interval, (from, to): (Day, Day), today: Day) -> Self {
        let last = to.min(today);
        let mut intervals = Vec::new();
        let mut start = interval.around(from).start;
        while from <= last && start <= last {
            let end = interval.around(start).end.min(last);
            intervals.push(Stretch { start, end });
            start = Day(end.0 + 1);
        }
        let month = Interval::Month.around(last);
        let is_over = month.end <= last && month.end < today;
        let current = if is_over { month } else { Interval::Month.around(month.before()) };
        let months = [current, Interval::Month.around(current.before())];
        let stocks = [
            Stretch::ending(last, STOCK_DAYS),
            Stretch::ending(Day(last.0 - STOCK_DAYS), STOCK_DAYS),
        ];
        let mut days = Self { intervals, stocks, months, marks: Vec::new(), table: Vec::new() };
        days.mark(last);
        days.tabulate(interval);
        days
    }

    /// The month of a day, up to that day.
    pub fn month_to(day: Day) -> Stretch {
        Stretch { start: Interval::Month.around(day).start, end: day }
    }

    /// The whole months before the month of a day, newest first.
    pub fn months_before(day: Day) -> [Stretch; TRAILING_MONTHS] {
        let mut month = Interval::Month.around(day);
        std::array::from_fn(|_| {
            month = Interval::Month.around(month.before());
            month
        })
    }

    fn mark(&mut self, last: Day) {
        let mut marks = BTreeSet::new();
        for stretch in self.intervals.iter().chain(&self.stocks).chain(&self.months) {
            marks.extend([stretch.before(), stretch.end]);
        }
        let earliest = self.intervals.first().map_or(last, |first| first.end);
        let earliest = earliest.min(self.months[1].start);
        let mut before = Self::months_before(earliest)[TRAILING_MONTHS - 1].before();
        while before < last {
            marks.insert(before);
            before = Interval::Month.around(Day(before.0 + 1)).end;
        }
        self.marks = marks.into_iter().collect();
    }

    fn tabulate(&mut self, interval: Interval) {
        let [Some(first), Some(last)] = [self.marks.first(), self.marks.last()] else { return };
        let (mut place, mut asked, mut month) = (1, None, None);
        for day in (first.0 + 1..=last.0).map(Day) {
            while self.marks.get(place).is_some_and(|mark| *mark < day) {
                place += 1;
            }
            let of = |stretch: &mut Option<Stretch>, interval: Interval| {
                if stretch.is_none_or(|stretch| stretch.end < day) {
                    *stretch = Some(interval.around(day));
                }
                stretch.map_or(day, |stretch| stretch.start)
            };
            let starts = (of(&mut asked, interval), of(&mut month, Interval::Month));
            self.table.push((u32::try_from(place).unwrap_or(u32::MAX), starts.0, starts.1));
        }
    }

    /// The days at whose ends figures are taken, rising.
    pub fn marks(&self) -> &[Day] {
        &self.marks
    }

    /// The place of the first mark not before `day`; none after the last.
    pub fn place(&self, day: Day) -> Option<usize> {
        let first = self.marks.first()?;
        if day <= *first {
            return Some(0);
        }
        self.row(day).map(|row| row.0 as usize)
    }

    /// The first days of the interval and of the month that hold `day`; none up to the first
    /// mark and after the last.
    pub fn starts(&self, day: Day) -> Option<[Day; 2]> {
        self.row(day).map(|(_, interval, month)| [*interval, *month])
    }

    fn row(&self, day: Day) -> Option<&(u32, Day, Day)> {
        let after = i64::from(day.0) - i64::from(self.marks.first()?.0) - 1;
        self.table.get(usize::try_from(after).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn days(interval: Interval, from: &str, to: &str, today: &str) -> Days {
        Days::new(interval, (day(from), day(to)), day(today))
    }

    fn text(stretch: Stretch) -> String {
        format!("{}..{}", stretch.start, stretch.end)
    }

    #[test]
    fn intervals_are_whole_at_the_beginning_and_cut_at_the_end() {
        for (interval, expected) in [
            (Interval::Day, vec!["2024-01-31..2024-01-31", "2024-02-01..2024-02-01"]),
            (Interval::Week, vec!["2024-01-28..2024-02-01"]),
            (Interval::Month, vec!["2024-01-01..2024-01-31", "2024-02-01..2024-02-01"]),
            (Interval::Quarter, vec!["2024-01-01..2024-02-01"]),
            (Interval::Year, vec!["2024-01-01..2024-02-01"]),
        ] {
            for (to, today) in [("2024-02-01", "2025-01-01"), ("2025-01-01", "2024-02-01")] {
                let days = days(interval, "2024-01-31", to, today);
                let listed: Vec<String> = days.intervals.into_iter().map(text).collect();
                assert_eq!(listed, expected, "{interval:?}");
            }
        }
        assert_eq!(days(Interval::Day, "2024-03-01", "2024-04-01", "2024-02-01").intervals, []);
        // Saturdays end weeks.
        let weeks = days(Interval::Week, "2015-01-03", "2015-01-10", "2024-01-01").intervals;
        let ends: Vec<String> = weeks.iter().map(|week| week.end.to_string()).collect();
        assert_eq!(ends, ["2015-01-03", "2015-01-10"]);
    }

    #[test]
    fn a_month_counts_as_over_once_its_last_day_is() {
        for (to, today, current) in [
            ("2024-04-30", "2024-05-01", "2024-04-01..2024-04-30"),
            ("2024-04-30", "2024-04-30", "2024-03-01..2024-03-31"),
            ("2024-04-29", "2024-05-01", "2024-03-01..2024-03-31"),
            ("2024-12-31", "2024-05-01", "2024-04-01..2024-04-30"),
        ] {
            let days = days(Interval::Month, "2024-01-01", to, today);
            assert_eq!(text(days.months[0]), current, "{to} {today}");
        }
    }

    #[test]
    fn every_day_belongs_to_the_first_mark_not_before_it() {
        let days = days(Interval::Week, "2024-03-06", "2024-03-20", "2024-03-18");
        let marks = days.marks().to_vec();
        assert_eq!(*marks.last().unwrap(), day("2024-03-18"));
        for at in (marks[0].0 - 3..=marks[marks.len() - 1].0 + 3).map(Day) {
            let expected = marks.iter().position(|mark| *mark >= at);
            assert_eq!(days.place(at), expected, "{at}");
            let inside = expected.is_some_and(|place| place > 0);
            assert_eq!(days.starts(at).is_some(), inside, "{at}");
        }
        let sunday_and_first = [day("2024-03-03"), day("2024-03-01")];
        assert_eq!(days.starts(day("2024-03-09")), Some(sunday_and_first));
    }
}
