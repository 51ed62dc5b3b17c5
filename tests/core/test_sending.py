"""What is answered to a `send`: queued, held or suppressed, and for which reason of the closed list."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from engine.core.effect import REASONS
from engine.core.journey.sending import recheck
from engine.core.message import message_id, names
from engine.core.record import Pause
from tests.core.stage import POLICY, Play, workflow

A = "trigger: {event: A}"
MAIL = "[{send: {channel: email, template: t}, id: mail}]"
MANY = "[{send: {channel: [whatsapp, sms, email], template: t}, id: mail}]"
MARKETING = {"marketing": ["email", "sms", "newsletter"]}


def marketing(head: str = A, steps: str = MAIL) -> str:
    """A marketing workflow."""
    return workflow(head, steps).replace("transactional", "marketing", 1)


def answers(play: Play) -> list[str]:
    """The answers to all sends so far: channel, answer, reason."""
    return [line.split(" mail ", 1)[1] for line in play.lines("send")]


def test_a_queued_message_is_complete_and_has_the_documented_id() -> None:
    """Made of enrollment id, step id and occurrence, with the customer's salt; what a template needs is in it."""
    steps = (
        "[{wait: 1h}, {send: {channel: email, template: hi, from: shop, priority: 3, data: {n: event.n}}, id: mail}]"
    )
    play = Play(workflow(A + "\nmax_age: 2h", steps))
    play.identify("0s", email=" Ana@Example.com ", locale="de-AT", name="Ana")
    play.event("0s", "A", {"n": 5, "name": "thing"}, id="e1")
    play.until("1d")
    (message,) = play.messages
    assert message.id == message_id("w/c1/1", "mail", 0, salt=play.state().salt)
    assert (message.address, message.template, message.sender, message.priority, message.locale) == (
        "Ana@Example.com",
        "hi",
        "shop",
        3,
        "de-AT",
    )
    assert (message.due_ms, message.deadline_ms) == (play.at_ms("1h"), play.at_ms("3h"))
    shown = names(message)
    assert shown["customer"] == {
        "email": "Ana@Example.com",
        "locale": "de-AT",
        "name": "Ana",
        "id": "c1",
        "segments": [],
    }
    assert shown["data"] == {"n": 5}
    assert shown["event"]["name"] == "A"
    assert shown["event"]["properties"]["name"] == "thing"
    assert shown["enrollment"]["event"]["n"] == 5
    assert shown["enrollment"]["entered_at"] == "2026-03-02T09:00:00Z"


def test_event_in_a_template_is_the_record_that_led_here_else_the_trigger_event() -> None:
    """After a `wait_for` the event that was waited for; after a timer the trigger event."""
    steps = "[{wait_for: {event: B, timeout: 1h}}, {send: {channel: email, template: t}, id: mail}]"
    play = Play(workflow(A, steps))
    for customer in ("c1", "c2"):
        play.identify("0s", customer=customer, email="a@b.example")
        play.event("0s", "A", {"n": 1}, customer=customer)
    play.event("1m", "B", {"properties": [1], "n": 2})
    play.until("2h")
    shown = [names(message) for message in play.messages]
    assert [one["event"]["name"] for one in shown] == ["B", "A"]
    assert shown[0]["event"]["n"] == 2
    assert shown[0]["enrollment"]["event"]["n"] == 1


@pytest.mark.parametrize("address", [None, "", "  ", "nobody", 7, "a b@c.example", "@b.example", "a@", "x\n@b.example"])
def test_what_cannot_be_an_address_is_none(address: object) -> None:
    """`no_address`; the syntax proper is the adapter's to judge."""
    play = Play(workflow(A, MAIL))
    play.identify("0s", email=address)
    play.event("0s", "A")
    assert answers(play) == ["email suppressed no_address"]


