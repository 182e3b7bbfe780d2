//! A value somebody gave, and what can be read out of it.

use figment::value::{Empty, Value};

use super::layers::Origin;
use super::secret::HIDDEN;

/// A value somebody gave.
pub(super) struct Found {
    pub value: Value,
    pub origin: Origin,
}

impl Found {
    /// A text as it is.
    pub fn text(&self) -> Option<&str> {
        self.value.as_str()
    }

    /// A whole number that is not negative.
    pub fn integer(&self) -> Option<u64> {
        match &self.value {
            Value::Num(_, number) => {
                let signed = number.to_i128().and_then(|number| u64::try_from(number).ok());
                signed.or_else(|| number.to_u128().and_then(|number| u64::try_from(number).ok()))
            }
            Value::String(_, text) if self.origin.is_text() => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// True or false.
    pub fn boolean(&self) -> Option<bool> {
        match &self.value {
            Value::Bool(_, value) => Some(*value),
            Value::String(_, text) if self.origin.is_text() => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The items of an array as text; in a text they are separated by commas.
    pub fn items(&self) -> Option<Vec<String>> {
        match &self.value {
            Value::Array(_, values) => values.iter().map(scalar).collect(),
            Value::String(_, text) if self.origin.is_text() => {
                let inner = text.trim();
                let inner = inner
                    .strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix(']'))
                    .unwrap_or(inner);
                let items = inner.split(',').map(|item| item.trim().trim_matches('"').to_owned());
                Some(items.filter(|item| !item.is_empty()).collect())
            }
            _ => None,
        }
    }
}

/// A text, number or truth value as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Bool(_, value) => Some(value.to_string()),
        Value::Num(_, number) => {
            let whole = number.to_i128().map(|number| number.to_string());
            let whole = whole.or_else(|| number.to_u128().map(|number| number.to_string()));
            whole.or_else(|| number.to_f64().map(|number| number.to_string()))
        }
        _ => None,
    }
}

/// What stands in place of a table, without its content: secrets may be in it.
pub(super) fn outlined(value: &Value) -> String {
    match value {
        Value::Array(_, values) => format!("an array of {}", values.len()),
        Value::Dict(..) => described(value),
        Value::String(..) | Value::Char(..) => format!("a text {HIDDEN}"),
        Value::Bool(..) => "true or false".to_owned(),
        Value::Num(..) => "a number".to_owned(),
        Value::Empty(..) => String::new(),
    }
}

/// The only key of what a date of TOML, which is no text, is handed over as.
const TOML_DATE: &str = "$__toml_private_datetime";

/// Whether a text is like an address with a password in it, `user:password@host`, whole or in part.
fn names_password(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(before, _)| before.contains(':'))
}

/// A value as a message shows it; user and password of an address are left out.
pub(super) fn described(value: &Value) -> String {
    match value {
        Value::Array(_, values) => {
            format!("[{}]", values.iter().map(described).collect::<Vec<_>>().join(", "))
        }
        Value::Dict(_, dict) => {
            if let Some(Value::String(_, date)) = dict.get(TOML_DATE) {
                return date.clone();
            }
            let keys: Vec<&str> = dict.keys().map(String::as_str).collect();
            format!("a table of {}", keys.join(", "))
        }
        Value::Empty(_, Empty::None | Empty::Unit) => String::new(),
        Value::Char(_, letter) => letter.to_string(),
        other => match scalar(other).unwrap_or_default() {
            text if names_password(&text) => HIDDEN.to_owned(),
            text => text,
        },
    }
}
