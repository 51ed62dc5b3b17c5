"""Owns a partition of `dispatches` for a host: restores its ledger, gives it to the outbox, feeds it, lets it go.

Invariant: a pack is done when the ledger has taken all of it. Nothing is handed out before the ledger is restored, nor after
the partition is to be let go; what is under way then gets some seconds to be settled.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from engine.errors import LimitExceeded, StorageError
from engine.runtimes.kafka.dispatcher.copies import StateCopy
from engine.runtimes.kafka.dispatcher.ledger import LedgerPartition, LedgerTools
from engine.runtimes.kafka.dispatcher.ledger_log import LedgerLog, LedgerStore
from engine.runtimes.kafka.dispatcher.outbox import KafkaOutbox
from engine.runtimes.kafka.partition.arrival import Incoming
from engine.runtimes.kafka.partition.changelog import Changelog, ChangelogPartition, Fenced
from engine.runtimes.kafka.partition.missing import take_unbroken
from engine.runtimes.kafka.partition.store import RowStore
from engine.telemetry import Action, get_log

RELEASE_SECONDS_MAX = 8.0
RETRY_SECONDS = 0.5
PRUNE_SECONDS = 10.0
FENCED_SECONDS = 5.0
"""Longer than a member needs to hear that the group was rearranged."""


class _LedgerPack(msgspec.Struct):
    records: Sequence[Incoming]
    done: Callable[[], None]


class LedgerOwner:
    """One partition, from `run` until it is cancelled or `release` lets it return."""

    def __init__(
        self, ledger: LedgerPartition, copy: StateCopy, outbox: KafkaOutbox, *, source: ChangelogPartition
    ) -> None:
        """`source` is the partition of `dispatches`."""
        self.ledger = ledger
        self._source = source
        self.restored = asyncio.Event()
        self._copy = copy
        self._outbox = outbox
        self._queue: deque[_LedgerPack] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._waiting_records = 0
        self._fenced_seconds = FENCED_SECONDS
        self._log = get_log("ledger-owner")

    @property
    def waiting_records(self) -> int:
        """Records that were fed and are not taken."""
        return self._waiting_records

    @property
    def states_applied(self) -> int:
        """Offset of `touchpoints` that our copy of the states has seen."""
        return self._copy.applied

    def feed(self, records: Sequence[Incoming], done: Callable[[], None]) -> None:
        """Takes a pack, in order of offsets; records that were taken before are left out later."""
        self._queue.append(_LedgerPack(records, done))
        self._waiting_records += len(records)
        self._wake.set()

    def assigned_again(self) -> None:
        """Nothing to do: who had the partition meanwhile has marked the ledger's log, and the next write finds the mark."""

    def release(self) -> None:
        """Lets `run` return, after the sends under way or some seconds."""
        self._stopping = True
        self.ledger.releasing = True
        self._queue.clear()
        self._waiting_records = 0
        self._wake.set()

    def scrub(self) -> None:
        """Leaves nothing of what was removed in the files; for another thread."""
        self.ledger.scrub()
        self._copy.scrub()

    def close(self) -> None:
        """Closes what is on disk, once `run` is over."""
        self._outbox.remove(self.ledger)
        self.ledger.close()
        self._copy.close()

    async def run(self) -> None:
        """Restores, then works until `release`."""
        following = asyncio.create_task(self._copy.run())
        try:
            while not self._stopping:
                try:
                    await self._own(following)
                except Fenced:
                    self._log.warning(Action.PARTITION_FENCED, partition=self.ledger.number)
                    await self._rest()
                    self.ledger.reset()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _own(self, following: asyncio.Task[None]) -> None:
        """One ownership. Raises Fenced when another process took the partition over."""
        await self._restore()
        working = asyncio.create_task(self.ledger.work())
        feeding = asyncio.create_task(self._take_all())
        pruning = asyncio.create_task(self._prune())
        try:
            self._outbox.add(self.ledger, self._copy)
            self.restored.set()
            await asyncio.wait({working, feeding, following}, return_when=asyncio.FIRST_COMPLETED)
            for task in (working, following, feeding):
                if task.done():
                    task.result()
            await self.ledger.release(RELEASE_SECONDS_MAX)
        finally:
            self.restored.clear()
            self._outbox.remove(self.ledger)
            for task in (working, feeding, pruning):
                task.cancel()
            await asyncio.gather(working, feeding, pruning, return_exceptions=True)

    async def _restore(self) -> None:
        while True:
            try:
                await self.ledger.restore()
                return
            except Fenced:
                raise
            except StorageError as error:
                self._log.error(Action.BATCH_FAILED, partition=self.ledger.number, cause=error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _rest(self) -> None:
        """If the group has given the partition to the other one, we hear of it meanwhile; if not, it is ours to take back."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._fenced_seconds):
                while not self._stopping:
                    self._wake.clear()
                    await self._wake.wait()

    async def _take_all(self) -> None:
        """Takes packs until `release`, each until it is taken: the broker may be away, the disk full."""
        while not self._stopping:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            pack = self._queue[0]
            try:
                await take_unbroken(self._source, pack.records, applied=self.ledger.applied, take=self.ledger.take)
            except Fenced:
                raise
            except (StorageError, LimitExceeded) as error:
                self._log.error(Action.BATCH_FAILED, partition=self.ledger.number, cause=error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            pack.done()
            if self._queue and self._queue[0] is pack:
                self._queue.popleft()
                self._waiting_records -= len(pack.records)

    async def _prune(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_SECONDS)
            with contextlib.suppress(StorageError, LimitExceeded):
                await self.ledger.prune()


class LedgerCopy:
    """A standby: the ledger of a partition that another process owns, and the states that it will need with it."""

    def __init__(self, number: int, bootstrap: str, folder: Path, *, tools: LedgerTools) -> None:
        """Raises StorageError when the files cannot be used."""
        self._store, self._log, self._states = _open(number, bootstrap, folder, tools=tools)

    async def run(self) -> None:
        """Follows the owners until cancelled."""
        await asyncio.gather(self._log.follow(), self._states.run())

    def scrub(self) -> None:
        self._store.scrub()
        self._states.scrub()

    def close(self) -> None:
        """Closes the copies."""
        self._store.close()
        self._states.close()


def own_partition(number: int, bootstrap: str, folder: Path, *, tools: LedgerTools, outbox: KafkaOutbox) -> LedgerOwner:
    """Opens the files of a partition in `folder` (this process's alone). Raises StorageError."""
    store, log, states = _open(number, bootstrap, folder, tools=tools)
    source = ChangelogPartition(bootstrap, tools.topics.dispatches, number)
    return LedgerOwner(LedgerPartition(number, store, log, tools=tools), states, outbox, source=source)


def _open(number: int, bootstrap: str, folder: Path, *, tools: LedgerTools) -> tuple[LedgerStore, LedgerLog, StateCopy]:
    with contextlib.ExitStack() as opened:
        store = LedgerStore(folder / "ledger" / str(number))
        store.open()
        opened.callback(store.close)
        states = RowStore(folder / "states" / str(number))
        states.open()
        opened.pop_all()
    log = LedgerLog(ChangelogPartition(bootstrap, tools.topics.ledger, number), store, tools.outlet)
    changelog = Changelog(ChangelogPartition(bootstrap, tools.topics.states, number), states, tools.outlet)
    return store, log, StateCopy(states, changelog)
