"""The systems that are compared: how each is started, and what is said of it."""

import contextlib
import io
import json
import os
import signal
import socket
import time
import urllib.request
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import fastavro
import psycopg

from processes import Running, pinned
from topics import SINGLE_OBJECT_HEADER_BYTES

HERE = Path(__file__).resolve().parent
POLL_SECONDS = 0.1
# A day on which nobody buys but the probes of `freshness`.
PROBE_DAY = date(2000, 1, 1)
PROBE_DAY_NUMBER = (PROBE_DAY - date(1970, 1, 1)).days
PATIENCE_SECONDS = 3600


@dataclass(frozen=True)
class Work:
    """One run: which topics, and where its state lies."""

    kafka: object
    input: str
    output: str
    group: str
    events: int
    data_dir: Path
    core: int
    log: object


class Peer:
    """A program that keeps to the contract of the README beside."""

    # Whether it publishes before the input ends.
    is_incremental = True
    probe_key = str(PROBE_DAY).encode()

    def __init__(self, name, title, command, guarantee, settings):
        self.name = name
        self.title = title
        self.command = command
        self.guarantee = guarantee
        self.settings = settings

    def _command(self, work):
        return [
            *self.command,
            "--bootstrap-servers", work.kafka.bootstrap_servers,
            "--input", work.input,
            "--output", work.output,
            "--group", work.group,
            "--events", work.events,
            "--data-dir", work.data_dir,
        ]  # fmt: skip

    @contextlib.contextmanager
    def started(self, work):
        """A run from its first record on; what its start has cost does not count."""
        with Running(pinned(work.core, self._command(work)), work.log) as running:
            running.wait_for("ready")
            running.counts_from_now()
            yield running

    def finish(self, running, _work):
        """Waits for the whole result; CPU seconds of the process's life."""
        running.wait_for("done")
        return running.end()

    def wait_for_work(self, _work):
        """Returns when a started program takes events: it says that it does."""

    @staticmethod
    def probe_count(value):
        """The customers in a published cohort."""
        return json.loads(value)["customers"]

    def asker(self):
        """What asks a running program for the customers of the probes' cohort, where it answers."""
        return None


class KafkaStreams(Peer):
    """Its stores can be asked while it runs."""

    def _command(self, work):
        self.port = _free_port()
        return [*super()._command(work), "--query-port", self.port]

    def asker(self):
        url = f"http://127.0.0.1:{self.port}/customers/{PROBE_DAY_NUMBER}"
        return lambda: _get_json(url)


class DuckDb(Peer):
    """Counts anew at the end of the input."""

    is_incremental = False


class Postgres(Peer):
    """Beside the program there is the server, which counts as well."""

    def _command(self, work):
        self.port, server_dir = _free_port(), work.data_dir / "server"
        url = f"jdbc:postgresql://127.0.0.1:{self.port}/postgres?user=postgres"
        server = HERE / "postgres" / "server"
        return [HERE / "postgres" / "with-server", server, server_dir, self.port,
                *super()._command(work), "--jdbc-url", url]  # fmt: skip

    def asker(self):
        where = f"host=127.0.0.1 port={self.port} dbname=postgres user=postgres"
        connection = psycopg.connect(where, autocommit=True)
        question = f"SELECT customers FROM cohorts WHERE cohort_day = {PROBE_DAY_NUMBER}"

        def ask():
            row = connection.execute(question).fetchone()
            return row[0] if row else 0

        return ask


