//! Money in and money given back, side by side.

use crate::engine::facts::Sums;

/// Money in and given back, both positive, in all three measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flows {
    pub payments: Sums,
    pub refunds: Sums,
}

impl std::ops::AddAssign for Flows {
    fn add_assign(&mut self, other: Self) {
        self.payments += other.payments;
        self.refunds += other.refunds;
    }
}
