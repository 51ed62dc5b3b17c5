"""What the command line does to a store beside the engine that may be using it.

Invariant: a dead letter that is put back leaves its table and enters the inbox in one transaction; nothing else is written.
"""

from __future__ import annotations

import contextlib
import hmac
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine.core.record import decode_record
from engine.errors import NotFound
from engine.runtimes.base import ErasureReceipt, History, Replayed
from engine.runtimes.embedded.keys import read_key
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import FILE, connect, translated

LOOKED_MAX = 500_000
"""Records of the log that a question about one customer looks at: a second or two."""
_RECORDS = ("log:", "log", "command")
"""Origins whose bytes are a record; what came by HTTP and was refused never became one."""


def replay(var: Path, dead_letter_ids: Sequence[int]) -> Replayed:
    """Puts dead letters back as records for the engine to take. Raises NotFound without a store, StorageError."""
    put_back, never = [], []
    with translated(), contextlib.closing(connect(_existing(var))) as connection:
        connection.execute("BEGIN IMMEDIATE")
        asked = {"numbers": json.dumps(list(dead_letter_ids))}
        rows = connection.execute(SQL["dead_letters_some"], asked).fetchall()
        for number, _, origin, _, _, body in rows:
            if not origin.startswith(_RECORDS) or not _is_record(body):
                never.append(number)
                continue
            connection.execute(SQL["command_insert"], (body,))
            connection.execute(SQL["dead_letter_delete"], (number,))
            put_back.append(number)
        connection.execute("COMMIT")
    unknown = set(dead_letter_ids) - {row[0] for row in rows}
    return Replayed(put_back=tuple(put_back), unknown=tuple(sorted(unknown)), never_records=tuple(never))


def history(var: Path, customer: str, *, limit: int) -> History:
    """The customer's newest records among the newest of the log. Raises NotFound without a store, StorageError."""
    with translated(), contextlib.closing(connect(_existing(var), read_only=True)) as connection:
        asked = {"looked": LOOKED_MAX, "customer": customer, "limit": limit}
        rows = connection.execute(SQL["log_of_customer"], asked).fetchall()
        total: int = connection.execute(SQL["log_span"]).fetchone()[0]
    records = []
    for _, body in rows:
        try:
            records.append(decode_record(body))
        except (msgspec.ValidationError, msgspec.DecodeError):  # `check --database` speaks of it
            continue
    looked = min(total, LOOKED_MAX)
    return History(records=tuple(records), looked=looked, whole=looked == total or len(rows) >= limit)


def waiting(var: Path) -> int:
    """Records in the inbox that no engine has taken yet. Raises NotFound without a store, StorageError."""
    with translated(), contextlib.closing(connect(_existing(var), read_only=True)) as connection:
        count: int = connection.execute(SQL["commands_count"]).fetchone()[0]
        return count


def receipt(var: Path, customer: str) -> ErasureReceipt | None:
    """The newest erasure of this customer, found by the keyed hash that stays. Raises NotFound without a store."""
    path = _existing(var)
    # As `Store.keyed_hash` makes it, and the erasure the alias.
    name_hash = hmac.digest(read_key(var), f"customer:{customer}".encode(), "sha256")
    with translated(), contextlib.closing(connect(path, read_only=True)) as connection:
        row = connection.execute(SQL["erasure_newest"], {"customer_hash": name_hash}).fetchone()
    if row is None:
        return None
    requested_ms, finished_ms, rows_removed = row
    return ErasureReceipt(
        requested_ms=requested_ms,
        finished_ms=finished_ms,
        rows_removed=rows_removed,
        customer_hash=name_hash.hex(),
        alias=f"erased:{name_hash.hex()[:16]}",
    )


def _is_record(body: bytes) -> bool:
    try:
        decode_record(body)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return False
    return True


def _existing(var: Path) -> Path:
    path = var / FILE
    if not path.exists():
        raise NotFound(
            f"There is no engine data in {var}.", mend="Run `anlass run` there first, or name another project."
        )
    return path
