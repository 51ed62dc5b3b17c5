"""One row that cannot be read stops one customer: start, timers, intake and everybody else go on, and nothing is lost."""

from __future__ import annotations

import msgspec
import pytest

from engine.core.customer import decode_state, encode_state
from engine.core.record import Erase
from tests.conformance.harness import Damage, Harness, decisions, messages, states
from tests.conformance.shop import T0
from tests.conformance.test_contract import HOUR, event, identify


def _newer(body: bytes) -> bytes:
    state = decode_state(body)
    return encode_state(msgspec.structs.replace(state, version=99))


DAMAGES: dict[str, Damage] = {
    "not msgpack": lambda _: b"\xc1\xff\x00garbage",
    "cut off": lambda body: body[: len(body) // 2],
    "empty": lambda _: b"",
    "another shape": lambda _: msgspec.msgpack.encode({"a": ["b", 3]}),
    "somebody else": lambda body: encode_state(msgspec.structs.replace(decode_state(body), id="good")),
    "a newer version": _newer,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_state_that_cannot_be_read_stops_its_customer_alone(harness: Harness, damage: Damage) -> None:
    """The runtime opens, takes events of both, fires the other's timer, and says that it is degraded."""
    await harness.append(
        identify("bad"), event("bad", "Product Added"), identify("good"), event("good", "Product Added")
    )
    await harness.plant("states", "bad", damage)
    await harness.append(event("bad", "Order Completed"), event("good", "Page Viewed"))
    await harness.advance(T0 + HOUR)
    assert [each.message.customer for each in await messages(harness)] == ["good"]
    assert len(harness.degraded()) == 1
    await harness.runtime.counts()  # the database has caught up
    letters = await harness.runtime.dead_letters()
    assert {each.origin.partition(":")[0] for each in letters if not each.reason.startswith("waits")} >= {"state"}
    waiting = [each for each in letters if each.reason.startswith("waits")]
    assert [each.customer for each in waiting] == ["bad"]
    assert (await states(harness, ["good"])).keys() == {"good"}


async def test_who_is_set_aside_stays_so_over_a_restart_and_can_be_erased(durable: Harness) -> None:
    """Nothing is found twice, and who asks to be forgotten is forgotten: a new beginning is no longer waited with."""
    await durable.append(identify("bad"), event("bad", "Product Added"))
    await durable.plant("states", "bad", DAMAGES["cut off"])
    await durable.append(event("bad", "Order Completed"))
    await durable.close()
    await durable.reopen()
    assert len(durable.degraded()) == 1
    before = len(await durable.runtime.dead_letters())
    await durable.append(Erase(customer="bad", at_ms=durable.clock.now_ms(), id="e1"))
    assert durable.degraded() == []
    assert before >= 2
    await durable.append(identify("bad"))
    assert (await states(durable, ["bad"])).keys() == {"bad"}


@pytest.mark.parametrize("damage", [DAMAGES["cut off"], DAMAGES["another shape"]], ids=["cut off", "another shape"])
async def test_a_message_that_cannot_be_read_waits_alone(durable: Harness, damage: Damage) -> None:
    """Every start works, the others leave, and it is neither sent nor made anew."""
    await durable.append(
        identify("bad"), event("bad", "Product Added"), identify("good"), event("good", "Product Added")
    )
    await durable.advance(T0 + HOUR)
    found = {each.message.customer: each.message.id for each in await messages(durable)}
    await durable.plant("ledger", found["bad"], damage)
    for _ in range(2):
        ready = await durable.runtime.ready(10)
        assert [each.message.customer for each in ready] == ["good"]
        assert len(durable.degraded()) == 1
        await durable.close()
        await durable.reopen()
    assert await durable.runtime.claim([found["good"]]) == {found["good"]}
    assert [each.reason for each in await durable.runtime.dead_letters() if each.origin.startswith("message:")]
    assert await decisions(durable)


async def test_a_claimed_message_that_cannot_be_read_does_not_keep_the_start(durable: Harness) -> None:
    """Nobody knows whether it left; the start goes on, and so does the other."""
    await durable.append(
        identify("bad"), event("bad", "Product Added"), identify("good"), event("good", "Product Added")
    )
    await durable.advance(T0 + HOUR)
    found = {each.message.customer: each.message.id for each in await messages(durable)}
    await durable.runtime.claim([found["bad"]])
    await durable.plant("ledger", found["bad"], DAMAGES["cut off"])
    assert [each.message.customer for each in await durable.runtime.ready(10)] == ["good"]
    assert await durable.runtime.claim([found["bad"]]) == frozenset()
    assert len(durable.degraded()) == 1
