//! Histories in the store: one chunk for each commit with something new, and few of them for good.

use std::collections::BTreeMap;
use std::sync::Arc;

use ltvstream::codec::envelope::EventFormat;
use ltvstream::codec::event_codec::EventCodec;
use ltvstream::domain::rules::Rules;
use ltvstream::domain::time::Timestamp;
use ltvstream::engine::curves::{CurvesConfig, ZonesKept};
use ltvstream::pipeline::decode::Decoder;
use ltvstream::pipeline::feed::{Feed, FeedParts};
use ltvstream::state::{LiveShard, Outcome, Shards};
use ltvstream::store::memory::MemoryStore;
use ltvstream::store::{Durability, Store as _, Table};
use ltvstream::stream::Record;
use ltvstream::telemetry::Metrics;

/// 2023-11-14T22:13:20Z.
const BEGIN_US: i64 = 1_700_000_000_000_000;
const DAY_US: i64 = 86_400_000_000;

/// One customer, and the store of the shard.
struct World {
    store: Arc<MemoryStore>,
    feed: Feed,
    next: i64,
}

impl World {
    fn open(store: Arc<MemoryStore>) -> Self {
        let curves = CurvesConfig { zones: ZonesKept::First, segments: BTreeMap::new() };
        let rules = Arc::new(Rules::of_one_app("acme"));
        let shard = LiveShard::open(store.clone(), 0, (rules, curves)).unwrap();
        let next = shard.next_offset().0;
        let shards = Arc::new(Shards::default());
        let shard = shards.insert(shard);
        let parts = FeedParts {
            shards,
            decoder: Decoder::new(EventCodec::new(EventFormat::Json).unwrap(), None),
            metrics: Arc::new(Metrics::new().unwrap()),
            memory_budget_bytes: 1 << 30,
        };
        Self { store, feed: Feed::new(parts, shard).unwrap(), next }
    }

    /// Takes views of a paywall, each a day after the one before, from this day on.
    fn take(&mut self, days: std::ops::Range<i64>) -> Vec<Outcome> {
        let view = |day: i64| {
            let at = BEGIN_US + day * DAY_US;
            format!(
                r#"{{"event_id":"e{day}","app_id":"acme","customer_id":"c","kind":"paywall_view",
                 "occurred_at":{at},"paywall_id":"p"}}"#
            )
        };
        self.take_all(&days.map(view).collect::<Vec<String>>())
    }

    /// The same, each in a commit of its own.
    fn commit_each(&mut self, days: std::ops::Range<i64>) {
        for day in days {
            self.take(day..day + 1);
            self.commit();
        }
    }

    fn take_all(&mut self, values: &[String]) -> Vec<Outcome> {
        let timestamp = Timestamp(BEGIN_US + 10_000 * DAY_US);
        let records: Vec<Record<'_>> = values
            .iter()
            .zip(self.next..)
            .map(|(value, offset)| {
                let value = Some(value.as_bytes());
                Record { partition: 0, offset, timestamp, key: None, value, headers: None }
            })
            .collect();
        self.next += i64::try_from(records.len()).unwrap();
        self.feed.take(&records).unwrap()
    }

    fn commit(&mut self) {
        self.feed.commit(Durability::Process).unwrap();
    }

    /// How many chunks there are in the store.
    fn chunks(&self) -> usize {
        let mut chunks = 0;
        let count = &mut |_: &[u8], _: &[u8]| {
            chunks += 1;
            Ok(())
        };
        self.store.scan(Table::History, b"", count).unwrap();
        chunks
    }

    /// The event ids of the ledger, in its order.
    fn ledger(&self) -> Vec<String> {
        let ledger = self.feed.shard().read().ledger("acme", "c").unwrap().unwrap();
        ledger.into_iter().map(|(event, _)| event.event_id.into_owned()).collect()
    }

    /// Everything is told of these days, and each event is known.
    fn assert_holds(&mut self, days: std::ops::Range<i64>) {
        let ids: Vec<String> = days.clone().map(|day| format!("e{day}")).collect();
        assert_eq!(self.ledger(), ids);
        let outcomes = self.take(days);
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Repeated), "{outcomes:?}");
    }
}

#[test]
fn a_history_of_many_commits_lies_in_few_chunks_and_says_the_same() {
    let mut world = World::open(Arc::default());
    let mut most = 0;
    for day in 0..100 {
        world.commit_each(day..day + 1);
        most = most.max(world.chunks());
    }
    assert_eq!(most, 16, "chunks before they are gathered");
    world.assert_holds(0..100);
    let mut again = World::open(world.store);
    again.assert_holds(0..100);
    let mut shard = again.feed.shard().write();
    assert_eq!(shard.audit().unwrap().differences, []);
}

#[test]
fn what_is_gathered_is_told_once_before_it_is_committed() {
    let mut world = World::open(Arc::default());
    world.commit_each(0..16);
    let customers = world.feed.shard().write().shard.take_scattered(10);
    assert_eq!(customers.len(), 1);
    world.take(16..18);
    let reader = world.feed.shard().read().reader();
    let scattered = reader.scattered(customers).unwrap();
    world.feed.shard().write().gather(&scattered).unwrap();
    world.assert_holds(0..18);
    // Nobody has more chunks than were read: the same again changes nothing.
    world.feed.shard().write().gather(&scattered).unwrap();
    world.commit();
    assert_eq!(world.chunks(), 1);
    world.assert_holds(0..18);
}

#[test]
fn a_customer_that_comes_from_the_store_in_many_chunks_is_gathered() {
    let mut world = World::open(Arc::default());
    for day in 0..10 {
        world.take(day * 2..day * 2 + 2);
        world.commit();
    }
    assert_eq!(world.chunks(), 10);
    world.commit_each(20..26);
    // Noted, and not gathered before the process ends.
    assert_eq!(world.chunks(), 16);
    let mut again = World::open(world.store);
    again.take(26..27);
    again.commit();
    assert_eq!(again.chunks(), 1);
    again.assert_holds(0..27);
}

#[test]
fn a_long_history_is_not_written_again_for_a_few_events() {
    let mut world = World::open(Arc::default());
    world.take(0..2000);
    world.commit();
    let mut chunks = Vec::new();
    for day in 2000..2034 {
        world.commit_each(day..day + 1);
        chunks.push(world.chunks());
    }
    // With 32 chunks there are fewer than 64 events for each.
    let expected: Vec<usize> = (2..=32).chain([1, 2, 3]).collect();
    assert_eq!(chunks, expected);
    world.assert_holds(0..2034);
}

#[test]
fn a_customer_that_is_forgotten_leaves_its_row_to_another_with_a_history_of_its_own() {
    let mut world = World::open(Arc::default());
    world.commit_each(0..16);
    let event = |id: &str, customer: &str, kind: &str| {
        format!(
            r#"{{"event_id":"{id}","app_id":"acme","customer_id":"{customer}","kind":"{kind}",
             "occurred_at":{BEGIN_US}}}"#
        )
    };
    // Noted for its chunks, then gone, and another one is in its place at once.
    world.take_all(&[event("f", "c", "forget"), event("d1", "d", "install")]);
    world.commit();
    assert_eq!(world.chunks(), 1);
    let shard = world.feed.shard().read();
    assert!(shard.ledger("acme", "c").unwrap().is_none());
    assert_eq!(shard.ledger("acme", "d").unwrap().unwrap().len(), 1);
}
