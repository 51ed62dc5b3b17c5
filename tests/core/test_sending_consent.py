"""Consent (ADR 0006): who grants, asks, confirms and withdraws, and what each purpose needs."""

from __future__ import annotations

from engine.core.record import Event
from tests.core.stage import Play, workflow

A = "trigger: {event: A}"


def consented(purpose: str = "marketing", channel: str = "email", more: tuple[str, ...] = ()) -> Play:
    """A send on that channel for that purpose with each event A."""
    text = workflow(A, f"[{{send: {{channel: {channel}, template: t}}, id: mail}}]")
    play = Play(text.replace("transactional", purpose, 1), *more)
    play.identify("0s", email="a@b.example", phone="+491511234567")
    return play


def asked(play: Play, at: str) -> str:
    """The answer to a send at that time."""
    play.event(at, "A")
    return play.lines("send")[-1].split(" mail ")[1].split(" ", 1)[1]


def test_opt_in_needs_consent_for_its_purpose_and_channel() -> None:
    """Another channel's or purpose's does not serve."""
    play = consented()
    assert asked(play, "1s") == "suppressed no_consent"
    play.identify("2s", consent={"marketing": ["sms"], "service": ["email"]})
    assert asked(play, "3s") == "suppressed no_consent"
    play.identify("4s", consent={"marketing": ["email"]})
    assert asked(play, "5s") == "queued"
    assert play.state().traits == {"email": "a@b.example", "phone": "+491511234567"}


def test_a_list_of_channels_is_no_withdrawal_of_the_others() -> None:
    """Channels that are not named stay as they are."""
    play = consented()
    play.identify("1s", consent={"marketing": ["email"]})
    play.identify("2s", consent={"marketing": ["sms"]})
    assert asked(play, "3s") == "queued"


def test_a_request_counts_only_when_it_is_confirmed_where_double_opt_in_is_asked() -> None:
    """For other channels it is granted at once."""
    play = consented()
    play.identify("1s", consent_request={"marketing": ["email", "sms"]})
    assert asked(play, "2s") == "suppressed no_consent"
    assert play.state().consent["marketing"]["sms"].status == "granted"
    play.consent("3s", "confirm", {"marketing": ["email"]})
    assert asked(play, "4s") == "queued"


def test_a_request_does_not_undo_a_grant() -> None:
    """Who ticks the box again stays a subscriber."""
    play = consented()
    play.identify("1s", consent={"marketing": ["email"]})
    play.identify("2s", consent_request={"marketing": ["email"]})
    assert asked(play, "3s") == "queued"


def test_a_withdrawal_counts_at_once_and_an_old_link_does_not_undo_it() -> None:
    """`unsubscribed`; a new grant or a new double opt-in does."""
    play = consented()
    play.identify("1s", consent_request={"marketing": ["email"]})
    play.identify("2s", consent_withdraw={"marketing": ["email"]})
    play.consent("3s", "confirm", {"marketing": ["email"]})
    assert asked(play, "4s") == "suppressed unsubscribed"
    play.identify("5s", consent_request={"marketing": ["email"]})
    play.consent("6s", "confirm", {"marketing": ["email"]})
    assert asked(play, "7s") == "queued"


def test_the_newest_by_event_time_wins_whatever_came_last() -> None:
    """Also over several of the same kind: a second withdrawal is newer than a grant that arrives late."""
    play = consented()
    play.consent("1h", "withdraw", {"marketing": ["email"]})
    play.consent("3h", "withdraw", {"marketing": ["email"]})
    play.consent("4h", "grant", {"marketing": ["email"]}, time="2h")
    assert asked(play, "5h") == "suppressed unsubscribed"
    play.consent("6h", "grant", {"marketing": ["email"]})
    play.consent("8h", "grant", {"marketing": ["email"]})
    play.consent("9h", "withdraw", {"marketing": ["email"]}, time="7h")
    assert asked(play, "10h") == "queued"


