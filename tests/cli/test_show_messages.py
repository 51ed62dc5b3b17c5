"""`anlass show messages`: the newest messages, by status and workflow, page for page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import get_args

import pytest

from engine.cli.operate.show import STATUSES
from engine.core.record import Event, Identify
from engine.dispatch.ports import Settlement, Status
from tests.cli.conftest import anlass
from tests.conformance.harness import EmbeddedHarness
from tests.conformance.shop import T0, catalog

pytestmark = pytest.mark.usefixtures("commands")


async def _live(var: Path) -> None:
    """Three orders: one confirmed, one refused, one that waits."""
    harness = EmbeddedHarness(catalog(), T0, var=var)
    await harness.reopen()
    for number, customer in enumerate(("ann", "bob", "cem")):
        traits = {"email": f"{customer}@shop.example"}
        await harness.append(Identify(customer=customer, at_ms=T0, id=f"known-{customer}", time_ms=T0, traits=traits))
        at_ms = T0 + number
        await harness.append(Event(customer=customer, at_ms=at_ms, id=customer, name="Order Completed", time_ms=at_ms))
    first, second, _ = [each.message.id for each in await harness.runtime.ready(10)]
    await harness.runtime.claim([first, second])
    await harness.settle(
        Settlement(message_id=first, status="sent", at_ms=T0 + 9, provider_id="p1"),
        Settlement(message_id=second, status="failed", at_ms=T0 + 9, reason="refused"),
    )
    await harness.close()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project whose engine has stopped."""
    folder = tmp_path / "shop"
    assert anlass("init", folder).status == 0
    asyncio.run(_live(folder / "var"))
    return folder


def test_messages_are_listed_by_status_and_workflow_page_for_page(shop: Path) -> None:
    """Newest first, for people and for programs."""

    def listed(*more: str) -> list[str]:
        done = anlass("show", "messages", "--json", *more, "--project", shop)
        assert done.status == 0, done.err
        return [f"{line['customer']} {line['status']}" for line in done.lines]

    assert listed() == ["cem pending", "bob failed", "ann sent"]
    assert listed("--status", "failed") == ["bob failed"]
    assert listed("--status", "failed", "--workflow", "order") == ["bob failed"]
    assert listed("--workflow", "order", "-n", "2") == ["cem pending", "bob failed"]
    newest = anlass("show", "messages", "-n", "1", "--json", "--project", shop).lines[0]["message"]
    assert listed("--before", newest) == ["bob failed", "ann sent"]
    told = anlass("show", "messages", "--project", shop).out
    assert ("cem" in told, "order · confirm" in told, "refused" in told) == (True, True, True)
    assert anlass("show", "messages", "--status", "unknown", "--project", shop).out == "There are no such messages.\n"
    assert "no workflow `odrer`" in anlass("show", "messages", "--workflow", "odrer", "--project", shop).err
    assert set(STATUSES) == set(get_args(Status))
