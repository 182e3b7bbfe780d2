//! What is published, and snapshots as records of the topic.

use std::collections::BTreeMap;

use crate::codec::snapshot::{self as wire, MoneySums, SnapshotRecord, SnapshotVersion};
use crate::codec::snapshot_key::Segment as WireSegment;
use crate::config::Config;
use crate::domain::money::Currency;
use crate::domain::time::{Timestamp, Width, Zone};
use crate::engine::curves::{CurvesConfig, ZonesKept};
use crate::engine::facts::Sums;
use crate::metrics_api::snapshot::{Snapshot, SnapshotAge, SnapshotAges};

/// What of an app is published.
#[derive(Debug, Clone)]
pub(super) struct AppPlan {
    pub(super) widths: Vec<Width>,
    pub(super) currency: Currency,
    /// Days of snapshots are of the first reporting zone.
    pub(super) zone: Zone,
}

/// What is published, as the settings say.
#[derive(Debug, Clone)]
pub struct SnapshotPlan {
    pub(super) apps: BTreeMap<String, AppPlan>,
    pub(super) ages: SnapshotAges,
    pub(super) curves: CurvesConfig,
}

impl SnapshotPlan {
    /// The plan of a configuration.
    pub fn new(config: &Config) -> Self {
        let mut apps = BTreeMap::new();
        let mut segments = BTreeMap::new();
        for app in &config.apps {
            if let Some(rules) = config.rules.apps.get(&app.id) {
                let plan = AppPlan {
                    widths: app.snapshot_widths.clone(),
                    currency: rules.reporting_currency,
                    zone: rules.reporting_zones[0],
                };
                apps.insert(app.id.clone(), plan);
                segments.insert(app.id.clone(), app.snapshot_segments.clone());
            }
        }
        let ages = SnapshotAges {
            days: config.snapshots.ages_days.clone(),
            periods: config.snapshots.ages_periods.clone(),
        };
        Self { apps, ages, curves: CurvesConfig { zones: ZonesKept::All, segments } }
    }

    /// The curves that shards must keep for it.
    pub fn curves(&self) -> CurvesConfig {
        self.curves.clone()
    }
}

fn money(sums: Sums) -> MoneySums {
    MoneySums { gross: sums.gross, proceeds: sums.proceeds, net: sums.net }
}

fn wire_age(age: &SnapshotAge) -> wire::SnapshotAge {
    wire::SnapshotAge {
        age: i32::try_from(age.age).unwrap_or(i32::MAX),
        paid: money(age.flows.payments),
        refunded: money(age.flows.refunds),
        payments: age.flows.payments.count,
        complete: age.complete,
    }
}

/// The record of a snapshot of an app.
pub(super) fn record(
    snapshot: Snapshot,
    plan: &AppPlan,
    version: &SnapshotVersion,
    newest_event_at: Option<Timestamp>,
) -> SnapshotRecord {
    let key = snapshot.key;
    SnapshotRecord {
        app_id: key.app,
        anchor: key.anchor,
        width: key.width,
        zone: plan.zone.name().to_owned(),
        cohort_start: key.cohort_start,
        segment: key.segment.map(|segment| WireSegment {
            dimension: segment.field.to_string(),
            value: Some(segment.value).filter(|value| !value.is_empty()),
        }),
        currency: plan.currency,
        customers: snapshot.heads.customers,
        payers: snapshot.heads.payers,
        refunds: snapshot.to_date.refunds.count,
        ages_days: snapshot.ages_days.iter().map(wire_age).collect(),
        ages_periods: snapshot.ages_periods.iter().map(wire_age).collect(),
        version: version.clone(),
        newest_event_at,
    }
}
