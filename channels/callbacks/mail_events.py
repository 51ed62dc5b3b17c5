"""What the webhooks of all mail services have in common: reading JSON with bounds, finding our id, telling a bounce's verdict.

Invariant: whatever the body is, reading it raises `UnreadableCallback` and nothing else; no address gets into a report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from channels.callbacks import Forged, Report, UnreadableCallback
from channels.contract import Verdict
from channels.delivery import DeliveryOutcome, without_addresses
from channels.refusals.judge import Refusal, judge

REASON_CHARS_MAX = 300
OLD_MS_MAX = 86_400_000
"""Services try again for hours, with the time and the signature of the first attempt."""
EARLY_MS_MAX = 600_000
EVENTS_MAX = 5_000
_MARKED = re.compile(r"(?<![0-9a-f])([0-9a-f]{32})(?![0-9a-f])", re.IGNORECASE)


def json_in(body: bytes) -> Any:
    """The JSON value. Raises Unreadable."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableCallback("the body is not JSON") from error


def object_in(value: object, what: str) -> dict[str, Any]:
    """The value, when it is an object. Raises Unreadable."""
    if not isinstance(value, dict):
        raise UnreadableCallback(f"{what} is not an object")
    return value


def part_of(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object inside; an empty one where there is none."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def text_of(value: Mapping[str, Any], name: str) -> str:
    """A text inside; "" where there is none."""
    found = value.get(name)
    return found if isinstance(found, str) else ""


def our_id(*places: object) -> str:
    """Our id of the message, from the first place that holds one: its own field, our header, our Message-ID."""
    for place in places:
        said = place[0] if isinstance(place, list) and place else place
        if isinstance(said, str) and (found := _MARKED.search(said[:1_000])):
            return found[1].lower()
    return ""


def must_be_fresh(at_ms: int, now_ms: int) -> None:
    """Raises Forged for what is older than services try again, or from the future."""
    if now_ms - at_ms > OLD_MS_MAX:
        raise Forged("the signature is too old")
    if at_ms - now_ms > EARLY_MS_MAX:
        raise Forged("the signature is from the future")


def rfc3339_ms(value: str) -> int:
    """UTC milliseconds; 0 for what is not a time."""
    try:
        return max(0, int(datetime.fromisoformat(value).timestamp() * 1000))
    except (ValueError, OverflowError, TypeError):
        return 0


def seconds_ms(value: object) -> int:
    """Seconds since the epoch, as number or text, as milliseconds; 0 for what is none."""
    try:
        seconds = float(value)  # type: ignore[arg-type]  # what is not a number raises
        return int(seconds * 1000) if 0 < seconds < 1e11 else 0  # noqa: PLR2004 - the year 5138
    except (ValueError, TypeError, OverflowError):
        return 0


def bounce_detail(status: str, words: str, *, reply: int = 0, verdict: Verdict | None = None) -> dict[str, Any]:
    """The detail of a bounce: judged by the words of the server that refused, else by the service's own class (`verdict`).

    A refusal for our own fault stays one, whatever the service calls it.
    """
    found = judge(Refusal(words=words, status=status, reply=reply))
    judged = found.verdict
    if verdict is not None and not found.by_words and judged is not Verdict.OUR_FAULT:
        judged = verdict
    detail = {"code": found.code, "reason": without_addresses(words)[:REASON_CHARS_MAX], "verdict": str(judged)}
    return {name: value for name, value in detail.items() if value}


def delay_detail(status: str, words: str, *, reply: int = 0) -> dict[str, Any]:
    """The detail of a delay: its codes and words; what it says of the address is not known yet."""
    detail = bounce_detail(status, words, reply=reply)
    detail.pop("verdict", None)
    return detail


def report(
    service: str, event: str, outcome: DeliveryOutcome, *, message: str, provider_id: str, more: Mapping[str, Any]
) -> Report:
    """A report whose id is the same when the event comes again. `more`: `at_ms` and `detail`. Raises Unreadable."""
    if not message and not provider_id:
        raise UnreadableCallback(f"an event ({outcome}) names no message")
    return Report(
        id=f"{message or provider_id}:{outcome}:{service}:{event}"[:200],
        outcome=outcome,
        message=message,
        provider_id=provider_id,
        at_ms=more.get("at_ms", 0),
        detail=dict(more.get("detail", {})),
    )
