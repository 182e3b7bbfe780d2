"""Processes as they are measured: pinned to a core, CPU and memory of all their descendants."""

import contextlib
import os
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
MEMORY_INTERVAL_SECONDS = 0.5


def pinned(core, command):
    """The command, on one core only."""
    return ["taskset", "--cpu-list", str(core), *map(str, command)]


def children_cpu_seconds():
    """CPU of all children that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _stats():
    """Parent and CPU seconds (own and of ended children) by process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text()
        except OSError:
            continue
        fields = text[text.rindex(")") + 2 :].split()
        ticks = sum(int(field) for field in fields[11:15])
        found[int(folder.name)] = (int(fields[1]), ticks / TICKS_PER_SECOND)
    return found


def _tree(root, stats):
    """The process and its descendants."""
    children = {}
    for process, (parent, _) in stats.items():
        children.setdefault(parent, []).append(process)
    tree, todo = [], [root]
    while todo:
        process = todo.pop()
        if process in stats:
            tree.append(process)
            todo.extend(children.get(process, []))
    return tree


def tree_cpu_seconds(root):
    """CPU so far of a running process and its descendants."""
    stats = _stats()
    return sum(stats[process][1] for process in _tree(root, stats))


def tree_memory_bytes(root):
    """Memory held by a running process and its descendants; shared pages count once."""
    total = 0
    for process in _tree(root, _stats()):
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in rollup.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


class Running:
    """A started process whose lines are read and whose memory is watched; killed on the way out."""

    def __init__(self, command, log, env=None):
        self.children_before = children_cpu_seconds()
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=env, start_new_session=True
        )
        self.command = command
        self.counts_from = self.started_at
        self.cpu_before_seconds = 0.0
        self.peak_bytes = 0
        self._watch = threading.Thread(target=self._watch_memory, daemon=True)
        self._watch.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def _watch_memory(self):
        while self.process.poll() is None:
            self.peak_bytes = max(self.peak_bytes, tree_memory_bytes(self.process.pid))
            time.sleep(MEMORY_INTERVAL_SECONDS)

    def wait_for(self, word):
        """Reads lines until one is this word."""
        for line in self.process.stdout:
            if line.strip() == word:
                return
        raise RuntimeError(f"{self.command} ended with {self.process.wait()} before {word!r}")

    def counts_from_now(self):
        """What has been used so far does not count."""
        self.counts_from = time.monotonic()
        self.cpu_before_seconds = tree_cpu_seconds(self.process.pid)

    def end(self, stop_signal=None, patience_seconds=120):
        """Waits for the end, after a signal if one is given; CPU and wall seconds that count."""
        wall = time.monotonic() - self.counts_from
        if stop_signal is not None:
            self.process.send_signal(stop_signal)
        status = self.process.wait(timeout=patience_seconds)
        self._watch.join()
        if status != 0:
            raise RuntimeError(f"{self.command} ended with {status}")
        return children_cpu_seconds() - self.children_before - self.cpu_before_seconds, wall

    def kill(self):
        """Ends the process and all its descendants at once, and waits until they are gone."""
        tree = _tree(self.process.pid, _stats())
        for process in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()
        self._watch.join()
        while any(Path(f"/proc/{process}").exists() for process in tree):
            time.sleep(0.01)
