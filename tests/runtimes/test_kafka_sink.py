"""The sink on a real broker: everything on the topics is in the database once, whoever dies, joins or leaves."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import psycopg
import pytest
from aiokafka import AIOKafkaProducer

from engine.clock import ManualClock
from engine.errors import StorageError
from engine.runtimes.base import Query
from engine.runtimes.journal import Database, DatabaseReader
from engine.runtimes.journal.consumed import Kind
from engine.runtimes.journal.sink import Sink, SinkOptions
from engine.runtimes.kafka.topics import Topics
from engine.telemetry import Metrics
from tests.runtimes.journal_records import (
    T0,
    Record,
    checkpoint,
    entry,
    gone,
    letter,
    line,
    message,
    removed,
    state,
    tables,
)
from tests.services.kafka import admin, create_topics

PARTITIONS = 3

Send = Callable[[Kind, int, Sequence[Record]], Awaitable[None]]


@pytest.fixture
def topics(kafka: str, topic_prefix: str) -> Topics:
    """The topics that a sink reads, empty."""
    names = Topics(topic_prefix)
    create_topics(kafka, dict.fromkeys((names.journal, names.states, names.ledger, names.dead_letters), PARTITIONS))
    return names


@pytest.fixture
async def send(kafka: str, topics: Topics) -> AsyncIterator[Send]:
    """Puts records on a partition, in order."""
    names = {
        "journal": topics.journal, "states": topics.states, "ledger": topics.ledger, "dead-letters": topics.dead_letters
    }  # fmt: skip
    producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True)
    await producer.start()

    async def put(kind: Kind, partition: int, records: Sequence[Record]) -> None:
        for key, value, headers in records:
            await producer.send(names[kind], value, key, partition=partition, headers=list(headers))
        await producer.flush()

    yield put
    await producer.stop()


@pytest.fixture
async def database(postgres: str) -> AsyncIterator[Database]:
    """On PostgreSQL."""
    opened = Database(postgres)
    yield opened
    await opened.close()


@pytest.fixture
async def start(kafka: str, topics: Topics) -> AsyncIterator[Callable[[Database], Awaitable[Sink]]]:
    """Starts sinks; stops what still runs."""
    started: list[Sink] = []

    async def one(database: Database) -> Sink:
        sink = Sink(database, topics, bootstrap=kafka)
        await sink.start()
        started.append(sink)
        return sink

    yield one
    for sink in started:
        with contextlib.suppress(StorageError):
            await sink.stop()


async def _caught_up(sink: Sink) -> None:
    await asyncio.wait_for(sink.caught_up(), 60)


async def _journal(database: Database) -> list[tuple[int, int, int]]:
    """The identities of all lines, in order of arrival."""
    found = await tables(database)
    return [row[:3] for row in found["journal"]]


async def test_what_is_on_the_topics_is_in_the_database(
    send: Send, database: Database, start: Callable[[Database], Awaitable[Sink]], tmp_path: Path
) -> None:
    """All four topics; a sink that starts later goes on where the database is; a new database is filled from the beginning."""
    told = message("a")
    await send("journal", 0, [line("a", 1), line("a", 1, 1, kind="send", detail={"message": told.id})])
    await send("states", 0, [checkpoint(1), state("a", 1, traits={"n": 1})])
    await send("ledger", 0, [entry(told, 1, offset=1)])
    sink = await start(database)
    await _caught_up(sink)
    reader = DatabaseReader(database)
    assert [decision.kind for _, decision in await reader.decisions(Query(customer="a"))] == ["send", "entered"]
    await sink.stop()
    await send("ledger", 0, [entry(told, 2, offset=1, status="sent")])
    await send("dead-letters", 2, [letter("a", "t:2:5")])
    await send("journal", 1, [line("b", 4)])
    sink = await start(database)
    await _caught_up(sink)
    status, found = await reader.message(told.id), await reader.state("a")
    assert status is not None
    assert status.status == "sent"
    assert found is not None
    assert found.traits == {"n": 1}
    counts = await reader.counts()
    assert (counts["events"], counts["dead_letters"], counts["decisions"]) == (2, 1, {"entered": 2, "send": 1})
    assert sink.lag()["journal"] == {0: 0, 1: 0, 2: 0}
    assert sink.placed
    await sink.stop()
    fresh = Database(f"sqlite:///{tmp_path}/journal.db")
    sink = await start(fresh)
    await _caught_up(sink)
    assert await tables(fresh) == await tables(database)
    await sink.stop()
    await fresh.close()


async def test_poison_sticks_nowhere(
    send: Send, database: Database, start: Callable[[Database], Awaitable[Sink]]
) -> None:
    """Values that cannot be read or stored become dead letters; what comes after them is written."""
    far = b'{"type":"decision","offset":9,"index":0,"at":"","at_ms":18446744073709551615,"customer":"a","kind":"x"}'
    await send("journal", 0, [line("a", 1), (b"a", b"\xff\xfe", ()), (b"k", None, ()), (b"a", far, ()), line("a", 2)])
    await send("states", 0, [(b"a", b"x", ()), (None, b"y", ()), state("a", 2), gone("a", 1)])
    await send("ledger", 0, [(b"m", b"z", ()), entry(message("a"), 1)])
    sink = await start(database)
    await _caught_up(sink)
    assert await _journal(database) == [(0, 1, 0), (0, 2, 0)]
    letters = await DatabaseReader(database).dead_letters()
    assert sorted(each.origin for each in letters) == [
        "journal:0:1", "journal:0:2", "journal:0:3", "ledger:0:0", "states:0:0", "states:0:1"
    ]  # fmt: skip
    assert len(await DatabaseReader(database).messages()) == 1


async def test_an_erasure_reaches_the_database(
    send: Send, database: Database, start: Callable[[Database], Awaitable[Sink]]
) -> None:
    """What the topics still hold about a forgotten customer is gone from the database, or never comes there."""
    await send("journal", 0, [line("a", 1), line("b", 2), removed("a", 3)])
    await send("states", 0, [state("a", 1), state("b", 2), gone("a", 3)])
    await send("ledger", 0, [entry(message("a"), 1, offset=1), entry(message("b"), 1, offset=2)])
    sink = await start(database)
    await _caught_up(sink)
    found = await tables(database)
    assert "a" not in {row[4] for row in found["journal"]} | {row[4] for row in found["ledger"]}
    assert [row[0] for row in found["states"]] == ["b"]
    assert [row[2] for row in found["erasures"]] == ["erased:1"]


async def test_sinks_share_and_hand_over(
    kafka: str, postgres: str, topics: Topics, send: Send, start: Callable[[Database], Awaitable[Sink]]
) -> None:
    """Sinks join and leave while lines come; each line is there once, and each partition's lines stay in order."""
    databases = [Database(postgres) for _ in range(3)]
    sinks = [await start(databases[0])]
    for offset in range(0, 1_200, 100):
        for partition in range(PARTITIONS):
            await send("journal", partition, [line(f"c{partition}", offset + each) for each in range(100)])
            await send("ledger", partition, [entry(message(f"c{partition}", offset), 1, offset=offset)])
        if offset == 200:
            sinks.append(await start(databases[1]))
        if offset == 500:
            sinks.append(await start(databases[2]))
        if offset == 800:
            await sinks[0].stop()
    await _caught_up(sinks[1])
    reader = DatabaseReader(databases[1])
    lines = await reader.decisions(Query(oldest_first=True, limit=10_000))
    assert len(lines) == 3 * 1_200
    for partition in range(PARTITIONS):
        times = [decision.at_ms for _, decision in lines if decision.customer == f"c{partition}"]
        assert times == sorted(set(times))
        assert len(times) == 1_200
    assert (await reader.counts())["messages"] == {"email": {"pending": 36}}
    for sink in sinks:
        await sink.stop()
    for each in databases:
        await each.close()


