"""The rules of the ledger without a broker: its queue against a sorted list, its transitions against the memory runtime's."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import ManualClock
from engine.core.message import Message
from engine.core.record import Pause
from engine.dispatch.ports import Closed, Settlement, Status, shared_out
from engine.runtimes.kafka.dispatcher.draft import Draft
from engine.runtimes.kafka.dispatcher.ledger_entry import LedgerEntry, decode_entry, encode_entry
from engine.runtimes.kafka.dispatcher.ledger_queue import PendingQueue, QueuedMessage
from engine.runtimes.kafka.dispatcher.transitions import MessageOutline, Outline, due_of, fresh, outline_of, slot_of
from engine.runtimes.kafka.topics import (
    Answered,
    MessageHandover,
    decode_dispatch,
    encode_json,
    pack_row,
    unpack_prefix,
)
from engine.runtimes.memory_ports import MemoryRuntime
from tests.conformance.shop import T0, catalog
from tests.properties import examples
from tests.runtimes.ledger_stage import answer, bounced, message

NAMES = ("a", "b", "c")
STATUSES: tuple[Status, ...] = ("pending", "sent", "failed", "suppressed", "unknown")


def lane(number: int) -> tuple[str, str]:
    return ("email" if number % 3 else "sms", f"d{number % 4}" if number % 3 else "")


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 12), st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("drop"), st.integers(0, 12)),
        st.tuples(st.just("ready"), st.integers(0, 6), st.sets(st.integers(0, 11), max_size=3), st.integers(0, 4)),
        st.tuples(st.just("open"), st.integers(0, 3)),
    ),
    max_size=60,
)


@given(steps)
def test_the_queue_answers_as_a_sorted_list_does(script: list[Any]) -> None:
    """Whatever comes, goes, waits, is gated or excluded, and however often it is asked."""
    queue = PendingQueue()
    known: dict[bytes, QueuedMessage] = {}
    open_until, now_ms = -1, 0
    for step in script:
        if step[0] == "put":
            _, number, priority, offset, due_ms = step
            slot = QueuedMessage(
                b"%d" % number,
                (int(number % 3 > 0), -priority, number),
                lane=lane(number),
                offset=offset,
                times_ms=(0, due_ms),
            )
            queue.put(slot)
            known[slot.key] = slot
        elif step[0] == "drop":
            queue.drop(b"%d" % step[1])
            known.pop(b"%d" % step[1], None)
        elif step[0] == "open":
            open_until = max(open_until, step[1])
            queue.open_until(step[1])
        else:
            _, limit, closed, later_ms = step
            now_ms = max(now_ms, later_ms)
            exclude = frozenset(lane(number) for number in closed)
            may = sorted(
                slot.rank
                for slot in known.values()
                if slot.offset <= open_until
                and slot.not_before_ms <= now_ms
                and not exclude & {(slot.channel, slot.domain), (slot.channel, "")}
            )
            express, bulk = [rank for rank in may if not rank[0]], [rank for rank in may if rank[0]]
            found = [slot.rank for slot in queue.first(limit, Closed(exclude), now_ms)]
            assert found == shared_out(express, bulk, limit)
        assert len(queue) == len(known)


calls = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.lists(st.sampled_from((*NAMES, "nobody")), max_size=3)),
        st.tuples(
            st.just("settle"),
            st.lists(
                st.tuples(st.sampled_from((*NAMES, "nobody")), st.sampled_from(STATUSES), st.integers(0, 3)), max_size=3
            ),
        ),
        st.tuples(st.just("advance"), st.integers(1, 3)),
    ),
    max_size=25,
)


def _view(entry: Any) -> tuple[Any, ...]:
    return (
        entry.status, entry.attempts, entry.first_attempt_ms, entry.not_before_ms if entry.status == "pending" else 0,
        entry.updated_ms, entry.reason, entry.code, entry.provider_id,
    )  # fmt: skip


@settings(max_examples=examples(200))
@given(calls)
def test_a_message_goes_the_ways_that_it_goes_in_the_memory_runtime(script: list[Any]) -> None:
    """Any calls in any order: the same entries, the same claims, the same messages ready in the same order."""
    clock = ManualClock(T0)
    memory = MemoryRuntime(catalog(), clock=clock)
    rows: dict[bytes, bytes] = {}
    for number, name in enumerate(NAMES):
        told = message(name, priority=number % 2, due_ms=T0 + (2 if name == "c" else 0))
        memory._dispatched(told)
        _apply(rows, {name.encode(): fresh(MessageHandover(0, told), number)})

    async def play() -> None:
        for verb, what in script:
            draft = Draft(dict(rows), -1)
            if verb == "claim":
                assert draft.claim(what, clock.now_ms()) == await memory.claim(what)
            elif verb == "settle":
                answers = [_answer(*each, now_ms=clock.now_ms()) for each in what]
                draft.settle(answers)
                await memory.settle(answers)
            else:
                clock.advance(what)
            _apply(rows, dict(draft.puts()))
            entries = {key.decode(): decode_entry(row[16:]) for key, row in rows.items()}
            assert {name: _view(entry) for name, entry in entries.items()} == {
                name: _view(entry) for name, entry in memory._ledger.items()
            }
            queue = PendingQueue()
            for name, entry in entries.items():
                if entry.status == "pending":
                    queue.put(slot_of(name.encode(), outline_of(rows[name.encode()])))
            queue.open_until(0)
            due = [slot.key.decode() for slot in queue.first(10, Closed(), clock.now_ms())]
            assert due == [each.message.id for each in await memory.ready(10)]

    asyncio.run(play())


def _answer(name: str, status: Status, later_ms: int, *, now_ms: int) -> Settlement:
    return Settlement(
        message_id=name, status=status, at_ms=now_ms, reason=f"{status} {later_ms}", code="c" if later_ms else "",
        provider_id="p" if later_ms == 1 else "", not_before_ms=now_ms + later_ms if status == "pending" else 0,
    )  # fmt: skip


def _apply(rows: dict[bytes, bytes], puts: dict[bytes, LedgerEntry | None]) -> None:
    for key, entry in puts.items():
        assert entry is not None
        rows[key] = pack_row(1, due_of(entry), encode_entry(entry))


def test_an_outline_names_the_first_fields_of_what_it_stands_for() -> None:
    """Both are arrays: a field that moved would be read as another one."""
    names = [field.encode_name for field in msgspec.structs.fields(Message)]
    assert [field.encode_name for field in msgspec.structs.fields(MessageOutline)] == names[
        : len(msgspec.structs.fields(MessageOutline))
    ]
    names = [field.encode_name for field in msgspec.structs.fields(LedgerEntry)]
    outline = [field.encode_name for field in msgspec.structs.fields(Outline)]
    assert outline == names[: len(outline)]
    assert "number" in outline


@pytest.mark.parametrize("status", ["pending", "claimed", "sent", "unknown"])
def test_a_row_tells_whether_it_is_open(status: Status) -> None:
    """What is final is in no index, so that a restart need not read years of it."""
    entry = LedgerEntry(message=message("m"), status=status)
    row = pack_row(1, due_of(entry), encode_entry(entry))
    assert bool(unpack_prefix(row)[1]) == (status in ("pending", "claimed"))
    assert outline_of(row).status == status


def test_a_late_answer_travels_with_its_records() -> None:
    """As JSON on `dispatches`, whatever kinds of records it has."""
    pause = Pause(customer="", at_ms=T0, id="p", workflow="w")
    late = Answered("c-m", 2, answer("m", "failed", reason="no – such user", records=(bounced("m"), pause)))
    assert decode_dispatch(encode_json(late)) == late


def test_a_pending_message_takes_little_memory() -> None:
    """100,000 of them, on 5,000 destination domains: what was measured is 45 MB."""
    tracemalloc.start()
    queue = PendingQueue()
    for number in range(100_000):
        entry = LedgerEntry(message=message(f"{number:032}", address=f"a@d{number % 5_000}.example"), number=number)
        queue.put(slot_of(entry.message.id.encode(), outline_of(pack_row(1, 1, encode_entry(entry)))))
    queue.open_until(0)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(queue) == 100_000
    assert size < 70_000_000, size
