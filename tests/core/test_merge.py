"""Two ids turn out to be one person."""

from __future__ import annotations

import msgspec

from engine.core.effect import Append
from engine.core.evaluate import evaluate
from engine.core.record import Erase, Event, Merge, Timer
from tests.core.stage import ENDS, Play, all_absorbed, workflow

A = "trigger: {event: A}"


def test_the_newest_trait_wins_also_when_it_was_removed() -> None:
    """By event time, whoever had it."""
    play = Play(workflow(A))
    play.identify("0s", customer="anon", x="anon old", y="anon", gone="anon")
    play.identify("1s", customer="c1", x="c1 new", gone="c1", z="c1")
    play.identify("2s", customer="anon", y="anon new", gone=None)
    play.merge("3s", "anon", into="c1")
    assert play.state().traits == {"x": "c1 new", "y": "anon new", "z": "c1"}


def test_the_newest_consent_wins() -> None:
    """A withdrawal of the one holds for both."""
    play = Play(workflow(A))
    play.identify("0s", email="a@b.example", phone="+4915112345678")
    play.consent("0s", "grant", {"marketing": ["email", "sms"]}, customer="c1")
    play.consent("1s", "withdraw", {"marketing": ["email"]}, customer="anon")
    play.merge("2s", "anon", into="c1")
    channels = play.state().consent["marketing"]
    assert {name: granted.status for name, granted in channels.items()} == {"email": "withdrawn", "sms": "granted"}


def test_consent_of_two_ids_stands_as_if_all_had_been_said_of_one() -> None:
    """A purchase undoes no objection of the other id, a request takes no consent away, and at the same moment no beats yes."""
    for mine, theirs, stands in (
        (("withdraw", "1s", ""), ("grant", "2s", "existing_customer"), "withdrawn"),
        (("grant", "2s", "existing_customer"), ("withdraw", "1s", ""), "withdrawn"),
        (("grant", "1s", ""), ("grant", "2s", "existing_customer"), "granted consent"),
        (("grant", "1s", ""), ("request", "2s", ""), "granted consent"),
        (("request", "2s", ""), ("grant", "1s", ""), "granted consent"),
        (("request", "1s", ""), ("grant", "2s", "existing_customer"), "requested"),
        (("withdraw", "2s", ""), ("grant", "1s", "contract"), "withdrawn"),
        (("withdraw", "1s", ""), ("grant", "2s", "contract"), "withdrawn"),
        (("withdraw", "1s", ""), ("request", "2s", ""), "requested consent"),
        (("grant", "1s", ""), ("withdraw", "1s", ""), "withdrawn"),
        (("withdraw", "1s", ""), ("grant", "2s", ""), "granted consent"),
    ):
        play = Play(workflow(A))
        for customer, (action, at, basis) in sorted((("c1", mine), ("anon", theirs)), key=lambda each: each[1][1]):
            proof = {"address": "a@b.example", **({"basis": basis} if basis else {})}
            play.consent(at, action, {"marketing": ["email"]}, customer=customer, proof=proof)
        play.merge("3s", "anon", into="c1")
        consent = play.state().consent["marketing"]["email"]
        assert f"{consent.status} {consent.basis}".startswith(stands), (mine, theirs)


def test_consent_that_names_no_address_does_not_pass_to_the_other_ids_address() -> None:
    """A state of before consent was bound: it belongs to the address that it was given with."""
    play = Play(workflow(A))
    play.identify("0s", customer="anon", email="old@b.example", consent={"marketing": ["email"]})
    state = play.state("anon")
    state.consent = {"marketing": {"email": msgspec.structs.replace(state.consent["marketing"]["email"], address="")}}
    play.identify("1s", email="mine@b.example")
    play.merge("2s", "anon", into="c1")
    assert play.state().traits["email"] == "mine@b.example"
    assert play.state().consent["marketing"]["email"].address == "old@b.example"


def test_what_was_counted_is_counted_together_and_moves_segments() -> None:
    """Two views here and one there are three."""
    play = Play("segments:\n  keen: {where: count('View') >= 3}\n", workflow("trigger: {segment: keen}", "[]"))
    play.event("0s", "View", customer="anon")
    play.event("1s", "View", customer="anon")
    play.event("2s", "View")
    play.merge("3s", "anon", into="c1")
    assert play.lines("segment_entered", "entered") == ["3s segment_entered keen", "3s entered w"]


