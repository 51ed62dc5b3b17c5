"""The topics of an installation on a real broker: made once, checked at every start, never quietly empty."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import ConfigResource
from kafka.structs import OffsetAndMetadata

from engine.errors import ServiceUnreachable, SettingsError
from engine.runtimes.kafka.admin import check_topics, ensure_topics, lag, layouts, wait_for_kafka
from engine.runtimes.kafka.topics import CHECKPOINT_KEY, Topics, decode_checkpoint
from tests.services.kafka import Cluster, admin, create_topics
from tests.services.ports import free_ports

Start = Callable[..., Cluster]
PARTITIONS = 3


@pytest.fixture
def topics(topic_prefix: str) -> Topics:
    """Names that no other test has."""
    return Topics(prefix=topic_prefix)


@pytest.fixture
def made(kafka: str, topics: Topics) -> Topics:
    """All topics, as the roles make them."""
    ensure_topics(kafka, topics, partitions=PARTITIONS, replication=1)
    return topics


def _write(bootstrap: str, topic: str, *, partition: int, count: int = 1) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for number in range(count):
        producer.send(topic, key=b"c%d" % number, value=b"v", partition=partition)
    producer.flush()
    producer.close()


def _grow(bootstrap: str, topic: str, partitions: int) -> None:
    """Adds partitions, and waits until the broker tells of them."""
    deadline = time.monotonic() + 10
    with admin(bootstrap) as client:
        client.create_partitions({topic: partitions})
        while len(client.describe_topics([topic])[0]["partitions"]) != partitions:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _commit(bootstrap: str, group: str, topic: str, *, offsets: dict[int, int]) -> None:
    at = {TopicPartition(topic, number): OffsetAndMetadata(offset, "", -1) for number, offset in offsets.items()}
    with admin(bootstrap) as client:
        client.alter_group_offsets(group, at)


def _settings(bootstrap: str, topic: str) -> dict[str, str]:
    with admin(bootstrap) as client:
        found = client.describe_configs([ConfigResource("TOPIC", topic)], config_filter="all")["topic"][topic]
    return {name: each["value"] for name, each in found.items()}


def test_missing_topics_are_made_with_what_they_need(kafka: str, topics: Topics) -> None:
    """The first start makes all eight; what the runtime relies on stands in their settings; the next start changes nothing."""
    wanted = layouts(topics, partitions=PARTITIONS)
    assert sorted(ensure_topics(kafka, topics, partitions=PARTITIONS, replication=1)) == sorted(wanted)
    touchpoints, states = _settings(kafka, topics.touchpoints), _settings(kafka, topics.states)
    assert touchpoints["message.timestamp.type"] == "LogAppendTime"
    assert int(touchpoints["retention.ms"]) == 7 * 86_400_000
    assert int(touchpoints["max.message.bytes"]) >= 1 << 20
    for name in (topics.states, topics.ledger, topics.suppressions, topics.definitions):
        found = _settings(kafka, name)
        assert (found["cleanup.policy"], found["min.compaction.lag.ms"]) == ("compact", "3600000")
        assert int(found["max.message.bytes"]) == (16 << 20) + (64 << 10)
    assert states["min.insync.replicas"] == "1"
    assert int(_settings(kafka, topics.dead_letters)["max.message.bytes"]) > int(touchpoints["max.message.bytes"])
    with admin(kafka) as client:
        counts = {each["name"]: len(each["partitions"]) for each in client.describe_topics(list(wanted))}
    assert counts == {
        name: 1 if name in {topics.definitions, topics.suppressions, topics.audit} else PARTITIONS for name in wanted
    }
    assert ensure_topics(kafka, topics, partitions=PARTITIONS, replication=1) == []
    assert check_topics(kafka, topics) == PARTITIONS


def test_roles_that_start_together_make_them_once(kafka: str, topics: Topics) -> None:
    """Four processes at the same moment: each topic is made by exactly one, and none of them fails."""
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: ensure_topics(kafka, topics, partitions=2, replication=1), range(4)))
    assert sorted(name for run in runs for name in run) == sorted(layouts(topics, partitions=2))
    assert check_topics(kafka, topics) == 2


def test_a_topic_that_was_lost_is_made_with_the_number_of_the_others(kafka: str, made: Topics) -> None:
    """The settings may say another number meanwhile: what stands in Kafka wins."""
    with admin(kafka) as client:
        client.delete_topics([made.journal])
    deadline = time.monotonic() + 10
    while made.journal not in ensure_topics(kafka, made, partitions=12, replication=1):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert check_topics(kafka, made) == PARTITIONS


def test_a_missing_topic_is_named(kafka: str, topics: Topics) -> None:
    """A role that makes none says which are missing and who makes them."""
    with pytest.raises(SettingsError, match=rf"{topics.states}.*anlass worker.*backup"):
        check_topics(kafka, topics)


def test_more_copies_than_brokers_is_a_wrong_setting(kafka: str, topics: Topics) -> None:
    """Kafka's own reason is told, and which setting to change."""
    with pytest.raises(SettingsError, match=r"3 copies.*\[kafka\] replication"):
        ensure_topics(kafka, topics, partitions=1, replication=3)


