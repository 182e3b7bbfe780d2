//! Timelines: on which days the set of a customer's running subscriptions changed.
//!
//! A timeline is a *path* of changes, and the day from which nothing runs any more. A change is a
//! day and the *state* from then on: which subscriptions run at the end of that day. A
//! subscription runs at the end of a day if it began on or before it and ends on a later one, so
//! what begins and ends within a day is never seen, and a day has at most one change.
//!
//! Paths, states and terms are interned: customers with the same past share it, and a renewal
//! that changes nothing moves only the last day, which is not part of the path. A state says how many
//! subscriptions of a kind run and not which, so that one under which thousands run is not thousands of
//! times as large.
//!
//! Always true
//! * The days of a path rise strictly, two changes in a row have different states, and the last
//!   state is not empty.

mod equals;
mod interner;

use smallvec::SmallVec;

use crate::domain::money::Amounts;
use crate::domain::period::Period;
use crate::domain::time::Day;
use crate::engine::pieces::Pieces;
use crate::engine::row_index::LOOK_AHEAD;
use crate::engine::slices::Slices;

use interner::Interner;

/// Number of terms.
pub type TermsId = u32;
/// The terms of a trial.
pub const TRIAL: TermsId = 0;
/// Number of a state; 0 is the empty one.
pub type StateId = u32;
/// Number of a path; 0 is the empty one.
pub type PathId = u32;

/// What is paid for a subscription that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Terms {
    /// Nothing.
    Trial,
    /// These amounts, in micro-units of the reporting currency, for one period.
    Paid { amounts: Amounts, period: Period },
}

/// Running subscriptions of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// Number of the tuple of dimensions.
    pub tuple: u32,
    pub terms: TermsId,
    /// How many run.
    pub count: u32,
}

impl Element {
    /// One subscription.
    pub fn one(tuple: u32, terms: TermsId) -> Self {
        Self { tuple, terms, count: 1 }
    }

    fn kind(self) -> (u32, TermsId) {
        (self.tuple, self.terms)
    }
}

/// Makes a state of subscriptions in any order: rising kinds, each once.
pub fn add_up(subscriptions: &mut Vec<Element>) {
    subscriptions.sort_unstable();
    subscriptions.dedup_by(|next, known| {
        let is_same = next.kind() == known.kind();
        if is_same {
            known.count = known.count.saturating_add(next.count);
        }
        is_same
    });
}

/// Takes one subscription out of a state.
fn take_out(state: &mut Vec<Element>, one: Element) {
    if let Ok(place) = state.binary_search_by_key(&one.kind(), |known| known.kind()) {
        state[place].count -= 1;
        if state[place].count == 0 {
            state.remove(place);
        }
    }
}

/// A change of a timeline, and those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Change {
    /// The path before this change.
    pub before: PathId,
    pub day: Day,
    /// What runs at the end of `day` and of the days after it, up to the next change.
    pub state: StateId,
}

/// The empty path: nothing has run since the beginning of time.
const BEGINNING: Change = Change { before: 0, day: Day::MIN, state: 0 };

/// An entry to store, with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimelineEntry {
    Terms(TermsId, Terms),
    /// Rising kinds, each once.
    State(StateId, Box<[Element]>),
    Path(PathId, Change),
}

/// A customer's timeline in one zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeline {
    pub path: PathId,
    /// From which nothing runs any more; [`Day::MIN`] if nothing ever ran.
    pub lapse: Day,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { path: 0, lapse: Day::MIN }
    }
}

/// The interned terms, states and paths of a shard.
pub struct Timelines {
    terms: Interner<Terms>,
    states: Slices<Element>,
    paths: Interner<Change>,
    fresh: Pieces<TimelineEntry>,
    /// Kept between calls so that a renewal allocates nothing.
    running: Vec<(Day, Element)>,
    state: Vec<Element>,
}

impl Default for Timelines {
    fn default() -> Self {
        Self {
            terms: Interner::new(Terms::Trial),
            states: Slices::default(),
            paths: Interner::new(BEGINNING),
            fresh: Pieces::default(),
            running: Vec::new(),
            state: Vec::new(),
        }
    }
}

impl Timelines {
    /// Number of these terms, given at their first use.
    pub fn terms_id(&mut self, terms: Terms) -> TermsId {
        self.terms.find(&terms).unwrap_or_else(|| {
            let id = self.terms.push(terms);
            self.fresh.push(TimelineEntry::Terms(id, terms));
            id
        })
    }

