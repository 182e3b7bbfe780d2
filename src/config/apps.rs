//! The sections `[[apps]]`: who is served, under which rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::domain::cohort::Field;
use crate::domain::event::{TEXT_BYTES_MAX, is_app_id};
use crate::domain::money::Currency;
use crate::domain::rules::{AppRules, ZeroPayments};
use crate::domain::time::{Width, Zone};

use super::rates;
use super::reader::Reader;
use super::section::Section;

/// Facts number the zones of an app by one byte.
const ZONES_MAX: usize = 255;

/// The window over which ChartMogul's LTV takes the churn rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LtvChurnWindow {
    /// The month itself and the five before.
    #[default]
    TrailingSix,
    SameMonth,
}

/// Whether a refunded payment still counts in MRR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MrrRefunds {
    Keep,
    /// The refunded payment's own period leaves MRR.
    Remove,
}

/// What is set for one app beyond its [`AppRules`]: how it is asked and published.
#[derive(Debug, Clone, PartialEq)]
pub struct AppSettings {
    pub id: String,
    /// Ids by which vendors' paths name this app.
    pub compat_ids: Vec<String>,
    pub ltv_churn_window: LtvChurnWindow,
    /// `None`: as each vendor's API does it.
    pub mrr_refunds: Option<MrrRefunds>,
    pub snapshot_widths: Vec<Width>,
    pub snapshot_segments: Vec<Field>,
}

const WIDTHS: &str = "widths out of day, week, month, quarter, year";

/// Reads one app; `folder` is where the path of its rates file starts.
pub(super) fn read(section: &mut Section<'_>, folder: &Path) -> (AppRules, AppSettings) {
    let legal_id = |id: &str| is_app_id(id).then(|| id.to_owned());
    let id = section.required("id", "1 to 100 of the letters A-Za-z0-9._:-", legal_id);
    let id = id.unwrap_or_default();
    let windows =
        [("trailing_6", LtvChurnWindow::TrailingSix), ("same_month", LtvChurnWindow::SameMonth)];
    let refunds =
        [("per_api", None), ("keep", Some(MrrRefunds::Keep)), ("remove", Some(MrrRefunds::Remove))];
    let rules = read_rules(section, folder, id.clone());
    let settings = AppSettings {
        id,
        compat_ids: section.names("compat_ids", &[], "ids of 1 to 200 bytes", |id| {
            (1..=TEXT_BYTES_MAX).contains(&id.len()).then(|| id.to_owned())
        }),
        ltv_churn_window: section.choice("ltv_churn_window", LtvChurnWindow::TrailingSix, &windows),
        mrr_refunds: section.choice("mrr_refunds", None, &refunds),
        snapshot_widths: section.names(
            "snapshot_widths",
            &["day", "week", "month"],
            WIDTHS,
            |width| width.parse().ok(),
        ),
        snapshot_segments: section.names(
            "snapshot_segments",
            &[],
            "dimensions such as country or attributes.NAME",
            |segment| segment.parse().ok(),
        ),
    };
    (rules, settings)
}

fn read_rules(section: &mut Section<'_>, folder: &Path, id: String) -> AppRules {
    let code = "an ISO 4217 code in upper case";
    let reporting_currency = section.parsed("reporting_currency", Currency::USD, code);
    let zones = "IANA time zones such as UTC or Europe/Berlin";
    let reporting_zones =
        section.names("reporting_zones", &["UTC"], zones, |zone| zone.parse::<Zone>().ok());
    if reporting_zones.is_empty() {
        section.refuse("reporting_zones", "at least one IANA time zone", "[]");
    }
    if reporting_zones.len() > ZONES_MAX {
        let got = format!("{} of them", reporting_zones.len());
        section.refuse("reporting_zones", format!("at most {ZONES_MAX} IANA time zones"), got);
    }
    let zero = [
        (ZeroPayments::Ignore.name(), ZeroPayments::Ignore),
        (ZeroPayments::Count.name(), ZeroPayments::Count),
    ];
    let zero_payments = section.choice("zero_payments", ZeroPayments::Ignore, &zero);
    let rates = rates::read(section, folder, reporting_currency);
    AppRules { id, reporting_currency, reporting_zones, zero_payments, rates }
}

/// Refuses two apps of one id, and ids that would name two apps on a vendor's path.
pub(super) fn check_ids(reader: &mut Reader, apps: &[AppSettings]) {
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, app) in apps.iter().enumerate() {
        if owners.insert(&app.id, at).is_some() {
            reader.refuse(&format!("apps[{at}].id"), "different from all other ids", &app.id);
        }
    }
    // On vendors' paths ids are the same in both cases of their letters.
    let mut named: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (at, app) in apps.iter().enumerate() {
        named.entry(app.id.to_ascii_lowercase()).or_default().insert(at);
    }
    for (at, app) in apps.iter().enumerate() {
        for id in &app.compat_ids {
            let owners = named.entry(id.to_ascii_lowercase()).or_default();
            owners.insert(at);
            if owners.len() > 1 {
                let key = format!("apps[{at}].compat_ids");
                reader.refuse(&key, "ids that name no other app", id);
            }
        }
    }
}
