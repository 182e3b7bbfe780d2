//! The JSON of a customer: ledger, chains and sums.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::dimensions::Dimension;
use crate::domain::money::Amounts;
use crate::domain::rules::AppRules;
use crate::domain::time::Timestamp;
use crate::engine::dictionary::Dictionary;
use crate::engine::ledger::{LedgerCharge, LedgerEvent};
use crate::engine::standing::Standing;
use crate::http::freshness::Freshness;
use crate::http::money::{Micros, Units};
use crate::stream::Partition;

/// A customer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CustomerBody {
    pub app: String,
    pub customer_id: String,
    /// The reporting currency, in which all sums are.
    pub currency: String,
    /// Earliest install that counts, or earliest event of another kind but refund.
    pub first_seen_at: Option<String>,
    /// Earliest payment that counts.
    pub first_payment_at: Option<String>,
    /// Lifetime value so far: through today, in the app's first zone.
    pub ltv: WorthBody,
    /// Subscriptions and one-time purchases, by their beginning.
    pub chains: Vec<ChainBody>,
    /// In order of event time and event id.
    pub ledger: Vec<EventBody>,
    #[serde(flatten)]
    pub freshness: Freshness,
}

/// Sums of payments and refunds that count, in the reporting currency.
#[derive(Debug, Clone, Copy, Default)]
struct Worth {
    payments: u64,
    refunds: u64,
    /// Gross, proceeds, net.
    paid: [i128; 3],
    refunded: [i128; 3],
}

impl Worth {
    fn add(&mut self, event: &LedgerEvent<'_>, standing: Standing) {
        let Some(charge) = &event.charge else { return };
        let (count, sums) = match standing {
            Standing::Payment => (&mut self.payments, &mut self.paid),
            Standing::LinkedRefund { .. } | Standing::UnlinkedRefund => {
                (&mut self.refunds, &mut self.refunded)
            }
            _ => return,
        };
        *count += 1;
        let Amounts { gross, proceeds, net } = charge.reporting;
        for (sum, amount) in sums.iter_mut().zip([gross, proceeds, net]) {
            *sum += i128::from(amount);
        }
    }

    fn join(&mut self, other: &Self) {
        self.payments += other.payments;
        self.refunds += other.refunds;
        for (sum, more) in self.paid.iter_mut().zip(other.paid) {
            *sum += more;
        }
        for (sum, more) in self.refunded.iter_mut().zip(other.refunded) {
            *sum += more;
        }
    }
}

/// What a customer or a chain has brought.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WorthBody {
    pub payments: u64,
    pub refunds: u64,
    pub gross: MoneyBody,
    /// After store commission.
    pub proceeds: MoneyBody,
    /// After commission and tax.
    pub net: MoneyBody,
}

impl From<&Worth> for WorthBody {
    fn from(worth: &Worth) -> Self {
        let money = |at: usize| MoneyBody::new(worth.paid[at], worth.refunded[at]);
        Self {
            payments: worth.payments,
            refunds: worth.refunds,
            gross: money(0),
            proceeds: money(1),
            net: money(2),
        }
    }
}

/// Money in, money given back, and what is left.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MoneyBody {
    pub paid: Units,
    pub paid_micros: Micros,
    pub refunded: Units,
    pub refunded_micros: Micros,
    /// Paid less refunded.
    pub revenue: Units,
    pub revenue_micros: Micros,
}

impl MoneyBody {
    /// Of two sums in micro-units.
    pub fn new(paid: i128, refunded: i128) -> Self {
        let revenue = paid - refunded;
        Self {
            paid: Units(paid),
            paid_micros: Micros(paid),
            refunded: Units(refunded),
            refunded_micros: Micros(refunded),
            revenue: Units(revenue),
            revenue_micros: Micros(revenue),
        }
    }
}

/// A subscription, or a one-time purchase: the trials, payments and refunds of one chain.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChainBody {
    pub original_transaction_id: String,
    pub started_at: Option<String>,
    pub has_trial: bool,
    pub last_payment_at: Option<String>,
    /// Product of the newest trial or payment that names one.
    pub product_id: Option<String>,
    /// End of the newest trial or paid period, grace periods and expirations aside.
    pub covered_until: Option<String>,
    pub worth: WorthBody,
}

/// An amount in the currency it was paid in, and in the reporting currency.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChargeBody {
    pub currency: String,
    pub gross: Units,
    pub gross_micros: i64,
    pub proceeds: Units,
    pub proceeds_micros: i64,
    pub net: Units,
    pub net_micros: i64,
    /// The rate that the event brought with it.
    pub reporting_rate: Option<String>,
    pub reporting_gross_micros: i64,
    pub reporting_proceeds_micros: i64,
    pub reporting_net_micros: i64,
}

