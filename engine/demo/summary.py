"""The last page of the demo: the account in words and tables, and where to look next.

Invariant: says what went through which door: mail over SMTP, texts to the stand-in of Twilio, the rest into the local mailbox.
"""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engine.demo.account import Account
from engine.demo.script import DAYS

WIDTH = 110


def show_summary(console: Console, account: Account, *, folder: Path, days: int, drained: bool) -> None:
    """Prints it. `days` is how far the compressed time came."""
    told = account.told
    console.print()
    console.rule(f"[bold]{days} of {DAYS} days in {account.seconds:.1f} s", align="left")
    console.print(
        f"Events      {told.get('accepted', 0)} accepted over HTTP, {told.get('refused', 0)} refused (malformed, on purpose),"
        f" {account.counts['dead_letters']} kept as dead letters, {told.get('duplicates', 0)} sent twice",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(
        f"Customers   {account.customers}; {told.get('confirm', 0)} confirmed their subscription by the link in the mail,"
        f" {told.get('unsubscribe', 0)} unsubscribed by one click",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(
        f"Mail server {account.bounced} times 550 (no such person), {account.deferred} times 450 (later), taken then",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if account.turned_away:
        console.print(
            f"            {account.turned_away} people of the crowd were turned away: this machine is busy",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    for heading, table in (("Enrollments", _enrollments(account)), ("Messages", _messages(account))):
        console.print(f"\n[bold]{heading}[/]")
        console.print(table)
    _speed(console, account)
    _verdict(console, account, drained=drained)
    _where(console, account, folder)


def _enrollments(account: Account) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("workflow", "entered", "active", "completed", "exited", "failed"):
        table.add_column(name, justify="left" if name == "workflow" else "right", header_style="dim")
    for workflow, by in account.counts["enrollments"].items():
        table.add_row(workflow, *(str(by[name]) for name in ("entered", "active", "completed", "exited", "failed")))
    return table


def _messages(account: Account) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("channel", header_style="dim")
    table.add_column("sent", justify="right", header_style="dim")
    table.add_column("everything else", header_style="dim")
    for channel, by in sorted(account.answers.items()):
        door = {"email": "SMTP", "newsletter": "SMTP", "sms": "Twilio's stand-in"}.get(channel, "local mailbox")
        rest = ", ".join(f"{number} {answer}" for answer, number in by.most_common() if answer != "sent")
        table.add_row(f"{channel} ({door})", str(by.get("sent", 0)), rest)
    return table


def _speed(console: Console, account: Account) -> None:
    console.print()
    if not math.isnan(account.percentile(0.5)):
        console.print(
            f"Latency     p50 {account.percentile(0.5):.1f} ms, p99 {account.percentile(0.99):.1f} ms from the shop's request"
            f" to the mail server's 250 ({len(account.latency_ms)} mails that an event caused at once)",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    console.print(
        f"Decisions   {account.decisions}, {account.decisions / max(account.seconds, 0.001):.0f} a second; the shop's pace,"
        " not the engine's limit (see `make bench`)",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _verdict(console: Console, account: Account, *, drained: bool) -> None:
    if not drained:
        console.print("[yellow]Not everything had left when the time was up; `anlass run` sends the rest.[/]")
    if account.differences:
        console.print("[bold red]The books do not agree:[/]")
        for difference in account.differences[:10]:
            console.print(f"  {difference}", highlight=False, soft_wrap=True)
    else:
        sent = sum(by.get("sent", 0) for by in account.answers.values())
        console.print(
            f"[green]Checked[/]     every one of {sent} messages in the ledger arrived exactly once", highlight=False
        )


def _where(console: Console, account: Account, folder: Path) -> None:
    try:
        shown = folder.relative_to(Path.cwd())
    except ValueError:
        shown = folder
    console.print("\n[bold]Where to look[/]")
    rows = (
        (f"anlass run --project {shown}", "opens what the demo left; the mails are at http://127.0.0.1:8081/mailbox"),
        (
            f"anlass show customer {account.star} --project {shown}",
            "one customer's story, with the reason of each decision",
        ),
        (f"anlass check {shown}", "what the workflows say about themselves; change one in workflows/ and try"),
        ("docs/ARCHITECTURE.md", "how it works"),
    )
    width = max(len(command) for command, _ in rows)
    for command, meaning in rows:
        console.print(f"  {command:<{width}}  {meaning}", highlight=False, soft_wrap=True, markup=False)
    console.print("  (in this checkout the command is .venv/bin/anlass)", highlight=False, style="dim")
