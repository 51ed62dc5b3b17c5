"""What a log takes: the checks that every runtime makes before it appends.

Invariant: a record that passes can be kept by every runtime, so that none takes what another refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from engine.core.record import CONTROL, Record
from engine.errors import Backlog, BadRecord, LimitExceeded
from engine.runtimes.effects import CUSTOMER_CHARS_MAX

T = TypeVar("T")


def check_room(count: int, *, backlog: int, records_max: int, backlog_max: int) -> None:
    """Raises LimitExceeded when so many records at once are too many, Backlog when too many wait already."""
    if count > records_max:
        raise LimitExceeded(
            f"{count} records at once are too many.", limit=records_max, mend="Send them in smaller batches."
        )
    if backlog + count > backlog_max:
        raise Backlog(f"{backlog} records wait to be evaluated.", mend="Send them again a little later.")


def checked(record: Record, at: int, *, encode: Callable[[Record], T]) -> T:
    """The record, encoded for the log. Raises BadRecord; `at` is its place in what was offered."""
    customer = record.customer
    if (not customer and not isinstance(record, CONTROL)) or len(customer) > CUSTOMER_CHARS_MAX or "\0" in customer:
        raise BadRecord(
            "bad_customer",
            f"A customer's id has 1 to {CUSTOMER_CHARS_MAX} characters and no NUL.",
            where=f"records[{at}].customer",
        )
    try:
        return encode(record)
    except (OverflowError, UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        raise BadRecord("not_storable", f"The record cannot be stored: {error}.", where=f"records[{at}]") from error
