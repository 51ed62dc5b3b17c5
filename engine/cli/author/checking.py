"""`anlass check`, `test` and `simulate`: what the author of a project asks before anything runs.

Invariant: nothing here opens a store, reaches the network or waits for a real clock.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import folder_argument, json_option, project_folder, sentence
from engine.cli.output import json_line, progress, quiet_log
from engine.core.effect import as_line

if TYPE_CHECKING:
    from rich.progress import Progress

    from engine.core.effect import Decision
    from engine.core.record import Record
    from engine.core.time.schedule import Duration
    from engine.definition.problem import Problem
    from engine.rehearsal.simulation import Summary
    from engine.rehearsal.testing import CaseResult


@click.command()
@folder_argument
@json_option
@click.option(
    "--settings", "explain_settings", is_flag=True, help="Say how each part would work and what it is missing."
)
@click.option("--database", is_flag=True, help="Find every stored row that cannot be read, and say whose it is.")
@click.option(
    "--mend", is_flag=True, help="With --database: rebuild such rows from the log, while no engine is running."
)
@click.option(
    "--give-up",
    is_flag=True,
    help="With --mend: give up on rows that cannot be rebuilt from the log; they stay dead letters.",
)
@click.option("--deliverability", is_flag=True, help="Say which DNS records mail needs, ready to be published.")
@click.option("--dns", "ask_dns", is_flag=True, help="With --deliverability: ask DNS which of them are there.")
@click.option("--nameserver", metavar="ADDRESS", default="", help="With --dns: ask this server, not the machine's own.")
def check(folder: Path, *, as_json: bool, explain_settings: bool, deliverability: bool, **more: Any) -> int:
    """Check a project: every error and warning in workflows, segments, policy, tests and templates.

    Prints `file:line:column: code message`; the status is 1 when there is an error, 0 otherwise.

    Examples:
      anlass check
      anlass check shop --json
      anlass check --settings
      anlass check --deliverability --dns
      anlass check --database --mend
    """
    from engine import bootstrap
    from engine.settings import explain, in_clear, load_settings, open_door, weak_key

    root = project_folder(folder)
    database, mend, give_up = (bool(more.pop(name)) for name in ("database", "mend", "give_up"))
    if database or mend or give_up:
        from engine.cli.operate.database import examine

        return examine(root, as_json=as_json, mend=mend, give_up=give_up)
    settings = load_settings(root)
    if deliverability:
        from engine.cli.author.deliverability import report

        return report(root, as_json=as_json, **more)
    if more["ask_dns"] or more["nameserver"]:
        from engine.errors import UsageError

        raise UsageError("--dns and --nameserver are for --deliverability.", mend="Add --deliverability.")
    if explain_settings:
        for line in explain(settings):
            click.echo(json_line({"settings": line}) if as_json else line)
        collector = settings.collector
        if (wrong := open_door(collector) or weak_key(collector) or in_clear(collector)) is not None:
            raise wrong
        return 0
    problems = bootstrap.check(root)
    for problem in problems:
        click.echo(json_line(_problem(problem)) if as_json else str(problem))
    errors = sum(problem.severity == "error" for problem in problems)
    if not as_json:
        click.echo(_verdict(errors, len(problems) - errors), err=bool(errors))
    return 1 if errors else 0


def _problem(problem: Problem) -> dict[str, object]:
    return {field: getattr(problem, field) for field in problem.__struct_fields__}


def _verdict(errors: int, warnings: int) -> str:
    counted = [
        f"{count} {word}{'' if count == 1 else 's'}" for count, word in ((errors, "error"), (warnings, "warning"))
    ]
    return "No problem found." if not errors and not warnings else f"{', '.join(counted)}."


@click.command()
@folder_argument
@json_option
@click.option("-k", "only", metavar="TEXT", default="", help="Only cases whose workflow or name contains TEXT.")
def test(folder: Path, as_json: bool, only: str) -> int:  # noqa: FBT001 - click calls it by name
    """Run the tests beside the workflows (*.test.yaml), in virtual time.

    A failure shows the expected and the actual timeline side by side, and why; the status is then 1.

    Examples:
      anlass test
      anlass test shop -k cart
      anlass test --json
    """
    from engine import bootstrap
    from engine.rehearsal.testing import run_case

    quiet_log()
    plan = bootstrap.open_rehearsal(project_folder(folder))
    wanted = only.lower()
    cases = [
        (file, case)
        for file in plan.tests
        for case in file.cases
        if wanted in f"{file.workflow} {case.name}".lower()
    ]  # fmt: skip
    started = time.perf_counter()
    failed = 0
    with progress(unit="cases") as bar:
        for file, case in bar.track(cases, description="Testing"):
            result = run_case(plan.catalog, file, case, templates=plan.templates)
            failed += not result.passed
            for line in _lines(result, as_json=as_json):
                click.echo(line)
    seconds = time.perf_counter() - started
    if not as_json:
        _summary(len(cases), failed, seconds, without=plan.untested)
    if not cases:
        click.echo(f"anlass: No test case{f' matches {only!r}' if only else ' was found'}.", err=True)
        return 1 if only else 0
    return 1 if failed else 0


def _lines(result: CaseResult, *, as_json: bool) -> list[str]:
    from engine.core.effect import KINDS
    from engine.rehearsal.report import failure

    if as_json:
        case = {"file": result.file, "case": result.case, "workflow": result.workflow}
        decisions = (decision for decision in result.decisions if decision.kind in KINDS)
        lines = [json_line({**as_line(decision), "case": result.case}) for decision in decisions]
        return [*lines, json_line({**case, "kind": "case", "passed": result.passed})]
    return [] if result.passed else [*failure(result), ""]


def _summary(cases: int, failed: int, seconds: float, *, without: list[str]) -> None:
    if without:
        click.echo(f"Without a test: {', '.join(without)}.")
    if cases:
        click.echo(f"{cases - failed} of {cases} cases passed in {seconds:.1f} s.")


@click.command()
@folder_argument
@click.option(
    "--events",
    "file",
    metavar="F.jsonl",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="One record per line, as for `emit`, each with a timestamp.",
)
@click.option(
    "--until", metavar="DURATION", default="", help="Stop this long after the first record, as in 30d or 12w."
)
@click.option(
    "--start",
    metavar="TIME",
    default="",
    help="The time of lines without a timestamp, as in 2026-03-27T10:00:00+01:00.",
)
@click.option("--render", is_flag=True, help="Render every message too, to find templates that fail; slower.")
@json_option
def simulate(folder: Path, file: Path, *, until: str, start: str, render: bool, as_json: bool) -> int:
    """Play an events file through the project in virtual time, and print what would be decided.

    The production evaluator decides, no network is touched, and ninety days take moments. Without --until it goes on for 90
    days after the last record, or until nothing is pending.

    Examples:
      anlass simulate --events examples/events.jsonl --start 2026-03-27T10:00:00+01:00
      anlass simulate shop --events june.jsonl --until 90d --json
    """
    from engine import bootstrap
    from engine.rehearsal.simulation import simulate as play

    quiet_log()
    duration, start_ms = _span(until), _moment(start)
    plan = bootstrap.open_rehearsal(project_folder(folder), with_templates=render)
    started = time.perf_counter()
    with progress(unit="records") as bar:
        records, refused = read_records(file, bar, start_ms=start_ms)
        task = bar.add_task("Simulating", total=len(records))

        def moved(summary: Summary) -> None:
            bar.update(task, completed=summary.records)

        def decided(decision: Decision) -> None:
            fields = as_line(decision)
            click.echo(json_line(fields) if as_json else decision_text(fields))

        summary = play(
            plan.catalog,
            records,
            templates=plan.templates if render else None,
            until=duration,
            on_decision=decided,
            on_progress=moved,
        )
    for failure in summary.failures:
        click.echo(f"anlass: {failure}", err=True)
    if not as_json:
        _print_summary(summary, time.perf_counter() - started)
    if summary.unrendered:
        count = f"{summary.unrendered} message{'' if summary.unrendered == 1 else 's'}"
        click.echo(f"anlass: {count} could not be rendered (template_error); --json says which and why.", err=True)
    return 1 if refused or summary.failures or summary.unrendered else 0


def _span(until: str) -> Duration | None:
    from engine.core.time.schedule import parse_duration
    from engine.errors import UsageError

    try:
        return parse_duration(until) if until else None
    except ValueError as error:
        raise UsageError(sentence(f"--until: {error}"), mend="Write it as 12h, 30d or 12w.") from error


def _moment(start: str) -> int | None:
    from engine.clock import from_rfc3339
    from engine.errors import UsageError

    try:
        return from_rfc3339(start) if start else None
    except ValueError as error:
        raise UsageError(sentence(f"--start: {error}"), mend="Write it as 2026-03-27T10:00:00+01:00.") from error


def read_records(file: Path, bar: Progress, *, start_ms: int | None) -> tuple[list[Record], int]:
    """The records of an events file, and how many lines were refused (each is reported with its number).

    A line without a timestamp happens at `start_ms`, and is refused without that.
    """
    from engine.errors import BadRecord

    records: list[Record] = []
    refused = 0
    with bar.open(file, "rb", description="Reading") as stream:
        for number, raw in enumerate(stream, 1):
            line = raw.strip().removeprefix(b"\xef\xbb\xbf")
            if not line:
                continue
            try:
                records += _parsed(line, start_ms)
            except BadRecord as error:
                refused += 1
                click.echo(f"{file}:{number}: {error.code} {error}", err=True)
    return records, refused


def _parsed(line: bytes, start_ms: int | None) -> list[Record]:
    from engine.collector import parse_line
    from engine.errors import BadRecord

    try:
        return parse_line(line)
    except BadRecord as error:
        if error.code != "missing_time" or start_ms is None:
            raise
        return parse_line(line, received_ms=start_ms)


def decision_text(fields: dict[str, Any]) -> str:
    """A decision as one line for people: when, who, what, where, the kind's own fields, and the reason."""
    fixed = ("at", "customer", "workflow", "version", "enrollment", "kind", "step", "why")
    more = " ".join(
        f"{name}={value if isinstance(value, str) else json_line(value)}"
        for name, value in fields.items()
        if name not in fixed and value
    )
    where = "/".join(part for part in (fields["workflow"], fields["step"]) if part)
    because = "; ".join(fields.get("why", ()))
    line = f"{fields['at']}  {fields['customer']}  {fields['kind']}  {where}  {more}".rstrip()
    return f"{line}  because {because}" if because else line


def _print_summary(summary: Summary, seconds: float) -> None:
    from engine.clock import to_rfc3339

    virtual = f"{to_rfc3339(summary.start_ms)} to {to_rfc3339(summary.until_ms)}" if summary.records else "nothing"
    click.echo(
        f"\n{summary.records} records and {summary.timers} timers of {summary.customers} customers, {virtual},"
        f" in {seconds:.1f} s."
    )
    for name, count in [*sorted(summary.workflows.items()), *sorted(summary.decisions.items())]:
        click.echo(f"  {count:>9} {name}")
