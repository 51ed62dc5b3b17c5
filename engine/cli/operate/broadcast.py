"""`anlass broadcast`: how far newsletters are, while they go out and afterwards.

Invariant: it only reads.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import json_option, project_folder, project_option, sentence
from engine.cli.output import console, json_line, quiet_log, safe, table
from engine.errors import NotFound

if TYPE_CHECKING:
    from engine.core.journey.workflow import Workflow
    from engine.operations.broadcasts import IssueStanding, Watch
    from engine.runtimes.base import Reader

WATCH_SECONDS = 3.0


@click.group()
def broadcast() -> None:
    """Show newsletters and other broadcasts: whom they reached, what waits, how fast they go.

    Examples:
      anlass broadcast list
    """


@broadcast.command("list")
@json_option
@project_option
def list_broadcasts(*, as_json: bool, folder: Path) -> None:
    """List the broadcasts of the project, with the newest issue of each.

    Examples:
      anlass broadcast list
    """
    quiet_log()
    root = project_folder(folder)
    found, zone = _broadcasts(root)
    watches = {name: _watch(workflow, zone) for name, workflow in found.items()}

    async def question(reader: Reader) -> dict[str, list[IssueStanding]]:
        return {name: await watch.look(reader, now_ms=_now_ms()) for name, watch in watches.items()}

    standings = _ask(root, question, {name: [] for name in watches}) if watches else {}
    if as_json:
        for name, issues in standings.items():
            click.echo(json_line({"workflow": name, "issue": _flat(issues[0]) if issues else None}))
        return
    if not standings:
        click.echo("There is no broadcast here: no workflow has `trigger: schedule`.")
        return
    shown = table("broadcast", "issue", "audience", "reached", "sent", "held", "to go")
    for name, issues in standings.items():
        if issues:
            one = issues[0]
            left = one.audience - one.reached + one.queued + one.held
            row = (one.issue, one.audience, one.reached, one.sent, one.held + one.paused, left)
            shown.add_row(safe(name), *(str(value) for value in row))
        else:
            shown.add_row(safe(name), "none yet", *[""] * 5)
    console().print(shown)


@broadcast.command("show")
@click.argument("name")
@click.option("--issue", metavar="ISSUE", default="", help="An issue other than the newest, such as 2026-12-01-0900.")
@click.option("--watch", is_flag=True, help="Refresh every three seconds until it is done.")
@json_option
@project_option
def show_broadcast(name: str, *, issue: str, watch: bool, as_json: bool, folder: Path) -> None:
    """Show one broadcast: audience, reached, held, sent, failed, rate, when it will be done, and its variants.

    Examples:
      anlass broadcast show newsletter
      anlass broadcast show newsletter --watch
    """
    from engine.definition.problem import nearest

    quiet_log()
    root = project_folder(folder)
    found, zone = _broadcasts(root)
    if name not in found:
        raise NotFound(sentence(f"There is no broadcast `{name}`{nearest(name, found)}"))
    watching = _watch(found[name], zone)

    async def question(reader: Reader) -> list[IssueStanding]:
        return await watching.look(reader, now_ms=_now_ms())

    while True:
        issues = _ask(root, question, [])
        chosen = next((one for one in issues if issue in ("", one.issue)), None)
        if issue and chosen is None:
            known = ", ".join(one.issue for one in issues) or "none"
            raise NotFound(f"{name} has no issue {issue!r}.", mend=f"There are: {known}.")
        if as_json:
            click.echo(json_line(_flat(chosen) if chosen is not None else {"workflow": name, "issue": None}))
        elif chosen is None:
            click.echo(f"{name} did not go out yet, and nobody's time for it comes within a day.")
        else:
            _print(chosen)
        if not watch or chosen is None or _done(chosen):
            return
        time.sleep(WATCH_SECONDS)


def _broadcasts(root: Path) -> tuple[dict[str, Workflow], str]:
    """The broadcasts by name, and the project's zone."""
    from engine.project.opening import open_project

    catalog = open_project(root, with_templates=False).catalog
    found = {name: catalog.workflows[name] for name in sorted(catalog.workflows)}
    return {name: each for name, each in found.items() if each.trigger.schedule is not None}, catalog.policy.zone


def _watch(workflow: Workflow, zone: str) -> Watch:
    from engine.operations.broadcasts import Watch

    return Watch(workflow, project_zone=zone)


def _ask(root: Path, question: Any, nothing: Any) -> Any:
    """The answer of the store; `nothing` where the project never ran."""
    from engine import bootstrap

    try:
        return asyncio.run(bootstrap.ask(root, question))
    except NotFound:
        return nothing


def _now_ms() -> int:
    from engine.clock import SystemClock

    return SystemClock().now_ms()


def _done(standing: IssueStanding) -> bool:
    left = standing.audience - standing.reached + standing.queued + standing.held
    return not left


def _flat(standing: IssueStanding) -> dict[str, Any]:
    """As JSON: every field, times as RFC 3339."""
    import msgspec

    from engine.clock import to_rfc3339

    flat: dict[str, Any] = msgspec.to_builtins(standing)
    eta_ms = flat.pop("eta_ms")
    return {**flat, "eta": to_rfc3339(eta_ms) if eta_ms else None, "done": _done(standing)}


def _print(standing: IssueStanding) -> None:
    from engine.clock import to_rfc3339

    out, one = console(), standing
    share = f"{100 * one.reached / one.audience:.1f} %" if one.audience else "nobody"
    out.print(f"[bold]{safe(one.workflow)}[/bold] {safe(one.issue)}: {one.reached} of {one.audience} reached ({share})")
    shown = table("", "")
    shown.add_row("sent", str(one.sent))
    shown.add_row("on the way", str(one.queued))
    shown.add_row("held", str(one.held))
    if one.paused:
        shown.add_row("paused before they were reached", str(one.paused))
    shown.add_row("failed, unknown", f"{one.failed}, {one.unknown}")
    reasons = ", ".join(f"{count} {reason}" for reason, count in one.suppressions.items())
    shown.add_row("suppressed", f"{one.suppressed}{f' ({safe(reasons)})' if reasons else ''}")
    if one.rate_per_second:
        shown.add_row("rate", f"{one.rate_per_second:g} a second")
    if one.eta_ms:
        shown.add_row("done about", to_rfc3339(one.eta_ms))
    out.print(shown)
    if one.variants:
        tested = table("subject", "messages", "sent", "opened", "clicked")
        for name, counts in one.variants.items():
            tested.add_row(
                safe(f"{name} (won)" if name == one.winner else name), *(str(each) for each in counts.values())
            )
        out.print(tested)
