"""Talks to a mailbox by IMAP or POP3. Blocking: it is called in a thread, one call at a time.

Invariant: nothing is moved or deleted but what `done` names; a mail that was read and not named is there again next time.
"""

from __future__ import annotations

import contextlib
import poplib
import socket
import ssl
from collections.abc import Sequence
from typing import BinaryIO, Protocol

import msgspec
from imapclient import IMAPClient

from channels.bounces.parts import MAIL_BYTES_MAX

TIMEOUT_SECONDS = 30.0
_POP_LINES = 4_000
_LINE_BYTES_MAX = 100_000
"""Of a line by POP3 so much is read, as by the listener."""


class MailboxAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Where the mailbox is and how it is entered. `done_folder` "": what is done is deleted."""

    protocol: str
    host: str
    port: int
    tls: str
    username: str
    password: str
    ca_file: str = ""
    folder: str = "INBOX"
    done_folder: str = ""


class MailboxVisit(Protocol):
    """One visit: opened, read, told what is done, closed."""

    def open(self) -> None:
        """Connects and logs in. Raises OSError, or an error of the protocol."""

    def read(self, limit: int) -> list[tuple[int, bytes]]:
        """The oldest mails, at most so many, each with its number; of a very large one the beginning."""

    def done(self, numbers: Sequence[int]) -> None:
        """Moves or deletes these."""

    def close(self) -> None:
        """Leaves politely; with POP3 only then mails are really deleted."""

    def abort(self) -> None:
        """From another thread: whatever it waits for ends with an error."""


class ImapMailbox:
    """A folder by IMAP."""

    def __init__(self, account: MailboxAccount) -> None:
        self._account = account
        self._client: IMAPClient | None = None

    def open(self) -> None:
        account = self._account
        context = _context(account)
        client = IMAPClient(
            account.host, account.port, ssl=account.tls == "implicit", ssl_context=context, timeout=TIMEOUT_SECONDS
        )
        self._client = client
        if account.tls == "starttls":
            client.starttls(context)
        client.login(account.username, account.password)
        if account.done_folder and not client.folder_exists(account.done_folder):
            client.create_folder(account.done_folder)
        client.select_folder(account.folder)

    def read(self, limit: int) -> list[tuple[int, bytes]]:
        client = self._there()
        numbers = sorted(client.search(["NOT", "DELETED"]))[:limit]
        sizes = client.fetch(numbers, ["RFC822.SIZE"]) if numbers else {}
        mails = []
        for number in numbers:
            large = sizes.get(number, {}).get(b"RFC822.SIZE", 0) > MAIL_BYTES_MAX
            wanted = f"BODY.PEEK[]<0.{MAIL_BYTES_MAX}>" if large else "BODY.PEEK[]"
            answer = client.fetch([number], [wanted]).get(number, {})
            body = next((value for key, value in answer.items() if key.startswith(b"BODY[")), None)
            if isinstance(body, bytes):
                mails.append((number, body))
        return mails

    def done(self, numbers: Sequence[int]) -> None:
        client, folder = self._there(), self._account.done_folder
        if not numbers:
            return
        if folder and client.has_capability("MOVE"):
            client.move(list(numbers), folder)
            return
        if folder:
            client.copy(list(numbers), folder)
        client.delete_messages(list(numbers))
        if client.has_capability("UIDPLUS"):
            client.uid_expunge(list(numbers))
        else:
            client.expunge()

    def close(self) -> None:
        if self._client is not None:
            self._client.logout()

    def abort(self) -> None:
        if self._client is not None:
            _cut(self._client.socket())

    def _there(self) -> IMAPClient:
        assert self._client is not None, "not open"
        return self._client


class _LongLines:
    """Cuts long lines: the library gives up on those of more than 2,048 bytes, and one such mail would stop the rest."""

    file: BinaryIO

    def _getline(self) -> tuple[bytes, int]:
        line = end = self.file.readline(_LINE_BYTES_MAX)
        if not line:
            raise poplib.error_proto("-ERR EOF")
        while end and not end.endswith(b"\n"):
            end = self.file.readline(_LINE_BYTES_MAX)
        return line.rstrip(b"\r\n"), len(line)


class _Pop(_LongLines, poplib.POP3):
    pass


class _PopWithTls(_LongLines, poplib.POP3_SSL):
    pass


class PopMailbox:
    """A mailbox by POP3."""

    def __init__(self, account: MailboxAccount) -> None:
        self._account = account
        self._client: poplib.POP3 | None = None

    def open(self) -> None:
        account = self._account
        context = _context(account)
        if account.tls == "implicit":
            self._client = _PopWithTls(account.host, account.port, timeout=TIMEOUT_SECONDS, context=context)
        else:
            self._client = _Pop(account.host, account.port, timeout=TIMEOUT_SECONDS)
            if account.tls == "starttls":
                self._client.stls(context)
        self._client.user(account.username)
        self._client.pass_(account.password)

    def read(self, limit: int) -> list[tuple[int, bytes]]:
        client = self._there()
        mails = []
        for line in client.list()[1][:limit]:
            number, size = (int(word) for word in line.split()[:2])
            lines = (client.retr(number) if size <= MAIL_BYTES_MAX else client.top(number, _POP_LINES))[1]
            mails.append((number, b"\r\n".join(lines)[:MAIL_BYTES_MAX] + b"\r\n"))
        return mails

    def done(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._there().dele(number)

    def close(self) -> None:
        if self._client is not None:
            self._client.quit()

    def abort(self) -> None:
        if self._client is not None:
            _cut(self._client.sock)

    def _there(self) -> poplib.POP3:
        assert self._client is not None, "not open"
        return self._client


def mailbox_of(account: MailboxAccount) -> MailboxVisit:
    """The mailbox of the account, not opened."""
    return ImapMailbox(account) if account.protocol == "imap" else PopMailbox(account)


def _context(account: MailboxAccount) -> ssl.SSLContext | None:
    return None if account.tls == "none" else ssl.create_default_context(cafile=account.ca_file or None)


def _cut(sock: socket.socket | None) -> None:
    with contextlib.suppress(OSError, AttributeError):
        if sock is not None:
            sock.shutdown(socket.SHUT_RDWR)
