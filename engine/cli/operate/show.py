"""`anlass show`: where a customer, messages or a workflow stand, what happened, and why or why not.

Invariant: reads only, beside whatever runs or without it; every text of others is shown without control characters.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from engine.cli.local_times import LocalTimes, local_times
from engine.cli.options import json_option, project_folder, project_option, reason_option
from engine.cli.output import console, json_line, plain, quiet_log, safe, table
from engine.core.effect import as_line
from engine.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.core.customer import CustomerState
    from engine.core.effect import Decision
    from engine.core.record import Record
    from engine.runtimes.base import MessageStatus, Paused, Reader

LINES_DEFAULT = 50
STATUSES = ("pending", "claimed", "sent", "failed", "suppressed", "unknown")
LINES_MAX = 10_000
TRAITS_MAX = 40
TEXT_MAX = 120
_IN_JSON_ONLY = frozenset({"basis", "records", "time"})
"""Of a decision: what a message rests on stands among the reasons, and the consent ledger's entries in `anlass consent show`."""

_limit_option = click.option(
    "-n",
    "--lines",
    type=click.IntRange(1, LINES_MAX),
    default=LINES_DEFAULT,
    show_default=True,
    help="How many decisions and messages to show, newest ones.",
)


@click.group()
def show() -> None:
    """Show a customer, messages or a workflow: state, timeline, why and why not.

    Examples:
      anlass show customer ana
      anlass show messages --status failed
      anlass show message 4be2f43ae2d1ae5c8a35a1fd8d2f63a9
      anlass show workflow cart-recovery --json
    """


@show.command("customer")
@click.argument("customer", metavar="ID")
@_limit_option
@json_option
@reason_option
@project_option
def show_customer(customer: str, *, lines: int, as_json: bool, reason: str, folder: Path) -> None:
    """Show a customer: traits, consent, where the enrollments stand, what was decided and why.

    Examples:
      anlass show customer ana
      anlass show customer ana --json | jq .enrollments
    """
    from engine import bootstrap
    from engine.runtimes.audit import Act
    from engine.runtimes.base import Query

    async def question(reader: Reader) -> tuple[CustomerState | None, list[Decision], list[MessageStatus]]:
        decisions = await reader.decisions(Query(customer=customer, limit=lines))
        messages = await reader.messages(customer=customer, limit=lines)
        return await reader.state(customer), [each for _, each in reversed(decisions)], messages

    quiet_log()
    root = project_folder(folder)
    state, decisions, messages = asyncio.run(bootstrap.ask(root, question))
    history = asyncio.run(bootstrap.operations(root).history(customer, limit=lines))
    touchpoints = [each for each in map(_touchpoint, history.records) if each is not None]
    if state is None and not decisions and not messages and not touchpoints:
        raise NotFound(f"There is no customer {customer!r}.", mend="Ids are compared letter by letter.")
    asyncio.run(bootstrap.note(root, Act(act="show_customer", customer=customer, why=reason)))
    refused = {} if state is None else _unusable(root, state)
    if as_json:
        fields = {} if state is None else plain(state)
        fields.pop("seen", None)
        fields.pop("refused", None)
        fields["timeline"] = [_with_why(each) for each in decisions]
        fields["sent"] = [_message(each) for each in messages]
        fields["unusable"] = refused
        fields["events"] = [plain(each) for each in touchpoints]
        click.echo(json_line({"customer": customer, **fields}))
        return
    times = local_times(root)
    _print_state(customer, state, times, refused=refused)
    _print_events(touchpoints, times, looked=history.looked, whole=history.whole)
    _print_timeline(decisions, times)
    _print_messages(messages, times)


@show.command("message")
@click.argument("message_id", metavar="ID")
@json_option
@reason_option
@project_option
def show_message(message_id: str, *, as_json: bool, reason: str, folder: Path) -> None:
    """Show a message: who decided it and why, what became of it, and what the provider said.

    Examples:
      anlass show message 4be2f43ae2d1ae5c8a35a1fd8d2f63a9
    """
    from engine import bootstrap
    from engine.runtimes.audit import Act
    from engine.runtimes.base import Query

    async def question(reader: Reader) -> tuple[MessageStatus | None, list[Decision]]:
        decisions = await reader.decisions(Query(message=message_id, oldest_first=True))
        return await reader.message(message_id), [each for _, each in decisions]

    quiet_log()
    status, decisions = asyncio.run(bootstrap.ask(project_folder(folder), question))
    if status is None:
        raise NotFound(
            f"There is no message {message_id!r}.", mend="`anlass show customer ID` lists a customer's messages."
        )
    act = Act(act="show_message", what=message_id, customer=status.message.customer, why=reason)
    asyncio.run(bootstrap.note(project_folder(folder), act))
    if as_json:
        timeline = [_with_why(each) for each in decisions]
        click.echo(json_line({**_message(status), "context": plain(status.message.context), "timeline": timeline}))
        return
    times = local_times(project_folder(folder))
    shown = table("", "")
    for name, value in _message(status).items():
        shown.add_row(name.replace("_", " "), safe("" if value is None else times.within(str(value))))
    console().print(shown)
    _print_timeline(decisions, times)


