"""The customer's own page and what is not theirs: addresses of others, former ones, names of the shop's people."""

from __future__ import annotations

from engine.core.record import Consent
from tests.collector.conftest import T0
from tests.collector.test_me_pages import DAY_MS, Ana, ana, runtime

__all__ = ["ana", "runtime"]  # fixtures


async def _confirm_mail(ana: Ana, address: str) -> str:
    """Asks for the address; the id of the mail that goes there."""
    await ana.post("/details", {"email": address})
    found = (status.message for status in await ana.collector.runtime.messages(customer="ana"))
    return next(str(each.id) for each in found if each.template == "confirm-address" and each.address == address)


async def _click(ana: Ana, message: str) -> int:
    url = f"{ana.collector.url}/address/{ana.collector.signer.address(message, 'ana')}"
    async with ana.collector.http.post(url) as answer:
        return answer.status


async def test_who_gets_the_mail_to_a_mistyped_address_sees_nothing_of_the_customer(ana: Ana) -> None:
    """Every mail has a link to the page, this one too; it is hers when she has confirmed the address."""
    message = await _confirm_mail(ana, "stranger@example.com")
    path = "/me/" + ana.collector.signer.preferences(message, "ana")
    for below in ("/details", "/orders", "/data.json"):
        async with ana.collector.http.get(f"{ana.collector.url}{path}{below}") as answer:
            assert answer.status == 403, below
            assert "o-17" not in await answer.text()
    async with ana.collector.http.post(f"{ana.collector.url}{path}/details", data={"email": "x@example.com"}) as answer:
        assert answer.status == 403
    assert len(ana.events) == 1
    assert await _click(ana, message) == 200
    async with ana.collector.http.get(f"{ana.collector.url}{path}/details") as answer:
        assert answer.status == 200


async def test_who_has_the_former_address_sees_nothing_more(ana: Ana) -> None:
    """An address is changed because somebody else reads it, too."""
    assert (await ana.get("/details"))[0] == 200
    await ana.collector.post("/v1/identify", {"userId": "ana", "traits": {"email": "new@example.com"}})
    for below in ("/details", "/orders", "/data.json"):
        status, text = await ana.get(below)
        assert (status, "new@example.com" in text, "o-17" in text) == (403, False, False), below


async def test_a_new_address_is_confirmed_by_the_newest_mail_only(ana: Ana) -> None:
    """A slip, then the right one: who got the first mail cannot take the account over any more."""
    slip = await _confirm_mail(ana, "stranger@example.com")
    ana.collector.runtime.advance_to(T0 + 60_000)
    right = await _confirm_mail(ana, "right@example.com")
    assert await _click(ana, slip) == 404
    assert await _click(ana, right) == 200
    assert await _click(ana, slip) == 404
    assert (await ana.collector.runtime.state("ana")).traits["email"] == "right@example.com"


async def test_a_link_to_a_former_address_does_not_bring_it_back(ana: Ana) -> None:
    """Clicked again a month later, when the click is no longer known as the same one."""
    message = await _confirm_mail(ana, "former@example.com")
    assert await _click(ana, message) == 200
    await ana.collector.post("/v1/identify", {"userId": "ana", "traits": {"email": "now@example.com"}})
    assert await _click(ana, message) == 200
    assert (await ana.collector.runtime.state("ana")).traits["email"] == "now@example.com"
    ana.collector.runtime.advance_to(T0 + 30 * DAY_MS)
    await ana.collector.post("/v1/track", {"userId": "ana", "event": "Page Viewed"})
    assert await _click(ana, message) == 404
    assert (await ana.collector.runtime.state("ana")).traits["email"] == "now@example.com"


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
