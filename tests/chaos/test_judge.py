"""The judge of the chaos tests: it finds a sound round sound, and each kind of damage that is planted in it.

Invariant: the topics of the sound round come from the runtime's own planner, in memory, without a broker.
"""

from __future__ import annotations

import asyncio
import copy
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.collector.intake.foreign import parse_foreign
from engine.core.catalog import Catalog
from engine.core.record import Timer
from engine.definition.load import load_project
from engine.runtimes.kafka.partition.arrival import Incoming, PlanNeeds
from engine.runtimes.kafka.partition.store import RowStore
from engine.runtimes.kafka.topics import (
    CHECKPOINT_KEY,
    PREFIX_BYTES,
    Checkpoint,
    Topics,
    encode_checkpoint,
    encode_input,
    pack_row,
    partition_of,
    unpack_prefix,
)
from engine.runtimes.kafka.worker.plan import CommitPlanner
from tests.chaos.judge import judge
from tests.chaos.load import POISON_KEY, Acknowledged
from tests.chaos.measure import Happened, measure
from tests.chaos.reading import Found, Logs, Topic
from tests.chaos.visits import Expected, Visit, make_project

TOPICS = Topics("t.")
PARTITIONS = 2
NOW_MS = 1_790_000_000_000


class Stage:
    """The topics of a small round, filled by hand: no broker, no processes."""

    def __init__(self, folder: Path) -> None:
        loaded = load_project(make_project(folder / "project"))
        assert loaded.catalog is not None, loaded.problems
        self.catalog: Catalog = loaded.catalog
        self.expected = Expected()
        self.acknowledged: list[Acknowledged] = []
        empty: list[Topic] = [{number: [] for number in range(PARTITIONS)} for _ in range(6)]
        self.logs = Logs(*empty)
        self._now_ms = NOW_MS
        self._stores = [RowStore(folder / str(number)) for number in range(PARTITIONS)]
        self._checkpoints = [Checkpoint(catalog=self.catalog.id) for _ in range(PARTITIONS)]
        for store in self._stores:
            store.open()

    def close(self) -> None:
        for store in self._stores:
            store.close()

    async def put(
        self, customer: str, kind: str, label: str, *, astray: bool = False, anonymous: bool = False, **fields: Any
    ) -> None:
        whose = {} if kind == "alias" else {"anonymousId" if anonymous else "userId": customer}
        value = msgspec.json.encode({"type": kind, "messageId": f"{customer}-{label}", **whose, **fields})
        number = partition_of(customer.encode(), PARTITIONS)
        self.acknowledge(1 - number if astray else number, customer.encode(), value)
        self.work()

    def acknowledge(self, number: int, key: bytes, value: bytes) -> None:
        found = self._append(self.logs.touchpoints, number, key, value)
        self.acknowledged.append(Acknowledged(number, found.offset, zlib.crc32(value)))

    def _append(self, topic: Topic, number: int, key: bytes | None, value: bytes | None, headers: Any = ()) -> Found:
        self._now_ms += 1
        found = Found(number, len(topic[number]), self._now_ms, key, value, tuple(headers))
        topic[number].append(found)
        return found

    def work(self) -> None:
        """Plans until nothing is left to read."""
        while sum(self._plan(number) for number in range(PARTITIONS)):
            pass

    def fire(self) -> None:
        """Lets time pass until nothing is due within a minute."""
        while due := [
            (number, *each) for number in range(PARTITIONS) for each in self._stores[number].due(NOW_MS * 2, 99)
        ]:
            due = [each for each in due if each[1] < self._now_ms + 60_000]
            if not due:
                return
            for number, due_ms, key in due:
                timer = Timer(customer=key.decode(), at_ms=due_ms, due_ms=due_ms)
                self._append(self.logs.touchpoints, number, key, encode_input(timer))
                self._now_ms = max(self._now_ms, due_ms)
            self.work()

    def _plan(self, number: int) -> bool:
        checkpoint = self._checkpoints[number]
        new = self.logs.touchpoints[number][checkpoint.applied + 1 :]
        if not new:
            return False
        here = PlanNeeds(
            topics=TOPICS, partition=number, partitions=PARTITIONS, parse=parse_foreign,
            alias=lambda customer: customer, address_key=lambda channel, address: f"{channel}:{address}".encode(),
        )  # fmt: skip
        incoming = [Incoming(each.offset, each.at_ms, each.key, each.value, each.headers) for each in new]
        plan = CommitPlanner(here, self._stores[number]).plan(
            {self.catalog.id: self.catalog}, checkpoint, incoming=incoming
        )
        body = encode_checkpoint(plan.checkpoint)
        self._append(self.logs.states, number, CHECKPOINT_KEY, body)
        for change in plan.changes:
            self._append(self.logs.states, number, change.key, change.row)
        self._stores[number].write(plan.changes, body, offset=len(self.logs.states[number]) - 1)
        self._checkpoints[number] = plan.checkpoint
        places = {
            TOPICS.touchpoints: self.logs.touchpoints,
            TOPICS.dispatches: self.logs.dispatches,
            TOPICS.journal: self.logs.journal,
            TOPICS.dead_letters: self.logs.dead_letters,
        }
        for each in plan.checkpoint.outgoing:
            self._append(places[each.topic], each.partition, each.key, each.value, each.headers)
        return True

    def judge(self) -> list[str]:
        verdict = judge(self.logs, self.catalog, topics=TOPICS, expected=self.expected, acknowledged=self.acknowledged)
        return verdict.wrong


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A sound round of some customers and some poison."""
    made = Stage(tmp_path_factory.mktemp("stage"))

    async def visits() -> None:
        everybody = [
            Visit(f"c{number}", made.put, made.expected, dice=random.Random(number)).run() for number in range(12)
        ]
        await asyncio.gather(*everybody)

    asyncio.run(visits())
    made.acknowledge(0, POISON_KEY + b"1", b"{")
    made.work()
    made.fire()
    yield made
    made.close()


@pytest.fixture
def stage(played: Stage) -> Stage:
    """The test's own copy of what stands there, to do damage in."""
    mine = copy.copy(played)
    mine.logs = Logs(*[{number: list(found) for number, found in topic.items()} for topic in _topics(played.logs)])
    mine.expected, mine.acknowledged = copy.deepcopy(played.expected), list(played.acknowledged)
    return mine


