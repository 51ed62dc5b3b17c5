"""`anlass check --database`: stored rows that cannot be read, whose they are, and mending them.

Invariant: the status is 0 only when every row can be read; without --mend nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.output import json_line
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.settings import Settings


def examine(root: Path, *, as_json: bool, mend: bool, give_up: bool) -> int:
    """Says what cannot be read, one line each; with `mend`, what became of it."""
    from engine import bootstrap
    from engine.operations import examining
    from engine.runtimes.audit import Act
    from engine.settings import load_settings

    if give_up and not mend:
        raise UsageError("--give-up is for --mend.", mend="Look at what is found first, then add --mend.")
    settings = load_settings(root)
    if settings.kafka.configured:
        return _on_kafka(root, settings, as_json=as_json, mend=mend, give_up=give_up)
    found = examining.unreadable_rows(settings.database_path.parent)
    if not mend:
        return _listed(found, as_json=as_json, verdict=_verdict(len(found), "Stop the engine and run"))
    asyncio.run(bootstrap.note(root, Act(act="mend", what="--give-up" if give_up else "", count=len(found))))
    done = examining.mend_rows(root, give_up=give_up)
    return _told([(one.finding, one.outcome, one.why) for one in done], as_json=as_json)


def _on_kafka(root: Path, settings: Settings, *, as_json: bool, mend: bool, give_up: bool) -> int:
    from engine import bootstrap
    from engine.operations.examining_kafka import Examination
    from engine.project.cluster import Cluster
    from engine.runtimes.audit import Act

    cluster = Cluster(settings)
    cluster.prepare(say=lambda line: click.echo(line, err=True))
    examination = Examination(cluster)
    found = asyncio.run(examination.find())
    if not mend:
        return _listed(found, as_json=as_json, verdict=_verdict(len(found), "Run"))
    asyncio.run(bootstrap.note(root, Act(act="mend", what="--give-up" if give_up else "", count=len(found))))
    return _told(asyncio.run(examination.mend(found, give_up=give_up)), as_json=as_json)


def _listed(found: Sequence[object], *, as_json: bool, verdict: str) -> int:
    for each in found:
        click.echo(json_line(_data(each)) if as_json else str(each))
    if not as_json:
        click.echo(verdict, err=bool(found))
    return 1 if found else 0


def _told(done: Sequence[tuple[Any, str, str]], *, as_json: bool) -> int:
    for finding, outcome, why in done:
        line = {**_data(finding), "outcome": outcome, "why": why}
        told = f"{finding.table} {finding.key!r}: {outcome}{f', because {why}' if why else ''}"
        click.echo(json_line(line) if as_json else told)
    left = sum(outcome == "left" for _, outcome, _ in done)
    if not as_json:
        click.echo(f"{len(done) - left} of {len(done)} rows mended." if done else "Every row can be read.")
    return 1 if left else 0


def _data(finding: object) -> dict[str, object]:
    return {field: getattr(finding, field) for field in finding.__struct_fields__}  # type: ignore[attr-defined]


def _verdict(count: int, how: str) -> str:
    if not count:
        return "Every row can be read."
    rows = "1 row" if count == 1 else f"{count} rows"
    return f"{rows} cannot be read. {how} `anlass check --database --mend`."
