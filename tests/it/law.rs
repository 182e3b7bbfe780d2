//! The law: the state is a pure function of the set of accepted events.
//!
//! Random event sets arrive in any order, any of them several times, cut into any commits, with
//! restarts at any point; the facts must be those of the slow reference, which shares no code
//! with the engine. `LAW_CASES` and `LAW_SEED` choose how many cases and where they begin.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use ltvstream::codec::json_event;
use ltvstream::codec::stored::chunk_customer;
use ltvstream::domain::cohort::Field;
use ltvstream::domain::dimensions::Dimension;
use ltvstream::domain::rules::{AppRules, RateTable, Rules, ZeroPayments};
use ltvstream::domain::time::Timestamp;
use ltvstream::engine::curves::{CurvesConfig, ZonesKept};
use ltvstream::engine::facts::FactKind;
use ltvstream::engine::shard::{CustomerKey, Shard, split_customer_key};
use ltvstream::state::{Arrival, Difference, LiveShard, Outcome, PreparedCommit, StateError};
use ltvstream::store::memory::MemoryStore;
use ltvstream::store::{Batch, Durability, Store as _, Table};
use ltvstream::stream::Record;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use crate::reference::random::{self, Options, RECORD_TIMESTAMP_US};
use crate::reference::{AppSettings, Facts, Reference, Verdict};

const CASES: u64 = 10_000;
pub const EVENTS_MAX: usize = 36;

fn rules() -> Arc<Rules> {
    rules_of(&random::apps())
}

/// The rules of apps that the reference knows too.
pub fn rules_of(apps: &[AppSettings]) -> Arc<Rules> {
    let apps = apps.iter().map(|app| {
        let mut rates = RateTable::default();
        for (day, currency, rate) in &app.rates {
            let (currency, day) = (currency.parse().unwrap(), day.parse().unwrap());
            rates.insert(currency, day, rate.parse().unwrap());
        }
        let rules = AppRules {
            id: app.id.clone(),
            reporting_currency: app.reporting_currency.parse().unwrap(),
            reporting_zones: app.zones.iter().map(|zone| zone.parse().unwrap()).collect(),
            zero_payments: match app.count_zero_payments {
                true => ZeroPayments::Count,
                false => ZeroPayments::Ignore,
            },
            rates,
        };
        (app.id.clone(), rules)
    });
    Arc::new(Rules { apps: apps.collect(), future_limit_micros: Rules::FUTURE_LIMIT_MICROS })
}

fn curves() -> CurvesConfig {
    let fields = vec![Field::Dimension(Dimension::Country), Field::Dimension(Dimension::ProductId)];
    let segments = ["plain", "world"].map(|app| (app.to_owned(), fields.clone()));
    CurvesConfig { zones: ZonesKept::All, segments: BTreeMap::from(segments) }
}

/// A log of JSON events, and the shard that reads it.
pub struct Run {
    rules: Arc<Rules>,
    store: Arc<MemoryStore>,
    pub live: LiveShard,
    pub log: Vec<String>,
    /// A commit that was begun and is not written.
    begun: Option<PreparedCommit>,
}

impl Run {
    pub fn new(log: Vec<String>) -> Self {
        Self::under(rules(), log)
    }

    fn under(rules: Arc<Rules>, log: Vec<String>) -> Self {
        let store = Arc::new(MemoryStore::default());
        let live = LiveShard::open(store.clone(), 0, (rules.clone(), curves())).unwrap();
        Self { rules, store, live, log, begun: None }
    }

    /// Takes the records of these offsets at a time.
    pub fn take(&mut self, offsets: Range<usize>) -> Vec<Outcome> {
        self.try_take(offsets).unwrap()
    }

    fn try_take(&mut self, offsets: Range<usize>) -> Result<Vec<Outcome>, StateError> {
        let arrival = |offset: usize| {
            let text = self.log[offset].as_bytes();
            let event = json_event::decode(text).unwrap_or_else(|error| {
                panic!("{error} in {}", self.log[offset]);
            });
            let record = Record {
                partition: 0,
                offset: i64::try_from(offset).unwrap(),
                timestamp: Timestamp(RECORD_TIMESTAMP_US),
                key: None,
                value: Some(text),
                headers: None,
            };
            Arrival { record, decoded: Ok(event) }
        };
        let arrivals: Vec<_> = offsets.map(arrival).collect();
        self.live.apply(&arrivals)
    }

    pub fn commit(&mut self) {
        self.end_commit();
        self.live.commit(Durability::Process).unwrap();
    }

