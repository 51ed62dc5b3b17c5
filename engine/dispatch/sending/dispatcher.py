"""The dispatcher: takes messages from the outbox, asks the policy again, renders, sends, records the answer.

Invariant: a provider is called only for a message whose claim is durable, and every claimed message is settled, or found
`unknown` by the next start. No more messages are claimed than their providers may have under way at once, so that a crash leaves
no more unknown, and a provider that answers slowly holds up no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from channels.contract import Channel, ChannelError, Receipt, UnknownOutcome
from engine.core.consent import suppression
from engine.core.journey import duplicates
from engine.core.journey.sending import paused_until_ms, quiet_until_ms, recheck
from engine.core.record import Pause
from engine.dispatch.ports import FINAL, Outbox, Pending, Settlement
from engine.dispatch.sending import feedback, resolving
from engine.dispatch.sending.cause import cause_of
from engine.dispatch.sending.lanes import Lanes
from engine.dispatch.sending.limits import UNDER_WAY_MAX, Limits, Providers
from engine.dispatch.templates.template_problem import TemplateError
from engine.errors import StorageError
from engine.telemetry import Action, Metrics, get_log
from engine.tracing import Words

if TYPE_CHECKING:
    from engine.clock import Clock
    from engine.core.customer import CustomerState
    from engine.core.message import Message
    from engine.dispatch.sending.compose import Composed, Composer

IDLE_SECONDS_MAX = 1.0
PAUSED_SECONDS_MAX = 0.05
"""A clock that runs faster than ours (a demo's) opens a lane sooner than it says."""
STORAGE_RETRY_SECONDS = 1.0
_log = get_log("dispatcher")


class DispatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`under_way_max` bounds the messages of a channel that are claimed and not yet settled, where no provider is named."""

    under_way_max: int = UNDER_WAY_MAX
    providers: tuple[Limits, ...] = ()
    batch_max: int = 50
    send_seconds_max: float = 360.0
    """A provider that has not answered by then is not waited for: the outcome is unknown."""
    stop_seconds_max: float = 10.0
    resolve_pauses_seconds: tuple[float, ...] = (2.0, 8.0, 20.0)
    """After an unknown outcome, when a provider that can be asked is asked for the message."""


class Dispatcher:
    """Runs until it is stopped. One per process."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        *,
        composer: Composer,
        clock: Clock,
        metrics: Metrics,
        options: DispatchOptions | None = None,
    ) -> None:
        """`channels` by name; a message for a channel that is not there is settled as failed."""
        self._outbox = outbox
        self._channels = channels
        self._composer = composer
        self._clock = clock
        self._metrics = metrics
        self._options = options or DispatchOptions()
        providers = Providers(self._options.providers, under_way_max=self._options.under_way_max)
        self._lanes = Lanes(providers, clock=clock, metrics=metrics)
        self._ending = contextlib.AsyncExitStack()
        self._opened: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: list[Settlement] = []
        self._answered = asyncio.Event()
        self._stopping = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()

    async def run(self) -> None:
        """Dispatches until `stop`. Opens the channels, and closes them at the end."""
        self._done.clear()
        async with self._ending:
            self._ending.callback(self._done.set)
            for channel in set(self._channels.values()):
                await self._open(channel)
            await self._rounds()

    async def add(self, channels: Mapping[str, Channel]) -> None:
        """Takes more channels, before it runs or while; those of a name that is known already are left as they are."""
        for name, channel in channels.items():
            if name not in self._channels:
                await self._open(channel)
                self._channels = {**self._channels, name: channel}

    def set_share(self, fraction: float) -> None:
        """The part of all rates that is this process's: others dispatch as well. 1 unless told."""
        self._lanes.throttle.set_share(fraction)

    async def _open(self, channel: Channel) -> None:
        if id(channel) in self._opened:  # added before `run`
            return
        await channel.open()
        self._opened.add(id(channel))
        self._ending.push_async_callback(self._close, channel)

    async def _close(self, channel: Channel) -> None:
        with contextlib.suppress(TimeoutError):  # a silent server must not hold up the end
            await asyncio.wait_for(channel.close(), self._options.stop_seconds_max)

    async def _rounds(self) -> None:
        """One round after the other until `stop`; then the sends under way and their answers."""
        settler = asyncio.create_task(self._settle_answers())
        try:
            while not self._stopping.is_set():
                try:
                    for message in await self._outbox.interrupted():
                        task = asyncio.create_task(self._resolve(message))
                        self._tasks.add(task)
                        task.add_done_callback(self._tasks.discard)
                    for flush in await self._outbox.flushed():
                        self._lanes.flush(flush.channel, flush.domain)
                    self._lanes.show()
                    if not await self._round():
                        await self._outbox.wait_for_work(self._idle_seconds())
                except StorageError as error:  # a full disk, say: nothing is sent that cannot be recorded
                    _log.error(Action.BATCH_FAILED, cause=error)
                    await asyncio.sleep(STORAGE_RETRY_SECONDS)
        finally:
            self._stopping.set()  # also when we are cancelled: or nobody would tell the settler
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self._options.stop_seconds_max)
            for task in list(self._tasks):
                task.cancel()  # its message stays claimed: the next start finds it unknown
            self._answered.set()
            await settler

    async def stop(self) -> None:
        """Takes no more messages, waits for those under way (bounded), closes the channels. Idempotent."""
        self._stopping.set()
        self._answered.set()
        await self._done.wait()

    def _idle_seconds(self) -> float:
        """Until the next lane opens, as near as a clock of milliseconds says: what is slept too long the rate loses."""
        opens = self._lanes.opens_in_seconds()
        return IDLE_SECONDS_MAX if opens is None else min(max(opens, 0.001), PAUSED_SECONDS_MAX)

    async def _round(self) -> bool:
        """Takes what can leave now; whether there was anything to do."""
        limit = self._lanes.room(self._channels, self._options.batch_max)
        if not limit:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            return True
        pendings = await self._outbox.ready(max(limit, 2), closed=self._lanes.closed())
        entered = [each for each in self._lanes.ordered(pendings) if self._lanes.enter(each.message)]
        if not entered and self._lanes.call_ended:
            return True
        if not entered:
            return self._lanes.is_waiting and bool(self._tasks) and await self._something_ended()
        leaving = await self._prepare(entered)
        if leaving:
            links = {pending.message.id: composed.links for pending, composed in leaving if composed.links}
            try:
                claimed = await self._outbox.claim([pending.message.id for pending, _ in leaving], links=links)
            except BaseException:
                self._lanes.leave(pending.message for pending, _ in leaving)
                raise
            self._lanes.leave(pending.message for pending, _ in leaving if pending.message.id not in claimed)
            for pending, composed in leaving:
                if pending.message.id not in claimed:
                    continue
                task = asyncio.create_task(self._send(pending, composed))
                self._tasks.add(task)
                task.add_done_callback(functools.partial(self._sent, pending.message))
        return True

    async def _something_ended(self) -> bool:
        """Waits until a call is over, there is new work, or a lane opens. True, as there may be something to do."""
        work = asyncio.create_task(self._outbox.wait_for_work(self._idle_seconds()))
        try:
            await asyncio.wait({work, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        return True

    def _sent(self, message: Message, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._lanes.leave([message])

    async def _prepare(self, pendings: list[Pending]) -> list[tuple[Pending, Composed]]:
        """Asks again about each, and renders it; what must not or cannot leave now is settled, and gives up its berth."""
        leaving: list[tuple[Pending, Composed]] = []
        try:
            await self._sort(pendings, leaving)
        except BaseException:
            leaving.clear()  # none of them is claimed
            raise
        finally:
            left = {pending.message.id for pending, _ in leaving}
            self._lanes.leave([each.message for each in pendings if each.message.id not in left])
        return leaving

    async def _sort(self, pendings: list[Pending], leaving: list[tuple[Pending, Composed]]) -> None:
        states = await self._outbox.states(list({pending.message.customer for pending in pendings}))
        policy = self._outbox.catalog.policy
        asked = dict.fromkeys(place for pending in pendings for place in suppression.places(policy, pending.message))
        suppressed = await self._outbox.suppressed(list(asked))
        if doubts := suppression.doubts(suppressed.items()):
            suppressed |= await self._outbox.suppressed(doubts)
        twice = await self._outbox.duplicates([each.message for each in pendings if duplicates.matters(each.message)])
        settled = []
        for pending in pendings:
            message, state = pending.message, states.get(pending.message.customer)
            try:
                known = suppression.refusal(policy, state, message, answers=suppressed)
                known = known or ("duplicate_address" if twice.get(message.id) else "")
                if message.id in twice and not known:
                    settled.append(feedback.later(message, self._clock.now_ms()))
                    continue
                result = self._ready_to_send(pending, state, known)
            except Exception as error:  # noqa: BLE001 - a mistake of ours about one message must not end the others
                _log.error(Action.MESSAGE_FAILED, message=message.id, cause=error)
                result = feedback.mistaken(message, error, self._clock.now_ms())
            if isinstance(result, Settlement):
                settled.append(result)
                if result.status in FINAL:
                    self._metrics.messages.labels(message.channel, result.status).inc()
            elif result is not None:
                self._lanes.took(message)
                leaving.append((pending, result))
        if settled:
            await self._outbox.settle(settled)

    def _ready_to_send(self, pending: Pending, state: CustomerState | None, known: str) -> Composed | Settlement | None:
        message, now_ms, catalog = pending.message, self._clock.now_ms(), self._outbox.catalog
        reason = known or recheck(catalog, state, message, now_ms=now_ms)
        if reason:
            _log.info(Action.MESSAGE_SUPPRESSED, message=message.id, reason=reason)
            return feedback.suppressed(message, reason, now_ms)
        if message.channel not in self._channels:
            reason = f"no channel {message.channel!r} is configured"
            return Settlement(message_id=message.id, status="failed", at_ms=now_ms, reason=reason, code="no_channel")
        if not self._lanes.may_go(message):
            return None  # stays pending; its lane is closed until then
        paused_ms = paused_until_ms(catalog, message, now_ms=now_ms)
        if paused_ms > now_ms:
            return Settlement(
                message_id=message.id, status="pending", at_ms=now_ms, reason="workflow_paused", not_before_ms=paused_ms
            )
        quiet_ms = quiet_until_ms(catalog, state, message, now_ms=now_ms)
        if quiet_ms > now_ms:
            return Settlement(
                message_id=message.id, status="pending", at_ms=now_ms, reason="quiet_hours", not_before_ms=quiet_ms
            )
        try:
            return self._composer.prepare(message, policy=catalog.policy, state=state)
        except TemplateError as error:
            _log.error(
                Action.TEMPLATE_FAILED,
                message=message.id,
                template=message.template,
                where=f"{error.file}:{error.line}",
            )
            return feedback.suppressed(message, "template_error", now_ms, detail=str(error)[:200])

    async def _resolve(self, message: Message) -> None:
        """A process ended while it sent this one: its provider is asked for it."""
        try:
            outgoing = self._composer.prepare(message, policy=self._outbox.catalog.policy, state=None).outgoing
        except TemplateError:
            return
        pauses, channel = self._options.resolve_pauses_seconds, self._channels.get(message.channel)
        receipt = await resolving.afterwards(channel, outgoing, since_ms=message.decided_ms, pauses_seconds=pauses)
        if receipt is not None:
            self._settle_soon(feedback.found(message, receipt, self._clock.now_ms()))

    async def _send(self, pending: Pending, composed: Composed) -> None:
        """One call of the provider, whatever comes of it."""
        outgoing = composed.outgoing
        message, started = pending.message, self._clock.monotonic()
        channel = self._channels[message.channel]
        answer: Receipt | ChannelError
        since_ms, sent_ms = pending.first_attempt_ms, self._clock.now_ms()
        try:
            async with asyncio.timeout(self._options.send_seconds_max):
                earlier = await resolving.before_sending(channel, outgoing, since_ms=since_ms)
                answer = earlier or await channel.send(outgoing)
        except ChannelError as error:
            answer = error
        except TimeoutError:
            answer = UnknownOutcome(f"no answer within {self._options.send_seconds_max:.0f} s")
        except Exception as error:  # noqa: BLE001 - an adapter's own mistake: what it did is not known
            _log.error(Action.MESSAGE_BECAME_UNKNOWN, message=message.id, cause=error)
            answer = UnknownOutcome(f"the adapter failed: {type(error).__name__}")
        seconds = self._clock.monotonic() - started
        if isinstance(answer, UnknownOutcome):
            since_ms, pauses = since_ms or sent_ms, self._options.resolve_pauses_seconds
            found = await resolving.afterwards(channel, outgoing, since_ms=since_ms, pauses_seconds=pauses)
            answer = found or answer
        now_ms = self._clock.now_ms()
        self._lanes.answered(message, answer, since_ms=sent_ms)
        self._metrics.send_seconds.labels(message.channel).observe(seconds)
        resend = self._outbox.catalog.policy.unknown.get(message.purpose) == "resend"
        settlement = feedback.settle(pending, answer, now_ms=now_ms, resend_unknown=resend)
        if composed.warnings:
            settlement = feedback.with_gaps(settlement, composed.warnings)
            self._metrics.gaps.labels(message.channel).inc()
            _log.warning(Action.MESSAGE_RENDERED_WITH_GAPS, message=message.id, template=message.template)
        self._metrics.messages.labels(message.channel, settlement.status).inc()
        if self._metrics.tracing is not None:
            words: Words = {"channel": message.channel, "status": settlement.status, "attempt": pending.attempt}
            bad = settlement.status in {"failed", "unknown"}
            self._metrics.tracing.sent(cause_of(message), words, ended_ms=now_ms, seconds=seconds, failed=bad)
        if any(isinstance(record, Pause) for record in settlement.records):
            self._metrics.reports.labels(message.channel, "our_fault").inc()
            _log.error(Action.WORKFLOW_PAUSED, workflow=message.workflow, message=message.id, code=settlement.code)
        if settlement.status != "sent":
            _log.info(_ACTIONS[settlement.status], message=message.id, code=settlement.code, attempt=pending.attempt)
        self._settle_soon(settlement)

    def _settle_soon(self, settlement: Settlement) -> None:
        self._answers.append(settlement)
        self._answered.set()

    async def _settle_answers(self) -> None:
        """Records answers as they come, as many at once as have come."""
        while True:
            await self._answered.wait()
            self._answered.clear()
            answers, self._answers = self._answers, []
            if answers:
                try:
                    await self._outbox.settle(answers)
                except StorageError as error:
                    _log.error(Action.BATCH_FAILED, cause=error)
                    self._answers[:0] = answers
                    if self._stopping.is_set():
                        return  # they stay claimed, and the next start finds them unknown
                    await asyncio.sleep(STORAGE_RETRY_SECONDS)
                    self._answered.set()
                if self._stopping.is_set():
                    self._answered.set()  # nobody else may: what `run` set at its end was cleared with these answers
            elif self._stopping.is_set() and not self._tasks:
                return
            elif self._stopping.is_set():
                await asyncio.sleep(0.01)
                self._answered.set()


_ACTIONS = {
    "pending": Action.MESSAGE_RETRIED,
    "failed": Action.MESSAGE_FAILED,
    "unknown": Action.MESSAGE_BECAME_UNKNOWN,
}
