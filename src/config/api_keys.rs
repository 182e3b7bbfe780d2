//! The sections `[[api_keys]]`: who may ask what.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use sha2::{Digest, Sha256};

use super::reader::Reader;
use super::section::Section;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Ask questions about its apps.
    Read,
    /// Hand in events of its apps.
    Ingest,
    /// See what concerns the whole service.
    Admin,
}

impl Scope {
    const NAMES: [(&'static str, Self); 3] =
        [("read", Self::Read), ("ingest", Self::Ingest), ("admin", Self::Admin)];
}

/// The plan of a Zenovay account, which decides what that API forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    Free,
    Pro,
}

/// One key. The secret itself is known to its owner only.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    pub name: String,
    /// SHA-256 of the secret's bytes.
    pub sha256: [u8; 32],
    pub apps: BTreeSet<String>,
    pub scopes: BTreeSet<Scope>,
    pub plan: Plan,
    /// Replaces the limits of all paths for this key; `None`: each path's own.
    pub rate_limit_per_second: Option<NonZeroU32>,
}

/// What is stored of a secret.
pub fn hash_of(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Reads one key.
pub(super) fn read(section: &mut Section<'_>) -> ApiKey {
    let not_empty = |text: &str| (!text.trim().is_empty()).then(|| text.to_owned());
    let name = section.required("name", "a text that is not empty", not_empty);
    // Who puts the secret itself there must not find it in a log.
    let sha256 = section.required_hidden("sha256", "64 hexadecimal digits", |text| {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).ok().map(|()| hash)
    });
    let apps = section.names("apps", &[], "ids of apps", |id| Some(id.to_owned()));
    let scope = |text: &str| Scope::NAMES.iter().find(|(n, _)| *n == text).map(|(_, scope)| *scope);
    let scopes = section.names("scopes", &["read"], "scopes out of read, ingest, admin", scope);
    let plans = [("free", Plan::Free), ("pro", Plan::Pro)];
    let plan = section.choice("plan", Plan::Pro, &plans);
    let limit = section.integer("rate_limit_per_second", 0, 0..=1_000_000);
    ApiKey {
        name: name.unwrap_or_default(),
        sha256: sha256.unwrap_or_default(),
        apps: apps.into_iter().collect(),
        scopes: scopes.into_iter().collect(),
        plan,
        rate_limit_per_second: u32::try_from(limit).ok().and_then(NonZeroU32::new),
    }
}

/// Refuses keys that cannot be told apart, open nothing, or name apps that do not exist.
pub(super) fn check(reader: &mut Reader, keys: &[ApiKey], apps: &BTreeSet<&str>) {
    let (mut names, mut hashes) = (BTreeSet::new(), BTreeSet::new());
    for (at, key) in keys.iter().enumerate() {
        let setting = |name: &str| format!("api_keys[{at}].{name}");
        if !names.insert(&key.name) {
            reader.refuse(&setting("name"), "different from all other names", &key.name);
        }
        if !hashes.insert(key.sha256) {
            reader.refuse(&setting("sha256"), "different from all other hashes", &key.name);
        }
        if key.apps.is_empty() {
            reader.refuse(&setting("apps"), "at least one id of [[apps]]", "[]");
        }
        if key.scopes.is_empty() {
            reader.refuse(&setting("scopes"), "at least one of read, ingest, admin", "[]");
        }
        for app in key.apps.iter().filter(|app| !apps.contains(app.as_str())) {
            reader.refuse(&setting("apps"), "ids of [[apps]]", app);
        }
    }
}
