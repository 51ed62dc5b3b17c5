"""Who may send events, and what with which key.

Invariant: a browser key brings only what a visitor does (`track`, `page`, `screen`), of an anonymous id or of a customer that
its shop's server proved, from the pages that were named; nothing that means something to the engine itself.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from aiohttp import hdrs, web

from engine.collector.intake import values
from engine.collector.intake.key_use import KeyUses
from engine.collector.intake.parse import Envelope, decode, parse_item
from engine.core.customer import CustomerState
from engine.core.facts import moving, push
from engine.core.journey import task
from engine.core.record import Event, Identify, Merge, Outcome, Record
from engine.errors import BadRecord
from engine.settings import CollectorSection, KeySection

KINDS = frozenset({"track", "page", "screen"})
OURS = frozenset(
    {*task.KINDS, push.GONE, *moving.OURS, *moving.RESERVED, moving.CHANGED, moving.LINK_ASKED, moving.CONSENT_ASKED}
)
"""Events that mean something to the engine itself, or ask for access."""
_FOLDED = frozenset(name.casefold() for name in OURS)
_UNGUESSABLE = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
"""A UUID, as analytics.js and RudderStack's SDK make them for visitors."""
StateOf = Callable[[str], Awaitable[CustomerState | None]]


class _Claim(msgspec.Struct, rename="camel"):
    """What says whose a record is, and by which proof."""

    type: Any = None
    user_id: Any = None
    anonymous_id: Any = None
    context: Any = None


_claim = msgspec.json.Decoder(_Claim)


class Pass:
    """What a request may bring: the key that it came with. Of a collector without keys `key` is None."""

    def __init__(self, key: KeySection | None = None) -> None:
        self._key = key
        self.name = key.name if key is not None else ""
        self.is_browser = key is not None and key.kind == "browser"
        self._known: frozenset[str] = frozenset()

    def only_server(self, what: str) -> None:
        """Refuses a browser key. Raises BadRecord."""
        if self.is_browser:
            raise BadRecord(
                "browser_key", f"The browser key {self.name} may not send {what}.", where="type",
                mend="Send it from the shop's server, with a server key.",
            )  # fmt: skip

    async def look_up(self, items: Iterable[bytes | memoryview], state_of: StateOf) -> None:
        """Finds out which anonymous ids in `items` are those of customers, for `read`: a browser key could name one by it."""
        if not self.is_browser:
            return
        asked: set[str] = set()
        for raw in items:
            try:
                claim = decode(raw, _claim)
                asked.add(values.identifier(claim.anonymous_id, "anonymousId"))
            except BadRecord:
                continue  # refused when it is read
        known = {one for one in asked if one and not _UNGUESSABLE.fullmatch(one) and _is_known(await state_of(one))}
        self._known = frozenset(known)

    def read(self, raw: bytes | memoryview, envelope: Envelope) -> list[Record]:
        """The records of one Segment record, as far as the key may send them. Raises BadRecord."""
        if not self.is_browser:
            return self.stamped(parse_item(raw, envelope))
        claim: _Claim = decode(raw, _claim)
        kind = envelope.kind or claim.type
        if isinstance(kind, str) and kind not in KINDS:
            self.only_server(kind[:40])
        records = parse_item(raw, envelope)
        self._check_customer(claim, envelope)
        return self.stamped(records)

    def stamped(self, records: list[Record]) -> list[Record]:
        """The records with the key's name, if it may send them. Raises BadRecord."""
        if self._key is None:
            return records
        for record in records:
            if isinstance(record, Event):
                self._check_name(record.name)
        return [
            msgspec.structs.replace(record, key=self.name)
            if isinstance(record, Event | Identify | Merge | Outcome)
            else record
            for record in records
        ]

    def _check_name(self, name: str) -> None:
        assert self._key is not None, "without keys nothing is checked"
        if self.is_browser and name.strip().casefold() in _FOLDED:
            raise BadRecord(
                "event_not_allowed", f"The browser key {self.name} may not send {name!r}, which has a meaning here.",
                where="event", mend="Send it from the shop's server, with a server key.",
            )  # fmt: skip
        if self._key.events and not any(fnmatch.fnmatchcase(name, pattern) for pattern in self._key.events):
            raise BadRecord(
                "event_not_allowed", f"The key {self.name} may not send {name!r}.", where="event",
                mend="Add the name to the key's events, or send it with another key.",
            )  # fmt: skip

    def _check_customer(self, claim: _Claim, envelope: Envelope) -> None:
        user = values.identifier(claim.user_id, "userId")
        if not user:
            if values.identifier(claim.anonymous_id, "anonymousId") in self._known:
                raise BadRecord(
                    "unproven_user", "anonymousId is the id of a customer.", where="anonymousId",
                    mend="Send the SDK's own anonymous id, or userId with context.userHash.",
                )  # fmt: skip
            return
        own = claim.context if isinstance(claim.context, dict) else {}
        shared = envelope.context if isinstance(envelope.context, dict) else {}
        proof = own.get("userHash", shared.get("userHash"))
        secret = self._key.secret.get_secret_value() if self._key is not None and self._key.secret else ""
        if not secret:
            raise BadRecord(
                "unproven_user", f"The browser key {self.name} has no secret, so no userId can be proved.",
                where="userId", mend="Send events of anonymous ids, or give the key a secret.",
            )  # fmt: skip
        expected = hmac.digest(secret.encode(), user.encode("utf-8", "surrogatepass"), "sha256").hex()
        given = proof.lower() if isinstance(proof, str) else ""
        if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass")):
            raise BadRecord(
                "unproven_user", "userId is not proved by context.userHash.", where="context.userHash",
                mend="Let the shop's server send HMAC-SHA256(secret, userId) as hex.",
            )  # fmt: skip


