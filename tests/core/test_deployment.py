"""The plan of a deploy: what changes, and what becomes of whom."""

from __future__ import annotations

import msgspec

from engine.core.catalog import Catalog
from engine.core.journey.deployment import plan_deploy, templates_of_pinned
from engine.core.journey.enrollment import AT_TRIGGER
from tests.core.stage import compiled, workflow

OLD = "[{id: a, wait: 1h}, {id: b, wait: 1h}, {id: m, send: {channel: [sms, email], template: t}}]"
NEW = "[{id: a, wait: 2h}, {id: c, wait: 1h}]"
HEAD = "trigger: {event: E}"


def both(head: str = HEAD) -> tuple[Catalog, str, str]:
    """A catalog that knows two versions of `w`; the old version and the new one."""
    old = compiled(workflow(HEAD, OLD)).workflows["w"]
    new = compiled(workflow(head, NEW), workflow(HEAD, name="fresh"))
    catalog = msgspec.structs.replace(new, versions={**new.versions, ("w", old.version): old})
    return catalog, old.version, catalog.workflows["w"].version


def said(catalog: Catalog, counts: dict[tuple[str, str, str], int], versions: str, **before: str) -> list[str]:
    """The plan in lines."""
    lines = []
    for plan in plan_deploy(catalog, before, counts, versions=versions):
        lines.append(f"{plan.workflow} {plan.change} {plan.rule}")
        lines += [f"  {group.people} at {group.step}: {group}" for group in plan.groups]
    return lines


def test_the_plan_counts_people_and_says_what_becomes_of_them() -> None:
    """New, changed and unchanged workflows; each group by its step, under each rule."""
    catalog, old, new = both()
    counts = {("w", old, "a"): 3, ("w", old, "b"): 2, ("w", new, "c"): 1, ("w", old, AT_TRIGGER): 1, ("w", old, "m"): 0}
    pinned = said(catalog, counts, "pin", w=old)
    assert pinned[:2] == ["fresh new pin", "w changed pin"]
    assert sorted(pinned[2:]) == [
        f"  1 at :trigger: stays on {old}",
        "  1 at c: on this version already",
        f"  2 at b: stays on {old}",
        f"  3 at a: stays on {old}",
    ]
    migrated = said(catalog, counts, "migrate", w=old)
    assert "  3 at a: moves to step a" in migrated
    assert "  1 at :trigger: moves with its trigger" in migrated
    [stuck] = [line for line in migrated if " at b:" in line]
    assert stuck.startswith("  2 at b: cannot move: step b does not wait any more; name it in `map:`")
    assert "  2 at b: ends as superseded" in said(catalog, counts, "end", w=old)
    assert "  1 at c: on this version already" in said(catalog, counts, "end", w=old)


def test_a_map_lets_the_stuck_move() -> None:
    """The plan asks what the evaluator asks."""
    catalog, old, _ = both(f"{HEAD}\nmap: {{b: c}}")
    counts = {("w", old, "b"): 2}
    assert "  2 at b: moves to step c" in said(catalog, counts, "migrate", w=old)
    [plan] = [each for each in plan_deploy(catalog, {"w": old}, counts, versions="migrate") if each.workflow == "w"]
    assert not plan.stuck


def test_a_workflow_that_is_gone_is_in_the_plan() -> None:
    """Also one that went earlier, as long as somebody is on it."""
    catalog = compiled(workflow(HEAD))
    counts = {("gone", "123", "a"): 5}
    assert said(catalog, counts, "migrate", w=catalog.workflows["w"].version) == [
        "gone removed pin",
        "  5 at a: stays on 123",
        "w unchanged migrate",
    ]
    assert said(catalog, counts, "end", gone="123")[:2] == ["gone removed end", "  5 at a: ends as superseded"]


def test_templates_that_people_on_old_versions_may_still_be_sent() -> None:
    """Only of versions on which somebody stays."""
    catalog, old, _ = both()
    stays = plan_deploy(catalog, {"w": old}, {("w", old, "a"): 1}, versions="pin")
    assert templates_of_pinned(catalog, stays) == [("w", old, "email", "t"), ("w", old, "sms", "t")]
    moves = plan_deploy(catalog, {"w": old}, {("w", old, "a"): 1}, versions="migrate")
    assert templates_of_pinned(catalog, moves) == []
