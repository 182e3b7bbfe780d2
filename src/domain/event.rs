//! The billing event: what arrives, and what makes it acceptable.
//!
//! [`RawEvent`] is what a decoder found in the bytes, field by field. [`RawEvent::check`] turns it
//! into a [`BillingEvent`] that keeps every promise of the interface, or says which field broke
//! which one. Whether the app is known and a rate exists is the engine's question (it knows the
//! rules); whether bytes are an event at all is the codec's.

use std::borrow::Cow;
use std::str::FromStr;

use super::country;
use super::dimensions::{Dimension, Dimensions};
pub use super::field_error::{Fault, FieldError};
use super::money::{Amounts, Currency, GROSS_MICROS_MAX, Rate};
use super::period::{Period, UNCATEGORIZED};
use super::time::{TIMESTAMP_MAX, Timestamp};

/// Longest identifier in bytes: event, customer, transaction and dimension values.
pub const TEXT_BYTES_MAX: usize = 200;
/// Longest app id in bytes.
pub const APP_ID_BYTES_MAX: usize = 100;
/// The app of those who name none.
pub const DEFAULT_APP: &str = "default";
/// Most entries of `attributes`.
pub const ATTRIBUTES_MAX: usize = 32;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EventKind {
    Install,
    PaywallView,
    TrialStarted,
    Purchase,
    Renewal,
    Refund,
    Cancellation,
    Uncancellation,
    BillingIssue,
    GracePeriod,
    Expiration,
    Attribution,
    Void,
    Forget,
}

impl EventKind {
    /// All kinds, in the order of the Avro enum.
    pub const ALL: [Self; 14] = [
        Self::Install,
        Self::PaywallView,
        Self::TrialStarted,
        Self::Purchase,
        Self::Renewal,
        Self::Refund,
        Self::Cancellation,
        Self::Uncancellation,
        Self::BillingIssue,
        Self::GracePeriod,
        Self::Expiration,
        Self::Attribution,
        Self::Void,
        Self::Forget,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::PaywallView => "paywall_view",
            Self::TrialStarted => "trial_started",
            Self::Purchase => "purchase",
            Self::Renewal => "renewal",
            Self::Refund => "refund",
            Self::Cancellation => "cancellation",
            Self::Uncancellation => "uncancellation",
            Self::BillingIssue => "billing_issue",
            Self::GracePeriod => "grace_period",
            Self::Expiration => "expiration",
            Self::Attribution => "attribution",
            Self::Void => "void",
            Self::Forget => "forget",
        }
    }

    /// A purchase or a renewal.
    pub fn is_payment(self) -> bool {
        matches!(self, Self::Purchase | Self::Renewal)
    }

    /// Payments and refunds carry money; other kinds may not.
    pub fn carries_money(self) -> bool {
        self.is_payment() || self == Self::Refund
    }

    /// Happens to a subscription, named or understood.
    pub fn is_chain_status(self) -> bool {
        matches!(
            self,
            Self::Cancellation
                | Self::Uncancellation
                | Self::BillingIssue
                | Self::GracePeriod
                | Self::Expiration
        )
    }
}

impl FromStr for EventKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "install" => Self::Install,
            "paywall_view" => Self::PaywallView,
            "trial_started" => Self::TrialStarted,
            "purchase" => Self::Purchase,
            "renewal" => Self::Renewal,
            "refund" => Self::Refund,
            "cancellation" => Self::Cancellation,
            "uncancellation" => Self::Uncancellation,
            "billing_issue" => Self::BillingIssue,
            "grace_period" => Self::GracePeriod,
            "expiration" => Self::Expiration,
            "attribution" => Self::Attribution,
            "void" => Self::Void,
            "forget" => Self::Forget,
            _ => return Err(()),
        })
    }
}

/// Real business, or a test of the store's sandbox, which no figure contains and no event of real
/// business feels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Environment {
    #[default]
    Production,
    Sandbox,
}

impl Environment {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
        }
    }
}

/// The money of a payment or refund, in the currency it was paid in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    pub amounts: Amounts,
    pub currency: Currency,
    /// The rate the event brings with it.
    pub reporting_rate: Option<Rate>,
}

