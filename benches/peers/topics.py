"""Topics: made, filled, and read as a consumer of the results sees them."""

import io
import json
import subprocess
from datetime import date, timedelta

import fastavro
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TIMEOUT_SECONDS = 60
SINGLE_OBJECT_HEADER_BYTES = 10


class Kafka:
    def __init__(self, bootstrap_servers):
        self.bootstrap_servers = bootstrap_servers
        self.admin = AdminClient({"bootstrap.servers": bootstrap_servers})

    def create(self, topic, **settings):
        """Makes a topic of one partition."""
        made = self.admin.create_topics([NewTopic(topic, 1, 1, config=settings)])
        made[topic].result(TIMEOUT_SECONDS)

    def end(self, topic):
        """The offset after the last record."""
        consumer = self._consumer("read_uncommitted")
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), TIMEOUT_SECONDS)
        consumer.close()
        return high

    def committed(self, group, topic):
        """The group's next offset; 0 before its first commit."""
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])
        answer = self.admin.list_consumer_group_offsets([asked])[group].result(TIMEOUT_SECONDS)
        return max(0, answer.topic_partitions[0].offset)

    def newest(self, topic):
        """The last committed value of each key."""
        return {message.key(): message.value() for message in self._all(topic)}

    def records(self, topic):
        """Key, value and timestamp of each record."""
        return [
            (message.key(), message.value(), message.timestamp()[1]) for message in self._all(topic)
        ]

    def follower(self, topic):
        """A consumer of what is committed, from the beginning on."""
        consumer = self._consumer("read_committed")
        consumer.assign([TopicPartition(topic, 0, 0)])
        return consumer

    def writer(self):
        """A producer whose records are soon on their way."""
        where = {"bootstrap.servers": self.bootstrap_servers}
        return Producer(where | {"compression.type": "lz4", "linger.ms": 1})

    def _all(self, topic):
        consumer = self.follower(topic)
        while True:
            message = consumer.poll(TIMEOUT_SECONDS)
            if message is None:
                raise TimeoutError(f"{topic} has no end")
            if message.error() is None:
                yield message
            elif message.error().name() == "_PARTITION_EOF":
                consumer.close()
                return
            else:
                raise RuntimeError(message.error())

    def _consumer(self, isolation):
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": "peers-reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": isolation,
            }
        )


def fill(binary, topic, customers, env):
    """Writes the events of a generated business; answers with their number."""
    command = [binary, "generate", "--kafka", "--app", "acme", "--customers", str(customers)]
    written = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return int((written.stdout + written.stderr).split(" events written to ")[0].split()[-1])


def peer_cohorts(values):
    """Customers and sums by age, by cohort, of a topic that a peer wrote."""
    cohorts = {}
    for key, value in values.items():
        cohort = json.loads(value)
        ages = {row[0]: tuple(row[1:]) for row in cohort["ages"]}
        if cohort["customers"] or ages:
            cohorts[date.fromisoformat(key.decode())] = (cohort["customers"], ages)
    return cohorts


def snapshot_cohorts(values, schema):
    """Customers and cumulative sums by age, by day of first purchase, of ltvstream's snapshots."""
    cohorts = {}
    for value in values.values():
        if value is None:
            continue
        datum = io.BytesIO(value[SINGLE_OBJECT_HEADER_BYTES:])
        snapshot = fastavro.schemaless_reader(datum, schema, None)
        place = (snapshot["anchor"], snapshot["width"], snapshot["segment"])
        if place != ("first_purchase", "day", None) or snapshot["payers"] == 0:
            continue
        ages = {
            age["age"]: (
                age["gross_micros"],
                age["proceeds_micros"],
                age["net_micros"],
                age["refunded_gross_micros"],
                age["refunded_proceeds_micros"],
                age["refunded_net_micros"],
                age["payments"],
            )
            for age in snapshot["ages_days"]
        }
        cohorts[_day(snapshot["cohort_start"])] = (snapshot["customers"], ages)
    return cohorts


def _day(value):
    return value if isinstance(value, date) else date(1970, 1, 1) + timedelta(days=value)


def cumulative(cohorts, asked):
    """A peer's cohorts as ltvstream publishes them: everything up to each age that it tells."""
    summed = {}
    for day, (customers, ages) in cohorts.items():
        told = asked.get(day, (0, {}))[1]
        summed[day] = (
            customers,
            {
                until: tuple(
                    map(sum, zip((0,) * 7, *(s for age, s in ages.items() if age <= until)))
                )
                for until in told
            },
        )
    return summed


def totals(cohorts):
    """A peer's cohorts, all ages together."""
    return {
        day: (customers, tuple(map(sum, zip((0,) * 7, *ages.values()))))
        for day, (customers, ages) in cohorts.items()
    }


def differences(one, other):
    """The days on which two results differ."""
    return sorted(day for day in one.keys() | other.keys() if one.get(day) != other.get(day))
