"""How the email channel reaches a server, keeps its connections, and reads its settings."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from channels.contract import OutgoingMessage, PermanentError, TransientError, UnknownOutcome, Unsupported
from channels.mail.email import create

Outgoing = Callable[..., OutgoingMessage]
Doubles = Callable[..., Any]
Opened = Callable[..., Any]


# ------------------------------------------------------------------------------------------------------------ the session


async def test_nobody_listening_is_transient(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """A refused connection throttles the provider, and heals when the server comes up on the same channel."""
    server = smtp_double()
    await server.start()
    await server.stop()
    async with opened(server) as channel:
        with pytest.raises(TransientError) as caught:
            await channel.send(outgoing())
        await server.start()
        await channel.send(outgoing())
    assert (caught.value.code, caught.value.throttle) == ("connect", "provider")


@pytest.mark.parametrize("greeting", ["421 4.3.2 too busy", "554 5.7.1 not you", "nonsense"])
async def test_a_refused_session_is_transient(
    opened: Opened, smtp_double: Doubles, outgoing: Outgoing, greeting: str
) -> None:
    """Whatever is said before MAIL is not about the message."""
    server = smtp_double()
    server.faults.greeting = greeting
    async with opened(server) as channel:
        with pytest.raises(TransientError) as caught:
            await channel.send(outgoing())
    assert caught.value.throttle == "provider"


async def test_login(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """The right password sends; the wrong one is a matter of the settings, and loses no message."""
    server = smtp_double(credentials=("shop", "s3cret"))
    async with opened(server, username="shop", password="s3cret") as channel:
        await channel.send(outgoing())
    assert server.accepted[0].user == "shop"
    async with opened(server, username="shop", password="wrong") as channel:
        with pytest.raises(TransientError) as caught:
            await channel.send(outgoing())
    assert (caught.value.code, caught.value.throttle) == ("auth 535 5.7.8", "provider")
    assert "s3cret" not in str(caught.value)
    async with opened(smtp_double(), username="shop", password="s3cret") as channel:
        with pytest.raises(TransientError) as caught:
            await channel.send(outgoing())
    assert caught.value.code == "auth"


@pytest.mark.parametrize("kind", ["starttls", "implicit", "starttls pipelining", "implicit pipelining"])
async def test_tls(
    opened: Opened,
    smtp_double: Doubles,
    outgoing: Outgoing,
    tls_context: ssl.SSLContext,
    certificate: Path,
    kind: str,
) -> None:
    """Both kinds of TLS, with a private authority; mails, refusals and big mails work over it as without."""
    tls, _, pipelining = kind.partition(" ")
    server = smtp_double(tls_context=tls_context, implicit_tls=tls == "implicit", pipelining=bool(pipelining))
    async with opened(server, tls=tls, ca_file=str(certificate), connections=1) as channel:
        await channel.send(outgoing(1))
        server.faults.rcpt = "550 5.1.1 no"
        with pytest.raises(PermanentError):
            await channel.send(outgoing(2))
        server.faults.rcpt = None
        await channel.send(outgoing(3, html="<p>Hello</p>\n" * 20_000))
        server.faults.drop_after_dot = True
        with pytest.raises(UnknownOutcome):
            await channel.send(outgoing(4))
    assert [one.tls for one in server.accepted] == [True, True]
    assert server.connections == 1


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_an_unknown_certificate_sends_nothing(
    opened: Opened, smtp_double: Doubles, outgoing: Outgoing, tls_context: ssl.SSLContext, tls: str
) -> None:
    """A certificate nobody vouches for is refused, and the reason says so."""
    server = smtp_double(tls_context=tls_context, implicit_tls=tls == "implicit")
    async with opened(server, tls=tls) as channel:
        with pytest.raises(TransientError) as caught:
            await channel.send(outgoing())
    assert caught.value.code == "tls"
    assert server.accepted == []


async def test_required_tls_is_not_given_up(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """A server without STARTTLS gets no mail when STARTTLS is required."""
    server = smtp_double()
    async with opened(server, tls="starttls") as channel:
        with pytest.raises(TransientError) as caught:
            await channel.send(outgoing())
    assert caught.value.code == "tls"
    assert not [command for command in server.commands if command.startswith("MAIL")]


# --------------------------------------------------------------------------------------------------------------- the pool


async def test_connections_are_kept_and_bounded(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """Sixty concurrent sends share three connections."""
    server = smtp_double()
    async with opened(server, connections=3) as channel:
        await asyncio.gather(*(channel.send(outgoing(n)) for n in range(60)))
    assert server.connections == 3
    assert len(server.accepted) == 60


async def test_a_connection_ends_after_its_share_of_messages(
    opened: Opened, smtp_double: Doubles, outgoing: Outgoing
) -> None:
    """`messages_per_connection_max` is kept, politely."""
    server = smtp_double()
    async with opened(server, connections=1, messages_per_connection_max=2) as channel:
        for n in range(5):
            await channel.send(outgoing(n))
    assert server.connections == 3
    assert server.commands.count("QUIT") == 3


async def test_idle_connections_are_closed(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """Nothing to send for a while: the connection ends by itself, and the next send makes a new one."""
    server = smtp_double()
    async with opened(server, idle_seconds_max=0.1) as channel:
        await channel.send(outgoing(1))
        for _ in range(100):
            if server.open_connections == 0:
                break
            await asyncio.sleep(0.02)
        assert server.open_connections == 0
        await channel.send(outgoing(2))
    assert server.connections == 2


async def test_a_connection_the_server_closed_meanwhile_is_not_used(
    opened: Opened, smtp_double: Doubles, outgoing: Outgoing
) -> None:
    """The server's own idle limit costs no attempt."""
    server = smtp_double()
    async with opened(server) as channel:
        await channel.send(outgoing(1))
        server.drop_all()
        await asyncio.sleep(0.05)
        await channel.send(outgoing(2))
    assert len(server.accepted) == 2