    /// Begins a commit after the one before; what comes next is taken while it is written.
    fn begin_commit(&mut self) {
        self.end_commit();
        self.begun = Some(self.live.prepare_commit());
    }

    /// Writes the commit that was begun, if one was, of which the shard is not told yet.
    fn write_commit(&mut self) {
        if let Some(begun) = self.begun.take() {
            begun.write(Durability::Process).unwrap();
        }
    }

    fn end_commit(&mut self) {
        self.write_commit();
        self.live.committed();
    }

    /// Lets the histories of all customers in memory be gathered.
    fn gather(&mut self) {
        let mut customers = BTreeSet::new();
        let note = &mut |key: &[u8], _: &[u8]| {
            customers.insert(CustomerKey::from(chunk_customer(key)));
            Ok(())
        };
        self.store.scan(Table::History, b"", note).unwrap();
        let reader = self.live.reader();
        let scattered = reader.scattered(customers.into_iter().collect()).unwrap();
        self.live.gather(&scattered).unwrap();
    }

    /// Loses everything that was not committed; returns where reading goes on.
    pub fn crash(&mut self) -> usize {
        self.begun = None;
        self.live = LiveShard::open(self.store.clone(), 0, (self.rules.clone(), curves())).unwrap();
        usize::try_from(self.live.position.next_offset).unwrap()
    }

    fn facts(&self) -> Facts {
        facts_of(&self.live)
    }

    fn suspended(&self) -> BTreeMap<(String, String, String), &'static str> {
        let shard = &self.live.shard;
        let mut suspended = BTreeMap::new();
        for (key, events) in shard.suspended().lists() {
            let (app, customer) = split_customer_key(key).unwrap();
            for (event_id, reason) in events {
                let app = shard.dictionary.app_id(app).to_owned();
                let event = (app, customer.to_owned(), event_id.to_string());
                suspended.insert(event, reason.name());
            }
        }
        suspended
    }
}

fn facts_of(live: &LiveShard) -> Facts {
    let facts = live.shard.facts.iter().map(|fact| {
        let sums = fact.sums;
        let sums = (sums.count, sums.gross, sums.proceeds, sums.net);
        (live.shard.describe(&fact.key), sums)
    });
    facts.collect()
}

fn reference_of(log: &[String]) -> Reference {
    let mut reference = Reference::new(&random::apps());
    for event in log {
        reference.offer(event, RECORD_TIMESTAMP_US);
    }
    reference
}

/// The set in another order, with some events repeated.
pub fn shuffled(events: &[String], rng: &mut ChaCha8Rng) -> Vec<String> {
    let mut log = events.to_vec();
    for event in events {
        if rng.random_ratio(1, 5) {
            log.push(event.clone());
        }
    }
    log.shuffle(rng);
    log
}

fn difference(engine: &Facts, reference: &Facts) -> String {
    let mut lines = Vec::new();
    for (key, sums) in engine {
        if reference.get(key) != Some(sums) {
            lines.push(format!("  engine    {key} {sums:?}"));
        }
    }
    for (key, sums) in reference {
        if engine.get(key) != Some(sums) {
            lines.push(format!("  reference {key} {sums:?}"));
        }
    }
    lines.join("\n")
}

pub fn seeds() -> impl Iterator<Item = u64> {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = read("LAW_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    first..first + read("LAW_CASES").unwrap_or(CASES)
}

/// Reads the log with commits and crashes wherever the seed says.
fn read_with_crashes(run: &mut Run, rng: &mut ChaCha8Rng) {
    let mut offset = 0;
    let mut crashes = rng.random_range(0..4);
    while offset < run.log.len() {
        let next = run.log.len().min(offset + rng.random_range(1..=4));
        run.take(offset..next);
        offset = next;
        match rng.random_range(0..12) {
            0 => run.commit(),
            1 => run.begin_commit(),
            2 => run.write_commit(),
            3 => run.end_commit(),
            _ => (),
        }
        if crashes > 0 && rng.random_ratio(1, 12) {
            crashes -= 1;
            offset = run.crash();
        }
        if rng.random_ratio(1, 10) {
            run.live.shard.evict(0, 0);
        }
        if rng.random_ratio(1, 5) {
            run.gather();
        }
    }
    run.commit();
}

#[test]
fn any_order_repetition_cut_and_restart_gives_the_facts_of_the_reference() {
    for seed in seeds() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = rng.random_range(0..=EVENTS_MAX);
        let events = random::events_of(seed, count, Options::default());
        let reference = reference_of(&events);
        let mut run = Run::new(shuffled(&events, &mut rng));
        read_with_crashes(&mut run, &mut rng);
        let (engine, expected) = (run.facts(), reference.facts());
        assert!(
            engine == expected,
            "LAW_SEED={seed} LAW_CASES=1\n{}\n{}",
            difference(&engine, &expected),
            run.log.join("\n")
        );
        assert_eq!(run.suspended(), reference.suspended(), "LAW_SEED={seed}");
        run.crash();
        assert!(run.facts() == expected, "LAW_SEED={seed}: other facts after a restart");
        let audit = run.live.audit().unwrap();
        assert_eq!(audit.differences, [], "LAW_SEED={seed}");
    }
}

