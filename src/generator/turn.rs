//! What a customer does when its turn comes, and what that makes likely to follow.
//!
//! The rates are in the range that subscription apps publish: about two of five trials convert,
//! churn falls with every renewal, one in thirty-five payments is refunded. Each is written where
//! it is drawn, per mille unless said otherwise.

use std::borrow::Cow;

use crate::domain::event::{EventKind, RawEvent};
use crate::domain::period::{Period, PeriodUnit};
use crate::domain::time::{DAY_MICROS, Timestamp};

use super::agenda::{Action, Refund};
use super::business::Business;
use super::catalog::{
    AUDIENCES, COUNTRIES, CREDITS, CURRENCIES, FREE_TRIAL, INTRO_HALF, LIFETIME, MONTHLY, PAYWALLS,
    PLACEMENTS, PRESS_CODE, PRODUCTS, SOURCES, STORES, TEAM_MONTHLY, TEAM_YEARLY, WEEKLY, WIN_BACK,
    YEARLY,
};
use super::customer::{Customer, Payment};
use super::delivery::Delivery;
use super::events::{attributed, finish, located, offered, shown, sold, tested};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

const TRIAL: Period = Period { count: 1, unit: PeriodUnit::Week };
const REASONS: [&str; 4] = ["too_expensive", "not_used_enough", "missing_feature", "other"];

/// One customer, now.
pub(super) struct Turn<'b> {
    pub(super) business: &'b mut Business,
    pub(super) customer: &'b mut Customer,
    pub(super) slot: usize,
    pub(super) at: i64,
    pub(super) out: &'b mut Delivery,
}

