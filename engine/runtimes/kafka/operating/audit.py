"""The audit log of a cluster: the topic `audit`, one partition, kept for ever.

Invariant: what is on the topic stays as it was written. Several may append at once without a lock: a line counts if it follows
from the last one that counts; who finds that somebody was quicker writes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engine.errors import StorageError
from engine.runtimes import audit
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.operating.looking import whole
from engine.runtimes.kafka.topics import Outgoing, Topics

TRIES_MAX = 20


async def read(bootstrap: str, topics: Topics) -> list[bytes]:
    """The lines that count, in their order. Raises ServiceUnreachable."""
    return audit.accepted(await _all(bootstrap, topics))


async def note(bootstrap: str, topics: Topics, follow: Callable[[audit.Verified], audit.AuditLine]) -> audit.AuditLine:
    """Appends the line that `follow` makes of those that are there; returns it when it is acknowledged and counts.

    Raises ServiceUnreachable, StorageError, and what `follow` raises.
    """
    outlet = Outlet(bootstrap, client="anlass-audit")
    await outlet.start()
    try:
        for _ in range(TRIES_MAX):
            line = follow(audit.verify(await read(bootstrap, topics)))
            await outlet.send([Outgoing(topics.audit, 0, None, audit.encode_line(line))])
            if audit.encode_line(line) in await read(bootstrap, topics):
                return line
            await asyncio.sleep(0.05)
    finally:
        await outlet.stop()
    raise StorageError("Too many are writing to the audit log at once.", mend="Nothing was done. Try again.")


async def _all(bootstrap: str, topics: Topics) -> list[bytes]:
    records = await whole(bootstrap, topics.audit, client="anlass-audit", what="the audit log")
    return [each.value or b"" for each in records]
