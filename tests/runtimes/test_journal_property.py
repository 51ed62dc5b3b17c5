"""However the topics are cut into batches, delivered again or interleaved: the tables are the same.

Invariant: a history is what the runtime may write (an old owner's late rows included); only its delivery is wild.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.runtimes.journal import Database, Displaced, Projection
from engine.runtimes.journal.consumed import KINDS, Consumed, Kind, Stretch
from tests.properties import examples
from tests.runtimes.journal_records import (
    T0,
    Record,
    checkpoint,
    consent,
    entry,
    gone,
    letter,
    line,
    message,
    removed,
    state,
    tables,
)

CUSTOMERS = {0: ("a", "b"), 1: ("c", "d")}
STATUSES = ("pending", "claimed", "sent", "failed")

LINES: list[dict[str, Any]] = [
    {"kind": "entered"},
    {"kind": "completed"},
    {"kind": "send", "detail": {"answer": "queued"}},
    {"kind": "send", "detail": {"answer": "held"}},
    {"kind": "outcome", "detail": {"outcome": "bounced"}},
    {"kind": "outcome", "detail": {"outcome": "complained"}},
]

Topics = dict[tuple[Kind, int], list[Record]]


class _History:
    """What a small run writes on the topics of one partition number."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.topics: dict[Kind, list[Record]] = {kind: [] for kind in KINDS}
        self.offset = 0
        self.version: dict[str, int] = {}

    def event(self, customer: str, dice: random.Random) -> None:
        """A record that decides something, and what its customer's state and ledger become."""
        self.offset += 1
        for index in range(dice.randint(0, 2)):
            if dice.random() < 0.2:
                told = consent(customer, self.offset, index, ip="192.0.2.7", wording="Yes")
            else:
                told = line(customer, self.offset, index, **dice.choice(LINES))
            self.topics["journal"].append(told)
        due_ms = dice.choice([0, T0])
        self.topics["states"].append(state(customer, self.offset, due_ms=due_ms, traits={"n": self.offset}))
        if dice.random() < 0.5:
            sent = message(customer, self.offset)
            for version in range(1, dice.randint(1, 3) + 1):
                status = dice.choice(STATUSES)
                self.topics["ledger"].append(entry(sent, version, offset=self.offset, status=status))
        if dice.random() < 0.2:  # what an operator says stands on one partition, which the workflow decides
            kind, reason = dice.choice([("paused", "sends: too many"), ("resumed", "operator")])
            told_of = {"kind": kind, "workflow": f"flow{self.partition}", "detail": {"reason": reason}}
            self.topics["journal"].append(line("", self.offset, 7, **told_of))
        if dice.random() < 0.5:
            origin = dice.choice([f"t:{self.partition}:{self.offset}", "http:/v1/track"])
            self.topics["dead-letters"].append(letter(customer, origin))

    def erase(self, customer: str) -> None:
        """The customer is forgotten: by the journal, and by the changelogs' own rows."""
        self.offset += 1
        self.topics["journal"].append(removed(customer, self.offset, f"erased:{customer}{self.offset}"))
        self.topics["states"].append(gone(customer, self.offset))

    def say_again(self, kind: Kind, number: int) -> None:
        """A new owner, or an old one, writes something a second time. Rows of customers that were erased since: too."""
        said = self.topics[kind]
        if said:
            said.append(said[number % len(said)])

    def poison(self, kind: Kind) -> None:
        """Nobody can read this."""
        self.topics[kind].append((b"\xff", b"\xc1", ()))


def _draw_history(partition: int, dice: random.Random, *, steps: int) -> dict[Kind, list[Record]]:
    history = _History(partition)
    for _ in range(steps):
        customer = dice.choice(CUSTOMERS[partition])
        match dice.choice(["event", "event", "event", "erase", "again", "poison", "checkpoint"]):
            case "event":
                history.event(customer, dice)
            case "erase":
                history.erase(customer)
            case "again":
                history.say_again(dice.choice(KINDS), dice.randint(0, 100))
            case "poison":
                history.poison(dice.choice(KINDS))
            case "checkpoint":
                history.topics["states"].append(checkpoint(history.offset))
            case _:
                raise AssertionError
    return history.topics


