"""A collector on a real socket in front of the memory runtime, and what it put on the log."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
import pytest
from aiohttp import web

from channels.recording import Mailbox
from engine.clock import ManualClock
from engine.collector import CollectorNeeds, build_collector, build_operators, operators_views
from engine.core.catalog import Catalog, Interest
from engine.core.journey.workflow import EventMatch, Send, Trigger, Workflow
from engine.core.policy import Policy, Purpose
from engine.core.record import Absorb, Recheck, Record, Timer
from engine.dispatch.links.tokens import TokenSigner
from engine.runtimes.base import Runtime
from engine.runtimes.kafka.admin import ensure_topics
from engine.runtimes.kafka.topics import Topics
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import CollectorSection
from engine.telemetry import Metrics

T0 = 1_774_600_000_000
"""2026-03-27T08:26:40Z."""
SECRET = b"a secret of the tests, 32 bytes."
KEY = "a-write-key"


def catalog() -> Catalog:
    """A newsletter by email and SMS for those who want it, double opt-in by email; and an order confirmation."""
    news = Workflow(
        name="news",
        version="0123456789ab",
        purpose="marketing",
        trigger=Trigger(matches=(EventMatch("News Asked For"),)),
        first="mail",
        ops={
            "mail": Send(id="mail", next="text", channels=("email",), template="news", purpose="marketing"),
            "text": Send(id="text", channels=("sms",), template="news", purpose="marketing"),
        },
    )
    return Catalog(
        id="c1",
        workflows={"news": news},
        versions={("news", news.version): news},
        segments={},
        policy=Policy(
            zone="Europe/Berlin",
            purposes={
                "transactional": Purpose("transactional", "none"),
                "marketing": Purpose("marketing", "opt_in", ("email",)),
            },
        ),
        interests={"News Asked For": Interest(triggers=("news",))},
    )


def taken_in(runtime: MemoryRuntime) -> list[Record]:
    """The records on the log that came from outside: what the engine appends by itself is left out."""
    log = runtime.memory.log or []
    return [record for _, record in log if not isinstance(record, Absorb | Timer | Recheck)]


class Collector(msgspec.Struct, kw_only=True):
    """A running collector, its address, and what stands behind it."""

    url: str
    operators_url: str
    runtime: Any
    clock: ManualClock
    signer: TokenSigner
    metrics: Metrics
    http: aiohttp.ClientSession
    mailbox: Mailbox

    @property
    def records(self) -> list[Record]:
        """Everything that the collector put on the log, without what the engine added."""
        return taken_in(self.runtime)

    async def post(self, path: str, json: object = None, **more: Any) -> tuple[int, Any]:
        """The status and the JSON of the answer."""
        data = more.pop("data", msgspec.json.encode(json))
        async with self.http.post(self.url + path, data=data, **more) as answer:
            return answer.status, msgspec.json.decode(await answer.read())


class Served:
    """An application on a free port of 127.0.0.1."""

    def __init__(self, app: web.Application) -> None:
        # A connection whose body never came is read on for ten seconds otherwise.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


def make_parts(runtime: Runtime, clock: ManualClock, mailbox: Mailbox | None = None) -> CollectorNeeds:
    """What bootstrap would hand over."""
    return CollectorNeeds(
        runtime=runtime,
        clock=clock,
        metrics=Metrics(),
        signer=TokenSigner(SECRET),
        mailbox=mailbox,
        content=lambda message: f"<p>{message.template}</p>",
    )


@pytest.fixture
def settings() -> CollectorSection:
    """Without write keys; a test that wants some replaces it."""
    return CollectorSection()


@pytest.fixture(scope="session")
def intake_topics(kafka: str) -> Topics:
    """The topics of all tests of one process: each reads only what it wrote."""
    topics = Topics(prefix=f"collector-{uuid.uuid4().hex[:8]}.")
    ensure_topics(kafka, topics, partitions=1, replication=1)
    return topics


@pytest.fixture(params=["memory", "kafka"])
async def runtime(request: pytest.FixtureRequest) -> AsyncIterator[MemoryRuntime]:
    """What stands behind the collector: the memory runtime alone, or one that gets everything through a real broker."""
    clock = ManualClock(T0)
    if request.param == "memory":
        yield MemoryRuntime(catalog(), clock=clock)
        return
    from tests.collector.through_kafka import ThroughKafka

    bootstrap, topics = request.getfixturevalue("kafka"), request.getfixturevalue("intake_topics")
    async with ThroughKafka(catalog(), clock, bootstrap=bootstrap, topics=topics) as through:
        yield through


@pytest.fixture
async def collector(settings: CollectorSection, tmp_path: Path, runtime: MemoryRuntime) -> AsyncIterator[Collector]:
    """A collector that listens, with an empty log behind it."""
    clock = runtime.memory.clock
    mailbox = Mailbox(tmp_path / "var")
    parts = make_parts(runtime, clock, mailbox)
    async with (
        Served(build_collector(settings, parts)) as served,
        Served(build_operators(operators_views(settings, parts), hosts=["anlass.internal"])) as operators,
        aiohttp.ClientSession() as http,
    ):
        yield Collector(
            url=served.url,
            operators_url=operators.url,
            runtime=runtime,
            clock=clock,
            signer=parts.signer,
            metrics=parts.metrics,
            http=http,
            mailbox=mailbox,
        )
    mailbox.close()


class Beside:
    """A collector in a thread of its own, for clients that block. Records are read from this thread after the client."""

    def __init__(self, settings: CollectorSection) -> None:
        self.clock = ManualClock(T0)
        self.runtime = MemoryRuntime(catalog(), clock=self.clock)
        self.url = ""
        self._app_settings = settings
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._done = asyncio.Event()
        async with Served(build_collector(self._app_settings, make_parts(self.runtime, self.clock))) as served:
            self.url = served.url
            self._listening.set()
            await self._done.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)
        self._loop.close()

    @property
    def records(self) -> list[Record]:
        """Everything that came in."""
        return taken_in(self.runtime)


@pytest.fixture
def beside() -> Iterator[Beside]:
    """A collector that knows one write key, for clients that block."""
    with Beside(CollectorSection(write_keys={"shop": KEY}, host="127.0.0.1")) as running:
        yield running
