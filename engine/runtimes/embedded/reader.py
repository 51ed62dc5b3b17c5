"""What operators ask: states, decisions, messages, counts. Invariant: reads only; every question has a bound."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from engine.clock import Clock
from engine.core.consent.proof import ConsentRecord
from engine.core.customer import CustomerState, decode_state
from engine.core.effect import Decision
from engine.core.journey.task import KINDS
from engine.errors import StorageError
from engine.runtimes import consents
from engine.runtimes.base import DeadLetter, MessageStatus, Pace, Paused, Query, Status, paces, same_addresses, summary
from engine.runtimes.embedded.outbox import decode_message
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import translated
from engine.runtimes.unreadable import UnreadableRow, read_state, readable
from engine.telemetry import Action, get_log

ROWS_MAX = 10_000

_T = TypeVar("_T")
_log = get_log("reader")
_decode_links = msgspec.json.Decoder(dict[str, str]).decode
_decode_decision = msgspec.msgpack.Decoder(Decision).decode


class EmbeddedReader:
    """The Reader port over a connection (`connection()` gives it, open)."""

    def __init__(
        self, connection: Callable[[], sqlite3.Connection], *, clock: Clock, keyed_hash: Callable[[str], bytes]
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._keyed_hash = keyed_hash

    def _rows(self, name: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        with translated():
            return self._connection().execute(SQL[name], parameters).fetchall()

    async def state(self, customer: str) -> CustomerState | None:
        rows = self._rows("state_load", (customer,))
        if not rows:
            return None
        try:
            return read_state(rows[0][3], customer)
        except UnreadableRow as error:
            raise StorageError(
                f"The row of customer {customer!r} cannot be read: {error}.", mend="Run `anlass check --database`."
            ) from error

    async def decisions(self, query: Query) -> list[tuple[int, Decision]]:
        customer = query.customer
        if query.message and not customer:  # the journal has no index of messages, the ledger has
            rows = self._rows("ledger_customer_of", {"message": query.message})
            if not rows:
                return []
            customer = rows[0][0]
        by = "customer" if customer else "workflow" if query.workflow else "all"
        if by == "all" and query.oldest_first and len(query.kinds) == 1 and query.kinds[0] in KINDS.values():
            by = "tasks"
        rows = self._rows(
            f"journal_{by}_{'oldest' if query.oldest_first else 'newest'}",
            {
                "customer": customer,
                "workflow": query.workflow,
                "enrollment": query.enrollment,
                "message": query.message,
                "kinds": json.dumps(query.kinds),
                "after_seq": query.after_seq,
                "limit": min(query.limit, ROWS_MAX),
            },
        )
        lines = ((seq, _read(_decode_decision, body, key=seq, table="journal")) for seq, body in rows)
        return [(seq, decision) for seq, decision in lines if decision is not None]

    async def message(self, message_id: str) -> MessageStatus | None:
        return next(_statuses(self._rows("ledger_one", {"message": message_id})), None)

    async def messages(self, *, customer: str = "", status: str = "", limit: int = 200) -> list[MessageStatus]:
        name = "ledger_of_customer" if customer else "ledger_newest"
        parameters = {"customer": customer, "status": status, "limit": min(limit, ROWS_MAX)}
        return list(_statuses(self._rows(name, parameters)))

    async def consents(self, *, customer: str = "", address: str = "") -> list[ConsentRecord]:
        limit = consents.CONSENTS_MAX
        if customer:
            return consents.found(self._rows("consents_of_customer", {"customer": customer, "limit": limit}))
        addresses = json.dumps(consents.looked_up(address, self._keyed_hash))
        return consents.found(self._rows("consents_of_address", {"addresses": addresses, "limit": limit}))

    async def message_of(self, provider_id: str) -> MessageStatus | None:
        return next(_statuses(self._rows("ledger_by_provider", {"provider_id": provider_id})), None)

    async def written_to(self, address: str, *, limit: int = 100) -> list[MessageStatus]:
        parameters = {"addresses": json.dumps(same_addresses(address)), "limit": min(limit, ROWS_MAX)}
        return list(_statuses(self._rows("ledger_by_address", parameters)))

    async def customers(self, *, after: str = "", limit: int = 1_000) -> list[CustomerState]:
        rows = self._rows("states_after", {"after": after, "limit": min(limit, ROWS_MAX)})
        found = (_read(decode_state, body, key="", table="states") for (body,) in rows)
        return [state for state in found if state is not None]

    async def statuses(self, messages: Sequence[str]) -> dict[str, tuple[Status, int]]:
        rows = self._rows("ledger_statuses", (json.dumps(list(messages)),))
        return {message: (status, updated_ms) for message, status, updated_ms in rows}

    async def dead_letters(self, *, limit: int = 200) -> list[DeadLetter]:
        return [
            DeadLetter(id=number, at_ms=at_ms, origin=origin, reason=reason, customer=customer, body=body)
            for number, at_ms, origin, reason, customer, body in self._rows(
                "dead_letters_oldest", {"limit": min(limit, ROWS_MAX)}
            )
        ]

    async def pace(self, *, since_ms: int, until_ms: int, span_ms: int, workflow: str = "") -> list[Pace]:
        asked = {"since_ms": since_ms, "until_ms": until_ms, "span_ms": span_ms, "workflow": workflow}
        return paces(self._rows("pace_read", asked), since_ms=since_ms, span_ms=span_ms)

    async def pauses(self) -> list[Paused]:
        return [
            Paused(workflow=workflow, paused=bool(paused), at_ms=at_ms, reason=reason)
            for workflow, paused, at_ms, reason in self._rows("control_all")
        ]

    async def counts(self) -> dict[str, Any]:
        """As in the port. Kept up to date as things happen, so asking is cheap."""
        rows = self._rows("counters_all")
        overdue = self._rows("timers_overdue", {"now_ms": self._clock.now_ms()})[0][0]
        letters = self._rows("dead_letters_count")[0][0]
        return summary(rows, dead_letters=letters, overdue=overdue)


def _statuses(rows: Iterable[tuple[Any, ...]]) -> Iterator[MessageStatus]:
    for body, status, attempts, reason, code, provider_id, updated_ms, links in rows:
        message = _read(decode_message, body, key="", table="ledger")
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


def _read(decode: Callable[[Any], _T], body: Any, *, key: object, table: str) -> _T | None:
    """What a row holds; one that cannot be read is left out of the answer, with a line."""
    try:
        return readable(decode, body)
    except UnreadableRow as error:
        _log.error(Action.ROW_SKIPPED, table=table, key=key, reason=str(error))
        return None
