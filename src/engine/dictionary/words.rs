//! What numbers stand for, in words that are the same in every shard.

use crate::domain::dimensions::Dimension;
use crate::engine::dictionary::{Dictionary, Mark, SignatureId, TupleId};
use crate::engine::timelines::{PathId, Terms};

impl Dictionary {
    /// The tuple in words: `name=value` of the known values, by dimension and then by attribute
    /// name, joined by commas; the same text in every shard. `,`, `=`, `;` and `\` in values are
    /// preceded by `\`.
    pub fn describe_tuple(&self, id: TupleId) -> String {
        let tuple = self.tuple(id);
        let mut parts: Vec<String> = Vec::new();
        for dimension in Dimension::ALL {
            let value = tuple.values[dimension.index()];
            if value != 0 {
                parts.push(format!("{}={}", dimension.name(), escape(self.text(value))));
            }
        }
        let mut free: Vec<String> = tuple
            .attributes
            .iter()
            .map(|(name, value)| {
                format!("attributes.{}={}", escape(self.text(*name)), escape(self.text(*value)))
            })
            .collect();
        free.sort();
        parts.extend(free);
        parts.join(",")
    }

    /// The set in words: the lowest index paid, `!` if refunded, and the tuple of each mark, in
    /// alphabetical order, joined by semicolons.
    pub fn describe_signature(&self, id: SignatureId) -> String {
        let describe = |mark: &Mark| {
            let refunded = if mark.is_refunded { "!" } else { "" };
            format!("{}{refunded} {}", mark.lowest_paid, self.describe_tuple(mark.tuple))
        };
        let mut marks: Vec<String> = self.signature(id).iter().map(describe).collect();
        marks.sort();
        marks.join(";")
    }

    /// The changes of a path in words, oldest first: `day{count terms tuple;…}`, in alphabetical order, where
    /// terms are `trial` or `gross/proceeds/net period`, the amounts in micro-units.
    pub fn describe_path(&self, path: PathId) -> String {
        let changes = self.timelines.changes(path).map(|change| {
            let elements = self.timelines.state(change.state).iter().map(|element| {
                let terms = match self.timelines.terms(element.terms) {
                    Terms::Trial => "trial".to_owned(),
                    Terms::Paid { amounts, period } => {
                        format!("{}/{}/{} {period}", amounts.gross, amounts.proceeds, amounts.net)
                    }
                };
                format!("{} {terms} {}", element.count, self.describe_tuple(element.tuple))
            });
            let mut elements: Vec<String> = elements.collect();
            elements.sort();
            format!("{}{{{}}}", change.day, elements.join(";"))
        });
        let mut changes: Vec<String> = changes.collect();
        changes.reverse();
        changes.join(" ")
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
