//! What the store costs: CPU of the whole process per committed row, flushes and compactions
//! included; and the wall time of reads.
//!
//! A commit sorts its rows whatever their order; "sorted" only shows what that saves when there is
//! nothing left to sort. Compactions fall into some samples and not into others, so single runs of
//! the commit figures differ widely.

use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use ltvstream::cli::bench::process_cpu;
use ltvstream::store::rocks::{RocksSettings, RocksShared, RocksStore};
use ltvstream::store::{Batch, Durability, Store, Table};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CUSTOMERS: u32 = 600_000;
const FACTS: u32 = 400_000;
const COMMIT_ROWS: usize = 100_000;

#[derive(Clone, Copy)]
enum Order {
    Shuffled,
    Sorted,
}

/// Rows as a shard commits them: a new chunk each of many customers, and rewritten facts.
struct Rows {
    random: ChaCha8Rng,
    commits: u32,
}

impl Rows {
    fn new() -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(1), commits: 0 }
    }

    fn history_key(customer: u32, chunk: u32) -> Vec<u8> {
        // Spread as real identifiers are, not in order of arrival.
        let id = customer.wrapping_mul(0x9e37_79b1);
        let mut key = format!("app/user-{id:010}").into_bytes();
        key.extend_from_slice(&chunk.to_be_bytes());
        key
    }

    fn fact_key(fact: u32) -> Vec<u8> {
        let mut key = b"app".to_vec();
        for part in [fact % 40, fact / 40 % 700, fact % 1100, fact / 7] {
            key.extend_from_slice(&part.to_be_bytes());
        }
        key.extend_from_slice(&fact.to_be_bytes());
        key
    }

    /// Half random bytes, half zeros: compresses about as packed integers do.
    fn value(&mut self, bytes: std::ops::Range<usize>) -> Vec<u8> {
        let mut value = vec![0; self.random.random_range(bytes)];
        let half = value.len() / 2;
        self.random.fill(&mut value[..half]);
        value
    }

    fn preload(&mut self) -> Vec<Batch> {
        let history = (0..CUSTOMERS).map(|c| (Table::History, Self::history_key(c, 0)));
        let facts = (0..FACTS).map(|f| (Table::Facts, Self::fact_key(f)));
        let mut keys: Vec<_> = history.chain(facts).collect();
        keys.shuffle(&mut self.random);
        let rows: Vec<_> =
            keys.into_iter().map(|(table, key)| (table, key, self.value(60..300))).collect();
        rows.chunks(COMMIT_ROWS).map(batch).collect()
    }

    fn next_commit(&mut self, order: Order) -> Batch {
        self.commits += 1;
        let mut writes = Vec::with_capacity(COMMIT_ROWS);
        for _ in 0..COMMIT_ROWS * 6 / 10 {
            let key = Self::history_key(self.random.random_range(0..CUSTOMERS), self.commits);
            writes.push((Table::History, key, self.value(60..300)));
        }
        for _ in 0..COMMIT_ROWS * 4 / 10 {
            let key = Self::fact_key(self.random.random_range(0..FACTS));
            writes.push((Table::Facts, key, self.value(30..120)));
        }
        match order {
            Order::Shuffled => writes.shuffle(&mut self.random),
            Order::Sorted => writes.sort_by(|a, b| (a.0 as u8, &a.1).cmp(&(b.0 as u8, &b.1))),
        }
        batch(&writes)
    }
}

fn batch(rows: &[(Table, Vec<u8>, Vec<u8>)]) -> Batch {
    let mut batch = Batch::default();
    for (table, key, value) in rows {
        batch.put(*table, key, value);
    }
    batch
}

struct Loaded {
    store: RocksStore,
    rows: Rows,
    _dir: tempfile::TempDir,
}

/// A store with a million rows, all background work done.
fn loaded() -> Loaded {
    let dir = tempfile::tempdir().expect("temporary directory");
    let shared = RocksShared::new(256 << 20, 256 << 20);
    let settings = RocksSettings { shared, durability: Durability::Process };
    let store = RocksStore::open(dir.path(), &settings).expect("open");
    let mut rows = Rows::new();
    for batch in rows.preload() {
        store.commit(batch, Durability::Process).expect("commit");
    }
    settle(&store);
    Loaded { store, rows, _dir: dir }
}

fn settle(store: &RocksStore) {
    store.flush().expect("flush");
    store.wait_for_background_work().expect("compaction");
}

/// CPU of commits and of all background work they cause. Each sample ends with a flush, which a
/// running service does less often.
fn commits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("store commit, CPU");
    group.throughput(Throughput::Elements(COMMIT_ROWS as u64));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.measurement_time(Duration::from_secs(20));
    for (name, order) in [("shuffled", Order::Shuffled), ("sorted", Order::Sorted)] {
        let Loaded { store, mut rows, _dir } = loaded();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|commits| {
                let batches: Vec<_> = (0..commits).map(|_| rows.next_commit(order)).collect();
                let start = process_cpu().expect("Linux");
                for batch in batches {
                    store.commit(batch, Durability::Process).expect("commit");
                }
                settle(&store);
                process_cpu().expect("Linux") - start
            });
        });
    }
}

/// Wall time of reading, with a few commits on top of the first million rows.
fn reads(criterion: &mut Criterion) {
    let Loaded { store, mut rows, _dir } = loaded();
    for _ in 0..10 {
        store.commit(rows.next_commit(Order::Sorted), Durability::Process).expect("commit");
    }
    settle(&store);
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut customer = move || random.random_range(0..CUSTOMERS);

    let mut group = criterion.benchmark_group("store read, wall");
    group.bench_function("key present", |bencher| {
        bencher.iter(|| store.get(Table::History, &Rows::history_key(customer(), 0)));
    });
    group.bench_function("key absent", |bencher| {
        bencher.iter(|| store.get(Table::History, &Rows::history_key(customer(), u32::MAX)));
    });
    group.bench_function("chunks of a customer", |bencher| {
        bencher.iter(|| {
            let key = Rows::history_key(customer(), 0);
            scan_bytes(&store, Table::History, &key[..key.len() - 4])
        });
    });
    group.sample_size(10);
    group.throughput(Throughput::Elements(u64::from(FACTS)));
    group.bench_function("all facts", |bencher| {
        bencher.iter(|| scan_bytes(&store, Table::Facts, b""));
    });
}

fn scan_bytes(store: &RocksStore, table: Table, prefix: &[u8]) -> usize {
    let mut bytes = 0;
    let visited = store.scan(table, prefix, &mut |_, value| {
        bytes += value.len();
        Ok(())
    });
    visited.expect("scan");
    bytes
}

criterion_group!(benches, commits, reads);
criterion_main!(benches);
