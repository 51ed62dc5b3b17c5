"""Deploys on the embedded runtime: rechecks that go on after a restart, hand-overs, and counting who is in flight."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from engine.clock import ManualClock
from engine.core.record import Recheck, decode_record
from engine.errors import StorageError
from engine.runtimes.embedded import handovers
from engine.runtimes.embedded.loop import Walk
from engine.runtimes.embedded.store import FILE
from tests.conformance.shop import T0, catalog
from tests.conformance.test_contract import event, identify
from tests.conformance.test_deploys import NEW, next_catalog


async def test_a_restart_goes_on_with_what_the_deploy_said(open_runtime: Any) -> None:
    """The process ends in the middle of 700 rechecks of a `migrate`; the next one moves the others too, each once."""
    runtime = await open_runtime()
    names = [f"c{number}" for number in range(700)]
    for at in range(0, 700, 100):
        await runtime.append([event(name, "Product Added") for name in names[at : at + 100]])
    await runtime.deploy(next_catalog(), versions="migrate")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await runtime.stop()
    runtime = await open_runtime(catalog=next_catalog())
    before = [state for state in (await runtime.states(names)).values() if state.enrollments[0].version == NEW]
    await runtime.idle()
    after = await runtime.states(names)
    assert len(before) < 700, "it ended before the restart: the test says nothing"
    assert {state.enrollments[0].version for state in after.values()} == {NEW}
    rows = runtime._store.connection.execute("SELECT record FROM log").fetchall()
    rechecks = [each for (body,) in rows if isinstance(each := decode_record(body), Recheck)]
    assert sorted(each.customer for each in rechecks) == sorted(names)
    assert {each.versions for each in rechecks} == {"migrate"}


async def test_a_catalog_that_comes_back_is_rechecked_again(open_runtime: Any) -> None:
    """Forth, back and forth within one millisecond: three deploys, three rechecks that are not taken for duplicates."""
    runtime = await open_runtime()
    await runtime.append([identify("a")])
    for each in (next_catalog(), catalog(), next_catalog()):
        await runtime.deploy(each)
        await runtime.idle()
        assert (await runtime.state("a")).catalog == each.id


def test_a_walk_is_stored_as_it_was() -> None:
    """Also the note that earlier versions wrote, which named the catalog alone."""
    walk = Walk("abc", "migrate", T0)
    assert Walk.of(walk.note) == walk
    assert Walk.of("abc") == Walk("abc", "pin", 0)
    assert Walk.of("") == Walk("", "pin", 0)


async def test_a_handover_is_answered_once_with_those_before_it(open_runtime: Any, var: Path) -> None:
    """Only the newest counts; an answer is durable with the deploy, and the files are not kept twice."""
    assert handovers.hand_over(var, {}, versions="pin", handed_ms=T0) is None
    runtime = await open_runtime()
    assert runtime.handed_over() is None
    first = handovers.hand_over(var, {"workflows/a.yaml": "1"}, versions="pin", handed_ms=T0)
    second = handovers.hand_over(var, {"workflows/a.yaml": "ä"}, versions="end", handed_ms=T0)
    assert first is not None
    assert second is not None
    assert handovers.answer_of(var, second) is None
    handed = runtime.handed_over()
    assert handed == handovers.DeployHandover(number=second, versions="end", files={"workflows/a.yaml": "ä"})
    await runtime.deploy(next_catalog(), sources=handed.files, versions="end", handover=second)
    assert runtime.handed_over() is None
    assert handovers.answer_of(var, second) == handovers.DeployAnswer(catalog="shop-2", problem="")
    replaced = handovers.answer_of(var, first)
    assert replaced is not None
    assert (replaced.catalog, replaced.problem) == ("", "a newer deploy came before it was taken")
    third = handovers.hand_over(var, {}, versions="pin", handed_ms=T0)
    assert third is not None
    runtime.refuse_handover(third, "no")
    assert handovers.answer_of(var, third) == handovers.DeployAnswer(catalog="", problem="no")
    assert runtime._store.connection.execute("SELECT sum(length(files)) FROM handovers").fetchone() == (0,)


async def test_a_store_of_before_is_refused_with_the_mend(open_runtime: Any, var: Path) -> None:
    """An engine of an older version is running: nothing could take the hand-over."""
    await (await open_runtime()).stop()
    connection = sqlite3.connect(var / FILE)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(StorageError, match=r"older version of Anlass.*Start `anlass run`"):
        handovers.hand_over(var, {}, versions="pin", handed_ms=T0)


async def test_counting_who_is_in_flight(
    open_runtime: Any, var: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By workflow, version and step, page by page beside a running engine; progress ends at all of them."""
    assert handovers.count_in_flight(var) == {}
    runtime = await open_runtime()
    await runtime.append([identify("known only")])
    await runtime.append([event(f"c{number}", "Product Added") for number in range(25)])
    await runtime.append([event(f"o{number}", "Order Completed") for number in range(5)])
    monkeypatch.setattr(handovers, "PAGE", 7)
    seen: list[tuple[int, int]] = []
    counts = handovers.count_in_flight(var, progress=lambda done, total: seen.append((done, total)))
    version = "0123456789ab"
    assert counts == {("cart", version, "pause"): 25, ("thanks", version, "later"): 5}
    assert [done for done, _ in seen] == [7, 14, 21, 28, 31]
    assert {total for _, total in seen} == {31}
