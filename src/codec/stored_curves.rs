//! Stored state, version 1: curves as bytes, so that questions of whole cohorts can be answered before
//! the facts are read.
//!
//! ```text
//! key    cohort (u32, big endian)                        value  who is in it
//! key    cohort, kind of cells (u8), stretch (u32)       value  the cells of the stretch
//! key    u32::MAX, app (u16), zone (u8)                  value  refunds that are in no cohort
//! ```
//!
//! A row of the meta table says of which commit they are and what they were kept for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec::stored::{StoredError, decode, encode};
use crate::domain::cohort::Field;
use crate::domain::time::Day;
use crate::engine::curves::{
    CellKind, Cells, CohortCurves, CohortKey, CurvesConfig, Heads, NewCohort, RestoredCurves,
    SegmentIx, Stretch, UnplacedRefunds, ZonesKept,
};
use crate::engine::dictionary::{AppIx, Dictionary, TextId};
use crate::engine::facts::Sums;

/// Key of the row of the meta table that describes the stored curves.
pub const CURVES_KEY: &[u8] = b"curves";

/// What the stored curves are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurvesLayout {
    /// The commit that they are of; only those of the newest are of use.
    commit_count: u64,
    all_zones: bool,
    /// Names of fields by app id, and whether they are of payments only.
    segments: BTreeMap<String, Vec<String>>,
    /// Ids of apps, by number.
    apps: Vec<String>,
}

impl CurvesLayout {
    /// That of curves of this kind, after so many commits.
    pub fn new(config: &CurvesConfig, commit_count: u64, apps: Vec<String>) -> Self {
        let name = |field: &Field| match field.narrows_installs() {
            true => field.to_string(),
            false => format!("{field} of payments"),
        };
        let names = |fields: &Vec<_>| fields.iter().map(name).collect();
        let segments = config.segments.iter().map(|(app, fields)| (app.clone(), names(fields)));
        let all_zones = config.zones == ZonesKept::All;
        Self { commit_count, all_zones, segments: segments.collect(), apps }
    }

    /// Its row.
    pub fn encode(&self) -> Vec<u8> {
        encode(CURVES_KEY, self)
    }

    /// That of a row.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoredError> {
        decode(CURVES_KEY, bytes)
    }

    /// Whether curves so described are of this kind and of the newest of so many commits.
    pub fn fits(&self, config: &CurvesConfig, commit_count: u64) -> bool {
        *self == Self::new(config, commit_count, self.apps.clone())
    }
}

/// Where a cohort's number would be, of what is in no cohort.
const NO_COHORT: [u8; 4] = [u8::MAX; 4];

