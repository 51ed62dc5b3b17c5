"""Follow-ups for people: what opens, hands on and ends one, and how a list of them is made of the journal.

Invariant: a task is what its journal lines say, in whatever order they are read; the first end of it counts. Its lines are
written where decisions are, so every runtime keeps, replays and forgets tasks exactly as it does decisions.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from engine.core.effect import Decision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.core.record import Event
    from engine.core.turn import Turn

OPENED, ASSIGNED, COMPLETED = "Task Opened", "Task Assigned", "Task Completed"
KINDS = {OPENED: "task", ASSIGNED: "task_assigned", COMPLETED: "task_done"}
"""Event → the kind of its journal line. A `task` step writes a line of the first kind without an event."""
FIELDS = {
    OPENED: ("title", "note", "assignee", "queue", "due"),
    ASSIGNED: ("assignee", "queue"),
    COMPLETED: ("outcome", "note"),
}
TEXT_CHARS_MAX = 2_000
ID_CHARS_MAX = 100


class FollowUp(msgspec.Struct, frozen=True, kw_only=True):
    """One follow-up. `due_ms` 0: without a date; `done_ms` 0: still open. Times are UTC milliseconds."""

    id: str
    customer: str
    title: str
    note: str = ""
    assignee: str = ""
    queue: str = ""
    due_ms: int = 0
    workflow: str = ""
    enrollment: str = ""
    opened_ms: int = 0
    outcome: str = ""
    answer: str = ""
    """What was noted when it was done."""
    done_ms: int = 0

    @property
    def status(self) -> str:
        """`open` or `done`."""
        return "done" if self.done_ms else "open"

    def is_overdue(self, now_ms: int) -> bool:
        """Whether it ought to be done by now."""
        return not self.done_ms and 0 < self.due_ms < now_ms


def note(turn: Turn, event: Event) -> None:
    """Writes the journal line of an event about a task; one that names none is an event like any other."""
    properties = event.properties
    task = properties.get("task")
    if not isinstance(task, str) or not 0 < len(task) <= ID_CHARS_MAX:
        return
    detail: dict[str, Any] = {"task": task}
    for field in FIELDS[event.name]:
        value = properties.get(field)
        if isinstance(value, str | int | float) and value != "":
            detail[field] = str(value)[:TEXT_CHARS_MAX]
    if event.name == OPENED:
        detail.setdefault("title", "")
    line = Decision(
        at_ms=turn.now_ms,
        customer=turn.state.id,
        kind=KINDS[event.name],
        workflow=_word(properties, "workflow"),
        enrollment=_word(properties, "enrollment"),
        step=_word(properties, "step"),
        detail=detail,
    )
    turn.effects.append(line)


def _word(properties: dict[str, Any], name: str) -> str:
    value = properties.get(name)
    return value[:TEXT_CHARS_MAX] if isinstance(value, str) else ""


def gather(lines: Iterable[tuple[int, Decision]], known: dict[str, FollowUp] | None = None) -> dict[str, FollowUp]:
    """The tasks by id, from journal lines with their sequence numbers, on top of what is `known`.

    A line about a task that is not known says nothing.
    """
    ordered = sorted(lines, key=lambda each: (_STAGE.get(each[1].kind, 0), each[0]))
    tasks = dict(known or {})
    for _, line in ordered:
        name = str(line.detail.get("task", ""))
        task = tasks.get(name)
        if line.kind == KINDS[OPENED]:
            if task is None and name:
                tasks[name] = _opened(name, line)
        elif task is not None and line.kind == KINDS[ASSIGNED]:
            tasks[name] = msgspec.structs.replace(
                task, assignee=line.detail.get("assignee", task.assignee), queue=line.detail.get("queue", task.queue)
            )
        elif task is not None and line.kind == KINDS[COMPLETED] and not task.done_ms:
            outcome, answer = (str(line.detail.get(field, "")) for field in ("outcome", "note"))
            tasks[name] = msgspec.structs.replace(task, outcome=outcome, answer=answer, done_ms=max(line.at_ms, 1))
    return tasks


_STAGE = {kind: stage for stage, kind in enumerate(KINDS.values())}


def _opened(id: str, line: Decision) -> FollowUp:
    detail = line.detail
    return FollowUp(
        id=id,
        customer=line.customer,
        title=str(detail.get("title", "")),
        note=str(detail.get("note", "")),
        assignee=str(detail.get("assignee", "")),
        queue=str(detail.get("queue", "")),
        due_ms=_moment(detail.get("due")),
        workflow=line.workflow,
        enrollment=line.enrollment,
        opened_ms=line.at_ms,
    )


def _moment(value: object) -> int:
    """An RFC 3339 time with its zone, in milliseconds; 0 when it is none."""
    try:
        at = dt.datetime.fromisoformat(str(value))
        return int(at.timestamp() * 1000) if at.tzinfo is not None else 0
    except (ValueError, OverflowError):
        return 0
