"""The local mailbox: a channel for every name that has no provider yet, and what `GET /mailbox` lists.

Invariant: nothing leaves the machine. A message is in the store before its receipt is given, and a second delivery of the
same message adds to `copies` instead of hiding or repeating it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from channels import guard
from channels.contract import Capabilities, OutgoingMessage, Receipt, TransientError

FILE_NAME = "mailbox.sqlite3"
_PRUNE_EVERY = 64
_LIST_MAX = 1_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    channel TEXT NOT NULL,
    copies INTEGER NOT NULL DEFAULT 1,
    delivery BLOB NOT NULL,
    UNIQUE (id, channel)
);
"""
_INSERT = """
INSERT INTO message (id, channel, delivery) VALUES (?, ?, ?)
ON CONFLICT (id, channel) DO UPDATE SET copies = copies + 1
RETURNING seq
"""


class RecordedMessage(msgspec.Struct, frozen=True):
    """One message in the mailbox: its number (ascending with arrival), how often it came, and all that was sent."""

    seq: int
    copies: int
    delivery: OutgoingMessage


def _opened(path: Path) -> sqlite3.Connection:
    """The file, with its table. Raises sqlite3.DatabaseError when it is damaged."""
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")  # what is deleted may be somebody's mail
        connection.executescript(_SCHEMA)
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except BaseException:
        connection.close()
        raise
    if said != "ok":
        connection.close()
        raise sqlite3.DatabaseError(said)
    return connection


