"""Whether this machine's clock can be trusted with timers: it is compared with the brokers', who stamp what is written.

Invariant: a timer is fired only by a process whose clock was found, not long ago, to be less than `REFUSE_SECONDS` ahead of the
brokers'. Ahead it would fire early, which cannot be taken back; behind it only fires late.
"""

from __future__ import annotations

from engine.clock import Clock
from engine.errors import StorageError
from engine.health import Condition
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.topics import Shard, Topics, encode_input
from engine.telemetry import Action, Metrics, get_log

WARN_SECONDS = 2.0
REFUSE_SECONDS = 30.0
TRUSTED_SECONDS = 60.0
"""How long a comparison counts."""
SKEWED_TRUSTED_SECONDS = 5.0
_log = get_log("clocks")


class ClockCheck:
    """One process's. Where nobody asks, nothing is written."""

    def __init__(self, outlet: Outlet, topics: Topics, clock: Clock, *, metrics: Metrics) -> None:
        self._outlet = outlet
        self._topics = topics
        self._clock = clock
        self._metrics = metrics
        self._until = 0.0
        self.skew_seconds = 0.0
        """How much our clock is ahead of the brokers'; negative: behind."""

    @property
    def refuses(self) -> bool:
        """Whether no timer is fired because of it."""
        return self.skew_seconds >= REFUSE_SECONDS

    async def may_fire(self, partition: int) -> bool:
        """Whether timers of this partition may fire now. Raises StorageError."""
        if self._clock.monotonic() >= self._until:
            await self._compare(partition)
        return not self.refuses

    async def _compare(self, partition: int) -> None:
        # A step of no walk: every version of ours passes it over.
        before_ms = self._clock.now_ms()
        probe = encode_input(Shard(at_ms=before_ms, catalog="", after=b"clock"))
        broker_ms = await self._outlet.broker_ms(self._topics.touchpoints, partition, probe)
        after_ms = self._clock.now_ms()
        if broker_ms <= 0:
            raise StorageError("Kafka did not say when it wrote a record.")
        ahead_ms = before_ms - broker_ms if broker_ms < before_ms else min(0, after_ms - broker_ms)
        self.skew_seconds = ahead_ms / 1_000
        self._metrics.clock_skew_seconds.set(self.skew_seconds)
        skewed = abs(self.skew_seconds) >= WARN_SECONDS
        self._until = self._clock.monotonic() + (SKEWED_TRUSTED_SECONDS if skewed else TRUSTED_SECONDS)
        if skewed:
            self._metrics.health.report(Condition.CLOCK_SKEWED, self.sentence())
        else:
            self._metrics.health.clear(Condition.CLOCK_SKEWED)
        if skewed:
            say = _log.error if self.refuses else _log.warning
            say(Action.CLOCK_SKEWED, seconds=round(self.skew_seconds, 1), timers_fire=not self.refuses)

    def sentence(self) -> str:
        """What readiness says; empty when the clocks agree."""
        if abs(self.skew_seconds) < WARN_SECONDS:
            return ""
        way = "ahead of" if self.skew_seconds > 0 else "behind"
        timers = "; no timer fires until it is set right" if self.refuses else ""
        return f"This machine's clock is {abs(self.skew_seconds):.0f} s {way} the brokers'{timers}."
