"""Compares what came out of a round with the replay of its log and with what the shop expects; says everything that is wrong.

Invariant: a duplicate is fine only when it is the same to the byte, and nothing else may differ in any way.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from engine.core.catalog import Catalog
from engine.core.customer import CustomerState, decode_state, encode_state
from engine.core.effect import Decision
from engine.core.message import Message
from engine.runtimes.kafka.topics import (
    CHECKPOINT_KEY,
    ORIGIN,
    PREFIX_BYTES,
    Answered,
    JournalLine,
    MessageHandover,
    Topics,
    decision_of,
    decode_dispatch,
    decode_journal,
    encode_decision,
    encode_json,
    headers_of,
    unpack_prefix,
)
from tests.chaos.load import Acknowledged
from tests.chaos.reading import Logs, Topic
from tests.chaos.replay import Line, Replayed, replay
from tests.chaos.visits import Expected

TOLD_MAX = 5


class Verdict(msgspec.Struct):
    """`wrong` is empty when every promise was kept."""

    wrong: list[str] = []
    records: int = 0
    acknowledged: int = 0
    timers: int = 0
    forwarded: int = 0
    lines: int = 0
    messages: int = 0
    dead_letters: int = 0
    outcomes: int = 0
    customers: int = 0
    decided: dict[str, Message] = {}
    """Message id → message; not kept."""
    duplicates: dict[str, int] = {}
    """Topic → records that stand there again, the same to the byte."""


def judge(
    logs: Logs, catalog: Catalog, *, topics: Topics, expected: Expected, acknowledged: Sequence[Acknowledged]
) -> Verdict:
    """The whole account of a round that has come to rest."""
    reference = replay(logs.touchpoints, catalog)
    verdict = Verdict(
        wrong=list(reference.wrong),
        records=sum(map(len, logs.touchpoints.values())),
        acknowledged=len(acknowledged),
        timers=reference.timers,
        forwarded=reference.forwarded,
        lines=len(reference.lines),
        messages=len(reference.messages),
        dead_letters=len(reference.poison),
        outcomes=reference.outcomes,
        customers=sum(map(len, reference.states.values())),
        decided={key: message for key, (_, _, message) in reference.messages.items()},
    )
    _check_acknowledged(verdict, logs.touchpoints, acknowledged)
    decisions = _check_journal(verdict, logs.journal, reference)
    _check_dispatches(verdict, logs.dispatches, reference)
    _check_dead_letters(verdict, logs.dead_letters, reference, topics)
    _check_states(verdict, logs.states, reference)
    _check_shop(verdict, decisions.values(), expected)
    return verdict


def _say(verdict: Verdict, what: str, found: Sequence[object]) -> None:
    if found:
        verdict.wrong.append(f"{what}: {len(found)}, such as {'; '.join(str(each) for each in found[:TOLD_MAX])}")


def _check_acknowledged(verdict: Verdict, touchpoints: Topic, acknowledged: Sequence[Acknowledged]) -> None:
    there = {
        (number, each.offset): zlib.crc32(each.value or b"") for number, found in touchpoints.items() for each in found
    }
    lost = [each for each in acknowledged if there.get((each.partition, each.offset)) != each.checksum]
    _say(verdict, "acknowledged records that are not on the log", lost)


# ------------------------------------------------------------------------------------------------------------- journal


def _check_journal(verdict: Verdict, journal: Topic, reference: Replayed) -> dict[Line, Decision]:
    """Each line once or the same again, in order of first appearance; returns what was decided."""
    seen: dict[Line, bytes] = {}
    decided: dict[Line, Decision] = {}
    again, different, disordered = 0, [], []
    for number, found in journal.items():
        last: dict[str, tuple[int, int]] = {}
        for each in found:
            line = decode_journal(each.value or b"")
            assert isinstance(line, JournalLine), "nobody is erased in these tests"
            place = (number, line.offset, line.index)
            if place in seen:
                again += 1
                if seen[place] != each.value:
                    different.append(place)
                continue
            assert each.value is not None
            seen[place] = each.value
            decided[place] = decision_of(line)
            if last.get(line.customer, (-1, -1)) >= (line.offset, line.index):
                disordered.append(place)
            last[line.customer] = (line.offset, line.index)
    wanted = {place: encode_decision(place[1], place[2], decision) for place, decision in reference.lines.items()}
    verdict.duplicates["journal"] = again
    _say(verdict, "journal lines that were written again with another content", different)
    _say(verdict, "journal lines out of their customer's order", disordered)
    _say(verdict, "journal lines missing", [(p, reference.lines[p]) for p in sorted(wanted.keys() - seen.keys())])
    _say(verdict, "journal lines that nothing leads to", [(p, seen[p]) for p in sorted(seen.keys() - wanted.keys())])
    differ = [place for place, value in wanted.items() if place in seen and seen[place] != value]
    _say(verdict, "journal lines that say something else", [(p, seen[p], wanted[p]) for p in sorted(differ)])
    return decided


def _check_dispatches(verdict: Verdict, dispatches: Topic, reference: Replayed) -> None:
    seen: dict[str, tuple[int, bytes]] = {}
    again, different, disordered = 0, [], []
    for number, found in dispatches.items():
        last: dict[str, int] = {}
        for each in found:
            handover = decode_dispatch(each.value or b"")
            if isinstance(handover, Answered):  # what a dispatcher heard of a provider after it had lost the partition
                continue
            assert isinstance(handover, MessageHandover), "nobody is erased in these tests"
            message, mine = handover.message, (number, each.value or b"")
            if message.id in seen:
                again += 1
                if seen[message.id] != mine:
                    different.append(message.id)
                continue
            seen[message.id] = mine
            if handover.offset < last.get(message.customer, -1):
                disordered.append(message.id)
            last[message.customer] = handover.offset
    wanted = {
        key: (number, encode_json(MessageHandover(offset, message)))
        for key, (number, offset, message) in reference.messages.items()
    }
    verdict.duplicates["dispatches"] = again
    _say(verdict, "messages that were handed over again with another content", different)
    _say(verdict, "messages out of their customer's order", disordered)
    _say(verdict, "messages missing", sorted(wanted.keys() - seen.keys()))
    _say(verdict, "messages that nothing leads to", sorted(seen.keys() - wanted.keys()))
    differ = sorted(key for key, value in wanted.items() if key in seen and seen[key] != value)
    _say(verdict, "messages that say something else", [(key, seen[key], wanted[key]) for key in differ])


def _check_dead_letters(verdict: Verdict, dead_letters: Topic, reference: Replayed, topics: Topics) -> None:
    seen: dict[str, tuple[object, ...]] = {}
    again, different = 0, []
    for found in dead_letters.values():
        for each in found:
            origin = headers_of(each.headers).get(ORIGIN, "")
            mine = (each.key, each.value, each.headers)
            if origin in seen:
                again += 1
                if seen[origin] != mine:
                    different.append(origin)
            seen[origin] = mine
    wanted = {f"{topics.touchpoints}:{number}:{offset}" for number, offset in reference.poison}
    verdict.duplicates["dead-letters"] = again
    _say(verdict, "dead letters that were written again with another content", different)
    _say(verdict, "poison that is not a dead letter", sorted(wanted - seen.keys()))
    _say(
        verdict,
        "dead letters that are not poison",
        [(origin, headers_of(seen[origin][2])) for origin in sorted(seen.keys() - wanted)],
    )


# -------------------------------------------------------------------------------------------------------------- states


def _check_states(verdict: Verdict, states: Topic, reference: Replayed) -> None:
    """The newest row of each customer is the state that the replay ends with, and nothing is overdue."""
    for number, found in states.items():
        rows: dict[bytes, tuple[int, bytes]] = {}
        applied, back = -1, 0
        for each in found:
            assert each.key is not None, "rows have keys"
            assert each.value is not None, "nobody is erased in these tests"
            if each.key == CHECKPOINT_KEY:
                continue
            position, _ = unpack_prefix(each.value)
            back += position < applied
            applied = max(applied, position)
            if position >= rows.get(each.key, (-1, b""))[0]:
                rows[each.key] = (position, each.value)
        ours = {key.decode(): decode_state(row[PREFIX_BYTES:]) for key, (_, row) in rows.items()}
        wanted = reference.states[number]
        missing, extra = sorted(wanted.keys() - ours.keys()), sorted(ours.keys() - wanted.keys())
        _say(verdict, f"states[{number}] lacks customers", missing)
        _say(verdict, f"states[{number}] has customers that nothing leads to", extra)
        differ = [name for name in sorted(ours.keys() & wanted.keys()) if not _same(ours[name], wanted[name])]
        _say(verdict, f"states[{number}] differ", [(name, ours[name], wanted[name]) for name in differ])


def _same(one: CustomerState, other: CustomerState) -> bool:
    """Whether two states are the same, but for the position (a timer that moved nothing is not written)."""
    return _plain(one) == _plain(other)


def _plain(state: CustomerState) -> CustomerState:
    return msgspec.structs.replace(decode_state(encode_state(state)), position=0)


# ---------------------------------------------------------------------------------------------------------------- shop


def _check_shop(verdict: Verdict, decisions: Iterable[Decision], expected: Expected) -> None:
    """What the documents promise, without our evaluator: every run entered once, with as many sends as it says."""
    entered: Counter[str] = Counter()
    sends: Counter[str] = Counter()
    used: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    by_customer: Counter[tuple[str, str]] = Counter()
    merged: set[tuple[str, str]] = set()
    for decision in decisions:
        match decision.kind:
            case "entered":
                entered[decision.enrollment] += 1
            case "send":
                sends[decision.enrollment] += 1
                by_customer[decision.workflow, decision.customer] += 1
            case "exited":
                used[decision.enrollment] += 1
            case "failed":
                failed[decision.enrollment] += 1
            case "merged" if "into" in decision.detail:
                merged.add((decision.customer, decision.detail["into"]))
    keyed = {**expected.runs, **dict.fromkeys(expected.races, 1), **dict.fromkeys(expected.failed, 0)}
    _say(verdict, "runs not entered exactly once", [(run, entered[run]) for run in keyed if entered[run] != 1])
    _say(
        verdict,
        "runs with another number of sends",
        [(run, sends[run], number) for run, number in expected.runs.items() if sends[run] != number],
    )
    _say(verdict, "races not ended once", [run for run in expected.races if sends[run] + used[run] != 1])
    _say(verdict, "failures not parked once", [run for run in expected.failed if failed[run] != 1])
    _say(verdict, "failures that nobody expects", sorted(failed.keys() - expected.failed))
    alone = {"welcome", "buyer"}
    ours = {who: number for who, number in by_customer.items() if who[0] in alone}
    _say(verdict, "customers not welcomed (or the like) once", _differences(ours, dict(expected.sends)))
    others = sorted(run for run in sends if run.partition("/")[0] not in alone and run not in keyed)
    _say(verdict, "sends of runs that nobody expects", others)
    _say(verdict, "merges missing or too many", sorted(merged ^ expected.merged))


def _differences(one: dict[tuple[str, str], int], other: dict[tuple[str, str], int]) -> list[object]:
    return [
        (who, one.get(who, 0), other.get(who, 0)) for who in {**one, **other} if one.get(who, 0) != other.get(who, 0)
    ]
