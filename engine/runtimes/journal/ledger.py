"""The chain over the consent ledger in the journal's database, and what is filled in from before there was one.

Invariant: rows and the end of their chain are written in one transaction, under the lock of their serial numbers: of two sinks
the second goes on from where the first ended. What a sink of an earlier version added at the end is chained with what comes next.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from engine.core.customer import decode_state
from engine.core.effect import Decision
from engine.runtimes import before_ledger, consents
from engine.runtimes.consent_chain import Chain, ChainColumns, Head, LedgerCheck, Linked, link
from engine.runtimes.journal.connection import Row

PAGE = 1_000

Entry = tuple[int, int, Row]
"""Partition, offset, and the columns of `consents.row_of`."""


class Queryable(Protocol):
    """A transaction, or the database outside of one."""

    async def rows(self, name: str, /, **values: Any) -> list[Row]:
        """Runs one statement."""


class Writing(Queryable, Protocol):
    """A transaction."""

    async def write(self, name: str, rows: Sequence[Row]) -> None:
        """Writes rows."""


async def erasure_key(transaction: Queryable) -> bytes:
    """What this database recognises forgotten customers with; made at first use."""
    await transaction.rows("secret_add", name="erasure_key", value=secrets.token_hex(32))
    return bytes.fromhex((await transaction.rows("secret_read", name="erasure_key"))[0][0])


def digest(key: bytes, text: str) -> bytes:
    """What `text` is recognised by."""
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")


async def add(transaction: Writing, entries: Sequence[Entry], keyed_hash: consents.KeyedHash) -> None:
    """Adds rows that are not there yet."""
    if not entries:
        return
    last: int = (await transaction.rows("serial_take", name="consents", count=len(entries)))[0][0]
    head = await _link_rest(transaction, keyed_hash)
    rows: list[Row] = []
    for number, (partition, offset, row) in enumerate(entries, last - len(entries) + 1):
        links = link(number, [partition, offset], row, prev=head.hash, keyed_hash=keyed_hash)
        rows.append((number, partition, offset, *row, *msgspec.structs.astuple(links)))
        head = Head(number=number, hash=links.hash)
    await transaction.write("consents_insert", rows)
    await transaction.rows("consents_head_set", number=head.number, hash=head.hash)


async def head_of(asked: Queryable) -> Head:
    """Where the ledger ends."""
    rows = await asked.rows("consents_head")
    return Head(number=rows[0][0], hash=rows[0][1]) if rows else Head()


async def chained(asked: Queryable, *, after: int) -> list[Linked]:
    """The next rows after a number, those included that are gone."""
    rows = await asked.rows("consents_chain", after=after, limit=PAGE)
    return [
        Linked(row[0], (row[1], row[2]), tuple(row[3:16]) if row[3] else (), ChainColumns(*row[16:])) for row in rows
    ]


async def check(asked: Queryable, known: Head | None = None) -> LedgerCheck:
    """Verifies the whole ledger, while a sink may be writing."""
    chain, last, said = Chain(known), 0, Head(number=-1)
    while True:
        if rows := await chained(asked, after=last):
            chain.check(rows)
            last = rows[-1].number
            continue
        before, said = said, await head_of(asked)
        if said.number <= last or said == before:
            return chain.finish(said)


async def complete(transaction: Writing) -> int:
    """Chains and fills in what earlier versions left; returns how many records were filled in. Once, with the migration."""
    key = await erasure_key(transaction)

    def keyed_hash(text: str) -> bytes:
        return digest(key, text)

    await transaction.rows("serial_take", name="consents", count=0)  # its lock
    head = await _link_rest(transaction, keyed_hash)
    await transaction.rows("consents_head_set", number=head.number, hash=head.hash)
    after, name, filled = 0, "", 0
    while rows := await transaction.rows("consents_journal", after=after, limit=PAGE):
        after = rows[-1][0]
        filled += await _add_new(transaction, [each for row in rows for each in _of_line(row)], keyed_hash)
    while rows := await transaction.rows("consents_states", after=name, limit=PAGE):
        name = rows[-1][0]
        found = [each for row in rows for each in await _of_state(transaction, row)]
        filled += await _add_new(transaction, found, keyed_hash)
    return filled


async def _link_rest(transaction: Queryable, keyed_hash: consents.KeyedHash) -> Head:
    """Chains what earlier versions added at the end; returns where the chain ends then."""
    head = await head_of(transaction)
    while rows := await chained(transaction, after=head.number):
        for each in rows:
            links = link(each.number, each.where, each.row, prev=head.hash, keyed_hash=keyed_hash)
            await transaction.rows("consents_link", number=each.number, **msgspec.structs.asdict(links))
            head = Head(number=each.number, hash=links.hash)
    return head


async def _add_new(transaction: Writing, entries: Sequence[Entry], keyed_hash: consents.KeyedHash) -> int:
    new = {entry[2][0]: entry for entry in entries}
    for (known,) in await transaction.rows("consents_known", records=list(new)):
        new.pop(known)
    await add(transaction, list(new.values()), keyed_hash)
    return len(new)


def _of_line(row: Row) -> list[Entry]:
    _, at_ms, customer, kind, workflow, version, enrollment, step, detail, why, partition, offset, line = row
    decision = Decision(
        at_ms=at_ms, customer=customer, kind=kind, workflow=workflow, version=version, enrollment=enrollment, step=step,
        detail=msgspec.json.decode(detail), why=msgspec.json.decode(why, type=tuple[str, ...]),
    )  # fmt: skip
    try:
        found = before_ledger.from_journal(decision, f"{partition}:{offset}:{line}")
    except msgspec.ValidationError:
        return []
    return [(partition, offset, consents.row_of(each)) for each in found]


async def _of_state(transaction: Queryable, row: Row) -> list[Entry]:
    _, partition, position, body = row
    try:
        state = decode_state(bytes(body))
    except (msgspec.MsgspecError, ValueError):
        return []  # whoever asks for it is told that it cannot be read
    if not state.consent:
        return []
    known: list[Row] = []
    for name in (state.id, *state.aliases):
        known += await transaction.rows("consents_of_customer", customer=name, limit=consents.CONSENTS_MAX)
    found = before_ledger.from_state(state, consents.found(known))
    return [(partition, position, consents.row_of(each)) for each in found]
