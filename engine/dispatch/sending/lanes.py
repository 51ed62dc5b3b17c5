"""What may leave now: rates, pauses and calls under way of all providers, seen as lanes; and what operators are told of pauses.

Invariant: a message that `enter` let in has its berth until `leave`, which is called once for each. Transactional ones go first;
where messages leave one by one, one in ten turns is the others' all the same, so that nothing stands for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from channels.contract import ChannelError, PermanentError, Receipt, TransientError
from engine.core.message import is_bulk
from engine.core.time.schedule import rfc3339
from engine.dispatch.ports import BULK_PART, Closed
from engine.dispatch.sending.berths import Berths
from engine.dispatch.sending.throttle import Throttle, domain_of
from engine.health import Condition
from engine.telemetry import Action, Metrics, get_log

if TYPE_CHECKING:
    from engine.clock import Clock
    from engine.core.message import Message
    from engine.dispatch.ports import Pending
    from engine.dispatch.sending.limits import Lane, Providers

SHOWN_MAX = 100
"""Pauses that are measured and named; the rest are there all the same."""
_log = get_log("dispatcher")


class Lanes:
    """Of one dispatcher."""

    def __init__(self, providers: Providers, *, clock: Clock, metrics: Metrics) -> None:
        """Starts with all of them free."""
        self._providers = providers
        self._clock = clock
        self._metrics = metrics
        self.throttle = Throttle(providers)
        self._berths = Berths(providers)
        self._in_a_row: Counter[str] = Counter()  # transactional messages of a provider since the last other one
        self._used: set[tuple[str, str]] = set()  # lanes with a rate that one message of this round goes through
        self._shown: dict[Lane, int] = {}
        self._asked_ms = 0  # when the outbox was last asked for what may leave
        self._ended_since = False  # whether a call has ended since

    # ------------------------------------------------------------------------------------------------- what may leave

    def closed(self) -> Closed:
        """For the outbox: what need not be offered. A new round begins."""
        self._used.clear()
        now_ms, waited_ms = self._clock.now_ms(), self._waited_ms()
        self._asked_ms, self._ended_since = now_ms, False
        shut = self.throttle.closed(now_ms) | self._berths.closed(waited_ms)
        return Closed(shut, self._berths.closed_to_bulk())

    @property
    def call_ended(self) -> bool:
        """Whether a call is over since the outbox was asked: what waits in a lane that was closed until then was not offered."""
        return self._ended_since

    @property
    def is_waiting(self) -> bool:
        """Whether lanes are closed until a call is over."""
        return bool(self._berths.closed(self._waited_ms()) or self._berths.closed_to_bulk()) or self.throttle.asking

    def ordered(self, pendings: list[Pending]) -> list[Pending]:
        """As the outbox gave them, unless it is the turn of what is not transactional."""
        due = {name for name, count in self._in_a_row.items() if count >= BULK_PART - 1}
        if not due:
            return pendings

        def is_turn(pending: Pending) -> bool:
            return is_bulk(pending.message) and self._providers.name(pending.message.channel) in due

        return sorted(pendings, key=lambda pending: not is_turn(pending))

    def enter(self, message: Message) -> bool:
        """Whether its lane is open and its provider has room; then it has a berth from now on, until its call is over."""
        channel, domain, bulk = message.channel, domain_of(message.address), is_bulk(message)
        provider, waited_ms = self._providers.name(channel), self._waited_ms()
        rated = self.throttle.has_rate(channel, domain)
        if rated and not self._used.isdisjoint({(provider, ""), (provider, domain)}):
            return False
        if not self._berths.has_room(channel, domain, waited_ms, bulk=bulk):
            return False
        if not self.throttle.admits(channel, domain, message=message.id, now_ms=self._clock.now_ms()):
            return False
        self._berths.take(channel, domain, message=message.id, now_ms=waited_ms, bulk=bulk)
        if rated:
            self._used.add((provider, "" if self.throttle.has_rate(channel, "") else domain))
        self._in_a_row[provider] = 0 if bulk else self._in_a_row[provider] + 1
        return True

    def leave(self, messages: Iterable[Message]) -> None:
        """Their calls are over, or not made after all."""
        waited_ms, self._ended_since = self._waited_ms(), True
        for message in messages:
            domain = domain_of(message.address)
            self._berths.leave(message.channel, domain, message=message.id, now_ms=waited_ms)
            self.throttle.done(message.channel, domain, message=message.id)

    def may_go(self, message: Message) -> bool:
        """Asked once more of one that has its berth, when much may have happened since."""
        now_ms = self._clock.now_ms()
        return self.throttle.free_at_ms(message.channel, domain_of(message.address), now_ms) <= now_ms

    def took(self, message: Message) -> None:
        """It is leaving now."""
        self.throttle.took(message.channel, domain_of(message.address), self._clock.now_ms())

    def room(self, channels: Iterable[str], most: int) -> int:
        """How many messages to ask for: as many as fit into a provider that works already, so that few are asked for in vain."""
        free = {name: self._berths.free(name) for name in channels}
        if not free:
            return most
        busy = [count for name, count in free.items() if count and not self._berths.is_idle(name)]
        return min(most, max(busy or free.values()))

    def opens_in_seconds(self) -> float | None:
        """Until the next of the lanes that were closed when the outbox was asked opens by itself; None: none does.

        Not above 0 when one has opened since: what waits in it was not offered.
        """
        opens_ms = self.throttle.opens_ms(self._asked_ms)
        return None if opens_ms is None else (opens_ms - self._clock.now_ms()) / 1000

    def _waited_ms(self) -> int:
        """How long a call takes is real time, also where the clock runs faster (a demo's)."""
        return int(self._clock.monotonic() * 1_000)

    # ------------------------------------------------------------------------------------------------------- pauses

    def answered(self, message: Message, answer: Receipt | ChannelError, *, since_ms: int) -> None:
        """What a provider's answer to a message that left at `since_ms` says about its lanes."""
        channel, domain = message.channel, domain_of(message.address)
        if not isinstance(answer, TransientError) or answer.throttle is None:
            if _is_answer(answer):
                self.throttle.accepted(channel, domain, since_ms=since_ms)
                self.show()
            return
        now_ms, lane = self._clock.now_ms(), domain if answer.throttle == "domain" else ""
        place = (self._providers.name(channel), lane)
        before_ms = self.throttle.paused(now_ms).get(place)
        until_ms = self.throttle.slow_down(
            channel, lane, now_ms, since_ms=since_ms, retry_after_seconds=answer.retry_after_seconds
        )
        if until_ms > now_ms and until_ms != before_ms:
            _log.warning(
                Action.CHANNEL_PAUSED, channel=channel, domain=lane, code=answer.code, paused_until=rfc3339(until_ms)
            )
        self.show()

    def flush(self, channel: str, domain: str) -> None:
        """An operator ends pauses."""
        self.throttle.flush(channel, domain)
        self.show()

    def show(self) -> None:
        """Brings the gauge and `/readyz` up to date; what is over is said once."""
        now = self.throttle.paused(self._clock.now_ms()) if self._shown or self.throttle.any_pause else {}
        if now == self._shown:
            return
        for channel, domain in self._shown.keys() - now.keys():
            self._metrics.paused_until_seconds.remove(channel, domain)
            self._metrics.health.clear(Condition.MAIL_PAUSED, part=f"{channel}:{domain}")
            _log.info(Action.CHANNEL_RESUMED, channel=channel, domain=domain)
        self._shown = dict(sorted(now.items(), key=lambda each: -each[1])[:SHOWN_MAX])
        for (channel, domain), until_ms in self._shown.items():
            self._metrics.paused_until_seconds.labels(channel, domain).set(until_ms / 1_000)
            self._metrics.health.report(
                Condition.MAIL_PAUSED,
                f"{f'{channel} to {domain}' if domain else channel} is paused until {rfc3339(until_ms)};"
                f" `anlass flush {domain or channel}` ends it.",
                part=f"{channel}:{domain}",
            )


def _is_answer(answer: Receipt | ChannelError) -> bool:
    """Whether the provider itself spoke: a lost connection, or a mistake of ours, proves nothing."""
    if isinstance(answer, Receipt):
        return True
    return isinstance(answer, TransientError | PermanentError) and answer.code[:1].isdigit()
