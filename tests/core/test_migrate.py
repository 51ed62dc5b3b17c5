"""What a deploy does to people in flight: `pin`, `migrate`, `end`; and that nobody is lost on the way."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.journey import migrate
from engine.core.record import End, Recheck
from engine.definition.load import load_files
from tests.core.stage import POLICY, Play, workflow
from tests.properties import examples

if TYPE_CHECKING:
    from engine.core.catalog import Catalog
    from engine.core.journey.enrollment import Enrollment

TRIGGER = "trigger: {event: E}\nkey: event.k"
WAIT_3D = "- {id: pause, wait: 3d}\n- {id: mail, send: {channel: email, template: t, max_age: 1h}}"


def deployed(play: Play, at: str, *documents: str, versions: str = "pin", customer: str = "c1") -> Catalog:
    """Puts other workflows in force, knowing the versions so far, and rechecks the customer."""
    play.until(at)
    earlier = tuple(play.memory.catalog.versions.values())
    files = [
        (f"workflows/{name}.yaml", text.encode())
        for text in documents
        for name in [text.split("\n", 1)[0].removeprefix("workflow: ")]
    ]
    loaded = load_files([("workflows/policy.yaml", textwrap.dedent(POLICY).encode()), *files], extra_versions=earlier)
    assert loaded.catalog is not None, [str(problem) for problem in loaded.problems]
    play.memory.catalog = loaded.catalog
    recheck(play, at, versions=versions, customer=customer)
    return loaded.catalog


def recheck(play: Play, at: str, *, versions: str, customer: str = "c1", catalog: str = "") -> None:
    """Asks again what the deploy says."""
    catalog = catalog or play.memory.catalog.id
    play.record(Recheck(customer=customer, at_ms=play.at_ms(at), id=play.next_id(), catalog=catalog, versions=versions))


def entered(head: str, steps: str) -> Play:
    """Somebody with an address who entered `w` at the start."""
    play = Play(workflow(f"{TRIGGER}\n{head}", steps))
    play.identify("0s", email="ana@shop.example")
    play.event("0s", "E", {"k": "a"})
    return play


def run_of(play: Play) -> Enrollment:
    """The only enrollment."""
    [run] = play.state().enrollments
    return run


def moved(play: Play) -> list[str]:
    """What the journal says about moves and ends."""
    return play.lines("migrated", "not_migrated", "completed", "exited", "failed", "send")


def test_a_pinned_run_finishes_on_its_version() -> None:
    """The default: neither the run nor the journal changes, and the old wait counts."""
    play = entered("", WAIT_3D)
    before = run_of(play)
    deployed(play, "1h", workflow(TRIGGER, "[{id: pause, wait: 1h}]"))
    assert run_of(play) == before
    play.until("4d")
    assert moved(play) == ["3d send w mail email queued", "3d completed w"]


def test_a_shorter_wait_that_is_over_goes_on_at_once() -> None:
    """Two days of three are gone when the wait becomes one hour: the mail leaves now, and is not too late for it."""
    play = entered("max_age: 1h", "- {id: pause, wait: 3d}\n- {id: mail, send: {channel: email, template: t}}")
    steps = "- {id: pause, wait: 1h}\n- {id: mail, send: {channel: email, template: t}}"
    new = deployed(play, "2d", workflow(f"{TRIGGER}\nmax_age: 1h", steps), versions="migrate")
    assert moved(play) == ["2d migrated w pause", "2d send w mail email queued", "2d completed w"]
    [decision] = play.decisions("migrated")
    assert decision.version == new.workflows["w"].version
    assert decision.detail == {"from_version": play.decisions("entered")[0].version}


@pytest.mark.parametrize(("wait", "due"), [("2d", "2d"), ("5d", "5d"), ("{for: 3d}", "3d")])
def test_another_length_counts_from_the_beginning_of_the_wait(wait: str, due: str) -> None:
    """A shorter wait that is not over ends earlier, a longer one later."""
    play = entered("", WAIT_3D)
    deployed(play, "1d", workflow(TRIGGER, f"[{{id: pause, wait: {wait}}}]"), versions="migrate")
    assert play.due() == due


def test_a_wait_that_was_started_again_counts_from_there() -> None:
    """What restarted the wait is its beginning."""
    play = entered("", "[{id: pause, wait: {for: 3d, restart_on: {event: F}}}]")
    play.event("1d", "F")
    deployed(play, "2d", workflow(TRIGGER, "[{id: pause, wait: 2d}]"), versions="migrate")
    assert play.due() == "3d"


def test_a_wait_for_a_time_of_day_is_asked_anew() -> None:
    """A local time is the next one from the deploy on, never one that has passed; the same words keep their moment."""
    play = entered("", '[{id: pause, wait: {until: "friday 10:00"}}]')
    deployed(play, "1d", workflow(TRIGGER, '[{id: pause, wait: {until: "friday 10:00"}}, exit: x]'), versions="migrate")
    assert play.due() == "4d1h"
    deployed(play, "2d", workflow(TRIGGER, '[{id: pause, wait: {until: "tuesday 10:00"}}]'), versions="migrate")
    assert play.due() == "8d1h"


def test_a_waiting_step_that_is_gone_is_named_in_map() -> None:
    """Without a name the run stays on its version and the journal says so; with one it goes on there."""
    play = entered("", WAIT_3D)
    old = run_of(play).version
    deployed(play, "1h", workflow(TRIGGER, "[{id: rest, wait: 5d}]"), versions="migrate")
    assert run_of(play).version == old
    assert moved(play) == [
        "1h not_migrated w pause that step does not wait in the current version, and `map:` does not name it"
    ]
    deployed(play, "2h", workflow(f"{TRIGGER}\nmap: {{pause: rest}}", "[{id: rest, wait: 5d}]"), versions="migrate")
    assert (run_of(play).step, play.due()) == ("rest", "5d")
    assert play.details("migrated")[0]["from_step"] == "pause"


def test_a_step_that_no_longer_waits_is_gone_too() -> None:
    """Who waited does not find himself in a message that happens to have the same id; `map:` may lead to one on purpose."""
    play = entered("", "[{id: a, wait: 3d}]")
    steps = "- {id: a, send: {channel: email, template: t}}\n- {id: b, send: {channel: email, template: t}}"
    deployed(play, "1h", workflow(TRIGGER, steps), versions="migrate")
    assert [line.split()[1] for line in moved(play)] == ["not_migrated"]
    deployed(play, "2h", workflow(f"{TRIGGER}\nmap: {{a: b}}", steps), versions="migrate")
    assert moved(play)[1:] == ["2h migrated w b", "2h send w b email queued", "2h completed w"]


def test_a_wait_for_what_has_come_already_goes_on() -> None:
    """A new arm that would let somebody pass who arrives now lets who waits pass as well."""
    head = "- {id: m, send: {channel: email, template: t}}\n"
    play = entered("", head + "- {id: w, wait_for: {event: X, timeout: 9d, otherwise: []}}")
    play.outcome("1h", "clicked", "m")
    arm = "- {id: w, wait_for: {outcome: clicked, of: m, timeout: 9d, then: [{exit: clicked}], otherwise: []}}"
    deployed(play, "1d", workflow(TRIGGER, head + arm), versions="migrate")
    assert moved(play)[-2:] == ["1d migrated w w", "1d exited w clicked"]


def test_a_loop_keeps_its_round_under_its_new_id() -> None:
    """Two of three rounds are done; under another id and another pause the third is the last."""
    body = "every: 2d, steps: [{id: m, send: {channel: email, template: t}}]"
    play = entered("", f"[{{id: loop, repeat: {{times: 3, {body}}}}}]")
    play.until("3d")
    new = body.replace("2d", "3d")
    deployed(
        play,
        "3d",
        workflow(f"{TRIGGER}\nmap: {{loop: again}}", f"[{{id: again, repeat: {{times: 3, {new}}}}}]"),
        versions="migrate",
    )
    assert play.due() == "5d"
    play.until("30d")
    assert [line.split()[0] for line in play.lines("send")] == ["0s", "2d", "5d"]
    assert len({message.id for message in play.messages}) == 3
    assert play.lines("completed") == ["5d completed w"]


def test_a_failed_run_moves_and_its_retry_uses_the_new_version() -> None:
    """Mend the step, deploy with `migrate`, retry: what failed goes on with the mended step."""
    play = entered("", "[{id: u, update: {x: customer.email + 1}}, {wait: 1h}]")
    assert run_of(play).failed
    deployed(play, "1h", workflow(TRIGGER, "[{id: u, update: {x: '1'}}, {wait: 1h}]"), versions="migrate")
    assert run_of(play).failed
    play.retry("2h")
    assert (run_of(play).failed, play.due()) == ("", "3h")


def test_end_exits_as_superseded_and_withdraws_what_is_held() -> None:
    """Older runs end; who entered since is untouched, and ending them again does nothing."""
    play = entered("", WAIT_3D)
    new = workflow(TRIGGER, "[{id: pause, wait: 9d}]")
    deployed(play, "1h", new)
    play.event("2h", "E", {"k": "b"})
    recheck(play, "3h", versions="end")
    assert play.lines("exited") == ["3h exited w superseded"]
    left = run_of(play)
    assert left.key == "b"
    recheck(play, "4h", versions="end")
    assert run_of(play) == left


def test_a_workflow_that_is_gone() -> None:
    """Nothing to move to: `migrate` leaves people to finish, like `pin`; `end` ends them."""
    play = entered("", WAIT_3D)
    other = workflow("trigger: {event: Z}", name="other")
    deployed(play, "1h", other, versions="migrate")
    before = run_of(play)
    recheck(play, "2h", versions="pin")
    assert run_of(play) == before
    assert not moved(play)
    recheck(play, "3h", versions="end")
    assert moved(play) == ["3h exited w superseded"]


@pytest.mark.parametrize("said", ["pin", "migrate", "end"])
def test_what_the_file_says_goes_before_what_the_deploy_says(said: str) -> None:
    """`versions:` in a workflow's file is for that workflow; the deploy speaks for those that say nothing."""
    ends = {"pin": [], "migrate": ["migrated"], "end": ["exited"]}
    play = entered("", WAIT_3D)
    deployed(play, "1h", workflow(f"{TRIGGER}\nversions: migrate", "[{id: pause, wait: 4d}]"), versions=said)
    assert [line.split()[1] for line in moved(play)] == ["migrated"]
    play = entered("", WAIT_3D)
    deployed(play, "1h", workflow(TRIGGER, "[{id: pause, wait: 4d}]"), versions=said)
    assert [line.split()[1] for line in moved(play)] == ends[said]