/// One accepted-looking billing fact of one customer. Made only by [`RawEvent::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingEvent<'a> {
    pub event_id: Cow<'a, str>,
    pub app_id: Cow<'a, str>,
    pub customer_id: Cow<'a, str>,
    pub kind: EventKind,
    pub occurred_at: Timestamp,
    /// Present for payments and refunds, absent otherwise.
    pub charge: Option<Charge>,
    /// The payment's own id. Purchases: the event id where the event names none. Refunds: the
    /// payment given back, absent when unlinked.
    pub transaction_id: Option<Cow<'a, str>>,
    /// The chain. Purchases and trials: the transaction id where the event names none, and for
    /// trials without either the event id.
    pub original_transaction_id: Option<Cow<'a, str>>,
    pub period: Option<Period>,
    pub expires_at: Option<Timestamp>,
    pub cancellation_reason: Option<Cow<'a, str>>,
    pub environment: Environment,
    pub device_id: Option<Cow<'a, str>>,
    /// The event a `void` removes.
    pub refers_to: Option<Cow<'a, str>>,
    pub dimensions: Dimensions<'a>,
}

impl BillingEvent<'_> {
    /// A place for an event, which is none.
    pub fn vacant() -> Self {
        Self {
            event_id: Cow::Borrowed(""),
            app_id: Cow::Borrowed(""),
            customer_id: Cow::Borrowed(""),
            kind: EventKind::Install,
            occurred_at: Timestamp(0),
            charge: None,
            transaction_id: None,
            original_transaction_id: None,
            period: None,
            expires_at: None,
            cancellation_reason: None,
            environment: Environment::Production,
            device_id: None,
            refers_to: None,
            dimensions: Dimensions::default(),
        }
    }
}

/// The fields as a decoder found them, nothing checked.
#[derive(Debug, Clone, Default)]
pub struct RawEvent<'a> {
    pub event_id: Option<Cow<'a, str>>,
    pub app_id: Option<Cow<'a, str>>,
    pub customer_id: Option<Cow<'a, str>>,
    pub kind: Option<Cow<'a, str>>,
    pub occurred_at: Option<Timestamp>,
    pub gross_micros: Option<i64>,
    pub proceeds_micros: Option<i64>,
    pub net_micros: Option<i64>,
    pub currency: Option<Cow<'a, str>>,
    pub reporting_rate: Option<Cow<'a, str>>,
    pub transaction_id: Option<Cow<'a, str>>,
    pub original_transaction_id: Option<Cow<'a, str>>,
    pub period: Option<Cow<'a, str>>,
    pub expires_at: Option<Timestamp>,
    pub cancellation_reason: Option<Cow<'a, str>>,
    pub environment: Option<Cow<'a, str>>,
    pub device_id: Option<Cow<'a, str>>,
    pub refers_to: Option<Cow<'a, str>>,
    /// `duration` is not read; attributes are not sorted yet.
    pub dimensions: Dimensions<'a>,
}

type Checked<T> = Result<T, FieldError>;
type OptionalText<'a> = Option<Cow<'a, str>>;

