//! Reads a JSON object field by field: what is wrong and what nobody asked for is remembered.
//!
//! Fields are read by hand and not by a derived decoder, because each fault must name its field
//! and permitted values, all faults are told at once, and unknown fields are let pass by name.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::http::adapty::request::fault::Fault;

/// Names with what each of them means.
pub type Choices<'a, T> = &'a [(&'a str, T)];

/// An object that is being read.
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// What comes before the names of this object's fields when they are reported as ignored.
    prefix: &'static str,
    asked: BTreeSet<&'static str>,
    faults: Vec<Fault>,
    ignored: Vec<String>,
}

/// What is left when an object has been read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rest {
    pub faults: Vec<Fault>,
    /// Fields that have no effect: unknown ones, and known ones that do nothing here.
    pub ignored: Vec<String>,
}

impl<'a> Fields<'a> {
    /// Begins to read an object.
    pub fn new(map: &'a Map<String, Value>, prefix: &'static str) -> Self {
        Self { map, prefix, asked: BTreeSet::new(), faults: Vec::new(), ignored: Vec::new() }
    }

    /// A field that is there; null is as good as absent.
    pub fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.asked.insert(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Remembers a fault.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// One of the permitted texts.
    pub fn choice<T: Copy>(&mut self, name: &'static str, choices: Choices<'_, T>) -> Option<T> {
        let value = self.get(name)?;
        let text = value.as_str();
        let found = choices.iter().find(|(known, _)| Some(*known) == text);
        if found.is_none() {
            let permitted = choices.iter().map(|(known, _)| *known);
            self.fault(Fault::not_permitted(name, permitted));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// As [`Fields::choice`] for a field without effect, which is reported if it is there.
    pub fn idle_choice(&mut self, name: &'static str, permitted: &[&str]) {
        let choices: Vec<(&str, ())> = permitted.iter().map(|name| (*name, ())).collect();
        if self.choice(name, &choices).is_some() {
            self.ignore(name);
        }
    }

    /// Reports a field as one without effect, if it is there.
    pub fn ignore_given(&mut self, name: &'static str) {
        if self.get(name).is_some() {
            self.ignore(name);
        }
    }

    /// Reports a field as one without effect.
    pub fn ignore(&mut self, name: &str) {
        self.ignored.push(format!("{}{name}", self.prefix));
    }

    /// Whole numbers from 0: a list of them, or a single one.
    pub fn integers(&mut self, name: &'static str) -> Option<Vec<u32>> {
        let value = self.get(name)?;
        let integer = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
        let integers = match value.as_array() {
            Some(list) => list.iter().map(integer).collect(),
            None => integer(value).map(|one| vec![one]),
        };
        if integers.is_none() {
            self.fault(Fault::kind(name, "a whole number from 0 or a list of such"));
        }
        integers
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &'static str) -> Option<Vec<&'a str>> {
        let value = self.get(name)?;
        let texts = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
        if texts.is_none() {
            self.fault(Fault::kind(name, "a list of texts"));
        }
        texts
    }

    /// A list of texts, each a permitted one.
    pub fn choices(&mut self, name: &'static str, permitted: &[&str]) -> Option<Vec<&'a str>> {
        let texts = self.texts(name)?;
        if texts.iter().all(|text| permitted.contains(text)) {
            return Some(texts);
        }
        self.fault(Fault::not_permitted(name, permitted.iter().copied()));
        None
    }

    /// An object within this one.
    pub fn object(&mut self, name: &'static str) -> Option<&'a Map<String, Value>> {
        let value = self.get(name)?;
        if value.as_object().is_none() {
            self.fault(Fault::kind(name, "an object"));
        }
        value.as_object()
    }

    /// Takes over what is left of an object within this one.
    pub fn take_over(&mut self, rest: Rest) {
        self.faults.extend(rest.faults);
        self.ignored.extend(rest.ignored);
    }

    /// Ends the reading: fields that nobody asked for are without effect.
    pub fn finish(mut self) -> Rest {
        let unknown = self.map.keys().filter(|name| !self.asked.contains(name.as_str()));
        let unknown: Vec<String> = unknown.map(|name| format!("{}{name}", self.prefix)).collect();
        self.ignored.extend(unknown);
        self.ignored.sort();
        self.ignored.dedup();
        Rest { faults: self.faults, ignored: self.ignored }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::adapty::request::fault::FaultCode;

    #[test]
    fn every_fault_and_every_unknown_field_is_told_at_once() {
        let body = json!({"format": "xml", "days": [1, -2], "names": "a", "extra": 1, "none": null,
                "units": ["day", "eon"]});
        let mut fields = Fields::new(body.as_object().unwrap(), "filters.");
        assert_eq!(fields.choice("format", &[("json", 1), ("csv", 2)]), None);
        assert_eq!(fields.integers("days"), None);
        assert_eq!(fields.texts("names"), None);
        assert_eq!(fields.texts("none"), None);
        assert_eq!(fields.choices("units", &["day"]), None);
        let rest = fields.finish();
        let codes: Vec<(&str, FaultCode)> =
            rest.faults.iter().map(|fault| (fault.source.as_str(), fault.code)).collect();
        let expected = [
            ("format", FaultCode::Enum),
            ("days", FaultCode::Type),
            ("names", FaultCode::Type),
            ("units", FaultCode::Enum),
        ];
        assert_eq!(codes, expected);
        let message = "value is not a valid enumeration member; permitted: 'json', 'csv'";
        assert_eq!(rest.faults[0].message, message);
        assert_eq!(rest.ignored, ["filters.extra"]);
    }
}