impl From<&LedgerCharge> for ChargeBody {
    fn from(charge: &LedgerCharge) -> Self {
        let units = |micros: i64| Units(i128::from(micros));
        Self {
            currency: charge.currency.to_string(),
            gross: units(charge.paid.gross),
            gross_micros: charge.paid.gross,
            proceeds: units(charge.paid.proceeds),
            proceeds_micros: charge.paid.proceeds,
            net: units(charge.paid.net),
            net_micros: charge.paid.net,
            reporting_rate: charge.own_rate.map(|rate| rate.to_string()),
            reporting_gross_micros: charge.reporting.gross,
            reporting_proceeds_micros: charge.reporting.proceeds,
            reporting_net_micros: charge.reporting.net,
        }
    }
}

/// An accepted event.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EventBody {
    /// Of the input.
    pub partition: i32,
    pub event_id: String,
    pub kind: &'static str,
    pub occurred_at: String,
    /// `payment`, `linked_refund`, `unlinked_refund`, `chain_status`, `effective`, `voiding`,
    /// `voided`, `apart` (sandbox) or `suspended`.
    pub standing: &'static str,
    /// Why a suspended event has no effect.
    pub suspended_because: Option<&'static str>,
    /// The event id of the payment that a linked refund gives back.
    pub refunds_event_id: Option<String>,
    pub charge: Option<ChargeBody>,
    pub transaction_id: Option<String>,
    pub original_transaction_id: Option<String>,
    pub period: Option<String>,
    pub expires_at: Option<String>,
    pub refers_to: Option<String>,
    pub device_id: Option<String>,
    pub cancellation_reason: Option<String>,
    /// The dimensions the event names itself, before anything is inherited.
    pub dimensions: BTreeMap<String, String>,
}

/// A ledger with its texts spelled out, so that no shard need stay locked.
pub struct CustomerLedger {
    events: Vec<(Timestamp, EventBody)>,
    chains: BTreeMap<String, Chain>,
    worth: Worth,
    install_at: Option<Timestamp>,
    seen_at: Option<Timestamp>,
    paid_at: Option<Timestamp>,
}

#[derive(Default)]
struct Chain {
    started_at: Option<Timestamp>,
    has_trial: bool,
    last_payment_at: Option<Timestamp>,
    product_id: Option<String>,
    covered_until: Option<Timestamp>,
    worth: Worth,
}

fn earliest(known: &mut Option<Timestamp>, at: Timestamp) {
    *known = Some(known.map_or(at, |known| known.min(at)));
}

