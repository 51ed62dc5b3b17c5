"""Who was erased and comes back with the same address: not written to for marketing, unless they said so themselves."""

from __future__ import annotations

from typing import Any

import pytest

from engine.core.consent.suppression import of_erased, places, refusal
from engine.core.customer import CustomerState, Granted, Sent
from engine.core.effect import Forget, Suppress
from engine.core.evaluate import evaluate
from engine.core.message import Message
from engine.core.record import Erase
from engine.definition.compile_policy import default_policy
from engine.runtimes.memory_ports import MemoryRuntime
from tests.core.stage import compiled, workflow

T0 = 1_800_000_000_000
POLICY = default_policy()
CATALOG = compiled(workflow("trigger: {event: X}"))
ANA = CustomerState(id="ana", traits={"email": "Ana@Shop.example", "phone": "0049 151 1234567"})


def _message(purpose: str = "marketing", channel: str = "email", address: str = "ana@shop.example") -> Message:
    return Message(
        id="m", customer="ana2", enrollment="e", workflow="w", version="1", step="s", channel=channel, address=address,
        template="t", purpose=purpose, decided_ms=T0, due_ms=T0,
    )  # fmt: skip


def _answers(effects: list[Suppress]) -> dict[tuple[str, str], str]:
    return {(each.channel, each.address): each.reason for each in effects}


def test_an_erasure_leaves_word_of_each_address() -> None:
    """Mail once, the number for each channel that rings; also an address that was written to and is no longer theirs."""
    sent = Sent("m", "e", "w", "s", "email", "old@shop.example", "marketing", T0)
    old = CustomerState(id="ana", traits=ANA.traits, messages=(sent,))
    assert sorted(_answers(of_erased(old, T0))) == [
        ("erased/email", "ana@shop.example"), ("erased/email", "old@shop.example"), ("erased/sms", "+491511234567"),
        ("erased/voice", "+491511234567"), ("erased/whatsapp", "+491511234567"),
    ]  # fmt: skip
    assert of_erased(None, T0) == []
    state, effects = evaluate(CATALOG, ANA, Erase(customer="ana", at_ms=T0, id="x"))
    assert state is None
    assert isinstance(effects[0], Forget)
    assert sum(isinstance(each, Suppress) for each in effects) == 4


@pytest.mark.parametrize(
    ("purpose", "channel", "address", "refused"),
    [
        ("marketing", "email", "ana@shop.example", True),
        ("marketing", "email", "ANA@shop.example ", True),
        ("marketing", "newsletter", "ana@shop.example", True),
        ("marketing", "sms", "+49 151 1234567", True),
        ("marketing", "email", "ben@shop.example", False),
        ("transactional", "email", "ana@shop.example", False),
        ("nobody-declared-this", "email", "ana@shop.example", True),
    ],
)
def test_what_the_word_forbids(purpose: str, channel: str, address: str, refused: bool) -> None:
    """Whatever needs consent, on the same address however it is written; an order is still confirmed."""
    message = _message(purpose, channel, address)
    answers = _answers(of_erased(ANA, T0))
    known = {place: answers[place] for place in places(POLICY, message) if place in answers}
    back = CustomerState(id="ana2", consent={purpose: {channel: Granted("granted", T0 + 5, "shop")}})
    assert (refusal(POLICY, back, message, answers=known) == "suppressed_address") == refused


@pytest.mark.parametrize(
    ("granted", "refused"),
    [
        (Granted("granted", T0 + 1, "link"), False),
        (Granted("granted", T0 - 1, "link"), True),
        (Granted("granted", T0 + 1, "import"), True),
        (Granted("requested", T0 + 1, "link"), True),
        (None, True),
    ],
)
def test_only_their_own_new_consent_lifts_it(granted: Granted | None, refused: bool) -> None:
    """A click in a confirmation mail since; not what a shop or an import says, not what was before."""
    consent = {} if granted is None else {"marketing": {"email": granted}}
    back = CustomerState(id="ana2", consent=consent)
    answers = _answers(of_erased(ANA, T0))
    assert (refusal(POLICY, back, _message(), answers=answers) == "suppressed_address") == refused
    newsletter = _message(channel="newsletter")
    assert (refusal(POLICY, back, newsletter, answers=answers) == "suppressed_address") == refused, (
        "consent to mail serves both"
    )


def test_an_address_that_bounced_gets_nothing_whatever_was_consented() -> None:
    """Also a newsletter to it, which is the same mailbox; and what is not a number after the word never lifts anything."""
    back = CustomerState(id="ana2", consent={"marketing": {"email": Granted("granted", T0 + 9, "link")}})
    bounced = {("email", "ana@shop.example"): "bounced"}
    for message in (_message(), _message(channel="newsletter"), _message("transactional")):
        assert places(POLICY, message)[0] == ("email", "ana@shop.example")
        assert refusal(POLICY, back, message, answers=bounced) == "suppressed_address"
    garbled: dict[Any, str] = {("erased/email", "ana@shop.example"): "erased:x"}
    assert refusal(POLICY, back, _message(), answers=garbled) == "suppressed_address"


async def test_the_runtime_remembers_it_by_its_own_means() -> None:
    """The memory runtime answers for the places that are asked."""
    runtime = MemoryRuntime(CATALOG)
    runtime.memory.states["ana"] = ANA
    await runtime.append([Erase(customer="ana", at_ms=T0, id="x")])
    asked = places(POLICY, _message())
    assert await runtime.suppressed(asked) == {asked[1]: f"erased:{T0}"}
