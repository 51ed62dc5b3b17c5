"""What operators did, as lines that follow from each other: each holds the hash of the one before.

Invariant: a line that is changed, taken out or put in between breaks the chain at that place. No line holds a customer's id:
in its place stands a keyed hash of it, always the same for one customer. So it can be answered who looked at a person's data, an
erasure has nothing to remove here, and the chain stays whole.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from engine.core.time.schedule import rfc3339
from engine.errors import SettingsError

ActName = Literal[
    "pause", "resume", "retry", "replay", "erase", "export", "deploy", "show_customer", "explain", "show_message", "consent",
    "task", "bounces", "suppression", "release", "drop", "settle", "flush", "mend",
]  # fmt: skip
FIRST = "0" * 64
"""Stands for the line before the first."""
TEXT_CHARS_MAX = 500
HASH_CHARS = 16


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody is about to do. `customer` is an id; it is hashed before it is written. `why` is the operator's own text."""

    act: ActName
    what: str = ""
    """A workflow, a message, a number of a dead letter: nothing about a person."""
    customer: str = ""
    count: int = 0
    why: str = ""


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `hash` is SHA-256 (hex) over the JSON of all the other fields in this order."""

    number: int
    at: str
    who: str
    act: str
    what: str
    customer: str
    count: int
    why: str
    prev: str
    hash: str = ""
    mac: str | msgspec.UnsetType = msgspec.UNSET
    """HMAC-SHA-256 (hex) of `hash`, where a key is set."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where a chain ends: number and hash of its last line (0 and FIRST when there is none)."""

    number: int = 0
    hash: str = FIRST

    def __str__(self) -> str:
        """As `anlass audit verify --head` takes it."""
        return f"{self.number}:{self.hash}"


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """Where the chain does not hold: the place of the line (from 1), and what is wrong in one sentence."""

    place: int
    problem: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: the whole lines, where the chain is broken, and where it ends."""

    lines: tuple[AuditLine, ...]
    breaks: tuple[Break, ...]
    head: Head
    keyed: int = 0
    """Lines with a mac."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AuditLine, strict=True).decode


def seal(act: Act, head: Head, *, at_ms: int, who: str, alias: Callable[[str], str], key: bytes = b"") -> AuditLine:
    """The line that follows `head`; with a key it has a mac."""
    line = AuditLine(
        number=head.number + 1,
        at=rfc3339(at_ms),
        who=_short(who),
        act=act.act,
        what=_short(act.what),
        customer=alias(act.customer) if act.customer else "",
        count=act.count,
        why=_short(act.why),
        prev=head.hash,
    )
    line = msgspec.structs.replace(line, hash=hash_of(line))
    return msgspec.structs.replace(line, mac=_mac(key, line)) if key else line


def follow(
    act: Act, found: Verified, *, at_ms: int, who: str, alias: Callable[[str], str], key: bytes = b""
) -> AuditLine:
    """The line that follows all that were found. Raises SettingsError when those are keyed and this one would not be."""
    if found.keyed and not key:
        raise SettingsError(
            "The audit log is kept with a key, and this command has none: nothing was done.",
            mend="Set ANLASS_AUDIT__KEY or `[audit] key_file`; if the key is gone for good, set a new one.",
        )
    return seal(act, found.head, at_ms=at_ms, who=who, alias=alias, key=key)


def hash_of(line: AuditLine) -> str:
    """What the line's `hash` has to be."""
    return hashlib.sha256(_encode(msgspec.structs.replace(line, hash="", mac=msgspec.UNSET))).hexdigest()


def _mac(key: bytes, line: AuditLine) -> str:
    return hmac.digest(key, line.hash.encode(), "sha256").hex()


def encode_line(line: AuditLine) -> bytes:
    """One line of JSON, without an end."""
    return _encode(line)


def head_of(line: AuditLine) -> Head:
    """The chain's end once this line is its last."""
    return Head(number=line.number, hash=line.hash)


def customer_of(alias: str) -> str:
    """What stands for a customer, from the alias that stands for them after an erasure: the same digits, another word."""
    return f"customer:{alias.rpartition(':')[2][:HASH_CHARS]}"


def verify(texts: Iterable[bytes], *, start: Head | None = None, keys: Sequence[bytes] = ()) -> Verified:
    """Checks lines in their order. `start`: what the first follows, when earlier ones are gone by retention. With `keys` the
    macs are checked as well; lines before the first that has one were written before there was a key.
    """
    keyed = 0
    lines: list[AuditLine] = []
    breaks: list[Break] = []
    head = start or Head()
    for place, text in enumerate(texts, 1):
        try:
            line = _decode(text)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
            breaks.append(Break(place=place, problem="it is not a line of an audit log"))
            continue
        if _encode(line) != text:
            breaks.append(Break(place=place, problem=f"line {line.number} was not written like this"))
        elif line.hash != hash_of(line):
            breaks.append(Break(place=place, problem=f"line {line.number} was changed after it was written"))
        elif line.number != head.number + 1:
            what = (
                "lines before it are missing"
                if line.number > head.number + 1
                else "it was put in, or stands there twice"
            )
            breaks.append(Break(place=place, problem=f"line {line.number} follows line {head.number}: {what}"))
        elif line.prev != head.hash:
            breaks.append(Break(place=place, problem=f"line {line.number} does not follow from the one before it"))
        elif wrong := _wrong_mac(line, keys, keyed=keyed):
            breaks.append(Break(place=place, problem=f"line {line.number} {wrong}"))
        lines.append(line)
        keyed += line.mac is not msgspec.UNSET
        head = head_of(line)
    if keys and lines and not keyed:
        what = "nothing was noted since there is a key, or the whole log was written anew"
        breaks.append(Break(place=len(lines), problem=f"no line has a mac: {what}"))
    return Verified(lines=tuple(lines), breaks=tuple(breaks), head=head, keyed=keyed)


def _wrong_mac(line: AuditLine, keys: Sequence[bytes], *, keyed: int) -> str:
    if line.mac is msgspec.UNSET:
        return "has no mac, although earlier ones have: it was written without the key" if keyed else ""
    if keys and not any(hmac.compare_digest(_mac(key, line).encode(), line.mac.encode()) for key in keys):
        return "has a mac of another key: it was written without yours"
    return ""


def accepted(texts: Iterable[bytes]) -> list[bytes]:
    """Of lines that several may append at once, those that count: all but the late ones.

    A line is late when another one has its place already, after the same line: somebody was quicker, and what the late one
    tells was not begun. Whatever else does not follow counts, so that `verify` finds it.
    """
    found: list[bytes] = []
    places: dict[int, str] = {}  # number → what the line with that number follows
    for text in texts:
        line = _read(text)
        if line is not None:
            late = places.get(line.number) == line.prev and line.hash == hash_of(line)
            if late:
                continue
            places.setdefault(line.number, line.prev)
        found.append(text)
    return found


def _read(text: bytes) -> AuditLine | None:
    try:
        return _decode(text)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return None


def _short(text: str) -> str:
    """On one line, of bounded length, and storable."""
    plain = " ".join(text.split()).encode("utf-8", "replace").decode()
    return plain[:TEXT_CHARS_MAX]
