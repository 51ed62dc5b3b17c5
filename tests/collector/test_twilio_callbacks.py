"""What Twilio reports and what people answer, signed, over a real socket: outcomes, consent, dead letters, replies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from channels.phone.twilio_callbacks import create_callbacks
from engine.clock import ManualClock
from engine.collector import build_collector
from engine.collector.callbacks import providers
from engine.core.record import Consent, Event, Identify, Outcome, Pause
from engine.demo.telephone import AUTH_TOKEN, Telephone
from engine.dispatch.ports import Settlement
from engine.runtimes.base import Query
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import CollectorSection
from tests.collector.conftest import T0, Served, catalog, make_parts, taken_in

NUMBER = "+4915112345678"
SID = "SM" + "a" * 32
PUBLIC = "https://mail.shop.example"


class Stage:
    """A collector with Twilio's callbacks, the stand-in that calls it, and customers who were written to."""

    def __init__(self, runtime: MemoryRuntime, telephone: Telephone, url: str) -> None:
        self.runtime, self.telephone, self.url = runtime, telephone, url
        telephone.inbound_url = f"{url}/callbacks/twilio/inbound"

    async def written(self, customer: str, *, number: str = NUMBER, sid: str = "", consent: bool = True) -> str:
        """Somebody to whom a text was sent; returns its id."""
        given = {"phone": number, **({"consent": {"marketing": ["sms"]}} if consent else {})}
        await self.runtime.append(
            [
                Identify(customer=customer, at_ms=T0, id=f"i-{customer}", time_ms=T0, traits=given),
                Event(customer=customer, at_ms=T0, id=f"e-{customer}", name="News Asked For", time_ms=T0),
            ]
        )
        (known,) = [one for one in await self.runtime.messages(customer=customer) if one.message.channel == "sms"]
        await self.runtime.claim([known.message.id])
        sent = Settlement(message_id=known.message.id, status="sent", at_ms=T0, provider_id=sid)
        await self.runtime.settle([sent])
        return known.message.id

    async def report(self, message: str, status: str, *, sid: str = SID, code: str = "") -> int:
        """Twilio's status callback about a message."""
        url = f"{self.url}/callbacks/twilio/status" + (f"?message={message}" if message else "")
        form = {
            "MessageSid": sid,
            "MessageStatus": status,
            "To": NUMBER,
            "From": "Shop",
            **({"ErrorCode": code} if code else {}),
        }
        status_code, _ = await self.telephone.post(url, form)
        return status_code

    async def outcome(self, customer: str) -> str:
        """The furthest outcome of the customer's text."""
        state = await self.runtime.state(customer)
        assert state is not None
        return next(sent.outcome for sent in state.messages if sent.channel == "sms")

    async def consent(self, customer: str) -> str:
        """How marketing by SMS stands."""
        state = await self.runtime.state(customer)
        assert state is not None
        granted = state.consent.get("marketing", {}).get("sms")
        return granted.status if granted else ""

    @property
    def records(self) -> list[Any]:
        """What came in from outside."""
        return taken_in(self.runtime)


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """The parts, each running."""
    monkeypatch.setattr(providers, "PATIENCE_SECONDS", 0.75)
    runtime = MemoryRuntime(catalog(), clock=ManualClock(T0))
    reader = create_callbacks({"auth_token": AUTH_TOKEN, "brand": "Lindenhof", "contact": "service@shop.example"})
    parts = msgspec.structs.replace(make_parts(runtime, runtime.memory.clock), callbacks={"twilio": reader})
    telephone = Telephone(now_ms=lambda: T0)
    await telephone.start()
    async with Served(build_collector(CollectorSection(), parts)) as served:
        yield Stage(runtime, telephone, served.url)
    await telephone.stop()


async def test_a_report_becomes_an_outcome(stage: Stage) -> None:
    """Sent, then delivered; found by our id in the address of the callback."""
    message = await stage.written("ana")
    assert await stage.report(message, "sent") == 200
    assert await stage.report(message, "delivered") == 200
    assert await stage.outcome("ana") == "delivered"


async def test_a_report_without_our_id_is_found_by_twilios(stage: Stage) -> None:
    """The id that the receipt gave."""
    await stage.written("ana", sid=SID)
    assert await stage.report("", "delivered") == 200
    assert await stage.outcome("ana") == "delivered"


