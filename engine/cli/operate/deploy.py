"""`anlass deploy`: hands the project's definitions and templates to the running engine, or says what that would do.

Invariant: with `--plan`, `--list`, or an error in any file, nothing is written.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.options import folder_argument, json_option, project_folder, reason_option, var_folder
from engine.cli.output import console, json_line, progress, quiet_log, safe, table
from engine.errors import NotFound

if TYPE_CHECKING:
    from engine.core.journey.deployment import PeopleAtStep, WorkflowPlan
    from engine.operations.deploy import Prepared, Status
    from engine.operations.deploy_kafka import KafkaDeploy

LISTED_MAX = 50
PROGRESS_FROM = 20_000
"""Customers from which a bar is shown."""

_ENDINGS: dict[str, str] = {
    "planned": "Nothing was written. `anlass deploy` without --plan does it.",
    "in_force": "In force: the running engine took it.",
    "at_next_start": "No engine is running: the next `anlass run` puts it in force, if the files are still the same.",
    "never_run": "Nothing has run here yet, so there is nothing to hand over: `anlass run` puts it in force.",
}
_ENDINGS_ON_KAFKA: dict[str, str] = {
    "planned": _ENDINGS["planned"],
    "in_force": "In force: every partition's worker took it, and so did every dispatcher, collector and sink that runs.",
    "at_next_start": "Published. No worker is running: `anlass worker` puts it in force.",
}


@click.command()
@folder_argument
@click.option(
    "--versions",
    type=click.Choice(["pin", "migrate", "end"]),
    default="pin",
    show_default=True,
    help="What becomes of people on older versions: they finish on theirs, move to the new one, or end. A workflow's own"
    " `versions:` takes precedence.",
)
@click.option("--plan", "plan_only", is_flag=True, help="Say what changes for whom, and write nothing.")
@click.option("--list", "list_only", is_flag=True, help="List what was put in force, and when.")
@json_option
@reason_option
def deploy(folder: Path, *, versions: str, plan_only: bool, list_only: bool, as_json: bool, reason: str) -> int:
    """Publish workflows, segments, policy and templates to the running engine.

    Everything is checked first. The engine switches between two records; people in flight keep the version they started with,
    unless --versions or the workflow says otherwise. To undo a deploy, deploy the previous files again.

    Examples:
      anlass deploy --plan
      anlass deploy
      anlass deploy shop --versions migrate --plan
    """
    quiet_log()
    if list_only:
        return _list(folder, as_json=as_json)
    root = project_folder(folder)
    cluster = _cluster(root)
    with progress(unit="customers" if cluster is None else "partitions") as bar:
        task = bar.add_task("Counting people in flight", total=None, visible=False)

        def counted(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=total >= PROGRESS_FROM or cluster is not None)

        prepared = _prepare(root, cluster, versions=versions, progress=counted)
    for warning in prepared.warnings:
        click.echo(warning, err=True)
    if plan_only:
        _show(prepared, "planned", as_json=as_json)
        return 1 if prepared.stuck else 0
    if not as_json:
        _show_plans(prepared)
    _note(root, prepared, reason)
    status = _hand_over(prepared, cluster)
    if as_json:
        _show(prepared, status, as_json=True)
    else:
        click.echo((_ENDINGS if cluster is None else _ENDINGS_ON_KAFKA)[status])
    return 0


def _note(root: Path, prepared: Prepared, why: str) -> None:
    from engine import bootstrap
    from engine.runtimes.audit import Act

    act = Act(act="deploy", what=f"{prepared.project.catalog.id} --versions {prepared.versions}", why=why)
    with contextlib.suppress(NotFound):  # nothing ever ran here: there is nothing that it could change yet
        asyncio.run(bootstrap.note(root, act))


def _cluster(root: Path) -> KafkaDeploy | None:
    """The cluster to deploy to; None: the embedded engine. Its topics are made when they are missing."""
    from engine.settings import load_settings

    settings = load_settings(root)
    if not settings.kafka.configured:
        return None
    from engine.operations.deploy_kafka import KafkaDeploy
    from engine.project.cluster import Cluster

    cluster = Cluster(settings)
    cluster.prepare(say=lambda line: click.echo(line, err=True))
    return KafkaDeploy(cluster)


def _prepare(
    root: Path, cluster: KafkaDeploy | None, *, versions: str, progress: Callable[[int, int], None]
) -> Prepared:
    if cluster is not None:
        return asyncio.run(cluster.prepare(root, versions=versions, progress=progress))
    from engine.operations import deploy as deploying

    return deploying.prepare(root, versions=versions, progress=progress)


def _hand_over(prepared: Prepared, cluster: KafkaDeploy | None) -> Status:
    if cluster is not None:
        return asyncio.run(cluster.publish(prepared))
    from engine.operations import deploy as deploying

    return asyncio.run(deploying.hand_over(prepared))


def _show(prepared: Prepared, status: str, *, as_json: bool) -> None:
    if not as_json:
        _show_plans(prepared)
        click.echo(_ENDINGS[status])
        return
    for plan in prepared.plans:
        click.echo(json_line(_plan_data(plan)))
    catalog = prepared.project.catalog.id
    click.echo(json_line({"catalog": catalog, "versions": prepared.versions, "status": status}))


def _plan_data(plan: WorkflowPlan) -> dict[str, object]:
    return {
        "workflow": plan.workflow,
        "change": plan.change,
        "before": plan.before or None,
        "after": plan.after or None,
        "versions": plan.rule,
        "people": [
            {
                "version": group.version,
                "step": group.step,
                "people": group.people,
                "fate": group.fate,
                "to": group.to if group.fate == "moves" else None,
            }
            for group in plan.groups
        ],
    }


def _show_plans(prepared: Prepared) -> None:
    quiet = 0
    for plan in prepared.plans:
        groups = [group for group in plan.groups if group.fate != "current"]
        if plan.change == "unchanged" and not groups:
            quiet += 1
            continue
        between = " → ".join(version for version in (plan.before, plan.after) if version)
        own = f", versions: {plan.rule}" if groups and plan.rule != prepared.versions else ""
        click.echo(f"{plan.workflow}: {plan.change} ({between}{own})")
        for group in groups:
            click.echo(f"  {_people(group)}")
    if quiet:
        click.echo(f"{quiet} workflow{'' if quiet == 1 else 's'} unchanged.")


def _people(group: PeopleAtStep) -> str:
    noun = "person" if group.people == 1 else "people"
    return f"{group.people} {noun} at {group.step} of {group.version}: {group}"


def _list(folder: Path, *, as_json: bool) -> int:
    from engine.clock import to_rfc3339

    found = _deployed(folder)
    if as_json:
        for index, (deployed_ms, catalog, files) in enumerate(found):
            line = {"at": to_rfc3339(deployed_ms), "catalog": catalog, "newest": index == 0}
            click.echo(json_line({**line, "files": sorted(files)}))
        return 0
    if not found:
        click.echo("Nothing was put in force here yet.")
        return 0
    rows = table("last put in force", "catalog", "files", "")
    for index, (deployed_ms, catalog, files) in enumerate(found):
        newest = "newest" if index == 0 else ""
        rows.add_row(to_rfc3339(deployed_ms), safe(catalog), str(len(files)), newest)
    console().print(rows)
    return 0


def _deployed(folder: Path) -> list[tuple[int, str, dict[str, str]]]:
    """(when, catalog, files) of what was put in force, newest first."""
    cluster = _cluster(project_folder(folder))
    if cluster is not None:
        return [(each.deployed_ms, each.id, each.files) for each in asyncio.run(cluster.known())[:LISTED_MAX]]
    from engine.runtimes.embedded import handovers

    found = handovers.deployed(var_folder(folder), limit=LISTED_MAX)
    return [(each.deployed_ms, each.catalog, dict(each.files)) for each in found]
