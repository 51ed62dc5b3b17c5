"""Writes what was consumed into the database, each batch in one transaction with how far it was read.

Invariant: the tables depend on what was consumed, not on how it was cut into batches, how often it was delivered, or which
sink wrote when. A row of an older position never replaces a newer one; what is said about a forgotten customer at or before
the erasure leaves nothing, whenever it arrives. Totals are the sums of what the tables hold (pruned journal lines stay counted).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from engine.errors import StorageError
from engine.runtimes.base import PAUSES
from engine.runtimes.journal import ledger
from engine.runtimes.journal.connection import Row
from engine.runtimes.journal.consents import NEVER, ConsentRows, Erasures, alias_in
from engine.runtimes.journal.consumed import Consumed, Kind, LetterRow, MessageRow, PartitionReading, Stretch
from engine.runtimes.journal.database import Database, Transaction, Unstorable
from engine.runtimes.journal.pace import PaceChanges
from engine.runtimes.journal.rows import row_of_letter, row_of_line, row_of_message
from engine.runtimes.kafka.topics import JournalLine, Removed

Totals = Counter[tuple[str, str, int]]
"""(name, part, partition) → how much it changes."""
Place = tuple[Kind, int]


class Displaced(StorageError):
    """The database is not where the reader is: it has to go to `places` (kind, partition → offset) and read from there."""

    def __init__(self, places: dict[Place, int]) -> None:
        super().__init__("The database is at another place than its reader.")
        self.places = places


class WriteCounts(msgspec.Struct):
    """What a call wrote, for metrics."""

    rows: Counter[str]
    """Table → rows written (new and changed)."""
    unreadable: int = 0


class Projection:
    """Writes into an open database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._key = b""

    async def progress(self, places: Iterable[Place]) -> dict[Place, int]:
        """Where to read each place from; makes their rows, so that they can be locked."""
        async with self._database.transaction() as transaction:
            await transaction.write("progress_add", [(kind, partition, 0) for kind, partition in places])
            rows = await transaction.rows("progress_all")
        return {(kind, partition): offset for kind, partition, offset in rows}

    async def skip(self, kind: Kind, partition: int, *, to: int) -> None:
        """What lies before `to` is not on the topic any more: goes on from there."""
        async with self._database.transaction() as transaction:
            known = await _lock(transaction, [partition])
            if known.get((kind, partition), 0) < to:
                await transaction.write("progress_set", [(kind, partition, to)])

    async def apply(self, stretches: Sequence[Stretch]) -> WriteCounts:
        """Writes everything in one transaction. Raises Displaced (nothing was written), StorageError.

        A value that the database does not take becomes a dead letter; to find it, records are then written one by one.
        """
        try:
            return await self._apply(stretches)
        except Unstorable:
            return await self._apply_carefully(stretches)

    async def _apply_carefully(self, stretches: Sequence[Stretch]) -> WriteCounts:
        total = WriteCounts(Counter())
        for stretch in stretches:
            start = stretch.start
            for record in stretch.records:
                one = Stretch(
                    kind=stretch.kind,
                    partition=stretch.partition,
                    start=start,
                    end=record.offset + 1,
                    records=(record,),
                )
                try:
                    written = await self._apply([one])
                except Unstorable as error:
                    written = await self._apply([one], refused=str(error))
                total.rows += written.rows
                total.unreadable += written.unreadable
                start = record.offset + 1
            await self._apply([msgspec.structs.replace(stretch, start=start, records=())])
        return total

    async def _apply(self, stretches: Sequence[Stretch], *, refused: str = "") -> WriteCounts:
        """`refused`: why the records are not to be read, but to become dead letters."""
        written = WriteCounts(Counter())
        async with self._database.transaction() as transaction:
            known = await _lock(transaction, sorted({each.partition for each in stretches}))
            ahead = {
                (each.kind, each.partition): known.get((each.kind, each.partition), 0)
                for each in stretches
                if each.start > known.get((each.kind, each.partition), 0)
            }
            if ahead:
                raise Displaced(ahead)
            readings: dict[int, PartitionReading] = {}
            progress: list[Row] = []
            for stretch in stretches:
                done = known.get((stretch.kind, stretch.partition), 0)
                if stretch.end <= done:
                    continue  # another sink was here
                progress.append((stretch.kind, stretch.partition, stretch.end))
                reading = readings.setdefault(stretch.partition, PartitionReading(stretch.partition))
                for record in stretch.records:
                    if record.offset >= done:
                        _take(reading, stretch.kind, record, refused=refused)
            if not progress:
                return written
            written.unreadable = sum(reading.unreadable for reading in readings.values())
            key = self._key or await ledger.erasure_key(transaction)
            work = _TransactionWork(transaction, key, written.rows)
            for reading in readings.values():
                await work.forget(reading)
            for reading in readings.values():
                await work.write(reading)
            await transaction.write("progress_set", progress)
            await work.finish()
        if any(reading.removals for reading in readings.values()):
            await self._database.empty_wal()
        self._key = key  # not before: what was rolled back is nobody's key
        return written


