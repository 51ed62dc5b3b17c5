"""A deployed project on the shared broker, and its roles as processes."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.kafka_ops.role_process import RoleProcess, command, environment

PARTITIONS = 4
ECHO = """\
workflow: echo
purpose: transactional
reentry: always
trigger: {event: Tick}
steps: []
"""


@pytest.fixture
def env(kafka: str, topic_prefix: str, tmp_path: Path) -> dict[str, str]:
    """Environment of all roles of a test."""
    return environment(
        kafka,
        topic_prefix,
        ANLASS_KAFKA__PARTITIONS=str(PARTITIONS),
        ANLASS_KAFKA__FOLDER=str(tmp_path / "rows"),
        ANLASS_COLLECTOR__PORT="0",
        ANLASS_COLLECTOR__SECRET="0123456789abcdef0123456789abcdef",
    )


@pytest.fixture
def project(env: dict[str, str], tmp_path: Path) -> Path:
    """A project whose one workflow says once of each event that it came; deployed."""
    folder = tmp_path / "shop"
    assert command("init", str(folder), folder=tmp_path, env=env).returncode == 0
    for old in (folder / "workflows").glob("*.yaml"):
        if old.stem != "policy":
            old.unlink()
    (folder / "workflows" / "echo.yaml").write_text(ECHO)
    done = command("deploy", folder=folder, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
async def role(env: dict[str, str], project: Path, tmp_path: Path) -> AsyncIterator[Callable[..., RoleProcess]]:
    """Starts roles; ends what still runs."""
    started: list[RoleProcess] = []

    def start(name: str, *arguments: str, **more: str) -> RoleProcess:
        log = tmp_path / f"{name}-{len(started)}.err"
        made = RoleProcess(name, *arguments, folder=project, env={**env, **more}, log=log)
        started.append(made)
        return made

    yield start
    for each in started:
        await each.stop(signal.SIGKILL)