def test_to_takes_the_address_from_an_expression() -> None:
    """In place of the customer's own."""
    play = Play(workflow(A, "[{send: {channel: email, template: t, to: event.buyer}, id: mail}]"))
    play.identify("0s", email="a@b.example")
    play.event("0s", "A", {"buyer": "x@y.example"})
    play.event("1s", "A")
    assert [message.address for message in play.messages] == ["x@y.example"]
    assert answers(play) == ["email queued", "email suppressed no_address"]


def test_the_run_goes_on_whatever_the_answer() -> None:
    """A send is never waited for."""
    play = Play(marketing())
    play.event("0s", "A")
    assert play.lines("send", "completed") == ["0s send w mail email suppressed no_address", "0s completed w"]


def test_the_first_usable_channel_of_a_list_is_taken() -> None:
    """By address, consent and suppression."""
    play = Play(marketing(steps=MANY))
    play.identify("0s", email="a@b.example", phone="+491511234567", consent={"marketing": ["email"]})
    play.event("0s", "A")
    play.consent("1s", "grant", {"marketing": ["whatsapp"]})
    play.event("2s", "A")
    assert answers(play) == ["email queued", "whatsapp queued"]


def test_if_no_channel_is_usable_the_reason_is_that_of_the_first_with_an_address() -> None:
    """Without any address: `no_address`."""
    play = Play(marketing(steps=MANY))
    play.event("0s", "A")
    play.identify("1s", email="a@b.example")
    play.consent("1s", "withdraw", {"marketing": ["email"]})
    play.event("2s", "A")
    play.identify("3s", phone="+491511234567")
    play.event("4s", "A")
    assert answers(play) == [
        "whatsapp suppressed no_address",
        "email suppressed unsubscribed",
        "whatsapp suppressed no_consent",
    ]


def test_a_late_timer_makes_a_send_too_late_by_its_due_time() -> None:
    """Later than `max_age` after it was due; exactly that is in time. The send's own `max_age` beats the workflow's."""
    steps = """
    - wait: 1h
    - {send: {channel: email, template: t}, id: mail}
    - {send: {channel: email, template: t, max_age: 4h}, id: patient}
    """
    for at, expected in (("3h", ["queued", "queued"]), ("3h1s", ["suppressed too_late", "queued"])):
        play = Play(workflow(A + "\nmax_age: 2h", steps))
        play.identify("0s", email="a@b.example")
        play.event("0s", "A")
        play.late_timer(at)
        assert [line.split(" email ")[1] for line in play.lines("send")] == expected


def test_a_paused_workflow_sends_nothing_and_its_runs_go_on() -> None:
    """`workflow_paused`, also for what was held."""
    play = Play(workflow(A, "[{wait: 1h}, {send: {channel: email, template: t}, id: mail}]"))
    play.identify("0s", email="a@b.example")
    play.event("0s", "A")
    play.record(Pause(customer="", at_ms=play.at_ms("1m"), id="p", workflow="w"))
    play.until("1d")
    assert play.lines("send", "completed") == ["1h send w mail email suppressed workflow_paused", "1h completed w"]


def test_in_the_sandbox_nothing_leaves() -> None:
    """`sandbox`."""
    play = Play(workflow(A, MAIL))
    play.memory.catalog = msgspec.structs.replace(play.memory.catalog, sandbox=True)
    play.identify("0s", email="a@b.example")
    play.event("0s", "A")
    assert answers(play) == ["email suppressed sandbox"]


