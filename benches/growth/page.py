"""Writes the figures of all runs as a page with a table, a plot, and what follows for large ones."""

from dataclasses import dataclass

import report
from report import pyplot

GIB = 1 << 30
LARGE_EVENTS = 1_000_000_000
LARGE_CUSTOMERS = 100_000_000
CORES = 16
# Each feeds its partitions by one thread; two cores are left to questions and RocksDB.
PROCESSES = CORES - 2
# Beside facts: customers in memory, and caches.
OTHER_GIB = 32
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Run:
    """What one run was asked for, and the benchmark's figures of it."""

    events: int
    figures: dict

    @property
    def memory(self):
        return self.figures["memory"]

    @property
    def opened_seconds(self):
        return self.figures["open_again_seconds"]

    @property
    def total(self):
        return self.figures["rungs"][-1]["cpu_micros"]

    def stage(self, number):
        """µs of CPU per event: a rung less the one below it."""
        rungs = [rung["cpu_micros"] for rung in self.figures["rungs"]]
        return rungs[number] - (rungs[number - 1] if number else 0)


STAGES = ["consume", "decode", "apply", "commit", "publish"]


def table(runs):
    names = ["events", "customers", "facts", *STAGES, "**all**"]
    names += ["bytes per customer", "bytes per fact", "opened again, s"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---:|" * len(names)]
    for run in runs:
        memory = run.memory
        cells = [f"{number:,}" for number in (run.events, memory["customers"], memory["facts"])]
        cells += [f"{run.stage(number):.2f}" for number in range(len(STAGES))]
        cells += [f"**{run.total:.2f}**"]
        cells += [f"{memory[name]:.0f}" for name in ("bytes_per_customer", "bytes_per_fact")]
        cells += [f"{run.opened_seconds:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(out, runs):
    """`GROWTH.md` and `growth.svg` of runs of more and more events."""
    out.mkdir(exist_ok=True)
    (out / "GROWTH.md").write_text(text_of(runs))
    plot(runs, out / "growth.svg")


def text_of(runs):
    return f"""# As work grows

Written by `benches/growth/run`: `ltvstream bench --part ladder`, one run of each size, the broker on a core of its
own. µs of CPU per event by stage; a stage is the difference of two runs, so a small one can come out below nought.

{table(runs)}

![µs of CPU per event](growth.svg)

{large(runs[-1])}
## Machine

{report.machine()}
"""


def large(run):
    """What the largest run says of a thousand million events."""
    memory, events = run.memory, run.events
    facts = LARGE_EVENTS * memory["facts"] / events
    facts_gib = facts * memory["bytes_per_fact"] / GIB
    customers_gib = LARGE_CUSTOMERS * memory["bytes_per_customer"] / GIB
    core_hours = LARGE_EVENTS * run.total / 1e6 / 3600
    opening = LARGE_EVENTS / events * run.opened_seconds / PROCESSES
    per_day = SECONDS_PER_DAY * 1e6 / run.total
    return f"""## {LARGE_EVENTS:,} events of {LARGE_CUSTOMERS:,} customers

A calculation from the run of {events:,} events ({run.total:.1f} µs, {memory['facts'] / events:.2f} facts per event,
{memory['bytes_per_fact']:.0f} bytes each), not a measurement:

- **CPU**: {core_hours:.1f} core hours for all of them; one core keeps up with {per_day / 1e9:.1f} thousand million events a day.
- **Memory**: facts {facts_gib:.0f} GiB if they go on growing with events as they did so far, the most there can be: rows of
  facts are shared by customers of the same day and dimensions, and the more there are, the more share them. All
  customers at once would be {customers_gib:.0f} GiB, but only those are held that something happens to
  (`engine.memory_budget_bytes`); the others are in RocksDB.
- **One machine of {CORES} cores**: a process feeds its partitions by one thread. So {PROCESSES} processes of one group, two cores
  left to questions and RocksDB: {core_hours / PROCESSES:.1f} hours for all events, and after a kill of all of them {opening:.0f} s until they are
  open, on {facts_gib + OTHER_GIB:.0f} GiB of memory with {OTHER_GIB} GiB for customers and caches.
- **A consumer group**: partitions share no customer, so everything above divides by the number of machines; an
  answer is that of the partitions of the process asked.
"""


def plot(runs, path):
    figure, axes = pyplot.subplots(figsize=(7, 3.2))
    sizes = [
        f"{run.events / 1e6:g} M events\n{run.memory['customers'] / 1e6:.1f} M customers" for run in runs
    ]
    below = [0.0] * len(runs)
    for number, stage in enumerate(STAGES):
        heights = [max(run.stage(number), 0.0) for run in runs]
        axes.bar(sizes, heights, bottom=below, width=0.6, label=stage)
        below = [lower + height for lower, height in zip(below, heights)]
    axes.set_ylabel("µs of CPU per event")
    axes.legend(frameon=False, fontsize="small", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    report.save(figure, path)
