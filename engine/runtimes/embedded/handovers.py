"""Deploys from other processes: definitions and templates that wait in the store until an engine puts them in force.

Invariant: one that is handed over is answered exactly once, in the transaction that puts it in force, or with the reason why
not; only the newest counts. What is read here to plan a deploy writes nothing and holds no lock for long.
"""

import contextlib
import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.core.customer import CustomerState
from engine.core.journey.enrollment import Enrollment
from engine.errors import StorageError
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import FILE, connect, translated
from engine.runtimes.unreadable import UnreadableRow, readable
from engine.telemetry import Action, get_log

PAGE = 2_000
HANDOVERS_SINCE = 2
"""The migration that made room for them."""
BYTES_MAX = 64 << 20
"""Of definitions and templates together, before they are compressed."""


_log = get_log("handovers")
_decode_files = msgspec.json.Decoder(dict[str, str]).decode


def _only(whole: type[msgspec.Struct], wanted: Mapping[str, Any]) -> type[msgspec.Struct]:
    """A struct that decodes these fields of `whole` alone: nearly all the work of counting a million customers is decoding."""
    skipped = (msgspec.Raw, msgspec.Raw())
    fields = [(name, *wanted.get(name, skipped)) for name in whole.__struct_fields__]
    return msgspec.defstruct(f"Only{whole.__name__}", fields, array_like=True, frozen=True)


_Run = _only(Enrollment, dict.fromkeys(("workflow", "version", "step"), (str, "")))
_decode = msgspec.msgpack.Decoder(_only(CustomerState, {"enrollments": (tuple[_Run, ...], ())})).decode  # type: ignore[valid-type]


class DeployHandover(msgspec.Struct, frozen=True, kw_only=True):
    """A deploy that waits to be taken. `files` are `workflows/…` and `templates/…`, name → text."""

    number: int
    versions: str
    files: dict[str, str]


class DeployAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one: `catalog` is in force, or `problem` says why it was not taken."""

    catalog: str
    problem: str


class PastDeploy(msgspec.Struct, frozen=True, kw_only=True):
    """A project that was put in force: when last, and its definitions."""

    catalog: str
    deployed_ms: int
    files: dict[str, str]


def packed(files: Mapping[str, str]) -> bytes:
    """Files as they are stored. Raises StorageError when they are too large to hand over."""
    plain = json.dumps(dict(files)).encode()
    if len(plain) > BYTES_MAX:
        raise StorageError(f"Definitions and templates have more than {BYTES_MAX >> 20} MB.", mend="Remove some.")
    return zlib.compress(plain)


def unpacked(files: bytes) -> dict[str, str]:
    """What `packed` stored. Raises UnreadableRow."""
    return readable(_unpack, files)


def _unpack(files: bytes) -> dict[str, str]:
    try:
        return _decode_files(zlib.decompress(files))
    except zlib.error as error:
        raise ValueError(str(error)) from error


def unpacked_or_none(catalog: str, files: bytes) -> dict[str, str] | None:
    """As `unpacked`; None, with a line in the log, when the bytes cannot be read."""
    try:
        return unpacked(files)
    except UnreadableRow as error:
        _log.error(Action.ROW_SKIPPED, table="definitions", key=catalog, reason=str(error))
        return None


# ----------------------------------------------------------------------------------------- in the engine's own connection


def pending(connection: sqlite3.Connection) -> DeployHandover | None:
    """The newest that nobody answered. Raises UnreadableRow."""
    row = connection.execute(SQL["handover_newest"]).fetchone()
    return None if row is None else DeployHandover(number=row[0], versions=row[1], files=unpacked(row[2]))


def answer(
    connection: sqlite3.Connection, number: int, *, answered_ms: int, catalog: str = "", problem: str = ""
) -> None:
    """Notes what became of it; older ones that nobody took are answered with it."""
    values = {"number": number, "answered_ms": answered_ms, "catalog": catalog, "problem": problem}
    connection.execute(SQL["handover_answer"], values)


# ------------------------------------------------------------------------------------------------ from another process


def hand_over(var: Path, files: Mapping[str, str], *, versions: str, handed_ms: int) -> int | None:
    """Leaves a deploy for the engine that uses `var`, or the next one; its number. None: nothing was ever run there.

    Raises StorageError when it cannot be written, or when the store is of an older version of Anlass.
    """
    if not _is_there(var):
        return None
    body = packed(files)
    with translated(), contextlib.closing(connect(var / FILE)) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0] < HANDOVERS_SINCE:
            raise StorageError(
                "The engine's data was written by an older version of Anlass.",
                mend="Start `anlass run` of this version once.",
            )
        values = {"handed_ms": handed_ms, "versions": versions, "files": body}
        number: int = connection.execute(SQL["handover_insert"], values).fetchone()[0]
        return number


def answer_of(var: Path, number: int) -> DeployAnswer | None:
    """What became of a deploy that was handed over; None while nobody has taken it."""
    with translated(), contextlib.closing(connect(var / FILE, read_only=True)) as connection:
        row = connection.execute(SQL["handover_one"], {"number": number}).fetchone()
    return None if row is None or not row[0] else DeployAnswer(catalog=row[1], problem=row[2])


def deployed(var: Path, *, limit: int) -> list[PastDeploy]:
    """Projects that were put in force, newest first; empty when nothing was ever run there."""
    if not _is_there(var):
        return []
    with translated(), contextlib.closing(connect(var / FILE, read_only=True)) as connection:
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            return []
        rows = connection.execute(SQL["definitions_newest"], {"limit": limit}).fetchall()
    read = [(catalog, at_ms, unpacked_or_none(catalog, files)) for catalog, at_ms, files in rows]
    return [
        PastDeploy(catalog=catalog, deployed_ms=at_ms, files=files)
        for catalog, at_ms, files in read
        if files is not None
    ]


def count_in_flight(
    var: Path, *, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Counter[tuple[str, str, str]]:
    """(workflow, version, step) → how many people wait there. A page at a time: memory is bounded, and no writer waits.

    `progress` is called with how many customers were read, of how many. People who move meanwhile may be counted twice or not.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    if not _is_there(var):
        return counts
    with translated(), contextlib.closing(connect(var / FILE, read_only=True)) as connection:
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            return counts
        known = {name: value for kind, name, value in connection.execute(SQL["counters_all"]) if kind == "total"}
        total, done, after = known.get("customers", 0), 0, 0
        while rows := connection.execute(SQL["states_page"], {"after": after, "limit": PAGE}).fetchall():
            after, done = rows[-1][0], done + len(rows)
            for _, body in rows:
                try:
                    state: Any = readable(_decode, body)
                except UnreadableRow:
                    continue  # set aside: whoever it is stays where they are
                counts.update((run.workflow, run.version, run.step) for run in state.enrollments)
            progress(done, max(done, total))
    return counts


def _is_there(var: Path) -> bool:
    path = var / FILE
    return path.exists() and bool(path.stat().st_size)
