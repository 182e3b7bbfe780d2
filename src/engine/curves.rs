//! Cohort curves: sums by cohort day and event day, kept up to date with every fact.
//!
//! A question without filters need not read every fact, and a snapshot must not: both are sums
//! over the few cells of their cohorts. The cells are per day, so that they serve every width.
//!
//! Always true
//! * The cells are the sum of the facts added, whatever the order.
//! * What they answer equals what the facts answer (`metrics_api/naive.rs`).
//! * A cohort whose cells changed is in [`CohortCurves::take_changed`].
//! * What [`CohortCurves::take_unstored`] gave, put together by [`RestoredCurves`], is the curves. An empty
//!   cohort is among what it tells.
//!
//! Not here: ages, widths and completeness (`metrics_api`).

mod cells;
mod restore;
mod series;
mod unstored;

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use crate::domain::cohort::{Anchor, Field};
use crate::domain::time::Day;
use crate::engine::dictionary::{AppIx, Dictionary, TextId};
use crate::engine::facts::{FactKey, FactKind, FactTable, Sums};
use crate::engine::fields::FieldPlace;

pub use cells::{Cell, CellKey};
pub use restore::{CurvesOutOfSequence, RestoredCurves};
pub use series::Series;
pub use unstored::{CellKind, Cells, CurveChanges, NewCohort, Stretch, UnplacedRefunds};

use unstored::ChangedStretches;

/// Which reporting zones of an app have curves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZonesKept {
    /// The first: what snapshots need. Other zones' questions are a pass over the facts.
    First,
    All,
}

/// What to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurvesConfig {
    pub zones: ZonesKept,
    /// By app id: the fields whose values have cohorts of their own.
    pub segments: BTreeMap<String, Vec<Field>>,
}

/// A value of one of the app's configured fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentIx {
    /// Position in the app's list of fields.
    pub field: u16,
    pub value: TextId,
}

/// Customers anchored on one day, all of them or those of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CohortKey {
    pub app: AppIx,
    pub zone: u8,
    pub anchor: Anchor,
    pub segment: Option<SegmentIx>,
    pub day: Day,
}

/// Numbers of customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heads {
    pub customers: i64,
    pub payers: i64,
    /// Customers placed by an `install` event.
    pub installs: i64,
}

impl std::ops::AddAssign for Heads {
    fn add_assign(&mut self, other: Self) {
        self.customers += other.customers;
        self.payers += other.payers;
        self.installs += other.installs;
    }
}

/// The cells of one cohort.
#[derive(Debug, Clone, Default)]
pub struct Cohort {
    /// By the day from which they count.
    pub heads: Series<Day, Heads>,
    /// By the day of the payment.
    pub payments: Series<Day, Sums>,
    /// By the day of the refund and the day of what it refunds, the same if unlinked.
    pub refunds: Series<(Day, Day), Sums>,
    /// The segments that have a cohort on this day; filled where this one has no segment.
    pub segments: Vec<SegmentIx>,
    change: Change,
    /// Changed since the last [`CohortCurves::take_unstored`].
    unstored: ChangedStretches,
}

impl Cohort {
    /// Whether every fact of it was taken back.
    fn is_empty(&self) -> bool {
        self.heads.iter().all(|(_, heads)| heads == Heads::default())
            && self.payments.iter().all(|(_, sums)| sums.is_zero())
            && self.refunds.iter().all(|(_, sums)| sums.is_zero())
    }

    /// Notes a change of the cohort at `place`, which is listed at the first.
    fn note(&mut self, change: Change, place: u32, changed: &mut Vec<u32>) {
        if self.change == Change::None {
            changed.push(place);
        }
        self.change = self.change.max(change);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Change {
    #[default]
    None,
    Money,
    Customers,
}

/// A cohort that is not what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangedCohort {
    pub key: CohortKey,
    /// Whether its customers or installs changed, on which segments of payers depend too.
    pub customers_changed: bool,
}

/// A cohort of which every fact was taken back, so that none tells of it any more. What was published
/// of it stays until its emptiness is published as well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EmptiedCohort {
    pub app: AppIx,
    pub anchor: Anchor,
    /// The fields that have segments may be others later, so the field is named.
    pub segment: Option<(Field, TextId)>,
    pub day: Day,
}

