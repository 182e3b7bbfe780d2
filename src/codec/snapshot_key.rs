//! The key of a snapshot: one readable line, so that compaction keeps the newest value of a cohort.
//!
//! `app|anchor|width|YYYY-MM-DD|segment`, for example `acme|install|month|2024-01-01|country=DE`.
//! The segment is empty for the whole cohort, `dimension=value` for customers with a value, and
//! `dimension` alone for those whose value is unknown. `%`, `|` and `=` in the parts are written
//! `%25`, `%7C` and `%3D`. A cohort has exactly one key.

use std::fmt;
use std::str::FromStr;

use crate::domain::cohort::Anchor;
use crate::domain::time::{Day, Width};

/// The customers of a cohort that share a value of a dimension.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// A dimension's name, or `attributes.NAME`.
    pub dimension: String,
    /// `None`: those whose value is unknown.
    pub value: Option<String>,
}

/// Which cohort a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotKey {
    pub app_id: String,
    pub anchor: Anchor,
    pub width: Width,
    /// First day of the cohort.
    pub cohort_start: Day,
    /// `None`: the whole cohort.
    pub segment: Option<Segment>,
}

impl fmt::Display for SnapshotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let app = Escaped(&self.app_id);
        let (anchor, width) = (self.anchor.name(), self.width.name());
        write!(f, "{app}|{anchor}|{width}|{}|", self.cohort_start)?;
        match &self.segment {
            None => Ok(()),
            Some(Segment { dimension, value: None }) => write!(f, "{}", Escaped(dimension)),
            Some(Segment { dimension, value: Some(value) }) => {
                write!(f, "{}={}", Escaped(dimension), Escaped(value))
            }
        }
    }
}

/// The text is not a snapshot's key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not of the form app|anchor|width|YYYY-MM-DD|segment")]
pub struct InvalidKey(pub String);

impl FromStr for SnapshotKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidKey(text.to_owned());
        let parts: Vec<&str> = text.split('|').collect();
        let [app, anchor, width, start, segment] = parts[..] else {
            return Err(invalid());
        };
        let key = Self {
            app_id: unescape(app).ok_or_else(invalid)?,
            anchor: anchor.parse().map_err(|()| invalid())?,
            width: width.parse().map_err(|()| invalid())?,
            cohort_start: start.parse().map_err(|_| invalid())?,
            segment: read_segment(segment).ok_or_else(invalid)?,
        };
        // One cohort, one key: a text that would print otherwise is no key.
        if key.to_string() == text { Ok(key) } else { Err(invalid()) }
    }
}

fn read_segment(text: &str) -> Option<Option<Segment>> {
    if text.is_empty() {
        return Some(None);
    }
    let (dimension, value) = match text.split_once('=') {
        None => (text, None),
        Some((dimension, value)) => (dimension, Some(unescape(value)?)),
    };
    Some(Some(Segment { dimension: unescape(dimension)?, value }))
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['%', '|', '=']) {
            f.write_str(&rest[..at])?;
            write!(f, "%{:02X}", rest.as_bytes()[at])?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        out.push(match after.get(..2)? {
            "25" => '%',
            "7C" => '|',
            "3D" => '=',
            _ => return None,
        });
        rest = &after[2..];
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(segment: Option<(&str, Option<&str>)>) -> SnapshotKey {
        SnapshotKey {
            app_id: "acme".to_owned(),
            anchor: Anchor::FirstPurchase,
            width: Width::Month,
            cohort_start: "2024-01-01".parse().unwrap(),
            segment: segment.map(|(dimension, value)| Segment {
                dimension: dimension.to_owned(),
                value: value.map(str::to_owned),
            }),
        }
    }

    #[test]
    fn a_key_reads_as_it_prints() {
        for (segment, printed) in [
            (None, "acme|first_purchase|month|2024-01-01|"),
            (Some(("country", Some("DE"))), "acme|first_purchase|month|2024-01-01|country=DE"),
            (Some(("country", None)), "acme|first_purchase|month|2024-01-01|country"),
            (
                Some(("attributes.a=b", Some("50% | x"))),
                "acme|first_purchase|month|2024-01-01|attributes.a%3Db=50%25 %7C x",
            ),
        ] {
            let key = key(segment);
            assert_eq!(key.to_string(), printed);
            assert_eq!(printed.parse(), Ok(key));
        }
    }

    #[test]
    fn other_texts_are_no_keys() {
        for text in [
            "",
            "acme|first_purchase|month|2024-01-01",
            "acme|first_purchase|month|2024-1-1|",
            "acme|first|month|2024-01-01|",
            "acme|first_purchase|month|2024-01-01|a=b|c",
            "acme|first_purchase|month|2024-01-01|a=%7",
            "acme|first_purchase|month|2024-01-01|a=%7c",
            "acme|first_purchase|month|2024-01-01|a=b=c",
            "acme|first_purchase|month|2024-01-01|a=%€",
        ] {
            assert!(text.parse::<SnapshotKey>().is_err(), "{text} must be refused");
        }
    }
}