def test_grown_touchpoints_are_refused(kafka: str, made: Topics) -> None:
    """More partitions would move customers away from their state: the sentence says that, and names who has how many."""
    _grow(kafka, made.touchpoints, PARTITIONS + 3)
    with pytest.raises(SettingsError) as caught:
        check_topics(kafka, made)
    said = str(caught.value)
    assert f"{made.touchpoints} has 6" in said
    assert f"{made.states} has 3" in said
    assert "away from their state" in said
    assert f"take partitions away from {made.touchpoints}." in said
    assert caught.value.status == 2


def test_a_topic_with_too_few_partitions_is_mended_by_the_command_that_is_named(kafka: str, topics: Topics) -> None:
    """An auto-created `journal` of one partition: the named command would give it the others' number."""
    create_topics(kafka, {topics.journal: 1}, max_message_bytes=str(17 << 20))
    # As an older version might have left it: the others were there first.
    create_topics(kafka, {topics.states: 2}, cleanup_policy="compact", max_message_bytes=str(17 << 20))
    ensure_topics(kafka, topics, partitions=2, replication=1)
    with pytest.raises(SettingsError, match=rf"--alter --topic {topics.journal} --partitions 2"):
        check_topics(kafka, topics)
    _grow(kafka, topics.journal, 2)
    assert check_topics(kafka, topics) == 2


def test_two_partitions_of_definitions_are_refused(kafka: str, made: Topics) -> None:
    """The newest catalog is known by the order of one partition."""
    _grow(kafka, made.definitions, 2)
    with pytest.raises(SettingsError, match=rf"{made.definitions} has 2 partitions.*--delete"):
        check_topics(kafka, made)


def test_a_changelog_that_forgets_is_refused(kafka: str, topics: Topics) -> None:
    """`states` made by hand deletes after a week: the sentence has the command that makes it compacted, and that mends it."""
    create_topics(kafka, {topics.states: 1})
    ensure_topics(kafka, topics, partitions=1, replication=1)
    with pytest.raises(
        SettingsError, match=rf"{topics.states}.*cleanup.policy=delete.*--add-config cleanup.policy=compact"
    ):
        check_topics(kafka, topics)
    with admin(kafka) as client:
        configs = dict(layouts(topics, partitions=1)[topics.states].fixed)
        client.alter_configs([ConfigResource("TOPIC", topics.states, configs)])
    assert check_topics(kafka, topics) == 1


@pytest.mark.parametrize(
    ("role", "source", "changelog", "what"),
    [
        ("worker", "touchpoints", "states", "every customer's state"),
        ("dispatcher", "dispatches", "ledger", "which messages were sent"),
    ],
)
def test_a_lost_changelog_is_no_silent_fresh_start(
    kafka: str, made: Topics, role: str, source: str, changelog: str, what: str
) -> None:
    """The role has worked, its changelog is empty: refused; accepted on demand, once, and then it goes on where it was."""
    input_topic, log_topic = getattr(made, source), getattr(made, changelog)
    for number in (0, 2):
        _write(kafka, input_topic, partition=number, count=5)
    _commit(kafka, made.group(role), input_topic, offsets={0: 5, 1: 0, 2: 3})
    _write(kafka, log_topic, partition=2)
    with pytest.raises(
        SettingsError, match=rf"(?s){log_topic} is empty on partition 0,.*5 records.*{what}.*--accept-loss"
    ):
        check_topics(kafka, made)
    others = {"worker", "dispatcher", "collector"} - {role}
    assert check_topics(kafka, made, roles=others) == PARTITIONS, "a collector goes on taking events in"
    assert check_topics(kafka, made, roles=others, accept_loss=True) == PARTITIONS, "and nobody accepts for others"
    with pytest.raises(SettingsError):
        check_topics(kafka, made, roles={role})
    assert check_topics(kafka, made, roles={role}, accept_loss=True) == PARTITIONS
    assert check_topics(kafka, made) == PARTITIONS
    assert asyncio.run(_checkpoints(kafka, log_topic)) == {0: 4}