    /// The terms of a number.
    pub fn terms(&self, id: TermsId) -> Terms {
        self.terms.values.get(id as usize).copied().unwrap_or(Terms::Trial)
    }

    /// How many terms have a number.
    pub fn terms_count(&self) -> usize {
        self.terms.values.len()
    }

    /// Number of a state, given at its first use; elements of rising kinds, each once.
    pub fn state_id(&mut self, elements: &[Element]) -> StateId {
        if elements.is_empty() {
            return 0;
        }
        self.states.find(elements).unwrap_or_else(|| {
            let id = self.states.push(elements);
            self.fresh.push(TimelineEntry::State(id, Box::from(elements)));
            id
        })
    }

    /// The subscriptions that run in a state, by rising kind.
    pub fn state(&self, id: StateId) -> &[Element] {
        self.states.get(id)
    }

    /// The subscriptions that run in each state, by number.
    pub fn states(&self) -> impl ExactSizeIterator<Item = &[Element]> {
        self.states.iter()
    }

    /// How many states have a number.
    pub fn state_count(&self) -> usize {
        self.states.count()
    }

    /// Number of a path, given at its first use.
    pub fn path_id(&mut self, change: Change) -> PathId {
        self.paths.find(&change).unwrap_or_else(|| {
            let id = self.paths.push(change);
            self.fresh.push(TimelineEntry::Path(id, change));
            id
        })
    }

    /// The last change of a path, which for the empty path lies before all days.
    pub fn last_change(&self, path: PathId) -> Change {
        self.paths.values.get(path as usize).copied().unwrap_or(BEGINNING)
    }

    /// The last change of each path, by number; a path has a higher number than the one before it.
    pub fn last_changes(&self) -> &Pieces<Change> {
        &self.paths.values
    }

    /// How many paths have a number.
    pub fn path_count(&self) -> usize {
        self.paths.values.len()
    }

    /// The changes of a path, newest first.
    pub fn changes(&self, mut path: PathId) -> impl Iterator<Item = Change> + '_ {
        std::iter::from_fn(move || {
            let change = (path != 0).then(|| self.last_change(path))?;
            path = change.before;
            Some(change)
        })
    }

    /// Reads the last changes of these paths and what runs from then on, in steps that do not wait
    /// for each other.
    pub fn look_ahead(&self, paths: impl Iterator<Item = PathId>) {
        let states: SmallVec<[StateId; LOOK_AHEAD]> =
            paths.map(|path| self.last_change(path).state).collect();
        let first = |state: &StateId| self.state(*state).first().map_or(0, |first| first.terms);
        let terms: SmallVec<[TermsId; LOOK_AHEAD]> = states.iter().map(first).collect();
        let trials = terms.iter().filter(|terms| self.terms(**terms) == Terms::Trial);
        std::hint::black_box(trials.count());
    }

    /// The timeline rewritten from `day` on: `running` gives each subscription that runs after it with the
    /// day on which it ends. What ends by `day` may be among it.
    ///
    /// With `until` it stops short of that day, on which it will be rewritten next; nothing changes if that is no
    /// later day.
    pub fn rewrite(
        &mut self,
        timeline: Timeline,
        (day, until): (Day, Option<Day>),
        running: impl Iterator<Item = (Day, Element)>,
    ) -> Timeline {
        let is_told_anew = |day: Day| until.is_some_and(|until| until <= day);
        if is_told_anew(day) {
            return timeline;
        }
        let (mut ends, mut state) =
            (std::mem::take(&mut self.running), std::mem::take(&mut self.state));
        ends.clear();
        ends.extend(running.filter(|(end, _)| *end > day));
        ends.sort_unstable();
        state.clear();
        state.extend(ends.iter().map(|(_, element)| element));
        add_up(&mut state);
        let mut tail = Tail::before(self, timeline, day);
        let (mut day, mut left) = (day, &ends[..]);
        loop {
            // A renewal goes on with what ran before.
            let before = self.last_change(tail.path).state;
            let id = if self.state(before) == state { before } else { self.state_id(&state) };
            tail.change(self, day, id);
            let Some((end, _)) = left.first().filter(|(end, _)| !is_told_anew(*end)) else {
                break;
            };
            day = *end;
            while let Some(((_, gone), rest)) =
                left.split_first().filter(|((end, _), _)| *end == day)
            {
                take_out(&mut state, *gone);
                left = rest;
            }
        }
        (self.running, self.state) = (ends, state);
        tail.timeline(until)
    }

    /// What was interned since the last call.
    pub fn take_fresh(&mut self) -> Pieces<TimelineEntry> {
        std::mem::take(&mut self.fresh)
    }

    /// Takes in a stored entry; `false` if it does not continue those taken in so far. None is found
    /// before [`Timelines::index_all`].
    pub fn restore(&mut self, entry: &TimelineEntry) -> bool {
        match entry {
            TimelineEntry::Terms(id, terms) => {
                *id as usize == self.terms_count() && self.terms.restore(*terms) == *id
            }
            TimelineEntry::State(id, elements) => {
                *id as usize == self.state_count() && self.states.restore(elements) == *id
            }
            TimelineEntry::Path(id, change) => {
                *id as usize == self.path_count()
                    && change.before < *id
                    && self.paths.restore(*change) == *id
            }
        }
    }

    /// Lets all be found that was taken in.
    pub fn index_all(&mut self) {
        self.terms.index_all();
        self.states.index_all();
        self.paths.index_all();
    }

    /// Bytes of memory held, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.terms.memory_bytes() + self.states.memory_bytes() + self.paths.memory_bytes()
    }
}

