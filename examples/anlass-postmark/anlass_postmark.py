"""E-mail through Postmark's HTTP API: one message becomes one POST to `/email`.

Invariant: Postmark knows no idempotency key, so a request whose answer never came is `UnknownOutcome`, never tried again here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from anlass.adapter import (
    Answer,
    Capabilities,
    Outbound,
    OutboundSettings,
    OutgoingMessage,
    PermanentError,
    Receipt,
    TransientError,
    Verdict,
    guard,
)

OK, TOO_MANY, SERVER_ERRORS = 200, 429, 500
# Postmark's own codes (https://postmarkapp.com/developer/api/overview#error-codes), by what they say beyond this message.
SUPPRESSED = frozenset({406})  # the recipient is inactive: a hard bounce, a complaint, or suppressed by hand
OUR_FAULT = frozenset({10, 400, 401, 402, 403, 405, 412, 413, 1101, 1235})
OUR_STATUS = frozenset({401, 403, 404, 415})


class PostmarkSettings(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}, forbid_unknown_fields=True):
    """`allow_hosts` is for a stand-in of the API in a test; `base_url` leads to it."""

    server_token: str
    from_: str
    message_stream: str = "outbound"
    base_url: str = "https://api.postmarkapp.com"
    allow_hosts: tuple[str, ...] = ()
    timeout_seconds: Annotated[float, Meta(gt=0, le=120)] = 30.0
    connections: Annotated[int, Meta(ge=1, le=500)] = 10


class PostmarkChannel:
    """The contract is `anlass.adapter.Channel`."""

    name = "postmark_api"
    capabilities = Capabilities(html=True, subject=True, list_unsubscribe=True, delivery_reports=True)

    def __init__(self, settings: PostmarkSettings) -> None:
        """`ValueError` for a sender that is not an address."""
        guard.mailbox(settings.from_)
        self._settings = settings
        self._outbound = Outbound(
            OutboundSettings(
                timeout_seconds=settings.timeout_seconds,
                connections=settings.connections,
                allow_hosts=frozenset(settings.allow_hosts),
            )
        )

    async def open(self) -> None:
        await self._outbound.open()

    async def close(self) -> None:
        """Waits for the calls under way."""
        await self._outbound.close()

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        """One call; what each answer means stands in `_judged`."""
        guard.refuse_unsafe(delivery)
        body = json.dumps(self._mail(delivery)).encode()
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "X-Postmark-Server-Token": self._settings.server_token,
        }
        url = f"{self._settings.base_url}/email"
        return _judged(await self._outbound.post(url, body, headers=headers, repeatable=False))

    def _mail(self, delivery: OutgoingMessage) -> dict[str, Any]:
        to = guard.recipient(delivery.to, delivery.to_name)
        headers = [{"Name": name, "Value": value} for name, value in delivery.headers]
        if delivery.list_unsubscribe_url is not None:
            headers += [
                {"Name": "List-Unsubscribe", "Value": f"<{delivery.list_unsubscribe_url}>"},
                {"Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click"},
            ]
        mail: dict[str, Any] = {
            "From": _written(guard.ours(delivery.from_ or self._settings.from_, configured=not delivery.from_)),
            "To": _written(to),
            "Subject": delivery.subject,
            "TextBody": delivery.text,
            "MessageStream": self._settings.message_stream,
            "Metadata": {"anlass_id": delivery.id},
            "Headers": headers,
        }
        mail |= {"HtmlBody": delivery.html} if delivery.html is not None else {}
        mail |= {"ReplyTo": _written(guard.ours(delivery.reply_to))} if delivery.reply_to else {}
        return mail


def create(settings: Mapping[str, object]) -> PostmarkChannel:
    """What the entry point names. Raises ValueError with the mend in it."""
    if not settings.get("server_token"):
        raise ValueError("The [postmark_api] settings need the server's token; set ANLASS_POSTMARK_API__SERVER_TOKEN.")
    hosts = settings.get("allow_hosts", [])
    if isinstance(hosts, str):  # what comes by the environment is text
        settings = {**settings, "allow_hosts": hosts.split(",")}
    try:
        return PostmarkChannel(msgspec.convert(dict(settings), PostmarkSettings, strict=False))
    except (msgspec.ValidationError, ValueError) as error:
        raise ValueError(f"The [postmark_api] settings cannot be used: {error}.") from None


def _written(mailbox: guard.NamedAddress) -> str:
    """As Postmark reads it; the name is quoted, so that a comma in it adds nobody."""
    name = mailbox.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{mailbox.address}>' if name else mailbox.address


def _judged(answer: Answer) -> Receipt:
    """The receipt, or the error that the answer means. Postmark's words may hold an address, so only its code is told."""
    try:
        said = json.loads(answer.text)
        code = int(said.get("ErrorCode", -1))
    except (ValueError, TypeError, AttributeError):
        said, code = {}, -1
    if answer.status == OK and code == 0:
        return Receipt(str(said.get("MessageID", "")), "accepted by Postmark")
    reason, short = f"Postmark answered {answer.status}, its code {code}", f"{answer.status} {code}"
    if answer.status == TOO_MANY or answer.status >= SERVER_ERRORS:
        raise TransientError(reason, code=short, retry_after_seconds=answer.retry_after_seconds, throttle="provider")
    if code in SUPPRESSED:
        raise PermanentError(reason, code=short, address_verdict=Verdict.SUPPRESS)
    ours = code in OUR_FAULT or answer.status in OUR_STATUS
    raise PermanentError(reason, code=short, address_verdict=Verdict.OUR_FAULT if ours else Verdict.MESSAGE)
