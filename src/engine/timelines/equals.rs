//! Paths that say the same.

use hashbrown::HashMap;

use crate::engine::timelines::{Change, Element, PathId, StateId, Timelines};

impl Timelines {
    /// Of each path, by number, the first that says the same. States that were stored by chain may be equal to
    /// others, or to what they follow; none that is made now is.
    pub fn first_equals(&self) -> Vec<PathId> {
        let mut states: HashMap<&[Element], StateId> = HashMap::new();
        let first_states: Vec<StateId> = (0..)
            .zip(self.states())
            .map(|(id, state)| *states.entry(state).or_insert(id))
            .collect();
        let mut paths: HashMap<Change, PathId> = HashMap::new();
        let mut first: Vec<PathId> = Vec::with_capacity(self.path_count());
        for (id, change) in (0..).zip(self.last_changes().iter()) {
            let state = first_states.get(change.state as usize).copied().unwrap_or(0);
            // A path comes after the one before it.
            let before = first.get(change.before as usize).copied().unwrap_or(0);
            let is_none = id != 0 && self.first_state(before, &first_states) == state;
            let change = Change { before, state, ..*change };
            first.push(if is_none { before } else { *paths.entry(change).or_insert(id) });
        }
        first
    }

    fn first_state(&self, path: PathId, first_states: &[StateId]) -> StateId {
        first_states.get(self.last_change(path).state as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Day;
    use crate::engine::timelines::{Timeline, TimelineEntry};

    /// From a day on trials of these tuples run up to the ninth.
    fn run(timelines: &mut Timelines, old: Timeline, day: i32, tuples: &[u32]) -> Timeline {
        let running = tuples.iter().map(|tuple| (Day(9), Element::one(*tuple, 0)));
        timelines.rewrite(old, (Day(day), None), running)
    }

    #[test]
    fn paths_that_say_the_same_are_known_by_the_first_of_them() {
        let mut timelines = Timelines::default();
        let one = run(&mut timelines, Timeline::default(), 1, &[7]);
        let two = run(&mut timelines, one, 4, &[7, 8]);
        let (paths, states) = (timelines.path_count() as u32, timelines.state_count() as u32);
        let mut restored = Timelines::default();
        for entry in timelines.take_fresh().iter() {
            assert!(restored.restore(entry));
        }
        // What ran by the second chain alone, and the same path again with it.
        let of_one = Box::from(timelines.state(timelines.last_change(one.path).state));
        let of_two = timelines.last_change(two.path).state;
        for entry in [
            TimelineEntry::State(states, of_one),
            TimelineEntry::Path(paths, Change { before: 0, day: Day(1), state: states }),
            TimelineEntry::Path(paths + 1, Change { before: one.path, day: Day(2), state: states }),
            TimelineEntry::Path(
                paths + 2,
                Change { before: paths + 1, day: Day(4), state: of_two },
            ),
        ] {
            assert!(restored.restore(&entry), "{entry:?}");
        }
        let first = restored.first_equals();
        assert_eq!(first[..paths as usize], (0..paths).collect::<Vec<_>>());
        assert_eq!(first[paths as usize..], [one.path, one.path, two.path]);
    }
}
