"""The local mailbox in the browser: what would have left this machine.

Invariant: only somebody at this machine sees it, since it holds customers' addresses; and a mail's HTML can run nothing.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
from aiohttp import web

from channels.recording import Mailbox, RecordedMessage
from engine.clock import to_rfc3339
from engine.collector import answers
from engine.collector.page import foreign, page
from engine.collector.segment import Handler
from engine.errors import BadRecord, NotFound

LIST_MAX = 1_000
PAGE_MAILS = 50
_OFFSET_MAX = 1_000_000


class MailboxPages:
    """The handlers."""

    def __init__(self, mailbox: Mailbox) -> None:
        """Reads from `mailbox` only."""
        self._mailbox = mailbox

    def routes(self) -> list[web.RouteDef]:
        """The list, as a page and as JSON, and each mail."""
        return [
            web.get("/mailbox", _at_this_machine(self.list_page)),
            web.get("/mailbox.json", _at_this_machine(self.list_json)),
            web.get("/mailbox/{id}", _at_this_machine(self.mail_page)),
            web.get("/mailbox/{id}/html", _at_this_machine(self.mail_html)),
        ]

    async def list_page(self, request: web.Request) -> web.StreamResponse:
        """The newest mails."""
        offset = _number(request, "offset", 0, _OFFSET_MAX)
        mails = [_shown(mail) for mail in self._mailbox.messages(PAGE_MAILS, offset)]
        count = self._mailbox.count()
        older = offset + PAGE_MAILS if offset + PAGE_MAILS < count else None
        newer = max(0, offset - PAGE_MAILS) if offset else None
        return page("mailbox", mails=mails, count=count, older=older, newer=newer)

    async def list_json(self, request: web.Request) -> web.StreamResponse:
        """`{"count", "messages": […]}`, newest first; `?limit=`, `?offset=` and `?channel=`."""
        limit, offset = _number(request, "limit", 100, LIST_MAX), _number(request, "offset", 0, _OFFSET_MAX)
        mails = self._mailbox.messages(limit, offset, channel=request.query.get("channel"))
        body = msgspec.json.encode({"count": self._mailbox.count(), "messages": [_shown(mail) for mail in mails]})
        return web.Response(body=body, content_type=answers.JSON, headers={"Cache-Control": "no-store"})

    async def mail_page(self, request: web.Request) -> web.StreamResponse:
        """One mail: HTML in a frame, text, headers."""
        return page("mail", frames=True, mail=_shown(self._mail(request)))

    async def mail_html(self, request: web.Request) -> web.StreamResponse:
        """The HTML alone, shut in."""
        return foreign(self._mail(request).delivery.html or "")

    def _mail(self, request: web.Request) -> RecordedMessage:
        mail = self._mailbox.get(request.match_info["id"], channel=request.query.get("channel"))
        if mail is None:
            raise NotFound("There is no such message in the mailbox.")
        return mail


def _shown(mail: RecordedMessage) -> dict[str, Any]:
    delivery = msgspec.to_builtins(mail.delivery)
    delivery["from"] = delivery.pop("from_")
    delivery["date"] = to_rfc3339(delivery.pop("date_ms"))
    return {"seq": mail.seq, "copies": mail.copies, **delivery}


def _number(request: web.Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 9):  # noqa: PLR2004 - digits
        raise BadRecord("invalid_query", f"{name} must be a whole number.", where=name)
    return min(int(text), most)


def _at_this_machine(handler: Handler) -> Handler:
    """Refuses everybody else: other machines, those who come through a proxy, and foreign names for this address."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
        name = request.host.rpartition(":")[0] if not request.host.endswith("]") else request.host
        if forwarded or not _loopback(request.remote or "") or not (_loopback(name or request.host)):
            raise NotFound("The mailbox is shown only at the machine itself.", mend="Open it through an SSH tunnel.")
        return await handler(request)

    return guarded


def _loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
