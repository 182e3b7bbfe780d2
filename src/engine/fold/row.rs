//! What a fold is made of, for the row of its customer in memory.

use crate::domain::time::{Day, Timestamp};
use crate::engine::coverage::Span;
use crate::engine::fold::{Chain, Fold};
use crate::engine::moment::Moment;
use crate::engine::numbers::Numbers;
use crate::engine::timelines::PathId;

impl Fold {
    /// Bytes of memory held outside the struct itself.
    pub fn memory_bytes(&self) -> usize {
        self.chains.capacity() * size_of::<Chain>()
            + self.chains.iter().map(|chain| chain.paid.memory_bytes()).sum::<usize>()
            + self.places.memory_bytes()
            + self.coverage.memory_bytes()
    }

    /// Passes all numbers that it is made of but flags and the path of the timeline in the first zone.
    /// Guesses are what is so of a customer with one chain on the same terms.
    #[inline]
    pub fn pass(&mut self, numbers: &mut impl Numbers, path: PathId) {
        numbers.moment(&mut self.anchors.install_at, Moment::default());
        numbers.moment(&mut self.anchors.first_payment_at, self.anchors.install_at);
        numbers.moment(&mut self.last_payment_at, self.anchors.first_payment_at);
        numbers.number(&mut self.tuple, 0);
        numbers.number(&mut self.signature, 0);
        numbers.number(&mut self.starters, self.signature);
        numbers.length(&mut self.chains);
        self.places.forget();
        for chain in &mut self.chains {
            numbers.wide(&mut chain.id);
            numbers.number(&mut chain.tuple, self.tuple);
            let [own, customers] = &mut chain.merged;
            numbers.number(own, chain.tuple);
            numbers.number(customers, self.tuple);
            numbers.small(&mut chain.payments);
            Span::pass(&mut chain.span, numbers, (self.last_payment_at, chain.tuple));
            chain.paid.pass(numbers, chain.tuple);
            numbers.number(&mut chain.signature, self.signature);
        }
        let end = self.chains.first().and_then(|chain| chain.span).map(|span| span.end);
        self.coverage.pass(numbers, (path, end.map_or(Day(0), Timestamp::utc_day)));
    }
}