async def test_an_old_connection_is_asked_first(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """After a pause NOOP comes before MAIL."""
    server = smtp_double()
    async with opened(server, noop_after_idle_seconds=0.0) as channel:
        await channel.send(outgoing(1))
        await channel.send(outgoing(2))
    assert server.commands.count("NOOP") == 1
    assert server.connections == 1


async def test_close_waits_for_sends_under_way(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """No send is cut off by a shutdown."""
    server = smtp_double()
    async with opened(server) as channel:
        sends = [asyncio.create_task(channel.send(outgoing(n))) for n in range(2)]
        await asyncio.sleep(0)
        await channel.close()
        assert all(task.done() for task in sends)
        await asyncio.gather(*sends)
    assert server.open_connections == 0 or server.commands.count("QUIT") == 2


# ----------------------------------------------------------------------------------------------------------- settings etc.


async def test_what_it_cannot_carry_is_said(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """No SMTPUTF8, no domains whose two IDNA versions differ: refused by name instead of misdelivered."""
    server = smtp_double()
    async with opened(server) as channel:
        for to in ("jörg@example.com", "ana@straße.example"):
            with pytest.raises(Unsupported):
                await channel.send(outgoing(to=to))
    assert server.accepted == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"host": "h"}, "from"),
        ({"host": "h", "from": "nobody"}, "from"),
        ({"host": "h", "from": "a@b.de\r\nBcc: x@y.de"}, "from"),
        ({"host": "h", "from": "a@b.de", "port": 0}, "port"),
        ({"host": "h", "from": "a@b.de", "tls": "ssl"}, "tls"),
        ({"host": "h", "from": "a@b.de", "hots": 1}, "hots"),
        ({"host": "h", "from": "a@b.de", "username": "u"}, "password"),
        ({"host": "h", "from": "a@b.de", "return_path": "x{y}@b.de"}, "return_path"),
        ({"host": "h", "from": "a@b.de", "return_path": "x@b.de>\r\nDATA"}, "return_path"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], says: str) -> None:
    """The error names the setting."""
    with pytest.raises(ValueError, match=says):
        create(settings)


async def test_a_missing_ca_file_is_named(smtp_double: Doubles) -> None:
    """Found when the channel opens, not at the first mail."""
    channel = create({"host": "127.0.0.1", "from": "a@b.de", "ca_file": "/nowhere/ca.pem"})
    with pytest.raises(ValueError, match="ca_file"):
        await channel.open()
