"""Doubts about single expressions: numbers in quotes beside numbers, and negations that leave out who has no value.

Invariant: each is reported where its expression stands.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.definition.check import ProjectDraft
from engine.definition.doubts.negations import Negation, negations
from engine.definition.doubts.reading import number_paths, quoted_numbers, trees
from engine.definition.problem import WARNING, Problem
from engine.definition.site import Site


def expression_doubts(project: ProjectDraft) -> Iterator[Problem]:
    """The warnings about every expression of workflows, segments, policy and tests."""
    sites = {id(compiled.site): compiled.site for compiled in project.written}
    sites |= {id(site): site for site in project.segment_sites.values()}
    if project.policy_site is not None:
        sites[id(project.policy_site)] = project.policy_site
    numbers = frozenset(path for site in sites.values() for path in _numbers(site))
    numbers |= {
        ("event", name)
        for tests, _ in project.tests
        for case in tests.cases
        for line in case.timeline
        for name, value in line.values.items()
        if line.kind == "event" and isinstance(value, int | float) and not isinstance(value, bool)
    }
    for site in sites.values():
        for expression, path in site.expressions:
            spot = site.spot(path)
            for tree in trees(expression.text):
                for beside, number in quoted_numbers(tree, numbers):
                    message = f"'{number}' is a text, and {beside} a number; write {number} without quotes"
                    yield Problem(spot.file, spot.line, spot.column, WARNING, "quoted-number", message)
                for negation in negations(tree):
                    yield Problem(spot.file, spot.line, spot.column, WARNING, "negation-of-missing", _said(negation))


def _numbers(site: Site) -> Iterator[tuple[str, ...]]:
    for expression, _ in site.expressions:
        for tree in trees(expression.text):
            yield from number_paths(tree)


def _said(negation: Negation) -> str:
    trait = negation.trait
    if negation.sign == "not (…)":
        effect, first = "is true", f"`{trait} is defined and not (…)`"
    else:
        effect, first = "is false", f"`{trait} is not defined or {trait} {negation.sign} …`"
    who = f"`{negation.sign}` {effect} for everybody without `{trait}`"
    return f"{who}; say what you mean for them: {first}, or give a value for them: `{trait} | default('…')`"
