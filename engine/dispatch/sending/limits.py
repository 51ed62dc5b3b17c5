"""What a provider may be given: how many messages a second, and how many calls at once; shared by all its channels.

Invariant: each channel belongs to exactly one provider; a channel that no settings name is a provider by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

UNDER_WAY_MAX = 20
FEW = 4
"""With fewer calls at once than this there is nothing to share out between domains."""
RESERVE_PART = 10
"""One call in so many, and at least one, is kept for transactional messages."""

Lane = tuple[str, str]
"""(channel, destination domain), or (channel, "") for the provider itself."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one provider. Rates are messages per second (0: no limit)."""

    channels: tuple[str, ...]
    under_way_max: int = UNDER_WAY_MAX
    """Calls at once."""
    domain_under_way_max: int = 0
    """Of these to one destination domain; 0: all but a quarter, so that a domain that keeps us waiting is never the only one."""
    rate: float = 0.0
    domain_rate: float = 0.0

    @property
    def domain_max(self) -> int:
        """Calls at once to one destination domain."""
        if self.domain_under_way_max:
            return min(self.domain_under_way_max, self.under_way_max)
        return self.under_way_max if self.under_way_max < FEW else self.under_way_max - self.under_way_max // FEW

    @property
    def bulk_max(self) -> int:
        """Calls at once of what is not transactional: some are kept, so that an order's mail waits for no newsletter's answer."""
        return _without_reserve(self.under_way_max)

    @property
    def bulk_domain_max(self) -> int:
        """As `domain_max`, of what is not transactional."""
        return _without_reserve(self.domain_max)

    @property
    def slow_max(self) -> int:
        """Calls at once to all domains together that answer slowly."""
        return max(1, self.under_way_max // FEW)


def _without_reserve(calls: int) -> int:
    return calls if calls < FEW else calls - max(1, calls // RESERVE_PART)


class Providers:
    """Which provider a channel goes through."""

    def __init__(self, limits: Iterable[Limits] = (), *, under_way_max: int = UNDER_WAY_MAX) -> None:
        """`under_way_max` is for channels that no provider names."""
        self._of = {channel: each for each in limits for channel in each.channels}
        self._under_way_max = under_way_max

    def of(self, channel: str) -> Limits:
        """The limits of the channel's provider."""
        found = self._of.get(channel)
        if found is None:
            found = self._of[channel] = Limits(channels=(channel,), under_way_max=self._under_way_max)
        return found

    def name(self, channel: str) -> str:
        """What the provider is called here: its first channel."""
        return self.of(channel).channels[0]
