//! A thread for each shard: it decodes, applies and commits what the loop has read. So shards wait
//! neither for each other nor for the log, and one that commits holds up none.
//!
//! Always true
//! * A shard's records are applied in the order in which they were handed over.
//! * What is asked of a worker happens after everything that was handed over before.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::pipeline::feed::{CommitPace, Feed, FeedParts};
use crate::pipeline::helper::start_thread;
use crate::pipeline::{POLL_TIMEOUT, PipelineError};
use crate::stream::{Partition, RecordBatch};

/// Batches that may wait for a worker; the loop waits while there are more. Enough to go on with
/// while the loop reads for others, few enough that what is read ahead takes little memory.
const WAITING_MAX: usize = 8;
/// How often a worker without records looks whether a commit is due.
const IDLE: Duration = POLL_TIMEOUT;

enum Order {
    Take {
        batch: Box<dyn RecordBatch>,
        /// More is known to be waiting in the log.
        is_behind: bool,
    },
    /// Commit, and say so.
    Commit(SyncSender<()>),
}

type Ended = Result<(), PipelineError>;

struct Worker {
    orders: SyncSender<Order>,
    /// Records that were handed over and are not applied yet.
    waiting: Arc<AtomicI64>,
    thread: JoinHandle<Ended>,
}

/// The workers of the shards that are here.
pub struct Workers {
    parts: FeedParts,
    pace: CommitPace,
    by_partition: BTreeMap<Partition, Worker>,
}

impl Workers {
    /// No worker yet; they feed shards of `parts`.
    pub fn new(parts: FeedParts, pace: CommitPace) -> Self {
        Self { parts, pace, by_partition: BTreeMap::new() }
    }

    /// What the feeds have in common.
    pub fn parts(&self) -> &FeedParts {
        &self.parts
    }

    /// Starts the worker of a partition whose shard is in place.
    pub fn start(&mut self, partition: Partition) -> Result<(), PipelineError> {
        let Some(shard) = self.parts.shards.get(partition) else { return Ok(()) };
        let feed = Feed::new(self.parts.clone(), shard)?;
        let (orders, taken) = sync_channel(WAITING_MAX);
        let waiting = Arc::new(AtomicI64::new(0));
        let (pace, applied) = (self.pace, Arc::clone(&waiting));
        let work = move || work(feed, &taken, &pace, &applied);
        let thread = start_thread(format!("shard-{partition}"), work)?;
        self.by_partition.insert(partition, Worker { orders, waiting, thread });
        Ok(())
    }

    /// Hands records over; waits while too many wait already. Records of a partition that is not
    /// here any more are left alone.
    pub fn hand_over(&mut self, batch: Box<dyn RecordBatch>, is_behind: bool) -> Ended {
        let partition = batch.partition();
        let Some(worker) = self.by_partition.get(&partition) else { return Ok(()) };
        worker.waiting.fetch_add(count(&*batch), Ordering::Relaxed);
        match worker.orders.send(Order::Take { batch, is_behind }) {
            Ok(()) => Ok(()),
            Err(_) => self.stop(partition),
        }
    }

    /// Records of a partition that were handed over and are not applied yet.
    pub fn waiting(&self, partition: Partition) -> i64 {
        self.by_partition.get(&partition).map_or(0, |worker| worker.waiting.load(Ordering::Relaxed))
    }

    /// Applies and commits everything that was handed over.
    pub fn commit(&mut self) -> Ended {
        let workers = self.by_partition.len();
        let (done, committed) = sync_channel(workers);
        for worker in self.by_partition.values() {
            // One that has failed is found below.
            let _ = worker.orders.send(Order::Commit(done.clone()));
        }
        drop(done);
        // Ends when every order was carried out or dropped.
        let committed = committed.iter().count();
        if committed == workers { Ok(()) } else { self.failed() }
    }

    /// Fails if a worker has: none ends before it is told to.
    pub fn check(&mut self) -> Ended {
        match self.by_partition.values().any(|worker| worker.thread.is_finished()) {
            true => self.failed(),
            false => Ok(()),
        }
    }

    /// Ends all workers, of which one has failed or is about to, and says why it has.
    fn failed(&mut self) -> Ended {
        let partitions: Vec<Partition> = self.by_partition.keys().copied().collect();
        partitions.into_iter().try_for_each(|partition| self.stop(partition))
    }

