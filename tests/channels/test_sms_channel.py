"""Text messages, WhatsApp and calls against the stand-in of Twilio, with every fault it knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from channels.contract import (
    Channel,
    PermanentError,
    Receipt,
    Resolver,
    TransientError,
    UnknownOutcome,
    Unsupported,
    Verdict,
)
from engine.demo.telephone import ACCOUNT_SID, Mood, Telephone
from tests.channels.twilio_stage import NOW_MS, NUMBER, SENDER, message, opened, started

ALL = ("sms", "whatsapp", "voice")


@pytest.mark.parametrize("name", ALL)
async def test_a_receipt_means_twilio_has_it_once(name: str) -> None:
    """One send, one resource, with sender, number and text in the form of its channel."""
    async with started() as telephone, opened(telephone, name) as channel:
        assert isinstance(channel, Channel)
        assert isinstance(channel, Resolver)
        assert channel.name == name
        receipt = await channel.send(message(channel=name))
        (taken,) = telephone.taken
        assert receipt.provider_id == taken.sid
        prefix = "whatsapp:" if name == "whatsapp" else ""
        assert (taken.to, taken.sender) == (prefix + NUMBER, prefix + SENDER)
        assert "Hello 1" in taken.text
        assert taken.kind == ("calls" if name == "voice" else "messages")


async def test_many_at_once_do_not_mix() -> None:
    """Sixty sends over ten connections: each number gets its text, once."""
    async with started() as telephone, opened(telephone) as channel:
        wanted = {f"+49151123{n:05d}": f"Text {n} ü" for n in range(60)}
        sent = [message(n, to=to, text=text) for n, (to, text) in enumerate(wanted.items())]
        receipts = await asyncio.gather(*(channel.send(one) for one in sent))
        assert len({receipt.provider_id for receipt in receipts}) == 60
        assert {one.to: one.text for one in telephone.taken} == wanted
        assert len(telephone.taken) == 60


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (21610, Verdict.OPT_OUT),
        (21211, Verdict.SUPPRESS),
        (21614, Verdict.SUPPRESS),
        (21635, Verdict.SUPPRESS),
        (30006, Verdict.SUPPRESS),
        (30004, Verdict.OUR_FAULT),
        (30007, Verdict.OUR_FAULT),
        (21606, Verdict.OUR_FAULT),
        (21612, Verdict.SOFT),
        (21408, Verdict.MESSAGE),
        (21617, Verdict.MESSAGE),
        (99999, Verdict.MESSAGE),
    ],
)
async def test_a_refusal_says_what_it_means(code: int, verdict: Verdict) -> None:
    """Each of Twilio's codes has its class, and the reason holds no number."""
    async with started() as telephone, opened(telephone) as channel:
        telephone.moods.append(Mood(status=400, code=code, taken=False))
        with pytest.raises(PermanentError) as caught:
            await channel.send(message())
        assert caught.value.address_verdict is verdict
        assert caught.value.code == str(code)
        assert NUMBER not in caught.value.reason
        assert telephone.requests == 1


@pytest.mark.parametrize(
    ("mood", "seconds"),
    [
        (Mood(status=429, code=20429, taken=False, retry_after="7"), 7.0),
        (Mood(status=429, code=20429, taken=False), None),
        (Mood(status=429, taken=False, retry_after="soon"), None),
        (Mood(status=400, code=20429, taken=False), None),
    ],
)
async def test_too_many_requests_are_tried_later(mood: Mood, seconds: float | None) -> None:
    """It was certainly not processed: transient, and the whole provider slows down."""
    async with started() as telephone, opened(telephone) as channel:
        telephone.moods.append(mood)
        with pytest.raises(TransientError) as caught:
            await channel.send(message())
        assert caught.value.throttle == "provider"
        assert caught.value.retry_after_seconds == seconds
        assert await channel.send(message())


async def test_a_phone_that_is_off_may_pass() -> None:
    """30003 in the answer is worth another attempt."""
    async with started() as telephone, opened(telephone) as channel:
        telephone.moods.append(Mood(status=400, code=30003, taken=False))
        with pytest.raises(TransientError):
            await channel.send(message())


FAULTS = [
    Mood(status=500, taken=True),
    Mood(status=500, taken=False),
    Mood(status=502, taken=True),
    Mood(status=503, code=20503, taken=False),
    Mood(status=408, taken=True),
    Mood(silent=True),
    Mood(garbled=True),
    Mood(delay_seconds=3.0),
]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("mood", FAULTS)
async def test_what_may_have_arrived_is_unknown(mood: Mood, name: str) -> None:
    """5xx, a cut connection, no JSON, a timeout: never said to be refused, and never repeated by the client."""
    async with started() as telephone, opened(telephone, name, timeout_seconds=0.4) as channel:
        telephone.moods.append(mood)
        with pytest.raises(UnknownOutcome):
            await channel.send(message(channel=name))
        assert telephone.requests == 1
        assert len(telephone.taken) == int(mood.taken)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("mood", FAULTS)
