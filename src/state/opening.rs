//! A shard on its way out of the store.
//!
//! The facts of a shard are most of what is read at a start, the more the longer its history. Its curves
//! are few and stored beside them, so questions that they answer wait for nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::stored::{POSITION_KEY, Position, decode_position, encode_rules};
use crate::codec::stored_curves::{CURVES_KEY, CurvesLayout, CurvesReader};
use crate::domain::rules::Rules;
use crate::domain::time::Timestamp;
use crate::engine::curves::{CohortCurves, CurvesConfig};
use crate::engine::dictionary::Dictionary;
use crate::engine::shard::Shard;
use crate::metrics_api::ltv::{self, LtvPartial};
use crate::metrics_api::question::LtvQuestion;
use crate::state::load::{check_rules, read_rules, read_stored, remedied};
use crate::state::{LiveShard, StateError, corrupt};
use crate::store::{Store, Table};
use crate::stream::{NextOffset, Partition};

/// Curves, and the words for what they name.
struct ReadCurves {
    curves: CohortCurves,
    words: Dictionary,
}

/// A shard of which all is known but its facts. Says what its curves say.
pub struct OpeningShard {
    pub partition: Partition,
    pub position: Position,
    store: Arc<dyn Store>,
    rules: Arc<Rules>,
    stored_rules: BTreeMap<String, String>,
    config: CurvesConfig,
    /// `None` where the store has no curves of this kind: they are made of the facts then.
    read: Option<ReadCurves>,
}

impl OpeningShard {
    /// Reads everything but facts of the shard that the store holds, or begins a new one.
    ///
    /// Fails when a row does not open, and when the state was computed under other rules; new
    /// apps, and rates of days after the newest event, are no other rules.
    pub fn new(
        store: Arc<dyn Store>,
        partition: Partition,
        (rules, config): (Arc<Rules>, CurvesConfig),
    ) -> Result<Self, StateError> {
        let position = match store.get(Table::Meta, POSITION_KEY)? {
            Some(bytes) => {
                decode_position(&bytes).map_err(|error| corrupt("meta", POSITION_KEY, &error))?
            }
            None => Position::default(),
        };
        let stored_rules = read_rules(&*store)?;
        let checked = check_rules(&stored_rules, &rules, &position);
        checked.or_else(|changed| remedied(changed, &*store))?;
        let read = read_curves(&*store, &config, &position)?;
        Ok(Self { partition, position, store, rules, stored_rules, config, read })
    }

    /// What the shard says of lifetime value, if its curves tell.
    pub fn ltv(&self, question: &LtvQuestion) -> Option<LtvPartial> {
        let ReadCurves { curves, words } = self.read.as_ref()?;
        ltv::partial_of_curves(curves, words, question)
    }

    /// The next offset to read.
    pub fn next_offset(&self) -> NextOffset {
        self.position.next_offset()
    }

    /// The newest event time accepted, over all kinds, the sandbox aside.
    pub fn newest_event_at(&self) -> Option<Timestamp> {
        self.position.newest_event_at_micros.map(Timestamp)
    }

    /// Reads the facts.
    pub fn load(&self) -> Result<LiveShard, StateError> {
        let mut shard = Shard::new(Arc::clone(&self.rules), self.config.clone());
        let curves = self.read.as_ref().map(|read| read.curves.clone());
        let stored = read_stored(&*self.store, &self.position, curves, &self.config)?;
        shard.restore(stored);
        let mut stored_rules = self.stored_rules.clone();
        stored_rules.extend(self.rules.canonical());
        let mut stale_curves = Vec::new();
        if self.read.is_none() {
            self.store.scan(Table::Curves, &[], &mut |key, _| {
                stale_curves.push(key.to_vec());
                Ok(())
            })?;
        }
        Ok(LiveShard {
            partition: self.partition,
            shard,
            // A state that begins is written down at once, with its rules, even while no record
            // comes: it is not new when it is opened again.
            is_dirty: self.position.commit_count == 0,
            position: self.position.clone(),
            kept_ltv: Default::default(),
            kept_revenue: Default::default(),
            kept_cohorts: Default::default(),
            kept_mrr: Default::default(),
            kept_commerce: Default::default(),
            store: Arc::clone(&self.store),
            quarantine: Vec::new(),
            quarantine_bytes: 0,
            refused: Vec::new(),
            refused_bytes: 0,
            last_anchor: None,
            unstored_rules: Some(encode_rules(&stored_rules)),
            stale_curves,
        })
    }
}

impl LiveShard {
    /// Opens the shard that the store holds, or an empty one; fails as [`OpeningShard::new`] does.
    pub fn open(
        store: Arc<dyn Store>,
        partition: Partition,
        settings: (Arc<Rules>, CurvesConfig),
    ) -> Result<Self, StateError> {
        OpeningShard::new(store, partition, settings)?.load()
    }
}

/// The stored curves, if there are any of this kind and of the newest commit.
fn read_curves(
    store: &dyn Store,
    config: &CurvesConfig,
    position: &Position,
) -> Result<Option<ReadCurves>, StateError> {
    if position.commit_count == 0 {
        let (curves, words) = (CohortCurves::new(config.clone()), Dictionary::default());
        return Ok(Some(ReadCurves { curves, words }));
    }
    let Some(bytes) = store.get(Table::Meta, CURVES_KEY)? else { return Ok(None) };
    let layout =
        CurvesLayout::decode(&bytes).map_err(|error| corrupt("meta", CURVES_KEY, &error))?;
    if !layout.fits(config, position.commit_count) {
        return Ok(None);
    }
    let mut reader = CurvesReader::new(config.clone(), layout);
    store.scan(Table::Curves, &[], &mut |key, value| {
        reader.row(key, value).map_err(|error| corrupt(Table::Curves.name(), key, &error))
    })?;
    let (curves, words) = reader.finish();
    Ok(Some(ReadCurves { curves, words }))
}
