"""How many calls of each provider are under way, and to which destination domains.

Invariant: a provider never has more calls under way than its limits say, so that one that answers slowly holds up no other; one
destination domain never has all of them, and all domains that answer slowly together have a quarter. Some are kept for
transactional messages.
"""

from __future__ import annotations

from collections import Counter

from engine.dispatch.sending.limits import Lane, Limits, Providers

SLOW_MS = 5_000
"""A domain whose newest call took so long, or is under way for so long, is slow."""
SLOW_DOMAINS_MAX = 10_000

_Domain = tuple[str, str]


class Berths:
    """Counts calls from `take` to `leave`. Domains are those of `throttle.domain_of`; "" has none."""

    def __init__(self, providers: Providers) -> None:
        """Starts with nothing under way."""
        self._providers = providers
        self._under_way: Counter[str] = Counter()
        self._domains: dict[_Domain, dict[str, int]] = {}  # message → since when
        self._slow: dict[_Domain, None] = {}
        self._bulk: dict[
            _Domain, set[str]
        ] = {}  # messages that are not transactional; the domain "" holds all of a provider

    def take(self, channel: str, domain: str, *, message: str, now_ms: int, bulk: bool = False) -> None:
        """A call begins. `has_room` said that it may. `bulk`: it is not transactional."""
        provider = self._providers.name(channel)
        self._under_way[provider] += 1
        if bulk:
            for place in {(provider, ""), (provider, domain)}:
                self._bulk.setdefault(place, set()).add(message)
        if domain:
            self._domains.setdefault((provider, domain), {})[message] = now_ms

    def leave(self, channel: str, domain: str, *, message: str, now_ms: int) -> None:
        """The call is over, or was never made."""
        provider = self._providers.name(channel)
        self._under_way[provider] -= 1
        assert self._under_way[provider] >= 0, "a call ends once"
        for place in {(provider, ""), (provider, domain)}:
            messages = self._bulk.get(place, set())
            messages.discard(message)
            if not messages:
                self._bulk.pop(place, None)
        calls = self._domains.get((provider, domain))
        if calls is None:
            return
        took_ms = now_ms - calls.pop(message)
        if not calls:
            del self._domains[provider, domain]
        self._slow.pop((provider, domain), None)
        if took_ms >= SLOW_MS:
            self._slow[provider, domain] = None
            if len(self._slow) > SLOW_DOMAINS_MAX:
                del self._slow[next(iter(self._slow))]

    def has_room(self, channel: str, domain: str, now_ms: int, *, bulk: bool = False) -> bool:
        """Whether one more call may begin now."""
        limits, provider = self._providers.of(channel), self._providers.name(channel)
        if self._under_way[provider] >= limits.under_way_max:
            return False
        if bulk and (
            self._has(provider, "") >= limits.bulk_max or self._has(provider, domain) >= _bulk_max(limits, domain)
        ):
            return False
        return not domain or not self._is_full(limits, domain, self._slow_calls(provider, now_ms), now_ms)

    def free(self, channel: str) -> int:
        """How many more calls the channel's provider may be given."""
        return max(0, self._providers.of(channel).under_way_max - self._under_way[self._providers.name(channel)])

    def is_idle(self, channel: str) -> bool:
        """Whether the channel's provider has nothing under way."""
        return not self._under_way[self._providers.name(channel)]

    def closed(self, now_ms: int) -> frozenset[Lane]:
        """The lanes that are full: the outbox need not offer their messages."""
        found: set[Lane] = set()
        for provider, count in self._under_way.items():
            limits = self._providers.of(provider)
            if count >= limits.under_way_max:
                found.update((channel, "") for channel in limits.channels)
                continue
            slow = self._slow_calls(provider, now_ms) if count else 0
            domains = {domain for name, domain in self._domains if name == provider}
            if slow >= limits.slow_max:
                domains |= {domain for name, domain in self._slow if name == provider}
            full = [domain for domain in domains if self._is_full(limits, domain, slow, now_ms)]
            found.update((channel, domain) for channel in limits.channels for domain in full)
        return frozenset(found)

    def closed_to_bulk(self) -> frozenset[Lane]:
        """The lanes that are full for what is not transactional; those that are full for all may be among them."""
        return frozenset(
            (channel, domain)
            for (provider, domain), messages in self._bulk.items()
            if len(messages) >= _bulk_max(self._providers.of(provider), domain)
            for channel in self._providers.of(provider).channels
        )

    def _has(self, provider: str, domain: str) -> int:
        return len(self._bulk.get((provider, domain), ()))

    def _is_full(self, limits: Limits, domain: str, slow: int, now_ms: int) -> bool:
        place = (limits.channels[0], domain)
        if self._is_slow(place, now_ms) and slow >= limits.slow_max:
            return True
        return len(self._domains.get(place, ())) >= limits.domain_max

    def _is_slow(self, place: _Domain, now_ms: int) -> bool:
        if place in self._slow:
            return True
        calls = self._domains.get(place)  # in the order in which they began
        return calls is not None and now_ms - next(iter(calls.values())) >= SLOW_MS

    def _slow_calls(self, provider: str, now_ms: int) -> int:
        """Calls under way to domains that are slow."""
        return sum(
            len(calls)
            for place, calls in self._domains.items()
            if place[0] == provider and self._is_slow(place, now_ms)
        )


def _bulk_max(limits: Limits, domain: str) -> int:
    return limits.bulk_domain_max if domain else limits.bulk_max
