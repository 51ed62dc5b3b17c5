"""What works beside the main parts all the time: mailboxes of bounces that are read, and watches over what was sent.

Invariant: a companion changes things only by writing records, so that it may run on either runtime, stop at any time and start
again; one that fails is logged and tried again, and stops nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

import msgspec

from engine.clock import Clock
from engine.runtimes.base import Front
from engine.settings import Settings
from engine.telemetry import Action, Metrics, get_log

RETRY_SECONDS = 5.0
_log = get_log("companion")


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a companion works with. On Kafka `runtime` answers from the journal's database and writes to the cluster."""

    settings: Settings
    runtime: Front
    clock: Clock
    metrics: Metrics


class Companion(Protocol):
    """Works until it is cancelled. Its `name` stands in the log."""

    name: str

    async def run(self) -> None:
        """Raises what it cannot mend itself: then it is started again after a while."""


def beside_collector(around: Surroundings) -> list[Companion]:
    """Those that take something in from outside: they run where the collector runs."""
    return [build(around) for build in COLLECTOR]


def beside_journal(around: Surroundings) -> list[Companion]:
    """Those that watch what was decided and sent: they run once for the whole project, where the journal is written."""
    return [build(around) for build in JOURNAL]


COLLECTOR: tuple[Callable[[Surroundings], Companion], ...] = ()
JOURNAL: tuple[Callable[[Surroundings], Companion], ...] = ()


@contextlib.asynccontextmanager
async def running(companions: Iterable[Companion]) -> AsyncIterator[None]:
    """They work inside this block."""
    tasks = [asyncio.create_task(_kept_up(each), name=f"anlass-{each.name}") for each in companions]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _kept_up(companion: Companion) -> None:
    while True:
        try:
            await companion.run()
            return
        except Exception as error:  # noqa: BLE001 - whatever ails one of them, the service goes on
            _log.error(Action.COMPANION_FAILED, companion=companion.name, cause=error)
            await asyncio.sleep(RETRY_SECONDS)
