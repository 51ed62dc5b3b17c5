"""Signed links: the same every time, for one purpose only, and without anything personal in them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.message import Message
from engine.dispatch.tokens import Link, SignedLinks, TokenSigner
from engine.errors import NotFound

SIGNER = TokenSigner(b"0123456789abcdef")
DOORS = ("unsubscribe", "confirm", "preferences", "view")
LINK = Link(customer="c1", message="m" * 32, purposes={"marketing": ["email", "sms"]})


def message(**context: Any) -> Message:
    return Message(
        id="m" * 32, customer="c1", enrollment="e", workflow="w", version="v", step="s", channel="email",
        address="ana@example.com", template="t", purpose="marketing", decided_ms=0, due_ms=0, context=context,
    )  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_a_token_is_read_at_its_own_door_only(door: Any) -> None:
    """One made to unsubscribe does not confirm."""
    token = SIGNER.token(door, LINK)
    assert SIGNER.read(door, token) == LINK
    assert SIGNER.token(door, LINK) == token
    for other in DOORS:
        if other != door:
            with pytest.raises(NotFound):
                SIGNER.read(other, token)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        TokenSigner(b"another secret !!").read(door, token)


@given(text=st.text(max_size=100) | st.text("ABab01.-_", max_size=3_000))
def test_an_invented_token_opens_nothing(text: str) -> None:
    """Whatever somebody types."""
    for door in DOORS:
        with pytest.raises(NotFound):
            SIGNER.read(door, text)  # type: ignore[arg-type]


def test_the_links_of_a_message_hold_no_address() -> None:
    """And are the same on every attempt."""
    links = SignedLinks("https://mail.shop.example/", SIGNER)
    first = links.of(message(customer={"email": "ana@example.com"}))
    assert first == links.of(message(customer={"email": "ana@example.com"}))
    assert first.keys() == {"unsubscribe_url", "confirm_url", "preferences_url", "view_url"}
    unsubscribe = first["unsubscribe_url"].removeprefix("https://mail.shop.example/u/")
    assert SIGNER.read("unsubscribe", unsubscribe).purposes == {"marketing": ["email"]}
    assert len(first["unsubscribe_url"]) < 250


def test_a_click_in_a_mail_confirms_nothing_for_a_telephone() -> None:
    """What was asked for is confirmed as far as this address can prove it."""
    asked = {"purpose": "news", "channels": ["email", "newsletter", "sms", 7]}
    event = {"name": "Consent Requested", "properties": asked}
    for context in ({"event": event}, {"enrollment": {"event": event}}):
        url = SignedLinks("https://x.example", SIGNER).of(message(**context))["confirm_url"]
        assert SIGNER.read("confirm", url.rpartition("/")[2]).purposes == {"news": ["email", "newsletter"]}
    url = SignedLinks("https://x.example", SIGNER).of(message())["confirm_url"]
    assert SIGNER.read("confirm", url.rpartition("/")[2]).purposes == {"marketing": ["email"]}
