"""Time, asked for in one place.

Invariant: nothing else in Anlass asks the machine what time it is, so whoever holds the clock holds the run: a test,
a simulation or a demo in compressed time passes another one.
"""

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock", "from_rfc3339", "to_rfc3339"]

MS_PER_SECOND = 1_000


class Clock(Protocol):
    """What the rest of the house may ask about time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, from an arbitrary start; for measuring durations."""
        ...

    async def sleep_until(self, due_ms: int) -> None:
        """Return at or after `due_ms` of this clock; at once (but letting others run) when it is past."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep_until(self, due_ms: int) -> None:
        # The wall clock may be set back or forth while we sleep, and a sleep may end a little early: ask again.
        # The nap is bounded so that a jump forward is noticed.
        nap_seconds_max = 5.0
        await asyncio.sleep(0)
        while (remaining_ms := due_ms - self.now_ms()) > 0:  # noqa: ASYNC110 - we wait for the clock, not for an event
            await asyncio.sleep(min(remaining_ms / MS_PER_SECOND, nap_seconds_max))


class ManualClock:
    """A clock that stands still until it is told to move; sleepers wake in the order of their due times."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms
        self._start_ms = now_ms
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return (self._now_ms - self._start_ms) / MS_PER_SECOND

    async def sleep_until(self, due_ms: int) -> None:
        if due_ms <= self._now_ms:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (due_ms, next(self._order), woken))
        await woken

    def advance(self, delta_ms: int) -> None:
        """Move forward by `delta_ms` (not negative) and wake whoever is due."""
        assert delta_ms >= 0, "time does not go back"
        self.move_to(self._now_ms + delta_ms)

    def move_to(self, now_ms: int) -> None:
        """Move forward to `now_ms` (not before the present) and wake whoever is due."""
        assert now_ms >= self._now_ms, "time does not go back"
        self._now_ms = now_ms
        while self._sleepers and self._sleepers[0][0] <= now_ms:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():  # a cancelled sleeper has nothing to wake
                woken.set_result(None)


def to_rfc3339(at_ms: int) -> str:
    """`2026-03-27T09:00:00.000Z`: the form of every time on a public interface."""
    at = datetime.fromtimestamp(at_ms // MS_PER_SECOND, UTC).replace(
        microsecond=at_ms % MS_PER_SECOND * 1_000, tzinfo=None
    )
    return f"{at.isoformat(timespec='milliseconds')}Z"


def from_rfc3339(text: str) -> int:
    """Milliseconds since the epoch; ValueError when `text` is not an RFC 3339 time or names no offset."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} names no offset; write it as 2026-03-27T10:00:00+01:00 or with Z")
    delta = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * MS_PER_SECOND + delta.microseconds // 1_000
