"""What the email channel makes of every way in which an SMTP server can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from channels.contract import OutgoingMessage, PermanentError, TransientError, UnknownOutcome, Verdict

Outgoing = Callable[..., OutgoingMessage]
Doubles = Callable[..., Any]
Opened = Callable[..., Any]

BOTH = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "one-by-one"])


# ---------------------------------------------------------------------------------------------------------- the envelope


@BOTH
async def test_the_envelope_is_our_own(
    opened: Opened, smtp_double: Doubles, outgoing: Outgoing, pipelining: bool
) -> None:
    """One recipient and the return path from the settings with the message id in it, whatever the headers say."""
    server = smtp_double(pipelining=pipelining)
    async with opened(server, return_path="b+{id}@bounces.example.com") as channel:
        receipt = await channel.send(outgoing(to="ana@bücher.example", to_name="Meyer, Ana <x@y.z>"))
    (one,) = server.accepted
    assert one.sender == f"b+{outgoing().id}@bounces.example.com"
    assert one.recipients == ["ana@xn--bcher-kva.example"]
    assert receipt.provider_id == "4Xyz"


async def test_the_sender_is_the_return_path_by_default(
    opened: Opened, smtp_double: Doubles, outgoing: Outgoing
) -> None:
    """Without a return path bounces go to the message's sender."""
    server = smtp_double()
    async with opened(server) as channel:
        await channel.send(outgoing(from_="Team <team@example.org>"))
    assert server.accepted[0].sender == "team@example.org"
    assert b"Message-ID: <" + outgoing().id.encode() + b"@example.org>" in server.accepted[0].content


async def test_pipelining_writes_the_envelope_at_once(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
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
    opened: Opened,
    smtp_double: Doubles,
    outgoing: Outgoing,
    pipelining: bool,
    refusal: tuple[str, str, type[Exception], object],
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


async def test_greylisting_names_its_delay(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """A server that says when to come back is heard."""
    server = smtp_double()
    server.faults.rcpt = "451 4.2.0 Greylisted, please try again in 5 minutes"
    async with opened(server) as channel:
        with pytest.raises(TransientError) as caught:
            await channel.send(outgoing())
    assert caught.value.retry_after_seconds == 300


async def test_errors_never_carry_the_address(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """Servers repeat the address in their answers; reasons and receipts do not."""
    server = smtp_double()
    server.faults.rcpt = "550 5.1.1 <ana@example.com>: unknown (ana@example.com)"
    async with opened(server) as channel:
        with pytest.raises(PermanentError) as caught:
            await channel.send(outgoing())
    assert "ana" not in str(caught.value)


async def test_content_wanted_although_the_recipient_was_refused(
    opened: Opened, smtp_double: Doubles, outgoing: Outgoing
) -> None:
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
    opened: Opened, smtp_double: Doubles, outgoing: Outgoing, pipelining: bool, fault: str
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
    opened: Opened, smtp_double: Doubles, outgoing: Outgoing, pipelining: bool, fault: str
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


async def test_a_long_content_cut_short_is_transient(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """With a mail too big for the socket's buffers it is certain that the dot was not written, so it may be resent."""
    server = smtp_double()
    async with opened(server, timeout_seconds=30.0, answer_timeout_seconds=30.0) as channel:
        server.faults.drop_within_content = True
        with pytest.raises(TransientError):
            await channel.send(outgoing(html="<p>Hello</p>\n" * 2_000_000))
        server.faults.drop_within_content = False
        await channel.send(outgoing(html="<p>Hello</p>\n" * 200_000))
    assert len(server.accepted) == 1


async def test_a_refusal_within_the_content_is_heard(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """A server that interrupts a big mail with 552 refused it for good."""
    server = smtp_double()
    server.faults.answer_within_content = "552 5.3.4 too big"
    async with opened(server) as channel:
        with pytest.raises(PermanentError) as caught:
            await channel.send(outgoing(html="<p>Hello</p>\n" * 2_000_000))
    assert caught.value.address_verdict is Verdict.MESSAGE


async def test_an_announced_size_limit_is_kept(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """What the server says it will not take is not sent."""
    server = smtp_double(size_bytes_max=2_000)
    async with opened(server) as channel:
        await channel.send(outgoing())
        with pytest.raises(PermanentError) as caught:
            await channel.send(outgoing(text="x\n" * 2_000))
    assert caught.value.address_verdict is Verdict.MESSAGE
    assert " SIZE=" in server.accepted[0].options


async def test_an_extra_answer_spoils_only_the_connection(
    opened: Opened, smtp_double: Doubles, outgoing: Outgoing
) -> None:
    """The message's own answer counts; the connection with the surplus one is not used again."""
    server = smtp_double()
    server.faults.extra_reply_after_dot = True
    async with opened(server) as channel:
        await channel.send(outgoing(1))
        await channel.send(outgoing(2))
    assert server.connections == 2
    assert len(server.accepted) == 2


async def test_a_cancelled_send_gives_its_slot_back(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
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
