//! The stored ledgers of a shard, one after the other.

use crate::codec::stored::{StoredError, chunk_customer, chunk_key, decode_chunk};
use crate::engine::dictionary::AppIx;
use crate::engine::ledger::LedgerEvent;
use crate::engine::shard::{CustomerKey, split_customer_key};
use crate::state::{StateError, corrupt, missing_chunk};
use crate::store::{Store, Table};

/// The chunks of a customer, in order, each under its key.
pub(super) type Chunks = Vec<(Vec<u8>, Vec<LedgerEvent<'static>>)>;

/// Whose ledger it is.
#[derive(Clone, Copy)]
pub(super) struct LedgerOf<'k> {
    pub(super) key: &'k [u8],
    pub(super) app: AppIx,
    pub(super) customer_id: &'k str,
}

/// Hands every customer and its chunks to `visit`, in order of the keys, until it fails. A customer of whom a
/// chunk before others is missing is an error that names the row after it.
pub(super) fn each_ledger(
    store: &dyn Store,
    mut visit: impl FnMut(LedgerOf<'_>, Chunks) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let (mut customer, mut chunks) = (CustomerKey::default(), Chunks::new());
    let mut outcome = Ok(());
    store.scan(Table::History, &[], &mut |key, value| {
        if outcome.is_err() {
            return Ok(());
        }
        if chunk_customer(key) != &customer[..] {
            if !chunks.is_empty() {
                outcome = ledger_of(&customer)
                    .and_then(|customer| visit(customer, std::mem::take(&mut chunks)));
            }
            customer = chunk_customer(key).into();
        }
        let next = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        if key != chunk_key(&customer, next) {
            return Err(missing_chunk(key));
        }
        let events = decode_chunk(key, value).map_err(|error| corrupt("history", key, &error))?;
        let events = events.into_iter().map(LedgerEvent::into_owned).collect();
        chunks.push((key.to_vec(), events));
        Ok(())
    })?;
    outcome?;
    if chunks.is_empty() { Ok(()) } else { visit(ledger_of(&customer)?, chunks) }
}

fn ledger_of(key: &[u8]) -> Result<LedgerOf<'_>, StateError> {
    match split_customer_key(key) {
        Some((app, customer_id)) => Ok(LedgerOf { key, app, customer_id }),
        None => Err(corrupt("history", key, &StoredError::Malformed("key of no customer")).into()),
    }
}
