//! The job of the peers as it is often written first: for every event one read of the customer,
//! one write, and a write of every sum that it changes, each in RocksDB.
//!
//! Started by `benches/peers/run`; see `benches/peers/README.md`.

mod job;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{Days, NaiveDate};
use clap::Parser;
use ltvstream::codec::envelope::EventFormat;
use ltvstream::codec::event_codec::EventCodec;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use rocksdb::{BlockBasedOptions, Cache, DB, Direction, IteratorMode, Options, WriteBatch};

use job::{Change, Customer, Sums};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
const BLOCK_CACHE_BYTES: usize = 1 << 30;
const WRITE_BUFFER_BYTES: usize = 128 << 20;

/// Rows: a table's letter, and what tells its rows apart.
const CUSTOMER: u8 = b'c';
const COHORT: u8 = b'n';
const SUMS: u8 = b's';
const NEXT_OFFSET: &[u8] = b"o";

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long)]
    bootstrap_servers: String,
    #[arg(long)]
    input: String,
    #[arg(long)]
    output: String,
    #[arg(long)]
    group: String,
    #[arg(long)]
    events: i64,
    #[arg(long)]
    data_dir: PathBuf,
}

fn main() -> anyhow::Result<()> {
    // `cargo bench` runs every benchmark; this one needs a topic.
    if std::env::args().all(|argument| argument != "--input") {
        println!("started by benches/peers/run only");
        return Ok(());
    }
    let arguments = Arguments::parse();
    Peer::open(&arguments)?.run()
}

/// Day or age in bytes that sort as the numbers do.
fn sorted(number: i32) -> [u8; 4] {
    (number.cast_unsigned() ^ 1 << 31).to_be_bytes()
}

fn number(bytes: &[u8]) -> anyhow::Result<i32> {
    let bytes = bytes.try_into().context("not a day or an age")?;
    Ok((u32::from_be_bytes(bytes) ^ 1 << 31).cast_signed())
}

fn sums_key(cohort: i32, age: i32) -> Vec<u8> {
    [&[SUMS][..], &sorted(cohort), &sorted(age)].concat()
}

fn cohort_key(cohort: i32) -> Vec<u8> {
    [&[COHORT][..], &sorted(cohort)].concat()
}

struct Peer {
    events: i64,
    output: String,
    codec: EventCodec,
    db: DB,
    consumer: BaseConsumer,
    producer: ThreadedProducer<DefaultProducerContext>,
    next_offset: i64,
    /// Cohorts to publish.
    changed: BTreeSet<i32>,
}

