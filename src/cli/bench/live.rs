//! The service as users meet it: a process that answers over HTTP while events flow in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;

use crate::cli::client::Client;
use crate::codec::envelope::{open_registry, open_single_object};
use crate::codec::snapshot;
use crate::codec::snapshot_key::SnapshotKey;
use crate::config::AppSettings;
use crate::domain::cohort::Anchor;
use crate::generator::GeneratorSettings;
use crate::kafka::{Followed, KafkaSettings, Tail};

use super::child::{Served, Start, Sum, parse_sum};
use super::cpu::MachineCpu;
use super::feeder::{Feeder, Probe};
use super::questions::{self, About, Asker, QUESTIONS, Question};
use super::report::{Asked, Latency, Live, Restart};

/// Probes are sent for so many times the time that a question is asked: each takes long.
pub const PROBE_TIMES: u32 = 4;
/// Pause between two probes.
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// How long the snapshot of the last probe may take.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(30);

/// What to measure.
pub struct Plan {
    pub events: u64,
    /// Events per second.
    pub rate: u64,
    /// How long each question is asked.
    pub each: Duration,
    pub backlog: u64,
}

/// What the phases share.
struct Running<'a> {
    feeder: &'a Feeder,
    /// Known to the service.
    customers: Vec<String>,
    client: &'a Client,
    about: About,
    app: &'a AppSettings,
    each: Duration,
    /// Sums of answers, compared once everything sent is known to be in the log.
    sums: &'a Mutex<Vec<Sum>>,
}

/// Measures the service under events of `feeder`, whose topic is empty.
pub fn measure(
    plan: &Plan,
    feeder: &Feeder,
    start: &Start,
    (app, generated): (&AppSettings, &GeneratorSettings),
) -> anyhow::Result<Live> {
    feeder.feed(plan.events)?;
    feeder.settle()?;
    let begun_at = Instant::now();
    let mut served = start.serve()?;
    let sum = served.caught_up(&feeder.ends())?;
    let catch_up_seconds = begun_at.elapsed().as_secs_f64();
    let resident_bytes = served.resident_bytes()?;
    let about = About::new(served.url.clone(), start.secret.clone(), generated);
    // Of those sent from now on the service may not know yet.
    let customers = feeder.customers();
    let sums = Mutex::new(vec![sum]);
    let (client, each) = (&served.client, plan.each);
    let running = Running { feeder, customers, client, about, app, each, sums: &sums };
    let stop = AtomicBool::new(false);
    let (rate_reached, asked) = std::thread::scope(|scope| {
        let fed = scope.spawn(|| feeder.feed_at(plan.rate, &stop));
        let asked = running.under_load(&start.kafka);
        stop.store(true, Ordering::Relaxed);
        (fed.join(), asked)
    });
    let rate_reached = rate_reached.map_err(|_| anyhow::anyhow!("the feeder panicked"))??;
    let (event_to_query, event_to_snapshot, questions) = asked?;
    feeder.settle()?;
    let sum = served.caught_up(&feeder.ends())?;
    let mut sums = sums.into_inner();
    sums.push(sum);
    let (restart, answers) = kill_and_restart(plan, feeder, start, served)?;
    sums.extend(answers);
    for sum in &sums {
        check(feeder, sum)?;
    }
    Ok(Live {
        catch_up_seconds,
        resident_bytes,
        rate_asked: plan.rate,
        rate_reached,
        event_to_query,
        event_to_snapshot,
        questions,
        sums_checked: sums.len(),
        restart,
    })
}

fn check(feeder: &Feeder, sum: &Sum) -> anyhow::Result<()> {
    let expected = feeder.revenue_as_of(&sum.as_of);
    anyhow::ensure!(
        sum.revenue_micros == expected,
        "an answer as of {:?} says {} micros, but {expected} were sent",
        sum.as_of,
        sum.revenue_micros
    );
    Ok(())
}

