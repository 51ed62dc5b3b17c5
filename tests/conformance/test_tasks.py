"""Tasks and fallback chains on every runtime: opened, waited for, ended, forgotten; e-mail, then SMS, then a person."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from channels.contract import OutgoingMessage, PermanentError, Receipt, Verdict
from channels.task import TaskChannel, TaskSettings
from engine.core.journey.task import KINDS, FollowUp, gather
from engine.core.record import Erase, Event, Identify, Outcome
from engine.definition.load import load_files
from engine.dispatch.sending import feedback
from engine.runtimes.base import Query
from tests.conformance.conftest import ALL
from tests.conformance.harness import EmbeddedHarness, Harness, MemoryHarness
from tests.conformance.kafka_harness import KafkaHarness
from tests.conformance.shop import T0

FILES = {
    "workflows/policy.yaml": b"policy: default\npurposes:\n  transactional: {consent: none}\n",
    "workflows/call.yaml": b"""
workflow: call
purpose: transactional
trigger: {event: Complaint}
steps:
  - task: {title: "Call {{ customer.name }}", due: 2d, queue: service}
  - wait_for:
      event: Task Completed
      where: event.workflow == 'call' or event.outcome == 'reached'
      timeout: 9d
      then: [{exit: called}]
      otherwise: [{exit: forgotten}]
""",
    "workflows/chain.yaml": b"""
workflow: chain
purpose: transactional
trigger: {event: Invoice Due}
steps:
  - send: {channel: [email, sms, task], template: due, fallback_on: [bounced, failed, undelivered]}
    id: tell
""",
}


@pytest.fixture(params=ALL)
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    """Every runtime with these workflows, open and empty."""
    catalog = load_files(list(FILES.items())).catalog
    assert catalog is not None
    made: Harness
    if request.param == "memory":
        made = MemoryHarness(catalog, T0)
    elif request.param == "embedded":
        made = EmbeddedHarness(catalog, T0, var=tmp_path / "var")
    else:
        prefix = f"c{uuid.uuid4().hex[:8]}."
        bootstrap = request.getfixturevalue("kafka")
        made = KafkaHarness(catalog, T0, var=tmp_path / "var", bootstrap=bootstrap, prefix=prefix)
    await made.reopen()
    yield made
    await made.close()


def _ana() -> Identify:
    traits = {"email": "ana@example.com", "phone": "+4915112345678", "name": "Ana"}
    return Identify(customer="ana", at_ms=T0, id="i", time_ms=T0, traits=traits)


def _event(name: str, *, id: str = "", at_ms: int = T0, **properties: Any) -> Event:
    return Event(customer="ana", at_ms=at_ms, id=id or name, name=name, time_ms=at_ms, properties=properties)


async def _tasks(house: Harness) -> list[FollowUp]:
    lines = []
    for kind in KINDS.values():
        lines += await house.runtime.decisions(Query(kinds=(kind,), oldest_first=True))
    return list(gather(lines).values())


async def test_a_task_is_opened_waited_for_and_forgotten(house: Harness) -> None:
    """The step opens it with an id that follows from the run; its end lets the run go on; an erasure leaves nothing."""
    await house.append(_ana(), _event("Complaint"))
    [task] = await _tasks(house)
    assert (task.title, task.queue, task.workflow, task.status) == ("Call Ana", "service", "call", "open")
    assert task.due_ms > T0 + 86_400_000
    await house.append(_event("Task Assigned", id="a1", task=task.id, assignee="bea"))
    done = _event("Task Completed", id=f"task:{task.id}:done", task=task.id, outcome="reached", workflow="call")
    await house.append(done, done)
    [ended] = await _tasks(house)
    assert (ended.id, ended.assignee, ended.status, ended.outcome) == (task.id, "bea", "done", "reached")
    lines = await house.runtime.decisions(Query(customer="ana", workflow="call", kinds=("exited",)))
    assert [line.detail["reason"] for _, line in lines] == ["called"]
    await house.append(Erase(customer="ana", at_ms=T0 + 5, id="x"))
    assert await _tasks(house) == []


async def _refuse(house: Harness, error: PermanentError) -> str:
    """What the dispatcher does with the one message that is ready, when its provider refuses it; its channel."""
    [pending] = await house.runtime.ready(10)
    await house.runtime.claim([pending.message.id])
    await house.settle(feedback.settle(pending, error, now_ms=T0 + 1))
    return pending.message.channel


@pytest.mark.parametrize("outcome", ["bounced", "failed", "undelivered"])
async def test_a_chain_ends_with_a_person(house: Harness, outcome: str) -> None:
    """The mail is refused, the SMS comes to its outcome later, and then there is a task with the text, once."""
    await house.append(_ana(), _event("Invoice Due"))
    gone = PermanentError("nobody there", code="550 5.1.1", address_verdict=Verdict.SUPPRESS)
    assert await _refuse(house, gone) == "email"
    [sms] = await house.runtime.ready(10)
    assert sms.message.channel == "sms"
    await house.runtime.claim([sms.message.id])
    await house.settle(feedback.settle(sms, Receipt("SM1", "queued"), now_ms=T0 + 2))
    assert await house.runtime.ready(10) == []
    report = Outcome(
        customer="ana", at_ms=T0 + 3, id="r1", time_ms=T0 + 3, outcome=outcome, message=sms.message.id, detail={"verdict": "soft"}
    )  # fmt: skip
    await house.append(report, report)
    [person] = await house.runtime.ready(10)
    assert (person.message.channel, person.message.address) == ("task", "default")
    channel = TaskChannel(TaskSettings(queue="service"))
    await channel.open()
    outgoing = OutgoingMessage(
        id=person.message.id, channel="task", to="default", text="Call Ana\nHer invoice is due.", date_ms=T0, template="due"
    )  # fmt: skip
    receipt = await channel.send(outgoing)
    assert receipt == await channel.send(outgoing)
    await house.runtime.claim([person.message.id])
    await house.settle(feedback.settle(person, receipt, now_ms=T0 + 4))
    [task] = await _tasks(house)
    assert (task.id, task.title, task.note) == (person.message.id, "Call Ana", "Her invoice is due.")
    assert (task.queue, task.workflow, task.customer) == ("service", "chain", "ana")
    statuses = {each.message.channel: each.status for each in await house.runtime.messages(customer="ana")}
    assert statuses == {"email": "failed", "sms": "sent", "task": "sent"}


async def test_an_outcome_that_is_not_named_ends_the_chain(house: Harness) -> None:
    """A mail that arrived is followed by nothing, and a late bounce of one that was opened neither."""
    await house.append(_ana(), _event("Invoice Due"))
    [mail] = await house.runtime.ready(10)
    await house.runtime.claim([mail.message.id])
    await house.settle(feedback.settle(mail, Receipt("1", "250"), now_ms=T0 + 1))
    reports = [
        Outcome(customer="ana", at_ms=T0 + 2, id=f"r{kind}", time_ms=T0 + 2, outcome=kind, message=mail.message.id)
        for kind in ("delivered", "opened", "bounced")
    ]
    await house.append(*reports)
    assert await house.runtime.ready(10) == []
    assert await _tasks(house) == []
