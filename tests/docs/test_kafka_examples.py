"""What `sending-events.md` shows of writing straight to Kafka is done against a real broker, and what arrives is looked at."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from engine.collector.intake.foreign import parse_foreign
from engine.core.record import Event
from engine.errors import ServiceUnreachable
from engine.runtimes.kafka.admin import ensure_topics
from engine.runtimes.kafka.topics import Topics, headers_of, partition_of
from tests.docs.page import ROOT, Block, blocks, commands
from tests.services.kafka_tools import console_producer

PAGE = ROOT / "docs" / "shops" / "sending-events.md"
WRITTEN_BROKER, WRITTEN_PREFIX = "127.0.0.1:9092", "anlass."
PARTITIONS = 3
KCAT = shutil.which("kcat") or shutil.which("kafkacat")


class Reader:
    """One who follows the page, with this broker and these topics instead of the written ones."""

    def __init__(self, folder: Path, bootstrap: str, topics: Topics) -> None:
        self.folder = folder
        self._bootstrap = bootstrap
        self._topics = topics
        self._bin = folder / ".bin"
        self._bin.mkdir()
        self._program("anlass", f"PYTHONPATH={ROOT} exec {sys.executable} -m engine.cli")

    def _program(self, name: str, command: str) -> None:
        (self._bin / name).write_text(f'#!/bin/sh\n{command} "$@"\n', "utf-8")
        (self._bin / name).chmod(0o755)

    def has_console_producer(self) -> None:
        """Puts Kafka's script on the path. Raises ServiceUnreachable."""
        whole = console_producer("", "")
        self._program("kafka-console-producer.sh", f"exec {shlex.join(whole[: whole.index('--bootstrap-server')])}")

    def adapted(self, text: str) -> str:
        """The text with our addresses. `emit` finds the prefix behind the address."""
        text = text.replace(f"kafka://{WRITTEN_BROKER}", f"kafka://{self._bootstrap}/{self._topics.prefix}")
        return text.replace(WRITTEN_BROKER, self._bootstrap).replace(
            f"{WRITTEN_PREFIX}touchpoints", self._topics.touchpoints
        )

    def do(self, command: str) -> str:
        """Runs it in a shell and returns what it printed."""
        environment = {**os.environ, "PATH": f"{self._bin}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["/bin/sh", "-c", self.adapted(command)], cwd=self.folder, env=environment, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def arrived(self, count: int) -> list[Any]:
        """What stands on `touchpoints`."""

        async def read() -> list[Any]:
            async with (
                asyncio.timeout(20),
                AIOKafkaConsumer(
                    self._topics.touchpoints, bootstrap_servers=self._bootstrap, auto_offset_reset="earliest"
                ) as consumer,
            ):
                return [await consumer.getone() for _ in range(count)]

        return asyncio.run(read())


@pytest.fixture
def reader(kafka: str, topic_prefix: str, tmp_path: Path) -> Reader:
    """In an empty folder, with topics that the roles have made."""
    topics = Topics(prefix=topic_prefix)
    ensure_topics(kafka, topics, partitions=PARTITIONS, replication=1)
    return Reader(tmp_path, kafka, topics)


def _section() -> list[Block]:
    """The blocks under the heading, in order."""
    lines = PAGE.read_text("utf-8").splitlines()
    start = lines.index("## Straight to Kafka") + 1
    end = next(number for number, line in enumerate(lines[start:], start + 1) if line.startswith("## "))
    return [block for block in blocks(PAGE) if start < block.line < end]


def _commands() -> dict[str, tuple[str, list[str]]]:
    """Program → its command and what it is said to print."""
    found = [pair for block in _section() if block.language == "text" for pair in commands(block)]
    programs = {pair[0].rpartition("| ")[2].split()[0]: pair for pair in found}
    assert sorted(programs) == ["anlass", "kafka-console-producer.sh", "kcat"], "each is run by a test below"
    return programs


def _check(each: Any, name: str, message_id: str) -> None:
    (event,) = parse_foreign(each.key, each.value, headers_of(each.headers), each.timestamp)
    assert isinstance(event, Event)
    assert (event.customer, event.name) == ("ana", name)
    assert not message_id or event.id == message_id
    assert each.key == b"ana"
    assert each.partition == partition_of(b"ana", PARTITIONS), "hashed as Java's clients do"


def test_emit_writes_the_file_of_a_new_project(reader: Reader) -> None:
    """As shown, and as many as it says."""
    reader.do("anlass init shop")
    reader.folder /= "shop"
    command, printed = _commands()["anlass"]
    assert reader.do(command).splitlines() == printed
    assert len(reader.arrived(5)) == 5


def test_kcat_writes_a_record(reader: Reader) -> None:
    """Onto the partition where Java's clients would have put it."""
    if KCAT is None:
        command, _ = _commands()["kcat"]
        assert " -P -b 127.0.0.1:9092 -t anlass.touchpoints " in command  # where there is no kcat, its words at least
        return
    reader.do(_commands()["kcat"][0])
    (each,) = reader.arrived(1)
    _check(each, "Order Completed", "o-1002")


def test_the_console_producer_writes_a_record(reader: Reader) -> None:
    """Which names nobody, and so is its key's."""
    try:
        reader.has_console_producer()
    except ServiceUnreachable as error:
        pytest.skip(str(error))
    reader.do(_commands()["kafka-console-producer.sh"][0])
    (each,) = reader.arrived(1)
    _check(each, "Page Viewed", "p-17")


def test_the_python_example_writes_a_cloudevent(reader: Reader) -> None:
    """Run as it stands."""
    (block,) = [block for block in _section() if block.language == "python"]
    (reader.folder / "shop.py").write_text(reader.adapted(block.text), "utf-8")
    reader.do(f"{sys.executable} shop.py")
    (each,) = reader.arrived(1)
    _check(each, "Order Shipped", "")
