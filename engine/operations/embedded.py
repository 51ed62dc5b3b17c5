"""What the command line asks of a project that may be running, and hands to it, whichever runtime the project has.

Invariant: a record handed over is durable before anything is waited for, and is applied exactly once. Commands do not know
whether a service on this machine does it or the workers of a cluster: the settings say so, here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from engine.clock import SystemClock
from engine.core.catalog import Catalog
from engine.core.journey.workflow import Workflow
from engine.core.record import Erase, Record
from engine.definition.load import load_files
from engine.definition.phone_numbers import with_phone_numbers
from engine.definition.public_holidays import with_public_holidays
from engine.errors import DefinitionError, ServiceUnreachable
from engine.operations.deploy import publish
from engine.operations.port import Audited, Operations, StillKept, operator_name
from engine.project.opening import VERSIONS_MAX, open_project
from engine.project.parts import open_runtime
from engine.runtimes.audit import Act, Head
from engine.runtimes.base import ErasureReceipt, History, Reader, Replayed
from engine.runtimes.consent_chain import LedgerCheck
from engine.runtimes.embedded import audit, consents, inbox, operators, suppression
from engine.runtimes.embedded.keys import keyed_hash, read_key
from engine.runtimes.embedded.store import is_running
from engine.runtimes.suppression import SuppressionEntry
from engine.settings import Settings, load_settings

RUNNING_FILE = "running.json"
"""Where a running service says what it listens at."""
TAKEN_SECONDS_MAX = 15.0
POLL_SECONDS = 0.05

T = TypeVar("T")


def operations(folder: Path) -> Operations:
    """Of the project in `folder`, on the runtime that its settings name. Raises SettingsError."""
    settings = load_settings(folder)
    if not settings.kafka.configured:
        return EmbeddedOperations(folder, settings)
    from engine.operations.kafka import KafkaOperations  # noqa: PLC0415 - its clients take a second to import

    return KafkaOperations(settings)


async def ask(folder: Path, question: Callable[[Reader], Awaitable[T]]) -> T:
    """What the project's store answers. Raises NotFound when there is none yet, ServiceUnreachable."""
    return await operations(folder).ask(question)


async def carry_out(folder: Path, records: Sequence[Record]) -> None:
    """Has records applied; returns when they are. Raises NotFound when the project never ran, ServiceUnreachable when nobody
    takes them now: then they are kept.
    """
    ours = operations(folder)
    await ours.submit(records)
    await ours.settle()


async def note(folder: Path, act: Act) -> None:
    """Writes into the project's audit log what is about to be done; see `Operations.note`."""
    await operations(folder).note(act)


async def catalog_in_force(folder: Path) -> Catalog:
    """The definitions that decide now, with the versions of people in flight: as they were put in force, else as they lie in the
    folder. Raises DefinitionError when they cannot be used.
    """
    ours = operations(folder)
    published = await ours.published()
    if not published:
        return open_project(folder, with_templates=False).catalog
    newest, *earlier = published[: VERSIONS_MAX + 1]
    versions = [
        workflow for files in earlier if (read := _read(files)) is not None for workflow in read.versions.values()
    ]  # fmt: skip
    catalog = _read(newest, versions)
    if catalog is None:
        raise DefinitionError("What is in force was written for another version of Anlass.")
    pauses = await ours.ask(lambda reader: reader.pauses())
    paused = frozenset(each.workflow for each in pauses if each.paused)
    return replace(with_phone_numbers(with_public_holidays(catalog)), paused=paused)


def _read(files: Mapping[str, str], versions: Sequence[Workflow] = ()) -> Catalog | None:
    pairs = [(name, text.encode()) for name, text in files.items() if name.startswith("workflows/")]
    return load_files(pairs, channels=None, extra_versions=versions).catalog


