"""Counts and logs what was refused, whoever refused it.

Invariant: each refusal is counted under one word of a closed list; of each word at most one line a minute is logged, whatever a
stranger sends, and neither the path nor anything else that was sent is in it.
"""

from __future__ import annotations

import functools
from enum import StrEnum

from aiohttp import web

from engine.clock import Clock
from engine.collector.answers import CODE
from engine.collector.intake.segment import Handler
from engine.telemetry import Action, Metrics, get_log

LINE_SECONDS = 60.0
_log = get_log("collector")


class RefusalReason(StrEnum):
    """Why something was refused: the values of `reason` in `anlass_refused_total`."""

    KEYLESS = "keyless"
    FOREIGN_HOST = "foreign_host"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    BROWSER_KEY = "browser_key"
    EVENT_NOT_ALLOWED = "event_not_allowed"
    FOREIGN_ORIGIN = "foreign_origin"
    UNPROVEN_USER = "unproven_user"
    FORGED = "forged"
    TOKEN = "token"  # noqa: S105 - a word, not a secret
    FOREIGN_FORM = "foreign_form"
    TOO_OFTEN = "too_often"
    BACKLOG = "backlog"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    INVALID = "invalid"
    UNSUPPORTED = "unsupported"
    METHOD = "method"
    NOT_FOUND = "not_found"
    NOT_CONFIGURED = "not_configured"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
    CONNECTIONS = "connections"


_BY_CODE = {
    "backlog": RefusalReason.BACKLOG,
    "browser_key": RefusalReason.BROWSER_KEY,
    "event_not_allowed": RefusalReason.EVENT_NOT_ALLOWED,
    "foreign": RefusalReason.FOREIGN_FORM,
    "foreign_host": RefusalReason.FOREIGN_HOST,
    "foreign_origin": RefusalReason.FOREIGN_ORIGIN,
    "forged": RefusalReason.FORGED,
    "keyless": RefusalReason.KEYLESS,
    "not_configured": RefusalReason.NOT_CONFIGURED,
    "unproven_user": RefusalReason.UNPROVEN_USER,
}
_BY_STATUS = {
    401: RefusalReason.UNAUTHORIZED,
    403: RefusalReason.FORBIDDEN,
    404: RefusalReason.NOT_FOUND,
    405: RefusalReason.METHOD,
    408: RefusalReason.TOO_SLOW,
    410: RefusalReason.NOT_FOUND,
    413: RefusalReason.TOO_LARGE,
    415: RefusalReason.UNSUPPORTED,
    429: RefusalReason.TOO_OFTEN,
    500: RefusalReason.INTERNAL,
    503: RefusalReason.UNAVAILABLE,
}


class Refusals:
    """Counts into `metrics`; `middleware` is the outermost of an application."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._lines: dict[RefusalReason, tuple[float, int]] = {}
        """When the last line was logged, and how many refusals there were since."""
        # aiohttp marks a middleware with an attribute, which a bound method cannot have.
        self.middleware = web.middleware(functools.partial(self._handle))

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if answer.status >= 400:  # noqa: PLR2004 - HTTP
            self.count(reason_of(request, answer), route=route_of(request), status=answer.status)
        return answer

    def came(self, records: int, key: str) -> None:
        """Records that were taken, by the name of the key."""
        if key:
            self._metrics.records.labels(key=key).inc(records)

    def refused(self, code: str) -> None:
        """A record of a batch that became a dead letter."""
        self.count(_BY_CODE.get(code, RefusalReason.INVALID), code=code)

    def count(self, reason: RefusalReason, **fields: object) -> None:
        """One refusal more; logs it if none of this reason was logged within the minute."""
        self._metrics.refused.labels(reason=reason.value).inc()
        now = self._clock.monotonic()
        since, more = self._lines.get(reason, (-LINE_SECONDS, 0))
        if now - since < LINE_SECONDS:
            self._lines[reason] = (since, more + 1)
            return
        self._lines[reason] = (now, 0)
        if more:
            fields["more"] = more
        _log.warning(Action.REQUEST_REFUSED, reason=reason.value, **fields)


def reason_of(request: web.Request, answer: web.StreamResponse) -> RefusalReason:
    """The word for an answer: by its code where that says more than the status."""
    known = _BY_CODE.get(answer.get(CODE, ""))
    if known is not None:
        return known
    if answer.status in {400, 403, 404} and "{token}" in route_of(request):
        return {400: RefusalReason.INVALID, 403: RefusalReason.FORBIDDEN, 404: RefusalReason.TOKEN}[answer.status]
    return _BY_STATUS.get(answer.status, RefusalReason.INVALID)


def route_of(request: web.Request) -> str:
    """The route, not the path: paths of links hold tokens, and those do not belong in a log."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(unknown)"
