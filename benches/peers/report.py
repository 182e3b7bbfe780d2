"""Writes the figures as a page with a table and a plot."""

import os
import platform
import statistics
import subprocess
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402

from broker import ROOT  # noqa: E402
from freshness import ASK_EVERY_SECONDS, PROBE_EVERY_SECONDS, RATE_PER_SECOND  # noqa: E402

MIB = 1 << 20


def span(values):
    """The median, and the least and the most."""
    return f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def write(comparison, arguments, root):
    """`RESULTS.md` and `results.svg` into the folder that was asked for."""
    arguments.out.mkdir(exist_ok=True)
    (arguments.out / "RESULTS.md").write_text(page(comparison, arguments, root))
    plot(comparison, arguments.out / "results.svg")


def per_million(comparison, system):
    scale = 1e6 / comparison.events
    return [run["cpu_seconds"] * scale for run in comparison.figures[system.name]]


def fresh(comparison, system):
    """From event to snapshot and to answer, in milliseconds."""
    found = comparison.freshness.get(system.name)
    taken = (found.snapshot_ms, found.answer_ms) if found else (None, None)
    return " | ".join("–" if ms is None else f"{ms:,.0f}" for ms in taken)


def page(comparison, arguments, root):
    ours = statistics.median(per_million(comparison, comparison.systems[0]))
    rows = []
    for system in comparison.systems:
        runs = comparison.figures[system.name]
        cpu = per_million(comparison, system)
        wall, peak, data = (
            [run[key] for run in runs] for key in ("wall_seconds", "peak_bytes", "data_bytes")
        )
        rows.append(
            f"| {system.title} | {span(cpu)} | {statistics.median(cpu) / ours:.1f} | {span(wall)}"
            f" | {comparison.recoveries[system.name]:.1f} | {fresh(comparison, system)}"
            f" | {statistics.median(peak) / MIB:.0f} | {statistics.median(data) / MIB:.0f}"
            f" | {system.guarantee} |"
        )
    table = "\n".join(rows)
    seconds = comparison.freshness[comparison.systems[0].name].seconds
    settings = "\n".join(f"- **{system.title}**: {system.settings}." for system in comparison.systems)
    return f"""# Beside its peers

Written by `benches/peers/run`. The job and its programs: [`peers/`](peers/README.md).

{comparison.events} events of {arguments.customers} customers, read from the beginning of a topic of one partition;
{comparison.runs} runs each, by turns: the median, and the least and the most. All results, those after a kill too, were
equal to the last unit before a figure was written. `ltvstream` also does what the job does not ask for (dimensions,
subscriptions, segments, weeks and months, questions); its start counts, that of its peers does not.

| | CPU s per million events | × ltvstream | seconds | at work again after `kill -9`, s | event to snapshot, p99 ms | event to answer, p99 ms | memory, MiB | on disk, MiB | guarantee |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---|
{table}

![CPU seconds per million events](results.svg)

CPU is that of all processes of a system, kernel time and background threads included, on a core of its own; the
broker has the other, and what it spends is nobody's. Of programs in Java the compiler's work of the first seconds counts,
so that they would come off better where they run for hours. Memory is the most that was held at a time, looked at twice a
second; what a JVM holds is mostly the heap it was given. On disk the changelog that Kafka Streams keeps at the broker does
not count. State lies in RocksDB with Kafka Streams and Flink, which is what they keep more in than memory holds; that of
`ltvstream` is in memory and in RocksDB. Killed in the middle of a run, `ltvstream` is at work again when an answer holds more
than its first one after the start, a peer when it takes the next event. Flink may have had no checkpoint by then.

From event to snapshot and to answer, one run each: while {RATE_PER_SECOND:,} events a second flow in for {seconds:.0f} s, a new
customer buys every {PROBE_EVERY_SECONDS * 1e3:.0f} ms; how long it takes until a consumer of what is committed, and one who asks
every {ASK_EVERY_SECONDS * 1e3:.0f} ms, sees it. Who asks shares a core with the broker and with who writes the events. Kafka
Streams answers from its store what is not committed yet, PostgreSQL by SQL, Flink and the program on RocksDB do not; DuckDB
counts at the end only. Peers publish as in the runs that CPU was taken of: Flink with its checkpoints, every 10 s, the
others every second. `ltvstream` publishes four times a second, in those runs as well.

## Settings

{settings}

## Machine and versions

{versions(root)}
"""


def plot(comparison, path):
    systems = comparison.systems[::-1]
    values = [statistics.median(per_million(comparison, system)) for system in systems]
    figure, axes = pyplot.subplots(figsize=(8, 0.5 * len(systems) + 1))
    bars = axes.barh([system.title for system in systems], values, color="#7a8ba6")
    bars[-1].set_color("#d1495b")
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_xlabel("CPU seconds per million events, state exact and durable (less is better)")
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def save(figure, path):
    figure.tight_layout()
    # No date and no random ids: the same figures give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "ltvstream"
    figure.savefig(path, metadata={"Date": None})


def versions(root):
    lines = [machine(), f"- {first_line('java', '--version')}"]
    jars = [
        ("kafka-streams", "kafka-streams"),
        ("flink", "flink-streaming-java"),
        ("flink", "flink-connector-kafka"),
        ("postgres", "postgresql"),
        ("duckdb", "duckdb_jdbc"),
    ]
    found = [jar(root / "benches" / "peers" / module / "target" / "lib", name) for module, name in jars]
    lines.append("- " + ", ".join(name for name in found if name))
    lines.append(f"- {first_line('postgres', '--version')}")
    return "\n".join(lines)


def machine():
    """The machine and the compiler."""
    what = f"{cpu_model()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB"
    commit = first_line("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    # The pages that are written change, too.
    unchanged = ["git", "-C", str(ROOT), "diff", "--quiet", "HEAD", "--", "src", "Cargo.toml", "Cargo.lock"]
    if subprocess.run(unchanged).returncode != 0:
        commit += ", changed since"
    return f"- {what}, Linux {platform.release()}\n- {first_line('rustc', '--version')}\n- ltvstream {commit}"


def jar(folder, name):
    """Name and version of a library, by its file."""
    known = sorted(folder.glob(f"{name}-[0-9]*.jar"))
    return known[0].stem if known else None


def first_line(*command):
    try:
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return f"{command[0]}: says nothing"
    return next(iter(text.splitlines()), "")


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(": ", 1)[1]
    return platform.machine()


def memory_gib():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
