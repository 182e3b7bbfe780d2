//! What every store promises, asked of each of them. What only one on disk can promise is in
//! `store_on_disk.rs`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ltvstream::store::memory::MemoryStore;
use ltvstream::store::rocks::{RocksSettings, RocksShared, RocksStore};
use ltvstream::store::{Batch, Durability, Store, StoreError, Table};
use tempfile::TempDir;

type Row = (Vec<u8>, Vec<u8>);

/// A store under test, with what it needs to start again.
trait Subject {
    fn fresh() -> Self;
    fn store(&self) -> &dyn Store;
    /// The state a process finds that starts after this one died.
    fn reopened(self) -> Self;
}

struct Memory(MemoryStore);

impl Subject for Memory {
    fn fresh() -> Self {
        Self(MemoryStore::default())
    }

    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn reopened(self) -> Self {
        Self(self.0.clone_state())
    }
}

struct Rocks {
    // Dropped before its directory.
    store: RocksStore,
    dir: TempDir,
}

impl Subject for Rocks {
    fn fresh() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { store: open(dir.path(), Durability::Process).unwrap(), dir }
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn reopened(self) -> Self {
        let Self { store, dir } = self;
        drop(store);
        Self { store: open(dir.path(), Durability::Process).unwrap(), dir }
    }
}

fn open(dir: &Path, durability: Durability) -> Result<RocksStore, StoreError> {
    let shared = RocksShared::new(8 << 20, 8 << 20);
    RocksStore::open(dir, &RocksSettings { shared, durability })
}

fn put_all(store: &dyn Store, table: Table, rows: &[(&[u8], &[u8])]) {
    let mut batch = Batch::default();
    for (key, value) in rows {
        batch.put(table, key, value);
    }
    store.commit(batch, Durability::Process).unwrap();
}

fn rows_under(store: &dyn Store, table: Table, prefix: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    let visited = store.scan(table, prefix, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(())
    });
    visited.unwrap();
    rows
}

fn keys_under(store: &dyn Store, table: Table, prefix: &[u8]) -> Vec<Vec<u8>> {
    rows_under(store, table, prefix).into_iter().map(|(key, _)| key).collect()
}

fn a_missing_row_is_none(subject: impl Subject) {
    let store = subject.store();
    assert_eq!(store.get(Table::Meta, b"k").unwrap(), None);
    assert_eq!(rows_under(store, Table::Meta, b""), []);
    store.commit(Batch::default(), Durability::Machine).unwrap();
}

fn a_commit_writes_all_its_tables(subject: impl Subject) {
    let mut batch = Batch::default();
    for table in Table::ALL {
        batch.put(table, b"k", table.name());
    }
    subject.store().commit(batch, Durability::Machine).unwrap();
    for table in Table::ALL {
        assert_eq!(subject.store().get(table, b"k").unwrap().unwrap(), table.name().as_bytes());
        assert_eq!(rows_under(subject.store(), table, b"").len(), 1);
    }
}

fn the_later_write_of_a_key_wins(subject: impl Subject) {
    let store = subject.store();
    let mut batch = Batch::default();
    batch.put(Table::Facts, b"put put", b"1");
    batch.put(Table::Facts, b"put del", b"1");
    batch.delete(Table::Facts, b"del put");
    // Another table and key between the two writes of a key.
    batch.put(Table::Meta, b"put put", b"m");
    batch.put(Table::Facts, b"a", b"a");
    batch.put(Table::Facts, b"put put", b"2");
    batch.delete(Table::Facts, b"put del");
    batch.put(Table::Facts, b"del put", b"2");
    store.commit(batch, Durability::Process).unwrap();
    assert_eq!(store.get(Table::Facts, b"put put").unwrap(), Some(b"2".to_vec()));
    assert_eq!(store.get(Table::Facts, b"put del").unwrap(), None);
    assert_eq!(store.get(Table::Facts, b"del put").unwrap(), Some(b"2".to_vec()));
    assert_eq!(store.get(Table::Meta, b"put put").unwrap(), Some(b"m".to_vec()));

    put_all(store, Table::Facts, &[(b"put put", b"3")]);
    assert_eq!(store.get(Table::Facts, b"put put").unwrap(), Some(b"3".to_vec()));

    // Rows that are made when the store takes them come last, wherever they were announced.
    let mut batch = Batch::default();
    let make = |put: &mut dyn FnMut(&[u8], &[u8])| {
        put(b"del made", b"4");
        put(b"put made", b"4");
    };
    batch.put_made(Table::Facts, 32, Box::new(make));
    batch.delete(Table::Facts, b"del made");
    batch.put(Table::Facts, b"put made", b"3");
    store.commit(batch, Durability::Process).unwrap();
    for key in [b"del made", b"put made"] {
        assert_eq!(store.get(Table::Facts, key).unwrap(), Some(b"4".to_vec()));
    }
}

