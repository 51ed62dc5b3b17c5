"""The audit log of a project on one machine: `var/audit.jsonl`, and beside it where it ends.

Invariant: lines are appended one at a time, under a lock, and are on the disk before what they tell is done; none is changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.errors import NotFound, StorageError
from engine.runtimes import audit
from engine.runtimes.embedded.keys import read_key
from engine.runtimes.embedded.store import FILE

LOG = "audit.jsonl"
HEAD = "audit.head"


def note(var: Path, act: audit.Act, *, at_ms: int, who: str, key: bytes = b"") -> audit.AuditLine:
    """Appends a line. Raises NotFound when nothing ever ran in this project, StorageError when it cannot be written,
    SettingsError when the log has a key and this is without.
    """
    path = var / FILE
    if not path.exists() or not path.stat().st_size:  # empty: a first start was cut off
        raise NotFound(
            f"There is no engine data in {var}.", mend="Run `anlass run` there first, or name another project."
        )
    with _opened(var) as file:
        texts = _texts(file)
        line = audit.follow(act, audit.verify(texts), at_ms=at_ms, who=who, alias=alias_of(var), key=key)
        try:
            os.lseek(file, 0, os.SEEK_END)
            os.write(file, audit.encode_line(line) + b"\n")
            os.fsync(file)
            draft = var / f"{HEAD}.new"
            draft.write_text(f"{audit.head_of(line)}\n", "ascii")
            draft.replace(var / HEAD)
        except OSError as error:
            raise StorageError(
                f"The audit log cannot be written: {error.strerror}.", mend="Nothing was done. Make room on the disk."
            ) from error
    return line


def read(var: Path) -> tuple[list[bytes], str]:
    """The lines as they stand there, and where the log is said to end ("" when that is not known)."""
    path = var / LOG
    if not path.exists():
        return [], read_head(var)
    try:
        return path.read_bytes().splitlines(), read_head(var)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error


def alias_of(var: Path) -> Callable[[str], str]:
    """What stands for a customer: the hash that the receipt of an erasure has as well."""
    if not (var / FILE).exists():
        raise NotFound(
            f"There is no engine data in {var}.", mend="Run `anlass run` there first, or name another project."
        )

    def alias(customer: str) -> str:
        key = read_key(var)
        return audit.customer_of(hmac.digest(key, f"customer:{customer}".encode(), "sha256").hex()[: audit.HASH_CHARS])

    return alias


def read_head(var: Path) -> str:
    """Where the log is said to end, as number:hash; "" when nobody says."""
    try:
        return (var / HEAD).read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


@contextlib.contextmanager
def _opened(var: Path) -> Iterator[int]:
    try:
        file = os.open(var / LOG, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"The audit log cannot be opened: {error.strerror}.", mend="Nothing was done.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _texts(file: int) -> list[bytes]:
    """The whole lines; what a process left half written when it died is cut off: it had not begun what it was to tell."""
    size = os.fstat(file).st_size
    body = os.pread(file, size, 0)
    whole = body.rfind(b"\n") + 1
    if whole != size:
        os.ftruncate(file, whole)
    return body[:whole].splitlines()
