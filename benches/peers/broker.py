"""The broker that measurements use, and which core is whose."""

import os
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BROKER = ROOT / "tests" / "kafka" / "broker"
BROKER_CORE = 0
SYSTEM_CORE = 1


class Broker:
    """A real broker on a core of its own; gives its address."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="ltvstream-peers-kafka.")
        os.sched_setaffinity(0, {BROKER_CORE})
        subprocess.run([BROKER, "start", self.dir], check=True)
        text = subprocess.run([BROKER, "env", self.dir], check=True, capture_output=True, text=True)
        variables = dict(
            line.removeprefix("export ").split("=", 1)
            for line in text.stdout.splitlines()
            if "=" in line
        )
        return variables["LTVSTREAM_TEST_KAFKA"].strip("'")

    def __exit__(self, *_):
        subprocess.run([BROKER, "stop", self.dir], check=False)
