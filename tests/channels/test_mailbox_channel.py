"""The local mailbox: what `GET /mailbox` shows."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from channels.contract import OutgoingMessage, TransientError
from channels.recording import FILE_NAME, Mailbox, MailboxChannel, create

Outgoing = Callable[..., OutgoingMessage]


def test_the_newest_come_first(tmp_path: Path, outgoing: Outgoing) -> None:
    """Listing by page, by channel, and a single one by id, with everything that was sent."""
    box = Mailbox(tmp_path)
    for n in range(5):
        box.add(outgoing(n, channel="email" if n % 2 else "sms", subject=f"Grüße {n}"))
    assert [one.delivery.subject for one in box.messages(2)] == ["Grüße 4", "Grüße 3"]
    assert [one.delivery.subject for one in box.messages(2, 2)] == ["Grüße 2", "Grüße 1"]
    assert [one.delivery.subject for one in box.messages(channel="email")] == ["Grüße 3", "Grüße 1"]
    found = box.get(outgoing(3).id)
    assert found is not None
    assert found.delivery == outgoing(3, subject="Grüße 3")
    assert box.get("0" * 32) is None
    assert box.get(outgoing(3).id, channel="sms") is None
    assert box.messages(-1) == []
    box.clear()
    assert box.count() == 0


def test_only_the_newest_are_kept(tmp_path: Path, outgoing: Outgoing) -> None:
    """The bound holds for the listing at once, and for the file soon."""
    box = Mailbox(tmp_path, messages_max=10)
    for n in range(200):
        box.add(outgoing(n))
    assert box.count() == 10
    assert [one.delivery.id for one in box.messages(100)] == [outgoing(n).id for n in range(199, 189, -1)]
    rows = box._db.execute("SELECT count(*) FROM message").fetchone()[0]
    assert rows < 10 + 64


def test_a_second_delivery_is_visible(tmp_path: Path, outgoing: Outgoing) -> None:
    """A message sent twice is one entry that says so."""
    box = Mailbox(tmp_path)
    assert box.add(outgoing()) == box.add(outgoing())
    assert [one.copies for one in box.messages()] == [2]


def test_it_survives_reopening(tmp_path: Path, outgoing: Outgoing) -> None:
    """And two of them see the same messages."""
    first = Mailbox(tmp_path)
    first.add(outgoing(1))
    second = Mailbox(tmp_path)
    second.add(outgoing(2))
    assert first.count() == second.count() == 2
    first.close()
    first.close()
    assert Mailbox(tmp_path).count() == 2


def test_threads_and_processes_write_together(tmp_path: Path, outgoing: Outgoing) -> None:
    """Nothing is lost and nothing is busy."""
    box = Mailbox(tmp_path)
    program = (
        "import sys, pathlib\n"
        "from channels.recording import Mailbox\n"
        "from channels.contract import OutgoingMessage\n"
        "box = Mailbox(pathlib.Path(sys.argv[1]))\n"
        "for n in range(100):\n"
        "    box.add(OutgoingMessage(id=f'{n:032x}', channel='p' + sys.argv[2], to='x', text='y', date_ms=0))\n"
    )
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    others = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(n)], env=environment) for n in range(2)
    ]
    threads = [
        threading.Thread(target=lambda n=n: [box.add(outgoing(m, channel=f"t{n}")) for m in range(100)])
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(30) for other in others] == [0, 0]
    assert box.count() == 500


async def test_a_store_that_cannot_be_written_is_transient(tmp_path: Path, outgoing: Outgoing) -> None:
    """A full or broken disk loses no message: the dispatcher tries again."""
    box = Mailbox(tmp_path)
    channel = MailboxChannel(box, name="sms")
    await channel.open()
    box._db.execute("PRAGMA query_only = ON")
    with pytest.raises(TransientError) as caught:
        await channel.send(outgoing(to="+4915112345678"))
    assert caught.value.throttle == "provider"
    box._db.execute("PRAGMA query_only = OFF")
    await channel.send(outgoing(to="+4915112345678"))
    assert box.count() == 1


async def test_built_from_settings(tmp_path: Path, outgoing: Outgoing) -> None:
    """The factory of the registry; its store is closed with the channel."""
    channel = create({"folder": str(tmp_path / "new"), "name": "whatsapp"})
    await channel.open()
    await channel.send(outgoing())
    await channel.close()
    assert (tmp_path / "new" / FILE_NAME).exists()
    assert channel.name == "whatsapp"


@pytest.mark.parametrize(
    "settings", [{}, {"folder": 3}, {"folder": "x", "messages_max": 0}, {"fodler": "x"}, {"folder": "/proc/nowhere/x"}]
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object]) -> None:
    """With a sentence."""
    with pytest.raises(ValueError, match="mailbox"):
        create(settings)
