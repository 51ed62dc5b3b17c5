"""One address under two ids, on every runtime: a broadcast reaches it once, an objection counts for both, a bounce is found.

Invariant of the tests: the address is written differently each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.core.catalog import Catalog
from engine.core.consent import suppression
from engine.core.journey.workflow import ScheduleTrigger, Send, Trigger, Workflow
from engine.core.message import Message
from engine.core.record import Consent, Identify, Outcome, Record
from engine.core.time.schedule import When
from tests.conformance.conftest import ALL
from tests.conformance.harness import EmbeddedHarness, Harness, MemoryHarness, messages, states
from tests.conformance.kafka_harness import KafkaHarness
from tests.conformance.shop import T0, catalog

pytestmark = pytest.mark.timeout(300)
HOUR = 3_600_000
OLDER, YOUNGER, OTHER = "zoe", "ana", "bob"
ADDRESSES = {OLDER: "Ana@Bücher.example", YOUNGER: "ana@xn--bcher-kva.example", OTHER: "bob@x.example"}


def _news() -> Catalog:
    base, flows = catalog(id="addresses-1"), {}
    for name, spread_ms in (("news", 0), ("spread", 2 * HOUR)):
        schedule = ScheduleTrigger(
            at=When(instant_ms=T0 + HOUR), every=None, segment="", customer_zone=False, spread_ms=spread_ms
        )
        send = Send(id="mail", channels=("email",), template="news", purpose="marketing")
        flows[name] = Workflow(
            name=name, version="0123456789ab", purpose="marketing", trigger=Trigger(schedule=schedule), first="mail",
            ops={"mail": send},
        )  # fmt: skip
    versions = {(flow.name, flow.version): flow for flow in flows.values()}
    return replace(
        base, workflows=base.workflows | flows, versions=base.versions | versions, timed=tuple(sorted(flows))
    )


@pytest.fixture(params=ALL)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    """Every runtime, with three customers who have consented: the one with the larger id first."""
    made: Harness
    if request.param == "memory":
        made = MemoryHarness(_news(), T0)
    elif request.param == "embedded":
        made = EmbeddedHarness(_news(), T0, var=tmp_path / "var")
    else:
        prefix = f"a{tmp_path.parent.name[-6:]}{abs(hash(request.node.name)) % 9973}."
        kafka = request.getfixturevalue("kafka")
        made = KafkaHarness(_news(), T0, var=tmp_path / "var", bootstrap=kafka, prefix=prefix)
    await made.reopen()
    for number, (name, address) in enumerate(ADDRESSES.items()):
        at_ms = T0 + number
        await made.append(
            Identify(customer=name, at_ms=at_ms, id="known", time_ms=at_ms, traits={"email": address}),
            consent(name, "confirm", at_ms=at_ms),
        )
    yield made
    await made.close()


def consent(customer: str, action: str, *, at_ms: int) -> Record:
    return Consent(
        customer=customer, at_ms=at_ms, id=f"{action}:{at_ms}", time_ms=at_ms, action=action,
        purposes={"marketing": ["email"]}, source="link",
    )  # fmt: skip


async def issue(stage: Harness, workflow: str) -> dict[str, Message]:
    """The messages of a broadcast, by customer."""
    return {each.message.customer: each.message for each in await messages(stage) if each.message.workflow == workflow}


async def second(stage: Harness, some: list[Message]) -> set[str]:
    """Whose messages are answered `duplicate_address`, once that is known."""
    for _ in range(100):
        found = await stage.runtime.duplicates(some)
        if all(found.values()):
            return {message.customer for message in some if message.id in found}
        await asyncio.sleep(0.1)
    raise AssertionError(found)


async def refusal(stage: Harness, message: Message) -> str:
    """What the second check says about the message's address."""
    policy = stage.runtime.catalog.policy
    found = await stage.runtime.suppressed(suppression.places(policy, message))
    found |= await stage.runtime.suppressed(suppression.doubts(found.items()))
    state = (await states(stage, [message.customer])).get(message.customer)
    return suppression.refusal(policy, state, message, answers=found)


async def test_a_broadcast_reaches_an_address_once_by_the_oldest_consent(stage: Harness) -> None:
    """Both ids are asked, in either order; the one who consented first gets it, and whoever has another address."""
    await stage.advance(T0 + HOUR)
    found = await issue(stage, "news")
    assert set(found) == set(ADDRESSES)
    some = list(found.values())
    assert await second(stage, some) == await second(stage, some[::-1]) == {YOUNGER}


async def test_an_objection_counts_for_the_address_in_every_id_until_it_is_proved_anew(stage: Harness) -> None:
    """By a click of one id; the other's later double opt-in ends it for that id. Other addresses are not concerned."""
    await stage.advance(T0 + HOUR)
    found = await issue(stage, "news")
    assert [await refusal(stage, each) for each in found.values()] == ["", "", ""]
    await stage.append(consent(OLDER, "withdraw", at_ms=T0 + 2 * HOUR))
    assert await refusal(stage, found[YOUNGER]) == "unsubscribed"
    assert await refusal(stage, replace(found[YOUNGER], purpose="transactional")) == ""
    assert await refusal(stage, found[OTHER]) == ""
    known = Identify(
        customer=YOUNGER, at_ms=T0 + 3 * HOUR, id="again", time_ms=T0 + 3 * HOUR,
        traits={"consent": {"marketing": ["email"]}},
    )  # fmt: skip
    await stage.append(known)
    assert await refusal(stage, found[YOUNGER]) == "unsubscribed", "what a shop repeats proves nothing"
    await stage.append(consent(YOUNGER, "confirm", at_ms=T0 + 4 * HOUR))
    assert await refusal(stage, found[YOUNGER]) == ""


@pytest.mark.parametrize(("outcome", "after"), [("bounced", ""), ("complained", "suppressed_address")])
async def test_a_double_opt_in_lifts_a_bounce_and_no_complaint(stage: Harness, outcome: str, after: str) -> None:
    """Of the other id at the same address, written in its other form."""
    await stage.advance(T0 + HOUR)
    found = await issue(stage, "news")
    told = Outcome(
        customer=OLDER, at_ms=T0 + HOUR + 1, id="told", time_ms=T0 + HOUR + 1, outcome=outcome, message=found[OLDER].id
    )
    await stage.append(told)
    order = replace(found[YOUNGER], purpose="transactional")
    assert await refusal(stage, order) == "suppressed_address"
    await stage.append(consent(YOUNGER, "confirm", at_ms=T0 + 2 * HOUR))
    assert await refusal(stage, order) == after
