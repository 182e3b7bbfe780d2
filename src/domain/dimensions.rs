//! The dimensions of an event: what a question can filter and segment by.

use std::borrow::Cow;
use std::str::FromStr;

use smallvec::SmallVec;

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

    /// Position among the values that an event names. The duration is worked out when the others are read.
    fn rank(self) -> usize {
        if self == Self::Duration { Self::COUNT } else { self.index() }
    }
}

impl FromStr for Dimension {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|dimension| dimension.name() == text).ok_or(())
    }
}

/// So many values are held without an allocation; most events name fewer.
const VALUES_INLINE: usize = 8;

/// The values an event names itself, before anything is inherited.
///
/// Most events name few of them, so only these are kept. The empty string is never a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dimensions<'a> {
    /// By rising [`Dimension::rank`], each once.
    values: SmallVec<[(Dimension, Cow<'a, str>); VALUES_INLINE]>,
    /// Free dimensions, sorted by name, each name once.
    pub attributes: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Dimensions<'a> {
    /// The event's own value of a dimension.
    pub fn get(&self, dimension: Dimension) -> Option<&str> {
        self.values().find(|(known, _)| *known == dimension).map(|(_, value)| value)
    }

    /// The values that the event names, by rising dimension but for the duration, which comes last.
    pub fn values(&self) -> impl Iterator<Item = (Dimension, &str)> {
        self.values.iter().map(|(dimension, value)| (*dimension, &**value))
    }

    /// The same, to be replaced by other values; none may become empty.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = (Dimension, &mut Cow<'a, str>)> {
        self.values.iter_mut().map(|(dimension, value)| (*dimension, value))
    }

    /// Sets or removes the event's own value; an empty text counts as absent.
    #[inline]
    pub fn set(&mut self, dimension: Dimension, value: Option<Cow<'a, str>>) {
        let value = value.filter(|value| !value.is_empty());
        // Events name them in this order, or nearly so.
        if self.values.last().is_some_and(|(last, _)| last.rank() >= dimension.rank()) {
            self.set_among(dimension, value);
        } else if let Some(value) = value {
            self.values.push((dimension, value));
        }
    }

    #[inline(never)]
    fn set_among(&mut self, dimension: Dimension, value: Option<Cow<'a, str>>) {
        let is_before = |(known, _): &(Dimension, Cow<'a, str>)| known.rank() < dimension.rank();
        let place = self.values.partition_point(is_before);
        let is_known = self.values.get(place).is_some_and(|(known, _)| *known == dimension);
        match (value, is_known) {
            (Some(value), true) => self.values[place].1 = value,
            (Some(value), false) => self.values.insert(place, (dimension, value)),
            (None, true) => drop(self.values.remove(place)),
            (None, false) => {}
        }
    }

    /// The same with text of its own.
    pub fn into_owned(self) -> Dimensions<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let values = self.values.into_iter();
        let attributes = self.attributes.into_iter();
        Dimensions {
            values: values.map(|(dimension, value)| (dimension, owned(value))).collect(),
            attributes: attributes.map(|(name, value)| (owned(name), owned(value))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_by_rising_dimension_and_the_duration_last_whatever_the_order_in_which_they_were_set()
     {
        let mut dimensions = Dimensions::default();
        for (dimension, value) in [
            (Dimension::Country, "DE"),
            (Dimension::Duration, "monthly"),
            (Dimension::AudienceId, "a"),
            (Dimension::ProductId, "p"),
            (Dimension::Country, "FR"),
            (Dimension::Store, ""),
            (Dimension::OfferId, "o"),
        ] {
            dimensions.set(dimension, Some(value.into()));
        }
        dimensions.set(Dimension::OfferId, None);
        let values: Vec<_> = dimensions.values().collect();
        let expected = [
            (Dimension::ProductId, "p"),
            (Dimension::Country, "FR"),
            (Dimension::AudienceId, "a"),
            (Dimension::Duration, "monthly"),
        ];
        assert_eq!(values, expected);
        assert_eq!(dimensions.get(Dimension::Country), Some("FR"));
        assert_eq!(dimensions.get(Dimension::OfferId), None);
    }
}
