"""The push channel: a notification in the customer's browsers, by the Web Push protocol (RFC 8030), encrypted (RFC 8291) and
signed with the shop's own key (VAPID, RFC 8292).

Invariant: what is pushed can be read by the customer's browser only; a device that is gone is named in the receipt, so that
nothing more goes there, and one that accepted is never pushed to again for the same message.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import http_ece
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Meta
from py_vapid import Vapid02, VapidException
from yarl import URL

from channels.contract import (
    Capabilities,
    ChannelError,
    OutgoingMessage,
    PermanentError,
    Receipt,
    TransientError,
    UnknownOutcome,
    Unsupported,
    Verdict,
)
from channels.outbound import Answer, Outbound, OutboundSettings, Resolve, system_addresses
from channels.section import read_section

GONE_EVENT = "Push Gone"
PAYLOAD_BYTES_MAX = 3_993
"""What fits into 4,096 bytes once it is encrypted (RFC 8291)."""
TITLE_CHARS_MAX = 120
TOKEN_SECONDS = 12 * 3_600
DEVICES_MAX = 10
_GONE = frozenset({404, 410})
_OK, _REDIRECTS, _TOO_LARGE, _TOO_MANY, _SERVER_ERRORS = 200, 300, 413, 429, 500
_OUR_FAULT = frozenset({401, 403})

Urgency = Literal["very-low", "low", "normal", "high"]


class PushSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`secret` is the VAPID private key (`new_keys` makes one), `subject` how push services reach the shop."""

    secret: str
    subject: str
    ttl_seconds: Annotated[int, Meta(ge=0, le=2_419_200)] = 86_400
    urgency: Urgency = "normal"
    allow_hosts: tuple[str, ...] = ()
    timeout_seconds: Annotated[float, Meta(gt=0, le=120)] = 20.0
    connections: Annotated[int, Meta(ge=1, le=500)] = 10


class _Keys(msgspec.Struct, frozen=True):
    auth: str
    p256dh: str


class _Device(msgspec.Struct, frozen=True):
    endpoint: str
    keys: _Keys


class Gone(PermanentError):
    """This device is no more."""

    def __init__(self, code: str) -> None:
        super().__init__("the subscription is gone", code=code, address_verdict=Verdict.SUPPRESS)


class WebPushChannel:
    """Pushes to every device of the address; the contract is `channels.contract.Channel`."""

    capabilities = Capabilities()

    def __init__(
        self,
        settings: PushSettings,
        *,
        name: str = "push",
        resolve: Resolve = system_addresses,
        now_seconds: Callable[[], float] = time.time,  # noqa: TID251 - a token says until when it holds
    ) -> None:
        """`ValueError`, with the mend in it, for a key or subject that push services would refuse."""
        self.name = name
        self._settings = settings
        self._vapid = _key(settings.secret)
        try:
            self._vapid.sign({"aud": "https://push.example", "exp": 1, "sub": settings.subject})
        except VapidException:
            mend = "write it as mailto:hello@shop.example"
            raise ValueError(f"The push setting `subject` is not a contact; {mend}.") from None
        self._now_seconds = now_seconds
        self._tokens: dict[str, tuple[float, str]] = {}
        self._outbound = Outbound(
            OutboundSettings(
                timeout_seconds=settings.timeout_seconds,
                connections=settings.connections,
                allow_hosts=frozenset(host.lower() for host in settings.allow_hosts),
            ),
            resolve=resolve,
        )

    async def open(self) -> None:
        await self._outbound.open()

    async def close(self) -> None:
        """Waits for the calls under way."""
        await self._outbound.close()

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        """A receipt when at least one device's service took it; what else became of them the errors say, in this order:
        unknown, for the moment, for good.
        """
        if delivery.html is not None or delivery.subject or delivery.headers:
            raise Unsupported("anything but text")
        payload, devices = payload_of(delivery), _devices(delivery.to)
        answers = await asyncio.gather(*(self._push(each, payload, delivery) for each in devices))
        gone = [each.endpoint for each, answer in zip(devices, answers, strict=True) if isinstance(answer, Gone)]
        accepted = sum(answer is None for answer in answers)
        if accepted:
            said = f"{accepted} of {len(devices)} devices"
            return Receipt("", said, event=GONE_EVENT if gone else "", properties={"endpoints": gone} if gone else {})
        errors = [answer for answer in answers if answer is not None]
        for kind in (UnknownOutcome, TransientError):
            for error in errors:
                if isinstance(error, kind):
                    raise error
        raise next((error for error in errors if not isinstance(error, Gone)), errors[0])

    async def _push(self, device: _Device, payload: bytes, delivery: OutgoingMessage) -> ChannelError | None:
        """What became of one device; None: its service took it."""
        try:
            body = _encrypted(payload, device.keys)
        except ValueError:
            return Gone("keys")  # no browser made these keys
        now = self._now_seconds()
        left = int(delivery.deadline_ms / 1000 - now) if delivery.deadline_ms else self._settings.ttl_seconds
        urgency = "high" if delivery.priority > 0 else "low" if delivery.priority < 0 else self._settings.urgency
        headers = {
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(max(0, min(left, self._settings.ttl_seconds))),
            "Urgency": urgency,
            "Topic": delivery.id,  # a repetition replaces what still waits at the service
        }
        try:
            headers |= self._authorization(device.endpoint, now)
            answer = await self._outbound.post(device.endpoint, body, headers=headers, repeatable=False)
        except (ValueError, VapidException):  # the subject was tried before: it is the endpoint
            return Gone("endpoint")
        except PermanentError:
            return Gone("address_refused")  # it leads where no push service is
        except ChannelError as error:
            return error
        return _judged(answer)

    def _authorization(self, endpoint: str, now: float) -> dict[str, str]:
        audience = str(URL(endpoint).origin())
        until, token = self._tokens.get(audience, (0.0, ""))
        if until < now + TOKEN_SECONDS / 2:
            until = now + TOKEN_SECONDS
            claims = {"aud": audience, "exp": int(until), "sub": self._settings.subject}
            token = self._vapid.sign(claims)["Authorization"]
            if len(self._tokens) > 100:  # noqa: PLR2004 - there are a handful of push services
                self._tokens.clear()
            self._tokens[audience] = (until, token)
        return {"Authorization": token}


