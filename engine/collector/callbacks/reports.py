"""What becomes of a report about a message, whoever brought it: a webhook, a mail that came back, an operator's file.

Invariant: the same report gives the same record, so that one that comes again changes nothing; a refusal for our own fault
suppresses nobody, and pauses a workflow only when messages to several customers were refused.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from channels.callbacks import Report
from channels.contract import Verdict
from engine.clock import Clock
from engine.core.journey.outcome import OBJECTIONS
from engine.core.record import Outcome, Pause, Record
from engine.runtimes.base import MessageStatus, Query, Reader
from engine.telemetry import Action, Metrics, get_log

PAUSE_AFTER = 3
PAUSE_WITHIN_MS = 3_600_000
REASON_CHARS_MAX = 300
PATIENCE_SECONDS = 3.0
"""A report may be here before the journal's database has the message: it is asked again for so long."""
_ASK_AGAIN_SECONDS = 0.25
_DECISIONS_MAX = 500
_WORKFLOWS_MAX = 1_000
_log = get_log("reports")


class Reports:
    """Turns reports into records. One per process, so that what came just now counts before it is in the journal."""

    def __init__(self, runtime: Reader, clock: Clock, metrics: Metrics, *, pause_after: int = PAUSE_AFTER) -> None:
        self._runtime = runtime
        self._clock = clock
        self._metrics = metrics
        self._pause_after = pause_after
        self._refused: OrderedDict[str, dict[str, tuple[str, int]]] = OrderedDict()

    async def message_of(
        self, message_id: str, *, provider_id: str = "", patience_seconds: float = PATIENCE_SECONDS
    ) -> MessageStatus | None:
        """The message, by our id or by its provider's, asked for again for a while; None when it is not known."""
        for _ in range(round(patience_seconds / _ASK_AGAIN_SECONDS)):
            status = await self._known(message_id, provider_id)
            if status is not None:
                return status
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
        return await self._known(message_id, provider_id)

    async def _known(self, message_id: str, provider_id: str) -> MessageStatus | None:
        status = await self._runtime.message(message_id) if message_id else None
        return await self._runtime.message_of(provider_id) if status is None and provider_id else status

    async def records(self, report: Report, about: MessageStatus) -> list[Record]:
        """The records to append: the outcome, and the pause when our own reputation is at fault too often."""
        message, now_ms = about.message, self._clock.now_ms()
        detail = {
            name: value[:REASON_CHARS_MAX] if isinstance(value, str) else value for name, value in report.detail.items()
        }
        if report.outcome in OBJECTIONS:  # the customer's state remembers the newest messages only
            detail |= {"purpose": message.purpose, "channel": message.channel}
        records: list[Record] = [
            Outcome(
                customer=message.customer, at_ms=now_ms, id=report.id, time_ms=min(report.at_ms or now_ms, now_ms),
                outcome=str(report.outcome), message=message.id, detail=detail,
            )
        ]  # fmt: skip
        class_ = class_of(report)
        self._metrics.reports.labels(message.channel, class_).inc()
        _log.info(Action.REPORT_TAKEN, message=message.id, outcome=str(report.outcome), verdict=class_)
        if detail.get("verdict") == Verdict.OUR_FAULT:
            code = str(detail.get("code", ""))
            _log.error(Action.REPUTATION_REFUSED, workflow=message.workflow, message=message.id, code=code)
            if await self._too_often(about, now_ms):
                _log.error(Action.WORKFLOW_PAUSED, workflow=message.workflow, message=message.id, code=code)
                reason = f"our_fault: message {message.id} was refused with {code or 'no code'}, and others before it"
                pause = Pause(
                    customer="", at_ms=now_ms, id=f"our-fault:{message.id}", workflow=message.workflow, reason=reason
                )
                records.append(pause)
        return records

    async def _too_often(self, about: MessageStatus, now_ms: int) -> bool:
        """Whether this refusal is the one that pauses: a message already known as refused never is."""
        workflow, message = about.message.workflow, about.message
        since_ms = now_ms - PAUSE_WITHIN_MS
        query = Query(workflow=workflow, kinds=("outcome",), limit=_DECISIONS_MAX)
        known = dict(self._refused.pop(workflow, {}))
        for _, decision in await self._runtime.decisions(query):
            if decision.detail.get("verdict") == Verdict.OUR_FAULT:
                known[str(decision.detail.get("message", ""))] = (decision.customer, decision.at_ms)
        recent = {each: (who, at_ms) for each, (who, at_ms) in known.items() if at_ms > since_ms}
        again = message.id in recent
        recent.setdefault(message.id, (message.customer, now_ms))
        self._refused[workflow] = recent
        while len(self._refused) > _WORKFLOWS_MAX:
            self._refused.popitem(last=False)
        return not again and len({who for who, _ in recent.values()}) >= self._pause_after


def class_of(report: Report) -> str:
    """The word of a closed list that metrics count it under."""
    verdict = report.detail.get("verdict")
    if report.outcome == "bounced":
        return "hard" if verdict in (None, Verdict.SUPPRESS) else str(Verdict(verdict))
    return str(report.outcome)
