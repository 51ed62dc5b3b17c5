"""The journal's database, on SQLite and on a real PostgreSQL: what was read from the topics is in the tables, once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.clock import ManualClock
from engine.errors import NotFound
from engine.runtimes.base import Query
from engine.runtimes.journal import Database, DatabaseReader, Displaced, Projection
from engine.runtimes.journal.consumed import Consumed, Stretch
from engine.runtimes.journal.pruning import Pruning
from tests.runtimes.journal_records import (
    T0,
    checkpoint,
    entry,
    gone,
    letter,
    line,
    message,
    removed,
    state,
    stretch,
    tables,
)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """Open, with its schema."""
    opened = Database(url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def projection(database: Database) -> Projection:
    """Writes into it."""
    return Projection(database)


@pytest.fixture
def reader(database: Database) -> DatabaseReader:
    """Asks it, an hour after T0."""
    return DatabaseReader(database, clock=ManualClock(T0 + 3_600_000))


async def test_decisions_come_back_as_they_were_taken(projection: Projection, reader: DatabaseReader) -> None:
    """Every field, in order of arrival; each way to ask gives what it names and nothing else."""
    sent = message("a").id
    records = [
        line(
            "a", 3, detail={"n": 1.5, "text": "Zoë \u0000"}, why=("asked: yes",), version="v", enrollment="e1", step="s"
        ),
        line("a", 4, kind="send", detail={"message": sent, "answer": "queued"}),
        line("b", 5, workflow="order"),
        line("b", 5, 1, kind="consent", workflow=""),
    ]
    await projection.apply([stretch("journal", records), stretch("ledger", [entry(message("a"), 1, offset=4)])])
    every = await reader.decisions(Query(oldest_first=True))
    assert [number for number, _ in every] == [1, 2, 3, 4]
    first = every[0][1]
    assert (first.at_ms, first.customer, first.kind, first.workflow) == (T0 + 3, "a", "entered", "welcome")
    assert (first.version, first.enrollment, first.step) == ("v", "e1", "s")
    assert (first.detail, first.why) == ({"n": 1.5, "text": "Zoë \u0000"}, ("asked: yes",))
    assert await reader.decisions(Query()) == every[::-1]
    asked = {
        "customer": Query(customer="b", oldest_first=True),
        "workflow": Query(workflow="order"),
        "enrollment": Query(enrollment="e1"),
        "message": Query(message=sent),
        "one kind": Query(kinds=("entered",), oldest_first=True),
        "kinds": Query(kinds=("consent", "send"), oldest_first=True),
        "later": Query(after_seq=2, limit=1, oldest_first=True),
        "nobody": Query(message="no such message"),
        "nul": Query(customer="a\0"),
    }
    found = {name: [number for number, _ in await reader.decisions(query)] for name, query in asked.items()}
    assert found == {
        "customer": [3, 4], "workflow": [3], "enrollment": [1], "message": [2], "one kind": [1, 3], "kinds": [2, 4],
        "later": [3], "nobody": [], "nul": [],
    }  # fmt: skip


async def test_the_newest_state_and_ledger_entry_count(projection: Projection, reader: DatabaseReader) -> None:
    """An older row that comes late changes nothing; a deleted one is gone; a checkpoint is not a customer."""
    told = message("a")
    await projection.apply(
        [
            stretch(
                "states", [checkpoint(7), state("a", 5, traits={"n": 2}), state("a", 4, traits={"n": 1}), state("b", 6)]
            ),
            stretch(
                "ledger", [checkpoint(1), entry(told, 3, status="sent", attempts=1, provider_id="p1"), entry(told, 2)]
            ),
        ]
    )
    await projection.apply([stretch("states", [state("a", 3), gone("b", 7), gone("a", 2)], start=4)])
    await projection.apply([stretch("ledger", [entry(told, 1)], start=3)])
    found = await reader.state("a")
    assert found is not None
    assert (found.traits, found.position) == ({"n": 2}, 5)
    assert await reader.state("b") is None
    status = await reader.message(told.id)
    assert status is not None
    assert (status.message, status.status, status.attempts, status.provider_id) == (told, "sent", 1, "p1")
    assert status.updated_ms == T0 + 3
    assert await reader.message("none") is None
    counts = await reader.counts()
    assert (counts["customers"], counts["events"]) == (1, 8)


async def test_messages_are_listed_newest_first(projection: Projection, reader: DatabaseReader) -> None:
    """A message keeps its place when its status changes; customer, status and limit restrict."""
    told = [message("a", 1), message("b", 2), message("a", 3)]
    await projection.apply([stretch("ledger", [entry(each, 1) for each in told])])
    await projection.apply(
        [stretch("ledger", [entry(told[0], 2, status="failed", reason="refused\0", code="550")], start=3)]
    )

    async def ids(**asked: object) -> list[str]:
        return [each.message.id for each in await reader.messages(**asked)]  # type: ignore[arg-type]

    one, two, three = (each.id for each in told)
    assert await ids() == [three, two, one]
    assert await ids(limit=1) == [three]
    assert await ids(customer="a") == [three, one]
    assert await ids(status="pending") == [three, two]
    assert await ids(customer="a", status="failed") == [one]


async def test_counts_have_the_keys_of_the_embedded_reader(projection: Projection, reader: DatabaseReader) -> None:
    """Sums over partitions; what is written again is counted once."""
    due, later = T0 + 1_000, T0 + 9_000_000
    records = [line("a", 1), line("a", 2, kind="completed"), line("b", 3), line("c", 4, kind="consent", workflow="")]
    told = message("a")
    await projection.apply([stretch("journal", records), stretch("states", [state("a", 1, due_ms=due), checkpoint(9)])])
    await projection.apply(
        [stretch("journal", records, start=4), stretch("states", [state("b", 1, due_ms=later)], start=2)]
    )
    await projection.apply([stretch("journal", [line("z", 1)], partition=1), stretch("ledger", [entry(told, 1)])])
    await projection.apply([stretch("ledger", [entry(told, 2, status="sent"), entry(message("b"), 1)], start=1)])
    await projection.apply(
        [stretch("dead-letters", [letter("a", "http:/v1/track")]), stretch("states", [checkpoint(4)], partition=1)]
    )
    assert await reader.counts() == {
        "events": 15,
        "customers": 2,
        "enrollments": {"welcome": {"entered": 3, "active": 2, "exited": 0, "completed": 1, "failed": 0}},
        "decisions": {"completed": 1, "consent": 1, "entered": 3},
        "messages": {"email": {"pending": 1, "sent": 1}},
        "dead_letters": 1,
        "timers": {"pending": 2, "overdue": 1},
    }


async def test_a_batch_that_is_delivered_again_changes_nothing(database: Database, projection: Projection) -> None:
    """The same records from the same place, by the same sink or by one that does not know it lost the partition."""
    batch = [
        stretch("journal", [line("a", 1), line("a", 2)]),
        stretch("states", [state("a", 2)]),
        stretch("ledger", [entry(message("a"), 1)]),
        stretch("dead-letters", [letter("", "t:0:9")]),
    ]
    first = await projection.apply(batch)
    before = await tables(database)
    again = await Projection(database).apply(batch)
    assert await tables(database) == before
    assert (first.rows.total(), again.rows.total()) == (5, 0)


async def test_a_reader_that_is_ahead_is_sent_back(database: Database, projection: Projection) -> None:
    """A gap would be a loss: nothing is written, and the reader is told where the database is."""
    await projection.apply([stretch("journal", [line("a", 1)])])
    with pytest.raises(Displaced) as told:
        await projection.apply([stretch("journal", [line("a", 5)], start=3), stretch("states", [state("a", 5)])])
    assert told.value.places == {("journal", 0): 1}
    assert (await tables(database))["states"] == []


async def test_what_is_read_twice_in_part_is_written_in_part(database: Database, projection: Projection) -> None:
    """A zombie's batch that begins before the database's place and ends after it adds what is new."""
    records = [line("a", number) for number in range(6)]
    await projection.apply([stretch("journal", records[:4])])
    await projection.apply([stretch("journal", records[2:], start=2)])
    found = await tables(database)
    assert [row[1] for row in found["journal"]] == list(range(6))
    assert found["progress"] == [("journal", 0, 6)]


async def test_what_was_taken_out_does_not_come_back(
    database: Database, projection: Projection, reader: DatabaseReader
) -> None:
    """A batch that begins before the database's place does not bring back a letter that was replayed, or a pruned line."""
    letters = [letter("", f"t:0:{number}") for number in range(3)]
    lines = [line("a", number) for number in range(3)]
    await projection.apply([stretch("dead-letters", letters[:2]), stretch("journal", lines[:2])])
    await reader.remove_dead_letters([each.id for each in await reader.dead_letters()])
    await Pruning(database).prune(T0 + 2)
    await projection.apply([stretch("dead-letters", letters), stretch("journal", lines)])
    assert [each.origin for each in await reader.dead_letters()] == ["t:0:2"]
    assert [decision.at_ms - T0 for _, decision in await reader.decisions(Query())] == [2]
    assert (await reader.counts())["decisions"] == {"entered": 3}


