//! How a shard's RocksDB is set up, and why. `benches/store.rs` measures the result.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel,
    Options, WriteBufferManager,
};

use crate::store::{Durability, Table};

/// Flushes and compactions at once, over all shards of the process (RocksDB's threads are shared).
const BACKGROUND_JOBS: i32 = 2;
/// A table's memtable is flushed at this size even when the shared budget has room.
const MEMTABLE_BYTES: usize = 64 << 20;
/// Size of a file of the first sorted level; a point lookup's filter block grows with it.
const FILE_BYTES: u64 = 64 << 20;
/// Flushed files before they are merged, and the size of the first level that then holds them.
/// Larger than RocksDB's own 4 and 256 MiB: rows are rewritten less often (30 million events in memory with commits:
/// 4.75 µs of CPU each instead of 5.29 with 8 compressed files, one run each), and a lookup asks 16 filters, or more
/// while merges are behind.
const FLUSHED_FILES: i32 = 16;
const FIRST_LEVEL_BYTES: u64 = 1 << 30;
/// Flushed files at which commits are slowed down and stopped, so that merges catch up. RocksDB's own 20 and
/// 36 would be met while a merge of the first ones runs.
const FLUSHED_FILES_SLOW: i32 = 3 * FLUSHED_FILES;
const FLUSHED_FILES_MAX: i32 = 4 * FLUSHED_FILES;
/// Levels, the flushed files included.
const LEVELS: usize = 7;
/// Bits per key of the filters: about 1 % of absent keys cost a read.
const FILTER_BITS_PER_KEY: f64 = 10.0;
/// Block of tables read by key, before compression.
const LOOKUP_BLOCK_BYTES: usize = 8 << 10;
/// Block of tables that are only scanned: larger ones compress better and have smaller indexes.
const SCAN_BLOCK_BYTES: usize = 32 << 10;
/// RocksDB's own log files: few and small, we keep no diary in the data directory.
const LOG_FILES: usize = 2;
const LOG_FILE_BYTES: usize = 4 << 20;

/// Memory of all shards' stores together: one block cache, one limit on memtables.
///
/// A clone is another handle to the same memory.
#[derive(Clone)]
pub struct RocksShared {
    pub(super) cache: Cache,
    pub(super) memtables: WriteBufferManager,
}

impl RocksShared {
    /// Takes the budgets in bytes. Memtables stay below theirs except while flushes are behind;
    /// the cache also holds the filters and indexes.
    pub fn new(block_cache_bytes: usize, memtable_bytes_max: usize) -> Self {
        Self {
            cache: Cache::new_lru_cache(block_cache_bytes),
            // Not stalling: commits already wait when flushes fall behind, and a stall on memory
            // that another shard holds would stop a shard that could go on.
            memtables: WriteBufferManager::new_write_buffer_manager(memtable_bytes_max, false),
        }
    }
}

/// What one shard's store is opened with.
#[derive(Clone)]
pub struct RocksSettings {
    /// The memory shared by all shards.
    pub shared: RocksShared,
    /// The durability of the shard's commits: it decides what a damaged end of the write-ahead
    /// log means when the store is opened.
    pub durability: Durability,
}

/// Options of the database as a whole.
pub(super) fn database(settings: &RocksSettings, recovery: DBRecoveryMode) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(recovery);
    // A write-ahead log that was synced and is gone is an error, not an empty log.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_background_jobs(BACKGROUND_JOBS);
    options.set_write_buffer_manager(&settings.shared.memtables);
    // A quiet table must not keep the log, and the time to replay it, growing without end: it is flushed
    // when a busy one has been twice.
    options.set_max_total_wal_size(2 * MEMTABLE_BYTES as u64);
    // A shard has one writer: insertion without the cost of concurrency.
    options.set_allow_concurrent_memtable_write(false);
    options.set_enable_pipelined_write(false);
    options.set_bytes_per_sync(1 << 20);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(LOG_FILES);
    options.set_max_log_file_size(LOG_FILE_BYTES);
    options.set_stats_dump_period_sec(0);
    options
}

