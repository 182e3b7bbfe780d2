//! What a shard holds in memory, and what of it can be dropped.

use crate::engine::shard::{Chunks, Shard};

/// Customers may hold the memory budget divided by this, however much is held by what can't be
/// dropped: without any in memory each event would read a history from the store.
const CUSTOMERS_SHARE_MIN: usize = 4;
/// The events of a commit are in memory so many times: as they waited, in the store's own hands, and once more
/// for those that come meanwhile.
const COMMIT_COPIES: usize = 3;

/// Customers of a shard hold no more than this between commits, whatever the budget: places of rows are
/// numbers that reach through 64 GiB.
const CUSTOMERS_BYTES_MAX: usize = 56 << 30;

/// What became of customers in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evicted {
    /// How many were dropped.
    pub customers: usize,
    /// What can't be dropped leaves them no more than the least share of the budget.
    pub is_tight: bool,
}

impl Shard {
    /// Drops customers from memory until everything will hold about `bytes` by the next commit, or
    /// customers hold no more than a quarter of that. Those with changes that are not stored stay, and
    /// all while a commit is written. So many bytes are held by `others` that can't be dropped.
    pub fn evict(&mut self, bytes: usize, others: usize) -> Evicted {
        let held = self.customer_memory_bytes();
        // Until the next commit about as many events and customers will come as before the last one.
        let growth = held.saturating_sub(self.customer_bytes_before);
        let coming = growth + COMMIT_COPIES * self.pending_bytes_before;
        let (fixed, least) = (self.fixed_memory_bytes() + others, bytes / CUSTOMERS_SHARE_MIN);
        let left = bytes.saturating_sub(fixed + coming);
        let room = left.max(least).min(CUSTOMERS_BYTES_MAX);
        let may_drop = held > room && self.unstored.storing.is_none();
        let pending = &self.unstored.pending;
        let must_stay = |chunks: Chunks| pending.has(chunks);
        let customers = if may_drop { self.customers.evict(held - room, must_stay) } else { 0 };
        self.is_all_resident &= customers == 0;
        self.customers.compact();
        self.customer_bytes_before = self.customer_memory_bytes();
        Evicted { customers, is_tight: bytes.saturating_sub(fixed) < least }
    }

    /// Bytes of memory held by customers.
    pub fn customer_memory_bytes(&self) -> usize {
        self.customers.memory_bytes()
    }

    /// Bytes of memory that customers held, and that those to come will.
    pub fn spare_memory_bytes(&self) -> usize {
        self.customers.spare_memory_bytes()
    }

    /// Bytes of memory held by what can't be dropped, roughly.
    pub fn fixed_memory_bytes(&self) -> usize {
        self.facts.memory_bytes()
            + self.recent.memory_bytes()
            + self.curves.memory_bytes()
            + self.dictionary.memory_bytes()
            + self.given.memory_bytes()
            + self.suspended.memory_bytes()
            + self.forgotten.allocation_size()
    }

    /// Bytes of the events accepted since the last commit.
    pub fn pending_bytes(&self) -> usize {
        self.unstored.pending.log.byte_count()
    }

    /// Bytes of memory held by everything, roughly.
    pub fn memory_bytes(&self) -> usize {
        let storing = self.unstored.storing.as_ref().map_or(0, |events| events.memory_bytes());
        let unstored = self.unstored.pending.memory_bytes() + storing;
        let customers = self.customer_memory_bytes() + self.spare_memory_bytes();
        customers + self.fixed_memory_bytes() + unstored
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::domain::event::RawEvent;
    use crate::domain::rules::Rules;
    use crate::domain::time::Timestamp;
    use crate::engine::curves::{CurvesConfig, ZonesKept};
    use crate::engine::shard::ReadAhead;

    fn shard_of(customers: i64) -> Shard {
        let curves = CurvesConfig { zones: ZonesKept::First, segments: BTreeMap::new() };
        let mut shard = Shard::new(Arc::new(Rules::of_one_app("acme")), curves);
        for number in 0..customers {
            let at = Timestamp(number * 86_400_000_000);
            let raw = RawEvent {
                event_id: Some("e".into()),
                app_id: Some("acme".into()),
                customer_id: Some(number.to_string().into()),
                kind: Some("install".into()),
                occurred_at: Some(at),
                ..RawEvent::default()
            };
            let rules = Arc::clone(shard.rules());
            shard.offer(&rules, &raw.check().unwrap(), at, ReadAhead::default());
        }
        shard
    }

    #[test]
    fn customers_keep_a_quarter_of_a_budget_that_facts_have_used_up() {
        let mut shard = shard_of(2000);
        // What is not stored stays.
        assert_eq!(shard.evict(0, 0), Evicted { customers: 0, is_tight: false });
        shard.take_changes();
        assert_eq!(shard.evict(0, 0), Evicted { customers: 0, is_tight: false });
        shard.stored();
        let all = shard.customer_memory_bytes();
        let fixed = shard.fixed_memory_bytes() + COMMIT_COPIES * shard.pending_bytes_before;
        let is_roomy = Evicted { customers: 0, is_tight: false };
        assert_eq!(shard.evict(4 * (fixed + all), 0), is_roomy);
        let budget = all.min(fixed);
        let evicted = shard.evict(budget, 0);
        assert!(evicted.is_tight && evicted.customers > 0, "{evicted:?}");
        let held = shard.customer_memory_bytes();
        assert!(held > budget / 5 && held <= budget / 4, "{held} of {budget}");
        // However much others hold.
        assert_eq!(shard.evict(budget, budget).customers, 0);
        shard.evict(0, 0);
        assert!(shard.customers.is_empty());
    }
}
