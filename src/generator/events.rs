//! Writes what happened as events of the interface.
//!
//! Every event goes through [`RawEvent::check`], as if it had come from outside.

use std::borrow::Cow;

use crate::domain::dimensions::Dimension;
use crate::domain::event::{BillingEvent, EventKind, RawEvent};
use crate::domain::time::Timestamp;

use super::calendar::RateBoard;
use super::catalog::{
    AUDIENCES, COUNTRIES, CURRENCIES, OFFERS, PAYWALLS, PLACEMENTS, PRODUCTS, SOURCES, STORES,
};
use super::customer::{Customer, Payment, amounts};

/// An event being written.
type Draft = RawEvent<'static>;

/// Makes events of one app.
#[derive(Debug)]
pub(super) struct Scribe {
    app_id: String,
    /// Part of all ids, so that businesses of several seeds fit into one app.
    seed: u64,
    rates: RateBoard,
}

impl Scribe {
    pub(super) fn new(app_id: String, seed: u64) -> Self {
        Self { app_id, seed, rates: RateBoard::default() }
    }

    /// An event of the customer with its next ordinal and no more than every event has.
    pub(super) fn draft(&self, customer: &mut Customer, kind: EventKind, at: i64) -> Draft {
        customer.events += 1;
        let is_sandbox = customer.sandbox && kind != EventKind::Forget;
        RawEvent {
            event_id: Some(self.event_id(customer, customer.events)),
            app_id: Some(Cow::Owned(self.app_id.clone())),
            customer_id: Some(Cow::Owned(format!("c{}-{:07}", self.seed, customer.number))),
            kind: Some(Cow::Borrowed(kind.name())),
            occurred_at: Some(Timestamp(at)),
            environment: is_sandbox.then_some(Cow::Borrowed("sandbox")),
            ..RawEvent::default()
        }
    }

    /// Identifier of the customer's chain.
    pub(super) fn chain_id(&self, customer: &Customer) -> Cow<'static, str> {
        self.transaction_id(customer, customer.chain)
    }

    /// Identifier of the customer's event with this ordinal.
    pub(super) fn event_id(&self, customer: &Customer, ordinal: u16) -> Cow<'static, str> {
        Cow::Owned(format!("e{}-{:07}-{ordinal}", self.seed, customer.number))
    }

    fn transaction_id(&self, customer: &Customer, ordinal: u16) -> Cow<'static, str> {
        Cow::Owned(format!("t{}-{:07}-{ordinal}", self.seed, customer.number))
    }

    /// A payment; or, when the time and the amount of a refund are given, what is given back of it.
    pub(super) fn money_draft(
        &mut self,
        customer: &mut Customer,
        payment: &Payment,
        as_refund: Option<(i64, i64)>,
    ) -> Draft {
        let (kind, at, gross) = match as_refund {
            Some((at, gross)) => (EventKind::Refund, at, gross),
            None => (payment.kind, payment.at, payment.gross),
        };
        let mut draft = self.draft(customer, kind, at);
        let country = customer.country();
        let amounts = amounts(gross, payment.commission, country);
        draft.gross_micros = Some(amounts.gross);
        draft.proceeds_micros = Some(amounts.proceeds);
        draft.net_micros = Some(amounts.net);
        draft.currency = Some(Cow::Borrowed(CURRENCIES[country.currency].code));
        draft.reporting_rate = Some(Cow::Owned(self.rates.text(country.currency, at).to_owned()));
        draft.transaction_id = Some(self.transaction_id(customer, payment.transaction));
        draft.original_transaction_id = Some(self.transaction_id(customer, payment.chain));
        sold(&mut draft, customer, payment.product);
        if as_refund.is_none() {
            paid_for(&mut draft, payment.product);
            offered(&mut draft, payment.offer);
            if kind == EventKind::Purchase {
                shown(&mut draft, customer);
            }
        }
        draft
    }

    /// An identifier of the customer's device: 32 hexadecimal digits.
    pub(super) fn device_id(&self, customer: &Customer) -> Cow<'static, str> {
        let mixed = mix(self.seed ^ mix(u64::from(customer.number)));
        Cow::Owned(format!("{mixed:016x}{:016x}", mix(mixed)))
    }
}

