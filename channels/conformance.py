"""What every channel adapter promises, as tests that its author runs against it: `ADDING_A_CHANNEL.md` shows how.

A test module subclasses `Conformance` and says, in `stage`, how to build the adapter together with a stand-in of its provider.
pytest collects it when it is called `Test…`; each test has an event loop of its own, so no plug-in is needed. Invariant: what is
not asked of an adapter is what its class leaves out of `faults` and `impossible`, in writing; nothing is skipped.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from channels.conformance_stage import EVIL, HOSTILE, Fault, Received, Stage
from channels.contract import (
    Capabilities,
    Channel,
    ChannelError,
    OutgoingMessage,
    PermanentError,
    Receipt,
    TransientError,
    UnknownOutcome,
    Verdict,
)

__all__ = ["Conformance", "Fault", "Received", "Stage"]

MANY = 40
WAIT_SECONDS_MAX = 60.0
PROMPT_SECONDS_MAX = 5.0


def _expect(holds: object, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").rstrip("\n")


class Conformance:
    """The suite. Subclass it as `TestMyChannel(Conformance)`, name what can be asked of it, and write `stage`."""

    faults: ClassVar[frozenset[Fault]] = frozenset()
    """Those that the stage can play; leave out what this provider cannot do."""
    impossible: ClassVar[tuple[str, ...]] = ()
    """Addresses that the adapter itself can know nobody has."""

    def __init_subclass__(cls) -> None:
        """Takes away the tests that cannot be asked of it."""
        for name, fault in _ABOUT_FAULTS.items():
            if fault not in cls.faults:
                setattr(cls, name, None)
        if not cls.impossible:
            cls.test_an_impossible_address_is_suppressed = None  # type: ignore[assignment, method-assign]

    def stage(self) -> AbstractAsyncContextManager[Stage]:
        """Builds adapter and stand-in; leaving it stops the stand-in. An `@asynccontextmanager` method."""
        raise NotImplementedError

    def message(self, stage: Stage, n: int = 1, **changes: Any) -> OutgoingMessage:
        """The n-th message: as much of one as the channel's capabilities say it can carry."""
        can = stage.channel.capabilities
        fields: dict[str, Any] = {
            "id": hashlib.sha256(str(n).encode()).hexdigest()[:32],
            "channel": stage.channel.name,
            "to": stage.address(n),
            "to_name": "Ana",
            "text": f"Hello {n} ü\n",
            "date_ms": 1_790_000_000_123,
            "template": "hello",
            "customer": "ana",
        }
        fields |= {"subject": f"Hello {n}"} if can.subject else {}
        fields |= {"html": f"<p>Hello {n} ü</p>\n"} if can.html else {}
        return OutgoingMessage(**(fields | stage.changes | changes))

    def _run(self, test: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            async with self.stage() as stage, asyncio.timeout(WAIT_SECONDS_MAX):
                try:
                    await test(stage)
                finally:
                    await stage.channel.close()

        asyncio.run(whole())

    def _failing(self, fault: Fault, judge: Callable[[Stage, ChannelError], None]) -> None:
        """Sends one message while the provider fails, judges the error, and sends the next when it works again."""

        async def test(stage: Stage) -> None:
            await stage.channel.open()
            await stage.play(fault)
            message = self.message(stage, 1)
            error = await self._refused(stage, message)
            judge(stage, error)
            _expect(not stage.personal or message.to not in error.reason, "an error's reason must not hold the address")
            _expect(message.text.strip() not in error.reason, "an error's reason must not hold the content")
            await stage.play(Fault.NONE)
            await stage.channel.send(self.message(stage, 2))
            found = [each.id for each in stage.received()]
            _expect(self.message(stage, 2).id in found, f"after {fault} the next message has to arrive")

        self._run(test)

    async def _refused(self, stage: Stage, message: OutgoingMessage) -> ChannelError:
        try:
            await stage.channel.send(message)
        except ChannelError as error:
            return error
        raise AssertionError("a receipt was given for a message that the provider did not take")

    # ---------------------------------------------------------------------------------------------- what is promised

    def test_it_is_a_channel(self) -> None:
        """It fills the protocol, has a name, and says what it can do."""

        async def test(stage: Stage) -> None:
            _expect(isinstance(stage.channel, Channel), "the adapter lacks a part of the protocol Channel")
            _expect(stage.channel.name, "the adapter has no name")
            _expect(isinstance(stage.channel.capabilities, Capabilities), "`capabilities` is not a Capabilities")
            _expect(stage.channel.capabilities == stage.channel.capabilities, "`capabilities` has to be constant")

        self._run(test)

    def test_a_receipt_means_the_provider_has_it_once(self) -> None:
        """One send, one receipt, one message there with its id, address and text."""

        async def test(stage: Stage) -> None:
            await stage.channel.open()
            message = self.message(stage)
            receipt = await stage.channel.send(message)
            _expect(receipt.response, "a receipt has the provider's answer in words")
            [one] = stage.received()
            _expect(one.id == message.id, "the provider was not told the message's id")
            _expect(one.to == message.to, f"it went to {one.to} instead of {message.to}")
            _expect(_plain(one.text) == _plain(message.text), "the text did not arrive as it was")

        self._run(test)

    def test_many_at_once_do_not_mix(self) -> None:
        """Forty concurrent sends give forty receipts, and each message is there once, at its own address."""

        async def test(stage: Stage) -> None:
            await stage.channel.open()
            messages = [self.message(stage, n) for n in range(MANY)]
            receipts = await asyncio.gather(*(stage.channel.send(message) for message in messages))
            _expect(len(receipts) == MANY, "a receipt is missing")
            found = sorted((one.id, one.to, _plain(one.text)) for one in stage.received())
            _expect(found == sorted((m.id, m.to, _plain(m.text)) for m in messages), "messages got mixed or lost")

        self._run(test)

    def test_every_text_arrives_as_it_was(self) -> None:
        """Dots, long lines, NUL, quotes, umlauts: nothing ends the message early, nothing is lost, the next one is whole."""

        async def test(stage: Stage) -> None:
            await stage.channel.open()
            for n, text in enumerate(stage.texts):
                await stage.channel.send(self.message(stage, n, text=text))
            found = {one.id: one.text for one in stage.received()}
            for n, text in enumerate(stage.texts):
                arrived = found.get(self.message(stage, n).id)
                _expect(
                    arrived is not None and _plain(arrived) == _plain(text), f"{text[:30]!r} arrived as {arrived!r}"
                )

        self._run(test)

    def test_it_refuses_to_forge_headers(self) -> None:
        """Customer data that would write headers is a permanent fault of the message, or never leaves with it."""

        async def test(stage: Stage) -> None:
            await stage.channel.open()
            hostile_to = {"to": f"{stage.address(1)}\r\nBcc: {EVIL}"}, {"to": f"{stage.address(1)}>\r\nRCPT TO:<{EVIL}"}
            for n, changes in enumerate((*HOSTILE, *hostile_to)):
                before = len(stage.received())
                try:
                    await stage.channel.send(self.message(stage, n, **changes))
                except PermanentError as error:
                    fair = error.address_verdict is Verdict.MESSAGE or "to" in changes
                    _expect(fair, f"{changes}: it is the message's fault only")
                    _expect("evil" not in error.reason, f"{changes}: the reason repeats what was sent")
                    _expect(len(stage.received()) == before, f"{changes}: refused, and it was sent all the same")
                else:
                    sent = stage.received()[before:]
                    _expect(all(EVIL.encode() not in one.raw for one in sent), f"{changes}: it left with the message")

        self._run(test)

    def test_what_it_cannot_carry_it_refuses(self) -> None:
        """HTML, a subject or headers that the channel does not know are refused, or arrive; never left out in silence."""

        async def test(stage: Stage) -> None:
            await stage.channel.open()
            marked: tuple[tuple[str, Any], ...] = (
                ("subject", "marker-of-subject"),
                ("html", "<p>marker-of-html</p>"),
                ("headers", (("X-Marker", "marker-of-headers"),)),
            )
            for n, (name, value) in enumerate(marked):
                before = len(stage.received())
                try:
                    await stage.channel.send(self.message(stage, n, **{name: value}))
                except PermanentError as error:
                    _expect(error.address_verdict is Verdict.MESSAGE, f"{name}: it is the message's fault only")
                    continue
                [sent] = stage.received()[before:]
                _expect(f"marker-of-{name}".encode() in sent.raw, f"{name} was left out in silence; raise Unsupported")

        self._run(test)

    def test_an_impossible_address_is_suppressed(self) -> None:
        """An address nobody can have is refused once and for all, before anything is sent."""

        async def test(stage: Stage) -> None:
            await stage.channel.open()
            for address in self.impossible:
                error = await self._refused(stage, self.message(stage, to=address))
                verdict = getattr(error, "address_verdict", None)
                _expect(verdict is Verdict.SUPPRESS, f"{address!r} has to be a PermanentError with SUPPRESS")
            _expect(not stage.received(), "it was sent all the same")

        self._run(test)

    def test_closed_means_not_sent(self) -> None:
        """Before `open` and after `close` a send is a TransientError: nothing is lost. Closing twice is harmless."""

        async def test(stage: Stage) -> None:
            error = await self._refused(stage, self.message(stage))
            _expect(isinstance(error, TransientError), "before `open` a send has to be a TransientError")
            await stage.channel.open()
            await stage.channel.send(self.message(stage))
            await stage.channel.close()
            await stage.channel.close()
            error = await self._refused(stage, self.message(stage, 2))
            _expect(isinstance(error, TransientError), "after `close` a send has to be a TransientError")
            _expect(len(stage.received()) == 1, "a closed channel sent")
            await stage.channel.open()
            await stage.channel.send(self.message(stage, 3))
            _expect(len(stage.received()) == 2, "opened again it has to send")  # noqa: PLR2004 - the two above

        self._run(test)

    def test_close_waits_for_what_is_under_way(self) -> None:
        """Sends that have begun get their receipts, though `close` was called meanwhile."""

        async def test(stage: Stage) -> None:
            await stage.channel.open()
            sends = [asyncio.create_task(stage.channel.send(self.message(stage, n))) for n in range(8)]
            await asyncio.sleep(0)
            await stage.channel.close()
            answers = await asyncio.gather(*sends, return_exceptions=True)
            receipts = sum(isinstance(answer, Receipt) for answer in answers)
            odd = [answer for answer in answers if not isinstance(answer, Receipt | TransientError)]
            _expect(not odd, f"sends under way ended as {odd}")
            _expect(len(stage.received()) == receipts, "what was sent and what has a receipt differ")

        self._run(test)

    def test_a_bad_message_does_not_hurt_the_next(self) -> None:
        """After many refusals good messages still leave."""

        async def test(stage: Stage) -> None:
            await stage.channel.open()
            for n in range(30):
                try:
                    await stage.channel.send(self.message(stage, n, headers=(("X-A", "b\r\nc: d"),)))
                except ChannelError:
                    continue
                raise AssertionError("a header with a line break was accepted")
            await asyncio.gather(*(stage.channel.send(self.message(stage, n)) for n in range(8)))
            _expect(len(stage.received()) == 8, "good messages did not leave")  # noqa: PLR2004 - as many as above

        self._run(test)

    def test_the_same_message_again_follows_the_capability(self) -> None:
        """A second send of one id gives a receipt, the same one where the channel is idempotent, and makes no other id."""

        async def test(stage: Stage) -> None:
            await stage.channel.open()
            first = await stage.channel.send(self.message(stage))
            second = await stage.channel.send(self.message(stage))
            _expect(first == second or not stage.channel.capabilities.idempotent, "the repetition's receipt differs")
            _expect(len({one.id for one in stage.received()}) == 1, "the repetition has another id")

        self._run(test)

    # ------------------------------------------------------------------------------------------------- when it fails

    def test_down_is_transient(self) -> None:
        """A provider that cannot be reached did certainly not accept."""
        self._failing(Fault.DOWN, _transient)

    def test_busy_is_transient(self) -> None:
        """A provider that asks to wait did certainly not accept."""
        self._failing(Fault.BUSY, _transient)

    def test_a_refusal_is_permanent(self) -> None:
        """A refusal for good is not tried again."""
        self._failing(Fault.REFUSED, _permanent)

    def test_a_missing_address_is_blamed(self) -> None:
        """Nobody there: the address is suppressed, or the refusal counted against it."""
        self._failing(Fault.NO_SUCH_ADDRESS, _blamed)

    def test_a_refused_login_blames_nobody(self) -> None:
        """Our own login, sender or reputation: the operator is told, and no address is blamed."""
        self._failing(Fault.DENIED, _our_own)

    def test_a_lost_answer_is_unknown(self) -> None:
        """The provider took it and the answer never came: unknown; transient only if a repetition delivers once."""
        self._failing(Fault.LOST, _unknown)

    def test_silence_is_unknown(self) -> None:
        """The same when it never answers; the adapter's own time-out ends it."""
        self._failing(Fault.SILENT, _unknown)

    def test_a_send_can_be_cancelled(self) -> None:
        """Cancelling ends a send at once, as a cancellation, and hurts no other send."""

        async def test(stage: Stage) -> None:
            await stage.channel.open()
            await stage.play(Fault.SILENT)
            send = asyncio.create_task(stage.channel.send(self.message(stage)))
            await asyncio.sleep(0.2)
            _expect(not send.done(), "the send ended though the provider is silent; give the stage a longer time-out")
            send.cancel()
            await asyncio.wait({send}, timeout=PROMPT_SECONDS_MAX)
            _expect(send.cancelled(), "a cancelled send has to end at once, with CancelledError")
            await stage.play(Fault.NONE)
            await stage.channel.send(self.message(stage, 2))

        self._run(test)


_ABOUT_FAULTS = {
    "test_down_is_transient": Fault.DOWN,
    "test_busy_is_transient": Fault.BUSY,
    "test_a_refusal_is_permanent": Fault.REFUSED,
    "test_a_missing_address_is_blamed": Fault.NO_SUCH_ADDRESS,
    "test_a_refused_login_blames_nobody": Fault.DENIED,
    "test_a_lost_answer_is_unknown": Fault.LOST,
    "test_silence_is_unknown": Fault.SILENT,
    "test_a_send_can_be_cancelled": Fault.SILENT,
}


def _transient(_: Stage, error: ChannelError) -> None:
    _expect(isinstance(error, TransientError), f"it has to be a TransientError, not {error!r}")


def _permanent(_: Stage, error: ChannelError) -> None:
    _expect(isinstance(error, PermanentError), f"it has to be a PermanentError, not {error!r}")


def _blamed(_: Stage, error: ChannelError) -> None:
    verdict = getattr(error, "address_verdict", None)
    _expect(verdict in {Verdict.SUPPRESS, Verdict.SOFT}, f"it has to blame the address, not {error!r} ({verdict})")


def _our_own(_: Stage, error: ChannelError) -> None:
    fair = isinstance(error, TransientError) or getattr(error, "address_verdict", None) is Verdict.OUR_FAULT
    _expect(fair, f"it has to be OUR_FAULT, or transient, not {error!r}")


def _unknown(stage: Stage, error: ChannelError) -> None:
    if stage.channel.capabilities.idempotent and isinstance(error, TransientError):
        return
    _expect(isinstance(error, UnknownOutcome), f"it has to be UnknownOutcome, not {error!r}")
