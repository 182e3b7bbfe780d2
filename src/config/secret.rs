//! Values that must never be printed.

use std::collections::BTreeMap;
use std::fmt;

/// What is printed in the place of a secret.
pub const HIDDEN: &str = "(hidden)";

/// A text that no log, listing or debug output shows.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Properties for librdkafka, by name. Debug output hides those that may hold a secret.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KafkaProperties(pub BTreeMap<String, String>);

impl fmt::Debug for KafkaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |name, value| if is_secret_property(name) { HIDDEN } else { value };
        f.debug_map().entries(self.0.iter().map(|(k, v)| (k, shown(k, v)))).finish()
    }
}

/// Whether the value of a librdkafka property may be a secret.
///
/// Judged by the name; hiding the path of a key file as well does no harm.
pub(super) fn is_secret_property(name: &str) -> bool {
    const WORDS: [&str; 7] =
        ["password", "secret", "key", "token", "jaas", "credential", "oauthbearer.config"];
    let name = name.to_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_secret() {
        let entry = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let properties = KafkaProperties(BTreeMap::from([
            entry("sasl.password", "hunter2"),
            entry("ssl.key.pem", "hunter2"),
            entry("sasl.oauthbearer.client.secret", "hunter2"),
            entry("sasl.username", "billing"),
        ]));
        let shown = format!("{properties:?} {:?}", Secret::new("hunter2".to_owned()));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("billing"), "{shown}");
    }
}
