//! Where in a tuple the value of a field stands.

use std::borrow::Cow;

use crate::domain::cohort::Field;
use crate::domain::dimensions::Dimension;
use crate::engine::dictionary::{Dictionary, TextId, Tuple};
use crate::engine::pieces::Pieces;

/// A [`Field`] in the numbers of one dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldPlace {
    /// A fixed dimension.
    Dimension(Dimension),
    /// Number of the attribute's name.
    Attribute(TextId),
    /// An attribute that the dictionary has not met; every tuple's value is unknown.
    Nowhere,
}

impl FieldPlace {
    /// Looks the field up.
    pub fn of(field: &Field, dictionary: &Dictionary) -> Self {
        match field {
            Field::Dimension(dimension) => Self::Dimension(*dimension),
            Field::Attribute(name) => {
                dictionary.find_text(name).map_or(Self::Nowhere, Self::Attribute)
            }
        }
    }

    /// The tuple's value; 0 if unknown.
    pub fn value(self, tuple: &Tuple) -> TextId {
        match self {
            Self::Dimension(dimension) => tuple.values[dimension.index()],
            Self::Attribute(name) => tuple
                .attributes
                .iter()
                .find(|(known, _)| *known == name)
                .map_or(0, |(_, value)| *value),
            Self::Nowhere => 0,
        }
    }

    /// The values of all tuples, by number; 0 where unknown.
    pub fn values(self, dictionary: &Dictionary) -> Cow<'_, Pieces<TextId>> {
        match self {
            Self::Dimension(dimension) => Cow::Borrowed(dictionary.values(dimension)),
            Self::Attribute(_) | Self::Nowhere => {
                Cow::Owned(dictionary.tuples().iter().map(|tuple| self.value(tuple)).collect())
            }
        }
    }
}
