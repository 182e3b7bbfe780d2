"""Runs the benchmark's ladder for more and more events, and writes what it says.

Started by `run`, which builds everything first.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import page
from broker import ROOT, SYSTEM_CORE, Broker
from processes import pinned

# With about 4.6 events of a customer, as in the generated business: 0.1, 0.2, 1 and 5 million of them.
EVENTS = [500_000, 1_000_000, 5_000_000, 24_000_000]
# Holds all customers of all runs.
BUDGET_GIB = 8.0
# Of these events facts alone take more than this.
TIGHT_EVENTS, TIGHT_BUDGET_GIB = 5_000_000, 0.25


def say(text):
    print(f"growth: {text}", file=sys.stderr, flush=True)


def numbers(text):
    return [int(number.replace("_", "")) for number in text.split(",")]


def ladder(ltvstream, kafka, dir, events, budget_gib):
    """The figures of one run, in a process on the core that the broker leaves."""
    environment = dict(
        os.environ,
        LTVSTREAM__KAFKA__BOOTSTRAP_SERVERS=kafka,
        LTVSTREAM__SERVICE__DATA_DIR=str(dir),
        LTVSTREAM__APPS='[{ id = "growth" }]',
        LTVSTREAM__ENGINE__MEMORY_BUDGET_BYTES=str(int(budget_gib * page.GIB)),
        TMPDIR=str(dir),
    )
    command = [ltvstream, "bench", "--part", "ladder", "--json", "--events", events]
    command = pinned(SYSTEM_CORE, command)
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    figures = json.loads(done.stdout)["ladder"]
    total = figures["rungs"][-1]
    say(
        f"{events} events, {budget_gib:g} GiB: {total['cpu_micros']:.2f} µs per event, "
        f"opened again in {figures['open_again_seconds']:.1f} s"
    )
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ltvstream", required=True)
    parser.add_argument("--events", type=numbers, default=EVENTS)
    parser.add_argument("--out", type=Path, default=ROOT / "benches")
    arguments = parser.parse_args()
    wanted = [(events, BUDGET_GIB) for events in set(arguments.events)]
    if TIGHT_EVENTS in arguments.events:
        wanted.append((TIGHT_EVENTS, TIGHT_BUDGET_GIB))
    runs = []
    for events, budget_gib in sorted(wanted):
        # A broker of its own each, so that no run finds the disk full of topics of those before.
        with tempfile.TemporaryDirectory(prefix="ltvstream-growth.") as dir, Broker() as kafka:
            figures = ladder(arguments.ltvstream, kafka, dir, events, budget_gib)
        runs.append(page.Run(events, budget_gib, figures))
    page.write(arguments.out, runs)


if __name__ == "__main__":
    main()
