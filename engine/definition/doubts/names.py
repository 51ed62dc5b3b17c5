"""Events, properties and traits that are named once: nothing else knows them, so they are probably misspelt.

Invariant: a name that Anlass, Segment's specification or an example has is never doubted; nor is one that two parts of the
project name, unless it is a slip away from a known one and only one workflow (with its test) has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

import msgspec

from engine.core.journey import workflow as core
from engine.core.reading.nearest import nearest
from engine.core.reading.spelling import CANONICAL, OTHER
from engine.definition.case import TestFile
from engine.definition.check import ProjectDraft, matches_of
from engine.definition.compile import Compiled
from engine.definition.doubts.reading import names_in, trees
from engine.definition.doubts.vocabulary import EVENTS, PROPERTIES, TRAITS
from engine.definition.problem import WARNING, Problem, Spot
from engine.definition.site import Path, Site

_BUILT_IN = {"event": EVENTS, "property": PROPERTIES, "trait": TRAITS}
_SLIP_FROM, _SLIPS_FROM = 5, 9
"""Letters from which one slip, and two, make a name the misspelling of another."""


class Mention(msgspec.Struct, frozen=True):
    """A name where it stands. `group`: the workflow (with its test), template or other file. `given`: data that a shop sends,
    which nothing has to ask about; then only a misspelling is worth a warning.
    """

    kind: str
    name: str
    spot: Spot
    group: str
    given: bool = False


def named_once(mentions: Iterable[Mention], examples: Mapping[str, Iterable[str]]) -> list[Problem]:
    """A warning for each name that nothing else names. `examples`: the names by kind in the events that the project shows."""
    by_name: dict[tuple[str, str], list[Mention]] = {}
    for mention in mentions:
        by_name.setdefault((mention.kind, OTHER.get(mention.name, mention.name)), []).append(mention)
    known = {
        kind: frozenset({*names, *(OTHER.get(name, name) for name in (*names, *examples.get(kind, ())))})
        | set(examples.get(kind, ()))
        for kind, names in _BUILT_IN.items()
    }
    found = []
    for (kind, name), places in by_name.items():
        if name in known[kind]:
            continue
        groups = {place.group for place in places}
        if len(groups) > 1:
            continue
        others = {
            other for (of, other), named in by_name.items() if of == kind and {place.group for place in named} != groups
        }
        slip = _slip(name, known[kind] | others)
        first = next((place for place in places if not place.given), places[0])
        if slip or (len(places) == 1 and not first.given):
            found.append(_problem(first, slip, known[kind] | {other for of, other in by_name if of == kind} - {name}))
    return found


def _problem(place: Mention, slip: str, known: Iterable[str]) -> Problem:
    mend = f"; did you mean `{slip}`?" if slip else nearest(place.name, known)
    mend = mend if "did you mean" in mend else "; if it is right, name it in examples/events.jsonl or in a test"
    message = f"nothing else names the {place.kind} `{place.name}`{mend}"
    return Problem(place.spot.file, place.spot.line, place.spot.column, WARNING, f"{place.kind}-named-once", message)


def _slip(name: str, known: Iterable[str]) -> str:
    """The known name of which this one is a misspelling, or nothing."""
    plain = _plain(name)
    allowed = 2 if len(plain) >= _SLIPS_FROM else 1 if len(plain) >= _SLIP_FROM else 0
    best, found = allowed + 1, ""
    for other in sorted(known):
        if other == name:
            continue
        their = _plain(other)
        away = 0 if their == plain else _distance(plain, their, best)
        if away < best:
            best, found = away, other
    return CANONICAL.get(found, found)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _distance(one: str, other: str, bound: int) -> int:
    """Letters added, left out, changed or swapped; `bound` when there are as many or more."""
    if abs(len(one) - len(other)) >= bound:
        return bound
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        older, before, row = before, row, [at]
        for there, their in enumerate(other, 1):
            cost = min(before[there] + 1, row[-1] + 1, before[there - 1] + (letter != their))
            if at > 1 and there > 1 and letter == other[there - 2] and one[at - 2] == their:
                cost = min(cost, older[there - 2] + 1)
            row.append(cost)
        if min(row) >= bound:
            return bound
    return min(row[-1], bound)


# ------------------------------------------------------------------------------------------------------- where named


def mentions_of(project: ProjectDraft) -> Iterator[Mention]:
    """Every name in workflows, segments, policy and tests."""
    for compiled in project.written:
        yield from _of_workflow(compiled)
        yield from _of_expressions(compiled.site)
    sites = {id(site): site for site in project.segment_sites.values()}
    for site in (*sites.values(), *([project.policy_site] if project.policy_site else ())):
        yield from _of_expressions(site)
    for tests, site in project.tests:
        yield from _of_tests(tests, site)


def _group(site: Site) -> str:
    return PurePosixPath(site.source.file).stem.removesuffix(".test")


def _at(site: Site, kind: str, name: str, path: Path, *, given: bool = False) -> Mention:
    return Mention(kind, name, site.spot(path, key=kind != "event" and path[-1] == name), _group(site), given)


def _of_expressions(site: Site) -> Iterator[Mention]:
    for expression, path in site.expressions:
        for tree in trees(expression.text):
            yield from (_at(site, named.kind, named.name, path) for named in names_in(tree))


def _of_workflow(compiled: Compiled) -> Iterator[Mention]:
    site, workflow = compiled.site, compiled.workflow
    for match, path in matches_of(compiled):
        if isinstance(match, core.EventMatch):
            yield _at(site, "event", match.name, (*path, "event"))
    if workflow.trigger.date is not None:
        yield _at(site, "trait", workflow.trigger.date.trait, ("trigger", "date", "trait"))
    for step, op in workflow.ops.items():
        place = compiled.places[step]
        if isinstance(op, core.Wait):
            for index, match in enumerate(op.restart_on):
                yield _at(site, "event", match.name, (*place, "wait", "restart_on", index, "event"))
        elif isinstance(op, core.Emit):
            yield _at(site, "event", op.event, (*place, "emit", "event"))
            for name, _ in op.properties:
                yield _at(site, "property", name, (*place, "emit", "properties", name))
        elif isinstance(op, core.Update):
            yield from (_at(site, "trait", name, (*place, "update", name)) for name, _ in op.traits)


def _of_tests(tests: TestFile, site: Site) -> Iterator[Mention]:
    for index, case in enumerate(tests.cases):
        here: Path = ("cases", index)
        for name in case.traits:
            yield _at(site, "trait", name, (*here, "customer", "traits", name), given=True)
        for at, line in enumerate(case.timeline):
            place = (*here, "timeline", at)
            if line.kind == "event":
                yield _at(site, "event", line.name, (*place, "event"))
            if line.kind in ("event", "enroll"):
                yield from (
                    _at(site, "property", name, (*place, "properties", name), given=True) for name in line.values
                )
            elif line.kind == "identify":
                yield from (_at(site, "trait", name, (*place, "identify", name), given=True) for name in line.values)
        for at, expected in enumerate(case.expect):
            place = (*here, "expect", at)
            if expected.kind == "emitted":
                yield _at(site, "event", expected.name.rpartition("/")[2], (*place, "emitted"))
            elif expected.kind == "updated":
                yield from (_at(site, "trait", name, (*place, "updated", name)) for name in expected.values)
