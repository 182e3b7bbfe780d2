//! By what an answer is split.

use crate::domain::cohort::Field;
use crate::domain::dimensions::Dimension;
use crate::domain::time::Width;
use crate::http::adapty::request::fields::Fields;

/// By what rows are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segmentation {
    None,
    /// By cohorts of this length.
    Cohorts(Width),
    Field(Field),
}

/// A name of a segmentation: what it stands for.
#[derive(Debug, Clone, Copy)]
pub enum Named {
    None,
    Cohorts(Width),
    Dimension(Dimension),
    Attribute(&'static str),
}

/// The segmentations of the method `ltv`.
pub const LTV: &[(&str, Named)] = &[
    ("day", Named::Cohorts(Width::Day)),
    ("week", Named::Cohorts(Width::Week)),
    ("month", Named::Cohorts(Width::Month)),
    ("year", Named::Cohorts(Width::Year)),
    ("country", Named::Dimension(Dimension::Country)),
    ("product", Named::Dimension(Dimension::ProductId)),
    ("store_product_id", Named::Dimension(Dimension::ProductId)),
    ("paywall", Named::Dimension(Dimension::PaywallId)),
    ("paywalls_group", Named::Attribute("paywalls_group_id")),
    ("audience", Named::Dimension(Dimension::AudienceId)),
    ("placement", Named::Dimension(Dimension::PlacementId)),
    ("duration", Named::Dimension(Dimension::Duration)),
    ("store", Named::Dimension(Dimension::Store)),
    ("default", Named::None),
];

/// Reads `segmentation`, or `segmentation_by` as it was once called; the new name wins.
pub fn read(fields: &mut Fields<'_>, permitted: &[(&str, Named)]) -> Segmentation {
    let named = fields.choice("segmentation", permitted);
    let old = fields.choice("segmentation_by", permitted);
    if named.is_some() {
        fields.ignore_given("segmentation_by");
    }
    match named.or(old).unwrap_or(Named::None) {
        Named::None => Segmentation::None,
        Named::Cohorts(width) => Segmentation::Cohorts(width),
        Named::Dimension(dimension) => Segmentation::Field(Field::Dimension(dimension)),
        Named::Attribute(name) => Segmentation::Field(Field::Attribute(name.to_owned())),
    }
}
