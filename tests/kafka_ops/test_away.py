"""What a role says when its brokers are away: a sentence and a status at the start, JSON lines and patience later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.bootstrap.lag import ANSWER_SECONDS_MAX
from tests.kafka_ops.conftest import ECHO
from tests.kafka_ops.role_process import RoleProcess, command, environment
from tests.services.kafka import Cluster
from tests.services.ports import free_ports


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project with one workflow, not deployed."""
    folder = tmp_path / "shop"
    assert command("init", str(folder), folder=tmp_path, env=environment("", "x.")).returncode == 0
    (folder / "workflows" / "echo.yaml").write_text(ECHO)
    return folder


@pytest.mark.parametrize("name", ["worker", "collector", "dispatcher", "sink"])
def test_without_a_broker_a_role_says_so_in_a_sentence(shop: Path, name: str) -> None:
    """Status 3, one line, the address in it, and how to mend it."""
    [port] = free_ports(1)
    done = command(name, folder=shop, env=environment(f"127.0.0.1:{port}", "x."))
    assert done.returncode == 3
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"anlass: Kafka at 127.0.0.1:{port} does not answer")
    assert "ANLASS_KAFKA" in line


def test_without_an_address_it_is_a_matter_of_settings(shop: Path) -> None:
    """Status 2, and `anlass run` is named, which needs none."""
    env = environment("", "x.")
    del env["ANLASS_KAFKA"]
    done = command("worker", folder=shop, env=env)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "ANLASS_KAFKA=host:port" in line
    assert "anlass run" in line


@pytest.mark.timeout(240)
async def test_a_worker_outlives_its_broker(
    kafka_cluster: Callable[..., Cluster], topic_prefix: str, shop: Path, tmp_path: Path
) -> None:
    """The broker is killed and comes back: the log stays JSON and short, the metrics answer, the worker goes on."""
    cluster = await asyncio.to_thread(kafka_cluster)
    env = environment(cluster.bootstrap, topic_prefix, ANLASS_KAFKA__PARTITIONS="2")
    assert command("deploy", folder=shop, env=env).returncode == 0
    worker = RoleProcess("worker", folder=shop, env=env, log=tmp_path / "worker.err")
    try:
        await worker.ready()
        before = len(worker.lines)
        cluster.kill(0)
        await asyncio.sleep(8)
        started = time.monotonic()
        metrics = await worker.metrics()
        assert time.monotonic() - started < 2 * ANSWER_SECONDS_MAX + 2
        assert metrics['anlass_partitions{share="owned"}'] >= 0
        away = worker.lines[before:]
        assert 0 < len(away) < 100
        assert {line["action"] for line in away} & {"library_warned", "library_failed"}
        assert worker.process.poll() is None
        await asyncio.to_thread(cluster.restart, 0)
        done = await asyncio.to_thread(command, "deploy", "--versions", "migrate", folder=shop, env=env)
        assert done.returncode == 0, done.stdout + done.stderr + worker.log
        assert "every partition's worker took it" in done.stdout
        assert await worker.stop() == 0
        assert worker.lines[-1]["action"] == "stopped"
    finally:
        await worker.stop(9)


@pytest.mark.timeout(240)
async def test_roles_end_in_order_while_their_broker_is_away(
    kafka_cluster: Callable[..., Cluster], topic_prefix: str, shop: Path, tmp_path: Path
) -> None:
    """SIGTERM is obeyed within what a container is given, whoever does not answer."""
    cluster = await asyncio.to_thread(kafka_cluster)
    more = {"ANLASS_KAFKA__PARTITIONS": "2", "ANLASS_COLLECTOR__PORT": "0"}
    env = environment(cluster.bootstrap, topic_prefix, **more)
    assert command("deploy", folder=shop, env=env).returncode == 0
    names = ("worker", "dispatcher", "sink", "collector")
    roles = [RoleProcess(name, folder=shop, env=env, log=tmp_path / f"{name}.err") for name in names]
    try:
        for each in roles:
            await each.ready()
        cluster.kill(0)
        await asyncio.sleep(2)

        async def ended(each: RoleProcess) -> float:
            started = time.monotonic()
            assert await each.stop() == 0, f"{each.name}: {each.log}"
            return time.monotonic() - started

        seconds = await asyncio.gather(*map(ended, roles))
        print(", ".join(f"{name} {spent:.1f} s" for name, spent in zip(names, seconds, strict=True)))  # noqa: T201
        for each in roles:
            assert "Traceback" not in each.log + each.printed
            assert "stopped" in [line["action"] for line in each.lines]
    finally:
        for each in roles:
            await each.stop(9)
