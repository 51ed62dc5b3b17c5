"""What a runtime has to offer to be examined by this suite. A third runtime joins with a class like these and one fixture.

Invariant: a harness only drives its runtime; what is right is said by the tests, and is the same for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from engine.clock import ManualClock
from engine.core.catalog import Catalog
from engine.core.customer import CustomerState, encode_state
from engine.core.effect import Decision
from engine.core.record import Record, decode_record
from engine.dispatch.ports import Settlement
from engine.errors import StorageError
from engine.runtimes.base import MessageStatus, Query, Runtime
from engine.runtimes.embedded import EmbeddedOptions, EmbeddedRuntime
from engine.runtimes.memory_ports import MemoryRuntime

Table = Literal["states", "ledger"]
Damage = Callable[[bytes], bytes]


class Crashed(Exception):
    """The runtime died; nothing is known about the call that was under way."""


class Harness(Protocol):
    """One runtime under examination."""

    clock: ManualClock

    @property
    def runtime(self) -> Runtime:
        """The runtime, open."""

    async def reopen(self) -> None:
        """Opens the runtime on what is durable; the first time on nothing."""

    async def close(self) -> None:
        """Ends it in good order."""

    async def crash(self) -> None:
        """Ends it without giving it a chance to do anything."""

    async def append(self, *records: Record) -> None:
        """Appends and waits until all is evaluated. Raises Crashed."""

    async def settle(self, *settlements: Settlement) -> None:
        """Settles and waits until all is evaluated. Raises Crashed."""

    async def advance(self, to_ms: int) -> None:
        """Moves the clock to `to_ms`, stopping wherever a timer is due. Raises Crashed."""

    async def redeliver(self) -> None:
        """Lets the log be read again from its beginning, on the states as they are."""

    async def log(self) -> list[tuple[int, Record]]:
        """Everything on the log, with positions."""

    async def plant(self, table: Table, key: str, damage: Damage) -> None:
        """Ends the runtime, writes other bytes instead of a stored row's (the seam of `test_unreadable`), and opens it again.

        Raises NotImplementedError where a runtime has no such row.
        """

    def degraded(self) -> list[str]:
        """What readiness says besides."""


class MemoryHarness:
    """The reference. What is durable here is the list of what was done; it is done again on reopening."""

    def __init__(self, catalog: Catalog, now_ms: int) -> None:
        self._catalog = catalog
        self._start_ms = now_ms
        self.clock = ManualClock(now_ms)
        self._done: list[tuple[str, Any]] = []
        self._runtime: MemoryRuntime | None = None

    @property
    def runtime(self) -> MemoryRuntime:
        assert self._runtime is not None
        return self._runtime

    async def reopen(self) -> None:
        self.clock = ManualClock(self._start_ms)
        self._runtime = MemoryRuntime(self._catalog, clock=self.clock)
        await self._runtime.start()
        for verb, what in self._done:
            await self._do(verb, what)

    async def close(self) -> None:
        await self.runtime.stop()

    async def crash(self) -> None:
        self._runtime = None

    async def append(self, *records: Record) -> None:
        await self._do("append", records)
        self._done.append(("append", records))

    async def settle(self, *settlements: Settlement) -> None:
        await self._do("settle", settlements)
        self._done.append(("settle", settlements))

    async def advance(self, to_ms: int) -> None:
        await self._do("advance", to_ms)
        self._done.append(("advance", to_ms))

    async def _do(self, verb: str, what: Any) -> None:
        if verb == "append":
            await self.runtime.append(what)
        elif verb == "settle":
            await self.runtime.settle(what)
        else:
            self.runtime.advance_to(what)

    async def redeliver(self) -> None:
        for position, record in await self.log():
            self.runtime.memory.apply_logged(position, record)

    async def log(self) -> list[tuple[int, Record]]:
        assert self.runtime.memory.log is not None
        return list(self.runtime.memory.log)

    async def plant(self, table: Table, key: str, damage: Damage) -> None:
        if table != "states":
            raise NotImplementedError("its ledger is not serialised")
        self.runtime.set_aside(key, "planted", damage(encode_state(self.runtime.memory.states[key])))

    def degraded(self) -> list[str]:
        return self.runtime.degraded()


class Crash(BaseException):
    """Stands for the end of the process: nothing in the runtime may catch it and go on."""


class Faults:
    """Counts the writes of a connection and crashes before the one numbered `at` (0 is the first; None: never)."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.seen = 0

    def tick(self) -> None:
        here = self.seen
        self.seen += 1
        if here == self.at:
            raise Crash