def test_runs_go_on_with_the_customer_that_stays() -> None:
    """With the ids they have, and their waits; nothing is pending at the id that went."""
    play = Play(workflow(A, "[{wait: 1d}, {send: {channel: email, template: t}, id: mail}]"))
    play.event("0s", "A", customer="anon")
    play.identify("1s", email="a@b.example")
    play.merge("1h", "anon", into="c1")
    assert play.due("anon") == ""
    play.until("2d")
    assert play.lines("send", "completed") == ["1d send w mail email queued", "1d completed w"]
    assert play.messages[0].enrollment == "w/anon/1"
    assert play.messages[0].customer == "c1"


def test_where_both_run_the_same_the_survivors_run_goes_on() -> None:
    """Whatever the ordinals of the two are; other keys go on side by side."""
    play = Play(workflow(A, name="plain"), workflow("trigger: {event: B}\nkey: event.k", name="keyed"))
    play.event("0s", "A")
    play.until("2h")
    play.event("2h", "A")
    play.event("2h", "A", customer="anon")
    for customer, keys in (("c1", "ab"), ("anon", "bc")):
        for key in keys:
            play.event("2h", "B", {"k": key}, customer=customer)
    play.merge("2h1m", "anon", into="c1")
    assert sorted(run.id for run in play.state().enrollments) == [
        "keyed/anon/c",
        "keyed/c1/a",
        "keyed/c1/b",
        "plain/c1/2",
    ]
    assert [one.enrollment for one in play.decisions("exited")] == ["plain/anon/1", "keyed/anon/b"]


def test_reentry_counts_the_entries_of_both() -> None:
    """The newest of a key, whoever had it."""
    play = Play(workflow("trigger: {event: A}\nkey: event.k\nreentry: after 10d", "[]"))
    play.event("0s", "A", {"k": 1})
    play.event("5d", "A", {"k": 1}, customer="anon")
    play.merge("6d", "anon", into="c1")
    play.event("11d", "A", {"k": 1})
    play.event("15d", "A", {"k": 1})
    assert play.lines("entered", "not_entered") == [
        "0s entered w",
        "11d not_entered w reentry",
        "15d entered w",
    ]


def test_messages_that_are_held_and_fallbacks_move_too() -> None:
    """A held one is released at its time, and a bounce of an earlier message finds its next channel."""
    policy = "policy: p\npurposes: {}\nquiet_hours: [{channels: [voice], between: '20:00-08:00'}]\n"
    steps = """
    - {send: {channel: voice, template: t}, id: call}
    - {send: {channel: [email, sms], template: t, fallback_on: [bounced]}, id: mail}
    """
    play = Play(workflow(A, steps), policy=policy)
    play.identify("0s", customer="anon", email="a@b.example", phone="+491511234567")
    play.event("12h", "A", customer="anon")
    play.merge("13h", "anon", into="c1")
    play.outcome("14h", "bounced", "mail", customer="anon")
    play.until("2d")
    assert play.lines("send") == ["14h send w mail sms queued", "23h send w call voice queued"]
    assert [message.customer for message in play.messages] == ["anon", "c1", "c1"]


def test_what_comes_later_for_the_old_id_is_the_customers() -> None:
    """Whatever kind of record it is; what was applied before is still a duplicate."""
    play = Play(workflow(A, "[{update: {n: count('A')}}]"))
    play.event("0s", "A", customer="anon", id="e1")
    play.merge("1s", "anon", into="c1")
    play.event("2s", "A", customer="anon", id="e1")
    play.event("3s", "A", customer="anon", id="e2")
    play.event("4s", "A", customer="c1", id="e1")
    assert play.state().traits["n"] == 2
    assert play.lines("entered") == ["3s entered w"]
    assert play.lines(*ENDS, customer="anon") == ["0s entered w", "0s completed w"]


def test_a_chain_of_merges_is_followed() -> None:
    """From the first id to the last."""
    play = Play(workflow(A))
    play.identify("0s", customer="a", x=1)
    play.merge("1s", "a", into="b")
    play.merge("2s", "b", into="c1")
    play.event("3s", "A", customer="a")
    assert play.state().traits == {"x": 1}
    assert play.lines("entered") == ["3s entered w"]


