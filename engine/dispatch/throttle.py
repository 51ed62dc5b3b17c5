"""How fast a provider and a destination domain may be sent to.

Invariant: within any second no more messages of a provider leave than its rate allows; a domain (or a provider) that asked us to
slow down gets nothing until its pause is over, and a longer pause each time it asks again.
"""

from __future__ import annotations

from engine.dispatch.limits import Lane, Providers

__all__ = ["PAUSE_MS_FIRST", "PAUSE_MS_MAX", "Lane", "Throttle", "domain_of"]

PAUSE_MS_FIRST = 30_000
PAUSE_MS_MAX = 3_600_000
DOMAINS_MAX = 10_000
"""Paused domains remembered; beyond it the one whose pause ends first is forgotten."""


def domain_of(address: str) -> str:
    """The destination domain of an address, "" where there is none."""
    return address.rpartition("@")[2].lower() if "@" in address else ""


class Throttle:
    """Rates and pauses of each provider and of each of its destination domains; a channel stands for its provider."""

    def __init__(self, providers: Providers | None = None) -> None:
        """Starts with all lanes free."""
        self._providers = providers or Providers()
        self._share = 1.0
        self._next_ms: dict[Lane, float] = {}  # when the lane's next message may leave
        self._pauses: dict[Lane, tuple[int, int]] = {}  # lane → (until, length)

    def set_share(self, fraction: float) -> None:
        """From now on only this part of each rate is ours (0 < fraction ≤ 1); other processes have the rest."""
        assert 0 < fraction <= 1, fraction
        self._share = fraction

    def free_at_ms(self, channel: str, domain: str, now_ms: int) -> int:
        """When a message of this channel to this domain may leave: `now_ms`, or later."""
        at_ms = float(now_ms)
        for lane in self._lanes(channel, domain):
            pause = self._pauses.get(lane)
            if pause is not None:
                at_ms = max(at_ms, pause[0])
            if self._rate(lane):
                at_ms = max(at_ms, self._next_ms.get(lane, 0.0))
        return int(-(-at_ms // 1))

    def took(self, channel: str, domain: str, now_ms: int) -> None:
        """A message is leaving now."""
        for lane in self._lanes(channel, domain):
            rate = self._rate(lane)
            if rate:
                self._next_ms[lane] = max(self._next_ms.get(lane, 0.0), float(now_ms)) + 1000.0 / rate
        if len(self._next_ms) > DOMAINS_MAX:
            self._next_ms = {lane: at for lane, at in self._next_ms.items() if at > now_ms}

    def slow_down(self, channel: str, domain: str, now_ms: int, *, retry_after_seconds: float | None = None) -> int:
        """The domain ("" = the provider) asked for a pause; returns its end. Doubles while it keeps asking."""
        lane = (self._providers.name(channel), domain)
        _, length_ms = self._pauses.get(lane, (0, 0))
        length_ms = min(max(PAUSE_MS_FIRST, length_ms * 2), PAUSE_MS_MAX)
        if retry_after_seconds is not None:
            length_ms = min(max(length_ms, int(retry_after_seconds * 1000)), PAUSE_MS_MAX)
        self._pauses[lane] = (now_ms + length_ms, length_ms)
        if len(self._pauses) > DOMAINS_MAX:
            del self._pauses[min(self._pauses, key=lambda known: self._pauses[known][0])]
        return now_ms + length_ms

    def accepted(self, channel: str, domain: str) -> None:
        """A message got through: the next pause starts small again."""
        for lane in self._lanes(channel, domain):
            self._pauses.pop(lane, None)

    def closed(self, now_ms: int) -> frozenset[Lane]:
        """The lanes from which nothing may leave now: the outbox need not offer their messages."""
        shut = {lane for lane, (until_ms, _) in self._pauses.items() if until_ms > now_ms}
        shut.update(lane for lane, next_ms in self._next_ms.items() if next_ms > now_ms)
        return frozenset((channel, domain) for name, domain in shut for channel in self._providers.of(name).channels)

    def opens_ms(self, now_ms: int) -> int | None:
        """When the first of the closed lanes opens; None: all are open."""
        paused = [until_ms for until_ms, _ in self._pauses.values() if until_ms > now_ms]
        return min([*paused, *(int(-(-at // 1)) for at in self._next_ms.values() if at > now_ms)], default=None)

    def _lanes(self, channel: str, domain: str) -> tuple[Lane, ...]:
        """The lanes a message goes through: the provider's and, where there is one, its destination domain's."""
        name = self._providers.name(channel)
        return ((name, ""), (name, domain)) if domain else ((name, ""),)

    def _rate(self, lane: Lane) -> float:
        limits = self._providers.of(lane[0])
        return self._share * (limits.domain_rate if lane[1] else limits.rate)
