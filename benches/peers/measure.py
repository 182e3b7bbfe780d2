"""Gives all systems the same topic, compares what they publish, and writes what it cost.

Started by `run`, which builds everything first.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import fastavro

import freshness
import report
import topics
from broker import ROOT, SYSTEM_CORE, Broker
from systems import HERE, Ltvstream, Work, all_systems

# Where a run is killed, as a share of the time that a whole one took.
KILLED_AFTER = 0.5
# More events than there will be: who waits for the last goes on until it is killed.
ENDLESS = 1 << 40


def say(text):
    print(f"peers: {text}", file=sys.stderr, flush=True)


class Comparison:
    def __init__(self, arguments, kafka, dir):
        self.kafka = kafka
        self.dir = dir
        self.runs = arguments.runs
        self.input, self.events = "events", 0
        with open(ROOT / "schemas" / "ltv_snapshot.v1.avsc") as file:
            schema = fastavro.parse_schema(json.load(file))
        systems = all_systems(arguments.ltvstream, arguments.naive, schema)
        asked = set(arguments.systems.split(",")) if arguments.systems else None
        self.systems = [s for s in systems if asked is None or s.name in asked]
        self.events = self._fill(arguments)
        self.expected = None
        self.figures = {system.name: [] for system in self.systems}
        self.recoveries = {}
        self.freshness = {}

    def _fill(self, arguments):
        self.kafka.create(self.input)
        maker = next(s for s in self.systems if isinstance(s, Ltvstream))
        env = maker.environment(self._work("fill", None))
        events = topics.fill(arguments.ltvstream, self.input, arguments.customers, env)
        assert self.kafka.end(self.input) == events, "the topic holds something else"
        say(f"{events} events of {arguments.customers} customers")
        return events

    def _work(self, name, log, input=None, events=None):
        data_dir = self.dir / name
        data_dir.mkdir()
        output = f"{name}-out"
        group = f"{name}-group"
        input, events = input or self.input, events or self.events
        return Work(self.kafka, input, output, group, events, data_dir, SYSTEM_CORE, log)

    def measure(self):
        for number in range(1, self.runs + 1):
            for system in self.systems:
                self._run(system, number)
        for system in self.systems:
            self._recover(system)
        self._freshness()

    def _prepared(self, name, log, **settings):
        work = self._work(name, log, **settings)
        self.kafka.create(work.output, **{"cleanup.policy": "compact"})
        return work

    def _run(self, system, number):
        name = f"{system.name}-{number}"
        with open(self.dir / f"{name}.log", "w") as log:
            work = self._prepared(name, log)
            with system.started(work) as running:
                cpu, wall = system.finish(running, work)
        self._check(system, work)
        figures = {
            "cpu_seconds": cpu,
            "wall_seconds": wall,
            "peak_bytes": running.peak_bytes,
            "data_bytes": _size(work.data_dir),
        }
        self.figures[system.name].append(figures)
        shutil.rmtree(work.data_dir)
        say(f"{name}: " + ", ".join(f"{key} {value:.5g}" for key, value in figures.items()))

    def _recover(self, system):
        """Kills a run in the middle and starts it again; its result must be the same."""
        name = f"{system.name}-killed"
        wall = min(figures["wall_seconds"] for figures in self.figures[system.name])
        with open(self.dir / f"{name}.log", "w") as log:
            work = self._prepared(name, log)
            with system.started(work) as running:
                time.sleep(wall * KILLED_AFTER)
                running.kill()
            with system.started(work) as running:
                system.wait_for_work(work)
                self.recoveries[system.name] = time.monotonic() - running.started_at
                system.finish(running, work)
        self._check(system, work)
        shutil.rmtree(work.data_dir)
        say(f"{name}: at work again after {self.recoveries[system.name]:.2f} s")

    def _freshness(self):
        """How long events take until readers know of them."""
        records = self.kafka.records(self.input)
        for system in self.systems:
            if not system.is_incremental:
                continue
            name = f"{system.name}-fresh"
            self.kafka.create(f"{name}-in")
            with open(self.dir / f"{name}.log", "w") as log:
                work = self._prepared(name, log, input=f"{name}-in", events=ENDLESS)
                self.freshness[system.name] = freshness.measure(self.kafka, system, work, records)
            shutil.rmtree(work.data_dir)
            say(f"{name}: {self.freshness[system.name]}")

    def _check(self, system, work):
        """The published result must be that of all others, to the last unit."""
        values = self.kafka.newest(work.output)
        if isinstance(system, Ltvstream):
            # The snapshots tell some ages, the answers what came after the last of them, too.
            self.snapshots = topics.snapshot_cohorts(values, system.schema)
            self.totals = system.totals
        else:
            cohorts = topics.peer_cohorts(values)
            self.expected = self.expected or cohorts
            different = topics.differences(cohorts, self.expected)
            assert not different, f"{work.group} differs from the first peer on {different[:5]}"
        if self.expected:
            summed = topics.cumulative(self.expected, self.snapshots)
            different = topics.differences(summed, self.snapshots)
            different += topics.differences(topics.totals(self.expected), self.totals)
            assert not different, f"ltvstream and {work.group} differ on {different[:5]}"


def _size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ltvstream", required=True)
    parser.add_argument("--naive", required=True)
    parser.add_argument("--customers", type=int, default=250_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--systems", help="names, with commas; ltvstream must be one of them")
    parser.add_argument("--out", type=Path, default=HERE.parent)
    arguments = parser.parse_args()
    dir = Path(tempfile.mkdtemp(prefix="ltvstream-peers."))
    # The PostgreSQL server does not run as root.
    dir.chmod(0o755)
    say(f"logs are in {dir} until all is done")
    with Broker() as address:
        comparison = Comparison(arguments, topics.Kafka(address), dir)
        comparison.measure()
    report.write(comparison, arguments, ROOT)
    shutil.rmtree(dir)


if __name__ == "__main__":
    main()