impl CustomerLedger {
    /// Spells out a ledger of a partition; `ledger` is in order. Money counts as far as it `has_come` by
    /// then.
    pub fn new(
        partition: Partition,
        dictionary: &Dictionary,
        ledger: &[(LedgerEvent<'static>, Standing)],
        has_come: impl Fn(Timestamp) -> bool,
    ) -> Self {
        let mut whole = Self {
            events: Vec::with_capacity(ledger.len()),
            chains: BTreeMap::new(),
            worth: Worth::default(),
            install_at: None,
            seen_at: None,
            paid_at: None,
        };
        for (event, standing) in ledger {
            let body = event_body(partition, dictionary, (event, *standing), ledger);
            whole.count((event, *standing, has_come(event.at)), ledger, &body);
            whole.events.push((event.at, body));
        }
        whole
    }

    fn count(
        &mut self,
        (event, standing, has_come): (&LedgerEvent<'_>, Standing, bool),
        ledger: &[(LedgerEvent<'static>, Standing)],
        body: &EventBody,
    ) {
        use crate::domain::event::EventKind as K;
        if !standing.is_effective() {
            return;
        }
        if has_come {
            self.worth.add(event, standing);
        }
        if event.kind == K::Install {
            earliest(&mut self.install_at, event.at);
        }
        if event.kind != K::Refund {
            earliest(&mut self.seen_at, event.at);
        }
        if standing == Standing::Payment {
            earliest(&mut self.paid_at, event.at);
        }
        let chain = match standing {
            Standing::LinkedRefund { payment } => {
                ledger.get(payment).and_then(|(payment, _)| payment.chain.as_deref())
            }
            _ if event.kind.is_payment() || event.kind == K::TrialStarted => event.chain.as_deref(),
            _ => None,
        };
        let Some(id) = chain else { return };
        let chain = self.chains.entry(id.to_owned()).or_default();
        if has_come {
            chain.worth.add(event, standing);
        }
        // A refund may lie before its payment; it begins nothing.
        if event.kind == K::Refund {
            return;
        }
        earliest(&mut chain.started_at, event.at);
        chain.has_trial |= event.kind == K::TrialStarted;
        if standing == Standing::Payment {
            chain.last_payment_at = Some(event.at);
        }
        if standing == Standing::Payment || event.kind == K::TrialStarted {
            chain.covered_until = event.span_end().or(chain.covered_until);
        }
        if let Some(product) = body.dimensions.get(Dimension::ProductId.name()) {
            chain.product_id = Some(product.clone());
        }
    }

    /// Adds what another partition holds of the same customer.
    pub fn join(&mut self, other: Self) {
        self.events.extend(other.events);
        self.events.sort_by(|a, b| (a.0, &a.1.event_id).cmp(&(b.0, &b.1.event_id)));
        self.worth.join(&other.worth);
        for (known, at) in [
            (&mut self.install_at, other.install_at),
            (&mut self.seen_at, other.seen_at),
            (&mut self.paid_at, other.paid_at),
        ] {
            if let Some(at) = at {
                earliest(known, at);
            }
        }
        for (id, chain) in other.chains {
            match self.chains.get_mut(&id) {
                None => {
                    self.chains.insert(id, chain);
                }
                Some(known) => known.join(chain),
            }
        }
    }
}

impl Chain {
    fn join(&mut self, other: Self) {
        if let Some(at) = other.started_at {
            earliest(&mut self.started_at, at);
        }
        self.has_trial |= other.has_trial;
        if other.last_payment_at > self.last_payment_at {
            self.product_id = other.product_id.or(self.product_id.take());
        }
        self.last_payment_at = self.last_payment_at.max(other.last_payment_at);
        self.covered_until = self.covered_until.max(other.covered_until);
        self.worth.join(&other.worth);
    }
}

fn event_body(
    partition: Partition,
    dictionary: &Dictionary,
    (event, standing): (&LedgerEvent<'_>, Standing),
    ledger: &[(LedgerEvent<'static>, Standing)],
) -> EventBody {
    let text = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
    let refunded = match standing {
        Standing::LinkedRefund { payment } => ledger.get(payment),
        _ => None,
    };
    let suspension = match standing {
        Standing::Suspended(reason) => Some(reason.name()),
        _ => None,
    };
    let reason = dictionary.text(event.cancellation_reason);
    EventBody {
        partition,
        event_id: event.event_id.to_string(),
        kind: event.kind.name(),
        occurred_at: event.at.to_rfc3339(),
        standing: standing_name(standing),
        suspended_because: suspension,
        refunds_event_id: refunded.map(|(payment, _)| payment.event_id.to_string()),
        charge: event.charge.as_ref().map(ChargeBody::from),
        transaction_id: text(&event.transaction_id),
        original_transaction_id: text(&event.chain),
        period: event.period.map(|period| period.to_string()),
        expires_at: event.expires_at.map(Timestamp::to_rfc3339),
        refers_to: text(&event.refers_to),
        device_id: text(&event.device_id),
        cancellation_reason: (!reason.is_empty()).then(|| reason.to_owned()),
        dimensions: own_dimensions(dictionary, event),
    }
}

fn own_dimensions(dictionary: &Dictionary, event: &LedgerEvent<'_>) -> BTreeMap<String, String> {
    let tuple = dictionary.tuple(event.own_tuple);
    let fixed = Dimension::ALL.into_iter().filter_map(|dimension| {
        let value = dictionary.text(tuple.values[dimension.index()]);
        (!value.is_empty()).then(|| (dimension.name().to_owned(), value.to_owned()))
    });
    let free = tuple.attributes.iter().map(|(name, value)| {
        let (name, value) = (dictionary.text(*name), dictionary.text(*value));
        (format!("attributes.{name}"), value.to_owned())
    });
    fixed.chain(free).collect()
}

fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Payment => "payment",
        Standing::LinkedRefund { .. } => "linked_refund",
        Standing::UnlinkedRefund => "unlinked_refund",
        Standing::ChainStatus { .. } => "chain_status",
        Standing::Effective => "effective",
        Standing::Voiding => "voiding",
        Standing::Voided => "voided",
        Standing::Apart => "apart",
        Standing::Suspended(_) => "suspended",
    }
}

impl CustomerBody {
    /// The body of a customer's answer.
    pub fn new(app: &AppRules, id: &str, ledger: CustomerLedger, freshness: Freshness) -> Self {
        let mut chains: Vec<(String, Chain)> = ledger.chains.into_iter().collect();
        chains.sort_by(|a, b| (a.1.started_at, &a.0).cmp(&(b.1.started_at, &b.0)));
        let text = |at: Option<Timestamp>| at.map(Timestamp::to_rfc3339);
        Self {
            app: app.id.clone(),
            customer_id: id.to_owned(),
            currency: app.reporting_currency.to_string(),
            first_seen_at: text(ledger.install_at.or(ledger.seen_at)),
            first_payment_at: text(ledger.paid_at),
            ltv: (&ledger.worth).into(),
            chains: chains
                .into_iter()
                .map(|(id, chain)| ChainBody {
                    original_transaction_id: id,
                    started_at: text(chain.started_at),
                    has_trial: chain.has_trial,
                    last_payment_at: text(chain.last_payment_at),
                    product_id: chain.product_id,
                    covered_until: text(chain.covered_until),
                    worth: (&chain.worth).into(),
                })
                .collect(),
            ledger: ledger.events.into_iter().map(|(_, event)| event).collect(),
            freshness,
        }
    }
}
