//! Where in a tuple the value of a field stands.

use crate::domain::cohort::Field;
use crate::engine::dictionary::{Dictionary, TextId, Tuple};

/// A [`Field`] in the numbers of one dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldPlace {
    /// Position among the fixed dimensions.
    Dimension(usize),
    /// Number of the attribute's name.
    Attribute(TextId),
    /// An attribute that the dictionary has not met; every tuple's value is unknown.
    Nowhere,
}

impl FieldPlace {
    /// Looks the field up.
    pub fn of(field: &Field, dictionary: &Dictionary) -> Self {
        match field {
            Field::Dimension(dimension) => Self::Dimension(dimension.index()),
            Field::Attribute(name) => {
                dictionary.find_text(name).map_or(Self::Nowhere, Self::Attribute)
            }
        }
    }

    /// The tuple's value; 0 if unknown.
    pub fn value(self, tuple: &Tuple) -> TextId {
        match self {
            Self::Dimension(index) => tuple.values.get(index).copied().unwrap_or(0),
            Self::Attribute(name) => tuple
                .attributes
                .iter()
                .find(|(known, _)| *known == name)
                .map_or(0, |(_, value)| *value),
            Self::Nowhere => 0,
        }
    }
}
