"""Outcomes: what became of a message never moves backwards, and what it does to addresses and consent."""

from __future__ import annotations

import pytest

from channels import delivery
from engine.core.journey.outcome import RANK
from tests.core.stage import POLICY, Play, workflow

A = "trigger: {event: A}"


def sent(policy: str = POLICY, purpose: str = "transactional") -> Play:
    """One mail was queued."""
    text = workflow(A, "[{send: {channel: email, template: t}, id: mail}]")
    play = Play(text.replace("transactional", purpose, 1), policy=policy)
    play.identify("0s", email="Ana@b.example", consent={"marketing": ["email"]})
    play.event("0s", "A")
    return play


def test_the_ranks_are_those_of_the_channels() -> None:
    """One order for the ledger and for the customer's state."""
    assert {word: RANK[word] for word in map(str, delivery.RANK)} == {
        str(word): rank for word, rank in delivery.RANK.items()
    }
    assert set(RANK) - set(map(str, delivery.RANK)) == {"", "undelivered"}


@pytest.mark.parametrize("first", [outcome for outcome in RANK if outcome])
@pytest.mark.parametrize("second", [outcome for outcome in RANK if outcome])
def test_a_message_never_moves_backwards(first: str, second: str) -> None:
    """In whatever order outcomes come."""
    play = sent()
    play.outcome("1m", first, "mail")
    play.outcome("2m", second, "mail")
    assert play.state().messages[0].outcome == (second if RANK[second] > RANK[first] else first)


def test_an_outcome_names_its_message_or_the_newest_of_its_step() -> None:
    """One of a message that is not known is said, and changes nothing."""
    play = sent()
    play.event("1m", "A")
    play.outcome("2m", "delivered", "mail")
    play.outcome("3m", "opened", message=play.messages[0].id)
    play.outcome("4m", "opened", message="nothing")
    assert [one.outcome for one in play.state().messages] == ["opened", "delivered"]
    assert play.details("outcome")[-1]["reason"] == "message not known"


def after(play: Play, at: str) -> str:
    """The answer to a further send."""
    play.event(at, "A")
    return play.lines("send")[-1].split(" mail ")[1]


def test_a_hard_bounce_suppresses_the_address() -> None:
    """For every purpose, in any case of letters; a new address is free."""
    play = sent()
    play.outcome("1m", "bounced", "mail", verdict="suppress", code="5.1.1")
    assert play.memory.suppressed == {("email", "ana@b.example"): "bounced"}
    assert after(play, "2m") == "email suppressed suppressed_address"
    play.identify("3m", email="ANA@B.example")
    assert after(play, "4m") == "email suppressed suppressed_address"
    play.identify("5m", email="bo@b.example")
    assert after(play, "6m") == "email queued"


@pytest.mark.parametrize("verdict", ["our_fault", "message", "soft"])
def test_a_bounce_that_is_not_about_the_address_suppresses_nothing(verdict: str) -> None:
    """One soft bounce is none."""
    play = sent()
    play.outcome("1m", "bounced", "mail", verdict=verdict)
    assert after(play, "2m") == "email queued"


def test_soft_bounces_add_up_within_their_time() -> None:
    """As many as the policy says, of one address."""
    policy = POLICY + "bounces: {soft: {suppress_after: 3, within: 10d}}\n"
    play = sent(policy)
    for day in (1, 2, 11, 13):
        assert after(play, f"{day}d") == "email queued"
        play.outcome(f"{day}d", "bounced", "mail", verdict="soft")
    assert after(play, "14d") == "email queued"
    play.outcome("14d", "bounced", "mail", verdict="soft")
    assert after(play, "15d") == "email suppressed suppressed_address"


def test_a_complaint_suppresses_and_the_policy_may_keep() -> None:
    """Each of its own."""
    play = sent()
    play.outcome("1m", "complained", "mail")
    assert after(play, "2m") == "email suppressed suppressed_address"
    kept = sent(POLICY + "bounces: {hard: keep, complaint: keep}\n")
    kept.outcome("1m", "bounced", "mail")
    kept.outcome("2m", "complained", "mail")
    assert after(kept, "3m") == "email queued"


@pytest.mark.parametrize("before", ["opened", "complained"])
def test_who_unsubscribes_is_unsubscribed(before: str) -> None:
    """Of the purpose and channel of that message, also after a complaint that the policy does not mind."""
    play = sent(POLICY + "bounces: {complaint: keep}\n", "marketing")
    play.outcome("1m", before, "mail")
    play.outcome("2m", "unsubscribed", "mail")
    assert after(play, "3m") == "email suppressed unsubscribed"


def test_a_complaint_withdraws_the_consent_it_was_sent_on() -> None:
    """For this purpose on this channel, once, whatever the policy does to the address: it is an objection."""
    for policy in (POLICY, POLICY + "bounces: {complaint: keep}\n"):
        play = sent(policy, "marketing")
        play.outcome("1m", "complained", "mail")
        play.outcome("2m", "complained", "mail")
        withdrawn = [each for each in play.details("consent") if each["action"] == "withdraw"]
        assert [(each["purpose"], each["channels"]) for each in withdrawn] == [("marketing", ["email"])]


@pytest.mark.parametrize("first", ["soft", "our_fault", "message"])
def test_a_first_bounce_does_not_hide_that_the_address_is_gone(first: str) -> None:
    """A server that could not deliver today says tomorrow that there is nobody; a second soft one counts no second time."""
    play = sent()
    play.outcome("1m", "bounced", "mail", verdict=first)
    play.outcome("2m", "bounced", "mail", verdict=first)
    assert len(next(iter(play.state().soft_bounces.values()), [])) == (1 if first == "soft" else 0)
    assert not play.state().suppressed
    play.outcome("3m", "bounced", "mail", verdict="suppress")
    assert list(play.state().suppressed.values()) == ["bounced"]


def test_our_own_fault_says_nothing_about_the_address() -> None:
    """A message that bounced because of our reputation, or because of itself, suppresses and counts nothing."""
    play = sent()
    play.outcome("1m", "bounced", "mail", verdict="our_fault")
    assert (play.state().suppressed, play.state().soft_bounces) == ({}, {})
    play = sent()
    play.outcome("1m", "bounced", "mail", verdict="message")
    assert (play.state().suppressed, play.state().soft_bounces) == ({}, {})
