//! Questions that were asked before: what was worked out then is brought up to date by the facts
//! that were added since, instead of by all facts.
//!
//! Always true
//! * The answer is that of all facts: what a question takes from facts are sums, so that what some
//!   facts say and what others say, merged, is what all of them say (`tests/it/asked_again.rs`).

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::engine::facts::FactTable;
use crate::engine::recent::RecentRows;

/// What is kept takes at most so many bytes for each sort of question; what was not asked for
/// longest goes first.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// And no more questions than this, however short their answers are.
const KEPT_QUESTIONS_MAX: usize = 1_000;

/// What a shard says of a question: sums over its facts.
pub trait Summed: Clone {
    /// What the facts of both say together.
    #[must_use]
    fn merge(self, other: Self) -> Self;

    /// Bytes of memory held, roughly.
    fn memory_bytes(&self) -> usize;
}

/// What was worked out for a question, and how far.
struct Known<P> {
    partial: Arc<P>,
    /// Number of the first row that the partial does not hold.
    next: u64,
}

/// Held by whoever works the question out, so that who asks the same meanwhile waits for the answer
/// instead of passing over all facts as well.
type Place<P> = Arc<Mutex<Option<Known<P>>>>;

struct Entry<Q, P> {
    question: Q,
    place: Place<P>,
    /// Of what was last known.
    bytes: usize,
}

/// What was worked out for the questions asked last about one shard.
pub struct Kept<Q, P> {
    /// In the order in which they were asked.
    entries: Mutex<VecDeque<Entry<Q, P>>>,
}

impl<Q, P> Default for Kept<Q, P> {
    fn default() -> Self {
        Self { entries: Mutex::default() }
    }
}

impl<Q: Clone + PartialEq, P: Summed> Kept<Q, P> {
    /// What all facts say of a question, which `all` works out; `some` works out what some facts say.
    /// `recent` are rows that were added to all facts, and none is added meanwhile.
    pub fn ask(
        &self,
        question: &Q,
        recent: &RecentRows,
        all: impl FnOnce() -> P,
        some: impl FnOnce(&FactTable) -> P,
    ) -> P {
        recent.want();
        let place = self.place(question);
        let mut known = place.lock();
        let followed = known.take().and_then(|Known { partial, next }| {
            let mut added = FactTable::default();
            recent.since(next)?.for_each(|rows| added.add_all(rows));
            if added.is_empty() {
                return Some(partial);
            }
            Some(Arc::new(Arc::unwrap_or_clone(partial).merge(some(&added))))
        });
        let partial = followed.unwrap_or_else(|| Arc::new(all()));
        let bytes = partial.memory_bytes();
        if bytes <= KEPT_BYTES_MAX {
            *known = Some(Known { partial: Arc::clone(&partial), next: recent.end() });
        }
        drop(known);
        self.note(&place, bytes);
        Arc::unwrap_or_clone(partial)
    }

    /// The place of a question, which becomes the one asked last.
    fn place(&self, question: &Q) -> Place<P> {
        let mut entries = self.entries.lock();
        let at = entries.iter().position(|entry| entry.question == *question);
        let entry = at.and_then(|at| entries.remove(at)).unwrap_or_else(|| Entry {
            question: question.clone(),
            place: Place::default(),
            bytes: 0,
        });
        let place = Arc::clone(&entry.place);
        entries.push_back(entry);
        place
    }

