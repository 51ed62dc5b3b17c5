"""The Reader port on the journal's database: what operators and the console ask.

Invariant: every question has a bound. The answers are as old as the sink is behind: see its lag.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from engine.clock import Clock, SystemClock
from engine.core.customer import CustomerState, decode_state
from engine.core.effect import Decision
from engine.core.message import Message
from engine.core.proof import ConsentRecord
from engine.runtimes import consents
from engine.runtimes.base import (
    DeadLetter,
    ErasureReceipt,
    MessageStatus,
    Pace,
    Paused,
    Query,
    Status,
    paces,
    same_addresses,
    summary,
)
from engine.runtimes.journal.connection import Row
from engine.runtimes.journal.database import Database

ROWS_MAX = 10_000

_decode_message = msgspec.msgpack.Decoder(Message).decode
_decode_detail = msgspec.json.Decoder(dict[str, Any]).decode
_decode_links = msgspec.json.Decoder(dict[str, str]).decode
_decode_why = msgspec.json.Decoder(tuple[str, ...]).decode


class DatabaseReader:
    """The port over an open database."""

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    async def state(self, customer: str) -> CustomerState | None:
        rows = await self._database.rows("customers_one", customer=_key(customer))
        return decode_state(rows[0][0]) if rows else None

    async def decisions(self, query: Query) -> list[tuple[int, Decision]]:
        """As in the port. The sequence number says in which order lines arrived in the database."""
        customer = query.customer
        if query.message and not customer:  # the journal has no index of messages, the ledger has
            found = await self._database.rows("messages_customer_of", message=_key(query.message))
            if not found:
                return []
            customer = found[0][0]
        one_kind = query.kinds[0] if len(query.kinds) == 1 else ""
        by = "customer" if customer else "workflow" if query.workflow else "kind" if one_kind else "all"
        rows = await self._database.rows(
            f"journal_{by}_{'oldest' if query.oldest_first else 'newest'}",
            customer=_key(customer),
            workflow=_key(query.workflow),
            enrollment=_key(query.enrollment),
            message=_key(query.message),
            kind=_key(one_kind),
            kinds=[_key(kind) for kind in query.kinds],
            all_kinds=int(not query.kinds),
            after_seq=query.after_seq,
            limit=min(query.limit, ROWS_MAX),
        )
        return [(row[0], _decision(row)) for row in rows]

    async def message(self, message_id: str) -> MessageStatus | None:
        return next(_statuses(await self._database.rows("messages_one", message=_key(message_id))), None)

    async def messages(self, *, customer: str = "", status: str = "", limit: int = 200) -> list[MessageStatus]:
        name = "messages_of_customer" if customer else "messages_of_status" if status else "messages_newest"
        rows = await self._database.rows(name, customer=_key(customer), status=_key(status), limit=min(limit, ROWS_MAX))
        return list(_statuses(rows))

    async def consents(self, *, customer: str = "", address: str = "") -> list[ConsentRecord]:
        limit = consents.CONSENTS_MAX
        if customer:
            rows = await self._database.rows("consents_of_customer", customer=_key(customer), limit=limit)
            return consents.found(rows)
        secret = await self._database.rows("secret_read", name="erasure_key")
        key = bytes.fromhex(secret[0][0]) if secret else b""
        texts = consents.looked_up(
            address, lambda text: hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")
        )
        rows = await self._database.rows("consents_of_address", addresses=[_key(text) for text in texts], limit=limit)
        return consents.found(rows)

    async def message_of(self, provider_id: str) -> MessageStatus | None:
        return next(_statuses(await self._database.rows("messages_by_provider", provider_id=_key(provider_id))), None)

    async def written_to(self, address: str, *, limit: int = 100) -> list[MessageStatus]:
        wanted = [_key(text) for text in same_addresses(address)]
        rows = await self._database.rows("messages_by_address", addresses=wanted, limit=min(limit, ROWS_MAX))
        return list(_statuses(rows))

    async def customers(self, *, after: str = "", limit: int = 1_000) -> list[CustomerState]:
        rows = await self._database.rows("customers_after", after=_key(after), limit=min(limit, ROWS_MAX))
        return [decode_state(row[0]) for row in rows]

    async def statuses(self, messages: Sequence[str]) -> dict[str, tuple[Status, int]]:
        rows = await self._database.rows("messages_statuses", messages=[_key(message) for message in messages])
        return {row[0]: (row[1], row[2]) for row in rows}

    async def dead_letters(self, *, limit: int = 200) -> list[DeadLetter]:
        return _letters(await self._database.rows("dead_letters_oldest", limit=min(limit, ROWS_MAX)))

    async def dead_letters_by_id(self, ids: Sequence[int]) -> list[DeadLetter]:
        """Those of these ids that are here, for a replay."""
        return _letters(await self._database.rows("dead_letters_some", numbers=list(ids)))

    async def remove_dead_letters(self, ids: Sequence[int]) -> int:
        """Takes out what was appended again; returns how many were here. The only thing that is written here."""
        async with self._database.transaction() as transaction:
            return len(await transaction.rows("dead_letters_delete", numbers=list(ids)))

    async def receipt(self, customer: str, *, partition: int, since_offset: int) -> ErasureReceipt | None:
        """Of the newest erasure that stands on this partition of `touchpoints` at `since_offset` or later."""
        secret = await self._database.rows("secret_read", name="erasure_key")
        if not secret:  # nobody was ever forgotten here
            return None
        name_hash = hmac.digest(bytes.fromhex(secret[0][0]), customer.encode(), "sha256").hex()  # as the projection's
        rows = await self._database.rows(
            "forgotten_newest", customer_hash=name_hash, partition=partition, since_offset=since_offset
        )
        if not rows:
            return None
        alias, at_ms, rows_removed = rows[0]
        return ErasureReceipt(
            requested_ms=at_ms, finished_ms=0, rows_removed=rows_removed, customer_hash=name_hash, alias=alias
        )

    async def pace(self, *, since_ms: int, until_ms: int, span_ms: int, workflow: str = "") -> list[Pace]:
        asked = {"since_ms": since_ms, "until_ms": until_ms, "span_ms": span_ms, "workflow": _key(workflow)}
        return paces(await self._database.rows("pace_read", **asked), since_ms=since_ms, span_ms=span_ms)

    async def pauses(self) -> list[Paused]:
        return [
            Paused(workflow=workflow, paused=bool(paused), at_ms=at_ms, reason=reason)
            for workflow, paused, at_ms, reason in await self._database.rows("control_all")
        ]

    async def counts(self) -> dict[str, Any]:
        """As in the port. Kept up to date as things happen, so asking is cheap."""
        rows = await self._database.rows("totals_all")
        overdue = (await self._database.rows("customers_overdue", now_ms=self._clock.now_ms()))[0][0]
        letters = (await self._database.rows("dead_letters_count"))[0][0]
        return summary(rows, dead_letters=letters, overdue=overdue)


def _key(text: str) -> str:
    """What is asked for; PostgreSQL has no NUL, and nothing that is kept has one."""
    return text.replace("\0", "\ufffd")


def _decision(row: Row) -> Decision:
    _, at_ms, customer, kind, workflow, version, enrollment, step, detail, why = row
    return Decision(
        at_ms=at_ms,
        customer=customer,
        kind=kind,
        workflow=workflow,
        version=version,
        enrollment=enrollment,
        step=step,
        detail=_decode_detail(detail),
        why=_decode_why(why),
    )


def _statuses(rows: Iterable[Row]) -> Iterator[MessageStatus]:
    for body, status, attempts, reason, code, provider_id, updated_ms, links in rows:
        yield MessageStatus(
            message=_decode_message(body),
            status=status,
            attempts=attempts,
            reason=reason,
            code=code,
            provider_id=provider_id,
            updated_ms=updated_ms,
            links=_decode_links(links) if links else {},
        )


def _letters(rows: Iterable[Row]) -> list[DeadLetter]:
    return [
        DeadLetter(id=number, at_ms=at_ms, origin=origin, reason=reason, customer=customer, body=body)
        for number, at_ms, origin, reason, customer, body in rows
    ]
