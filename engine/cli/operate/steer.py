"""`anlass pause`, `resume`, `retry` and `replay`: operators' work, done by writing records.

Invariant: a command returns 0 when its records were applied: by the running service, by the workers of a cluster, or by opening
the store itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import click

from engine.cli.options import json_option, project_folder, project_option, reason_option, sentence
from engine.cli.output import console, json_line, quiet_log, safe, table
from engine.errors import AnlassError, NotFound, UsageError

if TYPE_CHECKING:
    from engine.core.effect import Decision
    from engine.core.journey.enrollment import Enrollment
    from engine.core.record import Record
    from engine.runtimes.audit import Act
    from engine.runtimes.base import Reader

PAGE = 5_000
LISTED_MAX = 200
REPLAY_MAX = 10_000
SHOWN_BYTES = 80
_WORKFLOW = re.compile(r"^\ufeff?[\"']?workflow[\"']?\s*:", re.MULTILINE)


@click.command()
@click.argument("workflow")
@click.option("--drop", is_flag=True, help="Suppress what was due before as well, instead of holding it.")
@reason_option
@project_option
def pause(workflow: str, *, drop: bool, reason: str, folder: Path) -> None:
    """Pause a workflow: nobody enters it, and what comes due meanwhile is suppressed, until it is resumed.

    What was due before is held, and leaves when it is resumed if it is not too old by then (`max_age`). A broadcast
    (`trigger: schedule`) loses nothing at all: whoever comes due and whatever is to be sent waits until it is resumed.

    Examples:
      anlass pause cart-recovery
    """
    _set_paused(folder, workflow, paused=True, drop=drop, why=reason)
    held = _held(folder, workflow)
    click.echo(f"{workflow} is paused. `anlass resume {workflow}` lets it go on.{held}")


@click.command()
@click.argument("workflow")
@click.option("--drop", is_flag=True, help="Do not send what the pause held (`dropped`).")
@reason_option
@project_option
def resume(workflow: str, *, drop: bool, reason: str, folder: Path) -> None:
    """Let a paused workflow go on; what the pause held leaves now.

    Examples:
      anlass resume cart-recovery
      anlass resume cart-recovery --drop
    """
    held = _held(folder, workflow)
    _set_paused(folder, workflow, paused=False, drop=drop, why=reason)
    click.echo(f"{workflow} goes on.{held}")


def _held(folder: Path, workflow: str) -> str:
    """What a pause of a broadcast holds now, as a sentence; "" for what is none, and where nothing is known."""
    from engine import bootstrap
    from engine.operations.broadcasts import waiting

    root = project_folder(folder)
    try:
        people, messages = asyncio.run(bootstrap.ask(root, lambda reader: waiting(reader, workflow)))
    except AnlassError:  # nobody can be asked: that must not keep anybody from pausing
        return ""
    if not people and not messages:
        return ""
    return f" It held {people} customers whose time came meanwhile, and {messages} messages; none of them is lost."


def _set_paused(folder: Path, workflow: str, *, paused: bool, drop: bool, why: str) -> None:
    from engine.clock import SystemClock
    from engine.core.record import Pause
    from engine.runtimes.audit import Act

    quiet_log()
    root = project_folder(folder)
    known_workflow(root, workflow)
    now_ms = SystemClock().now_ms()
    note(root, Act(act="pause" if paused else "resume", what=workflow, why=why))
    reason = f"operator: {why}" if why else "operator"
    record = Pause(
        customer="", at_ms=now_ms, id=f"operator:{now_ms}", workflow=workflow, paused=paused, reason=reason, drop=drop
    )
    carry_out(root, [record])


def known_workflow(root: Path, workflow: str) -> None:
    """Raises NotFound, with the nearest name, when the project has no such workflow."""
    from engine.definition.problem import nearest

    # Names only: an operator has to be able to pause a workflow while somebody is in the middle of editing it.
    names = {path.stem for path in (root / "workflows").rglob("*.y*ml") if _is_workflow(path)}
    if workflow not in names:
        names |= _deployed_workflows(root)
    if workflow not in names:
        raise NotFound(sentence(f"There is no workflow `{workflow}`{nearest(workflow, names)}"))


def _is_workflow(path: Path) -> bool:
    """Whether the file looks like one; the policy and the tests beside it are none."""
    return path.is_file() and _WORKFLOW.search(path.read_text("utf-8", errors="replace")) is not None


def _deployed_workflows(root: Path) -> set[str]:
    """What a cluster has, from wherever it was deployed."""
    from engine import bootstrap

    files = asyncio.run(bootstrap.operations(root).deployed())
    return {PurePath(path).stem for path, text in files.items() if _WORKFLOW.search(text)}


def note(root: Path, act: Act) -> None:
    """Nothing is done that cannot be noted."""
    from engine import bootstrap

    asyncio.run(bootstrap.note(root, act))


def carry_out(root: Path, records: list[Record]) -> None:
    """Has them applied; returns when they are."""
    from engine import bootstrap

    asyncio.run(bootstrap.carry_out(root, records))


@click.command()
@click.argument("enrollment", required=False, default="")
@click.option("--workflow", metavar="NAME", default="", help="All failed enrollments of this workflow.")
@click.option("--customer", metavar="ID", default="", help="All failed enrollments of this customer.")
@reason_option
@project_option
def retry(enrollment: str, *, workflow: str, customer: str, reason: str, folder: Path) -> None:
    """Let failed enrollments move again, after what made them fail was mended.

    Examples:
      anlass retry cart-recovery/ana/k1
      anlass retry --workflow cart-recovery
      anlass retry --customer ana
    """
    from engine import bootstrap
    from engine.runtimes.audit import Act

    quiet_log()
    if not enrollment and not workflow and not customer:
        raise UsageError("No enrollment is named.", mend="Name one, or use --workflow or --customer.")
    root = project_folder(folder)
    if workflow:
        known_workflow(root, workflow)

    async def question(reader: Reader) -> list[tuple[str, Enrollment]]:
        return await _failed(reader, enrollment=enrollment, workflow=workflow, customer=customer)

    failed = asyncio.run(bootstrap.ask(root, question))
    if not failed:
        if enrollment:
            raise NotFound(f"No failed enrollment is called {enrollment}.", mend="`anlass show` names them.")
        click.echo("No enrollment of these has failed; nothing to do.")
        return
    whose = customer or (failed[0][0] if enrollment else "")
    note(root, Act(act="retry", what=workflow or failed[0][1].workflow, customer=whose, count=len(failed), why=reason))
    carry_out(root, _retries(failed))
    click.echo(f"{len(failed)} failed enrollment{'' if len(failed) == 1 else 's'} tried again:")
    for who, run in failed[:LISTED_MAX]:
        click.echo(f"  {run.id} of {who} (had failed: {run.failed})")


def _retries(failed: list[tuple[str, Enrollment]]) -> list[Record]:
    from engine.clock import SystemClock
    from engine.core.record import Retry

    now_ms = SystemClock().now_ms()
    return [
        Retry(
            customer=who, at_ms=now_ms, id=f"operator:{now_ms}:{run.id}", enrollment=run.id, workflow=run.workflow
        )
        for who, run in failed
    ]  # fmt: skip


async def _failed(reader: Reader, *, enrollment: str, workflow: str, customer: str) -> list[tuple[str, Enrollment]]:
    """(customer, enrollment) of what is parked as failed right now. The journal knows who; the states know whether still."""
    customers = {customer: None} if customer else {}
    if not customer:
        async for decision in _failures(reader, enrollment=enrollment, workflow=workflow):
            customers[decision.customer] = None
    found: list[tuple[str, Enrollment]] = []
    for who in customers:
        state = await reader.state(who)
        runs = state.enrollments if state is not None else ()
        wanted = (run for run in runs if enrollment in {"", run.id} and workflow in {"", run.workflow})
        found += [(who, run) for run in wanted if run.failed]
    return found


async def _failures(reader: Reader, *, enrollment: str, workflow: str) -> AsyncIterator[Decision]:
    from engine.runtimes.base import Query

    after = 0
    while True:
        query = Query(
            enrollment=enrollment, workflow=workflow, kinds=("failed",), after_seq=after, limit=PAGE, oldest_first=True
        )
        page = await reader.decisions(query)
        for seq, decision in page:
            after = seq
            yield decision
        if len(page) < PAGE:
            return


@click.command()
@click.argument("ids", nargs=-1, type=click.IntRange(min=1))
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@json_option
@reason_option
@project_option
def replay(ids: tuple[int, ...], *, everything: bool, as_json: bool, reason: str, folder: Path) -> int:
    """Put dead letters back, or list them when none is named.

    A dead letter is input that could not be applied. What was refused before it became a record can only be sent again by its
    source.

    Examples:
      anlass replay
      anlass replay 3 7
      anlass replay --all
    """
    from engine import bootstrap
    from engine.runtimes.audit import Act

    quiet_log()
    operations = bootstrap.operations(project_folder(folder))
    limit = REPLAY_MAX if everything else LISTED_MAX
    letters = asyncio.run(operations.ask(lambda reader: reader.dead_letters(limit=limit)))
    if not ids and not everything:
        rows = [
            (letter.id, letter.at_ms, letter.origin, letter.customer, letter.reason, letter.body) for letter in letters
        ]
        _list_letters(rows, as_json=as_json)
        return 0
    wanted = list(ids) or [letter.id for letter in letters]
    named = " ".join(str(number) for number in wanted)
    asyncio.run(operations.note(Act(act="replay", what=named, count=len(wanted), why=reason)))
    result = asyncio.run(operations.put_back(wanted))
    if as_json:
        click.echo(json_line({field: list(getattr(result, field)) for field in result.__struct_fields__}))
    else:
        count = len(result.put_back)
        click.echo(f"{count} dead letter{'' if count == 1 else 's'} put back.")
    for number in result.unknown:
        click.echo(f"anlass: There is no dead letter {number}.", err=True)
    for number in result.never_records:
        click.echo(f"anlass: Dead letter {number} never became a record: its source has to send it again.", err=True)
    if result.put_back:
        asyncio.run(operations.settle())
    return 1 if result.unknown or result.never_records else 0


def _list_letters(rows: list[tuple[int, int, str, str, str, bytes]], *, as_json: bool) -> None:
    from engine.clock import to_rfc3339

    if as_json:
        for number, at_ms, origin, customer, reason, body in rows:
            fields = {"id": number, "at": to_rfc3339(at_ms), "origin": origin, "customer": customer, "reason": reason}
            click.echo(json_line({**fields, "body": body.decode("utf-8", "backslashreplace")}))
        return
    if not rows:
        click.echo("There are no dead letters.")
        return
    shown = table("id", "at", "origin", "customer", "reason", "begins with")
    for number, at_ms, origin, customer, reason, body in rows:
        start = body[:SHOWN_BYTES].decode("utf-8", "replace")
        shown.add_row(str(number), to_rfc3339(at_ms), safe(origin), safe(customer), safe(reason), safe(start))
    console().print(shown)
    click.echo("`anlass replay ID…` or `anlass replay --all` puts them back.")
