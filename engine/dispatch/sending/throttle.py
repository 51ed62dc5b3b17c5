"""How fast a provider and a destination domain may be sent to.

Invariant: within any second no more messages of a provider leave than its rate allows; a domain (or a provider) that asked us to
slow down gets nothing until its pause is over, then one message, and the rest once that was answered. However many fail at once,
a pause is made once, and a longer one only by what left after the last one was over.
"""

from __future__ import annotations

import msgspec

from engine.dispatch.sending.limits import Lane, Providers

__all__ = ["ASKED_MS_MAX", "PAUSE_MS_FIRST", "PAUSE_MS_MAX", "Lane", "Throttle", "domain_of"]

PAUSE_MS_FIRST = 5_000
PAUSE_MS_MAX = 600_000
"""Of our own accord: after each pause only one message asks, which may well be every ten minutes."""
ASKED_MS_MAX = 3_600_000
"""When the provider says how long (`Retry-After`)."""
DOMAINS_MAX = 10_000
"""Paused domains remembered; beyond it the one whose pause ends first is forgotten."""
FORGET_MS = PAUSE_MS_MAX
"""So long after the end of a pause that nobody tried, the next one starts small again."""


def domain_of(address: str) -> str:
    """The destination domain of an address, "" where there is none."""
    return address.rpartition("@")[2].lower() if "@" in address else ""


class _Pause(msgspec.Struct):
    """Of one lane. `probe` is the message that asks, once it is over, whether the rest may go."""

    until_ms: int
    length_ms: int
    probe: str = ""


class Throttle:
    """Rates and pauses of each provider and of each of its destination domains; a channel stands for its provider."""

    def __init__(self, providers: Providers | None = None) -> None:
        """Starts with all lanes free."""
        self._providers = providers or Providers()
        self._share = 1.0
        self._next_ms: dict[Lane, float] = {}  # when the lane's next message may leave
        self._pauses: dict[Lane, _Pause] = {}

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
                at_ms = max(at_ms, pause.until_ms)
            if self._rate(lane):
                at_ms = max(at_ms, self._next_ms.get(lane, 0.0))
        return int(-(-at_ms // 1))

    def has_rate(self, channel: str, domain: str) -> bool:
        """Whether its messages leave one by one."""
        return any(self._rate(lane) for lane in self._lanes(channel, domain))

    def admits(self, channel: str, domain: str, *, message: str, now_ms: int) -> bool:
        """Whether this message may leave now. Where a pause has just ended it is the one that asks, until it is `done`."""
        if self.free_at_ms(channel, domain, now_ms) > now_ms:
            return False
        ended = [pause for lane in self._lanes(channel, domain) if (pause := self._pauses.get(lane)) is not None]
        if any(pause.probe not in {"", message} for pause in ended):
            return False
        for pause in ended:
            pause.probe = message
        return True

    def done(self, channel: str, domain: str, *, message: str) -> None:
        """The message is not under way any more; if it asked and got no answer, the next one asks."""
        for lane in self._lanes(channel, domain):
            pause = self._pauses.get(lane)
            if pause is not None and pause.probe == message:
                pause.probe = ""

    def took(self, channel: str, domain: str, now_ms: int) -> None:
        """A message is leaving now."""
        for lane in self._lanes(channel, domain):
            rate = self._rate(lane)
            if rate:
                self._next_ms[lane] = max(self._next_ms.get(lane, 0.0), float(now_ms)) + 1000.0 / rate
        if len(self._next_ms) > DOMAINS_MAX:
            self._next_ms = {lane: at for lane, at in self._next_ms.items() if at > now_ms}

    def slow_down(
        self,
        channel: str,
        domain: str,
        now_ms: int,
        *,
        since_ms: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> int:
        """The domain ("" = the provider) asked for a pause of a message that left at `since_ms`; returns its end.

        What had left before the last pause was over only says once more what was known; what left after makes it longer.
        """
        lane = (self._providers.name(channel), domain)
        known = self._pauses.get(lane)
        asked_ms = 0 if retry_after_seconds is None else min(int(retry_after_seconds * 1000), ASKED_MS_MAX)
        if known is not None and (now_ms if since_ms is None else since_ms) < known.until_ms:
            if asked_ms:
                known.until_ms = max(known.until_ms, now_ms + asked_ms)
            return known.until_ms
        length_ms = min(PAUSE_MS_FIRST if known is None else known.length_ms * 2, PAUSE_MS_MAX)
        self._pauses[lane] = _Pause(now_ms + max(length_ms, asked_ms), length_ms)
        if len(self._pauses) > DOMAINS_MAX:
            del self._pauses[min(self._pauses, key=lambda each: self._pauses[each].until_ms)]
        return self._pauses[lane].until_ms

    def accepted(self, channel: str, domain: str, *, since_ms: int) -> None:
        """A message that left at `since_ms` was answered: if that was after a pause, the rest may go."""
        for lane in self._lanes(channel, domain):
            pause = self._pauses.get(lane)
            if pause is not None and since_ms >= pause.until_ms:
                del self._pauses[lane]

    def flush(self, channel: str = "", domain: str = "") -> list[Lane]:
        """Ends pauses now: of a channel, of a domain, or ("", "") all; returns those that there were."""
        provider = self._providers.name(channel) if channel else ""
        ended = [lane for lane in self._pauses if provider in {"", lane[0]} and domain in {"", lane[1]}]
        for lane in ended:
            del self._pauses[lane]
        return ended

    def paused(self, now_ms: int) -> dict[Lane, int]:
        """The lanes that are paused now, and until when. A provider's lane is named by its first channel."""
        return {lane: pause.until_ms for lane, pause in self._pauses.items() if pause.until_ms > now_ms}

    @property
    def any_pause(self) -> bool:
        """Whether there is a pause, or one that was over and nobody has tried since."""
        return bool(self._pauses)

    @property
    def asking(self) -> bool:
        """Whether a message is under way whose answer opens a lane."""
        return any(pause.probe for pause in self._pauses.values())

    def closed(self, now_ms: int) -> frozenset[Lane]:
        """The lanes from which nothing may leave now: the outbox need not offer their messages."""
        for lane in [lane for lane, pause in self._pauses.items() if pause.until_ms + FORGET_MS < now_ms]:
            if not self._pauses[lane].probe:
                del self._pauses[lane]
        shut = {lane for lane, pause in self._pauses.items() if pause.until_ms > now_ms or pause.probe}
        shut.update(lane for lane, next_ms in self._next_ms.items() if next_ms > now_ms)
        return frozenset((channel, domain) for name, domain in shut for channel in self._providers.of(name).channels)

    def opens_ms(self, now_ms: int) -> int | None:
        """When the first of the closed lanes opens; None: all are open."""
        paused = list(self.paused(now_ms).values())
        return min([*paused, *(int(-(-at // 1)) for at in self._next_ms.values() if at > now_ms)], default=None)

    def _lanes(self, channel: str, domain: str) -> tuple[Lane, ...]:
        """The lanes a message goes through: the provider's and, where there is one, its destination domain's."""
        name = self._providers.name(channel)
        return ((name, ""), (name, domain)) if domain else ((name, ""),)

    def _rate(self, lane: Lane) -> float:
        limits = self._providers.of(lane[0])
        return self._share * (limits.domain_rate if lane[1] else limits.rate)
