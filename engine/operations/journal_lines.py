"""Reads the journal of a workflow in pages, for whoever counts what it says.

Invariant: lines come in the order in which they were decided, each once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from engine.runtimes.base import Query, Reader

if TYPE_CHECKING:
    from engine.core.effect import Decision

PAGE = 1_000


async def lines_of(
    reader: Reader, workflow: str, *, kinds: tuple[str, ...], after_seq: int
) -> AsyncIterator[tuple[int, Decision]]:
    """The journal of a workflow from there on, oldest first, in pages."""
    while True:
        query = Query(workflow=workflow, kinds=kinds, after_seq=after_seq, limit=PAGE, oldest_first=True)
        page = await reader.decisions(query)
        for seq, line in page:
            yield seq, line
        if len(page) < PAGE:
            return
        after_seq = page[-1][0]
        await asyncio.sleep(0)  # a reader in this process answers without waiting: others have their turn between pages
