"""`anlass held` and `anlass flush`: let go, or drop, what a restored copy holds; end pauses and backoffs of delivery.

Invariant: everything that changes something is a record, noted in the audit log before it is handed over.
"""

from __future__ import annotations

import asyncio
import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.operate.steer import carry_out, known_workflow, note
from engine.cli.options import json_option, project_folder, project_option, reason_option
from engine.cli.output import console, json_line, quiet_log, safe, table
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.core.record import Record
    from engine.runtimes.base import Reader

SENT_AT_ONCE = 500
ID_CHARS_MAX = 500
_OURS = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_COLUMNS = ("message", "message_id", "message-id", "messageid", "id", "provider_id", "sid", "smtp-id", "custom_id")


@click.group(invoke_without_command=True)
@json_option
@project_option
@click.pass_context
def held(context: click.Context, *, as_json: bool, folder: Path) -> None:
    """List what waits to happen, by workflow, with its age; and let it go, or drop it.

    A copy that was restored is started with `anlass run --hold` (on Kafka `anlass worker --hold`, `anlass dispatcher --hold`):
    nothing leaves it and no timer fires. What waits is listed here, and let go or dropped workflow by workflow; what a pause
    holds is listed, too.

    Examples:
      anlass held
      anlass held sent provider-log.csv
      anlass held drop cart-recovery
      anlass held release order-confirmation
      anlass held release --all
    """
    if context.invoked_subcommand is not None:
        return
    from engine import bootstrap
    from engine.clock import SystemClock
    from engine.operations.holding import WaitingWork, waiting_by_workflow

    quiet_log()
    now_ms = SystemClock().now_ms()
    root = project_folder(folder)

    async def question(reader: Reader) -> list[WaitingWork]:
        return await waiting_by_workflow(reader, now_ms=now_ms)

    rows = asyncio.run(bootstrap.ask(root, question))
    if as_json:
        for row in rows:
            oldest = min(filter(None, (row.decided_ms, row.due_ms)))
            shown = {"workflow": row.workflow, "messages": row.messages, "due": row.due}
            click.echo(json_line({**shown, "oldest_seconds": max(0, now_ms - oldest) // 1_000}))
        return
    if not rows:
        click.echo("Nothing waits.")
        return
    printed = table("workflow", "messages", "oldest", "due", "oldest")
    for row in rows:
        ages = [_age(now_ms - at_ms) if at_ms else "" for at_ms in (row.decided_ms, row.due_ms)]
        printed.add_row(safe(row.workflow), str(row.messages), ages[0], str(row.due), ages[1])
    console().print(printed)


def _age(span_ms: int) -> str:
    minutes = max(0, span_ms) // 60_000
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1_440} d"


_all_option = click.option("--all", "everything", is_flag=True, help="All workflows.")


@held.command()
@click.argument("workflow", required=False, default="")
@_all_option
@reason_option
@project_option
def release(workflow: str, *, everything: bool, reason: str, folder: Path) -> None:
    """Let what is held happen: its timers fire, its messages leave.

    Each message is asked about once more before it leaves: consent, suppression, quiet hours, `max_age`.

    Examples:
      anlass held release order-confirmation
      anlass held release --all
    """
    _let_go(folder, workflow, everything=everything, drop=False, why=reason)
    click.echo(f"{workflow or 'Everything'} goes on.")


@held.command()
@click.argument("workflow", required=False, default="")
@_all_option
@reason_option
@project_option
def drop(workflow: str, *, everything: bool, reason: str, folder: Path) -> None:
    """Let a workflow go on without what was decided or came due until now: those runs end, those messages are suppressed.

    Examples:
      anlass held drop cart-recovery
    """
    _let_go(folder, workflow, everything=everything, drop=True, why=reason)
    click.echo(f"{workflow or 'Everything'} goes on; what it had waiting will not be done (`dropped`).")


def _let_go(folder: Path, workflow: str, *, everything: bool, drop: bool, why: str) -> None:
    from engine.clock import SystemClock
    from engine.core.record import Hold
    from engine.runtimes.audit import Act

    quiet_log()
    if bool(workflow) == everything:
        raise UsageError("No workflow is named.", mend="Name one, or use --all.")
    root = project_folder(folder)
    if workflow:
        known_workflow(root, workflow)
    now_ms = SystemClock().now_ms()
    note(root, Act(act="drop" if drop else "release", what=workflow or "all", why=why))
    record = Hold(customer="", at_ms=now_ms, id=f"operator:{now_ms}", on=False, workflow=workflow, drop=drop)
    carry_out(root, [record])


@held.command()
@click.argument("log", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@reason_option
@project_option
def sent(log: Path, *, reason: str, folder: Path) -> None:
    """Settle as sent what the provider's log says it sent: it is not sent again, also when it is not decided here yet.

    LOG is CSV with a header, or JSON lines. Our ids are found in `message_id` (they begin the Message-ID of a mail), `id`,
    `smtp-id` and the like; the provider's own ids in `provider_id`, `id` or `sid` are compared with the ledger's.

    Examples:
      anlass held sent provider-log.csv
    """
    from engine.clock import SystemClock
    from engine.core.record import Settled
    from engine.runtimes.audit import Act

    quiet_log()
    root = project_folder(folder)
    ids = list(dict.fromkeys(_ids(log)))
    if not ids:
        raise UsageError(
            f"{log} names no message.",
            mend=f"It needs a column, or a field, of one of these names: {', '.join(_COLUMNS)}.",
        )
    now_ms = SystemClock().now_ms()
    note(root, Act(act="settle", what="sent", count=len(ids), why=reason))
    records: list[Record] = [
        Settled(customer="", at_ms=now_ms, id=f"operator:{now_ms}:{at}", messages=tuple(ids[at : at + SENT_AT_ONCE]))
        for at in range(0, len(ids), SENT_AT_ONCE)
    ]
    carry_out(root, records)
    click.echo(f"{len(ids)} messages of the provider's log count as sent.")


def _ids(log: Path) -> Iterator[str]:
    """What the log calls its messages: our ids where it names them, else the provider's."""
    text = log.read_text("utf-8-sig", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and lines[0].lstrip().startswith("{"):
        rows: Iterator[object] = (_object(line) for line in lines)
    else:
        rows = iter(csv.DictReader(lines))
    for row in rows:
        if not isinstance(row, dict):
            continue
        known = {str(name).strip().lower(): value for name, value in row.items()}
        for name in _COLUMNS:
            value = known.get(name)
            if isinstance(value, str) and 0 < len(value.strip()) <= ID_CHARS_MAX:
                found = _OURS.search(value)
                yield found.group() if found else value.strip()


def _object(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError as error:
        raise UsageError(
            "A line of the log is not JSON.", mend="Write one JSON object on each line, or CSV."
        ) from error


@click.command()
@click.argument("what", metavar="[CHANNEL | DOMAIN]", required=False, default="")
@reason_option
@project_option
def flush(what: str, *, reason: str, folder: Path) -> None:
    """End pauses and backoffs of delivery now: of a channel, of a destination domain, or of all.

    When a provider or a domain does not take mail for the moment, Anlass pauses and tries one message after each pause. After
    the cause is mended this tries at once. Quiet hours and paused workflows are not touched.

    Examples:
      anlass flush
      anlass flush email
      anlass flush gmail.com
    """
    from engine.clock import SystemClock
    from engine.core.record import Flush
    from engine.runtimes.audit import Act

    quiet_log()
    root = project_folder(folder)
    now_ms = SystemClock().now_ms()
    note(root, Act(act="flush", what=what or "all", why=reason))
    channel, domain = ("", what.lower()) if "." in what else (what, "")
    carry_out(root, [Flush(customer="", at_ms=now_ms, id=f"operator:{now_ms}", channel=channel, domain=domain)])
    click.echo(f"Pauses and backoffs of {what or 'all channels'} are over; what waits is tried now.")
