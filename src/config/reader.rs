//! Reads settings out of merged layers, each declared once: name, default, what it must be.
//!
//! A [`Section`] hands out values by name. On the way it writes down every setting with its value
//! and origin, every problem, and every key nobody asked for, so that one run reports all that is
//! wrong. A wrong value is replaced by its default until the end, where [`Reader::finish`] refuses.

use std::collections::BTreeSet;

use super::ConfigError;
use super::layers::{Layers, Origin};
use super::problem::{Problem, nearest};
use super::section::Section;

/// One setting as it is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The full name, such as `kafka.group_id` or `apps[0].id`.
    pub key: String,
    /// The value; secrets are replaced by `(hidden)`.
    pub value: toml::Value,
    pub origin: Origin,
}

/// Collects settings and problems over all sections.
pub(super) struct Reader {
    pub layers: Layers,
    pub settings: Vec<Setting>,
    pub problems: Vec<Problem>,
    /// Keys nobody asked for; judged at the end, when all known ones are known.
    pub strays: Vec<(String, Origin)>,
    /// All names of settings and sections, without positions in arrays.
    pub known: BTreeSet<String>,
}

impl Reader {
    pub fn new(layers: Layers) -> Self {
        let (settings, problems, strays) = Default::default();
        Self { layers, settings, problems, strays, known: BTreeSet::new() }
    }

    /// Reads the root, whose keys are the names of sections.
    pub fn read<T>(&mut self, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let values = std::mem::take(&mut self.layers.root);
        Section { reader: self, path: String::new(), values, origin: Origin::Default }.read(read)
    }

    /// Adds a problem that concerns a setting already read.
    pub fn refuse(&mut self, key: &str, expected: impl Into<String>, got: impl ToString) {
        let setting = self.settings.iter().find(|setting| setting.key == key);
        let origin = setting.map_or(Origin::Default, |setting| setting.origin.clone());
        let (key, expected, got) = (key.to_owned(), expected.into(), got.to_string());
        self.problems.push(Problem::Invalid { key, expected, got, origin });
    }

    /// All settings, or all problems.
    pub fn finish(mut self) -> Result<Vec<Setting>, ConfigError> {
        for (key, origin) in self.strays {
            let nearest = nearest(&key, &self.known, &origin);
            self.problems.push(Problem::Unknown { key, nearest, origin });
        }
        if self.problems.is_empty() {
            Ok(self.settings)
        } else {
            Err(ConfigError::Invalid(self.problems))
        }
    }
}
