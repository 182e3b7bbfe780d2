//! Tables within a table of settings: sections, arrays of sections, and free names.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};
use toml::Value as Shown;

use super::found::{Found, described, outlined, scalar};
use super::layers::{Origin, parse_tables};
use super::reader::Setting;
use super::secret::HIDDEN;
use super::section::Section;

impl Section<'_> {
    /// Reads the table; whatever `read` does not ask for is unknown.
    pub fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let read = read(&mut self);
        for (name, value) in &self.values {
            let origin =
                self.reader.layers.origin(value.tag()).unwrap_or_else(|| self.origin.clone());
            self.reader.strays.push((self.key(name), origin));
        }
        read
    }

    /// Reads a table within this one.
    pub fn section<T>(&mut self, name: &str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let path = self.key(name);
        let (values, origin) = match self.take(name) {
            None => (Dict::new(), self.origin.clone()),
            Some(Found { value: Value::Dict(_, dict), origin }) => (dict, origin),
            Some(found) => {
                self.invalid(name, "a table", outlined(&found.value), found.origin.clone());
                (Dict::new(), found.origin)
            }
        };
        Section { reader: self.reader, path, values, origin }.read(read)
    }

    /// Reads an array of tables within this one; in a text it is written as a TOML array.
    pub fn sections<T>(
        &mut self,
        name: &str,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        let Some(found) = self.take(name) else { return Vec::new() };
        let tables = match &found.value {
            Value::Array(_, tables) => Some(tables.clone()),
            Value::String(_, text) if found.origin.is_text() => parse_tables(text),
            _ => None,
        };
        let dicts: Option<Vec<Dict>> =
            tables.and_then(|tables| tables.into_iter().map(Value::into_dict).collect());
        let Some(dicts) = dicts else {
            self.invalid(name, "an array of tables", outlined(&found.value), found.origin);
            return Vec::new();
        };
        let mut all = Vec::with_capacity(dicts.len());
        for (position, values) in dicts.into_iter().enumerate() {
            let path = format!("{}[{position}]", self.key(name));
            let origin = found.origin.clone();
            all.push(Section { reader: self.reader, path, values, origin }.read(&mut read));
        }
        all
    }

    /// Reads a table of free names, those of nested tables joined by dots.
    ///
    /// `secret` tells which values the listing hides. Variables cannot have dots in their names,
    /// so there an underscore stands for one.
    pub fn free_names(
        &mut self,
        name: &str,
        secret: impl Fn(&str) -> bool,
    ) -> Vec<(String, String)> {
        let path = self.key(name);
        let Some(found) = self.take(name) else { return Vec::new() };
        let Value::Dict(_, dict) = found.value else {
            self.invalid(name, "a table", outlined(&found.value), found.origin);
            return Vec::new();
        };
        let mut leaves = Vec::new();
        flatten("", dict, &mut leaves);
        let mut named = BTreeMap::new();
        // What text layers give comes last, so that it wins.
        leaves.sort_by_key(|(_, value)| {
            self.reader.layers.origin(value.tag()).is_some_and(|o| o.is_text())
        });
        for (leaf, value) in leaves {
            let origin = self.reader.layers.origin(value.tag()).unwrap_or(Origin::Default);
            let leaf = if origin.is_text() { leaf.replace('_', ".") } else { leaf };
            match scalar(&value) {
                Some(text) => drop(named.insert(leaf, (text, origin))),
                None => {
                    let got = if secret(&leaf) { HIDDEN.to_owned() } else { described(&value) };
                    let expected = "a text, a number or true or false";
                    self.invalid(&format!("{name}.{leaf}"), expected, got, origin);
                }
            }
        }
        for (leaf, (text, origin)) in &named {
            let shown = if secret(leaf) { HIDDEN } else { text };
            let setting = Setting {
                key: format!("{path}.{leaf}"),
                value: Shown::from(shown),
                origin: origin.clone(),
            };
            self.reader.settings.push(setting);
        }
        named.into_iter().map(|(leaf, (text, _))| (leaf, text)).collect()
    }
}

fn flatten(prefix: &str, dict: Dict, leaves: &mut Vec<(String, Value)>) {
    for (name, value) in dict {
        let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            Value::Dict(_, inner) => flatten(&path, inner, leaves),
            value => leaves.push((path, value)),
        }
    }
}
