"""What the collector answers, and how an error becomes an answer.

Invariant: every error is JSON with `code` and `message`, because clients that resend decide by reading them; the text of an
exception that nobody meant for the outside never leaves.
"""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
from aiohttp import web

from engine.errors import AnlassError, Backlog, BadRecord, LimitExceeded, NotFound, StorageError, StorageFull
from engine.telemetry import Action, get_log

JSON = "application/json"
SUCCESS = b'{"success": true}'
RETRY_SECONDS = 5
CODE = web.ResponseKey("refused", str)
"""The key under which an answer carries the code that it was refused with, for `refusals`."""
_log = get_log("collector")
FORBIDDEN = frozenset({"browser_key", "event_not_allowed", "foreign_origin", "unproven_user"})
"""Codes of what a key may not send."""
_STATUS = {
    **dict.fromkeys(FORBIDDEN, 403),
    "body_too_slow": 408,
    "event_too_large": 413,
    "body_too_large": 413,
    "too_many_events": 413,
    "unauthorized": 401,
    "unsupported_media_type": 415,
}
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "unsupported_media_type"}


def success() -> web.Response:
    """Exactly what Segment answers."""
    return web.Response(body=SUCCESS, content_type=JSON)


def refusal(status: int, code: str, message: str, **more: Any) -> web.Response:
    """An error as JSON; `more` adds fields."""
    body = msgspec.json.encode({"success": False, "code": code, "message": message, **more})
    headers: dict[str, str] = {}
    if status in {429, 503}:
        headers["Retry-After"] = str(RETRY_SECONDS)
    if status == 408:  # noqa: PLR2004 - HTTP
        headers["Connection"] = "close"
    if status == 401:  # noqa: PLR2004 - HTTP
        headers["WWW-Authenticate"] = 'Basic realm="anlass"'
    answer = web.Response(status=status, body=body, content_type=JSON, headers=headers)
    answer[CODE] = code
    return answer


def answer_to(error: Exception, path: str) -> web.Response:
    """The answer to a request that failed with `error`."""
    match error:
        case BadRecord():
            where = {"where": error.where} if error.where else {}
            return refusal(_STATUS.get(error.code, 400), error.code, str(error), **where)
        case Backlog():
            return refusal(429, "backlog", str(error))
        case LimitExceeded():
            return refusal(413, "limit_exceeded", str(error))
        case NotFound():
            return refusal(404, "not_found", str(error))
        case StorageFull():
            _log.error(Action.REQUEST_FAILED, path=path, reason="storage_full")
            return refusal(503, "storage_full", "There is no room to store this; send it again later.")
        case StorageError():
            _log.error(Action.REQUEST_FAILED, cause=error, path=path, reason="storage")
            return refusal(503, "storage_unavailable", "This cannot be stored now; send it again later.")
        case web.HTTPException():
            answer = refusal(error.status, _HTTP_CODES.get(error.status, "http_error"), f"{error.reason}.")
            answer.headers.update({name: error.headers[name] for name in ("Allow",) if name in error.headers})
            return answer
        case _:
            return _our_fault(error, path)


def _our_fault(error: Exception, path: str) -> web.Response:
    """A mistake of ours: the sender gets a number under which the operator finds it in the log."""
    incident = secrets.token_hex(8)
    _log.error(Action.REQUEST_FAILED, cause=error, path=path, incident=incident)
    message = str(error) if isinstance(error, AnlassError) else "Something went wrong here; it is logged under this id."
    return refusal(500, "internal_error", message, id=incident)