def running_url(var: Path) -> str | None:
    """Where the service that uses the folder `var` listens; None when none is running."""
    if not is_running(var):
        return None
    try:
        url = json.loads((var / RUNNING_FILE).read_text("utf-8"))["collector"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is just starting, or another command holds the store
    return url if isinstance(url, str) else None


class EmbeddedOperations:
    """On a store in the project's folder: by the service that runs on it, or else by opening it (nothing is sent then)."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._var = settings.database_path.parent
        self._erased_ms = 0

    async def ask(self, question: Callable[[Reader], Awaitable[T]]) -> T:
        with inbox.open_reader(self._var) as reader:
            return await question(reader)

    async def history(self, customer: str, *, limit: int) -> History:
        return operators.history(self._var, customer, limit=limit)

    async def submit(self, records: Sequence[Record]) -> None:
        inbox.submit(self._var, records)

    async def settle(self) -> None:
        var = self._var
        if is_running(var) and await _taken(var):
            return
        if is_running(var):
            raise ServiceUnreachable(
                "The running service has not taken the command yet.",
                mend="It is kept, and will be done as soon as the service gets to it.",
            )
        project = open_project(self._folder, with_templates=False)
        runtime = open_runtime(project, timers=False)  # it may be a copy that is about to be held
        await runtime.start()
        try:
            await publish(runtime, project)  # whatever is evaluated on definitions has them on record
            await _taken(var)
            await runtime.idle()
            await runtime.tidy()
        finally:
            await runtime.stop()

    async def put_back(self, dead_letter_ids: Sequence[int]) -> Replayed:
        return operators.replay(self._var, dead_letter_ids)

    async def erase(self, customer: str) -> None:
        self._erased_ms = SystemClock().now_ms()
        await self.submit([Erase(customer=customer, at_ms=self._erased_ms, id=f"operator:{self._erased_ms}")])
        await self.settle()

    async def receipt(self, customer: str) -> ErasureReceipt | None:
        found = operators.receipt(self._var, customer)
        return found if found is not None and found.requested_ms >= self._erased_ms else None

    async def kept(self) -> list[StillKept]:
        return []  # the log is cleaned as well

    async def deployed(self) -> dict[str, str]:
        return {}  # it runs what lies in the folder

    async def published(self) -> list[dict[str, str]]:
        return [files for _, files in inbox.stored_sources(self._var)]

    async def note(self, act: Act) -> None:
        audit.note(
            self._var, act, at_ms=SystemClock().now_ms(), who=operator_name(), key=self._settings.audit.signing_key
        )

    async def audit(self) -> Audited:
        texts, said = audit.read(self._var)
        return Audited(texts=tuple(texts), said_head=said)

    async def check_consents(self, known: Head | None) -> LedgerCheck:
        with inbox.open_ledger(self._var) as connection:
            return consents.check(connection, known)

    async def heads(self) -> dict[str, Head]:
        with inbox.open_ledger(self._var) as connection:
            ledger = consents.head_of(connection)
        number, _, digest = audit.read_head(self._var).partition(":")
        return {"audit": Head(number=int(number), hash=digest) if digest else Head(), "consents": ledger}

    async def suppressions(self) -> list[SuppressionEntry]:
        return suppression.listed(self._var)

    async def suppress(self, entries: Sequence[SuppressionEntry]) -> None:
        suppression.suppress(self._var, entries)

    async def lift(self, entries: Sequence[SuppressionEntry]) -> None:
        suppression.lift(self._var, entries)

    def text_hash(self, text: str) -> bytes:
        return keyed_hash(read_key(self._var), text)

    def alias(self, customer: str) -> str:
        return audit.alias_of(self._var)(customer)


async def _taken(var: Path) -> bool:
    """Whether the inbox was emptied within a few seconds by a process that is alive."""
    for _ in range(int(TAKEN_SECONDS_MAX / POLL_SECONDS)):
        if not operators.waiting(var):
            return True
        if not is_running(var):
            return False
        await asyncio.sleep(POLL_SECONDS)
    return False
