"""The runtimes that the conformance suite examines. A further one joins by one more name here."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.harness import EmbeddedHarness, Harness, MemoryHarness
from tests.conformance.kafka_harness import KafkaHarness
from tests.conformance.shop import T0, catalog

DURABLE = ("embedded", "kafka")
ALL = ("memory", *DURABLE)


def build(name: str, var: Path, request: pytest.FixtureRequest) -> Harness:
    """A harness, not yet open."""
    if name == "memory":
        return MemoryHarness(catalog(), T0)
    if name == "embedded":
        return EmbeddedHarness(catalog(), T0, var=var)
    prefix = f"c{uuid.uuid4().hex[:8]}."
    return KafkaHarness(catalog(), T0, var=var, bootstrap=request.getfixturevalue("kafka"), prefix=prefix)


@pytest.fixture(params=ALL)
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    """Every runtime, open and empty."""
    made = build(request.param, tmp_path / "var", request)
    await made.reopen()
    yield made
    await made.close()


@pytest.fixture(params=DURABLE)
async def durable(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    """Every runtime that survives its process, open and empty."""
    made = build(request.param, tmp_path / "var", request)
    await made.reopen()
    yield made
    await made.close()
