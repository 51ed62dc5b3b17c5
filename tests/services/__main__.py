"""The services of the tests from a terminal: `python -m tests.services kafka` runs a broker in the foreground.

Invariant: the broker ends with this command, and its data stays for the next start.
"""

import signal
import sys
from pathlib import Path

import click

from engine.errors import AnlassError
from tests.services.kafka import Cluster
from tests.services.kafka_holder import hold
from tests.services.kafka_jars import HERE, jars, version

DATA = HERE.parent.parent / "var" / "kafka"


@click.group()
def main() -> None:
    """Runs what the tests need beside them."""


@main.command()
@click.option("--port", default=9092, show_default=True, help="Of the first broker; the others follow.")
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", show_default=True)
@click.option(
    "--folder", type=click.Path(path_type=Path), default=DATA, help="Where the data is; var/kafka if not given."
)
def kafka(port: int, brokers: str, folder: Path) -> None:
    """Runs one Kafka broker, or three, until Ctrl-C."""
    count = int(brokers)
    for ending in (signal.SIGINT, signal.SIGTERM):  # a shell that starts us in the background lets SIGINT be ignored
        signal.signal(ending, signal.default_int_handler)
    click.echo(f"Starting Kafka {version()}; data in {folder}")
    try:
        with Cluster(count, folder=folder, ports=tuple(range(port, port + count))) as cluster:
            click.echo(f"Kafka answers on {cluster.bootstrap}\nCtrl-C stops it; the data stays for the next start.")
            cluster.wait()
            click.echo("A broker ended by itself; its log is beside its data.", err=True)
    except KeyboardInterrupt:
        click.echo("\nKafka stopped.")
    except AnlassError as error:
        click.echo(str(error), err=True)
        sys.exit(error.status)
    else:
        sys.exit(1)


@main.command("jars")
def fetch() -> None:
    """Fetches Kafka's jars into the cache, for machines that will have no network later."""
    click.echo(jars())


@main.command("hold", hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
def hold_shared(folder: Path) -> None:
    """Holds the broker that the processes of one test run share."""
    hold(folder)


if __name__ == "__main__":
    main()
