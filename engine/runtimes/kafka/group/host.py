"""The partitions that this process has: owners for those it works on, copies for those it stands by for.

Invariant: at most one of owner and copy exists per partition, because both write the same folder.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from engine.errors import StorageError
from engine.runtimes.kafka.partition.arrival import Incoming
from engine.runtimes.kafka.partition.changelog import Fenced
from engine.telemetry import Action, get_log

STOP_SECONDS_MAX = 20.0
SCRUB_SECONDS = 30.0
"""How long what was removed stays in the files of the copies, and the time that rewriting them takes."""
SCRUB_REST = 20
"""Of large files longer: after each round so many times of what it took, or they would be rewritten all the time."""


class PartitionOwner(Protocol):
    """What works on a partition."""

    @property
    def waiting_records(self) -> int:
        """Records that were fed and are not done."""

    def feed(self, records: Sequence[Incoming], done: Callable[[], None]) -> None:
        """Takes a pack; calls `done` when all of it is durable."""

    async def run(self) -> None:
        """Restores, then works until released."""

    def assigned_again(self) -> None:
        """It is ours after a rebalance as before, but may have been another's in between. Called before packs come again."""

    def scrub(self) -> None:
        """Leaves nothing of what was removed in files of its own; called in another thread while it works."""

    def release(self) -> None:
        """Lets `run` return after the batch under way."""

    def close(self) -> None:
        """Closes what is open, once `run` is over."""


class Standby(Protocol):
    """What keeps a copy up to date."""

    async def run(self) -> None:
        """Follows the owner until cancelled."""

    def scrub(self) -> None: ...

    def close(self) -> None:
        """Closes the copy."""


class _Held(msgspec.Struct):
    what: Any
    task: asyncio.Task[None]


class Host:
    """Holds owners and standbys; `assign` changes which. Faust's recovery calls it after each rebalance."""

    def __init__(self, own: Callable[[int], PartitionOwner], stand_by: Callable[[int], Standby]) -> None:
        self._own = own
        self._stand_by = stand_by
        self._owners: dict[int, _Held] = {}
        self._standbys: dict[int, _Held] = {}
        self._changing = asyncio.Lock()
        self._scrubbing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self.on_change: Callable[[], None] = lambda: None
        self.failed: BaseException | None = None
        """Why an owner ended by itself, when that was a mistake of ours."""
        self._log = get_log("host")

    @property
    def owners(self) -> dict[int, Any]:
        """Partition → its owner."""
        return {number: held.what for number, held in self._owners.items()}

    @property
    def standbys(self) -> list[int]:
        """Partitions of which a copy is kept."""
        return sorted(self._standbys)

    def feed(self, partition: int, records: Sequence[Incoming], done: Callable[[], None]) -> None:
        """Gives a pack to its owner; one for a partition that is gone is dropped, and read again by its next owner."""
        held = self._owners.get(partition)
        if held is not None and not held.task.done():
            held.what.feed(records, done)

    async def assign(self, owned: set[int], standing_by: set[int]) -> None:
        """Lets go what is no longer ours, then takes what is new. Returns before the new ones are restored."""
        if self._scrubbing is None and (owned or standing_by):
            self._scrubbing = asyncio.create_task(self._scrub(), name="anlass-scrub")
        async with self._changing:
            standing_by = standing_by - owned
            ended = [number for number, held in self._owners.items() if held.task.done()]
            await self._let_go(self._owners, (self._owners.keys() - owned) | set(ended))
            await self._let_go(self._standbys, self._standbys.keys() - standing_by, cancel=True)
            for held in self._owners.values():
                held.what.assigned_again()
            for number in sorted(owned - self._owners.keys()):
                self._owners[number] = self._begin(self._own(number), f"owner-{number}")
                self._log.info(Action.PARTITION_TAKEN, partition=number)
            for number in sorted(standing_by - self._standbys.keys()):
                self._standbys[number] = self._begin(self._stand_by(number), f"standby-{number}")
        self.on_change()

    async def _scrub(self) -> None:
        """Somebody who is erased does not stay in files until RocksDB happens to rewrite them."""
        loop, rest_seconds = asyncio.get_running_loop(), SCRUB_SECONDS
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_seconds):
                    await self._closing.wait()
            begun = loop.time()
            for held in (*self._owners.values(), *self._standbys.values()):
                if held.task.done() or self._closing.is_set():
                    continue
                try:
                    async with self._changing:  # nothing is closed meanwhile
                        await asyncio.to_thread(held.what.scrub)
                except StorageError as error:
                    self._log.error(Action.BATCH_FAILED, cause=error)
            rest_seconds = max(SCRUB_SECONDS, SCRUB_REST * (loop.time() - begun))

    async def close(self) -> None:
        """Lets everything go, in order."""
        scrubbing, self._scrubbing = self._scrubbing, None
        if scrubbing is not None:
            self._closing.set()  # what it is at is finished: nothing may be closed under it
            await scrubbing
            self._closing.clear()
        await self.assign(set(), set())

    def _begin(self, what: Any, name: str) -> _Held:
        task = asyncio.create_task(what.run(), name=name)
        task.add_done_callback(self._ended)
        return _Held(what, task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        if isinstance(error, Fenced):
            self._log.warning(Action.PARTITION_FENCED, owner=task.get_name())
        else:
            self.failed = error
            self._log.error(Action.BATCH_FAILED, cause=error, owner=task.get_name())
        self.on_change()

    async def _let_go(self, held: dict[int, _Held], numbers: set[int], *, cancel: bool = False) -> None:
        gone = [held.pop(number) for number in numbers]
        for each in gone:
            each.task.cancel() if cancel else each.what.release()
        if gone:
            await asyncio.wait([each.task for each in gone], timeout=STOP_SECONDS_MAX)
        for number, each in zip(numbers, gone, strict=True):
            each.task.cancel()
            with contextlib.suppress(BaseException):
                await each.task
            each.what.close()
            if not cancel:
                self._log.info(Action.PARTITION_RELEASED, partition=number)