def moved_aside(path: Path) -> Path:
    """Moves a damaged file out of the way, with what belongs to it; nothing is overwritten."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    return aside


class _Whose(msgspec.Struct):
    """A message, as far as it says whose it is."""

    customer: str = ""


_whose = msgspec.msgpack.Decoder(_Whose).decode


class Mailbox:
    """The store: one SQLite file in `folder`, the newest `messages_max` kept. Safe between threads and processes."""

    def __init__(self, folder: Path, *, messages_max: int = 10_000) -> None:
        """Open or create the store; `OSError` or `sqlite3.Error` if the folder cannot hold it."""
        assert messages_max > 0
        folder.mkdir(parents=True, exist_ok=True)
        self._messages_max = messages_max
        self._lock = threading.Lock()
        self._inserted = 0
        self.set_aside: Path | None = None
        """Where a damaged file of before was moved to; None: it was not."""
        try:
            self._db = _opened(folder / FILE_NAME)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, or no room: nothing is wrong with the file
            self.set_aside = moved_aside(folder / FILE_NAME)
            self._db = _opened(folder / FILE_NAME)

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._db.close()

    def add(self, delivery: OutgoingMessage) -> int:
        """Record a message, and return its number."""
        with self._lock:
            row = self._db.execute(_INSERT, (delivery.id, delivery.channel, msgspec.msgpack.encode(delivery)))
            seq: int = row.fetchone()[0]
            self._inserted += 1
            if self._inserted % _PRUNE_EVERY == 0:
                self._prune()
            return seq

    def count(self) -> int:
        """How many messages are kept."""
        with self._lock:
            kept: int = self._db.execute("SELECT count(*) FROM message").fetchone()[0]
            return min(kept, self._messages_max)

    def messages(self, limit: int = 50, offset: int = 0, *, channel: str | None = None) -> list[RecordedMessage]:
        """List the newest messages first, at most 1,000 at once."""
        limit = max(0, min(limit, _LIST_MAX, self._messages_max - offset))
        where = "WHERE channel = ?" if channel is not None else ""
        parameters: list[str | int] = [channel] if channel is not None else []
        sql = f"SELECT seq, copies, delivery FROM message {where} ORDER BY seq DESC LIMIT ? OFFSET ?"  # noqa: S608 - constants
        with self._lock:
            rows = self._db.execute(sql, (*parameters, limit, max(0, offset))).fetchall()
        return [each for row in rows if (each := _recorded(row)) is not None]

    def get(self, message_id: str, *, channel: str | None = None) -> RecordedMessage | None:
        """Return the newest message with this id, None if there is none (any more)."""
        sql = "SELECT seq, copies, delivery FROM message WHERE id = ? AND channel = coalesce(?, channel) ORDER BY seq DESC"
        with self._lock:
            row = self._db.execute(sql, (message_id, channel)).fetchone()
        return None if row is None else _recorded(row)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._db.execute("DELETE FROM message")

    def remove(self, message_ids: Sequence[str]) -> int:
        """Forget these messages (their customer is erased); how many were there."""
        with self._lock:
            statement = "DELETE FROM message WHERE id = ?"
            removed = sum(self._db.execute(statement, (each,)).rowcount for each in message_ids)
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return removed

    def remove_customer(self, customer: str) -> int:
        """Forget every message to a customer who is erased; how many were there."""
        with self._lock:
            rows = self._db.execute("SELECT seq, delivery FROM message").fetchall()
            theirs = [(seq,) for seq, delivery in rows if _is_whose(delivery, customer)]
            self._db.executemany("DELETE FROM message WHERE seq = ?", theirs)
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return len(theirs)

    def _prune(self) -> None:
        oldest = "SELECT seq FROM message ORDER BY seq DESC LIMIT 1 OFFSET ?"
        self._db.execute(f"DELETE FROM message WHERE seq <= ({oldest})", (self._messages_max,))  # noqa: S608 - constants


def _recorded(row: tuple[int, int, bytes]) -> RecordedMessage | None:
    """None: the row cannot be read, and the others are shown."""
    try:
        return RecordedMessage(row[0], row[1], msgspec.msgpack.decode(row[2], type=OutgoingMessage))
    except (msgspec.MsgspecError, TypeError, ValueError):
        return None


def _is_whose(delivery: bytes, customer: str) -> bool:
    """What cannot be read goes with whoever is erased when it holds their id."""
    try:
        return _whose(delivery).customer == customer
    except (msgspec.MsgspecError, TypeError, ValueError):
        return customer.encode() in bytes(delivery)


class MailboxChannel:
    """Delivers into the mailbox under any channel name; refuses what a real channel would refuse as unsafe."""

    capabilities = Capabilities(html=True, subject=True, idempotent=True, list_unsubscribe=True)

    def __init__(self, mailbox: Mailbox, *, name: str = "mailbox", owns_mailbox: bool = False) -> None:
        """`mailbox` may be shared by many channels; with `owns_mailbox` it is closed together with this one."""
        self.name = name
        self.mailbox = mailbox
        self._owns_mailbox = owns_mailbox
        self._open = False

    async def open(self) -> None:
        """Accept messages from now on."""
        self._open = True

    async def close(self) -> None:
        """Accept no more. Idempotent."""
        self._open = False
        if self._owns_mailbox:
            self.mailbox.close()

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        """Record the message; the receipt's id is its number in the mailbox."""
        if not self._open:
            raise TransientError("the channel is not open", code="closed")
        guard.refuse_unsafe(delivery)
        if "@" in delivery.to:
            guard.recipient(delivery.to, delivery.to_name)
        try:
            # A short write to a local file; handing it to a thread would cost more than it takes.
            seq = self.mailbox.add(delivery)
        except sqlite3.Error as error:
            raise TransientError(
                f"the mailbox cannot be written: {error}", code="mailbox", throttle="provider"
            ) from error
        return Receipt(str(seq), "recorded in the local mailbox")


class _MailboxSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    folder: str
    name: str = "mailbox"
    messages_max: Annotated[int, Meta(ge=1)] = 10_000


def create(settings: Mapping[str, object]) -> MailboxChannel:
    """Build the channel from `folder`, and optionally `name` and `messages_max`; `ValueError` says what is wrong."""
    try:
        chosen = msgspec.convert(dict(settings), _MailboxSettings)
        mailbox = Mailbox(Path(chosen.folder), messages_max=chosen.messages_max)
    except msgspec.ValidationError as error:
        raise ValueError(f"The mailbox settings cannot be used: {error}.") from None
    except (OSError, sqlite3.Error) as error:
        raise ValueError(f"The mailbox folder cannot be used: {error}; name one that can be written.") from error
    return MailboxChannel(mailbox, name=chosen.name, owns_mailbox=True)
