//! What can be wrong with the settings, and how it is said.

use std::collections::BTreeSet;
use std::fmt;

use super::layers::{ENVIRONMENT_PREFIX, Origin};

/// One thing wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A value is not what the setting takes.
    Invalid { key: String, expected: String, got: String, origin: Origin },
    /// There is no setting of this name; `nearest` is the most similar one.
    Unknown { key: String, nearest: String, origin: Origin },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { key, expected, got, origin } => {
                write!(f, "{key} must be {expected}, got \"{got}\" ({origin})")
            }
            Self::Unknown { key, nearest, origin } => {
                write!(f, "{key} is not a setting, did you mean {nearest}? ({origin})")
            }
        }
    }
}

/// The known name most similar to `key`, written the way its origin writes names.
pub(super) fn nearest(key: &str, known: &BTreeSet<String>, origin: &Origin) -> String {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    // A setting in the wrong section is as likely as a misspelt one.
    let similarity = |name: &String| {
        strsim::jaro_winkler(key, name).max(strsim::jaro_winkler(&last(key), &last(name)) * 0.95)
    };
    let best = known.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let best = best.cloned().unwrap_or_default();
    match origin {
        Origin::Environment(_) => {
            format!("{ENVIRONMENT_PREFIX}{}", best.to_uppercase().replace('.', "__"))
        }
        _ => best,
    }
}