@show.command("messages")
@click.option("--status", type=click.Choice(STATUSES), help="Only those with this status.")
@click.option("--workflow", metavar="NAME", default="", help="Only those of this workflow.")
@click.option("--before", metavar="ID", default="", help="Only those decided before this message: the next page.")
@_limit_option
@json_option
@project_option
def show_messages(*, status: str | None, workflow: str, before: str, lines: int, as_json: bool, folder: Path) -> None:
    """List messages, newest first: all of them, with a status, of a workflow.

    Examples:
      anlass show messages --status failed
      anlass show messages --status sent --workflow cart-recovery -n 20 --json
    """
    from engine import bootstrap
    from engine.cli.operate.steer import known_workflow

    async def question(reader: Reader) -> list[MessageStatus]:
        return await reader.messages(status=status or "", workflow=workflow, before=before, limit=lines)

    quiet_log()
    found = asyncio.run(bootstrap.ask(project_folder(folder), question))
    if workflow and not found:
        known_workflow(project_folder(folder), workflow)
    if as_json:
        for each in found:
            click.echo(json_line(_message(each)))
        return
    if not found:
        click.echo("There are no such messages.")
    _print_messages(found, local_times(project_folder(folder)), with_customer=True)


@show.command("workflow")
@click.argument("workflow", metavar="NAME")
@_limit_option
@json_option
@project_option
def show_workflow(workflow: str, *, lines: int, as_json: bool, folder: Path) -> None:
    """Show a workflow: how many entered, are in it, left and failed, and what it decided lately.

    Examples:
      anlass show workflow cart-recovery -n 20
    """
    from engine import bootstrap
    from engine.cli.operate.steer import known_workflow
    from engine.runtimes.base import Query

    async def question(reader: Reader) -> tuple[dict[str, Any], list[Decision], Paused | None]:
        decisions = await reader.decisions(Query(workflow=workflow, limit=lines))
        said = next((each for each in await reader.pauses() if each.workflow == workflow), None)
        return await reader.counts(), [each for _, each in reversed(decisions)], said

    quiet_log()
    counts, decisions, said = asyncio.run(bootstrap.ask(project_folder(folder), question))
    enrollments = counts["enrollments"].get(workflow)
    if enrollments is None and not decisions:
        known_workflow(project_folder(folder), workflow)
        enrollments = {}
    if as_json:
        timeline = [_with_why(each) for each in decisions]
        shown = {"workflow": workflow, "enrollments": enrollments or {}, "timeline": timeline}
        click.echo(json_line({**shown, "paused": plain(said) if said is not None and said.paused else None}))
        return
    times = local_times(project_folder(folder))
    if not enrollments:
        click.echo(f"Nobody has entered {workflow} yet.")
    else:
        counted = ", ".join(f"{count} {kind}" for kind, count in enrollments.items())
        click.echo(f"{workflow}: {counted}")
    if said is not None and said.paused:
        click.echo(
            f"{workflow} is paused since {times.of(said.at_ms)} ({safe(said.reason or said.cause)}). "
            f"`anlass resume {workflow}` lets it go on."
        )
    _print_timeline(decisions, times, with_customer=True)


class _Touchpoint(msgspec.Struct, frozen=True):
    """What a shop told of the customer: an event with its properties, or traits."""

    time_ms: int
    kind: str
    name: str
    properties: dict[str, Any]


def _touchpoint(record: Record) -> _Touchpoint | None:
    from engine.core.record import Event, Identify

    if isinstance(record, Event):
        return _Touchpoint(record.time_ms, "event", record.name, record.properties)
    if isinstance(record, Identify):
        return _Touchpoint(record.time_ms, "identify", ", ".join(sorted(record.traits)), record.traits)
    return None


def _print_events(found: list[_Touchpoint], times: LocalTimes, *, looked: int, whole: bool) -> None:
    if found:
        shown = table("at", "", "what", "with", title="\nWhat came in, newest first")
        for each in found:
            shown.add_row(times.of(each.time_ms), each.kind, safe(_short(each.name)), safe(_short(each.properties)))
        console().print(shown)
    if not whole:
        console().print(f"Older records were not looked for: only the newest {looked:,} of the log were.")


def _with_why(decision: Decision) -> dict[str, Any]:
    return {**as_line(decision), "why": list(decision.why)}