/// An app's fields in the numbers of the dictionary.
#[derive(Clone)]
struct AppFields {
    fields: Vec<Field>,
    places: Vec<FieldPlace>,
}

/// The curves of one shard.
#[derive(Clone)]
pub struct CohortCurves {
    config: CurvesConfig,
    apps: HashMap<AppIx, AppFields>,
    keys: Vec<CohortKey>,
    cohorts: Vec<Cohort>,
    index: HashMap<CohortKey, u32>,
    changed: Vec<u32>,
    /// Those changed since the last [`CohortCurves::take_unstored`].
    unstored: Vec<u32>,
    /// How many cohorts there were then.
    stored_cohorts: usize,
    /// The empty ones of the first zone.
    emptied: BTreeSet<u32>,
    /// By day of the refund: refunds that are in no cohort.
    unplaced: HashMap<(AppIx, u8), Series<Day, Sums>>,
    /// Whose unplaced refunds changed since the last [`CohortCurves::take_unstored`].
    unstored_unplaced: BTreeSet<(AppIx, u8)>,
    /// Used by `segments_of` only, kept to spare an allocation per fact.
    scratch: Vec<SegmentIx>,
}

impl CohortCurves {
    /// Curves of no facts.
    pub fn new(config: CurvesConfig) -> Self {
        Self {
            config,
            apps: HashMap::new(),
            keys: Vec::new(),
            cohorts: Vec::new(),
            index: HashMap::new(),
            changed: Vec::new(),
            unstored: Vec::new(),
            stored_cohorts: 0,
            emptied: BTreeSet::new(),
            unplaced: HashMap::new(),
            unstored_unplaced: BTreeSet::new(),
            scratch: Vec::new(),
        }
    }

    /// Curves of these facts.
    pub fn of(config: CurvesConfig, facts: &FactTable, dictionary: &Dictionary) -> Self {
        let mut curves = Self::new(config);
        for fact in facts.of_kinds(&Self::KINDS) {
            curves.add(&fact.key, fact.sums, dictionary);
        }
        curves
    }

    /// Takes every cohort of the first zone for changed: nobody knows what of it is published.
    pub fn mark_all_changed(&mut self) {
        let cohorts = self.keys.iter().zip(&mut self.cohorts);
        for (place, (key, cohort)) in (0u32..).zip(cohorts) {
            if key.zone != 0 {
                continue;
            }
            cohort.note(Change::Customers, place, &mut self.changed);
        }
    }

    /// What is kept.
    pub fn config(&self) -> &CurvesConfig {
        &self.config
    }

    /// Whether facts of this zone are kept.
    pub fn keeps(&self, zone: u8) -> bool {
        self.config.zones == ZonesKept::All || zone == 0
    }

    /// The kinds of facts that curves are made of.
    pub const KINDS: [FactKind; 5] = [
        FactKind::Payment,
        FactKind::Refund,
        FactKind::UnplacedRefund,
        FactKind::Payer,
        FactKind::Customer,
    ];

    /// Adds what was added to the facts. Other kinds than [`CohortCurves::KINDS`] are passed over.
    pub fn add(&mut self, key: &FactKey, sums: Sums, dictionary: &Dictionary) {
        if sums.is_zero() || !self.keeps(key.zone) {
            return;
        }
        match key.kind {
            FactKind::Payment | FactKind::Refund | FactKind::Payer | FactKind::Customer => {
                self.add_to_cohorts(key, sums, dictionary);
            }
            FactKind::UnplacedRefund => {
                self.unplaced.entry((key.app, key.zone)).or_default().add(key.day, sums);
                self.unstored_unplaced.insert((key.app, key.zone));
            }
            _ => (),
        }
    }

