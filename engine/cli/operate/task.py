"""`anlass task`: the follow-ups that workflows ask people for: listed, shown, handed on, done.

Invariant: a task changes by an event on the log only, so that a workflow can wait for it; one that is done stays done.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import json_option, project_folder, project_option
from engine.cli.output import console, json_line, plain, quiet_log, safe, table
from engine.errors import NotFound, UsageError

if TYPE_CHECKING:
    from engine.core.journey.task import FollowUp
    from engine.runtimes.base import Reader

PAGE = 1_000
PREFIX_CHARS_MIN = 4
SHOWN_CHARS = 8
DAY_MS = 86_400_000


@click.group()
def task() -> None:
    """List, show, hand on and end follow-ups (the step `task`, and messages of the channel `task`).

    Examples:
      anlass task list --queue service
      anlass task done 3f2a --outcome reached
    """


@task.command("list")
@click.option("--queue", metavar="NAME", default="", help="Only tasks in this queue.")
@click.option("--assignee", metavar="NAME", default="", help="Only tasks of this person.")
@click.option("--customer", metavar="ID", default="", help="Only tasks about this customer.")
@click.option("--all", "with_done", is_flag=True, help="Include tasks that are done.")
@json_option
@project_option
def list_tasks(*, queue: str, assignee: str, customer: str, with_done: bool, as_json: bool, folder: Path) -> None:
    """List open tasks, the most urgent first.

    Examples:
      anlass task list --assignee bea@shop.example --json
    """
    tasks = _tasks(folder)
    found = [
        each
        for each in tasks.values()
        if queue in ("", each.queue)
        and assignee in ("", each.assignee)
        and customer in ("", each.customer)
        and (with_done or not each.done_ms)
    ]
    _print(found, as_json=as_json, none="No task is open.")


@task.command("overdue")
@json_option
@project_option
def overdue(*, as_json: bool, folder: Path) -> None:
    """List tasks that are overdue.

    Examples:
      anlass task overdue
    """
    from engine.clock import SystemClock

    now_ms = SystemClock().now_ms()
    found = [each for each in _tasks(folder).values() if each.is_overdue(now_ms)]
    _print(found, as_json=as_json, none="No task is overdue.")


@task.command("show")
@click.argument("number", metavar="TASK")
@json_option
@project_option
def show_task(number: str, *, as_json: bool, folder: Path) -> None:
    """Show one task. TASK is its id or the beginning of it.

    Examples:
      anlass task show 3f2a
    """
    found = _the(number, _tasks(folder))
    if as_json:
        click.echo(json_line(_line(found)))
        return
    for name, value in _line(found).items():
        if value:
            click.echo(f"{name:10} {safe(value)}")


@task.command("done")
@click.argument("number", metavar="TASK")
@click.option("--outcome", metavar="WORD", default="done", show_default=True, help="What came of it.")
@click.option("--note", metavar="TEXT", default="", help="A note about it.")
@project_option
def done(number: str, *, outcome: str, note: str, folder: Path) -> None:
    """End a task: the customer's event `Task Completed`, which a workflow can wait for.

    Examples:
      anlass task done 3f2a --outcome reached --note "wants a call on Monday"
    """
    from engine.core.journey.task import COMPLETED

    found = _the(number, _tasks(folder))
    if found.done_ms:
        raise UsageError(f"The task {safe(found.title)} is done already: {safe(found.outcome)}.")
    properties = {"outcome": outcome, "note": note, "title": found.title, "queue": found.queue}
    _write(folder, found, COMPLETED, properties, id=f"task:{found.id}:done")
    click.echo(f"Done: {safe(found.title)} ({safe(outcome)}).")


@task.command("assign")
@click.argument("number", metavar="TASK")
@click.argument("assignee", metavar="[PERSON]", default="")
@click.option("--queue", metavar="NAME", default="", help="Into this queue.")
@project_option
def assign(number: str, assignee: str, *, queue: str, folder: Path) -> None:
    """Hand an open task to a person, or into a queue.

    Examples:
      anlass task assign 3f2a bea@shop.example
      anlass task assign 3f2a --queue billing
    """
    from engine.clock import SystemClock
    from engine.core.journey.task import ASSIGNED

    if not assignee and not queue:
        raise UsageError("No person is named.", mend="Name a person, or a queue with --queue.")
    found = _the(number, _tasks(folder))
    if found.done_ms:
        raise UsageError(f"The task {safe(found.title)} is done already: {safe(found.outcome)}.")
    properties = {"assignee": assignee, "queue": queue}
    _write(folder, found, ASSIGNED, properties, id=f"task:{found.id}:assigned:{SystemClock().now_ms()}")
    click.echo(f"{safe(found.title)}: {safe(assignee or queue)}.")


def _tasks(folder: Path) -> dict[str, FollowUp]:
    from engine import bootstrap

    quiet_log()
    return asyncio.run(bootstrap.ask(project_folder(folder), _read))


async def _read(reader: Reader) -> dict[str, FollowUp]:
    from engine.core.journey.task import KINDS, gather
    from engine.runtimes.base import Query

    lines = []
    for kind in KINDS.values():
        after = 0
        while page := await reader.decisions(Query(kinds=(kind,), after_seq=after, limit=PAGE, oldest_first=True)):
            lines += page
            after = page[-1][0]
    return gather(lines)


def _the(number: str, tasks: dict[str, FollowUp]) -> FollowUp:
    """The task of this id, or of the one id that begins so. Raises NotFound, UsageError."""
    if number in tasks:
        return tasks[number]
    found = [each for each in tasks.values() if each.id.startswith(number)] if len(number) >= PREFIX_CHARS_MIN else []
    if not found:
        raise NotFound(f"There is no task {number!r}.", mend="`anlass task list --all` shows their ids.")
    if len(found) > 1:
        raise UsageError(f"{len(found)} tasks begin with {number!r}.", mend="Write more of the id.")
    return found[0]


def _line(each: FollowUp) -> dict[str, Any]:
    line: dict[str, Any] = plain(each)
    return {"id": line.pop("id"), "status": each.status, **line}


def _print(found: list[FollowUp], *, as_json: bool, none: str) -> None:
    from engine.clock import SystemClock

    found.sort(key=lambda each: (each.done_ms > 0, each.due_ms or 2**62, each.opened_ms, each.id))
    if as_json:
        for each in found:
            click.echo(json_line(_line(each)))
        return
    if not found:
        click.echo(none)
        return
    now_ms = SystemClock().now_ms()
    length = next(n for n in range(SHOWN_CHARS, 64) if len({each.id[:n] for each in found}) == len(found))
    rows = table("task", "due", "title", "customer", "who", "status")
    for each in found:
        line = plain(each)
        status = f"done: {each.outcome}" if each.done_ms else "overdue" if each.is_overdue(now_ms) else "open"
        who = " ".join(part for part in (each.assignee, each.queue) if part)
        due = str(line["due"] or "")[:16].replace("T", " ")
        rows.add_row(each.id[:length], due, safe(each.title), safe(each.customer), safe(who), safe(status))
    console().print(rows)


def _write(folder: Path, found: FollowUp, name: str, properties: dict[str, str], *, id: str) -> None:
    from engine import bootstrap
    from engine.clock import SystemClock
    from engine.core.record import Event
    from engine.runtimes.audit import Act

    root, now_ms = project_folder(folder), SystemClock().now_ms()
    told = {"task": found.id, "workflow": found.workflow, "enrollment": found.enrollment, **properties}
    event = Event(
        customer=found.customer, at_ms=now_ms, id=id, name=name, time_ms=now_ms,
        properties={key: value for key, value in told.items() if value},
    )  # fmt: skip
    asyncio.run(bootstrap.note(root, Act(act="task", what=found.id, customer=found.customer, why=name)))
    asyncio.run(bootstrap.carry_out(root, [event]))
