//! What is going to happen, earliest first.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::customer::Payment;

/// A thing to happen to a customer.
#[derive(Debug)]
pub(super) enum Action {
    Install,
    Attribution,
    /// Sees a paywall for the so-many-th time, and may take something.
    PaywallView(u8),
    StartTrial(u8),
    Buy(u8),
    BuyOnce(u8),
    /// The trial or paid period ends and the next one is paid.
    Pay,
    /// The same at another plan.
    ChangePlan(u8),
    Cancel,
    Uncancel,
    Expire(&'static str),
    /// The store cannot take the money; whether it can within the days of grace.
    FailToPay {
        recovers: bool,
    },
    /// Back after the subscription had ended.
    Return,
    Refund(Box<Refund>),
    /// The payment had been reported wrongly as the event with this ordinal.
    Correct(Box<Payment>, u16),
    /// The event with this ordinal should never have been sent.
    Void(u16),
    Forget,
}

impl Action {
    /// Belongs to the current state of the subscription, and is void once that has moved on.
    pub(super) fn is_of_subscription(&self) -> bool {
        matches!(
            self,
            Self::Pay
                | Self::ChangePlan(_)
                | Self::Cancel
                | Self::Uncancel
                | Self::Expire(_)
                | Self::FailToPay { .. }
                | Self::Return
        )
    }
}

/// Money to give back.
#[derive(Debug)]
pub(super) struct Refund {
    pub(super) payment: Payment,
    /// Micro-units to give back, at most the payment's gross.
    pub(super) gross: i64,
    /// Names its payment.
    pub(super) linked: bool,
    /// Gives all back and may end the subscription.
    pub(super) full: bool,
}

/// An action with its time, in an order without ties.
#[derive(Debug)]
pub(super) struct Scheduled {
    pub(super) at: i64,
    sequence: u64,
    pub(super) slot: usize,
    /// The customer's epoch when this was planned.
    pub(super) epoch: u16,
    pub(super) action: Action,
}

impl Scheduled {
    fn key(&self) -> (i64, u64) {
        (self.at, self.sequence)
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// All that is planned. Things of one instant happen in the order they were planned in.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<Scheduled>>,
    planned: u64,
}

impl Agenda {
    pub(super) fn plan(&mut self, at: i64, slot: usize, epoch: u16, action: Action) {
        let sequence = self.planned;
        self.planned += 1;
        self.heap.push(Reverse(Scheduled { at, sequence, slot, epoch, action }));
    }

    pub(super) fn next_at(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse(scheduled)| scheduled.at)
    }

    pub(super) fn pop(&mut self) -> Option<Scheduled> {
        self.heap.pop().map(|Reverse(scheduled)| scheduled)
    }

    pub(super) fn clear(&mut self) {
        self.heap = BinaryHeap::new();
    }
}
