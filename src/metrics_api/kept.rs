//! What was worked out for a question, and how it is brought up to date: by the facts that were added
//! since, instead of by all facts.
//!
//! What was not asked before is worked out in steps, some pages at a time, so that events are applied in
//! between. They change facts that were passed over already, and facts that are yet to come: at the end
//! the rows that were added to pages behind are added as well.
//!
//! Always true
//! * The answer is that of all facts as they are at its last step: what a question takes from facts are
//!   sums, so that what some facts say and what others say, merged, is what all of them say
//!   (`tests/it/asked_again.rs`).

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::engine::facts::{FactTable, Facts, PAGE_ROWS, PageNumber};
use crate::engine::recent::RecentRows;

/// What is kept takes at most so many bytes for each sort of question; what was not asked for
/// longest goes first.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// And no more questions than this, however short their answers are.
const KEPT_QUESTIONS_MAX: usize = 1_000;
/// Pages of a step at the least: a quarter of a million facts, some milliseconds.
const STEP_PAGES_MIN: PageNumber = (1 << 18) / PAGE_ROWS as PageNumber;
/// A pass takes so many steps at most, as each begins with what the dictionary says: with twice as many
/// those of recurring revenue, which look at every path, took twice as long together as a single one.
const STEPS_MAX: PageNumber = 8;

/// What a shard says of a question: sums over its facts.
pub trait Summed: Clone {
    /// What the facts of both say together.
    #[must_use]
    fn merge(self, other: Self) -> Self;

    /// Bytes of memory held, roughly.
    fn memory_bytes(&self) -> usize;
}

/// What was worked out for a question, and how far.
enum Known<P> {
    /// What all facts say, without the recent rows from this number on.
    Whole {
        partial: Arc<P>,
        next: u64,
    },
    Begun(Begun<P>),
}

/// What the facts say that have been passed over.
struct Begun<P> {
    partial: Option<P>,
    /// Pages that there were at the first step.
    pages: PageNumber,
    /// Pages of a step.
    step: PageNumber,
    /// Of each step that is done, the number of the first recent row that came after it.
    done: Vec<u64>,
}

impl<P: Summed> Begun<P> {
    fn new(pages: PageNumber, step_min: PageNumber) -> Self {
        let step = pages.div_ceil(STEPS_MAX).max(step_min);
        Self { partial: None, pages, step, done: Vec::new() }
    }

    /// Whether the rows are remembered that were added since the first step.
    fn is_of_use(&self, recent: &RecentRows) -> bool {
        self.done.first().is_some_and(|number| recent.since(*number).is_some())
    }

    /// Passes over the next pages; whether it was the last step.
    fn go_on(&mut self, (facts, recent): Added<'_>, some: impl FnOnce(Facts<'_>) -> P) -> bool {
        let start = self.step.saturating_mul(PageNumber::try_from(self.done.len()).unwrap_or(0));
        let end = start.saturating_add(self.step).min(self.pages);
        let more = some(Facts::of_pages(facts, start..end));
        self.partial = Some(match self.partial.take() {
            Some(partial) => partial.merge(more),
            None => more,
        });
        self.done.push(recent.end());
        end == self.pages
    }

    /// What all facts say, when the last step is done; `None` if it can't be told any more.
    fn finish(self, recent: &RecentRows, some: impl FnOnce(Facts<'_>) -> P) -> Option<P> {
        let mut number = *self.done.first()?;
        let (mut added, mut missed) = (FactTable::default(), Vec::new());
        for (rows, pages) in recent.since(number)? {
            for (row, page) in rows.iter().zip(pages) {
                let done = self.done.get((page / self.step) as usize);
                // In a page that came since, or in one that was passed over before.
                if *page >= self.pages || done.is_none_or(|done| number >= *done) {
                    missed.push(*row);
                }
                number += 1;
            }
            added.add_all(&missed);
            missed.clear();
        }
        let partial = self.partial?;
        Some(if added.is_empty() { partial } else { partial.merge(some((&added).into())) })
    }
}

/// What all facts say: what they said without the recent rows from a number on, and what these say. `None`
/// if some of them are forgotten.
fn followed<P: Summed>(
    partial: Arc<P>,
    (next, recent): (u64, &RecentRows),
    some: impl FnOnce(Facts<'_>) -> P,
) -> Option<Arc<P>> {
    let mut added = FactTable::default();
    recent.since(next)?.for_each(|(rows, _)| added.add_all(rows));
    if added.is_empty() {
        return Some(partial);
    }
    Some(Arc::new(Arc::unwrap_or_clone(partial).merge(some((&added).into()))))
}

/// The facts, and the rows that were added to them of late.
type Added<'a> = (&'a FactTable, &'a RecentRows);

/// Held by whoever works on the question, so that who asks the same meanwhile waits for that or does the
/// next step, instead of passing over all facts as well.
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
    step_pages_min: PageNumber,
}

impl<Q, P> Default for Kept<Q, P> {
    fn default() -> Self {
        Self { entries: Mutex::default(), step_pages_min: STEP_PAGES_MIN }
    }
}

impl<Q, P> Kept<Q, P> {
    /// Bytes of memory held by what is kept, roughly; what is being worked out is not counted.
    pub fn memory_bytes(&self) -> usize {
        self.entries.lock().iter().map(|entry| entry.bytes).sum()
    }
}

impl<Q: Clone + PartialEq, P: Summed> Kept<Q, P> {
    /// Lets a step take so many pages at the least.
    pub fn set_step_pages_min(&mut self, pages: PageNumber) {
        self.step_pages_min = pages.max(1);
    }