    fn add_to_cohorts(&mut self, key: &FactKey, sums: Sums, dictionary: &Dictionary) {
        let mut segments = std::mem::take(&mut self.scratch);
        self.segments_of(key, dictionary, &mut segments);
        for (anchor, day) in
            [(Anchor::FirstPurchase, key.first_day), (Anchor::Install, key.install_day)]
        {
            let needless = anchor == Anchor::FirstPurchase && key.kind == FactKind::Customer;
            if day == Day::MIN || needless {
                continue;
            }
            let whole = CohortKey { app: key.app, zone: key.zone, anchor, segment: None, day };
            self.add_to(whole, key, sums);
            for segment in &segments {
                self.add_to(CohortKey { segment: Some(*segment), ..whole }, key, sums);
            }
        }
        self.scratch = segments;
    }

    fn add_to(&mut self, cohort_key: CohortKey, key: &FactKey, sums: Sums) {
        let place = self.place(cohort_key);
        let cohort = &mut self.cohorts[place as usize];
        let (mut change, mut kind) = (Change::Money, CellKind::Heads);
        match key.kind {
            FactKind::Payment => {
                cohort.payments.add(key.day, sums);
                kind = CellKind::Payments;
            }
            FactKind::Refund => {
                let linked = key.other_day != Day::MIN;
                let of = if linked { key.other_day } else { key.day };
                cohort.refunds.add((key.day, of), sums);
                kind = CellKind::Refunds;
            }
            FactKind::Payer => {
                // Who is anchored by a payment is a customer of that cohort by being a payer.
                let customers =
                    if cohort_key.anchor == Anchor::FirstPurchase { sums.count } else { 0 };
                cohort.heads.add(key.day, Heads { customers, payers: sums.count, installs: 0 });
            }
            _ => {
                let installs = if key.index == 1 { sums.count } else { 0 };
                cohort.heads.add(key.day, Heads { customers: sums.count, payers: 0, installs });
                change = Change::Customers;
            }
        }
        if cohort.unstored.is_empty() {
            self.unstored.push(place);
        }
        cohort.unstored.note(kind, cohort_key.day, key.day);
        if cohort_key.zone == 0 {
            cohort.note(change, place, &mut self.changed);
        }
    }

    fn place(&mut self, key: CohortKey) -> u32 {
        if let Some(place) = self.index.get(&key) {
            return *place;
        }
        // The whole cohort is always placed before its segments.
        if let (Some(segment), Some(whole)) =
            (key.segment, self.index.get(&CohortKey { segment: None, ..key }))
        {
            self.cohorts[*whole as usize].segments.push(segment);
        }
        let place = u32::try_from(self.cohorts.len()).unwrap_or(u32::MAX);
        self.keys.push(key);
        self.cohorts.push(Cohort::default());
        self.index.insert(key, place);
        place
    }

    /// The segments of a fact's tuple; of a payer's signature each value once.
    fn segments_of(&mut self, key: &FactKey, dictionary: &Dictionary, into: &mut Vec<SegmentIx>) {
        into.clear();
        let app = self.apps.entry(key.app).or_insert_with(|| {
            let fields = self.config.segments.get(dictionary.app_id(key.app));
            let fields = fields.cloned().unwrap_or_default();
            let places = fields.iter().map(|field| FieldPlace::of(field, dictionary)).collect();
            AppFields { fields, places }
        });
        for (number, (field, place)) in app.fields.iter().zip(&mut app.places).enumerate() {
            if key.kind == FactKind::Customer && !field.narrows_installs() {
                continue;
            }
            if *place == FieldPlace::Nowhere {
                // The attribute's name may have arrived since.
                *place = FieldPlace::of(field, dictionary);
            }
            let field = u16::try_from(number).unwrap_or(u16::MAX);
            let value = |tuple| place.value(dictionary.tuple(tuple));
            if key.kind == FactKind::Payer {
                let paid =
                    dictionary.signature(key.dims).iter().filter(|mark| mark.lowest_paid > 0);
                into.extend(paid.map(|mark| SegmentIx { field, value: value(mark.tuple) }));
            } else {
                into.push(SegmentIx { field, value: value(key.dims) });
            }
        }
        if key.kind == FactKind::Payer {
            into.sort_unstable();
            into.dedup();
        }
    }

    /// The fields that have segments in this app.
    pub fn fields(&self, app: &str) -> &[Field] {
        self.config.segments.get(app).map_or(&[], Vec::as_slice)
    }

