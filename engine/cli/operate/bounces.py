"""`anlass bounces`: says how mails that came back are understood, and hands them in.

Invariant: nothing is changed without `--hand-in`; what a mail says is shown without control characters and without its content.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import json_option, project_folder, project_option, reason_option
from engine.cli.output import console, json_line, quiet_log, safe, table
from engine.errors import UsageError

if TYPE_CHECKING:
    from channels.bounces import Understood
    from engine.core.record import Record
    from engine.runtimes.base import MessageStatus, Reader
    from engine.settings import Settings

FILES_MAX = 1_000


@click.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--hand-in", is_flag=True, help="Record what they say, as if they had come to the address for bounces.")
@reason_option
@json_option
@project_option
def bounces(files: tuple[Path, ...], *, hand_in: bool, reason: str, as_json: bool, folder: Path) -> None:
    """Say how returned mails are understood: delivery reports, complaints, automatic answers.

    Each FILE holds one mail as it came (.eml); `-` reads one from standard input.

    Examples:
      anlass bounces returned.eml
      anlass bounces Maildir/new/* --hand-in
    """
    from engine.settings import load_settings

    quiet_log()
    if len(files) > FILES_MAX:
        raise UsageError(f"These are more than {FILES_MAX} files.", mend="Name fewer at once.")
    root = project_folder(folder)
    mails = [(str(file), _content(file)) for file in files]
    lines, records = asyncio.run(_read(root, load_settings(root), mails))
    if as_json:
        for line in lines:
            click.echo(json_line(line))
    else:
        _print(lines)
    if hand_in:
        _hand_in(root, records, why=reason)
        count = sum(1 for line in lines if line["usable"])
        click.echo(f"{count} of {len(lines)} mails handed in.", err=as_json)


async def _read(
    root: Path, settings: Settings, mails: list[tuple[str, bytes]]
) -> tuple[list[dict[str, Any]], list[Record]]:
    """What each mail says, and the records that would follow."""
    from channels.bounces import understand
    from engine import bootstrap
    from engine.clock import SystemClock
    from engine.collector.callbacks.reports import Reports
    from engine.errors import NotFound
    from engine.telemetry import Metrics
    from engine.watches.bounces import marks_of

    marks = marks_of(settings)
    understood = [(name, understand(raw, marks=marks)) for name, raw in mails]

    async def look(reader: Reader) -> tuple[list[dict[str, Any]], list[Record]]:
        reports = Reports(reader, SystemClock(), Metrics(), pause_after=settings.bounces.pause_after)
        lines: list[dict[str, Any]] = []
        records: list[Record] = []
        for name, each in understood:
            about = await reader.message(each.report.message) if each.report is not None else None
            lines.append(_line(name, each, about))
            if lines[-1]["usable"] and each.report is not None and about is not None:
                records += await reports.records(each.report, about)
        return lines, records

    try:
        return await bootstrap.ask(root, look)
    except NotFound:  # it never ran, so no message is known
        return [_line(name, each, None) for name, each in understood], []


def _line(name: str, understood: Understood, about: MessageStatus | None) -> dict[str, Any]:
    """Flat, for people and programs."""
    from engine.collector.bounces.intake import UNBELIEVABLE, believable

    report = understood.report
    why = understood.reason
    if report is not None:
        if about is None:
            why = "no message is known that it is about"
        elif not believable(understood, about):
            why = UNBELIEVABLE
    detail = report.detail if report is not None else {}
    return {
        "file": name,
        "kind": str(understood.kind),
        "means": understood.label,
        "outcome": str(report.outcome) if report is not None else "",
        "code": detail.get("code", ""),
        "words": detail.get("reason", ""),
        "message": report.message if report is not None else "",
        "customer": about.message.customer if about is not None else "",
        "proven": understood.proven,
        "usable": report is not None and not why,
        "why_not": why,
    }


def _print(lines: list[dict[str, Any]]) -> None:
    shown = table("file", "it is", "and means", "code", "message", "customer", "")
    for line in lines:
        means = f"{line['outcome']} ({line['means']})" if line["outcome"] else line["means"]
        note = line["why_not"] or line["words"]
        cells = (Path(line["file"]).name, line["kind"], means, line["code"], line["message"], line["customer"], note)
        shown.add_row(*(safe(str(cell)) for cell in cells))
    console().print(shown)


def _hand_in(root: Path, records: list[Record], *, why: str) -> None:
    from engine import bootstrap
    from engine.runtimes.audit import Act

    if not records:
        return
    asyncio.run(bootstrap.note(root, Act(act="bounces", count=len(records), why=why)))
    asyncio.run(bootstrap.carry_out(root, records))


def _content(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}.", mend="Name a file that holds one mail."
        ) from error