async def test_a_database_that_goes_away_is_waited_for(
    send: Send, database: Database, postgres: str, start: Callable[[Database], Awaitable[Sink]]
) -> None:
    """Its server ends our sessions again and again; nothing is lost and nothing is written twice."""
    sink = await start(database)
    with psycopg.connect(postgres, autocommit=True) as other:
        for offset in range(0, 500, 50):
            await send("journal", 0, [line("a", offset + each) for each in range(50)])
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.05)
    await _caught_up(sink)
    assert await _journal(database) == [(0, offset, 0) for offset in range(500)]


async def test_topics_that_were_made_anew_are_noticed(
    kafka: str, topics: Topics, send: Send, database: Database, start: Callable[[Database], Awaitable[Sink]]
) -> None:
    """A database that is further than the topic tells of another topic: the sink ends with the mend, and writes nothing."""
    await send("journal", 0, [line("a", number) for number in range(5)])
    sink = await start(database)
    await _caught_up(sink)
    await sink.stop()
    with admin(kafka) as client:
        client.delete_topics([topics.journal])
    await asyncio.sleep(1)
    create_topics(kafka, {topics.journal: PARTITIONS})
    await send("journal", 0, [line("b", 1)])
    with pytest.raises(StorageError, match="made anew"):
        await asyncio.wait_for(Sink(database, topics, bootstrap=kafka).run(asyncio.Event()), 30)
    assert len(await _journal(database)) == 5


