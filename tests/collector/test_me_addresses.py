"""Another e-mail address: what both addresses have to say, how long it takes, who can stop it, how often it may be asked for."""

from __future__ import annotations

import pytest

from engine.core.facts import moving
from engine.core.record import Consent, Event
from engine.dispatch.links.tokens import Link
from tests.collector.conftest import T0
from tests.collector.test_me_pages import DAY_MS, Ana, ana, runtime

__all__ = ["ana", "runtime"]  # fixtures
HOUR_MS = 3_600_000


async def _ask(ana: Ana, address: str) -> dict[str, str]:
    """Asks for the address; the ids of the newest mails that came of it, by template."""
    assert (await ana.post("/details", {"email": address}))[0] == 200
    found = [status.message for status in await ana.collector.runtime.messages(customer="ana")]
    confirm = next(each for each in found if each.template == "confirm-address" and each.address == address)
    notice = next(each for each in found if each.enrollment == confirm.enrollment and each.template != confirm.template)
    assert notice.address == "ana@example.com"
    return {"confirm": confirm.id, "notice": notice.id}


async def _click(ana: Ana, door: str, message: str, *, post: bool = True) -> tuple[int, str]:
    signer, http = ana.collector.signer, ana.collector.http
    token = signer.token(door, Link(customer="ana", message=message))  # type: ignore[arg-type]
    path = {"address": "address", "agree": "address/agree", "stop": "address/stop"}[door]
    async with (http.post if post else http.get)(f"{ana.collector.url}/{path}/{token}?lang=en") as answer:
        return answer.status, await answer.text()


async def _email(ana: Ana) -> str:
    await ana.collector.runtime.idle()
    return str((await ana.collector.runtime.state("ana")).traits["email"])


async def test_a_new_address_counts_after_its_yes_and_a_day(ana: Ana) -> None:
    """The new address says yes, the old one has a day to say no; consent stays with the old one."""
    mails = await _ask(ana, "new@example.com")
    assert (await _click(ana, "address", mails["confirm"], post=False))[0] == 200
    assert [each.name for each in ana.events] == ["Email Change Requested"]
    for _ in range(2):  # a second click says nothing new
        status, text = await _click(ana, "address", mails["confirm"])
        assert (status, "is confirmed" in text) == (200, True)
    ana.collector.runtime.advance_to(T0 + 23 * HOUR_MS)
    assert await _email(ana) == "ana@example.com"
    ana.collector.runtime.advance_to(T0 + 24 * HOUR_MS)
    assert await _email(ana) == "new@example.com"
    state = await ana.collector.runtime.state("ana")
    assert state.consent["marketing"]["email"].address == "ana@example.com"
    assert not [run for run in state.enrollments if run.workflow == "address-change"]
    assert (await _click(ana, "stop", mails["notice"]))[0] == 404


async def test_both_addresses_together_need_no_day(ana: Ana) -> None:
    """In whatever order they say yes."""
    mails = await _ask(ana, "new@example.com")
    status, text = await _click(ana, "agree", mails["notice"])
    assert (status, "Thank you" in text) == (200, True)
    assert await _email(ana) == "ana@example.com"
    status, text = await _click(ana, "address", mails["confirm"])
    assert (status, "is in use" in text) == (200, True)
    assert await _email(ana) == "new@example.com"


async def test_the_old_address_stops_it_and_closes_the_page(ana: Ana) -> None:
    """Whoever asked for it is put out, and no link of it works any more."""
    mails = await _ask(ana, "thief@example.com")
    await _click(ana, "address", mails["confirm"])
    assert (await ana.get("/details"))[0] == 200
    status, text = await _click(ana, "stop", mails["notice"])
    assert (status, "It is stopped" in text) == (200, True)
    assert (await ana.get("/details"))[0] == 403
    ana.collector.runtime.advance_to(T0 + 30 * HOUR_MS)
    assert await _email(ana) == "ana@example.com"
    assert (await _click(ana, "address", mails["confirm"]))[0] == 404


async def test_each_mail_speaks_for_its_own_address_only(ana: Ana) -> None:
    """Who has the mail to the new address agrees for nobody at the old one, and the other way round."""
    mails = await _ask(ana, "new@example.com")
    for door, mail in (("agree", "confirm"), ("stop", "confirm"), ("address", "notice")):
        for post in (False, True):
            assert (await _click(ana, door, mails[mail], post=post))[0] == 404, door
    assert len(ana.events) == 1