impl Turn<'_> {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Install => self.install(),
            Action::Attribution => self.attribution(),
            Action::PaywallView(count) => self.paywall_view(count),
            Action::StartTrial(product) => self.start_trial(product),
            Action::Buy(product) => self.buy(product),
            Action::BuyOnce(product) => self.buy_once(product),
            Action::Pay => self.pay(None),
            Action::ChangePlan(product) => {
                self.customer.product = product;
                self.pay(None);
            }
            Action::Cancel => self.cancel(),
            Action::Uncancel => self.send_status(EventKind::Uncancellation, |_| ()),
            Action::Expire(reason) => self.expire(reason),
            Action::FailToPay { recovers } => self.fail_to_pay(recovers),
            Action::Return => {
                let offer = self.chance(500).then_some(WIN_BACK);
                self.pay(offer);
            }
            Action::Refund(refund) => self.refund(&refund),
            Action::Correct(payment, wrong) => {
                self.void(wrong);
                self.send_money(&payment, None);
            }
            Action::Void(wrong) => self.void(wrong),
            Action::Forget => {
                let draft = self.draft(EventKind::Forget);
                self.send(draft);
                self.customer.forgotten = true;
            }
        }
    }

    fn install(&mut self) {
        let draws = &mut self.business.draws;
        let customer = &mut *self.customer;
        customer.country = draws.weighted(COUNTRIES.iter().map(|country| country.weight));
        customer.store = draws.weighted(STORES.iter().map(|store| store.weight));
        customer.source = draws.weighted(SOURCES.iter().map(|source| source.weight));
        let source = &SOURCES[usize::from(customer.source)];
        customer.campaign = draws.place(source.campaigns.len());
        customer.adset = draws.place(source.adsets.len().max(source.adgroups.len()));
        customer.creative = draws.place(source.creatives.len());
        customer.sandbox = draws.chance(4);
        // Ad networks often tell only later whose customer it was.
        let known = source.campaigns.is_empty() || draws.chance(700);
        let sees_paywall = draws.chance(780);
        let forgets = draws.chance_ppm(self.business.forgets.ppm());

        let mut draft = self.draft(EventKind::Install);
        draft.device_id = Some(self.business.scribe.device_id(self.customer));
        located(&mut draft, self.customer);
        if known {
            attributed(&mut draft, self.customer);
        } else {
            self.plan_within(MINUTE, 2 * DAY_MICROS, Action::Attribution);
        }
        self.send(draft);
        if sees_paywall {
            self.plan_within(10 * SECOND, 2 * HOUR, Action::PaywallView(1));
        }
        if forgets {
            self.plan_within(10 * DAY_MICROS, 500 * DAY_MICROS, Action::Forget);
        }
    }

    fn attribution(&mut self) {
        let mut draft = self.draft(EventKind::Attribution);
        attributed(&mut draft, self.customer);
        self.send(draft);
    }

    fn paywall_view(&mut self, count: u8) {
        let draws = &mut self.business.draws;
        self.customer.paywall = draws.place(PAYWALLS.len());
        self.customer.placement = if count == 1 { 0 } else { draws.place(PLACEMENTS.len()) };
        self.customer.audience = draws.place(AUDIENCES.len());
        let mut draft = self.draft(EventKind::PaywallView);
        shown(&mut draft, self.customer);
        tested(&mut draft, self.customer);
        self.send(draft);

        let quality = self.quality();
        let draws = &mut self.business.draws;
        let decision = draws.below(1_000_000);
        let product =
            [WEEKLY, MONTHLY, YEARLY][usize::from(draws.weighted([20, 48, 32].into_iter()))];
        let mut limit = 0;
        let mut taken = |per_mille: u64| {
            limit += per_mille * quality;
            decision < limit
        };
        let action = if taken(260) {
            Action::StartTrial(product)
        } else if taken(90) {
            Action::Buy(product)
        } else if taken(18) {
            Action::BuyOnce(CREDITS)
        } else if taken(4) {
            Action::BuyOnce(LIFETIME)
        } else {
            if count < 6 && self.chance(560) {
                self.plan_within(6 * HOUR, 25 * DAY_MICROS, Action::PaywallView(count + 1));
            }
            return;
        };
        self.plan_within(5 * SECOND, 3 * MINUTE, action);
    }

    fn start_trial(&mut self, product: u8) {
        self.customer.transactions += 1;
        self.begin_chain(product, self.customer.transactions);
        self.customer.epoch += 1;
        self.customer.active = true;
        let ends = TRIAL.end(Timestamp(self.at));
        let mut draft = self.chain_draft(EventKind::TrialStarted);
        draft.transaction_id.clone_from(&draft.original_transaction_id);
        draft.period = Some(Cow::Borrowed("P1W"));
        draft.expires_at = Some(ends);
        offered(&mut draft, Some(FREE_TRIAL));
        shown(&mut draft, self.customer);
        self.send(draft);

        let quality = self.quality();
        let draws = &mut self.business.draws;
        if draws.below(1_000_000) < 385 * quality {
            if draws.chance(60) {
                self.plan_change_of_mind(ends.0);
            }
            self.plan(ends.0, Action::Pay);
        } else if draws.chance(920) {
            self.plan_within(5 * MINUTE, ends.0 - self.at, Action::Cancel);
            self.plan(ends.0, Action::Expire("voluntary"));
        } else {
            let recovers = draws.chance(300);
            self.plan(ends.0, Action::FailToPay { recovers });
        }
    }

    fn buy(&mut self, product: u8) {
        let offer = match self.business.draws.below(1_000) {
            0..120 => Some(INTRO_HALF),
            120..124 => Some(PRESS_CODE),
            _ => None,
        };
        self.begin_chain(product, self.customer.transactions + 1);
        self.pay(offer);
    }

    /// The chain of a subscription begins with this transaction.
    fn begin_chain(&mut self, product: u8, transaction: u16) {
        self.customer.product = product;
        self.customer.chain = transaction;
        self.customer.chain_start = self.at;
        self.customer.payments = 0;
    }

    /// Pays the next period of the subscription; everything planned for it before is off.
    fn pay(&mut self, offer: Option<u8>) {
        let first = self.customer.payments == 0;
        let kind = if first { EventKind::Purchase } else { EventKind::Renewal };
        self.customer.payments += 1;
        self.customer.epoch += 1;
        self.customer.active = true;
        let payment = self.payment(kind, self.customer.product, offer);
        self.send_payment(payment);
        self.plan_period();
    }

    fn payment(&mut self, kind: EventKind, product: u8, offer: Option<u8>) -> Payment {
        self.customer.transactions += 1;
        let transaction = self.customer.transactions;
        let one_time = PRODUCTS[usize::from(product)].period.is_none();
        Payment {
            kind,
            at: self.at,
            transaction,
            chain: if one_time { transaction } else { self.customer.chain },
            product,
            offer,
            gross: self.customer.price(product, offer),
            commission: self.customer.commission(product, self.at),
        }
    }

    fn send_payment(&mut self, payment: Payment) {
        // One payment in 2,500 is first reported with twice its amount.
        if payment.gross > 0 && self.business.draws.chance_ppm(400) {
            let wrong = Payment { gross: payment.gross * 2, ..payment.clone() };
            self.send_money(&wrong, None);
            let correction = Action::Correct(Box::new(payment.clone()), self.customer.events);
            self.plan_within(HOUR, 2 * DAY_MICROS, correction);
        } else {
            self.send_money(&payment, None);
        }
        if payment.gross > 0 && self.chance(28) {
            self.plan_refund(payment);
        }
    }

    fn buy_once(&mut self, product: u8) {
        let payment = self.payment(EventKind::Purchase, product, None);
        self.send_payment(payment);
        // Some are reported again as if they were another purchase, and taken back.
        if self.chance(8) {
            let stray = self.payment(EventKind::Purchase, product, None);
            self.send_money(&stray, None);
            let void = Action::Void(self.customer.events);
            self.plan_within(HOUR, DAY_MICROS, void);
        }
    }

    fn plan_period(&mut self) {
        let product = self.customer.product;
        let period = PRODUCTS[usize::from(product)].period.and_then(|text| text.parse().ok());
        let ends = period.unwrap_or(TRIAL).end(Timestamp(self.at)).0;
        let churn = u64::from(self.customer.churn()) * 1_000_000 / self.quality();
        if self.chance(25) {
            self.plan_within(HOUR, ends - self.at, Action::BuyOnce(CREDITS));
        }
        if self.business.draws.below(1_000_000) < churn {
            if self.chance(720) {
                self.plan_within(HOUR, ends - self.at, Action::Cancel);
                self.plan(ends, Action::Expire("voluntary"));
            } else {
                self.plan(ends, Action::FailToPay { recovers: false });
            }
            return;
        }
        match self.business.draws.below(1_000) {
            0..25 => self.plan(ends, Action::FailToPay { recovers: true }),
            25..37 if upgrade(product).is_some() => {
                let better = upgrade(product).unwrap_or(product);
                self.plan_within(HOUR, ends - self.at, Action::ChangePlan(better));
                self.plan(ends, Action::Pay);
            }
            37..45 => {
                self.plan(ends, Action::ChangePlan(downgrade(product).unwrap_or(product)));
            }
            45..75 => {
                self.plan_change_of_mind(ends);
                self.plan(ends, Action::Pay);
            }
            _ => self.plan(ends, Action::Pay),
        }
    }

    /// Switches renewal off and on again before `ends`.
    fn plan_change_of_mind(&mut self, ends: i64) {
        let middle = (ends - self.at) / 2;
        self.plan_within(HOUR, middle, Action::Cancel);
        self.plan_within(middle, ends - self.at, Action::Uncancel);
    }

    fn plan_refund(&mut self, payment: Payment) {
        let minor = CURRENCIES[self.customer.country().currency].minor_micros;
        let draws = &mut self.business.draws;
        let kind = draws.below(100);
        let partial = payment.gross * draws.between(20, 51) / 100 / minor * minor;
        let twice = draws.chance(250);
        let refund = |gross, linked, full| {
            Action::Refund(Box::new(Refund { payment: payment.clone(), gross, linked, full }))
        };
        match kind {
            0..4 => {
                let goodwill = refund(payment.gross, false, false);
                self.plan_within(HOUR, 30 * DAY_MICROS, goodwill);
            }
            // Two parts are at most half of the payment each.
            4..20 if partial > 0 => {
                let part = refund(partial, true, false);
                let rest = refund(partial, true, false);
                self.plan_within(HOUR, 14 * DAY_MICROS, part);
                if twice {
                    self.plan_within(14 * DAY_MICROS, 40 * DAY_MICROS, rest);
                }
            }
            _ => {
                let all = refund(payment.gross, true, true);
                self.plan_within(HOUR, 14 * DAY_MICROS, all);
            }
        }
    }

    fn refund(&mut self, refund: &Refund) {
        self.send_money(&refund.payment, Some(refund));
        let of_subscription = self.customer.active && refund.payment.chain == self.customer.chain;
        if refund.full && of_subscription && self.chance(750) {
            self.plan_within(SECOND, 5 * MINUTE, Action::Expire("refund"));
        }
    }

    fn cancel(&mut self) {
        let reason = REASONS[usize::from(self.business.draws.place(REASONS.len()))];
        self.send_status(EventKind::Cancellation, |draft| {
            draft.cancellation_reason = Some(Cow::Borrowed(reason));
        });
    }

    fn fail_to_pay(&mut self, recovers: bool) {
        let days = STORES[usize::from(self.customer.store)].grace_days;
        let grace_ends = self.at + days * DAY_MICROS;
        self.send_status(EventKind::BillingIssue, |_| ());
        self.send_status(EventKind::GracePeriod, |draft| {
            draft.expires_at = Some(Timestamp(grace_ends));
        });
        if recovers {
            self.plan_within(HOUR, days * DAY_MICROS, Action::Pay);
        } else {
            self.plan(grace_ends, Action::Expire("billing_error"));
        }
    }

    fn expire(&mut self, reason: &'static str) {
        self.send_status(EventKind::Expiration, |draft| {
            draft.cancellation_reason = Some(Cow::Borrowed(reason));
        });
        self.customer.active = false;
        self.customer.epoch += 1;
        // Who never paid seldom comes back.
        let returns = if self.customer.payments == 0 { 35 } else { 130 };
        if self.chance(returns) {
            self.plan_within(15 * DAY_MICROS, 240 * DAY_MICROS, Action::Return);
        }
    }

    fn void(&mut self, wrong: u16) {
        let mut draft = self.draft(EventKind::Void);
        draft.refers_to = Some(self.business.scribe.event_id(self.customer, wrong));
        self.send(draft);
    }

    fn send_money(&mut self, payment: &Payment, refund: Option<&Refund>) {
        let as_refund = refund.map(|refund| (self.at, refund.gross));
        let mut draft = self.business.scribe.money_draft(self.customer, payment, as_refund);
        if refund.is_some_and(|refund| !refund.linked) {
            draft.transaction_id = None;
            draft.original_transaction_id = None;
        }
        self.send(draft);
    }

    fn send_status(&mut self, kind: EventKind, fill: impl FnOnce(&mut RawEvent<'static>)) {
        let mut draft = self.chain_draft(kind);
        fill(&mut draft);
        self.send(draft);
    }

    fn draft(&mut self, kind: EventKind) -> RawEvent<'static> {
        self.business.scribe.draft(self.customer, kind, self.at)
    }

    fn chain_draft(&mut self, kind: EventKind) -> RawEvent<'static> {
        let mut draft = self.draft(kind);
        draft.original_transaction_id = Some(self.business.scribe.chain_id(self.customer));
        sold(&mut draft, self.customer, self.customer.product);
        draft
    }

    fn send(&mut self, draft: RawEvent<'static>) {
        self.out.send(self.at, finish(draft));
    }

    fn plan(&mut self, at: i64, action: Action) {
        self.customer.planned += 1;
        self.business.agenda.plan(at, self.slot, self.customer.epoch, action);
    }

    fn plan_within(&mut self, from: i64, to: i64, action: Action) {
        // Whole milliseconds, as stores report them.
        let delay = self.business.draws.between(from / 1_000, to / 1_000) * 1_000;
        self.plan(self.at + delay, action);
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        self.business.draws.chance(per_mille)
    }

    /// How readily the customer pays, per mille of the average.
    fn quality(&self) -> u64 {
        u64::from(SOURCES[usize::from(self.customer.source)].quality)
    }
}

fn upgrade(product: u8) -> Option<u8> {
    match product {
        WEEKLY => Some(MONTHLY),
        MONTHLY => Some(TEAM_MONTHLY),
        YEARLY | TEAM_MONTHLY => Some(TEAM_YEARLY),
        _ => None,
    }
}

fn downgrade(product: u8) -> Option<u8> {
    match product {
        YEARLY | TEAM_MONTHLY => Some(MONTHLY),
        TEAM_YEARLY => Some(TEAM_MONTHLY),
        _ => None,
    }
}
