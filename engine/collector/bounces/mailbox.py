"""Empties a mailbox of bounces: visits it, hands each mail in, and moves or deletes it only then.

Invariant: a mail leaves the mailbox after what follows from it is durable. Whatever fails or ends in between, it is read again,
and a mail that is read twice changes nothing a second time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from engine.collector.bounces.fetching import MailboxAccount, MailboxVisit, mailbox_of
from engine.collector.bounces.intake import BounceDesk
from engine.errors import AnlassError, Backlog
from engine.telemetry import Action, get_log

MAILS_A_VISIT = 50
REFUSED_MAX = 5
"""So many mails that cannot be kept now end a visit: the rest will meet the same."""
WAIT_SECONDS_MAX = 900.0
_log = get_log("bounces")


class MailboxReader:
    """The companion that visits one mailbox again and again."""

    name = "bounce-mailbox"

    def __init__(
        self,
        desk: BounceDesk,
        account: MailboxAccount,
        *,
        poll_seconds: float,
        open_mailbox: Callable[[MailboxAccount], MailboxVisit] = mailbox_of,
    ) -> None:
        """Keeps what it is given; connects to nothing yet."""
        self._desk = desk
        self._account = account
        self._poll_seconds = poll_seconds
        self._open_mailbox = open_mailbox

    async def run(self) -> None:
        """Visits for ever. A server that is away or refuses the login is asked less and less often."""
        failed = 0
        while True:
            try:
                more = await self.visit()
                failed = 0
            except Exception as error:  # noqa: BLE001 - whatever a server or its protocol does, the next visit may work
                failed += 1
                more = False
                _log.error(Action.COMPANION_FAILED, companion=self.name, cause=error, failed=failed)
            if not more:
                await asyncio.sleep(
                    min(self._poll_seconds * 2 ** min(failed, 10), max(WAIT_SECONDS_MAX, self._poll_seconds))
                )

    async def visit(self) -> bool:
        """Hands in what is there; whether there is more that can be handed in at once."""
        mailbox = self._open_mailbox(self._account)
        try:
            await asyncio.to_thread(mailbox.open)
            mails = await asyncio.to_thread(mailbox.read, MAILS_A_VISIT)
            refused = 0
            for number, raw in mails:
                try:
                    await self._desk.take(raw, envelope_to=(), origin=self._account.protocol)
                except Backlog:
                    refused += 1
                except AnlassError as error:  # a full disk, say
                    refused += 1
                    _log.error(Action.MAIL_REFUSED, origin=self._account.protocol, cause=error)
                else:
                    await asyncio.to_thread(mailbox.done, [number])
                if refused >= REFUSED_MAX:
                    break
            return len(mails) == MAILS_A_VISIT and not refused
        except asyncio.CancelledError:
            mailbox.abort()  # or the end of the process would wait for the thread
            raise
        finally:
            with contextlib.suppress(Exception):  # a server that went away needs no farewell
                await asyncio.to_thread(mailbox.close)
