"""The runtimes that the conformance suite examines. A further one joins by one more name here."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.harness import EmbeddedHarness, Harness, MemoryHarness
from tests.conformance.shop import T0, catalog

DURABLE = ("embedded",)
ALL = ("memory", *DURABLE)


def build(name: str, var: Path) -> Harness:
    """A harness, not yet open."""
    return MemoryHarness(catalog(), T0) if name == "memory" else EmbeddedHarness(catalog(), T0, var=var)


@pytest.fixture(params=ALL)
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    """Every runtime, open and empty."""
    made = build(request.param, tmp_path / "var")
    await made.reopen()
    yield made
    await made.close()


@pytest.fixture(params=DURABLE)
async def durable(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    """Every runtime that survives its process, open and empty."""
    made = build(request.param, tmp_path / "var")
    await made.reopen()
    yield made
    await made.close()