    /// The field that a segment of this app has a value of.
    pub fn field(&self, app: &str, segment: SegmentIx) -> Option<&Field> {
        self.fields(app).get(usize::from(segment.field))
    }

    /// The number of a field in segments of this app; `None` if it has none.
    pub fn field_number(&self, app: &str, field: &Field) -> Option<u16> {
        let place = self.fields(app).iter().position(|known| known == field)?;
        u16::try_from(place).ok()
    }

    /// The cells of one cohort.
    pub fn cohort(&self, key: &CohortKey) -> Option<&Cohort> {
        self.index.get(key).map(|place| &self.cohorts[*place as usize])
    }

    /// Refunds that are in no cohort, by day.
    pub fn unplaced_refunds(&self, app: AppIx, zone: u8) -> impl Iterator<Item = (Day, Sums)> + '_ {
        self.unplaced.get(&(app, zone)).into_iter().flat_map(Series::iter)
    }

    /// All cohorts, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&CohortKey, &Cohort)> + Clone {
        self.keys.iter().zip(&self.cohorts)
    }

    /// The cohorts of the first zone that changed since the last call, in order of their keys.
    pub fn take_changed(&mut self) -> Vec<ChangedCohort> {
        let (keys, cohorts) = (&self.keys, &mut self.cohorts);
        let taken = self.changed.drain(..).map(|place| {
            let change = std::mem::take(&mut cohorts[place as usize].change);
            ChangedCohort {
                key: keys[place as usize],
                customers_changed: change == Change::Customers,
            }
        });
        let mut changed: Vec<ChangedCohort> = taken.collect();
        changed.sort_unstable();
        changed
    }

    /// All emptied cohorts, in order.
    fn all_emptied(&self, dictionary: &Dictionary) -> Vec<EmptiedCohort> {
        let keys = self.emptied.iter().map(|place| self.keys[*place as usize]);
        let mut emptied: Vec<_> = keys.filter_map(|key| self.emptied_of(key, dictionary)).collect();
        emptied.sort_unstable();
        emptied
    }

    fn emptied_of(&self, key: CohortKey, dictionary: &Dictionary) -> Option<EmptiedCohort> {
        let segment = match key.segment {
            Some(segment) => {
                let field = self.field(dictionary.app_id(key.app), segment)?;
                Some((field.clone(), segment.value))
            }
            None => None,
        };
        Some(EmptiedCohort { app: key.app, anchor: key.anchor, segment, day: key.day })
    }

    /// Takes in what was emptied before, in order, after all facts. A segment of a field that has
    /// none now is left out.
    pub fn restore_emptied(&mut self, emptied: Vec<EmptiedCohort>, dictionary: &Dictionary) {
        for EmptiedCohort { app, anchor, segment, day } in emptied {
            let app_id = dictionary.app_id(app);
            let of_segment = |(field, value)| {
                Some(SegmentIx { field: self.field_number(app_id, &field)?, value })
            };
            let segment = match segment.map(of_segment) {
                Some(None) => continue,
                segment => segment.flatten(),
            };
            let place = self.place(CohortKey { app, zone: 0, anchor, segment, day });
            self.emptied.insert(place);
            self.cohorts[place as usize].note(Change::Money, place, &mut self.changed);
        }
    }

    /// How many cohorts there are.
    pub fn len(&self) -> usize {
        self.cohorts.len()
    }

    /// Whether there is no cohort.
    pub fn is_empty(&self) -> bool {
        self.cohorts.is_empty()
    }

    /// Bytes of memory held, roughly.
    pub fn memory_bytes(&self) -> usize {
        let cells: usize = self
            .cohorts
            .iter()
            .map(|cohort| {
                cohort.heads.memory_bytes()
                    + cohort.payments.memory_bytes()
                    + cohort.refunds.memory_bytes()
                    + cohort.segments.capacity() * size_of::<SegmentIx>()
            })
            .sum();
        cells
            + self.cohorts.capacity() * size_of::<Cohort>()
            + self.keys.capacity() * size_of::<CohortKey>()
            + self.index.allocation_size()
            + (self.changed.capacity() + self.unstored.capacity()) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests;
