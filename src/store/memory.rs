//! A store in memory, for tests and benchmarks.
//!
//! Keeps the contract of [`Store`] as RocksDB does (`store_contract.rs`): a scan sees one state
//! even while commits go on, and may itself read and commit.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::store::{Batch, Durability, MadeRows, Row, Store, StoreError, Table, Visitor};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The tables, in the order of [`Table::ALL`].
#[derive(Debug, Clone, Default)]
struct State([Rows; Table::ALL.len()]);

impl State {
    fn rows(&self, table: Table) -> &Rows {
        &self.0[table as usize]
    }
}

/// Tables as ordered maps; every durability is the same to it.
#[derive(Debug, Default)]
pub struct MemoryStore {
    // A reader takes the `Arc` and lets go of the lock; a commit copies the state only while such
    // a reader still holds it.
    state: RwLock<Arc<State>>,
}

impl MemoryStore {
    /// A store with the rows committed so far, independent from now on: what a restart finds.
    pub fn clone_state(&self) -> Self {
        Self { state: RwLock::new(self.snapshot()) }
    }

    fn snapshot(&self) -> Arc<State> {
        Arc::clone(&self.state.read())
    }
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state.read().rows(table).get(key).cloned())
    }

    fn get_many(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let state = self.state.read();
        let rows = state.rows(table);
        Ok(keys.iter().map(|key| rows.get(*key).cloned()).collect())
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        let state = self.snapshot();
        state
            .rows(table)
            .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .try_for_each(|(key, value)| visit(key, value))
    }

    fn rows_from(
        &self,
        table: Table,
        from: &[u8],
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let state = self.snapshot();
        let rows = state.rows(table).range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        Ok(rows.take(rows_max).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&self, mut batch: Batch, _: Durability) -> Result<(), StoreError> {
        let mut state = self.state.write();
        let tables = &mut Arc::make_mut(&mut state).0;
        for (table, key, value) in batch.rows() {
            match value {
                Some(value) => tables[table as usize].insert(key.to_vec(), value.to_vec()),
                None => tables[table as usize].remove(key),
            };
        }
        for MadeRows { table, make, .. } in batch.take_made() {
            make(&mut |key, value| {
                tables[table as usize].insert(key.to_vec(), value.to_vec());
            });
        }
        Ok(())
    }
}
