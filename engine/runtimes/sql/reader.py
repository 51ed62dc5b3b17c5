"""The port `Reader` over a database: what operators and the console ask, of either store.

Invariant: reads only; every question has a bound. A row that cannot be read is left out of the answer, with a line in the log.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from engine.clock import Clock
from engine.core.consent.proof import ConsentRecord
from engine.core.customer import CustomerState, decode_state
from engine.core.effect import Decision
from engine.core.message import Message
from engine.errors import StorageError
from engine.runtimes import consents
from engine.runtimes.base import DeadLetter, MessageStatus, Pace, Paused, Query, Status, paces, same_addresses, summary
from engine.runtimes.consents import KeyedHash
from engine.runtimes.unreadable import UnreadableRow, read_state, readable
from engine.telemetry import Action, get_log

ROWS_MAX = 10_000
NUMBER_MAX = (1 << 63) - 1

Row = tuple[Any, ...]
_T = TypeVar("_T")
_log = get_log("reader")
_decode_message = msgspec.msgpack.Decoder(Message).decode
_decode_links = msgspec.json.Decoder(dict[str, str]).decode


class StoreReader(ABC):
    """Asks the questions in `questions.sql`. What differs between the stores is below the line."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def state(self, customer: str) -> CustomerState | None:
        rows = await self._rows("state_of", customer=customer)
        if not rows:
            return None
        try:
            return read_state(rows[0][0], customer)
        except UnreadableRow as error:
            raise StorageError(
                f"The row of customer {customer!r} cannot be read: {error}.", mend="Run `anlass check --database`."
            ) from error

    async def decisions(self, query: Query) -> list[tuple[int, Decision]]:
        """As in the port. The sequence number says in which order lines arrived in the store."""
        customer = query.customer
        if query.message and not customer:  # the journal has no index of messages, the ledger has
            rows = await self._rows("ledger_customer_of", message=query.message)
            if not rows:
                return []
            customer = rows[0][0]
        kind = query.kinds[0] if len(query.kinds) == 1 else ""
        by = "customer" if customer else "workflow" if query.workflow else self._by_kind(kind) if kind else "all"
        rows = await self._rows(
            f"journal_{by}_{'oldest' if query.oldest_first else 'newest'}",
            customer=customer,
            workflow=query.workflow,
            enrollment=query.enrollment,
            message=query.message,
            kind=kind,
            kinds=list(query.kinds),
            all_kinds=int(not query.kinds),
            after_seq=query.after_seq,
            limit=min(query.limit, ROWS_MAX),
        )
        lines = ((row[0], _read(self._decision, row, key=row[0], table="journal")) for row in rows)
        return [(seq, decision) for seq, decision in lines if decision is not None]

    async def message(self, message_id: str) -> MessageStatus | None:
        return next(_statuses(await self._rows("ledger_one", message=message_id)), None)

    async def messages(
        self, *, customer: str = "", status: str = "", workflow: str = "", before: str = "", limit: int = 200
    ) -> list[MessageStatus]:
        below = NUMBER_MAX
        if before:
            rows = await self._rows("ledger_number", message=before)
            if not rows:
                return []
            below = rows[0][0]
        by = "customer" if customer else _by(status, workflow)
        asked = {"customer": customer, "status": status, "workflow": workflow}
        return list(_statuses(await self._rows(f"messages_{by}", **asked, below=below, limit=min(limit, ROWS_MAX))))

    async def consents(self, *, customer: str = "", address: str = "") -> list[ConsentRecord]:
        limit = consents.CONSENTS_MAX
        if customer:
            return consents.found(await self._rows("consents_of_customer", customer=customer, limit=limit))
        addresses = consents.looked_up(address, await self._keyed_hash())
        return consents.found(await self._rows("consents_of_address", addresses=addresses, limit=limit))

    async def message_of(self, provider_id: str) -> MessageStatus | None:
        return next(_statuses(await self._rows("ledger_by_provider", provider_id=provider_id)), None)

    async def written_to(self, address: str, *, limit: int = 100) -> list[MessageStatus]:
        asked = {"addresses": same_addresses(address), "limit": min(limit, ROWS_MAX)}
        return list(_statuses(await self._rows("ledger_by_address", **asked)))

    async def customers(self, *, after: str = "", limit: int = 1_000) -> list[CustomerState]:
        rows = await self._rows("states_after", after=after, limit=min(limit, ROWS_MAX))
        found = (_read(decode_state, body, key="", table="states") for (body,) in rows)
        return [state for state in found if state is not None]

    async def statuses(self, messages: Sequence[str]) -> dict[str, tuple[Status, int]]:
        rows = await self._rows("ledger_statuses", messages=list(messages))
        return {message: (status, updated_ms) for message, status, updated_ms in rows}

    async def dead_letters(self, *, limit: int = 200) -> list[DeadLetter]:
        return letters(await self._rows("dead_letters_oldest", limit=min(limit, ROWS_MAX)))

    async def pace(self, *, since_ms: int, until_ms: int, span_ms: int, workflow: str = "") -> list[Pace]:
        asked = {"since_ms": since_ms, "until_ms": until_ms, "span_ms": span_ms, "workflow": workflow}
        return paces(await self._rows("pace_read", **asked), since_ms=since_ms, span_ms=span_ms)

    async def pauses(self) -> list[Paused]:
        return [
            Paused(workflow=workflow, paused=bool(paused), at_ms=at_ms, reason=reason)
            for workflow, paused, at_ms, reason in await self._rows("control_all")
        ]

    async def counts(self) -> dict[str, Any]:
        """As in the port. Kept up to date as things happen, so asking is cheap."""
        rows = await self._rows("counters_all")
        overdue = (await self._rows("timers_overdue", now_ms=self._clock.now_ms()))[0][0]
        dead = (await self._rows("dead_letters_count"))[0][0]
        return summary(rows, dead_letters=dead, overdue=overdue)

    # -------------------------------------------------------------------------------------------------- of each store

    @abstractmethod
    async def _rows(self, name: str, /, **values: Any) -> list[Row]:
        """Runs the statement of this name; lists are given as lists."""

    @abstractmethod
    async def _keyed_hash(self) -> KeyedHash:
        """What the addresses of erased customers are recognised by."""

    @abstractmethod
    def _by_kind(self, kind: str) -> str:
        """Which block reads the journal by one kind of decision: one that an index serves."""

    @abstractmethod
    def _decision(self, row: Row) -> Decision:
        """A line of the journal. Raises ValueError and msgspec's errors."""