/// The finished event.
pub(super) fn finish(draft: Draft) -> BillingEvent<'static> {
    // The settings are checked and the rest is made here, so a refusal is a bug of this module.
    draft.check().unwrap_or_else(|error| unreachable!("a generated event is invalid: {error}"))
}

fn set(draft: &mut Draft, dimension: Dimension, value: &'static str) {
    draft.dimensions.set(dimension, Some(Cow::Borrowed(value)));
}

/// Where the customer is.
pub(super) fn located(draft: &mut Draft, customer: &Customer) {
    set(draft, Dimension::Country, COUNTRIES[usize::from(customer.country)].code);
    set(draft, Dimension::Store, STORES[usize::from(customer.store)].name);
}

/// What was sold, and where.
pub(super) fn sold(draft: &mut Draft, customer: &Customer, product: u8) {
    located(draft, customer);
    let product = &PRODUCTS[usize::from(product)];
    set(draft, Dimension::ProductId, product.id);
    set(draft, Dimension::PlanName, product.plan);
}

/// The length of a subscription payment and its end.
fn paid_for(draft: &mut Draft, product: u8) {
    let Some(text) = PRODUCTS[usize::from(product)].period else {
        return;
    };
    draft.period = Some(Cow::Borrowed(text));
    draft.expires_at = draft
        .occurred_at
        .zip(text.parse().ok())
        .map(|(from, period): (Timestamp, crate::domain::period::Period)| period.end(from));
}

/// The reduction, if there was one.
pub(super) fn offered(draft: &mut Draft, offer: Option<u8>) {
    if let Some(offer) = offer.map(|offer| &OFFERS[usize::from(offer)]) {
        set(draft, Dimension::OfferCategory, offer.category);
        set(draft, Dimension::OfferType, offer.kind);
        set(draft, Dimension::OfferId, offer.id);
    }
}

/// The paywall in front of the customer.
pub(super) fn shown(draft: &mut Draft, customer: &Customer) {
    set(draft, Dimension::PaywallId, PAYWALLS[usize::from(customer.paywall)]);
    set(draft, Dimension::PlacementId, PLACEMENTS[usize::from(customer.placement)]);
    set(draft, Dimension::AudienceId, AUDIENCES[usize::from(customer.audience)]);
}

/// The arm of the price test the customer is in, as a free attribute.
pub(super) fn tested(draft: &mut Draft, customer: &Customer) {
    let arm = if customer.number.is_multiple_of(2) { "b" } else { "a" };
    draft
        .dimensions
        .attributes
        .push((Cow::Borrowed("ab_test_id"), Cow::Borrowed("paywall_test_1")));
    draft.dimensions.attributes.push((Cow::Borrowed("segment_id"), Cow::Borrowed(arm)));
}

/// Where the customer came from.
pub(super) fn attributed(draft: &mut Draft, customer: &Customer) {
    let source = &SOURCES[usize::from(customer.source)];
    set(draft, Dimension::AttributionSource, source.name);
    set(draft, Dimension::AttributionStatus, source.status);
    set(draft, Dimension::AttributionChannel, source.channel);
    let drawn = [
        (Dimension::AttributionCampaign, source.campaigns, customer.campaign),
        (Dimension::AttributionAdgroup, source.adgroups, customer.adset),
        (Dimension::AttributionAdset, source.adsets, customer.adset),
        (Dimension::AttributionCreative, source.creatives, customer.creative),
    ];
    for (dimension, names, place) in drawn {
        if let Some(name) = names.get(usize::from(place)) {
            set(draft, dimension, name);
        }
    }
}

/// The finaliser of `SplitMix64`: every input bit moves every output bit.
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
