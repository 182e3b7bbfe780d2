//! Parameters of a request on a vendor's path: what is not known is set aside, not refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::http::parameters::Parameter;

/// The most names told in the header.
const NAMES_MAX: usize = 50;

/// Names and values of a query string or of a form body.
pub fn pairs(encoded: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded.as_bytes()).into_owned().collect()
}

/// The parameters of a request.
#[derive(Debug, Clone, Default)]
pub struct Given {
    values: BTreeMap<String, String>,
    ignored: BTreeSet<String>,
}

impl Given {
    /// Keeps what the path knows; of a repeated parameter the first, and its name among the
    /// ignored.
    pub fn read(pairs: Vec<(String, String)>, known: &[Parameter]) -> Self {
        let mut given = Self::default();
        for (name, value) in pairs {
            let is_known = known.iter().any(|parameter| parameter.name == name);
            if is_known && !given.values.contains_key(&name) {
                given.values.insert(name, value);
            } else {
                given.ignored.insert(name);
            }
        }
        given
    }

    /// The text of a parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Notes that a parameter has no effect on the answer.
    pub fn ignore(&mut self, name: &str) {
        self.ignored.insert(name.to_owned());
    }

    /// The names of what had no effect, as a header shows them.
    pub fn ignored(&self) -> Option<String> {
        let shown = self.ignored.iter().take(NAMES_MAX).map(|name| {
            let plain = |c: char| if c.is_ascii_graphic() && c != ',' { c } else { '?' };
            name.chars().take(100).map(plain).collect::<String>()
        });
        (!self.ignored.is_empty()).then(|| shown.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parameters::Shape;

    const KNOWN: &[Parameter] = &[Parameter {
        name: "range",
        is_required: false,
        shape: Shape::Text("a range"),
        about: "A range.",
    }];

    #[test]
    fn what_is_not_used_is_named() {
        let given = Given::read(pairs("range=7d&x=1&range=9&%C3%A4,b=&y+z=%20"), KNOWN);
        assert_eq!(given.text("range"), Some("7d"));
        assert_eq!(given.text("x"), None);
        assert_eq!(given.ignored().as_deref(), Some("range, x, y?z, ??b"));
        assert_eq!(Given::read(pairs("range=7d"), KNOWN).ignored(), None);
    }
}
