"""Follow-ups: what their events write, and how a list is gathered from journal lines in any order."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.core.effect import Decision
from engine.core.evaluate import evaluate
from engine.core.journey.task import FollowUp, gather
from engine.core.record import Event
from tests.conformance.shop import T0, catalog


def _lines(*events: Event) -> list[Decision]:
    state, lines = None, []
    for event in events:
        state, effects = evaluate(catalog(), state, event)
        lines += [effect for effect in effects if isinstance(effect, Decision)]
    return lines


def _event(name: str, number: int = 0, **properties: Any) -> Event:
    return Event(customer="ana", at_ms=T0 + number, id=f"{name}{number}", name=name, time_ms=T0, properties=properties)


def test_events_about_tasks_write_lines_though_no_workflow_asks_for_them() -> None:
    """Opened, handed on, done: each line says what its event said, and an event without a task says nothing."""
    lines = _lines(
        _event("Task Opened", task="t1", title="Call Ana", queue="service", due="2026-04-01T10:00:00Z", extra="x", workflow="w"),
        _event("Task Assigned", 1, task="t1", assignee="bea"), _event("Task Completed", 2, task="t1", outcome="reached",
               note="ok"),
        _event("Task Completed", 3), _event("Task Completed", 4, task=7), _event("Task Opened", 5, task=""),
        _event("Task Opened", 6, task="x" * 101),
    )  # fmt: skip
    assert [(line.kind, line.detail) for line in lines] == [
        ("task", {"task": "t1", "title": "Call Ana", "queue": "service", "due": "2026-04-01T10:00:00Z"}),
        ("task_assigned", {"task": "t1", "assignee": "bea"}),
        ("task_done", {"task": "t1", "outcome": "reached", "note": "ok"}),
    ]
    assert lines[0].workflow == "w"
    [task] = gather(enumerate(lines)).values()
    assert task == FollowUp(
        id="t1", customer="ana", title="Call Ana", queue="service", assignee="bea", due_ms=1_775_037_600_000, workflow="w",
        opened_ms=T0, outcome="reached", answer="ok", done_ms=T0 + 2,
    )  # fmt: skip


def test_the_same_event_twice_writes_one_line() -> None:
    """As of every event: its id is known."""
    event = _event("Task Completed", task="t1", outcome="x")
    assert len(_lines(event, event)) == 1


def test_the_first_end_counts_and_overdue_means_open() -> None:
    """A task that is done stays so; one without a date is never overdue."""
    opened = Decision(
        at_ms=1, customer="a", kind="task", detail={"task": "t", "title": "x", "due": "1970-01-01T00:00:01Z"}
    )
    done = [
        Decision(at_ms=at, customer="a", kind="task_done", detail={"task": "t", "outcome": str(at)}) for at in (5, 6)
    ]
    tasks = gather([(1, opened)])
    assert [tasks["t"].is_overdue(now) for now in (999, 1_000, 1_001)] == [False, False, True]
    tasks = gather([(2, done[0]), (3, done[1])], tasks)
    assert (tasks["t"].outcome, tasks["t"].is_overdue(10_000)) == ("5", False)
    assert gather([(2, done[0])]) == {}


@given(
    st.lists(
        st.tuples(st.sampled_from(["task", "task_assigned", "task_done"]), st.sampled_from("abc"), st.text(max_size=4)),
        max_size=12,
    ),
    st.integers(0, 1000),
)
def test_a_list_does_not_depend_on_the_order_of_reading(lines: list[tuple[str, str, str]], seed: int) -> None:
    """Lines of each kind are read by themselves, page by page; the sequence numbers decide."""
    numbered = [
        (
            seq,
            Decision(
                at_ms=seq,
                customer="c",
                kind=kind,
                detail={"task": name, "title": text, "outcome": text, "assignee": text},
            ),
        )
        for seq, (kind, name, text) in enumerate(lines, 1)
    ]
    mixed = list(numbered)
    random.Random(seed).shuffle(mixed)
    assert gather(mixed) == gather(numbered)


@given(
    st.dictionaries(st.sampled_from(["task", "title", "due", "assignee", "outcome", "workflow"]), st.from_type(object))
)
def test_no_properties_break_it(properties: dict[str, Any]) -> None:
    """Whatever a foreign system reports: a line, or none."""
    lines = _lines(*(_event(name, 0, **properties) for name in ("Task Opened", "Task Assigned", "Task Completed")))
    for task in gather(enumerate(lines)).values():
        assert len(task.title) <= 2_000