def _topics(logs: Logs) -> tuple[Topic, ...]:
    return (logs.touchpoints, logs.dispatches, logs.journal, logs.dead_letters, logs.states, logs.ledger)


def test_a_sound_round_is_found_sound(stage: Stage) -> None:
    """Nothing is said, and every script of the shop was played."""
    assert stage.judge() == []
    expected = stage.expected
    assert expected.runs
    assert expected.races
    assert expected.failed
    assert expected.merged


def test_what_is_written_again_is_fine_when_it_is_the_same(stage: Stage) -> None:
    """Redelivery writes the effects of a batch again; whoever reads them drops what they know."""
    for topic in (stage.logs.journal, stage.logs.dispatches, stage.logs.dead_letters):
        topic[0] += copy.copy(topic[0])
    assert stage.judge() == []


def _drop(topic: str) -> Callable[[Stage], None]:
    def drop(stage: Stage) -> None:
        del getattr(stage.logs, topic)[0][-1]

    return drop


def _say_again(topic: str, old: bytes, new: bytes) -> Callable[[Stage], None]:
    def say_again(stage: Stage) -> None:
        found = getattr(stage.logs, topic)[0]
        each = next(each for each in found if old in each.value)
        found.append(msgspec.structs.replace(each, offset=len(found), value=each.value.replace(old, new)))

    return say_again


def _swap(stage: Stage) -> None:
    lines = stage.logs.journal[0]
    first = next(at for at in range(len(lines) - 1) if lines[at].key == lines[at + 1].key)
    lines[first], lines[first + 1] = lines[first + 1], lines[first]


def _lose_record(stage: Stage) -> None:
    stage.acknowledged.append(Acknowledged(0, 10_000, 1))