async def test_an_unknown_one_is_found_by_listing(mood: Mood, name: str) -> None:
    """What Twilio has gets its receipt; what it has not stays unknown."""
    async with started() as telephone, opened(telephone, name, timeout_seconds=0.4) as channel:
        await channel.send(message(2, channel=name, text="Another text"))
        telephone.moods.append(mood)
        with pytest.raises(UnknownOutcome):
            await channel.send(message(channel=name))
        found = await channel.resolve(message(channel=name), since_ms=NOW_MS)
        if mood.taken:
            assert isinstance(found, Receipt)
            assert found.provider_id == telephone.taken[-1].sid
            assert await channel.resolve(message(channel=name), since_ms=NOW_MS) is None, "it answers for one only"
        else:
            assert found is None


async def test_a_listing_takes_no_other_message_for_it() -> None:
    """Another text, another number, an older one, and one that has its receipt: none of them is it."""
    async with started() as telephone, opened(telephone) as channel:
        await channel.send(message(1, text="Same"))
        await channel.send(message(2, text="Other"))
        await channel.send(message(3, to="+4915112345679", text="Same"))
        assert await channel.resolve(message(4, text="Same"), since_ms=NOW_MS) is None
    async with opened_again(telephone) as fresh:
        assert await fresh.resolve(message(4, text="Same"), since_ms=NOW_MS + 3_600_000) is None
        assert await fresh.resolve(message(4, text="Sam"), since_ms=NOW_MS) is None
        assert await fresh.resolve(message(4, text="Same"), since_ms=NOW_MS) is not None
        assert await fresh.resolve(message(5, text="Same"), since_ms=NOW_MS) is None


@asynccontextmanager
async def opened_again(telephone: Telephone) -> AsyncIterator[Any]:
    """A channel of another process, at the same stand-in."""
    await telephone.start(int(telephone.base_url.rpartition(":")[2]))
    try:
        async with opened(telephone) as channel:
            yield channel
    finally:
        await telephone.stop()


async def test_nobody_there_is_tried_later() -> None:
    """A connection that was never made has sent nothing."""
    telephone = Telephone(now_ms=lambda: NOW_MS)
    telephone.base_url = "http://127.0.0.1:9"
    async with opened(telephone) as channel:
        with pytest.raises(TransientError) as caught:
            await channel.send(message())
        assert caught.value.code == "connect"


async def test_a_wrong_token_is_our_own_fault() -> None:
    """It stops the campaign, and blames no number."""
    async with started() as telephone, opened(telephone, auth_token="wrong") as channel:
        with pytest.raises(PermanentError) as caught:
            await channel.send(message())
        assert caught.value.address_verdict is Verdict.OUR_FAULT
        assert telephone.taken == []


async def test_before_open_and_after_close_a_send_is_tried_later() -> None:
    """A closed channel certainly did not send; it opens again."""
    async with started() as telephone, opened(telephone) as channel:
        await channel.close()
        await channel.close()
        with pytest.raises(TransientError):
            await channel.send(message())
        await channel.open()
        await channel.open()
        assert await channel.send(message())
        assert len(telephone.taken) == 1


async def test_closing_waits_for_what_is_under_way() -> None:
    """A slow answer still arrives."""
    async with started() as telephone, opened(telephone) as channel:
        telephone.moods.append(Mood(delay_seconds=0.3))
        sending = asyncio.create_task(channel.send(message()))
        await asyncio.sleep(0.1)
        await channel.close()
        assert isinstance(await sending, Receipt)


async def test_who_waits_for_a_connection_has_not_timed_out() -> None:
    """Time counts from the request on, not from the queue before it."""
    async with started() as telephone, opened(telephone, connections=1, timeout_seconds=0.5) as channel:
        telephone.mood_of = lambda _form: Mood(delay_seconds=0.2)
        receipts = await asyncio.gather(*(channel.send(message(n)) for n in range(5)))
        assert len(receipts) == 5


BAD_NUMBERS = [
    "", " ", "0", "+", "++4915112345678", "015112345678", "0049 151 12345678", "4915112345678", "+4915112345678 ",
    "+49 151 12345678", "+49151/12345678", "+0915112345678", "+49151", "+491511234567890123", "+4915112345678;ext=5",
    "tel:+4915112345678", "whatsapp:+4915112345678", "+49１５１12345678", "+49151l2345678", "ana@example.com", "110", "911",
    "+999123456789", "+4915112345678\n", "+49\x00151", "+4930123456", "+498001234567", "+499001234567", "+12",
]  # fmt: skip


