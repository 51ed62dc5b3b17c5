"""Issues of broadcasts for everybody: which there were, and how one reads for nobody in particular.

Invariant: nothing of any customer is in it. A template that needs somebody is found by `broadcast_problems`, before it is
published.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from engine.core.catalog import Catalog
from engine.core.channel import MAIL_CHANNELS
from engine.core.expression.scope import Scope
from engine.core.journey.broadcast import issue_of
from engine.core.journey.workflow import Send, Workflow
from engine.core.message import Message, names
from engine.core.time.schedule import next_local, rfc3339, zone_named
from engine.dispatch.templates.render import Rendered, Template
from engine.dispatch.templates.sample import ADDRESSES
from engine.dispatch.templates.template_problem import TemplateError, TemplateProblem
from engine.dispatch.templates.template_set import TemplateSet
from engine.errors import ExpressionError

ISSUES_MAX: Final = 100
_NOWHERE: Final = "#"
_LINKS: Final = dict.fromkeys(ADDRESSES, _NOWHERE)
"""Links of a customer's own lead nowhere in a page for everybody."""
_STARTS_MAX: Final = 4_000


class Issue(msgspec.Struct, frozen=True):
    """One issue of a broadcast, named by its local start."""

    workflow: str
    name: str
    start_ms: int


def archived(catalog: Catalog) -> list[Workflow]:
    """The broadcasts with a public archive, in name order."""
    found = (catalog.workflows[name] for name in sorted(catalog.workflows))
    return [each for each in found if each.trigger.schedule is not None and each.trigger.schedule.archive]


def issues(catalog: Catalog, workflow: Workflow, *, since_ms: int, now_ms: int) -> list[Issue]:
    """The issues that began between the two, the newest first: of a long series the last `ISSUES_MAX`."""
    schedule, zone = workflow.trigger.schedule, zone_named(catalog.policy.zone)
    assert schedule is not None, workflow.name
    found: list[Issue] = []
    after_ms = since_ms - 1
    for _ in range(_STARTS_MAX):
        start_ms = next_local(schedule.when, after_ms, zone)
        if start_ms is None or start_ms > now_ms:
            break
        found.append(Issue(workflow.name, issue_of(schedule, start_ms, zone), start_ms))
        after_ms = start_ms
    return found[::-1][:ISSUES_MAX]


def mail_of(workflow: Workflow) -> Send | None:
    """The first mail of a broadcast: what its archive shows."""
    sends = (op for op in workflow.ops.values() if isinstance(op, Send) and set(op.channels) & MAIL_CHANNELS)
    return next(sends, None)


def for_nobody(catalog: Catalog, workflow: Workflow, send: Send, *, issue: Issue, won: str = "") -> Message:
    """The message as it is for nobody in particular. `won`: the subject that won its test. Raises ExpressionError when its data
    needs a customer.
    """
    scope = Scope(customer_id="", now_ms=issue.start_ms, project_zone=zone_named(catalog.policy.zone))
    now = rfc3339(issue.start_ms)
    event = {"id": "", "name": "", "time": now, "properties": {"issue": issue.name}}
    context = {
        "customer": {},
        "enrollment": {"event": event, "entered_at": now, "key": ""},
        "data": {name: expression.value(scope) for name, expression in send.data},
        "now": now,
    }
    subjects = () if send.ab is None else send.ab.subjects
    return Message(
        id="", customer="", enrollment="", workflow=workflow.name, version=workflow.version, step=send.id,
        channel=next(channel for channel in send.channels if channel in MAIL_CHANNELS), address="",
        template=send.template, purpose=send.purpose, decided_ms=issue.start_ms, due_ms=issue.start_ms, context=context,
        issue=issue.name, variant=won or (subjects[0] if subjects else ""),
    )  # fmt: skip


def context_of(message: Message) -> dict[str, Any]:
    """What its template sees."""
    return {**names(message), **_LINKS, "customer": {"segments": []}}


def render(template: Template, message: Message) -> Rendered:
    """The page's content. Raises TemplateError when the template needs somebody."""
    return template.render(context_of(message))


def broadcast_problems(catalog: Catalog, templates: TemplateSet) -> list[TemplateProblem]:
    """What is wrong between broadcasts and their templates: subjects that are tested and not written, pages for nobody."""
    problems = {problem for workflow in catalog.workflows.values() for problem in _subjects(workflow, templates)}
    for workflow in archived(catalog):
        problems.update(_page(catalog, workflow, templates))
    return sorted(problems)


def _subjects(workflow: Workflow, templates: TemplateSet) -> Iterator[TemplateProblem]:
    for op in workflow.ops.values():
        if not isinstance(op, Send) or op.ab is None:
            continue
        for channel in op.channels:
            for template in templates.variants(channel, op.template):
                for variant in op.ab.subjects[1:]:
                    if variant not in template.subjects():
                        message = (
                            f"the workflow {workflow.name} tests the subject `{variant}`, and this template has none; "
                            f"add a line `subject_{variant}: …` beside `subject:`"
                        )
                        yield TemplateProblem(template.file, 1, 1, "missing_subject", message)


def _page(catalog: Catalog, workflow: Workflow, templates: TemplateSet) -> Iterator[TemplateProblem]:
    send = mail_of(workflow)
    if send is None:
        return
    issue = Issue(workflow.name, "2026-01-01-0900", 1_767_254_400_000)
    for channel in send.channels:
        for template in templates.variants(channel, send.template):
            try:
                render(template, for_nobody(catalog, workflow, send, issue=issue))
            except TemplateError as error:
                message = (
                    f"{workflow.name} has `archive: true`, and its page is for nobody in particular: {error.reason}"
                )
                mend = (
                    f"; write {{{{ {error.name} | default('…') }}}}, or ask for it with {{% if %}}"
                    if error.name
                    else ""
                )
                yield TemplateProblem(error.file or template.file, max(error.line, 1), 1, "archive", message + mend)
            except ExpressionError as error:
                message = f"{workflow.name} has `archive: true`, and the `data` of its mail needs a customer: {error}"
                yield TemplateProblem(template.file, 1, 1, "archive", message)