#[test]
fn conflicts_and_forgotten_customers_follow_the_log() {
    for seed in seeds().take(2_000) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let options = Options { conflicts: true, forgets: true };
        let events = random::events_of(seed, rng.random_range(0..=EVENTS_MAX), options);
        let mut reference = Reference::new(&random::apps());
        let mut run = Run::new(events.clone());
        let mut taken = 0;
        while taken < events.len() {
            let next = events.len().min(taken + rng.random_range(1..=4));
            let outcomes = run.take(taken..next);
            for ((offset, event), outcome) in (taken..).zip(&events[taken..next]).zip(&outcomes) {
                let verdict = match reference.offer(event, RECORD_TIMESTAMP_US) {
                    Verdict::Accepted => "accepted",
                    Verdict::Repeated => "repeated",
                    Verdict::Refused(code) => code,
                };
                let got = match outcome {
                    Outcome::Accepted { .. } => "accepted",
                    Outcome::Repeated => "repeated",
                    Outcome::Refused(refused) => &refused.code,
                    Outcome::Known => "known",
                };
                assert_eq!(got, verdict, "LAW_SEED={seed} offset {offset}\n{}", events.join("\n"));
            }
            taken = next;
            match rng.random_range(0..10) {
                0 => run.commit(),
                1 => run.begin_commit(),
                2 => run.write_commit(),
                _ => (),
            }
            if rng.random_ratio(1, 8) && !run.live.is_dirty() && run.begun.is_none() {
                run.crash();
            }
        }
        let (engine, expected) = (run.facts(), reference.facts());
        let found = difference(&engine, &expected);
        assert!(engine == expected, "LAW_SEED={seed}\n{found}\n{}", events.join("\n"));
        run.commit();
        assert_eq!(run.live.audit().unwrap().differences, [], "LAW_SEED={seed}");
    }
}

#[test]
fn an_audit_finds_what_does_not_follow_from_the_ledgers() {
    let events = random::events_of(7, EVENTS_MAX, Options::default());
    let mut run = Run::new(events);
    run.take(0..run.log.len());
    run.commit();
    let planted = run.live.shard.facts.iter().next().unwrap();
    let Shard { facts, curves, dictionary, .. } = &mut run.live.shard;
    facts.add(planted.key, planted.sums);
    curves.add(&planted.key, planted.sums, dictionary);
    let audit = run.live.audit().unwrap();
    let [Difference::Fact { key, live, recomputed, .. }] = &audit.differences[..] else {
        panic!("one difference was planted, found {:?}", audit.differences);
    };
    assert_eq!((*key, *recomputed), (planted.key, planted.sums));
    assert_eq!(live.count, 2 * planted.sums.count);
}

#[test]
fn an_audit_finds_cohorts_that_are_not_what_the_facts_add_up_to() {
    let mut run = Run::new(random::events_of(7, EVENTS_MAX, Options::default()));
    run.take(0..run.log.len());
    run.commit();
    let Shard { facts, curves, dictionary, .. } = &mut run.live.shard;
    let payment = facts.iter().find(|fact| fact.key.kind == FactKind::Payment).unwrap();
    curves.add(&payment.key, payment.sums, dictionary);
    let differences = run.live.audit().unwrap().differences;
    assert!(!differences.is_empty());
    for difference in differences {
        let Difference::Cohort { live, recomputed, .. } = difference else {
            panic!("only cohorts were changed, found {difference}");
        };
        assert_eq!(live.sums.count, recomputed.sums.count + payment.sums.count);
    }
}

/// Other zones and another word on zero payments for app `plain`.
fn changed_for_plain() -> Rules {
    let mut changed = (*rules()).clone();
    let plain = changed.apps.get_mut("plain").unwrap();
    plain.reporting_zones = vec!["Asia/Tokyo".parse().unwrap(), "UTC".parse().unwrap()];
    plain.zero_payments = ZeroPayments::Count;
    changed
}

