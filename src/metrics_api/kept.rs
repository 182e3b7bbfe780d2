//! Questions that were asked before: what was worked out then is brought up to date by the rows
//! that were added to the facts since, instead of by all facts.
//!
//! Right only for partials that are sums over rows, so that a row more is a summand more, and whose
//! rows [`is_noted`](crate::engine::recent::is_noted) notes.

use parking_lot::Mutex;

use crate::engine::facts::{FactKey, Sums};
use crate::engine::recent::RecentRows;

/// So many questions are kept; the one not asked for longest goes first.
const KEPT_MAX: usize = 16;

struct Entry<Q, P> {
    question: Q,
    partial: P,
    /// The rows up to which the partial holds all.
    through: u64,
}

/// What was worked out for the questions asked last about one shard.
pub struct Kept<Q, P> {
    /// In order of being asked.
    entries: Mutex<Vec<Entry<Q, P>>>,
}

impl<Q, P> Default for Kept<Q, P> {
    fn default() -> Self {
        Self { entries: Mutex::default() }
    }
}

impl<Q: Clone + PartialEq, P: Clone> Kept<Q, P> {
    /// The partial of a question: from what is kept by `follow`, which adds rows, else by `whole`.
    /// No row may be added meanwhile.
    pub fn ask(
        &self,
        question: &Q,
        recent: &RecentRows,
        (whole, follow): (impl FnOnce() -> P, impl FnOnce(&mut P, &[(FactKey, Sums)])),
    ) -> P {
        recent.want();
        // Nobody waits for a partial that is worked out: the same question asked at that time is
        // worked out as well.
        let kept = self.take(question).and_then(|mut entry| {
            follow(&mut entry.partial, recent.since(entry.through)?);
            Some(entry.partial)
        });
        let partial = kept.unwrap_or_else(whole);
        let (question, through) = (question.clone(), recent.end());
        self.put(Entry { question, partial: partial.clone(), through });
        partial
    }

    fn take(&self, question: &Q) -> Option<Entry<Q, P>> {
        let mut entries = self.entries.lock();
        let place = entries.iter().position(|entry| entry.question == *question)?;
        Some(entries.remove(place))
    }

    fn put(&self, entry: Entry<Q, P>) {
        let mut entries = self.entries.lock();
        entries.retain(|other| other.question != entry.question);
        if entries.len() == KEPT_MAX {
            entries.remove(0);
        }
        entries.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Day;
    use crate::engine::dictionary::AppIx;
    use crate::engine::facts::FactKind;

    #[test]
    fn a_question_is_worked_out_once_and_then_follows_until_rows_are_forgotten() {
        let kept = Kept::<u32, i64>::default();
        let mut recent = RecentRows::default();
        let key = FactKey::new(AppIx(0), 0, FactKind::Timeline, Day(1), 1);
        let ask = |recent: &RecentRows, question: u32, whole: Option<i64>| {
            let follow = |known: &mut i64, rows: &[(FactKey, Sums)]| {
                *known += rows.iter().map(|(_, sums)| sums.count).sum::<i64>();
            };
            kept.ask(&question, recent, (|| whole.expect("it is kept"), follow))
        };
        assert_eq!(ask(&recent, 7, Some(100)), 100);
        assert_eq!(ask(&recent, 7, None), 100);
        recent.note(&[(key, Sums::count(3)), (key, Sums::count(2))]);
        assert_eq!(ask(&recent, 7, None), 105);
        // Others push it out.
        for other in 100..100 + KEPT_MAX as u32 {
            ask(&recent, other, Some(0));
        }
        assert_eq!(ask(&recent, 7, Some(105)), 105);
        // Too much has happened since.
        for _ in 0..3 {
            recent.note(&vec![(key, Sums::count(1)); crate::engine::recent::ROWS_MAX / 2]);
        }
        assert_eq!(ask(&recent, 7, Some(1)), 1);
    }
}
