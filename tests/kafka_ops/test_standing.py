"""Readiness knows when nothing moves: a broker that hangs keeps every connection open and answers on none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.bootstrap.lag import ANSWER_SECONDS_MAX, LOOK_SECONDS, STANDING_SECONDS
from tests.kafka_ops.conftest import ECHO
from tests.kafka_ops.role_process import RoleProcess, command, environment
from tests.services.kafka import Cluster

SAID_SECONDS_MAX = STANDING_SECONDS + LOOK_SECONDS + ANSWER_SECONDS_MAX + 3


@pytest.mark.timeout(150)
async def test_a_broker_that_hangs_makes_worker_and_dispatcher_say_that_they_stand(
    kafka_cluster: Callable[..., Cluster], topic_prefix: str, tmp_path: Path
) -> None:
    """503 with the reason, and the metric that alerts look at; ready again after it goes on, without a restart."""
    cluster = await asyncio.to_thread(kafka_cluster)
    env = environment(cluster.bootstrap, topic_prefix, ANLASS_KAFKA__PARTITIONS="2")
    shop = tmp_path / "shop"
    assert command("init", str(shop), folder=tmp_path, env=env).returncode == 0
    (shop / "workflows" / "echo.yaml").write_text(ECHO)
    assert command("deploy", folder=shop, env=env).returncode == 0
    roles = [RoleProcess(name, folder=shop, env=env, log=tmp_path / f"{name}.err") for name in ("worker", "dispatcher")]
    try:
        await asyncio.gather(*(each.ready() for each in roles))
        cluster.freeze(0)
        began = time.monotonic()
        try:
            for each in roles:
                await _says(each, "have not answered for", until=began + SAID_SECONDS_MAX)
                assert (await each.metrics())['anlass_degraded{reason="standing"}'] == 1
        finally:
            cluster.thaw(0)
        for each in roles:
            await each.ready()
            assert "standing" not in await asyncio.to_thread(each._get, "/readyz")
            assert each.process.poll() is None
        done = await asyncio.to_thread(command, "deploy", folder=shop, env=env)
        assert "every partition's worker took it" in done.stdout, done.stdout + done.stderr
    finally:
        for each in roles:
            await each.stop(9)


async def _says(role: RoleProcess, words: str, *, until: float) -> None:
    while words not in (said := await asyncio.to_thread(role._get, "/readyz")):
        assert time.monotonic() < until, f"{role.name} says {said}"
        await asyncio.sleep(0.2)
    assert '"not ready"' in said
    assert '"standing"' in said
