//! What places a customer in a cohort, and by what customers are told apart.

use std::fmt;
use std::str::FromStr;

use crate::domain::dimensions::Dimension;

/// The day that decides to which cohort a customer belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anchor {
    /// The first payment; who never paid is in no cohort.
    FirstPurchase,
    /// The install, or the first event of a customer without one.
    Install,
}

impl Anchor {
    /// Both.
    pub const ALL: [Self; 2] = [Self::FirstPurchase, Self::Install];

    /// The name in settings, questions and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstPurchase => "first_purchase",
            Self::Install => "install",
        }
    }
}

impl FromStr for Anchor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|anchor| anchor.name() == text).ok_or(())
    }
}

/// Something to filter and segment by: a fixed dimension or a free attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    Dimension(Dimension),
    /// The name of an attribute, not empty.
    Attribute(String),
}

/// What comes before the name of an attribute.
const ATTRIBUTE_PREFIX: &str = "attributes.";

impl Field {
    /// Whether the field says something of an install.
    ///
    /// Nobody installs a product, an offer, a duration or a paywall, or the placement and the audience
    /// that a paywall was shown for: these narrow money and payers, never the installs and customers
    /// that they are set against.
    pub fn narrows_installs(&self) -> bool {
        !matches!(
            self,
            Self::Dimension(
                Dimension::ProductId
                    | Dimension::PlanName
                    | Dimension::Duration
                    | Dimension::OfferCategory
                    | Dimension::OfferType
                    | Dimension::OfferId
                    | Dimension::PaywallId
                    | Dimension::PlacementId
                    | Dimension::AudienceId
            )
        )
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dimension(dimension) => f.write_str(dimension.name()),
            Self::Attribute(name) => write!(f, "{ATTRIBUTE_PREFIX}{name}"),
        }
    }
}

/// The text names neither a dimension nor an attribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is neither a dimension nor of the form attributes.NAME")]
pub struct UnknownField(pub String);

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(dimension) = text.parse() {
            return Ok(Self::Dimension(dimension));
        }
        match text.strip_prefix(ATTRIBUTE_PREFIX) {
            Some(name) if !name.is_empty() => Ok(Self::Attribute(name.to_owned())),
            _ => Err(UnknownField(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_reads_as_it_prints() {
        for text in ["country", "plan_name", "attributes.ab_test"] {
            assert_eq!(text.parse::<Field>().map(|field| field.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "attributes.", "colour"] {
            assert_eq!(text.parse::<Field>(), Err(UnknownField(text.to_owned())));
        }
    }
}