def _by(status: str, workflow: str) -> str:
    """Which block finds messages of a status, of a workflow, or of both."""
    if status in {"pending", "claimed"}:
        return status
    if status:
        return "both" if workflow else "status"
    return "workflow" if workflow else "all"


def letters(rows: Iterable[Row]) -> list[DeadLetter]:
    """Dead letters from their rows."""
    return [
        DeadLetter(id=number, at_ms=at_ms, origin=origin, reason=reason, customer=customer, body=body)
        for number, at_ms, origin, reason, customer, body in rows
    ]


def _statuses(rows: Iterable[Row]) -> Iterator[MessageStatus]:
    for body, status, attempts, reason, code, provider_id, updated_ms, links in rows:
        message = _read(_decode_message, body, key="", table="ledger")
        if message is None:
            continue
        yield MessageStatus(
            message=message,
            status=status,
            attempts=attempts,
            reason=reason,
            code=code,
            provider_id=provider_id,
            updated_ms=updated_ms,
            links=_read(_decode_links, links, key=message.id, table="ledger") or {} if links else {},
        )


def _read(decode: Callable[[Any], _T], stored: Any, *, key: object, table: str) -> _T | None:
    try:
        return readable(decode, stored)
    except UnreadableRow as error:
        _log.error(Action.ROW_SKIPPED, table=table, key=key, reason=str(error))
        return None