class FaultyConnection(sqlite3.Connection):
    """A connection that can be told to die between any two writes, row by row, and right after a commit."""

    faults: ClassVar[Faults] = Faults()

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        writes = sql.lstrip().startswith(("INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT", "--"))
        if writes:
            self.faults.tick()
        cursor = super().execute(sql, parameters)
        if sql == "COMMIT":
            self.faults.tick()
        return cursor

    def executemany(self, sql: str, rows: Any, /) -> sqlite3.Cursor:
        cursor = self.cursor()
        for row in rows:
            cursor = self.execute(sql, row)
        return cursor


class EmbeddedHarness:
    """The embedded runtime in a folder, with a connection that can be made to fail."""

    def __init__(self, catalog: Catalog, now_ms: int, *, var: Path) -> None:
        self._catalog = catalog
        self._var = var
        self.clock = ManualClock(now_ms)
        self.faults = FaultyConnection.faults = Faults()
        self._runtime: EmbeddedRuntime | None = None

    @property
    def runtime(self) -> EmbeddedRuntime:
        assert self._runtime is not None
        return self._runtime

    async def reopen(self) -> None:
        self._runtime = EmbeddedRuntime(
            self._var,
            self._catalog,
            clock=self.clock,
            options=EmbeddedOptions(inbox_poll_seconds=0.01),
            connection=FaultyConnection,
        )
        try:
            await self._runtime.start()
            await self._settled()
        except Crash:
            await self.crash()
            raise Crashed from None

    async def close(self) -> None:
        await self.runtime.stop()

    async def crash(self) -> None:
        runtime = self.runtime
        self._runtime = None
        for task in runtime._tasks:
            task.cancel()
        with contextlib.suppress(BaseException):
            await asyncio.gather(*runtime._tasks, return_exceptions=True)
        runtime._store.close()  # an open transaction is rolled back, as it is when a process dies

    async def _settled(self) -> None:
        await self._unless_dead(self.runtime.idle())

    async def _unless_dead(self, call: Any) -> None:
        try:
            await call
        except StorageError:
            await asyncio.wait([self.runtime._tasks[0]], timeout=1)
            assert self._dead, "a store that failed without dying"
        if self._dead:
            await self.crash()
            raise Crashed

    @property
    def _dead(self) -> bool:
        return any(task.done() for task in self.runtime._tasks)

    async def append(self, *records: Record) -> None:
        await self._unless_dead(self.runtime.append(records))
        await self._settled()

    async def settle(self, *settlements: Settlement) -> None:
        await self._unless_dead(self.runtime.settle(settlements))
        await self._settled()

    async def advance(self, to_ms: int) -> None:
        while True:
            due_ms = self.runtime._loop.timer_ms
            if not due_ms or due_ms > to_ms:
                break
            self.clock.move_to(max(due_ms, self.clock.now_ms()))
            self.runtime._loop.wake()
            await self._settled()
        self.clock.move_to(max(to_ms, self.clock.now_ms()))
        await self._settled()

    async def redeliver(self) -> None:
        await self.close()
        with contextlib.closing(sqlite3.connect(self._var / "anlass.db")) as connection, connection:
            connection.execute("UPDATE progress SET value = 0 WHERE name = 'applied'")
        await self.reopen()

    async def log(self) -> list[tuple[int, Record]]:
        rows = self.runtime._store.connection.execute("SELECT seq, record FROM log ORDER BY seq")
        return [(seq, decode_record(body)) for seq, body in rows]

    async def plant(self, table: Table, key: str, damage: Damage) -> None:
        await self.close()
        column, name = ("state", "customer") if table == "states" else ("body", "message")
        with contextlib.closing(sqlite3.connect(self._var / "anlass.db")) as connection, connection:
            (body,) = connection.execute(f"SELECT {column} FROM {table} WHERE {name} = ?", (key,)).fetchone()  # noqa: S608
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {name} = ?", (damage(body), key))  # noqa: S608
        await self.reopen()

    def degraded(self) -> list[str]:
        return self.runtime.degraded()


async def decisions(harness: Harness) -> list[Decision]:
    """The whole journal, oldest first."""
    return [line for _, line in await harness.runtime.decisions(Query(limit=10_000, oldest_first=True))]


async def messages(harness: Harness) -> list[MessageStatus]:
    """The whole ledger, oldest first."""
    return (await harness.runtime.messages(limit=10_000))[::-1]


async def states(harness: Harness, customers: Sequence[str]) -> dict[str, CustomerState]:
    """What is known of these customers."""
    found = {customer: await harness.runtime.state(customer) for customer in customers}
    return {customer: state for customer, state in found.items() if state is not None}
