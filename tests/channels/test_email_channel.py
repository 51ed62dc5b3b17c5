"""What the email channel makes of every way in which an SMTP server can fail."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from channels.contract import OutgoingMessage, PermanentError, TransientError, UnknownOutcome, Unsupported, Verdict
from channels.email import EmailChannel, EmailSettings, create

Outgoing = Callable[..., OutgoingMessage]
Doubles = Callable[..., Any]

BOTH = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "one-by-one"])


@asynccontextmanager
async def opened(server: Any, **settings: Any) -> AsyncIterator[EmailChannel]:
    if not server.port:
        await server.start()
    fields: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "from_": "Shop <shop@example.com>"}
    fields |= {"timeout_seconds": 2.0, "answer_timeout_seconds": 2.0, "connections": 2}
    channel = EmailChannel(EmailSettings(**(fields | settings)))
    await channel.open()
    try:
        yield channel
    finally:
        await channel.close()


# ---------------------------------------------------------------------------------------------------------- the envelope


@BOTH
async def test_the_envelope_is_our_own(smtp_double: Doubles, outgoing: Outgoing, pipelining: bool) -> None:
    """One recipient and the return path from the settings with the message id in it, whatever the headers say."""
    server = smtp_double(pipelining=pipelining)
    async with opened(server, return_path="b+{id}@bounces.example.com") as channel:
        receipt = await channel.send(outgoing(to="ana@bücher.example", to_name="Meyer, Ana <x@y.z>"))
    (one,) = server.accepted
    assert one.sender == f"b+{outgoing().id}@bounces.example.com"
    assert one.recipients == ["ana@xn--bcher-kva.example"]
    assert receipt.provider_id == "4Xyz"


async def test_the_sender_is_the_return_path_by_default(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """Without a return path bounces go to the message's sender."""
    server = smtp_double()
    async with opened(server) as channel:
        await channel.send(outgoing(from_="Team <team@example.org>"))
    assert server.accepted[0].sender == "team@example.org"
    assert b"Message-ID: <" + outgoing().id.encode() + b"@example.org>" in server.accepted[0].content


