"""What stands in a store about addresses that nothing may be sent to: keyed hashes, with the reason and since when.

Invariant: nothing here names an address; who asks about one makes its hashes and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from engine.core.consent.suppression import ERASED, OBJECTED, REFUSED, names

OPERATOR, IMPORTED = "operator", "import"
"""Reasons of what an operator and an import said; those of mails are `bounced` and `complained`."""
TextHash = Callable[[str], bytes]
"""The keyed hash of a text of `engine.core.consent.suppression.names`."""


class SuppressionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `kind` is that of `engine.core.consent.suppression.Place`; `since_ms` is 0 where nobody knows."""

    hash: str
    kind: str
    reason: str
    since_ms: int

    @property
    def channel(self) -> str:
        """Of the address: email stands for newsletters, too."""
        parts = self.kind.split("/")
        return parts[1] if len(parts) > 1 else parts[0]

    @property
    def purpose(self) -> str:
        """To which purpose its owner objected; "" for all of them."""
        word, _, rest = self.kind.partition("/")
        return rest.partition("/")[2] if word == OBJECTED else ""

    @property
    def cause(self) -> str:
        """In one word: bounced, complained, operator, import, objected, erased."""
        word = self.kind.partition("/")[0]
        return word if word in {OBJECTED, ERASED} else self.reason.partition(":")[0]

    @property
    def is_shadow(self) -> bool:
        """Whether it only says that the row beside it is not a bounce: it is not listed."""
        return self.kind.startswith(f"{REFUSED}/")


def about(entries: Iterable[SuppressionEntry], address: str, text_hash: TextHash) -> list[SuppressionEntry]:
    """The entries about an address, under whichever form it was written down."""
    found = list(entries)
    hashes = {(kind, text_hash(text).hex()) for kind in {each.kind for each in found} for text in names(kind, address)}
    return [each for each in found if (each.kind, each.hash) in hashes]


def entries_of(kind: str, address: str, reason: str, *, at_ms: int, text_hash: TextHash) -> list[SuppressionEntry]:
    """What is written when somebody refuses an address: for old readers too, and that it is not a bounce."""
    return [
        SuppressionEntry(hash=text_hash(names(each, address)[0]).hex(), kind=each, reason=reason, since_ms=at_ms)
        for each in (kind, f"{REFUSED}/{kind}")
    ]
