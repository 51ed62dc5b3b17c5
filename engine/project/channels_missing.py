"""Says what a project wants of channels that they cannot do as they are set up: leave at all, or tell what became of messages.

Invariant: it speaks only where messages would fail: in a project that really sends by some other channel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from channels.contract import Channel
from engine.core.catalog import Catalog
from engine.core.channel import MAIL_CHANNELS
from engine.core.journey.workflow import OutcomeMatch, Send, WaitFor, Workflow
from engine.definition.problem import WARNING, Problem
from engine.dispatch.templates.template_set import TemplateSet
from engine.settings import Settings
from engine.settings.serving import unserved

CODE = "channel-not-set-up"
_TOLD_BY = {"delivered": "delivery_reports", "undelivered": "delivery_reports", "replied": "two_way"}
"""Outcome → the capability of an adapter that tells it."""


def channels_not_set_up(catalog: Catalog | None, sources: Mapping[str, str], settings: Settings) -> list[Problem]:
    """A warning for each workflow and channel, where the channel is named."""
    if catalog is None:
        return []
    files = {_stem(name): name for name in sources}
    found: list[Problem] = []
    for workflow in catalog.workflows.values():
        named = {channel for op in workflow.ops.values() if isinstance(op, Send) for channel in op.channels}
        for channel in unserved(settings, sorted(named)):
            file = files.get(workflow.name, f"workflows/{workflow.name}.yaml")
            line, column = _place(sources.get(file, ""), channel)
            message = (
                f"nothing is set up for the channel {channel}: its messages end as failed (no_channel); configure it, or keep "
                f"it on this machine with ANLASS_MAILBOX__CHANNELS={channel}"
            )
            found.append(Problem(file, line, column, WARNING, CODE, message))
    return found


def outcomes_never_heard(
    catalog: Catalog | None, sources: Mapping[str, str], adapters: Mapping[str, Channel]
) -> list[Problem]:
    """A warning where a workflow waits for what no channel of the message can tell: deliveries, answers."""
    if catalog is None:
        return []
    files = {_stem(name): name for name in sources}
    found: list[Problem] = []
    for workflow in catalog.workflows.values():
        file = files.get(workflow.name, f"workflows/{workflow.name}.yaml")
        for match in _outcomes(workflow):
            deaf = _deaf(workflow, match, adapters)
            if deaf:
                line, column = _line_of(sources.get(file, ""), rf"\boutcome:\s*[\"']?({match.outcome})\b")
                who = " and ".join(deaf)
                message = f"{who} cannot tell that a message was {match.outcome}, as set up here: this never happens"
                found.append(Problem(file, line, column, WARNING, "outcome-never-heard", message))
    return found


def mails_cut_short(catalog: Catalog, templates: TemplateSet, adapters: Mapping[str, Channel]) -> list[Problem]:
    """A warning at each template of which something never arrives: its HTML, or the button to unsubscribe."""
    found: set[Problem] = set()
    for workflow in catalog.workflows.values():
        for op in workflow.ops.values():
            if not isinstance(op, Send):
                continue
            rule = catalog.policy.purposes.get(op.purpose or workflow.purpose)
            asks = rule is not None and rule.consent != "none"
            for channel in op.channels:
                adapter = adapters.get(channel)
                if adapter is None:
                    continue
                for template in templates.variants(channel, op.template):
                    found |= {
                        Problem(f"templates/{template.file}", 1, 1, WARNING, code, message)
                        for code, message in _cut(channel, adapter, template.file, asks=asks)
                    }
    return sorted(found)


def _cut(channel: str, adapter: Channel, file: str, *, asks: bool) -> Iterator[tuple[str, str]]:
    can = adapter.capabilities
    if file.endswith(".html") and not can.html:
        yield "html-not-sent", f"{channel} sends no HTML, as set up here: only the text part of this template arrives"
    if asks and channel in MAIL_CHANNELS and not can.list_unsubscribe:
        yield (
            "no-one-click",
            f"{channel} cannot give mail programs a button to unsubscribe, as set up here; large mailbox providers ask for one",
        )


def _outcomes(workflow: Workflow) -> list[OutcomeMatch]:
    matches = [rule.match for rule in workflow.exits]
    matches += [workflow.goal.match] if workflow.goal is not None else []
    matches += [arm.match for op in workflow.ops.values() if isinstance(op, WaitFor) for arm in op.arms]
    return [match for match in matches if isinstance(match, OutcomeMatch) and match.outcome in _TOLD_BY]


def _deaf(workflow: Workflow, match: OutcomeMatch, adapters: Mapping[str, Channel]) -> list[str]:
    """The channels of the message in question, when none of them tells this. Mail is told of by other ways than its adapter."""
    sends = [op for op in workflow.ops.values() if isinstance(op, Send) and match.of in ("", op.id)]
    channels = sorted({channel for op in sends for channel in op.channels})
    deaf = [
        name
        for name in channels
        if name in adapters
        and name not in MAIL_CHANNELS
        and not getattr(adapters[name].capabilities, _TOLD_BY[match.outcome])
    ]
    return deaf if len(deaf) == len(channels) else []


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]


def _place(text: str, channel: str) -> tuple[int, int]:
    """Line and column, from 1, where the channel is named."""
    return _line_of(text, rf"\bchannel:[^#\n]*?(?<![\w-])({re.escape(channel)})(?![\w-])")


def _line_of(text: str, pattern: str) -> tuple[int, int]:
    """Line and column, from 1, of the first group's first place; the file's beginning where it is written in some other way."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.search(pattern, line):
            return number, match.start(1) + 1
    return 1, 1