def test_the_second_question_asks_again_just_before_a_message_leaves() -> None:
    """Consent, suppression, lateness, pause and sandbox; minutes may have passed."""
    play = Play(marketing(A + "\nmax_age: 1h"))
    play.identify("0s", email="a@b.example", consent=MARKETING)
    play.event("0s", "A")
    (message,) = play.messages
    catalog = play.memory.catalog

    def asked(at: str) -> str:
        return recheck(play.memory.catalog, play.memory.states.get("c1"), message, now_ms=play.at_ms(at))

    assert asked("5m") == ""
    assert asked("1h1s") == "too_late"
    play.memory.catalog = msgspec.structs.replace(catalog, sandbox=True)
    assert asked("5m") == "sandbox"
    play.memory.catalog = msgspec.structs.replace(catalog, paused=frozenset({"w"}))
    assert asked("5m") == "workflow_paused"
    play.memory.catalog = catalog
    play.outcome("6m", "complained", "mail")
    assert asked("7m") == "suppressed_address"
    play.consent("8m", "withdraw", {"marketing": ["email"]})
    play.identify("8m", email="new@b.example")
    assert asked("9m") == "suppressed_address"
    play.memory.states.clear()
    assert asked("9m") == "no_address"
    assert {"too_late", "sandbox", "workflow_paused", "suppressed_address", "no_address"} <= set(REASONS)


# -- fallback_on -------------------------------------------------------------------------------------------------------

CHAIN = "[{send: {channel: [email, sms, whatsapp], template: t, fallback_on: [bounced]}, id: mail}]"


def test_a_bounce_tries_the_next_channels_one_after_the_other() -> None:
    """Each once, with an id of its own that is always the same."""
    ids = []
    for _ in range(2):
        play = Play(workflow(A, CHAIN))
        play.identify("0s", email="a@b.example", phone="+491511234567")
        play.event("0s", "A")
        play.outcome("1m", "bounced", message=play.messages[0].id)
        play.outcome("2m", "bounced", message=play.messages[0].id)
        play.outcome("3m", "bounced", message=play.messages[1].id)
        play.outcome("4m", "bounced", message=play.messages[2].id)
        assert play.lines("send") == [
            "0s send w mail email queued",
            "1m send w mail sms queued",
            "3m send w mail whatsapp queued",
        ]
        ids.append([message.id for message in play.messages])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3


def test_an_outcome_that_is_not_asked_for_tries_nothing() -> None:
    """Only what `fallback_on` names; `undelivered` means all of them."""
    for wanted, expected in (("[failed]", 1), ("[undelivered]", 2)):
        play = Play(workflow(A, CHAIN.replace("[bounced]", wanted)))
        play.identify("0s", email="a@b.example", phone="+491511234567")
        play.event("0s", "A")
        play.outcome("1m", "bounced", "mail")
        assert len(play.messages) == expected


def test_a_fallback_is_asked_like_any_message() -> None:
    """Too late is too late, and a run that an exit rule ended tries nothing more."""
    head = A + "\nmax_age: 1h\nexit: [{event: B, as: bought}]"
    play = Play(workflow(head, CHAIN[:-1] + ", {wait: 1d}]"))
    for customer in ("c1", "c2"):
        play.identify("0s", customer=customer, email="a@b.example", phone="+491511234567")
        play.event("0s", "A", customer=customer)
    play.outcome("2h", "bounced", "mail")
    play.event("2h", "B", customer="c2")
    play.outcome("3h", "bounced", "mail", customer="c2")
    assert play.lines("send")[1:] == ["2h send w mail sms suppressed too_late"]
    assert play.lines("send", customer="c2") == ["0s send w mail email queued"]


# -- quiet hours -------------------------------------------------------------------------------------------------------

QUIET = POLICY + "quiet_hours: [{channels: [sms], between: '20:00-08:00', days: [sunday], %s}]\n"
SMS = "[{send: {channel: sms, template: t%s}, id: mail}]"


def quiet_play(then: str = "then: hold", override: str = "", head: str = A) -> Play:
    """An SMS at 21:00 (12h after the start), in quiet hours."""
    play = Play(workflow(head, SMS % override), policy=QUIET % then)
    play.identify("0s", phone="+491511234567")
    play.event("12h", "A")
    return play


def test_a_message_is_held_until_the_quiet_hours_end() -> None:
    """And listed again when it is released."""
    play = quiet_play()
    play.until("3d")
    assert play.lines("send") == ["12h send w mail sms held quiet_hours", "23h send w mail sms queued"]
    assert play.details("send")[0]["until"] == "2026-03-03T08:00:00Z"