async def test_only_the_newest_wish_counts(ana: Ana) -> None:
    """A slip, then the right one: who got the first mail cannot take the account over any more."""
    slip = await _ask(ana, "stranger@example.com")
    await _click(ana, "address", slip["confirm"])
    ana.collector.runtime.advance_to(T0 + 60_000)
    right = await _ask(ana, "right@example.com")
    assert (await _click(ana, "address", slip["confirm"]))[0] == 404
    assert (await _click(ana, "address", right["confirm"]))[0] == 200
    ana.collector.runtime.advance_to(T0 + 25 * HOUR_MS)
    assert await _email(ana) == "right@example.com"


async def test_a_change_at_the_shop_overtakes_it(ana: Ana) -> None:
    """And a link clicked a month later brings nothing back."""
    mails = await _ask(ana, "former@example.com")
    await _click(ana, "address", mails["confirm"])
    await ana.collector.post("/v1/identify", {"userId": "ana", "traits": {"email": "now@example.com"}})
    ana.collector.runtime.advance_to(T0 + 30 * DAY_MS)
    assert await _email(ana) == "now@example.com"
    assert (await _click(ana, "address", mails["confirm"]))[0] == 404


async def test_a_day_has_three_changes_whoever_asks(ana: Ana) -> None:
    """The fourth is refused on the page, and in the engine whichever way it came; the next day there are three again."""
    for number in range(3):
        assert (await ana.post("/details", {"email": f"stranger{number}@example.com"}))[0] == 200
        ana.collector.runtime.advance_to(T0 + (number + 1) * 1_000)
    status, text = await ana.post("/details?lang=en", {"email": "stranger3@example.com"})
    assert (status, "At most three changes" in text) == (400, True)
    sent = {"userId": "ana", "event": moving.ASKED, "properties": {"email": "stranger4@example.com"}}
    await ana.collector.post("/v1/track", sent)
    found = [status.message for status in await ana.collector.runtime.messages(customer="ana")]
    assert sorted({each.address for each in found}) == [
        "ana@example.com",
        *(f"stranger{n}@example.com" for n in range(3)),
    ]
    ana.collector.runtime.advance_to(T0 + 25 * HOUR_MS)
    await ana.open(T0 + 25 * HOUR_MS)
    assert (await ana.post("/details", {"email": "stranger5@example.com"}))[0] == 200


async def test_a_stranger_reads_no_word_of_hers(ana: Ana) -> None:
    """Neither in the mail to a new address nor in one that asks for a consent: not even in a template of the shop's own."""
    words = {"first_name": "You won", "last_name": "Prize", "company": "https://evil.example", "locale": "de"}
    await ana.collector.post("/v1/identify", {"userId": "ana", "traits": words})
    mails = await _ask(ana, "stranger@example.com")
    status = await ana.collector.runtime.message(mails["confirm"])
    assert status.message.context["customer"] == {"locale": "de"}
    notice = await ana.collector.runtime.message(mails["notice"])
    assert notice.message.context["customer"]["first_name"] == "You won"
    traits = {**words, "email": "other@example.com", "consent_request": {"marketing": ["email"]}}
    await ana.collector.post("/v1/identify", {"userId": "eve", "traits": traits})
    (asked,) = await ana.collector.runtime.messages(customer="eve")
    assert (asked.message.template, asked.message.context["customer"]) == ("confirm-subscription", {"locale": "de"})


@pytest.mark.parametrize("name", sorted(moving.RESERVED))
async def test_nobody_but_our_pages_says_that_an_address_agreed(name: str, ana: Ana) -> None:
    """A customer who may send events of their own cannot skip the mails."""
    status, answer = await ana.collector.post(
        "/v1/track", {"userId": "ana", "event": name, "properties": {"change": "x"}}
    )
    assert (status, answer["code"]) == (400, "reserved_event")


async def test_her_copy_names_nobody_of_the_shop(ana: Ana) -> None:
    """A proof says who of the shop wrote it down; that is the shop's to know."""
    proof = {"reason": "signed at the fair", "operator": "bea"}
    given = Consent(
        customer="ana", at_ms=T0, id="operator:1", time_ms=T0, action="grant", purposes={"marketing": ["sms"]},
        source="operator", proof=proof,
    )  # fmt: skip
    await ana.collector.runtime.append([given])
    await ana.collector.runtime.idle()
    status, text = await ana.get("/data.json")
    assert (status, "signed at the fair" in text, "bea" in text) == (200, True, False)
    assert all(isinstance(each, Event | Consent) for each in ana.written)
