"""How the rows of a transaction change what is counted of each workflow's pace.

Invariant: what is counted is what the tables hold: a line or a message that goes is counted back.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from engine.dispatch.sending.guardrail import bucket_of, column_of
from engine.runtimes.journal.connection import Row

COLUMNS = ("queued", "sent", "bounced", "complained")

_decode_detail = msgspec.json.Decoder(dict[str, Any]).decode


class PaceChanges:
    """(stretch, workflow, partition, column) → how many more or fewer."""

    def __init__(self) -> None:
        self._changes: Counter[tuple[int, str, int, str]] = Counter()

    def line(
        self, partition: int, kind: str, workflow: str, *, at_ms: int, detail: dict[str, Any] | str, by: int = 1
    ) -> None:
        """A line of the journal comes, or goes. `detail` as it is, or as it is stored."""
        if not workflow or kind not in ("send", "outcome"):
            return
        column = column_of(kind, _decode_detail(detail) if isinstance(detail, str) else detail)
        if column is not None:
            self._changes[bucket_of(at_ms), workflow, partition, column] += by

    def message(self, partition: int, status: str, workflow: str, *, updated_ms: int, by: int = 1) -> None:
        """A message of the ledger comes, or goes."""
        if status == "sent" and workflow:
            self._changes[bucket_of(updated_ms), workflow, partition, "sent"] += by

    def rows(self) -> list[Row]:
        """What is to be added, in a fixed order."""
        places = sorted({key[:3] for key, by in self._changes.items() if by})
        return [(*place, *(self._changes[(*place, column)] for column in COLUMNS)) for place in places]
