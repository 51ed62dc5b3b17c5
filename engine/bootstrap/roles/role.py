"""What a role on Kafka is, and how one runs: each is one process, of which there may be many.

Invariant: a role that starts has looked at the topics first, and one that stops has finished what it took.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from engine.bootstrap.service import loop_factory, told_to_stop
from engine.errors import ServiceUnreachable, StorageError
from engine.telemetry import Metrics, get_log
from engine.tracing import open_tracing

WATCH_SECONDS = 1.0
_log = get_log("role")


class Role(Protocol):
    """One process's part."""

    url: str
    """Where it is called: the collector by shops and customers, the others by operators only. Known once it is started."""
    operators_url: str
    """Where it answers /healthz, /readyz and /metrics."""
    metrics: Metrics

    async def start(self) -> None:
        """Returns when it works, or is about to. Raises an AnlassError, with nothing left open."""

    async def stop(self) -> None:
        """Finishes what it took, and closes. Idempotent."""

    def trouble(self) -> BaseException | None:
        """What ended it from the inside; None while it works."""


async def ended(task: asyncio.Task[None]) -> None:
    """Ends what runs beside a role."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def run_role(role: Callable[[], Role], *, announce: Callable[[Role], None], name: str = "") -> None:
    """Runs a role until SIGTERM or SIGINT; a second signal ends it at once. Raises what ended it from the inside.

    `name` is what its spans are said to come from.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(role, announce, name))


async def _serve(build: Callable[[], Role], announce: Callable[[Role], None], name: str) -> None:
    told = told_to_stop()
    role = build()
    tracing = role.metrics.tracing = open_tracing(name)
    try:
        await role.start()
    except StorageError as error:  # the brokers were there when the topics were looked at, and went away since
        raise ServiceUnreachable(
            error.message, mend="Start it again when Kafka answers; it goes on where it was."
        ) from error
    try:
        announce(role)
        while not told.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await told.wait()
            trouble = role.trouble()
            if trouble is not None:
                raise StorageError(
                    f"The engine ended by itself: {type(trouble).__name__}: {trouble}",
                    mend="Start it again; it goes on where it was. If it ends again, report it with the log.",
                ) from trouble
    finally:
        await role.stop()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