def create(settings: Mapping[str, object]) -> WebPushChannel:
    """Build the channel from its section of the settings; `ValueError` says which setting is wrong and how."""
    return WebPushChannel(read_section(settings, PushSettings, section="push"))


def new_keys() -> tuple[str, str]:
    """A private key for the settings, and the public one that goes into the shop's page (base64url both)."""
    key = ec.generate_private_key(ec.SECP256R1())
    raw = key.private_numbers().private_value.to_bytes(32, "big")
    public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return _base64url(raw), _base64url(public)


def payload_of(delivery: OutgoingMessage) -> bytes:
    """The template's text when it is JSON; else title (the first line), body and data, with the message's id as tag."""
    text = delivery.text.strip()
    if text.startswith("{"):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            reason = "the template gives no JSON; write values as {{ value | tojson }}"
            raise PermanentError(reason, code="not_json", address_verdict=Verdict.MESSAGE) from None
        payload = text.encode("utf-8", "replace")
    else:
        title, _, body = text.partition("\n")
        shown = {"title": title[:TITLE_CHARS_MAX], "body": body.strip(), "tag": delivery.id, "data": delivery.data}
        payload = json.dumps(shown, ensure_ascii=False).encode("utf-8", "replace")
    if len(payload) > PAYLOAD_BYTES_MAX:
        reason = f"the notification has {len(payload)} bytes; at most {PAYLOAD_BYTES_MAX} fit"
        raise PermanentError(reason, code="too_large", address_verdict=Verdict.MESSAGE)
    return payload


def _devices(to: str) -> list[_Device]:
    try:
        devices = msgspec.json.decode(to.encode(), type=list[_Device])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        devices = []
    if not 0 < len(devices) <= DEVICES_MAX:
        reason = "the address holds no subscription, or too many"
        raise PermanentError(reason, code="address", address_verdict=Verdict.SUPPRESS)
    return devices


def _encrypted(payload: bytes, keys: _Keys) -> bytes:
    """By RFC 8291, for the browser that made the keys. Raises ValueError for keys that none can have made."""
    receiver, auth = _from_base64url(keys.p256dh), _from_base64url(keys.auth)
    if len(auth) != 16:  # noqa: PLR2004 - bytes of the secret in RFC 8291
        raise ValueError("auth")
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), receiver)
    ours = ec.generate_private_key(ec.SECP256R1())
    sealed: bytes = http_ece.encrypt(payload, private_key=ours, dh=receiver, auth_secret=auth, version="aes128gcm")
    return sealed


def _judged(answer: Answer) -> ChannelError | None:
    status = answer.status
    if _OK <= status < _REDIRECTS:
        return None
    reason, code = f"the push service answered {status}", str(status)
    if status in _GONE:
        return Gone(code)
    if status == _TOO_MANY or status >= _SERVER_ERRORS:
        return TransientError(reason, code=code, retry_after_seconds=answer.retry_after_seconds)
    return PermanentError(
        reason, code=code, address_verdict=Verdict.OUR_FAULT if status in _OUR_FAULT else Verdict.MESSAGE
    )


def _key(secret: str) -> Any:
    try:
        raw = _from_base64url(secret)
        found = Vapid02.from_raw(secret.encode()) if len(raw) == 32 else None  # noqa: PLR2004 - bytes of a key on P-256
    except Exception:  # noqa: BLE001 - whatever the library calls it; the key itself must not be repeated
        found = None
    if found is None:
        raise ValueError(
            "The push secret is not a VAPID key. Make one with:"
            " python3 -c 'from channels.web_push import new_keys; print(*new_keys())'"
        )
    return found


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_base64url(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
