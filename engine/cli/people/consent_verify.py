"""`anlass consent verify`: whether anybody changed the consent ledger since it was written.

Invariant: it only reads, and names no customer: a record by its number and its id.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from engine.cli.options import json_option, noted_head, project_folder, project_option
from engine.cli.output import json_line, quiet_log


@click.command("verify")
@click.option(
    "--head", "known", metavar="N:HASH", default="", help="An end noted earlier, to check that it is still there."
)
@json_option
@project_option
def verify_consents(known: str, *, as_json: bool, folder: Path) -> int:
    """Check that no record was changed, taken out or put in; status 1 if one was.

    Each record holds the hash of the one before. An erasure and the end of its five years leave the chain whole. A ledger that
    was written anew as a whole shows against an end that was noted elsewhere: keep what this prints, and give it to --head.

    Examples:
      anlass consent verify
    """
    from engine import bootstrap

    quiet_log()
    head = noted_head(known, command="anlass consent verify") if known else None
    found = asyncio.run(bootstrap.operations(project_folder(folder)).check_consents(head))
    problems = [*found.problems]
    if head is not None and not found.holds:
        problems.append(f"Record {head.number} as it was noted is not in the ledger, or is another one now.")
    if as_json:
        counts = {"records": found.rows, "erased": found.erased, "gone": found.gone}
        click.echo(json_line({**counts, "head": str(found.head), "problems": problems}))
        return 1 if problems else 0
    for problem in problems:
        click.echo(f"anlass: {problem}", err=True)
    if problems:
        return 1
    without = f", {found.erased} without their person" if found.erased else ""
    gone = f"; {found.gone} went when their time was over" if found.gone else ""
    click.echo(f"{found.rows} records{without}{gone}: each follows from the one before. The end: {found.head}")
    return 0
