"""`anlass export` and `anlass erase`: what the GDPR asks for one person (Art. 15 and 20, Art. 17).

Invariant: an export leaves out nothing that is stored under the customer; an erasure that says it is done has been checked.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import project_folder, project_option, reason_option, var_folder
from engine.cli.output import plain, quiet_log
from engine.cli.private import write_private
from engine.errors import NotFound, ServiceUnreachable, UsageError

if TYPE_CHECKING:
    from engine.bootstrap import Operations

CHECKS_MAX = 100
CHECK_SECONDS = 0.1


@click.command()
@click.argument("customer")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead.")
@click.option(
    "--html", "as_html", is_flag=True, help="A page that the person can read, with explanations, instead of JSON."
)
@reason_option
@project_option
def export(customer: str, *, output: Path | None, as_html: bool, reason: str, folder: Path) -> None:
    """Export everything that is kept about a customer, as JSON or as a page.

    The profile with traits and enrollments, the consent ledger, every message with what it said and what became of it, every
    decision with its reasons, addresses that nothing is sent to, and dead letters.

    Examples:
      anlass export ana
      anlass export ana -o ana.json
      anlass export ana --html -o ana.html
    """
    from engine import bootstrap
    from engine.cli.people.dossier import content_of, gather, page
    from engine.runtimes.audit import Act

    quiet_log()
    root = project_folder(folder)
    operations = bootstrap.operations(root)
    content = content_of(root)
    found = asyncio.run(operations.ask(lambda reader: gather(reader, customer, content=content)))
    if found is None:
        raise NotFound(f"Nothing is kept about a customer {customer!r}.", mend="Ids are compared letter by letter.")
    asyncio.run(operations.note(Act(act="export", customer=customer, why=reason)))
    text = page(found) if as_html else json.dumps(found, ensure_ascii=False, indent=2) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_private(output, text.encode())
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}.", mend="Choose another file.") from error
    click.echo(f"Wrote {output}.", err=True)


@click.command()
@click.argument("customer")
@click.option("--yes", is_flag=True, help="Do it; without this nothing is changed.")
@reason_option
@project_option
def erase(customer: str, *, yes: bool, reason: str, folder: Path) -> None:
    """Erase a customer for good, and print a receipt as JSON.

    Profile, journal, messages, dead letters and the log's records go; what stays is a keyed hash of the id in the receipt, and of
    suppressed addresses, so that nothing is sent to them again. Kafka's topics keep what was written to them until their
    retention ends; it says until when (`kept`).

    Examples:
      anlass erase ana --yes
    """
    from engine import bootstrap
    from engine.cli.people.dossier import gather
    from engine.runtimes.audit import Act

    quiet_log()
    operations = bootstrap.operations(project_folder(folder))
    found = asyncio.run(operations.ask(lambda reader: gather(reader, customer)))
    if found is None:
        raise NotFound(f"Nothing is kept about a customer {customer!r}.", mend="Ids are compared letter by letter.")
    counted = {name: len(found[name]) for name in ("journal", "messages", "dead_letters")}
    if not yes:
        nouns = {"journal": "decisions", "messages": "messages", "dead_letters": "dead letters"}
        what = ", ".join(f"{count} {nouns[name]}" for name, count in counted.items())
        raise UsageError(
            f"This would erase {customer} for good (a profile, {what}); nothing was changed.",
            mend="Add --yes to do it.",
        )
    message_ids = [message["message"]["id"] for message in found["messages"]]
    asyncio.run(operations.note(Act(act="erase", customer=customer, why=reason)))
    var = var_folder(folder)
    in_mailbox = bootstrap.kept_in_mailbox(var, message_ids)  # a running service clears it by itself
    done = asyncio.run(_erase(operations, customer))
    bootstrap.forget_in_mailbox(var, message_ids)
    done["mailbox_removed"] = in_mailbox
    click.echo(json.dumps({**done, "found": counted}, ensure_ascii=False, indent=2))
    if done["kept"]:
        parts = [f"{each['topic']} {_until(each['until'])}" for each in done["kept"]]
        click.echo(
            "The journal's database has nothing about them any more, and the workers neither. What was written before stays on"
            f" Kafka until its retention ends, at most: {', '.join(parts)}. The ledger's rows go when a dispatcher has read the"
            " erasure, mailboxes on other machines are not touched, and suppressed addresses stay as keyed hashes.",
            err=True,
        )


def _until(moment: str | None) -> str:
    return f"until {moment[:10]}" if moment else "for ever"


async def _erase(operations: Operations, customer: str) -> dict[str, Any]:
    """Erases and looks whether it happened; returns the receipt."""
    from engine.cli.people.dossier import gather

    await operations.erase(customer)
    for _ in range(CHECKS_MAX):
        receipt = await operations.receipt(customer)
        if receipt is not None and await operations.ask(lambda reader: gather(reader, customer)) is None:
            kept = [plain(each) for each in await operations.kept()]
            return {**plain(receipt), "finished": bool(receipt.finished_ms), "kept": kept}
        await asyncio.sleep(CHECK_SECONDS)
    raise ServiceUnreachable(
        "The erasure was handed over, but is not confirmed yet.",
        mend="Check again with `anlass export`; on a cluster check that `anlass sink` is running.",
    )
