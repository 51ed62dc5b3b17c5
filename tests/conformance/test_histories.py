"""Any history, the same decisions: embedded against memory, record for record, and against its own log."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.record import Consent, End, Erase, Event, Identify, Merge, Outcome, Pause, Record, Retry
from engine.runtimes.memory import Memory
from tests.conformance.harness import EmbeddedHarness, Harness, MemoryHarness, decisions, messages, states
from tests.conformance.kafka_harness import KafkaHarness
from tests.conformance.shop import T0, catalog
from tests.properties import examples

CUSTOMERS = ("a", "b", "c")
MINUTE = 60_000

customers = st.sampled_from(CUSTOMERS)
gaps_ms = st.sampled_from((0, 1, 59 * MINUTE, 60 * MINUTE, 26 * 60 * MINUTE, 8 * 24 * 60 * MINUTE))
names = st.sampled_from(("Product Added", "Order Completed", "Order Confirmed", "Nobody Asks"))
ids = st.integers(0, 40).map(str)


def _event(customer: str, name: str, number: str, late_ms: int) -> Record:
    return Event(customer=customer, at_ms=0, id=f"e{number}", name=name, time_ms=-late_ms)


records: st.SearchStrategy[Record] = st.one_of(
    st.builds(_event, customers, names, ids, st.sampled_from((0, 0, 0, 9 * 24 * 60 * MINUTE))),
    st.builds(
        lambda customer, number: Identify(
            customer=customer, at_ms=0, id=f"i{number}", time_ms=0, traits={"email": f"{customer}{number}@example.com"}
        ),
        customers,
        ids,
    ),
    st.builds(
        lambda customer, number, outcome: Outcome(
            customer=customer, at_ms=0, id=f"o{number}", time_ms=0, outcome=outcome, workflow="cart", step="reminder"
        ),
        customers,
        ids,
        st.sampled_from(("sent", "clicked", "bounced", "complained")),
    ),
    st.builds(lambda a, b, number: Merge(customer=a, at_ms=0, id=f"m{number}", into=b), customers, customers, ids),
    st.builds(lambda customer, number: Erase(customer=customer, at_ms=0, id=f"x{number}"), customers, ids),
    st.builds(
        lambda customer, number: Retry(customer=customer, at_ms=0, id=f"r{number}", workflow="cart"), customers, ids
    ),
    st.builds(
        lambda customer, number: End(customer=customer, at_ms=0, id=f"n{number}", reason="stopped", workflow="thanks"),
        customers,
        ids,
    ),
    st.builds(
        lambda number, paused: Pause(customer="", at_ms=0, id=f"p{number}", workflow="cart", paused=paused),
        ids,
        st.booleans(),
    ),
    st.builds(
        lambda customer, number, action: Consent(
            customer=customer, at_ms=0, id=f"c{number}", time_ms=0, action=action, purposes={"marketing": ["email"]}
        ),
        customers,
        ids,
        st.sampled_from(("grant", "withdraw")),
    ),
)
histories = st.lists(st.tuples(gaps_ms, st.lists(records, min_size=1, max_size=6)), min_size=1, max_size=8)


def _at(record: Record, now_ms: int) -> Record:
    if isinstance(record, Event | Identify | Outcome | Consent):
        return replace(record, at_ms=now_ms, time_ms=now_ms + record.time_ms)
    return replace(record, at_ms=now_ms)


async def play(harness: Harness, history: list[tuple[int, list[Record]]]) -> dict[str, Any]:
    """Appends each batch after its gap; returns everything that can be asked."""
    for gap_ms, batch in history:
        await harness.advance(harness.clock.now_ms() + gap_ms)
        await harness.append(*(_at(record, harness.clock.now_ms()) for record in batch))
    await harness.advance(harness.clock.now_ms() + 30 * 24 * 60 * MINUTE)
    lines = await decisions(harness)
    return {
        "decisions": {name: [line for line in lines if line.customer == name] for name in CUSTOMERS},
        "messages": {each.message.id: each for each in await messages(harness)},
        # Of timers that are due at the same instant either may come first: positions are compared with the log below.
        "states": {name: replace(state, position=0) for name, state in (await states(harness, CUSTOMERS)).items()},
        "suppressed": await harness.runtime.suppressed(
            [("email", f"{name}{number}@example.com") for name in CUSTOMERS for number in range(41)]
        ),
        "timers": (await harness.runtime.counts())["timers"],
    }


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])
@given(histories)
async def test_embedded_decides_what_memory_decides(history: list[tuple[int, list[Record]]]) -> None:
    """Batches of records, timers between them, merges, erasures, pauses: nothing depends on how it is stored."""
    memory = MemoryHarness(catalog(), T0)
    await memory.reopen()
    expected = await play(memory, history)
    with tempfile.TemporaryDirectory() as folder:
        embedded = EmbeddedHarness(catalog(), T0, var=Path(folder))
        await embedded.reopen()
        try:
            assert await play(embedded, history) == expected
        finally:
            await embedded.close()


@pytest.mark.timeout(600)
@settings(max_examples=examples(5), suppress_health_check=[HealthCheck.too_slow])
@given(histories)
async def test_kafka_decides_what_memory_decides(kafka: str, history: list[tuple[int, list[Record]]]) -> None:
    """The same on a real broker; few histories, because each needs topics of its own."""
    memory = MemoryHarness(catalog(), T0)
    await memory.reopen()
    expected = await play(memory, history)
    prefix = f"h{uuid.uuid4().hex[:8]}."
    with tempfile.TemporaryDirectory() as folder:
        on_kafka = KafkaHarness(catalog(), T0, var=Path(folder), bootstrap=kafka, prefix=prefix)
        await on_kafka.reopen()
        try:
            assert await play(on_kafka, history) == expected
        finally:
            await on_kafka.close()


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
@given(histories)
async def test_the_log_alone_gives_the_same_decisions_and_states_again(
    history: list[tuple[int, list[Record]]],
) -> None:
    """Replaying the log from scratch, without following what decisions appended, ends where the runtime ended."""
    history = [(gap, [each for each in batch if not isinstance(each, Erase)]) for gap, batch in history]
    with tempfile.TemporaryDirectory() as folder:
        embedded = EmbeddedHarness(catalog(), T0, var=Path(folder))
        await embedded.reopen()
        try:
            await play(embedded, history)
            replayed = Memory(catalog())
            for position, record in await embedded.log():
                replayed.apply_logged(position, record)
            assert replayed.decisions == await decisions(embedded)
            assert replayed.states == await states(embedded, CUSTOMERS)
            assert replayed.messages == [each.message for each in await messages(embedded)]
        finally:
            await embedded.close()
