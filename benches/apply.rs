//! What one event costs on its way into memory and into a commit, without Kafka: CPU time of the
//! process per event, by stage, over a generated business.
//!
//! Not criterion: a shard grows with every event, so the same work can't be done again and again.

use std::collections::BTreeMap;
use std::sync::Arc;

use ltvstream::cli::bench::process_cpu;
use ltvstream::codec::envelope::EventFormat;
use ltvstream::codec::event_codec::{EventCodec, EventEncoding, encode_event};
use ltvstream::domain::event::BillingEvent;
use ltvstream::domain::rules::Rules;
use ltvstream::domain::time::Timestamp;
use ltvstream::engine::curves::{CurvesConfig, ZonesKept};
use ltvstream::generator::{Generator, GeneratorSettings};
use ltvstream::pipeline::decode::Decoder;
use ltvstream::state::{Arrival, LiveShard};
use ltvstream::store::rocks::{RocksSettings, RocksShared, RocksStore};
use ltvstream::store::{Durability, Store};
use ltvstream::stream::Record;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const COMMIT_EVENTS: usize = 200_000;
const RECORDS_AT_A_TIME: usize = 32;

fn measured(events: usize, name: &str, work: impl FnOnce()) {
    let begun = process_cpu().expect("Linux");
    work();
    let micros = (process_cpu().expect("Linux") - begun).as_secs_f64() * 1e6 / events as f64;
    println!("{name:<30}{micros:>8.2} µs CPU per event");
}

fn messages(events: usize) -> Vec<(Timestamp, Vec<u8>)> {
    let settings = GeneratorSettings {
        app_id: "acme".to_owned(),
        customers: u32::try_from(events / 4).expect("few enough"),
        open_ended: true,
        ..GeneratorSettings::default()
    };
    let encoding = EventEncoding::SINGLE_OBJECT;
    let encoded = |event: BillingEvent<'static>| {
        let mut bytes = Vec::new();
        encode_event(&event, encoding, &mut bytes);
        (event.occurred_at, bytes)
    };
    Generator::new(&settings).expect("settings").take(events).map(encoded).collect()
}

fn shard(store: Arc<dyn Store>) -> LiveShard {
    let curves = CurvesConfig { zones: ZonesKept::First, segments: BTreeMap::new() };
    LiveShard::open(store, 0, (Arc::new(Rules::of_one_app("acme")), curves))
        .expect("an empty store opens")
}

fn main() {
    // `cargo bench --bench apply -- 4700000`: as many events, of a million customers.
    let events = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let messages = messages(events);
    let dir = tempfile::tempdir().expect("temporary directory");
    let settings = RocksSettings {
        shared: RocksShared::new(256 << 20, 256 << 20),
        durability: Durability::Process,
    };
    let store: Arc<dyn Store> = Arc::new(RocksStore::open(dir.path(), &settings).expect("store"));
    let codec = EventCodec::new(EventFormat::AvroSingleObject).expect("codec");
    let mut decoder = Decoder::new(codec, None);
    measured(events, "decode", || {
        for (_, message) in &messages {
            let decoded = decoder.decode(Some(message)).expect("no registry");
            assert!(decoded.is_ok(), "generated events are good");
        }
    });
    let mut apply = |shard: &mut LiveShard, first: usize, messages: &[(Timestamp, Vec<u8>)]| {
        let mut offsets = first as i64..;
        for messages in messages.chunks(RECORDS_AT_A_TIME) {
            let mut arrivals: Vec<_> = (&mut offsets)
                .zip(messages)
                .map(|(offset, (timestamp, message))| {
                    Arrival::vacant(Record {
                        partition: 0,
                        offset,
                        timestamp: *timestamp,
                        key: None,
                        value: Some(message),
                        headers: None,
                    })
                })
                .collect();
            for Arrival { record, decoded } in &mut arrivals {
                decoder.decode_into(record.value, decoded).expect("no registry");
            }
            shard.apply(&arrivals).expect("store");
        }
    };
    let mut in_memory = shard(Arc::new(ltvstream::store::memory::MemoryStore::default()));
    measured(events, "decode, apply", || apply(&mut in_memory, 0, &messages));
    let inner = &in_memory.shard;
    println!(
        "{} customers of {} bytes, {} facts of {} bytes with curves and dictionary",
        inner.customer_count(),
        inner.customer_memory_bytes() / usize::try_from(inner.customer_count()).unwrap_or(1),
        inner.facts.len(),
        inner.fixed_memory_bytes() / inner.facts.len(),
    );
    drop(in_memory);
    let mut live = shard(Arc::clone(&store));
    measured(events, "decode, apply, commit", || {
        for (number, messages) in messages.chunks(COMMIT_EVENTS).enumerate() {
            apply(&mut live, number * COMMIT_EVENTS, messages);
            live.commit(Durability::Process).expect("store");
        }
    });
    drop(live);
    measured(events, "open again", || drop(shard(store)));
}
