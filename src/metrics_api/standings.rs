//! What running subscriptions are worth a month, as a question sees them.

use crate::domain::money::div_half_away;
use crate::engine::dictionary::TupleId;
use crate::engine::timelines::{Change, Element, PathId, Terms, TermsId, Timelines};
use crate::metrics_api::filters::Selector;

/// What a state is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing {
    pub(super) mrr: i128,
    pub(super) is_active: bool,
}

/// What the state at the end of each path is worth: worked out for all of them at first, or for
/// each when it is asked for.
pub(super) struct Standings<'a> {
    timelines: &'a Timelines,
    selector: Selector<'a>,
    /// Micro-units in the smallest unit of the currency.
    minor_micros: i128,
    /// By path, in 8 bytes, since a pass looks at many of them: the MRR of active states,
    /// [`INACTIVE`] of others, [`WIDE`] where it does not fit.
    table: Vec<i64>,
}

const INACTIVE: i64 = i64::MIN;
const WIDE: i64 = i64::MIN + 1;

impl<'a> Standings<'a> {
    /// Of the subscriptions that the selector keeps; nothing is worked out yet.
    pub(super) fn new(
        timelines: &'a Timelines,
        selector: Selector<'a>,
        minor_micros: i128,
    ) -> Self {
        Self { timelines, selector, minor_micros, table: Vec::new() }
    }

    /// Whether the selector keeps a tuple.
    pub(super) fn keeps(&self, tuple: TupleId) -> bool {
        self.selector.segment(tuple).is_some()
    }

    /// Works out what every path is worth.
    pub(super) fn tabulate(&mut self) {
        let terms = (0..self.timelines.terms_count())
            .map(|id| self.monthly_of(TermsId::try_from(id).unwrap_or(0)));
        let monthly: Vec<Option<i128>> = terms.collect();
        let of_terms = |id: TermsId| monthly.get(id as usize).copied().flatten();
        let narrow = |state: &[Element]| match self.standing(state, of_terms) {
            Standing { is_active: false, .. } => INACTIVE,
            Standing { mrr, .. } => {
                i64::try_from(mrr).ok().filter(|mrr| *mrr > WIDE).unwrap_or(WIDE)
            }
        };
        let of_states: Vec<i64> = self.timelines.states().map(narrow).collect();
        let of_path = |change: &Change| of_states.get(change.state as usize).copied();
        let changes = self.timelines.last_changes().iter();
        self.table = changes.map(|change| of_path(change).unwrap_or(INACTIVE)).collect();
    }

    fn standing(&self, state: &[Element], monthly: impl Fn(TermsId) -> Option<i128>) -> Standing {
        let mut standing = Standing::default();
        for element in state {
            let worth = monthly(element.terms);
            if let (Some(worth), true) = (worth, self.keeps(element.tuple)) {
                standing.mrr += worth * i128::from(element.count);
                standing.is_active = true;
            }
        }
        standing
    }

    /// What the state at the end of a path is worth.
    pub(super) fn of(&self, path: PathId) -> Standing {
        match self.table.get(path as usize).copied() {
            Some(INACTIVE) => Standing::default(),
            Some(WIDE) | None => {
                let state = self.timelines.state(self.timelines.last_change(path).state);
                self.standing(state, |terms| self.monthly_of(terms))
            }
            Some(mrr) => Standing { mrr: mrr.into(), is_active: true },
        }
    }

    /// Whether a subscription that counts runs at the end of a path.
    pub(super) fn is_active(&self, path: PathId) -> bool {
        match self.table.get(path as usize) {
            Some(mrr) => *mrr != INACTIVE,
            None => self.of(path).is_active,
        }
    }

    /// What a month of a subscription brings in without tax, rounded to the smallest unit, halves
    /// away from zero; `None` for a trial.
    fn monthly_of(&self, terms: TermsId) -> Option<i128> {
        let Terms::Paid { amounts, period } = self.timelines.terms(terms) else { return None };
        let (numerator, denominator) = period.per_month();
        let untaxed =
            i128::from(amounts.gross) - i128::from(amounts.proceeds) + i128::from(amounts.net);
        let micros = untaxed * i128::from(numerator);
        Some(div_half_away(micros, i128::from(denominator) * self.minor_micros))
    }
}
