"""Takes in mails that came to the address for bounces, whichever way: each becomes records, a dead letter, or a count.

Invariant: when `take` returns, what follows from the mail is durable, so that whoever handed it over may forget it; when it
raises, nothing of it was kept and it has to be handed over again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from channels.bounces import Marks, Understood, understand
from engine.clock import Clock
from engine.collector.callbacks.reports import Reports
from engine.core.facts.address import canonical
from engine.errors import Backlog
from engine.runtimes.base import DeadLetter, Front, MessageStatus
from engine.telemetry import Action, Metrics, get_log

LETTER_BYTES_MAX = 256_000
"""Of a mail that could not be used so much is kept."""
UNKNOWN_MS_MAX = 600_000
"""A marked mail about a message that is not known (yet) is asked for again for so long."""
UNBELIEVABLE = "it names a message by its Message-ID alone, and another address than the message went to"
_WAITING_MAX = 10_000
_log = get_log("bounces")


class BounceTaken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a mail. `kept`: `outcome`, `dead_letter` or `counted`; `reason` says why it is not an outcome."""

    understood: Understood
    kept: str
    reason: str = ""


class BounceDesk:
    """Where mails are handed in. `marks` reads the addresses that our mails came from."""

    def __init__(self, runtime: Front, clock: Clock, metrics: Metrics, *, marks: Marks, reports: Reports) -> None:
        self._runtime = runtime
        self._clock = clock
        self._metrics = metrics
        self._marks = marks
        self._reports = reports
        self._waiting: OrderedDict[str, int] = OrderedDict()

    async def take(self, raw: bytes, *, envelope_to: Sequence[str], origin: str) -> BounceTaken:
        """Understands and keeps it. Raises Backlog (come again) and StorageError.

        `origin` is the way it came: `lmtp`, `smtp`, `imap`, `pop3`, `file`.
        """
        understood = understand(raw, envelope_to=envelope_to, marks=self._marks)
        taken = await self._keep(understood, raw, origin)
        self._metrics.mails_in.labels(str(understood.kind)).inc()
        _log.info(
            Action.MAIL_TAKEN, origin=origin, kind=str(understood.kind), label=understood.label, kept=taken.kept,
            message=understood.report.message if understood.report else "",
        )  # fmt: skip
        return taken

    async def _keep(self, understood: Understood, raw: bytes, origin: str) -> BounceTaken:
        report = understood.report
        if report is None:
            if understood.ignored:
                return BounceTaken(understood=understood, kept="counted")
            return await self._put_aside(understood, understood.reason, raw, origin)
        about = await self._reports.message_of(report.message, patience_seconds=0.0)
        if about is None and understood.proven:
            self._wait_for(report.message)
        if about is None:
            return await self._put_aside(understood, "no message is known that it is about", raw, origin)
        self._waiting.pop(report.message, None)
        if not believable(understood, about):
            return await self._put_aside(understood, UNBELIEVABLE, raw, origin, customer=about.message.customer)
        await self._runtime.append(await self._reports.records(report, about))
        return BounceTaken(understood=understood, kept="outcome")

    def _wait_for(self, message: str) -> None:
        """Raises Backlog while the journal's database may still be about to learn of the message."""
        now_ms = self._clock.now_ms()
        first_ms = self._waiting.setdefault(message, now_ms)
        while len(self._waiting) > _WAITING_MAX:
            self._waiting.popitem(last=False)
        if now_ms - first_ms < UNKNOWN_MS_MAX:
            raise Backlog("The message that this mail is about is not known yet.", retry_after_seconds=60)
        del self._waiting[message]

    async def _put_aside(
        self, understood: Understood, reason: str, raw: bytes, origin: str, *, customer: str = ""
    ) -> BounceTaken:
        letter = DeadLetter(
            at_ms=self._clock.now_ms(), origin=f"mail:{origin}", reason=f"{understood.kind}: {reason}",
            body=raw[:LETTER_BYTES_MAX], customer=customer,
        )  # fmt: skip
        await self._runtime.dead_letter([letter])
        return BounceTaken(understood=understood, kept="dead_letter", reason=reason)


def believable(understood: Understood, about: MessageStatus) -> bool:
    """Whether the mail is about this message: a mark of ours says so, or it also speaks of the message's address."""
    return understood.proven or canonical(about.message.address) in map(canonical, understood.recipients)
