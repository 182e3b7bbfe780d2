//! Where state survives: tables of bytes, committed atomically.
//!
//! The store knows no business. What the bytes mean, their version and checksum is `codec`'s
//! ([`crate::codec`]); what must be in one commit is the shard's. Two implementations pass the
//! same contract tests (`store_contract.rs`): RocksDB, and memory.

pub mod memory;
pub mod rocks;

use crate::engine::blocks::{Blocks, RunAt};

/// A table of a shard's store. The discriminants are part of the stored format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Offsets, anchors, rules, format version: few rows, each rewritten at a commit.
    Meta,
    /// Ledgers: packed chunks of a customer's events.
    History,
    /// Additive fact rows.
    Facts,
    /// Interned texts, tuples and signatures.
    Dictionary,
    /// Refused records with their bytes.
    Quarantine,
    /// Suspended events, for listing.
    Suspended,
    /// Customers that were erased, as hashes.
    Forgotten,
    /// Additive facts that forgotten customers left behind.
    Given,
    /// Sums by cohort, of the facts.
    Curves,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 9] = [
        Self::Meta,
        Self::History,
        Self::Facts,
        Self::Dictionary,
        Self::Quarantine,
        Self::Suspended,
        Self::Forgotten,
        Self::Given,
        Self::Curves,
    ];

    /// The name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::History => "history",
            Self::Facts => "facts",
            Self::Dictionary => "dictionary",
            Self::Quarantine => "quarantine",
            Self::Suspended => "suspended",
            Self::Forgotten => "forgotten",
            Self::Given => "given",
            Self::Curves => "curves",
        }
    }
}

/// Rows to write and to remove, all or none of which take effect.
///
/// Keys and values lie one after the other in few pieces of memory: a commit has hundreds of thousands
/// of them. What there is most of is not even there before a store takes it ([`Batch::put_made`]).
#[derive(Default)]
pub struct Batch {
    rows: Vec<BatchRow>,
    bytes: Blocks,
    made: Vec<MadeRows>,
}

/// Hands over rows: key and value.
pub type Make = Box<dyn FnOnce(&mut dyn FnMut(&[u8], &[u8])) + Send>;

/// Rows of a table that are made when a store takes them.
struct MadeRows {
    table: Table,
    /// Of all keys and values, and what a store adds to them, roughly.
    bytes: usize,
    make: Make,
}

/// Where a row's key begins, and how long key and value are; without a value the row is removed.
#[derive(Debug, Clone, Copy)]
struct BatchRow {
    table: Table,
    at: RunAt,
    key_bytes: u32,
    value_bytes: Option<u32>,
}

/// A row of a batch: its table and key, and its value unless it is removed.
pub type Write<'a> = (Table, &'a [u8], Option<&'a [u8]>);

impl Batch {
    /// Writes a row.
    pub fn put(&mut self, table: Table, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.put_written(table, key, |_, into| into.extend_from_slice(value.as_ref()));
    }

    /// Writes a row whose value `write` appends, given its key.
    pub fn put_written(
        &mut self,
        table: Table,
        key: impl AsRef<[u8]>,
        write: impl FnOnce(&[u8], &mut Vec<u8>),
    ) {
        let key = key.as_ref();
        let mut value_bytes = 0;
        let at = self.bytes.append(|bytes| {
            bytes.extend_from_slice(key);
            let value = bytes.len();
            write(key, bytes);
            value_bytes = length(bytes.len() - value);
        });
        let (key_bytes, value_bytes) = (length(key.len()), Some(value_bytes));
        self.rows.push(BatchRow { table, at, key_bytes, value_bytes });
    }

    /// Writes rows after all others, which `make` hands over when the store takes them, best by rising key. They take
    /// about so many bytes.
    pub fn put_made(&mut self, table: Table, bytes: usize, make: Make) {
        self.made.push(MadeRows { table, bytes, make });
    }

    /// Takes out the rows that are yet to be made: [`Batch::put_made`].
    fn take_made(&mut self) -> Vec<MadeRows> {
        std::mem::take(&mut self.made)
    }

    /// Removes a row, if there is one.
    pub fn delete(&mut self, table: Table, key: impl AsRef<[u8]>) {
        let key = key.as_ref();
        let at = self.bytes.append(|bytes| bytes.extend_from_slice(key));
        self.rows.push(BatchRow { table, at, key_bytes: length(key.len()), value_bytes: None });
    }

