"""What leaves as a text message: its length, its sender, its link to unsubscribe, its alphabet."""

from __future__ import annotations

import pytest

from channels.contract import PermanentError, Verdict
from tests.channels.twilio_stage import SENDER, message, opened, started


@pytest.mark.parametrize("text", ["", " \n", "a\0b", "x" * 1_601, "ü" * 1_601])
async def test_texts_that_cannot_be_sent(text: str) -> None:
    """Empty, NUL, too long: a fault of the message."""
    async with started() as telephone, opened(telephone) as channel:
        with pytest.raises(PermanentError) as caught:
            await channel.send(message(text=text))
        assert caught.value.address_verdict is Verdict.MESSAGE
        assert telephone.requests == 0


async def test_no_more_segments_than_allowed() -> None:
    """161 letters are two segments; with one allowed, that is refused."""
    async with started() as telephone, opened(telephone, segments_max=1) as channel:
        await channel.send(message(text="x" * 160))
        with pytest.raises(PermanentError, match="2 segments, GSM-7"):
            await channel.send(message(text="x" * 161))


@pytest.mark.parametrize(
    ("sender", "rule", "added"),
    [
        ("Lindenhof", "auto", True),
        (SENDER, "auto", False),
        ("83300", "auto", False),
        (SENDER, "always", True),
        ("Lindenhof", "never", False),
    ],
)
async def test_a_sender_that_cannot_be_answered_gets_a_link(sender: str, rule: str, *, added: bool) -> None:
    """Under a text that has none, in the language of the message; never a second one; none where no consent is asked for."""
    link = "https://shop.example/u/abc"
    changes = {"from": sender, "opt_out_link": rule}
    async with started() as telephone, opened(telephone, **changes) as channel:
        await channel.send(message(text="Hallo", locale="de-DE", list_unsubscribe_url=link))
        await channel.send(message(text="Hello", locale="en", list_unsubscribe_url=link))
        await channel.send(message(text=f"Hello, no more: {link}", list_unsubscribe_url=link))
        await channel.send(message(text="Your parcel"))
        texts = [one.text for one in telephone.taken]
        assert texts[0] == (f"Hallo\nKeine SMS mehr: {link}" if added else "Hallo")
        assert texts[1] == (f"Hello\nNo more texts: {link}" if added else "Hello")
        assert texts[2:] == [f"Hello, no more: {link}", "Your parcel"]
        assert channel.capabilities.two_way is False


async def test_a_messaging_service_chooses_the_sender() -> None:
    """Its id goes along; with a sender as well, both do."""
    service = "MG" + "1" * 32
    async with started() as telephone:
        async with opened(telephone, messaging_service=service, **{"from": ""}) as channel:
            await channel.send(message())
        async with opened(telephone, messaging_service=service) as channel:
            await channel.send(message(2))
        forms = [one.form for one in telephone.taken]
        assert [form.get("MessagingServiceSid") for form in forms] == [service, service]
        assert [form.get("From") for form in forms] == [None, SENDER]


async def test_transliteration_makes_it_cheaper() -> None:
    """Quotes and dashes of word processors no longer make it UCS-2; the receipt says so."""
    text = "„Für dich“ – heute"
    async with started() as telephone:
        async with opened(telephone) as channel:
            assert "UCS-2" in (await channel.send(message(text=text))).response
        async with opened(telephone, transliterate=True) as channel:
            assert "1 segment, GSM-7" in (await channel.send(message(text=text))).response
        assert [one.text for one in telephone.taken] == [text, '"Für dich" - heute']
