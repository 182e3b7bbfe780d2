//! Why a well-formed event is not accepted.

use crate::domain::event::FieldError;

/// Why a well-formed event is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A field is not acceptable under the rules.
    Field(FieldError),
    /// The app is not configured.
    UnknownApp,
    /// No rate for the currency on the event's day.
    MissingRate,
    /// The event id is taken by an event with other content.
    Conflict,
    /// The customer was forgotten.
    CustomerForgotten,
}

impl Refusal {
    /// The stable code.
    pub fn code(&self) -> String {
        match self {
            Self::Field(error) => error.code(),
            Self::UnknownApp => "unknown_app".to_owned(),
            Self::MissingRate => "missing_rate".to_owned(),
            Self::Conflict => "conflict".to_owned(),
            Self::CustomerForgotten => "customer_forgotten".to_owned(),
        }
    }

    /// The field at fault.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Field(error) => error.field,
            Self::UnknownApp => "app_id",
            Self::MissingRate => "reporting_rate",
            Self::Conflict => "event_id",
            Self::CustomerForgotten => "customer_id",
        }
    }

    /// The refusal in words.
    pub fn message(&self) -> String {
        match self {
            Self::Field(error) => error.message.clone(),
            Self::UnknownApp => "app_id is not one of the configured apps".to_owned(),
            Self::MissingRate => {
                "reporting_rate is absent and the rate table has no rate for the currency on or \
                 before the event's day"
                    .to_owned()
            }
            Self::Conflict => {
                "event_id was accepted before with other content; the first stands".to_owned()
            }
            Self::CustomerForgotten => {
                "customer_id was erased by a forget event; nothing of it is accepted".to_owned()
            }
        }
    }
}
