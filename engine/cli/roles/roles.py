"""`anlass worker`, `collector`, `dispatcher`, `sink`: the parts of Anlass as processes that meet on Kafka.

Invariant: the line that says a role works is printed when it does, not before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import project_folder, project_option
from engine.cli.private import said_at_start

if TYPE_CHECKING:
    from engine.bootstrap.roles.role import Role
    from engine.project.cluster import Cluster

_wait_option = click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="How many seconds to wait for Kafka to answer; 0: fail at once, with status 3.",
)

_hold_option = click.option(
    "--hold", is_flag=True, help="The topics are a copy: nothing leaves and no timer fires until `anlass held` lets it."
)


def _cluster(
    context: click.Context, folder: Path, wait_seconds: float, *, role: str, accept_loss: bool = False
) -> Cluster:
    from engine.project.cluster import Cluster
    from engine.settings import load_settings
    from engine.telemetry import configure_logging

    configure_logging(debug=bool(getattr(context.obj, "wanted", False)))
    settings = load_settings(project_folder(folder))
    cluster = Cluster(settings)
    for warning in said_at_start(settings):
        click.echo(warning, err=True)
    cluster.prepare(
        role=role, wait_seconds=wait_seconds, accept_loss=accept_loss, say=lambda line: click.echo(line, err=True)
    )
    return cluster


def _run(name: str, cluster: Cluster, build: Callable[[], Role]) -> None:
    from engine.bootstrap.roles.role import run_role

    def announce(role: Role) -> None:
        click.echo(f"Anlass {name} works on {cluster.bootstrap} ({cluster.partitions} partitions).")
        if role.url != role.operators_url:
            click.echo(f"  events   {role.url}/v1/track  (Segment's API)")
            click.echo(f"  mailbox  {role.operators_url}/mailbox")
        click.echo(
            "  health   " + "  ".join(f"{role.operators_url}/{page}" for page in ("healthz", "readyz", "metrics"))
        )
        click.echo("Ctrl-C ends it.")
        sys.stdout.flush()

    run_role(build, announce=announce, name=name)


@click.command()
@project_option
@_wait_option
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Go on although a changelog is gone: its customers begin anew. Restore the topic instead if you can.",
)
@_hold_option
@click.pass_context
def worker(context: click.Context, *, folder: Path, wait_seconds: float, accept_loss: bool, hold: bool) -> None:
    """Evaluate workflows on Kafka, as one of any number of workers.

    Makes the topics that are missing, joins the group, and takes its share of the partitions. Definitions come from
    `anlass deploy`, not from this folder. Ctrl-C or SIGTERM finishes the batch under way and hands the partitions on.

    Examples:
      anlass worker                      (with ANLASS_KAFKA=localhost:9092, or [kafka] bootstrap)
      ANLASS_KAFKA=kafka1:9092,kafka2:9092 anlass worker --wait 60
    """
    cluster = _cluster(context, folder, wait_seconds, role="worker", accept_loss=accept_loss)

    def build() -> Any:
        from engine.bootstrap.roles.worker import WorkerRole

        return WorkerRole(cluster, hold=hold)

    _run("worker", cluster, build)


@click.command()
@project_option
@_wait_option
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Go on although the ledger is gone: what was sent is no longer known. Restore the topic instead if you can.",
)
@_hold_option
@click.pass_context
def dispatcher(context: click.Context, *, folder: Path, wait_seconds: float, accept_loss: bool, hold: bool) -> None:
    """Send what the workers decided, as one of any number of dispatchers.

    Asks the policy again before each message, renders, and calls the channels of [email] and others; without one, messages go
    to the local mailbox. Rates are shared: each dispatcher takes the part that its partitions are of all. Ctrl-C or SIGTERM
    finishes the sends under way.

    Examples:
      anlass dispatcher                      (with ANLASS_KAFKA=localhost:9092, or [kafka] bootstrap)
      ANLASS_EMAIL__HOST=smtp.example ANLASS_EMAIL__FROM=shop@example.com anlass dispatcher --wait 60
    """
    cluster = _cluster(context, folder, wait_seconds, role="dispatcher", accept_loss=accept_loss)

    def build() -> Any:
        from engine.bootstrap.roles.dispatcher import DispatcherRole

        return DispatcherRole(cluster, hold=hold)

    _run("dispatcher", cluster, build)


@click.command()
@project_option
@_wait_option
@click.pass_context
def collector(context: click.Context, *, folder: Path, wait_seconds: float) -> None:
    """Take events in over HTTP and put them on Kafka, as one of any number of collectors.

    A 200 is given when all replicas have the records. Customers' links and pages are answered as well; they ask the journal's
    database, which `anlass sink` fills.

    Examples:
      anlass collector                      (with ANLASS_KAFKA=localhost:9092, or [kafka] bootstrap)
      ANLASS_COLLECTOR__WRITE_KEYS=shop:secret-key anlass collector --wait 60
    """
    cluster = _cluster(context, folder, wait_seconds, role="collector")

    def build() -> Any:
        from engine.bootstrap.roles.collector import CollectorRole

        return CollectorRole(cluster)

    _run("collector", cluster, build)


@click.command()
@project_option
@_wait_option
@click.pass_context
def sink(context: click.Context, *, folder: Path, wait_seconds: float) -> None:
    """Write journal, ledger, customers and dead letters from Kafka into a database, for `show`, pages and reports.

    The database is PostgreSQL or SQLite ([database] url; by default var/journal.db). It is a copy: it can be dropped and
    filled again.

    Examples:
      anlass sink                      (with ANLASS_KAFKA=localhost:9092, or [kafka] bootstrap)
      ANLASS_DATABASE__URL=postgresql://anlass@db/anlass anlass sink
    """
    cluster = _cluster(context, folder, wait_seconds, role="sink")

    def build() -> Any:
        from engine.bootstrap.roles.sink import SinkRole

        return SinkRole(cluster)

    _run("sink", cluster, build)