async def test_a_forgotten_customer_leaves_nothing(
    database: Database, projection: Projection, reader: DatabaseReader
) -> None:
    """Lines, messages, dead letters and state up to the erasure go, others stay; a receipt under the alias remains."""
    await projection.apply(
        [
            stretch("journal", [line("a", 1), line("b", 2)]),
            stretch("states", [state("a", 1), state("b", 2)]),
            stretch("ledger", [entry(message("a"), 1, offset=1), entry(message("b"), 1, offset=2)]),
            stretch("dead-letters", [letter("a", "t:0:3"), letter("a", "http:/v1/track"), letter("b", "t:0:4")]),
        ]
    )
    await projection.apply([stretch("journal", [removed("a", 5, "erased:77"), line("a", 6)], start=2)])
    found = await tables(database)
    assert [(row[4], row[1]) for row in found["journal"]] == [("b", 2), ("a", 6)]
    assert {row[4] for row in found["ledger"]} == {row[0] for row in found["states"]} == {"b"}
    assert {row[6] for row in found["dead_letters"]} == {"b"}
    assert found["erasures"] == [(0, 5, "erased:77", T0 + 5)]
    counts = await reader.counts()
    assert counts["decisions"] == {"entered": 2}
    assert counts["messages"]["email"]["pending"] == 1


