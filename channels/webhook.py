"""The webhook channel: each message becomes one signed POST of JSON to an endpoint of the shop's own systems.

Invariant: every attempt at a message has the same `webhook-id` and the same bytes, and a signature over both and the moment of
the attempt (Standard Webhooks 1.0). A receiver that keeps the ids it has seen gets each message once; that is what
`idempotent` promises here, and it is the receiver's half of the bargain.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from channels.contract import (
    Capabilities,
    OutgoingMessage,
    PermanentError,
    Receipt,
    TransientError,
    Unsupported,
    Verdict,
)
from channels.outbound import Answer, Outbound, OutboundSettings, Resolve, parsed, system_addresses
from channels.section import read_section

DEFAULT = "default"
"""What a message is addressed to when neither its step nor its template names an endpoint."""
KEY_BYTES_MIN, KEY_BYTES_MAX = 24, 64
SECRET_PREFIX = "whsec_"  # noqa: S105 - how the standard marks one
BODY_BYTES_MAX = 1_000_000
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TRANSIENT = frozenset({408, 425, 429})
_OUR_FAULT = frozenset({401, 403, 405, 407, 410})
_OK, _REDIRECTS, _CLIENT_ERRORS, _SERVER_ERRORS = 200, 300, 400, 500
_TOO_MANY, _UNAVAILABLE = 429, 503


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One receiver. `dedupes` false says that it does not keep the ids it has seen: then a lost answer is `unknown`."""

    url: str
    dedupes: bool = True


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`endpoints` by name. `secret` signs for all of them but those that `secrets` names.

    A secret is `whsec_` and base64 of 24 to 64 bytes; several, separated by spaces, all sign: so one can be replaced.
    """

    endpoints: dict[str, Endpoint]
    secret: str | None = None
    secrets: dict[str, str] = {}
    allow_hosts: tuple[str, ...] = ()
    timeout_seconds: Annotated[float, Meta(gt=0, le=120)] = 20.0
    connections: Annotated[int, Meta(ge=1, le=500)] = 10


class WebhookChannel:
    """Calls endpoints; the contract is `channels.contract.Channel`."""

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        name: str = "webhook",
        resolve: Resolve = system_addresses,
        now_seconds: Callable[[], float] = time.time,  # noqa: TID251 - receivers refuse a signature that is not of now
    ) -> None:
        """`ValueError`, with the mend in it, for settings that could never work."""
        self.name = name
        allow_hosts = frozenset(host.lower() for host in settings.allow_hosts)
        if not settings.endpoints:
            raise ValueError("The webhook settings name no endpoint; write [webhook.endpoints.NAME] with a url.")
        for word in settings.secrets.keys() - settings.endpoints.keys():
            raise ValueError(
                f"The webhook secrets name {word!r}, which is not an endpoint; name it in webhook.endpoints."
            )
        self._endpoints = settings.endpoints
        self._keys = {word: _keys_of(word, settings) for word in settings.endpoints}
        for word, endpoint in settings.endpoints.items():
            _check(word, endpoint, allow_hosts)
        self.capabilities = Capabilities(idempotent=all(each.dedupes for each in settings.endpoints.values()))
        self._now_seconds = now_seconds
        self._outbound = Outbound(
            OutboundSettings(
                timeout_seconds=settings.timeout_seconds, connections=settings.connections, allow_hosts=allow_hosts
            ),
            resolve=resolve,
        )

    async def open(self) -> None:
        """Prepare; connects to nothing."""
        await self._outbound.open()

    async def close(self) -> None:
        """Wait for the calls under way. Idempotent."""
        await self._outbound.close()

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        """One POST; the results and errors are those of the contract."""
        word = self._endpoint_of(delivery)
        endpoint, body = self._endpoints[word], body_of(delivery)
        stamp = int(self._now_seconds())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(stamp),
            "webhook-signature": " ".join(sign(key, delivery.id, stamp, body=body) for key in self._keys[word]),
        }
        answer = await self._outbound.post(endpoint.url, body, headers=headers, repeatable=endpoint.dedupes)
        return self._judged(word, answer)

    def _endpoint_of(self, delivery: OutgoingMessage) -> str:
        word = delivery.to
        if word == DEFAULT and DEFAULT not in self._endpoints and len(self._endpoints) == 1:
            return next(iter(self._endpoints))
        if word not in self._endpoints:
            known = ", ".join(sorted(self._endpoints))
            reason = f"the message is for an endpoint that is not in the settings; available: {known}"
            raise PermanentError(reason, code="endpoint", address_verdict=Verdict.MESSAGE)
        return word

    def _judged(self, word: str, answer: Answer) -> Receipt:
        """A 2xx is a receipt; 408, 425, 429 and 5xx may pass; redirects and refused logins are ours to mend."""
        status = answer.status
        if _OK <= status < _REDIRECTS:
            return Receipt("", f"endpoint {word} answered {status}")
        reason = f"endpoint {word} answered {status}"
        if status in _TRANSIENT or status >= _SERVER_ERRORS:
            # Other endpoints go on: the whole channel slows down only when there is no other.
            alone = len(self._endpoints) == 1 and status in {_TOO_MANY, _UNAVAILABLE}
            raise TransientError(
                reason,
                code=str(status),
                retry_after_seconds=answer.retry_after_seconds,
                throttle="provider" if alone else None,
            )
        ours = status in _OUR_FAULT or status < _CLIENT_ERRORS
        verdict = Verdict.OUR_FAULT if ours else Verdict.MESSAGE
        raise PermanentError(reason, code=str(status), address_verdict=verdict)


def create(settings: Mapping[str, object]) -> WebhookChannel:
    """Build the channel from its section of the settings; `ValueError` says which setting is wrong and how."""
    return WebhookChannel(read_section(settings, WebhookSettings, section="webhook"))


def sign(key: bytes, message_id: str, stamp: int, *, body: bytes) -> str:
    """One signature of Standard Webhooks: `v1,` and base64 of the HMAC-SHA256 over `id.timestamp.body`."""
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def key_of(secret: str) -> bytes:
    """The key in one `whsec_…`. `ValueError`, without repeating it, when it is none."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise ValueError(f"is not of the form whsec_ and base64 of {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes")
    return key


def body_of(delivery: OutgoingMessage) -> bytes:
    """What is sent: the text of the template when it is JSON, else our own form with the text in it.

    A text that begins like JSON and is none is refused: nobody means to send half of an object.
    """
    if delivery.html is not None:
        raise Unsupported("HTML")
    if delivery.headers:
        raise Unsupported("headers")
    if delivery.subject:
        raise Unsupported("a subject")
    text = delivery.text.strip()
    if text[:1] in {"{", "["}:
        try:
            json.loads(text, parse_constant=_no_number)
            body = text.encode()
        except (ValueError, RecursionError) as error:  # a lone surrogate is a ValueError, too
            where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise PermanentError(
                f"the template gives no JSON{where}; write values as {{{{ value | tojson }}}}",
                code="not_json", address_verdict=Verdict.MESSAGE,
            ) from None  # fmt: skip
    else:
        body = json.dumps(_standard(delivery)).encode()
    if len(body) > BODY_BYTES_MAX:
        reason = f"the body has {len(body)} bytes; at most {BODY_BYTES_MAX} are sent"
        raise PermanentError(reason, code="too_large", address_verdict=Verdict.MESSAGE)
    return body


def _standard(delivery: OutgoingMessage) -> dict[str, Any]:
    decided = datetime.fromtimestamp(delivery.date_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "message": delivery.id,
        "template": delivery.template,
        "customer": delivery.customer,
        "purpose": delivery.purpose,
        "locale": delivery.locale,
        "timestamp": decided.replace("+00:00", "Z"),
        "data": delivery.data,
        "text": delivery.text,
    }


def _no_number(word: str) -> float:
    raise ValueError(word)  # NaN and Infinity, which Python would take


def _keys_of(word: str, settings: WebhookSettings) -> tuple[bytes, ...]:
    secrets = (settings.secrets.get(word) or settings.secret or "").split()
    if not secrets:
        raise ValueError(
            f"The webhook endpoint {word} has no secret to sign with; set ANLASS_WEBHOOK__SECRET. Make one with:"
            " python3 -c 'import base64, secrets; print(\"whsec_\" + base64.b64encode(secrets.token_bytes(32)).decode())'"
        )
    try:
        return tuple(key_of(secret) for secret in secrets)
    except ValueError as error:
        raise ValueError(f"The secret of the webhook endpoint {word} {error}.") from None


def _check(word: str, endpoint: Endpoint, allow_hosts: frozenset[str]) -> None:
    if not _NAME.fullmatch(word):
        raise ValueError(f"The webhook endpoint {word!r} has a bad name; use a-z, 0-9, - and _.")
    try:
        parsed(endpoint.url, allow_hosts)
    except ValueError as error:
        mend = "if it is meant, name its host in webhook.allow_hosts" if "allowed" in str(error) else "write it anew"
        raise ValueError(f"The URL of the webhook endpoint {word} {error}; {mend}.") from None
