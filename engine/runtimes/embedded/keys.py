"""The key that addresses and customers are remembered by (`var/secret.key`), and whether store and key belong together.

Invariant: a store is opened only with the key that its hashes were made with, and a key that was in use only with a store that
was. What was lost is said, with the mend; nobody becomes mailable by it unless an operator says so (`--accept-loss`). No link in
a mail is signed with this key: it outlives every change of that secret.
"""

from __future__ import annotations

import hmac
import os
import secrets
import sqlite3
from pathlib import Path

from engine.errors import StorageError
from engine.runtimes.embedded.statements import SQL

KEY = "secret.key"
KEY_BYTES = 32
AUDIT_LOG = "audit.jsonl"
_FINGERPRINT_CHARS = 16
_ACCEPT = "or, if it is gone for good, start once with `anlass run --accept-loss`"


def keyed_hash(key: bytes, text: str) -> bytes:
    """HMAC-SHA-256 of `text`: recognises it again without keeping it."""
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")


def read_key(var: Path) -> bytes:
    """The key of a store that is there. Raises StorageError when it is gone or damaged."""
    path = var / KEY
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = b""
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.", mend="Let this user read it.") from error
    if len(key) < KEY_BYTES:
        raise StorageError(f"{path} is {'damaged' if key else 'missing'}.", mend="Restore it from a backup.")
    return key


def make_key(var: Path) -> bytes:
    """A new key. 32 bytes, readable by the owner only; durable when it returns."""
    handle = os.open(var / KEY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        key = secrets.token_bytes(KEY_BYTES)
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key


def check_store(var: Path, database: Path, *, accept_loss: bool) -> None:
    """Before the database is opened. Raises StorageError when it is gone although this folder was in use."""
    if accept_loss or (database.exists() and database.stat().st_size):
        return
    left = [name for name in (KEY, AUDIT_LOG) if (var / name).exists() and (var / name).stat().st_size]
    if left:
        what = "is empty" if database.exists() else "is missing"
        raise StorageError(
            f"{database} {what}, but {var / left[0]} says that this project has run: its customers, their objections and what is"
            " suppressed are lost.",
            mend=f"Restore the database from a backup, {_ACCEPT}: as a new shop.",
        )


def take_key(connection: sqlite3.Connection, var: Path, *, accept_loss: bool) -> bytes:
    """The key, made at the first start. Raises StorageError when it is gone, or another one than this store was kept with."""
    path = var / KEY
    used = bool(connection.execute(SQL["hashes_any"]).fetchone()[0])
    if not path.exists() or not path.stat().st_size:  # empty: a process died between creating and writing it
        if used and not accept_loss:
            raise _lost(f"{path} is missing")
        key = make_key(var)
    else:
        key = read_key(var)
    fingerprint = keyed_hash(key, "fingerprint of the key").hex()[:_FINGERPRINT_CHARS]
    row = connection.execute(SQL["fingerprint_load"]).fetchone()
    if row is not None and row[0] != fingerprint and used and not accept_loss:
        raise _lost(f"{path} is another key than this store was kept with")
    if row is None or row[0] != fingerprint:
        connection.execute(SQL["fingerprint_set"], (fingerprint,))
    return key


def _lost(what: str) -> StorageError:
    return StorageError(
        f"{what}: no suppressed address and no erased customer would be recognised any more.",
        mend=f"Restore the key from a backup, {_ACCEPT}: whoever was suppressed is then written to again.",
    )
