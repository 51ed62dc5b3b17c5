"""Reads a file of events line by line for `anlass emit`, whichever way they leave.

Invariant: a line is handed on, reported with its number and the reason, or empty. One without `messageId` gets one that depends
on the line only, so that sending it twice is harmless.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_BYTES_MAX = 1_000_000
COMPLAINTS_MAX = 50


class Line(msgspec.Struct, frozen=True):
    """One event, ready to be sent, where it stood, and whose it is."""

    number: int
    event: bytes
    customer: str


class Tally(msgspec.Struct, kw_only=True):
    """What came of the lines so far. `done_line` is the last line of which nothing is left to do."""

    sent: int = 0
    refused: int = 0
    empty: int = 0
    retries: int = 0
    done_line: int = 0


def good_lines(stream: IO[bytes], tally: Tally, *, name: str, from_line: int) -> Iterator[Line]:
    """The good lines; bad ones are complained about and counted."""
    from engine.clock import SystemClock
    from engine.collector import parse_line
    from engine.errors import BadRecord

    now_ms = SystemClock().now_ms()
    number = 0
    while raw := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(raw) > LINE_BYTES_MAX:
            _skip_rest(stream, raw)
            if number >= from_line:
                complain(
                    tally,
                    name,
                    number,
                    code="event_too_large",
                    message=f"The line is longer than {LINE_BYTES_MAX} bytes.",
                )
            continue
        if number < from_line:
            continue
        raw = raw.strip().removeprefix(b"\xef\xbb\xbf")
        if not raw:
            tally.empty += 1
            continue
        try:
            records = parse_line(raw, received_ms=now_ms)
            event = _with_id(raw, number)
            if event is not raw:
                parse_line(event, received_ms=now_ms)  # with the id it may have become too large
        except BadRecord as error:
            complain(tally, name, number, code=error.code, message=str(error))
            continue
        yield Line(number, event, records[-1].customer)


def _skip_rest(stream: IO[bytes], raw: bytes) -> None:
    while raw and not raw.endswith(b"\n"):
        raw = stream.readline(LINE_BYTES_MAX)


def complain(tally: Tally, name: str, number: int, *, code: str, message: str) -> None:
    """Counts a line that is not sent, and says why, unless very many were."""
    tally.refused += 1
    if tally.refused <= COMPLAINTS_MAX:
        click.echo(f"{name}:{number}: {code} {message}", err=True)
    elif tally.refused == COMPLAINTS_MAX + 1:
        click.echo(f"{name}:{number}: and more, which are only counted from here on.", err=True)


def _with_id(raw: bytes, number: int) -> bytes:
    event: dict[str, Any] = json.loads(raw)
    if event.get("messageId") not in {None, ""}:
        return raw
    event["messageId"] = "emit-" + hashlib.sha256(b"%d:%b" % (number, raw)).hexdigest()[:32]
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def stream_size(stream: IO[bytes]) -> int | None:
    """Its bytes; None for a pipe."""
    if not stream.seekable():
        return None
    here = stream.tell()
    size = stream.seek(0, 2)
    stream.seek(here)
    return size


def move(bar: Progress, task: Any, stream: IO[bytes]) -> None:
    """Shows how far the stream was read."""
    if stream.seekable():
        bar.update(task, completed=stream.tell())