async def test_pipelining_writes_the_envelope_at_once(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """Three commands arrive in order, and a second mail goes over the same connection."""
    server = smtp_double()
    async with opened(server) as channel:
        await channel.send(outgoing(1))
        await channel.send(outgoing(2))
    assert [command.split(" ")[0] for command in server.commands] == ["EHLO", *["MAIL", "RCPT", "DATA"] * 2, "QUIT"]
    assert server.connections == 1


# ------------------------------------------------------------------------------------------- refusals, by phase and class

REFUSALS = [
    ("mail", "421 4.3.2 shutting down", TransientError, "domain"),
    ("mail", "451 4.3.0 later", TransientError, None),
    ("mail", "550 5.7.1 we do not like you", PermanentError, Verdict.OUR_FAULT),
    ("mail", "553 5.1.8 no such sender domain", PermanentError, Verdict.OUR_FAULT),
    ("rcpt", "421 too many", TransientError, "domain"),
    ("rcpt", "450 4.2.1 greylisted, try again in 300 seconds", TransientError, None),
    ("rcpt", "450 4.7.1 slow down", TransientError, "domain"),
    ("rcpt", "550 5.1.1 no such user", PermanentError, Verdict.SUPPRESS),
    ("rcpt", "552 5.2.2 mailbox full", PermanentError, Verdict.SOFT),
    ("rcpt", "550 5.7.1 blocked", PermanentError, Verdict.OUR_FAULT),
    ("rcpt", "550 no", PermanentError, Verdict.SOFT),
    ("data", "451 4.3.0 later", TransientError, None),
    ("data", "554 5.7.1 no", PermanentError, Verdict.OUR_FAULT),
    ("final", "421 4.3.2 shutting down", TransientError, "domain"),
    ("final", "452 4.3.1 disk full", TransientError, None),
    ("final", "550 5.7.26 unauthenticated", PermanentError, Verdict.OUR_FAULT),
    ("final", "552 5.3.4 too big", PermanentError, Verdict.MESSAGE),
    ("final", "554 5.6.0 bad content", PermanentError, Verdict.MESSAGE),
]


@BOTH
@pytest.mark.parametrize("refusal", REFUSALS, ids=[f"{r[0]} {r[1][:9]}" for r in REFUSALS])
async def test_a_refusal_says_what_it_means(
    smtp_double: Doubles, outgoing: Outgoing, pipelining: bool, refusal: tuple[str, str, type[Exception], object]
) -> None:
    """The error's class, throttle and verdict follow the reply, and the next message leaves as if nothing had been."""
    phase, reply, expected, meaning = refusal
    server = smtp_double(pipelining=pipelining)
    async with opened(server, connections=1) as channel:
        setattr(server.faults, phase, reply)
        with pytest.raises((TransientError, PermanentError)) as caught:
            await channel.send(outgoing(1))
        setattr(server.faults, phase, None)
        await channel.send(outgoing(2))
    error = caught.value
    assert isinstance(error, TransientError | PermanentError)
    assert type(error) is expected
    assert (error.throttle if isinstance(error, TransientError) else error.address_verdict) == meaning
    assert error.code in reply
    assert len(server.accepted) == 1
    # Only the server hanging up costs a connection.
    assert server.connections == (2 if reply.startswith("421") else 1)


async def test_greylisting_names_its_delay(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """A server that says when to come back is heard."""
    server = smtp_double()
    server.faults.rcpt = "451 4.2.0 Greylisted, please try again in 5 minutes"
    async with opened(server) as channel:
        with pytest.raises(TransientError) as caught:
            await channel.send(outgoing())
    assert caught.value.retry_after_seconds == 300


async def test_errors_never_carry_the_address(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """Servers repeat the address in their answers; reasons and receipts do not."""
    server = smtp_double()
    server.faults.rcpt = "550 5.1.1 <ana@example.com>: unknown (ana@example.com)"
    async with opened(server) as channel:
        with pytest.raises(PermanentError) as caught:
            await channel.send(outgoing())
    assert "ana" not in str(caught.value)


async def test_content_wanted_although_the_recipient_was_refused(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """A server that answers 354 after refusing the only recipient gets no content (RFC 2920)."""
    server = smtp_double()
    server.faults.rcpt = "550 5.1.1 no"
    server.faults.accept_data_without_recipient = True
    async with opened(server) as channel:
        with pytest.raises(PermanentError):
            await channel.send(outgoing(1))
        server.faults.rcpt = None
        await channel.send(outgoing(2))
    assert [one.recipients for one in server.accepted] == [["ana@example.com"]]


# ------------------------------------------------------------------------------------------------- losing the connection


@BOTH
@pytest.mark.parametrize("fault", ["drop_before_data", "silent_before_data"])
async def test_lost_before_the_content_is_transient(
    smtp_double: Doubles, outgoing: Outgoing, pipelining: bool, fault: str
) -> None:
    """Dropped or silent before the content: certainly not accepted."""
    server = smtp_double(pipelining=pipelining)
    async with opened(server, timeout_seconds=0.3) as channel:
        setattr(server.faults, fault, True)
        with pytest.raises(TransientError) as caught:
            await channel.send(outgoing())
        setattr(server.faults, fault, False)
        await channel.send(outgoing(2))
    assert caught.value.code == "lost"
    assert len(server.accepted) == 1


@BOTH
@pytest.mark.parametrize("fault", ["drop_after_dot", "silent_after_dot", "garbage_after_dot"])
async def test_lost_after_the_dot_is_unknown(
    smtp_double: Doubles, outgoing: Outgoing, pipelining: bool, fault: str
) -> None:
    """The content was out and no sensible answer came: nobody can say, and the server did have it."""
    server = smtp_double(pipelining=pipelining)
    async with opened(server, answer_timeout_seconds=0.3) as channel:
        setattr(server.faults, fault, True)
        with pytest.raises(UnknownOutcome):
            await channel.send(outgoing())
        setattr(server.faults, fault, False)
        await channel.send(outgoing(2))
    assert len(server.taken_unanswered) == 1
    assert len(server.accepted) == 1


async def test_a_long_content_cut_short_is_transient(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """With a mail too big for the socket's buffers it is certain that the dot was not written, so it may be resent."""
    server = smtp_double()
    async with opened(server) as channel:
        server.faults.drop_within_content = True
        with pytest.raises(TransientError):
            await channel.send(outgoing(html="<p>Hello</p>\n" * 2_000_000))
        server.faults.drop_within_content = False
        await channel.send(outgoing(html="<p>Hello</p>\n" * 200_000))
    assert len(server.accepted) == 1


async def test_a_refusal_within_the_content_is_heard(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """A server that interrupts a big mail with 552 refused it for good."""
    server = smtp_double()
    server.faults.answer_within_content = "552 5.3.4 too big"
    async with opened(server) as channel:
        with pytest.raises(PermanentError) as caught:
            await channel.send(outgoing(html="<p>Hello</p>\n" * 2_000_000))
    assert caught.value.address_verdict is Verdict.MESSAGE


async def test_an_announced_size_limit_is_kept(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """What the server says it will not take is not sent."""
    server = smtp_double(size_bytes_max=2_000)
    async with opened(server) as channel:
        await channel.send(outgoing())
        with pytest.raises(PermanentError) as caught:
            await channel.send(outgoing(text="x\n" * 2_000))
    assert caught.value.address_verdict is Verdict.MESSAGE
    assert " SIZE=" in server.accepted[0].options


async def test_an_extra_answer_spoils_only_the_connection(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """The message's own answer counts; the connection with the surplus one is not used again."""
    server = smtp_double()
    server.faults.extra_reply_after_dot = True
    async with opened(server) as channel:
        await channel.send(outgoing(1))
        await channel.send(outgoing(2))
    assert server.connections == 2
    assert len(server.accepted) == 2


async def test_a_cancelled_send_gives_its_slot_back(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """Cancelling leaves no connection half-way in a transaction and no slot taken."""
    server = smtp_double()
    async with opened(server, connections=1, answer_timeout_seconds=30) as channel:
        server.faults.silent_after_dot = True
        task = asyncio.create_task(channel.send(outgoing(1)))
        while not server.taken_unanswered:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.faults.silent_after_dot = False
        await asyncio.wait_for(channel.send(outgoing(2)), 5)
    assert len(server.accepted) == 1


# ------------------------------------------------------------------------------------------------------------ the session


async def test_nobody_listening_is_transient(smtp_double: Doubles, outgoing: Outgoing) -> None:
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
async def test_a_refused_session_is_transient(smtp_double: Doubles, outgoing: Outgoing, greeting: str) -> None:
    """Whatever is said before MAIL is not about the message."""
    server = smtp_double()
    server.faults.greeting = greeting
    async with opened(server) as channel:
        with pytest.raises(TransientError) as caught:
            await channel.send(outgoing())
    assert caught.value.throttle == "provider"


async def test_login(smtp_double: Doubles, outgoing: Outgoing) -> None:
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


@BOTH
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_tls(
    smtp_double: Doubles,
    outgoing: Outgoing,
    tls_context: ssl.SSLContext,
    certificate: Path,
    tls: str,
    pipelining: bool,
) -> None:
    """Both kinds of TLS, with a private authority; mails, refusals and big mails work over it as without."""
    server = smtp_double(tls_context=tls_context, implicit_tls=tls == "implicit", pipelining=pipelining)
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
    smtp_double: Doubles, outgoing: Outgoing, tls_context: ssl.SSLContext, tls: str
) -> None:
    """A certificate nobody vouches for is refused, and the reason says so."""
    server = smtp_double(tls_context=tls_context, implicit_tls=tls == "implicit")
    async with opened(server, tls=tls) as channel:
        with pytest.raises(TransientError) as caught:
            await channel.send(outgoing())
    assert caught.value.code == "tls"
    assert server.accepted == []


async def test_required_tls_is_not_given_up(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """A server without STARTTLS gets no mail when STARTTLS is required."""
    server = smtp_double()
    async with opened(server, tls="starttls") as channel:
        with pytest.raises(TransientError) as caught:
            await channel.send(outgoing())
    assert caught.value.code == "tls"
    assert not [command for command in server.commands if command.startswith("MAIL")]


# --------------------------------------------------------------------------------------------------------------- the pool


async def test_connections_are_kept_and_bounded(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """Sixty concurrent sends share three connections."""
    server = smtp_double()
    async with opened(server, connections=3) as channel:
        await asyncio.gather(*(channel.send(outgoing(n)) for n in range(60)))
    assert server.connections == 3
    assert len(server.accepted) == 60


async def test_a_connection_ends_after_its_share_of_messages(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """`messages_per_connection_max` is kept, politely."""
    server = smtp_double()
    async with opened(server, connections=1, messages_per_connection_max=2) as channel:
        for n in range(5):
            await channel.send(outgoing(n))
    assert server.connections == 3
    assert server.commands.count("QUIT") == 3


async def test_idle_connections_are_closed(smtp_double: Doubles, outgoing: Outgoing) -> None:
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


async def test_a_connection_the_server_closed_meanwhile_is_not_used(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """The server's own idle limit costs no attempt."""
    server = smtp_double()
    async with opened(server) as channel:
        await channel.send(outgoing(1))
        server.drop_all()
        await asyncio.sleep(0.05)
        await channel.send(outgoing(2))
    assert len(server.accepted) == 2


async def test_an_old_connection_is_asked_first(smtp_double: Doubles, outgoing: Outgoing) -> None:
    """After a pause NOOP comes before MAIL."""
    server = smtp_double()
    async with opened(server, noop_after_idle_seconds=0.0) as channel:
        await channel.send(outgoing(1))
        await channel.send(outgoing(2))
    assert server.commands.count("NOOP") == 1
    assert server.connections == 1


async def test_close_waits_for_sends_under_way(smtp_double: Doubles, outgoing: Outgoing) -> None:
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


async def test_what_it_cannot_carry_is_said(smtp_double: Doubles, outgoing: Outgoing) -> None:
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