fn a_deleted_row_is_gone(subject: impl Subject) {
    let store = subject.store();
    put_all(store, Table::Facts, &[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]);
    let mut batch = Batch::default();
    batch.delete(Table::Facts, b"b");
    batch.delete(Table::Facts, b"never there");
    store.commit(batch, Durability::Process).unwrap();
    assert_eq!(store.get(Table::Facts, b"b").unwrap(), None);
    assert_eq!(keys_under(store, Table::Facts, b""), [b"a", b"c"]);
}

fn empty_keys_and_values_are_rows(subject: impl Subject) {
    let store = subject.store();
    put_all(store, Table::Meta, &[(b"", b"of no key"), (b"of no value", b"")]);
    assert_eq!(store.get(Table::Meta, b"").unwrap(), Some(b"of no key".to_vec()));
    assert_eq!(store.get(Table::Meta, b"of no value").unwrap(), Some(Vec::new()));
    assert_eq!(keys_under(store, Table::Meta, b""), [&b""[..], b"of no value"]);
}

fn a_scan_stops_at_the_neighbouring_prefix(subject: impl Subject) {
    let store = subject.store();
    let keys: [&[u8]; 12] = [
        b"a",
        b"a\0",
        b"a\xfe",
        b"a\xff",
        b"a\xff\0",
        b"a\xff\xff",
        b"a\xff\xff\x01",
        b"b",
        b"b\0",
        b"\xfe\xff",
        b"\xff",
        b"\xff\xff\x01",
    ];
    put_all(store, Table::History, &keys.map(|key| (key, key)));
    // A neighbouring table must not be seen either.
    put_all(store, Table::Facts, &[(b"a\xff\x01", b"other table")]);

    for (prefix, found) in [
        (&b""[..], &keys[..]),
        (b"a", &keys[..7]),
        (b"a\0", &keys[1..2]),
        (b"a\xff", &keys[3..7]),
        (b"a\xff\xff", &keys[5..7]),
        (b"a\xff\xff\xff", &[]),
        (b"b", &keys[7..9]),
        (b"c", &[]),
        (b"\xfe", &keys[9..10]),
        (b"\xff", &keys[10..]),
        (b"\xff\xff", &keys[11..]),
        (b"\xff\xff\xff", &[]),
    ] {
        assert_eq!(keys_under(store, Table::History, prefix), found, "under {prefix:?}");
    }
    assert!(rows_under(store, Table::History, b"").iter().all(|(key, value)| key == value));
}

fn many_rows_come_in_the_order_asked(subject: impl Subject) {
    let store = subject.store();
    put_all(store, Table::Dictionary, &[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]);
    let some = |value: &[u8]| Some(value.to_vec());
    assert_eq!(
        store.get_many(Table::Dictionary, &[b"c", b"none", b"a", b"c", b"b"]).unwrap(),
        [some(b"3"), None, some(b"1"), some(b"3"), some(b"2")]
    );
    assert_eq!(store.get_many(Table::Dictionary, &[]).unwrap(), [] as [Option<Vec<u8>>; 0]);
}

fn a_scan_ends_at_the_first_refusal(subject: impl Subject) {
    let store = subject.store();
    put_all(store, Table::Facts, &[(b"a", b""), (b"b", b""), (b"c", b"")]);
    let mut visited = 0;
    let outcome = store.scan(Table::Facts, b"", &mut |key, _| {
        visited += 1;
        if key == b"b" { Err(refusal()) } else { Ok(()) }
    });
    assert_eq!(outcome.unwrap_err().to_string(), refusal().to_string());
    assert_eq!(visited, 2);
}

