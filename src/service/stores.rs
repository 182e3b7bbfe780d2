//! The shard stores below the data directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::pipeline::publish::SnapshotPlan;
use crate::state::{LiveShard, OpeningShard, Rebuilt, StateError, at_a_time, rebuild};
use crate::store::rocks::{Opened, RocksSettings, RocksShared, RocksStore};
use crate::store::{Durability, StoreError};
use crate::stream::Partition;
use crate::telemetry::Metrics;

/// How long a store of this process may take until all have let go of it, and how often that is looked at.
const LET_GO_MAX: Duration = Duration::from_secs(30);
const LET_GO_STEP: Duration = Duration::from_millis(20);

/// How long shards that nobody asks for stay open.
const AHEAD_MAX: Duration = Duration::from_secs(30);

/// Opens shard stores in the data directory, and remembers them for the metrics.
pub struct Stores {
    data_dir: PathBuf,
    settings: RocksSettings,
    open: Mutex<BTreeMap<Partition, Weak<RocksStore>>>,
    /// Opens shards that nobody has asked for yet.
    ahead: Mutex<Option<Ahead>>,
}

/// What comes between the name of a log and the number of its partitions.
const COUNTED: &str = " of ";

fn counted_log(log: &str, count: Partition) -> String {
    format!("{log}{COUNTED}{count} partitions")
}

/// The shard, as one of a log of so many partitions.
fn counted(
    mut shard: OpeningShard,
    log: &str,
    count: Partition,
) -> Result<OpeningShard, StateError> {
    let (found, wanted) = (&mut shard.position.log, counted_log(log, count));
    // States of the first versions do not know the number.
    if found == log {
        found.clone_from(&wanted);
    }
    if *found == wanted {
        return Ok(shard);
    }
    Err(StateError::Repartitioned { found: found.clone(), wanted })
}

/// What a commit outlives, as the settings say.
pub(super) fn durability(config: &Config) -> Durability {
    if config.store.sync { Durability::Machine } else { Durability::Process }
}

type OpenedAhead = BTreeMap<Partition, Result<OpeningShard, StateError>>;
/// Since when shards are opened, and by whom.
type Ahead = (Instant, JoinHandle<OpenedAhead>);

impl Stores {
    /// Stores below `data_dir`, as the settings say.
    pub fn new(config: &Config) -> Arc<Self> {
        Self::opened_with(config, durability(config))
    }

    fn opened_with(config: &Config, durability: Durability) -> Arc<Self> {
        let store = &config.store;
        let shared = RocksShared::new(store.block_cache_bytes, store.write_buffer_bytes);
        Arc::new(Self {
            data_dir: config.service.data_dir.clone(),
            settings: RocksSettings { shared, durability },
            open: Mutex::default(),
            ahead: Mutex::default(),
        })
    }

    /// Stores to be looked at and left as they are: where a log is damaged before its end that is an error, and
    /// not the end of what is read.
    pub fn to_look_at(config: &Config) -> Arc<Self> {
        Self::opened_with(config, Durability::Machine)
    }

    /// Directory of a partition's shard.
    pub fn dir(data_dir: &Path, partition: Partition) -> PathBuf {
        data_dir.join(format!("shard-{partition:05}"))
    }