def _take(reading: PartitionReading, kind: Kind, record: Consumed, *, refused: str) -> None:
    if refused:
        reading.refuse(kind, record, refused)
    else:
        reading.take(kind, record)


async def _lock(transaction: Transaction, partitions: list[int]) -> dict[Place, int]:
    rows = await transaction.rows("progress_lock", partitions=partitions)
    return {(kind, partition): offset for kind, partition, offset in rows}


class _TransactionWork:
    """The writes of one transaction. What needs a serial number is written last: its lock is everybody's."""

    def __init__(self, transaction: Transaction, key: bytes, rows: Counter[str]) -> None:
        self._transaction = transaction
        self._key = key
        self._rows = rows
        self._totals: Totals = Counter()
        self._pace = PaceChanges()
        self._control: dict[str, Row] = {}
        self._raised: list[Row] = []
        self._lines: list[tuple[int, JournalLine]] = []
        self._messages: list[tuple[int, int, MessageRow]] = []  # number (0: none yet), partition, row
        self._letters: list[LetterRow] = []
        self._consents = ConsentRows(transaction, lambda text: ledger.digest(key, text))

    async def forget(self, reading: PartitionReading) -> None:
        """Removes whom a partition number's journal says to forget: before anything is written, which may be about them."""
        for removed in reading.removals:
            await self._forget(reading.partition, removed)

    async def write(self, reading: PartitionReading) -> None:
        """All of one partition number that takes no serial number."""
        until = await self._leave_out_forgotten(reading)
        await self._consents.sort(reading.partition, reading.consents, alias_in(until, reading.partition))
        await self._write_customers(reading)
        await self._sort_messages(reading)
        await self._sort_letters(reading)
        await self._sort_lines(reading)
        if reading.applied >= 0:
            self._raised.append(("total", "records", reading.partition, reading.applied + 1))

    async def finish(self) -> None:
        """Totals, then what takes serial numbers."""
        changes = [(*key, value) for key, value in sorted(self._totals.items()) if value]
        await self._transaction.write("counters_add", changes)
        await self._transaction.write("counters_raise", sorted(self._raised))
        await self._transaction.write("pace_add", self._pace.rows())
        await self._transaction.write("control_put", [self._control[name] for name in sorted(self._control)])
        fresh = [each for each in self._messages if not each[0]]
        number = await self._serial("messages", len(fresh))
        rows = [row_of_message(known, partition, row) for known, partition, row in self._messages if known]
        rows += [row_of_message(number + i, partition, row) for i, (_, partition, row) in enumerate(fresh)]
        await self._transaction.write("ledger_put", rows)
        number = await self._serial("dead_letters", len(self._letters))
        await self._transaction.write(
            "dead_letters_insert", [row_of_letter(number + i, e) for i, e in enumerate(self._letters)]
        )
        number = await self._serial("journal", len(self._lines))
        await self._transaction.write(
            "journal_insert", [row_of_line(number + i, *each) for i, each in enumerate(self._lines)]
        )
        await self._consents.write()
        self._rows += Counter(consents=len(self._consents))
        self._rows += Counter(ledger=len(rows), dead_letters=len(self._letters), journal=len(self._lines))

    async def _serial(self, name: str, count: int) -> int:
        """The first of `count` numbers that nobody else gets."""
        if not count:
            return 0
        last: int = (await self._transaction.rows("serial_take", name=name, count=count))[0][0]
        return last - count + 1

    # ----------------------------------------------------------------------------------------------------- forgetting

    def _hash(self, customer: str) -> str:
        return ledger.digest(self._key, customer).hex()

    async def _forget(self, partition: int, removed: Removed) -> None:
        place = {"customer": removed.customer, "partition": partition, "log_offset": removed.offset}
        lines = await self._transaction.rows("journal_forget", **place)
        messages = await self._transaction.rows("ledger_forget", **place)
        letters = await self._transaction.rows("dead_letters_forget", **place, at_ms=removed.at_ms)
        states = await self._transaction.rows("states_forget", **place)
        await self._consents.hide(partition, removed)
        for kind, workflow, at_ms, detail in lines:
            self._totals["decision", f"{kind}:{workflow}", partition] -= 1
            self._pace.line(partition, kind, workflow, at_ms=at_ms, detail=detail, by=-1)
        for channel, status, workflow, updated_ms in messages:
            self._totals["message", f"{channel}:{status}", partition] -= 1
            self._pace.message(partition, status, workflow, updated_ms=updated_ms, by=-1)
        for (due_ms,) in states:
            self._totals["total", "customers", partition] -= 1
            self._totals["total", "timers", partition] -= due_ms > 0
        await self._transaction.rows(
            "erasures_insert",
            partition=partition,
            log_offset=removed.offset,
            customer_hash=self._hash(removed.customer),
            alias=removed.alias,
            at_ms=removed.at_ms,
            rows_removed=len(lines) + len(messages) + len(letters) + len(states),
        )

    async def _leave_out_forgotten(self, reading: PartitionReading) -> Erasures:
        """Takes out what is said about customers at or before their erasure: an old owner may say it late."""
        until: Erasures = defaultdict(dict)
        if not (await self._transaction.rows("erasures_any"))[0][0]:
            return until
        customers = {line.customer for line in reading.lines.values()} | set(reading.customers)
        customers |= {row.entry.message.customer for row in reading.messages.values() if row.entry is not None}
        customers |= {letter.customer for letter in reading.letters.values() if letter.customer}
        hashes = {self._hash(customer): customer for customer in customers}
        known = await self._transaction.rows("erasures_known", hashes=list(hashes))
        for found, partition, offset, at_ms, alias in known:
            until[hashes[found]].setdefault(partition, []).append((offset, at_ms, alias))
        if not until:
            return until

        def gone(customer: str, offset: int, partition: int = reading.partition) -> bool:
            return customer in until and offset <= until[customer].get(partition, NEVER)[-1][0]

        def dead(letter: LetterRow) -> bool:
            # What stood on another partition than the customer's, or on none, has only its time to go by.
            return any(
                letter.log_offset <= offset if partition == letter.log_partition else letter.at_ms <= at_ms
                for partition, [*_, (offset, at_ms, _)] in until.get(letter.customer, {}).items()
            )

        reading.lines = {key: line for key, line in reading.lines.items() if not gone(line.customer, line.offset)}
        reading.customers = {
            key: row for key, row in reading.customers.items() if row.body is None or not gone(key, row.position)
        }
        reading.messages = {
            key: row
            for key, row in reading.messages.items()
            if row.entry is None or not gone(row.entry.message.customer, row.entry.offset)
        }
        reading.letters = {key: letter for key, letter in reading.letters.items() if not dead(letter)}
        return until

    # -------------------------------------------------------------------------------------------------------- writing

    async def _write_customers(self, reading: PartitionReading) -> None:
        if not reading.customers:
            return
        partition = reading.partition
        known = {
            customer: (position, due_ms)
            for customer, position, due_ms in await self._transaction.rows(
                "states_known", customers=list(reading.customers)
            )
        }
        puts: list[Row] = []
        deletes: list[str] = []
        for customer, row in reading.customers.items():
            position, due_ms = known.get(customer, (-1, 0))
            if row.position < position:
                continue
            if row.body is not None:
                puts.append((customer, partition, row.position, row.due_ms, row.updated_ms, row.body))
            elif customer in known:
                deletes.append(customer)
            self._totals["total", "customers", partition] += (row.body is not None) - (customer in known)
            self._totals["total", "timers", partition] += (row.due_ms > 0) - (due_ms > 0)
        if deletes:
            await self._transaction.rows("states_delete", customers=deletes)
        await self._transaction.write("states_put", sorted(puts))
        self._rows["states"] += len(puts) + len(deletes)

    async def _sort_messages(self, reading: PartitionReading) -> None:
        if not reading.messages:
            return
        rows = await self._transaction.rows("ledger_known", messages=list(reading.messages))
        known = {
            message: (version, f"{channel}:{status}", number) for message, version, channel, status, number, *_ in rows
        }
        told = {message: (status, workflow, updated_ms) for message, _, _, status, _, workflow, updated_ms in rows}
        deletes: list[str] = []
        for message, row in reading.messages.items():
            version, counted, number = known.get(message, (-1, "", 0))
            if row.version < version:
                continue
            if counted:
                self._totals["message", counted, reading.partition] -= 1
                status, workflow, updated_ms = told[message]
                self._pace.message(reading.partition, status, workflow, updated_ms=updated_ms, by=-1)
            if row.entry is not None:
                entry = row.entry
                self._pace.message(reading.partition, entry.status, entry.message.workflow, updated_ms=entry.updated_ms)
                self._totals["message", f"{row.entry.message.channel}:{row.entry.status}", reading.partition] += 1
                self._messages.append((number, reading.partition, row))
            elif number:
                deletes.append(message)
        if deletes:
            await self._transaction.rows("ledger_delete", messages=deletes)

    async def _sort_letters(self, reading: PartitionReading) -> None:
        if reading.letters:
            rows = await self._transaction.rows("dead_letters_known", identities=list(reading.letters))
            known = {identity for (identity,) in rows}
            self._letters += [letter for identity, letter in reading.letters.items() if identity not in known]

    async def _sort_lines(self, reading: PartitionReading) -> None:
        if not reading.lines:
            return
        partition = reading.partition
        (last,) = (await self._transaction.rows("journal_last", partition=partition))[0]
        offsets = sorted({offset for offset, _ in reading.lines if last is not None and offset <= last})
        known: set[tuple[int, int]] = set()
        if offsets:
            rows = await self._transaction.rows("journal_known", partition=partition, offsets=offsets)
            known = {(offset, line) for offset, line in rows}
        for identity, line in reading.lines.items():
            if identity not in known:
                self._lines.append((partition, line))
                self._totals["decision", f"{line.kind}:{line.workflow}", partition] += 1
                self._pace.line(partition, line.kind, line.workflow, at_ms=line.at_ms, detail=line.detail)
                if line.kind in PAUSES:
                    reason = str(line.detail.get("reason", "")).replace("\0", "\ufffd")
                    self._control[line.workflow] = (line.workflow, int(line.kind == "paused"), line.at_ms, reason)
