"""The plan of a deploy: which workflows change, how many people wait at which step, and what will become of them.

Invariant: a pure function of definitions and counts, so that every runtime gives the same plan from its own store; what
it says of people is what `migrate.fate` says, which is what the evaluator does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from engine.core.journey.enrollment import AT_TRIGGER
from engine.core.journey.migrate import fate, rule_of
from engine.core.journey.workflow import Send

if TYPE_CHECKING:
    from engine.core.catalog import Catalog

Counts = Mapping[tuple[str, str, str], int]
"""(workflow, version, step) → how many people wait there (or failed there and wait for an operator)."""
Change = Literal["new", "changed", "removed", "unchanged"]


class PeopleAtStep(msgspec.Struct, frozen=True, kw_only=True):
    """People at one step of one version. `fate` as in `migrate.Fate`, `to` the step they go on with."""

    version: str
    step: str
    people: int
    fate: Literal["current", "stays", "moves", "ends", "stuck"]
    to: str = ""

    def __str__(self) -> str:
        """What happens to them, as a part of a sentence."""
        match self.fate:
            case "current":
                return "on this version already"
            case "stays":
                return f"stays on {self.version}"
            case "ends":
                return "ends as superseded"
            case "stuck":
                gone = f"step {self.step} does not wait any more; name it in `map:`"
                return f"cannot move: {gone} (until then: stays on {self.version})"
            case "moves":
                where = "with its trigger" if self.to == AT_TRIGGER else f"to step {self.to}"
                return f"moves {where}"


class WorkflowPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a deploy does to one workflow: versions before and after ("" for none), the rule for who is on older ones."""

    workflow: str
    change: Change
    before: str
    after: str
    rule: str
    groups: tuple[PeopleAtStep, ...] = ()

    @property
    def stuck(self) -> tuple[PeopleAtStep, ...]:
        """Who would have to move and cannot."""
        return tuple(group for group in self.groups if group.fate == "stuck")


def plan_deploy(
    catalog: Catalog, before: Mapping[str, str], counts: Counts, *, versions: str
) -> tuple[WorkflowPlan, ...]:
    """The plan of putting `catalog` in force, by workflow name.

    `before` is workflow → version now in force; `counts` who is in flight; `versions` is `pin`, `migrate` or `end`.
    """
    names = {*catalog.workflows, *before, *(workflow for workflow, _, _ in counts)}
    waiting: dict[str, list[PeopleAtStep]] = {name: [] for name in names}
    for (workflow, version, step), people in sorted(counts.items()):
        if people:
            what = fate(catalog, workflow, version=version, step=step, versions=versions)
            group = PeopleAtStep(version=version, step=step, people=people, fate=what.kind, to=what.step)
            waiting[workflow].append(group)
    plans = []
    for name in sorted(names):
        current = catalog.workflows.get(name)
        old, new = before.get(name, ""), "" if current is None else current.version
        plans.append(
            WorkflowPlan(
                workflow=name,
                change=_change(old, new),
                before=old,
                after=new,
                rule=rule_of(catalog, name, versions),
                groups=tuple(waiting[name]),
            )
        )
    return tuple(plans)


def _change(before: str, after: str) -> Change:
    if before == after:
        return "unchanged" if after else "removed"  # removed earlier, and somebody is still on it
    if not after:
        return "removed"
    return "changed" if before else "new"


def templates_of_pinned(catalog: Catalog, plans: Iterable[WorkflowPlan]) -> list[tuple[str, str, str, str]]:
    """(workflow, version, channel, template) that people who stay on an older version may still be sent."""
    staying = {
        (plan.workflow, group.version) for plan in plans for group in plan.groups if group.fate in ("stays", "stuck")
    }
    found = []
    for workflow, version in sorted(staying):
        old = catalog.versions.get((workflow, version))
        sends = [op for op in old.ops.values() if isinstance(op, Send)] if old is not None else []
        found += [(workflow, version, channel, op.template) for op in sends for channel in op.channels]
    return sorted(set(found))
