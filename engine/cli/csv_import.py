"""What the imports of CSV files have in common: their options, how the file is read, and how what was refused is told.

Invariant: every refused row is named on the screen, or counted there and written to the report.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.private import write_private
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.cli.people.consent_rows import Refused

COMPLAINTS_MAX = 50
FILE_BYTES_MAX = 500_000_000

_FILE = click.Path(path_type=Path, dir_okay=False)
file_argument = click.argument("file", metavar="F.csv", type=_FILE)
encoding_option = click.option(
    "--encoding", metavar="NAME", default="", help="The file's encoding when it is not UTF-8, such as cp1252."
)


def doing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--dry-run`, `--partly` and `--report`."""
    for option in (
        click.option("--report", type=_FILE, help="Write every refused row to this CSV file."),
        click.option("--partly", is_flag=True, help="Import the good rows even if others are refused."),
        click.option("--dry-run", is_flag=True, help="Only look: nothing is imported."),
    ):
        command = option(command)
    return command


def bytes_of(file: Path) -> bytes:
    """What is in the file. Raises UsageError."""
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise UsageError(f"{file} is larger than 500 MB.", mend="Split it; each part begins with the header.")
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", mend="Name a CSV file.") from error


def tell_refused(file: Path, refused: Sequence[Refused], report: Path | None) -> None:
    """Names the first rows that are refused, and writes all of them to the report. Raises UsageError."""
    for each in refused[:COMPLAINTS_MAX]:
        click.echo(f"{file}:{each.number}: {each.reason}", err=True)
    if len(refused) > COMPLAINTS_MAX:
        click.echo(f"{file}: and {len(refused) - COMPLAINTS_MAX} more; --report writes them all.", err=True)
    if report is not None:
        _write_report(report, refused)


def _write_report(path: Path, refused: Sequence[Refused]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["line", "reason", "row"])
    writer.writerows((each.number, each.reason, each.text) for each in refused)
    try:
        write_private(path, text.getvalue().encode())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", mend="Choose another file.") from error


def nothing_imported(said: str, *, dry_run: bool) -> None:
    """Says that nothing was imported, and what to do unless that was the wish."""
    why = "" if dry_run else " Mend the rows, or import the good ones with --partly."
    click.echo(f"{said}; nothing was imported.{why}")
