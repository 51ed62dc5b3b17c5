"""Signed links in messages: what each may do is in its token, and a token made for one purpose opens no other door.

Invariant: a token holds ids and names of purposes and channels only, never an address or content, and nobody without the
secret can make or change one. The same message always gets the same links.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from itsdangerous import BadData, URLSafeSerializer

from engine.core.consent import ADDRESS_TRAITS
from engine.errors import NotFound

if TYPE_CHECKING:
    from engine.core.message import Message

Door = Literal["unsubscribe", "confirm", "preferences", "view", "address"]
Trace = Literal["click", "open"]
"""Doors that lead to a message's links, and to nothing of its customer's."""
CONFIRM_EVENT = "Consent Requested"
"""The event that a double opt-in mail answers; it names the purpose and channels that were asked for."""
TOKEN_CHARS_MAX = 2_048
ADDRESS_EVENT = "Email Change Requested"
"""The event that a mail to a new address answers: its `confirm_url` makes the address the customer's."""
_PATHS: dict[Door, str] = {
    "unsubscribe": "u",
    "confirm": "confirm",
    "preferences": "me",
    "view": "view",
    "address": "address",
}
_TRACES: dict[Trace, str] = {"click": "c", "open": "o"}


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says: whose it is, the message it stood in, and the purposes and channels it is about."""

    customer: str
    message: str = ""
    purposes: dict[str, list[str]] = {}


class Trail(msgspec.Struct, frozen=True):
    """What a click or open is about: a message, and which of its stored links."""

    message: str
    link: str


class TokenSigner:
    """Makes and reads tokens. `secret` has at least 16 bytes and stays the same as long as links shall work."""

    def __init__(self, secret: bytes) -> None:
        """Derives one key for each kind of link."""
        assert len(secret) >= 16, "a short secret can be guessed"  # noqa: PLR2004 - bytes
        self._serializers: dict[Door | Trace, URLSafeSerializer] = {
            door: URLSafeSerializer(
                secret,
                salt=f"anlass.{door}",
                signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
            )
            for door in (*_PATHS, *_TRACES)
        }
        self._keys = {
            door: serializer.make_signer(serializer.salt).derive_key() for door, serializer in self._serializers.items()
        }

    def token(self, door: Door, link: Link) -> str:
        """The text that stands in a URL."""
        # What `dumps` would write, without its compression and its derivation of the key each time: four times faster, and
        # every message has four of them. `read` is itsdangerous's own.
        return self._signed(door, (link.customer, link.message, link.purposes))

    def trail(self, door: Trace, message_id: str, link: str) -> str:
        """A token that leads to a link of a message, as it was stored when the message left."""
        return self._signed(door, (message_id, link))

    def _signed(self, door: Door | Trace, content: tuple[object, ...]) -> str:
        payload = _text(msgspec.json.encode(content))
        return f"{payload}.{_text(hmac.digest(self._keys[door], payload.encode(), 'sha256'))}"

    def unsubscribe(self, message_id: str, customer: str, *, purpose: str, channel: str) -> str:
        """A token that withdraws consent to one purpose on one channel."""
        return self.token("unsubscribe", Link(customer=customer, message=message_id, purposes={purpose: [channel]}))

    def confirm(self, message_id: str, customer: str, *, purposes: dict[str, list[str]]) -> str:
        """A token that confirms a request for consent (double opt-in)."""
        return self.token("confirm", Link(customer=customer, message=message_id, purposes=purposes))

    def preferences(self, message_id: str, customer: str) -> str:
        """A token that opens the customer's own page."""
        return self.token("preferences", Link(customer=customer, message=message_id))

    def address(self, message_id: str, customer: str) -> str:
        """A token that makes the address that this message went to the customer's own."""
        return self.token("address", Link(customer=customer, message=message_id))

    def view(self, message_id: str, customer: str) -> str:
        """A token that shows a message in the browser."""
        return self.token("view", Link(customer=customer, message=message_id))

    def read(self, door: Door, token: str) -> Link:
        """What the token says. Raises NotFound when it was not made by us for this kind of link."""
        try:
            content = self._serializers[door].loads(token[:TOKEN_CHARS_MAX])
            customer, message, purposes = msgspec.convert(content, tuple[str, str, dict[str, list[str]]])
        except (BadData, ValueError, RecursionError) as error:
            raise NotFound("This link is not complete.", mend="Copy the whole link from the message.") from error
        return Link(customer=customer, message=message, purposes=purposes)

    def read_trail(self, door: Trace, token: str) -> Trail:
        """As `read`, for clicks and opens."""
        try:
            message, link = msgspec.convert(self._serializers[door].loads(token[:TOKEN_CHARS_MAX]), tuple[str, str])
        except (BadData, ValueError, RecursionError) as error:
            raise NotFound("This link is not complete.", mend="Copy the whole link from the message.") from error
        return Trail(message, link)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class SignedLinks:
    """The links of a message, as `engine.dispatch.compose` asks for them. `base_url` has no slash at its end."""

    def __init__(self, base_url: str, signer: TokenSigner) -> None:
        """Keeps both."""
        self._base_url = base_url.rstrip("/")
        self._signer = signer

    def of(self, message: Message) -> dict[str, str]:
        """`unsubscribe_url`, `confirm_url`, `preferences_url` and `view_url`."""
        signer, customer = self._signer, message.customer
        unsubscribe = signer.unsubscribe(message.id, customer, purpose=message.purpose, channel=message.channel)
        return {
            "unsubscribe_url": self._url("unsubscribe", unsubscribe),
            "confirm_url": self._confirm_url(message),
            "preferences_url": self._url("preferences", signer.preferences(message.id, customer)),
            "view_url": self._url("view", signer.view(message.id, customer)),
        }

    def _confirm_url(self, message: Message) -> str:
        """What a click in this message confirms: a new address, or consent."""
        signer, customer = self._signer, message.customer
        if answers_new_address(message):
            return self._url("address", signer.address(message.id, customer))
        return self._url("confirm", signer.confirm(message.id, customer, purposes=_asked_for(message)))

    def _url(self, door: Door, token: str) -> str:
        return f"{self._base_url}/{_PATHS[door]}/{token}"

    def trail(self, door: Trace, message_id: str, link: str) -> str:
        """The address that a tracked link, or the pixel, has in this message."""
        return f"{self._base_url}/{_TRACES[door]}/{self._signer.trail(door, message_id, link)}"

    @property
    def own(self) -> tuple[str, ...]:
        """What the addresses of our own pages begin with: they are never tracked or tagged."""
        return tuple(f"{self._base_url}/{path}/" for path in (*_PATHS.values(), *_TRACES.values()))


def answers_new_address(message: Message) -> bool:
    """Whether the message came of a customer's wish to have another address."""
    return any(event.get("name") == ADDRESS_EVENT for event in _events(message))


def _asked_for(message: Message) -> dict[str, list[str]]:
    """What a click in this message proves consent to: only channels that use the address the message went to.

    A click in a mail says nothing about a telephone number.
    """
    for event in _events(message):
        properties = event.get("properties", {})
        purpose, channels = properties.get("purpose"), properties.get("channels")
        if event.get("name") == CONFIRM_EVENT and isinstance(purpose, str) and isinstance(channels, list):
            address = ADDRESS_TRAITS.get(message.channel, message.channel)
            return {
                purpose: [
                    name for name in channels if isinstance(name, str) and ADDRESS_TRAITS.get(name, name) == address
                ]
            }
    return {message.purpose: [message.channel]}


def _events(message: Message) -> tuple[dict[str, Any], ...]:
    """The event that led to the message, and the one that its workflow began with."""
    given = message.context
    return (given.get("event", {}), given.get("enrollment", {}).get("event", {}))