async def test_a_letter_that_stood_on_a_strange_partition_is_forgotten(
    database: Database, projection: Projection
) -> None:
    """A shop with another partitioner keys by customer: its poison goes with the customer, before, with and after the erasure."""
    poison = [letter("a", f"t:1:{number}") for number in range(3)]
    await projection.apply([stretch("dead-letters", poison[:1], partition=1)])
    # The strange partition's stretch comes first: what it holds is looked at when the removal is known.
    again = stretch("dead-letters", poison[1:2], start=1, partition=1)
    await projection.apply([again, stretch("journal", [removed("a", 5)])])
    await projection.apply([stretch("dead-letters", poison[2:], start=2, partition=1)])
    assert (await tables(database))["dead_letters"] == []


async def test_asking_makes_no_database(tmp_path: Path) -> None:
    """One that is not there, or that no sink ever read into, is refused with the mend; nothing is made or migrated."""
    for name, made in (("none.db", False), ("opened.db", True)):
        database = Database(f"sqlite:///{name}", project=tmp_path)
        if made:  # by a collector
            await database.open()
            await database.close()
        with pytest.raises(NotFound, match="anlass sink"):
            await database.open_filled()
        await database.close()
        assert (tmp_path / name).exists() == made
    await database.open()
    await Projection(database).progress([("journal", 0)])
    await database.close()
    await database.open_filled()
    assert await DatabaseReader(database).receipt("a", partition=0, since_offset=0) is None
    await database.close()


async def test_a_receipt_is_that_of_the_erasure_that_was_asked_for(
    projection: Projection, reader: DatabaseReader
) -> None:
    """By the place on the log, whatever the clocks say; of a customer who was erased twice the newest."""
    await projection.apply([stretch("journal", [removed("a", 5, "erased:1"), line("a", 6)])])
    await projection.apply([stretch("journal", [removed("a", 7, "erased:1")], start=2)])
    receipt = await reader.receipt("a", partition=0, since_offset=6)
    assert receipt is not None
    assert (receipt.requested_ms, receipt.alias, receipt.rows_removed) == (T0 + 7, "erased:1", 1)
    assert await reader.receipt("a", partition=0, since_offset=8) is None
    assert await reader.receipt("b", partition=0, since_offset=0) is None


async def test_what_is_said_late_about_a_forgotten_customer_is_not_kept(
    database: Database, projection: Projection
) -> None:
    """Another topic may lag, and an old owner may write late: it is not kept; the customer's new beginning is."""
    await projection.apply([stretch("journal", [removed("a", 5)])])
    await projection.apply(
        [
            stretch("journal", [line("a", 4), line("a", 5, 1), line("a", 7)], start=1),
            stretch("states", [state("a", 4)]),
            stretch("ledger", [entry(message("a", 1), 1, offset=5), entry(message("a", 2), 1, offset=7)]),
            stretch("dead-letters", [letter("a", "t:0:2"), letter("a", "http:/v1/track"), letter("a", "t:0:8")]),
        ]
    )
    found = await tables(database)
    assert [row[1] for row in found["journal"]] == [7]
    assert found["states"] == []
    assert [row[3] for row in found["ledger"]] == [7]
    assert [row[2] for row in found["dead_letters"]] == [8]