async def test_what_the_topic_does_not_have_any_more_is_skipped(
    kafka: str, topics: Topics, send: Send, database: Database, start: Callable[[Database], Awaitable[Sink]]
) -> None:
    """Retention was faster than the sink: it goes on with what is there, instead of waiting for what will never come."""
    from kafka import TopicPartition

    await send("journal", 0, [line("a", number) for number in range(10)])
    with admin(kafka) as client:
        client.delete_records({TopicPartition(topics.journal, 0): 7})
    sink = await start(database)
    await _caught_up(sink)
    assert await _journal(database) == [(0, 7, 0), (0, 8, 0), (0, 9, 0)]


async def test_old_lines_go_and_what_was_written_is_measured(
    kafka: str, topics: Topics, send: Send, database: Database, start: Callable[[Database], Awaitable[Sink]]
) -> None:
    """`journal_days` prunes the database at the start of a sink; rows, batches and lag are on the metrics' page."""
    await send("journal", 0, [line("a", number) for number in range(6)])
    await send("ledger", 0, [entry(message("a"), 1), (b"m", b"poison", ())])
    first = await start(database)
    await _caught_up(first)
    await first.stop()
    await send("journal", 0, [line("a", number) for number in range(6, 8)])
    metrics = Metrics()
    clock = ManualClock(T0 + 86_400_000 + 4)
    sink = Sink(database, topics, bootstrap=kafka, metrics=metrics, clock=clock, options=SinkOptions(journal_days=1))
    await sink.start()
    await _caught_up(sink)
    async with asyncio.timeout(30):
        while await _journal(database) != [(0, number, 0) for number in range(4, 8)]:
            await asyncio.sleep(0.05)
    await sink.stop()
    page = metrics.expose().decode()
    assert 'anlass_sink_rows_total{table="journal"} 2.0' in page
    assert "anlass_sink_batch_seconds_count 1.0" in page
    assert 'anlass_sink_lag_records{partition="0",topic="journal"} ' in page


WORKER = """
import asyncio, sys
from engine.runtimes.journal import Database
from engine.runtimes.journal.sink import Sink, SinkOptions
from engine.runtimes.kafka.topics import Topics
url, prefix, bootstrap, name = sys.argv[1:]
options = SinkOptions(batch_records_max=100, session_timeout_seconds=2, instance=name)
asyncio.run(Sink(Database(url), Topics(prefix), bootstrap=bootstrap, options=options).run(asyncio.Event()))
"""
OFFSETS = 2_500
KILLS = 4


async def _load(send: Send) -> None:
    """Lines, states and entries on every partition, some at a time."""
    for first in range(0, OFFSETS, 50):
        span = range(first, first + 50)
        for partition in range(PARTITIONS):
            customer = f"c{partition}"
            await send("journal", partition, [line(customer, offset) for offset in span])
            await send("states", partition, [state(customer, offset) for offset in span])
            told = [message(customer, offset) for offset in span[::5]]
            await send("ledger", partition, [entry(each, version) for each in told for version in (1, 2)])


async def _written(database: Database) -> int:
    """How many offsets of all topics are in the database."""
    return sum(offset for _, _, offset in await database.rows("progress_all"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_kill_9_under_load_writes_each_row_once(
    kafka: str, topics: Topics, send: Send, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Two processes share the work and are killed in the middle of it, again and again; each row is there once."""
    url = f"sqlite:///{tmp_path}/journal.db" if kind == "sqlite" else request.getfixturevalue("postgres")
    dice = random.Random(7)
    database = Database(url)
    await database.open()

    async def spawn(name: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, url, topics.prefix, kafka, name, stderr=asyncio.subprocess.DEVNULL
        )

    names = ("one", "two")
    processes = {name: await spawn(name) for name in names}
    load = asyncio.create_task(_load(send))
    kills_at_work = 0
    try:
        for number in range(KILLS):
            before, name = await _written(database), names[number % 2]
            async with asyncio.timeout(60):
                while await _written(database) < before + 400:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(dice.uniform(0, 0.1))
            first = await _written(database)
            processes[name].kill()
            await processes[name].wait()
            kills_at_work += not load.done() or first < _everything()
            processes[name] = await spawn(name)
        await load
        async with asyncio.timeout(120):
            while await _written(database) < _everything():
                await asyncio.sleep(0.1)
    finally:
        load.cancel()
        for process in processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert kills_at_work == KILLS
    expected = [(partition, offset, 0) for partition in range(PARTITIONS) for offset in range(OFFSETS)]
    assert await _journal(database) == expected
    counts = await DatabaseReader(database).counts()
    assert counts["decisions"] == {"entered": len(expected)}
    assert counts["messages"] == {"email": {"pending": len(expected) // 5}}
    assert counts["customers"] == PARTITIONS
    await database.close()


def _everything() -> int:
    return PARTITIONS * (OFFSETS + OFFSETS + 2 * OFFSETS // 5)
