"""The embedded runtime: one asyncio loop, one SQLite file, one transaction per batch.

Invariant: what a call wrote is durable when it returns. This file is the ports; `loop` makes the batches, `plan` decides what
they hold, `batch` writes them.
"""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from engine.clock import Clock, SystemClock
from engine.core.catalog import Catalog
from engine.core.customer import CustomerState
from engine.core.journey.broadcast import WINNERS_MAX
from engine.core.journey.duplicates import is_second
from engine.core.journey.holding import NOTHING, Holding
from engine.core.journey.migrate import VERSIONS
from engine.core.message import Message
from engine.core.record import Flush, Record, decode_record, encode_record
from engine.core.time.schedule import rfc3339
from engine.dispatch.ports import NO_LINKS, OPEN, Closed, Links, Pending, Settlement
from engine.errors import StorageError
from engine.health import Condition
from engine.runtimes.asking import AsksReader
from engine.runtimes.base import DeadLetter
from engine.runtimes.embedded import handovers, outbox, retention, suppression
from engine.runtimes.embedded.batch import BatchOrder
from engine.runtimes.embedded.loop import BatchLoop, Walk
from engine.runtimes.embedded.probe import Probe
from engine.runtimes.embedded.reader import EmbeddedReader
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import EmbeddedOptions, Store, translated
from engine.runtimes.intake_check import check_room, checked
from engine.runtimes.keeping import kept
from engine.runtimes.unreadable import SetAside, UnreadableRow, read_state, readable, set_aside_sentence
from engine.telemetry import Action, Metrics, get_log

COMMANDS_PER_POLL = 500
STANDING_MS = 60_000
"""A timer that is due for so long stands."""


