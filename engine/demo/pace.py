"""A clock that lets months pass in seconds, and never faster than the engine can follow.

Invariant: time never runs more than `lead_ms` past the moment it was last let go (`go_on`), so that on a slow or busy
machine the months take longer, instead of messages being late for reasons that only the compression has.
"""

from __future__ import annotations

import asyncio

from engine.clock import SystemClock

_NAP_SECONDS = 0.002
_NAP_SECONDS_MAX = 0.25


class CompressedClock:
    """Fills `engine.clock.Clock`. Stands still at `start_ms` until `go_on` is called for the first time."""

    def __init__(self, start_ms: int) -> None:
        """Stands at `start_ms`, in milliseconds since the epoch."""
        self._system = SystemClock()
        self._anchor_ms = start_ms
        self._anchor_s = self._system.monotonic()
        self._factor = 0.0
        self._limit_ms = start_ms

    def now_ms(self) -> int:
        """Milliseconds of the compressed time."""
        passed_s = self._system.monotonic() - self._anchor_s
        return min(self._anchor_ms + int(passed_s * 1_000 * self._factor), self._limit_ms)

    def monotonic(self) -> float:
        """Real seconds: what is measured with it took so long."""
        return self._system.monotonic()

    async def sleep_until(self, due_ms: int) -> None:
        await asyncio.sleep(0)
        while (remaining_ms := due_ms - self.now_ms()) > 0:
            real_s = remaining_ms / 1_000 / self._factor if self._factor else _NAP_SECONDS_MAX
            await asyncio.sleep(min(max(real_s, _NAP_SECONDS), _NAP_SECONDS_MAX))

    def go_on(self, *, end_ms: int, real_seconds: float, lead_ms: int) -> None:
        """Lets time run on from here at the pace that reaches `end_ms` in `real_seconds`, for `lead_ms` at most."""
        assert lead_ms > 0
        now_ms = self.now_ms()
        self._anchor_ms, self._anchor_s = now_ms, self._system.monotonic()
        self._factor = max(0.0, (end_ms - now_ms) / 1_000) / max(real_seconds, _NAP_SECONDS)
        self._limit_ms = max(now_ms, min(now_ms + lead_ms, end_ms))

    @property
    def factor(self) -> float:
        """Compressed seconds in a real one."""
        return self._factor

    def walk(self) -> None:
        """From now on one second takes a second."""
        self._anchor_ms, self._anchor_s = self.now_ms(), self._system.monotonic()
        self._factor = 1.0
        self._limit_ms = 1 << 62
