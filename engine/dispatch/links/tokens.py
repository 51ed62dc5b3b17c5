"""Sealed links in messages: what each may do is in its token, and a token made for one purpose opens no other door.

Invariant: whoever has a token reads nothing in it: a message, its customer and names of purposes and channels are sealed, and
nobody without the secret can make or change one. The same message always gets the same links while the secret is the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from itsdangerous import BadData, URLSafeSerializer

from engine.core.channel import ADDRESS_TRAITS
from engine.core.facts import moving
from engine.errors import NotFound

if TYPE_CHECKING:
    from engine.core.message import Message

Door = Literal["unsubscribe", "confirm", "preferences", "view", "address", "agree", "stop", "access"]
Trace = Literal["click", "open"]
"""Doors that lead to a message's links, and to nothing of its customer's."""
CONFIRM_EVENT = moving.CONSENT_ASKED
"""The event that a double opt-in mail answers; it names the purpose and channels that were asked for."""
TOKEN_CHARS_MAX = 2_048
SECRET_BYTES_MIN = 16
_PATHS: dict[Door, str] = {
    "unsubscribe": "u",
    "confirm": "confirm",
    "preferences": "me",
    "view": "view",
    "address": "address",
    "agree": "address/agree",
    "stop": "address/stop",
    "access": "me/access",
}
_TRACES: dict[Trace, str] = {"click": "c", "open": "o"}
_SESSION = "session"
_OLD: frozenset[str] = frozenset({"unsubscribe", "confirm", "preferences", "view", *_TRACES})
"""Doors whose links from before there was a seal still open."""
_ID_BYTES = 16


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says: whose it is, the message it stood in, and the purposes and channels it is about."""

    customer: str
    message: str = ""
    purposes: dict[str, list[str]] = {}


class Session(msgspec.Struct, frozen=True, array_like=True):
    """What a visitor's browser holds after an access link was used: whose page is open, by which visit, until when."""

    customer: str
    message: str
    visit: str
    until_ms: int


class Trail(msgspec.Struct, frozen=True):
    """What a click or open is about: a message, and which of its stored links."""

    message: str
    link: str


class _Seal:
    """The keys that follow from one secret: one for each door."""

    def __init__(self, secret: bytes) -> None:
        assert len(secret) >= SECRET_BYTES_MIN, "a short secret can be guessed"
        self._ciphers = {
            door: AESSIV(hmac.digest(secret, f"anlass.seal.{door}".encode(), "sha512"))
            for door in (*_PATHS, *_TRACES, _SESSION)
        }
        self._old = {
            door: URLSafeSerializer(
                secret,
                salt=f"anlass.{door}",
                signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
            )
            for door in _OLD
        }

    def close(self, door: str, content: object) -> str:
        return _text(self._ciphers[door].encrypt(msgspec.msgpack.encode(content), None))

    def open(self, door: str, token: str) -> Any:
        """The content; None when it is not one of this secret's."""
        try:
            if "." in token:
                return self._old[door].loads(token) if door in _OLD else None
            return msgspec.msgpack.decode(self._ciphers[door].decrypt(_bytes(token), None))
        except (BadData, InvalidTag, ValueError, RecursionError):
            return None


