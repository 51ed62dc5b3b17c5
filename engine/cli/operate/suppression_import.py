"""`anlass suppression import`: takes the suppression list of another system, or an export of this one.

Invariant: without `--partly` a file with a bad row imports nothing. A row that was imported before changes nothing.
"""

from __future__ import annotations

import asyncio
import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.csv_import import (
    bytes_of,
    doing_options,
    encoding_option,
    file_argument,
    nothing_imported,
    tell_refused,
)
from engine.cli.options import project_folder, project_option
from engine.cli.output import quiet_log
from engine.core.channel import ADDRESS_TRAITS
from engine.errors import BadRecord, UsageError

if TYPE_CHECKING:
    from engine.cli.people.consent_rows import Refused
    from engine.operations.suppressing import Wanted
    from engine.runtimes.suppression import SuppressionEntry

COLUMNS = ("address", "hash", "kind", "channel", "purpose", "reason", "since")
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_KIND = re.compile(r"(?:(?:erased|refused)/)?[a-z_]{1,40}\Z|objected/[a-z_]{1,40}/[^\x00-\x1f]{1,200}\Z")

channel_option = click.option(
    "--channel", type=click.Choice(sorted(ADDRESS_TRAITS)), default="email", show_default=True, help="Of the address."
)


@click.command("import")
@file_argument
@channel_option
@click.option("--reason", required=True, metavar="TEXT", help="Why, for the audit log.")
@encoding_option
@doing_options
@project_option
def import_(file: Path, *, folder: Path, dry_run: bool, partly: bool, report: Path | None, **told: str) -> int:
    """Suppress every address of a CSV file, or take an export of `anlass suppression export`.

    The first line names the columns: address, and where known channel and since (a time with its zone); or hash, kind, reason and
    since, as an export has them. Other columns are passed over. Every refused row is named with the reason; then nothing is
    imported and the status is 1, unless --partly is given.

    Examples:
      anlass suppression import old-provider.csv --reason "export of the old provider" --dry-run
      anlass suppression import old-provider.csv --reason "export of the old provider" --partly --report refused.csv
    """
    from engine import bootstrap
    from engine.operations import suppressing
    from engine.runtimes.suppression import IMPORTED

    quiet_log()
    if not told["reason"].strip():
        raise UsageError("--reason is empty.", mend="Say in a few words why.")
    root = project_folder(folder)
    wanted, entries, refused = _read(file, channel=told["channel"], encoding=told["encoding"])
    tell_refused(file, refused, report)
    good = len(wanted) + len(entries)
    said = f"{good} good row{'' if good == 1 else 's'}, {len(refused)} refused"
    if dry_run or (refused and not partly):
        nothing_imported(said, dry_run=dry_run)
        return 1 if refused else 0
    operations = bootstrap.operations(root)
    if wanted:
        asyncio.run(suppressing.add(operations, wanted, why=told["reason"], reason=IMPORTED))
    if entries:
        asyncio.run(suppressing.restore(operations, entries, why=told["reason"]))
    click.echo(f"{said}; {good} imported.")
    return 1 if refused else 0


def sound(address: str, channel: str) -> str:
    """The address as it is kept. Raises UsageError for what can be none."""
    from engine.cli.people.consent_rows import sound_address
    from engine.core.facts.address import plain

    try:
        return sound_address(plain(address), channel)
    except BadRecord as error:
        raise UsageError(
            f"{error.message[:1].upper()}{error.message[1:]}.", mend="Name one, or another --channel."
        ) from None


def _read(file: Path, *, channel: str, encoding: str) -> tuple[list[Wanted], list[SuppressionEntry], list[Refused]]:
    from engine.cli.people import consent_rows
    from engine.operations.suppressing import Wanted

    wanted: list[Wanted] = []
    entries: list[SuppressionEntry] = []
    refused: list[Refused] = []
    for number, raw, values in _rows(consent_rows.decoded(bytes_of(file), encoding)):
        try:
            made = _made(values, channel)
        except BadRecord as error:
            text = raw.encode("utf-8", "backslashreplace").decode()
            refused.append(consent_rows.Refused(number, error.message, text))
            continue
        if isinstance(made, Wanted):
            wanted.append(made)
        else:
            entries.append(made)
    return wanted, entries, refused


def _rows(text: str) -> Iterator[tuple[int, str, dict[str, str] | None]]:
    """(line, as written, values by column) of each row; values None: it cannot be read as one."""
    from engine.cli.people.consent_rows import records

    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise UsageError("The file is empty.", mend="Its first line names the columns: address, or hash and kind.")
    heads = {each: next(csv.reader([lines[first]], delimiter=each), []) for each in ",;\t|"}
    delimiter = max(heads, key=lambda each: sum(name.strip().lower() in COLUMNS for name in heads[each]))
    names = [name.strip().lower() for name in heads[delimiter]]
    names = ["address" if name in {"email", "e-mail"} and "address" not in names else name for name in names]
    if "address" not in names and not {"hash", "kind"} <= set(names):
        raise UsageError(
            "The file has no column address, nor hash and kind.", mend="Name the columns in its first line."
        )
    for number, raw, fields in records(lines, first + 1, delimiter):
        if fields is None:
            yield number, raw, None
        elif any(field.strip() for field in fields):
            yield number, raw, dict(zip(names, (field.strip() for field in fields), strict=False))


def _made(values: dict[str, str] | None, channel: str) -> Wanted | SuppressionEntry:
    """What a row becomes. Raises BadRecord."""
    from engine.cli.people.consent_rows import moment, sound_address
    from engine.core.facts.address import plain
    from engine.operations.suppressing import Wanted
    from engine.runtimes.suppression import IMPORTED, SuppressionEntry

    if values is None:
        raise BadRecord("row", "it is not a row of a table: a quote is not closed, or stands in the wrong place")
    since_ms = moment(values["since"], "since") if values.get("since") else 0
    if address := values.get("address", ""):
        named = values.get("channel") or channel
        if named not in ADDRESS_TRAITS:
            raise BadRecord("channel", f"channel is {named[:60]!r}; it may be {', '.join(sorted(ADDRESS_TRAITS))}")
        return Wanted(channel=named, address=sound_address(plain(address), named), since_ms=since_ms)
    key, kind = values.get("hash", "").lower(), values.get("kind", "")
    if not _HASH.match(key):
        raise BadRecord("address", "it has neither an address nor a hash of 64 hexadecimal digits")
    if not _KIND.match(kind):
        raise BadRecord("kind", f"kind is {kind[:60]!r}, which no export writes")
    return SuppressionEntry(hash=key, kind=kind, reason=values.get("reason") or IMPORTED, since_ms=since_ms)
