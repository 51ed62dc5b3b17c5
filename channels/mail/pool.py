"""Keeps SMTP connections for the next message: at most N, each for a bounded number of messages and a bounded idle time.

Invariant: a connection is with exactly one sender or in the idle list, and there are never more of them than slots.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from channels.contract import TransientError
from channels.mail.smtp import SmtpConnection


class PoolLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds the pool."""

    connections: int
    messages_per_connection_max: int
    idle_seconds_max: float
    noop_after_idle_seconds: float


class Pool:
    """Lends connections; a sender beyond the last slot waits for one."""

    def __init__(self, connect: Callable[[], Awaitable[SmtpConnection]], limits: PoolLimits) -> None:
        self._connect = connect
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.connections)
        self._idle: list[SmtpConnection] = []  # the newest last, so that surplus ones grow old and are closed
        self._closed = False
        self._leaving: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def idle(self) -> int:
        """How many connections wait for work."""
        return len(self._idle)

    async def take(self) -> SmtpConnection:
        """Return a live connection, waiting for a free slot if need be; every one goes back by `give_back`."""
        await self._slots.acquire()
        try:
            return await self._fresh()
        except BaseException:
            self._slots.release()
            raise

    def give_back(self, connection: SmtpConnection) -> None:
        """End a loan."""
        self._slots.release()
        if not connection.usable:
            connection.abort()
        elif self._closed or connection.messages >= self._limits.messages_per_connection_max:
            self._retire(connection)
        else:
            connection.idle_since_seconds = asyncio.get_running_loop().time()
            self._idle.append(connection)
            if self._sweeper is None or self._sweeper.done():
                self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Wait for the loans to end, then say QUIT to all. Idempotent."""
        self._closed = True
        for _ in range(self._limits.connections):
            await self._slots.acquire()
        for _ in range(self._limits.connections):
            self._slots.release()
        if self._sweeper is not None:
            self._sweeper.cancel()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.quit() for connection in idle), *self._leaving)

    async def _fresh(self) -> SmtpConnection:
        if self._closed:
            raise TransientError("the channel is closed", code="closed")
        while self._idle:
            connection = self._idle.pop()
            if not connection.usable:
                connection.abort()
                continue
            idle_seconds = asyncio.get_running_loop().time() - connection.idle_since_seconds
            if idle_seconds < self._limits.noop_after_idle_seconds or await connection.alive():
                return connection
        return await self._connect()

    def _retire(self, connection: SmtpConnection) -> None:
        leaving = asyncio.create_task(connection.quit())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _sweep(self) -> None:
        """Close what was idle for too long; ends when nothing is idle."""
        while self._idle:
            oldest = self._idle[0]
            age_seconds = asyncio.get_running_loop().time() - oldest.idle_since_seconds
            if age_seconds >= self._limits.idle_seconds_max or not oldest.usable:
                self._retire(self._idle.pop(0))
            else:
                await asyncio.sleep(self._limits.idle_seconds_max - age_seconds)
