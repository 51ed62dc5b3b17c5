"""What a dispatcher reads and does not own: copies of the customers' states, and of the addresses that nothing may be sent to.

Invariant: a copy is the topic up to an offset, on this machine's disk; it is answered from only once it is as far as the question
needs (`applied`, `read`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from engine.core.customer import CustomerState
from engine.errors import StorageError
from engine.runtimes.kafka.changelog import Changelog
from engine.runtimes.kafka.connect import METADATA_AGE_MS
from engine.runtimes.kafka.store import RowStore
from engine.runtimes.kafka.topics import PREFIX_BYTES, Topics, decode_suppressed, pack_row
from engine.runtimes.unreadable import UnreadableRow, read_state
from engine.telemetry import Action, get_log

POLL_MS = 500
RETRY_SECONDS = 1.0
_log = get_log("copies")


class StateCopy:
    """The states of one partition's customers, as their owner writes them. `store` must be open."""

    def __init__(self, store: RowStore, changelog: Changelog) -> None:
        self._store = store
        self._changelog = changelog
        self._unreadable: set[str] = set()
        self.applied = -1
        """Offset of the last record of `touchpoints` that these states have seen."""
        self.paused: frozenset[str] = frozenset()
        """Workflows that are paused on this partition."""
        self.on_applied: Callable[[int], None] = lambda _applied: None

    async def run(self) -> None:
        """Reads what there is, then follows the owner until cancelled."""
        while True:
            try:
                await self._changelog.restore()
                break
            except StorageError as error:
                _log.error(Action.BATCH_FAILED, cause=error)
                await asyncio.sleep(RETRY_SECONDS)
        self._moved(self._changelog.checkpoint.applied)
        await self._changelog.follow(applied=self._moved)

    def _moved(self, applied: int) -> None:
        self.applied = max(self.applied, applied)
        self.paused = frozenset(self._changelog.checkpoint.paused)
        self.on_applied(self.applied)

    @property
    def aside(self) -> set[str]:
        """Customers whose rows cannot be read, as far as their owner or we have found them."""
        return self._unreadable.union(self._changelog.checkpoint.aside)

    def states(self, customers: Sequence[str]) -> dict[str, CustomerState]:
        """Those of the customers that there are. Raises StorageError when one of them is set aside; `aside` then has it."""
        found: dict[str, CustomerState] = {}
        for key, row in self._store.rows([customer.encode() for customer in customers]).items():
            customer = key.decode()
            try:
                found[customer] = read_state(row[PREFIX_BYTES:], customer)
            except UnreadableRow as error:
                self._unreadable.add(customer)
                _log.error(Action.ROW_SKIPPED, table="states", key=customer, reason=str(error))
        if not self.aside.isdisjoint(customers):
            raise StorageError("A customer is set aside.", mend="Run `anlass check --database`.")
        return found

    def waits(self, customer: str) -> bool:
        """Whether the customer is still set aside."""
        if customer in self._changelog.checkpoint.aside:
            return True
        row = self._store.rows([customer.encode()]).get(customer.encode())
        try:
            if row is not None:
                read_state(row[PREFIX_BYTES:], customer)
        except UnreadableRow:
            return True
        self._unreadable.discard(customer)
        return False

    def scrub(self) -> None:
        """Leaves nothing of what was removed in the files; for another thread."""
        self._store.scrub()

    def close(self) -> None:
        """Once `run` is over."""
        self._store.close()


class Suppressions:
    """The topic `suppressions`. `store` must be open; `key` makes the key of a (channel, address)."""

    def __init__(self, bootstrap: str, topics: Topics, store: RowStore, *, key: Callable[[str, str], bytes]) -> None:
        self._bootstrap = bootstrap
        self._tp = TopicPartition(topics.suppressions, 0)
        self._store = store
        self._key = key
        self._following: asyncio.Task[None] | None = None
        self.read = False
        """Whether everything was read that stood there when we began: before, nothing may be sent."""
        self.on_read: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Begins to follow the topic; `read` becomes true later."""
        self._following = asyncio.create_task(self._follow(), name="anlass-suppressions")

    async def stop(self) -> None:
        """Idempotent."""
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            self._store.close()

    def find(self, addresses: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Of these (channel, address), those that nothing may be sent to, with the reason."""
        keys = {pair: self._key(*pair) for pair in addresses}
        rows = self._store.rows(list(set(keys.values())))
        return {pair: _reason(rows[key]) for pair, key in keys.items() if key in rows}

    async def _follow(self) -> None:
        while True:
            try:
                await self._read()
            except (KafkaError, StorageError) as error:
                _log.error(Action.BATCH_FAILED, cause=error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            consumer = AIOKafkaConsumer(
                metadata_max_age_ms=METADATA_AGE_MS,
                bootstrap_servers=self._bootstrap,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            )
            stack.push_async_callback(consumer.stop)
            await consumer.start()
            consumer.assign([self._tp])
            begin = (await consumer.beginning_offsets([self._tp]))[self._tp]
            end = (await consumer.end_offsets([self._tp]))[self._tp]
            if self._store.offset + 1 > end:  # the topic was made anew
                self._store.destroy()
                self._store.open()
            consumer.seek(self._tp, max(self._store.offset + 1, begin))
            while True:
                if not self.read and await consumer.position(self._tp) >= end:
                    self.read = True
                    self.on_read()
                records = (await consumer.getmany(self._tp, timeout_ms=POLL_MS)).get(self._tp, [])
                if records:
                    rows = [
                        (each.key, pack_row(each.offset, 0, each.value) if each.value else None, each.offset)
                        for each in records
                        if each.key
                    ]
                    self._store.replay(rows, offset=records[-1].offset)


def _reason(row: bytes) -> str:
    try:
        return decode_suppressed(row[PREFIX_BYTES:]).reason
    except (msgspec.ValidationError, msgspec.DecodeError):
        return "suppressed"  # somebody said so, whatever they wrote