def _forget_row(stage: Stage) -> None:
    rows = stage.logs.states[0]
    key = next(each.key for each in rows if each.key != CHECKPOINT_KEY)
    stage.logs.states[0] = [each for each in rows if each.key != key]


def _change_row(stage: Stage) -> None:
    rows = stage.logs.states[0]
    last = next(each for each in reversed(rows) if each.key != CHECKPOINT_KEY)
    other = next(each for each in reversed(rows) if each.key not in {CHECKPOINT_KEY, last.key})
    assert last.value is not None
    assert other.value is not None
    position, due_ms = unpack_prefix(last.value)
    rows.append(msgspec.structs.replace(last, value=pack_row(position, due_ms, other.value[PREFIX_BYTES:])))


def _die_without_poison(stage: Stage) -> None:
    letter = stage.logs.dead_letters[0][0]
    headers = tuple((name, value.replace(b":0:", b":1:")) for name, value in letter.headers)
    stage.logs.dead_letters[0].append(msgspec.structs.replace(letter, headers=headers))


def _expect_more(stage: Stage) -> None:
    stage.expected.runs["receipt/nobody/o1"] = 1


def _expect_less(stage: Stage) -> None:
    del stage.expected.runs[next(run for run in stage.expected.runs if run.startswith("receipt/"))]


def _hand_on_nothing(stage: Stage) -> None:
    """A record of ours that no decision led to."""
    record = b'["event","c1",1,0,"made-up","Nobody Asked",1]'
    number = partition_of(b"c1", PARTITIONS)
    stage.logs.touchpoints[number].append(Found(number, len(stage.logs.touchpoints[number]), 1, b"c1", record))


FAULTS: dict[str, tuple[Callable[[Stage], None], str]] = {
    "a journal line is missing": (_drop("journal"), "journal lines missing"),
    "a journal line says something else the second time": (
        _say_again("journal", b'"kind":"entered"', b'"kind":"exited"'),
        "journal lines that were written again with another content",
    ),
    "a journal line of another index": (
        _say_again("journal", b'"index":0', b'"index":77'),
        "journal lines that nothing leads to",
    ),
    "journal lines change places": (_swap, "out of their customer's order"),
    "a message is missing": (_drop("dispatches"), "messages missing"),
    "a message says something else the second time": (
        _say_again("dispatches", b"@example.com", b"@example.org"),
        "handed over again with another content",
    ),
    "a dead letter is missing": (_drop("dead_letters"), "poison that is not a dead letter"),
    "a sound record became a dead letter": (_die_without_poison, "dead letters that are not poison"),
    "an acknowledged record is gone": (_lose_record, "acknowledged records that are not on the log"),
    "a customer's state is gone": (_forget_row, "lacks customers"),
    "a customer has another's state": (_change_row, "states[0] differ"),
    "a run that was never entered": (_expect_more, "runs not entered exactly once"),
    "a run that nobody expects": (_expect_less, "sends of runs that nobody expects"),
    "a record handed on from nowhere": (_hand_on_nothing, "a record that nobody handed on"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_judge_finds_a_planted_fault(stage: Stage, fault: str) -> None:
    """A judge that could not find anything would prove nothing."""
    plant, said = FAULTS[fault]
    plant(stage)
    wrong = stage.judge()
    assert any(said in line for line in wrong), wrong


def _moves(*at_ms: int) -> Topic:
    return {
        0: [
            Found(0, offset, at, CHECKPOINT_KEY, encode_checkpoint(Checkpoint(applied=offset)))
            for offset, at in enumerate(at_ms)
        ]
    }


def test_recovery_is_what_a_disturbance_cost_by_itself() -> None:
    """From the kill to the next batch; the second one came while the partition still stood, so nothing is said about it."""
    happened = [Happened(10_100, "kill", "a"), Happened(30_000, "freeze", "b"), Happened(31_000, "kill", "c")]
    states = _moves(9_900, 10_000, 14_000, 14_100, *range(14_200, 29_900, 100), 40_000, 40_100)
    stalls = measure(states, happened, until_ms=50_000)
    assert stalls.recovery == {"kill": [3.9]}
    assert stalls.pauses == [4.0, 10.2]