@pytest.mark.parametrize(
    "order", [("delivered", "sent"), ("sent", "delivered", "sent", "delivered", "queued"), ("delivered",) * 5]
)
async def test_reports_out_of_order_and_again_are_harmless(stage: Stage, order: tuple[str, ...]) -> None:
    """The furthest counts, and each says something at most once."""
    message = await stage.written("ana")
    for status in order:
        assert await stage.report(message, status) == 200
    assert await stage.outcome("ana") == "delivered"
    told = [line for _, line in await stage.runtime.decisions(Query(customer="ana", kinds=("outcome",)))]
    assert [line.detail["outcome"] for line in told].count("delivered") == 1


@pytest.mark.parametrize(
    ("status", "code", "outcome", "suppressed"),
    [
        ("undelivered", "30003", "bounced", False),
        ("undelivered", "30005", "bounced", False),
        ("undelivered", "30006", "bounced", True),
        ("failed", "21614", "bounced", True),
        ("undelivered", "", "bounced", False),
        ("failed", "30007", "failed", False),
        ("failed", "99999", "failed", False),
        ("canceled", "", "failed", False),
    ],
)
async def test_what_became_of_it_and_why(
    stage: Stage, status: str, code: str, outcome: str, *, suppressed: bool
) -> None:
    """Only what says something about the number counts against it."""
    message = await stage.written("ana")
    await stage.report(message, status, code=code)
    assert await stage.outcome("ana") == outcome
    state = await stage.runtime.state("ana")
    assert state is not None
    assert bool(state.suppressed) == suppressed


async def test_our_own_fault_pauses_the_workflow_once(stage: Stage) -> None:
    """30007 to three people stops it; when it was let go on, the same report again does not stop it anew."""
    messages = [await stage.written(f"c{n}", number=f"+4915112345{n:03d}") for n in range(3)]
    for n, message in enumerate(messages):
        assert stage.runtime.catalog.paused == frozenset()
        await stage.report(message, "undelivered", sid=f"SM{n:032x}", code="30007")
    assert stage.runtime.catalog.paused == {"news"}
    await stage.runtime.append([Pause(customer="", at_ms=T0, id="on", workflow="news", paused=False)])
    await stage.report(messages[0], "undelivered", sid=f"SM{0:032x}", code="30007")
    assert stage.runtime.catalog.paused == frozenset()
    state = await stage.runtime.state("c0")
    assert state is not None
    assert not state.suppressed


async def test_a_report_of_an_opt_out_withdraws_consent(stage: Stage) -> None:
    """21610: the person told Twilio."""
    message = await stage.written("ana")
    await stage.report(message, "failed", code="21610")
    assert await stage.consent("ana") == "withdrawn"
    await stage.telephone.says(NUMBER, "START")
    assert await stage.consent("ana") == "granted"


async def test_a_report_of_an_unknown_message_is_a_dead_letter(stage: Stage) -> None:
    """With its reason; the answer is 200 all the same, as Twilio could not do better."""
    assert await stage.report("f" * 32, "delivered") == 200
    (letter,) = await stage.runtime.dead_letters()
    assert "no message is known" in letter.reason
    assert letter.origin == "callback:twilio"


