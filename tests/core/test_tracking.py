"""Opens and clicks in the evaluator: only with consent, once a link, machines labelled, and nothing after a withdrawal."""

from __future__ import annotations

import pytest

from engine.core.record import Outcome
from tests.core.stage import POLICY, Play, workflow

TRACKING = POLICY + "  tracking: {consent: opt_in}\n"
CONFIRMED = POLICY + "  tracking: {consent: opt_in, double: [email]}\n"
STEPS = """[
  {send: {channel: email, template: t}, id: mail},
  {wait_for: {outcome: clicked, of: mail, timeout: 7d, then: [{update: {interested: "true"}}]}}
]"""
FLOW = workflow("trigger: {event: A}", "[{send: {channel: email, template: t}, id: mail}]")


def sent(consent: dict[str, list[str]] | None = None, policy: str = TRACKING, text: str = FLOW) -> Play:
    """One mail was queued to somebody who agreed to this."""
    play = Play(text, policy=policy)
    play.identify("0s", email="ana@b.example", consent=consent or {"tracking": ["email"]})
    play.event("0s", "A")
    return play


def told(play: Play, at: str, outcome: str, link: str, *, machine: bool = False) -> None:
    """As the collector tells it."""
    at_ms, message = play.at_ms(at), play.messages[0].id
    detail = {"link": link, "url": f"https://shop.example/{link}", **({"machine": True} if machine else {})}
    record_id = f"{outcome}:{message}:{link}:{machine}:{at}"
    play.memory.run_until(at_ms)
    play.memory.step(
        Outcome(
            customer="c1", at_ms=at_ms, id=record_id, time_ms=at_ms, outcome=outcome, message=message, detail=detail
        )
    )


NOT_TRACKED = [
    ("never asked", {"marketing": ["email"]}, TRACKING),
    ("another channel", {"tracking": ["sms"]}, TRACKING),
    ("the project does not offer it", {"tracking": ["email"]}, POLICY),
    ("not confirmed yet", {"tracking": ["email"]}, CONFIRMED),
]  # fmt: skip


@pytest.mark.parametrize(("what", "consent", "policy"), NOT_TRACKED, ids=[what for what, _, _ in NOT_TRACKED])
def test_who_did_not_agree_is_not_tracked(what: str, consent: dict[str, list[str]], policy: str) -> None:
    """Neither marked at the decision, nor recorded when somebody tells a click all the same."""
    play = Play(FLOW, policy=policy)
    if what == "not confirmed yet":
        play.identify("0s", email="ana@b.example", consent_request=consent)
    else:
        play.identify("0s", email="ana@b.example", consent=consent)
    play.event("0s", "A")
    assert play.messages[0].tracked is False
    told(play, "1h", "clicked", "k1")
    assert play.lines("outcome") == []
    assert play.state().messages[0].seen == ()


def test_who_agreed_is_tracked_and_each_link_is_told_once() -> None:
    """An open after a click says nothing new of the message, and is still told; the same again is not."""
    play = sent()
    assert play.messages[0].tracked is True
    for at, outcome, link in [
        ("1h", "clicked", "k1"), ("2h", "opened", "open"), ("3h", "clicked", "k2"), ("4h", "clicked", "k1"),
        ("5h", "opened", "open"),
    ]:  # fmt: skip
        told(play, at, outcome, link)
    assert [(each["outcome"], each.get("url")) for each in play.details("outcome")] == [
        ("clicked", "https://shop.example/k1"), ("opened", "https://shop.example/open"), ("clicked", "https://shop.example/k2"),
    ]  # fmt: skip
    (known,) = play.state().messages
    assert (known.outcome, known.seen) == ("clicked", ("k1", "open", "k2"))


def test_a_withdrawal_ends_it_at_once_also_for_old_mails() -> None:
    """What comes afterwards leaves no trace; the next message is not tracked."""
    play = sent()
    told(play, "1h", "opened", "open")
    play.identify("2h", consent_withdraw={"tracking": ["email"]})
    told(play, "3h", "clicked", "k1")
    play.event("4h", "A")
    assert [each["outcome"] for each in play.details("outcome")] == ["opened"]
    assert play.state().messages[0].seen == ("open",)
    assert play.messages[1].tracked is False


def moved(policy: str, *, machine: bool) -> bool:
    """Whether a click moved a run that waits for one."""
    text = workflow("trigger: {event: A}", STEPS)
    play = sent(policy=policy, text=text)
    told(play, "1h", "clicked", "k1", machine=machine)
    return play.state().messages[0].outcome == "clicked" and play.state().traits.get("interested") is True


def test_a_machines_click_is_labelled_and_moves_nothing() -> None:
    """Unless the policy counts them; a person's click moves the run."""
    counting = TRACKING + "tracking: {machine: count}\n"
    assert moved(TRACKING, machine=False)
    assert not moved(TRACKING, machine=True)
    assert moved(counting, machine=True)


def test_a_person_counts_after_a_machine_was_there() -> None:
    """A scanner opened the link first."""
    play = sent()
    told(play, "1h", "clicked", "k1", machine=True)
    assert play.state().messages[0].outcome == ""
    told(play, "2h", "clicked", "k1")
    assert play.state().messages[0].outcome == "clicked"
    assert [each.get("machine", False) for each in play.details("outcome")] == [True, False]


def test_a_mail_to_another_address_is_never_tracked() -> None:
    """`to` leads to somebody else's mailbox, who agreed to nothing."""
    text = workflow("trigger: {event: A}", "[{send: {channel: email, template: t, to: event.friend}, id: mail}]")
    play = Play(text, policy=TRACKING)
    play.identify("0s", email="ana@b.example", consent={"tracking": ["email"]})
    play.event("0s", "A", {"friend": "bo@b.example"})
    assert [(each.address, each.tracked) for each in play.messages] == [("bo@b.example", False)]


def test_what_a_state_remembers_of_a_message_is_bounded() -> None:
    """A mail with a thousand links clicked does not grow the state without end."""
    play = sent()
    for number in range(100):
        told(play, f"{number + 1}m", "clicked", f"k{number}")
    assert len(play.state().messages[0].seen) == 64


def test_a_providers_click_is_not_ours() -> None:
    """What a provider or the shop tells goes by the rules of outcomes; it is theirs to have asked for consent."""
    play = sent({"marketing": ["email"]})
    play.outcome("1h", "clicked", "mail")
    assert play.state().messages[0].outcome == "clicked"
