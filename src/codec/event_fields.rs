//! The fields of an event, in the order of the schema: one table for all encodings.

use std::borrow::Cow;

use crate::domain::dimensions::{Dimension, Dimensions};
use crate::domain::event::{BillingEvent, RawEvent};
use crate::domain::time::Timestamp;

/// A field of the event on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    EventId,
    AppId,
    CustomerId,
    Kind,
    OccurredAt,
    GrossMicros,
    ProceedsMicros,
    NetMicros,
    Currency,
    ReportingRate,
    TransactionId,
    OriginalTransactionId,
    Period,
    ExpiresAt,
    CancellationReason,
    Environment,
    DeviceId,
    RefersTo,
    Attributes,
    /// Any but [`Dimension::Duration`], which follows from the period.
    Dimension(Dimension),
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Text,
    Integer,
    Instant,
    Attributes,
}

/// The place of a field in a [`RawEvent`].
pub(crate) enum Slot<'r, 'a> {
    Text(TextSlot<'r, 'a>),
    Integer(&'r mut Option<i64>),
    Instant(&'r mut Option<Timestamp>),
    Attributes(&'r mut Vec<(Cow<'a, str>, Cow<'a, str>)>),
}

/// The place of a text in a [`RawEvent`].
pub(crate) enum TextSlot<'r, 'a> {
    Field(&'r mut Option<Cow<'a, str>>),
    Dimension(Dimension, &'r mut Dimensions<'a>),
}

impl<'a> TextSlot<'_, 'a> {
    /// Puts a text there, or none.
    pub(crate) fn set(self, text: Option<Cow<'a, str>>) {
        match self {
            Self::Field(field) => *field = text,
            Self::Dimension(dimension, dimensions) => dimensions.set(dimension, text),
        }
    }
}

/// What a field of a [`BillingEvent`] holds.
pub(crate) enum FieldValue<'e, 'a> {
    Text(Cow<'e, str>),
    Integer(i64),
    Instant(Timestamp),
    Attributes(&'e [(Cow<'a, str>, Cow<'a, str>)]),
}

impl Field {
    /// All fields, in the order of the schema and of the canonical JSON.
    pub(crate) const ALL: [Self; 36] = [
        Self::EventId,
        Self::AppId,
        Self::CustomerId,
        Self::Kind,
        Self::OccurredAt,
        Self::GrossMicros,
        Self::ProceedsMicros,
        Self::NetMicros,
        Self::Currency,
        Self::ReportingRate,
        Self::TransactionId,
        Self::OriginalTransactionId,
        Self::Dimension(Dimension::ProductId),
        Self::Dimension(Dimension::PlanName),
        Self::Period,
        Self::ExpiresAt,
        Self::CancellationReason,
        Self::Environment,
        Self::Dimension(Dimension::Store),
        Self::Dimension(Dimension::Country),
        Self::Dimension(Dimension::OfferCategory),
        Self::Dimension(Dimension::OfferType),
        Self::Dimension(Dimension::OfferId),
        Self::Dimension(Dimension::PaywallId),
        Self::Dimension(Dimension::PlacementId),
        Self::Dimension(Dimension::AudienceId),
        Self::Dimension(Dimension::AttributionSource),
        Self::Dimension(Dimension::AttributionStatus),
        Self::Dimension(Dimension::AttributionChannel),
        Self::Dimension(Dimension::AttributionCampaign),
        Self::Dimension(Dimension::AttributionAdgroup),
        Self::Dimension(Dimension::AttributionAdset),
        Self::Dimension(Dimension::AttributionCreative),
        Self::DeviceId,
        Self::RefersTo,
        Self::Attributes,
    ];

    /// Position in [`Field::ALL`] and the field, by its name on the wire.
    pub(crate) fn by_name(name: &str) -> Option<(usize, Self)> {
        Self::ALL.into_iter().enumerate().find(|(_, field)| field.name() == name)
    }

    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EventId => "event_id",
            Self::AppId => "app_id",
            Self::CustomerId => "customer_id",
            Self::Kind => "kind",
            Self::OccurredAt => "occurred_at",
            Self::GrossMicros => "gross_micros",
            Self::ProceedsMicros => "proceeds_micros",
            Self::NetMicros => "net_micros",
            Self::Currency => "currency",
            Self::ReportingRate => "reporting_rate",
            Self::TransactionId => "transaction_id",
            Self::OriginalTransactionId => "original_transaction_id",
            Self::Period => "period",
            Self::ExpiresAt => "expires_at",
            Self::CancellationReason => "cancellation_reason",
            Self::Environment => "environment",
            Self::DeviceId => "device_id",
            Self::RefersTo => "refers_to",
            Self::Attributes => "attributes",
            Self::Dimension(dimension) => dimension.name(),
        }
    }

    /// Required for every kind: no writer may leave it out of its schema.
    pub(crate) fn is_required(self) -> bool {
        matches!(
            self,
            Self::EventId | Self::AppId | Self::CustomerId | Self::Kind | Self::OccurredAt
        )
    }

    /// What the field holds.
    pub(crate) fn holds(self) -> Holds {
        match self {
            Self::GrossMicros | Self::ProceedsMicros | Self::NetMicros => Holds::Integer,
            Self::OccurredAt | Self::ExpiresAt => Holds::Instant,
            Self::Attributes => Holds::Attributes,
            _ => Holds::Text,
        }
    }

    /// The field's place in a raw event; its variant is that of [`Field::holds`].
    pub(crate) fn slot<'r, 'a>(self, raw: &'r mut RawEvent<'a>) -> Slot<'r, 'a> {
        Slot::Text(TextSlot::Field(match self {
            Self::OccurredAt => return Slot::Instant(&mut raw.occurred_at),
            Self::ExpiresAt => return Slot::Instant(&mut raw.expires_at),
            Self::GrossMicros => return Slot::Integer(&mut raw.gross_micros),
            Self::ProceedsMicros => return Slot::Integer(&mut raw.proceeds_micros),
            Self::NetMicros => return Slot::Integer(&mut raw.net_micros),
            Self::Attributes => return Slot::Attributes(&mut raw.dimensions.attributes),
            Self::EventId => &mut raw.event_id,
            Self::AppId => &mut raw.app_id,
            Self::CustomerId => &mut raw.customer_id,
            Self::Kind => &mut raw.kind,
            Self::Currency => &mut raw.currency,
            Self::ReportingRate => &mut raw.reporting_rate,
            Self::TransactionId => &mut raw.transaction_id,
            Self::OriginalTransactionId => &mut raw.original_transaction_id,
            Self::Period => &mut raw.period,
            Self::CancellationReason => &mut raw.cancellation_reason,
            Self::Environment => &mut raw.environment,
            Self::DeviceId => &mut raw.device_id,
            Self::RefersTo => &mut raw.refers_to,
            Self::Dimension(dimension) => {
                return Slot::Text(TextSlot::Dimension(dimension, &mut raw.dimensions));
            }
        }))
    }

    /// What an event holds there; `None` where it holds nothing.
    pub(crate) fn value<'e, 'a>(self, event: &'e BillingEvent<'a>) -> Option<FieldValue<'e, 'a>> {
        let text = |text: &'e str| FieldValue::Text(Cow::Borrowed(text));
        let printed = |text: String| FieldValue::Text(Cow::Owned(text));
        let charge = event.charge.as_ref();
        match self {
            Self::EventId => Some(text(&event.event_id)),
            Self::AppId => Some(text(&event.app_id)),
            Self::CustomerId => Some(text(&event.customer_id)),
            Self::Kind => Some(text(event.kind.name())),
            Self::Environment => Some(text(event.environment.name())),
            Self::OccurredAt => Some(FieldValue::Instant(event.occurred_at)),
            Self::ExpiresAt => event.expires_at.map(FieldValue::Instant),
            Self::GrossMicros => charge.map(|charge| FieldValue::Integer(charge.amounts.gross)),
            Self::ProceedsMicros => {
                charge.map(|charge| FieldValue::Integer(charge.amounts.proceeds))
            }
            Self::NetMicros => charge.map(|charge| FieldValue::Integer(charge.amounts.net)),
            Self::Currency => charge.map(|charge| text(charge.currency.as_str())),
            Self::ReportingRate => charge
                .and_then(|charge| charge.reporting_rate)
                .map(|rate| printed(rate.to_string())),
            Self::Period => event.period.map(|period| printed(period.to_string())),
            Self::TransactionId => event.transaction_id.as_deref().map(text),
            Self::OriginalTransactionId => event.original_transaction_id.as_deref().map(text),
            Self::CancellationReason => event.cancellation_reason.as_deref().map(text),
            Self::DeviceId => event.device_id.as_deref().map(text),
            Self::RefersTo => event.refers_to.as_deref().map(text),
            Self::Attributes => {
                let attributes = event.dimensions.attributes.as_slice();
                (!attributes.is_empty()).then_some(FieldValue::Attributes(attributes))
            }
            Self::Dimension(dimension) => event.dimensions.get(dimension).map(text),
        }
    }
}