def test_a_recheck_of_another_catalog_moves_nobody() -> None:
    """One that was still on its way when the next deploy came does not speak for that one."""
    play = entered("", WAIT_3D)
    deployed(play, "1h", workflow(TRIGGER, "[{id: pause, wait: 9d}]"))
    before = run_of(play)
    recheck(play, "2h", versions="end", catalog="another")
    assert run_of(play) == before


def test_neither_versions_nor_map_is_part_of_the_version() -> None:
    """What a deploy does with people is not what the workflow does: changing it alone makes nobody old."""
    plain = Play(workflow(TRIGGER, WAIT_3D)).memory.catalog.workflows["w"]
    said = Play(workflow(f"{TRIGGER}\nversions: migrate\nmap: {{x: pause}}", WAIT_3D)).memory.catalog.workflows["w"]
    assert plain.version == said.version
    assert (said.versions, said.step_map) == ("migrate", {"x": "pause"})


def test_map_names_steps_that_are_there() -> None:
    """A target that the workflow does not have is an error at its place, with the nearest one."""
    text = workflow(f"{TRIGGER}\nmap: {{a: pausse}}", WAIT_3D)
    loaded = load_files([("workflows/w.yaml", text.encode())])
    [problem] = [each for each in loaded.problems if each.severity == "error"]
    assert (problem.code, problem.line) == ("unknown-step", 5)
    assert "pause" in problem.message