    /// What all facts say of a question; `None` if more is to be done, which the next call does: events may
    /// be applied before. `at_once` says it without any fact, if it can; `some` works out what some facts
    /// say. Nothing is added to the facts meanwhile.
    pub fn ask(
        &self,
        question: &Q,
        (facts, recent): Added<'_>,
        at_once: impl FnOnce() -> Option<P>,
        some: impl Fn(Facts<'_>) -> P,
    ) -> Option<P> {
        recent.want();
        let place = self.place(question);
        let mut known = place.lock();
        let mut begun = None;
        let mut whole = match known.take() {
            Some(Known::Whole { partial, next }) => followed(partial, (next, recent), &some),
            Some(Known::Begun(known)) if known.is_of_use(recent) => {
                begun = Some(known);
                None
            }
            _ => None,
        };
        if whole.is_none() && begun.is_none() {
            whole = at_once().map(Arc::new);
        }
        let whole = match whole {
            Some(whole) => whole,
            None => {
                let new = || Begun::new(facts.next_page(), self.step_pages_min);
                let mut begun = begun.unwrap_or_else(new);
                if !begun.go_on((facts, recent), &some) {
                    *known = Some(Known::Begun(begun));
                    return None;
                }
                let finished = begun.finish(recent, &some);
                Arc::new(finished.unwrap_or_else(|| some(facts.into())))
            }
        };
        let bytes = whole.memory_bytes();
        if bytes <= KEPT_BYTES_MAX {
            *known = Some(Known::Whole { partial: Arc::clone(&whole), next: recent.end() });
        }
        drop(known);
        self.note(&place, bytes);
        Some(Arc::unwrap_or_clone(whole))
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
    use std::collections::BTreeMap;

    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::domain::time::Day;
    use crate::engine::dictionary::AppIx;
    use crate::engine::facts::{FactKey, FactKind, Group, Sums};
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

    fn add(rows: &[(FactKey, Sums)], facts: &mut FactTable, recent: &mut RecentRows) {
        let mut pages = Vec::new();
        facts.add_each(rows, |page| pages.push(page));
        recent.note(rows, &pages, facts.len());
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
            add(&rows, &mut self.facts, &mut self.recent);
        }

        /// The total, and of how many facts it was worked out.
        fn ask(&self, bytes: usize) -> (i64, usize) {
            let group = Group { app: AppIx(0), zone: 0, kind: FactKind::Timeline };
            let partial = |facts: Facts<'_>| {
                self.looked_at.set(facts.of(group).count());
                Total(facts.of(group).map(|fact| fact.sums().count).sum(), bytes)
            };
            self.looked_at.set(0);
            let added = (&self.facts, &self.recent);
            let total = self.kept.ask(&bytes, added, || None, partial).unwrap();
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
        let facts = FactTable::default();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel();
        let (kept, added) = (&kept, (&facts, &recent));
        let ask = |question, all: Box<dyn FnOnce() -> Total + Send>| {
            kept.ask(&question, added, || Some(all()), |_| Total(0, 0)).unwrap()
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

    /// Every fact for itself.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Each(BTreeMap<FactKey, i64>);

    impl Summed for Each {
        fn merge(mut self, other: Self) -> Self {
            for (key, count) in other.0 {
                *self.0.entry(key).or_default() += count;
            }
            self.0.retain(|_, count| *count != 0);
            self
        }

        fn memory_bytes(&self) -> usize {
            1
        }
    }

    #[test]
    fn what_is_worked_out_in_steps_is_what_all_facts_say_at_the_last_of_them() {
        const KINDS: [FactKind; 3] = [FactKind::Timeline, FactKind::Payment, FactKind::Starter];
        let seed = rand::random();
        println!("seed {seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let kept: Kept<u8, Each> = Kept { step_pages_min: 1, ..Kept::default() };
        let (mut facts, mut recent) = (FactTable::default(), RecentRows::default());
        let some = |facts: Facts<'_>| {
            let groups = KINDS.map(|kind| Group { app: AppIx(0), zone: 0, kind });
            let rows = groups.into_iter().flat_map(|group| facts.of(group));
            Each(rows.map(|row| (row.key, row.sums().count)).collect())
        };
        let (mut steps, mut answers) = (0, 0);
        for round in 0..300 {
            // More and more facts, of which many become zero and others take their rows.
            let reach = 8_000 + 100 * round;
            let rows: Vec<_> = (0..rng.random_range(0..1_500))
                .map(|_| {
                    let kind = KINDS[rng.random_range(0..KINDS.len())];
                    let far = if rng.random_ratio(1, 50) { 700_000 } else { 0 };
                    let day = Day(far + rng.random_range(0..reach));
                    (FactKey::new(AppIx(0), 0, kind, day, 1), Sums::count(rng.random_range(-1..=1)))
                })
                .collect();
            let taken_back: Vec<_> = facts
                .iter()
                .step_by(rng.random_range(20..200))
                .map(|fact| (fact.key, fact.sums.negated()))
                .collect();
            add(&rows, &mut facts, &mut recent);
            add(&taken_back, &mut facts, &mut recent);
            let question = rng.random_range(0..3);
            steps += 1;
            if let Some(answer) = kept.ask(&question, (&facts, &recent), || None, some) {
                let expected: BTreeMap<_, _> =
                    facts.iter().map(|fact| (fact.key, fact.sums.count)).collect();
                assert!(answer.0 == expected, "seed {seed} round {round}");
                answers += 1;
                // The next one begins anew.
                if rng.random_ratio(2, 3) {
                    kept.entries.lock().clear();
                }
            }
        }
        assert!(answers > 10 && steps > 3 * answers, "seed {seed}: {answers} in {steps}");
    }
}
