//! Curves read back from what was stored of them.

use crate::engine::curves::unstored::{Cells, NewCohort, Stretch, UnplacedRefunds};
use crate::engine::curves::{CohortCurves, CurvesConfig};

/// What was stored does not follow from what was stored before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cohorts or their cells are out of sequence")]
pub struct CurvesOutOfSequence;

/// Curves that are put together cohort by cohort.
pub struct RestoredCurves(CohortCurves);

impl RestoredCurves {
    /// Of no cohorts yet.
    pub fn new(config: CurvesConfig) -> Self {
        Self(CohortCurves::new(config))
    }

    /// Takes in a cohort; they come in the order of their numbers.
    pub fn cohort(&mut self, cohort: &NewCohort) -> Result<(), CurvesOutOfSequence> {
        let known = self.0.len();
        if self.0.place(cohort.key) != cohort.number || self.0.len() != known + 1 {
            return Err(CurvesOutOfSequence);
        }
        Ok(())
    }

    /// Takes in cells of a cohort that is there; those of one kind come by rising day.
    pub fn stretch(&mut self, stretch: Stretch) -> Result<(), CurvesOutOfSequence> {
        let cohort = self.0.cohorts.get_mut(stretch.cohort as usize);
        let cohort = cohort.ok_or(CurvesOutOfSequence)?;
        match stretch.cells {
            Cells::Heads(cells) => cells.into_iter().for_each(|(k, v)| cohort.heads.add(k, v)),
            Cells::Payments(cells) => {
                cells.into_iter().for_each(|(k, v)| cohort.payments.add(k, v));
            }
            Cells::Refunds(cells) => cells.into_iter().for_each(|(k, v)| cohort.refunds.add(k, v)),
        }
        Ok(())
    }

    /// Takes in refunds that are in no cohort.
    pub fn unplaced(&mut self, refunds: UnplacedRefunds) {
        let UnplacedRefunds { app, zone, cells } = refunds;
        let series = self.0.unplaced.entry((app, zone)).or_default();
        cells.into_iter().for_each(|(day, sums)| series.add(day, sums));
    }

    /// The curves, when everything has been taken in. All of it is stored, and all cohorts of the
    /// first zone count as changed: nobody knows what of them is published.
    pub fn finish(self) -> CohortCurves {
        let Self(mut curves) = self;
        curves.stored_cohorts = curves.keys.len();
        curves.mark_all_changed();
        curves
    }
}