impl Peer {
    fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
        blocks.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_block_based_table_factory(&blocks);
        let db = DB::open(&options, &arguments.data_dir)?;
        let next_offset = match db.get(NEXT_OFFSET)? {
            Some(bytes) => postcard::from_bytes(&bytes)?,
            None => 0,
        };
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &arguments.bootstrap_servers);
        let consumer: BaseConsumer = client
            .clone()
            .set("group.id", &arguments.group)
            .set("enable.auto.commit", "false")
            .set("queued.max.messages.kbytes", "65536")
            .create()?;
        let mut input = TopicPartitionList::new();
        input.add_partition_offset(&arguments.input, 0, Offset::Offset(next_offset))?;
        consumer.assign(&input)?;
        let producer = client
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "50")
            .create()?;
        let mut peer = Self {
            events: arguments.events,
            output: arguments.output.clone(),
            codec: EventCodec::new(EventFormat::AvroSingleObject)?,
            db,
            consumer,
            producer,
            next_offset,
            changed: BTreeSet::new(),
        };
        // Which of them were published before a crash is not known.
        for row in peer.db.iterator(IteratorMode::From(&[COHORT], Direction::Forward)) {
            let (key, _) = row?;
            let Some(day) = key.strip_prefix(&[COHORT]) else { break };
            peer.changed.insert(number(day)?);
        }
        Ok(peer)
    }

    fn run(mut self) -> anyhow::Result<()> {
        println!("ready");
        let mut published_at = Instant::now();
        while self.next_offset < self.events {
            if let Some(message) = self.consumer.poll(Duration::from_millis(100)) {
                let message = message?.detach();
                self.take(message.offset(), message.payload())?;
            }
            if published_at.elapsed() >= PUBLISH_INTERVAL {
                self.publish()?;
                published_at = Instant::now();
            }
        }
        self.publish()?;
        self.producer.flush(Duration::from_secs(60))?;
        println!("done");
        Ok(())
    }

    fn take(&mut self, offset: i64, value: Option<&[u8]>) -> anyhow::Result<()> {
        let event = self.codec.decode(value).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let mut batch = WriteBatch::default();
        let key = [&[CUSTOMER], event.customer_id.as_bytes()].concat();
        let stored = self.db.get(&key)?;
        let mut customer = match &stored {
            Some(bytes) => postcard::from_bytes(bytes)?,
            None => Customer::default(),
        };
        if let Some(changes) = customer.take(&event) {
            batch.put(key, postcard::to_stdvec(&customer)?);
            self.change(&changes, &mut batch)?;
        }
        self.next_offset = offset + 1;
        batch.put(NEXT_OFFSET, postcard::to_stdvec(&self.next_offset)?);
        Ok(self.db.write(batch)?)
    }

    fn change(&mut self, changes: &[Change], batch: &mut WriteBatch) -> anyhow::Result<()> {
        let (mut customers, mut rows) = (BTreeMap::new(), BTreeMap::new());
        for change in changes {
            match *change {
                Change::Customer { cohort, by } => *customers.entry(cohort).or_insert(0) += by,
                Change::Sums { cohort, age, sums } => {
                    add(rows.entry((cohort, age)).or_default(), sums);
                }
            }
        }
        // What goes and comes back is no change.
        for ((cohort, age), change) in rows.into_iter().filter(|(_, sums)| *sums != [0; 7]) {
            let key = sums_key(cohort, age);
            let mut sums: Sums = match self.db.get(&key)? {
                Some(bytes) => postcard::from_bytes(&bytes)?,
                None => Sums::default(),
            };
            add(&mut sums, change);
            batch.put(key, postcard::to_stdvec(&sums)?);
            self.changed.insert(cohort);
        }
        for (cohort, change) in customers.into_iter().filter(|(_, by)| *by != 0) {
            let count = self.customers(cohort)? + change;
            batch.put(cohort_key(cohort), postcard::to_stdvec(&count)?);
            self.changed.insert(cohort);
        }
        Ok(())
    }

    fn customers(&self, cohort: i32) -> anyhow::Result<i64> {
        Ok(match self.db.get(cohort_key(cohort))? {
            Some(bytes) => postcard::from_bytes(&bytes)?,
            None => 0,
        })
    }

    /// Publishes the cohorts that changed.
    fn publish(&mut self) -> anyhow::Result<()> {
        for cohort in std::mem::take(&mut self.changed) {
            let first_day = NaiveDate::default();
            let days = Days::new(u64::try_from(cohort).context("a cohort before 1970")?);
            let key = (first_day + days).to_string();
            let value = self.output_value(cohort)?;
            let record = BaseRecord::to(&self.output).key(&key).payload(&value);
            self.producer.send(record).map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    fn output_value(&self, cohort: i32) -> anyhow::Result<String> {
        let prefix = [&[SUMS][..], &sorted(cohort)].concat();
        let mut ages: Vec<Vec<i64>> = Vec::new();
        for row in self.db.iterator(IteratorMode::From(&prefix, Direction::Forward)) {
            let (key, value) = row?;
            let Some(age) = key.strip_prefix(&prefix[..]) else { break };
            let sums: Sums = postcard::from_bytes(&value)?;
            if sums != [0; 7] {
                ages.push([i64::from(number(age)?)].into_iter().chain(sums).collect());
            }
        }
        let customers = self.customers(cohort)?;
        Ok(serde_json::json!({ "customers": customers, "ages": ages }).to_string())
    }
}

fn add(sums: &mut Sums, change: Sums) {
    for (sum, by) in sums.iter_mut().zip(change) {
        *sum += by;
    }
}