impl<'a> RawEvent<'a> {
    /// The event, or the first field that breaks the interface.
    pub fn check(mut self) -> Checked<BillingEvent<'a>> {
        let mut event = BillingEvent::vacant();
        self.check_into(&mut event)?;
        Ok(event)
    }

    /// As [`RawEvent::check`], which would move the event once more: `event` is to be vacant, and means nothing
    /// after an error.
    pub fn check_into(&mut self, event: &mut BillingEvent<'a>) -> Checked<()> {
        event.event_id = required("event_id", self.event_id.take(), TEXT_BYTES_MAX)?;
        event.app_id = check_app_id(self.app_id.take())?;
        event.customer_id = required("customer_id", self.customer_id.take(), TEXT_BYTES_MAX)?;
        let kind = check_kind(self.kind.take())?;
        event.kind = kind;
        event.occurred_at =
            self.occurred_at.ok_or_else(|| FieldError::missing("occurred_at", "for all kinds"))?;
        check_instant("occurred_at", event.occurred_at)?;
        event.expires_at = self.expires_at;
        if let Some(at) = self.expires_at {
            check_instant("expires_at", at)?;
        }
        event.charge = self.check_charge(kind)?;
        event.period = self.check_period(kind)?;
        event.environment = check_environment(kind, self.environment.take())?;
        event.cancellation_reason =
            optional("cancellation_reason", self.cancellation_reason.take(), TEXT_BYTES_MAX)?;
        event.device_id = optional("device_id", self.device_id.take(), TEXT_BYTES_MAX)?;
        event.refers_to = self.check_refers_to(kind)?;
        (event.transaction_id, event.original_transaction_id) =
            self.check_chain(kind, &event.event_id)?;
        self.check_dimensions(kind, event.period)?;
        event.dimensions = std::mem::take(&mut self.dimensions);
        Ok(())
    }

    fn check_charge(&mut self, kind: EventKind) -> Checked<Option<Charge>> {
        if !kind.carries_money() {
            let stray = [
                ("gross_micros", self.gross_micros),
                ("proceeds_micros", self.proceeds_micros),
                ("net_micros", self.net_micros),
            ];
            // Stores send a zero price with trials and installs; that says nothing and costs nothing.
            if let Some((field, Some(value))) =
                stray.into_iter().find(|(_, value)| value.is_some_and(|v| v != 0))
            {
                let expected = "absent or 0 for kinds other than purchase, renewal and refund";
                return Err(FieldError::invalid(field, expected, value));
            }
            self.check_currency()?;
            self.check_reporting_rate()?;
            return Ok(None);
        }
        let required_for = "for purchase, renewal and refund";
        let gross =
            self.gross_micros.ok_or_else(|| FieldError::missing("gross_micros", required_for))?;
        if !(0..=GROSS_MICROS_MAX).contains(&gross) {
            return Err(FieldError::invalid("gross_micros", "an integer from 0 to 10^15", gross));
        }
        let proceeds = self.proceeds_micros.unwrap_or(gross);
        if !(0..=gross).contains(&proceeds) {
            let expected = "an integer from 0 to gross_micros";
            return Err(FieldError::invalid("proceeds_micros", expected, proceeds));
        }
        let net = self.net_micros.unwrap_or(proceeds);
        if !(0..=proceeds).contains(&net) {
            return Err(FieldError::invalid(
                "net_micros",
                "an integer from 0 to proceeds_micros",
                net,
            ));
        }
        let currency = self
            .check_currency()?
            .ok_or_else(|| FieldError::missing("currency", "with gross_micros"))?;
        let reporting_rate = self.check_reporting_rate()?;
        Ok(Some(Charge { amounts: Amounts { gross, proceeds, net }, currency, reporting_rate }))
    }

    fn check_currency(&mut self) -> Checked<Option<Currency>> {
        let Some(code) = given(self.currency.take()) else { return Ok(None) };
        let expected = "an ISO 4217 code in upper case";
        let parsed = code.parse().map_err(|_| FieldError::invalid("currency", expected, &code));
        parsed.map(Some)
    }

    fn check_reporting_rate(&mut self) -> Checked<Option<Rate>> {
        let Some(text) = given(self.reporting_rate.take()) else { return Ok(None) };
        let invalid = || FieldError::invalid("reporting_rate", Rate::EXPECTED, &text);
        text.parse().map(Some).map_err(|_| invalid())
    }

    fn check_period(&mut self, kind: EventKind) -> Checked<Option<Period>> {
        match given(self.period.take()) {
            Some(text) => text.parse().map(Some).map_err(|_| {
                let expected = "an ISO 8601 duration of 1 to 9999 days, weeks, months or years";
                FieldError::invalid("period", expected, &text)
            }),
            None if matches!(kind, EventKind::Renewal | EventKind::TrialStarted) => {
                Err(FieldError::missing("period", "for renewal and trial_started"))
            }
            None => Ok(None),
        }
    }

    fn check_refers_to(&mut self, kind: EventKind) -> Checked<Option<Cow<'a, str>>> {
        let refers_to = optional("refers_to", self.refers_to.take(), TEXT_BYTES_MAX)?;
        if kind == EventKind::Void && refers_to.is_none() {
            return Err(FieldError::missing("refers_to", "for void"));
        }
        Ok(refers_to)
    }

    /// The payment's id and its chain, with the defaults of the interface filled in.
    fn check_chain(
        &mut self,
        kind: EventKind,
        event_id: &Cow<'a, str>,
    ) -> Checked<(OptionalText<'a>, OptionalText<'a>)> {
        let transaction = optional("transaction_id", self.transaction_id.take(), TEXT_BYTES_MAX)?;
        let chain = optional(
            "original_transaction_id",
            self.original_transaction_id.take(),
            TEXT_BYTES_MAX,
        )?;
        match kind {
            EventKind::Purchase => {
                let transaction = transaction.unwrap_or_else(|| event_id.clone());
                let chain = chain.unwrap_or_else(|| transaction.clone());
                Ok((Some(transaction), Some(chain)))
            }
            EventKind::TrialStarted => {
                let own = transaction.clone().unwrap_or_else(|| event_id.clone());
                Ok((transaction, Some(chain.unwrap_or(own))))
            }
            EventKind::Renewal if transaction.is_none() => {
                Err(FieldError::missing("transaction_id", "for renewal"))
            }
            EventKind::Renewal if chain.is_none() => {
                Err(FieldError::missing("original_transaction_id", "for renewal"))
            }
            _ => Ok((transaction, chain)),
        }
    }

    fn check_dimensions(&mut self, kind: EventKind, period: Option<Period>) -> Checked<()> {
        let dimensions = &mut self.dimensions;
        for (dimension, value) in dimensions.values_mut() {
            match dimension {
                Dimension::Country => check_country(value)?,
                _ => check_text(dimension.name(), value, TEXT_BYTES_MAX)?,
            }
        }
        dimensions.set(Dimension::Duration, duration(kind, period));
        check_attributes(&mut dimensions.attributes)
    }
}

