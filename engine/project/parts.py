"""Builds the parts that more than one command needs: runtime, channels, mailbox.

Invariant: nothing leaves this machine through a channel that no setting asks for.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from channels import registry
from channels.callbacks import CallbackReader
from channels.letters import PrintSettings, Spool
from channels.recording import Mailbox
from engine.clock import Clock
from engine.dispatch.sending.dispatcher import DispatchOptions
from engine.dispatch.sending.limits import Limits
from engine.errors import SettingsError, StorageError
from engine.project.opening import Project
from engine.runtimes.embedded import EmbeddedOptions, EmbeddedRuntime
from engine.settings import Settings
from engine.telemetry import Action, Metrics, get_log

_log = get_log("parts")


def open_runtime(
    project: Project,
    *,
    clock: Clock | None = None,
    metrics: Metrics | None = None,
    hold: bool = False,
    accept_loss: bool = False,
    timers: bool = True,
) -> EmbeddedRuntime:
    """The project's runtime, not started. `hold`: its store is a copy. `timers` False: a command opens it for a moment.
    `accept_loss`: it starts though its key or its database is gone.
    """
    database = project.settings.database
    options = EmbeddedOptions(
        backlog_max=project.settings.collector.backlog_max,
        synchronous="FULL" if database.synchronous == "full" else "NORMAL",
        log_days=database.log_days,
        journal_days=database.journal_days,
        accept_loss=accept_loss,
        timers=timers,
        hold=hold,
    )
    runtime = EmbeddedRuntime(project.var, project.catalog, clock=clock, options=options, metrics=metrics)
    runtime.on_forget = functools.partial(forget_customer, project.settings)
    return runtime


def open_callbacks(settings: Settings) -> dict[str, CallbackReader]:
    """A reader for each provider whose callbacks can be checked: its secret is set. Raises SettingsError."""
    readers: dict[str, CallbackReader] = {}
    for name, section in settings.callback_sections.items():
        for provider, secrets in section.callbacks(settings.collector.public_url).items():
            if file := secrets.get("certificates_file"):
                secrets["certificates_file"] = str(settings.project / str(file))
            try:
                readers[provider] = registry.load_callbacks(provider)(secrets)
            except ValueError as error:
                raise SettingsError(str(error), mend=f"Change the settings of [{name}].") from error
    return readers


def dispatch_options(settings: Settings) -> DispatchOptions:
    """How much of each provider may be under way at once and how fast it may leave; the local mailbox needs no limit of rate.

    A message that waits for a connection is claimed already and would be found `unknown` after a crash: no more than there
    are connections.
    """
    providers = [
        Limits(
            channels=section.SERVES,
            under_way_max=section.connections,
            domain_under_way_max=section.domain_limits[0],
            rate=section.rate_per_second,
            domain_rate=section.domain_limits[1],
        )
        for section in settings.channel_sections.values()
        if section.configured and section.SERVES
    ]
    return DispatchOptions(providers=tuple(providers))


def open_mailbox(var: Path, *, messages_max: int = 10_000) -> Mailbox:
    """The local mailbox in `var/`, which keeps the newest `messages_max` that are added. Raises StorageError."""
    try:
        mailbox = Mailbox(var, messages_max=messages_max)
        if mailbox.set_aside is not None:
            _log.error(Action.FILE_QUARANTINED, file=mailbox.set_aside.name)
        return mailbox
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"The mailbox in {var} cannot be opened: {error}.") from error


def local_mailbox(settings: Settings) -> Mailbox:
    """The mailbox of a project, as its settings want it. Raises StorageError."""
    return open_mailbox(settings.database_path.parent, messages_max=settings.mailbox.messages_max)


def forget_customer(settings: Settings, customer: str) -> None:
    """Removes what channels on this machine keep of a customer who is erased, however that was asked for: messages in the local
    mailbox, letters that wait for the print shop. Raises StorageError.
    """
    var = settings.database_path.parent
    try:
        with contextlib.closing(local_mailbox(settings)) as mailbox:
            mailbox.remove_customer(customer)
    except sqlite3.Error as error:
        raise StorageError(f"The mailbox in {var} cannot be written: {error}.") from error
    if settings.print.configured:
        printing = msgspec.convert(settings.print.adapter("print"), PrintSettings)
        try:
            Spool(Path(printing.folder)).forget(customer, printing)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"The letters in {printing.folder} cannot be written: {error}.") from error


def forget_in_mailbox(var: Path, message_ids: Sequence[str]) -> int:
    """Removes an erased customer's messages from the local mailbox; how many there were. Raises StorageError."""
    with contextlib.closing(open_mailbox(var)) as mailbox:
        return mailbox.remove(message_ids)


def kept_in_mailbox(var: Path, message_ids: Sequence[str]) -> int:
    """How many of these messages lie in the local mailbox. Raises StorageError."""
    with contextlib.closing(open_mailbox(var)) as mailbox:
        return sum(mailbox.get(each) is not None for each in message_ids)