    /// Lets the worker of a partition apply what was handed over, and ends it.
    pub fn stop(&mut self, partition: Partition) -> Ended {
        let Some(Worker { orders, thread, .. }) = self.by_partition.remove(&partition) else {
            return Ok(());
        };
        drop(orders);
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Workers {
    /// Nothing may be in use any more when the loop is gone. Why a worker failed was told before,
    /// or somebody else's failure is.
    fn drop(&mut self) {
        for (_, Worker { orders, thread, .. }) in std::mem::take(&mut self.by_partition) {
            drop(orders);
            let _ = thread.join();
        }
    }
}

fn count(batch: &dyn RecordBatch) -> i64 {
    i64::try_from(batch.len()).unwrap_or(i64::MAX)
}

fn work(mut feed: Feed, orders: &Receiver<Order>, pace: &CommitPace, waiting: &AtomicI64) -> Ended {
    let mut is_read_behind = false;
    loop {
        match orders.recv_timeout(IDLE) {
            Ok(Order::Take { batch, is_behind }) => {
                feed.take(&batch.records())?;
                feed.pass(batch.next_offset());
                waiting.fetch_sub(count(&*batch), Ordering::Relaxed);
                is_read_behind = is_behind;
            }
            Ok(Order::Commit(done)) => {
                feed.commit(pace.durability)?;
                // Whoever asked may have failed meanwhile.
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => is_read_behind = false,
            Err(RecvTimeoutError::Disconnected) => return feed.end_commit(),
        }
        feed.poll_commit()?;
        if feed.is_commit_due(pace, is_read_behind) {
            feed.begin_commit(pace.durability)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Instant;

    use parking_lot::Mutex;

    use super::*;
    use crate::codec::envelope::EventFormat;
    use crate::codec::event_codec::EventCodec;
    use crate::domain::rules::Rules;
    use crate::domain::time::Timestamp;
    use crate::engine::curves::{CurvesConfig, ZonesKept};
    use crate::pipeline::decode::Decoder;
    use crate::state::{LiveShard, Shards};
    use crate::store::memory::MemoryStore;
    use crate::store::{Batch, Durability, Row, Store, StoreError, Table, Visitor};
    use crate::stream::{OwnedRecord, OwnedRecords};
    use crate::telemetry::Metrics;

    const NEVER: CommitPace = CommitPace {
        interval: Duration::from_secs(3600),
        events_max: usize::MAX,
        durability: Durability::Process,
    };
    const AT_ONCE: CommitPace = CommitPace { events_max: 1, ..NEVER };

    /// What a commit waits for, and whether it succeeds then.
    type Gate = Mutex<Receiver<bool>>;

    /// Commits when its gate says so.
    struct Gated(MemoryStore, Gate);

    impl Store for Gated {
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.get(table, key)
        }

        fn get_many(
            &self,
            table: Table,
            keys: &[&[u8]],
        ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
            self.0.get_many(table, keys)
        }

        fn scan(
            &self,
            table: Table,
            prefix: &[u8],
            visit: &mut Visitor<'_>,
        ) -> Result<(), StoreError> {
            self.0.scan(table, prefix, visit)
        }

        fn rows_from(
            &self,
            table: Table,
            from: &[u8],
            most: usize,
        ) -> Result<Vec<Row>, StoreError> {
            self.0.rows_from(table, from, most)
        }

        fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
            match self.1.lock().recv() {
                Ok(true) => self.0.commit(batch, durability),
                _ => Err(StoreError::Failed { action: "commit", message: "full".to_owned() }),
            }
        }
    }

    /// A worker for each of `partitions`, and what lets its commits happen.
    fn workers(partitions: Partition, pace: CommitPace) -> (Workers, Vec<Sender<bool>>) {
        let rules = Arc::new(Rules::of_one_app("acme"));
        let parts = FeedParts {
            shards: Arc::new(Shards::default()),
            decoder: Decoder::new(EventCodec::new(EventFormat::Json).unwrap(), None),
            metrics: Arc::new(Metrics::new().unwrap()),
            memory_budget_bytes: 1 << 30,
        };
        let (mut workers, mut gates) = (Workers::new(parts, pace), Vec::new());
        for partition in 0..partitions {
            let (gate, told) = channel();
            let store = Arc::new(Gated(MemoryStore::default(), Mutex::new(told)));
            let curves = CurvesConfig { zones: ZonesKept::First, segments: BTreeMap::new() };
            let shard = LiveShard::open(store, partition, (Arc::clone(&rules), curves)).unwrap();
            workers.parts.shards.insert(shard);
            workers.start(partition).unwrap();
            gates.push(gate);
        }
        (workers, gates)
    }

    fn records(partition: Partition, offsets: std::ops::Range<i64>) -> Box<dyn RecordBatch> {
        let record = |offset| OwnedRecord {
            partition,
            offset,
            timestamp: Timestamp(1_700_000_000_000_000),
            key: None,
            value: Some(
                format!(
                    r#"{{"event_id":"e{offset}","app_id":"acme","customer_id":"c{partition}",
                     "kind":"install","occurred_at":{offset}}}"#
                )
                .into_bytes(),
            ),
            headers: Vec::new(),
        };
        Box::new(OwnedRecords(offsets.map(record).collect()))
    }

    fn next_offset(workers: &Workers, partition: Partition) -> i64 {
        workers.parts.shards.get(partition).unwrap().read().next_offset().0
    }

    fn wait_until(holds: impl Fn() -> bool) {
        let begun_at = Instant::now();
        while !holds() {
            assert!(begun_at.elapsed() < Duration::from_secs(60), "it never came true");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_commit_holds_everything_that_was_handed_over_before() {
        let (mut workers, gates) = workers(2, NEVER);
        for batch in 0..30 {
            workers.hand_over(records(0, batch * 10..batch * 10 + 10), true).unwrap();
            workers.hand_over(records(1, batch..batch + 1), true).unwrap();
        }
        // Nobody's.
        workers.hand_over(records(7, 0..5), true).unwrap();
        gates.iter().for_each(|gate| gate.send(true).unwrap());
        workers.commit().unwrap();
        assert_eq!((next_offset(&workers, 0), next_offset(&workers, 1)), (300, 30));
        assert_eq!([0, 1, 7].map(|partition| workers.waiting(partition)), [0; 3]);
        let is_dirty = |shard: crate::state::SharedShard| shard.read().is_dirty();
        assert!(!workers.parts.shards.all().into_iter().any(is_dirty));
    }

    #[test]
    fn a_shard_that_commits_holds_up_no_other() {
        let (mut workers, gates) = workers(2, AT_ONCE);
        workers.hand_over(records(0, 0..1), false).unwrap();
        wait_until(|| next_offset(&workers, 0) == 1);
        // The first is in its commit, or about to be, and stays there.
        for batch in 0..20 {
            gates[1].send(true).unwrap();
            workers.hand_over(records(1, batch..batch + 1), false).unwrap();
        }
        wait_until(|| next_offset(&workers, 1) == 20);
        gates[0].send(true).unwrap();
        workers.stop(0).unwrap();
    }

    #[test]
    fn a_shard_takes_records_while_its_commit_is_written() {
        let (mut workers, gates) = workers(1, AT_ONCE);
        workers.hand_over(records(0, 0..1), false).unwrap();
        wait_until(|| next_offset(&workers, 0) == 1);
        // Its commit waits for the gate, and that of these for it.
        workers.hand_over(records(0, 1..2), false).unwrap();
        wait_until(|| next_offset(&workers, 0) == 2);
        let shard = workers.parts.shards.get(0).unwrap();
        let ledger = |offsets: usize| {
            let ledger = shard.read().ledger("acme", "c0").unwrap().unwrap();
            assert_eq!(ledger.len(), offsets);
        };
        ledger(2);
        gates[0].send(true).unwrap();
        gates[0].send(true).unwrap();
        ledger(2);
        workers.commit().unwrap();
        ledger(2);
    }

    #[test]
    fn why_a_worker_failed_is_said_to_whoever_asks_next() {
        type Ask = fn(&mut Workers) -> Ended;
        let asks: [Ask; 3] = [
            |workers| workers.commit(),
            |workers| workers.hand_over(records(1, 1..2), false),
            |workers| workers.check(),
        ];
        for ask in asks {
            let (mut workers, gates) = workers(2, AT_ONCE);
            gates[1].send(false).unwrap();
            workers.hand_over(records(1, 0..1), false).unwrap();
            wait_until(|| workers.by_partition[&1].thread.is_finished());
            // The other one is to end as well.
            gates[0].send(true).unwrap();
            let failure = ask(&mut workers).unwrap_err();
            assert!(
                matches!(&failure, PipelineError::State { partition: 1, source }
                    if source.to_string() == "store failed to commit: full"),
                "{failure}"
            );
        }
    }
}
