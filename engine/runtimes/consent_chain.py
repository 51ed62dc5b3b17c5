"""The chain over the consent ledger: each row holds the hash of the one before, over what stays when its customer is erased.

Invariant: who it was goes into the hash as a salted digest (`seal`, whose salt an erasure removes) and as what will stand there
afterwards (`hidden`). So an erasure changes nothing that was hashed, and a row that was changed otherwise, taken out or put in
breaks the chain. A row that goes when its time is over leaves its number and its hashes.
What is hashed, `STAYS` included, is a format: rows that are there must verify for ever.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from engine.core.consent.proof import ConsentRecord
from engine.runtimes import consents
from engine.runtimes.audit import FIRST, Head
from engine.runtimes.consents import STAYS, KeyedHash

__all__ = ["FIRST", "Chain", "ChainColumns", "Head", "LedgerCheck", "Linked"]

SALT_BYTES = 16


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()


class ChainColumns(msgspec.Struct, frozen=True):
    """The columns of the chain. `hidden` is what the record and its address are called after an erasure."""

    salt: str
    seal: str
    hidden: str
    prev: str
    hash: str


class Linked(msgspec.Struct, frozen=True):
    """A row as it is kept: `where` is its place on the log, `row` as `consents.row_of` makes it; of a row that is gone ()."""

    number: int
    where: tuple[int, ...]
    row: tuple[Any, ...]
    links: ChainColumns


class LedgerCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found. `gone` counts rows that went when their time was over, `erased` those without their person."""

    rows: int
    erased: int
    gone: int
    problems: tuple[str, ...]
    head: Head
    holds: bool = True
    """Whether the end that was asked about is in there."""


def link(number: int, where: Sequence[int], row: Sequence[Any], *, prev: str, keyed_hash: KeyedHash) -> ChainColumns:
    """The columns of a row that follows the hash `prev`."""
    record = consents.record_of(row)
    if row[-1]:  # it comes without its person
        salt, seal = "", secrets.token_hex(32)
        hidden = f"{record.id} {record.address}"
    else:
        salt = secrets.token_hex(SALT_BYTES)
        seal = _seal(salt, row)
        after = consents.without_person(record, alias="", keyed_hash=keyed_hash)
        hidden = f"{after.id} {after.address}"
    links = ChainColumns(salt, seal, hidden, prev, "")
    return msgspec.structs.replace(links, hash=_hash(number, where, row, links))


def hidden_from(record: ConsentRecord, hidden: str) -> ConsentRecord:
    """A record without its person, called as its row says that it will be ("": the row is in no chain)."""
    key, _, address = hidden.partition(" ")
    return msgspec.structs.replace(record, id=key, address=address) if hidden else record


class Chain:
    """Checks rows in the order of their numbers, as many at a time as one likes."""

    def __init__(self, known: Head | None = None) -> None:
        self._known = known
        self._holds = known is None or known == Head()
        self._rows = self._erased = self._gone = 0
        self._problems: list[str] = []
        self.head = Head()

    def check(self, rows: Iterable[Linked]) -> None:
        """Takes the next rows."""
        for each in rows:
            problem = self._look(each)
            if problem:
                self._problems.append(problem)
            if self._known == Head(number=each.number, hash=each.links.hash):
                self._holds = True

    def finish(self, said: Head) -> LedgerCheck:
        """What was found; `said` is where the ledger is said to end."""
        problems = list(self._problems)
        if said != self.head:
            problems.append(
                f"The ledger ends with record {self.head.number}, but the last one written was {said.number}: records at its end "
                "are missing or were put in."
                if said.number != self.head.number
                else f"Record {said.number}, the last one, is not the one that was written."
            )
        return LedgerCheck(
            rows=self._rows,
            erased=self._erased,
            gone=self._gone,
            problems=tuple(problems),
            head=self.head,
            holds=self._holds,
        )

    def _look(self, each: Linked) -> str:
        links, number = each.links, each.number
        name = f"Record {number}" + (f" ({each.row[0]})" if each.row else "")
        self._rows += bool(each.row)
        self._gone += not each.row
        self._erased += bool(each.row and each.row[-1])
        follows = links.prev == self.head.hash
        if not links.hash or (not follows and each.row and not _is_whole(each)):
            return f"{name} is in no chain: it was put in."
        before, self.head = self.head, Head(number=number, hash=links.hash)
        if each.row and not _is_whole(each):
            return f"{name} was changed after it was written."
        if not follows:
            what = "one between them is missing, was changed or was put in"
            return f"{name} does not follow from record {before.number}: {what}."
        return ""


def _is_whole(each: Linked) -> bool:
    """Whether a row says what it said when it was written, but for what an erasure takes out."""
    row, links = each.row, each.links
    try:
        if _hash(each.number, each.where, row, links) != links.hash:
            return False
        if not row[-1]:
            return hmac.compare_digest(_seal(links.salt, row), links.seal)
        proof = json.loads(row[-2])
        return f"{row[0]} {row[6]}" == links.hidden and _kept(proof) == proof
    except (ValueError, TypeError, AttributeError):
        return False


def _seal(salt: str, row: Sequence[Any]) -> str:
    """A digest of what an erasure takes out: record, customer, address and the whole proof."""
    return hmac.digest(salt.encode(), _encode([row[0], row[1], row[6], row[-2]]), "sha256").hex()


def _hash(number: int, where: Sequence[int], row: Sequence[Any], links: ChainColumns) -> str:
    """Over what stays: where it stands, what was said, when, with which words; and over the digest of who it was."""
    stays = [*row[2:6], row[7], *row[8:11], _kept(json.loads(row[-2]))]
    return hashlib.sha256(_encode([number, list(where), stays, links.hidden, links.seal, links.prev])).hexdigest()


def _kept(proof: dict[str, Any]) -> dict[str, Any]:
    return {name: text for name, text in proof.items() if name in STAYS}
