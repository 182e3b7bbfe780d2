//! The dimensions of an event: what a question can filter and segment by.

use std::borrow::Cow;
use std::str::FromStr;

/// A fixed dimension. Free ones are the event's `attributes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Dimension {
    ProductId,
    PlanName,
    /// Named length of what was paid for, from the event's `period`.
    Duration,
    Store,
    Country,
    OfferCategory,
    OfferType,
    OfferId,
    PaywallId,
    PlacementId,
    AudienceId,
    AttributionSource,
    AttributionStatus,
    AttributionChannel,
    AttributionCampaign,
    AttributionAdgroup,
    AttributionAdset,
    AttributionCreative,
}

impl Dimension {
    /// How many fixed dimensions there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All of them, in the order in which they are stored.
    pub const ALL: [Self; 18] = [
        Self::ProductId,
        Self::PlanName,
        Self::Duration,
        Self::Store,
        Self::Country,
        Self::OfferCategory,
        Self::OfferType,
        Self::OfferId,
        Self::PaywallId,
        Self::PlacementId,
        Self::AudienceId,
        Self::AttributionSource,
        Self::AttributionStatus,
        Self::AttributionChannel,
        Self::AttributionCampaign,
        Self::AttributionAdgroup,
        Self::AttributionAdset,
        Self::AttributionCreative,
    ];

    /// The name in settings, questions and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProductId => "product_id",
            Self::PlanName => "plan_name",
            Self::Duration => "duration",
            Self::Store => "store",
            Self::Country => "country",
            Self::OfferCategory => "offer_category",
            Self::OfferType => "offer_type",
            Self::OfferId => "offer_id",
            Self::PaywallId => "paywall_id",
            Self::PlacementId => "placement_id",
            Self::AudienceId => "audience_id",
            Self::AttributionSource => "attribution_source",
            Self::AttributionStatus => "attribution_status",
            Self::AttributionChannel => "attribution_channel",
            Self::AttributionCampaign => "attribution_campaign",
            Self::AttributionAdgroup => "attribution_adgroup",
            Self::AttributionAdset => "attribution_adset",
            Self::AttributionCreative => "attribution_creative",
        }
    }

    /// Position in the order of [`Dimension::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

impl FromStr for Dimension {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|dimension| dimension.name() == text).ok_or(())
    }
}

/// The values an event names itself, before anything is inherited.
///
/// An absent value is `None`; the empty string is never a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dimensions<'a> {
    pub values: [Option<Cow<'a, str>>; Dimension::COUNT],
    /// Free dimensions, sorted by name, each name once.
    pub attributes: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Dimensions<'a> {
    /// The event's own value of a dimension.
    pub fn get(&self, dimension: Dimension) -> Option<&str> {
        self.values[dimension.index()].as_deref()
    }

    /// Sets or removes the event's own value; an empty text counts as absent.
    pub fn set(&mut self, dimension: Dimension, value: Option<Cow<'a, str>>) {
        self.values[dimension.index()] = value.filter(|value| !value.is_empty());
    }
}
