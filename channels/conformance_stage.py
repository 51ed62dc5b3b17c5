"""What an author gives to the suite of `channels.conformance`, and the bad input that it tries.

Invariant: nothing in here knows a provider; what cannot be true of every channel is a field that an author sets.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from channels.contract import Channel

EVIL = "evil@example.com"
HOSTILE: tuple[Mapping[str, Any], ...] = (
    {"subject": f"Hi\r\nBcc: {EVIL}"},
    {"subject": f"Hi\nBcc: {EVIL}"},
    {"subject": f"=?utf-8?q?Hi=0D=0ABcc:_{EVIL}?="},
    {"subject": f"a\u2028Bcc: {EVIL}"},
    {"subject": f"a\x85Bcc: {EVIL}"},
    {"subject": EVIL + "x" * 5_000},
    {"to_name": f"Ana\r\nBcc: {EVIL}"},
    {"from_": f"Shop\r\nBcc: {EVIL} <shop@example.com>"},
    {"reply_to": f"a@example.com\r\nBcc: {EVIL}"},
    {"list_unsubscribe_url": f"https://example.com/u\r\nBcc: {EVIL}"},
    {"list_unsubscribe_url": f"javascript:alert('{EVIL}')"},
    {"headers": (("X-A", f"b\r\nBcc: {EVIL}"),)},
    {"headers": (("X-A: b\r\nBcc", EVIL),)},
    {"headers": (("Bcc", EVIL),)},
    {"headers": (("Content-Type", f"text/plain; x={EVIL}"),)},
)
TEXTS = (
    "", "\n", ".\n", ".\r\n.\r\nQUIT\r\n", "..a\n.b\n", "ü" * 2_000, "a" * 5_000 + "\n", "über\n.\nuns\n", "\0x\n",
    'She said "no" \\ and {left}, [then] came back: 5 < 6 & 7 > 6\n', "👋🏽 ﷽ \u202e\n",
)  # fmt: skip


class Fault(enum.StrEnum):
    """How a provider can fail, in the contract's words. A stand-in says which of them it can play."""

    NONE = "none"  # works again
    DOWN = "down"  # nobody answers the connection
    BUSY = "busy"  # asks to come back later (429, 421)
    REFUSED = "refused"  # refuses this message for good
    NO_SUCH_ADDRESS = "no_such_address"  # refuses because nobody is there
    DENIED = "denied"  # refuses us: login, sender, reputation
    LOST = "lost"  # takes the message, then breaks the connection without an answer
    SILENT = "silent"  # takes the message and never answers


@dataclass(frozen=True, kw_only=True)
class Received:
    """One message that the provider really has. `raw` is all that came with it, to look for what should not have."""

    id: str
    to: str
    text: str
    raw: bytes = b""


async def _cannot(fault: Fault) -> None:
    raise AssertionError(f"the class names the fault {fault} and its stage has no `play`")


@dataclass(kw_only=True)
class Stage:
    """An adapter (not opened) with a stand-in of its provider, for one test."""

    channel: Channel
    received: Callable[[], list[Received]]
    play: Callable[[Fault], Awaitable[None]] = _cannot
    """From now on the stand-in fails like this, with every message; NONE: it works again."""
    address: Callable[[int], str] = "c{}@example.com".format
    """The n-th valid address."""
    personal: bool = True
    """Whether addresses are people's, so that no reason of an error may repeat them."""
    texts: tuple[str, ...] = TEXTS
    """Texts that have to arrive as they are; those that the channel cannot carry are left out."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of `OutgoingMessage` that this channel's messages have beside those its capabilities ask for."""
