"""Writes the figures of all runs as a page with a table, a plot, and what follows for large ones."""

from dataclasses import dataclass

import report
from report import pyplot

GIB = 1 << 30
LARGE_EVENTS = 1_000_000_000
LARGE_CUSTOMERS = 100_000_000
CORES = 16
# Each partition has a thread of its own; two cores are left to questions and RocksDB.
PARTITIONS = CORES - 2
# Beside facts: customers in memory, and caches.
OTHER_GIB = 32
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Run:
    """What one run was asked for, and the benchmark's figures of it."""

    events: int
    budget_gib: float
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
    names = ["events", "customers", "facts", "budget, GiB", *STAGES, "**all**"]
    names += ["bytes per customer", "bytes per fact", "opened again, s"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---:|" * len(names)]
    for run in runs:
        memory = run.memory
        cells = [f"{number:,}" for number in (run.events, memory["customers"], memory["facts"])]
        cells += [f"{run.budget_gib:g}"]
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

{reasons(runs)}
{large(runs[-1])}
## Machine

{report.machine()}
"""


def spread(values, unit):
    """`3.1 to 4.5 µs`."""
    return f"{min(values):.1f} to {max(values):.1f} {unit}"


def reasons(runs):
    """What grows with the number of events and customers, and why."""
    roomy = [run for run in runs if run.budget_gib == max(run.budget_gib for run in runs)]
    tight = [run for run in runs if run not in roomy]
    largest = roomy[-1]
    opening = [run.opened_seconds / run.memory["facts"] * 1e6 for run in roomy]
    text = f"""## What grows, and why

- **Of an event, little**: {spread([run.total for run in roomy], "µs")} where the memory budget holds all customers. Consuming and
  decoding know nothing of what is held. Applying looks up one customer, its timeline and one or two rows of facts, each
  by one hash: the number of look-ups stays, but the more is held, the less of it is in a cache of the processor.
- **Commits, with the customers that events are spread over**: a commit writes one row for each customer with new events,
  and pages of facts. Of few customers several events share a row; and what RocksDB holds is merged again and again.
- **Publishing, with cohorts and time, not with events**: at each tick the cohorts that changed or aged, at most every day,
  week and month there is.
- **Memory, with customers and facts**: {largest.memory["bytes_per_customer"]:.0f} bytes of a customer; of a fact {spread([run.memory["bytes_per_fact"] for run in roomy], "bytes")},
  fewer the more there are, since cohorts and dictionary are shared.
- **Opening, with facts**: {spread(opening, "s")} per million. All of them are read and indexed; customers are not read.
"""
    for run in tight:
        same = next(other for other in roomy if other.events == run.events)
        text += f"""- **An event whose customer is not in memory** reads its history first. Under a budget of {run.budget_gib:g} GiB, which facts alone
  exceed, customers keep a quarter of it, and an event costs {run.total:.1f} µs instead of {same.total:.1f}.
"""
    return text


def large(run):
    """What the largest run says of a thousand million events."""
    memory, events = run.memory, run.events
    facts = LARGE_EVENTS * memory["facts"] / events
    facts_gib = facts * memory["bytes_per_fact"] / GIB
    customers_gib = LARGE_CUSTOMERS * memory["bytes_per_customer"] / GIB
    core_hours = LARGE_EVENTS * run.total / 1e6 / 3600
    opening = LARGE_EVENTS / events * run.opened_seconds / PARTITIONS
    per_day = SECONDS_PER_DAY * 1e6 / run.total
    return f"""## {LARGE_EVENTS:,} events of {LARGE_CUSTOMERS:,} customers

A calculation from the run of {events:,} events ({run.total:.1f} µs, {memory['facts'] / events:.2f} facts per event,
{memory['bytes_per_fact']:.0f} bytes each), not a measurement:

- **CPU**: {core_hours:.1f} core hours for all of them; one core keeps up with {per_day / 1e9:.1f} thousand million events a day.
- **Memory**: facts {facts_gib:.0f} GiB if they go on growing with events as they did so far, the most there can be: rows of
  facts are shared by customers of the same day and dimensions, and the more there are, the more share them. All
  customers at once would be {customers_gib:.0f} GiB, but only those are held that something happens to
  (`engine.memory_budget_bytes`); the others are in RocksDB.
- **One machine of {CORES} cores**: {PARTITIONS} partitions, each on a thread of its own, two cores left to questions and
  RocksDB: {core_hours / PARTITIONS:.1f} hours for all events, and after a kill {opening:.0f} s until they are open, on
  {facts_gib + OTHER_GIB:.0f} GiB of memory with {OTHER_GIB} GiB for customers and caches.
- **A consumer group**: partitions share no customer, so everything above divides by the number of machines. An
  answer is that of the partitions of the process asked, and snapshots, which are of all, are published by who has all
  partitions (README, Limits): several machines want a topic each, by app or by customer.
"""


def plot(runs, path):
    figure, axes = pyplot.subplots(figsize=(8, 3.2))
    sizes = [
        f"{run.events / 1e6:g} M events\n{run.memory['customers'] / 1e6:.1f} M customers\n{run.budget_gib:g} GiB"
        for run in runs
    ]
    below = [0.0] * len(runs)
    # What the last two take together is surer than how much each of them does, which may come out below nought.
    alone = range(len(STAGES) - 2)
    parts = [(STAGES[number], [run.stage(number) for run in runs]) for number in alone]
    parts.append(("commit and publish", [max(run.total - sum(map(run.stage, alone)), 0.0) for run in runs]))
    for stage, heights in parts:
        axes.bar(sizes, heights, bottom=below, width=0.6, label=stage)
        below = [lower + height for lower, height in zip(below, heights)]
    axes.set_ylabel("µs of CPU per event")
    axes.tick_params(axis="x", labelsize="small")
    axes.legend(frameon=False, fontsize="small", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    report.save(figure, path)
