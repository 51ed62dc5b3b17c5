"""`anlass emit --to kafka://…` on a real broker: every line is acknowledged, reported or named as the one to go on with."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from engine.cli.operate.emit_kafka import KafkaTarget, kafka_target
from engine.collector.intake.foreign import parse_foreign
from engine.core.record import Event, Identify, Merge, Record
from engine.errors import UsageError
from engine.runtimes.kafka.admin import ensure_topics
from engine.runtimes.kafka.topics import Topics, headers_of, is_ours, partition_of
from tests.cli.conftest import anlass
from tests.cli.test_emit import tracks, write
from tests.services.kafka import Cluster
from tests.services.ports import free_ports

PARTITIONS = 3


@pytest.fixture
def topics(kafka: str, topic_prefix: str) -> Topics:
    """Topics of this test's own."""
    topics = Topics(prefix=topic_prefix)
    ensure_topics(kafka, topics, partitions=PARTITIONS, replication=1)
    return topics


def read(bootstrap: str, topics: Topics, count: int) -> list[Any]:
    """What stands on `touchpoints`: at least `count` records, each partition in order."""

    async def records() -> list[Any]:
        found: list[Any] = []
        async with (
            asyncio.timeout(30),
            AIOKafkaConsumer(topics.touchpoints, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer,
        ):
            while True:
                some = await consumer.getmany(timeout_ms=300)
                if not some and len(found) >= count:
                    return found
                found += [each for batch in some.values() for each in batch]

    return asyncio.run(records())


def understood(each: Any) -> list[Record]:
    """The records that the worker makes of it."""
    assert not is_ours(each.value)
    return parse_foreign(each.key, each.value, headers_of(each.headers), each.timestamp)


def test_lines_lie_keyed_by_customer_in_their_order(kafka: str, topics: Topics, tmp_path: Path) -> None:
    """3,000 events of 100 customers: all there once, on the partition of the key, each customer's in the file's order."""
    events = [
        {"type": "track", "userId": f"kundin-{number % 100}-ä", "event": "Viewed", "properties": {"n": number}}
        for number in range(3_000)
    ]
    done = anlass("emit", write(tmp_path / "e.jsonl", events), "--to", f"kafka://{kafka}/{topics.prefix}")
    assert (done.status, done.out, done.err) == (0, "3000 events sent.\n", "")
    found = read(kafka, topics, 3_000)
    assert len(found) == 3_000
    numbers: dict[str, list[int]] = {}
    ids = set()
    for each in found:
        (event,) = understood(each)
        assert isinstance(event, Event)
        assert each.key == event.customer.encode()
        assert each.partition == partition_of(each.key, PARTITIONS)
        numbers.setdefault(event.customer, []).append(event.properties["n"])
        ids.add(event.id)
    assert numbers == {f"kundin-{first}-ä": list(range(first, 3_000, 100)) for first in range(100)}
    assert len(ids) == 3_000


def test_every_type_is_what_it_is_over_http(kafka: str, topics: Topics, tmp_path: Path) -> None:
    """A merge is keyed by the id that is left, an identify with both ids by the customer; a line without one by nobody."""
    events = [
        {"type": "alias", "userId": "c1", "previousId": "a1", "messageId": "m1"},
        {"type": "identify", "userId": "c2", "anonymousId": "a2", "messageId": "m2", "traits": {"x": 1}},
        {"type": "page", "anonymousId": "a3", "messageId": "m3"},
    ]
    done = anlass("emit", write(tmp_path / "e.jsonl", events), "--to", f"kafka://{kafka}/{topics.prefix}")
    assert done.status == 0, done.err
    by_key = {each.key: understood(each) for each in read(kafka, topics, 3)}
    assert [type(record) for record in by_key[b"a1"]] == [Merge]
    assert [type(record) for record in by_key[b"c2"]] == [Merge, Identify]
    assert [record.customer for record in by_key[b"a3"]] == ["a3"]


def test_the_same_file_twice_has_the_same_ids(kafka: str, topics: Topics, tmp_path: Path) -> None:
    """So that a repetition changes nothing."""
    file = write(tmp_path / "e.jsonl", tracks(20))
    for _ in range(2):
        assert anlass("emit", file, "--to", f"kafka://{kafka}/{topics.prefix}").status == 0
    found = read(kafka, topics, 40)
    ids = [record.id for each in found for record in understood(each) if isinstance(record, Event)]
    assert (len(ids), len(set(ids))) == (40, 20)


def test_bad_lines_are_named_and_the_others_sent(kafka: str, topics: Topics, tmp_path: Path) -> None:
    """As over HTTP: number, code, reason; status 1; empty lines do not count."""
    file = write(tmp_path / "e.jsonl", [*tracks(2), "not json", "", {"type": "track", "event": "E"}, *tracks(1)])
    done = anlass("emit", file, "--to", f"kafka://{kafka}/{topics.prefix}")
    assert (done.status, done.out) == (1, "3 events sent, 2 refused.\n")
    assert [line.split(" ")[:2] for line in done.err.splitlines()] == [
        [f"{file}:3:", "invalid_json"],
        [f"{file}:5:", "missing_user"],
    ]
    assert len(read(kafka, topics, 3)) == 3


def test_from_line_and_standard_input(kafka: str, topics: Topics) -> None:
    """A pipe, begun at its third line."""
    said = "".join(f"{json.dumps(event)}\n" for event in tracks(5))
    done = anlass("emit", "-", "--to", f"kafka://{kafka}/{topics.prefix}", "--from-line", "3", stdin=said)
    assert (done.status, done.out) == (0, "3 events sent.\n")
    assert sorted(each.key for each in read(kafka, topics, 3)) == [b"c3", b"c4", b"c5"]


def test_without_a_host_it_is_the_projects_kafka(kafka: str, topics: Topics, tmp_path: Path) -> None:
    """`--to kafka://` reads [kafka] or ANLASS_KAFKA; without either it says what to set."""
    project = tmp_path / "shop"
    assert anlass("init", project).status == 0
    file = write(tmp_path / "e.jsonl", tracks(1))
    none = anlass("emit", file, "--to", "kafka://", "--project", project)
    assert none.status == 2
    assert "ANLASS_KAFKA" in none.err
    environment = {"ANLASS_KAFKA__BOOTSTRAP": kafka, "ANLASS_KAFKA__PREFIX": topics.prefix}
    assert anlass("emit", file, "--to", "kafka://", "--project", project, env=environment).status == 0
    assert len(read(kafka, topics, 1)) == 1


def test_a_topic_that_is_not_there_is_not_made(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """A misspelt prefix: status 2, and what to do."""
    done = anlass("emit", write(tmp_path / "e.jsonl", tracks(1)), "--to", f"kafka://{kafka}/{topic_prefix}")
    assert done.status == 2
    assert f"no topic {topic_prefix}touchpoints" in done.err
    assert "anlass worker" in done.err


def test_no_broker_is_status_3_in_bounded_time(tmp_path: Path) -> None:
    """One sentence, the line to go on with, and nothing of the client's own log."""
    begun = time.monotonic()
    address = f"127.0.0.1:{free_ports(1)[0]}"
    done = anlass("emit", write(tmp_path / "e.jsonl", tracks(1)), "--to", f"kafka://{address}")
    assert done.status == 3
    assert time.monotonic() - begun < 30
    assert f"Kafka at {address} does not answer" in done.err
    assert "--from-line 1" in done.err
    assert len(done.err.splitlines()) <= 3
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "target",
    ["kafka://host", "kafka://:9092", "kafka://host:0", "kafka://host:99999", "kafka://h:1,", "kafka://u:p@h:1",
     "kafka://h:1/a/b", "kafka://h:1?x=y", "kafka://[h:1"],
)  # fmt: skip
def test_an_address_that_makes_no_sense_is_refused(target: str) -> None:
    """With the form that does."""
    with pytest.raises(UsageError, match=r"kafka://HOST:PORT"):
        kafka_target(target)


def test_addresses_and_prefixes() -> None:
    """Several brokers; the default prefix; one with its dot and one without."""
    assert kafka_target("kafka://h:9092") == KafkaTarget("h:9092", "anlass.touchpoints")
    assert kafka_target("kafka://h:9092/") == KafkaTarget("h:9092", "anlass.touchpoints")
    assert kafka_target("kafka://a:1,b:2/shop") == KafkaTarget("a:1,b:2", "shop.touchpoints")
    assert kafka_target("kafka://[::1]:9092/shop-eu.") == KafkaTarget("[::1]:9092", "shop-eu.touchpoints")


def test_a_write_key_is_not_ignored(tmp_path: Path) -> None:
    """Kafka has none; whoever gives one means something else."""
    done = anlass("emit", write(tmp_path / "e.jsonl", tracks(1)), "--to", "kafka://h:9092", "--write-key", "k")
    assert done.status == 2
    assert "no write key" in done.err


def test_a_broker_that_dies_in_between_is_waited_for(kafka_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Killed while lines go out, started again: it says that it waits, ends with 0, and each line is there exactly once."""
    cluster = kafka_cluster()
    topics = Topics()
    ensure_topics(cluster.bootstrap, topics, partitions=2, replication=1)
    command = [sys.executable, "-m", "engine.cli", "emit", "-", "--to", f"kafka://{cluster.bootstrap}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdin is not None
        lines = [json.dumps(event) + "\n" for event in tracks(6_000)]
        run.stdin.writelines(lines[:3_000])
        run.stdin.flush()
        read(cluster.bootstrap, topics, 100)
        cluster.kill(0)
        run.stdin.writelines(lines[3_000:])
        run.stdin.close()
        run.stdin = None
        time.sleep(7)
        cluster.restart(0)
        out, err = run.communicate(timeout=90)
    assert (run.returncode, out.startswith("6000 events sent")) == (0, True), err
    assert "does not answer yet" in err
    found = [each.key for each in read(cluster.bootstrap, topics, 6_000)]
    assert len(found) == len(set(found)) == 6_000