#[test]
fn changed_rules_are_refused_and_a_rebuild_gives_the_figures_of_a_fresh_start() {
    let mut changed = changed_for_plain();
    let world = changed.apps.get_mut("world").unwrap();
    world.rates.insert(
        "USD".parse().unwrap(),
        "2024-05-01".parse().unwrap(),
        "0.75".parse().unwrap(),
    );
    let changed = Arc::new(changed);
    for seed in seeds().take(200) {
        let events = random::events_of(seed, EVENTS_MAX, Options::default());
        let mut old = Run::new(events.clone());
        let mut fresh = Run::under(Arc::clone(&changed), events.clone());
        for run in [&mut old, &mut fresh] {
            for from in (0..events.len()).step_by(7) {
                run.take(from..events.len().min(from + 7));
                run.commit();
            }
        }
        let reopen = |store: &Arc<MemoryStore>| {
            LiveShard::open(store.clone(), 0, (Arc::clone(&changed), curves()))
        };
        let Err(refused) = reopen(&old.store) else {
            panic!("other rules must be refused");
        };
        assert!(refused.to_string().contains("+ zero_payments = count"), "{refused}");
        ltvstream::state::rebuild(&*old.store, &changed).unwrap();
        let mut rebuilt = reopen(&old.store).unwrap();
        let (rebuilt_facts, expected) = (facts_of(&rebuilt), fresh.facts());
        let found = difference(&rebuilt_facts, &expected);
        assert!(rebuilt_facts == expected, "LAW_SEED={seed}\n{found}");
        assert_eq!(rebuilt.position.log_epoch, 1);
        assert_eq!(rebuilt.audit().unwrap().differences, []);
    }
}

#[test]
fn a_rebuild_leaves_apps_alone_that_are_not_configured_then() {
    let changed = changed_for_plain();
    let mut without_world = changed.clone();
    assert!(without_world.apps.remove("world").is_some());
    let changed = Arc::new(changed);
    for seed in seeds().take(100) {
        let events = random::events_of(seed, EVENTS_MAX, Options::default());
        let mut old = Run::new(events.clone());
        let mut fresh = Run::under(Arc::clone(&changed), events.clone());
        for run in [&mut old, &mut fresh] {
            run.take(0..events.len());
            run.commit();
        }
        ltvstream::state::rebuild(&*old.store, &without_world).unwrap();
        // The app comes back with the rules that it had.
        let settings = (Arc::clone(&changed), curves());
        let mut rebuilt = LiveShard::open(old.store.clone(), 0, settings).unwrap();
        let (rebuilt_facts, expected) = (facts_of(&rebuilt), fresh.facts());
        let found = difference(&rebuilt_facts, &expected);
        assert!(rebuilt_facts == expected, "LAW_SEED={seed}\n{found}");
        assert_eq!(rebuilt.audit().unwrap().differences, []);
    }
}

#[test]
fn a_history_that_lacks_a_commit_is_refused_when_it_is_read() {
    const COMMITS: usize = 7;
    let install = |event: usize| {
        format!(
            r#"{{"event_id":"e{event}","app_id":"plain","customer_id":"c","kind":"install","occurred_at":"2024-05-0{}T00:00:00Z"}}"#,
            event + 1
        )
    };
    let log: Vec<String> = (0..=COMMITS).map(install).collect();
    for lost in 0..COMMITS - 1 {
        let mut run = Run::new(log.clone());
        for event in 0..COMMITS {
            run.take(event..event + 1);
            run.commit();
        }
        let mut keys = Vec::new();
        run.store
            .scan(Table::History, &[], &mut |key, _| {
                keys.push(key.to_vec());
                Ok(())
            })
            .unwrap();
        assert_eq!(keys.len(), COMMITS);
        let mut batch = Batch::default();
        batch.delete(Table::History, &keys[lost]);
        run.store.commit(batch, Durability::Process).unwrap();
        assert_eq!(run.crash(), COMMITS);
        let refused = run.live.audit().unwrap_err().to_string();
        assert!(refused.contains("chunk missing"), "without commit {lost}: {refused}");
        let refused =
            ltvstream::state::rebuild(&*run.store, run.live.rules()).unwrap_err().to_string();
        assert!(refused.contains("chunk missing"), "without commit {lost}: {refused}");
        let refused = run.try_take(COMMITS..COMMITS + 1).unwrap_err().to_string();
        assert!(refused.contains("chunk missing"), "without commit {lost}: {refused}");
    }
}
