//! Rows of facts on their way to be counted.

use crate::engine::facts::{FactKey, Sums};

/// A change of facts: rows to add up.
pub type FactDelta = Vec<(FactKey, Sums)>;

/// Up to so many rows, comparing each with each costs less than sorting them.
const SMALL_DELTA: usize = 16;

/// Leaves what must be added to the rows of a ledger, the first `before` of these, to make them the
/// rows of what became of it, the others. Both were written by the same walk, so that most of them
/// are the same in the same order.
pub fn difference(delta: &mut FactDelta, before: usize) {
    let (old, new) = delta.split_at(before);
    let same = |(old, new): &(&(FactKey, Sums), &(FactKey, Sums))| old == new;
    let first = old.iter().zip(new).take_while(same).count();
    let (old, new) = (&old[first..], &new[first..]);
    let last = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    delta.truncate(delta.len() - last);
    delta.drain(before - last..before + first);
    delta.drain(..first);
    for (_, sums) in delta.iter_mut().take(before - first - last) {
        *sums = sums.negated();
    }
}

/// Adds rows of one key up in one of them; the others become zero or go. A renewal at the end of
/// the period before takes back and writes the same rows, of which nothing is left then.
pub fn join(delta: &mut FactDelta) {
    if delta.len() <= SMALL_DELTA {
        join_few(delta);
        return;
    }
    delta.sort_unstable_by_key(|(key, _)| *key);
    delta.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            kept.1 += next.1;
        }
        is_same
    });
}

fn join_few(delta: &mut FactDelta) {
    for at in 1..delta.len() {
        let (before, rest) = delta.split_at_mut(at);
        let (key, sums) = &mut rest[0];
        if let Some((_, kept)) = before.iter_mut().find(|(known, _)| known == key) {
            *kept += std::mem::take(sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Day;
    use crate::engine::dictionary::AppIx;
    use crate::engine::facts::FactKind;

    #[test]
    fn a_difference_makes_the_rows_before_those_after_wherever_they_differ() {
        let rows = |days: &[i32]| -> FactDelta {
            let key = |day| FactKey::new(AppIx(0), 0, FactKind::Customer, Day(day), 0);
            days.iter().map(|day| (key(*day), Sums::count(1))).collect()
        };
        for (before, after, left) in [
            (&[][..], &[1, 2][..], 2),
            (&[1, 2], &[1, 2], 0),
            (&[1, 2, 3, 4], &[1, 5, 2, 3, 4], 1),
            (&[1, 2, 3, 4], &[2, 3, 4], 1),
            (&[1, 2, 3, 4], &[1, 2, 5, 6, 4], 3),
            (&[1, 1, 1], &[1, 1], 1),
            (&[1, 2], &[3, 4, 5], 5),
            (&[1, 2], &[], 2),
        ] {
            let mut delta = rows(before);
            delta.extend(rows(after));
            difference(&mut delta, before.len());
            assert_eq!(delta.len(), left, "{before:?} {after:?}");
            delta.extend(rows(before));
            delta.extend(rows(after).into_iter().map(|(key, sums)| (key, sums.negated())));
            join(&mut delta);
            assert!(delta.iter().all(|(_, sums)| sums.is_zero()), "{before:?} {after:?}");
        }
    }

    #[test]
    fn of_rows_of_one_key_their_sum_is_left_once_whether_they_are_few_or_many() {
        for keys in [3, 30] {
            let key = |day| FactKey::new(AppIx(0), 0, FactKind::Customer, Day(day), 0);
            let rows = (0..keys).chain(0..keys).map(|day| (key(day), Sums::count(day.into())));
            let mut delta: FactDelta = rows.chain([(key(2), Sums::count(-4))]).collect();
            join(&mut delta);
            let mut left: Vec<(i32, i64)> = delta
                .iter()
                .filter(|(_, sums)| !sums.is_zero())
                .map(|(key, sums)| (key.day.0, sums.count))
                .collect();
            left.sort_unstable();
            let expected = (0..keys).filter(|day| ![0, 2].contains(day));
            assert_eq!(left, expected.map(|day| (day, 2 * i64::from(day))).collect::<Vec<_>>());
        }
    }
}
