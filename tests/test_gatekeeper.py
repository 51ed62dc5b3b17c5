"""Connections that ask for nothing do not keep others out."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from urllib.parse import urlsplit

import aiohttp

from engine.bootstrap.doors import serve
from engine.bootstrap.gatekeeper import CONNECTIONS_MIN, ConnectionLimits, Gatekeeper, connections_for, files_allowed
from engine.clock import ManualClock
from engine.collector import build_collector
from engine.collector.listening import bind, url_of
from engine.collector.refusals import Refusals
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import CollectorSection
from engine.telemetry import Metrics
from tests.collector.conftest import T0, catalog, make_parts

HALF = b"POST /v1/track HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@contextlib.asynccontextmanager
async def _served(rules: ConnectionLimits):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a pair, for these tests
    clock = ManualClock(T0)
    parts = make_parts(MemoryRuntime(catalog(), clock=clock), clock)
    metrics: Metrics = parts.metrics
    keeper = Gatekeeper(rules, refused=Refusals(metrics, clock).count, counted=metrics.connections.set)
    async with contextlib.AsyncExitStack() as stack:
        sock = bind("127.0.0.1", 0, what="collector", setting="ANLASS_COLLECTOR__")
        await serve(stack, build_collector(CollectorSection(), parts), sock, keeper=keeper)
        yield url_of(sock), metrics


async def _track(url: str, http: aiohttp.ClientSession) -> int:
    async with http.post(f"{url}/v1/track", json={"userId": "c1", "event": "E"}) as answer:
        return answer.status


async def test_a_head_that_does_not_come_ends_its_connection() -> None:
    """Half a head, nothing at all, and half a head after a whole request; a slow body keeps its own limit."""
    async with _served(ConnectionLimits(connections_max=50, head_seconds=0.3)) as (url, metrics):
        place = urlsplit(url)
        whole = HALF + b'Content-Length: 27\r\n\r\n{"userId":"c1","event":"E"}'
        for first, then in ((HALF, b""), (b"", b""), (whole, HALF)):
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.write(first)
            if then:
                await reader.readuntil(b'{"success": true}')
                writer.write(then)
            said = await asyncio.wait_for(reader.read(), 10)
            assert said.endswith(b'in time."}')
            writer.close()
        assert 'anlass_refused_total{reason="too_slow"} 3.0' in metrics.expose().decode()


async def test_a_connection_that_is_kept_may_be_idle_between_requests() -> None:
    """Only a head that was begun has to be finished."""
    async with (
        _served(ConnectionLimits(connections_max=50, head_seconds=0.2)) as (url, _),
        aiohttp.ClientSession() as http,
    ):
        for _ in range(3):
            assert await _track(url, http) == 200
            await asyncio.sleep(0.4)


async def test_eleven_hundred_half_open_connections_keep_nobody_out() -> None:
    """Those that wait longest make room; the one who asks for something is served at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        async with _served(ConnectionLimits(connections_max=100, head_seconds=30)) as (url, metrics):
            place = urlsplit(url)
            opened = []
            for _ in range(1_100):
                _, writer = await asyncio.open_connection(place.hostname, place.port)
                writer.write(HALF)
                opened.append(writer)
            async with aiohttp.ClientSession() as http, asyncio.timeout(5):
                assert await _track(url, http) == 200
                page = metrics.expose().decode()
            assert 'anlass_refused_total{reason="connections"} 1001.0' in page
            assert "anlass_connections 100.0" in page
            for writer in opened:
                writer.transport.abort()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_more_connections_than_the_system_allows_files() -> None:
    """The limit is raised as far as it goes, and some files are kept for the store."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1_000, hard), hard))
        assert files_allowed() >= min(hard, 1_000)
        assert connections_for(10) == CONNECTIONS_MIN
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
