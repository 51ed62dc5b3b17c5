"""The report of a soak as Markdown, and its place in `docs/reliability.md`.

Invariant: what stands there comes from the counts of judged rounds; only the text between the two marks is replaced.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.chaos.measure import percentile
from tests.chaos.schedule import SESSION_SECONDS
from tests.chaos.soak import Judged, State

BEGIN, END = "<!-- soak: written by `make soak` -->", "<!-- /soak -->"
WORDS = {
    "kill": "a worker ended by SIGKILL",
    "kill_and_lose_disk": "the same, and its disk lost",
    "freeze": "a worker frozen (SIGSTOP) for longer than its session",
    "terminate": "a worker restarted in order (SIGTERM)",
    "join": "a worker joined",
    "leave": "a worker left in order",
    "burst": "a burst on one partition",
    "kill_broker": "a broker ended by SIGKILL",
    "stop_broker": "a broker restarted in order",
    "freeze_broker": "a broker frozen for longer than its session",
    "kill_dispatcher": "a dispatcher ended by SIGKILL",
    "freeze_dispatcher": "a dispatcher frozen for longer than its session",
    "restart_dispatcher": "a dispatcher restarted in order",
}


def write_report(path: Path, state: State) -> None:
    """Puts the section into the page. Raises ValueError when the page has no place for it."""
    before, mark, rest = path.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{path} lacks the marks {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{section(state)}{END}{after}", "utf-8")


def machine() -> str:
    """The machine, without its name."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{platform.system()} {platform.machine()}, {cores} cores, {memory_gb:.0f} GB,"
        f" {platform.python_implementation()} {platform.python_version()}"
    )


def section(state: State) -> str:
    """The section, from its heading on."""
    rounds = state.rounds
    brokers = Counter(each.plan.brokers for each in rounds)
    shared = " and ".join(
        f"{count} with {number} broker{'s' * (number > 1)}" for number, count in sorted(brokers.items())
    )
    lines = [
        f"\n### Soak of {state.begun}\n",
        f"Seed {state.seed}, {state.seconds / 60:.0f} minutes under load and disturbances, {len(rounds)} rounds: {shared}.",
        f"Machine: {machine()}. Session timeout of the workers: {SESSION_SECONDS:g} s.\n",
        _result(state),
        "",
        *_counts(rounds),
        "",
        *_disturbances(rounds),
        "",
        _pauses(rounds),
        "",
    ]
    return "\n".join(lines)


def _result(state: State) -> str:
    if not state.wrong:
        return "**Nothing lost, nothing decided twice, every customer's order kept, dead letters exactly the poison.**"
    return "\n".join(["**This soak found faults:**\n", *(f"- {what.splitlines()[0][:300]}" for what in state.wrong)])


def _counts(rounds: Sequence[Judged]) -> Iterable[str]:
    verdicts = [each.verdict for each in rounds]
    duplicates: Counter[str] = Counter()
    for verdict in verdicts:
        duplicates.update(verdict.duplicates)
    counts = {
        "records acknowledged to producers": sum(each.acknowledged for each in verdicts),
        "records on the log (with timers, and records handed on)": sum(each.records for each in verdicts),
        "timers fired": sum(each.timers for each in verdicts),
        "records handed on to their customer's partition": sum(each.forwarded for each in verdicts),
        "customers": sum(each.customers for each in verdicts),
        "decisions, each compared with the replay": sum(each.lines for each in verdicts),
        "messages decided": sum(each.messages for each in verdicts),
        "messages sent, as the ledger says": sum(each.delivered.sent for each in rounds),
        "of those, arrived again (transactional, under way at a kill)": sum(
            each.delivered.arrived_again for each in rounds
        ),
        "unknown (marketing, under way at a kill)": sum(each.delivered.unknown for each in rounds),
        "outcomes that came back to the log": sum(each.outcomes for each in verdicts),
        "poison, each one dead letter": sum(each.dead_letters for each in verdicts),
    }
    yield from ("| what | count |", "|---|---:|")
    yield from (f"| {name} | {number:,} |" for name, number in counts.items())
    yield from (
        f"| written again to `{topic}`, the same to the byte | {number:,} |" for topic, number in duplicates.items()
    )


def _disturbances(rounds: Sequence[Judged]) -> Iterable[str]:
    happened: Counter[str] = Counter()
    recovery: dict[str, list[float]] = {}
    for each in rounds:
        happened.update(each.happened)
        for kind, seconds in each.stalls.recovery.items():
            recovery.setdefault(kind, []).extend(seconds)
    yield "Recovery: seconds from a disturbance until every partition moved again (0: none stood still for half a second), where"
    yield "no other disturbance came between.\n"
    yield "| disturbance | count | measured | p50 | p99 | longest |"
    yield "|---|---:|---:|---:|---:|---:|"
    for kind, count in sorted(happened.items(), key=lambda item: -item[1]):
        times = recovery.get(kind, [])
        yield (
            f"| {WORDS.get(kind, kind)} | {count} | {len(times)} | {percentile(times, 0.5):.1f} | {percentile(times, 0.99):.1f}"
            f" | {max(times, default=0):.1f} |"
        )


def _pauses(rounds: Sequence[Judged]) -> str:
    pauses = [seconds for each in rounds for seconds in each.stalls.pauses]
    return (
        f"Pauses of single partitions under load (half a second or more): {len(pauses)}, p50 {percentile(pauses, 0.5):.1f} s,"
        f" p99 {percentile(pauses, 0.99):.1f} s, longest {max(pauses, default=0):.1f} s."
    )
