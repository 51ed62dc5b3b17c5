"""What "in force" means on a cluster: whoever renders has it, or is named; the loser of two deploys at once is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import bootstrap
from engine.core.record import Event, Identify
from engine.errors import DefinitionError, StorageError
from engine.operations import deploy_kafka
from engine.operations.deploy import Prepared
from engine.operations.deploy_kafka import KafkaDeploy
from engine.project.cluster import Cluster
from engine.runtimes.kafka.connect import connected
from engine.runtimes.kafka.definitions import Definitions
from engine.runtimes.kafka.holders import holders
from engine.runtimes.kafka.intake.intake import KafkaIntake
from engine.runtimes.kafka.topics import Definition, Topics
from engine.settings import load_settings
from tests.kafka_ops.conftest import PARTITIONS
from tests.kafka_ops.role_process import RoleProcess, command

NOTE = """\
workflow: note
purpose: transactional
reentry: always
trigger: {event: Tick}
steps:
  - send: {channel: email, template: note}
"""
MAIL = "---\nsubject: %s\n---\n<p>Tick.</p>\n"


def _note(project: Path, subject: str) -> None:
    (project / "workflows" / "note.yaml").write_text(NOTE)
    (project / "templates" / "email" / "note.html").write_text(MAIL % subject)


@pytest.fixture
def cluster(env: dict[str, str], project: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The test's topics, as a command in this process sees them."""
    for name, value in env.items():
        if name.startswith("ANLASS_"):
            monkeypatch.setenv(name, value)
    made = Cluster(load_settings(project))
    made.prepare(say=lambda _line: None)
    return made


async def _prepared(deploy: KafkaDeploy, project: Path) -> Prepared:
    return await deploy.prepare(project, versions="pin", progress=lambda _done, _total: None)


async def _tick(env: dict[str, str], number: int) -> None:
    intake = KafkaIntake(env["ANLASS_KAFKA"], Topics(env["ANLASS_KAFKA__PREFIX"]), partitions=PARTITIONS)
    await intake.start()
    now_ms = int(time.time() * 1_000)
    known = Identify(
        customer="ann", at_ms=now_ms, id=f"i{number}", traits={"email": "ann@shop.example"}, time_ms=now_ms
    )
    await intake.append([known, Event(customer="ann", at_ms=now_ms, id=f"e{number}", name="Tick", time_ms=now_ms)])
    await intake.stop()


async def _subjects(project: Path, count: int) -> list[str]:
    deadline = time.monotonic() + 30
    while True:
        mailbox = bootstrap.open_mailbox(project / "var")
        found = [each.delivery.subject for each in mailbox.messages()]
        mailbox.close()
        if len(found) >= count:
            return sorted(found)
        assert time.monotonic() < deadline, f"{found} after 30 s"
        await asyncio.sleep(0.1)


@pytest.mark.timeout(150)
async def test_a_deploy_that_changes_only_a_template_takes_effect(
    env: dict[str, str], project: Path, role: Callable[..., RoleProcess]
) -> None:
    """When the command says "in force", the next mail has the new text."""
    _note(project, "Old")
    assert (await asyncio.to_thread(command, "deploy", folder=project, env=env)).returncode == 0
    roles = [role("worker"), role("dispatcher")]
    await asyncio.gather(*(each.ready() for each in roles))
    await _tick(env, 1)
    assert await _subjects(project, 1) == ["Old"]
    _note(project, "New")
    done = await asyncio.to_thread(command, "deploy", folder=project, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every dispatcher" in done.stdout
    await _tick(env, 2)
    assert await _subjects(project, 2) == ["New", "Old"], roles[1].log


async def test_who_does_not_hold_what_was_deployed_is_named(
    cluster: Cluster, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dispatcher that keeps what it had; one that has left is not waited for."""
    monkeypatch.setattr(deploy_kafka, "HELD_SECONDS_MAX", 1.0)
    stuck, left = (cluster.announcement(name) for name in ("dispatcher", "collector"))
    deploy = KafkaDeploy(cluster)
    for each in (stuck, left):
        each.held = "of before"
        each.start()
    try:
        await _said(cluster, 2)
        await left.stop()
        with pytest.raises(StorageError, match=r"not held by dispatcher at \S+, process \d+\.") as told:
            await deploy.publish(await _prepared(deploy, project))
        assert "collector" not in told.value.message
        stuck.held = (await _prepared(deploy, project)).project.catalog.id
        await deploy.publish(await _prepared(deploy, project))
    finally:
        await stuck.stop()


async def _said(cluster: Cluster, count: int) -> None:
    deadline = time.monotonic() + 20
    with connected(cluster.bootstrap) as client:
        while list(holders(client, cluster.topics).values()) != ["of before"] * count:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


class _Overtaken(KafkaDeploy):
    """Another deploy is published right after this one."""

    other: KafkaDeploy
    others: Prepared

    async def _have_won(self, new: Definition) -> None:
        await self.other.publish(self.others)
        await super()._have_won(new)


async def test_the_loser_of_two_deploys_at_once_is_told(cluster: Cluster, project: Path) -> None:
    """With status 1 and the name of what is in force; the winner's is said last on every partition."""
    loser, winner = _Overtaken(cluster), KafkaDeploy(cluster)
    _note(project, "Loser")
    mine = await _prepared(loser, project)
    _note(project, "Winner")
    loser.other, loser.others = winner, await _prepared(winner, project)
    won, lost = loser.others.project.catalog.id, mine.project.catalog.id
    assert won != lost
    with pytest.raises(DefinitionError, match=f"Another deploy, {won}, .* this one, {lost}, is not") as told:
        await loser.publish(mine)
    assert told.value.status == 1
    definitions: Definitions = cluster.definitions()
    await definitions.start()
    assert definitions.in_force == won
    await definitions.stop()