/// How to read the log after a start that would not take its end as it is.
///
/// | durability | meaning of the damage | recovery |
/// |------------|-----------------------|----------|
/// | process    | a lost machine: writes reached the disk in any order | up to the first damage; the log behind us replays the rest |
/// | machine    | only the end can be cut, of a commit nobody was told of | cut end only; damage before it is an error |
pub(super) fn recovery_of_damaged_log(durability: Durability) -> DBRecoveryMode {
    match durability {
        Durability::Process => DBRecoveryMode::PointInTime,
        Durability::Machine => DBRecoveryMode::TolerateCorruptedTailRecords,
    }
}

/// One column family per table.
pub(super) fn column_families(shared: &RocksShared) -> Vec<ColumnFamilyDescriptor> {
    Table::ALL
        .map(|table| ColumnFamilyDescriptor::new(table.name(), table_options(shared, table)))
        .into()
}

/// How rows of a table are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Single keys and short prefixes, many of them absent.
    Lookup,
    /// From end to end at a start or in a listing.
    Scan,
}

fn reading_of(table: Table) -> Reading {
    match table {
        Table::History | Table::Dictionary => Reading::Lookup,
        Table::Meta
        | Table::Facts
        | Table::Quarantine
        | Table::Suspended
        | Table::Forgotten
        | Table::Given
        | Table::Curves => Reading::Scan,
    }
}

fn table_options(shared: &RocksShared, table: Table) -> Options {
    let mut options = Options::default();
    options.set_block_based_table_factory(&block_options(shared, reading_of(table)));
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_target_file_size_base(FILE_BYTES);
    options.set_level_zero_file_num_compaction_trigger(FLUSHED_FILES);
    options.set_level_zero_slowdown_writes_trigger(FLUSHED_FILES_SLOW);
    options.set_level_zero_stop_writes_trigger(FLUSHED_FILES_MAX);
    options.set_max_bytes_for_level_base(FIRST_LEVEL_BYTES);
    options.set_level_compaction_dynamic_level_bytes(true);
    // Flushed rows are rewritten soon, most rows lie at the bottom for good.
    options.set_num_levels(LEVELS as i32);
    let mut compression = [DBCompressionType::Lz4; LEVELS];
    compression[0] = DBCompressionType::None;
    options.set_compression_per_level(&compression);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options
}

fn block_options(shared: &RocksShared, reading: Reading) -> BlockBasedOptions {
    let mut options = BlockBasedOptions::default();
    options.set_block_cache(&shared.cache);
    // Filters and indexes count against the cache's budget, and are the last to leave it.
    options.set_cache_index_and_filter_blocks(true);
    options.set_cache_index_and_filter_blocks_with_high_priority(true);
    options.set_pin_l0_filter_and_index_blocks_in_cache(true);
    match reading {
        Reading::Lookup => {
            options.set_block_size(LOOKUP_BLOCK_BYTES);
            options.set_bloom_filter(FILTER_BITS_PER_KEY, false);
            options.set_optimize_filters_for_memory(true);
        }
        // No filter: it would cost CPU at each flush and compaction, and nobody asks it.
        Reading::Scan => options.set_block_size(SCAN_BLOCK_BYTES),
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_column_family_for_each_table() {
        let families = column_families(&RocksShared::new(1 << 20, 1 << 20));
        let names: Vec<_> = families.iter().map(ColumnFamilyDescriptor::name).collect();
        let tables = Table::ALL.map(Table::name);
        assert_eq!(names, tables);
    }

    #[test]
    fn only_tables_read_by_key_pay_for_filters() {
        let lookups = Table::ALL.into_iter().filter(|t| reading_of(*t) == Reading::Lookup);
        assert_eq!(lookups.collect::<Vec<_>>(), [Table::History, Table::Dictionary]);
    }

    #[test]
    fn a_budget_is_one_for_all_clones() {
        let shared = RocksShared::new(1 << 20, 3 << 20);
        assert_eq!(shared.clone().memtables.get_buffer_size(), 3 << 20);
        shared.memtables.set_buffer_size(5 << 20);
        assert_eq!(shared.clone().memtables.get_buffer_size(), 5 << 20);
    }

    #[test]
    fn a_log_that_must_hold_every_commit_may_only_be_cut_at_its_end() {
        assert!(matches!(
            recovery_of_damaged_log(Durability::Machine),
            DBRecoveryMode::TolerateCorruptedTailRecords
        ));
        assert!(matches!(
            recovery_of_damaged_log(Durability::Process),
            DBRecoveryMode::PointInTime
        ));
    }
}
