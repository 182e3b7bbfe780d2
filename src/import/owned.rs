//! An event that outlives the bytes it was read from.

use std::borrow::Cow;

use crate::domain::event::BillingEvent;

fn text(value: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(value.into_owned())
}

/// The same event with text of its own.
pub(super) fn owned(event: BillingEvent<'_>) -> BillingEvent<'static> {
    BillingEvent {
        event_id: text(event.event_id),
        app_id: text(event.app_id),
        customer_id: text(event.customer_id),
        kind: event.kind,
        occurred_at: event.occurred_at,
        charge: event.charge,
        transaction_id: event.transaction_id.map(text),
        original_transaction_id: event.original_transaction_id.map(text),
        period: event.period,
        expires_at: event.expires_at,
        cancellation_reason: event.cancellation_reason.map(text),
        environment: event.environment,
        device_id: event.device_id.map(text),
        refers_to: event.refers_to.map(text),
        dimensions: event.dimensions.into_owned(),
    }
}
