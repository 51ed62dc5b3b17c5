"""What a value from outside may be: ids, names, times, and JSON that the log can hold.

Invariant: pure. A value either comes back clean or raises BadRecord with a code and a sentence that helps its sender.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from engine.core.facts import moving
from engine.core.reading.missing import is_missing
from engine.core.time.zone import AHEAD_MS_MAX, HAPPENED_MS_MIN, TIME_MS_MIN, parse_time, rfc3339
from engine.errors import BadRecord

ID_CHARS_MAX = 200
NAME_CHARS_MAX = 200
MESSAGE_ID_CHARS_MAX = 99
DEPTH_MAX = 64
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BRACKETS_SUSPICIOUS = DEPTH_MAX + 1
_encoder = msgspec.msgpack.Encoder()


def identifier(value: object, where: str) -> str:
    """A customer's id: 1 to 200 characters without control characters; whole numbers become text. "" when it is missing."""
    if value is None or value == "":
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise BadRecord("invalid_id", f"{where} must be text.", where=where)
    if len(value) > ID_CHARS_MAX:
        raise BadRecord("invalid_id", f"{where} is longer than {ID_CHARS_MAX} characters.", where=where)
    if _CONTROL.search(value) or value.isspace():
        raise BadRecord("invalid_id", f"{where} has control characters or is blank.", where=where)
    return value


def name(value: object, where: str) -> str:
    """The name of an event: 1 to 200 characters without control characters."""
    if not isinstance(value, str) or not value.strip():
        raise BadRecord("missing_event", f"{where} must name the event.", where=where)
    if len(value) > NAME_CHARS_MAX or _CONTROL.search(value):
        raise BadRecord(
            "invalid_event",
            f"{where} is longer than {NAME_CHARS_MAX} characters or has control characters.",
            where=where,
        )
    return value


def event_name(value: object, where: str) -> str:
    """As `name`; those of our own pages are taken from nobody else."""
    found = name(value, where)
    if found.strip() in moving.RESERVED:
        raise BadRecord(
            "reserved_event", f"{where} {found.strip()!r} is written by Anlass's own pages only.", where=where,
            mend="Give the event another name.",
        )  # fmt: skip
    return found


def message_id(value: object) -> str:
    """The id by which a record is known when it comes twice; "" when there is none."""
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or len(value) > MESSAGE_ID_CHARS_MAX or _CONTROL.search(value):
        raise BadRecord("invalid_message_id", "messageId must be text of fewer than 100 characters.", where="messageId")
    return value


def instant(value: object, where: str) -> int | None:
    """Milliseconds since the epoch, as `engine.core.reading.instants` reads it; None when it is missing.

    A time without an offset is taken as UTC, as Segment does.
    """
    if is_missing(value):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRecord("invalid_time", f"{where} must be a time such as 2026-03-27T09:00:00Z.", where=where)
    at_ms = parse_time(value)
    if at_ms is None:
        raise BadRecord(
            "invalid_time", f"{where} is not a time that can be read.", where=where,
            mend="Write it as 2026-03-27T09:00:00Z, or as a number of seconds or milliseconds since 1970.",
        )  # fmt: skip
    return at_ms


def check_happened(at_ms: int, where: str, received_ms: int | None) -> None:
    """Refuses what nobody means: a moment before 2000, or more than a day after it was received (None: in virtual time)."""
    if at_ms < HAPPENED_MS_MIN:
        why = "before the year 2000"
    elif received_ms is not None and at_ms > received_ms + AHEAD_MS_MAX:
        why = "more than a day ahead"
    else:
        return
    raise BadRecord(
        "invalid_time", f"{where} says {rfc3339(at_ms)}, which is {why}.", where=where,
        mend="Send when it happened, as 2026-03-27T09:00:00Z or as seconds or milliseconds since 1970.",
    )  # fmt: skip


def happened_ms(*, original_ms: int | None, sent_ms: int | None, received_ms: int) -> int:
    """When it happened by our clock: the sender's clock may be off, but it knows how long ago it was.

    `received - (sent - original)`, never in the future. Without `sent` the original counts as it is.
    """
    if original_ms is None:
        return received_ms
    if sent_ms is None:
        return min(original_ms, received_ms)
    return max(min(received_ms - (sent_ms - original_ms), received_ms), TIME_MS_MIN)


def suspicious(raw: bytes | memoryview) -> bool:
    """Whether nesting over 64 levels or NUL is possible in this JSON, so that it must be walked. Fast, errs on yes."""
    data = bytes(raw)
    return data.count(b"{") + data.count(b"[") >= _BRACKETS_SUSPICIOUS or b"\\u0000" in data


def check_numbers(value: Any, where: str) -> None:
    """Refuses whole numbers over 64 bits: msgpack, in which the log is kept, has none. Trying is faster than looking."""
    try:
        _encoder.encode(value)
    except OverflowError:
        raise BadRecord("number_too_large", f"{where} has a whole number over 64 bits.", where=where) from None


def check_json(value: Any, where: str) -> None:
    """Refuses nesting over 64 levels and NUL characters. Walks everything: for `suspicious` data only."""
    stack: list[tuple[Any, int]] = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, dict):
            if any("\x00" in key for key in item):
                raise BadRecord("nul_character", f"{where} has a NUL character in a key.", where=where)
            children = list(item.values())
        elif isinstance(item, list):
            children = item
        elif isinstance(item, str):
            if "\x00" in item:
                raise BadRecord("nul_character", f"{where} has a NUL character.", where=where)
            continue
        else:
            continue
        if depth > DEPTH_MAX:
            raise BadRecord("too_deep", f"{where} is nested deeper than {DEPTH_MAX} levels.", where=where)
        stack.extend((child, depth + 1) for child in children)
