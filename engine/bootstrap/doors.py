"""The two doors of a process: the public port, for shops and customers, and the operators' port.

Invariant: what is for operators is never served on the public port; and a door that cannot be opened is said before anything
is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from aiohttp import web

from engine.bootstrap.gatekeeper import ConnectionLimits, Gatekeeper, connections_for
from engine.clock import Clock
from engine.collector import CollectorNeeds, build_collector, build_operators, operators_views
from engine.collector.listening import BACKLOG_CONNECTIONS, bind
from engine.collector.refusals import Refusals
from engine.errors import SettingsError
from engine.settings import CollectorSection, Settings, open_door, weak_key
from engine.telemetry import Metrics

STOP_SECONDS_MAX = 10.0
OPERATORS_MAX = 128
OPERATORS_HEAD_SECONDS = 10.0


class Doors:
    """Both sockets of a collector, bound and not yet answered."""

    def __init__(self, settings: Settings, *, many: bool = False) -> None:
        """Raises SettingsError. `many`: processes of this kind share a machine, so that each finds an operators' port."""
        if (wrong := open_door(settings.collector) or weak_key(settings.collector)) is not None:
            raise wrong
        collector = settings.collector
        self.public = bind(collector.bind, collector.port, what="collector", setting="ANLASS_COLLECTOR__")
        try:
            self.operators = bind_status(settings, "collector") if many else bind_operators(settings)
        except BaseException:
            self.public.close()
            raise

    async def serve(self, stack: contextlib.AsyncExitStack, settings: Settings, parts: CollectorNeeds) -> None:
        """Answers at both until the stack is closed."""
        views = operators_views(settings.collector, parts)
        few = operators_keeper(parts.metrics, parts.clock)
        await serve(stack, build_operators(views, hosts=settings.console.hosts), self.operators, keeper=few)
        many = public_keeper(settings.collector, parts.metrics, parts.clock)
        await serve(stack, build_collector(settings.collector, parts), self.public, keeper=many)

    def close(self) -> None:
        """Idempotent."""
        self.public.close()
        self.operators.close()


def bind_operators(settings: Settings) -> socket.socket:
    """The operators' port. Raises SettingsError."""
    return bind(settings.console.host, settings.console.port, what="operators' port", setting="ANLASS_CONSOLE__")


def bind_status(settings: Settings, role: str) -> socket.socket:
    """The operators' port of a role on Kafka: several may share a machine, so a port that nobody asked for may be any."""
    host, port, asked = settings.kafka.status_door(settings.console)
    what = f"operators' port of the {role}"
    try:
        return bind(host, port, what=what, setting="ANLASS_CONSOLE__")
    except SettingsError:
        if asked:
            raise
        return bind(host, 0, what=what, setting="ANLASS_CONSOLE__")


async def serve(
    stack: contextlib.AsyncExitStack, application: web.Application, sock: socket.socket, *, keeper: Gatekeeper
) -> None:
    """Answers on the socket until the stack is closed; requests under way are finished."""
    application.middlewares.insert(0, keeper.middleware)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_SECONDS_MAX)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    assert runner.server is not None, "set up"
    keeper.serve(runner.server)
    server = await asyncio.get_running_loop().create_server(keeper, sock=sock, backlog=BACKLOG_CONNECTIONS)
    stack.callback(server.close)


def operators_keeper(metrics: Metrics, clock: Clock) -> Gatekeeper:
    """Of the operators' port: they are few."""
    rules = ConnectionLimits(connections_max=OPERATORS_MAX, head_seconds=OPERATORS_HEAD_SECONDS)
    return Gatekeeper(rules, refused=Refusals(metrics, clock).count)


def public_keeper(collector: CollectorSection, metrics: Metrics, clock: Clock) -> Gatekeeper:
    """Of the public port: as many as the settings and the system allow."""
    rules = ConnectionLimits(
        connections_max=connections_for(collector.connections_max), head_seconds=collector.head_seconds
    )
    return Gatekeeper(rules, refused=Refusals(metrics, clock).count, counted=metrics.connections.set)
