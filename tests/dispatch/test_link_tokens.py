"""Signed links: the same every time, for one purpose only, and without anything personal in them."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from engine.core.message import Message
from engine.dispatch.links.tokens import Link, SignedLinks, TokenSigner
from engine.dispatch.templates.sample import ADDRESSES
from engine.errors import NotFound

SIGNER = TokenSigner(b"0123456789abcdef")
DOORS = ("unsubscribe", "confirm", "preferences", "view", "address", "agree", "stop", "access")
OLD_DOORS = ("unsubscribe", "confirm", "preferences", "view")
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
    assert first.keys() == set(ADDRESSES)
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


def old_token(door: str, secret: bytes = b"0123456789abcdef") -> str:
    """As versions up to 7656c6f made it."""
    settings = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
    signer = URLSafeSerializer(secret, salt=f"anlass.{door}", signer_kwargs=settings)
    return str(signer.dumps(("c1", "m" * 32, {"marketing": ["email"]})))


def test_a_token_says_nothing_to_who_has_it() -> None:
    """Neither the customer nor the purpose, in whatever way it is decoded."""
    customer = "customer-4711@shop.example"
    for door in DOORS:
        link = Link(customer=customer, message="0123456789abcdef" * 2, purposes={"marketing": ["email"]})
        token = SIGNER.token(door, link)  # type: ignore[arg-type]
        assert SIGNER.read(door, token) == link  # type: ignore[arg-type]
        raw = base64.urlsafe_b64decode(token + "===")
        for word in (b"customer", b"4711", b"marketing", b"email"):
            assert word not in raw
            assert word not in token.encode()
        assert len(token) < 160


def test_links_of_before_open_choices_and_never_data() -> None:
    """Mails stay in mailboxes for years."""
    for door in OLD_DOORS:
        found = SIGNER.read(door, old_token(door))  # type: ignore[arg-type]
        assert (found.customer, found.message) == ("c1", "m" * 32)
    for door in ("access", "address", "agree", "stop", "session"):
        with pytest.raises(NotFound):
            SIGNER.read(door, old_token(door))  # type: ignore[arg-type]


def test_a_new_secret_breaks_no_link_that_was_sent() -> None:
    """The first seals, all open; without the former one its links are dead."""
    first, second = b"the first secret", b"the second secret"
    sent = TokenSigner(first)
    both = TokenSigner(second, first)
    assert both.token("view", LINK) == TokenSigner(second).token("view", LINK)
    for token in (sent.token("view", LINK), old_token("view", first), both.token("view", LINK)):
        assert both.read("view", token).message == "m" * 32
    trail = sent.trail("click", "m" * 32, "k")
    assert both.read_trail("click", trail).link == "k"
    with pytest.raises(NotFound):
        TokenSigner(second).read("view", sent.token("view", LINK))


def test_only_the_answer_to_a_request_opens_what_is_personal() -> None:
    """In any other message the same names lead to the choices."""
    links = SignedLinks("https://x.example", SIGNER)
    plain = links.of(message())
    assert {plain[name] for name in ("access_url", "agree_url", "stop_url")} == {plain["preferences_url"]}
    asked = links.of(message(enrollment={"event": {"name": "Access Link Requested"}}))
    assert asked["access_url"].startswith("https://x.example/me/access/")
    moves = links.of(message(enrollment={"event": {"name": "Email Change Requested"}}))
    assert [moves[name].split("/")[3:5] for name in ("agree_url", "stop_url")] == [
        ["address", "agree"],
        ["address", "stop"],
    ]
