"""`anlass run` and `anlass demo`: start everything, say where it is, and leave in order.

Invariant: the line with the collector's address is printed when events are taken, not before.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.options import project_folder, project_option
from engine.cli.private import said_at_start

if TYPE_CHECKING:
    from engine.bootstrap import Service

DEMO_SECONDS_MAX = 3_600.0


@click.command()
@project_option
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Start even though the store, or the key of what is suppressed, is gone for good.",
)
@click.option(
    "--hold", is_flag=True, help="The store is a copy: nothing leaves and no timer fires until `anlass held` lets it."
)
@click.pass_context
def run(context: click.Context, *, folder: Path, hold: bool, accept_loss: bool) -> None:
    """Run a project: everything in one process, on the embedded runtime.

    Takes events over HTTP, evaluates the workflows, fires timers and sends what they decide. Without configured channels nothing
    leaves this machine: messages go to the local mailbox. Ctrl-C or SIGTERM ends it in order: what was answered with 200 is
    durable, sends under way are finished (up to ten seconds).

    Examples:
      anlass run
      anlass run --project shop
      anlass run --hold                     (after a back-up was restored)
      ANLASS_EMAIL__HOST=127.0.0.1 ANLASS_EMAIL__PORT=2525 anlass run
    """
    from engine.bootstrap import open_project, run_forever
    from engine.telemetry import configure_logging

    configure_logging(debug=bool(getattr(context.obj, "wanted", False)))
    project = open_project(project_folder(folder))
    for warning in (*project.warnings, *said_at_start(project.settings)):
        click.echo(warning, err=True)
    run_forever(project, announce=_announce, hold=hold, accept_loss=accept_loss)


def _announce(service: Service) -> None:
    settings = service.project.settings
    mail = f"{settings.email.host}:{settings.email.port}" if settings.email.configured else "the local mailbox"
    local = "" if not settings.collector.keyless else "; no write key, this machine's own programs only"
    names = ", ".join(service.project.catalog.workflows) or "none"
    operators = service.operators_url
    click.echo(f"Anlass runs {settings.project.name}: {len(service.project.catalog.workflows)} workflows ({names}).")
    click.echo(f"  events   {service.url}/v1/track  (Segment's API{local})")
    click.echo(f"  email    {mail}")
    click.echo(f"  mailbox  {operators}/mailbox")
    click.echo(f"  health   {operators}/healthz  {operators}/readyz  {operators}/metrics")
    if service.runtime.catalog.holding.since_ms:
        click.echo("  held     nothing leaves and no timer fires; `anlass held` lists what waits, and lets it go")
    click.echo("Ctrl-C ends it.")
    sys.stdout.flush()


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=DEMO_SECONDS_MAX),
    default=30.0,
    show_default=True,
    help="How long the simulated shop is open.",
)
@click.option(
    "--project", type=click.Path(path_type=Path, file_okay=False), help="Where to leave the project it makes."
)
@click.option("--keep", is_flag=True, help="Go on running when the shop has closed, to look around; Ctrl-C ends it.")
def demo(seconds: float, project: Path | None, keep: bool) -> int:  # noqa: FBT001 - click calls it by name
    """Run a simulated shop through the engine, with progress and a summary.

    Examples:
      anlass demo
      anlass demo --seconds 10
      anlass demo --project /tmp/shop --keep
    """
    status: int = importlib.import_module("engine.demo").run(seconds, project=project, keep=keep)
    return status
