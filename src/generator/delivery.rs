//! How events arrive: most at once, some late, some twice.
//!
//! Draws from its own stream, so that other shares change the order and the repetitions of the
//! same set of events, never the events.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

use crate::domain::event::BillingEvent;
use crate::domain::time::DAY_MICROS;

use super::draws::Draws;
use super::settings::Share;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;

/// Events on their way.
#[derive(Debug)]
pub(super) struct Delivery {
    draws: Draws,
    late: Share,
    duplicates: Share,
    /// Arriving at the instant they happened, in order.
    prompt: VecDeque<(i64, BillingEvent<'static>)>,
    held: BinaryHeap<Reverse<Held>>,
    sequence: u64,
}

impl Delivery {
    pub(super) fn new(draws: Draws, late: Share, duplicates: Share) -> Self {
        Self {
            draws,
            late,
            duplicates,
            prompt: VecDeque::new(),
            held: BinaryHeap::new(),
            sequence: 0,
        }
    }

    /// Sends an event at `at`.
    pub(super) fn send(&mut self, at: i64, event: BillingEvent<'static>) {
        let late = self.draws.chance_ppm(self.late.ppm());
        let arrival = if late { at + self.delay() } else { at };
        if self.draws.chance_ppm(self.duplicates.ppm()) {
            let again = arrival + self.draws.between(MINUTE / 60, 3 * DAY_MICROS);
            self.hold(again, event.clone());
        }
        if late {
            self.hold(arrival, event);
        } else {
            self.prompt.push_back((at, event));
        }
    }

    /// Mostly minutes, sometimes a day, seldom weeks.
    fn delay(&mut self) -> i64 {
        match self.draws.below(10) {
            0..=5 => self.draws.between(MINUTE, 2 * HOUR),
            6..=8 => self.draws.between(2 * HOUR, 2 * DAY_MICROS),
            _ => self.draws.between(2 * DAY_MICROS, 21 * DAY_MICROS),
        }
    }

    fn hold(&mut self, at: i64, event: BillingEvent<'static>) {
        self.sequence += 1;
        self.held.push(Reverse(Held { at, sequence: self.sequence, event: Box::new(event) }));
    }

    /// What arrives next, if it arrives by `until`; `None` for `until` waits for everything.
    pub(super) fn receive(&mut self, until: Option<i64>) -> Option<(i64, BillingEvent<'static>)> {
        if let Some(prompt) = self.prompt.pop_front() {
            return Some(prompt);
        }
        let due =
            self.held.peek().is_some_and(|Reverse(held)| until.is_none_or(|at| held.at <= at));
        if !due {
            return None;
        }
        self.held.pop().map(|Reverse(held)| (held.at, *held.event))
    }
}

/// An event that arrives later than it happened.
#[derive(Debug)]
struct Held {
    at: i64,
    sequence: u64,
    event: Box<BillingEvent<'static>>,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}
