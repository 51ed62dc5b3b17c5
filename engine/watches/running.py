"""What works beside the main parts all the time: mailboxes of bounces that are read, and watches over what was sent.

Invariant: a companion changes things only by writing records, so that it may run on either runtime, stop at any time and start
again; one that fails is logged and tried again, and stops nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable

from engine.telemetry import Action, get_log
from engine.watches.chain_heads import ChainHeads
from engine.watches.guardrail import Guardrail
from engine.watches.subject_tests import SubjectTests
from engine.watches.tasks import TaskCounter
from engine.watches.watch import Companion, WatchNeeds

__all__ = ["JOURNAL", "Companion", "WatchNeeds", "beside_collector", "beside_journal", "running"]

RETRY_SECONDS = 5.0
_log = get_log("companion")


def beside_collector(around: WatchNeeds) -> list[Companion]:
    """Those that take something in from outside: they run where the collector runs. Raises SettingsError."""
    asked = around.settings.bounces
    if not asked.listen and not asked.mailbox:
        return []
    from engine.watches import bounces  # noqa: PLC0415 - its mail clients, for which every command would wait

    return [
        companion for build in (bounces.listener, bounces.mailbox_reader) if (companion := build(around)) is not None
    ]


def beside_journal(around: WatchNeeds) -> list[Companion]:
    """Those that watch what was decided and sent: they run once for the whole project, where the journal is written."""
    return [build(around) for build in JOURNAL]


JOURNAL: tuple[Callable[[WatchNeeds], Companion], ...] = (Guardrail, SubjectTests, TaskCounter, ChainHeads)


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
