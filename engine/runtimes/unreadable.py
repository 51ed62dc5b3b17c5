"""Rows that cannot be read: what is one, and what it is called where it is set aside.

Invariant: a row that cannot be read costs its customer alone. What would have changed the customer is kept and waits; nothing is
guessed, and nobody else notices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from engine.core.customer import EVALUATOR_VERSION, CustomerState, decode_state
from engine.health import Condition, Health

_T = TypeVar("_T")

WAITS = "waits: "
"""How the reason of a record begins that was kept because its customer is set aside."""
UNREADABLE = "unreadable"
"""Why a message of the ledger that cannot be read is not sent."""
SET_ASIDE = "set_aside"
"""Why a message waits whose customer is set aside."""

_FAULTS = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)


class UnreadableRow(Exception):
    """The bytes are not what they should be; says why."""


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was found unreadable: what kind of row, its key, whose it is, and the bytes that were found."""

    kind: str
    """`state`, `log`, `message`."""
    key: str
    customer: str
    reason: str
    body: bytes = b""

    @property
    def stops(self) -> bool:
        """Whether its customer waits for it: a message that cannot be read waits alone."""
        return self.kind != "message" and bool(self.customer)


class UnreadableFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A row that cannot be read. `set_aside`: the engine has found it as well."""

    table: str
    key: str
    customer: str = ""
    reason: str
    set_aside: bool = False

    def __str__(self) -> str:
        whose = f", customer {self.customer!r}," if self.customer else ""
        found = " (set aside)" if self.set_aside else ""
        return f"{self.table} {self.key!r}{whose} cannot be read: {self.reason}{found}"


def readable(decode: Callable[[bytes], _T], body: bytes) -> _T:
    """What the bytes hold. Raises UnreadableRow."""
    try:
        return decode(body)
    except _FAULTS as error:
        raise UnreadableRow(str(error) or type(error).__name__) from error


def read_state(body: bytes, customer: str) -> CustomerState:
    """A stored state. Raises UnreadableRow, also for one of somebody else or of a version that is not known here."""
    state = readable(decode_state, body)
    if state.id != customer:
        raise UnreadableRow(f"it is the row of {state.id!r}")
    if state.version > EVALUATOR_VERSION:
        raise UnreadableRow(
            f"its version {state.version} is newer than {EVALUATOR_VERSION}, the newest that is known here"
        )
    return state


def why_waiting(kind: str) -> str:
    """The reason of a record that is kept until its customer is mended."""
    return f"{WAITS}its customer is set aside, because a row ({kind}) cannot be read"


def set_aside_sentence(count: int) -> str:
    """What readiness says."""
    rows = "1 row that cannot be read is" if count == 1 else f"{count} rows that cannot be read are"
    return f"{rows} set aside, and its customer waits; `anlass check --database` says which."


def say_set_aside(health: Health, sentences: Sequence[str]) -> None:
    """Tells readiness, and alerts, whether rows are set aside."""
    if sentences:
        health.report(Condition.ROWS_SET_ASIDE, " ".join(sentences))
    else:
        health.clear(Condition.ROWS_SET_ASIDE)
