"""An objection stands: against sales, contracts, imports and merges, in whatever order they are told."""

from __future__ import annotations

from typing import Any

import pytest

from engine.core.consent.proof import records_of, standing
from engine.core.time.schedule import rfc3339
from tests.core.stage import Play
from tests.core.test_sending_consent import asked, consented

SERVICE = {"service": ["email"]}
SALE = {"objection_notice": True}


def _bought(play: Play, at: str, **more: str) -> None:
    play.event(at, "Order Completed", SALE, **more)


def test_a_sale_after_a_wish_that_was_never_confirmed_undoes_no_objection() -> None:
    """Anybody can type an address into a form: what is asked for after an objection leaves it where it is."""
    play = consented("service")
    _bought(play, "1s")
    assert asked(play, "2s") == "queued"
    play.consent("3s", "withdraw", SERVICE)
    assert asked(play, "4s") == "suppressed unsubscribed"
    play.consent("5s", "request", SERVICE, proof={"basis": "existing_customer"})
    _bought(play, "6s")
    assert asked(play, "7s") == "suppressed unsubscribed"


def test_an_objection_that_is_told_late_counts_against_a_sale_since() -> None:
    """A list of objections of the old shop is imported after the first orders in the new one."""
    play = consented("service")
    _bought(play, "1h")
    assert asked(play, "2h") == "queued"
    play.consent("3h", "withdraw", SERVICE, time="1m", source="import")
    assert asked(play, "4h") == "suppressed unsubscribed"
    _bought(play, "5h")
    assert asked(play, "6h") == "suppressed unsubscribed"
    (now,) = standing(record for line in play.decisions("consent") for record in records_of(line))
    assert now.status == "withdrawn"
    play.consent("7h", "grant", SERVICE)
    assert asked(play, "8h") == "queued"


def test_a_contract_undoes_no_objection() -> None:
    """Only a new consent does, whoever says that there is another reason."""
    play = consented()
    play.consent("1s", "grant", {"marketing": ["email"]})
    play.consent("2s", "withdraw", {"marketing": ["email"]})
    for basis in ("contract", "existing_customer"):
        proof = {"basis": basis, "address": "a@b.example"}
        play.consent("3s", "grant", {"marketing": ["email"]}, source="import", proof=proof)
        assert asked(play, "4s") == "suppressed unsubscribed"


@pytest.mark.parametrize("into", ["c1", "c2"])
def test_a_guests_sale_undoes_no_objection_when_the_guest_turns_out_to_be_the_customer(into: str) -> None:
    """Objected as a customer, bought as a guest with the notice, logged in again: one person, who has objected."""
    play = consented("service")
    _bought(play, "1s")
    play.consent("2s", "withdraw", SERVICE)
    play.identify("3s", customer="c2", email="a@b.example")
    _bought(play, "4s", customer="c2")
    other = "c2" if into == "c1" else "c1"
    play.merge("5s", other, into)
    play.event("6s", "A", customer=into)
    assert play.decisions("send", customer=into)[-1].detail["reason"] == "unsubscribed"


@pytest.mark.parametrize("source", ["link", "outcome", "sms", "operator"])
def test_a_shop_that_repeats_what_it_knew_undoes_no_objection(source: str) -> None:
    """Shops send all traits with every call; only what was given later, and says so, counts."""
    play = consented()
    known = {"marketing": ["email"]}
    play.identify("1s", consent=known)
    assert asked(play, "2s") == "queued"
    play.consent("1h", "withdraw", known, source=source)
    early = {"wording": "Send me news.", "confirmed_at": play_time(play, "1s")}
    said: tuple[dict[str, Any], ...] = ({}, {"consent_proof": early}, {"consent_proof": {"confirmed_at": "soon"}})
    for number, more in enumerate(said):
        play.identify(f"{2 + number}h", consent=known, **more)
        assert asked(play, f"{2 + number}h1m") == "suppressed unsubscribed"
    refused = play.decisions("trait_refused")
    assert [line.detail["purpose"] for line in refused] == ["marketing"] * 3
    play.identify("6h", consent=known, consent_proof={"confirmed_at": play_time(play, "5h")})
    assert asked(play, "6h1m") == "queued"


def test_what_the_shop_withdrew_itself_it_may_give_again() -> None:
    """Its own word stands against its own word: the later one."""
    play = consented()
    play.identify("1s", consent={"marketing": ["email"]})
    play.identify("2s", consent_withdraw={"marketing": ["email"]})
    assert asked(play, "3s") == "suppressed unsubscribed"
    play.identify("4s", consent={"marketing": ["email"]})
    assert asked(play, "5s") == "queued"


def play_time(play: Play, at: str) -> str:
    """As RFC 3339."""
    return rfc3339(play.at_ms(at))