def test_other_channels_and_purposes_are_not_quiet() -> None:
    """Where the rule names them."""
    policy = POLICY + "quiet_hours: [{channels: [sms], purposes: [marketing], between: '20:00-08:00'}]\n"
    play = Play(workflow(A, SMS % ""), policy=policy)
    play.identify("0s", phone="+491511234567")
    play.event("12h", "A")
    assert answers(play) == ["sms queued"]


def test_nights_and_quiet_days_are_one_stretch() -> None:
    """Saturday night to Monday morning."""
    play = Play(workflow(A, SMS % ""), policy=QUIET % "then: hold", start="2026-03-07T21:00:00Z")
    play.identify("0s", phone="+491511234567")
    play.event("0s", "A")
    assert play.details("send")[0]["until"] == "2026-03-09T08:00:00Z"


def test_drop_and_the_sends_own_wish() -> None:
    """`quiet_hours` of a send beats what the policy does by default, both ways."""
    assert answers(quiet_play("then: drop")) == ["sms suppressed quiet_hours_dropped"]
    assert answers(quiet_play("then: hold", ", quiet_hours: drop")) == ["sms suppressed quiet_hours_dropped"]
    assert answers(quiet_play("then: drop", ", quiet_hours: hold")) == ["sms held quiet_hours"]
    assert answers(quiet_play("then: drop", ", quiet_hours: ignore")) == ["sms queued"]


def test_a_hold_that_would_end_after_max_age_is_too_late_at_once() -> None:
    """No wait for nothing."""
    assert answers(quiet_play(head=A + "\nmax_age: 10h")) == ["sms suppressed too_late"]
    assert answers(quiet_play(head=A + "\nmax_age: 11h")) == ["sms held quiet_hours"]


def test_releases_are_spread_by_the_id_of_the_message() -> None:
    """Within `spread` after the end, and not all at once."""
    play = Play(workflow(A, SMS % ""), policy=QUIET % "spread: 30m")
    for number in range(30):
        play.identify("0s", customer=f"p{number}", phone="+491511234567")
        play.event("12h", "A", customer=f"p{number}")
    play.until("3d")
    released = [one.at_ms for one in play.memory.decisions if one.detail.get("answer") == "queued"]
    assert len(released) == 30
    assert len(set(released)) > 20
    assert play.at_ms("23h") <= min(released) < max(released) < play.at_ms("23h30m")


def test_a_withdrawal_while_a_message_is_held_counts() -> None:
    """Asked again at the release."""
    policy = POLICY + "quiet_hours: [{between: '20:00-08:00'}]\n"
    play = Play(marketing(), policy=policy)
    play.identify("0s", email="a@b.example", consent=MARKETING)
    play.event("12h", "A")
    play.consent("13h", "withdraw", {"marketing": ["email"]})
    play.until("3d")
    assert answers(play) == ["email held quiet_hours", "email suppressed unsubscribed"]


def test_holidays_are_those_of_the_customers_country_else_the_projects() -> None:
    """3 March 2026 is a holiday somewhere."""
    policy = POLICY + "quiet_hours: [{channels: [sms], days: [holidays]}]\n"
    play = Play(workflow(A, SMS % ""), policy=policy)
    days = {"DE": frozenset({dt.date(2026, 3, 3)}), "": frozenset({dt.date(2026, 3, 4)})}
    play.memory.catalog = msgspec.structs.replace(play.memory.catalog, holidays=days)
    play.identify("0s", phone="+491511234567", country="de")
    play.identify("0s", customer="c2", phone="+491511234567", country="ZZ")
    for customer in ("c1", "c2"):
        play.event("1d", "A", customer=customer)
    play.until("10d")
    assert play.lines("send") == ["1d send w mail sms held quiet_hours", "1d14h send w mail sms queued"]
    assert play.lines("send", customer="c2") == ["1d send w mail sms queued"]
