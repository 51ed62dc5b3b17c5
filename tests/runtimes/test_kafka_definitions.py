"""The catalogs of the definitions topic: what can be used is used, what cannot is said, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from engine.core.catalog import Catalog
from engine.errors import DefinitionError, StorageError
from engine.runtimes.kafka.definitions import Definitions
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.topics import Definition, Outgoing, Topics, encode_definition
from tests.conformance.shop import catalog
from tests.services.kafka import create_topics
from tests.services.ports import free_ports

PROJECT = b"shop"


def compiled(definition: Definition, earlier: Sequence[Definition]) -> Catalog:
    """`bad…` does not compile, `mad…` is a mistake of ours; the id tells of whom it knows."""
    if definition.id.startswith("bad"):
        raise DefinitionError("It does not compile.")
    if definition.id.startswith("mad"):
        raise ZeroDivisionError
    return catalog(id="+".join([definition.id, *(each.id for each in earlier)]))


@pytest.fixture
def topics(kafka: str, topic_prefix: str) -> Topics:
    """Only the topic of definitions."""
    topics = Topics(topic_prefix)
    create_topics(kafka, {topics.definitions: 1})
    return topics


@pytest.fixture
async def outlet(kafka: str) -> AsyncIterator[Outlet]:
    """Of somebody who deploys."""
    outlet = Outlet(kafka, client="deploy")
    await outlet.start()
    yield outlet
    await outlet.stop()


@pytest.fixture
async def definitions(kafka: str, topics: Topics) -> AsyncIterator[Definitions]:
    """Not started."""
    one = Definitions(kafka, topics, project="shop", compile_=compiled)
    yield one
    await one.stop()


def deployed(topics: Topics, id: str, *, project: bytes = PROJECT, at_ms: int = 0, earlier: str = "") -> list[Outgoing]:
    """As `anlass deploy` writes it."""
    body = encode_definition(
        Definition(id=id, project=project.decode(), deployed_ms=at_ms, files={}, earlier=tuple(earlier.split()))
    )
    return [Outgoing(topics.definitions, 0, key, body) for key in (project + b"/" + id.encode(), project)]


async def test_what_was_deployed_is_known_after_the_start(
    topics: Topics, outlet: Outlet, definitions: Definitions
) -> None:
    """The last one of our project is in force; others' projects, and what nobody can read, do not count."""
    await outlet.send(deployed(topics, "one"))
    await outlet.send(deployed(topics, "two", at_ms=2, earlier="one gone"))
    await outlet.send(deployed(topics, "theirs", project=b"other", at_ms=3))
    await outlet.send([Outgoing(topics.definitions, 0, PROJECT, b"nonsense")])
    await definitions.start()
    assert definitions.in_force == "two"
    assert [each.id for each in definitions.known] == ["two", "one"]
    assert await definitions.wait_in_force() == "two"
    assert definitions.catalogs["two"].id == "two"
    assert not definitions.refused


async def test_a_new_one_is_heard_of_while_running(topics: Topics, outlet: Outlet, definitions: Definitions) -> None:
    """Whoever waits for the first one gets it; whoever asks for one that was written just now does too."""
    await definitions.start()
    waiting = asyncio.create_task(definitions.wait_in_force())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await outlet.send(deployed(topics, "one"))
    assert await waiting == "one"
    await outlet.send(deployed(topics, "two"))
    assert await definitions.wait_for("two")


async def test_a_catalog_that_was_never_deployed_is_told_soon(definitions: Definitions) -> None:
    """As soon as all of the topic is read, not after a pause that somebody thought long enough."""
    await definitions.start()
    began = time.monotonic()
    assert not await definitions.wait_for("nowhere")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("id", ["bad", "mad"])
async def test_one_that_cannot_be_used_is_refused_and_the_one_before_goes_on(
    topics: Topics, outlet: Outlet, definitions: Definitions, id: str
) -> None:
    """Whether it does not compile or we make a mistake: it is said, and ends nobody."""
    await outlet.send(deployed(topics, "one"))
    await outlet.send(deployed(topics, id, at_ms=1))
    await definitions.start()
    assert await definitions.wait_in_force() == "one"
    assert definitions.in_force == id
    assert not await definitions.wait_for(id)
    assert definitions.refused
    await outlet.send(deployed(topics, "two", at_ms=2))
    assert await definitions.wait_for("two")
    assert not definitions.refused


async def test_a_topic_that_cannot_be_read_at_the_start_is_said(topics: Topics) -> None:
    """No broker there."""
    [port] = free_ports(1)
    away = Definitions(f"127.0.0.1:{port}", topics, project="shop", compile_=compiled)
    with pytest.raises(StorageError, match="cannot be read"):
        await away.start()
    await away.stop()