async def test_a_report_may_be_faster_than_our_books(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Kafka the database is a moment behind: it is looked for again before it is given up."""
    message = await stage.written("ana")
    real, asked = stage.runtime.message, []

    async def late(message_id: str) -> Any:
        asked.append(message_id)
        return await real(message_id) if len(asked) > 2 else None

    monkeypatch.setattr(stage.runtime, "message", late)
    assert await stage.report(message, "delivered") == 200
    assert await stage.outcome("ana") == "delivered"
    assert await stage.runtime.dead_letters() == []


@pytest.mark.parametrize(
    "word",
    [
        "STOP",
        "stop",
        " Stop! ",
        "STOPP",
        "Abmelden.",
        "KÜNDIGEN",
        "kuendigen",
        "Arrêt",
        "unsubscribe",
        "Stop bitte",
        "ENDE",
    ],
)
async def test_stop_withdraws_for_everybody_at_that_number(stage: Stage, word: str) -> None:
    """Two customers with one telephone; a third with another is left alone. It is on record with its proof."""
    for customer in ("ana", "ben"):
        await stage.written(customer)
    await stage.written("eva", number="+4915112345679")
    status, answer = await stage.telephone.says(NUMBER, word)
    assert status == 200
    assert [await stage.consent(each) for each in ("ana", "ben", "eva")] == ["withdrawn", "withdrawn", "granted"]
    assert "<Message>Lindenhof: Du bekommst hier keine Nachrichten mehr" in answer
    entry = (await stage.runtime.consents(customer="ana"))[-1]
    assert (entry.action, entry.channel, entry.purpose) == ("withdraw", "sms", "marketing")
    assert entry.proof["form"] == "sms answer"
    assert entry.proof["wording"] == "STOP"
    assert await stage.outcome("ana") == "unsubscribed"


async def test_stop_counts_before_the_first_text(stage: Stage) -> None:
    """Consent by a form, then STOP, then the first campaign: the number was never written to, and nothing goes there."""
    traits = {"phone": NUMBER, "consent": {"marketing": ["sms"]}}
    for name in ("ana", "ben"):
        await stage.runtime.append([Identify(customer=name, at_ms=T0, id=f"i-{name}", time_ms=T0, traits=traits)])
    moved = {"phone": "+4915199999998"}
    await stage.runtime.append([Identify(customer="ben", at_ms=T0 + 1, id="m", time_ms=T0 + 1, traits=moved)])
    await stage.runtime.idle()
    await stage.telephone.says(NUMBER, "STOP")
    await stage.runtime.idle()
    assert await stage.consent("ana") == "withdrawn"
    assert await stage.consent("ben") == "granted"  # the number is somebody else's now
    assert await stage.runtime.dead_letters() == []


async def test_start_gives_back_what_stop_took_and_no_more(stage: Stage) -> None:
    """Whoever never consented has not consented by it; nor has who withdrew in another way."""
    await stage.written("ana")
    await stage.written("ben")
    withdrawn = Consent(
        customer="ben", at_ms=T0, id="w", time_ms=T0, action="withdraw", purposes={"marketing": ["sms"]}, source="link"
    )
    await stage.runtime.append([withdrawn])
    await stage.telephone.says(NUMBER, "STOP")
    await stage.telephone.says(NUMBER, "STOP")
    await stage.telephone.says(NUMBER, "START")
    assert await stage.consent("ana") == "granted"
    assert await stage.consent("ben") == "withdrawn"


async def test_an_old_start_played_back_undoes_no_stop(stage: Stage) -> None:
    """Twilio's signature has no time: the same message is acted upon once."""
    await stage.written("ana")
    await stage.telephone.says(NUMBER, "STOP", sid="SM" + "1" * 32)
    await stage.telephone.says(NUMBER, "START", sid="SM" + "2" * 32)
    await stage.telephone.says(NUMBER, "STOP", sid="SM" + "3" * 32)
    state = await stage.runtime.state("ana")
    assert state is not None
    state.seen = b""  # long ago: the id is not remembered any more
    await stage.telephone.says(NUMBER, "START", sid="SM" + "2" * 32)
    assert await stage.consent("ana") == "withdrawn"


async def test_stop_by_sms_leaves_whatsapp_alone(stage: Stage) -> None:
    """A channel is a channel: the answer came on one of them."""
    await stage.written("ana")
    both = Consent(customer="ana", at_ms=T0, id="b", time_ms=T0, action="grant", purposes={"marketing": ["whatsapp"]})
    await stage.runtime.append([both])
    await stage.telephone.says(f"whatsapp:{NUMBER}", "STOP")
    state = await stage.runtime.state("ana")
    assert state is not None
    assert {name: each.status for name, each in state.consent["marketing"].items()} == {
        "sms": "granted",
        "whatsapp": "withdrawn",
    }


async def test_help_is_answered_and_changes_nothing(stage: Stage) -> None:
    """In the language of the number, with whom to turn to; German words are answered in German anywhere."""
    await stage.written("ana")
    await stage.written("joe", number="+12125550123")
    before = len(stage.records)
    _, german = await stage.telephone.says(NUMBER, "HELP")
    _, english = await stage.telephone.says("+12125550123", "help")
    _, hilfe = await stage.telephone.says("+12125550123", "Hilfe?")
    assert "Antworte STOP" in german
    assert "Reply STOP" in english
    assert "service@shop.example" in english
    assert "Antworte STOP" in hilfe
    assert len(stage.records) == before


async def test_an_answer_is_an_outcome_and_an_event(stage: Stage) -> None:
    """Of the newest text there; workflows can wait for either. Nothing is answered by machine."""
    message = await stage.written("ana")
    _, answer = await stage.telephone.says(NUMBER, "Danke, Freitag passt mir!")
    assert "<Message>" not in answer
    assert await stage.outcome("ana") == "replied"
    event = next(record for record in stage.records if isinstance(record, Event) and record.name == "Message Received")
    assert event.customer == "ana"
    assert event.properties == {"channel": "sms", "text": "Danke, Freitag passt mir!", "message": message}


async def test_the_same_answer_again_is_one(stage: Stage) -> None:
    """Twilio may call twice."""
    await stage.written("ana")
    for _ in range(3):
        await stage.telephone.says(NUMBER, "Ja gern", sid="SM" + "5" * 32)
    lines = [line for _, line in await stage.runtime.decisions(Query(customer="ana", kinds=("outcome",)))]
    assert [line.detail["outcome"] for line in lines] == ["replied"]


@pytest.mark.parametrize("text", ["STOP", "START", "hello"])
async def test_a_stranger_is_a_dead_letter(stage: Stage, text: str) -> None:
    """Nobody is known there: kept with its reason, and answered politely."""
    status, _ = await stage.telephone.says("+4915199999999", text)
    assert status == 200
    (letter,) = await stage.runtime.dead_letters()
    assert "to whom nothing was ever sent" in letter.reason
    assert not stage.records


# ---------------------------------------------------------------------------------------------------------- signatures


async def test_forged_callbacks_change_nothing(stage: Stage) -> None:
    """No signature, an empty one, one of another token, of another form, of another address, of another message."""
    message = await stage.written("ana")
    before = len(stage.records)
    other = Telephone(now_ms=lambda: T0, token="another token")
    url = f"{stage.url}/callbacks/twilio/status?message={message}"
    form = {"MessageSid": SID, "MessageStatus": "delivered"}
    await other.start()
    status, _ = await other.post(url, form)
    assert status == 403
    await other.stop()
    good = stage.telephone._validator.compute_signature(url, form)
    attempts: list[tuple[str, dict[str, str], dict[str, str]]] = [
        (url, form, {}),
        (url, form, {"X-Twilio-Signature": ""}),
        (url, form, {"X-Twilio-Signature": "ü"}),
        (url, form, {"X-Twilio-Signature": good[:-2]}),
        (url, {**form, "MessageStatus": "undelivered"}, {"X-Twilio-Signature": good}),
        (url, {**form, "More": ""}, {"X-Twilio-Signature": good}),
        (url + "0", form, {"X-Twilio-Signature": good}),
        (url.replace("status", "inbound"), form, {"X-Twilio-Signature": good}),
        (url + "&x=1", form, {"X-Twilio-Signature": good}),
    ]
    async with aiohttp.ClientSession() as http:
        for place, sent, headers in attempts:
            async with http.post(place, data=sent, headers=headers) as answer:
                assert answer.status == 403, (place, sent, headers)
        async with http.post(url, json=form, headers={"X-Twilio-Signature": good}) as answer:
            assert answer.status == 403
        async with http.post(url, data=form, headers={"X-Twilio-Signature": good}) as answer:
            assert answer.status == 200
    assert len(stage.records) == before + 1
    assert [record.outcome for record in stage.records if isinstance(record, Outcome)] == ["delivered"]


async def test_behind_a_proxy_the_public_address_is_signed(tmp_path: Path) -> None:
    """Twilio signs what it calls, which is not what arrives here."""
    runtime = MemoryRuntime(catalog(), clock=ManualClock(T0))
    reader = create_callbacks({"auth_token": AUTH_TOKEN})
    parts = msgspec.structs.replace(make_parts(runtime, runtime.memory.clock), callbacks={"twilio": reader})
    settings = CollectorSection(public_url=f"{PUBLIC}/")
    telephone = Telephone(now_ms=lambda: T0)
    form = {"MessageSid": SID, "MessageStatus": "queued"}
    signed = telephone._validator.compute_signature(f"{PUBLIC}/callbacks/twilio/status?message={'a' * 32}", form)
    async with Served(build_collector(settings, parts)) as served, aiohttp.ClientSession() as http:
        url = f"{served.url}/callbacks/twilio/status?message={'a' * 32}"
        async with http.post(url, data=form, headers={"X-Twilio-Signature": signed}) as answer:
            assert answer.status == 200
