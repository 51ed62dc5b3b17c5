"""`anlass consent`: the proof of one customer's consent, printed; consent given or taken back by an operator.

Invariant: `show` only reads; `grant` and `withdraw` write a record with a reason and who said so; 0: it is applied.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import json_option, project_folder, project_option
from engine.cli.output import console, json_line, plain, quiet_log, safe, table
from engine.cli.people.consent_import import import_
from engine.cli.people.consent_verify import verify_consents
from engine.cli.private import write_private
from engine.errors import NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.core.consent.proof import ConsentRecord
    from engine.runtimes.base import Reader

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def consent() -> None:
    """Show, import, give or take back consent: the ledger that proves it.

    Examples:
      anlass consent show ana --pdf ana.pdf
      anlass consent import old-shop.csv --origin "Old shop, export of 2026-11-01" --dry-run
      anlass consent withdraw ana --purpose marketing --channel sms --reason "said so on the phone"
    """


consent.add_command(import_)
consent.add_command(verify_consents)


@consent.command("show")
@click.argument("customer", required=False, default="")
@click.option(
    "--address", metavar="A", default="", help="Everything about an address, also of somebody who was erased."
)
@click.option("--html", "html", type=_FILE, help="Write the proof as an HTML page.")
@click.option("--pdf", "pdf", type=_FILE, help="Write the proof as a PDF document.")
@json_option
@project_option
def show_consent(
    customer: str, *, address: str, html: Path | None, pdf: Path | None, as_json: bool, folder: Path
) -> None:
    """Show what a customer was asked, gave, confirmed and took back, with the proofs.

    Examples:
      anlass consent show ana
      anlass consent show ana --html ana.html --pdf ana.pdf
      anlass consent show --address ana@example.com
    """
    from engine import bootstrap
    from engine.core.consent.proof import standing
    from engine.runtimes.audit import Act

    quiet_log()
    root = project_folder(folder)
    if bool(customer) == bool(address):
        raise UsageError(
            "This needs a customer or an address, and not both.", mend="Name a customer, or use --address."
        )
    records = asyncio.run(bootstrap.ask(root, lambda reader: _records(reader, customer, address)))
    if not records:
        raise NotFound(
            f"The ledger has nothing about {customer or address}.", mend="Ids are compared letter by letter."
        )
    asyncio.run(bootstrap.note(root, Act(act="consent", what="show", customer=customer)))
    if html is not None or pdf is not None:
        _write(customer or address, records, html=html, pdf=pdf)
    elif as_json:
        click.echo(json_line({"stands": plain(standing(records)), "records": plain(records)}))
    else:
        _print(records)


async def _records(reader: Reader, customer: str, address: str) -> list[ConsentRecord]:
    """Under every id that the customer had, oldest first."""
    if address:
        return await reader.consents(address=address)
    state = await reader.state(customer)
    names = [customer, *(state.aliases if state is not None else ())]
    found = [record for name in dict.fromkeys(names) for record in await reader.consents(customer=name)]
    return sorted(found, key=lambda record: (record.at_ms, record.recorded_ms))


def _write(subject: str, records: list[ConsentRecord], *, html: Path | None, pdf: Path | None) -> None:
    from engine.cli.people import consent_proof
    from engine.clock import SystemClock

    printed = consent_proof.proof_of(subject, records, printed_ms=SystemClock().now_ms())
    makers: tuple[tuple[Path | None, Callable[[Any], bytes]], ...] = (
        (html, consent_proof.as_html),
        (pdf, consent_proof.as_pdf),
    )
    for path, make in makers:
        if path is None:
            continue
        try:
            write_private(path, make(printed))
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}.", mend="Choose another file.") from error
        click.echo(f"Wrote {path}.", err=True)


def _print(records: list[ConsentRecord]) -> None:
    from engine.clock import to_rfc3339
    from engine.core.consent.proof import standing

    out = console()
    now = table("purpose", "channel", "status", "address", "basis", "record", title="Where consent stands")
    for each in standing(records):
        last = each.withdrawn or each.given or each.requested
        now.add_row(
            *(safe(text) for text in (each.purpose, each.channel, each.status, each.address, each.basis)),
            last.id if last is not None else "",
        )
    out.print(now)
    shown = table("at", "what", "purpose", "channel", "address", "basis", "from", "record", title="\nThe ledger")
    for record in records:
        texts = (record.action, record.purpose, record.channel, record.address, record.basis, record.source)
        shown.add_row(to_rfc3339(record.at_ms), *(safe(text) for text in texts), record.id)
        for name, value in record.proof.items():
            shown.add_row("", "", safe(name), safe(value))
    out.print(shown)


def _changing(name: str, action: str, text: str) -> click.Command:
    """`grant` and `withdraw` differ in a word."""

    @click.command(name, help=text)
    @click.argument("customer")
    @click.option("--purpose", required=True, help="A purpose of the policy, such as marketing.")
    @click.option(
        "--channel",
        "channels",
        required=True,
        multiple=True,
        help="A channel, such as email; may be given several times.",
    )
    @click.option("--reason", required=True, help="Why, as it is to stand in the proof.")
    @click.option("--wording", default="", help="What the customer was told.")
    @project_option
    def change(
        customer: str, *, purpose: str, channels: tuple[str, ...], reason: str, wording: str, folder: Path
    ) -> None:
        _change(
            project_folder(folder), action, customer, purposes={purpose: list(channels)},
            proof={"reason": reason, "wording": wording},
        )  # fmt: skip
        what = "is given" if action == "grant" else "is withdrawn"
        click.echo(f"Consent of {customer} to {purpose} by {', '.join(channels)} {what}.")

    return change


def _change(root: Path, action: str, customer: str, *, purposes: dict[str, list[str]], proof: dict[str, str]) -> None:
    from engine import bootstrap
    from engine.clock import SystemClock
    from engine.core.record import Consent
    from engine.definition.problem import nearest
    from engine.operations.port import operator_name
    from engine.runtimes.audit import Act

    quiet_log()
    if not proof["reason"].strip():
        raise UsageError("--reason is empty.", mend="Say in a few words why.")
    policy = bootstrap.open_project(root, with_templates=False).catalog.policy
    for purpose in purposes:
        if purpose not in policy.purposes or policy.purposes[purpose].consent == "none":
            raise UsageError(
                f"No purpose of the policy that asks for consent is called `{purpose}`{nearest(purpose, policy.purposes)}."
            )
    state = asyncio.run(bootstrap.ask(root, lambda reader: reader.state(customer)))
    if state is None:
        raise NotFound(f"There is no customer {customer!r}.", mend="Ids are compared letter by letter.")
    now_ms = SystemClock().now_ms()
    proof = {**proof, "operator": operator_name()}
    what = f"{action} {', '.join(purposes)}"
    asyncio.run(bootstrap.note(root, Act(act="consent", what=what, customer=customer, why=proof["reason"])))
    record = Consent(
        customer=customer, at_ms=now_ms, id=f"operator:{now_ms}", time_ms=now_ms, action=action, purposes=purposes,
        source="operator", proof={name: text for name, text in proof.items() if text},
    )  # fmt: skip
    asyncio.run(bootstrap.carry_out(root, [record]))


consent.add_command(
    _changing(
        "grant",
        "grant",
        """Record consent that a customer gave to you: on paper, on the phone, at the counter.

        Examples:
          anlass consent grant ana --purpose marketing --channel email --reason "signed at the fair" --wording "News?"
        """,
    )
)
consent.add_command(
    _changing(
        "withdraw",
        "withdraw",
        """Record that a customer takes consent back, or objects; it counts at once.

        Examples:
          anlass consent withdraw ana --purpose marketing --channel email --reason "letter of 2026-11-20"
        """,
    )
)