fn duration<'a>(kind: EventKind, period: Option<Period>) -> Option<Cow<'a, str>> {
    match period {
        Some(period) => Some(Cow::Borrowed(period.duration_name())),
        None if kind == EventKind::Purchase => Some(Cow::Borrowed(UNCATEGORIZED)),
        None => None,
    }
}

#[inline]
fn required<'a>(
    field: &'static str,
    value: Option<Cow<'a, str>>,
    bytes_max: usize,
) -> Checked<Cow<'a, str>> {
    match value {
        Some(value) if (1..=bytes_max).contains(&value.len()) && is_plain(&value) => Ok(value),
        value => Err(unfit_required(field, value, bytes_max)),
    }
}

#[cold]
fn unfit_required(field: &'static str, value: OptionalText<'_>, bytes_max: usize) -> FieldError {
    match value {
        None => FieldError::missing(field, "for all kinds"),
        Some(value) if (1..=bytes_max).contains(&value.len()) => {
            unfit_text(field, &value, bytes_max)
        }
        Some(value) => FieldError::invalid(field, &format!("1 to {bytes_max} bytes"), &value),
    }
}

/// Absent and empty are the same: stores send empty strings for what they do not know.
fn given(value: OptionalText<'_>) -> OptionalText<'_> {
    value.filter(|value| !value.is_empty())
}

#[inline]
fn optional<'a>(
    field: &'static str,
    value: Option<Cow<'a, str>>,
    bytes_max: usize,
) -> Checked<Option<Cow<'a, str>>> {
    match given(value) {
        Some(value) => check_text(field, &value, bytes_max).map(|()| Some(value)),
        None => Ok(None),
    }
}

#[inline]
fn check_text(field: &'static str, value: &str, bytes_max: usize) -> Checked<()> {
    if value.len() <= bytes_max && is_plain(value) {
        return Ok(());
    }
    Err(unfit_text(field, value, bytes_max))
}

#[cold]
fn unfit_text(field: &'static str, value: &str, bytes_max: usize) -> FieldError {
    if value.len() > bytes_max {
        return FieldError::invalid(field, &format!("at most {bytes_max} bytes"), value);
    }
    FieldError::invalid(field, "text without control characters", value.escape_debug())
}

