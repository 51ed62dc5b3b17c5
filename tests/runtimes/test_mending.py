"""`check --database --mend` on a data file: what the log gives is worked out again, and what waited is applied."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from engine.core.customer import CustomerState
from engine.core.record import Record
from engine.runtimes.embedded.examining import examine
from engine.runtimes.embedded.mending import MendedRow, mend
from engine.runtimes.rebuild import CatalogInForce
from tests.conformance.harness import EmbeddedHarness, decisions, messages, states
from tests.conformance.shop import T0, catalog
from tests.conformance.test_contract import HOUR, event, identify
from tests.conformance.test_histories import CUSTOMERS, histories, play
from tests.conformance.test_unreadable import DAMAGES
from tests.properties import examples
from tests.runtimes.test_old_stores import STORE


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


def _mend(var: Path, *, give_up: bool = False) -> list[MendedRow]:
    return mend(var, [CatalogInForce(0, catalog())], give_up=give_up, now_ms=T0 + HOUR)


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


async def _mended(
    harness: EmbeddedHarness, var: Path, names: Sequence[str], *, same: Callable[[CustomerState], object]
) -> dict[str, str]:
    """Cuts off the rows of all of them, mends them, and finds what stood there; customer → why they were left."""
    before = await states(harness, names)
    await harness.close()
    with contextlib.closing(sqlite3.connect(var / "anlass.db")) as connection, connection:
        connection.execute("UPDATE states SET state = substr(state, 1, 5)")
    left = {each.finding.customer: each.why for each in _mend(var) if each.outcome != "rebuilt"}
    await harness.reopen()
    rest = [name for name in names if name not in left]
    now = await states(harness, rest)
    assert {name: same(state) for name, state in now.items()} == {
        name: same(state) for name, state in before.items() if name in rest
    }
    await harness.close()
    return left


@settings(max_examples=examples(30), suppress_health_check=[HealthCheck.too_slow])
@given(histories)
async def test_whatever_happened_the_log_and_the_journal_agree(history: list[tuple[int, list[Record]]]) -> None:
    """Merges, pauses, timers, and who was erased and came back."""
    with tempfile.TemporaryDirectory() as folder:
        harness = EmbeddedHarness(catalog(), T0, var=Path(folder))
        await harness.reopen()
        await play(harness, history)
        assert await _mended(harness, Path(folder), CUSTOMERS, same=lambda state: state) == {}


def _runs(state: CustomerState) -> object:
    """What an earlier version knew as well."""
    return state.id, state.salts, state.enrollments, state.entries, state.traits, state.messages


async def test_who_was_known_before_there_were_salts_is_worked_out_with_the_ids_of_then(tmp_path: Path) -> None:
    """The log of a data file of 7656c6f does not say that its ids were made without one; its journal does.

    Ann stays: that version took a consent for a purpose that the policy does not know, and it would not be taken today.
    """
    (tmp_path / "anlass.db").write_bytes(gzip.decompress((STORE / "embedded.db.gz").read_bytes()))
    harness = EmbeddedHarness(catalog(), T0 + HOUR, var=tmp_path)
    await harness.reopen()
    await harness.append(identify("eve"), event("eve", "Product Added"))
    await harness.advance(T0 + 3 * HOUR)
    assert [state.salt for state in (await states(harness, ["ann", "bob"])).values()] == ["", ""]
    left = await _mended(harness, tmp_path, ["ann", "bob", "cem", "eve"], same=_runs)
    assert left.keys() == {"ann"}
