//! Who asks on a vendor's path, and about which app.

use crate::config::{ApiKey, AppSettings, Plan, Scope};
use crate::domain::rules::AppRules;
use crate::http::compat::error::CompatError;
use crate::http::compat::limits::{Allowance, Grant};
use crate::http::state::HttpState;

/// Somebody who may ask questions.
#[derive(Clone, Copy)]
pub struct Visitor<'a> {
    state: &'a HttpState,
    /// `None`: no keys are configured, and everything is allowed.
    key: Option<&'a ApiKey>,
}

/// An app with its rules and its settings.
#[derive(Clone, Copy)]
pub struct CompatApp<'a> {
    pub rules: &'a AppRules,
    pub settings: &'a AppSettings,
}

impl<'a> Visitor<'a> {
    /// Lets in who shows a known key with the scope `read`; anybody if there are no keys.
    pub fn admit(state: &'a HttpState, secret: Option<&str>) -> Result<Self, CompatError> {
        if state.keyring.is_open() {
            return Ok(Self { state, key: None });
        }
        let key = secret.and_then(|secret| state.keyring.key(secret));
        let key = key.ok_or(CompatError::Unauthorized)?;
        if !key.scopes.contains(&Scope::Read) {
            return Err(CompatError::Forbidden);
        }
        Ok(Self { state, key: Some(key) })
    }

    /// The plan of the key; the better one without keys.
    pub fn plan(&self) -> Plan {
        self.key.map_or(Plan::Pro, |key| key.plan)
    }

    /// Counts this request against the key's own limit if it has one; else against the vendor's,
    /// which is shared by all who ask about `app`, or if that is `None` by all who use this key.
    pub fn charge(&self, allowance: &Allowance, app: Option<&str>) -> Result<Grant, CompatError> {
        let own = self.key.and_then(|key| key.rate_limit_per_second);
        let name = self.key.map_or("", |key| &key.name);
        let who = match app.filter(|_| own.is_none()) {
            Some(app) => format!("app {app}"),
            None => format!("key {name}"),
        };
        let now = self.state.parts.clock.now();
        self.state.limiters.charge(allowance, who, own, now).map_err(CompatError::Limited)
    }

    /// The app of a key that is for one app only; without keys, the only configured app.
    pub fn only_app(&self) -> Result<CompatApp<'a>, CompatError> {
        let mut apps = self.apps();
        match (apps.next(), apps.next()) {
            (Some(app), None) => Ok(app),
            _ => Err(CompatError::NotOneApp),
        }
    }

    /// The app that vendors' paths know by this id, or that has it as its own.
    pub fn app(&self, id: &str) -> Result<CompatApp<'a>, CompatError> {
        let settings = self.state.parts.apps.iter().find(|app| names(app, id));
        let app = settings.and_then(|settings| self.described(settings));
        let app = app.ok_or_else(|| CompatError::UnknownApp { id: id.to_owned() })?;
        if self.sees(&app.rules.id) { Ok(app) } else { Err(CompatError::Forbidden) }
    }

    /// The apps this visitor may ask about.
    pub fn apps(&self) -> impl Iterator<Item = CompatApp<'a>> {
        let apps = self.state.parts.apps.iter().filter(|app| self.sees(&app.id));
        apps.filter_map(|settings| self.described(settings))
    }

    fn described(&self, settings: &'a AppSettings) -> Option<CompatApp<'a>> {
        let rules = self.state.parts.rules.apps.get(&settings.id)?;
        Some(CompatApp { rules, settings })
    }

    fn sees(&self, app: &str) -> bool {
        self.key.is_none_or(|key| key.apps.contains(app))
    }
}

/// UUIDs are the same in both cases of their letters.
fn names(app: &AppSettings, id: &str) -> bool {
    app.id == id || app.compat_ids.iter().any(|known| known.eq_ignore_ascii_case(id))
}