@pytest.mark.parametrize("number", BAD_NUMBERS)
async def test_an_impossible_number_is_refused_before_it_costs(number: str) -> None:
    """Not in international form, too short, of no country, a landline, a toll number: suppressed, and Twilio hears nothing."""
    async with started() as telephone, opened(telephone) as channel:
        with pytest.raises(PermanentError) as caught:
            await channel.send(message(to=number))
        assert caught.value.address_verdict is Verdict.SUPPRESS
        assert telephone.requests == 0


@pytest.mark.parametrize(
    "changes",
    [{"html": "<p>"}, {"subject": "Hi"}, {"reply_to": "a@b.example"}, {"headers": (("X-A", "b"),)}],
)
@pytest.mark.parametrize("name", ALL)
async def test_what_a_text_has_not_is_refused(name: str, changes: dict[str, Any]) -> None:
    """HTML, subject, reply address, headers: said, not dropped."""
    async with started() as telephone, opened(telephone, name) as channel:
        with pytest.raises(Unsupported):
            await channel.send(message(channel=name, **changes))
        assert telephone.requests == 0


async def test_whatsapp_uses_the_approved_template() -> None:
    """With the step's data as its variables; other templates go as free text."""
    approved = "HX" + "2" * 32
    async with started() as telephone, opened(telephone, "whatsapp", whatsapp_templates={"sent": approved}) as channel:
        await channel.send(message(template="sent", data={"1": "Ana", "2": 3}))
        await channel.send(message(2, template="other"))
        first, second = (one.form for one in telephone.taken)
        assert first["ContentSid"] == approved
        assert json.loads(first["ContentVariables"]) == {"1": "Ana", "2": "3"}
        assert "Body" not in first
        assert second["Body"] == "Hello 2"


async def test_a_call_reads_the_text_and_nothing_else() -> None:
    """What stands in the text is not markup; the language is the message's."""
    async with started() as telephone, opened(telephone, "voice") as channel:
        await channel.send(message(text="<Dial>+49</Dial> & co", locale="de"))
        await channel.send(message(2, text="Hi", locale="en-GB"))
        first, second = (one.form["Twiml"] for one in telephone.taken)
        assert "&lt;Dial&gt;+49&lt;/Dial&gt; &amp; co" in first
        assert 'language="de-DE"' in first
        assert 'language="en-GB"' in second


async def test_reports_are_asked_for_where_we_can_be_reached() -> None:
    """The address of the callback names the message; without a public URL there is none."""
    async with started() as telephone:
        async with opened(telephone, public_url="https://a.example/x/") as channel:
            await channel.send(message())
            assert channel.capabilities.delivery_reports
            assert channel.capabilities.two_way
        async with opened(telephone) as channel:
            await channel.send(message(2))
            assert not channel.capabilities.delivery_reports
        first, second = (one.form for one in telephone.taken)
        assert first["StatusCallback"] == f"https://a.example/x/callbacks/twilio/status?message={message().id}"
        assert "StatusCallback" not in second


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"from": ""}, "ANLASS_SMS__FROM"),
        ({"from": "Lindenhof Berlin"}, "not a sender"),
        ({"from": "015112345678901"}, "not a sender"),
        ({"messaging_service": "x"}, "begins with MG"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"typo": 1}, "typo"),
        ({"opt_out_link": "sometimes"}, "opt_out_link"),
    ],
)
async def test_settings_that_cannot_be_used_are_explained(changes: dict[str, Any], words: str) -> None:
    """Before anything is opened, by name."""
    telephone = Telephone(now_ms=lambda: NOW_MS)
    with pytest.raises(ValueError, match=words):
        async with opened(telephone, **changes):
            pass


async def test_the_environment_of_twilios_client_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that other programs use send nothing elsewhere."""
    monkeypatch.setenv("TWILIO_REGION", "ie1")
    monkeypatch.setenv("TWILIO_EDGE", "dublin")
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", "AC" + "9" * 32)
    async with started() as telephone, opened(telephone) as channel:
        await channel.send(message())
        assert telephone.taken[0].sid
        assert ACCOUNT_SID not in telephone.taken[0].form.values()


async def test_nothing_of_a_message_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Twilio's client writes requests to a log, at every level; ours has none."""
    caplog.set_level(0)
    async with started() as telephone, opened(telephone) as channel:
        await channel.send(message(text="canary-text"))
        telephone.moods.append(Mood(status=500))
        with pytest.raises(UnknownOutcome):
            await channel.send(message(text="canary-text"))
    assert "canary-text" not in caplog.text
    assert NUMBER not in caplog.text