def _is_known(state: CustomerState | None) -> bool:
    """Whether this is more than a visitor: somebody said who it is."""
    return state is not None and bool(
        state.traits or state.consent or state.suppressed or state.merged_into or state.aliases
    )


class Gate:
    """Who may send events: this machine's programs when there are no keys, else who knows one."""

    def __init__(self, settings: CollectorSection, *, uses: KeyUses | None = None) -> None:
        """Keeps hashes, so that looking one up takes as long for a nearly right key as for any other."""
        self._open = settings.keyless
        self._passes = {_hash(key.sent): key for key in settings.all_keys if key.sent}
        self._secrets = frozenset(
            _hash(key.secret.get_secret_value()) for key in settings.all_keys if key.kind == "browser" and key.secret
        )
        self._uses = uses

    def knows(self, key: object) -> bool:
        """Whether this is a write key."""
        return self._open or (isinstance(key, str) and _hash(key) in self._passes)

    def let_in(self, request: web.Request, written: Callable[[], object] | None = None) -> Pass:
        """What the request may bring, by its `Authorization` (Basic with the key as user, or Bearer), else by the key that is
        `written` in it. Raises BadRecord.
        """
        if self._open:
            return Pass()
        shown = _key_of(request.headers.get(hdrs.AUTHORIZATION, ""))
        found = self._passes.get(_hash(shown)) if shown else None
        if found is None and written is not None:
            inside = written()
            shown = inside if isinstance(inside, str) else shown
            found = self._passes.get(_hash(shown)) if shown else None
        if found is None:
            raise self._unknown(shown)
        if found.kind == "browser":
            _check_origin(request, found)
        if self._uses is not None:
            self._uses.note(found.name)
        return Pass(found)

    def refused(self) -> BadRecord:
        """What to answer to the others."""
        return BadRecord(
            "unauthorized", "The write key is missing or unknown.", mend="Send it as the user name of Basic auth."
        )

    def _unknown(self, shown: str | None) -> BadRecord:
        if shown and _hash(shown) in self._secrets:
            return BadRecord(
                "unauthorized", "This write key is the secret of a browser key.",
                mend="Let pages send its public key, and make another secret if a page has shown this one.",
            )  # fmt: skip
        return self.refused()


def _check_origin(request: web.Request, key: KeySection) -> None:
    origins = request.headers.getall(hdrs.ORIGIN, [])
    if not key.origins and not origins:
        return
    if len(origins) != 1 or origins[0] not in key.origins:
        raise BadRecord(
            "foreign_origin", f"The browser key {key.name} is not for this page (Origin).", where="Origin",
            mend="Add the page's origin to the key's origins.",
        )  # fmt: skip


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _key_of(authorization: str) -> str | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return user or password
