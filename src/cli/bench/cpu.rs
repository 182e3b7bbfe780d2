//! CPU time of this process.

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
