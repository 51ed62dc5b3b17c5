"""What a dispatcher reads and does not own: copies of the customers' states, and of the addresses that nothing may be sent to.

Invariant: a copy is the topic up to an offset, on this machine's disk; it is answered from only once it is as far as the question
needs (`applied`, `read`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Sequence

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from engine.core import duplicates
from engine.core.customer import CustomerState
from engine.core.holding import NOTHING, Holding
from engine.core.message import Message
from engine.core.objection import answer, names, outlasts
from engine.errors import StorageError
from engine.runtimes.kafka.changelog import Changelog
from engine.runtimes.kafka.connect import METADATA_AGE_MS
from engine.runtimes.kafka.leaving import stopped
from engine.runtimes.kafka.store import RowStore
from engine.runtimes.kafka.topics import (
    PREFIX_BYTES,
    Suppressed,
    Topics,
    decode_suppressed,
    encode_suppressed,
    pack_row,
)
from engine.runtimes.unreadable import UnreadableRow, read_state
from engine.telemetry import Action, get_log

POLL_MS = 500
RETRY_SECONDS = 1.0
GATHER_SECONDS = duplicates.GATHER_MS / 1_000 + 1.0
"""After the first claim was read, all that the log counts as having come with it have been read, too."""
CLAIM_SECONDS_MAX = 60.0
"""A claim that is not there by then does not come."""
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
        self.paused_ms: dict[str, int] = {}
        self.holding = NOTHING
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
        checkpoint = self._changelog.checkpoint
        self.paused, self.paused_ms = frozenset(checkpoint.paused), dict(checkpoint.paused_ms)
        self.holding = checkpoint.holding
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


class Said(msgspec.Struct, frozen=True):
    """What operators said, as far as all partitions have heard it."""

    paused: frozenset[str]
    paused_ms: dict[str, int]
    holding: Holding


def said_by(copies: Sequence[StateCopy]) -> Said:
    """What is paused or held on any of these; a release counts when all of them have it."""
    times: dict[str, int] = {}
    dropped: dict[str, int] = {}
    for copy in copies:
        times.update({name: max(at_ms, times.get(name, 0)) for name, at_ms in copy.paused_ms.items()})
        dropped.update({name: max(at_ms, dropped.get(name, 0)) for name, at_ms in copy.holding.dropped.items()})
    held = [copy.holding for copy in copies if copy.holding.since_ms]
    released = frozenset.intersection(*(frozenset(each.released) for each in held)) if held else frozenset[str]()
    return Said(
        frozenset[str]().union(*(copy.paused for copy in copies)),
        times,
        Holding(max((each.since_ms for each in held), default=0), tuple(sorted(released)), dropped),
    )


class Suppressions:
    """The topic `suppressions`. `store` must be open; `key` makes the key of a (channel, address)."""

    def __init__(self, bootstrap: str, topics: Topics, store: RowStore, *, key: Callable[[str, str], bytes]) -> None:
        self._bootstrap = bootstrap
        self._tp = TopicPartition(topics.suppressions, 0)
        self._store = store
        self._key = key
        self._following: asyncio.Task[None] | None = None
        self._seen: dict[bytes, float] = {}
        """When the first claim to an address was read, of the newest ones; of others it is long ago."""
        self._began = 0.0
        self.read = False
        """Whether everything was read that stood there when we began: before, nothing may be sent."""
        self.on_read: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Begins to follow the topic; `read` becomes true later."""
        self._began = asyncio.get_running_loop().time()
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
        keys = {
            pair: [self._key(pair[0], text.removeprefix(f"{pair[0]}:")) for text in names(*pair)] for pair in addresses
        }
        rows = self._store.rows(list({key for some in keys.values() for key in some}))
        found = {}
        for pair, some in keys.items():
            known = [_suppressed(rows[key]) for key in some if key in rows]
            if known:
                worst = functools.reduce(lambda one, other: one if outlasts(one, other) else other, known)
                found[pair] = answer(*worst)
        return found

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
            stack.push_async_callback(stopped, consumer)
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
                    self._take(records)

    def is_second(self, message: Message) -> bool | None:
        """Whether another message holds the address of this one's issue; None as long as an older claim may still come."""
        key, now = self._key(*duplicates.place(message)), asyncio.get_running_loop().time()
        row = self._store.rows([key]).get(key)
        if row is None:  # decided by a worker of an older version, or its claim is on its way
            asked = self._seen.setdefault(key, now)
            return None if message.consented_ms and now - asked < CLAIM_SECONDS_MAX else False
        if now - self._seen.get(key, self._began) < GATHER_SECONDS:
            return None
        return duplicates.holder(_suppressed(row)[0])[1] != message.id

    def _take(self, records: Sequence[ConsumerRecord]) -> None:
        """Takes records over in their order. Of claims to one address the first one stands, or an older one that came at once."""
        standing: dict[bytes, Suppressed] = {}
        rows = []
        for each in records:
            if not each.key:
                continue
            value = each.value
            if value and (said := _claim(value)) is not None:
                first = standing.get(each.key) or self._standing(each.key)
                said = Suppressed(said.channel, said.reason, int(each.timestamp))
                if first is not None:
                    late = said.at_ms > first.at_ms + duplicates.GATHER_MS
                    best = first.reason if late else min(first.reason, said.reason, key=duplicates.holder)
                    said = Suppressed(said.channel, best, first.at_ms)
                if first is None:
                    self._saw(each.key)
                standing[each.key] = said
                value = encode_suppressed(said)
            rows.append((each.key, pack_row(each.offset, 0, value) if value else None, each.offset))
        self._store.replay(rows, offset=records[-1].offset)

    def _saw(self, key: bytes) -> None:
        """A first claim was read: those that came with it are waited for."""
        now = asyncio.get_running_loop().time()
        self._seen[key] = now
        while self._seen and now - next(iter(self._seen.values())) > CLAIM_SECONDS_MAX:
            del self._seen[next(iter(self._seen))]

    def _standing(self, key: bytes) -> Suppressed | None:
        row = self._store.rows([key]).get(key)
        return None if row is None else _claim(row[PREFIX_BYTES:])


def _claim(value: bytes) -> Suppressed | None:
    """The value as a claim; None when it says something else."""
    try:
        said = decode_suppressed(value)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return None
    return said if said.channel == duplicates.CLAIM else None


def _suppressed(row: bytes) -> tuple[str, int]:
    try:
        said = decode_suppressed(row[PREFIX_BYTES:])
    except (msgspec.ValidationError, msgspec.DecodeError):
        return "suppressed", 0  # somebody said so, whatever they wrote
    return said.reason, said.at_ms