def _message(status: MessageStatus) -> dict[str, Any]:
    """A message and its ledger status, flat."""
    from engine.clock import to_rfc3339

    message = status.message
    return {
        "message": message.id,
        "status": status.status,
        "reason": status.reason,
        "code": status.code,
        "attempts": status.attempts,
        "provider_id": status.provider_id,
        "updated": to_rfc3339(status.updated_ms),
        "customer": message.customer,
        "channel": message.channel,
        "address": message.address,
        "template": message.template,
        "locale": message.locale,
        "purpose": message.purpose,
        "consent": message.consent,
        "workflow": message.workflow,
        "version": message.version,
        "enrollment": message.enrollment,
        "step": message.step,
        "decided": to_rfc3339(message.decided_ms),
        "due": to_rfc3339(message.due_ms),
        "deadline": to_rfc3339(message.deadline_ms) if message.deadline_ms else None,
    }


def _unusable(folder: Path, state: CustomerState) -> dict[str, str]:
    """Traits of which the newest value, or one stored before values were read, cannot be used, and why."""
    from engine import bootstrap
    from engine.clock import SystemClock
    from engine.core.facts.usable import unusable
    from engine.errors import AnlassError

    try:
        catalog = bootstrap.open_project(folder, with_templates=False).catalog
    except AnlassError:  # a project in the middle of being edited
        return dict(state.refused)
    return {**unusable(catalog, state.traits, now_ms=SystemClock().now_ms()), **state.refused}


def _print_state(customer: str, state: CustomerState | None, times: LocalTimes, *, refused: Mapping[str, str]) -> None:
    from engine.core.customer import UNTIL_RESUMED_MS

    out = console()
    out.print(
        f"[bold]{safe(customer)}[/bold]" if state is not None else f"{safe(customer)}: nothing but the journal is left"
    )
    if state is None:
        return
    shown = table("", "")
    shown.add_row("known since", times.of(state.first_seen_ms) if state.first_seen_ms else "")
    for name, value in sorted(state.traits.items())[:TRAITS_MAX]:
        shown.add_row(safe(name), safe(_short(value)))
    for name, why in sorted(refused.items()):
        shown.add_row(safe(f"{name} (newest)"), safe(f"cannot be used: {why}"))
    for purpose, channels in state.consent.items():
        for channel, granted in channels.items():
            since = f"{granted.status} since {times.of(granted.at_ms)}"
            shown.add_row(safe(f"consent {purpose} {channel}"), safe(f"{since} {granted.source}".rstrip()))
    for address, reason in state.suppressed.items():
        shown.add_row("suppressed", safe(f"{address}: {reason}"))
    if state.segments:
        shown.add_row("segments", safe(", ".join(sorted(state.segments))))
    if state.merged_into:
        shown.add_row("merged into", safe(state.merged_into))
    out.print(shown)
    if state.enrollments:
        runs = table("enrollment", "version", "at step", "until", "", title="\nIn these workflows")
        for run in state.enrollments:
            until = times.of(run.due_ms) if run.due_ms else ""
            note = f"failed: {run.failed}" if run.failed else "holdout" if run.holdout else ""
            runs.add_row(safe(run.id), run.version, safe(run.step), until, safe(note))
        out.print(runs)
    for held in state.held:
        until = "it goes on" if held.until_ms >= UNTIL_RESUMED_MS else times.of(held.until_ms)
        out.print(f"held until {until} ({safe(held.reason)}): {safe(held.message.template)}")


def _print_timeline(decisions: list[Decision], times: LocalTimes, *, with_customer: bool = False) -> None:
    if not decisions:
        return
    shown = table("at", *(("customer",) if with_customer else ()), "what", "where", "why", title="\nWhat happened")
    for decision in decisions:
        where = f"{decision.workflow}{f' · {decision.step}' if decision.step else ''}"
        who = (safe(decision.customer),) if with_customer else ()
        what = f"{decision.kind} {_detail(decision)}".rstrip()
        why = "\n".join(safe(times.within(_short(line))) for line in decision.why)
        shown.add_row(times.of(decision.at_ms), *who, safe(times.within(what)), safe(where), why)
    console().print(shown)


def _detail(decision: Decision) -> str:
    """The kind's own fields that a person wants to see, in a few words."""
    detail = {name: value for name, value in plain(decision.detail).items() if name not in _IN_JSON_ONLY}
    return _short(
        " ".join(str(value) if isinstance(value, str) else json_line(value) for value in detail.values() if value)
    )


def _print_messages(messages: list[MessageStatus], times: LocalTimes, *, with_customer: bool = False) -> None:
    if not messages:
        return
    whose = ("customer", "where") if with_customer else ()
    shown = table("message", "decided", *whose, "channel", "template", "status", "reason", title="\nMessages")
    for status in messages:
        message = status.message
        where = (safe(message.customer), safe(f"{message.workflow} · {message.step}")) if with_customer else ()
        shown.add_row(
            message.id, times.of(message.decided_ms), *where, safe(message.channel), safe(message.template), status.status,
            safe(_short(status.reason)),
        )  # fmt: skip
    console().print(shown)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json_line(plain(value))
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"
