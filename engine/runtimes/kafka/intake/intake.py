"""Where records come in: appended to `touchpoints`, each customer's in order, and answered for once all replicas have them.

Invariant: when `append` returns, every record of it is acknowledged; when it raises, the sender may offer all of it again,
because records are recognised by their id. Unlike with the embedded runtime some of them may be on the log then: Kafka has no
transaction for several partitions that a Python client could rely on.

Each partition has a lane: what arrives while a batch is under way is the next batch. While the broker is away a lane's batch
waits in the producer, which tries for ever; whoever waits for longer than `answer_seconds_max` is told, and as long as it
lasts the next ones are told at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

import msgspec

from engine.core.record import Record, encode_record
from engine.errors import Backlog, BadRecord, ServiceUnreachable, StorageError
from engine.runtimes.base import DeadLetter
from engine.runtimes.intake_check import check_room, checked
from engine.runtimes.kafka.intake.outlet import Outlet, Row
from engine.runtimes.kafka.intake.probe import TopicProbe
from engine.runtimes.kafka.topics import (
    RECORD_BYTES_MAX,
    Outgoing,
    Topics,
    dead_letter_headers,
    encode_input,
    partition_of,
)
from engine.telemetry import Action, Metrics, get_log

ROW_BYTES = 40
"""What a row has besides key and value, at most."""


class IntakeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the intake."""

    append_records_max: int = 5_000
    backlog_max: int = 20_000
    """Records that wait for their acknowledgement."""
    buffer_bytes_max: int = 64 << 20
    """What these may have together."""
    batch_bytes_max: int = 1 << 20
    answer_seconds_max: float = 10.0
    stop_seconds_max: float = 10.0


class _Request:
    """What one caller waits for."""

    __slots__ = ("done", "open")

    def __init__(self, done: asyncio.Future[None]) -> None:
        self.done = done
        self.open = 0
        """Parts that are not acknowledged yet."""


class _Part:
    """The rows of one request for one partition."""

    __slots__ = ("lane", "request", "rows", "size")

    def __init__(self, request: _Request, lane: _Lane) -> None:
        self.request = request
        self.lane = lane
        self.rows: list[Row] = []
        self.size = 0


class _Lane:
    """One partition: what waits for it, and since when its batch is under way (monotonic seconds; 0: none is)."""

    __slots__ = ("busy_since", "number", "queue", "wake")

    def __init__(self, number: int) -> None:
        self.number = number
        self.queue: deque[_Part] = deque()
        self.wake = asyncio.Event()
        self.busy_since = 0.0