    /// Number of rows that are there; those yet to be made are not counted.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.made.is_empty()
    }

    /// Bytes of all keys and values, roughly.
    pub fn byte_count(&self) -> usize {
        self.bytes.byte_count() + self.made.iter().map(|made| made.bytes).sum::<usize>()
    }

    /// The rows in the order in which they were added; of two of a key the later one wins.
    pub fn rows(&self) -> impl Iterator<Item = Write<'_>> {
        self.rows.iter().map(|row| self.write(row))
    }

    /// The rows by table and key, and those of a key in the order in which they were added.
    pub fn sorted(&self) -> impl Iterator<Item = Write<'_>> {
        let mut of_tables: [Vec<u32>; Table::ALL.len()] = Default::default();
        for (number, row) in (0..).zip(&self.rows) {
            of_tables[row.table as usize].push(number);
        }
        let row = |number: u32| &self.rows[number as usize];
        for numbers in &mut of_tables {
            sort_by_key(numbers, |number| self.key(row(number)));
        }
        of_tables.into_iter().flatten().map(move |number| self.write(row(number)))
    }

    fn key(&self, row: &BatchRow) -> &[u8] {
        &self.bytes.from(row.at)[..row.key_bytes as usize]
    }

    fn write(&self, row: &BatchRow) -> Write<'_> {
        let (key, rest) = self.bytes.from(row.at).split_at(row.key_bytes as usize);
        (row.table, key, row.value_bytes.map(|bytes| &rest[..bytes as usize]))
    }
}

/// Sorts numbers by the keys that they stand for, and then by themselves.
///
/// Most keys differ in the eight bytes after those that all of them share, so that few comparisons read the
/// keys.
pub fn sort_by_key<'k>(numbers: &mut [u32], key: impl Fn(u32) -> &'k [u8]) {
    let mut keys = numbers.iter().map(|number| key(*number));
    let Some(first) = keys.next() else { return };
    let shared = keys.fold(first, shared_start).len();
    let word = |number: &u32| (first_word(&key(*number)[shared..]), *number);
    let mut order: Vec<(u64, u32)> = numbers.iter().map(word).collect();
    order.sort_unstable_by(|one, other| {
        let by_word = one.0.cmp(&other.0);
        by_word.then_with(|| key(one.1).cmp(key(other.1))).then_with(|| one.1.cmp(&other.1))
    });
    for (sorted, (_, number)) in numbers.iter_mut().zip(order) {
        *sorted = number;
    }
}

/// The length of a key or value; longer ones than this holds do not fit into a store either.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn shared_start<'k>(one: &'k [u8], other: &'k [u8]) -> &'k [u8] {
    let shared = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    &one[..shared]
}

/// The first eight bytes as a number that sorts as they do; as if zeros followed a shorter key.
fn first_word(key: &[u8]) -> u64 {
    let mut word = [0; 8];
    let length = key.len().min(8);
    word[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(word)
}

/// When a commit has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Survives the death of the process; a log behind us replays what a dead machine lost.
    Process,
    /// Survives the death of the machine.
    Machine,
}

/// Why a store can't answer. None of them is retried: the shard stops and says so.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database or its disk failed.
    #[error("store failed to {action}: {message}")]
    Failed { action: &'static str, message: String },
    /// Stored bytes are not what was written.
    #[error("stored {table} row {key} is corrupt: {message}")]
    Corrupt { table: &'static str, key: String, message: String },
    /// Another process has the directory open.
    #[error("the data directory is in use by another process: {0}")]
    InUse(String),
}

/// What is called with the key and value of each row of a scan; its error ends the scan.
pub type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError> + 'a;

/// Key and value of a row.
pub type Row = (Vec<u8>, Vec<u8>);

/// A shard's tables.
pub trait Store: Send + Sync {
    /// The row of a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The rows of many keys, in the order of the keys.
    fn get_many(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// Visits the rows whose keys start with `prefix`, in key order, until `visit` fails.
    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visitor<'_>) -> Result<(), StoreError>;

    /// At most so many rows from a key on, in key order, each with its key.
    fn rows_from(&self, table: Table, from: &[u8], rows_max: usize)
    -> Result<Vec<Row>, StoreError>;

    /// Makes all writes of a batch visible, or none; returns once it is as durable as asked.
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_by_table_and_key_and_stay_in_order_within_a_key() {
        let mut batch = Batch::default();
        let keys =
            ["shared/12345678b", "shared/1", "shared/12345678a", "shared/", "shared/12345678a"];
        for (number, key) in (0u8..).zip(keys) {
            batch.put(Table::History, key, [number]);
        }
        batch.delete(Table::Meta, "z");
        batch.put(Table::Forgotten, "\0", []);
        batch.put(Table::Forgotten, "", []);
        let sorted: Vec<_> = batch.sorted().collect();
        let value = |number: &'static u8| Some(std::slice::from_ref(number));
        assert_eq!(
            sorted,
            [
                (Table::Meta, &b"z"[..], None),
                (Table::History, b"shared/", value(&3)),
                (Table::History, b"shared/1", value(&1)),
                (Table::History, b"shared/12345678a", value(&2)),
                (Table::History, b"shared/12345678a", value(&4)),
                (Table::History, b"shared/12345678b", value(&0)),
                (Table::Forgotten, b"", Some(&[])),
                (Table::Forgotten, b"\0", Some(&[])),
            ]
        );
        assert_eq!((batch.len(), batch.rows().count()), (8, 8));
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        batch.put_made(Table::History, 100, Box::new(|put| put(b"k", b"v")));
        assert_eq!((batch.len(), batch.byte_count(), batch.is_empty()), (0, 100, false));
    }
}
