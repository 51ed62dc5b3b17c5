"""The local mailbox in the browser: what would have left this machine.

Invariant: it is on the operators' port only, since it holds customers' addresses; and a mail's HTML can run nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from channels.recording import Mailbox, RecordedMessage
from engine.clock import to_rfc3339
from engine.collector import answers
from engine.collector.pages.page import foreign, page
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
            web.get("/mailbox", self.list_page),
            web.get("/mailbox.json", self.list_json),
            web.get("/mailbox/{id}", self.mail_page),
            web.get("/mailbox/{id}/html", self.mail_html),
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
