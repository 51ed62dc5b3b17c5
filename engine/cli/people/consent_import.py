"""`anlass consent import`: brings consents of another system into the ledger, with where they come from and what they rest on.

Invariant: without `--partly` a file with a bad row imports nothing. A row that was imported before changes nothing, so that a
command that was cut off is simply given again.
"""

from __future__ import annotations

import asyncio
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
from engine.cli.output import progress, quiet_log
from engine.errors import AnlassError, UsageError

if TYPE_CHECKING:
    from engine.cli.people.consent_columns import ListReading
    from engine.cli.people.consent_rows import Refused, Row
    from engine.core.policy import Policy

CHUNK_ROWS = 5_000


@click.command("import")
@file_argument
@click.option(
    "--origin", metavar="TEXT", required=True, help="Where the list comes from, as it is to stand in the proof."
)
@click.option(
    "--basis", metavar="BASIS", default="", help="For rows without one: consent, existing_customer or contract."
)
@encoding_option
@click.option("--purpose", metavar="NAME", default="", help="Of another system's list: what its consents are for.")
@click.option("--channel", metavar="NAME", default="", help="Of another system's list: email (the default), sms, …")
@click.option(
    "--zone", metavar="NAME", default="", help="Of another system's list: its time zone; by default the policy's."
)
@click.option(
    "--given-at", metavar="TIME", default="", help="Of another system's list without times: when consent was given."
)
@doing_options
@project_option
def import_(file: Path, *, folder: Path, dry_run: bool, partly: bool, report: Path | None, **told: str) -> int:
    """Import consents from a CSV file into the ledger.

    The first line names the columns: customer, purpose, channel, address, given_at (with its zone), basis; and, where known, row,
    action (grant or withdraw), wording, wording_version, language, form, page, ip, user_agent, requested_at, confirmed_at, zone,
    message. Commas, semicolons and tabs are understood. Every refused row is named with the reason; then nothing is imported and
    the status is 1, unless --partly is given. A row that was imported before changes nothing.

    Exports of CleverReach, listmonk, Mailchimp, Shopify and tables of Excel are read as they are, with --purpose: who was
    unsubscribed becomes an objection; who was never confirmed, bounced or not asked is left out. Where the list has no number of
    the customer, the address is the id.

    Examples:
      anlass consent import mailchimp.csv --origin "Mailchimp 2026-11-01" --basis consent --purpose marketing --dry-run
      anlass consent import old-shop.csv --origin "Old shop, export of 2026-11-01" --dry-run
      anlass consent import old-shop.csv --origin "Old shop, export of 2026-11-01" --basis consent
      anlass consent import old-shop.csv --origin "Old shop" --partly --report refused.csv
    """
    from engine import bootstrap
    from engine.runtimes.audit import Act

    quiet_log()
    root = project_folder(folder)
    rows, refused, skipped = _read(root, file, **told)
    tell_refused(file, refused, report)
    said = f"{len(rows)} good row{'' if len(rows) == 1 else 's'}, {len(refused)} refused"
    said += f", {skipped} left out that say no consent" if skipped else ""
    if dry_run or (refused and not partly):
        nothing_imported(said, dry_run=dry_run)
        return 1 if refused else 0
    asyncio.run(bootstrap.note(root, Act(act="consent", what="import", count=len(rows), why=told["origin"])))
    asyncio.run(_import(root, rows))
    click.echo(f"{said}; {len(rows)} imported.")
    return 1 if refused else 0


def _read(
    root: Path, file: Path, *, origin: str, basis: str, encoding: str, **foreign: str
) -> tuple[list[Row], list[Refused], int]:
    from engine import bootstrap
    from engine.cli.people import consent_rows
    from engine.clock import SystemClock
    from engine.core.consent.may_send import BASES

    if basis and basis not in BASES:
        raise UsageError(f"There is no legal basis {basis!r}.", mend=f"It may be {', '.join(BASES)}.")
    if not origin.strip() or len(origin) > consent_rows.ID_CHARS_MAX:
        raise UsageError("--origin is empty or too long.", mend="Say in a few words where the list comes from.")
    data = bytes_of(file)
    project = bootstrap.open_project(root, with_templates=False)
    rules = consent_rows.RowRules(
        origin=origin.strip(),
        purposes=frozenset(project.catalog.policy.purposes),
        now_ms=SystemClock().now_ms(),
        basis=basis,
        foreign=_reading(project.catalog.policy, **foreign),
    )
    rows: list[Row] = []
    refused: list[Refused] = []
    skipped = 0
    for each in consent_rows.read(consent_rows.decoded(data, encoding), rules):
        if isinstance(each, consent_rows.Row):
            rows.append(each)
        elif isinstance(each, consent_rows.Skipped):
            skipped += 1
        else:
            refused.append(each)
    return rows, refused, skipped


def _reading(policy: Policy, *, purpose: str, channel: str, zone: str, given_at: str) -> ListReading:
    from engine.cli.people.consent_columns import ListReading
    from engine.core.reading.zones import read_zone
    from engine.core.time.zone import parse_time, rfc3339, zone_named

    name, reason = read_zone(zone or policy.zone)
    if reason:
        raise UsageError(f"--zone {zone[:40]!r}: {reason}.", mend="Name a zone, such as Europe/Berlin.")
    if purpose and purpose not in policy.purposes:
        raise UsageError(
            f"The policy has no purpose {purpose[:40]!r}.", mend=f"It has {', '.join(sorted(policy.purposes))}."
        )
    at_ms = parse_time(given_at, zone_named(name)) if given_at else None
    if given_at and at_ms is None:
        raise UsageError("--given-at is not a time that can be read.", mend="Write it as 2023-05-06T07:08:00+02:00.")
    return ListReading(
        purpose=purpose,
        channel=channel or "email",
        zone=zone_named(name),
        given_at=rfc3339(at_ms) if at_ms is not None else "",
    )


async def _import(root: Path, rows: list[Row]) -> None:
    from engine import bootstrap

    done = 0
    try:
        with progress(unit="rows") as bar:
            task = bar.add_task("Importing", total=len(rows))
            for at in range(0, len(rows), CHUNK_ROWS):
                part = rows[at : at + CHUNK_ROWS]
                operations = bootstrap.operations(root)
                await operations.submit([row.record for row in part])
                await operations.settle()
                done += len(part)
                bar.update(task, completed=done)
    except (AnlassError, KeyboardInterrupt):
        click.echo(
            f"anlass: {done} of {len(rows)} rows are imported for certain. Give the same command again: those change nothing.",
            err=True,
        )
        raise
