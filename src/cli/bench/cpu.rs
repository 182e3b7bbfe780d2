//! CPU time of this process, and what the host of a virtual machine kept for others.

use std::time::Duration;

use anyhow::Context as _;

/// CPU time of this process so far, all threads, user and system; in steps of 10 ms.
pub fn process_cpu() -> anyhow::Result<Duration> {
    // Clock ticks are hundredths of a second on every Linux.
    const TICK_MS: u64 = 10;
    let stat = std::fs::read_to_string("/proc/self/stat").context("CPU time needs Linux")?;
    // Fields 14 and 15, counted from after the command's closing bracket (field 2).
    let after_name = stat.rsplit_once(')').context("/proc/self/stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| -> anyhow::Result<u64> {
        Ok(fields.get(at).context("/proc/self/stat")?.parse()?)
    };
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * TICK_MS))
}

/// CPU time of the whole machine so far, in ticks.
#[derive(Debug, Clone, Copy)]
pub struct MachineCpu {
    /// In which something ran, or wanted to.
    wanted: u64,
    /// Of that, in which the host ran something else.
    stolen: u64,
}

impl MachineCpu {
    /// As of now.
    pub fn now() -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat").context("CPU time needs Linux")?;
        Self::of(&stat).context("/proc/stat")
    }

    fn of(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|text| text.parse().ok()).collect();
        let [user, nice, system, _idle, _iowait, irq, softirq, stolen, ..] = ticks[..] else {
            return None;
        };
        Some(Self { wanted: user + nice + system + irq + softirq + stolen, stolen })
    }

    /// How much of what was wanted since an earlier moment the host kept, in percent.
    pub fn stolen_percent_since(self, earlier: Self) -> f64 {
        let wanted = self.wanted.saturating_sub(earlier.wanted).max(1);
        self.stolen.saturating_sub(earlier.stolen) as f64 / wanted as f64 * 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_kept_is_a_share_of_what_was_wanted() {
        let read = |line: &str| MachineCpu::of(line).unwrap();
        let earlier = read("cpu  100 0 50 9000 7 0 5 10 0 0\ncpu0 1 2 3\n");
        let now = read("cpu  150 0 70 9900 8 0 5 40 0 0\n");
        assert_eq!(now.stolen_percent_since(earlier), 30.0);
        assert_eq!(now.stolen_percent_since(now), 0.0);
        assert!(MachineCpu::of("cpu  1 2 3\n").is_none() && MachineCpu::of("").is_none());
    }
}