/// App, zone, name of the anchor; number of the segment's field, its value and what that stands for;
/// day.
type StoredCohort<'a> = (u16, u8, &'a str, Option<(u16, TextId, &'a str)>, i32);
/// Count, gross, proceeds, net.
type StoredSums = (i64, i128, i128, i128);
type StoredHeads = Vec<(i32, i64, i64, i64)>;
type StoredPayments = Vec<(i32, StoredSums)>;
type StoredRefunds = Vec<(i32, i32, StoredSums)>;

fn stored_sums(sums: &Sums) -> StoredSums {
    (sums.count, sums.gross, sums.proceeds, sums.net)
}

fn sums((count, gross, proceeds, net): StoredSums) -> Sums {
    Sums { count, gross, proceeds, net }
}

fn stored_payments(cells: &[(Day, Sums)]) -> StoredPayments {
    cells.iter().map(|(day, sums)| (day.0, stored_sums(sums))).collect()
}

fn payments(stored: StoredPayments) -> Vec<(Day, Sums)> {
    stored.into_iter().map(|(day, stored)| (Day(day), sums(stored))).collect()
}

/// The row of a cohort.
pub fn encode_cohort(cohort: &NewCohort) -> ([u8; 4], Vec<u8>) {
    let CohortKey { app, zone, anchor, segment, day } = cohort.key;
    let segment = segment.map(|segment| (segment.field, segment.value, cohort.value.as_str()));
    let stored: StoredCohort<'_> = (app.0, zone, anchor.name(), segment, day.0);
    let key = cohort.number.to_be_bytes();
    (key, encode(&key, &stored))
}

/// The row of cells of a cohort.
pub fn encode_stretch(stretch: &Stretch) -> ([u8; 9], Vec<u8>) {
    let mut key = [0; 9];
    key[..4].copy_from_slice(&stretch.cohort.to_be_bytes());
    key[4] = stretch.cells.kind() as u8;
    key[5..].copy_from_slice(&(stretch.number ^ i32::MIN).to_be_bytes());
    let value = match &stretch.cells {
        Cells::Heads(cells) => {
            let cells = cells.iter();
            let stored: StoredHeads = cells
                .map(|(day, heads)| (day.0, heads.customers, heads.payers, heads.installs))
                .collect();
            encode(&key, &stored)
        }
        Cells::Payments(cells) => encode(&key, &stored_payments(cells)),
        Cells::Refunds(cells) => {
            let cells = cells.iter();
            let stored: StoredRefunds =
                cells.map(|((day, of), sums)| (day.0, of.0, stored_sums(sums))).collect();
            encode(&key, &stored)
        }
    };
    (key, value)
}

/// The row of refunds that are in no cohort.
pub fn encode_unplaced(refunds: &UnplacedRefunds) -> ([u8; 7], Vec<u8>) {
    let mut key = [0; 7];
    key[..4].copy_from_slice(&NO_COHORT);
    key[4..6].copy_from_slice(&refunds.app.0.to_be_bytes());
    key[6] = refunds.zone;
    (key, encode(&key, &stored_payments(&refunds.cells)))
}

/// Puts stored curves together, row by row in the order of their keys.
pub struct CurvesReader {
    curves: RestoredCurves,
    apps: Vec<String>,
    /// The values of segments, in words.
    values: BTreeMap<TextId, String>,
}

impl CurvesReader {
    /// For curves of this kind.
    pub fn new(config: CurvesConfig, layout: CurvesLayout) -> Self {
        let curves = RestoredCurves::new(config);
        Self { curves, apps: layout.apps, values: BTreeMap::new() }
    }

    /// Takes in the next row.
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoredError> {
        const KEY: StoredError = StoredError::Malformed("key of curves");
        let (cohort, rest) = key.split_first_chunk::<4>().ok_or(KEY)?;
        let number = u32::from_be_bytes(*cohort);
        let placed = match *rest {
            [] => {
                let cohort = self.cohort(number, key, value)?;
                self.curves.cohort(&cohort)
            }
            [app, more_app, zone] if *cohort == NO_COHORT => {
                let app = AppIx(u16::from_be_bytes([app, more_app]));
                let cells = payments(decode(key, value)?);
                self.curves.unplaced(UnplacedRefunds { app, zone, cells });
                return Ok(());
            }
            [kind, a, b, c, d] => {
                let cells = cells(kind, key, value)?.ok_or(KEY)?;
                let stretch = i32::from_be_bytes([a, b, c, d]) ^ i32::MIN;
                self.curves.stretch(Stretch { cohort: number, number: stretch, cells })
            }
            _ => return Err(KEY),
        };
        placed.map_err(|_| StoredError::Malformed("a cohort or its cells are missing"))
    }

    fn cohort(&mut self, number: u32, key: &[u8], value: &[u8]) -> Result<NewCohort, StoredError> {
        let (app, zone, anchor, segment, day): StoredCohort<'_> = decode(key, value)?;
        let anchor = anchor.parse().map_err(|()| StoredError::Malformed("anchor"))?;
        let segment = segment.map(|(field, value, words)| {
            self.values.entry(value).or_insert_with(|| words.to_owned());
            SegmentIx { field, value }
        });
        let key = CohortKey { app: AppIx(app), zone, anchor, segment, day: Day(day) };
        Ok(NewCohort { number, key, value: String::new() })
    }

    /// The curves, when all rows have been taken in, and the words for what they name.
    pub fn finish(self) -> (CohortCurves, Dictionary) {
        (self.curves.finish(), Dictionary::of_words(self.apps, self.values))
    }
}

/// `None` if there are no cells of this kind.
fn cells(kind: u8, key: &[u8], value: &[u8]) -> Result<Option<Cells>, StoredError> {
    let kind = CellKind::ALL.into_iter().find(|known| *known as u8 == kind);
    Ok(match kind {
        None => None,
        Some(CellKind::Heads) => {
            let stored: StoredHeads = decode(key, value)?;
            let cells = stored.into_iter().map(|(day, customers, payers, installs)| {
                (Day(day), Heads { customers, payers, installs })
            });
            Some(Cells::Heads(cells.collect()))
        }
        Some(CellKind::Payments) => Some(Cells::Payments(payments(decode(key, value)?))),
        Some(CellKind::Refunds) => {
            let stored: StoredRefunds = decode(key, value)?;
            let cells =
                stored.into_iter().map(|(day, of, stored)| ((Day(day), Day(of)), sums(stored)));
            Some(Cells::Refunds(cells.collect()))
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::cohort::Field;
    use crate::domain::dimensions::{Dimension, Dimensions};
    use crate::engine::curves::{Cell, CellKey};
    use crate::engine::dictionary::Mark;
    use crate::engine::facts::{FactKey, FactKind};

    const CONFIG_FIELDS: [Field; 1] = [Field::Dimension(Dimension::Country)];

    fn config() -> CurvesConfig {
        let segments = BTreeMap::from([("acme".to_owned(), CONFIG_FIELDS.to_vec())]);
        CurvesConfig { zones: ZonesKept::All, segments }
    }

    /// What a store holds of curves.
    type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

    fn store(rows: &mut Rows, curves: &mut CohortCurves, dictionary: &Dictionary) {
        let changes = curves.take_unstored(dictionary);
        rows.extend(changes.cohorts.iter().map(encode_cohort).map(|(k, v)| (k.to_vec(), v)));
        rows.extend(changes.stretches.iter().map(encode_stretch).map(|(k, v)| (k.to_vec(), v)));
        rows.extend(changes.unplaced.iter().map(encode_unplaced).map(|(k, v)| (k.to_vec(), v)));
    }

    fn read(rows: &Rows) -> Result<(CohortCurves, Dictionary), StoredError> {
        let layout = CurvesLayout::new(&config(), 7, vec!["acme".to_owned()]);
        let mut reader = CurvesReader::new(config(), layout);
        rows.iter().try_for_each(|(key, value)| reader.row(key, value))?;
        Ok(reader.finish())
    }

    /// Country, zone, kind, days, whether it has money beyond 64 bits, and the count.
    type Change = (u8, u8, u8, [i32; 4], bool, i64);

    fn change() -> impl Strategy<Value = Change> {
        let day = prop_oneof![-40..1_200i32, 0..40i32];
        (
            0..3u8,
            0..2u8,
            0..5u8,
            [day.clone(), day.clone(), day.clone(), day],
            any::<bool>(),
            -2..3i64,
        )
    }

    fn add(curves: &mut CohortCurves, dictionary: &mut Dictionary, change: Change) {
        let (country, zone, kind, [day, install, first, other], is_wide, count) = change;
        let mut dimensions = Dimensions::default();
        let country = ["DE", "FR", ""][usize::from(country)];
        dimensions.set(Dimension::Country, Some(country.into()));
        let tuple = dictionary.tuple_of(&dimensions);
        let kind = CohortCurves::KINDS[usize::from(kind)];
        let is_payer = kind == FactKind::Payer;
        let dims = if is_payer { dictionary.union(0, Mark::paid(tuple, 1)) } else { tuple };
        let mut key = FactKey::new(dictionary.app("acme"), zone, kind, Day(day), dims);
        (key.install_day, key.first_day, key.other_day) = (Day(install), Day(first), Day(other));
        let mut sums = Sums::count(count);
        if kind.has_money() {
            sums.gross = i128::from(count) * if is_wide { i128::from(i64::MAX) } else { 5 };
        }
        curves.add(&key, sums, dictionary);
    }

    /// Who is in each cohort, by number, with its segments, and all cells.
    type Content = (Vec<(CohortKey, Vec<SegmentIx>)>, BTreeMap<CellKey, Cell>);

    fn content(curves: &CohortCurves) -> Content {
        let cohorts = curves.iter().map(|(key, cohort)| (*key, cohort.segments.clone()));
        (cohorts.collect(), curves.cells().collect())
    }

    proptest! {
        #[test]
        fn what_commits_stored_of_curves_is_the_curves(
            commits in prop::collection::vec(prop::collection::vec(change(), 0..20), 1..6),
            reopened in any::<bool>(),
        ) {
            let mut dictionary = Dictionary::default();
            dictionary.app("acme");
            let (mut curves, mut rows) = (CohortCurves::new(config()), Rows::new());
            for changes in commits {
                for change in changes {
                    add(&mut curves, &mut dictionary, change);
                }
                store(&mut rows, &mut curves, &dictionary);
                let (mut restored, words) = read(&rows).unwrap();
                prop_assert_eq!(content(&restored), content(&curves));
                for (key, _) in restored.iter() {
                    let value = key.segment.map_or(0, |segment| segment.value);
                    prop_assert_eq!(words.text(value), dictionary.text(value));
                }
                prop_assert_eq!(words.find_app("acme"), dictionary.find_app("acme"));
                let unstored = restored.take_unstored(&dictionary);
                prop_assert!(unstored.stretches.is_empty() && unstored.cohorts.is_empty());
                if reopened {
                    curves = restored;
                }
            }
        }
    }

    #[test]
    fn a_missing_cohort_and_damage_are_noticed() {
        let (mut dictionary, mut curves) = (Dictionary::default(), CohortCurves::new(config()));
        for day in 0..40 {
            add(&mut curves, &mut dictionary, (0, 0, 0, [day, day / 2, day / 3, 0], false, 1));
        }
        let mut rows = Rows::new();
        store(&mut rows, &mut curves, &dictionary);
        assert!(read(&rows).is_ok());
        let mut less = rows.clone();
        less.remove(0u32.to_be_bytes().as_slice());
        assert!(matches!(read(&less), Err(StoredError::Malformed(_))));
        for (key, value) in &rows {
            let mut damaged = rows.clone();
            let mut value = value.clone();
            let last = value.len() - 1;
            value[last] ^= 1;
            damaged.insert(key.clone(), value);
            assert!(matches!(read(&damaged), Err(StoredError::Seal(_))));
        }
    }

    #[test]
    fn curves_of_another_kind_or_of_an_earlier_commit_do_not_fit() {
        let layout = CurvesLayout::new(&config(), 7, vec!["acme".to_owned()]);
        let layout = CurvesLayout::decode(&layout.encode()).unwrap();
        assert!(layout.fits(&config(), 7) && !layout.fits(&config(), 8));
        let first = CurvesConfig { zones: ZonesKept::First, ..config() };
        let unsegmented = CurvesConfig { segments: BTreeMap::new(), ..config() };
        assert!(!layout.fits(&first, 7) && !layout.fits(&unsegmented, 7));
    }
}
