"""Objections to messages that the customer's state does not remember any more: they count all the same."""

from __future__ import annotations

import pytest

from engine.core.journey.sending import SENT_MAX
from tests.core.stage import Play
from tests.core.test_sending_consent import asked, consented


def _forgotten() -> tuple[Play, str]:
    """A customer who got so many messages that the first one is not in their state any more; its id."""
    play = consented()
    play.identify("1s", consent={"marketing": ["email"]})
    for minute in range(SENT_MAX + 1):
        assert asked(play, f"{minute + 1}m") == "queued"
    first = play.messages[0].id
    assert first not in {sent.id for sent in play.state().messages}
    return play, first


@pytest.mark.parametrize("outcome", ["complained", "unsubscribed"])
def test_an_objection_to_an_old_message_counts(outcome: str) -> None:
    """A feedback loop reports it with delay; whoever reports it knows what the message was for."""
    play, first = _forgotten()
    play.outcome("1d", outcome, message=first, purpose="marketing", channel="email")
    assert asked(play, "2d") == "suppressed unsubscribed"


def test_a_stop_told_about_an_old_message_counts_for_all_purposes_of_its_channel() -> None:
    """As about a new one."""
    play, first = _forgotten()
    play.outcome("1d", "unsubscribed", message=first, purpose="service", channel="email", verdict="opt_out")
    assert asked(play, "2d") == "suppressed unsubscribed"


def test_what_else_is_told_about_an_old_message_changes_nothing() -> None:
    """A click or a bounce of long ago is not a wish."""
    play, first = _forgotten()
    play.outcome("1d", "bounced", message=first, purpose="marketing", channel="email", verdict="suppress")
    assert asked(play, "2d") == "queued"
