"""`check --database --mend` on a data file: what the log gives is worked out again, and what waited is applied."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from engine.runtimes.embedded.examining import examine
from engine.runtimes.embedded.mending import Mended, mend
from engine.runtimes.rebuild import InForce
from tests.conformance.harness import EmbeddedHarness, decisions, messages, states
from tests.conformance.shop import T0, catalog
from tests.conformance.test_contract import HOUR, event, identify
from tests.conformance.test_unreadable import DAMAGES


async def _damaged(var: Path) -> EmbeddedHarness:
    """A customer in a cart whose row is cut off, and who orders afterwards."""
    harness = EmbeddedHarness(catalog(), T0, var=var)
    await harness.reopen()
    await harness.append(
        identify("bad"), event("bad", "Product Added"), identify("good"), event("good", "Product Added")
    )
    await harness.plant("states", "bad", DAMAGES["cut off"])
    await harness.append(event("bad", "Order Completed"))
    await harness.close()
    return harness


def _mend(var: Path, *, give_up: bool = False) -> list[Mended]:
    return mend(var, [InForce(0, catalog())], give_up=give_up, now_ms=T0 + HOUR)


def _found(var: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(var / "anlass.db")) as connection:
        return [f"{each.table} {each.key} {each.customer}" for each in examine(connection)]


async def test_a_state_is_worked_out_again_and_what_waited_is_applied(tmp_path: Path) -> None:
    """The order ends the cart's run, as it would have: nothing was lost, and nothing is decided twice."""
    harness = await _damaged(tmp_path)
    assert _found(tmp_path) == ["states bad bad"]
    assert [each.outcome for each in _mend(tmp_path)] == ["rebuilt"]
    assert _found(tmp_path) == []
    await harness.reopen()
    async with asyncio.timeout(5):
        while not any(each.kind == "exited" for each in await decisions(harness)):
            await harness.runtime.idle()
            await asyncio.sleep(0.02)
    assert harness.degraded() == []
    assert await harness.runtime.dead_letters() == []
    told = [(each.kind, each.workflow) for each in await decisions(harness) if each.customer == "bad"]
    assert told.count(("entered", "cart")) == 1
    assert ("exited", "cart") in told
    await harness.advance(T0 + HOUR)
    sent = sorted((each.message.customer, each.message.template) for each in await messages(harness))
    assert sent == [("bad", "order"), ("good", "cart")]
    await harness.close()


async def test_a_log_that_was_pruned_is_not_believed_and_the_row_can_be_given_up(tmp_path: Path) -> None:
    """Nothing is guessed: it stays until it is given up, and its bytes stay as a dead letter even then."""
    harness = await _damaged(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "anlass.db")) as connection, connection:
        connection.execute("UPDATE progress SET value = 1 WHERE name = 'pruned'")
    (left,) = _mend(tmp_path)
    assert (left.outcome, left.why) == ("left", "the log does not reach back to its beginning")
    assert _found(tmp_path) == ["states bad bad"]
    assert [each.outcome for each in _mend(tmp_path, give_up=True)] == ["given up"]
    assert _found(tmp_path) == []
    await harness.reopen()
    assert harness.degraded() == []
    assert [each.origin for each in await harness.runtime.dead_letters()] == ["state:bad"]
    await harness.append(identify("bad"))
    assert (await states(harness, ["bad"])).keys() == {"bad"}
    await harness.close()


async def test_a_record_of_the_log_that_cannot_be_read_keeps_its_customer_alone_waiting(tmp_path: Path) -> None:
    """It was not evaluated yet: what comes after it waits; of the others all is evaluated, however long the log is."""
    harness = EmbeddedHarness(catalog(), T0, var=tmp_path)
    await harness.reopen()
    await harness.append(identify("bad"), *[identify(f"c{number}") for number in range(450)])
    await harness.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "anlass.db")) as connection, connection:
        connection.execute("DELETE FROM states")
        connection.execute("UPDATE progress SET value = 0 WHERE name = 'applied'")
        connection.execute("UPDATE log SET record = x'c1' WHERE customer = 'bad'")
    await harness.reopen()
    await harness.append(event("bad", "Product Added"), event("c1", "Product Added"))
    assert len(harness.degraded()) == 1
    counted = harness.runtime._store.connection.execute("SELECT count(*) FROM states").fetchone()[0]
    assert counted == 450
    await harness.close()
    assert [each.outcome for each in _mend(tmp_path)] == ["left"]
    assert [each.outcome for each in _mend(tmp_path, give_up=True)] == ["given up"]
    await harness.reopen()
    assert harness.degraded() == []
    await harness.close()