class TokenSigner:
    """Makes and reads tokens. The first secret seals; links sealed with any of them open. Each has at least 16 bytes."""

    def __init__(self, secret: bytes, *former: bytes) -> None:
        """Derives one key for each kind of link."""
        self._seals = [_Seal(each) for each in (secret, *former)]

    def token(self, door: Door, link: Link) -> str:
        """The text that stands in a URL."""
        content = (_packed(link.message), link.customer, link.purposes)
        return self._seals[0].close(door, content if link.purposes else content[:2])

    def trail(self, door: Trace, message_id: str, link: str) -> str:
        """A token that leads to a link of a message, as it was stored when the message left."""
        return self._seals[0].close(door, (_packed(message_id), link))

    def session(self, session: Session) -> str:
        """What a browser is given for a visit."""
        return self._seals[0].close(_SESSION, session)

    def unsubscribe(self, message_id: str, customer: str, *, purpose: str, channel: str) -> str:
        """A token that withdraws consent to one purpose on one channel."""
        return self.token("unsubscribe", Link(customer=customer, message=message_id, purposes={purpose: [channel]}))

    def confirm(self, message_id: str, customer: str, *, purposes: dict[str, list[str]]) -> str:
        """A token that confirms a request for consent (double opt-in)."""
        return self.token("confirm", Link(customer=customer, message=message_id, purposes=purposes))

    def preferences(self, message_id: str, customer: str) -> str:
        """A token that opens the choices of what a customer receives, and nothing of theirs."""
        return self.token("preferences", Link(customer=customer, message=message_id))

    def access(self, message_id: str, customer: str) -> str:
        """A token that opens the customer's data, once."""
        return self.token("access", Link(customer=customer, message=message_id))

    def address(self, message_id: str, customer: str) -> str:
        """A token that says yes for the address that this message went to."""
        return self.token("address", Link(customer=customer, message=message_id))

    def view(self, message_id: str, customer: str) -> str:
        """A token that shows a message in the browser."""
        return self.token("view", Link(customer=customer, message=message_id))

    def read(self, door: Door, token: str) -> Link:
        """What the token says. Raises NotFound when it was not made by us for this kind of link."""
        content = self._opened(door, token)
        try:
            if "." in token:
                customer, message, purposes = msgspec.convert(content, tuple[str, str, dict[str, list[str]]])
            else:
                packed, *rest = content
                rest = [*rest, {}][:2]
                message, (customer, purposes) = (
                    _unpacked(packed),
                    msgspec.convert(rest, tuple[str, dict[str, list[str]]]),
                )
        except (ValueError, TypeError, RecursionError) as error:
            raise _incomplete() from error
        return Link(customer=customer, message=message, purposes=purposes)

    def read_trail(self, door: Trace, token: str) -> Trail:
        """As `read`, for clicks and opens."""
        try:
            packed, link = self._opened(door, token)
            return Trail(*msgspec.convert((_unpacked(packed), link), tuple[str, str]))
        except (ValueError, TypeError, RecursionError) as error:
            raise _incomplete() from error

    def read_session(self, token: str) -> Session:
        """The visit that a browser was given. Raises NotFound."""
        try:
            return msgspec.convert(self._opened(_SESSION, token), Session)
        except (ValueError, RecursionError) as error:
            raise _incomplete() from error

    def _opened(self, door: str, token: str) -> Any:
        for seal in self._seals:
            content = seal.open(door, token[:TOKEN_CHARS_MAX])
            if content is not None:
                return content
        raise _incomplete()


def _incomplete() -> NotFound:
    return NotFound("This link is not complete.", mend="Copy the whole link from the message.")


def _packed(message: str) -> str | bytes:
    """An id in half as many bytes."""
    try:
        packed = bytes.fromhex(message)
    except ValueError:
        return message
    return packed if len(packed) == _ID_BYTES and packed.hex() == message else message


def _unpacked(packed: str | bytes) -> str:
    return packed.hex() if isinstance(packed, bytes) else packed


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Raises ValueError for what `_text` would not have written."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    if _text(data) != text:
        raise ValueError("not the usual way to write it")
    return data


class SignedLinks:
    """The links of a message, as `engine.dispatch.sending.compose` asks for them. `base_url` has no slash at its end."""

    def __init__(self, base_url: str, signer: TokenSigner) -> None:
        self._base_url = base_url.rstrip("/")
        self._signer = signer

    def of(self, message: Message) -> dict[str, str]:
        """The addresses of our pages that a template may use, by their names."""
        signer, customer = self._signer, message.customer
        unsubscribe = signer.unsubscribe(message.id, customer, purpose=message.purpose, channel=message.channel)
        preferences = self._url("preferences", signer.preferences(message.id, customer))
        return {
            "unsubscribe_url": self._url("unsubscribe", unsubscribe),
            "confirm_url": self._confirm_url(message),
            "preferences_url": preferences,
            "view_url": self._url("view", signer.view(message.id, customer)),
            **self._urls_of_requests(message, preferences),
        }

    def _urls_of_requests(self, message: Message, preferences: str) -> dict[str, str]:
        """What only the answer to a request opens; in another message the page where it can be asked for."""
        link = Link(customer=message.customer, message=message.id)
        asked, moves = answers(message, moving.LINK_ASKED), answers(message, moving.ASKED)
        return {
            "access_url": self._url("access", self._signer.token("access", link)) if asked else preferences,
            "agree_url": self._url("agree", self._signer.token("agree", link)) if moves else preferences,
            "stop_url": self._url("stop", self._signer.token("stop", link)) if moves else preferences,
        }

    def _confirm_url(self, message: Message) -> str:
        """What a click in this message confirms: a new address, or consent."""
        signer, customer = self._signer, message.customer
        if answers(message, moving.ASKED):
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


def answers(message: Message, event: str) -> bool:
    """Whether the message came of this event."""
    return any(each.get("name") == event for each in _events(message))


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