# ------------------------------------------------------------------------------------------------------- properties

IDS = ("a", "b", "c", "d")
_WAITS = ("wait: 1h", "wait: 2d", 'wait: {until: "tuesday 10:00"}', "wait_for: {event: X, timeout: 3d, otherwise: []}")
_OTHERS = ("update: {x: '1'}", "send: {channel: email, template: t}", "exit: done", "update: {x: customer.email + 1}")
_LOOP = "repeat: {times: 3, every: 1d, steps: [{wait: 1h}]}"


@st.composite
def versions_of_w(draw: st.DrawFn) -> str:
    """Some steps under some of four ids, and a map between them."""
    ids = draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=4, unique=True))
    verbs = [draw(st.sampled_from((*_WAITS, *_OTHERS, _LOOP))) for _ in ids]
    steps = "\n".join(f"- {{id: {name}, {verb}}}" for name, verb in zip(ids, verbs, strict=True))
    named = draw(st.dictionaries(st.sampled_from(IDS), st.sampled_from(ids), max_size=2))
    mapped = "map: {" + ", ".join(f"{old}: {new}" for old, new in named.items()) + "}"
    return workflow(f"{TRIGGER}\n{mapped}", steps)


@st.composite
def in_flight(draw: st.DrawFn) -> Play:
    """People of up to three versions, wherever they have come to, and a newest version in force."""
    play = Play(draw(versions_of_w()))
    play.identify("0s", email="ana@shop.example")
    at = 0
    for number in range(draw(st.integers(1, 3))):
        if number:
            deployed(play, f"{at}h", draw(versions_of_w()))
        play.event(f"{at}h", "E", {"k": f"k{number}"})
        at += draw(st.integers(1, 80))
    deployed(play, f"{at}h", draw(versions_of_w()))
    return play


