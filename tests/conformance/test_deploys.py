"""Deploys on every runtime: what becomes of people on older versions, and that doing it again changes nothing."""

from __future__ import annotations

import msgspec
import pytest

from engine.core.catalog import Catalog
from engine.core.journey.workflow import Wait
from engine.core.time.schedule import parse_duration
from tests.conformance.harness import Harness, decisions, messages, states
from tests.conformance.shop import T0, catalog
from tests.conformance.test_contract import HOUR, event, identify

NEW = "ba9876543210"
EXPECTED = {
    "pin": ("0123456789ab", T0 + HOUR, []),
    "migrate": (NEW, T0 + 5 * HOUR, ["migrated"]),
    "end": ("", 0, ["exited"]),
}


def next_catalog(id: str = "shop-2", *, versions: str = "") -> Catalog:
    """The same project with a longer pause in `cart`; the version of before is known."""
    old = catalog(id=id)
    cart = old.workflows["cart"]
    pause = Wait(id="pause", next="reminder", duration=parse_duration("5h"))
    new = msgspec.structs.replace(cart, version=NEW, ops={**cart.ops, "pause": pause}, versions=versions)
    return msgspec.structs.replace(
        old, workflows={**old.workflows, "cart": new}, versions={**old.versions, ("cart", NEW): new}
    )


@pytest.mark.parametrize("versions", ["pin", "migrate", "end"])
async def test_a_deploy_says_what_becomes_of_people_in_flight(harness: Harness, versions: str) -> None:
    """Both stay, both move to a longer wait, or both end; who enters afterwards is on the new version either way."""
    await harness.append(identify("a"), event("a", "Product Added"), identify("b"), event("b", "Product Added"))
    await harness.runtime.deploy(next_catalog(), versions=versions)
    await harness.runtime.idle()
    version, due_ms, kinds = EXPECTED[versions]
    for customer, state in (await states(harness, ["a", "b"])).items():
        runs = [(run.version, run.due_ms) for run in state.enrollments]
        assert runs == ([(version, due_ms)] if version else [])
        told = [line.kind for line in await decisions(harness) if line.customer == customer]
        assert [kind for kind in told if kind in ("migrated", "exited", "not_migrated")] == kinds
    await harness.append(event("c", "Product Added"))
    assert [run.version for run in (await states(harness, ["c"]))["c"].enrollments] == [NEW]
    await harness.advance(T0 + HOUR)
    assert len([each for each in await messages(harness) if each.message.customer in "ab"]) == (
        2 if versions == "pin" else 0
    )


async def test_the_same_deploy_again_changes_nothing_more(harness: Harness) -> None:
    """Each customer moves once, also when the catalog is deployed again; and a second deploy is rechecked like the first."""
    await harness.append(identify("a"), event("a", "Product Added"))
    await harness.runtime.deploy(next_catalog())
    await harness.runtime.idle()
    for _ in range(2):
        await harness.runtime.deploy(next_catalog(), versions="migrate")
        await harness.runtime.idle()
        await harness.redeliver()
    moves = [line for line in await decisions(harness) if line.kind == "migrated"]
    assert [(line.customer, line.version, line.detail["from_version"]) for line in moves] == [
        ("a", NEW, "0123456789ab")
    ]


async def test_what_the_workflow_says_goes_before_the_deploy(harness: Harness) -> None:
    """`versions: end` in its file, and a deploy that pins."""
    await harness.append(identify("a"), event("a", "Product Added"))
    await harness.runtime.deploy(next_catalog(versions="end"), versions="pin")
    await harness.runtime.idle()
    assert (await states(harness, ["a"]))["a"].enrollments == ()