    /// Takes note of how much a question keeps, and makes room for it.
    fn note(&self, place: &Place<P>, bytes: usize) {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.place, place)) {
            entry.bytes = bytes;
        }
        entries.retain(|entry| entry.bytes <= KEPT_BYTES_MAX);
        let mut all: usize = entries.iter().map(|entry| entry.bytes).sum();
        while entries.len() > KEPT_QUESTIONS_MAX || all > KEPT_BYTES_MAX {
            all -= entries.pop_front().map_or(0, |entry| entry.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::domain::time::Day;
    use crate::engine::dictionary::AppIx;
    use crate::engine::facts::{FactKey, FactKind, Sums};
    use crate::engine::recent::ROWS_MAX;

    /// The sum of all counts, said to be so many bytes.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Total(i64, usize);

    impl Summed for Total {
        fn merge(self, other: Self) -> Self {
            Self(self.0 + other.0, self.1)
        }

        fn memory_bytes(&self) -> usize {
            self.1
        }
    }

    #[derive(Default)]
    struct World {
        kept: Kept<usize, Total>,
        facts: FactTable,
        recent: RecentRows,
        /// Facts that were looked at.
        looked_at: Cell<usize>,
    }

    impl World {
        fn add(&mut self, days: std::ops::Range<i32>) {
            let key = |day| FactKey::new(AppIx(0), 0, FactKind::Timeline, Day(day), 1);
            let rows: Vec<_> = days.map(|day| (key(day), Sums::count(1))).collect();
            self.facts.add_all(&rows);
            self.recent.note(&rows, self.facts.len());
        }

        /// The total, and of how many facts it was worked out.
        fn ask(&self, bytes: usize) -> (i64, usize) {
            let partial = |facts: &FactTable| {
                self.looked_at.set(facts.len());
                Total(facts.iter().map(|fact| fact.sums.count).sum(), bytes)
            };
            self.looked_at.set(0);
            let total = self.kept.ask(&bytes, &self.recent, || partial(&self.facts), partial);
            (total.0, self.looked_at.get())
        }

        fn questions_kept(&self) -> usize {
            self.kept.entries.lock().len()
        }
    }

    #[test]
    fn a_question_asked_again_looks_at_what_was_added_until_that_is_forgotten() {
        let mut world = World::default();
        world.add(0..100);
        assert_eq!(world.ask(1), (100, 100));
        assert_eq!(world.ask(1), (100, 0));
        world.add(100..105);
        assert_eq!(world.ask(1), (105, 5));
        for _ in 0..3 {
            world.add(0..i32::try_from(ROWS_MAX / 2 + 1).unwrap());
        }
        let (total, looked_at) = world.ask(1);
        assert_eq!((total, looked_at), (105 + 3 * (ROWS_MAX as i64 / 2 + 1), world.facts.len()));
    }

    #[test]
    fn the_question_not_asked_for_longest_makes_room_and_one_too_large_is_not_kept() {
        let mut world = World::default();
        world.add(0..10);
        let third = KEPT_BYTES_MAX / 3;
        for bytes in [third, third - 1, third - 2, KEPT_BYTES_MAX + 1] {
            assert_eq!(world.ask(bytes).1, 10);
        }
        assert_eq!(world.ask(third).1, 0);
        assert_eq!(world.ask(KEPT_BYTES_MAX + 1).1, 10);
        assert_eq!(world.ask(third - 3).1, 10);
        assert_eq!((world.ask(third).1, world.ask(third - 1).1), (0, 10));
    }

    #[test]
    fn who_asks_the_same_meanwhile_waits_for_the_answer_and_who_asks_another_does_not() {
        let (kept, recent) = (Kept::<usize, Total>::default(), RecentRows::default());
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel();
        let (kept, recent) = (&kept, &recent);
        let ask = |question, all: Box<dyn FnOnce() -> Total + Send>| {
            kept.ask(&question, recent, all, |_| Total(0, 0))
        };
        let slow = Box::new(move || {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
            Total(7, 1)
        });
        std::thread::scope(|scope| {
            let first = scope.spawn(|| ask(1, slow));
            has_begun.recv().unwrap();
            let second = scope.spawn(|| ask(1, Box::new(|| panic!("worked out twice"))));
            assert_eq!(ask(2, Box::new(|| Total(8, 1))), Total(8, 1));
            // The second has come when its question is the one asked last.
            while kept.entries.lock().back().is_none_or(|entry| entry.question != 1) {
                std::thread::yield_now();
            }
            go_on.send(()).unwrap();
            assert_eq!((first.join().unwrap(), second.join().unwrap()), (Total(7, 1), Total(7, 1)));
        });
    }

    #[test]
    fn questions_with_short_answers_are_not_kept_without_end() {
        let mut world = World::default();
        world.add(0..10);
        for bytes in 0..KEPT_QUESTIONS_MAX + 5 {
            world.ask(bytes);
        }
        assert_eq!(world.questions_kept(), KEPT_QUESTIONS_MAX);
        assert_eq!((world.ask(5).1, world.ask(4).1), (0, 10));
    }
}