def said(play: Play, rule: str) -> tuple[dict[str, Enrollment], dict[str, Enrollment], set[str]]:
    """Enrollments before and after a deploy that says so, and those that came to an end by it."""
    before = {run.id: run for run in play.state().enrollments}
    count = len(play.memory.decisions)
    now_ms = play.memory.clock.now_ms()
    play.memory.step(
        Recheck(customer="c1", at_ms=now_ms, id=play.next_id(), catalog=play.memory.catalog.id, versions=rule)
    )
    new = play.memory.decisions[count:]
    ended = {decision.enrollment for decision in new if decision.kind in ("exited", "completed")}
    return before, {run.id: run for run in play.state().enrollments}, ended


@settings(max_examples=examples(50))
@given(in_flight())
def test_pin_changes_nothing(play: Play) -> None:
    """No enrollment, no journal line, no message."""
    lines = len(play.memory.decisions)
    before, after, ended = said(play, "pin")
    assert (after, ended, len(play.memory.decisions)) == (before, set(), lines)


@settings(max_examples=examples(50))
@given(in_flight())
def test_migrate_loses_nobody_and_is_idempotent(play: Play) -> None:
    """Everybody is still there or came to an end by steps of the current version; who could not move is where they were; and
    saying it again changes nothing.
    """
    current = play.memory.catalog.workflows["w"]
    before, after, ended = said(play, "migrate")
    assert before.keys() == after.keys() | ended
    assert not after.keys() & ended
    for run in after.values():
        if run.version != current.version:
            assert run == before[run.id]
            assert run.step not in current.step_map
            continue
        assert run.step in current.ops
        assert run.due_ms or run.failed
        assert (run.entered_ms, run.key, run.event) == (
            before[run.id].entered_ms, before[run.id].key, before[run.id].event,
        )  # fmt: skip
    again, still, none = said(play, "migrate")
    assert (again, still, none) == (after, after, set())


@settings(max_examples=examples(50))
@given(in_flight())
def test_end_ends_all_old_ones_and_only_them(play: Play) -> None:
    """Who is on the current version stays exactly as they are."""
    current = play.memory.catalog.workflows["w"].version
    before, after, ended = said(play, "end")
    assert after == {key: run for key, run in before.items() if run.version == current}
    assert ended == before.keys() - after.keys()
    assert {each.detail["reason"] for each in play.decisions("exited")[-len(ended) :]} <= {"superseded", "done"}


@settings(max_examples=examples(50))
@given(in_flight(), st.sampled_from(migrate.VERSIONS))
def test_fate_tells_beforehand_what_happens(play: Play, rule: str) -> None:
    """The plan of a deploy asks the same function, so that it says what is done."""
    catalog = play.memory.catalog
    fates = {
        run.id: migrate.fate(catalog, "w", version=run.version, step=run.step, versions=rule)
        for run in play.state().enrollments
    }
    before, after, ended = said(play, rule)
    for key, fate in fates.items():
        match fate.kind:
            case "current" | "stays" | "stuck":
                assert after[key] == before[key]
            case "ends":
                assert key in ended
            case "moves":
                assert key in ended or after[key].version == catalog.workflows["w"].version
                told = [one for one in play.decisions("migrated") if one.enrollment == key]
                assert told[-1].step == fate.step


def test_an_operators_end_is_another_reason() -> None:
    """`End` still says its own reason; only a deploy says `superseded`."""
    play = entered("", WAIT_3D)
    play.record(End(customer="c1", at_ms=play.at_ms("1h"), id="e", reason="stopped", workflow="w"))
    assert moved(play) == ["1h exited w stopped"]


def test_old_rechecks_read_as_pin() -> None:
    """Rechecks on a log from before had two fields less to say."""
    plain = msgspec.msgpack.encode(["recheck", "c1", 1, 0, "id", "cat"])
    assert msgspec.msgpack.decode(plain, type=Recheck).versions == "pin"
