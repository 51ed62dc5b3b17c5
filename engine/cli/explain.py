"""`anlass explain`: why a customer did, did not or would get what a workflow sends, each condition with its value.

Invariant: reads only; the evaluator is asked with copies.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.local_times import local_times
from engine.cli.options import json_option, project_folder, project_option, reason_option
from engine.cli.output import console, json_line, plain, quiet_log, safe, table
from engine.definition.problem import nearest
from engine.errors import NotFound

if TYPE_CHECKING:
    from engine.rehearsal.explaining import Explained, Finding

EVENTS_MAX = 500
TITLES = {"entry": "Does it enter?", "run": "\nIn the workflow", "steps": "\nIts steps, as things are now"}
_DECISIONS = 10


@click.command()
@click.argument("workflow")
@click.argument("customer")
@json_option
@reason_option
@project_option
def explain(workflow: str, customer: str, *, as_json: bool, reason: str, folder: Path) -> None:
    """Say why (not): each condition of a workflow with its value for one customer, without side effects.

    Conditions are asked as things are now; `anlass show customer` says what was decided, and why, at its time.

    Examples:
      anlass explain cart-recovery ana
      anlass explain cart-recovery ana --json | jq -c 'select(.holds == false)'
    """
    quiet_log()
    root = project_folder(folder)
    explained, decided = asyncio.run(_explained(root, workflow, customer, reason=reason))
    if as_json:
        for finding in explained.findings:
            click.echo(json_line({"customer": customer, "workflow": workflow, **plain(finding)}))
        click.echo(json_line({"customer": customer, "workflow": workflow, "answer": explained.answer}))
        return
    times = local_times(root)
    out = console()
    out.print(f"[bold]{safe(times.within(explained.answer))}[/bold]")
    section = ""
    for finding in explained.findings:
        if finding.section != section:
            section = finding.section
            out.print(f"[bold]{TITLES[section]}[/bold]")
        out.print(times.within(_line(finding)))
    if decided:
        shown = table("at", "what", "why", title="\nWhat was decided")
        for at_ms, what, why in decided:
            shown.add_row(times.of(at_ms), safe(what), safe(times.within(why)))
        out.print(shown)


def _line(finding: Finding) -> str:
    mark = {True: "yes", False: "no ", None: "   "}[finding.holds]
    value = f"  ({finding.value})" if finding.value else ""
    return f"  {mark}  {'  ' * finding.depth}{safe(finding.text)}{safe(value)}"


async def _explained(
    root: Path, workflow: str, customer: str, *, reason: str
) -> tuple[Explained, list[tuple[int, str, str]]]:
    from engine import bootstrap
    from engine.bootstrap import suppressing
    from engine.clock import SystemClock
    from engine.core.customer import CustomerState
    from engine.core.effect import as_line
    from engine.core.record import Event
    from engine.rehearsal.explaining import explain as explained_of
    from engine.runtimes.audit import Act
    from engine.runtimes.base import Query

    operations = bootstrap.operations(root)
    state = await operations.ask(lambda reader: reader.state(customer))
    catalog = await bootstrap.catalog_in_force(root)
    known = catalog.workflows.get(workflow)
    if known is None:
        raise NotFound(f"There is no workflow {workflow!r}{nearest(workflow, catalog.workflows)}.")
    history = await operations.history(customer, limit=EVENTS_MAX)
    if state is None and not history.records:
        raise NotFound(f"There is no customer {customer!r}.", mend="Ids are compared letter by letter.")
    if state is None:  # only events came that no workflow asks about: nothing of that is kept
        state = CustomerState(id=customer, first_seen_ms=min(each.at_ms for each in history.records))
    if state.merged_into:
        raise NotFound(
            f"{customer!r} was merged into {state.merged_into!r}.",
            mend=f"Ask `anlass explain {workflow} {state.merged_into}`.",
        )
    await operations.note(Act(act="explain", what=workflow, customer=customer, why=reason))
    events = [record for record in history.records if isinstance(record, Event)]
    refusal = await suppressing.refusals(operations, catalog.policy, state)
    explained = explained_of(catalog, state, known, events=events, now_ms=SystemClock().now_ms(), refusal=refusal)
    found = await operations.ask(
        lambda reader: reader.decisions(Query(customer=customer, workflow=workflow, limit=_DECISIONS))
    )
    decided = []
    for _, decision in found:
        line = as_line(decision)
        what = " ".join(str(line[name]) for name in ("kind", "step", "answer", "reason") if line.get(name))
        decided.append((decision.at_ms, what, "; ".join(decision.why)))
    return explained, decided