def test_a_contract_needs_no_consent() -> None:
    """And a withdrawal of marketing does not touch it."""
    play = consented("transactional")
    play.consent("1s", "withdraw", {"marketing": ["email"], "transactional": ["email"]})
    assert asked(play, "2s") == "queued"


def test_an_existing_customer_bought_and_was_told_that_they_may_object() -> None:
    """The order alone does not do, and neither does the notice for another address; an objection beats both."""
    play = consented("service")
    assert asked(play, "1s") == "suppressed no_consent"
    play.event("2s", "Order Completed", {"total": 5})
    assert asked(play, "3s") == "suppressed no_consent"
    play.event("4s", "Order Completed", {"total": 5, "objection_notice": True})
    assert asked(play, "5s") == "queued"
    assert [one["records"][0]["basis"] for one in play.details("consent")] == ["existing_customer"]
    play.identify("6s", email="new@b.example")
    assert asked(play, "7s") == "suppressed no_consent"
    play.event("8s", "Order Completed", {"objection_notice": {"channels": ["email"], "wording": "You may object."}})
    assert asked(play, "9s") == "queued"
    assert play.details("consent")[-1]["proof"]["wording"] == "You may object."
    play.consent("10s", "withdraw", {"service": ["email"]})
    assert asked(play, "11s") == "suppressed unsubscribed"
    play.event("12s", "Order Completed", {"total": 5, "objection_notice": True})
    assert asked(play, "13s") == "suppressed unsubscribed"


def test_a_purchase_is_no_consent_to_marketing() -> None:
    """What rests on the exception serves no purpose that asks for consent, and consent is not weakened by it."""
    play = consented("marketing")
    play.consent("1s", "grant", {"marketing": ["email"]}, proof={"basis": "existing_customer"})
    play.event("2s", "Order Completed", {"objection_notice": True})
    assert asked(play, "3s") == "suppressed no_consent"
    play.identify("4s", consent={"marketing": ["email"]})
    assert asked(play, "5s") == "queued"


def test_a_newsletter_is_email() -> None:
    """Consent to e-mail serves; its own withdrawal is for the newsletter alone."""
    play = consented(channel="newsletter")
    play.identify("1s", consent={"marketing": ["email"]})
    assert asked(play, "2s") == "queued"
    play.consent("3s", "withdraw", {"marketing": ["newsletter"]})
    assert asked(play, "4s") == "suppressed unsubscribed"


def test_a_change_of_consent_is_an_event_that_workflows_can_use() -> None:
    """`Consent Requested` once with its channels; the others once a channel. Nothing new raises nothing."""
    requests = workflow("trigger: {event: Consent Requested}", "[{update: {asked: event.channels}}]", name="ask")
    grants = workflow("trigger: {event: Consent Confirmed}", "[{update: {got: event.channel}}]", name="got")
    play = consented("marketing", "email", (requests, grants))
    play.identify("1s", consent_request={"marketing": ["email"]})
    play.consent("2s", "confirm", {"marketing": ["email"]})
    play.consent("3s", "confirm", {"marketing": ["email"]})
    assert play.state().traits["asked"] == ["email"]
    assert play.state().traits["got"] == "email"
    raised = [record.name for record in play.log if isinstance(record, Event)]
    assert raised == ["Consent Requested", "Consent Confirmed"]
    assert [one["action"] for one in play.details("consent")] == ["request", "confirm"]


def test_consent_that_cannot_be_read_changes_nothing() -> None:
    """Whatever a shop sends; the intake refuses it, this only never fails."""
    play = consented()
    bad: list[object] = [None, 1, "email", [], {"marketing": 7}, {"marketing": [None, 3]}, {"": {}}]
    for index, value in enumerate(bad):
        play.identify(f"{index + 1}s", consent=value)
    assert asked(play, "20s") == "suppressed no_consent"
