"""Stands between the socket and the HTTP server: nobody holds a connection without asking for something.

Invariant: a request's head is complete within the time the settings give, or its connection ends; there are never more
connections than allowed, and those that wait longest for a head make room for new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import resource
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import cast

import msgspec
from aiohttp import web

from engine.collector.refusals import RefusalReason

FILES_KEPT = 512
"""Files that are kept free for everything else: the store, providers, the operators' port."""
CONNECTIONS_MIN = 64
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 100\r\n\r\n"
    b'{"success":false,"code":"head_too_slow","message":"The head of the request did not arrive in time."}'
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many may be connected, and how long a head may take."""

    connections_max: int
    head_seconds: float


class Gatekeeper:
    """A protocol factory around that of aiohttp. `refused` is told why one was turned away, `counted` how many there are."""

    def __init__(
        self,
        rules: ConnectionLimits,
        *,
        refused: Callable[[RefusalReason], None],
        counted: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Keeps what it is given; `serve` names the server."""
        self.rules = rules
        self.refused = refused
        self._counted = counted
        self._server: Callable[[], asyncio.Protocol] | None = None
        self._open: dict[object, _Connection] = {}
        self._waiting: OrderedDict[_Connection, None] = OrderedDict()
        # aiohttp marks a middleware with an attribute, which a bound method cannot have.
        self.middleware = web.middleware(functools.partial(self._handle))

    def serve(self, server: Callable[[], asyncio.Protocol]) -> None:
        """From now on connections are handed to this server."""
        self._server = server

    def __call__(self) -> asyncio.Protocol:
        """For each connection."""
        assert self._server is not None, "nothing serves"
        return _Connection(self, self._server())

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = self._open.get(request.protocol)
        if connection is None:
            return await handler(request)
        connection.begin()
        try:
            return await handler(request)
        finally:
            connection.end()

    def enter(self, connection: _Connection) -> bool:
        """Whether a new connection may stay."""
        if len(self._open) >= self.rules.connections_max:
            self.refused(RefusalReason.CONNECTIONS)
            if not self._waiting:
                return False
            oldest = next(iter(self._waiting))
            oldest.abort()
            self.leave(oldest)
        self._open[connection.inner] = connection
        self._counted(len(self._open))
        return True

    def waits(self, connection: _Connection, *, on: bool) -> None:
        """Whether a connection waits for a head now."""
        self._waiting.pop(connection, None)
        if on and connection.inner in self._open:
            self._waiting[connection] = None

    def leave(self, connection: _Connection) -> None:
        """It is gone. Idempotent."""
        self._waiting.pop(connection, None)
        self._open.pop(connection.inner, None)
        self._counted(len(self._open))


class _Connection(asyncio.Protocol):
    """Passes everything on to aiohttp's own protocol, `inner`, and watches the time."""

    def __init__(self, keeper: Gatekeeper, inner: asyncio.Protocol) -> None:
        self.inner = inner
        self._keeper = keeper
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._busy = 0
        self._let_in = False

    def begin(self) -> None:
        """A head is complete: somebody works on it."""
        self._busy += 1
        self._stop()
        self._keeper.waits(self, on=False)

    def end(self) -> None:
        """Its answer is made; the next head may come."""
        self._busy -= 1
        if not self._busy:
            self._keeper.waits(self, on=True)

    def abort(self) -> None:
        """At once, whatever is under way."""
        self._stop()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass of it
        self._let_in = self._keeper.enter(self)
        if not self._let_in:
            self._transport.abort()
            return
        self._keeper.waits(self, on=True)
        self._start()
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not self._busy and self._timer is None:
            self._start()
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self.inner.eof_received()

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._keeper.leave(self)
        if self._let_in:
            self.inner.connection_lost(exc)

    def _start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._keeper.rules.head_seconds, self._too_slow)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._transport is not None and not self._transport.is_closing():
            self._keeper.refused(RefusalReason.TOO_SLOW)
            self._transport.write(_TOO_SLOW)
            self._transport.close()


def files_allowed() -> int:
    """Raises what this process may have open to the most that the system lets it, and says how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def connections_for(wanted: int) -> int:
    """How many connections there may be at once: as many as are wanted, if the system allows that many files."""
    return max(CONNECTIONS_MIN, min(wanted, files_allowed() - FILES_KEPT))