    /// The partitions that have a shard below the data directory.
    pub fn partitions(&self) -> std::io::Result<Vec<Partition>> {
        let mut partitions = Vec::new();
        for entry in std::fs::read_dir(&self.data_dir)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("shard-"));
            partitions.extend(number.and_then(|number| number.parse::<Partition>().ok()));
        }
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// Recomputes the facts of every shard below the data directory.
    pub(super) fn rebuild_all(&self, config: &Config) -> anyhow::Result<()> {
        for partition in self.partitions().context("there is no state to rebuild")? {
            self.rebuild_shard(partition, config)?;
        }
        Ok(())
    }

    /// Recomputes the facts of a partition's shard under the configured rules.
    fn rebuild_shard(&self, partition: Partition, config: &Config) -> anyhow::Result<()> {
        let store = RocksStore::open(&Self::dir(&self.data_dir, partition), &self.settings)?;
        let Rebuilt { customers, events, facts } = rebuild(&store, &config.rules)?;
        store.close()?;
        info!(partition, customers, events, facts, "facts recomputed from the ledgers");
        Ok(())
    }

    /// Begins to open the shard of a partition to feed it from this log; refuses one fed from another.
    pub(super) fn open_shard_of(
        &self,
        partition: Partition,
        log: &str,
        config: &Config,
    ) -> Result<OpeningShard, StateError> {
        let mut shard = self.begin_shard(partition, config)?;
        let found = &mut shard.position.log;
        if found.is_empty() {
            *found = log.to_owned();
        }
        let counted = found.strip_prefix(log).is_some_and(|rest| rest.starts_with(COUNTED));
        if found != log && !counted {
            let (found, wanted) = (found.clone(), log.to_owned());
            return Err(StateError::OtherLog { found, wanted });
        }
        Ok(shard)
    }

    /// Begins to open every shard below the data directory, beside the caller, to feed it from this log:
    /// nearly all of them are about to be asked for.
    pub(super) fn open_ahead(self: &Arc<Self>, log: &str, config: &Arc<Config>) {
        let (stores, log, config) = (Arc::clone(self), log.to_owned(), Arc::clone(config));
        let open_all = move || {
            // What can't be listed is told when it is asked for.
            let partitions = stores.partitions().unwrap_or_default();
            let shards =
                at_a_time(&partitions, |partition| stores.open_shard_of(*partition, &log, &config));
            partitions.into_iter().zip(shards).collect()
        };
        // Without a thread they are opened when they are asked for.
        let opening = std::thread::Builder::new().name("open".to_owned()).spawn(open_all);
        *self.ahead.lock() = opening.ok().map(|thread| (Instant::now(), thread));
    }

    /// Begins to open the shards of these partitions to feed them from this log of so many partitions;
    /// refuses those of a log that had another number of them. Those that were opened ahead and are not
    /// among them are closed.
    pub(super) fn open_shards(
        &self,
        partitions: &[Partition],
        (log, count): (&str, Partition),
        config: &Config,
    ) -> Vec<Result<OpeningShard, StateError>> {
        let ahead = Mutex::new(self.take_ahead(|_| true));
        at_a_time(partitions, |partition| {
            // Got while we run.
            if *partition >= count {
                let (found, wanted) =
                    (counted_log(log, count), "one of more partitions".to_owned());
                return Err(StateError::Repartitioned { found, wanted });
            }
            let opened = ahead.lock().remove(partition);
            let opened = opened.unwrap_or_else(|| self.open_shard_of(*partition, log, config));
            counted(opened?, log, count)
        })
    }

    /// What was opened ahead, if there is any and it is wanted; waits until it is open.
    fn take_ahead(&self, is_wanted: impl Fn(&Ahead) -> bool) -> OpenedAhead {
        let ahead = self.ahead.lock().take_if(|ahead| is_wanted(ahead));
        let joined = ahead.map(|(_, thread)| thread.join());
        joined.map_or_else(OpenedAhead::new, |opened| {
            opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Keeps other processes out of the data directory for as long as the answer lives.
    pub fn lock(&self) -> anyhow::Result<std::fs::File> {
        let dir = self.data_dir.display();
        std::fs::create_dir_all(&self.data_dir).with_context(|| format!("can't create {dir}"))?;
        let path = self.data_dir.join("LOCK");
        let file =
            std::fs::File::create(&path).with_context(|| format!("can't create {dir}/LOCK"))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {
                anyhow::bail!("the data directory {dir} is in use by another process")
            }
            Err(std::fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("can't lock {dir}"))
            }
        }
    }

    /// Opens the shard of a partition.
    pub fn open_shard(
        &self,
        partition: Partition,
        config: &Config,
    ) -> Result<LiveShard, StateError> {
        self.begin_shard(partition, config)?.load()
    }

    /// Reads what is stored of the shard of a partition, facts aside.
    pub fn begin_shard(
        &self,
        partition: Partition,
        config: &Config,
    ) -> Result<OpeningShard, StateError> {
        let store = Arc::new(self.open_store(partition)?);
        if let Opened::Shortened(reason) = store.opened() {
            // With a log behind us this is what a crash leaves; without, it may be a loss.
            if self.settings.durability == Durability::Machine {
                error!(partition, %reason, "the end of the write-ahead log is damaged: the last commits may be lost");
            } else {
                warn!(partition, %reason, "the write-ahead log was cut; the log replays the rest");
            }
        }
        self.open.lock().insert(partition, Arc::downgrade(&store));
        let plan = SnapshotPlan::new(config);
        OpeningShard::new(store, partition, (Arc::new(config.rules.clone()), plan.curves()))
    }

    /// Opens the store of a partition. One that was held before and comes back may still be read by a question
    /// that began then: its end is waited for.
    fn open_store(&self, partition: Partition) -> Result<RocksStore, StoreError> {
        let dir = Self::dir(&self.data_dir, partition);
        let (begun_at, was_held) = (Instant::now(), self.open.lock().contains_key(&partition));
        loop {
            match RocksStore::open(&dir, &self.settings) {
                Err(StoreError::InUse(_)) if was_held && begun_at.elapsed() < LET_GO_MAX => {
                    std::thread::sleep(LET_GO_STEP);
                }
                opened => return opened,
            }
        }
    }

    pub(super) fn observe(&self, metrics: &Metrics) {
        // Whoever was assigned nothing must not keep others' folders open: another may be put in place.
        let is_unwanted =
            |(begun_at, thread): &Ahead| begun_at.elapsed() > AHEAD_MAX && thread.is_finished();
        drop(self.take_ahead(is_unwanted));
        let mut sums = [0u64; 4];
        for store in self.open.lock().values().filter_map(Weak::upgrade) {
            match store.properties() {
                Ok(found) => {
                    sums[0] += found.memtable_bytes;
                    // One cache serves all shards.
                    sums[1] = found.block_cache_bytes;
                    sums[2] += found.sst_bytes;
                    sums[3] += found.pending_compaction_bytes;
                }
                Err(error) => warn!(%error, "can't read the store's figures"),
            }
        }
        let [memtable, block_cache, sst, pending] =
            sums.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        metrics.rocksdb_memtable.set(memtable);
        metrics.rocksdb_block_cache.set(block_cache);
        metrics.rocksdb_sst.set(sst);
        metrics.rocksdb_pending_compaction.set(pending);
    }
}