class Ltvstream:
    """The service itself, as `serve` runs it, with everything it does; its start counts."""

    name = "ltvstream"
    title = "ltvstream"
    is_incremental = True
    probe_key = f"acme|first_purchase|day|{PROBE_DAY}|".encode()
    guarantee = "exactly once (transactions with the group's offsets)"
    settings = "as they come (commits do not wait for the disk, Kafka being the log), with a `group.instance.id`"

    def __init__(self, binary, schema):
        self.binary = binary
        self.schema = schema
        self.url = None
        # What the last run answered, before it ended.
        self.totals = {}

    def environment(self, work):
        """Settings, all by environment; everything else is as it comes."""
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        return os.environ | {
            "LTVSTREAM__SERVICE__LISTEN": f"127.0.0.1:{port}",
            "LTVSTREAM__SERVICE__DATA_DIR": str(work.data_dir),
            "LTVSTREAM__KAFKA__BOOTSTRAP_SERVERS": work.kafka.bootstrap_servers,
            "LTVSTREAM__KAFKA__GROUP_ID": work.group,
            "LTVSTREAM__KAFKA__EVENTS_TOPIC": work.input,
            "LTVSTREAM__KAFKA__SNAPSHOTS_TOPIC": work.output,
            "LTVSTREAM__KAFKA__DEAD_LETTERS_TOPIC": f"{work.output}-dead-letters",
            "LTVSTREAM__KAFKA__EVENT_FORMAT": "avro-single-object",
            "LTVSTREAM__KAFKA__EVENTS_PARTITIONS": "1",
            "LTVSTREAM__KAFKA__PROPERTIES__GROUP__INSTANCE__ID": work.group,
            "LTVSTREAM__APPS": '[{ id = "acme" }]',
        }

    @contextlib.contextmanager
    def started(self, work):
        """Ready when it answers the first question."""
        command = pinned(work.core, [self.binary, "serve"])
        with Running(command, work.log, self.environment(work)) as running:
            self._answer(running)
            yield running

    def _answer(self, running):
        while True:
            if running.process.poll() is not None:
                raise RuntimeError(f"{running.command} ended")
            with contextlib.suppress(OSError):
                if self._ask("")["as_of"]:
                    return
            time.sleep(POLL_SECONDS)

    def wait_for_work(self, work):
        """Returns when an answer holds more than the first one, or all there is."""
        next_offset = first = self._ask("")["as_of"]["0"]
        while next_offset == first and next_offset < work.events:
            time.sleep(POLL_SECONDS / 10)
            next_offset = self._ask("")["as_of"]["0"]

    def _ask(self, question):
        return _get_json(f"{self.url}/v1/apps/acme/ltv{question}")

    def _ask_totals(self):
        """Customers and sums to date by day of first purchase, as a peer's rows have them."""
        paid, refunded, counts = {}, {}, {}
        for measure in ("gross", "proceeds", "net"):
            for cohort in self._ask(f"?width=day&measure={measure}")["cohorts"]:
                day, sums = date.fromisoformat(cohort["start"]), cohort["to_date"]
                paid.setdefault(day, []).append(sums["paid_micros"])
                refunded.setdefault(day, []).append(sums["refunded_micros"])
                counts[day] = (cohort["customers"], sums["payments"])
        return {
            day: (customers, (*paid[day], *refunded[day], payments))
            for day, (customers, payments) in counts.items()
            if customers
        }

    def probe_count(self, value):
        """The customers in a published snapshot."""
        datum = io.BytesIO(value[SINGLE_OBJECT_HEADER_BYTES:])
        return fastavro.schemaless_reader(datum, self.schema, None)["customers"]

    def asker(self):
        """What asks for the customers of the probes' cohort."""
        question = f"?width=day&from={PROBE_DAY}&to={PROBE_DAY}"
        return lambda: sum(cohort["customers"] for cohort in self._ask(question)["cohorts"])

    def finish(self, running, work):
        """Waits until everything is published, which the group's offsets tell."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while work.kafka.committed(work.group, work.input) < work.events:
            if time.monotonic() > deadline:
                raise TimeoutError("not all is published")
            time.sleep(POLL_SECONDS)
        self.totals = self._ask_totals()
        return running.end(signal.SIGTERM)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _get_json(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def _java(module, main, heap):
    folder = HERE / module / "target"
    options = [f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseParallelGC"]
    return ["java", *options, "-cp", f"{folder}/*:{folder}/lib/*", f"com.ltvstream.peers.{main}"]


def all_systems(ltvstream, naive, schema):
    """Everything that is compared, ltvstream first."""
    return [
        Ltvstream(ltvstream, schema),
        KafkaStreams(
            "kafka-streams",
            "Kafka Streams",
            _java("kafka-streams", "streams.Main", "2g"),
            "exactly once (exactly_once_v2)",
            "Processor API, one task; caching stores of 128 MiB, RocksDB with write buffers of 64 MiB; "
            "publishes and commits every second; lz4, static membership; heap 2 GiB",
        ),
        Peer(
            "flink",
            "Flink",
            _java("flink", "flink.Main", "1g"),
            "exactly once (checkpoints and transactions)",
            "one JVM, parallelism 1; incremental RocksDB checkpoints every 10 s, managed memory "
            "512 MiB; object reuse, own serializers; cohorts visible at each checkpoint; heap 1 GiB",
        ),
        Postgres(
            "postgres",
            "PostgreSQL",
            _java("postgres", "postgres.Main", "512m"),
            "state exactly once (offsets in the same transaction)",
            "binary COPY of 100,000 events (or those of a second), one set-based statement each in one "
            "transaction; shared_buffers 2 GiB, fsync on, WAL minimal and lz4, JIT off",
        ),
        DuckDb(
            "duckdb",
            "DuckDB",
            _java("duckdb", "duckdb.Main", "512m"),
            "computed anew from whole files",
            "Parquet of 500,000 events each (lz4), one query at the end of the input; one thread, "
            "memory 2 GiB",
        ),
        Peer(
            "naive",
            "RocksDB, row by row",
            [naive],
            "state exactly once (offsets in the same batch)",
            "1 GiB of block cache, write buffers of 128 MiB, Bloom filters; no wait for the disk",
        ),
    ]
