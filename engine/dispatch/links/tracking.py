"""What is done to the links of a rendered mail: campaign parameters for everybody, signed addresses for who agreed to tracking.

Invariant: a message that is neither tracked nor tagged is not touched, and links to our own pages (unsubscribe, confirm,
preferences, view), mailto, tel and fragments never are. Where a tracked link leads stands beside the message, not in the link.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, quote_plus, unquote_plus

import msgspec

from engine.core import utm
from engine.core.consent.tracking import OPEN
from engine.dispatch.links import anchors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engine.core.message import Message
    from engine.core.policy import Tracking
    from engine.dispatch.links.tokens import Trace
    from engine.dispatch.templates.render import Rendered

LINKS_MAX: Final = 100
"""Of one message; what follows is sent as it is."""
TARGET_CHARS_MAX: Final = 2_000
_KEY_BYTES: Final = 6
_ADDRESS: Final = re.compile(r"https?://([^/?#\\\s]+)((?:[/?#][^\\]*)?)\Z", re.IGNORECASE | re.DOTALL)
_HOST: Final = re.compile(r"(?:[^@]*@)?([A-Za-z0-9.-]+)(?::\d+)?\Z")
# What a browser would send as it is; `%` too, because what is encoded already must not be encoded again.
_AS_IT_IS: Final = "!#$%&'()*+,-./:;=?@[]^_`{|}~"


class Trails(Protocol):
    """Where tracked links lead, and which addresses are our own."""

    def trail(self, door: Trace, message_id: str, link: str) -> str:
        """The address of a click or of the pixel."""
        ...

    @property
    def own(self) -> tuple[str, ...]:
        """What the addresses of our own pages begin with."""
        ...


def marked(
    rendered: Rendered, message: Message, trails: Trails, *, rules: Tracking, tracked: bool
) -> tuple[Rendered, dict[str, str]]:
    """The content with its links tagged and, if `tracked`, led through us; and where each of those leads, by its key."""
    parameters = parameters_of(utm.with_own(rules.utm, rendered.utm), message)
    if not parameters and not tracked:
        return rendered, {}
    own = trails.own
    targets: dict[str, str] = {}

    def replace(address: str) -> str | None:
        if address.startswith(own):
            return None
        target = tagged(address, parameters, hosts=rules.hosts) if parameters else address
        if tracked:
            location = as_location(target)
            if location:
                key = _key(location)
                if key in targets or len(targets) < LINKS_MAX:
                    targets[key] = location
                    return trails.trail("click", message.id, key)
        return target

    known: dict[str, str] = {}

    def noted(address: str) -> str | None:
        new = replace(address)
        known[anchors.spelled(address)] = anchors.spelled(address if new is None else new)
        return new

    html = anchors.in_html(rendered.html, noted)
    text = anchors.in_text(rendered.text, replace, known)
    if tracked and html:
        html = anchors.with_pixel(html, trails.trail("open", message.id, OPEN))
    return msgspec.structs.replace(rendered, html=html, text=text), targets


def parameters_of(rules: tuple[tuple[str, str], ...], message: Message) -> list[tuple[str, str]]:
    """The campaign parameters of this message's links: nothing in them is the recipient's."""
    if not rules:
        return []
    words = {
        "workflow": message.workflow,
        "step": message.step,
        "template": message.template,
        "channel": message.channel,
        "purpose": message.purpose,
        "locale": message.locale,
    }
    return [(name, _filled(value, words)) for name, value in rules]


def _filled(value: str, words: Mapping[str, str]) -> str:
    for name, word in words.items():
        value = value.replace(f"{{{name}}}", word)
    return value


def tagged(address: str, parameters: Iterable[tuple[str, str]], *, hosts: tuple[str, ...] = ()) -> str:
    """The address with those parameters that it does not have yet, before its fragment; what is in it stays as written."""
    found = _ADDRESS.match(address)
    if found is None or (hosts and not _is_of(found[1], hosts)):
        return address
    rest, mark, fragment = address.partition("#")
    before, asked, query = rest.partition("?")
    has = {unquote_plus(part.partition("=")[0]) for part in query.split("&")}
    new = "&".join(f"{name}={quote_plus(value)}" for name, value in parameters if value and name not in has)
    if not new:
        return address
    glue = "" if not query or query.endswith("&") else "&"
    return f"{before}{asked or '?'}{query}{glue}{new}{mark}{fragment}"


def _is_of(authority: str, hosts: tuple[str, ...]) -> bool:
    found = _HOST.match(authority)
    host = "" if found is None else found[1].lower().rstrip(".")
    return any(host == each or host.endswith(f".{each}") for each in hosts)


def as_location(address: str) -> str:
    """The http address in the ASCII form that a `Location` header may hold; "" for what is better left alone."""
    found = _ADDRESS.match(address)
    if found is None or _HOST.match(found[1]) is None:
        return ""
    try:
        location = address[: found.start(2)] + quote(found[2], safe=_AS_IT_IS)
    except UnicodeEncodeError:  # a lone surrogate
        return ""
    return location if len(location) <= TARGET_CHARS_MAX else ""


def _key(location: str) -> str:
    """Short, and the same for the same address: a message that is sent again keeps the links of the first attempt."""
    return hashlib.blake2b(location.encode(), digest_size=_KEY_BYTES).hexdigest()
