//! Where state survives: tables of bytes, committed atomically.
//!
//! The store knows no business. What the bytes mean, their version and checksum is `codec`'s
//! ([`crate::codec`]); what must be in one commit is the shard's. Two implementations pass the
//! same contract tests (`store_contract.rs`): RocksDB, and memory.

pub mod memory;
pub mod rocks;

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
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 8] = [
        Self::Meta,
        Self::History,
        Self::Facts,
        Self::Dictionary,
        Self::Quarantine,
        Self::Suspended,
        Self::Forgotten,
        Self::Given,
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
        }
    }
}

/// Rows to write and to remove, all or none of which take effect.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order; a later write of a key wins. `None` removes the row.
    pub writes: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Writes a row.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.writes.push((table, key, Some(value)));
    }

    /// Removes a row, if there is one.
    pub fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.writes.push((table, key, None));
    }
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

/// A shard's tables.
pub trait Store: Send + Sync {
    /// The row of a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The rows of many keys, in the order of the keys.
    fn get_many(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// Visits the rows whose keys start with `prefix`, in key order, until `visit` fails.
    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visitor<'_>) -> Result<(), StoreError>;

    /// Makes all writes of a batch visible, or none; returns once it is as durable as asked.
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError>;
}