async def test_a_batch_that_was_rolled_back_leaves_no_secret_behind(database: Database) -> None:
    """The key that forgotten customers are recognised by is the database's, also when its first batch had to be repeated."""
    far = DECISION % (b"18446744073709551615", b"z", b"")
    await Projection(database).apply([stretch("journal", [removed("a", 5), (b"a", far, ())])])
    await Projection(database).apply([stretch("states", [state("a", 4)])])
    assert (await tables(database))["states"] == []


async def test_dead_letters_are_kept_once_and_can_be_taken_out(projection: Projection, reader: DatabaseReader) -> None:
    """One that was sent again is the same; bytes, reason and origin come back; a replay takes it out."""
    letters = [letter("a", "t:0:9"), letter("a", "t:0:9"), letter("b", "http:/v1/track", "bad\0", b"{}")]
    await projection.apply([stretch("dead-letters", letters)])
    found = await reader.dead_letters()
    assert [(each.origin, each.body, each.customer, each.at_ms) for each in found] == [
        ("t:0:9", b"\x00poison", "a", T0),
        ("http:/v1/track", b"{}", "b", T0),
    ]
    assert await reader.dead_letters_by_id([found[1].id, 99]) == [found[1]]
    assert await reader.remove_dead_letters([found[0].id, 99]) == 1
    assert await reader.dead_letters() == [found[1]]
    assert await reader.dead_letters(limit=0) == []


DECISION = b'{"type":"decision","offset":1,"index":0,"at":"","at_ms":%s,"customer":"a%s","kind":"x"%s}'
POISON = [
    ("journal", b"a", b"no JSON"),
    ("journal", b"a", None),
    ("journal", b"a", DECISION % (b"1", b"\\u0000", b"")),
    ("journal", b"a", DECISION % (b"18446744073709551615", b"", b"")),
    ("journal", b"a", DECISION % (b"1", b"", b',"detail":' + b'{"a":' * 3_000)),
    ("journal", b"a", DECISION % (b"1", b"", b',"workflow":"' + b"%x" * 10_000 + b'"')),
    ("states", b"\xff", state("a", 1)[1]),
    ("states", b"a", b"short"),
    ("states", b"a", b"\xff" * 16 + (state("a", 1)[1] or b"")[16:]),
    ("states", b"a", b"\0" * 16 + b"no state"),
    ("ledger", b"m", b"\0" * 16 + b"\x93"),
    ("ledger", b"m", b""),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "key", "value"), POISON, ids=range(len(POISON)))
async def test_poison_becomes_a_dead_letter(
    database: Database, projection: Projection, reader: DatabaseReader, kind: str, key: bytes, value: bytes | None
) -> None:
    """What cannot be read, or not be stored, is kept with its reason; what lies around it is written."""
    good = {"journal": line("b", 8), "states": state("b", 8), "ledger": entry(message("b"), 1, offset=8)}[kind]
    after = {"journal": line("c", 9), "states": state("c", 9), "ledger": entry(message("c"), 1, offset=9)}[kind]
    written = await projection.apply([stretch(kind, [good, (key, value, ()), after])])  # type: ignore[arg-type]
    assert written.unreadable == 1
    (found,) = await reader.dead_letters()
    assert (found.origin, found.body) == (f"{kind}:0:1", value or b"")
    assert found.reason.startswith("unreadable: ")
    held = await tables(database)
    assert [len(held[table]) for table in ("journal", "states", "ledger")].count(2) == 1
    assert held["progress"] == [(kind, 0, 3)]


async def test_holes_of_compaction_are_no_gap(database: Database, projection: Projection) -> None:
    """Offsets may be missing within a stretch; the next one begins where it ended."""
    key, value, _ = state("a", 1)
    records = [Consumed(5, T0, key, value), Consumed(17, T0, b"b", state("b", 2)[1])]
    await projection.apply([Stretch(kind="states", partition=0, start=0, end=18, records=records)])
    await projection.apply([stretch("states", [state("c", 3)], start=18)])
    found = await tables(database)
    assert ([row[0] for row in found["states"]], found["progress"]) == (["a", "b", "c"], [("states", 0, 19)])


async def test_old_journal_lines_are_pruned_from_the_oldest(
    database: Database, projection: Projection, reader: DatabaseReader
) -> None:
    """Only lines, only older ones; what was counted stays counted."""
    await projection.apply([stretch("journal", [line("a", number) for number in range(10)])])
    pruning = Pruning(database)
    assert await pruning.prune(T0 + 4) == 4
    assert await pruning.prune(T0 + 4) == 0
    assert [row.at_ms - T0 for _, row in await reader.decisions(Query(oldest_first=True))] == [4, 5, 6, 7, 8, 9]
    assert (await reader.counts())["decisions"] == {"entered": 10}