/// Whether there is no control character of ASCII in it.
fn is_plain(text: &str) -> bool {
    // Eight bytes at a time: every text of every event comes by here.
    let bytes = text.as_bytes();
    let (words, rest) = bytes.as_chunks::<8>();
    let ones = u64::MAX / 0xff;
    let tops = ones * 0x80;
    // A byte's top bit is set where the byte is below `limit`, which is at most 0x80.
    let below = |word: u64, limit: u64| word.wrapping_sub(ones * limit) & !word & tops;
    let controls = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        below(word, 0x20) | below(word ^ (ones * 0x7f), 1)
    };
    let found = words.iter().fold(0, |found, word| found | controls(word));
    // The last eight bytes are looked at once more rather than some of them one by one.
    match bytes.last_chunk::<8>() {
        Some(last) => found | controls(last) == 0,
        None => rest.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f),
    }
}

/// Whether an app may be called so.
pub fn is_app_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=APP_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(allowed)
}

fn check_app_id(value: Option<Cow<'_, str>>) -> Checked<Cow<'_, str>> {
    let value = required("app_id", value, APP_ID_BYTES_MAX)?;
    if !is_app_id(&value) {
        return Err(FieldError::invalid("app_id", "made of A-Z a-z 0-9 . _ : -", &value));
    }
    Ok(value)
}

fn check_kind(value: Option<Cow<'_, str>>) -> Checked<EventKind> {
    let value = value.ok_or_else(|| FieldError::missing("kind", "for all kinds"))?;
    value.parse().map_err(|()| {
        let names: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        FieldError::invalid("kind", &format!("one of {}", names.join(", ")), &value)
    })
}

fn check_environment(kind: EventKind, value: Option<Cow<'_, str>>) -> Checked<Environment> {
    match value.as_deref() {
        None | Some("" | "production") => Ok(Environment::Production),
        // It erases the customer whole, and the sandbox may not reach production.
        Some("sandbox") if kind == EventKind::Forget => Err(FieldError::invalid(
            "environment",
            "\"production\" for forget, which erases sandbox events as well",
            "sandbox",
        )),
        Some("sandbox") => Ok(Environment::Sandbox),
        Some(other) => {
            Err(FieldError::invalid("environment", "\"production\" or \"sandbox\"", other))
        }
    }
}

fn check_instant(field: &'static str, at: Timestamp) -> Checked<()> {
    if (0..=TIMESTAMP_MAX.0).contains(&at.0) {
        return Ok(());
    }
    Err(FieldError::invalid(field, "an instant from 1970-01-01 to 9999-12-31", at.to_rfc3339()))
}

fn check_country(value: &mut Cow<'_, str>) -> Checked<()> {
    let other = country::other_spelling(value);
    if !country::is_code(other.as_deref().unwrap_or(value)) {
        return Err(FieldError::invalid("country", "an ISO 3166-1 alpha-2 code", value));
    }
    if let Some(other) = other {
        *value = other;
    }
    Ok(())
}

type Attributes<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn check_attributes(attributes: &mut Attributes<'_>) -> Checked<()> {
    if attributes.len() > ATTRIBUTES_MAX {
        let expected = format!("at most {ATTRIBUTES_MAX} entries");
        return Err(FieldError::invalid("attributes", &expected, attributes.len()));
    }
    attributes.sort();
    for pair in attributes.windows(2) {
        if pair[0].0 == pair[1].0 {
            return Err(FieldError::invalid("attributes", "distinct names", &pair[0].0));
        }
    }
    attributes.retain(|(_, value)| !value.is_empty());
    for (name, value) in attributes.iter() {
        let fits = |text: &str| !text.is_empty() && text.len() <= TEXT_BYTES_MAX;
        if !fits(name) || !fits(value) || !is_plain(name) || !is_plain(value) {
            return Err(FieldError::invalid(
                "attributes",
                &format!("names and values of 1 to {TEXT_BYTES_MAX} bytes of text"),
                format!("{name}={value}").escape_debug(),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
