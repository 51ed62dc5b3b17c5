"""Damaged files in `var/` are moved aside: nothing of them keeps the engine from starting."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from channels.contract import OutgoingMessage
from channels.letters import SPOOL, Spool
from channels.recording import FILE_NAME, Mailbox


def _message(id: str) -> OutgoingMessage:
    return OutgoingMessage(id=id, channel="email", to="a@example.com", text="hi", customer="a", date_ms=0)


def test_a_mailbox_that_is_no_database_is_moved_aside(tmp_path: Path) -> None:
    """Its bytes stay beside a new one, and a second one does not overwrite the first."""
    for number in (1, 2):
        (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 100)
        mailbox = Mailbox(tmp_path)
        assert mailbox.set_aside == tmp_path / f"{FILE_NAME}.damaged-{number}"
        assert mailbox.set_aside.read_bytes().startswith(b"no database")
        mailbox.add(_message("m1"))
        assert mailbox.count() == 1
        mailbox.close()


def test_pages_of_a_mailbox_that_are_damaged_are_found_at_the_start(tmp_path: Path) -> None:
    """Not by the first message that meets them."""
    mailbox = Mailbox(tmp_path)
    for number in range(200):
        mailbox.add(_message(f"m{number}"))
    mailbox.close()
    path = tmp_path / FILE_NAME
    body = bytearray(path.read_bytes())
    body[8192:12288] = b"\xff" * 4096
    path.write_bytes(bytes(body))
    mailbox = Mailbox(tmp_path)
    assert mailbox.set_aside is not None
    mailbox.close()


def test_a_message_of_the_mailbox_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    """And it goes when its customer is erased."""
    mailbox = Mailbox(tmp_path)
    mailbox.add(_message("m1"))
    mailbox.add(_message("m2"))
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE message SET delivery = ? WHERE id = 'm1'", (b"\xc1 of anna",))
    connection.close()
    assert [each.delivery.id for each in mailbox.messages()] == ["m2"]
    assert mailbox.remove_customer("anna") == 1
    mailbox.close()


def test_a_damaged_spool_of_letters_is_moved_aside(tmp_path: Path) -> None:
    """Letters of today are taken."""
    (tmp_path / SPOOL).write_bytes(b"no database at all" * 100)
    assert Spool(tmp_path).batches() == []
    assert (tmp_path / f"{SPOOL}.damaged-1").exists()