fn some_rows_begin_at_a_key_that_need_not_be_there(subject: impl Subject) {
    let store = subject.store();
    put_all(store, Table::Facts, &[(b"a", b"1"), (b"c", b"2"), (b"d", b""), (b"\xff", b"3")]);
    put_all(store, Table::Given, &[(b"e", b"another table's")]);
    let keys = |from: &[u8], most| {
        let rows = store.rows_from(Table::Facts, from, most).unwrap();
        rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys(b"", usize::MAX), [b"a", b"c", b"d", b"\xff"]);
    assert_eq!(keys(b"b", 2), [b"c", b"d"]);
    assert_eq!(keys(b"d", 1), [b"d"]);
    assert!(keys(b"", 0).is_empty() && keys(b"\xff\xff", 9).is_empty());
    assert_eq!(store.rows_from(Table::Facts, b"c", 1).unwrap()[0].1, b"2");
}

fn refusal() -> StoreError {
    StoreError::Failed { action: "visit", message: "refused".into() }
}

fn a_scan_sees_none_of_a_later_commit(subject: impl Subject) {
    let store = subject.store();
    put_all(store, Table::Facts, &[(b"a", b"1"), (b"b", b"1"), (b"c", b"1")]);
    let mut seen = Vec::new();
    let visited = store.scan(Table::Facts, b"", &mut |key, value| {
        if key == b"a" {
            let mut batch = Batch::default();
            batch.put(Table::Facts, b"b", b"2");
            batch.put(Table::Facts, b"bb", b"2");
            batch.delete(Table::Facts, b"c");
            store.commit(batch, Durability::Process)?;
        }
        seen.push((key.to_vec(), value.to_vec()));
        Ok(())
    });
    visited.unwrap();
    assert_eq!(seen, [b"a", b"b", b"c"].map(|key| (key.to_vec(), b"1".to_vec())));
    assert_eq!(keys_under(store, Table::Facts, b""), [&b"a"[..], b"b", b"bb"]);
}

fn a_reader_during_commits_sees_whole_batches(subject: impl Subject) {
    let store = subject.store();
    let done = AtomicBool::new(false);
    put_generation(store, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for generation in 1..200 {
                put_generation(store, generation);
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let rows = rows_under(store, Table::Facts, b"row");
            assert_eq!(rows.len(), 100);
            assert!(rows.iter().all(|(_, value)| *value == rows[0].1), "parts of two commits");
        }
    });
}

/// Writes the same value to 100 rows.
fn put_generation(store: &dyn Store, generation: u32) {
    let mut batch = Batch::default();
    for row in 0..100 {
        let value = generation.to_be_bytes().to_vec();
        batch.put(Table::Facts, format!("row {row}").into_bytes(), value);
    }
    store.commit(batch, Durability::Process).unwrap();
}

fn commits_survive_a_restart(subject: impl Subject) {
    put_all(subject.store(), Table::Meta, &[(b"offset", b"1")]);
    put_all(subject.store(), Table::History, &[(b"a", b"1"), (b"b", b"1")]);
    let subject = subject.reopened();
    let mut batch = Batch::default();
    batch.put(Table::Meta, b"offset", b"2");
    batch.delete(Table::History, b"a");
    subject.store().commit(batch, Durability::Machine).unwrap();

    let subject = subject.reopened();
    assert_eq!(subject.store().get(Table::Meta, b"offset").unwrap(), Some(b"2".to_vec()));
    assert_eq!(keys_under(subject.store(), Table::History, b""), [b"b"]);
}

/// One test per promise and store.
macro_rules! contract {
    ($($promise:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[test] fn $promise() { super::$promise(Memory::fresh()); })*
        }
        mod rocks {
            use super::*;
            $(#[test] fn $promise() { super::$promise(Rocks::fresh()); })*
        }
    };
}

contract!(
    a_missing_row_is_none,
    a_commit_writes_all_its_tables,
    the_later_write_of_a_key_wins,
    a_deleted_row_is_gone,
    empty_keys_and_values_are_rows,
    a_scan_stops_at_the_neighbouring_prefix,
    many_rows_come_in_the_order_asked,
    a_scan_ends_at_the_first_refusal,
    some_rows_begin_at_a_key_that_need_not_be_there,
    a_scan_sees_none_of_a_later_commit,
    a_reader_during_commits_sees_whole_batches,
    commits_survive_a_restart,
);
