"""Builds what takes bounces in beside the collector: the listener and the reader of a mailbox, as the settings say.

Invariant: nothing listens and nothing is fetched unless `[bounces]` asks for it.
"""

from __future__ import annotations

import socket
import ssl

from channels.bounces import Marks
from engine.clock import Clock
from engine.collector.bounces.fetching import MailboxAccount
from engine.collector.bounces.intake import BounceDesk
from engine.collector.bounces.listener import Taking, listen
from engine.collector.bounces.mailbox import MailboxReader
from engine.collector.callbacks.reports import Reports
from engine.collector.listening import bind
from engine.errors import SettingsError
from engine.runtimes.base import Front
from engine.settings import Settings
from engine.telemetry import Action, Metrics, get_log
from engine.watches.watch import Companion, WatchNeeds

_log = get_log("bounces")


def open_desk(settings: Settings, runtime: Front, clock: Clock, *, metrics: Metrics) -> BounceDesk:
    """Where mails are handed in. Raises SettingsError."""
    reports = Reports(runtime, clock, metrics, pause_after=settings.bounces.pause_after)
    return BounceDesk(runtime, clock, metrics, marks=marks_of(settings), reports=reports)


def marks_of(settings: Settings) -> Marks:
    """What reads the marks that the email channel makes. Raises SettingsError."""
    return Marks(settings.mark_secret().encode())


class Listener:
    """The companion that listens for a mail server. The port is taken when it is built, so that a start says what is wrong."""

    name = "bounce-listener"

    def __init__(self, settings: Settings, desk: BounceDesk, marks: Marks) -> None:
        """Raises SettingsError when the port or the certificate cannot be used."""
        bounces = settings.bounces
        addresses = {address.lower() for address in bounces.addresses}
        if settings.email.return_path and "{id}" not in settings.email.return_path:
            addresses.add(settings.email.return_path.lower())
        self._taking = Taking(
            protocol=bounces.listen,
            marks=marks,
            addresses=frozenset(addresses),
            tls_context=_certificate(settings),
        )
        self._desk = desk
        self._where = (bounces.host, bounces.port)
        self._sock: socket.socket | None = self._bind()
        self.port: int = self._sock.getsockname()[1]

    def _bind(self) -> socket.socket:
        return bind(*self._where, what="listener for bounces", setting="ANLASS_BOUNCES__")

    async def run(self) -> None:
        sock, self._sock = self._sock or self._bind(), None
        server = await listen(sock, self._desk, self._taking)
        _log.info(Action.STARTED, protocol=self._taking.protocol, port=self.port)
        try:
            await server.serve_forever()
        finally:
            server.close()


def listener(around: WatchNeeds) -> Companion | None:
    """The listener, when the settings ask for one."""
    if not around.settings.bounces.listen:
        return None
    desk = open_desk(around.settings, around.runtime, around.clock, metrics=around.metrics)
    return Listener(around.settings, desk, marks_of(around.settings))


def mailbox_reader(around: WatchNeeds) -> Companion | None:
    """The reader of a mailbox, when the settings ask for one."""
    bounces = around.settings.bounces
    if not bounces.mailbox:
        return None
    if bounces.password is None:
        raise SettingsError(
            "The mailbox of bounces has no password.", mend="Set ANLASS_BOUNCES__PASSWORD or bounces.password_file."
        )
    account = MailboxAccount(
        protocol=bounces.mailbox,
        host=bounces.mailbox_host,
        port=bounces.port_of_mailbox,
        tls=bounces.mailbox_tls,
        username=bounces.username,
        password=bounces.password.get_secret_value(),
        ca_file=str(around.settings.project / bounces.ca_file) if bounces.ca_file else "",
        folder=bounces.folder,
        done_folder=bounces.done_folder,
    )
    desk = open_desk(around.settings, around.runtime, around.clock, metrics=around.metrics)
    return MailboxReader(desk, account, poll_seconds=bounces.poll_seconds)


def _certificate(settings: Settings) -> ssl.SSLContext | None:
    if not settings.bounces.tls_file:
        return None
    path = settings.project / settings.bounces.tls_file
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(path)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"bounces.tls_file {path} cannot be used: {error}.",
            mend="Give a PEM file with the certificate and its key.",
        ) from error
    return context