def _stretch(topics: Topics, place: tuple[Kind, int], start: int, end: int) -> Stretch:
    kind, partition = place
    records = [Consumed(n, T0 + n, *topics[place][n]) for n in range(start, end)]
    return Stretch(kind=kind, partition=partition, start=start, end=end, records=records)


async def _deliver(database: Database, topics: Topics, dice: random.Random) -> None:
    """Some places at a time, some records of each, from somewhere at or before what is written; until all is written."""
    sinks = [Projection(database), Projection(database)]
    done = dict.fromkeys(topics, 0)
    while any(done[place] < len(topics[place]) for place in topics):
        places = dice.sample(sorted(topics), dice.randint(1, 4))
        batch = []
        for place in places:
            start = max(0, done[place] - dice.choice([0, 0, 1, 3]))
            end = min(len(topics[place]), start + dice.randint(1, 9))
            if dice.randint(0, 9) == 0 and done[place] + 1 < end:
                start = done[place] + 1  # a reader that lost its place
            if start < end:
                batch.append(_stretch(topics, place, start, end))
        with contextlib.suppress(Displaced):
            await dice.choice(sinks).apply(batch)
            for each in batch:
                place = (each.kind, each.partition)
                done[place] = max(done[place], each.end)


@contextlib.asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def _compare(seed: int, steps: int, *, new_url: Callable[[], str]) -> None:
    dice = random.Random(seed)
    topics: Topics = {
        (kind, partition): records
        for partition in CUSTOMERS
        for kind, records in _draw_history(partition, dice, steps=steps).items()
    }
    found: list[dict[str, Any]] = []
    async with _opened(new_url()) as plain:
        whole = [_stretch(topics, place, 0, len(records)) for place, records in topics.items() if records]
        for each in whole:
            await Projection(plain).apply([each])
        found.append(await tables(plain))
    async with _opened(new_url()) as wild:
        await _deliver(wild, topics, dice)
        found.append(await tables(wild))
    assert found[0] == found[1]
    counted = {name: value for (name, _, _, value) in _summed(found[0]["counters"])}
    assert counted.get("decision", 0) == len(found[0]["journal"])
    assert counted.get("message", 0) == len(found[0]["ledger"])


def _summed(totals: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    sums: dict[str, int] = {}
    for name, _, _, value in totals:
        sums[name] = sums.get(name, 0) + value
    return [(name, "", 0, value) for name, value in sums.items()]


@pytest.mark.slow
@pytest.mark.timeout(300)
@settings(max_examples=examples(30))
@given(seed=st.integers(0, 1 << 32), steps=st.integers(1, 16))
def test_any_delivery_gives_the_same_tables_in_sqlite(seed: int, steps: int) -> None:
    """Cut, interleaved, delivered again, by two sinks in turn."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = iter(range(2))
        asyncio.run(_compare(seed, steps, new_url=lambda: f"sqlite:///{Path(folder)}/{next(numbers)}.db"))


@pytest.mark.timeout(300)
def test_any_delivery_gives_the_same_tables_in_postgresql(postgres_server: str) -> None:
    """The same, with fewer examples: each needs two databases."""
    from tests.services.postgres import create_database, drop_database

    @settings(max_examples=examples(8))
    @given(seed=st.integers(0, 1 << 32), steps=st.integers(1, 16))
    def check(seed: int, steps: int) -> None:
        urls: list[str] = []

        def new_url() -> str:
            urls.append(create_database(postgres_server))
            return urls[-1]

        try:
            asyncio.run(_compare(seed, steps, new_url=new_url))
        finally:
            for url in urls:
                drop_database(postgres_server, url)

    check()