class KafkaIntake:
    """The port `Intake` on `touchpoints` and `dead-letters`. `partitions` is what `check_topics` said."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        *,
        partitions: int,
        options: IntakeOptions | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        assert partitions > 0, "the topics were checked"
        self._bootstrap = bootstrap
        self._topics = topics
        self._partitions = partitions
        self._options = options or IntakeOptions()
        self._metrics = metrics or Metrics()
        self._log = get_log("intake")
        self._probe = TopicProbe(bootstrap, topics.touchpoints, partitions=partitions)
        self._outlet: Outlet | None = None
        self._lanes: list[_Lane] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._waiting = 0
        self._waiting_bytes = 0

    # ------------------------------------------------------------------------------------------------------ life

    async def start(self) -> None:
        """Raises ServiceUnreachable when no broker answers."""
        assert not self._tasks, "started twice"
        outlet = Outlet(self._bootstrap, client="anlass-intake", metrics=self._metrics)
        try:
            await outlet.start()
        except StorageError as error:
            raise ServiceUnreachable(
                error.message, mend="Check that a broker is running there, or name another one in ANLASS_KAFKA."
            ) from error
        self._outlet = outlet
        self._stopping = False
        self._lanes = [_Lane(number) for number in range(self._partitions)]
        self._tasks = [
            asyncio.create_task(self._run(lane), name=f"anlass-intake-{lane.number}") for lane in self._lanes
        ]

    async def stop(self) -> None:
        """Waits until what was taken is acknowledged, for a bounded time. Idempotent."""
        if not self._tasks:
            return
        self._stopping = True
        for lane in self._lanes:
            lane.wake.set()
        _, late = await asyncio.wait(self._tasks, timeout=self._options.stop_seconds_max)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for lane in self._lanes:
            while lane.queue:
                self._fail(lane.queue.popleft(), StorageError("The collector was stopped."))
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            await self._close(outlet)

    async def _close(self, outlet: Outlet) -> None:
        """The client waits for its batches for ever while the broker is away: not longer than we do."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.stop_seconds_max):
                await outlet.stop()

    # ---------------------------------------------------------------------------------------------------- intake

    @property
    def backlog(self) -> int:
        """Records taken in and not yet acknowledged."""
        return self._waiting

    async def probe(self) -> str:
        """As in the port: nothing is written, because a record on the log is for ever."""
        if self._stopping or not self._tasks:
            return "The collector is not running."
        now = asyncio.get_running_loop().time()
        late = [
            lane for lane in self._lanes if lane.busy_since and now - lane.busy_since > self._options.answer_seconds_max
        ]
        if late:
            return (
                f"Kafka does not acknowledge records of partition {', '.join(str(lane.number) for lane in late)} now."
            )
        return await self._probe.why_not()

    async def append(self, records: Sequence[Record]) -> None:
        """As in the port. Raises StorageError when Kafka does not acknowledge in time."""
        if not records:
            return
        options = self._options
        check_room(
            len(records), backlog=self._waiting, records_max=options.append_records_max, backlog_max=options.backlog_max
        )
        if self._stopping or not self._tasks:
            raise StorageError("The collector is not running.")
        request = _Request(asyncio.get_running_loop().create_future())
        parts = self._divided(records, request)
        self._check_lanes(parts)
        size = sum(part.size for part in parts)
        if self._waiting_bytes + size > options.buffer_bytes_max:
            raise Backlog(f"{self._waiting_bytes} bytes wait for Kafka.", mend="Send them again a little later.")
        request.open = len(parts)
        self._waiting_bytes += size
        for part in parts:
            self._waiting += len(part.rows)
            part.lane.queue.append(part)
            part.lane.wake.set()
        try:
            async with asyncio.timeout(options.answer_seconds_max):
                await request.done
        except TimeoutError:
            raise _away() from None

    async def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        """As in the port. Raises StorageError when Kafka does not acknowledge in time."""
        outlet = self._outlet
        if outlet is None or self._stopping:
            raise StorageError("The collector is not running.")
        outgoing = [self._letter(letter) for letter in letters]
        try:
            async with asyncio.timeout(self._options.answer_seconds_max):
                await outlet.send(outgoing)
        except TimeoutError:
            raise _away() from None
        self._metrics.dead_letters.inc(len(letters))

    def _letter(self, letter: DeadLetter) -> Outgoing:
        key = letter.customer.encode("utf-8", "replace") or None
        number = partition_of(key or letter.body, self._partitions)
        headers = dead_letter_headers(letter.reason, letter.origin, letter.at_ms)
        return Outgoing(self._topics.dead_letters, number, key, letter.body, headers)

    def _divided(self, records: Sequence[Record], request: _Request) -> list[_Part]:
        """By partition, none larger than a batch. Raises BadRecord before anything of it is queued."""
        parts: list[_Part] = []
        newest: dict[int, _Part] = {}
        for at, record in enumerate(records):
            value = checked(record, at, encode=_encode)
            if len(value) > RECORD_BYTES_MAX:
                raise BadRecord(
                    "event_too_large",
                    f"The record has more than {RECORD_BYTES_MAX} bytes.",
                    where=f"records[{at}]",
                    mend="Send less in it.",
                )
            key = record.customer.encode() or None
            # A control record is for every owner of a partition.
            numbers = range(self._partitions) if key is None else (partition_of(key, self._partitions),)
            size = len(value) + len(key or b"") + ROW_BYTES
            for number in numbers:
                part = newest.get(number)
                if part is None or part.size + size > self._options.batch_bytes_max:
                    part = newest[number] = _Part(request, self._lanes[number])
                    parts.append(part)
                part.rows.append((key, value, ()))
                part.size += size
        return parts

    def _check_lanes(self, parts: Sequence[_Part]) -> None:
        since = asyncio.get_running_loop().time() - self._options.answer_seconds_max
        if any(0.0 < part.lane.busy_since < since for part in parts):
            raise _away()

    # ----------------------------------------------------------------------------------------------------- lanes

    async def _run(self, lane: _Lane) -> None:
        while True:
            lane.wake.clear()
            parts = self._gather(lane)
            if not parts:
                if self._stopping:
                    return
                await lane.wake.wait()
                continue
            lane.busy_since = asyncio.get_running_loop().time()
            outlet = self._outlet
            assert outlet is not None, "the lanes end before the connection does"
            try:
                await outlet.append(self._topics.touchpoints, lane.number, [row for part in parts for row in part.rows])
            except Exception as error:  # noqa: BLE001 - whatever it was, a lane has to live on
                self._log.error(Action.BATCH_FAILED, cause=error, partition=lane.number)
                for part in parts:
                    self._fail(part, StorageError(f"Kafka did not take the records: {error}"))
            except asyncio.CancelledError:
                for part in parts:
                    self._fail(part, StorageError("The collector was stopped."))
                raise
            else:
                for part in parts:
                    self._settle(part)
            lane.busy_since = 0.0

    def _gather(self, lane: _Lane) -> list[_Part]:
        """The next batch; what nobody waits for any more is left out."""
        parts: list[_Part] = []
        size = 0
        while lane.queue and (not parts or size + lane.queue[0].size <= self._options.batch_bytes_max):
            part = lane.queue.popleft()
            if part.request.done.done():
                self._release(part)
                continue
            parts.append(part)
            size += part.size
        return parts

    def _settle(self, part: _Part) -> None:
        self._release(part)
        part.request.open -= 1
        if not part.request.open and not part.request.done.done():
            part.request.done.set_result(None)

    def _fail(self, part: _Part, error: StorageError) -> None:
        self._release(part)
        if not part.request.done.done():
            part.request.done.set_exception(error)

    def _release(self, part: _Part) -> None:
        self._waiting -= len(part.rows)
        self._waiting_bytes -= part.size


def _encode(record: Record) -> bytes:
    encode_record(record)  # states are msgpack: what JSON can say and msgpack cannot would be a dead letter later
    return encode_input(record)


def _away() -> StorageError:
    return StorageError("Kafka is not acknowledging records right now.", mend="Send them again later.")
