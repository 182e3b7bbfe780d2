//! Dimension values: what an event says itself, what it takes over, and how it is written.

use std::collections::BTreeMap;

use serde_json::Value;

/// The fixed dimensions in the order in which they are written.
pub const NAMES: [&str; 18] = [
    "product_id",
    "plan_name",
    "duration",
    "store",
    "country",
    "offer_category",
    "offer_type",
    "offer_id",
    "paywall_id",
    "placement_id",
    "audience_id",
    "attribution_source",
    "attribution_status",
    "attribution_channel",
    "attribution_campaign",
    "attribution_adgroup",
    "attribution_adset",
    "attribution_creative",
];

/// Known values: fixed ones by place in [`NAMES`], free ones by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tuple {
    pub fixed: BTreeMap<usize, String>,
    pub attributes: BTreeMap<String, String>,
}

impl Tuple {
    /// The values named by an event; `duration` is worked out by the caller.
    pub fn parse(event: &Value, duration: Option<&str>) -> Self {
        let mut tuple = Self::default();
        for (place, name) in NAMES.into_iter().enumerate() {
            let value = match name {
                "duration" => duration.map(str::to_owned),
                "country" => text(&event[name]).map(|code| country(&code)),
                _ => text(&event[name]),
            };
            tuple.fixed.extend(value.map(|value| (place, value)));
        }
        for (name, value) in event["attributes"].as_object().into_iter().flatten() {
            tuple.attributes.extend(text(value).map(|value| (name.clone(), value)));
        }
        tuple
    }

    /// These values, and those of `older` where this has none.
    pub fn or(&self, older: &Self) -> Self {
        let mut both = older.clone();
        both.fixed.extend(self.fixed.clone());
        both.attributes.extend(self.attributes.clone());
        both
    }

    /// The canonical text.
    pub fn text(&self) -> String {
        let fixed = self.fixed.iter();
        let mut parts: Vec<String> =
            fixed.map(|(place, value)| format!("{}={}", NAMES[*place], escape(value))).collect();
        let attributes = self.attributes.iter();
        let mut free: Vec<String> = attributes
            .map(|(name, value)| format!("attributes.{}={}", escape(name), escape(value)))
            .collect();
        free.sort();
        parts.append(&mut free);
        parts.join(",")
    }
}

/// The text of a value that is neither absent nor null nor empty.
pub fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn country(code: &str) -> String {
    match code.to_ascii_uppercase().as_str() {
        "UK" => "GB".to_owned(),
        other => other.to_owned(),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, ',' | '=' | ';' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
