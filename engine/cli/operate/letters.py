"""`anlass letters`: the batches of the print channel: how they stand, taking a letter out, closing a day.

Invariant: it touches the spool and its files only; a closed batch stays as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.options import json_option, project_folder, project_option
from engine.cli.output import console, json_line, quiet_log, table
from engine.errors import SettingsError, StorageError, UsageError

if TYPE_CHECKING:
    from channels.letters import PrintSettings, Spool


@click.group()
def letters() -> None:
    """List, mend and close the batches of letters (channel `print`).

    Examples:
      anlass letters list
      anlass letters close
    """


@letters.command("list")
@json_option
@project_option
def list_batches(*, as_json: bool, folder: Path) -> None:
    """List the batches, oldest first.

    Examples:
      anlass letters list --json
    """
    spool, _ = _spool(folder)
    batches = spool.batches()
    if as_json:
        for batch in batches:
            click.echo(json_line({"day": batch.day, "letters": batch.letters, "closed": batch.closed}))
        return
    if not batches:
        click.echo("There are no letters.")
        return
    rows = table("day", "letters", "status")
    for batch in batches:
        rows.add_row(batch.day, str(batch.letters), "closed" if batch.closed else "open")
    console().print(rows)


@letters.command("close")
@click.option("--day", metavar="YYYY-MM-DD", default="", help="The last day to close; by default yesterday (UTC).")
@project_option
def close(day: str, *, folder: Path) -> None:
    """Close the batches up to a day, and write their files. Later letters go into the next day's.

    Examples:
      anlass letters close
    """
    import datetime as dt
    import sqlite3

    from engine.clock import SystemClock

    if not day:
        now = dt.datetime.fromtimestamp(SystemClock().now_ms() / 1000, dt.UTC)
        day = (now.date() - dt.timedelta(days=1)).isoformat()
    try:
        day = dt.date.fromisoformat(day).isoformat()
    except ValueError:
        raise UsageError(f"{day!r} is not a day.", mend="Write it as 2026-11-22.") from None
    spool, settings = _spool(folder)
    try:
        written = spool.close(day, settings)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"The batch cannot be written: {error}.", mend="Close it again; nothing is lost.") from error
    for path in written:
        click.echo(f"Wrote {path}")
    if not written:
        click.echo(f"There is nothing to write up to {day}.")


@letters.command("undo")
@click.argument("message")
@project_option
def undo(message: str, *, folder: Path) -> None:
    """Take a letter out of its batch, as long as that is open. MESSAGE is the id of the message.

    Examples:
      anlass letters undo 0f3a9c1be27d4a55a0e1c7f2d9b86e43
    """
    spool, _ = _spool(folder)
    refused = spool.take_out(message)
    if refused:
        raise UsageError(f"It was not taken out: {refused}.")
    click.echo("It will not be printed.")


def _spool(folder: Path) -> tuple[Spool, PrintSettings]:
    import sqlite3

    from channels.letters import PrintSettings, Spool
    from engine.settings import load_settings

    quiet_log()
    section = load_settings(project_folder(folder)).print
    if not section.configured:
        raise SettingsError("No folder is set for letters.", mend="Set ANLASS_PRINT__FOLDER.")
    assert section.folder is not None
    font = "" if section.pdf_font is None else str(section.pdf_font)
    settings = PrintSettings(folder=str(section.folder), pdf=section.pdf, pdf_font=font)
    try:
        return Spool(section.folder), settings
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"The letters in {section.folder} cannot be opened: {error}.") from error
