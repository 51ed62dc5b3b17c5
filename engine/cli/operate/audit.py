"""`anlass audit`: what operators did, when and why; and whether anybody changed the log of it since.

Invariant: it only reads.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from engine.cli.options import json_option, noted_head, project_folder, project_option
from engine.cli.output import console, json_line, quiet_log, safe, table
from engine.errors import UsageError
from engine.runtimes.audit import ActName, Head, Verified, encode_line, verify

if TYPE_CHECKING:
    from engine.bootstrap import Operations
    from engine.runtimes.audit import AuditLine

LINES_DEFAULT = 50


@click.group()
def audit() -> None:
    """List what operators did, and check that nobody changed the list.

    Every pause, resume, retry, replay, deploy, export and erase, and every look at a customer or a message is noted before it is
    done. Customers stand there as keyed hashes; --customer finds the lines about one.

    Examples:
      anlass audit list --customer ana
      anlass audit verify
    """


@audit.command("list")
@click.option("--customer", metavar="ID", default="", help="Only acts about this customer.")
@click.option("--act", type=click.Choice(get_args(ActName)), help="Only acts of this kind.")
@click.option(
    "-n", "--lines", type=click.IntRange(1), default=LINES_DEFAULT, show_default=True, help="The newest ones."
)
@json_option
@project_option
def list_acts(customer: str, *, act: str | None, lines: int, as_json: bool, folder: Path) -> None:
    """List what operators did, newest last.

    Examples:
      anlass audit list --act erase
      anlass audit list --customer ana --json
    """
    from engine import bootstrap

    quiet_log()
    operations = bootstrap.operations(project_folder(folder))
    found, _ = _read(operations)
    alias = operations.alias(customer) if customer else ""
    shown = [line for line in found.lines if alias in {"", line.customer} and act in {None, line.act}][-lines:]
    if as_json:
        for line in shown:
            click.echo(encode_line(line).decode())
    elif not shown:
        click.echo("The audit log has no such act.")
    else:
        _print(shown)
    if found.breaks:
        click.echo("anlass: The log has been changed since it was written: see `anlass audit verify`.", err=True)


def _print(lines: list[AuditLine]) -> None:
    rows = table("", "at", "who", "act", "what", "customer", "why")
    for line in lines:
        what = f"{line.what} ({line.count})" if line.count else line.what
        rows.add_row(str(line.number), line.at, safe(line.who), line.act, safe(what), line.customer, safe(line.why))
    console().print(rows)


@audit.command("verify")
@click.option(
    "--head",
    "known",
    metavar="N:HASH",
    default="",
    help="An end of the log noted earlier, to check that it is still there.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The key that lines are signed with, if the settings here have none; one per line.",
)
@json_option
@project_option
def verify_acts(known: str, *, key_file: Path | None, as_json: bool, folder: Path) -> int:
    """Check that no line was changed, taken out or put in; status 1 if one was.

    What was cut off at the end shows only against an end that was noted elsewhere: keep what this prints, and give it to --head.
    A log that was written anew as a whole shows against such an end, and by its lines' macs where a key is set.

    Examples:
      anlass audit verify
      anlass audit verify --key-file /media/safe/audit.key
    """
    from engine import bootstrap
    from engine.settings import load_settings
    from engine.settings.audit import keys_in

    quiet_log()
    root = project_folder(folder)
    keys = load_settings(root).audit.keys if key_file is None else keys_in(key_file.read_text("utf-8"))
    if key_file is not None and not keys:
        raise UsageError(f"{key_file} holds no key.", mend="Write it there, one a line.")
    found, said = _read(bootstrap.operations(root), keys)
    problems = [f"{each.place}: {each.problem}" for each in found.breaks]
    if said and said != str(found.head):
        problems.append(f"it ends with line {found.head.number}, but the last one written was {said.partition(':')[0]}")
    if known and not _holds(found, known):
        problems.append(f"the line {known.partition(':')[0]} that was noted is not in it, or is another one now")
    if as_json:
        click.echo(
            json_line({"lines": len(found.lines), "keyed": found.keyed, "head": str(found.head), "problems": problems})
        )
        return 1 if problems else 0
    for problem in problems:
        click.echo(f"anlass: {problem}", err=True)
    if problems:
        return 1
    checked = "with a mac of the key" if keys else "with a mac, which only its key verifies"
    keyed = f" {found.keyed} {checked}." if found.keyed else ""
    click.echo(f"{len(found.lines)} lines, each follows from the one before.{keyed} The end: {found.head}")
    return 0


def _read(operations: Operations, keys: tuple[bytes, ...] = ()) -> tuple[Verified, str]:
    told = asyncio.run(operations.audit())
    return verify(told.texts, keys=keys), told.said_head


def _holds(found: Verified, known: str) -> bool:
    ends = {Head(), *(Head(number=line.number, hash=line.hash) for line in found.lines)}
    return noted_head(known, command="anlass audit verify") in ends