def test_a_circle_of_merges_comes_to_an_end() -> None:
    """Somebody lives on, with everything."""
    play = Play(workflow(A))
    play.identify("0s", customer="a", x=1)
    play.identify("0s", customer="b", y=2)
    play.merge("1s", "a", into="b")
    play.merge("2s", "b", into="a")
    alive = [state for state in play.memory.states.values() if not state.merged_into]
    assert [state.traits for state in alive] == [{"x": 1, "y": 2}]
    play.event("3s", "A", customer="a")
    play.event("4s", "A", customer="b")
    assert len([one for one in play.memory.decisions if one.kind == "entered"]) == 1
    assert len([record for record in play.log if isinstance(record, Event)]) <= 4


def test_merging_twice_or_into_oneself_changes_nothing() -> None:
    """Only the first one sends a state on."""
    play = Play(workflow(A))
    play.identify("0s", x=1)
    play.merge("1s", "c1", into="c1")
    play.identify("0s", customer="anon", y=1)
    play.merge("2s", "anon", into="c1")
    play.merge("3s", "anon", into="c1")
    assert len(all_absorbed(play.log)) == 1
    assert play.state().traits == {"x": 1, "y": 1}


def test_nothing_stirs_at_the_id_that_went() -> None:
    """Not even when an old timer fires under a new catalog."""
    play = Play("segments:\n  fresh: {where: count('A') == 0}\n", workflow("trigger: {segment: fresh}"))
    play.identify("0s", customer="anon", x=1)
    play.merge("1s", "anon", into="c1")
    before = len(play.memory.decisions)
    state = play.state("anon")
    state.catalog = "an older one"
    play.memory.step(Timer(customer="anon", at_ms=play.at_ms("1h"), due_ms=play.at_ms("1h")))
    assert len(play.memory.decisions) == before


def test_erasing_a_customer_erases_every_id_they_had() -> None:
    """The anonymous id's state is forgotten with the customer, whichever of the ids is named."""
    for named in ("ana", "anonymous-1"):
        play = Play(workflow(A))
        play.event("0s", "A", customer="anonymous-1")
        play.merge("1m", "anonymous-1", into="ana")
        play.identify("2m", customer="ana", first_name="Ana")
        assert {"ana", "anonymous-1"} <= play.memory.states.keys()
        play.record(Erase(customer=named, at_ms=play.at_ms("3m"), id="erase"))
        assert play.memory.states == {}, named


def test_ids_that_point_at_each_other_do_not_send_a_record_round_for_ever() -> None:
    """Found by a generated history: `b` was merged away before, so nothing came back that would have ended the circle."""
    play = Play(workflow(A))
    play.merge("0s", "b", into="c")
    play.merge("1s", "a", into="b")
    play.merge("2s", "b", into="a")
    play.event("3s", "A", customer="a")
    play.event("4s", "A", customer="b")
    answered = [one.customer for one in play.memory.decisions if one.kind in ("entered", "not_entered")]
    assert len(answered) == 2, "both events were applied, each once"
    assert len(set(answered)) == 1, "to one and the same person"


def test_who_stands_by_themselves_again_after_a_crossing_does_not_count_from_one() -> None:
    """On two partitions `a` into `b` and `b` into `a` can leave at the same time: the states change places, the ids must not."""
    play = Play(workflow(A, "[]"))
    play.identify("0s", customer="a", x=1)
    play.event("0s", "A", customer="b")
    known = play.memory.states
    left = {
        name: evaluate(play.memory.catalog, known[name], Merge(customer=name, at_ms=1_000, id=f"m{name}", into=into))
        for name, into in (("a", "b"), ("b", "a"))
    }
    for _, effects in left.values():
        [sent] = [each.record for each in effects if isinstance(each, Append)]
        arrived, _ = evaluate(play.memory.catalog, left[sent.customer][0], sent)
        assert arrived is not None
        assert not arrived.merged_into
        known[sent.customer] = arrived
    play.event("3s", "A", customer="b")
    entered = [each.enrollment for each in play.memory.decisions if each.kind == "entered"]
    assert entered == ["w/b/1", "w/b/2"]
