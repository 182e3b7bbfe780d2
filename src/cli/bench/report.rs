//! What was measured, as a table and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

/// Everything that was measured; parts that were not asked for are null.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Events preloaded into each topic.
    pub events: u64,
    pub partitions: u16,
    pub ladder: Option<Ladder>,
    pub live: Option<Live>,
}

/// CPU by stage.
#[derive(Debug, Serialize)]
pub struct Ladder {
    pub rungs: Vec<Rung>,
    pub memory: Memory,
    /// Until the state of all events can be asked, without Kafka.
    pub open_again_seconds: f64,
}

/// One rung of the ladder: CPU per event and time for all events.
#[derive(Debug, Serialize)]
pub struct Rung {
    pub stage: &'static str,
    pub cpu_micros: f64,
    pub wall_seconds: f64,
    /// Of the CPU time that the whole machine wanted meanwhile, what its host kept for others.
    pub stolen_percent: f64,
}

/// What the state takes.
#[derive(Debug, Serialize)]
pub struct Memory {
    pub customers: u64,
    pub bytes_per_customer: f64,
    pub facts: usize,
    pub bytes_per_fact: f64,
}

/// The service as a process of its own, under a steady stream of events.
#[derive(Debug, Serialize)]
pub struct Live {
    /// From start to the answer that holds all preloaded events.
    pub catch_up_seconds: f64,
    /// Of the process, after that.
    pub resident_bytes: u64,
    /// Events per second.
    pub rate_asked: u64,
    pub rate_reached: f64,
    /// From sending an event to an answer that holds it.
    pub event_to_query: Latency,
    /// From sending an event to its cohort's committed snapshot.
    pub event_to_snapshot: Latency,
    pub questions: Vec<Asked>,
    /// Sums of answers that were compared with what was sent; all were equal.
    pub sums_checked: usize,
    pub restart: Restart,
}

/// A question, asked by so many clients at a time while events flow.
#[derive(Debug, Serialize)]
pub struct Asked {
    pub question: &'static str,
    pub clients: usize,
    /// That the service held when it was first asked.
    pub facts: u64,
    /// Of the CPU time that the whole machine wanted meanwhile, what its host kept for others.
    pub stolen_percent: f64,
    #[serde(flatten)]
    pub latency: Latency,
}

/// After `kill -9`, all times from the kill.
#[derive(Debug, Serialize)]
pub struct Restart {
    /// Events in the log.
    pub events: u64,
    /// Of these written while the service stood still, before the kill.
    pub backlog: u64,
    /// The first answer; its sum is that of the input which it names.
    pub first_correct_answer_seconds: f64,
    /// When questions were answered that curves do not tell.
    pub all_answered_seconds: f64,
    /// Records that the first answer did not hold yet.
    pub behind: i64,
    /// The first answer that holds everything, with the right sum.
    pub caught_up_seconds: f64,
}

/// A sample of durations in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    pub count: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    /// Of the durations, in milliseconds; zeros for none.
    pub fn of(mut millis: Vec<f64>) -> Self {
        millis.sort_by(f64::total_cmp);
        // The smallest value that so much of the sample does not exceed.
        let at = |share: f64| {
            let rank = (millis.len() as f64 * share).ceil() as usize;
            millis.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Self { count: millis.len(), p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }
}

impl Report {
    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        if let Some(ladder) = &self.ladder {
            let _ = ladder.write(&mut text, self.events);
        }
        if let Some(live) = &self.live {
            let _ = live.write(&mut text);
        }
        text
    }
}

impl Ladder {
    fn write(&self, out: &mut String, events: u64) -> std::fmt::Result {
        writeln!(
            out,
            "{:<10}{:>16}{:>16}{:>14}{:>14}{:>11}",
            "stage", "stage µs CPU", "total µs CPU", "× consume", "wall s", "stolen %"
        )?;
        let consume = self.rungs.first().map_or(1.0, |rung| rung.cpu_micros);
        let mut before = 0.0;
        for rung in &self.rungs {
            let (stage, total) = (rung.cpu_micros - before, rung.cpu_micros);
            let Rung { stage: name, wall_seconds, stolen_percent, .. } = rung;
            let times = total / consume;
            writeln!(
                out,
                "{name:<10}{stage:>16.2}{total:>16.2}{times:>14.1}{wall_seconds:>14.1}\
                 {stolen_percent:>11.0}"
            )?;
            before = total;
        }
        writeln!(out, "per event, over {events} events; stages are differences of rungs")?;
        let Memory { customers, bytes_per_customer, facts, bytes_per_fact } = self.memory;
        writeln!(
            out,
            "{customers} customers: {bytes_per_customer:.0} bytes of memory each; {facts} facts \
             with their cohorts and dictionary: {bytes_per_fact:.0} bytes each"
        )?;
        writeln!(out, "state opened again in {:.2} s", self.open_again_seconds)
    }
}

impl Live {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\nthe service as a process: caught up in {:.1} s, {} MiB resident",
            self.catch_up_seconds,
            self.resident_bytes >> 20
        )?;
        writeln!(
            out,
            "while {:.0} events/s flow in ({} asked for):",
            self.rate_reached, self.rate_asked
        )?;
        writeln!(
            out,
            "{:<44}{:>8}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "", "count", "p50 ms", "p99 ms", "max ms", "facts", "stolen %"
        )?;
        writeln!(out, "{}", self.event_to_query.line("event to query"))?;
        writeln!(out, "{}", self.event_to_snapshot.line("event to snapshot"))?;
        for Asked { question, clients, facts, stolen_percent, latency } in &self.questions {
            let plural = if *clients == 1 { "" } else { "s" };
            let line = latency.line(&format!("{question}, {clients} client{plural}"));
            writeln!(out, "{line}{facts:>10}{stolen_percent:>10.0}")?;
        }
        let Restart {
            events,
            backlog,
            first_correct_answer_seconds,
            all_answered_seconds,
            behind,
            caught_up_seconds,
        } = self.restart;
        writeln!(
            out,
            "kill -9 with {events} events, {backlog} of them not read yet: first correct answer \
             after {first_correct_answer_seconds:.2} s, {behind} records behind; of every question \
             after {all_answered_seconds:.2} s; all of it after {caught_up_seconds:.2} s"
        )?;
        writeln!(out, "{} sums compared with what was sent: all equal", self.sums_checked)
    }
}

impl Latency {
    fn line(&self, name: &str) -> String {
        let Self { count, p50_ms, p99_ms, max_ms } = self;
        format!("{name:<44}{count:>8}{p50_ms:>10.1}{p99_ms:>10.1}{max_ms:>10.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_of_the_sample() {
        let latency = Latency::of((1..=200).rev().map(f64::from).collect());
        assert_eq!((latency.p50_ms, latency.p99_ms, latency.max_ms), (100.0, 198.0, 200.0));
        assert_eq!(Latency::of(vec![7.0]).p99_ms, 7.0);
        assert_eq!(Latency::of(Vec::new()).max_ms, 0.0);
    }
}
