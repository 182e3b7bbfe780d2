//! What was worked out of late, to be found again: a cache that may forget.
//!
//! A look-up reads one place in memory, where a hash table that loses nothing reads two, one after the
//! other. Nothing that is forgotten is lost, since it can be worked out again.

use std::hash::{BuildHasher as _, Hash};

use hashbrown::DefaultHashBuilder;

/// Answers that lie side by side: a new one takes the place of the older of them.
const WAYS: usize = 2;
const BUCKETS_MIN: usize = 1 << 8;
/// So much is remembered at most: 4 MiB of answers to questions of twelve bytes. With four times as many, or a
/// quarter, an event takes 0.04 and 0.07 µs longer (three million events): more lines of memory are in no
/// cache, or more is worked out again.
const BUCKETS_MAX: usize = 1 << 17;

/// Numbers above 0, the answers to questions.
pub struct Memo<Q> {
    /// None, or a power of two of them.
    buckets: Vec<[Answer<Q>; WAYS]>,
    len: usize,
    hasher: DefaultHashBuilder,
}

/// To a question; 0 where nothing is.
#[derive(Clone, Copy, Default)]
struct Answer<Q> {
    question: Q,
    number: u32,
}

impl<Q> Default for Memo<Q> {
    fn default() -> Self {
        Self { buckets: Vec::new(), len: 0, hasher: DefaultHashBuilder::default() }
    }
}

impl<Q: Copy + Default + Eq + Hash> Memo<Q> {
    /// The answer, if it is not forgotten.
    pub fn get(&self, question: Q) -> Option<u32> {
        let bucket = self.buckets.get(self.bucket_of(question))?;
        let is_it = |answer: &&Answer<Q>| answer.number > 0 && answer.question == question;
        bucket.iter().find(is_it).map(|answer| answer.number)
    }

    /// Remembers the answer, above 0, to a question that has none.
    pub fn put(&mut self, question: Q, number: u32) {
        debug_assert!(number > 0, "0 is no answer");
        let places = self.buckets.len() * WAYS;
        if self.len * 2 >= places && self.buckets.len() < BUCKETS_MAX {
            self.grow();
        }
        self.insert(Answer { question, number });
    }

    fn insert(&mut self, answer: Answer<Q>) {
        let bucket = self.bucket_of(answer.question);
        let [newer, older] = &mut self.buckets[bucket];
        self.len += usize::from(older.number == 0);
        *older = std::mem::replace(newer, answer);
    }

    fn grow(&mut self) {
        let count = (self.buckets.len() * 2).max(BUCKETS_MIN);
        let buckets = vec![[Answer::default(); WAYS]; count];
        let before = std::mem::replace(&mut self.buckets, buckets);
        self.len = 0;
        // The newer last, so that it is that again.
        let answers = before.into_iter().flat_map(|[newer, older]| [older, newer]);
        answers.filter(|answer| answer.number > 0).for_each(|answer| self.insert(answer));
    }

    fn bucket_of(&self, question: Q) -> usize {
        let places = (self.buckets.len() as u64).wrapping_sub(1);
        let hash = self.hasher.hash_one(question);
        // Some hashers let neighbouring numbers share few buckets, whichever of their bits are taken.
        ((hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) & places) as usize
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<[Answer<Q>; WAYS]>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_that_of_its_question_or_forgotten() {
        let mut memo = Memo::default();
        assert_eq!(memo.get(7u64), None);
        let number = |question: u64| u32::try_from(question % 1_000_003).unwrap() + 1;
        let questions = 3 * (BUCKETS_MAX * WAYS) as u64;
        for question in 0..questions {
            assert_eq!(memo.get(question), None);
            memo.put(question, number(question));
            assert_eq!(memo.get(question), Some(number(question)));
        }
        let known = (0..questions).filter(|question| match memo.get(*question) {
            Some(answer) => {
                assert_eq!(answer, number(*question));
                true
            }
            None => false,
        });
        // Nearly as many as there is room for.
        assert!(known.count() > BUCKETS_MAX * WAYS * 9 / 10);
        assert_eq!(memo.memory_bytes(), BUCKETS_MAX * WAYS * 16);
    }

    #[test]
    fn of_few_questions_most_answers_are_remembered() {
        let mut memo = Memo::default();
        for question in 0..1_000u64 {
            memo.put(question, 1);
        }
        let known = (0..1_000).filter(|question| memo.get(*question).is_some()).count();
        // Some 820, by chance a few more or less.
        assert!(known > 700, "{known} of 1,000");
        assert!(memo.memory_bytes() < 100_000);
    }
}
