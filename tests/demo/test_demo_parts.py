"""The demo's clock and its mail server, by themselves."""

import asyncio
import smtplib
import time

import pytest

from engine.demo.pace import CompressedClock
from engine.demo.postbox import GREYLISTED, HARD_BOUNCE, Postbox, ReceivedMail

MAIL = (
    "From: Lindenhof <hello@shop.example>\r\nTo: =?utf-8?q?J=C3=BCrgen?= <j@mail.example>\r\n"
    "Subject: =?utf-8?q?Sch=C3=B6n?=\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n"
    f"Message-ID: <{'a' * 32}@shop.example>\r\nList-Unsubscribe: <https://shop.example/u/x>\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n\r\nHello\r\n.with a dot\r\n"
)


async def test_time_stands_still_until_it_may_go_on() -> None:
    """And then runs no further than its lead."""
    clock = CompressedClock(1_000_000)
    await asyncio.sleep(0.01)
    assert clock.now_ms() == 1_000_000
    clock.go_on(end_ms=1_000_000_000, real_seconds=0.1, lead_ms=3_600_000)
    await asyncio.sleep(0.05)
    assert clock.now_ms() == 1_000_000 + 3_600_000


async def test_time_never_passes_its_end() -> None:
    """However long one waits."""
    clock = CompressedClock(0)
    clock.go_on(end_ms=5_000, real_seconds=0.01, lead_ms=3_600_000)
    await asyncio.sleep(0.03)
    assert clock.now_ms() == 5_000


async def test_a_sleeper_wakes_in_compressed_time() -> None:
    """A day is over in a twentieth of a second, not before."""
    clock = CompressedClock(0)
    clock.go_on(end_ms=86_400_000, real_seconds=0.05, lead_ms=86_400_000)
    await clock.sleep_until(80_000_000)  # whoever sleeps a real day is ended by pytest's own limit
    assert clock.now_ms() >= 80_000_000


async def test_walking_is_real_time() -> None:
    """When the shop has closed, a second takes a second."""
    clock = CompressedClock(0)
    clock.walk()
    await asyncio.sleep(0.05)
    assert 30 <= clock.now_ms() <= 3_000


async def test_a_mail_is_taken_counted_and_read() -> None:
    """By Python's own client: the id, the decoded subject, the text and the link to unsubscribe."""
    letters: list[ReceivedMail] = []
    box = Postbox(now=time.monotonic)
    box.on_letter = letters.append
    port = await box.start()
    await asyncio.to_thread(_send, port, "j@mail.example")
    await box.stop()
    assert box.received == {"a" * 32: 1}
    (letter,) = letters
    assert letter.subject == "Schön"
    assert letter.to == "j@mail.example"
    assert letter.unsubscribe_url == "https://shop.example/u/x"
    assert letter.text.splitlines() == ["Hello", ".with a dot"]


async def test_some_addresses_do_not_exist() -> None:
    """550, and nothing is counted as taken."""
    box = Postbox(now=time.monotonic)
    port = await box.start()
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        await asyncio.to_thread(_send, port, f"who@{HARD_BOUNCE}")
    await box.stop()
    assert refused.value.recipients[f"who@{HARD_BOUNCE}"][0] == 550
    assert not box.received
    assert box.bounced == 1


async def test_some_servers_want_to_be_asked_twice() -> None:
    """450 first, then the mail is taken."""
    box = Postbox(now=time.monotonic)
    port = await box.start()
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        await asyncio.to_thread(_send, port, f"who@{GREYLISTED}")
    assert refused.value.recipients[f"who@{GREYLISTED}"][0] == 450
    await asyncio.to_thread(_send, port, f"who@{GREYLISTED}")
    await box.stop()
    assert box.received.total() == 1


async def test_endless_lines_are_cut_off() -> None:
    """A client that never ends its line is answered and hung up on."""
    box = Postbox(now=time.monotonic)
    port = await box.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"x" * 20_000)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await box.stop()
    assert b"500 5.5.2" in answer


def _send(port: int, recipient: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
        client.sendmail("hello@shop.example", [recipient], MAIL)