class EmbeddedRuntime(AsksReader):
    """All ports of `engine.runtimes.base` on a SQLite file in the folder `var`. Needs an event loop to be started."""

    def __init__(
        self,
        var: Path,
        catalog: Catalog,
        *,
        clock: Clock | None = None,
        options: EmbeddedOptions | None = None,
        metrics: Metrics | None = None,
        connection: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        self._options = options or EmbeddedOptions()
        self._clock = clock or SystemClock()
        self._metrics = metrics or Metrics()
        self._store = Store(var, options=self._options, connection=connection)
        self._loop = BatchLoop(self._store, self._options, catalog=catalog, clock=self._clock, metrics=self._metrics)
        self._reader = EmbeddedReader(
            lambda: self._store.connection, clock=self._clock, keyed_hash=self._store.keyed_hash
        )
        self._probe = Probe(self._store)
        self._log = get_log("runtime")
        self._tasks: list[asyncio.Task[None]] = []

    # ------------------------------------------------------------------------------------------------------ life

    async def start(self) -> None:
        assert not self._tasks, "started twice"
        try:
            self._store.open()
        except StorageError as error:
            self._log.error(Action.STORE_REFUSED, cause=error)
            raise
        try:
            with translated():
                if self._options.hold:
                    self._hold_all()
                self._loop.catalog = self._with_controls(self._loop.catalog)
                progress = {row[0]: row[1:] for row in self._store.connection.execute(SQL["progress_all"])}
                after, note = progress["recheck"]
                walk = Walk.of(note)
                if walk.catalog != self._loop.catalog.id:
                    walk, after = Walk(self._loop.catalog.id, deployed_ms=self._clock.now_ms()), 0
                self._loop.walk, self._loop.recheck_after = walk, after
                self._loop.resume_after = progress["resume"][0]
                self._loop.open()
        except BaseException:
            self._store.close()
            raise
        loops = {"batches": self._loop.run(), "inbox": self._inbox(), "tidy": self._tidy()}
        self._tasks = [asyncio.create_task(loop, name=f"anlass-{name}") for name, loop in loops.items()]
        self._log.info(Action.STORE_OPENED, log_seq=self._loop.batches.log_seq)

    async def stop(self) -> None:
        if not self._tasks:
            return
        self._loop.stop()
        batches, *others = self._tasks
        for task in others:
            task.cancel()
        await asyncio.gather(batches, *others, return_exceptions=True)
        self._tasks = []
        self._store.close()

    def _hold_all(self) -> None:
        """Before anything else: with the first batch it would be too late."""
        now_ms = self._clock.now_ms()
        with self._store.transaction() as connection:
            before = _holding(connection)
            if not before.since_ms:
                note = msgspec.json.encode(replace(before, since_ms=now_ms, released=())).decode()
                connection.execute(SQL["progress_put"], {"name": "holding", "value": now_ms, "note": note})

    def _with_controls(self, catalog: Catalog) -> Catalog:
        """The catalog with what control records said until now."""
        connection = self._store.connection
        paused = dict(connection.execute(SQL["control_paused"]).fetchall())
        winners = dict(connection.execute(SQL["winners_newest"], {"limit": WINNERS_MAX}).fetchall()[::-1])
        return replace(
            catalog,
            paused=catalog.paused | paused.keys(),
            paused_ms=paused,
            winners=winners,
            holding=_holding(connection),
        )

    # ---------------------------------------------------------------------------------------------------- intake

    async def append(self, records: Sequence[Record]) -> None:
        if not records:
            return
        check_room(
            len(records),
            backlog=self.backlog,
            records_max=self._options.append_records_max,
            backlog_max=self._options.backlog_max,
        )
        encoded = [(record, checked(record, at, encode=encode_record)) for at, record in enumerate(records)]
        await self._ask(BatchOrder(now_ms=0, records=encoded))

    async def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        await self._ask(BatchOrder(now_ms=0, letters=list(letters)))
        self._metrics.dead_letters.inc(len(letters))

    @property
    def backlog(self) -> int:
        return self._loop.backlog

    async def probe(self) -> str:
        if not self._tasks or self._tasks[0].done():
            return "The engine is not running."
        return self._probe.why_not(self._clock.monotonic())

    async def replay(self, dead_letter_ids: Sequence[int]) -> int:
        asked = {"numbers": json.dumps(list(dead_letter_ids))}
        rows = self._store.connection.execute(SQL["dead_letters_some"], asked).fetchall()
        order = BatchOrder(now_ms=0)
        for number, _, origin, _, _, body in rows:
            if not origin.startswith("log:"):
                continue  # what never became a record cannot be put back as one
            try:
                order.records.append((readable(decode_record, body), body))
            except UnreadableRow:
                continue
            order.letters_done.append(number)
        if order.records:
            await self._ask(order)
        return len(order.records)

    # ---------------------------------------------------------------------------------------------------- outbox

    async def ready(self, limit: int, *, closed: Closed = OPEN) -> list[Pending]:
        found, unreadable = outbox.ready(
            self._store, limit, closed=closed, holding=self.catalog.holding, now_ms=self._clock.now_ms()
        )
        if unreadable:
            await self._ask(BatchOrder(now_ms=0, asides=unreadable))
        return found

    async def claim(self, message_ids: Sequence[str], *, links: Links = NO_LINKS) -> frozenset[str]:
        return await self._ask(BatchOrder(now_ms=0, claims=list(message_ids), links=dict(links)))

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        await self._ask(BatchOrder(now_ms=0, settlements=list(settlements)))

    async def interrupted(self) -> list[Message]:
        found, self._loop.interrupted = self._loop.interrupted, []
        return [known.message for each in found if (known := await self._reader.message(each)) is not None]

    async def flushed(self) -> list[Flush]:
        found, self._loop.flushed = self._loop.flushed, []
        return found

    async def wait_for_work(self, timeout_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._loop.work.wait()
        self._loop.work.clear()

    async def states(self, customers: Sequence[str]) -> dict[str, CustomerState]:
        """As in the port. Raises StorageError when one of them is set aside: then its messages are not offered again."""
        rows = self._store.connection.execute(SQL["states_load"], (json.dumps(list(customers)),))
        found: dict[str, CustomerState] = {}
        unreadable: list[SetAside] = []
        for customer, _, _, body in rows:
            try:
                found[customer] = read_state(body, customer)
            except UnreadableRow as error:
                unreadable.append(SetAside(kind="state", key=customer, customer=customer, reason=str(error), body=body))
        if unreadable:
            await self._ask(BatchOrder(now_ms=0, asides=unreadable))
        if not self._store.asides.stopped.isdisjoint(customers):
            raise StorageError("A customer was set aside meanwhile.", mend="Run `anlass check --database`.")
        return found

    async def duplicates(self, messages: Sequence[Message]) -> dict[str, bool]:
        catalog, found = self._loop.catalog, {}
        for message in messages:
            others = list(outbox.same_issue(self._store.connection, message))
            holders = {record.customer for record in await self.consents(address=message.address)}
            states = await self.states(list({message.customer, *holders, *(other.customer for other, _ in others)}))
            if len(holders | {message.customer}) + len(others) > 1 and is_second(
                message, states, others, catalog=catalog
            ):
                found[message.id] = True
        return found

    async def suppressed(self, addresses: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        return suppression.find(self._store, addresses)

    @property
    def catalog(self) -> Catalog:
        return self._loop.catalog

    # ---------------------------------------------------------------------------------------------------- deploy

    async def deploy(
        self, catalog: Catalog, *, sources: Mapping[str, str] | None = None, versions: str = "pin", handover: int = 0
    ) -> None:
        """As in the port; it is never suspended, so that nothing is evaluated or rendered while it works.

        `handover` is the number of the handed-over deploy that this answers, in the same transaction.
        """
        assert versions in VERSIONS, versions
        now_ms = self._clock.now_ms()
        walk = Walk(catalog.id, versions, max(now_ms, self._loop.walk.deployed_ms + 1))
        with self._store.transaction() as connection:
            if sources is not None:
                connection.execute(
                    SQL["definition_insert"],
                    {"catalog": catalog.id, "deployed_ms": walk.deployed_ms, "files": handovers.packed(sources)},
                )
            connection.execute(SQL["progress_set"], {"name": "recheck", "value": 0, "note": walk.note})
            if handover:
                handovers.answer(connection, handover, catalog=catalog.id, answered_ms=now_ms)
            catalog = self._with_controls(catalog)
        self._loop.catalog, self._loop.walk, self._loop.recheck_after = catalog, walk, 0
        self._loop.wake()

    def handed_over(self) -> handovers.DeployHandover | None:
        """The newest deploy that another process handed over and nobody answered yet."""
        with translated():
            try:
                return handovers.pending(self._store.connection)
            except UnreadableRow as error:
                number = self._store.connection.execute(SQL["handover_newest"]).fetchone()[0]
                self._log.error(Action.ROW_SKIPPED, table="handovers", key=number, reason=str(error))
                self.refuse_handover(number, "what was handed over cannot be read; deploy it again")
                return None

    def refuse_handover(self, handover: int, problem: str) -> None:
        """Answers one that is not put in force, with the reason."""
        with self._store.transaction() as connection:
            handovers.answer(connection, handover, problem=problem, answered_ms=self._clock.now_ms())

    @property
    def data_version(self) -> int:
        """Another number whenever another process has written to the store."""
        version: int = self._store.connection.execute("PRAGMA data_version").fetchone()[0]
        return version

    def degraded(self) -> list[str]:
        """What an operator has to mend; everything else goes on."""
        count = len(self._store.asides.rows)
        return [set_aside_sentence(count)] if count else []

    async def idle(self) -> None:
        await self._loop.idle()

    async def _ask(self, order: BatchOrder) -> frozenset[str]:
        if not self._tasks:
            raise StorageError("The engine is not running.")
        return await self._loop.ask(order)

    # --------------------------------------------------------------------------------------------------- errands

    async def _inbox(self) -> None:
        """Takes what other processes put into the inbox; `data_version` changes when one of them wrote."""
        seen = -1
        while True:
            with self._going_on():
                version = self.data_version
                if version != seen:
                    while await self._take_commands():
                        pass
                    seen = version
                self._measure()
            await asyncio.sleep(self._options.inbox_poll_seconds)

    def _measure(self) -> None:
        """Sets the gauges, at each poll: they need not be newer, and batches are spared."""
        timer_ms = self._loop.timer_ms
        overdue_ms = max(0, self._clock.now_ms() - timer_ms) if timer_ms else 0
        self._metrics.timers_overdue_seconds.set(overdue_ms / 1_000)
        self._say(overdue_ms)
        self._metrics.rows_set_aside.set(len(self._store.asides.rows))
        self._metrics.outbox_depth.set(self._store.connection.execute(SQL["outbox_depth"]).fetchone()[0])

    def _say(self, overdue_ms: int) -> None:
        """What is not well, for `/readyz`."""
        health, since_ms = self._metrics.health, self.catalog.holding.since_ms
        if since_ms:
            words = (
                f"Everything has been held since {rfc3339(since_ms)}; `anlass held` lists what waits and lets it go."
            )
            health.report(Condition.HELD, words)
        else:
            health.clear(Condition.HELD)
        if overdue_ms > STANDING_MS:
            health.report(
                Condition.STANDING, f"A timer is due since {overdue_ms // 1_000} s and has not fired.", part="timers"
            )
        else:
            health.clear(Condition.STANDING, part="timers")

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """An errand that fails (a full disk, say) is tried again in its next round."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - an errand must not end for good without anybody hearing of it
            self._log.error(Action.BATCH_FAILED, cause=error)

    async def _take_commands(self) -> bool:
        rows = self._store.connection.execute(SQL["commands_oldest"], {"limit": COMMANDS_PER_POLL}).fetchall()
        if not rows:
            return False
        order = BatchOrder(now_ms=0)
        for number, body in rows:
            order.commands_done.append(number)
            try:
                order.records.append((readable(decode_record, body), body))
            except UnreadableRow as error:
                now_ms = self._clock.now_ms()
                order.letters.append(DeadLetter(at_ms=now_ms, origin="command", reason=str(error), body=body))
        await self._ask(order)
        return True

    async def _tidy(self) -> None:
        while True:
            with self._going_on():
                await self.tidy()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.tidy_interval_seconds):
                    await self._loop.forgot.wait()
            self._loop.forgot.clear()

    async def tidy(self) -> None:
        """Finishes what is to be forgotten, and removes what is kept no longer."""
        while self._tidy_step():  # noqa: ASYNC110 - lets batches run between the steps
            await asyncio.sleep(0.005)

    @property
    def on_forget(self) -> Callable[[str], None]:
        return self._store.on_forget

    @on_forget.setter
    def on_forget(self, forget: Callable[[str], None]) -> None:
        self._store.on_forget = forget

    def _tidy_step(self) -> bool:
        now_ms = self._clock.now_ms()
        days = kept(self.catalog.policy.retention, log=self._options.log_days, journal=self._options.journal_days)
        return retention.step(self._store, days, now_ms=now_ms, applied_seq=self._loop.batches.applied_seq)


def _holding(connection: sqlite3.Connection) -> Holding:
    note = {row[0]: row[2] for row in connection.execute(SQL["progress_all"])}.get("holding", "")
    return msgspec.json.decode(note, type=Holding) if note else NOTHING