/// A timeline under construction: a path whose last state is not empty, and whether that state
/// has ended already.
struct Tail {
    path: PathId,
    ended: Option<Day>,
}

impl Tail {
    /// What stands of a timeline before `day`.
    fn before(timelines: &Timelines, timeline: Timeline, day: Day) -> Self {
        let mut path = timeline.path;
        while timelines.last_change(path).day >= day && path != 0 {
            path = timelines.last_change(path).before;
        }
        let last = timelines.last_change(path);
        if path != 0 && last.state == 0 {
            return Self { path: last.before, ended: Some(last.day) };
        }
        let has_ended = path != 0 && path == timeline.path && timeline.lapse < day;
        Self { path, ended: has_ended.then_some(timeline.lapse) }
    }

    /// From `day` on the state is this one.
    fn change(&mut self, timelines: &mut Timelines, day: Day, state: StateId) {
        if state == 0 {
            if self.path != 0 {
                self.ended.get_or_insert(day);
            }
            return;
        }
        if let Some(ended) = self.ended.take() {
            self.path = timelines.path_id(Change { before: self.path, day: ended, state: 0 });
        }
        if timelines.last_change(self.path).state != state {
            self.path = timelines.path_id(Change { before: self.path, day, state });
        }
    }

    /// What still runs does so up to a day on which it will be told anew.
    fn timeline(self, until: Option<Day>) -> Timeline {
        let until = until.filter(|_| self.path != 0);
        Timeline { path: self.path, lapse: self.ended.or(until).unwrap_or(Day::MIN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tuple, end and gross of what runs.
    type Runs<'a> = &'a [(u32, i32, i64)];

    fn rewrite(timelines: &mut Timelines, old: Timeline, day: i32, runs: Runs<'_>) -> Timeline {
        let running: Vec<(Day, Element)> = runs
            .iter()
            .map(|(tuple, end, gross)| {
                let amounts = Amounts { gross: *gross, proceeds: *gross, net: *gross };
                let terms = Terms::Paid { amounts, period: "P1M".parse().unwrap() };
                let terms = timelines.terms_id(terms);
                (Day(*end), Element::one(*tuple, terms))
            })
            .collect();
        timelines.rewrite(old, (Day(day), None), running.into_iter())
    }

    /// Days with tuple, gross and, if there are several, number of what runs.
    fn text(timelines: &Timelines, timeline: Timeline) -> String {
        let mut words = vec![format!("{}", timeline.lapse.0)];
        for change in timelines.changes(timeline.path) {
            let elements = timelines.state(change.state).iter().map(|element| {
                let many =
                    if element.count > 1 { format!("x{}", element.count) } else { String::new() };
                match timelines.terms(element.terms) {
                    Terms::Trial => "trial".to_owned(),
                    Terms::Paid { amounts, .. } => {
                        format!("{}:{}{many}", element.tuple, amounts.gross)
                    }
                }
            });
            words.push(format!("{}={}", change.day.0, elements.collect::<Vec<_>>().join("+")));
        }
        words.reverse();
        words.join(" ")
    }

    #[test]
    fn a_timeline_is_rewritten_from_a_day_on() {
        let mut timelines = Timelines::default();
        let mut now = Timeline::default();
        for (day, runs, expected) in [
            (10, &[(0, 40, 5)][..], "10=0:5 40"),
            // A renewal that changes nothing.
            (40, &[(0, 70, 5)], "10=0:5 70"),
            // A second subscription.
            (50, &[(0, 70, 5), (1, 80, 3)], "10=0:5 50=0:5+1:3 70=1:3 80"),
            (70, &[(0, 100, 5), (1, 80, 3)], "10=0:5 50=0:5+1:3 80=0:5 100"),
            // The first goes up, then both are gone.
            (75, &[(0, 105, 9), (1, 80, 3)], "10=0:5 50=0:5+1:3 75=0:9+1:3 80=0:9 105"),
            (78, &[(0, 78, 9), (1, 78, 3)], "10=0:5 50=0:5+1:3 75=0:9+1:3 78"),
            // Back on the day of the lapse: as if nothing had happened; later: a gap.
            (78, &[(0, 90, 9), (1, 90, 3)], "10=0:5 50=0:5+1:3 75=0:9+1:3 90"),
            (95, &[(0, 99, 9)], "10=0:5 50=0:5+1:3 75=0:9+1:3 90= 95=0:9 99"),
            // Gone on the day of its return.
            (95, &[], "10=0:5 50=0:5+1:3 75=0:9+1:3 90"),
            (75, &[], "10=0:5 50=0:5+1:3 75"),
            (10, &[], "-2147483648"),
        ] {
            now = rewrite(&mut timelines, now, day, runs);
            assert_eq!(text(&timelines, now), expected, "day {day}");
        }
    }

    #[test]
    fn of_many_subscriptions_of_a_kind_a_state_knows_how_many_run() {
        let mut timelines = Timelines::default();
        let runs: Vec<(u32, i32, i64)> =
            (0..1_000).map(|number| (0, 40 + number % 3, 5)).chain([(1, 41, 5)]).collect();
        let now = rewrite(&mut timelines, Timeline::default(), 10, &runs);
        assert_eq!(text(&timelines, now), "10=0:5x1000+1:5 40=0:5x666+1:5 41=0:5x333 42");
        assert!((1..timelines.state_count()).all(|id| timelines.state(id as u32).len() <= 2));
        // One more of them, and one less.
        let more = [&runs[..], &[(0, 40, 5)]].concat();
        let now = rewrite(&mut timelines, now, 20, &more);
        let all = "10=0:5x1000+1:5 20=0:5x1001+1:5 40=0:5x666+1:5 41=0:5x333 42";
        assert_eq!(text(&timelines, now), all);
        let now = rewrite(&mut timelines, now, 20, &runs);
        assert_eq!(text(&timelines, now), "10=0:5x1000+1:5 40=0:5x666+1:5 41=0:5x333 42");
    }

    #[test]
    fn a_renewal_that_changes_nothing_interns_nothing() {
        let mut timelines = Timelines::default();
        let first = rewrite(&mut timelines, Timeline::default(), 10, &[(0, 40, 5)]);
        timelines.take_fresh();
        let second = rewrite(&mut timelines, first, 40, &[(0, 70, 5)]);
        assert_eq!((second.path, second.lapse), (first.path, Day(70)));
        assert!(timelines.take_fresh().is_empty());
    }

    #[test]
    fn stored_entries_make_the_same_timelines() {
        let mut timelines = Timelines::default();
        let now = rewrite(&mut timelines, Timeline::default(), 1, &[(0, 9, 5), (1, 7, 3)]);
        let mut copy = Timelines::default();
        for entry in timelines.take_fresh().iter() {
            assert!(copy.restore(entry), "{entry:?}");
            assert!(!copy.restore(entry), "{entry:?}");
        }
        assert_eq!(text(&copy, now), text(&timelines, now));
        copy.index_all();
        assert_eq!(rewrite(&mut copy, Timeline::default(), 1, &[(0, 9, 5), (1, 7, 3)]), now);
        assert!(copy.take_fresh().is_empty());
        let unknown = Change { before: 99, day: Day(1), state: 0 };
        assert!(!copy.restore(&TimelineEntry::Path(3, unknown)));
    }
}
