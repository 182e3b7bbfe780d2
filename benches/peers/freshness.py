"""How long an event takes until readers know of it, while others flow in at a rate.

Probes are purchases of new customers on a day on which nobody else buys: the number of customers in that
day's cohort tells how many of them a snapshot or an answer holds.
"""

import bisect
import io
import json
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone

import fastavro

from broker import ROOT
from systems import PROBE_DAY
from topics import SINGLE_OBJECT_HEADER_BYTES

RATE_PER_SECOND = 50_000
SECONDS = 20
# So much of the input is there before, at the least.
BACKLOG_SHARE_MIN = 0.1
PROBE_EVERY_SECONDS = 0.05
ASK_EVERY_SECONDS = 0.01
# Events sent at a time, so that probes and readers get their turn.
PORTION = 500
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Freshness:
    """99 of 100 probes took no longer; `answer_ms` is None where nobody can ask."""

    snapshot_ms: float
    answer_ms: float | None
    seconds: float


class Seen:
    """When readers saw how many probes."""

    def __init__(self):
        self.times = []
        self.counts = []
        self.failure = None

    def note(self, count):
        if not self.has(count):
            self.times.append(time.monotonic())
            self.counts.append(count)

    def has(self, count):
        return bool(self.counts) and self.counts[-1] >= count

    def p99_ms(self, sent):
        """Of the probes sent at these times, the first of which is not counted."""
        taken = sorted(
            self.times[bisect.bisect_left(self.counts, number)] - at
            for number, at in enumerate(sent, 1)
            if number > 1
        )
        return taken[len(taken) * 99 // 100] * 1e3


class Probes:
    """Writes probes as events of the schema."""

    def __init__(self, framing):
        with open(ROOT / "schemas" / "billing_event.v1.avsc") as file:
            self.schema = fastavro.parse_schema(json.load(file))
        self.framing = framing
        self.sent = []

    def next(self):
        """Key, value and timestamp of the next one, which counts as sent from now on."""
        self.sent.append(time.monotonic())
        name = f"probe-{len(self.sent)}"
        event = {
            "event_id": name,
            "app_id": "acme",
            "customer_id": name,
            "kind": "purchase",
            "occurred_at": datetime(*PROBE_DAY.timetuple()[:3], tzinfo=timezone.utc),
            "gross_micros": 1_000_000,
            "currency": "USD",
            "environment": "production",
            "attributes": {},
        }
        datum = io.BytesIO(self.framing)
        datum.seek(len(self.framing))
        fastavro.schemaless_writer(datum, self.schema, event)
        return f"acme/{name}".encode(), datum.getvalue(), int(time.time() * 1e3)


def measure(kafka, system, work, records):
    """Measures a system; `records` are keys, values and timestamps of the input, the last of which come
    at the rate."""
    backlog_count = max(len(records) - RATE_PER_SECOND * SECONDS, int(len(records) * BACKLOG_SHARE_MIN))
    backlog, flow = records[:backlog_count], records[backlog_count:]
    writer = kafka.writer()
    _send(writer, work.input, backlog)
    writer.flush()
    probes = Probes(records[0][1][:SINGLE_OBJECT_HEADER_BYTES])
    published, answered = Seen(), Seen()
    is_over = threading.Event()
    with system.started(work):
        readers = [(_follow, (kafka, system, work), published)]
        ask = system.asker()
        if ask is not None:
            readers.append((_ask, (ask,), answered))
        threads = [threading.Thread(target=_read, args=(*reader, is_over)) for reader in readers]
        for thread in threads:
            thread.start()
        try:
            _send(writer, work.input, [probes.next()])
            _await(published, 1)
            _flow(writer, work.input, flow, probes)
            writer.flush()
            _await(published, len(probes.sent))
            if ask is not None:
                _await(answered, len(probes.sent))
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
    assert published.counts[-1] == len(probes.sent), "more probes were seen than were sent"
    return Freshness(
        published.p99_ms(probes.sent),
        answered.p99_ms(probes.sent) if ask is not None else None,
        len(flow) / RATE_PER_SECOND,
    )


def _send(writer, topic, records):
    for key, value, timestamp in records:
        while True:
            try:
                writer.produce(topic, value, key, 0, timestamp=timestamp)
                break
            except BufferError:
                writer.poll(0.1)


def _flow(writer, topic, records, probes):
    begun, sent, probe_at = time.monotonic(), 0, 0.0
    while sent < len(records):
        passed = time.monotonic() - begun
        if passed >= probe_at:
            _send(writer, topic, [probes.next()])
            probe_at += PROBE_EVERY_SECONDS
        portion = min(int(passed * RATE_PER_SECOND) - sent, PORTION)
        if portion <= 0:
            time.sleep(0.001)
            continue
        _send(writer, topic, records[sent : sent + portion])
        writer.poll(0)
        sent += portion
    took = time.monotonic() - begun
    assert took < len(records) / RATE_PER_SECOND * 1.05, f"events took {took:.1f} s to send"


def _read(read, arguments, seen, is_over):
    """Reads until all is over; who waits for it hears why it can't go on."""
    try:
        read(*arguments, seen, is_over)
    except Exception as failure:
        seen.failure = failure


def _follow(kafka, system, work, seen, is_over):
    reader = kafka.follower(work.output)
    while not is_over.is_set():
        for message in reader.consume(1_000, 0.01):
            if message.error() is not None and message.error().name() != "_PARTITION_EOF":
                raise RuntimeError(message.error())
            if message.error() is None and message.key() == system.probe_key:
                seen.note(system.probe_count(message.value()))
    reader.close()


def _ask(ask, seen, is_over):
    while not is_over.is_set():
        seen.note(ask())
        time.sleep(ASK_EVERY_SECONDS)


def _await(seen, count):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not seen.has(count):
        if seen.failure is not None:
            raise seen.failure
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} probes were sent, but {seen.counts[-1:]} seen")
        time.sleep(ASK_EVERY_SECONDS)