async def _checkpoints(bootstrap: str, topic: str) -> dict[int, int]:
    """Partition → what its checkpoint says is applied."""
    from aiokafka import AIOKafkaConsumer

    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        found = [each for records in (await consumer.getmany(timeout_ms=3_000)).values() for each in records]
        return {each.partition: decode_checkpoint(each.value).applied for each in found if each.key == CHECKPOINT_KEY}


def test_a_first_start_is_no_loss(kafka: str, made: Topics) -> None:
    """Events wait, nobody has read any: everything is empty because it is new."""
    _write(kafka, made.touchpoints, partition=0, count=5)
    assert check_topics(kafka, made) == PARTITIONS


def test_lag_counts_what_is_not_committed(kafka: str, made: Topics) -> None:
    """By partition; a group that never read is behind by everything, and a topic that is not there has none."""
    group = made.group("worker")
    _write(kafka, made.touchpoints, partition=0, count=5)
    _write(kafka, made.touchpoints, partition=1, count=2)
    assert lag(kafka, group, topic=made.touchpoints) == {0: 5, 1: 2, 2: 0}
    _commit(kafka, group, made.touchpoints, offsets={0: 3})
    assert lag(kafka, group, topic=made.touchpoints) == {0: 2, 1: 2, 2: 0}
    assert lag(kafka, group, topic=f"{made.prefix}nothing") == {}


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid:9092", "127.0.0.1:port"])
def test_a_broker_that_does_not_answer_is_status_3(topics: Topics, address: str) -> None:
    """Wherever it is asked, in bounded time, and with the setting that names it."""
    begun = time.monotonic()
    with pytest.raises(ServiceUnreachable, match=rf"{address}.*ANLASS_KAFKA") as caught:
        wait_for_kafka(address)
    assert caught.value.status == 3
    assert time.monotonic() - begun < 5


def test_waiting_says_that_it_waits_and_ends(topics: Topics) -> None:
    """Nothing ever listens: a sentence every few seconds, and the error when the time is over."""
    heard: list[str] = []
    begun = time.monotonic()
    with pytest.raises(ServiceUnreachable):
        wait_for_kafka(f"127.0.0.1:{free_ports(1)[0]}", wait_seconds=3, say=heard.append)
    assert 3 <= time.monotonic() - begun < 8
    assert heard
    assert heard[0].startswith("Waiting for Kafka at 127.0.0.1:")


def test_of_three_brokers_two_have_to_acknowledge(kafka_cluster: Start, topics: Topics) -> None:
    """With `replication = 0` there are three copies, and a record counts as durable when two have it."""
    cluster = kafka_cluster(3)
    ensure_topics(cluster.bootstrap, topics, partitions=1, replication=0)
    with admin(cluster.bootstrap) as client:
        described = client.describe_topics([topics.states])[0]["partitions"][0]
    assert len(described["replica_nodes"]) == 3
    assert _settings(cluster.bootstrap, topics.states)["min.insync.replicas"] == "2"


def test_a_broker_that_comes_late_is_waited_for(kafka_cluster: Start, topics: Topics) -> None:
    """The role starts before its broker, as in a compose file, and goes on when it answers."""
    cluster = kafka_cluster()
    cluster.kill(0)
    with ThreadPoolExecutor(1) as pool:
        waited = pool.submit(wait_for_kafka, cluster.bootstrap, wait_seconds=60)
        time.sleep(2)
        assert not waited.done()
        cluster.restart(0)
        waited.result(timeout=30)
    assert len(ensure_topics(cluster.bootstrap, topics, partitions=1, replication=1)) == 9
