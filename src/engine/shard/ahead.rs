//! What is read before events are offered, for many of them together.

use hashbrown::HashSet;
use smallvec::SmallVec;

use crate::domain::event::BillingEvent;
use crate::engine::dictionary::TupleId;
use crate::engine::row_index::LOOK_AHEAD;
use crate::engine::shard::{CustomerKey, History, Shard, customer_key};

/// What was read before an event is offered.
#[derive(Debug, Default)]
pub struct ReadAhead<'a> {
    /// The tuple that the event names, if it is known.
    pub own_tuple: Option<TupleId>,
    /// What is stored of the event's customer: answers [`Shard::missing`] or an earlier
    /// [`Offer::NeedsHistory`](super::Offer::NeedsHistory).
    pub history: Option<History<'a>>,
}

impl Shard {
    /// Reads what memory holds of the customers of the next events and of their timelines, so that
    /// it answers for many at a time and not for one after the other. Changes nothing. Returns of
    /// each the tuple that it names, if it is known.
    pub fn look_ahead<'e, 'a: 'e>(
        &self,
        events: impl Iterator<Item = Option<&'e BillingEvent<'a>>> + Clone,
    ) -> SmallVec<[Option<TupleId>; LOOK_AHEAD]> {
        let known = events.clone().flatten().filter_map(|event| {
            let app = self.dictionary.find_app(&event.app_id)?;
            Some((app, &*event.customer_id))
        });
        let heads = self.customers.look_ahead(known);
        let pending = &self.unstored.pending;
        std::hint::black_box(
            heads.iter().fold(0, |read, head| read ^ pending.look_at(head.chunks)),
        );
        self.dictionary.timelines.look_ahead(heads.iter().map(|head| head.path));
        self.dictionary.find_tuples(events.map(|event| Some(&event?.dimensions)))
    }

    /// Of each event the customer whose history must be read before it is offered: one that is not
    /// in memory, at its first event of these. Empty if all customers are in memory.
    pub fn missing<'e, 'a: 'e>(
        &self,
        events: impl Iterator<Item = Option<&'e BillingEvent<'a>>>,
    ) -> Vec<Option<CustomerKey>> {
        if self.is_all_resident {
            return Vec::new();
        }
        let mut asked = HashSet::new();
        let missing = |event: Option<&BillingEvent<'_>>| {
            let event = event?;
            let app = self.dictionary.find_app(&event.app_id)?;
            let is_missing = self.customers.find(app, &event.customer_id).is_err();
            let key = is_missing.then(|| customer_key(app, &event.customer_id))?;
            asked.insert(key.clone()).then_some(key)
        };
        events.map(missing).collect()
    }
}
