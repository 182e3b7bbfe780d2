//! Instants in rows of customers: several in each row, of which there are millions.

use crate::domain::time::Timestamp;

/// An instant or none, in the eight bytes of an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(i64);

impl Moment {
    /// No instant: those of events are checked to lie between 1970 and 9999.
    const NONE: Self = Self(i64::MIN);

    /// The instant, if there is one.
    pub fn get(self) -> Option<Timestamp> {
        (self != Self::NONE).then_some(Timestamp(self.0))
    }

    /// Becomes this instant if there is none yet.
    pub fn set_first(&mut self, at: Timestamp) {
        if *self == Self::NONE {
            *self = at.into();
        }
    }
}

impl Default for Moment {
    fn default() -> Self {
        Self::NONE
    }
}

impl From<Timestamp> for Moment {
    fn from(Timestamp(micros): Timestamp) -> Self {
        Self(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_none_until_it_is_set_and_then_the_first() {
        let mut moment = Moment::default();
        assert_eq!(moment.get(), None);
        moment.set_first(Timestamp(0));
        moment.set_first(Timestamp(7));
        assert_eq!(moment.get(), Some(Timestamp(0)));
        assert_eq!(Moment::from(Timestamp(7)).get(), Some(Timestamp(7)));
    }
}
