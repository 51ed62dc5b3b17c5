"""The ways out in the head of a mail: https, and beside it a mail to the message's own return path."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from email.message import EmailMessage
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from channels.bounces import Kind, understand
from channels.contract import OutgoingMessage
from channels.mail.email import EmailChannel
from channels.mail.marks import Marks

SECRET = "a secret of the tests"
URL = "https://shop.example/u/token"
OURS = {"return_path": "b+{id}@bounces.shop.example", "mark_secret": SECRET}

Opened = Callable[..., AbstractAsyncContextManager[EmailChannel]]
Doubles = Callable[..., Any]
Outgoing = Callable[..., OutgoingMessage]


async def _sent(opened: Opened, server: Any, message: OutgoingMessage, **settings: str) -> EmailMessage:
    async with opened(server, **settings) as channel:
        await channel.send(message)
    (accepted,) = server.accepted
    read = email.message_from_bytes(accepted.content, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    return read


async def test_a_mail_to_the_return_path_stands_beside_https(
    opened: Opened, smtp_double: Doubles, outgoing: Outgoing
) -> None:
    """Https first, as one click takes that; what mail programs then send to the other is an objection, and proven."""
    message = outgoing(list_unsubscribe_url=URL, purpose="marketing")
    sent = await _sent(opened, smtp_double(), message, **OURS)
    https, mailto = (way.strip().strip("<>") for way in str(sent["List-Unsubscribe"]).split(","))
    assert https == URL
    assert sent["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    way = urlsplit(mailto)
    assert (way.scheme, parse_qs(way.query)) == ("mailto", {"subject": ["unsubscribe"]})
    marks = Marks(SECRET.encode())
    assert way.path == f"b+{marks.mark(message.id)}@bounces.shop.example"
    come_back = (
        f"From: c3@icloud.com\r\nTo: {way.path}\r\nSubject: unsubscribe\r\nAuto-Submitted: auto-replied\r\n"
        "X-Apple-Unsubscribe: true\r\n\r\n"
        'Apple Mail sent this email to unsubscribe from the message "unsubscribe".\r\n'
    )
    read = understand(come_back.encode(), marks=marks)
    assert (read.kind, read.proven) == (Kind.OBJECTION, True)
    assert read.report is not None
    assert (str(read.report.outcome), read.report.message) == ("unsubscribed", message.id)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"return_path": "bounces@shop.example", "mark_secret": SECRET},  # whose wish it is would not be known
        {"return_path": "b+{id}@bounces.shop.example"},  # anybody could make such an address
        OURS | {"service": "ses"},  # the service's own return path wins
    ],
)
async def test_no_mail_where_it_would_not_be_ours(
    opened: Opened, smtp_double: Doubles, outgoing: Outgoing, settings: dict[str, str]
) -> None:
    """Only https then."""
    sent = await _sent(opened, smtp_double(), outgoing(list_unsubscribe_url=URL), **settings)
    assert sent["List-Unsubscribe"] == f"<{URL}>"


async def test_mail_of_the_contract_has_no_way_out(opened: Opened, smtp_double: Doubles, outgoing: Outgoing) -> None:
    """Neither one, nor the name of a list."""
    sent = await _sent(opened, smtp_double(), outgoing(), **OURS)
    assert {"List-Unsubscribe", "List-Unsubscribe-Post", "List-Id"}.isdisjoint(sent.keys())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"purpose": "marketing"}, "<marketing.example.com>"),
        ({"purpose": "Product_News"}, "<product-news.example.com>"),
        ({"purpose": "news", "from_": "Shop <shop@bücher.example>"}, "<news.xn--bcher-kva.example>"),
        ({"headers": (("List-ID", "Shop <ours.example.com>"),)}, "Shop <ours.example.com>"),
    ],
)
async def test_a_list_has_a_name(
    opened: Opened, smtp_double: Doubles, outgoing: Outgoing, changes: dict[str, Any], named: str
) -> None:
    """The purpose, at the sender's domain; one's own wins."""
    sent = await _sent(opened, smtp_double(), outgoing(list_unsubscribe_url=URL, **changes))
    assert sent.get_all("List-Id") == [named]
