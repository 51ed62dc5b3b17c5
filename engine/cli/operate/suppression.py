"""`anlass suppression`: the addresses that nothing is sent to, listed, added to, lifted, exported.

Invariant: what is stored is a keyed hash, so a list names no address; every change has a reason and a line in the audit log.
"""

from __future__ import annotations

import asyncio
import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.operate.suppression_import import channel_option, import_, sound
from engine.cli.options import json_option, project_folder, project_option
from engine.cli.output import console, json_line, quiet_log, safe, table
from engine.errors import NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.runtimes.suppression import SuppressionEntry

HASH_SHOWN = 12
CAUSES = ("bounced", "complained", "operator", "import", "objected", "erased")


@click.group()
def suppression() -> None:
    """List, add, lift, import and export the addresses that nothing is sent to.

    Addresses that bounced or complained, whose owners objected or were erased, and those that you add. They are stored as keyed
    hashes: a list shows the hash, the channel, the reason and since when; --address finds what is kept about one.

    Examples:
      anlass suppression list --address ana@example.com
      anlass suppression add ana@example.com --reason "letter of 2026-11-20"
      anlass suppression lift ana@example.com --reason "her mailbox is back, she called"
      anlass suppression import old-provider.csv --reason "export of the old provider"
    """


suppression.add_command(import_)
_reason = click.option("--reason", required=True, metavar="TEXT", help="Why, for the audit log.")


@suppression.command("list")
@click.option("--address", metavar="A", default="", help="Only what is kept about this address.")
@click.option("--why", "cause", type=click.Choice(CAUSES), help="Only entries of this kind.")
@channel_option
@click.option("-n", "--lines", type=click.IntRange(1), default=200, show_default=True, help="The newest ones.")
@json_option
@project_option
def list_(address: str, *, cause: str | None, channel: str, lines: int, as_json: bool, folder: Path) -> int:
    """List what is suppressed, newest last. With --address, status 1 when nothing is kept about it.

    Examples:
      anlass suppression list --why complained
      anlass suppression list --address ana@example.com --json
    """
    entries = _entries(project_folder(folder), address, channel)
    shown = [each for each in entries if not each.is_shadow and cause in {None, each.cause}]
    for each in shown[-lines:] if as_json else ():
        click.echo(json_line(_fields(each)))
    if not as_json and not shown:
        click.echo("Nothing is suppressed." if not address else f"Nothing is kept about {address}.")
    elif not as_json:
        rows = table("hash", "channel", "reason", "purpose", "since")
        for each in shown[-lines:]:
            said = _fields(each)
            rows.add_row(
                each.hash[:HASH_SHOWN], *(safe(said[name] or "") for name in ("channel", "reason", "purpose", "since"))
            )
        console().print(rows)
        if len(shown) > lines:
            click.echo(f"and {len(shown) - lines} older ones; --lines shows more.")
    return 1 if address and not shown else 0


@suppression.command("add")
@click.argument("addresses", metavar="ADDRESS…", nargs=-1, required=True)
@channel_option
@_reason
@project_option
def add(addresses: tuple[str, ...], *, channel: str, reason: str, folder: Path) -> None:
    """Stop sending anything to these addresses, whatever it is for. It counts at once, for every customer who has them.

    Examples:
      anlass suppression add ana@example.com --reason "letter of 2026-11-20"
      anlass suppression add +4915112345678 --channel sms --reason "number was given to somebody else"
    """
    from engine import bootstrap
    from engine.operations import suppressing

    quiet_log()
    wanted = [suppressing.Wanted(channel=channel, address=sound(each, channel)) for each in addresses]
    operations = bootstrap.operations(project_folder(folder))
    fresh = asyncio.run(suppressing.add(operations, wanted, why=_said(reason)))
    known = len(wanted) - fresh
    click.echo(f"{fresh} suppressed." + (f" {known} had been before." if known else ""))


@suppression.command("lift")
@click.argument("address", metavar="ADDRESS")
@channel_option
@_reason
@click.option(
    "--also",
    multiple=True,
    type=click.Choice(("objected", "erased")),
    help="Also lift what its owner asked for; be sure.",
)
@project_option
def lift(address: str, *, channel: str, reason: str, also: tuple[str, ...], folder: Path) -> None:
    """Let an address be written to again: bounces, complaints and what was added or imported are forgotten.

    An objection, and that its owner was erased, stay unless --also names them. Consent is another matter: who withdrew it is
    not written to.

    Examples:
      anlass suppression lift ana@example.com --reason "her mailbox is back, she called"
    """
    from engine import bootstrap
    from engine.operations import suppressing

    quiet_log()
    operations = bootstrap.operations(project_folder(folder))
    wanted = sound(address, channel)
    done = asyncio.run(suppressing.lift(operations, channel, wanted, why=_said(reason), also=also))
    stays = sorted({each.cause for each in done.stays})
    if not done.gone and not done.customers:
        left = f" but that it was {' and '.join(stays)}, which stays unless --also names it" if stays else ""
        raise NotFound(
            f"Nothing is kept about {address}{left}.", mend="`anlass suppression list --address` shows what there is."
        )
    causes = ", ".join(sorted({each.cause for each in done.gone})) or "what its customers' states knew"
    click.echo(f"{address} can be written to again: {causes} is lifted.")
    if stays:
        click.echo(f"What stays: {', '.join(stays)}. Name it with --also to lift it as well.")


@suppression.command("export")
@click.argument("file", metavar="F.csv", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@_reason
@project_option
def export(file: Path, *, reason: str, folder: Path) -> None:
    """Write everything that is suppressed to a CSV file (`-`: standard output), as hashes.

    `anlass suppression import` takes the file again, in a project with the same key.

    Examples:
      anlass suppression export suppressed.csv --reason "move to the new machine"
    """
    from engine import bootstrap
    from engine.runtimes.audit import Act

    root = project_folder(folder)
    entries = _entries(root, "", "email")
    asyncio.run(bootstrap.note(root, Act(act="suppression", what="export", count=len(entries), why=_said(reason))))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["hash", "kind", "channel", "purpose", "reason", "since"])
    for each in entries:
        said = _fields(each)
        writer.writerow([each.hash, each.kind, said["channel"], said["purpose"], each.reason, said["since"] or ""])
    if str(file) == "-":
        sys.stdout.write(text.getvalue())
        return
    try:
        file.touch(mode=0o600)
        file.write_text(text.getvalue(), "utf-8", newline="")
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.", mend="Choose another file.") from error
    click.echo(f"{len(entries)} rows written to {file}.")


def _entries(root: Path, address: str, channel: str) -> Sequence[SuppressionEntry]:
    from engine import bootstrap
    from engine.operations import suppressing

    quiet_log()
    operations = bootstrap.operations(root)
    if address:
        return asyncio.run(suppressing.find(operations, channel, sound(address, channel)))
    return asyncio.run(operations.suppressions())


def _fields(entry: SuppressionEntry) -> dict[str, str | None]:
    from engine.clock import to_rfc3339

    since = to_rfc3339(entry.since_ms) if entry.since_ms else None
    return {
        "hash": entry.hash, "channel": entry.channel, "reason": entry.cause, "purpose": entry.purpose, "since": since,
    }  # fmt: skip


def _said(reason: str) -> str:
    if not reason.strip():
        raise UsageError("--reason is empty.", mend="Say in a few words why.")
    return reason