/// Kills the service with a backlog before it and starts it again.
fn kill_and_restart(
    plan: &Plan,
    feeder: &Feeder,
    start: &Start,
    served: Served,
) -> anyhow::Result<(Restart, [Sum; 2])> {
    served.freeze()?;
    feeder.feed(plan.backlog)?;
    feeder.settle()?;
    let ends = feeder.ends();
    let killed_at = served.kill()?;
    let mut served = start.serve()?;
    let first = served.wait_for(|sum| sum.as_of.len() == ends.len())?;
    let first_correct_answer_seconds = killed_at.elapsed().as_secs_f64();
    served.facts_read()?;
    let all_answered_seconds = killed_at.elapsed().as_secs_f64();
    let last = served.caught_up(&ends)?;
    let caught_up_seconds = killed_at.elapsed().as_secs_f64();
    let behind = ends.iter().map(|(partition, end)| end - first.as_of.get(partition).unwrap_or(&0));
    let restart = Restart {
        events: feeder.sent(),
        backlog: plan.backlog,
        first_correct_answer_seconds,
        all_answered_seconds,
        behind: behind.sum(),
        caught_up_seconds,
    };
    Ok((restart, [first, last]))
}

impl Running<'_> {
    fn under_load(&self, kafka: &KafkaSettings) -> anyhow::Result<(Latency, Latency, Vec<Asked>)> {
        let (event_to_query, event_to_snapshot) = self.freshness(kafka)?;
        let mut questions = Vec::new();
        for question in QUESTIONS {
            for clients in question.clients.iter().copied() {
                let (facts, machine) = (self.facts()?, MachineCpu::now()?);
                let latency = self.ask(&question, clients)?;
                let stolen_percent = MachineCpu::now()?.stolen_percent_since(machine);
                let question = question.name;
                questions.push(Asked { question, clients, facts, stolen_percent, latency });
            }
        }
        Ok((event_to_query, event_to_snapshot, questions))
    }

    /// Sends probes and waits until questions and snapshots know of them.
    fn freshness(&self, kafka: &KafkaSettings) -> anyhow::Result<(Latency, Latency)> {
        let tail = Tail::new(kafka, &kafka.snapshots_topic)?;
        let (snapshots, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let (probes, seen) = std::thread::scope(|scope| {
            let followed = scope.spawn(|| self.follow(&tail, &snapshots, &is_over));
            let probes = self.probe();
            if let Some((last, _)) = probes.as_ref().ok().and_then(|probes| probes.last()) {
                self.await_snapshot(last, &snapshots);
            }
            is_over.store(true, Ordering::Relaxed);
            (probes, followed.join())
        });
        seen.map_err(|_| anyhow::anyhow!("the reader of snapshots panicked"))??;
        let probes = probes?;
        let snapshots = snapshots.into_inner();
        let mut published = Vec::with_capacity(probes.len());
        for (probe, _) in &probes {
            let of_probe = snapshots.iter().find(|snapshot| self.contains(snapshot, probe));
            let seen_at = of_probe.context("a probe's snapshot never came")?.seen_at;
            published.push(millis(seen_at - probe.sent_at));
        }
        let answered = probes.into_iter().map(|(_, answered)| answered).collect();
        Ok((Latency::of(answered), Latency::of(published)))
    }

    fn probe(&self) -> anyhow::Result<Vec<(Probe, f64)>> {
        let path = format!("/v1/apps/{}/ltv", self.app.id);
        let (begun_at, mut probes) = (Instant::now(), Vec::new());
        while begun_at.elapsed() < self.each * PROBE_TIMES {
            let probe = self.feeder.probe()?;
            let min_as_of = format!("{}:{}", probe.partition, probe.next.0);
            let body = self.client.get(&path, &[("min_as_of".to_owned(), min_as_of)])?;
            probes.push((probe, millis(probe.sent_at.elapsed())));
            self.keep_sum(&body)?;
            std::thread::sleep(PROBE_EVERY);
        }
        Ok(probes)
    }

    fn follow(
        &self,
        tail: &Tail,
        snapshots: &Mutex<Vec<Seen>>,
        is_over: &AtomicBool,
    ) -> anyhow::Result<()> {
        let width = self.app.snapshot_widths.first().context("no snapshots are published")?;
        let prefix = format!("{}|{}|{}|", self.app.id, Anchor::FirstPurchase.name(), width.name());
        while !is_over.load(Ordering::Relaxed) {
            let Some(Followed { key, value }) = tail.poll(PROBE_EVERY)? else { continue };
            let seen_at = Instant::now();
            let key = String::from_utf8_lossy(&key);
            if !key.starts_with(&prefix) || !key.ends_with('|') {
                continue;
            }
            let registered = open_registry(&value).map(|(_, datum)| datum);
            let datum =
                registered.or_else(|_| open_single_object(&value).map(|(_, datum)| datum))?;
            let next = snapshot::decode(datum)?.version.next_offsets;
            let seen = Seen { seen_at, key: key.parse()?, next };
            snapshots.lock().push(seen);
        }
        Ok(())
    }

    fn await_snapshot(&self, probe: &Probe, snapshots: &Mutex<Vec<Seen>>) {
        let asked_at = Instant::now();
        while asked_at.elapsed() < SNAPSHOT_PATIENCE {
            let snapshots = snapshots.lock();
            if snapshots.iter().any(|snapshot| self.contains(snapshot, probe)) {
                return;
            }
            drop(snapshots);
            std::thread::sleep(PROBE_EVERY);
        }
    }

    /// Whether the snapshot is of the probe's cohort and holds the probe.
    fn contains(&self, snapshot: &Seen, probe: &Probe) -> bool {
        let day = self.feeder.rules().reporting_zones[0].day(probe.occurred_at);
        let next = snapshot.next.get(&probe.partition).copied().unwrap_or(0);
        snapshot.key.cohort_start == snapshot.key.width.start(day) && next >= probe.next.0
    }

    /// Facts that the service holds, as it last counted them.
    fn facts(&self) -> anyhow::Result<u64> {
        let metrics = self.client.get("/metrics", &[])?;
        let count = metrics.lines().find_map(|line| line.strip_prefix("ltvstream_facts "));
        Ok(count.context("the service does not count its facts")?.parse()?)
    }

    /// Asks one question over and over, by several clients at a time.
    fn ask(&self, question: &Question, clients: usize) -> anyhow::Result<Latency> {
        let customers = &self.customers;
        let each_client = &|number: usize| -> anyhow::Result<Vec<f64>> {
            let asker = Asker::new(&self.about);
            let (begun_at, mut taken) = (Instant::now(), Vec::new());
            while begun_at.elapsed() < self.each {
                let customer = &customers[(number + taken.len() * clients) % customers.len()];
                let asked_at = Instant::now();
                let body = asker.ask(question, customer)?;
                taken.push(millis(asked_at.elapsed()));
                if question.name == questions::DEFAULT.name {
                    self.keep_sum(&body)?;
                }
            }
            Ok(taken)
        };
        let all = std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..clients).map(|number| scope.spawn(move || each_client(number))).collect();
            clients.into_iter().map(|client| client.join()).collect::<Vec<_>>()
        });
        let mut taken = Vec::new();
        for client in all {
            taken.extend(client.map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        Ok(Latency::of(taken))
    }

    fn keep_sum(&self, body: &str) -> anyhow::Result<()> {
        let sum = parse_sum(body).context("an answer without sums")?;
        self.sums.lock().push(sum);
        Ok(())
    }
}

/// A snapshot of a whole cohort, and when a reader had it.
struct Seen {
    seen_at: Instant,
    key: SnapshotKey,
    next: BTreeMap<i32, i64>,
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
