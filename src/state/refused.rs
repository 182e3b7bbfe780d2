//! Records that were refused: kept with their bytes, for whoever repairs them, as long as their customer is not
//! forgotten.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::codec::json_event::customer_of;
use crate::codec::stored::{decode_dead_letter, encode_dead_letter, quarantine_key};
use crate::domain::event::{BillingEvent, FieldError};
use crate::engine::refusal::Refusal;
use crate::engine::shard::identity_hash;
use crate::state::{LiveShard, StateError, corrupt};
use crate::store::{Batch, Row, Store, Table};
use crate::stream::{DeadLetter, Partition, Record};

/// A decoder's refusal of a record, on its way to the quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Stable and from a small set: the label of the metric.
    pub code: String,
    /// The field at fault, where there is one.
    pub field: Option<String>,
    pub message: String,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code(),
            field: Some(refusal.field().to_owned()),
            message: refusal.message(),
        }
    }
}

impl From<FieldError> for Refused {
    fn from(error: FieldError) -> Self {
        Self { code: error.code(), field: Some(error.field.to_owned()), message: error.message }
    }
}

impl LiveShard {
    /// Keeps a record that was refused, and the event in it, if one was found.
    pub(super) fn quarantine(
        &mut self,
        record: &Record<'_>,
        refused: &Refused,
        event: Option<&BillingEvent<'_>>,
    ) {
        *self.position.refused.entry(refused.code.clone()).or_default() += 1;
        let customer = match event {
            Some(event) => Some(identity_hash(&event.app_id, &event.customer_id)),
            None => customer_in(record.key, record.value),
        };
        let mut letter = DeadLetter::of(record, (&refused.code, &refused.message), customer);
        if customer.is_some_and(|customer| self.shard.has_forgotten(customer)) {
            letter.erase();
        }
        let bytes = letter.memory_bytes();
        self.refused_bytes += bytes;
        self.quarantine_bytes += bytes;
        self.refused.push(letter.clone());
        self.quarantine.push(letter);
    }

    /// What was refused since the last commit, for the next.
    pub(super) fn take_quarantine(&mut self) -> Vec<DeadLetter> {
        self.quarantine_bytes = 0;
        std::mem::take(&mut self.quarantine)
    }

    /// Bytes of memory held by what was refused since the last commit.
    pub fn quarantine_bytes(&self) -> usize {
        self.quarantine_bytes
    }

    /// Bytes of memory held by what [`LiveShard::take_refused`] would give.
    pub fn refused_bytes(&self) -> usize {
        self.refused_bytes
    }

    /// Erases what was refused of a customer and is not stored; the next commit erases what is.
    pub(super) fn erase_refused(&mut self, customer: u128) {
        let letters = self.quarantine.iter_mut().chain(&mut self.refused);
        letters.filter(|letter| letter.customer == Some(customer)).for_each(DeadLetter::erase);
    }

    /// Records refused since the last call, in order of their offsets; none at the first call after
    /// the shard was opened is older than that.
    pub fn take_refused(&mut self) -> Vec<DeadLetter> {
        self.refused_bytes = 0;
        std::mem::take(&mut self.refused)
    }
}

/// Whose event a record would be that is none: what its JSON says, or its key, which then is `APP/CUSTOMER`.
fn customer_in(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<u128> {
    if let Some((app_id, customer_id)) = value.and_then(customer_of) {
        return Some(identity_hash(&app_id, &customer_id));
    }
    let (app_id, customer_id) = std::str::from_utf8(key?).ok()?.split_once('/')?;
    Some(identity_hash(app_id, customer_id))
}

/// Reads stored rows of a shard.
pub struct ShardReader {
    pub partition: Partition,
    pub(super) store: Arc<dyn Store>,
}

impl ShardReader {
    /// Refused records from `from_offset` on, at most `limit`, in offset order; committed ones
    /// only.
    pub fn dead_letters(
        &self,
        from_offset: i64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StateError> {
        let from = quarantine_key(from_offset);
        let rows = self.store.rows_from(Table::Quarantine, &from, limit)?;
        let letter = |(key, value): &Row| {
            let letter = decode_dead_letter(self.partition, key, value);
            letter.map_err(|error| corrupt("quarantine", key, &error).into())
        };
        rows.iter().map(letter).collect()
    }
}

/// Erases what is stored of refused records of customers that were forgotten.
pub(super) fn erase_letters(
    batch: &mut Batch,
    store: &dyn Store,
    forgotten: &[(u128, u128)],
) -> Result<(), StateError> {
    if forgotten.is_empty() {
        return Ok(());
    }
    let forgotten: HashSet<u128> = forgotten.iter().map(|(customer, _)| *customer).collect();
    store.scan(Table::Quarantine, &[], &mut |key, value| {
        // Of which partition it is no row says, as all are of one.
        let mut letter = decode_dead_letter(0, key, value)
            .map_err(|error| corrupt("quarantine", key, &error))?;
        let of_row = || customer_in(letter.key.as_deref(), letter.value.as_deref());
        if letter.customer.or_else(of_row).is_some_and(|customer| forgotten.contains(&customer)) {
            letter.erase();
            let (key, value) = encode_dead_letter(&letter);
            batch.put(Table::Quarantine, key, value);
        }
        Ok(())
    })?;
    Ok(())
}
